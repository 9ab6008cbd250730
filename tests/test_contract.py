"""Checks of what callers hand over: each error says what was got and how to mend it."""

from typing import Any

import numpy as np
import pytest

from models.contract import (
    validate_cube,
    validate_exposure,
    validate_shares,
    validate_target,
    validate_windows,
    validate_windows_with_data,
)
from models.errors import ShapeError


def test_a_value_that_is_not_finite_is_named_by_its_place() -> None:
    cube = np.zeros((3, 9, 4), np.float32)
    cube[1, 7, 2] = np.nan
    with pytest.raises(ValueError, match="entity 1, step 7, feature 2"):
        validate_cube(cube, np.ones((3, 9), dtype=bool))


@pytest.mark.parametrize(
    ("cube", "observed", "words"),
    [
        (np.zeros((3, 9)), np.ones((3, 9), dtype=bool), "expected float32"),
        (np.zeros((3, 9, 4)), np.ones((3, 9), dtype=bool), "float64"),
        (np.zeros((0, 9, 4), np.float32), np.ones((0, 9), dtype=bool), "none of them 0"),
        (np.zeros((3, 9, 4), np.float32), np.ones((3, 9)), "bool"),
        (np.zeros((3, 9, 4), np.float32), np.ones((9, 3), dtype=bool), r"\(9, 3\)"),
    ],
)
def test_a_cube_of_another_shape_or_dtype_is_refused(
    cube: np.ndarray, observed: np.ndarray, words: str
) -> None:
    with pytest.raises(ShapeError, match=words):
        validate_cube(cube, observed)


def test_a_cube_of_other_features_than_the_models_is_refused() -> None:
    with pytest.raises(ShapeError, match="4 features and the model 5"):
        validate_cube(np.zeros((3, 9, 4), np.float32), np.ones((3, 9), dtype=bool), n_features=5)


@pytest.mark.parametrize("row", [(-1, 0), (2, 0), (0, -1), (0, 6)])
def test_a_window_outside_the_cube_is_named(row: tuple[int, int]) -> None:
    windows = np.array([(1, 5), row], dtype=np.int64)
    with pytest.raises(ValueError, match=rf"windows\[1\] is \(entity {row[0]}, start {row[1]}\)"):
        validate_windows(windows, length=4, n_entities=2, n_steps=9)


@pytest.mark.parametrize(
    "windows", [np.zeros(2, np.int64), np.zeros((1, 3), np.int64), np.zeros((1, 2))]
)
def test_windows_of_another_shape_or_dtype_are_refused(windows: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="int64"):
        validate_windows(windows, length=4, n_entities=2, n_steps=9)


def test_a_window_of_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="length is 0"):
        validate_windows(np.zeros((1, 2), np.int64), length=0, n_entities=2, n_steps=9)


def test_windows_without_an_observed_step_are_refused() -> None:
    observed = np.zeros((1, 9), dtype=bool)
    observed[0, 8] = True
    windows = np.array([[0, 0], [0, 4]])
    with pytest.raises(ValueError, match="no training window covers an observed step"):
        validate_windows_with_data(windows, observed, length=4, name="training")
    validate_windows_with_data(windows, observed, length=5, name="training")
    with pytest.raises(ValueError, match="there are no training windows"):
        validate_windows_with_data(windows[:0], observed, length=4, name="training")


def test_a_target_of_another_shape_dtype_or_with_gaps_is_refused() -> None:
    cube = np.zeros((2, 5, 3), np.float32)
    for target in (cube[:, 1:], cube.astype(float)):
        with pytest.raises(ShapeError, match=r"expected float32 of the cube's shape \(2, 5, 3\)"):
            validate_target(target, cube)
    target = cube.copy()
    target[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 values that are not finite"):
        validate_target(target, cube)


@pytest.mark.parametrize(
    ("exposure", "error", "words"),
    [
        (np.ones((2, 4)), ShapeError, r"\(2, 4\); expected numbers of shape \(2, 5\)"),
        (np.ones((2, 5), dtype=bool), ShapeError, "exposure is bool"),
        (np.full((2, 5), -1), ValueError, "at least 0"),
        (np.full((2, 5), np.nan), ValueError, "finite"),
        (np.zeros((2, 5)), ValueError, "0 in every observed step"),
    ],
)
def test_an_exposure_that_counts_no_events_is_refused(
    exposure: np.ndarray, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        validate_exposure(exposure, np.ones((2, 5), dtype=bool))


@pytest.mark.parametrize("shares", [[0.5, 0.4, 9.0], [1.5, -0.5, 9.0]])
def test_shares_that_are_none_are_named_by_their_place(shares: list[float]) -> None:
    target = np.full((2, 3, 3), 0.5, np.float32)
    target[1, 2] = shares
    observed = np.ones((2, 3), dtype=bool)
    with pytest.raises(ValueError, match=r"features 0 to 1 .*entity 1, step 2"):
        validate_shares(target, observed, (2,))
    observed[1, 2] = False
    validate_shares(target, observed, (2,))


def test_each_group_is_a_whole_of_its_own() -> None:
    target: Any = np.float32([[[0.25, 0.75, 0.1, 0.2, 0.7]]])
    observed = np.array([[True]])
    validate_shares(target, observed, (2, 3))
    with pytest.raises(ValueError, match="features 2 to 3"):
        validate_shares(target, observed, (2, 2))
