"""Laws of the windows that are found to be like a window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ShapeError, analogues
from models.analogues import nearest_analogues
from tests import naive_analogues


def panel(
    seed: int, *, n_entities: int = 4, n_steps: int = 12, whole_numbers: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings and windows in random order, some left out; whole numbers bring ties."""
    generator = np.random.default_rng(seed)
    windows = np.argwhere(generator.random((n_entities, n_steps)) < 0.8)
    generator.shuffle(windows)
    if whole_numbers:
        return generator.integers(0, 3, (len(windows), 2)).astype(np.float32), windows
    return generator.normal(3, 2, (len(windows), 5)).astype(np.float32), windows


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 5),
    n_neighbours=st.integers(1, 6),
    min_lag=st.sampled_from([0, 1, 4, None]),
    same_entity=st.booleans(),
    whole_numbers=st.booleans(),
    block_bytes=st.sampled_from([1, 500, 2**26]),
)
def test_analogues_are_those_of_the_oracle_ties_by_row_whatever_the_block(
    seed: int,
    length: int,
    n_neighbours: int,
    min_lag: int | None,
    same_entity: bool,
    whole_numbers: bool,
    block_bytes: int,
) -> None:
    embeddings, windows = panel(seed, whole_numbers=whole_numbers)
    options = {"length": length, "n_neighbours": n_neighbours}
    options |= {"min_lag": min_lag, "same_entity": same_entity}
    found = nearest_analogues(embeddings, windows, **options, block_bytes=block_bytes)
    positions, distances = naive_analogues.nearest_analogues(embeddings, windows, **options)
    np.testing.assert_array_equal(found.positions, positions)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)
    assert (found.positions.dtype, found.distances.dtype) == (np.int64, np.float32)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), pool=st.integers(1, 12), whole_numbers=st.booleans())
def test_a_pool_that_is_too_small_is_noticed(seed: int, pool: int, whole_numbers: bool) -> None:
    embeddings, windows = panel(seed, n_entities=8, whole_numbers=whole_numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analogues._Search, "_max_pool", pool)
        found = nearest_analogues(embeddings, windows, length=4, n_neighbours=3)
    positions, _ = naive_analogues.nearest_analogues(embeddings, windows, length=4, n_neighbours=3)
    np.testing.assert_array_equal(found.positions, positions)


def test_distances_that_float32_products_cannot_tell_apart_are_told_apart() -> None:
    # Far from the training windows the squares are 1e8 times the squared distances.
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(400, 6)).astype(np.float32)
    embeddings[200:] = 3000 + generator.normal(scale=0.3, size=(200, 6))
    windows = np.stack([np.arange(400), np.zeros(400, int)], axis=1)
    training = np.arange(400) < 200
    options = {"length": 1, "n_neighbours": 4, "training": training}
    found = nearest_analogues(embeddings, windows, **options)
    positions, distances = naive_analogues.nearest_analogues(embeddings, windows, **options)
    np.testing.assert_array_equal(found.positions, positions)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)


def test_a_hand_worked_panel() -> None:
    # Entity 0 at steps 0 to 3 and 6, entity 1 at steps 1, 2 and 7, on a line.
    windows = np.array([[0, 0], [0, 1], [0, 2], [0, 3], [0, 6], [1, 1], [1, 2], [1, 7]])
    line = np.float32([0, 1, 2, 3, 2.1, 5, 4, 2])[:, None]
    found = nearest_analogues(
        line, windows, length=3, n_neighbours=3, training=np.isin(line[:, 0], [0, 2])
    )
    assert found.positions.tolist() == [
        [-1, -1, -1],  # nothing is earlier
        [5, -1, -1],  # the other entity's window of the same start; its own overlap
        [6, -1, -1],  # at a distance of 2; the other one overlaps it
        [6, 0, -1],  # a distance of 1, and its own of three steps before
        [2, 6, -1],  # 0.1; windows 0, 1 and 3 overlap window 2
        [1, -1, -1],  # window 0 is an overlapping shift of it
        [2, -1, -1],
        [2, 4, 6],  # 0; 0.1, four steps later; its own other event
    ]


