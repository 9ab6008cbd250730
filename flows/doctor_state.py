"""What runs have left behind: what they were writing, their lock, and what they published."""

import fcntl
import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

from flows.doctor_findings import Finding, counted
from flows.lake import Lake
from flows.locking import LOCK
from flows.partitions import KEYS
from flows.published_state import STATE, PublishedState, days_of
from flows.publishing import LATEST, STAGING, UNFINISHED

_LONG: Final = 24 * 3600
_TRAINING: Final = f"{UNFINISHED}training-"
_PLACES: Final = ("", "lake/", "features/", "models/", "counts/*/", "published/*/")


def examine_lock(data: Path) -> tuple[list[Finding], bool]:
    """Say who holds a data folder, or held it when it was killed.

    Returns
    -------
    findings, held
        The latter tells whether a run is going on.
    """
    path = data / LOCK
    if not path.exists():
        return [], False
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return [_held(path, _said(file.read()))], True
        said = _said(file.read())
        fcntl.flock(file, fcntl.LOCK_UN)
    if said is None:
        return [], False
    found = f"the last run was killed or the machine stopped: {said}"
    mend = "nothing holds the folder; run again, and what it left unfinished is swept away"
    return [Finding(severity="warning", check="lock", found=found, mend=mend)], False


def _held(path: Path, said: str | None) -> Finding:
    is_old = time.time() - path.stat().st_mtime > _LONG
    found = f"a run holds the folder: {said or 'it has not said which'}"
    mend = (
        "it has run for more than a day: see whether it still works, or stop it" if is_old else ""
    )
    return Finding(severity="warning" if is_old else "note", check="lock", found=found, mend=mend)


def _said(text: str) -> str | None:
    try:
        content: dict[str, Any] = json.loads(text)
        return "{doing}, process {process} on {host} since {since}".format(**content)
    except (ValueError, KeyError, TypeError):
        return None


def examine_leftovers(data: Path, *, running: bool) -> list[Finding]:
    """Find what killed runs left unfinished; while a run is going on it may be that run's."""
    left = [
        path
        for place in _PLACES
        for begin in (STAGING, UNFINISHED)
        for path in data.glob(f"{place}{begin}*")
    ]
    trainings = [path for path in left if path.name.startswith(_TRAINING)]
    others = sorted(set(left) - set(trainings))
    findings = []
    if trainings:
        found = f"{counted(len(trainings), 'training')} can go on where it was killed"
        mend = "the next run with the same events and settings goes on from it"
        items = tuple(map(str, trainings))
        findings.append(_note("unfinished training", found, items, mend))
    if others and not running:
        size = sum(file.lstat().st_size for path in others for file in _files(path))
        found = f"{counted(len(others), 'leftover')} of killed runs, {size / 1e6:,.1f} MB"
        mend = "nothing reads them, and the next run removes them"
        findings.append(_note("leftovers", found, tuple(map(str, others)), mend))
    return findings


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        yield from (file for file in path.rglob("*") if file.is_file())
    else:
        yield path


def _note(check: str, found: str, items: tuple[str, ...], mend: str) -> Finding:
    return Finding(severity="note", check=check, found=found, items=items, mend=mend)


def examine_published(data: Path, lake: Lake) -> list[Finding]:
    """Say what is published that can't be read, or doesn't have all events of the lake."""
    folders = sorted(path for path in (data / "published").glob("*") if path.is_dir())
    return [finding for folder in folders for finding in _published(folder, lake)]


def _published(dataset: Path, lake: Lake) -> list[Finding]:
    link = dataset / LATEST
    again = f"`foreshock run` with the settings of {dataset.name} publishes anew"
    if not link.exists():
        found = f"{link} is missing or points at nothing, so readers find nothing"
        return [Finding(severity="error", check="published", found=found, mend=again)]
    lacking = [name for name in KEYS if not any((link / name).glob("*.parquet"))]
    if lacking:
        found = f"{link} lacks {', '.join(lacking)}"
        mend = f"`rm -r {link.resolve()}`; {again}"
        return [Finding(severity="error", check="published", found=found, mend=mend)]
    try:
        state = PublishedState.read(link)
    except (OSError, ValueError, KeyError) as error:
        found = f"{link / STATE} doesn't tell of what events it was made: {error}"
        return [Finding(severity="warning", check="published", found=found, mend=again)]
    return _behind(dataset, state.days, days_of(lake))


def _behind(dataset: Path, published: dict[date, str], lake: dict[date, str]) -> list[Finding]:
    days = sorted(d for d in published.keys() | lake if published.get(d) != lake.get(d))
    if not days:
        return []
    newest = max(published, default=None)
    found = (
        f"{dataset.name} doesn't have the lake's events of {counted(len(days), 'day')}, {days[0]} "
        f"to {days[-1]}; its own end on {newest}, the lake's on {max(lake, default=None)}"
    )
    mend = (
        f"`foreshock update` with the settings of {dataset.name} scores them; a run that failed "
        "after ingesting leaves this"
    )
    return [Finding(severity="warning", check="published", found=found, mend=mend)]
