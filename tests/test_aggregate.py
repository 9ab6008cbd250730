"""Laws of counting: exact, whatever the order of the events and however they are parted."""

import io
from datetime import date, timedelta
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.aggregate import (
    CategoryField,
    Counts,
    Entity,
    Step,
    count_events,
    merge_counts,
    step_range,
    step_start,
)
from features.cameo import event_code_type
from tests import naive

FIELDS: tuple[CategoryField, ...] = get_args(CategoryField)
ENTITIES: tuple[Entity, ...] = get_args(Entity)
STEPS: tuple[Step, ...] = get_args(Step)
SCHEMA = {
    "event_date": pl.Date,
    "event_code": event_code_type(),
    "intensity": pl.Float32,
    "source_country": pl.String,
    "target_country": pl.String,
    "country": pl.String,
    "source_sectors": pl.String,
    "target_sectors": pl.String,
    "contexts": pl.String,
}
COUNTRY = st.sampled_from(["Mali", "Niger", "Iraq", None])
SECTORS = st.sampled_from([None, "Police", "Police,Media", "Media, Police", "Police,Police", ","])
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "event_date": st.dates(date(2018, 12, 20), date(2019, 2, 5)),
            "event_code": st.sampled_from(["010", "10", "042", "0841", "1823", "190"]),
            "intensity": st.sampled_from([-10.0, -0.1, 0.0, 1.9, 3.4, 10.0, None]),
            "source_country": COUNTRY,
            "target_country": COUNTRY,
            "country": COUNTRY,
            "source_sectors": SECTORS,
            "target_sectors": SECTORS,
            "contexts": st.sampled_from([None, "military", "cyber, military", "election,election"]),
        }
    ),
    max_size=20,
)

Row = dict[str, Any]


def frame(rows: list[Row]) -> pl.LazyFrame:
    """Return events as a lake has them."""
    return pl.LazyFrame(rows, schema=SCHEMA)


def event(**changes: object) -> Row:
    """Return an event with these changes."""
    usual: Row = dict.fromkeys(SCHEMA)
    usual |= {"event_date": date(2018, 10, 4), "event_code": "042", "intensity": 1.9}
    return usual | changes


def assert_same(got: Counts, wanted: Counts) -> None:
    """Compare exactly, types and order included."""
    assert_frame_equal(got.totals, wanted.totals)
    assert_frame_equal(got.categories, wanted.categories)


def written(counts: Counts) -> list[bytes]:
    """Return the files that counts are kept in."""
    files = [io.BytesIO(), io.BytesIO()]
    counts.totals.write_parquet(files[0])
    counts.categories.write_parquet(files[1])
    return [file.getvalue() for file in files]


# Against the oracle


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("entity", ENTITIES)
@settings(max_examples=12, deadline=None)
@given(rows=EVENTS)
def test_counts_are_those_of_counting_one_by_one(
    entity: Entity, step: Step, rows: list[Row]
) -> None:
    counts = count_events(frame(rows), entity=entity, step=step, fields=FIELDS)
    categories = {row[:4]: row[4] for row in counts.categories.rows()}
    assert len(categories) == counts.categories.height
    assert categories == naive.category_counts(rows, entity, step)
    wanted: dict[tuple[str, date], list[int]] = {}
    for row in rows:
        for name in naive.entities_of(row, entity):
            cell = wanted.setdefault((name, naive.step_start(row["event_date"], step)), [0, 0, 0])
            cell[0] += 1
            if row["intensity"] is not None:
                cell[1] += 1
                cell[2] += round(row["intensity"] * 1000)
    assert {row[:2]: list(row[2:]) for row in counts.totals.rows()} == wanted
    assert counts.totals.select("entity", "step_start").rows() == sorted(wanted)
    keys = counts.categories.select("entity", "step_start", "field", "category").rows()
    assert keys == sorted(keys)


