"""From what a model expects of a representation to expected events and proportions."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from features.representation import Floats, Representation, block_masks, restore
from features.vocabulary import Block

_PRIOR_STEPS = 10


def expected_events(
    expected: Floats,
    variance: Floats,
    exposure: NDArray[np.int64],
    blocks: Sequence[Block],
    representation: Representation,
) -> Floats:
    """Return the events of each kind that were expected in each step.

    The mean of a count is the square of the mean of its root plus the variance of its root: for
    kinds of event that are rare, nearly all of it is the variance. Likewise of a proportion.

    Parameters
    ----------
    expected
        float32 ``(E, S, F)``: expected representation.
    variance
        float32 ``(E, F)``: see `representation_variance`.
    exposure
        int64 ``(E, S)``: events; representations without a volume of their own share these out.
    blocks
        The block of each feature, as in `Cube.blocks`.
    representation
        Which.

    Returns
    -------
    numpy.ndarray
        float32 ``(E, S, F)``. For a log volume, all events that were expected; NaN for a mean
        intensity, which counts nothing.
    """
    share, intensity, volume = block_masks(blocks)
    if representation == "root_counts":
        root = np.maximum(expected, np.float32(0))
        events = root**2 + variance[:, None]
    else:
        restored = restore(expected, exposure, blocks, representation)
        if representation == "angular":
            restored = restored + variance[:, None]
        events = np.clip(restored, 0, 1) * exposure[..., None]
        events = np.where(volume, np.expm1(np.maximum(expected, 0)), events)
    events = np.where(share | volume, events, np.nan)
    return np.asarray(np.where(intensity, np.nan, events), np.float32)


def representation_variance(errors: Floats, training: NDArray[np.bool_], prior: Floats) -> Floats:
    """Return the mean square of errors in training steps, by entity and feature.

    Parameters
    ----------
    errors
        float32 ``(E, S, F)``: represented less expected; NaN where unknown.
    training
        bool ``(E, S)``.
    prior
        float32 ``(E, F)``: what an entity with few training steps is shrunk towards, as if ten
        steps of it had been seen; see `poisson_root_variance`.

    Returns
    -------
    numpy.ndarray
        float32 ``(E, F)``.

    Examples
    --------
    >>> errors = np.array([[[1.0], [3.0]]], np.float32)
    >>> prior = np.array([[0.5]], np.float32)
    >>> representation_variance(errors, np.array([[True, True]]), prior).tolist()
    [[1.25]]
    """
    known = training & ~np.isnan(errors[..., 0])
    squares = np.zeros((len(errors), errors.shape[2]))
    for entity, steps in enumerate(known):
        squares[entity] = np.square(errors[entity, steps]).sum(axis=0, dtype=np.float64)
    n = known.sum(axis=1)[:, None]
    return np.asarray((squares + _PRIOR_STEPS * prior) / (n + _PRIOR_STEPS), np.float32)


def poisson_root_variance(mean_root: Floats) -> Floats:
    """Return the variance of the root of a Poisson count of which the mean root is known.

    It rises from 0 for what never happens to one quarter for frequent events (Bartlett, 1936).

    Examples
    --------
    >>> poisson_root_variance(np.array([0.0, 0.1, 10.0], np.float32)).round(2).tolist()
    [0.0, 0.09000000357627869, 0.25]
    """
    rates, roots = _poisson_roots()
    rate = np.interp(mean_root, roots, rates, right=np.nan)
    exact = rate - np.square(np.maximum(mean_root, 0), dtype=np.float64)
    return np.where(mean_root < roots[-1], exact, 0.25).astype(np.float32)


@cache
def _poisson_roots() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rates up to 60, and the mean root of a Poisson count of each."""
    rates = np.concatenate([np.linspace(0, 5, 501), np.linspace(5.1, 60, 550)])
    counts = np.arange(201)
    with np.errstate(divide="ignore"):
        logs = np.log(rates)
    log_factorial = np.concatenate([[0], np.cumsum(np.log(counts[1:]))])
    powers = np.multiply.outer(np.where(rates > 0, logs, 0), counts)
    probabilities = np.exp(powers - log_factorial - rates[:, None])
    probabilities[0, 1:] = 0
    roots: NDArray[np.float64] = probabilities @ np.sqrt(counts)
    return rates, roots
