"""Differencing and standardising, both with their inverse.

The celebrated collapse to the mean is first of all an input whose variation is tiny beside its
level: differencing removes the level, standardising brings the variation to one.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from features.representation import Representation

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """What is done to proportions before a model sees them.

    Attributes
    ----------
    representation
        See `features.representation.Representation`.
    difference
        Whether each step is replaced by its change from the last observed step.
    standardise
        ``entity``: by mean and standard deviation of each entity and feature; ``feature``: of each
        feature over all entities; ``none``: not at all.
    min_scale
        Standard deviations are raised to at least this share of their feature's own over all
        entities, and that to this share of the mean over features: a type of event that hardly
        ever occurs must not make every occurrence look enormous. Those of root counts are raised
        to their sampling noise, one half, instead of the latter.
    common_volume
        Whether root counts are expected to rise and fall with the events of all other entities
        (see `features.representation.common_volume`).

    Raises
    ------
    ValueError
        If `min_scale` isn't above 0.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    representation: Representation = "root_counts"
    difference: bool = False
    standardise: Literal["entity", "feature", "none"] = "entity"
    min_scale: float = 0.5
    common_volume: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.min_scale < math.inf:
            msg = f"min_scale={self.min_scale}: expected above 0 and finite"
            raise ValueError(msg)


def difference(values: Floats, observed: Mask) -> Floats:
    """Replace each step by its change from the last observed one before it.

    The first observed step keeps its value, so that nothing is lost: see `undifference`.

    Parameters
    ----------
    values
        float32 ``(E, S, F)``.
    observed
        bool ``(E, S)``. Values of other steps are not looked at; they become 0.

    Returns
    -------
    numpy.ndarray
        float32 ``(E, S, F)``.

    Examples
    --------
    >>> values = np.array([[[1.0], [np.nan], [4.0]]], np.float32)
    >>> difference(values, np.array([[True, False, True]])).ravel().tolist()
    [1.0, 0.0, 3.0]
    """
    filled = _carried_forward(values, observed)
    changes = np.diff(filled, axis=1, prepend=np.float32(0))
    return np.where(observed[..., None], changes, np.float32(0))


