"""One entity's scores in the order of time, each with its rank among all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError

__all__ = ["EntitySeries", "Looks", "RankedSeries", "rank_series"]

_DAYS = np.dtype("datetime64[D]")


@dataclass(frozen=True, kw_only=True, eq=False)
class EntitySeries:
    """The scores of one entity, a row a step or a window, in any order.

    Attributes
    ----------
    name
        Of the entity, as the events name it. Series of one name are taken together.
    start, end
        datetime64[D] `(N,)`: first day of each row, and the day after its last.
    score
        `(N,)`, higher is more anomalous; never NaN.
    n_events
        `(N,)`, numbers: events behind each row, NaN where unknown; None if no row's are known.

    Raises
    ------
    ShapeError
        If an array's shape or dtype is wrong.
    ValueError
        If a score is NaN, a day is missing or a row doesn't end after its start.

    Examples
    --------
    >>> start = np.arange("2018-01-01", "2018-01-29", 7, "datetime64[D]")
    >>> EntitySeries(name="Mali", start=start, end=start + 7, score=np.zeros(4)).name
    'Mali'
    """

    name: str
    start: NDArray[np.datetime64]
    end: NDArray[np.datetime64]
    score: NDArray[np.integer[Any] | np.floating[Any]]
    n_events: NDArray[np.integer[Any] | np.floating[Any]] | None = None

    def __post_init__(self) -> None:
        self._validate_arrays()
        if np.isnan(self.score).any():
            raise ValueError(
                f"{self.name}: {int(np.isnan(self.score).sum())} of {len(self.score)} scores are "
                "NaN; leave out the rows that have no score"
            )
        wrong = ~(self.end > self.start)  # NaT compares false
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{self.name}: row {row} runs from {self.start[row]} to {self.end[row]}; end is "
                "the day after the row's last, so that it comes after start"
            )

    def _validate_arrays(self) -> None:
        arrays = {"start": self.start, "end": self.end, "score": self.score}
        if self.n_events is not None:
            arrays["n_events"] = self.n_events
        for name, array in arrays.items():
            expected = "datetime64[D]" if name in {"start", "end"} else "float64"
            if array.shape != (len(self.start),) or not _fits(array.dtype, expected):
                raise ShapeError(
                    f"{self.name}: {name} is {array.dtype} of shape {array.shape}; expected "
                    f"{expected} of shape ({len(self.start)},), as long as start. Use "
                    f'{name}.astype("{expected}")'
                )


def _fits(dtype: np.dtype[Any], expected: str) -> bool:
    is_number = np.isdtype(dtype, ("integral", "real floating"))
    return dtype == expected or (expected == "float64" and is_number)


@dataclass(frozen=True, kw_only=True, eq=False)
class Looks:
    """What intervals of an entity's time hold, an interval a row.

    Attributes
    ----------
    n_rows
        `(Q,)`: rows that overlap the interval.
    hit
        bool `(Q, K)`: whether one of these is in each top share.
    best, mean
        `(Q,)`: percentile rank of the highest of them and their mean; NaN without any.
    """

    n_rows: NDArray[np.int64]
    hit: NDArray[np.bool_]
    best: NDArray[np.float64]
    mean: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedSeries:
    """Rows sorted by start and end, no interval twice. Days are counted from 1970.

    Attributes
    ----------
    start, end
        int64 `(N,)`: first day, and the day after the last.
    score
        float64 `(N,)`.
    rank
        int64 `(N,)`: how many rows have this score or a higher one. Ties count against the
        score, so that where all are equal none is at the top.
    percentile
        float64 `(N,)`: share of the rows with a lower score, and half of those with the same.
    top_rows
        int64 `(K,)`: how many rows each top share has.
    first, stop
        First day of all, and the day after the last.
    step
        Days from one start to the next, the median.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    score: NDArray[np.float64]
    rank: NDArray[np.int64]
    percentile: NDArray[np.float64]
    top_rows: NDArray[np.int64]
    first: int
    stop: int
    step: int

    def __len__(self) -> int:
        return len(self.score)

    @property
    def is_constant(self) -> bool:
        """Whether all scores are the same."""
        return bool(self.score.min() == self.score.max())

    def look(self, first: NDArray[np.int64], stop: NDArray[np.int64]) -> Looks:
        """Return what the intervals from `first` to the day before `stop`, `(Q,)`, hold."""
        row, overlaps = self._candidates(first, stop)
        n_rows = overlaps.sum(axis=1)
        highest = np.where(overlaps, self.rank[row], len(self) + 1).min(axis=1)
        percentile = np.where(overlaps, self.percentile[row], 0)
        is_empty = n_rows == 0
        return Looks(
            n_rows=n_rows,
            hit=highest[:, None] <= self.top_rows,
            best=np.where(is_empty, np.nan, percentile.max(axis=1)),
            mean=np.where(is_empty, np.nan, percentile.sum(axis=1) / np.maximum(n_rows, 1)),
        )

    def first_hit(self, first: int, stop: int) -> date | None:
        """Return the start of the interval's earliest row in the last top share."""
        is_hit = (self.start < stop) & (self.end > first) & (self.rank <= self.top_rows[-1])
        if not is_hit.any():
            return None
        return self.start[np.argmax(is_hit)].astype(_DAYS).item()  # type: ignore[no-any-return]

    def _candidates(
        self, first: NDArray[np.int64], stop: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the rows `(Q, W)` that could overlap, as many for each, and which of them do.

        Rows are sorted by start alone where they nest; none reaches further than the longest.
        """
        longest = (self.end - self.start).max()
        begin = np.searchsorted(self.start, first - longest, "right")
        end = np.searchsorted(self.start, stop, "left")
        row = begin[:, None] + np.arange(max(int((end - begin).max(initial=0)), 1))
        inside = row < end[:, None]
        row = np.minimum(row, len(self) - 1)
        return row, inside & (self.end[row] > first[:, None])


def rank_series(parts: Sequence[EntitySeries], tops: Sequence[float]) -> RankedSeries | None:
    """Rank the rows of one entity; of rows with the same interval the highest counts.

    Parameters
    ----------
    parts
        One or more series of the entity.
    tops
        Per cent of the rows that each top share has; rounded to whole rows, one at least.

    Returns
    -------
    RankedSeries or None
        None if there are no rows.

    Examples
    --------
    >>> start = np.arange("2018-01-01", "2018-01-29", 7, "datetime64[D]")
    >>> scores = np.array([3.0, 7.0, 7.0, 1.0])
    >>> mali = EntitySeries(name="Mali", start=start, end=start + 7, score=scores)
    >>> ranked = rank_series([mali], [50])
    >>> ranked.rank.tolist(), ranked.percentile.tolist(), ranked.top_rows.tolist()
    ([3, 2, 2, 4], [0.375, 0.75, 0.75, 0.125], [2])
    """
    start = np.concatenate([part.start for part in parts]).astype(np.int64)
    end = np.concatenate([part.end for part in parts]).astype(np.int64)
    score = np.concatenate([part.score for part in parts]).astype(np.float64)
    n_all = len(score)
    if n_all == 0:
        return None
    order = np.lexsort((score, end, start))
    start, end, score = start[order], end[order], score[order]
    is_last = np.append((np.diff(start) != 0) | (np.diff(end) != 0), True)
    start, end, score = start[is_last], end[is_last], score[is_last]
    n_rows = len(score)
    ascending = np.sort(score)
    n_lower = np.searchsorted(ascending, score, "left")
    n_equal = np.searchsorted(ascending, score, "right") - n_lower
    gaps = np.diff(np.unique(start))
    return RankedSeries(
        start=start,
        end=end,
        score=score,
        rank=n_rows - n_lower,
        percentile=(n_lower + 0.5 * n_equal) / n_rows,
        top_rows=np.array([max(1, int(np.floor(top / 100 * n_rows + 0.5))) for top in tops]),
        first=int(start.min()),
        stop=int(end.max()),
        step=max(1, int(np.median(gaps))) if len(gaps) else 1,
    )
