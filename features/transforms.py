"""Differencing and standardising, both with their inverse.

The celebrated collapse to the mean is first of all an input whose variation is tiny beside its
level: differencing removes the level, standardising brings the variation to one.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """What is done to proportions before a model sees them.

    Attributes
    ----------
    difference
        Whether each step is replaced by its change from the last observed step.
    standardise
        ``entity``: by mean and standard deviation of each entity and feature; ``feature``: of each
        feature over all entities; ``none``: not at all.
    min_scale
        Standard deviations are raised to at least this share of their feature's own over all
        entities, and that to this share of the mean over features: a type of event that hardly
        ever occurs must not make every occurrence look enormous.

    Raises
    ------
    ValueError
        If `min_scale` isn't above 0.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    difference: bool = False
    standardise: Literal["entity", "feature", "none"] = "entity"
    min_scale: float = 0.5

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
    """

    mean: Floats
    scale: Floats

    @classmethod
    def fit(
        cls, values: Floats, observed: Mask, config: TransformConfig | None = None
    ) -> "Standardiser":
        """Take the statistics of the observed steps given: pass those of training only.

        An entity with few observed steps is shrunk towards all entities: its statistics are
        weighed as if `_PRIOR_STEPS` steps of the common ones had been seen as well.

        Raises
        ------
        ValueError
            If nothing is observed.
        """
        config = config or TransformConfig()
        if not observed.any():
            msg = "nothing observed to standardise by: every step of the training part is masked"
            raise ValueError(msg)
        n_features = values.shape[-1]
        if config.standardise == "none":
            return cls(
                mean=np.zeros((1, n_features), np.float32),
                scale=np.ones((1, n_features), np.float32),
            )
        common_mean, common_scale = _common_statistics(values, observed, config.min_scale)
        if config.standardise == "feature":
            return cls(mean=common_mean, scale=common_scale)
        return cls(
            **_entity_statistics(values, observed, common_mean, common_scale, config.min_scale)
        )

    def transform(self, values: Floats, observed: Mask) -> Floats:
        """Standardise float32 ``(E, S, F)``; steps that are not observed become 0."""
        scaled = (values - self.mean[:, None]) / self.scale[:, None]
        return np.where(observed[..., None], scaled, np.float32(0))

    def inverse(self, scaled: Floats) -> Floats:
        """Return float32 ``(E, S, F)`` to the units that it came in."""
        return scaled * self.scale[:, None] + self.mean[:, None]


_PRIOR_STEPS = 10


def _common_statistics(values: Floats, observed: Mask, min_scale: float) -> tuple[Floats, Floats]:
    seen = values[observed].astype(np.float64)
    deviation = seen.std(axis=0)
    floor = min_scale * deviation.mean() or 1.0
    scale = np.maximum(deviation, floor)
    return seen.mean(axis=0, keepdims=True).astype(np.float32), scale[None].astype(np.float32)


def _entity_statistics(
    values: Floats, observed: Mask, mean: Floats, scale: Floats, min_scale: float
) -> dict[str, Floats]:
    weight = observed[..., None]
    n = weight.sum(axis=1)
    total = np.where(weight, values, 0).sum(axis=1, dtype=np.float64)
    own_mean = (total + _PRIOR_STEPS * mean) / (n + _PRIOR_STEPS)
    squares = np.where(weight, (values - own_mean[:, None]) ** 2, 0).sum(axis=1, dtype=np.float64)
    variance = (squares + _PRIOR_STEPS * scale.astype(np.float64) ** 2) / (n + _PRIOR_STEPS)
    return {
        "mean": own_mean.astype(np.float32),
        "scale": np.maximum(np.sqrt(variance), min_scale * scale).astype(np.float32),
    }


def _carried_forward(values: Floats, observed: Mask) -> Floats:
    """Give each step the value of the last observed step up to it; 0 before the first."""
    positions = np.where(observed, np.arange(observed.shape[1]), -1)
    last = np.maximum.accumulate(positions, axis=1)
    carried = np.take_along_axis(values, np.maximum(last, 0)[..., None], axis=1)
    return np.where((last >= 0)[..., None], carried, np.float32(0))
