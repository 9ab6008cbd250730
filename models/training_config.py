"""How an autoencoder is trained, and what training reports."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.device import Device, Precision
from models.losses import LossKind, Reduction

__all__ = [
    "BatchReport",
    "EpochReport",
    "Optimizer",
    "Schedule",
    "TrainedModel",
    "TrainingConfig",
]

Optimizer = Literal["adam", "nadam", "rmsprop", "sgd"]
Schedule = Literal["plateau", "cosine", "constant"]

_CHOICES = {
    "loss": LossKind,
    "reduction": Reduction,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "device": Device,
    "precision": Precision,
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How an autoencoder is trained.

    Attributes
    ----------
    loss, reduction
        See `reconstruction_loss`. With `"sum"` the gradient grows with the batch.
    exposure_power
        A step weighs as this power of the events behind it, brought to a mean of 1 over the
        observed steps: 0 is all alike, 1 an event one vote. None is the loss's own: 1 for
        `"multinomial"`, which then is the deviance of the counts, and 0 for the others.
    epochs
        At most this many.
    batch_size
        Windows a step of the optimiser, over all processes together.
    optimizer
        `"adam"` and `"nadam"` (betas .8 and .99), `"rmsprop"`, or `"sgd"` with momentum .9.
    learning_rate
        Of the first epoch.
    schedule
        `"plateau"` halves the learning rate after 4 epochs in a row without a better validation
        loss; `"cosine"` brings it to 0 over `epochs`; `"constant"` leaves it.
    weight_decay
        Share of a weight that a learning rate of 1 would take away at each step, decoupled from
        the gradient where the optimiser knows it (Loshchilov and Hutter, 2019).
    gradient_clip
        Greatest L2 norm of the gradient; 0 for no limit.
    mix_epochs
        With the decoder `"scheduled_mix"`: over so many epochs the share of true values that the
        decoder is fed with falls from 1 to 0. Patience is counted from then on.
    patience
        Epochs without a better validation loss after which training stops.
    min_delta
        Fraction by which the validation loss must fall for patience and learning rate to count
        it as better. Weights are kept at every improvement, however small.
    input_dropout
        Share of the input's values that the encoder doesn't get to see, others each time; the
        loss is still that of the whole window (a denoising autoencoder: Vincent et al., 2008).
        What is left to learn are regularities that many values share, not single ones.
    hidden_newest
        Share of the windows of which the encoder doesn't get to see the newest step, others each
        time; the loss is still that of the whole window. The model learns to expect that step
        from those before it: see `nowcast`.
    seed
        Determines the initial weights, the order of the windows and what is left out.
    device
        `"auto"` is the GPU where there is one.
    precision
        `"auto"` is bfloat16 autocast on a GPU that has it and float32 elsewhere.
    slab_bytes
        Memory of the device that a slab of entities may take; None is what fits. Windows are
        shuffled within a slab, and the slabs among themselves.

    Examples
    --------
    >>> TrainingConfig(loss="huber", epochs=20).batch_size
    64
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    loss: LossKind = "mse"
    reduction: Reduction = "mean"
    exposure_power: float | None = None
    epochs: int = 150
    batch_size: int = 64
    optimizer: Optimizer = "adam"
    learning_rate: float = 2e-2
    schedule: Schedule = "plateau"
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    mix_epochs: int = 20
    patience: int = 12
    min_delta: float = 1e-3
    input_dropout: float = 0.0
    hidden_newest: float = 0.0
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "auto"
    slab_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name, literal in _CHOICES.items():
            if getattr(self, name) not in get_args(literal):
                choices = list(get_args(literal))
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {choices}")
        for name in ("epochs", "batch_size", "patience", "mix_epochs", "slab_bytes"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate is {self.learning_rate}; it must be positive and finite"
            )
        for name in ("min_delta", "input_dropout", "hidden_newest"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in [0, 1)")
        for name in ("weight_decay", "exposure_power", "gradient_clip"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; it must be at least 0 and finite"
                )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be in [0, 2**63)")

    @property
    def power_of_exposure(self) -> float:
        """The power of the exposure that a step's weight is, the loss's own put in for None."""
        if self.exposure_power is None:
            return 1.0 if self.loss == "multinomial" else 0.0
        return self.exposure_power


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What one epoch did.

    Attributes
    ----------
    epoch
        From 1.
    training_loss
        Mean over the observed values of all training windows, each taken with the weights of
        its moment.
    validation_loss
        Mean over the observed values of all validation windows, after the epoch, the decoder fed
        with its own output.
    learning_rate
        Of this epoch.
    windows_per_second
        Training windows, validation not counted.
    is_best
        Whether the validation loss is the lowest so far.
    """

    epoch: int
    training_loss: float
    validation_loss: float
    learning_rate: float
    windows_per_second: float
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """How far an epoch is.

    Attributes
    ----------
    epoch
        From 1.
    windows_done, n_windows
        Of this epoch's training windows.
    training_loss
        Mean so far.
    windows_per_second
        So far.
    """

    epoch: int
    windows_done: int
    n_windows: int
    training_loss: float
    windows_per_second: float


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained autoencoder and how it came about.

    Attributes
    ----------
    model
        On the CPU, in eval mode, with the weights of `best_epoch`.
    n_features, length
        F and T of the windows that it was trained on.
    autoencoder, training
        The configurations; the seed is in `training`.
    history
        A report an epoch.
    best_epoch
        The epoch of the lowest validation loss.
    """

    model: LSTMAutoencoder
    n_features: int
    length: int
    autoencoder: AutoencoderConfig
    training: TrainingConfig
    history: tuple[EpochReport, ...]
    best_epoch: int

    @property
    def best_validation_loss(self) -> float:
        """The validation loss of the weights that `model` holds."""
        return self.history[self.best_epoch - 1].validation_loss
