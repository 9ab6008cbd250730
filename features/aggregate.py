"""Counting events by entity, step and category: all that proportions are made of.

A proportion over a one-hot table is a count divided by the number of rows, so the table itself
is never made: counts by group are the same thing at a fraction of the cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

Entity = Literal[
    "country",
    "source_country",
    "target_country",
    "either_country",
    "directed_dyad",
    "undirected_dyad",
    "world",
]
"""Whose events are counted together.

``country`` is where the event took place; ``either_country`` counts an event once for its source's
country and once for its target's, if that is another; a dyad is a pair of different countries,
``A->B`` directed, ``A--B`` (in alphabetical order) undirected; ``world`` is everything.
"""

Step = Literal["day", "week", "month"]
"""How long a step is; weeks are ISO weeks, from Monday."""

CategoryField = Literal["event_code", "source_sectors", "target_sectors", "contexts"]
"""A column of events whose categories are counted; all but the code are comma-separated lists."""

EVERY: Final[dict[Step, str]] = {"day": "1d", "week": "1w", "month": "1mo"}
INTENSITY_UNITS: Final = 1000
"""Intensities are summed as whole thousandths, so that no order of addition shows."""

_BY: Final = ("entity", "step_start")
_TOTALS: Final = ("n_events", "n_intensities", "intensity_sum")
_COLUMNS: Final[dict[Entity, tuple[str, ...]]] = {
    "country": ("country",),
    "source_country": ("source_country",),
    "target_country": ("target_country",),
    "either_country": ("source_country", "target_country"),
    "directed_dyad": ("source_country", "target_country"),
    "undirected_dyad": ("source_country", "target_country"),
    "world": (),
}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Events counted by entity and step, and by category within them.

    Counts of disjoint sets of events add up to those of their union: see `merge_counts`.

    Attributes
    ----------
    totals
        ``entity``, ``step_start``, ``n_events``, ``n_intensities`` (events that have an intensity)
        and ``intensity_sum`` (of these, in thousandths).
    categories
        ``entity``, ``step_start``, ``field``, ``category`` and ``n_events``. An event with two
        sectors or contexts counts in both.
    """

    totals: pl.DataFrame
    categories: pl.DataFrame


def count_events(
    events: pl.LazyFrame,
    *,
    entity: Entity,
    step: Step,
    fields: Sequence[CategoryField] = ("event_code",),
) -> Counts:
    """Count events by entity, step and category.

    Parameters
    ----------
    events
        Canonical events; only the columns needed are read. Their codes may be an enumeration or
        text, and any or all intensities may be null.
    entity, step
        What is counted together. Events whose entity is absent are not counted.
    fields
        Which categories are counted.

    Returns
    -------
    Counts
        Sorted by entity, step, field and category: the same events in another order have the same
        counts, byte for byte.

    Examples
    --------
    >>> events = pl.LazyFrame({
    ...     "event_date": [date(2018, 10, 1), date(2018, 10, 7)], "country": ["Mali", "Mali"],
    ...     "event_code": ["190", "042"], "intensity": [-10.0, 1.9],
    ... })
    >>> counts = count_events(events, entity="country", step="week")
    >>> counts.totals.rows()
    [('Mali', datetime.date(2018, 10, 1), 2, 2, -8100)]
    """
    _check_choices(entity, step)
    keyed = _with_entity(events, entity)
    grouped = (
        keyed.group_by("entity", step_start(pl.col("event_date"), step).alias(_BY[1]), "event_code")
        .agg(*_totals())
        .collect(engine="streaming")
    )
    categories = [
        _by_category(grouped.rename({"event_code": "category"}), "event_code")
        if field == "event_code"
        else _list_counts(keyed, field, step)
        for field in fields
    ]
    return Counts(
        totals=_added_up(grouped, _BY, _TOTALS),
        categories=_added_up(pl.concat(categories), [*_BY, "field", "category"], ["n_events"]),
    )


def merge_counts(parts: Sequence[Counts]) -> Counts:
    """Add counts of disjoint sets of events, such as months: a week may lie in two of them.

    Raises
    ------
    ValueError
        If there are no parts.
    """
    if not parts:
        msg = "no counts to merge: got an empty sequence; expected at least one month of events"
        raise ValueError(msg)
    totals = pl.concat([part.totals for part in parts])
    categories = pl.concat([part.categories for part in parts])
    return Counts(
        totals=_added_up(totals, _BY, _TOTALS),
        categories=_added_up(categories, [*_BY, "field", "category"], ["n_events"]),
    )


