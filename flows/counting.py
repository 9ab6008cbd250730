"""Counts of each month of the lake, kept by what its events say, so that none is counted twice.

Where a month has changed, only the steps that the change touches are counted again; the counts of
the others are taken over from those of the month before it changed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.aggregate import CategoryField, Counts, Entity, Step, count_events, merge_counts
from features.aggregate import step_start as start_of
from flows.digests import digest_of
from flows.lake import Lake, MonthRecord, month_files
from flows.publishing import remove_whole, whole_folder
from flows.run_all import RunAll, in_turn

VERSION: Final = 2
"""To be raised when the same events would give other counts."""

_KEPT: Final = 3
_TABLES: Final = ("totals", "categories")
_DAYS: Final = "days.json"


@dataclass(frozen=True, kw_only=True)
class MonthCounting:
    """A month to be counted: all that it takes, so that another process can do it."""

    events: tuple[Path, ...]
    month: date
    days: dict[date, str]
    place: Path
    entity: Entity
    step: Step
    fields: tuple[CategoryField, ...]


@dataclass(frozen=True, kw_only=True)
class CountStore:
    """Where counts of months are kept.

    Attributes
    ----------
    root
        Folder of all counts in a data folder.
    entity, step, fields
        What is counted.
    """

    root: Path
    entity: Entity
    step: Step
    fields: tuple[CategoryField, ...]

    @property
    def folder(self) -> Path:
        """Folder of the counts of this kind."""
        return self.root / f"{self.entity}-{self.step}-{digest_of(VERSION, self.fields)}"

    def place(self, month: date, record: MonthRecord) -> Path:
        """Return the folder of the counts of a month with these events."""
        return self.folder / f"{month:%Y-%m}-{record.digest}"

    def missing(self, lake: Lake) -> list[MonthCounting]:
        """Say which months of a lake are to be counted."""
        assert lake.folder is not None
        return [
            MonthCounting(
                events=tuple(month_files(lake.folder, "events", month, record)),
                month=month,
                days={day: found.digest for day, found in record.days.items()},
                place=self.place(month, record),
                entity=self.entity,
                step=self.step,
                fields=self.fields,
            )
            for month, record in lake.months.items()
            if record.days and not self.place(month, record).exists()
        ]

    def counts(self, lake: Lake, months: Sequence[date] | None = None) -> Counts | None:
        """Read the counts of months, of those given or of all; None if these have no events."""
        parts = [
            read_counts(self.place(month, record))
            for month, record in lake.months.items()
            if record.days and (months is None or month in months)
        ]
        return merge_counts(parts) if parts else None

    def count(self, lake: Lake, *, run_all: RunAll = in_turn) -> list[date]:
        """Count what is missing; return the months that were counted."""
        missing = self.missing(lake)
        run_all(count_month, missing, stage="Counting events", weight=lambda _: 1.0)
        return [work.month for work in missing]


def count_month(work: MonthCounting) -> None:
    """Count a month, or those of its steps that have changed since it was counted last."""
    others = sorted(
        work.place.parent.glob(f"{work.month:%Y-%m}-*"), key=lambda path: path.stat().st_mtime
    )
    counts = _count_changes(work, others[-1]) if others else _count(work, _events(work))
    with whole_folder(work.place) as target:
        write_counts(counts, target)
        days = {str(day): digest for day, digest in work.days.items()}
        (target / _DAYS).write_text(json.dumps(days))
    for old in others[: -(_KEPT - 1)]:
        remove_whole(old)


def _count_changes(work: MonthCounting, before: Path) -> Counts:
    old = {date.fromisoformat(day): d for day, d in json.loads(_read(before / _DAYS)).items()}
    days = [day for day in old.keys() | work.days if old.get(day) != work.days.get(day)]
    touched = steps_of(days, work.step)
    start = start_of(pl.col("event_date"), work.step)
    new = _count(work, _events(work).filter(start.is_in(touched)))
    kept = read_counts(before)
    untouched = ~pl.col("step_start").is_in(touched)
    kept = Counts(
        totals=kept.totals.filter(untouched), categories=kept.categories.filter(untouched)
    )
    return merge_counts([kept, new])


def _events(work: MonthCounting) -> pl.LazyFrame:
    return pl.scan_parquet(list(work.events), hive_partitioning=False)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def steps_of(days: Sequence[date], step: Step) -> list[date]:
    """Return the first days of the steps that some days lie in.

    Examples
    --------
    >>> steps_of([date(2018, 10, 3), date(2018, 10, 7), date(2018, 10, 8)], "week")
    [datetime.date(2018, 10, 1), datetime.date(2018, 10, 8)]
    """
    frame = pl.DataFrame({"day": days}, schema={"day": pl.Date})
    starts = frame.select(start_of(pl.col("day"), step).unique().sort()).to_series()
    found: list[date] = starts.to_list()
    return found


def months_between(first: date, last: date) -> list[date]:
    """Return the first days of the months from that of one day to that of another."""
    months, month = [], first.replace(day=1)
    while month <= last:
        months.append(month)
        month = (month + timedelta(days=32)).replace(day=1)
    return months


def _count(work: MonthCounting, events: pl.LazyFrame) -> Counts:
    return count_events(events, entity=work.entity, step=work.step, fields=work.fields)


def write_counts(counts: Counts, folder: Path) -> None:
    """Write counts as two tables."""
    for name in _TABLES:
        getattr(counts, name).write_parquet(folder / f"{name}.parquet", compression="zstd")


def read_counts(folder: Path) -> Counts:
    """Read what `write_counts` wrote."""
    tables: dict[str, Any] = {name: pl.read_parquet(folder / f"{name}.parquet") for name in _TABLES}
    return Counts(**tables)
