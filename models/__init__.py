"""LSTM autoencoders for windows of a time series: train, score, diagnose, keep."""

from models.analogues import Analogues, nearest_analogues
from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.calibration import Calibration, CalibrationConfig
from models.checkpoint import Checkpoint, load, save
from models.diagnosis import Diagnosis, diagnose
from models.errors import CheckpointError, NonFiniteLossError, ShapeError
from models.estimator import WindowAutoencoder
from models.false_discovery import false_discovery
from models.losses import reconstruction_loss
from models.mahalanobis import Mahalanobis, MahalanobisConfig
from models.nowcast import nowcast
from models.progress import ProgressBar
from models.regimes import Regimes
from models.residuals import pearson_errors, pearson_residuals
from models.scoring import Scores, score
from models.training import train
from models.training_config import BatchReport, EpochReport, TrainedModel, TrainingConfig

__all__ = [
    "Analogues",
    "AutoencoderConfig",
    "BatchReport",
    "Calibration",
    "CalibrationConfig",
    "Checkpoint",
    "CheckpointError",
    "Diagnosis",
    "EpochReport",
    "LSTMAutoencoder",
    "Mahalanobis",
    "MahalanobisConfig",
    "NonFiniteLossError",
    "ProgressBar",
    "Regimes",
    "Scores",
    "ShapeError",
    "TrainedModel",
    "TrainingConfig",
    "WindowAutoencoder",
    "diagnose",
    "false_discovery",
    "load",
    "nearest_analogues",
    "nowcast",
    "pearson_errors",
    "pearson_residuals",
    "reconstruction_loss",
    "save",
    "score",
    "train",
]
