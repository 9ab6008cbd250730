"""LSTM autoencoders for windows of event proportions: train, score, diagnose, keep."""

from models.autoencoder import AutoencoderConfig, LSTMAutoencoder
from models.checkpoint import Checkpoint, load, save
from models.diagnosis import Diagnosis, diagnose
from models.errors import CheckpointError, NonFiniteLossError, ShapeError
from models.losses import reconstruction_loss
from models.residuals import pearson_errors
from models.scoring import Scores, score
from models.training import EpochReport, TrainedModel, TrainingConfig, train

__all__ = [
    "AutoencoderConfig",
    "Checkpoint",
    "CheckpointError",
    "Diagnosis",
    "EpochReport",
    "LSTMAutoencoder",
    "NonFiniteLossError",
    "Scores",
    "ShapeError",
    "TrainedModel",
    "TrainingConfig",
    "diagnose",
    "load",
    "pearson_errors",
    "reconstruction_loss",
    "save",
    "score",
    "train",
]