def test_one_event_is_named_once_however_many_windows_cover_it() -> None:
    embeddings, windows = panel(3, n_entities=6, n_steps=30)
    found = nearest_analogues(embeddings, windows, length=5, n_neighbours=5)
    for positions in found.positions:
        taken = windows[positions[positions >= 0]]
        same = taken[:, None, 0] == taken[None, :, 0]
        near = np.abs(taken[:, None, 1] - taken[None, :, 1]) < 5
        assert (same & near).sum() == len(taken)


def test_what_comes_later_changes_nothing() -> None:
    embeddings, windows = panel(4, n_steps=20)
    training = windows[:, 1] < 8
    known = windows[:, 1] < 14
    late = nearest_analogues(embeddings, windows, length=3, n_neighbours=4, training=training)
    early = nearest_analogues(
        embeddings[known], windows[known], length=3, n_neighbours=4, training=training[known]
    )
    rows = np.flatnonzero(known)
    expected = np.where(early.positions < 0, -1, rows[early.positions])
    np.testing.assert_array_equal(late.positions[known], expected)
    np.testing.assert_array_equal(late.distances[known], early.distances)


def test_queries_are_the_rows_of_all() -> None:
    embeddings, windows = panel(5)
    rows = np.array([7, 2, 7, 0])
    options = {"length": 3, "n_neighbours": 2}
    whole = nearest_analogues(embeddings, windows, **options)
    some = nearest_analogues(embeddings, windows, **options, queries=rows)
    np.testing.assert_array_equal(some.positions, whole.positions[rows])
    np.testing.assert_array_equal(some.distances, whole.distances[rows])


def test_the_unit_of_a_dimension_has_no_say() -> None:
    embeddings, windows = panel(6)
    options = {"length": 3, "n_neighbours": 3}
    scaled = embeddings * np.float32([1, 1024, 2**-12, 8, 1])
    found = nearest_analogues(embeddings, windows, **options)
    again = nearest_analogues(scaled, windows, **options)
    np.testing.assert_array_equal(found.positions, again.positions)


def test_a_dimension_that_does_not_vary_has_no_say() -> None:
    embeddings, windows = panel(7)
    constant = np.full((len(windows), 1), 0.1, np.float32)
    found = nearest_analogues(embeddings, windows, length=3, n_neighbours=3)
    wider = nearest_analogues(np.hstack([embeddings, constant]), windows, length=3, n_neighbours=3)
    np.testing.assert_array_equal(found.positions, wider.positions)


def test_without_windows_or_candidates_nothing_is_found() -> None:
    none = np.zeros((0, 2), np.int64)
    empty = nearest_analogues(np.zeros((0, 3), np.float32), none, length=2, n_neighbours=4)
    assert empty.positions.shape == empty.distances.shape == (0, 4)
    one = nearest_analogues(np.ones((1, 3), np.float32), np.array([[0, 5]]), length=2)
    assert one.positions.tolist() == [[-1] * 5]
    assert np.isnan(one.distances).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embeddings": np.zeros((3, 2))}, "expected float32 of shape"),
        ({"embeddings": np.zeros((2, 2), np.float32)}, "a row a window"),
        ({"windows": np.zeros((3, 3), np.int64)}, "rows .entity, start."),
        ({"training": np.ones(3)}, "expected bool"),
        ({"queries": np.array([[0]])}, "expected int64 of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed: dict[str, np.ndarray], message: str) -> None:
    given = {"embeddings": np.zeros((3, 2), np.float32)}
    given |= {"windows": np.array([[0, 0], [0, 1], [1, 0]])}
    with pytest.raises(ShapeError, match=message):
        nearest_analogues(**(given | changed), length=2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embeddings": np.float32([[0], [np.nan], [1]])}, r"embeddings\[1\] is not finite"),
        ({"windows": np.array([[0, 0], [0, 1], [0, 0]])}, "1 of 3 windows repeat another"),
        ({"training": np.zeros(3, bool)}, "training holds no window"),
        ({"queries": np.array([3])}, "out of the 3 windows"),
        ({"length": 0}, "length is 0"),
        ({"n_neighbours": 0}, "n_neighbours is 0"),
        ({"block_bytes": 0}, "block_bytes is 0"),
        ({"min_lag": -1}, "min_lag is -1"),
    ],
)
def test_values_that_make_no_sense_are_refused(changed: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"embeddings": np.float32([[0], [2], [1]]), "length": 2}
    given |= {"windows": np.array([[0, 0], [0, 1], [1, 0]])}
    with pytest.raises(ValueError, match=message):
        nearest_analogues(**(given | changed))
