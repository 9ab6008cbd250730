"""Whether the events are what they should be: gaps, missing files, jumps, newcomers."""

from bisect import bisect
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import polars as pl

from features.adapters import adapter_of
from features.event_gaps import REACH, THIN, jumps, newcomers, thin_days, usual_days
from features.ontology import ontology
from flows.doctor_findings import Finding, counted, span
from flows.lake import Lake, month_files

_COUNTRIES: Final = ("country", "source_country", "target_country")
_HALF: Final = 0.5
_FAR: Final = 1.5
_SOME_DAYS: Final = 4
_ONE: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)


def events_by_day(lake: Lake) -> dict[date, int]:
    """Return the number of events of every day that has some."""
    return {day: record.events for day, record in lake.days.items()}


def examine_gaps(lake: Lake) -> list[Finding]:
    """Find days that lack events: see `features.event_gaps.thin_days`."""
    runs = thin_days(events_by_day(lake)).to_dicts()
    if not runs:
        return []
    days = sum(run["days"] for run in runs)
    found = (
        f"{counted(len(runs), 'gap')}, {counted(days, 'day')} without events or with at most "
        f"{THIN:.0%} of the usual"
    )
    mend = (
        "get the files of these days, if there are any (`foreshock sync`), and run again; steps "
        "over them look quieter than they were"
    )
    return [_warning("gaps", found, [_gap(lake, **run) for run in reversed(runs)], mend)]


def _gap(lake: Lake, first: date, last: date, days: int, events: int, usual: float) -> str:
    when = f"{first:%a}" if days == 1 else f"{first:%a} to {last:%a}"
    said = f"{events:,} events where about {usual:,.0f} are usual"
    if days > _WEEK.days:
        when, said = counted(days, "day"), f"{events:,} events" if events else "no events"
    return f"{span(first, last)} ({when}): {said}{_beside(lake, first, last)}"


def _beside(lake: Lake, first: date, last: date) -> str:
    """Name the yearly file that a gap comes after or before."""
    for account in lake.accounts:
        if account.covers is not None and account.covers[1] == first - _ONE:
            return f"; {account.name} stops the day before"
        if account.covers is not None and account.covers[0] == last + _ONE:
            return f"; {account.name} begins the day after"
    return ""


def examine_sequence(lake: Lake) -> list[Finding]:
    """Find files that are missing from a sequence of daily or weekly ones, see `missing_files`.

    Whether the events of their days came in other files is told by how many there are.
    """
    made = _days_made(lake)
    missing = missing_files(lake, sorted(made))
    if not missing:
        return []
    counts = usual_days(events_by_day(lake))
    items: dict[bool, list[str]] = {True: [], False: []}
    for first, last in missing:
        days = counts.filter(pl.col("day").is_between(first, last))
        events, usual = int(days["events"].sum()), float(days["usual"].sum())
        said = f"{events:,} events, usually about {usual:,.0f}"
        items[events >= _HALF * usual].append(
            f"{span(first, last)} ({last:%a}){_between(made, last)}: {said}"
        )
    mend = "see whether they are to be had (`foreshock sync`), and run again"
    findings = []
    if items[False]:
        found = f"{counted(len(items[False]), 'file')} and most of their events"
        findings.append(_warning("missing files", found, reversed(items[False]), mend))
    if items[True]:
        found = f"{counted(len(items[True]), 'file')}, but their events came in others"
        findings.append(_note("missing files", found, reversed(items[True])))
    return findings


def _days_made(lake: Lake) -> dict[date, str]:
    """Return the days that daily or weekly files were made on, each with a file."""
    made = {
        day: account.name
        for account in lake.accounts
        if account.edition == "daily" and (day := _day_of(account.release)) is not None
    }
    return dict(sorted(made.items()))


def _between(made: Mapping[date, str], day: date) -> str:
    days = list(made)
    after = bisect(days, day)
    return f", between {made[days[after - 1]]} and {made[days[after]]}"


def missing_files(lake: Lake, made: Sequence[date]) -> list[tuple[date, date]]:
    """Return the days that files of a sequence would be of, if they were there.

    Where files come day by day, one is missing if the same weekday has one in most of the weeks
    around. Where they come some days apart, it is if they come half as far apart again as around.
    None is missing whose days a yearly file covers.

    Parameters
    ----------
    lake
        With the yearly files.
    made
        Days that files were made on, sorted.

    Returns
    -------
    list of (first, last)
        In order of time.
    """
    covers = [account.covers for account in lake.accounts if account.covers is not None]
    return [
        (first, last)
        for first, last in sorted([*_missing_days(made), *_missing_weeks(made)])
        if not any(a <= first and last <= b for a, b in covers)
    ]


