"""What bringing raw files into the lake would do, without doing it: nothing is written there.

New files are read, one after another, into a temporary folder that is removed, since their dates
are known only then. Which of their rows repeat others is not looked for: so months are those that
would be resolved anew, but days are all whose events may change.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final, Literal

from features.deduplication import precedence
from features.ingest import IngestConfig, StagedFile
from flows.lake import VERSION, FileRecord, Lake, readable_files
from flows.lake_update import find_new_files, record_to_keep, stage
from flows.publishing import latest
from flows.sources import find_files
from flows.touched import Staged, touched_months

Action = Literal["add", "replace", "leave out"]
_PREFIX: Final = "foreshock-plan-"


class PlanError(ValueError):
    """It can't be said what would be done; the message says why."""


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """What would become of a new or changed file.

    Attributes
    ----------
    name
        Of the file.
    action
        ``add``; ``replace`` the rows of the file of the same name; ``leave out`` what can't be
        read.
    lines, valid, rejected
        Data lines in it, and how many of them are events or aren't.
    first_event, last_event
        Dates of the earliest and latest valid row, None if there is none.
    rows_gone
        Valid rows of its earlier self, which go; they stay if the new file can't be read.
    why
        Why it is left out.
    """

    name: str
    action: Action
    lines: int
    valid: int
    rejected: int
    first_event: date | None
    last_event: date | None
    rows_gone: int
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """Rows of a file on days that a yearly file speaks for.

    Attributes
    ----------
    file, by
        Whose rows, and the yearly file.
    rows
        How many.
    days
        On which days, in order.
    """

    file: str
    by: str
    rows: int
    days: tuple[date, ...]


@dataclass(frozen=True, kw_only=True)
class LakePlan:
    """What an ingestion would do.

    Attributes
    ----------
    version
        The lake's version that it would begin with, None if there is none or all is read anew.
    anew
        Why a lake that is there would be read anew from the source, None if it wouldn't.
    lost
        Files whose rows would be gone then, since the source doesn't have them any more.
    files
        New and changed files, by name.
    superseded, restored
        Rows that would be replaced by a yearly file and weren't, or that would count again.
    months
        First days of the months that would be resolved anew.
    days
        Days whose events may change.
    returns_to
        A version that is there whole and would be published again; no month is resolved then.
    failure
        What the ingestion would fail with.
    """

    version: str | None
    anew: str | None = None
    lost: tuple[str, ...] = ()
    files: tuple[PlannedFile, ...] = ()
    superseded: tuple[Replacement, ...] = ()
    restored: tuple[Replacement, ...] = ()
    months: tuple[date, ...] = ()
    days: tuple[date, ...] = ()
    returns_to: str | None = None
    failure: str | None = None

    @property
    def changes(self) -> bool:
        """Whether the lake would be another."""
        return bool(self.months or self.days or self.returns_to)


def plan_update(dataset: Path, source: Sequence[Path], config: IngestConfig) -> LakePlan:
    """Say what `flows.lake_update.update_lake` would do. Nothing is written but temporary files.

    Parameters
    ----------
    dataset
        The lake's folder, that of its versions; it need not exist.
    source
        Folders of raw files, or such files.
    config
        What is kept of each event.

    Raises
    ------
    flows.sources.SourceError
        If there are no files, or it isn't clear which is meant.
    PlanError
        If the records of the lake can't be read, or a new file can't be read for lack of space.

    Examples
    --------
    >>> from features.ingest import IngestConfig
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "notes.tab").write_text("no events")
    >>> plan = plan_update(folder / "lake", [folder], IngestConfig())
    >>> plan.files[0].action, plan.months
    ('leave out', ())
    """
    folder = latest(dataset)
    previous, anew, lost = _load(folder, source, config)
    staged = [read_account(path, config) for path in find_new_files(source, previous)]
    files = tuple(_planned(item, previous.files.get(item.name)) for item in staged)
    plan = LakePlan(version=previous.version if previous.folder else None, files=files)
    plan = replace(plan, anew=anew, lost=lost)
    if not staged:
        return plan
    if all(item.record.error is not None for item in staged) and not previous.accounts:
        failure = f"none of the {len(staged)} files can be read; the first: {files[0].why}"
        return replace(plan, failure=failure)
    kept = {item.name: record_to_keep(previous, item) for item in staged}
    lake = replace(previous, files=dict(sorted((previous.files | kept).items())))
    if previous.folder is not None and lake.version == previous.version:
        return plan
    read = [item for item in staged if item.record.error is None]
    records = {item.name: item.record for item in read}
    superseded, restored = _replacements(previous, lake, records.keys())
    is_there = (dataset / lake.version).exists()
    return replace(
        plan,
        superseded=superseded,
        restored=restored,
        months=() if is_there else tuple(touched_months(previous, read)),
        days=_days(previous, records, [*superseded, *restored]),
        returns_to=lake.version if is_there else None,
    )


