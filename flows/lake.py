"""The lake: events by month, what was set apart, and the account of every file.

A version of the lake is a folder::

    events/month=2018-10/part-0.parquet      events that count
    duplicates/month=2018-10/part-0.parquet  rows that repeat one or were replaced, and why
    rejected/FILE.parquet                    lines that are no events, with reason and number
    files.json                               the account of every file
    months.json                              rows and digest of every month

Events and duplicates of a month together are all valid rows that any file had for it, so a month
can be resolved anew when a file arrives or is replaced, without reading the other files again.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
from pydantic import TypeAdapter

from features.deduplication import DUPLICATE_REASONS, precedence, resolve_duplicates
from features.ingest import IngestConfig, StagedFile, read_staged
from flows.digests import digest_of, digest_of_file

VERSION: Final = 1
"""To be raised when the same files would give other events."""

_STATISTICS: Final = {"min": False, "max": False, "distinct_count": False, "null_count": True}


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file in the lake: which bytes it had, and the account of its lines.

    ``lines == accepted + rejected + duplicates``. A file that could not be read has `error` set
    and no lines.
    """

    size: int
    mtime_ns: int
    sha256: str
    staged: StagedFile
    accepted: int = 0
    duplicates: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    @property
    def rejected(self) -> int:
        """Lines rejected, for whatever reason."""
        return sum(self.staged.rejected.values())


@dataclass(frozen=True, kw_only=True)
class MonthRecord:
    """A month in the lake: its rows by file, and the digest of its events."""

    accepted: dict[str, int]
    duplicates: dict[str, dict[str, int]]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Lake:
    """What a version of the lake holds.

    Attributes
    ----------
    folder
        Where it lies; None for the lake before the first file.
    config
        What was kept of each event.
    files, months
        Records by file name and by first day of month.
    """

    folder: Path | None
    config: IngestConfig
    files: dict[str, FileRecord] = field(default_factory=dict)
    months: dict[date, MonthRecord] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Digest of the files and the configuration: they determine all else."""
        contents = sorted(
            (name, record.sha256, record.error is None) for name, record in self.files.items()
        )
        return digest_of(VERSION, self.config, contents)

    @property
    def accounts(self) -> list[StagedFile]:
        """The accounts of the files that could be read."""
        return [record.staged for record in self.files.values() if record.error is None]

    @classmethod
    def load(cls, folder: Path | None, config: IngestConfig) -> Self:
        """Read a version; an empty lake if there is none, or it was made in another way."""
        if folder is None:
            return cls(folder=None, config=config)
        found = cls.read(folder)
        return found if found.config == config else cls(folder=None, config=config)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a version whatever it was made with; an empty lake if by other code."""
        content = json.loads((folder / "files.json").read_text())
        config = IngestConfig(**content["config"])
        if content["version"] != VERSION:
            return cls(folder=None, config=config)
        months = json.loads((folder / "months.json").read_text())
        return cls(
            folder=folder,
            config=config,
            files=TypeAdapter(dict[str, FileRecord]).validate_python(content["files"]),
            months=TypeAdapter(dict[date, MonthRecord]).validate_python(months),
        )

    def save(self, folder: Path) -> None:
        """Write the records beside the data."""
        content = {"version": VERSION, "config": self.config, "files": self.files}
        for name, value in (("files.json", content), ("months.json", self.months)):
            (folder / name).write_bytes(TypeAdapter(dict[Any, Any]).dump_json(value, indent=1))


def month_file(folder: Path, kind: str, month: date) -> Path:
    """Return where the rows of a month lie in a version of the lake."""
    return folder / kind / f"month={month:%Y-%m}" / "part-0.parquet"


def resolve_month(
    month: date,
    *,
    previous: Lake,
    replaced: Sequence[str],
    staged: Sequence[Path],
    accounts: Sequence[StagedFile],
    target: Path,
) -> MonthRecord | None:
    """Resolve the rows of a month anew and write them to a new version.

    What is written, to the byte, depends on the rows and not on how they came together.

    Parameters
    ----------
    month
        Its first day.
    previous
        The lake before.
    replaced
        Files whose rows in `previous` no longer count.
    staged
        Folders that `features.ingest.stage_file` wrote.
    accounts
        The accounts of all files of the new version.
    target
        The new version's folder.

    Returns
    -------
    MonthRecord or None
        None if no file has a row for the month.
    """
    file_type = pl.Enum(precedence([account.name for account in accounts]))
    frames = [*_previous_rows(month, previous, replaced), *_staged_rows(month, staged)]
    frames = [frame for frame in frames if not frame.is_empty()]
    paths = {kind: month_file(target, kind, month) for kind in ("events", "duplicates")}
    for path in paths.values():
        shutil.rmtree(path.parent, ignore_errors=True)
    if not frames:
        return None
    rows = pl.concat([frame.with_columns(pl.col("file").cast(file_type)) for frame in frames])
    events, duplicates = resolve_duplicates(rows, accounts)
    _write_rows(events, paths["events"])
    if not duplicates.is_empty():
        _write_rows(duplicates, paths["duplicates"])
    return MonthRecord(
        accepted=_count(events, ["file"]),
        duplicates={
            reason: _count(duplicates.filter(pl.col("reason") == reason), ["file"])
            for reason in DUPLICATE_REASONS
        },
        sha256=digest_of_file(paths["events"]),
    )


def _write_rows(rows: pl.DataFrame, path: Path) -> None:
    """Write rows; `file` as text, for an Enum would bring in the names of all other files."""
    path.parent.mkdir(parents=True)
    rows.with_columns(pl.col("file").cast(pl.String)).write_parquet(
        path, compression="zstd", compression_level=1, statistics=_STATISTICS
    )


def _previous_rows(month: date, previous: Lake, replaced: Sequence[str]) -> list[pl.DataFrame]:
    if previous.folder is None:
        return []
    paths = (month_file(previous.folder, kind, month) for kind in ("events", "duplicates"))
    frames = [pl.read_parquet(path, hive_partitioning=False) for path in paths if path.exists()]
    return [
        frame.drop("reason", strict=False).filter(~pl.col("file").cast(pl.String).is_in(replaced))
        for frame in frames
    ]


def _staged_rows(month: date, staged: Sequence[Path]) -> list[pl.DataFrame]:
    return [read_staged(folder, month) for folder in staged]


def _count(frame: pl.DataFrame, by: list[str]) -> dict[str, int]:
    counts = frame.group_by(by).len().sort(by)
    return dict(counts.with_columns(pl.col("file").cast(pl.String)).iter_rows())
