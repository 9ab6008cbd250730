"""LSTM autoencoders for windows of a time series: train, score, diagnose, keep."""

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.checkpoint import Checkpoint, load, save
from models.diagnosis import Diagnosis, diagnose
from models.errors import CheckpointError, NonFiniteLossError, ShapeError
from models.estimator import WindowAutoencoder
from models.losses import reconstruction_loss
from models.progress import ProgressBar
from models.residuals import pearson_errors
from models.scoring import Scores, score
from models.training import train
from models.training_config import BatchReport, EpochReport, TrainedModel, TrainingConfig

__all__ = [
    "AutoencoderConfig",
    "BatchReport",
    "Checkpoint",
    "CheckpointError",
    "Diagnosis",
    "EpochReport",
    "LSTMAutoencoder",
    "NonFiniteLossError",
    "ProgressBar",
    "Scores",
    "ShapeError",
    "TrainedModel",
    "TrainingConfig",
    "WindowAutoencoder",
    "diagnose",
    "load",
    "pearson_errors",
    "reconstruction_loss",
    "save",
    "score",
    "train",
]
