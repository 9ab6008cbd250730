"""Scores of steps, made of residuals: how far each feature is from what was expected of it.

A residual is observed less expected, in standardised units: those of the entity's usual variation,
never less than the sampling noise where the cube holds root counts. `(E, S, F)` float32, NaN where
a step was not observed or nothing was expected of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError

__all__ = [
    "SURGE_POWER",
    "composition_deviance",
    "composition_residuals",
    "counted_deviance",
    "over_two_steps",
    "relative_to_usual",
    "squared",
    "surge",
    "surge_parts",
    "usual_scores",
]

Floats = NDArray[np.float32]

SURGE_POWER = 1.5
"""Between the square, which one rare event dominates, and the absolute value, which noise does."""

_TWO_STEPS_WEIGHT = 0.5
_PRIOR_STEPS = 10
_LEAST_EXPECTED = 1e-6


def squared(residuals: Floats) -> Floats:
    """Return the mean square `(E, S)` of residuals `(E, S, F)` over the features.

    Examples
    --------
    >>> squared(np.float32([[[1, -3]]])).tolist()
    [[5.0]]
    """
    mean: Floats = np.square(residuals).mean(axis=-1)
    return mean


def surge_parts(residuals: Floats, *, with_two_steps: bool = True) -> Floats:
    """Return each feature's part `(E, S, F)` in `surge`.

    Examples
    --------
    >>> surge_parts(np.float32([[[4, -9, 0]]]), with_two_steps=False).tolist()
    [[[8.0, 0.0, 0.0]]]
    """
    parts = _powered(residuals)
    if with_two_steps:
        parts += np.float32(_TWO_STEPS_WEIGHT) * _powered(over_two_steps(residuals))
    return parts


def surge(
    residuals: Floats, *, counted: NDArray[np.bool_] | None = None, with_two_steps: bool = True
) -> Floats:
    """Return how much more there is in a step than was expected, `(E, S)`.

    With r the residuals of a step and q those of it and the step before together
    (`over_two_steps`), it is the mean over features of max(r, 0)^1.5 + ½ max(q, 0)^1.5. What goes
    on for two steps counts for more than what is over in one; a lack of events is no surge.

    Parameters
    ----------
    residuals
        `(E, S, F)`.
    counted
        `(F,)`: features that can surge; all by default. More of a mean intensity is no surge.
    with_two_steps
        Whether the second term is added.

    Raises
    ------
    ShapeError
        If `counted` doesn't fit.

    Examples
    --------
    >>> surge(np.float32([[[4, -9], [4, 0]]]), with_two_steps=False).tolist()
    [[4.0, 4.0]]
    >>> surge(np.float32([[[4, -9], [4, 0]]])).round(1).tolist()
    [[6.0, 7.400000095367432]]
    """
    if counted is not None:
        is_mask = counted.shape == residuals.shape[-1:] and counted.dtype == np.bool_
        if not (is_mask and counted.any()):
            raise ShapeError(
                f"counted is {counted.dtype} of shape {counted.shape} with {int(counted.sum())} "
                f"features; expected bool {residuals.shape[-1:]} with at least one"
            )
        residuals = residuals[..., counted]
    mean: Floats = surge_parts(residuals, with_two_steps=with_two_steps).mean(axis=-1)
    return mean


def over_two_steps(residuals: Floats) -> Floats:
    """Return the residuals of each step and the one before it together, in the same units.

    The sum of two residuals has √2 times the noise of one, so it is divided by that. Where the step
    before has none, the step's own are returned.

    Examples
    --------
    >>> over_two_steps(np.float32([[[1], [1], [np.nan], [2]]])).round(2).ravel().tolist()
    [1.0, 1.409999966621399, nan, 2.0]
    """
    together = residuals.copy()
    before, now = residuals[:, :-1], residuals[:, 1:]
    both = (before + now) / np.float32(np.sqrt(2))
    together[:, 1:] = np.where(np.isnan(before), now, both)
    return together


def composition_residuals(
    residuals: Floats, expected: Floats, volume_ratio: NDArray[Any], scale: Floats
) -> tuple[Floats, Floats]:
    """Part residuals of root counts into what the volume explains and what it doesn't.

    If a step has c² times as many events as expected, composed as expected, each of its root counts
    is c times the expected one. That much is volume: (c - 1) m / s with m the expected root count
    and s the scale. The rest is composition: how strange a step is for its loudness.

    Parameters
    ----------
    residuals
        `(E, S, F)`, of root counts.
    expected
        `(E, S, F)`: expected root counts.
    volume_ratio
        `(E, S)`: c, the root of all events over the expected one.
    scale
        `(E, F)` or `(1, F)`: what a root count was divided by.

    Returns
    -------
    tuple of numpy.ndarray
        Residuals of volume and of composition, `(E, S, F)`, which add up to those given.

    Examples
    --------
    >>> residuals, expected = np.float32([[[2, 2, 5]]]), np.float32([[[2, 2, 1]]])
    >>> ratio, scale = np.float32([[2]]), np.ones((1, 3), np.float32)
    >>> [part.tolist() for part in composition_residuals(residuals, expected, ratio, scale)]
    [[[[2.0, 2.0, 1.0]]], [[[0.0, 0.0, 4.0]]]]
    """
    more = volume_ratio.astype(np.float32)[..., None] - np.float32(1)
    volume: Floats = np.maximum(expected, np.float32(0)) * more / scale[:, None]
    return volume, residuals - volume


def composition_deviance(counts: NDArray[Any], expected: NDArray[Any]) -> Floats:
    """Return how unlike the composition of a step is to the expected one, whatever its volume.

    It is the multinomial deviance, or G statistic: 2 Σ x ln(x / (n m)), where x are the counts, n
    is their sum and m are the expected counts over theirs.

    Parameters
    ----------
    counts, expected
        `(..., C)`, of kinds of event that exclude each other.

    Returns
    -------
    numpy.ndarray
        float32 `(...)`: 0 for an empty step; NaN where nothing is expected.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> counts, expected = np.array([[6, 2], [3, 1]]), np.array([[3, 1], [5, 5]])
    >>> composition_deviance(counts, expected).round(2).tolist()
    [0.0, 1.0499999523162842]
    """
    _require_same_shape(counts, expected)
    whole = expected.sum(axis=-1, keepdims=True, dtype=np.float64)
    share = np.divide(expected, whole, out=np.zeros(expected.shape), where=whole > 0)
    composed = counts.sum(axis=-1, keepdims=True, dtype=np.float64) * share
    return _at_least_0(np.where(whole[..., 0] > 0, _deviance(counts, composed), np.nan))


def counted_deviance(counts: NDArray[Any], expected: NDArray[Any]) -> Floats:
    """Return the Poisson deviance `(...)` of counts `(..., C)`, that of the volume included.

    It is 2 Σ (x ln(x / m) - (x - m)), and equals `composition_deviance` plus the same of the sums.

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> counted_deviance(np.array([[6, 2]]), np.array([[3, 1]])).round(2).tolist()
    [3.0899999141693115]
    """
    _require_same_shape(counts, expected)
    more = np.subtract(counts, expected, dtype=np.float64).sum(axis=-1)
    return _at_least_0(_deviance(counts, expected) - 2 * more)


def relative_to_usual(scores: Floats, training: NDArray[np.bool_]) -> Floats:
    """Divide scores `(E, S)` by the entity's own mean over its training steps.

    An entity with few training steps is shrunk towards all: its mean is taken as if ten steps of
    the mean of all had been seen as well.

    Parameters
    ----------
    scores
        At least 0; NaN where unknown.
    training
        `(E, S)` bool.

    Raises
    ------
    ValueError
        If no training step has a score above 0.

    Examples
    --------
    >>> scores = np.float32([[1, 1, 4], [2, 2, 8]])
    >>> relative = relative_to_usual(scores, np.array([[True, True, False]] * 2))
    >>> [[f"{score:.2f}" for score in row] for row in relative]
    [['0.71', '0.71', '2.82'], ['1.26', '1.26', '5.05']]
    """
    relative: Floats = (scores / usual_scores(scores, training)[:, None]).astype(np.float32)
    return relative


def usual_scores(scores: Floats, training: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what `relative_to_usual` divides the scores `(E, S)` of each entity by, `(E,)`.

    Raises
    ------
    ValueError
        If no training step has a score above 0.
    """
    known = training & ~np.isnan(scores)
    summed = np.where(known, scores, 0).sum(axis=1, dtype=np.float64)
    n = known.sum(axis=1)
    common = summed.sum() / max(n.sum(), 1)
    if not common > 0:
        raise ValueError(
            f"{int(n.sum())} training steps have a score, and their mean is {common}; it must be "
            "above 0 to be what is usual: train on more steps, or on some that vary"
        )
    usual: NDArray[np.float64] = (summed + _PRIOR_STEPS * common) / (n + _PRIOR_STEPS)
    return usual


def _powered(residuals: Floats) -> Floats:
    """Return max(r, 0)^1.5."""
    positive = np.maximum(residuals, np.float32(0))
    powered: Floats = positive * np.sqrt(positive)
    return powered


def _deviance(counts: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
    """Return 2 Σ x ln(x / m): in float64, as large terms of both signs all but cancel."""
    least = np.maximum(expected, _LEAST_EXPECTED, dtype=np.float64)
    ratio = np.where(counts > 0, counts / least, 1)
    deviance: NDArray[np.float64] = 2 * (counts * np.log(ratio)).sum(axis=-1)
    return deviance


def _at_least_0(deviance: NDArray[np.float64]) -> Floats:
    """Take away what rounding may leave below 0; NaN stays."""
    clipped: Floats = np.maximum(deviance, 0).astype(np.float32)
    return clipped


def _require_same_shape(counts: NDArray[Any], expected: NDArray[Any]) -> None:
    if counts.shape != expected.shape:
        raise ShapeError(
            f"counts have shape {counts.shape} and expected ones {expected.shape}; they must be "
            "the same"
        )
