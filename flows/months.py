"""Resolving a month of the lake: which rows of all files that have some for it are events."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from features.deduplication import DUPLICATE_REASONS, SUPERSEDED, precedence, resolve_duplicates
from features.ingest import StagedFile, read_staged
from flows.digests import digest_of_file
from flows.lake import DayRecord, MonthRecord, month_file

_STATISTICS: Final = {"min": False, "max": False, "distinct_count": False, "null_count": True}
KINDS: Final = ("events", "duplicates")
ROWS_A_PART: Final = 500_000
"""Rows of a month that are resolved, and written, together."""

Days = tuple[date, date]
"""First and last of some days."""

_SEEDS: Final = (0, 1)


@dataclass(frozen=True, kw_only=True)
class MonthWork:
    """A month to be resolved: all that it takes, so that another process can do it.

    Attributes
    ----------
    month
        Its first day.
    previous
        The lake's version before, None if there is none.
    replaced
        Files whose rows in `previous` no longer count.
    staged
        Folders that `features.ingest.stage_file` wrote and that have rows of the month.
    accounts
        The accounts of the files of the new version that have rows of the month or cover its days.
    rows_by_day
        Valid rows of all files on each day of the month.
    target
        The new version's folder.
    one_report_a_day
        See `features.deduplication.resolve_duplicates`.
    """

    month: date
    previous: Path | None
    replaced: tuple[str, ...]
    staged: tuple[Path, ...]
    accounts: tuple[StagedFile, ...]
    rows_by_day: dict[date, int]
    target: Path
    one_report_a_day: bool = False


def resolve_month(work: MonthWork) -> MonthRecord | None:
    """Resolve the rows of a month anew and write them to a new version.

    What is written, to the byte, depends on the rows and not on how they came together. Days are
    taken together up to `ROWS_A_PART` rows, so that no more of a month is in memory.

    Returns
    -------
    MonthRecord or None
        None if no file has a row for the month.
    """
    for kind in KINDS:
        shutil.rmtree(month_file(work.target, kind, work.month).parent, ignore_errors=True)
    records: list[MonthRecord] = []
    for days in parts_of(work.rows_by_day):
        places = {
            kind: month_file(
                work.target, kind, work.month, sum(len(record.sha256[kind]) for record in records)
            )
            for kind in KINDS
        }
        records.append(_resolve_days(work, days, places))
    return _joined(records) if records else None


def parts_of(rows_by_day: Mapping[date, int]) -> list[Days]:
    """Part days into stretches of at most `ROWS_A_PART` rows; a day is never parted.

    Examples
    --------
    >>> first, second, third = (date(2018, 10, day) for day in (1, 2, 5))
    >>> parts = parts_of({first: 300_000, third: 400_000, second: 200_000})
    >>> [(a.day, b.day) for a, b in parts]
    [(1, 2), (5, 5)]
    """
    parts: list[Days] = []
    load = 0
    for day, rows in sorted(rows_by_day.items()):
        load += rows
        if parts and load <= ROWS_A_PART:
            parts[-1] = (parts[-1][0], day)
        else:
            parts.append((day, day))
            load = rows
    return parts


def _resolve_days(work: MonthWork, days: Days, places: Mapping[str, Path]) -> MonthRecord:
    frames = [*_previous_rows(work, days), *_staged_rows(work, days)]
    file_type = pl.Enum(precedence(work.accounts))
    rows = pl.concat([frame.with_columns(pl.col("file").cast(file_type)) for frame in frames])
    del frames
    events, duplicates = resolve_duplicates(
        rows, work.accounts, one_report_a_day=work.one_report_a_day
    )
    written = {"events": events, "duplicates": duplicates}
    return MonthRecord(
        accepted=_by_file(events),
        duplicates={
            reason: _by_file(duplicates.filter(pl.col("reason") == reason))
            for reason in DUPLICATE_REASONS
        },
        superseded_by=_superseded(duplicates),
        days=_days(events),
        sha256={
            kind: [] if rows.is_empty() else [_write_rows(rows, places[kind])]
            for kind, rows in written.items()
        },
    )


def _joined(records: Sequence[MonthRecord]) -> MonthRecord:
    """Put the records of a month's parts together."""
    accepted: Counter[str] = Counter()
    duplicates: dict[str, Counter[str]] = {reason: Counter() for reason in DUPLICATE_REASONS}
    superseded: dict[str, Counter[str]] = {}
    for record in records:
        accepted.update(record.accepted)
        for reason, found in record.duplicates.items():
            duplicates[reason].update(found)
        for file, found in record.superseded_by.items():
            superseded.setdefault(file, Counter()).update(found)
    return MonthRecord(
        accepted=_sorted(accepted),
        duplicates={reason: _sorted(found) for reason, found in duplicates.items()},
        superseded_by={file: _sorted(found) for file, found in sorted(superseded.items())},
        days={day: found for record in records for day, found in record.days.items()},
        sha256={kind: [one for record in records for one in record.sha256[kind]] for kind in KINDS},
    )


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _write_rows(rows: pl.DataFrame, path: Path) -> str:
    """Write rows; `file` as text, for an Enum would bring in the names of all other files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.with_columns(pl.col("file").cast(pl.String)).write_parquet(
        path, compression="zstd", compression_level=1, statistics=_STATISTICS
    )
    return digest_of_file(path)


def _previous_rows(work: MonthWork, days: Days) -> list[pl.DataFrame]:
    if work.previous is None:
        return []
    folders = [month_file(work.previous, kind, work.month).parent for kind in KINDS]
    kept = pl.col("event_date").is_between(*days) & ~pl.col("file").cast(pl.String).is_in(
        list(work.replaced)
    )
    return [
        pl.scan_parquet(sorted(folder.glob("*.parquet")), hive_partitioning=False)
        .filter(kept)
        .drop("reason", "superseded_by", strict=False)
        .collect()
        for folder in folders
        if folder.exists()
    ]


def _staged_rows(work: MonthWork, days: Days) -> list[pl.DataFrame]:
    return [read_staged(folder, work.month, days) for folder in work.staged]


def _by_file(rows: pl.DataFrame) -> dict[str, int]:
    counts = rows.group_by("file").len().sort("file")
    return dict(counts.with_columns(pl.col("file").cast(pl.String)).iter_rows())


def _superseded(duplicates: pl.DataFrame) -> dict[str, dict[str, int]]:
    counts = (
        duplicates.filter(pl.col("reason") == SUPERSEDED)
        .group_by(pl.col("file").cast(pl.String), "superseded_by")
        .len()
        .sort("file", "superseded_by")
    )
    found: dict[str, dict[str, int]] = {}
    for file, by, n in counts.iter_rows():
        found.setdefault(file, {})[by] = n
    return found


def _days(events: pl.DataFrame) -> dict[date, DayRecord]:
    """Digest what the events of each day say, in whichever file and line."""
    said = events.drop("file", "line")
    hashes = [said.hash_rows(seed).alias(f"hash_{seed}") for seed in _SEEDS]
    found = (
        events.select("event_date", *hashes)
        .group_by("event_date")
        .agg(pl.len(), *(pl.col(one.name).bitwise_xor() for one in hashes))
        .sort("event_date")
    )
    return {
        day: DayRecord(events=n, digest="".join(f"{one:016x}" for one in digests))
        for day, n, *digests in found.iter_rows()
    }
