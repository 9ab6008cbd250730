"""Representations of a step: what of its proportions, and of the events behind them, a model sees.

The noise of a proportion depends on the events behind it: that of three events is mostly noise. The
square root of a count has nearly the same noise whatever the count is, a standard deviation of
one half (Bartlett, 1936; Anscombe, 1948), so that errors of it mean the same in quiet and in loud
steps.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from features.cube import Cube
from features.vocabulary import Block

Floats = NDArray[np.float32]

Representation = Literal["root_counts", "angular", "proportion"]
"""What a model sees of a step.

``root_counts``: the square root of proportion times exposure, that is of the number of events of
each type; ``angular``: the square root of the proportion; ``proportion``: itself.
"""

ROOT_COUNT_NOISE: Final = 0.5
"""Standard deviation of the square root of a Poisson count, from about one event on."""

_NEUTRAL_INTENSITY: Final = 0.5
_PRIOR_EVENTS: Final = 100


def represent(cube: Cube, representation: Representation) -> Floats:
    """Return a cube in a representation.

    With x the value of a feature and n the events of the step:

    ============== ====== ========= ===============
    block          share  intensity log volume
    ============== ====== ========= ===============
    root_counts    √(nx)  √n(x-½)   √n
    angular        √x     x         x = ln(1 + n)
    proportion     x      x         x = ln(1 + n)
    ============== ====== ========= ===============

    Parameters
    ----------
    cube
        Proportions.
    representation
        Which.

    Returns
    -------
    numpy.ndarray
        float32 ``(E, S, F)``. An empty step has root counts of 0; otherwise it is NaN.

    Examples
    --------
    >>> cube = Cube(
    ...     values=np.array([[[0.75, 0.25]]], np.float32), exposure=np.array([[12]]),
    ...     entities=("A",), steps=np.array(["2018-01-01"], "datetime64[D]"),
    ...     features=("quad_a", "quad_b"), blocks=("quad", "quad"), step="week",
    ... )
    >>> represent(cube, "root_counts").round(2).tolist()
    [[[3.0, 1.7300000190734863]]]
    """
    return _represented(cube.values, cube.exposure, cube.blocks, representation)


def restore(
    represented: Floats,
    exposure: NDArray[np.int64],
    blocks: Sequence[Block],
    representation: Representation,
) -> Floats:
    """Invert `represent`: return the units of the cube, NaN in empty steps for root counts.

    Parameters
    ----------
    represented
        float32 ``(E, S, F)``; a root below 0, as a decoder may give, counts as 0.
    exposure
        int64 ``(E, S)``: what the roots of counts are divided by.
    blocks
        The block of each feature, as in `Cube.blocks`.
    representation
        Which.
    """
    if representation == "proportion":
        return represented
    share, intensity, volume = block_masks(blocks)
    root = np.maximum(represented, np.float32(0))
    if representation == "angular":
        return np.where(share, root**2, represented)
    with np.errstate(invalid="ignore", divide="ignore"):
        n = np.where(exposure > 0, exposure, np.nan).astype(np.float32)[..., None]
        restored = np.where(share, root**2 / n, represented)
        restored = np.where(intensity, _NEUTRAL_INTENSITY + represented / np.sqrt(n), restored)
        restored = np.where(volume, np.log1p(root**2), restored)
    return np.where(np.isnan(n), np.float32(np.nan), restored).astype(np.float32)


def block_masks(
    blocks: Sequence[Block],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which features, bool ``(F,)``, are shares, which intensities and which log volumes."""
    names = np.array(blocks)
    intensity, volume = names == "intensity", names == "log_volume"
    return ~(intensity | volume), intensity, volume


def expected_represented(
    common: Floats,
    exposure: NDArray[Any],
    blocks: Sequence[Block],
    representation: Representation,
) -> Floats:
    """Return what steps of these exposures would show if they were composed as `common`.

    Parameters
    ----------
    common
        float32 ``(F,)``: values in the units of the cube.
    exposure
        ``(E, S)``; need not be whole numbers.
    blocks
        The block of each feature, as in `Cube.blocks`.
    representation
        Which.
    """
    values = np.broadcast_to(common, (*exposure.shape, len(common)))
    return _represented(values, exposure, blocks, representation)


def common_volume(exposure: NDArray[np.int64], n_training: int) -> Floats:
    """Return by how much all other entities together are louder in a step than they usually are.

    The events of a step rise and fall everywhere at once with what the source collected: on
    holidays, when a day's file is missing, as more publishers are read. What all entities
    share is no news of any of them. An entity's own events don't count, so that its crisis does
    not hide itself.

    Parameters
    ----------
    exposure
        int64 ``(E, S)``: events.
    n_training
        The usual is the median over this many first steps.

    Returns
    -------
    numpy.ndarray
        float32 ``(E, S)``, about 1; exactly 1 where there is no other entity. It is drawn towards
        1 by a hundred invented events, which only matters where the others have few.

    Examples
    --------
    >>> common_volume(np.array([[50, 50, 500], [900, 900, 1900]]), 3).round(2).tolist()
    [[1.0, 1.0, 2.0], [1.0, 1.0, 4.0]]
    """
    return relative_volume(exposure, usual_volume(exposure, n_training))


def usual_volume(exposure: NDArray[np.int64], n_training: int) -> NDArray[np.float64]:
    """Return the usual events of all other entities in a step, ``(E,)``: see `common_volume`."""
    usual: NDArray[np.float64] = np.median(_others(exposure)[:, :n_training], axis=1)
    return usual


def relative_volume(exposure: NDArray[np.int64], usual: NDArray[np.float64]) -> Floats:
    """Return `common_volume` by what was found to be usual before, float32 ``(E, S)``."""
    ratio: Floats = (_others(exposure) / usual[:, None]).astype(np.float32)
    return ratio


def _others(exposure: NDArray[np.int64]) -> NDArray[np.float64]:
    others: NDArray[np.float64] = exposure.sum(axis=0) - exposure + float(_PRIOR_EVENTS)
    return others


def _represented(
    values: Floats,
    exposure: NDArray[Any],
    blocks: Sequence[Block],
    representation: Representation,
) -> Floats:
    if representation == "proportion":
        return values
    share, intensity, volume = block_masks(blocks)
    if representation == "angular":
        angular: Floats = np.where(share, np.sqrt(np.where(share, values, 0)), values)
        return angular
    filled = np.where((exposure > 0)[..., None], values, np.float32(0))
    root = np.sqrt(exposure).astype(np.float32)[..., None]
    represented = np.sqrt(filled, where=share, out=np.zeros_like(filled)) * root
    represented = np.where(intensity, (filled - _NEUTRAL_INTENSITY) * root, represented)
    represented = np.where(volume, root, represented)
    return np.asarray(represented, np.float32)
