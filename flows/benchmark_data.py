"""Labelled series made ready for a benchmark: which, how, and as one cube cut into parts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from features.labelled_arrays import LabelledArrays, load_labelled_arrays
from features.transforms import Standardiser, TransformConfig
from features.windows import WindowConfig, find_windows
from models import AutoencoderConfig, TrainingConfig

Floats = NDArray[np.float32]

SERIES_AUTOENCODER: Final = AutoencoderConfig()
SERIES_TRAINING: Final = TrainingConfig(
    loss="huber", epochs=30, learning_rate=1e-2, patience=5, input_dropout=0.2, hidden_newest=0.5
)
"""As for events, but short enough for a CPU."""

_LIMIT: Final = 100
"""Standard deviations: a value beyond is no more anomalous, and its square could overflow."""

_VALUES_A_NUMBER: Final = 4
"""Values of a window for each number of its embedding, at least."""

_STANDARDISE: Final = TransformConfig(representation="proportion", standardise="entity")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Which labelled series are scored, and how.

    Attributes
    ----------
    files
        ``.npz`` files, as `features.labelled_arrays.load_labelled_arrays` reads them.
    data
        Folder for everything that is written.
    length
        Steps in a window; fewer where a file's train is too short for it.
    validation_share
        Share of the steps of train, its last ones, that the model isn't trained on: they stop
        its training, and thresholds come from them.
    threshold_quantile
        A scorer's threshold is this quantile of its scores of validation steps.
    max_window
        The widest buffer of VUS-PR, in steps.
    seeds
        Runs of each scorer: with the seeds 0, 1, …
    autoencoder
        The latent size is lowered to a quarter of the values of a window where it is more.
    training
        The seed is that of each run.

    Raises
    ------
    ValueError
        If there is no file or one twice, a number is out of its range, or the loss is one of
        events that are counted.

    Examples
    --------
    >>> BenchmarkConfig(files=(Path("pump.npz"),)).seeds
    3
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    files: tuple[Path, ...]
    data: Path = Path("data/lake")
    length: int = 16
    validation_share: float = 0.2
    threshold_quantile: float = 0.99
    max_window: int = 16
    seeds: int = 3
    autoencoder: AutoencoderConfig = SERIES_AUTOENCODER
    training: TrainingConfig = SERIES_TRAINING

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        names = [str(file.resolve()) for file in self.files]
        if not names or len(set(names)) < len(names):
            msg = f"files={[*map(str, self.files)]}: expected at least one .npz file, none twice"
            raise ValueError(msg)
        for name, least in {"length": 2, "seeds": 1, "max_window": 0}.items():
            if getattr(self, name) < least:
                msg = f"{name}={getattr(self, name)}: expected at least {least}"
                raise ValueError(msg)
        for name in ("validation_share", "threshold_quantile"):
            if not 0 < getattr(self, name) < 1:
                msg = f"{name}={getattr(self, name)}: expected above 0 and below 1"
                raise ValueError(msg)
        if self.training.loss == "multinomial" or self.training.power_of_exposure:
            msg = (
                f"training.loss={self.training.loss!r} with training.exposure_power="
                f"{self.training.exposure_power}: no events are counted in labelled series; "
                "expected 'mse', 'huber' or 'l1', and no exposure_power"
            )
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledCube:
    """Train and test of a file, one after the other, standardised.

    Attributes
    ----------
    file
        Where they come from.
    values
        float32 ``(E, S, F)``: 0 in steps that are not observed.
    observed
        bool ``(E, S)``.
    labels
        bool ``(E, S - test_start)``: the anomalous steps of test.
    validation_start, test_start
        First step of the last part of train, and of test.
    length
        Steps in a window.
    """

    file: Path
    values: Floats
    observed: NDArray[np.bool_]
    labels: NDArray[np.bool_]
    validation_start: int
    test_start: int
    length: int

    def windows(self, first: int, end: int, *, min_observed: float = 0.5) -> NDArray[np.int64]:
        """Return the windows, int64 ``(N, 2)``, within some steps that are observed enough."""
        config = WindowConfig(
            length=self.length, min_step_events=1, min_window_events=1, min_observed=min_observed
        )
        index = find_windows(self.observed[:, first:end].astype(np.int64), config).index
        index[:, 1] += first
        return index

    def sized(self, config: AutoencoderConfig) -> AutoencoderConfig:
        """Return the configuration with a latent size that windows have enough values for."""
        most = max(1, self.length * self.values.shape[2] // _VALUES_A_NUMBER)
        return replace(config, latent_size=min(config.latent_size, most))


def read_labelled_cube(file: Path, config: BenchmarkConfig) -> LabelledCube:
    """Read a file, cut its train in two, and standardise everything by the first part.

    Each series is centred, each feature brought to the same deviation over all series together,
    and then to that of each series (see `Standardiser`, which doesn't let the deviation of one
    be much less than that of all). What is beyond 100 deviations is cut off there.

    Parameters
    ----------
    file
        One of `config.files`.
    config
        How.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it isn't as `load_labelled_arrays` wants it, no observed step of test is labelled as
        anomalous, or too few steps of train are observed.
    """
    arrays = load_labelled_arrays(file)
    n_steps = arrays.train.shape[1]
    n_validation = max(1, round(config.validation_share * n_steps))
    start = n_steps - n_validation
    if min(start, n_validation) < 2:
        msg = (
            f"{file}: train has {n_steps} steps, of which the last {n_validation} are for "
            "validation; expected at least 2 for that, and 2 before them"
        )
        raise ValueError(msg)
    if not arrays.train_observed[:, :start].any():
        msg = f"{file}: none of the first {start} steps of train is observed; fill gaps of train"
        raise ValueError(msg)
    cube = LabelledCube(
        file=file,
        values=_standardised(arrays, start),
        observed=np.concatenate([arrays.train_observed, arrays.test_observed], axis=1),
        labels=arrays.labels,
        validation_start=start,
        test_start=n_steps,
        length=min(config.length, start, n_validation),
    )
    _validate(cube)
    return cube


def _standardised(arrays: LabelledArrays, validation_start: int) -> Floats:
    """Return train and test ``(E, S, F)`` in deviations of the steps that are trained on."""
    known = arrays.train_observed[:, :validation_start]
    mean, deviation = _statistics(arrays.train[:, :validation_start], known)

    def in_deviations(values: Floats) -> Floats:
        scaled = np.clip((values - mean[:, None]) / deviation, -_LIMIT, _LIMIT)
        return scaled.astype(np.float32)

    train, test = in_deviations(arrays.train), in_deviations(arrays.test)
    own = Standardiser.fit(train[:, :validation_start], known, _STANDARDISE)
    parts = own.transform(train, arrays.train_observed), own.transform(test, arrays.test_observed)
    both: Floats = np.concatenate(parts, axis=1).clip(-_LIMIT, _LIMIT)
    return both


def _statistics(
    values: Floats, known: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each series ``(E, F)``, and the deviation from it over all ``(F,)``."""
    shown = np.where(known[..., None], values, 0).astype(np.float64)
    n = known.sum(axis=1)[:, None]
    common = shown.sum(axis=(0, 1)) / n.sum()
    mean = np.where(n > 0, shown.sum(axis=1) / np.maximum(n, 1), common)
    off = np.where(known[..., None], shown - mean[:, None], 0)
    deviation = np.sqrt(np.square(off).sum(axis=(0, 1)) / n.sum())
    # A feature that never varies is only centred: what rounding leaves of it is no deviation.
    rounding = 1e-12 * np.abs(shown).max(axis=(0, 1))
    return mean, np.where(deviation > rounding, deviation, 1.0)


def _validate(cube: LabelledCube) -> None:
    if not (cube.labels & cube.observed[:, cube.test_start :]).any():
        msg = (
            f"{cube.file}: labels mark {int(cube.labels.sum())} steps of test as anomalous, and "
            "none that is observed; there is nothing to be found"
        )
        raise ValueError(msg)
    parts = {
        "training": (0, cube.validation_start),
        "validation": (cube.validation_start, cube.test_start),
    }
    for name, (first, end) in parts.items():
        n_observed = int(cube.observed[:, first:end].sum())
        if n_observed < 2 or len(cube.windows(first, end)) == 0:
            msg = (
                f"{cube.file}: {n_observed} steps of the {name} part of train ({first} to "
                f"{end - 1}) are observed, and no {cube.length} in a row half of which are; fill "
                "gaps, or change the length or the validation share"
            )
            raise ValueError(msg)
