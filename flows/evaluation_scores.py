"""Columns of scores compared with dated events, from a table or from the arrays of a cube."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.dated_events import DatedEvents, match_entities
from features.score_series import ScoreSeries, score_series
from models.crisis_outcomes import DatedEvent, EventRecall
from models.crisis_recall import evaluate_events
from models.ranked_series import EntitySeries
from models.volume_matching import volume_matched

VOLUME: Final = "n_events"
"""The column with the events behind each row, and the baseline that every score is beside."""

_SHOWN: Final = 5  # names that a message lists at most


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnRecall:
    """How well one column of scores finds dated events.

    Attributes
    ----------
    column
        Its name.
    plain
        As it is.
    matched
        Against rows of the same entity with about as many events; None where the events behind
        the rows are not known.
    correlation
        Of the score and the number of events, by rank, the median over entities.
    """

    column: str
    plain: EventRecall
    matched: EventRecall | None
    correlation: float | None


def evaluate_scores(
    scores: pl.DataFrame,
    columns: Sequence[str],
    events: DatedEvents,
    *,
    tops: Sequence[float] = (1, 2, 5),
    after_days: int = 7,
    repetitions: int = 200,
    seed: int = 0,
    min_rows: int = 30,
    last_step: bool = False,
) -> list[ColumnRecall]:
    """Compare each column of scores with dated events.

    Parameters
    ----------
    scores
        ``entity``, ``step_start`` and ``step_end``, or ``window_start`` and ``window_end``, the
        columns, and ``n_events`` if known. Rows without a score don't count for its column;
        as a column itself, ``n_events`` is judged on the rows of the first one.
        `frame_of_steps` makes such a table of arrays.
    columns
        Which; higher is more anomalous.
    events
        Of `features.dated_events.read_dated_events`.
    tops, after_days, repetitions, seed, min_rows
        As `models.crisis_recall.evaluate_events`.
    last_step
        Whether a window stands for its last step alone.

    Raises
    ------
    ValueError
        If a column is missing, a setting out of its range, or no entity is an event's.

    Examples
    --------
    >>> from datetime import date
    >>> starts = np.arange("2018-01-01", "2019-12-01", 7, "datetime64[D]")
    >>> score = np.zeros((1, len(starts)))
    >>> score[0, 48] = 9
    >>> table = pl.DataFrame({
    ...     "id": ["1"], "entity": ["Mali"], "start": [date(2018, 12, 4)],
    ...     "end": [date(2018, 12, 4)], "kind": ["coup"], "label": [None],
    ... })
    >>> events = DatedEvents(table=table, aliases={}, repeated=())
    >>> frame = frame_of_steps(["MALI"], starts, starts + 6, {"score": score})
    >>> [row] = evaluate_scores(frame, ["score"], events)
    >>> [top.recall for top in row.plain.tops]
    [1.0, 1.0, 1.0]
    """
    require_match(scores["entity"].drop_nulls().unique(), events)
    wanted = dated_events(events)
    settings: dict[str, Any] = {
        "tops": tuple(tops),
        "after_days": after_days,
        "repetitions": repetitions,
        "seed": seed,
        "min_rows": min_rows,
    }
    rows = []
    for column in columns:
        judged = scores
        if column == VOLUME:  # it has a value in every row, and would be ranked among more
            judged = scores.filter(pl.col(columns[0]).is_not_null())
        series = series_of(score_series(judged, column, last_step=last_step), events)
        matched, correlation = None, None
        if VOLUME in scores.columns:
            by_volume = volume_matched(series)
            matched = evaluate_events(by_volume.series, wanted, **settings)
            correlation = by_volume.median_correlation
        rows.append(
            ColumnRecall(
                column=column,
                plain=evaluate_events(series, wanted, **settings),
                matched=matched,
                correlation=correlation,
            )
        )
    return rows


def frame_of_steps(
    entities: Sequence[str],
    starts: NDArray[np.datetime64],
    ends: NDArray[np.datetime64],
    scores: Mapping[str, NDArray[Any]],
    *,
    n_events: NDArray[np.int64] | None = None,
) -> pl.DataFrame:
    """Return scores ``(E, S)`` of a cube, by name, as a table of steps; NaN becomes null.

    Parameters
    ----------
    entities
        E names.
    starts, ends
        datetime64[D] ``(S,)``: first and last day of each step.
    scores
        ``(E, S)`` each.
    n_events
        int64 ``(E, S)``, if known.

    Raises
    ------
    ValueError
        If a shape doesn't fit.
    """
    shape = (len(entities), len(starts))
    arrays = dict(scores) | ({} if n_events is None else {VOLUME: n_events})
    for name, array in arrays.items():
        if array.shape != shape or len(ends) != len(starts):
            msg = (
                f"{name} has shape {array.shape} and there are {shape[0]} entities, {shape[1]} "
                f"starts and {len(ends)} ends; expected (entities, steps)"
            )
            raise ValueError(msg)
    entity, step = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    days = {"step_start": starts, "step_end": ends}
    return pl.DataFrame(
        {"entity": pl.Series(list(entities), dtype=pl.String).gather(entity)}
        | {name: pl.Series(day).cast(pl.Date).gather(step) for name, day in days.items()}
        | {name: pl.Series(array.reshape(-1)).fill_nan(None) for name, array in arrays.items()}
    )


def series_of(scores: ScoreSeries, events: DatedEvents) -> list[EntitySeries]:
    """Return the series of scored entities, named as the events name them."""
    names = match_entities([one.entity for one in scores.entities], events).names
    return [
        EntitySeries(
            name=names.get(one.entity, one.entity),
            start=one.start,
            end=one.end,
            score=one.score,
            n_events=one.n_events,
        )
        for one in scores.entities
    ]


def dated_events(events: DatedEvents) -> tuple[DatedEvent, ...]:
    """Return the events of a table."""
    columns = events.table.select("id", "entity", "start", "end", "kind", "label")
    return tuple(DatedEvent(**row) for row in columns.iter_rows(named=True))


def require_match(entities: Sequence[str] | pl.Series, events: DatedEvents) -> None:
    """Raise an error that shows names of both sides if no scored entity is an event's.

    Raises
    ------
    ValueError
        If none is.
    """
    found = match_entities(entities, events)
    if not found.names:
        msg = (
            "no scored entity is one that events are of: scored are "
            f"{_some(entities)}, and events are of {_some(found.absent)}. Give the other names in "
            "a column aliases of the events"
        )
        raise ValueError(msg)


def _some(names: Sequence[str] | pl.Series) -> str:
    some = sorted(names)
    return (", ".join(some[:_SHOWN]) or "none") + ", …" * (len(some) > _SHOWN)
