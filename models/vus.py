"""The volume under the surface of range-based precision and recall: see `vus_pr`."""

import numpy as np
from numpy.typing import NDArray

from models.labelled_series import LabelledSeries

__all__ = ["volume_under_surface"]


def volume_under_surface(joined: LabelledSeries, max_window: int) -> float:
    """Return the area under range-based precision and recall, averaged over all buffers.

    Parameters
    ----------
    joined
        As `join_series` returns it.
    max_window
        The widest buffer in steps, at least 0.

    Examples
    --------
    >>> from models.labelled_series import join_series
    >>> late = join_series(np.array([0, 0, 1, 0, 0]), np.array([0, 0, 0, 1, 0]))
    >>> round(volume_under_surface(late, 0), 3), round(volume_under_surface(late, 2), 3)
    (0.2, 0.333)
    """
    surface = _Surface(joined, max_window // 2)
    return float(np.mean([surface.area(window) for window in range(max_window + 1)]))


class _Surface:
    """Range-based precision and recall over all thresholds, for any buffer up to a reach.

    Recall grows only where a threshold takes in a step in or near an anomaly, so only those
    steps, and the thresholds at their scores (numbered from the highest), are looked at.
    """

    def __init__(self, joined: LabelledSeries, reach: int) -> None:
        self._ranges = ranges = _Ranges(joined)
        near = ranges.near(reach)
        values, group = np.unique(-joined.scores[near], return_inverse=True)
        self._n_raised = joined.scores.size - np.searchsorted(np.sort(joined.scores), -values)
        inside = joined.labels[near]
        self._n_inside = np.cumsum(np.bincount(group[inside], minlength=len(values)))
        self._group_outside = group[~inside]
        self._nearest, self._second = ranges.distances(near[~inside])
        group_at = np.zeros(joined.scores.size, np.int64)
        group_at[near] = group
        self._first_alarm = ranges.minima(group_at, reach)

    def area(self, window: int) -> float:
        """Return the area under the curve of one buffer."""
        reach, n_groups = window // 2, len(self._n_raised)
        # Within half a buffer a label is at least √½, so that two of them make more than 1.
        share = 1 - np.minimum(self._nearest, reach) / max(window, 1)
        label = np.where(self._second <= reach, 1.0, np.sqrt(share))
        label[self._nearest > reach] = 0
        buffered = np.cumsum(np.bincount(self._group_outside, label, minlength=n_groups))
        hits = self._n_inside + buffered
        recall = np.minimum(hits / (self._n_inside[-1] + buffered / 2), 1)
        first = np.minimum.reduceat(self._first_alarm[reach], self._ranges.apart(reach))
        exists = np.cumsum(np.bincount(first, minlength=n_groups)) / len(first)
        growth = np.diff(recall * exists, prepend=0)
        return float(growth @ (hits / self._n_raised))


class _Ranges:
    """Where each anomaly begins and ends, both included, and where its series does."""

    def __init__(self, joined: LabelledSeries) -> None:
        self._series = joined.series
        self._inside = np.flatnonzero(joined.labels)
        series, last = joined.series[self._inside], len(self._inside) - 1
        breaks = np.flatnonzero((np.diff(self._inside) > 1) | (np.diff(series) > 0))
        self._offsets = np.concatenate([[0], breaks + 1])
        self.begins = self._inside[self._offsets]
        self.ends = self._inside[np.concatenate([breaks, [last]])]
        self._own = joined.series[self.begins]
        self._low = np.searchsorted(joined.series, self._own, side="left")
        self._high = np.searchsorted(joined.series, self._own, side="right") - 1

    def near(self, reach: int) -> NDArray[np.int64]:
        """Return the steps in an anomaly or at most `reach` from one of the same series."""
        cover = np.zeros(self._series.size + 1, np.int64)
        np.add.at(cover, np.maximum(self.begins - reach, self._low), 1)
        np.add.at(cover, np.minimum(self.ends + reach, self._high) + 1, -1)
        return np.flatnonzero(np.cumsum(cover[:-1]))

    def distances(self, steps: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
        """Return how far the nearest anomaly is from steps outside, and the second nearest."""
        before = np.searchsorted(self.ends, steps)[:, None]
        which = before + np.array([-2, -1, 0, 1])
        known = np.clip(which, 0, len(self.ends) - 1)
        away = np.where(
            which < before, steps[:, None] - self.ends[known], self.begins[known] - steps[:, None]
        )
        reachable = (which == known) & (self._own[known] == self._series[steps, None])
        nearest = np.sort(np.where(reachable, away, np.inf), axis=1)
        return nearest[:, 0], nearest[:, 1]

    def minima(self, values: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
        """Return the least value in each anomaly with a margin of 0…reach, `(reach + 1, K)`."""
        least = np.empty((reach + 1, len(self.begins)), np.int64)
        least[0] = np.minimum.reduceat(values[self._inside], self._offsets)
        for margin in range(1, reach + 1):
            left = values[np.maximum(self.begins - margin, self._low)]
            right = values[np.minimum(self.ends + margin, self._high)]
            least[margin] = np.minimum(least[margin - 1], np.minimum(left, right))
        return least

    def apart(self, reach: int) -> NDArray[np.int64]:
        """Return the first of each run of anomalies whose margins overlap."""
        gap = (self.begins[1:] - self.ends[:-1] > 2 * reach) | (np.diff(self._own) > 0)
        return np.concatenate([[0], np.flatnonzero(gap) + 1])
