"""Which rows of which files are events, and which repeat or are replaced by another's.

The key of an event is (event id, event date): ids alone are used again. A yearly file replaces
what daily files said of the days that it covers.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from features.ingest import StagedFile

REPEATED_IN_FILE: Final = "repeated in file"
REPEATED_ACROSS_FILES: Final = "repeated across files"
SUPERSEDED: Final = "superseded"
ANOTHER_REPORT: Final = "another report"
DUPLICATE_REASONS: Final = (REPEATED_IN_FILE, REPEATED_ACROSS_FILES, SUPERSEDED, ANOTHER_REPORT)

REPORT_KEY: Final = ("event_date", "source_name", "target_name", "event_code")
"""What reports of one event on one day have in common."""

_KEY: Final = ("event_id", "event_date")
_LINES_AT_MOST: Final = 1 << 32


def precedence(files: Sequence[StagedFile]) -> list[str]:
    """Order files by whose word counts first, whatever order they arrived in.

    Yearly files before others, a later release before an earlier one, then by name.

    Examples
    --------
    >>> daily = StagedFile(name="20181004-icews-events.zip", edition="daily")
    >>> first, second = (
    ...     StagedFile(name=f"events.2018.{day}.tab", edition="yearly", release=day)
    ...     for day in ("20180930", "20190101")
    ... )
    >>> precedence([daily, first, second])
    ['events.2018.20190101.tab', 'events.2018.20180930.tab', '20181004-icews-events.zip']
    """
    by_name = sorted(files, key=lambda file: file.name)
    yearly = [file for file in by_name if file.edition == "yearly"]
    yearly.sort(key=lambda file: file.release, reverse=True)
    return [file.name for file in (*yearly, *(f for f in by_name if f.edition != "yearly"))]


def resolve_duplicates(
    rows: pl.DataFrame, files: Sequence[StagedFile], *, one_report_a_day: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the valid rows of some days into events and duplicates.

    All rows of a day, of all files, must be given together. The result doesn't depend on the
    order of rows or files.

    Parameters
    ----------
    rows
        Canonical rows with ``event_id``, ``event_date``, ``file`` and ``line``.
    files
        The accounts of every file that is in the lake.
    one_report_a_day
        Whether, of events with the same `REPORT_KEY`, only the first counts. One whose source or
        target has no name is no report of another. `rows` must have these columns then.

    Returns
    -------
    events, duplicates
        Both sorted by date, file precedence and line. ``duplicates`` has two columns more:
        ``reason``, one of `DUPLICATE_REASONS`, and ``superseded_by``, the file that replaces a row
        which is `SUPERSEDED`.
    """
    order = precedence(files)
    rows = _in_order(rows, order)
    by = _superseded_by(rows, files, order)
    superseded = by.is_not_null()
    live = rows.filter(~superseded) if superseded.any() else rows
    repeats = _repeats(live)
    events = live.filter(~repeats) if repeats.any() else live
    reports = _further_reports(events) if one_report_a_day else None
    none = pl.lit(None, pl.String).alias("superseded_by")
    if events.height == rows.height and reports is None:
        return rows, rows.clear().with_columns(none.alias("reason"), none)
    parts = [
        _explain(live.filter(repeats), events).with_columns(none),
        rows.with_columns(by).filter(superseded).with_columns(reason=pl.lit(SUPERSEDED)),
    ]
    if reports is not None:
        further = events.filter(reports)
        parts.append(further.with_columns(none, reason=pl.lit(ANOTHER_REPORT)))
        events = events.filter(~reports)
    columns = [*rows.columns, "reason", "superseded_by"]
    duplicates = pl.concat([part.select(columns) for part in parts])
    return events, duplicates.sort("event_date", "file", "line")


def _in_order(rows: pl.DataFrame, order: list[str]) -> pl.DataFrame:
    """Sort rows by date, file precedence and line, by all three packed into one integer."""
    file_type = pl.Enum(order)
    if rows.schema["file"] != file_type:
        rows = rows.with_columns(pl.col("file").cast(pl.String).cast(file_type))
    day, file, line = (
        pl.col(name).to_physical().cast(pl.Int64) for name in ("event_date", "file", "line")
    )
    place = ((day - day.min()) * len(order) + file) * _LINES_AT_MOST + line
    key = rows.select(place).to_series()
    rows = rows.rechunk()
    return rows if key.is_sorted() else rows[key.arg_sort()]


def _repeats(rows: pl.DataFrame) -> pl.Series:
    """Tell which rows have the key of an earlier one; few have an id that occurs twice at all."""
    digests = rows["event_id"].hash()
    in_turn = np.sort(digests.to_numpy())
    twice = pl.Series(in_turn[1:][in_turn[1:] == in_turn[:-1]], dtype=pl.UInt64)
    suspect = digests.is_in(twice.unique().implode())
    first = pl.struct(_KEY).is_first_distinct()
    repeated = rows.filter(suspect).select(~first).to_series()
    return suspect.scatter(suspect.arg_true(), repeated)


def _further_reports(events: pl.DataFrame) -> pl.Series:
    named = pl.col("source_name").is_not_null() & pl.col("target_name").is_not_null()
    return events.select(named & ~pl.struct(REPORT_KEY).is_first_distinct()).to_series()


def _explain(repeated: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Say of each repeated row whether the row that it repeats is in the same file."""
    origin = events.join(repeated, on=_KEY, how="semi").select(*_KEY, origin="file")
    reason = pl.when(pl.col("file") == pl.col("origin")).then(pl.lit(REPEATED_IN_FILE))
    return (
        repeated.join(origin, on=_KEY, how="left")
        .with_columns(reason=reason.otherwise(pl.lit(REPEATED_ACROSS_FILES)))
        .drop("origin")
    )


def _superseded_by(rows: pl.DataFrame, files: Sequence[StagedFile], order: list[str]) -> pl.Series:
    """Return the file of highest precedence that replaces each row, null where none does.

    That is a yearly file that covers the row's day and goes before the row's own file; files of
    no known edition are not replaced.
    """
    rank = {name: i for i, name in enumerate(order)}
    day, file = pl.col("event_date"), pl.col("file")
    days: tuple[date | None, date | None] = rows.select(a=day.min(), b=day.max()).row(0)
    covering = sorted(
        (rank[found.name], found.name, *found.covers)
        for found in files
        if found.covers is not None and _overlap(found.covers, days)
    )
    if not covering:
        return pl.repeat(None, n=rows.height, dtype=pl.String, eager=True).alias("superseded_by")
    others = [rank[found.name] for found in files if found.edition == "other"]
    own = file.to_physical()
    by = pl.coalesce(
        pl.when(day.is_between(first, last) & (own > place)).then(pl.lit(name))
        for place, name, first, last in covering
    )
    exempt = own.is_in(others)
    return rows.select(pl.when(~exempt).then(by).alias("superseded_by")).to_series()


def _overlap(span: tuple[date, date], days: tuple[date | None, date | None]) -> bool:
    first, last = days
    return first is not None and last is not None and span[1] >= first and span[0] <= last
