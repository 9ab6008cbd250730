"""The lake: events by month, what was set apart, and the account of every file.

A version of the lake is a folder::

    events/month=2018-10/part-0.parquet      events that count; more parts where there are many
    duplicates/month=2018-10/part-0.parquet  rows that repeat one or were replaced, and why
    rejected/FILE.parquet                    lines that are no events, with reason and number
    files.parquet                            the ledger: a row a file
    files.json                               the same and the configuration, for the next run
    months.json                              rows and digests of every month

Events and duplicates of a month together are all valid rows that any file had for it, so a month
can be resolved anew when a file arrives or is replaced, without reading the other files again.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Final, Self

from pydantic import TypeAdapter

from features.deduplication import DUPLICATE_REASONS
from features.ingest import IngestConfig, StagedFile
from flows.digests import digest_of

VERSION: Final = 2
"""To be raised when the same files would give other events."""


UNREADABLE: Final = "unreadable"
"""Edition of a file of which nothing could be read."""

_CONFIG: Final = TypeAdapter(IngestConfig)


class LakeError(ValueError):
    """A lake whose records can't be read."""


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file in the lake: which bytes it had, and the account of its lines.

    ``lines == accepted + rejected + duplicates``. A file that could not be read has `error` set
    and no lines, unless it could be read before: then all else is still that of its earlier self,
    whose events stay until there is a new one that can be read.

    Attributes
    ----------
    size, mtime_ns, sha256, md5
        Of the file as it lay in the source.
    staged
        What was found in it.
    accepted, duplicates
        Rows that count, and those that don't by reason.
    superseded_by
        Rows replaced by each other file, by its name.
    error
        Why it could not be read, this time.
    """

    size: int
    mtime_ns: int
    sha256: str
    md5: str
    staged: StagedFile
    accepted: int = 0
    duplicates: dict[str, int] = field(default_factory=dict)
    superseded_by: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    @property
    def rejected(self) -> int:
        """Lines rejected, for whatever reason."""
        return sum(self.staged.rejected.values())

    @property
    def is_read(self) -> bool:
        """Whether the lake has what is in it, or in its earlier self."""
        return self.staged.edition != UNREADABLE


@dataclass(frozen=True, kw_only=True)
class DayRecord:
    """A day in the lake: its events, and a digest of what they say, not of where it was said."""

    events: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class MonthRecord:
    """A month in the lake.

    Attributes
    ----------
    accepted
        Events by file.
    duplicates
        By reason and file.
    superseded_by
        Rows replaced, by file and then by the file that replaces them.
    days
        Of those days that have events.
    sha256
        Of the files of ``events`` and of ``duplicates``, part by part; of each there may be none.
    """

    accepted: dict[str, int]
    duplicates: dict[str, dict[str, int]]
    superseded_by: dict[str, dict[str, int]]
    days: dict[date, DayRecord]
    sha256: dict[str, list[str]]

    @property
    def digest(self) -> str:
        """Stands for what the events of the month say."""
        return digest_of([(day, record.digest) for day, record in self.days.items()])


_FILES: Final = TypeAdapter(dict[str, FileRecord])
_MONTHS: Final = TypeAdapter(dict[date, MonthRecord])


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
    repairs
        How often files were read again to mend it.
    """

    folder: Path | None
    config: IngestConfig
    files: dict[str, FileRecord] = field(default_factory=dict)
    months: dict[date, MonthRecord] = field(default_factory=dict)
    repairs: int = 0

    @property
    def version(self) -> str:
        """Digest of the files and the configuration: they determine all else."""
        contents = sorted(
            (name, record.sha256, record.error is None) for name, record in self.files.items()
        )
        repaired = [self.repairs] if self.repairs else []
        return digest_of(VERSION, self.config, contents, *repaired)

    @property
    def accounts(self) -> list[StagedFile]:
        """The accounts of the files that could be read."""
        return [record.staged for record in self.files.values() if record.is_read]

    @property
    def days(self) -> dict[date, DayRecord]:
        """Every day that has events."""
        return {day: found for month in self.months.values() for day, found in month.days.items()}

    @classmethod
    def load(cls, folder: Path | None, config: IngestConfig) -> Self:
        """Read a version; an empty lake if there is none, or it was made in another way."""
        if folder is None:
            return cls(folder=None, config=config)
        found = cls.read(folder)
        return found if found.config == config else cls(folder=None, config=config)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a version whatever it was made with; an empty lake if by other code.

        Raises
        ------
        LakeError
            If its records can't be read.
        """
        content = _read_json(folder / "files.json")
        if content.get("version") != VERSION:
            return cls(folder=None, config=IngestConfig())
        months = _read_json(folder / "months.json")
        try:
            return cls(
                folder=folder,
                config=_CONFIG.validate_python(content["config"]),
                files=_FILES.validate_python(content["files"]),
                months=_MONTHS.validate_python(months),
                repairs=content["repairs"],
            )
        except (ValueError, KeyError) as error:
            raise LakeError(_unreadable(folder, error)) from None

    def save(self, folder: Path) -> None:
        """Write the records beside the data."""
        content = {
            "version": VERSION,
            "config": self.config,
            "repairs": self.repairs,
            "files": self.files,
        }
        for name, value in (("files.json", content), ("months.json", self.months)):
            (folder / name).write_bytes(TypeAdapter(dict[Any, Any]).dump_json(value, indent=1))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LakeError(_unreadable(path, error)) from None
    return content


def _unreadable(path: Path, error: Exception) -> str:
    return (
        f"the lake's records can't be read: {path}: {error}. `foreshock doctor` says how to mend it"
    )


def readable_files(folder: Path) -> set[str]:
    """Return the names of the files that a version has events of, whatever code made it."""
    files = _read_json(folder / "files.json")["files"]
    return {name for name, record in files.items() if record["staged"]["edition"] != UNREADABLE}


def month_file(folder: Path, kind: str, month: date, part: int = 0) -> Path:
    """Return where the rows of a part of a month lie in a version of the lake."""
    return folder / kind / f"month={month:%Y-%m}" / f"part-{part}.parquet"


def month_files(folder: Path, kind: str, month: date, record: MonthRecord) -> list[Path]:
    """Return where the rows of a month lie in a version of the lake: nowhere if it has none."""
    return [
        month_file(folder, kind, month, part) for part in range(len(record.sha256.get(kind, ())))
    ]


def with_accounts(
    files: dict[str, FileRecord], months: Iterable[MonthRecord]
) -> dict[str, FileRecord]:
    """Add up, over the months, what became of the rows of each file."""
    accepted: dict[str, int] = defaultdict(int)
    duplicates: dict[str, dict[str, int]] = {name: defaultdict(int) for name in DUPLICATE_REASONS}
    superseded: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for month in months:
        _add(accepted, month.accepted)
        for reason, by_file in month.duplicates.items():
            _add(duplicates[reason], by_file)
        for name, by in month.superseded_by.items():
            _add(superseded[name], by)
    return {
        name: replace(
            record,
            accepted=accepted.get(name, 0),
            duplicates={reason: found.get(name, 0) for reason, found in duplicates.items()},
            superseded_by=dict(sorted(superseded.get(name, {}).items())),
        )
        for name, record in files.items()
    }


def _add(totals: dict[str, int], counts: dict[str, int]) -> None:
    for name, count in counts.items():
        totals[name] += count