@settings(max_examples=40, deadline=None)
@given(rows=EVENTS, data=st.data())
def test_counts_of_parts_add_up_to_those_of_the_whole_exactly(
    rows: list[Row], data: st.DataObject
) -> None:
    n_parts = data.draw(st.integers(1, 4))
    part_of = data.draw(
        st.lists(st.integers(0, n_parts - 1), min_size=len(rows), max_size=len(rows))
    )
    entity, step = data.draw(st.sampled_from(ENTITIES)), data.draw(st.sampled_from(STEPS))
    parts = [
        [row for row, part in zip(rows, part_of, strict=True) if part == i] for i in range(n_parts)
    ]
    counts = [count_events(frame(part), entity=entity, step=step, fields=FIELDS) for part in parts]
    whole = count_events(frame(rows), entity=entity, step=step, fields=FIELDS)
    assert_same(merge_counts(counts), whole)
    assert_same(merge_counts(data.draw(st.permutations(counts))), whole)
    assert written(merge_counts(counts)) == written(whole)


@settings(max_examples=30, deadline=None)
@given(rows=EVENTS, data=st.data())
def test_the_order_of_rows_is_irrelevant(rows: list[Row], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    one, other = (
        count_events(frame(order), entity="country", step="week", fields=FIELDS)
        for order in (rows, shuffled)
    )
    assert_same(one, other)
    assert written(one) == written(other)


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("code_type", [event_code_type(), pl.String()], ids=["enum", "text"])
def test_counts_of_many_events_are_the_same_bytes_in_any_order(
    entity: Entity, code_type: pl.DataType
) -> None:
    rng, n = np.random.default_rng(0), 60_000
    codes = event_code_type().categories.to_numpy()
    names = np.array([f"Country {i}" for i in range(40)])
    lists = np.array(["Police", "Police,Media", "Media, Elite", ""])
    texts = {
        **{column: names[rng.integers(0, 40, n)] for column in SCHEMA if "country" in column},
        **{column: lists[rng.integers(0, 4, n)] for column in FIELDS[1:]},
        "event_code": codes[rng.integers(0, len(codes), n)],
    }
    events = pl.DataFrame(texts).with_columns(
        pl.col("event_code").cast(code_type),
        event_date=pl.Series(np.datetime64("2018-12-31") + rng.integers(0, 40, n)),
        intensity=pl.Series(rng.normal(0, 3, n).clip(-10, 10).astype(np.float32)),
    )
    orders = (np.arange(n), rng.permutation(n), np.argsort(texts["country"], kind="stable"))
    one, *others = (
        written(count_events(events[order].lazy(), entity=entity, step="week", fields=FIELDS))
        for order in orders
    )
    assert all(other == one for other in others)


# By hand


def test_either_country_counts_an_event_once_for_each_party() -> None:
    rows = [
        event(source_country="Mali", target_country="Mali"),
        event(source_country="Mali", target_country="Niger"),
        event(source_country="Mali"),
        event(target_country="Niger"),
        event(),
    ]
    counts = count_events(frame(rows), entity="either_country", step="month")
    assert counts.totals.select("entity", "n_events").rows() == [("Mali", 3), ("Niger", 2)]


def test_a_dyad_is_a_pair_of_different_countries() -> None:
    rows = [
        event(source_country="Niger", target_country="Mali"),
        event(source_country="Mali", target_country="Niger"),
        event(source_country="Mali", target_country="Niger"),
        event(source_country="Mali", target_country="Mali"),
        event(source_country="Mali"),
        event(target_country="Mali"),
    ]
    directed = count_events(frame(rows), entity="directed_dyad", step="day").totals
    assert directed.select("entity", "n_events").rows() == [("Mali->Niger", 2), ("Niger->Mali", 1)]
    undirected = count_events(frame(rows), entity="undirected_dyad", step="day").totals
    assert undirected.select("entity", "n_events").rows() == [("Mali--Niger", 3)]


def test_the_world_counts_every_event_even_of_no_country() -> None:
    counts = count_events(frame([event(), event(country="Mali")]), entity="world", step="day")
    assert counts.totals.row(0) == ("World", date(2018, 10, 4), 2, 2, 3800)


def test_events_without_an_intensity_count_but_add_none() -> None:
    rows = [event(), event(intensity=None), event(intensity=-10.0)]
    counts = count_events(frame(rows), entity="world", step="day")
    assert counts.totals.row(0) == ("World", date(2018, 10, 4), 3, 2, -8100)
    none = count_events(frame([event(intensity=None)] * 4), entity="world", step="day")
    assert none.totals.row(0) == ("World", date(2018, 10, 4), 4, 0, 0)
    assert none.totals.schema == counts.totals.schema


def test_codes_may_be_an_enumeration_or_text() -> None:
    rows = [event(), event(event_code="190"), event(event_code="042")]
    text = frame(rows).with_columns(pl.col("event_code").cast(pl.String))
    assert_same(
        count_events(text, entity="world", step="day"),
        count_events(frame(rows), entity="world", step="day"),
    )
    free = text.with_columns(event_code=pl.lit("Zamach – próba"))
    counts = count_events(free, entity="world", step="day")
    assert counts.categories.select("category", "n_events").rows() == [("Zamach – próba", 3)]


def test_repeated_sectors_and_their_order_count_once() -> None:
    rows = [event(source_sectors="Police,Media,Police"), event(source_sectors=" Media , Police")]
    counts = count_events(frame(rows), entity="world", step="day", fields=("source_sectors",))
    found = counts.categories.select("category", "n_events").rows()
    assert found == [("Media", 2), ("Police", 2)]


def test_intensities_are_summed_without_rounding() -> None:
    rows = [event(intensity=0.1)] * 1000 + [event(intensity=-10.0)] * 7
    counts = count_events(frame(rows), entity="world", step="day")
    assert counts.totals["intensity_sum"].to_list() == [100 * 1000 - 70 * 1000]


def test_codes_that_differ_by_a_zero_are_counted_apart() -> None:
    rows = [event(event_code="010"), event(event_code="10")]
    counts = count_events(frame(rows), entity="world", step="day")
    assert counts.categories["category"].to_list() == ["010", "10"]


def test_no_events_are_no_counts_of_the_same_shape() -> None:
    none = count_events(frame([]), entity="country", step="week", fields=FIELDS)
    some = count_events(frame([event(country="Mali")]), entity="country", step="week")
    assert none.totals.is_empty()
    assert none.categories.is_empty()
    assert none.totals.schema == some.totals.schema
    assert none.categories.schema == some.categories.schema
    assert_same(merge_counts([none, some]), some)


@pytest.mark.parametrize(("entity", "step"), [("continent", "week"), ("country", "year")])
def test_an_unknown_entity_or_step_is_refused_by_name(entity: Any, step: Any) -> None:
    with pytest.raises(ValueError, match=r"=('continent'|'year') is unknown: expected one of"):
        count_events(frame([]), entity=entity, step=step)


def test_nothing_to_merge_is_refused() -> None:
    with pytest.raises(ValueError, match="no counts to merge"):
        merge_counts([])


# Steps


@settings(max_examples=100, deadline=None)
@given(day=st.dates(date(1990, 1, 1), date(2030, 12, 31)), step=st.sampled_from(STEPS))
def test_start_of_a_step(day: date, step: Step) -> None:
    got = pl.DataFrame({"day": [day]}).select(step_start(pl.col("day"), step)).item()
    assert got == naive.step_start(day, step)


@pytest.mark.parametrize(
    ("day", "monday"),
    [
        (date(2018, 12, 30), date(2018, 12, 24)),
        (date(2018, 12, 31), date(2018, 12, 31)),
        (date(2019, 1, 1), date(2018, 12, 31)),
        (date(2016, 1, 3), date(2015, 12, 28)),
        (date(2021, 1, 4), date(2021, 1, 4)),
    ],
)
def test_weeks_start_on_monday_across_the_end_of_a_year(day: date, monday: date) -> None:
    counts = count_events(frame([event(event_date=day)]), entity="world", step="week")
    assert counts.totals["step_start"].to_list() == [monday]


@settings(max_examples=60, deadline=None)
@given(
    first=st.dates(date(2015, 1, 1), date(2020, 12, 31)),
    days=st.integers(0, 100),
    step=st.sampled_from(STEPS),
)
def test_steps_have_no_gaps(first: date, days: int, step: Step) -> None:
    last = first + timedelta(days=days)
    steps = step_range(first, last, step)
    assert steps.to_list() == naive.steps_between(first, last, step)
    assert steps.dtype == pl.Date
