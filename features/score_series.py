"""A table of scores as sorted arrays, one set an entity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Scores = pl.DataFrame | pl.LazyFrame | Path

_WINDOW: Final = ("window_start", "window_end")
_STEP: Final = ("step_start", "step_end")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredEntity:
    """The scores of one entity, sorted by start and end.

    Attributes
    ----------
    entity
        Its name in the table.
    start, end
        datetime64[D] ``(N,)``: first day of each row, and the day after its last.
    score
        float64 ``(N,)``, never NaN.
    n_events
        float64 ``(N,)``: events behind each row, NaN where unknown; None if the table has none.
    """

    entity: str
    start: NDArray[np.datetime64]
    end: NDArray[np.datetime64]
    score: NDArray[np.float64]
    n_events: NDArray[np.float64] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreSeries:
    """All scored entities of a table, sorted by name.

    Attributes
    ----------
    entities
        Those with a row that has a score.
    n_rows
        Rows of the table.
    n_dropped
        Rows of it without entity, dates or score.
    """

    entities: tuple[ScoredEntity, ...]
    n_rows: int
    n_dropped: int


def score_series(scores: Scores, column: str, *, last_step: bool = False) -> ScoreSeries:
    """Take a table of scores apart by entity.

    Rows are windows (``window_start`` and ``window_end``, taken if there are both) or steps
    (``step_start`` and ``step_end``); the end is a row's last day. A step without ``step_end``
    lasts the median time from one ``step_start`` to the next.

    Parameters
    ----------
    scores
        With ``entity``, these columns, a score and, if known, ``n_events``; a path is that of
        one Parquet file or a folder of them.
    column
        Which column is the score; higher is more anomalous.
    last_step
        Whether a window stands for its last step alone, as where that is what was scored. A
        step then lasts the median time from one ``window_end`` to the next.

    Returns
    -------
    ScoreSeries

    Raises
    ------
    ValueError
        If a column is missing or of another type, or a row ends before it starts.

    Examples
    --------
    >>> from datetime import date
    >>> steps = pl.DataFrame({
    ...     "entity": ["Mali", "Mali"], "error": [0.5, None], "n_events": [40, 0],
    ...     "step_start": [date(2018, 1, 1), date(2018, 1, 8)],
    ...     "step_end": [date(2018, 1, 7), date(2018, 1, 14)],
    ... })
    >>> series = score_series(steps, "error")
    >>> series.entities[0].end.tolist(), series.entities[0].n_events.tolist(), series.n_dropped
    ([datetime.date(2018, 1, 8)], [40.0], 1)
    """
    lazy = pl.scan_parquet(scores) if isinstance(scores, Path) else scores.lazy()
    schema = lazy.collect_schema()
    dates = _date_columns(schema, last_step=last_step)
    _validate_types(schema, column, dates)
    n_events = ["n_events"] if "n_events" in schema else []
    table = lazy.select(
        pl.col("entity").cast(pl.String),
        *(pl.col(name).cast(pl.Date) for name in dates),
        pl.col(column).cast(pl.Float64).alias("score"),
        *(pl.col(name).cast(pl.Float64) for name in n_events),
    ).collect()
    rows = _with_interval(table, dates).drop_nulls(["entity", "start", "end", "score"])
    rows = rows.filter(pl.col("score").is_not_nan()).sort("entity", "start", "end")
    _validate_order(rows)
    return ScoreSeries(
        entities=_by_entity(rows), n_rows=table.height, n_dropped=table.height - rows.height
    )


def _date_columns(schema: pl.Schema, *, last_step: bool) -> list[str]:
    """Return the first and last day's columns, or the one that tells both."""
    if last_step:
        candidates: tuple[tuple[str, ...], ...] = (_WINDOW[1:],)
    else:
        candidates = (_WINDOW, _STEP, _STEP[:1])
    for names in candidates:
        if all(name in schema for name in names):
            return list(names)
    expected = "window_end" if last_step else " and ".join(_WINDOW) + ", or " + " and ".join(_STEP)
    msg = f"the scores have the columns {', '.join(schema)}; expected {expected}"
    raise ValueError(msg)


def _validate_types(schema: pl.Schema, column: str, dates: list[str]) -> None:
    expected = dict.fromkeys(dates, "dates") | {column: "numbers"}
    if "n_events" in schema:
        expected["n_events"] = "numbers"
    for name in ("entity", column):
        if name not in schema:
            msg = f"the scores have no column {name}; there are {', '.join(schema)}"
            raise ValueError(msg)
    for name, what in expected.items():
        dtype = schema[name]
        is_right = dtype.is_numeric() if what == "numbers" else dtype in (pl.Date, pl.Datetime)
        if not is_right:
            msg = f"column {name} of the scores is {dtype}; expected {what}"
            raise ValueError(msg)


def _with_interval(table: pl.DataFrame, dates: list[str]) -> pl.DataFrame:
    """Return the table with ``start`` and ``end``, the day after the last."""
    first, last = pl.col(dates[0]), pl.col(dates[-1])
    if len(dates) == 2:
        start, end = first, last.dt.offset_by("1d")
    else:
        gaps = table[dates[0]].drop_nulls().unique().sort().diff().dt.total_days()
        median = gaps.median()
        days = max(int(median), 1) if isinstance(median, int | float) else 1
        is_end = dates[0] == _WINDOW[1]
        end = last.dt.offset_by("1d" if is_end else f"{days}d")
        start = end.dt.offset_by(f"-{days}d")
    return table.with_columns(start=start, end=end)


def _validate_order(rows: pl.DataFrame) -> None:
    wrong = rows.filter(pl.col("end") <= pl.col("start"))
    if not wrong.is_empty():
        entity, start, end = wrong.select("entity", "start", "end").row(0)
        msg = (
            f"{wrong.height} rows of the scores end before they start, the first that of {entity} "
            f"from {start}, whose end makes {end} the day after it; expected first and last day"
        )
        raise ValueError(msg)


def _by_entity(rows: pl.DataFrame) -> tuple[ScoredEntity, ...]:
    if rows.is_empty():
        return ()
    counts = rows.group_by("entity", maintain_order=True).len()
    bounds = np.cumsum(counts["len"].to_numpy())[:-1]
    columns = [
        np.split(rows[name].to_numpy(), bounds)
        for name in ("start", "end", "score", "n_events")
        if name in rows.columns
    ]
    return tuple(
        ScoredEntity(
            entity=entity,
            start=start,
            end=end,
            score=score,
            n_events=n_events[0] if n_events else None,
        )
        for entity, start, end, score, *n_events in zip(counts["entity"], *columns, strict=True)
    )
