"""Bringing raw files into the lake: read, resolve the months that they touch, publish in one move.

Nothing here knows Prefect: `RunAll` is how work on many files or months is spread, in turn or over
the workers of a flow.
"""

import shutil
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

from features.ingest import IngestConfig, StagedFile, stage_file
from features.tables import TableFormatError
from flows.digests import digests_of_file
from flows.lake import (
    UNREADABLE,
    FileRecord,
    Lake,
    MonthRecord,
    readable_files,
    with_accounts,
)
from flows.ledger import LEDGER, ledger_table
from flows.months import resolve_month
from flows.publishing import (
    STAGING,
    latest,
    link_tree,
    point_latest,
    publishing,
    saying_if_full,
)
from flows.run_all import RunAll, in_turn
from flows.sources import SourceError, find_files
from flows.touched import Staged, changed_days, month_works, rows_of, touched_months

_SHOWN: Final = 5
_KINDS: Final = ("events", "duplicates", "rejected")


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """What an ingestion did.

    Attributes
    ----------
    lake
        Folder of the lake's current version.
    added
        Files read, or tried, in this run; none if there was nothing new.
    months
        Months resolved anew.
    days
        Days whose events are others than before.
    errors
        Why files were left out.
    """

    lake: Path
    added: tuple[str, ...] = ()
    months: tuple[date, ...] = ()
    days: tuple[date, ...] = ()
    errors: tuple[str, ...] = ()


def update_lake(
    dataset: Path,
    source: Sequence[Path],
    config: IngestConfig,
    *,
    again: Collection[str] = (),
    run_all: RunAll = in_turn,
) -> IngestResult:
    """Bring new and changed source files into the lake, and publish it in one move.

    Parameters
    ----------
    dataset
        The lake's folder, that of its versions.
    source
        Folders of raw files, or such files.
    config
        What is kept of each event.
    again
        Names of files to read although they have not changed, to mend a lake that was damaged.
        Months of which all files are read again are made without what the lake has of them.
    run_all
        How work on files and months is spread.

    Raises
    ------
    flows.sources.SourceError
        If there are no files, none of them can be read and the lake is empty, a file that is to
        be read again isn't there, or all are to be read by other settings and some are gone.
    flows.lake.LakeError
        If the lake's own records can't be read.
    OSError
        If it can't be written. What was published stays as it was, and the next run does all that
        this one was to do.
    """
    previous = Lake.load(latest(dataset), config)
    if previous.folder is None:
        _require_files(latest(dataset), source)
    fresh = find_new_files(source, previous, again)
    if again:
        previous = replace(previous, repairs=previous.repairs + 1)
    if not fresh:
        assert previous.folder is not None
        return IngestResult(lake=previous.folder)
    with saying_if_full(dataset.parent):
        dataset.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dataset.parent, prefix=STAGING) as staging:
            read = partial(stage, staging=Path(staging), config=config)
            staged = run_all(read, fresh, stage="Reading files", weight=_size)
            return _publish(dataset, previous, staged, run_all)


def find_new_files(source: Sequence[Path], lake: Lake, again: Collection[str] = ()) -> list[Path]:
    """Return the files that the lake doesn't have with these bytes, could not read, or is to again.

    Raises
    ------
    flows.sources.SourceError
        If there are no files, or one that is to be read again isn't there.
    """
    files = find_files(source)
    missing = sorted(set(again) - {path.name for path in files})
    if missing:
        msg = (
            f"to be read again, but not in {', '.join(map(str, source))}: {', '.join(missing)}; "
            "give the folder that has them"
        )
        raise SourceError(msg)
    return [
        path
        for path in files
        if path.name in again or not is_known(path, lake.files.get(path.name))
    ]


def _require_files(folder: Path | None, source: Sequence[Path]) -> None:
    """Refuse to make a lake anew from a source that lacks files which the old one has."""
    if folder is None:
        return
    lost = sorted(readable_files(folder) - {path.name for path in find_files(source)})
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (", …" if len(lost) > _SHOWN else "")
        msg = (
            f"{folder.parent} was made with other settings of ingest, or by another version, and "
            f"has to be made anew; but {len(lost)} files that it has are not in the source: "
            f"{shown}. Put them there, or, to do without them, `mv {folder.parent} "
            f"{folder.parent}.old` first"
        )
        raise SourceError(msg)


def is_known(path: Path, record: FileRecord | None) -> bool:
    """Tell whether a file has the bytes that the lake has read under its name."""
    if record is None or record.error is not None:
        return False
    try:
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (record.size, record.mtime_ns):
            return True
        return stat.st_size == record.size and digests_of_file(path)[0] == record.sha256
    except OSError:  # Reading it will tell.
        return False


