"""Laws of scores of steps: what makes them rise, what doesn't, and what they depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ShapeError
from models.step_scores import (
    composition_deviance,
    composition_residuals,
    counted_deviance,
    over_two_steps,
    relative_to_usual,
    squared,
    surge,
    surge_parts,
)
from tests import naive_step_scores as naive

SEEDS = st.integers(0, 2**32 - 1)


def random_residuals(seed: int, *, masked: float = 0.2) -> np.ndarray:
    """`(3, 9, 4)`, NaN in some steps."""
    generator = np.random.default_rng(seed)
    residuals = generator.normal(scale=2, size=(3, 9, 4)).astype(np.float32)
    residuals[generator.random((3, 9)) < masked] = np.nan
    return residuals


def random_counts(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts `(2, 7, 5)`, some steps of them empty, and expected ones above 0."""
    generator = np.random.default_rng(seed)
    expected = generator.gamma(1, 20, size=(2, 7, 5)) + 1e-3
    counts = generator.poisson(expected * generator.choice([0, 0.5, 3], size=(2, 7, 1)))
    return counts, expected


@given(seed=SEEDS, with_two_steps=st.booleans())
def test_surge_is_the_formula_written_out(seed: int, with_two_steps: bool) -> None:
    residuals, counted = random_residuals(seed), np.array([True, False, True, True])
    got = surge(residuals, counted=counted, with_two_steps=with_two_steps)
    wanted = naive.surge(residuals, counted, with_two_steps)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    assert got.dtype == np.float32


@given(seed=SEEDS)
def test_two_steps_together_are_the_formula_written_out(seed: int) -> None:
    residuals = random_residuals(seed)
    residuals[0, 3, 1] = np.nan  # one value only
    got = over_two_steps(residuals)
    np.testing.assert_allclose(got, naive.over_two_steps(residuals), rtol=1e-5, atol=1e-6)


@given(seed=SEEDS)
def test_the_parts_of_a_surge_add_up_to_it(seed: int) -> None:
    residuals = random_residuals(seed)
    parts = surge_parts(residuals)
    np.testing.assert_allclose(parts.mean(axis=2), surge(residuals), rtol=1e-5)
    assert not (parts < 0).any()


def test_a_perfect_expectation_has_no_surge() -> None:
    nothing = np.zeros((2, 5, 3), np.float32)
    assert not surge(nothing).any()
    assert not squared(nothing).any()


@given(seed=SEEDS)
def test_fewer_events_are_no_surge(seed: int) -> None:
    fewer = -np.abs(random_residuals(seed, masked=0))
    assert not surge(fewer).any()
    assert (squared(fewer) > 0).all()


def test_a_lack_beside_a_surplus_takes_nothing_from_it() -> None:
    alone, beside = np.float32([[[4, 0]]]), np.float32([[[4, -9]]])
    assert surge(alone) == surge(beside) == pytest.approx(6)


def test_a_lasting_surplus_scores_higher_than_a_single_one() -> None:
    single = surge(np.float32([[[0], [3], [0]]]))[0]
    lasting = surge(np.float32([[[3], [3], [3]]]))[0]
    assert lasting[1] > single[1]
    assert lasting[2] == lasting[1]
    assert single[2] > 0, "what was a step ago still counts"


def test_noise_of_two_steps_together_is_that_of_one() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 40_000, 1)).astype(np.float32)
    assert over_two_steps(noise).std() == pytest.approx(1, abs=0.02)


@given(seed=SEEDS, until=st.integers(1, 8))
def test_scores_do_not_depend_on_later_steps(seed: int, until: int) -> None:
    residuals = random_residuals(seed)
    other = random_residuals(seed + 1)
    other[:, :until] = residuals[:, :until]
    for score in (surge, squared):
        whole = score(residuals)[:, :until]
        np.testing.assert_array_equal(score(other)[:, :until], whole)
        np.testing.assert_array_equal(score(residuals[:, :until]), whole)


@given(seed=SEEDS)
def test_scores_do_not_depend_on_other_entities(seed: int) -> None:
    residuals = random_residuals(seed)
    np.testing.assert_array_equal(surge(residuals[1:2]), surge(residuals)[1:2])


