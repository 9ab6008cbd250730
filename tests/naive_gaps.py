"""What is usual, which days are thin, and which values are new: slow and obvious."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from statistics import median

REACH = 8


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def every_day(events: Mapping[date, int]) -> list[date]:
    first, last = min(events), max(events)
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]


def usual(events: Mapping[date, int], day: date) -> set[float]:
    """The median of the weekday in the weeks around that have events; both, if two are as near."""
    days = every_day(events)
    busy = sorted({monday(one) for one in days if events.get(one, 0)})
    same = [one for one in days if one.weekday() == day.weekday() and monday(one) in busy]
    distances = [abs((one - day).days) for one in same]
    nearest = [at for at, distance in enumerate(distances) if distance == min(distances)]
    return {
        median(events.get(one, 0) for one in same[max(at - REACH, 0) : at + REACH + 1])
        for at in nearest
    }


def thin_runs(events: Mapping[date, int]) -> list[tuple[date, date, int, int, float]]:
    """Runs of days with at most a quarter of what is usual, where that comes to 20 events."""
    judged = [(day, events.get(day, 0), max(usual(events, day))) for day in every_day(events)]
    full = [day for day, n, normal in judged if n > normal / 4]
    runs: list[list[tuple[date, int, float]]] = [[]]
    for day, n, normal in judged:
        if not full or not full[0] <= day <= full[-1] or normal == 0:
            continue
        if n <= normal / 4:
            runs[-1].append((day, n, normal))
        elif runs[-1]:
            runs.append([])
    found = [
        (run[0][0], run[-1][0], len(run), sum(n for _, n, _ in run), sum(u for _, _, u in run))
        for run in runs
        if run
    ]
    return [run for run in found if run[-1] >= 20]


def new_values(
    rows: Iterable[tuple[date, tuple[str | None, ...]]], since: date
) -> dict[str, tuple[date, int]]:
    """First day and number of occurrences of values that nothing before a day has."""
    first: dict[str, date] = {}
    times: dict[str, int] = {}
    for day, values in rows:
        for value in values:
            if value is not None:
                first[value] = min(first.get(value, day), day)
                times[value] = times.get(value, 0) + 1
    if not any(day < since for day in first.values()):
        return {}
    return {value: (day, times[value]) for value, day in first.items() if day >= since}
