"""What scores find at random times: the interval of an event moved along its entity's series."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranked_series import Looks, RankedSeries

__all__ = ["RandomMoves", "draw_moves"]

_TRIES = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomMoves:
    """Moves of an entity's events in whole steps, the same for all of them.

    One move a repetition for all events of an entity: neighbouring events stay neighbours, so
    that the share of events found varies by chance as much as that of the events themselves.

    Attributes
    ----------
    steps
        int64 `(R,)`.
    """

    steps: NDArray[np.int64]

    def look(
        self, series: RankedSeries, first: int, stop: int, generator: np.random.Generator
    ) -> Looks:
        """Return what the interval holds after each move, `(R,)`, round the ends of the series.

        Where that is a gap of the series, a day is drawn instead, up to 20 times.
        """
        days = stop - first
        room = series.stop - series.first - days
        offset = first - series.first
        moved = (offset + self.steps * series.step) % (room + 1)
        moved -= (moved - offset) % series.step  # keeps its place on the grid of steps
        moved = np.maximum(moved, 0)
        looks = series.look(series.first + moved, series.first + moved + days)
        in_gap = np.flatnonzero(looks.n_rows == 0)
        if len(in_gap) == 0:
            return looks
        at = series.first + np.arange(room + 1)
        holds_rows = series.look(at, at + days).n_rows > 0
        for repetition in in_gap:
            moved[repetition] = _draw_offset(holds_rows, generator)
        return series.look(series.first + moved, series.first + moved + days)


def draw_moves(
    series: RankedSeries, longest: int, repetitions: int, generator: np.random.Generator
) -> RandomMoves:
    """Draw moves that take no event of up to `longest` days onto itself, in either direction.

    Examples
    --------
    >>> from models.ranked_series import EntitySeries, rank_series
    >>> start = np.arange("2018-01-01", "2018-07-16", 7, "datetime64[D]")
    >>> series = EntitySeries(name="Mali", start=start, end=start + 7, score=np.zeros(len(start)))
    >>> moves = draw_moves(rank_series([series], [5]), 10, 500, np.random.default_rng(0))
    >>> len(start), moves.steps.min().item(), moves.steps.max().item()
    (28, 3, 25)
    """
    n_steps = max(1, (series.stop - series.first) // series.step)
    least = min(-(-longest // series.step) + 1, n_steps // 4)
    most = max(least, n_steps - least)
    return RandomMoves(steps=generator.integers(least, most + 1, repetitions))


def _draw_offset(holds_rows: NDArray[np.bool_], generator: np.random.Generator) -> int:
    """Return an offset whose interval holds rows, or the last that was tried."""
    offset = 0
    for _ in range(_TRIES):
        offset = int(generator.integers(len(holds_rows)))
        if holds_rows[offset]:
            break
    return offset
