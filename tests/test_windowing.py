"""Laws of gathering windows, and the checks of cubes and windows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ShapeError
from models.windowing import (
    WindowedCube,
    validate_cube,
    validate_windows,
    validate_windows_with_data,
)
from tests import naive


@settings(max_examples=30, deadline=None)
@given(data=st.data(), length=st.integers(1, 5))
def test_gathered_windows_are_slices_of_the_cube(data: st.DataObject, length: int) -> None:
    cube = np.arange(3 * 7 * 2, dtype=np.float32).reshape(3, 7, 2)
    observed = cube[..., 0] % 3 > 0
    row = st.tuples(st.integers(0, 2), st.integers(0, 7 - length))
    windows = np.array(data.draw(st.lists(row, min_size=1, max_size=9)), dtype=np.int64)
    placed = WindowedCube.place(cube, observed, length=length, device="cpu")
    batch_size = data.draw(st.integers(1, 10))
    batches = list(placed.batches(placed.windows(windows), batch_size))
    assert np.array_equal(torch.cat([rows for rows, _, _ in batches]), windows)
    got_values = torch.cat([x for _, x, _ in batches]).numpy()
    got_masks = torch.cat([mask for _, _, mask in batches]).numpy()
    for index, window in enumerate(windows):
        assert np.array_equal(got_values[index], naive.window(cube, window, length))
        assert np.array_equal(got_masks[index], naive.window(observed, window, length))


def test_the_cube_is_not_copied_on_the_cpu_and_may_be_read_only() -> None:
    cube, observed = np.zeros((2, 4, 1), np.float32), np.ones((2, 4), dtype=bool)
    placed = WindowedCube.place(cube, observed, length=2, device="cpu")
    assert placed.values.data_ptr() == cube.ctypes.data
    cube.flags.writeable = observed.flags.writeable = False
    WindowedCube.place(cube, observed, length=2, device="cpu")


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
