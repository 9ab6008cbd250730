"""Resolving a month of the lake: which rows of all files that have some for it are events."""

import shutil
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
_KINDS: Final = ("events", "duplicates")
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
    target: Path
    one_report_a_day: bool = False


def resolve_month(work: MonthWork) -> MonthRecord | None:
    """Resolve the rows of a month anew and write them to a new version.

    What is written, to the byte, depends on the rows and not on how they came together.

    Returns
    -------
    MonthRecord or None
        None if no file has a row for the month.
    """
    paths = {kind: month_file(work.target, kind, work.month) for kind in _KINDS}
    for path in paths.values():
        shutil.rmtree(path.parent, ignore_errors=True)
    frames = [frame for frame in (*_previous_rows(work), *_staged_rows(work)) if len(frame)]
    if not frames:
        return None
    file_type = pl.Enum(precedence(work.accounts))
    rows = pl.concat([frame.with_columns(pl.col("file").cast(file_type)) for frame in frames])
    del frames
    events, duplicates = resolve_duplicates(
        rows, work.accounts, one_report_a_day=work.one_report_a_day
    )
    if not duplicates.is_empty():
        _write_rows(duplicates, paths["duplicates"])
    if not events.is_empty():
        _write_rows(events, paths["events"])
    return MonthRecord(
        accepted=_by_file(events),
        duplicates={
            reason: _by_file(duplicates.filter(pl.col("reason") == reason))
            for reason in DUPLICATE_REASONS
        },
        superseded_by=_superseded(duplicates),
        days=_days(events),
        sha256={
            kind: digest_of_file(path) if path.exists() else "" for kind, path in paths.items()
        },
    )


def _write_rows(rows: pl.DataFrame, path: Path) -> None:
    """Write rows; `file` as text, for an Enum would bring in the names of all other files."""
    path.parent.mkdir(parents=True)
    rows.with_columns(pl.col("file").cast(pl.String)).write_parquet(
        path, compression="zstd", compression_level=1, statistics=_STATISTICS
    )


def _previous_rows(work: MonthWork) -> list[pl.DataFrame]:
    if work.previous is None:
        return []
    paths = (month_file(work.previous, kind, work.month) for kind in _KINDS)
    frames = [pl.read_parquet(path, hive_partitioning=False) for path in paths if path.exists()]
    return [
        frame.drop("reason", "superseded_by", strict=False).filter(
            ~pl.col("file").cast(pl.String).is_in(list(work.replaced))
        )
        for frame in frames
    ]


def _staged_rows(work: MonthWork) -> list[pl.DataFrame]:
    return [read_staged(folder, work.month) for folder in work.staged]


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
