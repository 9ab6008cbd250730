"""Laws of the baselines: each against an oracle or a table, and all behind one interface."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import baseline_scorers
from models.baseline_scorers import BASELINES, COUNT_BASELINES, StepArrays, baseline_scores
from tests import naive_step_scores as naive

SEEDS = st.integers(0, 2**32 - 1)
LENGTH = 4


def arrays(seed: int = 0, *, n_steps: int = 50, **given_: Any) -> StepArrays:
    """Two entities with two features; some steps are masked, training is the first 30."""
    generator = np.random.default_rng(seed)
    observed = generator.random((2, n_steps)) > 0.15
    values = generator.normal(size=(2, n_steps, 2)).astype(np.float32) * observed[..., None]
    starts = range(n_steps - LENGTH + 1)
    windows = np.array([(entity, start) for entity in range(2) for start in starts])
    fields = {
        "values": values,
        "observed": observed,
        "training": observed & (np.arange(n_steps) < 30),
        "training_windows": windows[windows[:, 1] + LENGTH <= 30],
        "windows": windows,
        "length": LENGTH,
        "n_components": 2,
        "seed": seed,
    }
    return StepArrays(**fields | given_)


def counted(seed: int = 0) -> StepArrays:
    """The same with three kinds of event, the last of which is rare."""
    data, generator = arrays(seed), np.random.default_rng(seed)
    counts = generator.poisson([20, 5, 0.1], size=(*data.observed.shape, 3))
    counts[~data.observed] = 0
    volume, conflict = generator.normal(size=(2, *data.observed.shape)).astype(np.float32)
    return replace(data, counts=counts, volume=volume, conflict=conflict)


def scored(data: StepArrays, name: str) -> np.ndarray:
    """By one baseline alone, as `baseline_scores` does by all."""
    scores = (BASELINES | COUNT_BASELINES)[name](data)
    return np.where(data.observed, scores, np.float32(np.nan))


def squares(errors: np.ndarray) -> np.ndarray:
    return np.square(errors, dtype=float).mean(axis=2)


def same(got: np.ndarray, wanted: np.ndarray, data: StepArrays) -> None:
    assert got.dtype == np.float32
    assert np.isnan(got[~data.observed]).all()
    np.testing.assert_allclose(got[data.observed], wanted[data.observed], rtol=1e-3, atol=1e-4)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_simple_baselines_are_squares_of_what_naive_rules_leave(seed: int) -> None:
    data = arrays(seed)
    values, observed = data.values, data.observed
    same(scored(data, "training mean"), squares(values), data)
    last = naive.last_value(values, observed)
    same(scored(data, "persistence"), squares(values - last), data)
    trailing = naive.trailing(values, observed, 26)
    same(scored(data, "trailing surge"), squares(np.maximum(values - trailing, 0)), data)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_component_baselines_are_scores_of_what_naive_components_leave(seed: int) -> None:
    data = arrays(seed)
    expected = naive.principal_components(
        data.values, data.observed, data.training_windows, data.windows, LENGTH, 2
    )
    residuals = data.values - expected
    same(scored(data, "PCA"), squares(residuals), data)
    same(scored(data, "PCA surge"), naive.surge(residuals, np.array([True, True]), True), data)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_tests_of_counts_are_deviances_from_naive_usual_counts(seed: int) -> None:
    data = counted(seed)
    assert data.counts is not None
    usual = naive.usual_counts(data.counts, data.training)
    expected = np.broadcast_to(usual[:, None], data.counts.shape)
    same(scored(data, "G-test of counts"), naive.counted_deviance(data.counts, expected), data)
    composed = naive.composition_deviance(data.counts, expected)
    same(scored(data, "G-test of composition"), composed, data)


def test_a_small_case_worked_by_hand() -> None:
    values = np.float32([[[0, 0], [2, 0], [0, 4], [3, -1]]])
    everything = np.ones((1, 4), bool)
    windows = np.array([[0, 0], [0, 1], [0, 2]])
    data = StepArrays(
        values=values, observed=everything, training=everything, training_windows=windows,
        windows=windows, length=2, n_components=1, seed=0, counted=np.array([True, False]),
        counts=np.array([[[4, 0], [4, 0], [4, 0], [0, 4]]]),
        volume=np.float32([[1, 2, 3, 4]]), conflict=np.float32([[5, 6, 7, 8]]),
    )  # fmt: skip
    scores = baseline_scores(data)
    assert scores["training mean"].tolist() == [[0, 2, 8, 5]]
    assert scores["persistence"].tolist() == [[0, 2, 10, 17]]
    # Of the first feature alone: 2 over 0, 0 under 1, 3 over the mean of 0, 2 and 0.
    np.testing.assert_allclose(scores["trailing surge"], [[0, 4, 0, (3 - 2 / 3) ** 2]], rtol=1e-5)
    assert scores["volume surge"].tolist() == [[1, 2, 3, 4]]
    assert scores["material conflict"].tolist() == [[5, 6, 7, 8]]
    # Usual are (12 + 5 * 3/4) / 4 of the first kind, (4 + 5 / 4) / 4 of the second: shares ¾ and ¼.
    usual, unusual = 8 * np.log(4 / 3), 8 * np.log(4)
    np.testing.assert_allclose(
        scores["G-test of composition"], [[usual] * 3 + [unusual]], rtol=1e-5
    )
    sums = 2 * (4 * np.log(4 / 5.25) - (4 - 5.25))
    np.testing.assert_allclose(
        scores["G-test of counts"], [[usual + sums] * 3 + [unusual + sums]], rtol=1e-5
    )


@pytest.mark.parametrize("seed", [0, 7])
def test_isolation_scores_are_determined_by_the_seed(seed: int) -> None:
    data = arrays(seed)
    one, again = (scored(data, "isolation forest") for _ in range(2))
    np.testing.assert_array_equal(one, again)
    other = scored(replace(data, seed=seed + 1), "isolation forest")
    assert not np.array_equal(one[data.observed], other[data.observed])


def test_isolation_finds_what_lies_apart() -> None:
    data = arrays(0, n_steps=200)
    data.values[0, 40], data.observed[0, 40] = [8, -8], True
    scores = scored(replace(data, training=data.observed), "isolation forest")
    assert np.nanargmax(scores) == 40
    assert 0 < np.nanmin(scores) < np.nanmax(scores) < 1


def test_isolation_of_very_many_steps_is_fitted_on_some_and_scored_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = arrays(1)
    whole = scored(data, "isolation forest")
    monkeypatch.setattr(baseline_scorers, "_ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(scored(data, "isolation forest"), whole)
    monkeypatch.setattr(baseline_scorers, "_MAX_FITTED", 20)
    drawn = [scored(data, "isolation forest") for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
    assert not np.array_equal(drawn[0][data.observed], whole[data.observed])


@pytest.mark.parametrize("seed", range(3))
def test_every_baseline_learns_from_training_alone(seed: int) -> None:
    data, other = counted(seed), counted(seed + 1000)
    assert data.counts is not None
    assert other.counts is not None
    for mine, its in ((data.values, other.values), (data.counts, other.counts)):
        its[:, :30] = mine[:, :30]
    early = data.windows[data.windows[:, 1] + LENGTH <= 30]
    observed = np.concatenate([data.observed[:, :30], other.observed[:, 30:]], axis=1)
    changed = replace(
        data, values=other.values * observed[..., None], counts=other.counts, observed=observed,
        windows=early,
    )  # fmt: skip
    one, two = baseline_scores(replace(data, windows=early)), baseline_scores(changed)
    for name in one:
        np.testing.assert_array_equal(two[name][:, :30], one[name][:, :30], err_msg=name)


@given(seed=SEEDS)
def test_the_steps_of_an_entity_are_scored_alike_beside_any_other(seed: int) -> None:
    data, other = arrays(seed), arrays(seed + 1000)
    both = replace(
        data,
        values=np.stack([data.values[0], other.values[0]]),
        observed=np.stack([data.observed[0], other.observed[0]]),
    )
    for name in ("training mean", "persistence", "trailing surge"):
        np.testing.assert_array_equal(scored(data, name)[0], scored(both, name)[0])


def test_a_masked_step_has_no_score_by_any_baseline_and_all_others_have() -> None:
    data = counted(3)
    assert not data.observed.all()
    for name, scores in baseline_scores(data).items():
        np.testing.assert_array_equal(np.isnan(scores), ~data.observed, err_msg=name)


def test_counted_events_have_baselines_of_their_own() -> None:
    assert list(baseline_scores(arrays(0))) == list(BASELINES)
    assert list(baseline_scores(counted(0))) == [*BASELINES, *COUNT_BASELINES]


def test_a_kind_of_event_that_never_came_does_not_weigh_without_bound() -> None:
    data = counted(0)
    assert data.counts is not None
    data.counts[0, :, 2] = 0
    data.observed[0, 45] = True
    data.counts[0, 45] = [20, 5, 1]
    score = scored(data, "G-test of counts")[0, 45]
    usual = naive.usual_counts(data.counts, data.training)[0]
    assert usual[2] > 0
    assert score == pytest.approx(naive.counted_deviance(data.counts[0, 45:46], usual[None])[0])
    assert score < 30


@pytest.mark.parametrize("name", COUNT_BASELINES)
def test_scorers_of_counts_say_what_they_miss(name: str) -> None:
    with pytest.raises(ValueError, match=r"is None; this scorer needs events that are counted"):
        COUNT_BASELINES[name](arrays(0))