def test_a_step_without_residuals_has_no_score_and_spoils_no_other() -> None:
    residuals = np.full((1, 4, 2), 2, np.float32)
    residuals[0, 1] = np.nan
    scores = surge(residuals)[0]
    assert np.isnan(scores).tolist() == [False, True, False, False]
    assert scores[2] == scores[0], "after a gap a step stands by itself, like the first"
    assert scores[3] > scores[2]
    assert np.isnan(squared(residuals)[0]).tolist() == [False, True, False, False]


def test_features_that_are_not_counted_cannot_surge() -> None:
    residuals = np.float32([[[1, 100]]])
    assert surge(residuals, counted=np.array([True, False])) == pytest.approx(1.5)


@pytest.mark.parametrize(
    "counted", [np.ones(2, bool), np.zeros(3, bool), np.array([0, 1, 1]), np.ones((1, 3), bool)]
)
def test_a_mask_of_features_that_does_not_fit_is_refused(counted: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"counted is .* expected bool \(3,\)"):
        surge(np.zeros((1, 2, 3), np.float32), counted=counted)


@given(seed=SEEDS)
def test_residuals_of_volume_and_of_composition_add_up(seed: int) -> None:
    generator = np.random.default_rng(seed)
    residuals, expected = random_residuals(seed), generator.normal(5, 4, size=(3, 9, 4))
    ratio = generator.uniform(0, 3, size=(3, 9))
    for n_scales in (1, 3):
        scale = generator.uniform(0.5, 2, size=(n_scales, 4)).astype(np.float32)
        parts = composition_residuals(residuals, expected.astype(np.float32), ratio, scale)
        np.testing.assert_allclose(sum(parts), residuals, rtol=1e-4, atol=1e-4)
        wanted = np.maximum(expected, 0) * (ratio[..., None] - 1) / scale[:, None]
        np.testing.assert_allclose(parts[0], wanted, rtol=1e-4, atol=1e-5)


