"""Laws of gaps and jumps: usual is what the same weekday has around, and chance is no finding."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features.event_gaps import jumps, newcomers, thin_days, usual_days
from tests import naive_gaps

MONDAY = date(2018, 1, 1)


def days(counts: list[int], first: date = MONDAY) -> dict[date, int]:
    """Count events from a day on; days without any are left out."""
    return {first + timedelta(days=i): n for i, n in enumerate(counts) if n}


def weekly(counts: list[int]) -> dict[date, int]:
    """Spread the events of weeks over their days, fewer at weekends."""
    shares = (17, 17, 17, 17, 16, 8, 8)
    return days([n * share // 100 for n in counts for share in shares])


COUNTS = st.lists(st.sampled_from([0, 0, 1, 3, 9, 40, 200]), min_size=1, max_size=150)


@given(counts=COUNTS, shift=st.integers(0, 6))
def test_usual_is_the_median_of_the_weekday_in_the_weeks_around(
    counts: list[int], shift: int
) -> None:
    events = days(counts, MONDAY + timedelta(days=shift))
    assume(events)
    found = usual_days(events)
    assert found["day"].to_list() == naive_gaps.every_day(events)
    for day, n, usual in found.iter_rows():
        assert n == events.get(day, 0)
        assert usual in naive_gaps.usual(events, day)


@given(counts=COUNTS)
def test_thin_days_are_those_of_the_slow_way(counts: list[int]) -> None:
    events = days(counts)
    assume(events)
    assume(all(len(naive_gaps.usual(events, day)) == 1 for day in naive_gaps.every_day(events)))
    assert thin_days(events).rows() == naive_gaps.thin_runs(events)


def test_no_events_have_no_gaps_and_no_jumps() -> None:
    assert usual_days({}).is_empty()
    assert thin_days({}).is_empty()
    assert jumps({}).is_empty()


@given(counts=COUNTS, seed=st.integers(0, 2**32 - 1))
def test_the_order_of_days_is_irrelevant(counts: list[int], seed: int) -> None:
    events = days(counts)
    assume(events)
    order = np.random.default_rng(seed).permutation(len(events))
    keys = list(events)
    mixed = {keys[i]: events[keys[i]] for i in order}
    for function in (usual_days, thin_days, jumps):
        assert function(mixed).equals(function(events))


def test_a_source_that_rests_at_weekends_has_no_gaps_there() -> None:
    events = {day: n for day, n in weekly([1000] * 30).items() if day.weekday() < 5}
    assert thin_days(events).is_empty()
    gone = MONDAY + timedelta(days=7 * 10 + 4)
    after = gone + timedelta(days=3)
    assert thin_days(events | {gone: 0, after: 1}).select("first", "last", "days").rows() == [
        (gone, after, 2)
    ]


def test_a_sparse_source_has_no_gaps() -> None:
    """Of two events a day none come on seven in a row by chance once in a million, so that says."""
    rng = np.random.default_rng(3)
    assert thin_days(days(rng.poisson(2, 700).tolist())).is_empty()
    quiet = rng.poisson(2, 700)
    quiet[300:320] = 0
    assert thin_days(days(quiet.tolist())).height == 1


def test_strays_before_the_first_file_and_after_the_last_are_no_gap() -> None:
    events = weekly([1000] * 20) | {
        MONDAY - timedelta(days=9): 2,
        MONDAY + timedelta(days=7 * 20): 30,
        MONDAY + timedelta(days=7 * 20 + 3): 1,
    }
    assert thin_days(events).is_empty()


def test_years_without_events_are_one_gap() -> None:
    later = date(2026, 1, 5)
    events = weekly([700] * 20) | days([100] * 140, later)
    last = MONDAY + timedelta(days=7 * 20)
    assert thin_days(events).select("first", "last").rows() == [(last, later - timedelta(days=1))]


@pytest.mark.parametrize("factor", [0.4, 2.5, 10])
def test_a_week_that_jumps_is_found_wherever_it_is(factor: float) -> None:
    rng = np.random.default_rng(0)
    steady = rng.normal(5000, 200, 60).astype(int).tolist()
    assert jumps(weekly(steady)).is_empty()
    for at in (1, 30, 58):
        counts = [*steady]
        counts[at] = int(counts[at] * factor)
        found = jumps(weekly(counts))
        assert found.select("week", "kind").rows() == [(MONDAY + timedelta(weeks=at), "week")]
        assert found["factor"][0] == pytest.approx(factor, rel=0.15)


def test_the_first_and_last_week_never_jump() -> None:
    counts = [5000] * 30
    for at in (0, 29):
        partial = [*counts]
        partial[at] = 2500
        assert jumps(weekly(partial)).is_empty()


def test_holidays_are_no_jump() -> None:
    counts = [5000] * 120
    counts[51] = counts[52] = counts[103] = 2800
    assert jumps(weekly(counts)).is_empty()


def test_a_level_that_doubles_is_one_finding_at_its_first_week() -> None:
    rng = np.random.default_rng(1)
    counts = np.concatenate([rng.normal(5000, 150, 60), rng.normal(10_000, 300, 60)]).astype(int)
    found = jumps(weekly(counts.tolist())).filter(kind="level")
    assert found.height == 1
    week, events, before = found.select("week", "events", "usual").row(0)
    assert abs((week - (MONDAY + timedelta(weeks=60))).days) <= 21
    assert events / before == pytest.approx(2, rel=0.1)


def test_few_events_jump_only_beyond_chance() -> None:
    rng = np.random.default_rng(2)
    counts = rng.poisson(4, 300)
    events = days(np.repeat(counts, 7).tolist())
    assert jumps(dict.fromkeys(events, 1)).is_empty()
    sparse = {MONDAY + timedelta(weeks=i): int(n) for i, n in enumerate(counts) if n}
    assert jumps(sparse).is_empty()


def test_weeks_with_gaps_do_not_jump_too() -> None:
    events = weekly([5000] * 40)
    for i in range(5):
        del events[MONDAY + timedelta(days=7 * 20 + i)]
    assert thin_days(events).height == 1
    assert jumps(events).is_empty()


VALUES = st.sampled_from(["Mali", "Chad", "Niger", "Kosovo", None])


@given(
    rows=st.lists(st.tuples(st.integers(0, 30), VALUES, VALUES), min_size=1, max_size=40),
    since=st.integers(0, 31),
)
def test_newcomers_are_values_that_nothing_before_has(
    rows: list[tuple[int, str | None, str | None]], since: int
) -> None:
    dated = [(MONDAY + timedelta(days=at), (one, two)) for at, one, two in rows]
    events = pl.LazyFrame(
        {
            "event_date": [day for day, _ in dated],
            "source_country": [one for _, (one, _) in dated],
            "target_country": [two for _, (_, two) in dated],
        },
        schema={"event_date": pl.Date, "source_country": pl.String, "target_country": pl.String},
    )
    day = MONDAY + timedelta(days=since)
    found = newcomers(events, ["source_country", "target_country"], day)
    expected = naive_gaps.new_values(dated, day)
    assert {value: (first, n) for value, first, n in found.iter_rows()} == expected
    assert found["events"].to_list() == sorted(found["events"], reverse=True)
