"""Whether the lake has what lies in the source."""

from collections.abc import Sequence
from pathlib import Path

from flows.doctor_findings import Finding, counted
from flows.lake import Lake
from flows.lake_update import is_known
from flows.sources import SourceError, find_files


def examine_source(lake: Lake, source: Sequence[Path]) -> list[Finding]:
    """Say which files of the source the lake doesn't have, and which of the lake's have gone.

    Examples
    --------
    >>> from features.ingest import IngestConfig
    >>> lake = Lake(folder=None, config=IngestConfig())
    >>> examine_source(lake, [Path("nowhere")])[0].severity
    'error'
    """
    try:
        paths = {path.name: path for path in find_files(source)}
    except (SourceError, OSError) as error:
        return [Finding(severity="error", check="source", found=str(error))]
    new: list[str] = []
    changed: list[str] = []
    closed: list[str] = []
    for name, path in paths.items():
        record = lake.files.get(name)
        try:
            with path.open("rb"):
                known = is_known(path, record)
        except OSError as error:
            closed.append(str(error))
            continue
        if record is None:
            new.append(name)
        elif not known and record.error is None:
            changed.append(name)
    gone = sorted(
        name for name, record in lake.files.items() if record.is_read and name not in paths
    )
    return [
        *_unread(closed),
        *_waiting("new", new),
        *_waiting("changed", changed),
        *_gone(gone),
    ]


def _unread(closed: Sequence[str]) -> list[Finding]:
    if not closed:
        return []
    found = f"{counted(len(closed), 'file')} of the source can't be opened"
    mend = "let the run's user read them (`chmod a+r FILE`)"
    return [Finding(severity="error", check="source", found=found, items=tuple(closed), mend=mend)]


def _waiting(what: str, names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    found = f"{counted(len(names), 'file')} of the source {what} since the last run"
    mend = "`foreshock plan` says what a run would do with them, `foreshock run` does it"
    return [
        Finding(severity="note", check=f"{what} files", found=found, items=tuple(names), mend=mend)
    ]


def _gone(names: Sequence[str]) -> list[Finding]:
    if not names:
        return []
    found = (
        f"{counted(len(names), 'file')} of the lake not in the source any more; their events stay, "
        "as long as the lake isn't read anew"
    )
    return [Finding(severity="note", check="files gone", found=found, items=tuple(names))]