@given(factor=st.floats(0.1, 10))
def test_what_is_louder_but_composed_as_expected_is_all_volume(factor: float) -> None:
    expected = np.float32([[[1, 2, 5]]])
    scale = np.float32([[0.5, 1, 2]])
    residuals = (factor * expected - expected) / scale[:, None]
    volume, composition = composition_residuals(residuals, expected, np.array([[factor]]), scale)
    np.testing.assert_allclose(volume, residuals, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(composition, 0, atol=1e-4)


@given(seed=SEEDS)
def test_deviances_are_the_formulas_written_out(seed: int) -> None:
    counts, expected = random_counts(seed)
    for fast, slow in (
        (counted_deviance, naive.counted_deviance),
        (composition_deviance, naive.composition_deviance),
    ):
        got = fast(counts, expected)
        np.testing.assert_allclose(got, slow(counts, expected), rtol=1e-4, atol=1e-4)
        assert got.dtype == np.float32


@given(seed=SEEDS)
def test_counted_deviance_is_composition_deviance_plus_that_of_the_sums(seed: int) -> None:
    counts, expected = random_counts(seed)
    sums = (array.sum(axis=-1, keepdims=True) for array in (counts, expected))
    wanted = composition_deviance(counts, expected) + counted_deviance(*sums)
    np.testing.assert_allclose(counted_deviance(counts, expected), wanted, rtol=1e-4, atol=1e-3)


@given(seed=SEEDS, factor=st.integers(1, 10_000))
def test_a_step_composed_as_expected_has_no_composition_deviance(seed: int, factor: int) -> None:
    expected = np.random.default_rng(seed).integers(0, 1000, size=(20, 6)).astype(np.float32)
    expected[:, 0] += 1
    deviance = composition_deviance(factor * expected, expected)
    np.testing.assert_allclose(deviance, 0, atol=1e-3)
    np.testing.assert_array_equal(counted_deviance(expected, expected), 0)


@given(seed=SEEDS)
def test_deviances_are_never_negative_and_nan_where_nothing_is_expected(seed: int) -> None:
    counts, expected = random_counts(seed)
    for deviance in (composition_deviance, counted_deviance):
        assert (deviance(counts.astype(np.float32), expected.astype(np.float32)) >= 0).all()
    expected[0, 0] = 0
    expected[0, 1] = np.nan
    assert np.isnan(composition_deviance(counts, expected)[0, :2]).all()
    assert np.isnan(counted_deviance(counts, expected)[0, 1])


def test_an_empty_step_has_no_composition_deviance() -> None:
    nothing, expected = np.zeros((1, 3), np.int64), np.array([[1.0, 2.0, 3.0]])
    assert composition_deviance(nothing, expected) == 0
    assert counted_deviance(nothing, expected) == 12


def test_by_chance_alone_deviances_are_about_the_degrees_of_freedom() -> None:
    generator = np.random.default_rng(0)
    expected = np.broadcast_to([30.0, 50.0, 20.0, 40.0], (20_000, 4))
    counts = generator.poisson(expected)
    assert counted_deviance(counts, expected).mean() == pytest.approx(4, abs=0.15)
    assert composition_deviance(counts, expected).mean() == pytest.approx(3, abs=0.15)


def test_counts_of_other_shapes_are_refused_and_not_broadcast() -> None:
    for deviance in (composition_deviance, counted_deviance):
        with pytest.raises(ShapeError, match="must be the same"):
            deviance(np.ones((2, 3)), np.ones((1, 3)))


@given(seed=SEEDS)
def test_relative_scores_are_the_formula_written_out(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = np.square(random_residuals(seed)[..., 0])
    training = generator.random(scores.shape) < 0.6
    training[0] = True
    scores[0, 0] = 1
    got = relative_to_usual(scores, training)
    np.testing.assert_allclose(got, naive.relative_to_usual(scores, training), rtol=1e-5)
    assert got.dtype == np.float32


def test_relative_scores_are_1_on_average_in_training() -> None:
    generator = np.random.default_rng(0)
    scores = (generator.gamma(2, size=(3, 2000)) * [[1], [3], [0.5]]).astype(np.float32)
    training = np.arange(2000) < np.array([[2000], [1500], [1000]])
    scores[:, 5] = np.nan
    relative = relative_to_usual(scores, training)
    for own, steps in zip(relative, training, strict=True):
        assert np.nanmean(own[steps]) == pytest.approx(1, abs=0.05)
    alone = relative_to_usual(scores[:1], training[:1])
    assert np.nanmean(alone[training[:1]]) == pytest.approx(1, abs=1e-5)


def test_a_short_history_is_shrunk_towards_all() -> None:
    scores = np.ones((3, 100), np.float32)
    scores[1:] = 5
    training = np.arange(100) < np.array([[100], [100], [1]])
    long, short = relative_to_usual(scores, training)[1:, 0]
    common = (100 + 500 + 5) / 201
    assert 1 < long < 1.05
    assert short == pytest.approx(5 / ((5 + 10 * common) / 11), rel=1e-5)
    assert long < short < 5 / common


def test_an_entity_without_history_is_judged_by_all() -> None:
    scores = np.float32([[2, 2, 2], [3, 4, 6]])
    training = np.array([[True] * 3, [False] * 3])
    np.testing.assert_allclose(relative_to_usual(scores, training)[1], [1.5, 2, 3])


@given(seed=SEEDS)
def test_relative_scores_keep_the_ranking_of_each_entity(seed: int) -> None:
    scores = np.square(random_residuals(seed, masked=0)[..., 0])
    relative = relative_to_usual(scores, np.ones(scores.shape, bool))
    np.testing.assert_array_equal(np.argsort(relative, axis=1), np.argsort(scores, axis=1))


@given(seed=SEEDS, factor=st.floats(0.01, 100))
def test_relative_scores_have_no_unit(seed: int, factor: float) -> None:
    scores = np.square(random_residuals(seed)[..., 0])
    scores[0, 0] = 1
    everything = np.ones(scores.shape, bool)
    np.testing.assert_allclose(
        relative_to_usual(scores * np.float32(factor), everything),
        relative_to_usual(scores, everything),
        rtol=1e-4,
    )


@given(seed=SEEDS)
def test_what_is_usual_does_not_depend_on_steps_outside_training(seed: int) -> None:
    scores = np.square(random_residuals(seed)[..., 0])
    scores[0, 0] = 1
    training = np.broadcast_to(np.arange(9) < 5, scores.shape)
    other = scores.copy()
    other[:, 5:] = 1000
    np.testing.assert_array_equal(
        relative_to_usual(other, training)[:, :5], relative_to_usual(scores, training)[:, :5]
    )


@pytest.mark.parametrize("fill", [0, np.nan])
def test_training_without_any_score_above_0_is_refused(fill: float) -> None:
    scores = np.full((2, 3), fill, np.float32)
    with pytest.raises(ValueError, match="training steps have a score"):
        relative_to_usual(scores, np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="0 training steps have a score"):
        relative_to_usual(np.ones((2, 3), np.float32), np.zeros((2, 3), bool))
