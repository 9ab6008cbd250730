"""Series of labels and scores, checked and put one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError

__all__ = ["LabelledSeries", "Series", "join_series"]

Series = NDArray[Any] | Sequence[NDArray[Any]]
"""One series `(S,)`, several of one length `(E, S)`, or a list of series `(S_e,)` each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSeries:
    """Labels and scores of all series, one series after the other.

    Attributes
    ----------
    labels
        `(N,)`: which steps are anomalous; some are.
    scores
        `(N,)`, finite.
    series
        `(N,)`: the number of the series that each step belongs to, from 0.
    """

    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]
    series: NDArray[np.int64]


def join_series(labels: Series, scores: Series) -> LabelledSeries:
    """Put series of labels and scores one after the other.

    Parameters
    ----------
    labels
        `(S,)`, `(E, S)` or a list of `(S_e,)`: bool, or numbers that are 0 or 1.
    scores
        Of the same shapes: the higher, the more anomalous; finite.

    Raises
    ------
    ShapeError
        If the shapes don't fit.
    ValueError
        If a label is neither 0 nor 1, none is 1, or a score is not finite.

    Examples
    --------
    >>> join_series([np.array([0, 1]), np.array([0])], [np.ones(2), np.zeros(1)]).series.tolist()
    [0, 0, 1]
    """
    truth, found = _as_list(labels, "labels"), _as_list(scores, "scores")
    shapes = [[one.shape for one in side] for side in (truth, found)]
    if shapes[0] != shapes[1]:
        raise ShapeError(
            f"labels are {len(truth)} series of shapes {shapes[0]}, scores {len(found)} of shapes "
            f"{shapes[1]}; each series needs a label and a score a step"
        )
    lengths = [len(one) for one in truth]
    return LabelledSeries(
        labels=_as_bool(np.concatenate(truth)),
        scores=_as_finite(np.concatenate(found)),
        series=np.repeat(np.arange(len(lengths)), lengths),
    )


def _as_list(series: Series, name: str) -> list[NDArray[Any]]:
    if isinstance(series, np.ndarray) and series.ndim == 1:
        series = [series]
    arrays = [np.asarray(one) for one in series]
    if not arrays or any(one.ndim != 1 or len(one) == 0 for one in arrays):
        raise ShapeError(
            f"{name} hold arrays of shapes {[one.shape for one in arrays]}; expected one array "
            "(S,) or (E, S), or a list of arrays (S_e,), none of them empty"
        )
    return arrays


def _as_bool(labels: NDArray[Any]) -> NDArray[np.bool_]:
    wrong = ~np.isin(labels, (0, 1))
    if wrong.any():
        raise ValueError(
            f"labels hold {int(wrong.sum())} values that are neither 0 nor 1, such as "
            f"{labels[wrong][0]}; mark each step True or False"
        )
    if not labels.any():
        raise ValueError("labels mark no step as anomalous; there is nothing to be found")
    return labels.astype(np.bool_)


def _as_finite(scores: NDArray[Any]) -> NDArray[np.float64]:
    numbers = scores.astype(np.float64)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        raise ValueError(
            f"scores hold {int(wrong.sum())} values that are not finite, of {wrong.size}; leave "
            "steps without a score out of labels and scores alike, and give each unbroken "
            "stretch as a series of its own, so that no buffer reaches over the gap"
        )
    return numbers