def _missing_days(made: Sequence[date]) -> list[tuple[date, date]]:
    usual = usual_days(dict.fromkeys(made, 1)).filter(
        (pl.col("events") == 0) & (pl.col("usual") > 0)
    )
    apart = [(before, after) for before, after, _ in _apart(made)]
    return [(day, day) for day in usual["day"] if not any(a < day < b for a, b in apart)]


def _missing_weeks(made: Sequence[date]) -> list[tuple[date, date]]:
    return [
        (before + _ONE, before + timedelta(days=round(usual)))
        for before, after, usual in _apart(made)
        if (after - before).days > _FAR * usual
    ]


def _apart(made: Sequence[date]) -> list[tuple[date, date, float]]:
    """Return neighbouring files where they come some days apart, with the usual distance."""
    days = pl.DataFrame({"after": made}, schema={"after": pl.Date}).with_columns(
        before=pl.col("after").shift()
    )
    distance = (pl.col("after") - pl.col("before")).dt.total_days()
    usual = distance.rolling_median(2 * REACH + 1, min_samples=1, center=True)
    rows = days.with_columns(usual=usual).filter(pl.col("usual") >= _SOME_DAYS).drop_nulls()
    return rows.select("before", "after", "usual").rows()


def _day_of(release: str) -> date | None:
    try:
        return date.fromisoformat(release[:8])
    except ValueError:
        return None


def examine_years(lake: Lake) -> list[Finding]:
    """Find yearly files that don't reach the end of their year, where nothing goes on."""
    ends: dict[int, tuple[date, str]] = {}
    for account in lake.accounts:
        if account.covers is not None:
            last = account.covers[1]
            ends[last.year] = max(ends.get(last.year, (last, account.name)), (last, account.name))
    with_events = events_by_day(lake).keys()
    items = [
        f"{name} stops on {last}"
        for last, name in ends.values()
        if (rest := date(last.year, 12, 31)) - last > _WEEK
        and not any(last < day <= rest for day in with_events)
    ]
    if not items:
        return []
    found = f"{counted(len(items), 'yearly file')} of part of a year, and no events of the rest"
    mend = "get the daily files of the rest of the year (`foreshock sync`), and run again"
    return [_warning("yearly files", found, items, mend)]


def examine_jumps(lake: Lake) -> list[Finding]:
    """Find weeks whose events jump: see `features.event_gaps.jumps`."""
    found = jumps(events_by_day(lake)).to_dicts()
    if not found:
        return []
    items = [
        f"week of {row['week']}: {row['events']:,.0f} events where {row['usual']:,.0f} are usual"
        if row["kind"] == "week"
        else f"from the week of {row['week']} on: {row['events']:,.0f} events a week, "
        f"{row['usual']:,.0f} before"
        for row in found
    ]
    mend = (
        "look at the files of these weeks (`foreshock ledger`): doubled or partial ones, or a "
        "source that has changed; if it is so in the world, there is nothing to mend"
    )
    said = f"events jump {counted(len(items), 'time')}"
    return [_warning("jumps", said, reversed(items), mend)]


def examine_newcomers(lake: Lake, days: int, damaged: Collection[date]) -> list[Finding]:
    """Find event codes and countries that no event before the last days has."""
    assert lake.folder is not None
    if not lake.days:
        return []
    since = max(lake.days) - timedelta(days=days - 1)
    paths = [
        path
        for month, record in lake.months.items()
        if record.days and month not in damaged
        for path in month_files(lake.folder, "events", month, record)
    ]
    if not paths:
        return []
    events = pl.scan_parquet(paths, hive_partitioning=False)
    names = _names_of_codes(lake)
    findings = []
    for what, columns in (("event codes", ("event_code",)), ("countries", _COUNTRIES)):
        rows = newcomers(events, columns, since).rows()
        if rows:
            said = f"{len(rows):,} seen for the first time in the last {counted(days, 'day')}"
            items = [
                f"{value}{names.get(value, '') if what == 'event codes' else ''}: "
                f"{counted(n, 'event')} since {first}"
                for value, first, n in rows
            ]
            mend = (
                "a new spelling of a known one splits its history: compare it with those that "
                "are there; a new kind is counted under `other` until a model is trained anew"
            )
            findings.append(_note(f"new {what}", said, items, mend))
    return findings


def _names_of_codes(lake: Lake) -> dict[str, str]:
    table = ontology(adapter_of(lake.config).ontology).table
    return {code: f" ({name})" for code, name in table.select("code", "name").iter_rows()}


def _warning(check: str, found: str, items: Iterable[str], mend: str) -> Finding:
    return Finding(severity="warning", check=check, found=found, items=tuple(items), mend=mend)


def _note(check: str, found: str, items: Iterable[str], mend: str = "") -> Finding:
    return Finding(severity="note", check=check, found=found, items=tuple(items), mend=mend)
