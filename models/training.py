"""Training with early stopping that returns the best model it saw."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.autoencoder import AutoencoderConfig, LSTMAutoencoder
from models.device import Device, resolve_device
from models.early_stopping import BestModel
from models.errors import NonFiniteLossError
from models.losses import LossKind, reconstruction_loss
from models.windowing import WindowedCube, validate_cube, validate_windows_with_data

__all__ = ["EpochReport", "TrainedModel", "TrainingConfig", "train"]

_PLATEAU_FACTOR = 0.5
_PLATEAU_PATIENCE = 3


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How an autoencoder is trained.

    Attributes
    ----------
    loss
        See `reconstruction_loss`.
    epochs
        At most this many.
    batch_size
        Windows a step of Adam.
    learning_rate
        Of the first epoch; it is halved after 4 epochs in a row without a better validation loss.
    gradient_clip
        Greatest L2 norm of the gradient.
    patience
        Epochs without a better validation loss after which training stops.
    min_delta
        Fraction by which the validation loss must fall for patience and learning rate to count
        it as better. Weights are kept at every improvement, however small.
    input_dropout
        Share of the input's values that the encoder doesn't get to see, others each time; the
        loss is still that of the whole window (a denoising autoencoder: Vincent et al., 2008).
        What is left to learn are regularities that many values share, not single ones.
    seed
        Determines the initial weights, the order of the windows and the values left out.
    device
        `"auto"` is the GPU where there is one.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    loss: LossKind = "huber"
    epochs: int = 150
    batch_size: int = 64
    learning_rate: float = 1e-2
    gradient_clip: float = 1.0
    input_dropout: float = 0.2
    patience: int = 12
    min_delta: float = 1e-3
    seed: int = 0
    device: Device = "auto"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.loss not in get_args(LossKind):
            raise ValueError(f"loss is {self.loss!r}; it must be one of {get_args(LossKind)}")
        if self.device not in get_args(Device):
            raise ValueError(f"device is {self.device!r}; it must be one of {get_args(Device)}")
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive and finite")
        for name in ("min_delta", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be in [0, 1)")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be in [0, 2**63)")


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
        Mean over the observed values of all validation windows, after the epoch.
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


def train(
    cube: NDArray[np.float32],
    observed: NDArray[np.bool_],
    training_windows: NDArray[np.int64],
    validation_windows: NDArray[np.int64],
    *,
    length: int,
    autoencoder: AutoencoderConfig | None = None,
    training: TrainingConfig | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> TrainedModel:
    """Train an LSTM autoencoder and return it as it was at its best epoch.

    Adam with a clipped gradient; the learning rate is halved when the validation loss stands
    still. The windows are shuffled anew each epoch, all of them used. On the CPU the same seed
    gives the same losses, bit for bit, for a given number of threads.

    Parameters
    ----------
    cube
        `(E, S, F)` float32, finite; standardised, or the model learns little but the level.
    observed
        `(E, S)` bool; False steps count in no loss.
    training_windows, validation_windows
        `(N, 2)` int64: rows (entity, start). Disjoint in time for an honest early stop.
    length
        T, the steps of a window.
    autoencoder, training
        Configurations; None means the defaults.
    on_epoch
        Called with each `EpochReport` as soon as it is known.

    Returns
    -------
    TrainedModel

    Raises
    ------
    ShapeError
        If an array's shape or dtype is wrong.
    ValueError
        If the cube is not finite, a window lies outside it, or either set of windows is empty
        or covers no observed step.
    NonFiniteLossError
        If a loss becomes infinite or not a number.

    Examples
    --------
    >>> cube = np.sin(np.arange(60, dtype=np.float32)).reshape(1, 60, 1)
    >>> observed = np.ones((1, 60), dtype=bool)
    >>> starts = np.array([[0, start] for start in range(50)])
    >>> trained = train(
    ...     cube, observed, starts[:30], starts[40:], length=10,
    ...     autoencoder=AutoencoderConfig(latent_size=8), training=TrainingConfig(epochs=2),
    ... )
    >>> [report.epoch for report in trained.history]
    [1, 2]
    """
    autoencoder, training = autoencoder or AutoencoderConfig(), training or TrainingConfig()
    validate_cube(cube, observed)
    for name, windows in (("training", training_windows), ("validation", validation_windows)):
        validate_windows_with_data(windows, observed, length=length, name=name)
    device = resolve_device(training.device)
    data = WindowedCube.place(cube, observed, length=length, device=device)
    model = LSTMAutoencoder(cube.shape[2], autoencoder, seed=training.seed).to(device)
    run = _Run(model, data, training)
    best = BestModel(patience=training.patience, min_delta=training.min_delta)
    history = []
    for report in run.epochs(
        data.windows(training_windows), data.windows(validation_windows), best
    ):
        history.append(report)
        if on_epoch is not None:
            on_epoch(report)
    model.load_state_dict(best.state)
    return TrainedModel(
        model=model.cpu().eval(),
        n_features=cube.shape[2],
        length=length,
        autoencoder=autoencoder,
        training=training,
        history=tuple(history),
        best_epoch=best.epoch,
    )


class _Run:
    """A model, its data and what changes from epoch to epoch."""

    def __init__(self, model: LSTMAutoencoder, data: WindowedCube, config: TrainingConfig) -> None:
        self._model, self._data, self._config = model, data, config
        self._optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer,
            factor=_PLATEAU_FACTOR,
            patience=_PLATEAU_PATIENCE,
            threshold=config.min_delta,
        )
        self._generator = torch.Generator().manual_seed(config.seed)
        self._noise = torch.Generator(data.device).manual_seed(config.seed)

    def epochs(
        self, training_windows: Tensor, validation_windows: Tensor, best: BestModel
    ) -> Iterator[EpochReport]:
        """Train an epoch at a time until patience or the epochs run out."""
        for epoch in range(1, self._config.epochs + 1):
            learning_rate = float(self._optimizer.param_groups[0]["lr"])
            started = time.perf_counter()
            training_loss = self._train(training_windows)
            seconds = time.perf_counter() - started
            validation_loss = self._mean_loss(validation_windows)
            _require_finite(epoch, training_loss, validation_loss, self._config)
            yield EpochReport(
                epoch=epoch,
                training_loss=training_loss,
                validation_loss=validation_loss,
                learning_rate=learning_rate,
                windows_per_second=len(training_windows) / seconds,
                is_best=best.update(epoch, validation_loss, self._model),
            )
            if best.exhausted(epoch):
                return
            self._schedule.step(validation_loss)

    def _train(self, windows: Tensor) -> float:
        """Take every window once, in a new order; return the mean loss."""
        self._model.train()
        order = torch.randperm(len(windows), generator=self._generator).to(self._data.device)
        mean = _RunningMean(self._data.device)
        for _, x, observed in self._data.batches(windows[order], self._config.batch_size):
            loss = self._loss(self._corrupted(x), x, observed)
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.gradient_clip)
            self._optimizer.step()
            mean.add(loss, observed)
        return mean.value()

    @torch.no_grad()
    def _mean_loss(self, windows: Tensor) -> float:
        self._model.eval()
        mean = _RunningMean(self._data.device)
        for _, x, observed in self._data.batches(windows, self._config.batch_size):
            mean.add(self._loss(x, x, observed), observed)
        return mean.value()

    def _loss(self, given: Tensor, target: Tensor, observed: Tensor) -> Tensor:
        return reconstruction_loss(self._model(given), target, observed, kind=self._config.loss)

    def _corrupted(self, x: Tensor) -> Tensor:
        """Drop a share of the values that the encoder sees, and scale the others up for it."""
        share = self._config.input_dropout
        if share == 0:
            return x
        kept = torch.rand(x.shape, generator=self._noise, device=x.device) >= share
        return x * kept / (1 - share)


class _RunningMean:
    """Mean loss over observed steps, kept on the device: a read a batch would stall a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._total = torch.zeros((), dtype=torch.float64, device=device)
        self._n_steps = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, loss: Tensor, observed: Tensor) -> None:
        n_steps = observed.sum()
        self._total += loss.detach() * n_steps
        self._n_steps += n_steps

    def value(self) -> float:
        return float(self._total / self._n_steps)


def _require_finite(
    epoch: int, training_loss: float, validation_loss: float, config: TrainingConfig
) -> None:
    if math.isfinite(training_loss) and math.isfinite(validation_loss):
        return
    raise NonFiniteLossError(
        f"epoch {epoch} ended with a training loss of {training_loss} and a validation loss of "
        f"{validation_loss}; lower learning_rate (now {config.learning_rate}) or gradient_clip "
        f"(now {config.gradient_clip}), and see that the cube is standardised"
    )