def undifference(changes: Floats, observed: Mask) -> Floats:
    """Invert `difference`, up to the rounding of float32, on the observed steps; else NaN."""
    sums = np.cumsum(changes, axis=1, dtype=np.float64).astype(np.float32)
    return np.where(observed[..., None], sums, np.float32(np.nan))


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardiser:
    """Mean and standard deviation of the training period, to subtract and divide by.

    Attributes
    ----------
    mean, scale
        float32 ``(E, F)`` or, where all entities share them, ``(1, F)``.
    level
        float32 ``(E, S)``: what the mean is multiplied by in each step; None for 1 throughout.
    """

    mean: Floats
    scale: Floats
    level: Floats | None = None

    @classmethod
    def fit(
        cls,
        values: Floats,
        observed: Mask,
        config: TransformConfig | None = None,
        *,
        prior: "Prior | None" = None,
    ) -> "Standardiser":
        """Take the statistics of the observed steps given: pass those of training only.

        An entity with few observed steps is shrunk towards all entities: its statistics are
        weighed as if `_PRIOR_STEPS` steps of the common ones had been seen as well.

        Parameters
        ----------
        values, observed
            float32 ``(E, S, F)`` and bool ``(E, S)``.
        config
            What is done; None for the defaults.
        prior
            What is known of the values beforehand; None for nothing: then the common mean is that
            of all entities, and the least deviation a share of the common one.

        Raises
        ------
        ValueError
            If nothing is observed.
        """
        config = config or TransformConfig()
        if not observed.any():
            msg = "nothing observed to standardise by: every step of the training part is masked"
            raise ValueError(msg)
        prior = prior or Prior()
        n_features = values.shape[-1]
        if config.standardise == "none":
            return cls(
                mean=np.zeros((1, n_features), np.float32),
                scale=np.ones((1, n_features), np.float32),
            )
        mean, scale = _common_statistics(values, observed, config, prior)
        if config.standardise == "entity":
            mean, scale = _entity_statistics(values, observed, (mean, scale), config, prior)
        return cls(mean=mean.astype(np.float32), scale=scale.astype(np.float32), level=prior.level)

    def transform(self, values: Floats, observed: Mask) -> Floats:
        """Standardise float32 ``(E, S, F)``; steps that are not observed become 0."""
        scaled = (values - self.expected) / self.scale[:, None]
        return np.where(observed[..., None], scaled, np.float32(0))

    def inverse(self, scaled: Floats) -> Floats:
        """Return float32 ``(E, S, F)`` to the units that it came in."""
        return scaled * self.scale[:, None] + self.expected

    @property
    def expected(self) -> Floats:
        """The mean in each step, float32 ``(E, S, F)``, ``(E, 1, F)`` or ``(1, 1, F)``."""
        mean = self.mean[:, None]
        return mean if self.level is None else mean * self.level[..., None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """What is known of values before their statistics are taken.

    Attributes
    ----------
    mean
        float32 ``(E, F)``: the mean that an entity's is shrunk towards; None for that of all.
    noise
        Least standard deviation of a single value; None where none is known.
    level
        float32 ``(E, S)``: what a mean is multiplied by in each step; None for 1 throughout.
    """

    mean: Floats | None = None
    noise: float | None = None
    level: Floats | None = None


_PRIOR_STEPS = 10


def _common_statistics(
    values: Floats, observed: Mask, config: TransformConfig, prior: Prior
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of all entities together, ``(1, F)`` each."""
    seen = values[observed].astype(np.float64)
    level = np.ones(len(seen)) if prior.level is None else prior.level[observed].astype(float)
    mean = seen.sum(axis=0, keepdims=True) / level.sum()
    deviation = np.sqrt(np.square(seen - level[:, None] * mean).mean(axis=0))
    floor = config.min_scale * deviation.mean() or 1.0 if prior.noise is None else prior.noise
    return mean, np.maximum(deviation, floor)[None]


def _entity_statistics(
    values: Floats,
    observed: Mask,
    common: tuple[NDArray[np.float64], NDArray[np.float64]],
    config: TransformConfig,
    prior: Prior,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of each entity, ``(E, F)`` each, shrunk towards the prior ones."""
    common_mean, common_scale = common
    level = observed if prior.level is None else np.where(observed, prior.level, 0)
    prior_mean = common_mean if prior.mean is None else prior.mean
    n, of_level = (array.sum(axis=1, dtype=np.float64)[:, None] for array in (observed, level))
    total = np.where(observed[..., None], values, 0).sum(axis=1, dtype=np.float64)
    mean = (total + _PRIOR_STEPS * prior_mean) / (of_level + _PRIOR_STEPS)
    expected = mean.astype(np.float32)[:, None] * level[..., None].astype(np.float32)
    off = np.where(observed[..., None], values - expected, 0)
    squares = np.square(off, out=off).sum(axis=1, dtype=np.float64)
    if prior.noise is None:
        common_variance, floor = common_scale**2, config.min_scale * common_scale
    else:
        common_variance = squares.sum(axis=0) / n.sum()
        floor = np.maximum(prior.noise, config.min_scale * common_scale)
    variance = (squares + _PRIOR_STEPS * common_variance) / (n + _PRIOR_STEPS)
    return mean, np.maximum(np.sqrt(variance), floor)


def _carried_forward(values: Floats, observed: Mask) -> Floats:
    """Give each step the value of the last observed step up to it; 0 before the first."""
    positions = np.where(observed, np.arange(observed.shape[1]), -1)
    last = np.maximum.accumulate(positions, axis=1)
    carried = np.take_along_axis(values, np.maximum(last, 0)[..., None], axis=1)
    return np.where((last >= 0)[..., None], carried, np.float32(0))
