"""Laws of differencing and standardising, and of their inverses."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from features.transforms import Prior, Standardiser, TransformConfig, difference, undifference
from tests import naive, naive_representation

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 4))
KINDS: tuple[Literal["entity", "feature", "none"], ...] = ("entity", "feature", "none")


@st.composite
def observed_values(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw float32 (E, S, F), anything at all in masked steps, and bool (E, S)."""
    shape = draw(SHAPES)
    values = draw(arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    observed = draw(arrays.arrays(np.bool_, shape[:2]))
    junk = draw(st.sampled_from([0.0, 7.0, np.nan, np.inf]))
    values[~observed] = junk
    return values, observed


# Differencing


@settings(max_examples=100, deadline=None)
@given(drawn=observed_values())
def test_differences_are_those_taken_one_by_one(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, observed = drawn
    got = difference(values, observed)
    assert np.array_equal(got, naive.difference(values, observed))
    assert got.dtype == np.float32
    assert (got[~observed] == 0).all()


@settings(max_examples=100, deadline=None)
@given(drawn=observed_values())
def test_differencing_and_its_inverse_are_a_round_trip(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    values, observed = drawn
    back = undifference(difference(values, observed), observed)
    assert np.isnan(back[~observed]).all()
    np.testing.assert_allclose(back[observed], values[observed], rtol=0, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(drawn=observed_values())
def test_adding_up_is_done_one_by_one(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, observed = drawn
    changes = difference(values, observed)
    np.testing.assert_allclose(
        undifference(changes, observed), naive.undifference(changes, observed), rtol=0, atol=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(drawn=observed_values())
def test_inputs_are_not_changed(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, observed = drawn
    before = values.copy(), observed.copy()
    difference(values, observed)
    Standardiser(
        mean=np.ones((1, values.shape[2]), np.float32),
        scale=np.full((1, values.shape[2]), 2, np.float32),
    ).transform(values, observed)
    assert values.tobytes() == before[0].tobytes()
    assert observed.tobytes() == before[1].tobytes()


def test_a_gap_is_bridged_from_the_last_observed_step() -> None:
    nan = np.nan
    values = np.array([[[nan], [0.5], [nan], [nan], [0.75], [0.25]]], np.float32)
    observed = np.array([[False, True, False, False, True, True]])
    assert difference(values, observed).ravel().tolist() == [0, 0.5, 0, 0, 0.25, -0.5]


def test_entities_are_differenced_apart() -> None:
    values = np.array([[[1.0], [2.0]], [[10.0], [30.0]]], np.float32)
    observed = np.ones((2, 2), dtype=bool)
    assert difference(values, observed)[..., 0].tolist() == [[1, 1], [10, 20]]


# Standardising


@settings(max_examples=100, deadline=None)
@given(drawn=observed_values(), kind=st.sampled_from(KINDS))
def test_inverse_of_transform_is_the_input_to_rounding(
    drawn: tuple[np.ndarray, np.ndarray], kind: Literal["entity", "feature", "none"]
) -> None:
    values, observed = drawn
    if not observed.any():
        observed[0, 0], values[0, 0] = True, 0.5
    standardiser = Standardiser.fit(values, observed, TransformConfig(standardise=kind))
    scaled = standardiser.transform(values, observed)
    assert scaled.dtype == np.float32
    assert np.isfinite(scaled).all()
    assert (scaled[~observed] == 0).all()
    back = standardiser.inverse(scaled)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back[observed], values[observed], rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(drawn=observed_values(), kind=st.sampled_from(KINDS))
def test_statistics_are_finite_positive_and_blind_to_masked_steps(
    drawn: tuple[np.ndarray, np.ndarray], kind: Literal["entity", "feature", "none"]
) -> None:
    values, observed = drawn
    observed[0, 0], values[0, 0] = True, 0.5
    config = TransformConfig(standardise=kind)
    one = Standardiser.fit(values, observed, config)
    other = Standardiser.fit(np.where(observed[..., None], values, -3), observed, config)
    for statistic in ("mean", "scale"):
        got = getattr(one, statistic)
        rows = values.shape[0] if kind == "entity" else 1
        assert got.shape == (rows, values.shape[2])
        assert got.dtype == np.float32
        assert np.isfinite(got).all()
        assert np.array_equal(got, getattr(other, statistic))
    assert (one.scale > 0).all()


def wavy(n_entities: int, n_steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return entities with levels of their own and features of equal variation, all observed."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(-5, 5, size=(n_entities, 1, 3))
    values = (level + rng.standard_normal((n_entities, n_steps, 3))).astype(np.float32)
    return values, np.ones((n_entities, n_steps), dtype=bool)


def test_by_feature_each_feature_has_mean_zero_and_deviation_one() -> None:
    values, observed = wavy(4, 50)
    standardiser = Standardiser.fit(values, observed, TransformConfig(standardise="feature"))
    scaled = standardiser.transform(values, observed)
    assert scaled.mean(axis=(0, 1)) == pytest.approx(0, abs=1e-5)
    assert scaled.std(axis=(0, 1)) == pytest.approx(1, abs=1e-5)


def test_by_entity_a_long_history_has_about_mean_zero_and_deviation_one() -> None:
    values, observed = wavy(4, 5000)
    config = TransformConfig(standardise="entity", min_scale=0.01)
    scaled = Standardiser.fit(values, observed, config).transform(values, observed)
    assert scaled.mean(axis=1) == pytest.approx(0, abs=0.02)
    assert scaled.std(axis=1) == pytest.approx(1, abs=0.05)


def test_an_entity_never_observed_has_the_statistics_of_all() -> None:
    values, observed = wavy(3, 40)
    observed[2] = False
    common = Standardiser.fit(values, observed, TransformConfig(standardise="feature"))
    own = Standardiser.fit(values, observed, TransformConfig(standardise="entity"))
    assert own.mean[2] == pytest.approx(common.mean[0], rel=1e-5)
    assert own.scale[2] == pytest.approx(common.scale[0], rel=1e-5)


def test_the_fewer_steps_an_entity_has_the_nearer_its_statistics_are_to_those_of_all() -> None:
    values = np.zeros((2, 400, 1), np.float32)
    values[0] = 1
    distances = []
    for n_steps in (1, 10, 100, 400):
        observed = np.ones((2, 400), dtype=bool)
        observed[0, n_steps:] = False
        fitted = Standardiser.fit(values, observed, TransformConfig(standardise="entity"))
        distances.append(1 - float(fitted.mean[0, 0]))
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.8
    assert distances[-1] < 0.05


@pytest.mark.parametrize("kind", ["entity", "feature"])
def test_a_feature_that_hardly_varies_is_not_blown_up(kind: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 100, 2)).astype(np.float32)
    values[..., 1] *= 1e-6
    observed = np.ones((2, 100), dtype=bool)
    config = TransformConfig(standardise=kind, min_scale=0.5)
    fitted = Standardiser.fit(values, observed, config)
    assert fitted.scale[:, 1].min() > 0.1
    assert abs(fitted.transform(values, observed)[..., 1]).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_never_vary_become_zero_or_stay(kind: Any) -> None:
    values, observed = np.full((2, 5, 3), 0.25, np.float32), np.ones((2, 5), dtype=bool)
    fitted = Standardiser.fit(values, observed, TransformConfig(standardise=kind))
    wanted = values if kind == "none" else np.zeros_like(values)
    np.testing.assert_allclose(fitted.transform(values, observed), wanted, atol=1e-6)


# What is known beforehand


@st.composite
def known_beforehand(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Prior]:
    """Draw values, which of them are observed, and a prior with a mean, noise and levels."""
    values, observed = draw(observed_values())
    observed[0, 0], values[0, 0] = True, 0.5
    n_entities, n_steps, n_features = values.shape
    mean = draw(
        arrays.arrays(np.float32, (n_entities, n_features), elements=st.floats(0, 9, width=32))
    )
    level = draw(
        arrays.arrays(np.float32, (n_entities, n_steps), elements=st.floats(0.25, 4, width=32))
    )
    return values, observed, Prior(mean=mean, noise=draw(st.sampled_from([0.01, 0.5])), level=level)


@settings(max_examples=100, deadline=None)
@given(drawn=known_beforehand())
def test_statistics_by_entity_are_those_computed_one_by_one(
    drawn: tuple[np.ndarray, np.ndarray, Prior],
) -> None:
    values, observed, prior = drawn
    fitted = Standardiser.fit(values, observed, prior=prior)
    mean, scale = naive_representation.entity_statistics(
        values, observed, prior.level, prior.mean, prior.noise
    )
    np.testing.assert_allclose(fitted.mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted.scale, scale, rtol=1e-4, atol=1e-5)
    assert fitted.mean.dtype == fitted.scale.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(drawn=known_beforehand(), kind=st.sampled_from(["entity", "feature"]))
def test_with_levels_too_the_inverse_of_transform_is_the_input_to_rounding(
    drawn: tuple[np.ndarray, np.ndarray, Prior], kind: Literal["entity", "feature"]
) -> None:
    values, observed, prior = drawn
    config = TransformConfig(standardise=kind)
    fitted = Standardiser.fit(values, observed, config, prior=prior)
    assert (fitted.scale >= np.float32(prior.noise)).all()
    scaled = fitted.transform(values, observed)
    assert scaled.dtype == np.float32
    assert (scaled[~observed] == 0).all()
    np.testing.assert_allclose(
        fitted.inverse(scaled)[observed], values[observed], rtol=1e-4, atol=1e-4
    )


@settings(max_examples=60, deadline=None)
@given(drawn=known_beforehand(), kind=st.sampled_from(["entity", "feature"]))
def test_levels_of_masked_steps_have_no_say_in_the_statistics(
    drawn: tuple[np.ndarray, np.ndarray, Prior], kind: Literal["entity", "feature"]
) -> None:
    values, observed, prior = drawn
    assert prior.level is not None
    config = TransformConfig(standardise=kind)
    one = Standardiser.fit(values, observed, config, prior=prior)
    moved = np.where(observed, prior.level, 3 + prior.level)
    other = Standardiser.fit(
        values, observed, config, prior=Prior(mean=prior.mean, noise=prior.noise, level=moved)
    )
    assert np.array_equal(other.mean, one.mean)
    assert np.array_equal(other.scale, one.scale)


@pytest.mark.parametrize("kind", ["entity", "feature"])
def test_values_that_follow_the_level_are_as_expected(kind: Any) -> None:
    level = np.random.default_rng(0).uniform(0.5, 2, size=(3, 200)).astype(np.float32)
    values = level[..., None] * np.float32([4, 0.5])
    prior = Prior(mean=np.full((3, 2), [4, 0.5], np.float32), noise=0.5, level=level)
    observed = np.ones((3, 200), bool)
    config = TransformConfig(standardise=kind)
    fitted = Standardiser.fit(values, observed, config, prior=prior)
    np.testing.assert_allclose(fitted.transform(values, observed), 0, atol=1e-5)
    np.testing.assert_allclose(fitted.inverse(np.zeros_like(values)), values, rtol=1e-5)
    assert fitted.scale == pytest.approx(0.5)
    plain = Standardiser.fit(values, observed, config)
    assert np.abs(plain.transform(values, observed)).max() > 1


def test_means_of_entities_are_shrunk_towards_what_is_known_of_each() -> None:
    values = np.full((3, 30, 1), 9, np.float32)
    observed = np.zeros((3, 30), bool)
    observed[0], observed[1, 0] = True, True
    fitted = Standardiser.fit(values, observed, prior=Prior(mean=np.float32([[1], [2], [3]])))
    assert fitted.mean[:, 0].tolist() == pytest.approx([(270 + 10) / 40, (9 + 20) / 11, 3])


def test_left_as_they_are_values_have_neither_level_nor_noise() -> None:
    values, observed = wavy(2, 9)
    prior = Prior(mean=np.ones((2, 3), np.float32), noise=7, level=np.full((2, 9), 3, np.float32))
    fitted = Standardiser.fit(values, observed, TransformConfig(standardise="none"), prior=prior)
    assert fitted.level is None
    assert np.array_equal(fitted.transform(values, observed), values)


def test_nothing_observed_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing observed to standardise by"):
        Standardiser.fit(np.zeros((1, 3, 2), np.float32), np.zeros((1, 3), dtype=bool))


@pytest.mark.parametrize("min_scale", [0.0, -1.0])
def test_a_config_out_of_range_is_refused_by_name(min_scale: float) -> None:
    with pytest.raises(ValueError, match=f"min_scale={min_scale}"):
        TransformConfig(min_scale=min_scale)
