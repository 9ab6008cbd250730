"""Which months and days files touch that come to the lake, and what resolving them takes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from features.ingest import StagedFile
from flows.lake import FileRecord, Lake
from flows.months import MonthWork


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A file read: its record so far, and the folder with its rows."""

    record: FileRecord
    folder: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.record.staged.name


def month_works(
    months: Sequence[date],
    lake: Lake,
    previous: Lake,
    added: dict[str, Staged],
    target: Path,
) -> list[MonthWork]:
    """Say of each month what resolving it takes: files with rows of it, and files that cover it."""
    with_rows: dict[date, list[StagedFile]] = {month: [] for month in months}
    by_day: dict[date, Counter[date]] = {month: Counter() for month in months}
    covering = [account for account in lake.accounts if account.covers is not None]
    for account in lake.accounts:
        bare = replace(account, rows_by_day={})
        for month in account.months:
            if month in with_rows:
                with_rows[month].append(bare)
        for day, rows in account.rows_by_day.items():
            if (month := day.replace(day=1)) in by_day:
                by_day[month][day] += rows
    works = []
    for month, accounts in with_rows.items():
        present = {account.name for account in accounts}
        covers = [
            replace(account, rows_by_day={})
            for account in covering
            if account.name not in present and _covers(account, month)
        ]
        works.append(
            MonthWork(
                month=month,
                previous=_still_needed(previous, month, added),
                replaced=tuple(sorted(added)),
                staged=tuple(added[name].folder for name in sorted(present & added.keys())),
                accounts=(*accounts, *covers),
                rows_by_day=dict(by_day[month]),
                target=target,
                one_report_a_day=lake.config.one_report_a_day,
            )
        )
    return works


def _still_needed(previous: Lake, month: date, added: Iterable[str]) -> Path | None:
    """Return the lake before if anything that it has of a month still counts.

    Where every file that had rows is read again, what is there may be damaged.
    """
    record = previous.months.get(month)
    if record is None:
        return None
    files = {*record.accepted, *(name for found in record.duplicates.values() for name in found)}
    return None if files <= set(added) else previous.folder


def _covers(account: StagedFile, month: date) -> bool:
    assert account.covers is not None
    first, last = account.covers
    return first.replace(day=1) <= month <= last


def rows_of(work: MonthWork) -> float:
    """Return how many rows of a month there are."""
    return sum(work.rows_by_day.values())


def touched_months(previous: Lake, staged: Iterable[Staged]) -> list[date]:
    """Return the months that files bring rows to or take rows from.

    A file takes rows from the months in which it had some before, and from those that it covers, or
    covered before, where others have rows.
    """
    months: set[date] = set()
    spans = []
    for item in staged:
        before = previous.files.get(item.name)
        for account in (item.record.staged, *([before.staged] if before is not None else [])):
            months.update(account.months)
            if account.covers is not None:
                spans.append((account.covers[0].replace(day=1), account.covers[1]))
    covered = {
        month for month in previous.months if any(first <= month <= last for first, last in spans)
    }
    return sorted(months | covered)


def changed_days(previous: Lake, lake: Lake) -> list[date]:
    """Return the days whose events say something else in one lake than in the other."""
    before, after = previous.days, lake.days
    return sorted(day for day in before.keys() | after if before.get(day) != after.get(day))
