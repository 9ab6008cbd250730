"""What is odd about how many events there are: days that lack them, weeks that jump, newcomers.

All of it judges counts against those of the weeks around, so that it holds for sources of any
size, and for those that grow.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import polars as pl

REACH: Final = 8
"""Weeks on either side that say what is usual."""

THIN: Final = 0.25
LACKING: Final = 20
FACTOR: Final = 2.0
LEVEL_FACTOR: Final = 1.5
DEVIATION: Final = 5.0

_ENOUGH_WEEKS: Final = 4
_MAD_TO_DEVIATION: Final = 1.4826
_DAY: Final = pl.col("day")
_WEEK: Final = _DAY.dt.truncate("1w").alias("week")


def usual_days(events: Mapping[date, int]) -> pl.DataFrame:
    """Say of every day, from the first to the last, how many events are usual.

    Usual is the median of the same weekday in the weeks around: `REACH` on either side, of those
    that have events at all. So nothing is usual on the Sundays of a source that rests then.

    Parameters
    ----------
    events
        Events by day; days that are absent have none.

    Returns
    -------
    pl.DataFrame
        ``day``, ``events`` and ``usual``, a row a day, in order of time.

    Examples
    --------
    >>> found = usual_days({date(2018, 1, day): 10 for day in (1, 8, 22, 29)})
    >>> found.filter(pl.col("day") == date(2018, 1, 15)).row(0)[1:]
    (0, 10.0)
    """
    days = _calendar(events)
    in_week = pl.col("events").sum().over(_WEEK)
    medians = (
        days.filter(in_week > 0)
        .sort("day")
        .select(
            "day",
            "weekday",
            pl.col("events")
            .rolling_median(2 * REACH + 1, min_samples=1, center=True)
            .over("weekday")
            .alias("usual"),
        )
    )
    return days.join_asof(
        medians, on="day", by="weekday", strategy="nearest", check_sortedness=False
    ).select("day", "events", "usual")


def _calendar(events: Mapping[date, int]) -> pl.DataFrame:
    counted = pl.DataFrame(
        {"day": list(events.keys()), "events": list(events.values())},
        schema={"day": pl.Date, "events": pl.Int64},
    )
    every = counted.select(pl.date_range(_DAY.min(), _DAY.max(), "1d")) if events else counted
    return (
        every.select("day")
        .join(counted, on="day", how="left", maintain_order="left")
        .with_columns(pl.col("events").fill_null(0), _DAY.dt.weekday().alias("weekday"))
    )


def thin_days(events: Mapping[date, int]) -> pl.DataFrame:
    """Find runs of days that have no events, or hardly any, where there usually are some.

    A day is thin if it has at most `THIN` of what is usual for its weekday. A run of thin days
    counts if at least `LACKING` events are usual for it: of 20 expected events 5 or fewer come by
    chance once in ten thousand times. Days at either end of all are left out, since strays come
    before the first file's day and the last day's events have yet to come.

    Parameters
    ----------
    events
        Events by day.

    Returns
    -------
    pl.DataFrame
        ``first``, ``last``, ``days`` (thin ones), ``events`` and ``usual`` of each run. Days on
        which nothing is usual neither end a run nor count in it.

    Examples
    --------
    >>> days = pl.date_range(date(2018, 1, 1), date(2018, 2, 28), eager=True)
    >>> events = dict.fromkeys(days, 100) | {date(2018, 1, 20): 3, date(2018, 1, 21): 0}
    >>> thin_days(events).rows()
    [(datetime.date(2018, 1, 20), datetime.date(2018, 1, 21), 2, 3, 200.0)]
    """
    judged = _between_ends(usual_days(events)).filter(pl.col("usual") > 0)
    runs = (
        judged.with_columns(run=_is_thin().rle_id())
        .filter(_is_thin())
        .group_by("run")
        .agg(
            _DAY.min().alias("first"),
            _DAY.max().alias("last"),
            pl.len().cast(pl.Int64).alias("days"),
            pl.col("events").sum(),
            pl.col("usual").sum(),
        )
    )
    return runs.filter(pl.col("usual") >= LACKING).drop("run").sort("first")


def _is_thin() -> pl.Expr:
    return pl.col("events") <= THIN * pl.col("usual")


def _between_ends(days: pl.DataFrame) -> pl.DataFrame:
    """Leave out the days before the first and after the last that isn't thin."""
    full = days.filter(~_is_thin())["day"]
    return days.filter(_DAY.is_between(full.min(), full.max())) if len(full) else days.clear()


