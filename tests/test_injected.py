"""Laws of injected anomalies as a test of scorers: what sees them is told from what doesn't."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.cube import Cube
from features.vocabulary import Feature, Vocabulary, VocabularyConfig
from flows.config import RunConfig
from flows.injected import ALL, INJECTION, InjectedRow, can_inject, detect_injected
from flows.learning import LearningData, learning_data

CODES = ("010", "042", "112", "190")
VOCABULARY = Vocabulary(
    features=(
        *(
            Feature(name=f"event_type_{code}", block="event_type", category=code, label=code)
            for code in CODES
        ),
        Feature(name="event_type_other", block="event_type", category="other", label="Other"),
    ),
    config=VocabularyConfig(blocks=("event_type",)),
)
CONFIG = RunConfig.load(None, {"source": ["raw"]})


def quiet_data(seed: int = 0) -> LearningData:
    """Return steps in which nothing ever happens but chance."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson([20, 12, 6, 3, 4], size=(5, 120, 5))
    exposure = counts.sum(axis=2)
    cube = Cube(
        values=(counts / exposure[..., None]).astype(np.float32),
        exposure=exposure,
        entities=("A", "B", "C", "D", "E"),
        steps=np.datetime64("2018-01-01", "D") + 7 * np.arange(120),
        features=VOCABULARY.names,
        blocks=VOCABULARY.blocks,
        step="week",
    )
    return learning_data(cube, VOCABULARY, CONFIG)


def scores_of(original: LearningData) -> Any:
    """Return scorers that see all, nothing, and the volume."""

    def score(changed: LearningData) -> Mapping[str, np.ndarray]:
        counts = [one.cube.values * one.cube.exposure[..., None] for one in (changed, original)]
        everything = np.abs(np.nan_to_num(counts[0]) - counts[1]).sum(axis=-1).round()
        noise = np.random.default_rng(1).random(everything.shape).astype(np.float32)
        volume = changed.cube.exposure.astype(np.float32)
        return {"oracle": everything, "noise": noise, "volume": volume}

    return score


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], InjectedRow]:
    data = quiet_data()
    rows = detect_injected(data, VOCABULARY, CONFIG, scores_of(data), seed=2)
    return {(row.scorer, row.anomalies): row for row in rows}


def test_every_kind_and_strength_is_judged_for_every_scorer(found: Any) -> None:
    names = {*INJECTION.kinds, *(f"strength {value:g}" for value in INJECTION.strengths), ALL}
    assert {anomalies for _, anomalies in found} == names
    assert {scorer for scorer, _ in found} == {"oracle", "noise", "volume"}


def test_what_sees_the_change_finds_it_and_noise_finds_what_chance_does(found: Any) -> None:
    assert found["oracle", ALL].average_precision > 0.9
    row = found["noise", ALL]
    assert row.average_precision == pytest.approx(row.base_rate, abs=0.06)
    assert 0 < row.base_rate < 0.5


def test_a_swap_at_equal_volume_is_not_seen_by_the_volume(found: Any) -> None:
    # Scores of unchanged volume rank it among the other steps.
    assert found["volume", "swap"].average_precision < 0.4
    assert found["oracle", "swap"].average_precision > 0.9


def test_only_held_out_steps_are_changed() -> None:
    data = quiet_data()
    seen: list[LearningData] = []

    def score(changed: LearningData) -> Mapping[str, np.ndarray]:
        seen.append(changed)
        return {"x": np.zeros(changed.prepared.observed.shape, np.float32)}

    detect_injected(data, VOCABULARY, CONFIG, score, seed=0)
    (changed,) = seen
    start = data.prepared.split.held_out_start
    np.testing.assert_array_equal(changed.cube.values[:, :start], data.cube.values[:, :start])
    np.testing.assert_array_equal(
        changed.prepared.standardiser.mean, data.prepared.standardiser.mean
    )
    assert (changed.cube.values[:, start:] != data.cube.values[:, start:]).any()
    np.testing.assert_array_equal(changed.prepared.windows.index, data.prepared.windows.index)


def test_steps_without_a_score_are_left_out() -> None:
    data = quiet_data()

    def score(changed: LearningData) -> Mapping[str, np.ndarray]:
        scores = scores_of(data)(changed)["oracle"].copy()
        scores[:2] = np.nan
        return {"oracle": scores}

    rows = detect_injected(data, VOCABULARY, CONFIG, score, seed=2)
    assert all(np.isfinite(row.average_precision) for row in rows)


def test_where_there_is_no_room_nothing_is_injected() -> None:
    data = quiet_data()
    rows = detect_injected(
        data, VOCABULARY, CONFIG, scores_of(data), seed=0,
        injection=replace(INJECTION, min_events=10_000),
    )  # fmt: skip
    assert rows == []


@pytest.mark.parametrize(
    ("blocks", "can"),
    [
        (("event_type", "quad", "root", "intensity", "log_volume"), True),
        (("quad",), False),
        (("event_type", "source_sector"), False),
    ],
)
def test_sectors_of_invented_events_are_not_invented(blocks: Any, can: bool) -> None:
    vocabulary = replace(VOCABULARY, config=VocabularyConfig(blocks=blocks))
    assert can_inject(vocabulary) is can
