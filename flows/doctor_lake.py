"""Whether the lake's files and records agree."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from shlex import quote
from typing import Final

import polars as pl
from pydantic import ValidationError

from features.deduplication import DUPLICATE_REASONS
from flows.digests import digest_of_file
from flows.doctor_findings import Finding, counted
from flows.lake import VERSION, Lake, MonthRecord, month_files, with_accounts
from flows.ledger import LEDGER, ledger_table
from flows.publishing import LATEST, UNFINISHED

_KINDS: Final = ("events", "duplicates")


@dataclass(frozen=True, kw_only=True)
class ReadLake:
    """A lake whose records could be read, and what was found in reading them.

    Attributes
    ----------
    lake
        None if the records can't be read.
    findings
        What is wrong with it as a whole.
    """

    lake: Lake | None
    findings: tuple[Finding, ...] = ()


def read_lake(dataset: Path) -> ReadLake:
    """Read the records of the lake that readers see, or say why they can't be.

    Examples
    --------
    >>> read_lake(Path("nowhere")).findings[0].severity
    'error'
    """
    link = dataset / LATEST
    if not link.is_symlink() and not link.exists():
        return _without_link(dataset, f"there is no lake: {link} is missing")
    if not link.exists():
        return _without_link(dataset, f"{link} points at {link.readlink()}, which is gone")
    folder = link.resolve()
    try:
        version = json.loads((folder / "files.json").read_text())["version"]
        if version != VERSION:
            return _other_code(folder)
        lake = Lake.read(folder)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        found = f"the records in {folder} can't be read: {_first_line(error)}"
        return ReadLake(lake=None, findings=(_error("lake", found, mend=_read_anew(dataset)),))
    if lake.version != folder.name:
        found = f"{folder} has the records of version {lake.version}"
        return ReadLake(lake=lake, findings=(_error("version", found, mend=_read_anew(dataset)),))
    return ReadLake(lake=lake)


def _without_link(dataset: Path, found: str) -> ReadLake:
    whole = [path.parent for path in dataset.glob("*/files.json")]
    if whole:
        newest = max(whole, key=lambda folder: folder.stat().st_mtime)
        link = f"`ln -sfn {newest.name} {dataset / LATEST}`"
        mend = f"{link} brings back the newest whole version; the next run goes on from it"
    else:
        mend = "`foreshock run --source DIR` makes it"
    return ReadLake(lake=None, findings=(_error("lake", found, mend=mend),))


def _other_code(folder: Path) -> ReadLake:
    finding = Finding(
        severity="note",
        check="version",
        found=f"{folder} was made by another version of the code",
        mend="the next run reads everything anew from the source; `foreshock plan` says what",
    )
    return ReadLake(lake=None, findings=(finding,))


def _error(check: str, found: str, items: Iterable[str] = (), mend: str = "") -> Finding:
    return Finding(severity="error", check=check, found=found, items=tuple(items), mend=mend)


def _read_again(names: Iterable[str]) -> str:
    options = " ".join(f"--again {quote(name)}" for name in sorted(names))
    return f"`foreshock ingest --source DIR {options}` reads again the files that have rows there"


def _read_anew(dataset: Path) -> str:
    return (
        f"have every file of the ledger in the source, `mv {dataset} {dataset}.old` and run again: "
        "all is read anew, and what is published stays meanwhile"
    )


def examine_lake(lake: Lake, dataset: Path, *, quick: bool) -> tuple[list[Finding], set[date]]:
    """Compare the records of a lake with its files and with each other.

    Parameters
    ----------
    lake
        With a folder.
    dataset
        The folder of its versions.
    quick
        Whether to believe that files are whole if they have the recorded number of rows.

    Returns
    -------
    findings, damaged
        The latter are months whose events can't be trusted.
    """
    findings, damaged = _months(lake, quick=quick)
    findings += _accounts(lake, dataset)
    findings += _rejected(lake, dataset)
    findings += _unknown(lake)
    return findings, damaged


def _months(lake: Lake, *, quick: bool) -> tuple[list[Finding], set[date]]:
    faults: list[str] = []
    again: set[str] = set()
    damaged: set[date] = set()
    for month, record in lake.months.items():
        for kind in _KINDS:
            fault = _fault(lake, month, kind, record, quick=quick)
            if fault is not None:
                damaged.add(month)
                faults.append(f"{kind} of {month:%Y-%m}: {fault}")
                again |= _files_of(record)
    if not faults:
        return [], damaged
    found = f"{counted(len(damaged), 'month')} of the lake can't be trusted"
    return [_error("damaged month", found, faults, _read_again(again))], damaged


def _files_of(record: MonthRecord) -> set[str]:
    """Name the files that a month's rows are of."""
    return {*record.accepted, *(name for found in record.duplicates.values() for name in found)}


