"""Scores of steps that need no autoencoder, all behind one interface: arrays in, `(E, S)` out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from models.expectations import (
    last_value_expectation,
    principal_components_expectation,
    trailing_expectation,
)
from models.step_scores import composition_deviance, counted_deviance, squared, surge

__all__ = ["BASELINES", "COUNT_BASELINES", "Scorer", "StepArrays", "baseline_scores"]

Floats = NDArray[np.float32]

TRAILING_STEPS = 26
"""Half a year of weeks."""

_MAX_FITTED = 50_000
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class StepArrays:
    """What a scorer may look at.

    Attributes
    ----------
    values
        `(E, S, F)` float32, standardised; finite, 0 in masked steps.
    observed
        `(E, S)` bool.
    training
        `(E, S)` bool: the steps that may be learnt from.
    training_windows, windows
        `(N, 2)` int64.
    length
        T, the steps of a window.
    n_components
        Numbers that PCA compresses a window to: the autoencoder's latent size.
    seed
        Of everything drawn.
    counted
        `(F,)` bool: features that can surge; None for all.
    counts
        `(E, S, C)`: events by the finest kinds, which exclude each other; None where nothing is
        counted, and so are the next two.
    volume, conflict
        `(E, S)` float32: all events, and those of material conflict, standardised as root counts.
    """

    values: Floats
    observed: NDArray[np.bool_]
    training: NDArray[np.bool_]
    training_windows: NDArray[np.int64]
    windows: NDArray[np.int64]
    length: int
    n_components: int
    seed: int
    counted: NDArray[np.bool_] | None = None
    counts: NDArray[Any] | None = None
    volume: Floats | None = None
    conflict: Floats | None = None


Scorer = Callable[[StepArrays], Floats]
"""Gives every step a score `(E, S)`: the higher, the more anomalous; NaN where it has none."""


def baseline_scores(data: StepArrays) -> dict[str, Floats]:
    """Return the scores of every baseline that the data allow, by name; NaN in masked steps.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(size=(2, 40, 3)).astype(np.float32)
    >>> windows = np.argwhere(np.ones((2, 33), bool))
    >>> everything = np.ones((2, 40), bool)
    >>> data = StepArrays(
    ...     values=values, observed=everything, training=everything, training_windows=windows,
    ...     windows=windows, length=8, n_components=2, seed=0,
    ... )
    >>> list(baseline_scores(data))
    ['training mean', 'persistence', 'trailing surge', 'PCA', 'PCA surge', 'isolation forest']
    """
    scorers = dict(BASELINES)
    if data.counts is not None:
        scorers |= COUNT_BASELINES
    return {
        name: np.where(data.observed, scorer(data), np.float32(np.nan))
        for name, scorer in scorers.items()
    }


def _training_mean(data: StepArrays) -> Floats:
    return squared(data.values)


def _persistence(data: StepArrays) -> Floats:
    return squared(data.values - last_value_expectation(data.values, data.observed))


def _trailing_surge(data: StepArrays) -> Floats:
    expected = trailing_expectation(data.values, data.observed, n_steps=TRAILING_STEPS)
    return squared(np.maximum(data.values - expected, 0)[..., _counted(data)])


def _pca(data: StepArrays) -> Floats:
    return squared(data.values - _pca_expectation(data))


def _pca_surge(data: StepArrays) -> Floats:
    return surge(data.values - _pca_expectation(data), counted=data.counted)


def _pca_expectation(data: StepArrays) -> Floats:
    return principal_components_expectation(
        data.values,
        data.observed,
        data.training_windows,
        data.windows,
        length=data.length,
        n_components=data.n_components,
        seed=data.seed,
    )


def _isolation_forest(data: StepArrays) -> Floats:
    """Score by Liu, Ting and Zhou (2008), fitted on training steps."""
    rows = np.argwhere(data.training)
    if len(rows) > _MAX_FITTED:
        chosen = np.random.default_rng(data.seed).choice(len(rows), _MAX_FITTED, replace=False)
        rows = rows[np.sort(chosen)]
    forest = IsolationForest(random_state=data.seed).fit(data.values[tuple(rows.T)])
    flat = data.values.reshape(-1, data.values.shape[2])
    parts = [
        -forest.score_samples(flat[first : first + _ROWS_AT_ONCE])
        for first in range(0, len(flat), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.float32).reshape(data.observed.shape)


def _volume_surge(data: StepArrays) -> Floats:
    return _given(data.volume, "volume")


def _material_conflict(data: StepArrays) -> Floats:
    return _given(data.conflict, "conflict")


def _g_composition(data: StepArrays) -> Floats:
    counts, usual = _counts_and_usual(data)
    expected = np.broadcast_to(usual[:, None], counts.shape)
    return composition_deviance(counts, expected)


def _g_counts(data: StepArrays) -> Floats:
    counts, usual = _counts_and_usual(data)
    return counted_deviance(counts, np.broadcast_to(usual[:, None], counts.shape))


def _counts_and_usual(data: StepArrays) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return counts `(E, S, C)`, and each entity's mean training counts `(E, C)`.

    Five invented events, composed as those of all entities, keep a kind of event that an entity
    never had from weighing without bound.
    """
    counts = _given(data.counts, "counts")
    seen = data.training[..., None]
    total = np.where(seen, counts, 0).sum(axis=1, dtype=np.float64)
    n = seen.sum(axis=1)
    common = total.sum(axis=0) / max(total.sum(), 1)
    return counts, (total + 5 * common) / np.maximum(n, 1)


def _counted(data: StepArrays) -> Any:
    return slice(None) if data.counted is None else data.counted


def _given(array: NDArray[Any] | None, name: str) -> NDArray[Any]:
    if array is None:
        raise ValueError(f"{name} is None; this scorer needs events that are counted")
    return array


BASELINES: Mapping[str, Scorer] = MappingProxyType(
    {
        "training mean": _training_mean,
        "persistence": _persistence,
        "trailing surge": _trailing_surge,
        "PCA": _pca,
        "PCA surge": _pca_surge,
        "isolation forest": _isolation_forest,
    }
)
"""Scorers of any series."""

COUNT_BASELINES: Mapping[str, Scorer] = MappingProxyType(
    {
        "volume surge": _volume_surge,
        "material conflict": _material_conflict,
        "G-test of composition": _g_composition,
        "G-test of counts": _g_counts,
    }
)
"""Scorers of counted events."""
