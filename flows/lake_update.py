"""Bringing raw files into the lake: read, resolve the months that they touch, publish in one move.

Nothing here knows Prefect: `RunAll` is how work on many files or months is spread, in turn or over
the workers of a flow.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from features.ingest import IngestConfig, StagedFile, stage_file
from features.tables import TableFormatError
from flows.digests import digests_of_file
from flows.lake import FileRecord, Lake, MonthRecord, with_accounts
from flows.ledger import LEDGER, ledger_table
from flows.months import MonthWork, resolve_month
from flows.publishing import (
    STAGING,
    latest,
    link_tree,
    point_latest,
    publishing,
    saying_if_full,
)
from flows.sources import SourceError, find_files

_KINDS: Final = ("events", "duplicates", "rejected")


class RunAll(Protocol):
    """Applies a function to items, on whatever workers there are, and returns results in order."""

    def __call__(  # noqa: D102
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        *,
        stage: str,
        weight: Callable[[Any], float],
    ) -> list[Any]: ...


def in_turn(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    stage: str,
    weight: Callable[[Any], float],
) -> list[Any]:
    """Apply a function to one item after the other, in this process."""
    return [function(item) for item in items]


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


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A file read: its record so far, and the folder with its rows."""

    record: FileRecord
    folder: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.record.staged.name


def update_lake(
    dataset: Path, source: Sequence[Path], config: IngestConfig, *, run_all: RunAll = in_turn
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
    run_all
        How work on files and months is spread.

    Raises
    ------
    flows.sources.SourceError
        If there are no files, or none of them can be read and the lake is empty.
    OSError
        If it can't be written. What was published stays as it was, and the next run does all that
        this one was to do.
    """
    previous = Lake.load(latest(dataset), config)
    fresh = find_new_files(source, previous)
    if not fresh:
        assert previous.folder is not None
        return IngestResult(lake=previous.folder)
    with saying_if_full(dataset.parent):
        dataset.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dataset.parent, prefix=STAGING) as staging:
            read = partial(stage, staging=Path(staging), config=config)
            staged = run_all(read, fresh, stage="Reading files", weight=_size)
            return _publish(dataset, previous, staged, run_all)


def find_new_files(source: Sequence[Path], lake: Lake) -> list[Path]:
    """Return the files that the lake doesn't have with these bytes, or could not read before."""
    return [path for path in find_files(source) if not is_known(path, lake.files.get(path.name))]


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
    account = StagedFile(name=path.name, edition="unreadable")
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
        account = StagedFile(name=path.name, edition="unreadable")
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
    added = {item.name: item for item in staged}
    errors = tuple(item.record.error for item in staged if item.record.error is not None)
    if len(errors) == len(staged) and not previous.accounts:
        msg = f"none of the {len(staged)} files could be read; the first: {errors[0]}"
        raise SourceError(msg)
    records = {name: item.record for name, item in added.items()}
    lake = replace(previous, files=dict(sorted((previous.files | records).items())))
    if previous.folder is not None and lake.version == previous.version:
        return IngestResult(lake=previous.folder, errors=errors)
    if (dataset / lake.version).exists():
        return _return_to(dataset, previous, lake.version, added, errors)
    months = touched_months(previous, staged)
    with publishing(dataset, lake.version) as target:
        _carry_over(previous, target, added)
        for item in staged:
            _keep_rejected(item, target)
        found = _resolve(months, lake, previous, added, target, run_all)
        lake = replace(lake, months=found, files=with_accounts(lake.files, found.values()))
        lake.save(target)
        ledger_table(lake).write_parquet(target / LEDGER)
    return IngestResult(
        lake=dataset / lake.version,
        added=tuple(sorted(added)),
        months=tuple(months),
        days=tuple(changed_days(previous, lake)),
        errors=errors,
    )


def _return_to(
    dataset: Path, previous: Lake, version: str, added: Iterable[str], errors: tuple[str, ...]
) -> IngestResult:
    """Publish a version that is there whole: files went back to what they were, or a kill came."""
    point_latest(dataset, version)
    lake = Lake.load(dataset / version, previous.config)
    days = tuple(changed_days(previous, lake))
    return IngestResult(
        lake=dataset / version, added=tuple(sorted(added)), days=days, errors=errors
    )


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
    results = run_all(resolve_month, work, stage="Resolving months", weight=_rows)
    kept = {month: record for month, record in previous.months.items() if month not in months}
    found = {
        month: record for month, record in zip(months, results, strict=True) if record is not None
    }
    return dict(sorted((kept | found).items()))


def month_works(
    months: Sequence[date],
    lake: Lake,
    previous: Lake,
    added: dict[str, Staged],
    target: Path,
) -> list[MonthWork]:
    """Say of each month what resolving it takes: files with rows of it, and files that cover it."""
    with_rows: dict[date, list[StagedFile]] = {month: [] for month in months}
    covering = [account for account in lake.accounts if account.covers is not None]
    for account in lake.accounts:
        bare = replace(account, rows_by_day={})
        for month in account.months:
            if month in with_rows:
                with_rows[month].append(bare)
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
                previous=previous.folder,
                replaced=tuple(sorted(added)),
                staged=tuple(added[name].folder for name in sorted(present & added.keys())),
                accounts=(*accounts, *covers),
                target=target,
                one_report_a_day=lake.config.one_report_a_day,
            )
        )
    return works


def _covers(account: StagedFile, month: date) -> bool:
    assert account.covers is not None
    first, last = account.covers
    return first.replace(day=1) <= month <= last


def _rows(work: MonthWork) -> float:
    """Return about how many rows a month has: its files' rows, shared out over their months."""
    return 1 + sum(account.valid for account in work.accounts)


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
