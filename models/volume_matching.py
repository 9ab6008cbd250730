"""Taking out of scores what the number of events explains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from models.ranked_series import EntitySeries

__all__ = ["MIN_ROWS", "VolumeMatched", "volume_matched"]

MIN_ROWS = 20
"""An entity with fewer rows is left without any: two regressions on them would say nothing."""

_DIGITS = 6  # of the result, so that scores that differ by rounding errors alone are ties
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumeMatched:
    """Scores that the number of events says nothing about.

    Attributes
    ----------
    series
        As given, with scores that are matched; rows whose number of events is unknown are left
        out, and all rows of an entity with fewer than `MIN_ROWS` of the others.
    median_correlation
        Correlation of the normal scores of score and number of events, the median over
        entities; None if no entity has enough rows.
    """

    series: tuple[EntitySeries, ...]
    median_correlation: float | None


def volume_matched(series: Sequence[EntitySeries]) -> VolumeMatched:
    """Judge each score against rows of the same entity with about as many events.

    Ranks of the scores and of the numbers of events are turned into normal scores, y and x. The
    result is the residual of y regressed on x, x² and x³, divided by its size at that x: the
    absolute residual regressed on x and x², though no less than half its mean. A score that is
    a strictly monotone function of the number of events becomes constant, and a constant is
    never at the top.

    Parameters
    ----------
    series
        All with `n_events`. Each is matched by itself, those of one name too.

    Returns
    -------
    VolumeMatched

    Raises
    ------
    ValueError
        If a series has no `n_events`.

    Examples
    --------
    >>> start = np.arange("2018-01-01", "2018-07-16", 7, "datetime64[D]")
    >>> n_events = np.random.default_rng(0).permutation(len(start))
    >>> series = EntitySeries(
    ...     name="Mali", start=start, end=start + 7, score=np.exp(n_events / 9), n_events=n_events
    ... )
    >>> matched = volume_matched([series])
    >>> np.ptp(matched.series[0].score).item(), round(matched.median_correlation, 6)
    (0.0, 1.0)
    """
    known = [_with_known_volume(one) for one in series]
    matched, correlations = [], []
    for one, n_events in known:
        if len(one.score) < MIN_ROWS:
            matched.append(_rows_of(one, np.zeros(len(one.score), np.bool_)))
            continue
        x, y = _normal_scores(n_events), _normal_scores(one.score)
        varies = x.std() > 0 and y.std() > 0
        correlations.append(float(np.corrcoef(x, y)[0, 1]) if varies else 0.0)
        matched.append(replace(one, score=_residuals(x, y)))
    median = float(np.median(correlations)) if correlations else None
    return VolumeMatched(series=tuple(matched), median_correlation=median)


def _with_known_volume(series: EntitySeries) -> tuple[EntitySeries, NDArray[Any]]:
    """Return the rows whose number of events is known, in the order of time, and these numbers.

    Regressions on the same rows in another order differ in their last digits.
    """
    if series.n_events is None:
        raise ValueError(
            f"{series.name} has no n_events; give the number of events behind each row, or leave "
            "volume matching out"
        )
    order = np.lexsort((series.n_events, series.score, series.end, series.start))
    rows = _rows_of(series, order[~np.isnan(series.n_events[order])])
    assert rows.n_events is not None
    return rows, rows.n_events


def _rows_of(series: EntitySeries, rows: NDArray[np.int64] | NDArray[np.bool_]) -> EntitySeries:
    n_events = None if series.n_events is None else series.n_events[rows]
    return replace(
        series,
        start=series.start[rows],
        end=series.end[rows],
        score=series.score[rows],
        n_events=n_events,
    )


def _normal_scores(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the quantiles of the normal distribution at the values' ranks, ties averaged."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    average_rank = np.cumsum(counts) - (counts - 1) / 2
    scores: NDArray[np.float64] = ndtri((average_rank - 0.5) / len(values))[position]
    return scores


def _residuals(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of y given x, `(N,)`, in units of its usual size at that x."""
    residual = y - _fitted(x, y, n_terms=4)
    size = np.abs(residual)
    usual = np.maximum(_fitted(x, size, n_terms=3), max(0.5 * size.mean(), _LEAST_SPREAD))
    rounded: NDArray[np.float64] = np.round(residual / usual, _DIGITS)
    return rounded


def _fitted(x: NDArray[np.float64], y: NDArray[np.float64], *, n_terms: int) -> NDArray[np.float64]:
    powers = np.vander(x, n_terms)
    fitted: NDArray[np.float64] = powers @ np.linalg.lstsq(powers, y, rcond=None)[0]
    return fitted
