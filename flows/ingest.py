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
from features.tables import TableFormatError
from flows.config import RunConfig
from flows.digests import digest_of_file
from flows.lake import FileRecord, Lake, MonthRecord, resolve_month
from flows.progress import progress
from flows.publishing import STAGING, latest, link_tree, publishing
from flows.sources import SourceError, find_files

_UNREADABLE: Final = (TableFormatError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
_THREADS: Final = 2


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
    with tempfile.TemporaryDirectory(dir=config.data, prefix=STAGING) as staging:
        staged = stage_files(fresh, Path(staging), config.ingest)
        return update_lake(dataset, previous, staged)


def find_new_files(source: Sequence[Path], lake: Lake) -> list[Path]:
    """Return the files that the lake doesn't have with these bytes, or could not read before."""
    return [path for path in find_files(source) if not _unchanged(path, lake.files.get(path.name))]


def _unchanged(path: Path, record: FileRecord | None) -> bool:
    if record is None or record.error is not None:
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
    stat, sha256, error = path.stat(), "", None
    try:
        sha256 = digest_of_file(path)
        account = stage_file(path, folder, config=config)
    except _UNREADABLE as problem:
        error = str(problem) if path.name in str(problem) else f"{path}: {problem}"
        account = StagedFile(name=path.name, edition="unreadable")
    record = FileRecord(
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        sha256=sha256,
        staged=account,
        error=error,
    )
    return _Staged(record=record, folder=folder)


@task(name="update the lake", cache_policy=NO_CACHE)
def update_lake(dataset: Path, previous: Lake, staged: Sequence[_Staged]) -> IngestResult:
    """Resolve the months that new files touch and publish the lake's new version."""
    added = {item.record.staged.name: item for item in staged}
    _complain(staged, previous)
    files = dict(sorted((previous.files | {n: item.record for n, item in added.items()}).items()))
    lake = replace(previous, files=files)
    if previous.folder is not None and lake.version == previous.version:
        return IngestResult(lake=previous.folder)
    readable = [item for item in staged if item.record.error is None]
    months = touched_months(previous, staged)
    with publishing(dataset, lake.version) as target:
        _carry_over(previous, target, added)
        for item in readable:
            _keep_rejected(item, target)
        records = _resolve(months, lake, previous, added, target)
        accounts = _with_accounts(files, records.values())
        replace(lake, months=records, files=accounts).save(target)
    return IngestResult(
        lake=dataset / lake.version, added=tuple(sorted(added)), months=tuple(months)
    )


def _resolve(
    months: Sequence[date], lake: Lake, previous: Lake, added: dict[str, _Staged], target: Path
) -> dict[date, MonthRecord]:
    """Resolve the given months; return the records of all."""
    records = dict(previous.months)
    readable = [item for item in added.values() if item.record.error is None]
    with progress("Resolving months", len(months)) as advance:
        for month in months:
            records.pop(month, None)
            record = resolve_month(
                month,
                previous=previous,
                replaced=sorted(added),
                staged=[item.folder for item in readable if _reaches(item, month)],
                accounts=lake.accounts,
                target=target,
            )
            if record is not None:
                records[month] = record
            advance(doing=f"{month:%Y-%m}")
    return dict(sorted(records.items()))


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