def read_account(path: Path, config: IngestConfig) -> Staged:
    """Read a file and keep nothing but its record: the rows are removed again.

    Raises
    ------
    PlanError
        If there is no space for the rows.
    """
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        try:
            return stage(path, Path(folder), config)
        except OSError as error:
            msg = (
                f"{path} can't be read into {tempfile.gettempdir()} ({error.strerror}): set TMPDIR "
                "to a folder that has room for the rows of the largest new file"
            )
            raise PlanError(msg) from None


def _load(
    folder: Path | None, source: Sequence[Path], config: IngestConfig
) -> tuple[Lake, str | None, tuple[str, ...]]:
    """Return the lake that an ingestion begins with, why it is empty, and what would be lost."""
    if folder is None:
        return Lake(folder=None, config=config), None, ()
    try:
        previous = Lake.load(folder, config)
        if previous.folder is not None:
            return previous, None, ()
        content = json.loads((folder / "files.json").read_text())
        found = Lake.read(folder)
    except (OSError, ValueError, KeyError) as error:
        msg = (
            f"the records of the lake in {folder} can't be read: {error}. `foreshock doctor` says "
            "how to mend it"
        )
        raise PlanError(msg) from None
    here = {path.name for path in find_files(source)}
    had = readable_files(folder)
    why = (
        "it was made by another version of the code"
        if content["version"] != VERSION
        else f"it was made with other settings of ingest: {_differences(found.config, config)}"
    )
    return previous, why, tuple(sorted(had - here))


def _differences(was: IngestConfig, now: IngestConfig) -> str:
    pairs = {name: (value, vars(now)[name]) for name, value in vars(was).items()}
    return ", ".join(f"{name} was {a!r}, is {b!r}" for name, (a, b) in pairs.items() if a != b)


def _planned(item: Staged, before: FileRecord | None) -> PlannedFile:
    staged = item.record.staged
    known = before is not None and before.is_read
    gone = before.staged.valid if before is not None and item.record.error is None else 0
    return PlannedFile(
        name=item.name,
        action="leave out" if item.record.error else "replace" if known else "add",
        lines=staged.lines,
        valid=staged.valid,
        rejected=item.record.rejected,
        first_event=staged.first_event,
        last_event=staged.last_event,
        rows_gone=gone,
        why=item.record.error,
    )


def superseded_days(accounts: Sequence[StagedFile]) -> dict[tuple[str, date], str]:
    """Say which file replaces the rows of which other on which day.

    Returns
    -------
    dict
        By file and day, the file that replaces its rows: that of the highest precedence among the
        yearly ones that go before it and cover the day.

    Examples
    --------
    >>> day = date(2018, 10, 4)
    >>> daily = StagedFile(name="20181004.tab", edition="daily", rows_by_day={day: 3})
    >>> yearly = StagedFile(name="events.2018.tab", edition="yearly", covers=(day, day))
    >>> superseded_days([daily, yearly])
    {('20181004.tab', datetime.date(2018, 10, 4)): 'events.2018.tab'}
    """
    by_name = {account.name: account for account in accounts}
    covering: list[tuple[str, date, date]] = []
    found = {}
    for account in (by_name[name] for name in precedence(accounts)):
        if covering and account.edition != "other":
            for day in account.rows_by_day:
                by = next((name for name, a, b in covering if a <= day <= b), None)
                if by is not None:
                    found[account.name, day] = by
        if account.covers is not None:
            covering.append((account.name, *account.covers))
    return found


def _replacements(
    previous: Lake, lake: Lake, fresh: Iterable[str]
) -> tuple[tuple[Replacement, ...], tuple[Replacement, ...]]:
    """Return the rows that are superseded and weren't, and those that were and still lie here."""
    before, after = superseded_days(previous.accounts), superseded_days(lake.accounts)
    fresh = set(fresh)
    superseded = {at: by for at, by in after.items() if at[0] in fresh or at not in before}
    restored = {at: by for at, by in before.items() if at[0] not in fresh and at not in after}
    rows = {account.name: account.rows_by_day for account in lake.accounts}
    return _by_pair(superseded, rows), _by_pair(restored, rows)


def _by_pair(
    superseded: Mapping[tuple[str, date], str], rows: Mapping[str, Mapping[date, int]]
) -> tuple[Replacement, ...]:
    days: dict[tuple[str, str], list[date]] = defaultdict(list)
    for (file, day), by in superseded.items():
        days[file, by].append(day)
    return tuple(
        Replacement(
            file=file, by=by, rows=sum(rows[file][day] for day in found), days=tuple(sorted(found))
        )
        for (file, by), found in sorted(days.items())
    )


def _days(
    previous: Lake, records: Mapping[str, FileRecord], replacements: Iterable[Replacement]
) -> tuple[date, ...]:
    """Return the days on which files bring or lose rows, or others come to count or not."""
    days = {day for replacement in replacements for day in replacement.days}
    for name, record in records.items():
        days.update(record.staged.rows_by_day)
        if name in previous.files:
            days.update(previous.files[name].staged.rows_by_day)
    return tuple(sorted(days))
