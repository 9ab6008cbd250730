"""Laws of recall on dated events, of what chance finds of them, and of volume matching."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.crisis_outcomes import DatedEvent
from models.crisis_recall import evaluate_events
from models.errors import ShapeError
from models.ranked_series import EntitySeries
from models.volume_matching import volume_matched
from tests.naive_recall import (
    Oracle,
    assert_same,
    figures,
    load_script,
    script_figures,
    volume_matched_scores,
)

if TYPE_CHECKING:
    import pandas as pd

FIRST = np.datetime64("2017-12-25", "D")


def one_event(day: str, entity: str = "Mali", **changed: Any) -> DatedEvent:
    start = date.fromisoformat(day)
    return DatedEvent(**{"id": day, "entity": entity, "start": start, "end": start} | changed)


def weekly(scores: Sequence[float] | np.ndarray, name: str = "Mali") -> EntitySeries:
    start = FIRST + 7 * np.arange(len(scores))
    return EntitySeries(name=name, start=start, end=start + 7, score=np.array(scores, float))


def with_volume(series: EntitySeries, n_events: np.ndarray) -> EntitySeries:
    return replace(series, n_events=n_events)


def messy_series(name: str, generator: np.random.Generator, n_rows: int) -> EntitySeries:
    """Make steps or windows that overlap, nest, repeat, tie and leave gaps, in any order."""
    step = int(generator.choice([1, 7, 30]))
    start = FIRST + step * np.arange(n_rows) + 60 * (np.arange(n_rows) > n_rows // 2)
    length = step * generator.choice([1, 1, 1, 3], n_rows)
    rows = generator.choice(n_rows, max(1, int(0.8 * n_rows)))
    decimals = int(generator.choice([0, 6]))
    return EntitySeries(
        name=name,
        start=start[rows],
        end=start[rows] + length[generator.choice(n_rows, len(rows))],
        score=generator.normal(0, 3, len(rows)).round(decimals),
        n_events=generator.poisson(30, len(rows)).astype(float),
    )


def messy_events(
    names: Sequence[str], generator: np.random.Generator, n_events: int, n_days: int
) -> list[DatedEvent]:
    found = []
    for i in range(n_events):
        start = FIRST.item() + timedelta(days=int(generator.integers(-20, n_days)))
        end = start + timedelta(days=int(generator.integers(0, 25)))
        entity, kind = str(generator.choice(names)), str(generator.choice(["coup", "war"]))
        found.append(DatedEvent(id=f"{i:03d}", entity=entity, start=start, end=end, kind=kind))
    return list({(one.entity, one.start): one for one in found}.values())


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_every_figure_equals_the_oracles(seed: int) -> None:
    generator = np.random.default_rng(seed)
    names = ["Mali", "Chad", "Peru", "Fiji"]
    series = [messy_series(name, generator, int(generator.integers(4, 40))) for name in names]
    series += [messy_series("Chad", generator, 9)]
    events = messy_events([*names[:3], "Oz"], generator, int(generator.integers(1, 10)), 120)
    options: dict[str, Any] = {"tops": (5, 20), "after_days": 7, "repetitions": 12}
    options |= {"seed": seed % 1000, "min_rows": 6}
    got = figures(evaluate_events(series, events, **options))
    wanted = Oracle(series, events, **options).figures()
    assert_same(got, wanted)


def test_a_table_worked_by_hand() -> None:
    # Weeks from 25 December; 9.0 stands in those of 15 and 22 January, 8.0 in that of 5 March.
    scores = [0.1, 0.2, 0.3, 9.0, 9.0, 0.4, 0.5, 0.6, 0.7, 0.8, 8.0, 0.9, 1, 1.1, 1.2, 1.3, 1.4]
    scores += [1.5, 1.6, 1.7]
    quiet = weekly([0.0] * 20, "Chad")
    late = weekly([*range(10), 99, *range(9)], "Peru")
    events = [
        one_event("2018-01-16", kind="coup"),  # the week of 15 January, and that after it
        one_event("2018-03-05", kind="war"),
        one_event("2018-04-23", kind="war"),
    ]
    got = evaluate_events([weekly(scores), quiet, late], events, tops=(5, 10, 15), min_rows=20)
    assert [one.status for one in got.outcomes] == ["scored"] * 3
    # Two share the highest score, so that neither is the only one at the top; 8.0 is third.
    assert [one.hits for one in got.outcomes] == [
        (False, True, True),
        (False, False, True),
        (False, False, False),
    ]
    assert [one.n_rows for one in got.outcomes] == [2, 2, 2]
    assert [one.recall for one in got.tops] == [0, 1 / 3, 2 / 3]
    assert [one.hits for one in got.tops] == [0, 1, 2]
    assert [one.counted for one in got.tops] == [5, 10, 15]
    # Equal scores share a percentile: 18 lower and half of two; 17.5, and 8.5 of twenty.
    assert got.outcomes[0].best == got.outcomes[0].mean == 19 / 20
    assert got.outcomes[1].best == 17.5 / 20
    assert got.outcomes[1].mean == pytest.approx((17.5 + 8.5) / 2 / 20)
    assert [one.first_hit for one in got.outcomes] == [date(2018, 1, 15), date(2018, 3, 5), None]
    # Of the two others, Peru has its highest row in the week of 5 March, Chad has none ever.
    assert [one.placebo for one in got.outcomes] == [(0, 0, 0), (0.5, 0.5, 0.5), (0, 0, 0)]
    assert got.tops[2].placebo == pytest.approx(0.5 / 3)
    assert got.tops[2].placebo_lift == pytest.approx(4)
    assert got.by_kind["coup"].recall == 1
    assert (got.by_kind["war"].n_events, got.by_kind["war"].recall) == (2, 0.5)


def test_placebo_takes_entities_without_an_event_then_whose_rows_reach_to_a_day_of_its_end() -> (
    None
):
    # The interval looked at ends on 5 May, the series after 30 weeks on 22 July.
    series = [weekly(np.arange(30.0)), weekly(np.arange(30.0), "Chad")]
    event = one_event("2018-04-28")
    for n_days, expected in ((0, 0.0), (1, 0.0), (2, None)):
        stop = np.datetime64("2018-05-06") - n_days
        kept = series[1].start + 7 <= stop + 6
        chad = replace(
            series[1],
            start=series[1].start[kept],
            end=np.minimum(series[1].end[kept], stop),
            score=-series[1].score[kept],
        )
        got = evaluate_events([series[0], chad], [event], min_rows=10, repetitions=5)
        assert got.outcomes[0].placebo[2] == expected, n_days
        own = one_event("2018-05-05", "Chad")
        busy = evaluate_events([series[0], chad], [event, own], min_rows=10, repetitions=5)
        assert busy.outcomes[0].placebo[2] is None


def test_interval_ends_after_days_after_the_last_day_and_no_later() -> None:
    scores = np.zeros(40)
    scores[3] = 1  # 15 to 21 January
    for day, after_days, is_hit in (
        ("2018-01-21", 0, True),
        ("2018-01-22", 0, False),
        ("2018-01-08", 7, True),
        ("2018-01-07", 7, False),
    ):
        event = [one_event(day)]
        got = evaluate_events([weekly(scores)], event, after_days=after_days, repetitions=5)
        assert got.outcomes[0].hits[0] is is_hit, day


def test_an_event_that_cannot_be_judged_says_why() -> None:
    scores = np.arange(40.0)
    series = [weekly(scores), weekly(scores[:20], "Chad"), weekly(scores[:3], "Peru")]
    events = [
        one_event("2018-03-01"),
        one_event("2018-03-02", "Oz"),
        one_event("2018-03-03", "Chad"),
        one_event("2016-03-04"),
        one_event("2026-03-04"),
        one_event("2018-01-03", end=date(2018, 5, 20)),
        one_event("2017-12-21"),
        one_event("2017-12-22"),
    ]
    got = evaluate_events(series, events)
    assert {one.event.id: one.status for one in got.outcomes} == {
        "2018-03-01": "scored",
        "2018-03-02": "no_such_entity",
        "2018-03-03": "too_few_rows",
        "2016-03-04": "outside_series",
        "2026-03-04": "outside_series",
        "2018-01-03": "series_too_short",
        "2017-12-21": "outside_series",
        "2017-12-22": "scored",
    }
    assert (got.n_events, got.n_scored) == (8, 2)
    assert dict(got.not_scored) == {
        "no_such_entity": 1,
        "too_few_rows": 1,
        "outside_series": 3,
        "series_too_short": 1,
    }
    assert got.outcomes[3].event.id == "2018-01-03", "outcomes are in order of date"


def test_where_no_event_can_be_judged_nothing_is_summed_up() -> None:
    got = evaluate_events([weekly(np.arange(40.0))], [one_event("2018-03-01", "Oz")])
    assert (got.n_scored, got.tops, got.best_percentile, dict(got.by_kind)) == (0, (), None, {})
    assert got.outcomes[0].status == "no_such_entity"


def scores_and_events(
    n_entities: int = 12, n_weeks: int = 200, n_events: int = 40, seed: int = 0
) -> tuple[list[EntitySeries], list[DatedEvent]]:
    generator = np.random.default_rng(seed)
    names = [f"Country {i}" for i in range(n_entities)]
    events = messy_events(names, generator, n_events, 7 * n_weeks)
    series = [
        with_volume(
            weekly(generator.normal(size=n_weeks), name),
            generator.permutation(n_weeks) + generator.integers(1, 400),
        )
        for name in names
    ]
    return series, events


@pytest.mark.parametrize("value", [0.0, 7.0, -1.5])
def test_a_constant_score_never_hits(value: float) -> None:
    series, events = scores_and_events()
    constant = [replace(one, score=np.full(200, value)) for one in series]
    got = evaluate_events(constant, events, repetitions=20)
    assert [(one.recall, one.chance, one.lift) for one in got.tops] == [(0, 0, None)] * 3
    assert got.n_constant == got.n_scored > 20
    assert got.best_percentile is not None
    assert got.best_percentile.value == got.best_percentile.chance == 0.5


@given(seed=st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_series_and_events_is_irrelevant(seed: int) -> None:
    generator = np.random.default_rng(seed)
    series = [messy_series(name, generator, 40) for name in ("Mali", "Chad", "Peru")]
    events = messy_events(["Mali", "Chad"], generator, 6, 200)
    options: dict[str, Any] = {"repetitions": 10, "min_rows": 5}
    shuffled = []
    for one in [series[i] for i in generator.permutation(3)]:
        rows = generator.permutation(len(one.score))
        columns = {name: getattr(one, name)[rows] for name in ("start", "end", "score", "n_events")}
        shuffled.append(replace(one, **columns))
    reversed_events = events[::-1]
    before = figures(evaluate_events(series, events, **options))
    assert figures(evaluate_events(shuffled, reversed_events, **options)) == before
    matched, matched_shuffled = volume_matched(series).series, volume_matched(shuffled).series
    before = figures(evaluate_events(matched, events, **options))
    assert figures(evaluate_events(matched_shuffled, reversed_events, **options)) == before


@pytest.mark.parametrize("transform", [np.exp, np.arctan, lambda x: 3 * x**3 - 7])
def test_a_monotone_transform_of_the_score_changes_nothing(transform: Any) -> None:
    series, events = scores_and_events(n_entities=5, n_events=20)
    transformed = [replace(one, score=transform(one.score)) for one in series]
    before = figures(evaluate_events(series, events, repetitions=20))
    assert figures(evaluate_events(transformed, events, repetitions=20)) == before
    matched, matched_transformed = volume_matched(series), volume_matched(transformed)
    before = figures(evaluate_events(matched.series, events, repetitions=20))
    assert figures(evaluate_events(matched_transformed.series, events, repetitions=20)) == before


def test_the_same_seed_gives_the_same_figures_and_another_one_other_chance() -> None:
    series, events = scores_and_events(n_entities=5, n_events=20)
    first, again, other = (
        evaluate_events(series, events, seed=seed, repetitions=20) for seed in (3, 3, 4)
    )
    assert figures(first) == figures(again)
    assert first.tops[2].recall == other.tops[2].recall
    assert first.tops[2].chance != other.tops[2].chance


def test_series_of_one_name_are_taken_together_and_the_highest_counts() -> None:
    low, high = weekly(np.arange(40.0)), weekly(np.arange(40.0)[::-1])
    both = weekly(np.maximum(low.score, high.score))
    events = [one_event("2018-01-01"), one_event("2018-05-01")]
    together = figures(evaluate_events([low, high], events))
    assert together == figures(evaluate_events([both], events))


def test_random_scores_find_what_chance_finds() -> None:
    lifts, percentiles = [], []
    for seed in range(6):
        series, events = scores_and_events(n_entities=20, n_events=80, seed=seed)
        got = evaluate_events(series, events, repetitions=40)
        lifts.append([one.lift for one in got.tops])
        assert got.mean_percentile is not None
        percentiles.append(got.mean_percentile.value)
    np.testing.assert_allclose(np.mean(lifts, axis=0), 1, atol=0.25)
    assert np.mean(percentiles) == pytest.approx(0.5, abs=0.02)


def test_planted_scores_are_found_beyond_chance_and_not_elsewhere() -> None:
    series, events = scores_and_events(n_entities=20, n_events=40)
    for event in events:
        row = (np.datetime64(event.start) - FIRST).astype(int) // 7
        if 0 <= row < 200:
            next(one for one in series if one.name == event.entity).score[row] += 9
    top = evaluate_events(series, events).tops[2]
    assert top.recall > 0.9
    assert top.lift is not None
    assert top.lift_interval is not None
    assert top.lift_interval[0] < top.lift < top.lift_interval[1]
    assert top.lift > 4
    assert top.p_value == 1 / 201
    assert top.placebo == pytest.approx(top.chance, abs=0.1)


def test_a_score_that_is_the_same_everywhere_is_no_better_than_its_placebo() -> None:
    series, events = scores_and_events(n_entities=20, n_events=60)
    world = np.random.default_rng(1).normal(size=200)
    top = evaluate_events([replace(one, score=world) for one in series], events).tops[2]
    assert top.placebo_lift == pytest.approx(1, abs=0.1)


VOLUME_FUNCTIONS = [
    lambda n: n,
    np.sqrt,
    lambda n: np.log1p(n) * 1e6,
    lambda n: n**3,
    lambda n: -n,
    lambda n: np.exp(-n / 300),
]


@pytest.mark.parametrize("function", VOLUME_FUNCTIONS)
def test_of_a_strictly_monotone_function_of_volume_nothing_is_left(function: Any) -> None:
    series, events = scores_and_events()
    # Numbers of events have ties, and more of them the quieter an entity is.
    generator = np.random.default_rng(5)
    counts = [generator.poisson(rate, 200).astype(float) for rate in range(2, 100, 8)]
    loud = [
        replace(one, n_events=n, score=function(n)) for one, n in zip(series, counts, strict=False)
    ]
    matched = volume_matched(loud)
    assert matched.median_correlation == pytest.approx(1 if function(2) > function(1) else -1)
    assert {score for one in matched.series for score in one.score.tolist()} == {0}
    got = evaluate_events(matched.series, events, repetitions=10)
    assert [one.recall for one in got.tops] == [0, 0, 0]
    assert got.n_scored > 20


def test_what_volume_does_not_explain_stays_after_matching() -> None:
    series, events = scores_and_events(n_entities=20, n_events=40)
    for one in series:
        assert one.n_events is not None
        one.score[:] += one.n_events / 5
    for event in events:
        row = (np.datetime64(event.start) - FIRST).astype(int) // 7
        if 0 <= row < 200:
            next(one for one in series if one.name == event.entity).score[row] += 12
    plain = evaluate_events(series, events).tops[2]
    matched = evaluate_events(volume_matched(series).series, events).tops[2]
    assert plain.recall < 0.6
    assert matched.recall > 0.85


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_volume_matching_equals_the_formula_written_out(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n_events = generator.poisson(20, 25).astype(float)
    scores = (generator.normal(size=25) + n_events / 9).round(int(generator.integers(0, 7)))
    got = volume_matched([with_volume(weekly(scores), n_events)]).series[0]
    wanted = volume_matched_scores(scores.tolist(), n_events.tolist())
    np.testing.assert_allclose(got.score, wanted, atol=2e-6)


def test_rows_without_volume_and_entities_with_few_rows_are_left_out_and_said_so() -> None:
    n_events = np.arange(30.0)
    n_events[:3] = np.nan
    kept = with_volume(weekly(np.sin(np.arange(30))), n_events)
    few = with_volume(weekly(np.arange(19.0), "Chad"), np.arange(19))
    matched = volume_matched([kept, few])
    assert [(one.name, len(one.score)) for one in matched.series] == [("Mali", 27), ("Chad", 0)]
    assert matched.series[0].start[0] == kept.start[3]
    events = [one_event("2018-03-01", "Chad")]
    got = evaluate_events(matched.series, events, min_rows=10)
    assert got.outcomes[0].status == "too_few_rows"
    assert volume_matched([few]).median_correlation is None


def test_a_score_or_volume_without_variation_has_no_correlation_and_never_hits() -> None:
    flat = with_volume(weekly(np.zeros(30)), np.arange(30))
    even = with_volume(weekly(np.arange(30.0)), np.full(30, 9))
    matched = volume_matched([flat, even])
    assert matched.median_correlation == 0
    assert set(matched.series[0].score.tolist()) == {0}
    assert np.argsort(matched.series[1].score, kind="stable").tolist() == list(range(30))


def test_what_is_given_wrongly_is_refused_with_what_was_expected() -> None:
    good = weekly(np.arange(40.0))
    with pytest.raises(ShapeError, match=r"start is datetime64\[ns\].*expected datetime64\[D\]"):
        replace(good, start=good.start.astype("datetime64[ns]"))
    with pytest.raises(ShapeError, match=r"score is float64 of shape \(39,\).*\(40,\)"):
        replace(good, score=good.score[1:])
    with pytest.raises(ShapeError, match="n_events is <U"):
        with_volume(good, np.array(["7"] * 40))
    with pytest.raises(ValueError, match="Mali: 1 of 40 scores are NaN"):
        weekly([np.nan, *range(39)])
    with pytest.raises(ValueError, match="row 0 runs from 2017-12-25 to 2017-12-25"):
        replace(good, end=good.start)
    with pytest.raises(ValueError, match="row 0 runs from NaT"):
        replace(good, start=np.full(40, np.datetime64("NaT", "D")))
    with pytest.raises(ValueError, match=r"ends on 2018-01-02, before its start on 2018-03-01"):
        one_event("2018-03-01", end=date(2018, 1, 2))
    with pytest.raises(ValueError, match="Mali has no n_events"):
        volume_matched([good])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tops": ()}, "tops is"),
        ({"tops": (1, 1)}, "tops is"),
        ({"tops": (0, 5)}, "tops is"),
        ({"tops": (101,)}, "tops is"),
        ({"after_days": -1}, "after_days is -1; it must be at least 0"),
        ({"repetitions": 0}, "repetitions is 0"),
        ({"min_rows": 0}, "min_rows is 0"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_events([weekly(np.arange(40.0))], [one_event("2018-03-01")], **options)
    with pytest.raises(ValueError, match="no events"):
        evaluate_events([weekly(np.arange(40.0))], [])


def as_script_takes_them(
    series: Sequence[EntitySeries], events: Sequence[DatedEvent]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    import pandas as pd

    scores = pd.concat(
        [
            pd.DataFrame({"entity": one.name, "a": one.start, "b": one.end, "score": one.score})
            .assign(events=one.n_events)
            .sort_values(["a", "b", "score", "events"])
            for one in series
        ],
        ignore_index=True,
    )
    crises = pd.DataFrame(
        [
            {"id": one.id, "country": one.entity, "country_raw": "", "iso3": "", "region": ""}
            | {"start": pd.Timestamp(one.start), "end": pd.Timestamp(one.end), "core": 1}
            | {"kind": one.kind, "label": ""}
            for one in events
        ]
    )
    return scores, crises.sort_values(["start", "country"]).reset_index(drop=True)


def generated(case: str, seed: int) -> tuple[list[EntitySeries], list[DatedEvent]]:
    generator = np.random.default_rng(seed)
    if case == "weeks":
        series, events = scores_and_events(n_entities=15, n_events=40, seed=seed)
        return series, events
    names = [f"Country {i}" for i in range(12)]
    rows = [8, 25, 400, *generator.integers(40, 300, 9).tolist()]
    series = [messy_series(name, generator, n) for name, n in zip(names, rows, strict=True)]
    for one in series[::4]:
        one.n_events[generator.random(len(one.score)) < 0.1] = np.nan  # type: ignore[index]
    return series, messy_events([*names[:9], "Oz"], generator, 40, 1200)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("case", ["weeks", "messy"])
def test_every_figure_agrees_with_the_script(case: str, seed: int) -> None:
    script = load_script()
    series, events = generated(case, seed)
    scores, crises = as_script_takes_them(series, events)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = script.evaluate(scores, crises, seed=seed)
        matched_scores, correlation = script.volume_matched(scores.dropna(subset=["events"]))
        matched = script.evaluate(matched_scores, crises, seed=seed)
    got = figures(evaluate_events(series, events, seed=seed))
    assert_same(got, script_figures(*plain))
    found = volume_matched(series)
    # What the script leaves out it doesn't know afterwards; here it has no rows.
    left = [one for one in found.series if len(one.score)]
    got = figures(evaluate_events(left, events, seed=seed))
    assert_same(got, script_figures(*matched))
    assert found.median_correlation == pytest.approx(correlation, rel=1e-9)
    assert int(got["n_scored"] or 0) >= 10
