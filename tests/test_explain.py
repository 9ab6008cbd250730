"""Laws of explanations: they say what is published, and refuse what isn't."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.sample import CRISES
from flows.driver_words import in_words
from flows.explain import (
    RATES,
    NothingToExplainError,
    alarm_rates,
    draw_calibration,
    draw_explanation,
    explain,
)
from tests.icews_files import WholeRun

CRISIS = next(crisis for crisis in CRISES if crisis.country == "Zuhara")


def published(run: WholeRun) -> Path:
    return run.result.publication.latest


def test_an_explanation_has_the_steps_of_its_time_and_entity(whole: WholeRun) -> None:
    first, last = date(2018, 3, 7), date(2018, 4, 2)
    steps = explain(published(whole), "Zuhara", first, last).steps
    assert steps["entity"].unique().to_list() == ["Zuhara"]
    assert steps["step_start"].to_list() == [
        date(2018, 3, 5) + timedelta(weeks=week) for week in range(5)
    ]


def test_the_text_names_what_was_planted(whole: WholeRun) -> None:
    found = explain(published(whole), CRISIS.country, CRISIS.start, CRISIS.end)
    text = found.text()
    highest = found.highest
    assert f"{highest['score']:.1f}" in text
    assert f"{highest['n_events']} events, {highest['expected_events']:.1f} expected" in text
    for driver in highest["drivers"]:
        assert in_words(driver) in text
    planted = {f"event_type_{code}" for code, _ in CRISIS.codes}
    assert highest["drivers"][0]["feature"] in planted


def test_the_text_has_the_highest_steps_in_order(whole: WholeRun) -> None:
    found = explain(published(whole), "Kestria", None, None)
    lines = [line for line in found.text(n_steps=4).splitlines() if " score " in line]
    scores = [float(line.split("score ")[1].split(",")[0]) for line in lines]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == round(found.highest["score"], 1)


def test_one_event_is_not_plural() -> None:
    driver = {"label": "Demand", "events": 1, "expected_events": 0.25}
    assert in_words(driver) == "Demand: 1 event, 0.2 expected"


@pytest.mark.parametrize(
    ("entity", "first", "words"),
    [("Atlantis", None, "the 12 entities are"), ("Kestria", date(2031, 1, 1), "from 2031-01-01")],
)
def test_what_is_not_published_is_refused(
    whole: WholeRun, entity: str, first: Any, words: str
) -> None:
    with pytest.raises(NothingToExplainError, match=words):
        explain(published(whole), entity, first, None)


def test_figures_show_every_scored_step(whole: WholeRun) -> None:
    found = explain(published(whole), "Kestria", date(2018, 1, 1), None)
    score, parts, drivers = draw_explanation(found).axes
    drawn = score.lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, found.steps["score"].to_numpy())
    assert [line.get_label() for line in parts.lines][:2] == ["strangeness", "loudness"]
    assert len(drivers.patches) == 2 * len(found.highest["drivers"])
    assert found.highest["drivers"][0]["label"] in [
        label.get_text() for label in drivers.get_yticklabels()
    ]
    calibration = draw_calibration(published(whole)).axes[0]
    labels = {line.get_label().split(",")[0] for line in calibration.lines}
    assert labels >= {"validation", "held out"}


def test_alarm_rates_are_counted_by_part() -> None:
    steps = pl.DataFrame(
        {
            "part": ["held_out"] * 4 + ["validation"] * 2,
            "p_value": [0.001, 0.03, 0.5, None, 0.01, 0.9],
        }
    )
    rates = alarm_rates(steps)
    assert rates["asked"].to_list() == [*RATES, *RATES]
    held_out = rates.filter(part="held_out")
    assert held_out["n_steps"].unique().to_list() == [3]
    expected = [sum(p <= rate for p in (0.001, 0.03, 0.5)) / 3 for rate in RATES]
    assert held_out["got"].to_list() == pytest.approx(expected)
