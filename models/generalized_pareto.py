"""The tail of a sample, continued beyond its largest value."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import genpareto

from models.errors import ShapeError

__all__ = ["CENSORED", "MIN_EXCESSES", "MIN_SHAPE", "ParetoTail"]

MIN_EXCESSES = 10
"""Values beyond the start of the tail, without which its shape is anybody's guess."""

CENSORED = 0.1
"""Share of the excesses, the largest, of which only the number counts in the fit."""

MIN_SHAPE = 0.2
"""With 0, exp(Z) has an exponential tail and p-values of 1e-60 come of 80 excesses."""

_MAX_EXPONENT = 600.0  # exp of more than 709 is not a float64
_RATIOS = np.geomspace(1e-4, 1e2, 61)  # shape / scale to try, for a median excess of 1


@dataclass(frozen=True, kw_only=True)
class ParetoTail:
    """P(Z > z) = share (1 + shape y / scale)^(-1 / shape), where y = exp(z - start) - 1 > 0.

    It is exp(Z) of which excesses follow a generalized Pareto distribution (Pickands, 1975):
    z is a logarithm, and the distribution of a logarithm often has an end, beyond which all
    p-values would be 0. For the same reason the shape is at least `MIN_SHAPE`.

    Attributes
    ----------
    start
        Where the tail begins.
    share
        Probability of the tail.
    shape, scale
        Of the excesses.
    """

    start: float
    share: float
    shape: float
    scale: float

    @classmethod
    def fit(cls, values: NDArray[np.float64], tail: float) -> "ParetoTail":
        """Fit the tail by maximum likelihood, its largest values counted and not measured.

        What is wrong in a sample is mostly its largest values. By the moments or the full
        likelihood, 1 % of outliers makes a tail so heavy that nothing is unusual any more.

        Parameters
        ----------
        values
            `(n,)`.
        tail
            Share of the values in the tail.

        Raises
        ------
        ShapeError
            If the values are not one-dimensional.
        ValueError
            If fewer than `MIN_EXCESSES` values lie in the tail.

        Examples
        --------
        >>> values = np.random.default_rng(0).exponential(size=100_000)
        >>> fitted = ParetoTail.fit(values, 0.1)
        >>> fitted.p_values(np.array([np.log(100)])).round(3).tolist()
        [0.01]
        """
        if values.ndim != 1:
            raise ShapeError(f"values has shape {values.shape}; expected (n,)")
        start = float(np.quantile(values, 1 - tail)) if len(values) else 0.0
        beyond = np.sort(values[values > start])
        if len(beyond) < MIN_EXCESSES:
            raise ValueError(
                f"{len(beyond)} of {len(values)} values lie beyond their {1 - tail:.4g} quantile; "
                f"{MIN_EXCESSES} are needed to fit a tail. Give a longer reference, a larger "
                'tail, or use the method "conformal"'
            )
        shape, scale = _fit_censored(np.expm1(np.minimum(beyond - start, _MAX_EXPONENT)))
        share = (1 + len(beyond)) / (1 + len(values))
        return cls(start=start, share=share, shape=shape, scale=scale)

    def p_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return P(Z > z) of values beyond `start`; positive, however far they lie."""
        excess = np.expm1(np.minimum(values - self.start, _MAX_EXPONENT))
        beyond: NDArray[np.float64] = genpareto.sf(excess, self.shape, scale=self.scale)
        return np.maximum(self.share * beyond, np.finfo(np.float64).tiny)

    def threshold(self, rate: float) -> float:
        """Return the z that is exceeded with probability `rate`, which is at most `share`."""
        excess = genpareto.isf(rate / self.share, self.shape, scale=self.scale)
        return self.start + float(np.log1p(excess))


def _fit_censored(excess: NDArray[np.float64]) -> tuple[float, float]:
    """Return shape and scale of ascending excesses, those after the first nine tenths censored.

    With m measured excesses and the others taken to be at least the largest of these, the shape
    of the greatest likelihood for a given ratio r = shape / scale is the sum of log(1 + r y) over
    all of them, divided by m (after Grimshaw, 1993), or `MIN_SHAPE` where that is larger; the
    ratio alone is searched for.
    """
    n = len(excess)
    n_measured = n - int(CENSORED * n)
    measured = excess[:n_measured]

    def shape_and_loss(log_ratio: float) -> tuple[float, float]:
        logs = np.log1p(np.exp(log_ratio) * measured)
        free = float(logs.sum() + (n - n_measured) * logs[-1]) / n_measured
        shape = max(free, MIN_SHAPE)
        return shape, float(logs.mean()) + free / shape + math.log(shape) - log_ratio

    def loss(log_ratio: float) -> float:
        return shape_and_loss(log_ratio)[1]

    tried = np.log(_RATIOS / np.median(measured))
    best = int(np.argmin([loss(log_ratio) for log_ratio in tried]))
    around = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    log_ratio = float(minimize_scalar(loss, bounds=around, method="bounded").x)
    shape, _ = shape_and_loss(log_ratio)
    return shape, shape / math.exp(log_ratio)
