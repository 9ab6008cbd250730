"""Laws of what simple rules expect: naive loops, and no say for what comes after."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ShapeError
from models.expectations import (
    last_value_expectation,
    principal_components_expectation,
    trailing_expectation,
)
from tests import naive_step_scores as naive

SEEDS = st.integers(0, 2**32 - 1)
LENGTH = 4


def panel(seed: int, n_steps: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Cube `(3, S, 2)` with 0 in masked steps, and the mask."""
    generator = np.random.default_rng(seed)
    observed = generator.random((3, n_steps)) > 0.3
    cube = generator.normal(size=(3, n_steps, 2)).astype(np.float32) * observed[..., None]
    return cube, observed


def windows_of(first: int, end: int, n_entities: int = 3) -> np.ndarray:
    starts = range(first, end - LENGTH + 1)
    return np.array([(entity, start) for entity in range(n_entities) for start in starts])


def by_components(
    cube: np.ndarray, observed: np.ndarray, windows: np.ndarray, **options: Any
) -> np.ndarray:
    given_ = {"training_windows": windows_of(0, 9), "n_components": 3, "seed": 0} | options
    return principal_components_expectation(
        cube, observed, windows=windows, length=LENGTH, **given_
    )


@given(seed=SEEDS)
def test_the_last_value_is_found_by_a_naive_loop_too(seed: int) -> None:
    cube, observed = panel(seed)
    got = last_value_expectation(cube, observed)
    np.testing.assert_array_equal(got, naive.last_value(cube, observed))
    assert got.dtype == np.float32


@given(seed=SEEDS, n_steps=st.integers(1, 20))
def test_the_trailing_mean_is_that_of_a_naive_loop(seed: int, n_steps: int) -> None:
    cube, observed = panel(seed)
    got = trailing_expectation(cube, observed, n_steps=n_steps)
    wanted = naive.trailing(cube, observed, n_steps)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert got.dtype == np.float32


@given(seed=SEEDS)
def test_over_one_observed_step_the_trailing_mean_is_the_last_value(seed: int) -> None:
    cube, _ = panel(seed)
    observed = np.ones(cube.shape[:2], bool)
    trailing = trailing_expectation(cube, observed, n_steps=1)
    np.testing.assert_allclose(trailing, last_value_expectation(cube, observed), atol=1e-6)


def test_what_lies_long_ago_at_another_level_leaves_no_trace() -> None:
    cube = np.concatenate([np.full(50, 1e6), np.full(50, 0.25)]).astype(np.float32)[None, :, None]
    expected = trailing_expectation(cube, np.ones((1, 100), bool), n_steps=10)
    np.testing.assert_allclose(expected[0, 60:], 0.25, rtol=1e-6)


@given(seed=SEEDS, step=st.integers(0, 13))
def test_simple_rules_look_at_no_step_that_is_not_before(seed: int, step: int) -> None:
    (cube, observed), (other, other_observed) = panel(seed), panel(seed + 1)
    other[:, :step], other_observed[:, :step] = cube[:, :step], observed[:, :step]
    other[2], other_observed[2] = cube[2] + 1, ~observed[2]
    for rule in (
        last_value_expectation,
        lambda *panel: trailing_expectation(*panel, n_steps=5),
    ):
        whole = rule(cube, observed)[:2, : step + 1]
        np.testing.assert_array_equal(rule(other, other_observed)[:2, : step + 1], whole)
        cut = rule(cube[:2, : step + 1].copy(), observed[:2, : step + 1].copy())
        np.testing.assert_array_equal(cut, whole)


@given(seed=SEEDS)
def test_values_of_masked_steps_have_no_say(seed: int) -> None:
    cube, observed = panel(seed)
    filled = np.where(observed[..., None], cube, np.float32(99))
    windows = windows_of(0, 14)
    for rule in (
        last_value_expectation,
        lambda *panel: trailing_expectation(*panel, n_steps=5),
        lambda *panel: by_components(*panel, windows),
    ):
        np.testing.assert_array_equal(rule(filled, observed), rule(cube, observed))


@given(seed=SEEDS, n_components=st.integers(1, 6))
def test_components_expect_the_average_of_their_windows(seed: int, n_components: int) -> None:
    cube, observed = panel(seed)
    observed[:, :2] = True
    training_windows, windows = windows_of(0, 9), windows_of(3, 13)
    got = by_components(cube, observed, windows, n_components=n_components)
    wanted = naive.principal_components(
        cube, observed, training_windows, windows, LENGTH, n_components
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)
    assert got.dtype == np.float32


def test_steps_that_no_window_covers_have_no_expectation() -> None:
    cube, observed = panel(0)
    expected = by_components(cube, observed, np.array([[0, 3], [2, 10]]))
    covered = ~np.isnan(expected).any(axis=2)
    assert np.argwhere(covered).tolist() == [
        *([0, step] for step in range(3, 7)),
        *([2, step] for step in range(10, 14)),
    ]


def test_as_many_components_as_values_rebuild_everything() -> None:
    cube, _ = panel(1)
    observed = np.ones(cube.shape[:2], bool)
    expected = by_components(cube, observed, windows_of(0, 14), n_components=LENGTH * 2)
    np.testing.assert_allclose(expected, cube, atol=1e-4)


@given(seed=SEEDS)
def test_components_are_fitted_on_training_windows_alone(seed: int) -> None:
    (cube, observed), (other, other_observed) = panel(seed), panel(seed + 1)
    other[:, :9], other_observed[:, :9] = cube[:, :9], observed[:, :9]
    windows = windows_of(0, 9)
    one, two = by_components(cube, observed, windows), by_components(other, other_observed, windows)
    np.testing.assert_array_equal(one, two)


def test_what_is_refused() -> None:
    cube, observed = panel(2)
    windows = windows_of(0, 14)
    with pytest.raises(ValueError, match="n_steps is 0; it must be at least 1"):
        trailing_expectation(cube, observed, n_steps=0)
    for rule in (last_value_expectation, lambda *panel: by_components(*panel, windows)):
        with pytest.raises(ShapeError, match="observed is bool"):
            rule(cube, observed[:, :3])
        with pytest.raises(ShapeError, match="cube is float64"):
            rule(cube.astype(float), observed)
    with pytest.raises(ValueError, match="reaches out of"):
        by_components(cube, observed, np.array([[0, 11]]))
    with pytest.raises(ValueError, match="no training windows"):
        by_components(cube, observed, windows, training_windows=windows[:0])