def step_start(day: pl.Expr, step: Step) -> pl.Expr:
    """Return the first day of the step that a day lies in."""
    return day if step == "day" else day.dt.truncate(EVERY[step])


def step_range(first: date, last: date, step: Step) -> pl.Series:
    """Return the first days of every step from that of `first` to that of `last`.

    Examples
    --------
    >>> step_range(date(2018, 10, 3), date(2018, 10, 9), "week").to_list()
    [datetime.date(2018, 10, 1), datetime.date(2018, 10, 8)]
    """
    bounds = pl.DataFrame({"day": [first, last]}).select(step_start(pl.col("day"), step))["day"]
    return pl.date_range(bounds[0], bounds[1], interval=EVERY[step], eager=True).alias("step_start")


def _check_choices(entity: str, step: str) -> None:
    for name, got, choices in (("entity", entity, Entity), ("step", step, Step)):
        if got not in get_args(choices):
            msg = f"{name}={got!r} is unknown: expected one of {', '.join(get_args(choices))}"
            raise ValueError(msg)


def _with_entity(events: pl.LazyFrame, entity: Entity) -> pl.LazyFrame:
    if entity == "world":
        return events.with_columns(entity=pl.lit("World"))
    if entity == "either_country":
        source, target = pl.col("source_country"), pl.col("target_country")
        either = pl.concat(
            [
                events.with_columns(entity=source),
                events.filter(target.ne_missing(source)).with_columns(entity=target),
            ]
        )
        return either.filter(pl.col("entity").is_not_null())
    return events.with_columns(entity=_entity_name(entity)).filter(pl.col("entity").is_not_null())


def _entity_name(entity: Entity) -> pl.Expr:
    columns = _COLUMNS[entity]
    if len(columns) == 1:
        return pl.col(columns[0])
    source, target = (pl.col(name) for name in columns)
    if entity == "directed_dyad":
        return pl.when(source != target).then(pl.concat_str(source, pl.lit("->"), target))
    first, second = pl.min_horizontal(source, target), pl.max_horizontal(source, target)
    return pl.when(source != target).then(pl.concat_str(first, pl.lit("--"), second))


def _totals() -> list[pl.Expr]:
    intensity = pl.col("intensity")
    units = (intensity.cast(pl.Float64) * INTENSITY_UNITS).round().cast(pl.Int64)
    return [
        pl.len().cast(pl.Int64).alias("n_events"),
        intensity.count().cast(pl.Int64).alias("n_intensities"),
        units.sum().alias("intensity_sum"),
    ]


def _by_category(grouped: pl.DataFrame, field: CategoryField) -> pl.DataFrame:
    return grouped.select(
        *_BY, pl.lit(field).alias("field"), pl.col("category").cast(pl.String), "n_events"
    )


def _list_counts(keyed: pl.LazyFrame, field: CategoryField, step: Step) -> pl.DataFrame:
    """Count events by the members of a list; its order and repeats in it mean nothing."""
    members = pl.col("category").str.split(",").list.eval(pl.element().str.strip_chars())
    grouped = (
        keyed.filter(pl.col(field).is_not_null())
        .group_by("entity", "event_date", pl.col(field).alias("category"))
        .agg(pl.len().cast(pl.Int64).alias("n_events"))
        .collect(engine="streaming")
        .with_columns(
            members.list.unique().alias("category"),
            step_start=step_start(pl.col("event_date"), step),
        )
        .explode("category")
        .filter(pl.col("category") != "")
    )
    return _by_category(grouped, field)


def _added_up(rows: pl.DataFrame, by: Sequence[str], values: Sequence[str]) -> pl.DataFrame:
    """Add up `values` over the rows that agree in `by`, and sort by `by`."""
    if rows.is_empty():
        return rows.select(*by, *values)
    key = np.zeros(rows.height, np.int64)
    for name in by:
        rank = _ranks(rows[name])
        key = key * (int(rank.max()) + 1) + rank
    order = np.argsort(key)
    changes = np.flatnonzero(np.diff(key[order])) + 1
    starts = np.concatenate([[0], changes])
    sums = {name: np.add.reduceat(rows[name].to_numpy()[order], starts) for name in values}
    groups: pl.DataFrame = rows.select(by)[order[starts]]
    return groups.with_columns(pl.Series(name, total) for name, total in sums.items())


def _ranks(values: pl.Series) -> NDArray[np.int64]:
    """Return integers that sort as the values, dates or text, do."""
    if values.dtype == pl.String:
        values = values.cast(pl.Enum(values.unique().sort()))
    numbers = values.to_physical().to_numpy().astype(np.int64)
    numbers -= numbers.min()
    return numbers