def _fault(lake: Lake, month: date, kind: str, record: MonthRecord, *, quick: bool) -> str | None:
    """Say what is wrong with a file of a month."""
    assert lake.folder is not None
    paths = month_files(lake.folder, kind, month, record)
    expected = _expected(record, kind)
    if expected and not paths:
        return "no file is recorded"
    try:
        for path, sha256 in zip(paths, record.sha256[kind], strict=True):
            if not path.exists():
                return "the file is missing"
            if not quick and digest_of_file(path) != sha256:
                return "not the bytes that were written"
        found = _counted_rows(paths, kind, by=not quick)
    except (OSError, pl.exceptions.PolarsError) as error:
        return f"can't be read ({_first_line(error)})"
    if quick:
        rows, wanted = sum(found.values()), sum(expected.values())
        return None if rows == wanted else f"{rows:,} rows, expected {wanted:,}"
    return None if found == expected else f"rows by file are {found}, recorded {expected}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def _expected(record: MonthRecord, kind: str) -> dict[tuple[str, ...], int]:
    if kind == "events":
        return {(file,): n for file, n in record.accepted.items() if n}
    return {
        (file, reason): n
        for reason, by_file in record.duplicates.items()
        for file, n in by_file.items()
        if n
    }


def _counted_rows(paths: Sequence[Path], kind: str, *, by: bool) -> dict[tuple[str, ...], int]:
    """Count the rows of files, by file and reason or all together."""
    if not paths:
        return {}
    rows = pl.scan_parquet(list(paths), hive_partitioning=False)
    if not by:
        return {(): rows.select(pl.len()).collect().item()}
    keys = ["file"] if kind == "events" else ["file", "reason"]
    counts = rows.group_by(keys).len().collect()
    return {tuple(key): n for *key, n in counts.iter_rows()}


def _accounts(lake: Lake, dataset: Path) -> list[Finding]:
    """Check that each file's lines are all accounted for, and by the months as by the files."""
    summed = with_accounts(lake.files, lake.months.values())
    faults = []
    for name, record in lake.files.items():
        duplicates = sum(record.duplicates.values())
        if record.staged.lines != record.accepted + record.rejected + duplicates:
            faults.append(
                f"{name}: {record.staged.lines:,} lines, but {record.accepted:,} accepted, "
                f"{record.rejected:,} rejected and {duplicates:,} duplicates"
            )
        elif not _same_account(record.duplicates, summed[name].duplicates) or (
            record.accepted != summed[name].accepted
        ):
            faults.append(
                f"{name}: {record.accepted:,} accepted and {duplicates:,} duplicates, but the "
                f"months have {summed[name].accepted:,} and "
                f"{sum(summed[name].duplicates.values()):,}"
            )
    findings = []
    if faults:
        found = f"lines of {counted(len(faults), 'file')} don't add up"
        findings.append(_error("accounts", found, faults, _read_anew(dataset)))
    return findings + _ledger(lake, dataset)


def _same_account(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return all(one.get(reason, 0) == other.get(reason, 0) for reason in DUPLICATE_REASONS)


def _ledger(lake: Lake, dataset: Path) -> list[Finding]:
    assert lake.folder is not None
    path = lake.folder / LEDGER
    try:
        if pl.read_parquet(path).equals(ledger_table(lake)):
            return []
        found = f"{path} doesn't say what the records say"
    except (OSError, pl.exceptions.PolarsError) as error:
        found = f"{path} can't be read: {_first_line(error)}"
    return [_error("ledger", found, mend=_read_anew(dataset))]


def _rejected(lake: Lake, dataset: Path) -> list[Finding]:
    """Check that the rejected lines of each file are kept, as many as are recorded."""
    assert lake.folder is not None
    faults = []
    for name, record in lake.files.items():
        path = lake.folder / "rejected" / f"{name}.parquet"
        try:
            rows = pl.scan_parquet(path).select(pl.len()).collect().item() if path.exists() else 0
        except (OSError, pl.exceptions.PolarsError) as error:
            faults.append(f"{path.name} can't be read ({_first_line(error)})")
            continue
        if rows != record.rejected:
            faults.append(f"{path.name}: {rows:,} lines, recorded {record.rejected:,}")
    if not faults:
        return []
    found = f"kept rejected lines of {counted(len(faults), 'file')} aren't those recorded"
    return [_error("rejected lines", found, faults, _read_anew(dataset))]


def _unknown(lake: Lake) -> list[Finding]:
    """Find files in the version that no record knows: readers would take them for events."""
    assert lake.folder is not None
    known = {lake.folder / "rejected" / f"{name}.parquet" for name in lake.files}
    for month, record in lake.months.items():
        for kind in _KINDS:
            known.update(month_files(lake.folder, kind, month, record))
    folders = [lake.folder / kind for kind in (*_KINDS, "rejected")]
    found = sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path not in known and not path.name.startswith(UNFINISHED)
    )
    if not found:
        return []
    return [
        _error(
            "unknown files",
            f"{counted(len(found), 'file')} in the lake that no record knows; readers take those "
            "in `events` for events",
            map(str, found),
            "rm " + " ".join(map(str, found[:3])) + (" …" if len(found) > 3 else ""),
        )
    ]
