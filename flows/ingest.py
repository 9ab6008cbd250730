"""The flow that brings raw files into the lake."""

import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.deduplication import DUPLICATE_REASONS
from features.ingest import IngestConfig, StagedFile, stage_file
from features.tables import TABLE_SUFFIXES, TableFormatError
from flows.config import RunConfig
from flows.digests import digest_of_file
from flows.lake import FileRecord, Lake, MonthRecord, resolve_month
from flows.progress import progress
from flows.publishing import latest, link_tree, publishing

_SUFFIXES: Final = (*TABLE_SUFFIXES, ".zip", ".gz")
_UNREADABLE: Final = (TableFormatError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
_THREADS: Final = 2


class SourceError(ValueError):
    """There is nothing to ingest, or it isn't clear what."""


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """What an ingestion did.

    Attributes
    ----------
    lake
        Folder of the lake's current version.
    added
        Files read in this run; none if there was nothing new.
    months
        Months resolved anew.
    """

    lake: Path
    added: tuple[str, ...] = ()
    months: tuple[date, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Staged:
    """A file read: its record so far, and the folder with its rows."""

    record: FileRecord
    folder: Path


@flow(name="ingest", flow_run_name="ingest", validate_parameters=False)
def ingest(config: RunConfig) -> IngestResult:
    """Bring new and changed source files into the lake, and publish it in one move."""
    dataset = config.data / "lake"
    previous = Lake.load(latest(dataset), config.ingest)
    fresh = find_new_files(config.source, previous)
    if not fresh:
        get_run_logger().info("nothing new: the lake has all %d files", len(previous.files))
        assert previous.folder is not None
        return IngestResult(lake=previous.folder)
    config.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.data, prefix=".staging-") as staging:
        staged = stage_files(fresh, Path(staging), config.ingest)
        return update_lake(dataset, previous, staged)


def find_files(source: Sequence[Path]) -> list[Path]:
    """Return the raw files in folders (and folders in them) and among paths, by name.

    Raises
    ------
    SourceError
        If a path doesn't exist, there is no file, or two files have one name: a file replaces
        the one of the same name, so it must be clear which is meant.
    """
    found: dict[str, Path] = {}
    for path in source:
        if not path.exists():
            msg = f"source {path} does not exist: expected a folder of ICEWS files, or such files"
            raise SourceError(msg)
        inside = path.rglob("*") if path.is_dir() else [path]
        for file in inside:
            if not file.is_file() or file.suffix.lower() not in _SUFFIXES:
                continue
            twin = found.setdefault(file.name, file)
            if twin != file and digest_of_file(twin) != digest_of_file(file):
                msg = (
                    f"two different files are named {file.name}: {twin} and {file}. A file "
                    "replaces the one of the same name; leave out the one that is out of date"
                )
                raise SourceError(msg)
    if not found:
        msg = f"no files to read in {', '.join(map(str, source))}: expected {', '.join(_SUFFIXES)}"
        raise SourceError(msg)
    return [found[name] for name in sorted(found)]


def find_new_files(source: Sequence[Path], lake: Lake) -> list[Path]:
    """Return the files that the lake doesn't have with these bytes."""
    return [path for path in find_files(source) if not _unchanged(path, lake.files.get(path.name))]


def _unchanged(path: Path, record: FileRecord | None) -> bool:
    if record is None:
        return False
    stat = path.stat()
    if (stat.st_size, stat.st_mtime_ns) == (record.size, record.mtime_ns):
        return True
    return stat.st_size == record.size and digest_of_file(path) == record.sha256


@task(name="read files", cache_policy=NO_CACHE)
def stage_files(paths: Sequence[Path], staging: Path, config: IngestConfig) -> list[_Staged]:
    """Read raw files into a staging folder, a few at a time."""
    with (
        progress("Reading files", len(paths)) as advance,
        ThreadPoolExecutor(max_workers=_THREADS) as pool,
    ):
        staged = []
        for item in pool.map(lambda path: _stage(path, staging, config), paths):
            staged.append(item)
            advance(doing=item.record.staged.name)
        return staged


def _stage(path: Path, staging: Path, config: IngestConfig) -> _Staged:
    """Read a file; one that can't be read is recorded as such and doesn't stop the others."""
    folder = staging / path.name
    stat = path.stat()
    error = None
    try:
        account = stage_file(path, folder, config=config)
    except _UNREADABLE as problem:
        error = str(problem) if path.name in str(problem) else f"{path}: {problem}"
        account = StagedFile(name=path.name, edition="unreadable")
    record = FileRecord(
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        sha256=digest_of_file(path),
        staged=account,
        error=error,
    )
    return _Staged(record=record, folder=folder)


@task(name="update the lake", cache_policy=NO_CACHE)
def update_lake(dataset: Path, previous: Lake, staged: Sequence[_Staged]) -> IngestResult:
    """Resolve the months that new files touch and publish the lake's new version."""
    added = {item.record.staged.name: item for item in staged}
    _complain(staged, previous)
    files = previous.files | {name: item.record for name, item in added.items()}
    files = dict(sorted(files.items()))
    readable = [item for item in staged if item.record.error is None]
    months = touched_months(previous, staged)
    lake = replace(previous, files=files)
    with publishing(dataset, lake.version) as target:
        _carry_over(previous, target, added)
        for item in readable:
            _keep_rejected(item, target)
        records = dict(previous.months)
        with progress("Resolving months", len(months)) as advance:
            for month in months:
                record = resolve_month(
                    month,
                    previous=previous,
                    replaced=sorted(added),
                    staged=[item.folder for item in readable if _reaches(item, month)],
                    accounts=lake.accounts,
                    target=target,
                )
                records.pop(month, None)
                if record is not None:
                    records[month] = record
                advance(doing=f"{month:%Y-%m}")
        records = dict(sorted(records.items()))
        done = replace(lake, months=records, files=_with_accounts(files, records.values()))
        done.save(target)
    return IngestResult(
        lake=dataset / lake.version, added=tuple(sorted(added)), months=tuple(months)
    )


def touched_months(previous: Lake, staged: Iterable[_Staged]) -> list[date]:
    """Return the months that files bring rows to or, replacing a file, take rows from."""
    months: set[date] = set()
    for item in staged:
        months.update(item.record.staged.months)
        before = previous.files.get(item.record.staged.name)
        if before is not None:
            months.update(before.staged.months)
    return sorted(months)


def _reaches(item: _Staged, month: date) -> bool:
    return month in item.record.staged.months


def _complain(staged: Sequence[_Staged], previous: Lake) -> None:
    errors = [item.record.error for item in staged if item.record.error is not None]
    for error in errors:
        get_run_logger().error("left out: %s", error)
    if len(errors) == len(staged) and not previous.accounts:
        msg = f"none of the {len(staged)} files could be read; the first: {errors[0]}"
        raise SourceError(msg)


def _carry_over(previous: Lake, target: Path, added: Iterable[str]) -> None:
    if previous.folder is None:
        return
    for kind in ("events", "duplicates", "rejected"):
        if (previous.folder / kind).exists():
            link_tree(previous.folder / kind, target / kind)
    for name in added:
        (target / "rejected" / f"{name}.parquet").unlink(missing_ok=True)


def _keep_rejected(item: _Staged, target: Path) -> None:
    if item.record.rejected:
        folder = target / "rejected"
        folder.mkdir(exist_ok=True)
        (item.folder / "rejected.parquet").rename(folder / f"{item.record.staged.name}.parquet")


def _with_accounts(
    files: dict[str, FileRecord], months: Iterable[MonthRecord]
) -> dict[str, FileRecord]:
    """Add up, over the months, what became of the rows of each file."""
    months = list(months)
    return {
        name: replace(
            record,
            accepted=sum(month.accepted.get(name, 0) for month in months),
            duplicates={
                reason: sum(month.duplicates[reason].get(name, 0) for month in months)
                for reason in DUPLICATE_REASONS
            },
        )
        for name, record in files.items()
    }