def jumps(events: Mapping[date, int]) -> pl.DataFrame:
    """Find weeks whose events jump, and weeks from which on there are more or fewer.

    A ``week`` jumps by the logarithm of its events to the median of the `REACH` weeks before and
    after it; a ``level``, by that of the median of the weeks from it on to that of those before.
    Either must be at least `DEVIATION` times the spread of all such logarithms (1.4826 times their
    median absolute deviation), which is never taken for less than chance alone gives, and at least
    a factor of `FACTOR`, or `LEVEL_FACTOR` for a level: holidays nearly halve a week. The first
    and the last week, partial as a rule, and those with thin days (`thin_days`) are not judged and
    judge no others. Where neighbouring weeks would do for a level, it is said of the best.

    Parameters
    ----------
    events
        Events by day.

    Returns
    -------
    pl.DataFrame
        ``week`` (its Monday), ``kind``, ``events`` and ``usual`` (events of a week, after and
        before for a level), ``factor`` and ``deviation``, in order of time.

    Examples
    --------
    >>> days = pl.date_range(date(2018, 1, 1), date(2018, 12, 31), eager=True)
    >>> events = dict.fromkeys(days, 100) | {date(2018, 6, 6): 2000}
    >>> jumps(events).select("week", "kind", "events", "usual").rows()
    [(datetime.date(2018, 6, 4), 'week', 2600.0, 700.0)]
    """
    weeks = _weeks(events)
    after = _median_of(range(REACH))
    before = _median_of(range(-REACH, 0))
    around = _median_of([*range(-REACH, 0), *range(1, REACH + 1)])
    spikes = _unusual(weeks.select("week", "events", usual=around), FACTOR)
    shifts = _unusual(weeks.select("week", events=after, usual=before), LEVEL_FACTOR)
    of_spikes = spikes.filter("jumps").with_columns(kind=pl.lit("week"))
    of_shifts = shifts.filter(_is_best()).with_columns(kind=pl.lit("level"))
    columns = ("week", "kind", "events", "usual", "factor", "deviation")
    return pl.concat([of_spikes.select(columns), of_shifts.select(columns)]).sort("week", "kind")


def _weeks(events: Mapping[date, int]) -> pl.DataFrame:
    """Return the events of every week, null where it can't be judged."""
    days = _between_ends(usual_days(events))
    thin = [
        day
        for first, last in thin_days(events).select("first", "last").rows()
        for day in pl.date_range(first, last, eager=True)
    ]
    weeks = (
        days.group_by(_WEEK)
        .agg(pl.col("events").sum().cast(pl.Float64), thin=_DAY.is_in(thin).any())
        .sort("week")
    )
    is_whole = ~pl.col("thin") & (pl.col("events") > 0)
    judged = is_whole & pl.col("week").is_between(
        pl.col("week").min(), pl.col("week").max(), closed="none"
    )
    return weeks.select("week", pl.when(judged).then("events"))


def _median_of(shifts: Sequence[int]) -> pl.Expr:
    """Return the median of the weeks so many rows further, null where there are few."""
    others = pl.concat_list(pl.col("events").shift(-by) for by in shifts).list.drop_nulls()
    return pl.when(others.list.len() >= _ENOUGH_WEEKS).then(others.list.median())


def _unusual(weeks: pl.DataFrame, factor: float) -> pl.DataFrame:
    log = (pl.col("events") / pl.col("usual")).log()
    centred = (pl.col("log") - pl.col("log").median()).abs()
    chance = (1 / pl.col("events") + 1 / pl.col("usual")).sqrt()
    return (
        weeks.with_columns(log=log)
        .with_columns(
            factor=pl.col("log").exp(),
            deviation=pl.col("log")
            / pl.max_horizontal(_MAD_TO_DEVIATION * centred.median(), chance),
        )
        .with_columns(
            jumps=(pl.col("deviation").abs() >= DEVIATION)
            & (pl.col("log").abs() >= pl.lit(factor).log())
        )
    )


def _is_best() -> pl.Expr:
    """Tell which of the weeks that jump do so most, among those nearby."""
    size = pl.col("log").abs()
    nearby = size.rolling_max(2 * REACH + 1, min_samples=1, center=True)
    return pl.col("jumps") & (size == nearby)


def newcomers(events: pl.LazyFrame, columns: Sequence[str], since: date) -> pl.DataFrame:
    """Find values of columns that no event before a day has.

    Parameters
    ----------
    events
        With ``event_date`` and `columns`.
    columns
        Whose values are taken together: a country is new if no event had it in any of them.
    since
        The day.

    Returns
    -------
    pl.DataFrame
        ``value``, ``first`` (the day of its first event) and ``events`` (how often it occurs), the
        most frequent first. Empty if there are no events before the day: all would be new.

    Examples
    --------
    >>> events = pl.LazyFrame(
    ...     {
    ...         "event_date": [date(2018, 1, 1), date(2018, 3, 1), date(2018, 3, 2)],
    ...         "country": ["Mali", "Mali", "Kosovo"],
    ...     }
    ... )
    >>> newcomers(events, ["country"], date(2018, 2, 1)).rows()
    [('Kosovo', datetime.date(2018, 3, 2), 1)]
    """
    day = pl.col("event_date")
    parts = [
        events.select(pl.col(column).cast(pl.String).alias("value"), "event_date")
        .group_by("value")
        .agg(day.min().alias("first"), pl.len().cast(pl.Int64).alias("events"))
        for column in columns
    ]
    found = (
        pl.concat(parts)
        .drop_nulls("value")
        .group_by("value")
        .agg(pl.col("first").min(), pl.col("events").sum())
        .collect(engine="streaming")
    )
    is_new = (pl.col("first") >= since) & (pl.col("first").min() < since)
    return found.filter(is_new).sort("events", "value", descending=[True, False])
