"""Which rows of which files are events, and which repeat or are replaced by another's.

The key of an event is (event id, event date): ids alone are used again. A yearly file replaces
what daily files said of the days that it covers.
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
import polars as pl

from features.icews import parse_file_name
from features.ingest import StagedFile

REPEATED_IN_FILE: Final = "repeated in file"
REPEATED_ACROSS_FILES: Final = "repeated across files"
SUPERSEDED: Final = "superseded"
_KEY: Final = ("event_id", "event_date")
_LINES_AT_MOST: Final = 1 << 32
DUPLICATE_REASONS: Final = (REPEATED_IN_FILE, REPEATED_ACROSS_FILES, SUPERSEDED)


def precedence(names: Sequence[str]) -> list[str]:
    """Order files by whose word counts first, whatever order they arrived in.

    Yearly files before others, a later release before an earlier one, then by name.

    Examples
    --------
    >>> precedence(
    ...     ["20181004-icews-events.zip", "events.2018.20180930000000.tab", "a.tab",
    ...      "events.2018.20190101000000.tab"]
    ... )[:2]
    ['events.2018.20190101000000.tab', 'events.2018.20180930000000.tab']
    """
    yearly = {name for name in names if parse_file_name(name).edition == "yearly"}
    return sorted(yearly, key=_newest_first) + sorted(set(names) - yearly)


def _newest_first(name: str) -> tuple[int, str]:
    """Order names ``events.YYYY.YYYYMMDD[hhmmss]…`` by their release, then by name."""
    release = re.split(r"\D", name.split(".")[2])[0]
    return -int(release.ljust(14, "0")), name


def resolve_duplicates(
    rows: pl.DataFrame, files: Sequence[StagedFile]
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

    Returns
    -------
    events, duplicates
        Both sorted by date, file precedence and line; ``duplicates`` has a ``reason`` more:
        `SUPERSEDED`, `REPEATED_IN_FILE` or `REPEATED_ACROSS_FILES`.
    """
    order = precedence([file.name for file in files])
    rows = _in_order(rows, order)
    superseded = _superseded(rows, files, order)
    live = rows.filter(~superseded) if superseded.any() else rows
    repeats = _repeats(live)
    if live.height == rows.height and not repeats.any():
        return rows, rows.clear().with_columns(reason=pl.lit(None, pl.String))
    replaced = rows.filter(superseded).with_columns(reason=pl.lit(SUPERSEDED))
    events = live.filter(~repeats)
    repeated = _explain(live.filter(repeats), events)
    return events, pl.concat([repeated, replaced]).sort("event_date", "file", "line")


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


def _explain(repeated: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Say of each repeated row whether the row that it repeats is in the same file."""
    origin = events.join(repeated, on=_KEY, how="semi").select(*_KEY, origin="file")
    reason = pl.when(pl.col("file") == pl.col("origin")).then(pl.lit(REPEATED_IN_FILE))
    return (
        repeated.join(origin, on=_KEY, how="left")
        .with_columns(reason=reason.otherwise(pl.lit(REPEATED_ACROSS_FILES)))
        .drop("origin")
    )


def coverage(files: Sequence[StagedFile]) -> list[tuple[str, date, date]]:
    """Return the days that each yearly file speaks for: its events', within its year."""
    spans = []
    for file in files:
        year = parse_file_name(file.name).year
        if year is not None and file.first_event is not None and file.last_event is not None:
            first = max(file.first_event, date(year, 1, 1))
            last = min(file.last_event, date(year, 12, 31))
            if first <= last:
                spans.append((file.name, first, last))
    return spans


def _superseded(rows: pl.DataFrame, files: Sequence[StagedFile], order: list[str]) -> pl.Series:
    """Tell which rows lie on a day that a yearly file of higher precedence speaks for."""
    if rows.is_empty():
        return pl.Series(dtype=pl.Boolean)
    rank = {name: i for i, name in enumerate(order)}
    others = [file.name for file in files if file.edition == "other"]
    day, file = pl.col("event_date"), pl.col("file")
    days: tuple[date, date] = rows.select(day.min().alias("a"), day.max().alias("b")).row(0)
    covered = [
        day.is_between(first, last) & (file.to_physical() > rank[name])
        for name, first, last in coverage(files)
        if last >= days[0] and first <= days[1]
    ]
    if not covered:
        return pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
    exempt = file.cast(pl.String).is_in(others)
    return rows.select((pl.any_horizontal(covered) & ~exempt).alias("superseded")).to_series()