def stage(path: Path, staging: Path, config: IngestConfig) -> Staged:
    """Read a file; one that can't be read is recorded as such and doesn't stop the others."""
    folder = staging / path.name
    size = mtime_ns = 0
    sha256 = md5 = ""
    error = None
    account = StagedFile(name=path.name, edition=UNREADABLE)
    try:
        before = path.stat()
        size, mtime_ns = before.st_size, before.st_mtime_ns
        sha256, md5 = digests_of_file(path)
    except OSError as problem:
        error = str(problem)
    else:
        try:
            account = stage_file(path, folder, config=config)
            error = _changed_since(path, size, mtime_ns)
        except TableFormatError as problem:
            error = str(problem)
    if error is not None:
        shutil.rmtree(folder, ignore_errors=True)
        account = StagedFile(name=path.name, edition=UNREADABLE)
        error = error if path.name in error else f"{path}: {error}"
    record = FileRecord(
        size=size, mtime_ns=mtime_ns, sha256=sha256, md5=md5, staged=account, error=error
    )
    return Staged(record=record, folder=folder)


def _changed_since(path: Path, size: int, mtime_ns: int) -> str | None:
    try:
        after = path.stat()
    except OSError as problem:
        return str(problem)
    if (after.st_size, after.st_mtime_ns) == (size, mtime_ns):
        return None
    return f"{path} changed while it was read: still being written? The next run reads it again"


def _size(path: Path) -> float:
    """Return a file's bytes; 0 for one that has gone since it was listed."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _publish(
    dataset: Path, previous: Lake, staged: Sequence[Staged], run_all: RunAll
) -> IngestResult:
    """Resolve the months that files touch and publish the lake's new version."""
    names = tuple(sorted(item.name for item in staged))
    errors = tuple(item.record.error for item in staged if item.record.error is not None)
    if len(errors) == len(staged) and not previous.accounts:
        msg = f"none of the {len(staged)} files could be read; the first: {errors[0]}"
        raise SourceError(msg)
    records = {item.name: record_to_keep(previous, item) for item in staged}
    added = {item.name: item for item in staged if item.record.error is None}
    lake = replace(previous, files=dict(sorted((previous.files | records).items())))
    if previous.folder is not None and lake.version == previous.folder.name:
        return IngestResult(lake=previous.folder, errors=errors)
    if (dataset / lake.version).exists():
        return _return_to(dataset, previous, lake.version, names, errors)
    months = touched_months(previous, added.values())
    with publishing(dataset, lake.version) as target:
        _carry_over(previous, target, added)
        for item in added.values():
            _keep_rejected(item, target)
        found = _resolve(months, lake, previous, added, target, run_all)
        lake = replace(lake, months=found, files=with_accounts(lake.files, found.values()))
        lake.save(target)
        ledger_table(lake).write_parquet(target / LEDGER)
    return IngestResult(
        lake=dataset / lake.version,
        added=names,
        months=tuple(months),
        days=tuple(changed_days(previous, lake)),
        errors=errors,
    )


def record_to_keep(previous: Lake, item: Staged) -> FileRecord:
    """Return the record of a file; where it can't be read, that of its earlier self, if any."""
    before = previous.files.get(item.name)
    if item.record.error is None or before is None or not before.is_read:
        return item.record
    return replace(before, error=item.record.error)


def _return_to(
    dataset: Path, previous: Lake, version: str, added: tuple[str, ...], errors: tuple[str, ...]
) -> IngestResult:
    """Publish a version that is there whole: files went back to what they were, or a kill came."""
    point_latest(dataset, version)
    lake = Lake.load(dataset / version, previous.config)
    days = tuple(changed_days(previous, lake))
    return IngestResult(lake=dataset / version, added=added, days=days, errors=errors)


def _resolve(
    months: Sequence[date],
    lake: Lake,
    previous: Lake,
    added: dict[str, Staged],
    target: Path,
    run_all: RunAll,
) -> dict[date, MonthRecord]:
    """Resolve the given months; return the records of all."""
    work = month_works(months, lake, previous, added, target)
    results = run_all(resolve_month, work, stage="Resolving months", weight=rows_of)
    kept = {month: record for month, record in previous.months.items() if month not in months}
    found = {
        month: record for month, record in zip(months, results, strict=True) if record is not None
    }
    return dict(sorted((kept | found).items()))


def _carry_over(previous: Lake, target: Path, added: Iterable[str]) -> None:
    if previous.folder is None:
        return
    for kind in _KINDS:
        if (previous.folder / kind).exists():
            link_tree(previous.folder / kind, target / kind)
    for name in added:
        (target / "rejected" / f"{name}.parquet").unlink(missing_ok=True)


def _keep_rejected(item: Staged, target: Path) -> None:
    if item.record.rejected:
        folder = target / "rejected"
        folder.mkdir(exist_ok=True)
        shutil.move(item.folder / "rejected.parquet", folder / f"{item.name}.parquet")
