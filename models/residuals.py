"""Errors of proportions in units of their sampling noise."""

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError

__all__ = ["PSEUDO_EVENTS", "pearson_errors", "pearson_residuals"]

PSEUDO_EVENTS = 0.5
"""Added to the expected count, as for chi-square tests with small expected counts."""


def pearson_errors(
    observed: NDArray[np.float32],
    expected: NDArray[np.float32],
    exposure: NDArray[np.int64],
    *,
    is_share: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return squared Pearson residuals: about 1 where only chance separates the two.

    They are the squares of `pearson_residuals`, which see.

    Examples
    --------
    >>> x, m = np.float32([[0.5, 0.5]]), np.float32([[0.25, 0.75]])
    >>> pearson_errors(x, m, np.array([12])).astype(int).tolist()
    [[3, 3]]
    >>> pearson_errors(x, m, np.array([120])).astype(int).tolist()
    [[39, 39]]
    """
    residuals = pearson_residuals(observed, expected, exposure, is_share=is_share)
    errors: NDArray[np.float32] = np.square(residuals, out=residuals)
    return errors


def pearson_residuals(
    observed: NDArray[np.float32],
    expected: NDArray[np.float32],
    exposure: NDArray[np.int64],
    *,
    is_share: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return Pearson residuals: observed less expected in units of sampling noise.

    A proportion of n events varies by x(1 - x)/n, so the squared error is divided by that. A
    quiet step then can't stand out merely by being quiet, as it does with a plain error. With
    x observed, m expected, c = `PSEUDO_EVENTS`, the residual is (x - m) √(n / (m (1 - m) + c/n));
    c keeps a single event of a kind that is hardly ever expected from weighing without bound.

    Parameters
    ----------
    observed, expected
        `(..., F)`. Expected shares are clipped to 0…1: a decoder may overshoot.
    exposure
        `(...)`: events behind each row. The result is NaN where it is 0.
    is_share
        `(F,)`: which features lie in 0…1; all by default. A mean of values in 0…1 does too, and
        its variance is at most that of a share (Bhatia and Davis, 2000). Of the others the
        variance is taken as 1/n, which is that of the logarithm of a Poisson count.

    Returns
    -------
    numpy.ndarray
        float32 `(..., F)`.

    Raises
    ------
    ShapeError
        If the shapes don't fit: nothing is broadcast.

    Examples
    --------
    >>> x, m = np.float32([[0.5, 0.5]]), np.float32([[0.25, 0.75]])
    >>> [f"{residual:.1f}" for residual in pearson_residuals(x, m, np.array([12]))[0]]
    ['1.8', '-1.8']
    """
    if observed.shape != expected.shape or observed.shape[:-1] != exposure.shape:
        raise ShapeError(
            f"observed has shape {observed.shape}, expected {expected.shape} and exposure "
            f"{exposure.shape}; they must be (..., F), (..., F) and (...)"
        )
    shares = np.ones(observed.shape[-1], bool) if is_share is None else is_share
    mean = np.where(shares, np.clip(expected, 0, 1), expected).astype(np.float32)
    variance = np.where(shares, mean * (1 - mean), np.float32(1))
    n = np.where(exposure > 0, exposure, np.nan).astype(np.float32)[..., None]
    residuals: NDArray[np.float32] = (observed - mean) * np.sqrt(n / (variance + PSEUDO_EVENTS / n))
    return residuals
