"""The autoencoder as an estimator in scikit-learn's manners, over the same code."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from models.architecture import AutoencoderConfig, Bottleneck, DecoderKind, Direction
from models.autoencoder import LSTMAutoencoder
from models.device import Device, Precision, resolve_device
from models.errors import ShapeError
from models.losses import LossKind, Reduction
from models.progress import ProgressBar
from models.scoring import place_model
from models.training import train
from models.training_config import Optimizer, Schedule, TrainedModel, TrainingConfig
from models.window_units import WindowUnits, read_windows

__all__ = ["WindowAutoencoder"]

_LEAST_SPLIT = 10  # with fewer windows none are kept from training
_BATCH_SIZE = 512

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]


# A dataclass writes the `__init__` that scikit-learn asks for: it stores and checks nothing.
@dataclass(kw_only=True, eq=False, repr=False)
class WindowAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Embed windows `(N, T, F)` and say how unusual they are.

    A step with a NaN in it is not observed: it counts in no loss and no score. Statistics and
    weights are learnt from the training windows only. The same windows, parameters and
    `random_state` give the same model, on the CPU bit for bit.

    Parameters
    ----------
    decoder, latent_size, hidden_sizes, bidirectional, embedding_size, direction, dropout
        See `AutoencoderConfig`.
    bottleneck
        As there, but `"hidden"` unless told otherwise, so that the embedding is all that crosses
        and can be decoded. With `"state"`, or None where that means `"state"`,
        `inverse_transform` raises.
    loss, reduction, exposure_power, epochs, batch_size, optimizer, learning_rate, schedule
        See `TrainingConfig`. With the loss `"multinomial"` X holds proportions; the encoder sees
        them standardised, and they are reconstructed as they are.
    weight_decay, gradient_clip, mix_epochs, patience, min_delta, input_dropout, hidden_newest
        See `TrainingConfig`.
    device, precision, slab_bytes
        See `TrainingConfig`.
    random_state
        Determines weights, order and what is left out; None means others at each fit.
    share_groups
        With the loss `"multinomial"`: sizes of consecutive groups of features, each group shares
        of one whole; features after them are values. None means one group of all.
    standardise
        By the mean and standard deviation of each feature over the observed steps of the training
        windows. Constant features are only centred.
    difference
        After standardising, each step but the first is replaced by its change from the step
        before; a change from or to a step that is not observed isn't either.
    validation_share
        Share of the windows that training stops by, the last ones, as neighbours often overlap.
        With 0, or under 10 windows, those of training are used.
    verbose
        Whether to show a `ProgressBar`.
    resume
        A file from which an interrupted fit goes on; see `train`.

    Attributes
    ----------
    model_
        The `LSTMAutoencoder`, on the CPU.
    trained_
        The `TrainedModel`, for `save`.
    n_features_in_, length_
        F and T of the windows that it was fitted on.
    mean_, scale_
        `(F,)`, what X is standardised by: 0 and 1 without `standardise`.
    n_iter_, history_
        How many epochs were trained, and their reports.

    Examples
    --------
    >>> series = np.sin(np.arange(200) / 3)
    >>> X = np.lib.stride_tricks.sliding_window_view(series, 10)[..., None]
    >>> estimator = WindowAutoencoder(latent_size=4, epochs=2).fit(X)
    >>> Z = estimator.transform(X)
    >>> X.shape, Z.shape, estimator.score_samples(X).shape
    ((191, 10, 1), (191, 4), (191,))
    >>> bool(np.allclose(estimator.inverse_transform(Z), estimator.reconstruct(X)))
    True
    """

    decoder: DecoderKind = AutoencoderConfig.decoder
    latent_size: int = AutoencoderConfig.latent_size
    hidden_sizes: Sequence[int] | None = AutoencoderConfig.hidden_sizes
    bidirectional: bool = AutoencoderConfig.bidirectional
    embedding_size: int = AutoencoderConfig.embedding_size
    bottleneck: Bottleneck | None = "hidden"
    direction: Direction = AutoencoderConfig.direction
    dropout: float = AutoencoderConfig.dropout
    loss: LossKind = TrainingConfig.loss
    reduction: Reduction = TrainingConfig.reduction
    exposure_power: float | None = TrainingConfig.exposure_power
    epochs: int = TrainingConfig.epochs
    batch_size: int = TrainingConfig.batch_size
    optimizer: Optimizer = TrainingConfig.optimizer
    learning_rate: float = TrainingConfig.learning_rate
    schedule: Schedule = TrainingConfig.schedule
    weight_decay: float = TrainingConfig.weight_decay
    gradient_clip: float = TrainingConfig.gradient_clip
    mix_epochs: int = TrainingConfig.mix_epochs
    patience: int = TrainingConfig.patience
    min_delta: float = TrainingConfig.min_delta
    input_dropout: float = TrainingConfig.input_dropout
    hidden_newest: float = TrainingConfig.hidden_newest
    random_state: int | None = TrainingConfig.seed
    device: Device = TrainingConfig.device
    precision: Precision = TrainingConfig.precision
    slab_bytes: int | None = TrainingConfig.slab_bytes
    share_groups: Sequence[int] | None = None
    standardise: bool = True
    difference: bool = False
    validation_share: float = 0.1
    verbose: bool = False
    resume: Path | str | None = None

    def fit(self, X: ArrayLike, y: object = None, *, exposure: ArrayLike | None = None) -> Self:
        """Train on windows `(N, T, F)`.

        Parameters
        ----------
        X
            Numbers, in time order; NaN where nothing was observed.
        y
            Not used.
        exposure
            `(N, T)`: events behind each step, where `exposure_power` is not 0.

        Raises
        ------
        ShapeError
            If X or the exposure has another shape or holds no numbers.
        ValueError
            If a parameter is out of its range, X holds infinity, or nothing is observed in the
            training or the validation windows; see also `train`.
        """
        configs, values = self._configs(), read_windows(X)
        early, late = self._split(len(values))
        units = WindowUnits.fit(
            values[early[:, 0]],
            n_shares=self._n_shares(values.shape[2]),
            standardise=self.standardise,
            difference=self.difference,
        )
        self.trained_ = self._train(values, units, (early, late), exposure, configs)
        self.model_, self.history_ = self.trained_.model, self.trained_.history
        self.n_iter_ = len(self.history_)
        self.length_, self.n_features_in_ = values.shape[1:]
        self._units, self.mean_, self.scale_ = units, units.mean, units.scale
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the embeddings `(N, L)` of windows `(N, T, F)`; T need not be as fitted.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ShapeError
            If X has another shape or other features.
        ValueError
            If X holds infinity or numbers beyond float32.
        """
        check_is_fitted(self)
        inputs, _ = self._units.inputs(read_windows(X, self.n_features_in_))
        return self._in_batches(lambda model, x: model.encode(x), inputs)

    def inverse_transform(self, Z: ArrayLike, *, length: int | None = None) -> Doubles:
        """Return the windows `(N, T, F)` that embeddings `(N, L)` stand for, in X's units.

        Those of `transform(X)` are `reconstruct(X)`. `length` is T; None means as fitted.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ShapeError
            If Z has another shape.
        ValueError
            If more than the embedding crosses the bottleneck, or `length` is under 1.
        """
        check_is_fitted(self)
        config, steps = self.model_.config, self.length_ if length is None else length
        if config.passes_state:
            raise ValueError(
                "an embedding is half of what this model decodes, for the cell state crosses "
                "beside it; fit with bottleneck='hidden', or use reconstruct(X)"
            )
        codes = np.asarray(Z, np.float32)
        if codes.ndim != 2 or codes.shape[1] != config.latent_size or not len(codes):
            raise ShapeError(
                f"Z has shape {codes.shape}; expected (N, {config.latent_size}), embeddings as "
                "transform returns them"
            )
        if steps < 1:
            raise ValueError(f"length is {length}; a window has at least 1 step")
        return self._units.restored(
            self._in_batches(lambda model, z: model.reconstruction(model.decode(z, steps)), codes)
        )

    def reconstruct(self, X: ArrayLike) -> Doubles:
        """Return windows `(N, T, F)` as the model rebuilds them, in X's units, gaps filled.

        Raises
        ------
        NotFittedError, ShapeError, ValueError
            As `transform`.
        """
        check_is_fitted(self)
        inputs, _ = self._units.inputs(read_windows(X, self.n_features_in_))
        return self._units.restored(self._outputs(inputs))

    def score_samples(self, X: ArrayLike) -> Doubles:
        """Return how normal windows `(N, T, F)` are, `(N,)`: the higher, the more so.

        It is minus the mean squared error over a window's observed values, standardised and, with
        `difference`, changes; NaN if nothing is observed.

        Raises
        ------
        NotFittedError, ShapeError, ValueError
            As `transform`.
        """
        check_is_fitted(self)
        values = read_windows(X, self.n_features_in_)
        inputs, observed = self._units.inputs(values)
        errors = self._units.errors(self._outputs(inputs), values)
        squares = np.where(observed, np.square(errors).mean(axis=2), 0.0)
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a window without a step
            scores: Doubles = -squares.sum(axis=1) / observed.sum(axis=1)
        return scores

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Return the mean of `score_samples` over the windows that have a score, or NaN.

        Raises
        ------
        NotFittedError, ShapeError, ValueError
            As `transform`.
        """
        scores = self.score_samples(X)
        known = scores[~np.isnan(scores)]
        return float(known.mean()) if len(known) else float("nan")

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: windows, gaps allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.input_tags.allow_nan = True
        return tags

    @property
    def _n_features_out(self) -> int:
        width: int = self.model_.config.latent_size
        return width

    def _configs(self) -> tuple[AutoencoderConfig, TrainingConfig]:
        """Check the parameters and sort them into the configurations."""
        if self.random_state is None and self.resume is not None:
            raise ValueError(
                "random_state is None, so that no fit is that of the file to resume from; give "
                "an int"
            )
        seed = self.random_state
        if seed is None:
            seed = int(np.random.default_rng().integers(2**63))
        given = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        given["seed"] = _plain(seed)
        names = [
            [field.name for field in dataclasses.fields(kind)]
            for kind in (AutoencoderConfig, TrainingConfig)
        ]
        architecture, training = ({name: given[name] for name in part} for part in names)
        return AutoencoderConfig(**architecture), TrainingConfig(**training)

    def _train(
        self,
        values: Doubles,
        units: WindowUnits,
        parts: tuple[Rows, Rows],
        exposure: ArrayLike | None,
        configs: tuple[AutoencoderConfig, TrainingConfig],
    ) -> TrainedModel:
        """Train on a cube in which each window is an entity."""
        inputs, observed = units.inputs(values)
        epochs = configs[1].epochs
        with ProgressBar(epochs=epochs) if self.verbose else nullcontext() as bar:
            return train(
                inputs,
                observed,
                *parts,
                length=values.shape[1],
                target=units.targets(values) if self.loss == "multinomial" else None,
                exposure=None if exposure is None else np.asarray(exposure),
                share_groups=_plain(self.share_groups),
                autoencoder=configs[0],
                training=configs[1],
                on_epoch=None if bar is None else bar.epoch,
                on_batch=None if bar is None else bar.batch,
                resume=self.resume,
            )

    def _n_shares(self, n_features: int) -> int:
        """Return how many features, from the first, are reconstructed as they are."""
        if self.loss != "multinomial":
            return 0
        return n_features if self.share_groups is None else sum(self.share_groups)

    def _split(self, n_windows: int) -> tuple[Rows, Rows]:
        """Return the rows (window, 0) of training and of validation."""
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share is {self.validation_share}; it must be in [0, 1)")
        rows = np.stack([np.arange(n_windows), np.zeros(n_windows, np.int64)], axis=1)
        if n_windows < _LEAST_SPLIT or self.validation_share == 0:
            return rows, rows
        n_late = max(1, int(n_windows * self.validation_share))
        return rows[:-n_late], rows[-n_late:]

    def _outputs(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._in_batches(lambda model, x: model.encode_and_reconstruct(x)[1], inputs)

    @torch.inference_mode()
    def _in_batches(
        self, call: Callable[[LSTMAutoencoder, Tensor], Tensor], rows: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        model, device = place_model(self.model_, self.device), resolve_device(self.device)
        parts = [
            call(model, torch.tensor(rows[first : first + _BATCH_SIZE], device=device)).cpu()
            for first in range(0, len(rows), _BATCH_SIZE)
        ]
        result: NDArray[np.float32] = torch.cat(parts).numpy()
        return result


def _plain(value: Any) -> Any:
    """Return what JSON can hold instead of numpy's numbers and sequences."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(map(_plain, value))
    return value
