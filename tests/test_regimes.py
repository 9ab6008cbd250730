"""Laws of regimes and of the numbers that they keep."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ShapeError
from models.regimes import Regimes

SIZES = (60, 120, 90, 30)
CENTRES = np.array([[0, 0, 0], [8, 0, 0], [0, 9, 0], [0, 0, 10]])


def clusters(
    sizes: tuple[int, ...] = SIZES, centres: np.ndarray = CENTRES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings in well separated clusters, and the cluster of each."""
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    noise = np.random.default_rng(seed).normal(scale=0.7, size=(len(kinds), 3))
    return (centres[kinds] + noise).astype(np.float32), kinds


@settings(max_examples=10)
@given(shuffle=st.integers(0, 2**32 - 1), seed=st.integers(0, 2**32 - 1))
def test_neither_the_order_of_rows_nor_the_seed_has_a_say_in_the_numbers(
    shuffle: int, seed: int
) -> None:
    embeddings, _ = clusters()
    rows = np.random.default_rng(shuffle).permutation(len(embeddings))
    regimes = Regimes.fit(embeddings, n_regimes=4)
    again = Regimes.fit(embeddings[rows], n_regimes=4, seed=seed)
    np.testing.assert_array_equal(again.assign(embeddings), regimes.assign(embeddings))
    np.testing.assert_allclose(again.centres, regimes.centres, atol=1e-9)


def test_the_order_of_rows_changes_not_a_bit_where_clusters_are_none() -> None:
    embeddings = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    regimes = Regimes.fit(embeddings, n_regimes=[3, 4, 5], sample_size=100)
    again = Regimes.fit(embeddings[::-1].copy(), n_regimes=[3, 4, 5], sample_size=100)
    assert again.to_dict() == regimes.to_dict()


def test_numbers_go_by_how_common_regimes_are() -> None:
    embeddings, kinds = clusters()
    regimes = Regimes.fit(embeddings, n_regimes=4)
    assert regimes.n_windows.tolist() == [120, 90, 60, 30]
    np.testing.assert_array_equal(regimes.assign(embeddings), np.array([2, 0, 1, 3])[kinds])
    assert regimes.assign(embeddings).dtype == np.int32


def test_equally_common_regimes_go_by_their_centres() -> None:
    embeddings, kinds = clusters((50, 50, 50), np.array([[9, 0, 0], [0, 0, 9], [0, 0, 0]]))
    regimes = Regimes.fit(embeddings, n_regimes=3)
    first_dimension = regimes.centres[:, 0]
    assert first_dimension.argmax() == 2
    assert regimes.assign(embeddings)[kinds == 0].tolist() == [2] * 50


def test_the_number_of_separated_clusters_is_found_on_a_sample() -> None:
    embeddings, _ = clusters()
    regimes = Regimes.fit(embeddings, sample_size=80)
    assert len(regimes.numbers) == 4
    assert set(regimes.silhouettes) == set(range(2, 11))
    assert max(regimes.silhouettes, key=regimes.silhouettes.__getitem__) == 4


def test_a_refit_with_one_more_cluster_keeps_the_numbers_and_gives_a_new_one() -> None:
    embeddings, _ = clusters()
    old = Regimes.fit(embeddings, n_regimes=4)
    # The newcomer is the most common, so that by themselves all numbers would move.
    more, more_kinds = clusters((60, 120, 90, 30, 300), np.vstack([CENTRES, [[9, 9, 9]]]), seed=1)
    new = Regimes.fit(more, n_regimes=5, previous=old)
    np.testing.assert_array_equal(new.assign(embeddings), old.assign(embeddings))
    assert new.assign(more)[more_kinds == 4].tolist() == [4] * 300
    assert (Regimes.fit(more, n_regimes=5).assign(embeddings) != old.assign(embeddings)).all()


def test_newcomers_that_old_regimes_would_swallow_do_not_take_a_number_by_their_mass() -> None:
    embeddings, _ = clusters()
    old = Regimes.fit(embeddings, n_regimes=4)
    more, kinds = clusters((60, 120, 90, 30, 300), np.vstack([CENTRES, [[9, 9, 9]]]))
    numbers = np.where(kinds < 4, old.assign(more), -1).astype(np.int32)
    assert set(old.assign(more)[kinds == 4]) <= {0, 1, 3}
    for previous_numbers in (None, numbers):
        new = Regimes.fit(more, n_regimes=5, previous=old, previous_numbers=previous_numbers)
        assert set(new.assign(more)[kinds == 4]) == {4}


def test_a_split_regime_leaves_its_number_to_the_larger_part() -> None:
    apart = np.array([[0, 0, 0], [30, 30, 30], [36, 36, 36]])
    embeddings, kinds = clusters((100, 120, 60), apart)
    old = Regimes.fit(embeddings, n_regimes=2)
    new = Regimes.fit(embeddings, n_regimes=3, previous=old)
    assert [set(old.assign(embeddings)[kinds == kind]) for kind in range(3)] == [{1}, {0}, {0}]
    assert [set(new.assign(embeddings)[kinds == kind]) for kind in range(3)] == [{1}, {0}, {2}]


def test_the_number_of_a_regime_that_is_no_more_is_never_given_again() -> None:
    everything, kinds = clusters()
    first = Regimes.fit(everything, n_regimes=4)
    second = Regimes.fit(everything[kinds != 3], n_regimes=3, previous=first)
    assert (second.numbers.tolist(), second.next_number) == ([0, 1, 2], 4)
    other, other_kinds = clusters(SIZES, np.array([*CENTRES[:3], [-9, -9, -9]]))
    third = Regimes.fit(other, n_regimes=4, previous=Regimes.from_dict(second.to_dict()))
    assert set(third.assign(other)[other_kinds == 3]) == {4}
    at_once = Regimes.fit(other, n_regimes=4, previous=first)
    assert set(at_once.assign(other)[other_kinds == 3]) == {4}
    assert (third.numbers.tolist(), third.next_number) == ([0, 1, 2, 4], 5)


def test_embeddings_of_another_model_are_matched_by_the_old_numbers_of_the_windows() -> None:
    embeddings, _ = clusters()
    old = Regimes.fit(embeddings, n_regimes=4)
    rotated = np.hstack([-embeddings[:, [2, 0, 1]], embeddings[:, :1] * 2]) + np.float32(50)
    numbers = old.assign(embeddings)
    numbers[::7] = -1
    new = Regimes.fit(rotated, n_regimes=4, previous=old, previous_numbers=numbers)
    np.testing.assert_array_equal(new.assign(rotated), old.assign(embeddings))


def test_regimes_that_share_next_to_nothing_are_not_the_same() -> None:
    embeddings, kinds = clusters()
    old = Regimes.fit(embeddings, n_regimes=4)
    numbers = np.random.default_rng(0).integers(0, 4, len(kinds)).astype(np.int32)
    new = Regimes.fit(embeddings, n_regimes=2, previous=old, previous_numbers=numbers * 0 + 3)
    assert new.numbers.tolist() == [3, 4]
    scattered = Regimes.fit(embeddings, n_regimes=4, previous=old, previous_numbers=numbers)
    assert scattered.numbers.tolist() == [4, 5, 6, 7]


def test_json_keeps_every_number() -> None:
    embeddings, _ = clusters()
    regimes = Regimes.fit(embeddings, n_regimes=range(2, 6))
    again = Regimes.from_dict(json.loads(json.dumps(regimes.to_dict(), allow_nan=False)))
    assert again.to_dict() == regimes.to_dict()
    assert again.numbers.dtype == np.int32
    np.testing.assert_array_equal(again.assign(embeddings), regimes.assign(embeddings))
    with pytest.raises(ValueError, match="format version 2"):
        Regimes.from_dict(regimes.to_dict() | {"format_version": 2})
    with pytest.raises(ValueError, match="Fit them again"):
        Regimes.from_dict(regimes.to_dict() | {"colour": 1})


def test_each_window_has_the_nearest_centre_and_dimensions_weigh_alike() -> None:
    embeddings = np.random.default_rng(2).normal(size=(200, 3)).astype(np.float32)
    embeddings[:, 0] *= 1000
    embeddings = np.hstack([embeddings, np.full((200, 1), 0.1, np.float32)])
    regimes = Regimes.fit(embeddings, n_regimes=5)
    z = (embeddings - embeddings.mean(0, dtype=np.float64))[:, :3]
    z /= embeddings[:, :3].std(axis=0, dtype=np.float64)
    squared = ((z[:, None] - regimes.centres[None, :, :3]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(regimes.assign(embeddings), squared.argmin(axis=1))
    assert regimes.assign(embeddings[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_regimes": 0}, "at least 1"),
        ({"n_regimes": []}, "at least 1"),
        ({"n_regimes": [1, 2]}, "at least 2 each"),
        ({"n_regimes": 300}, "300 different windows for 300 regimes"),
        ({"n_regimes": [2, 9], "sample_size": 9}, "sample_size is 9"),
        ({"embeddings": np.float32([[0], [np.inf]])}, r"embeddings\[1\] is not finite"),
        ({"previous_numbers": np.zeros(300, np.int32)}, "needs previous"),
    ],
)
def test_what_cannot_be_clustered_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Regimes.fit(**({"embeddings": clusters()[0]} | changed))


def test_arrays_that_do_not_fit_are_refused() -> None:
    embeddings, _ = clusters()
    regimes = Regimes.fit(embeddings, n_regimes=2)
    with pytest.raises(ShapeError, match="expected float32"):
        Regimes.fit(embeddings.astype(np.float64))
    with pytest.raises(ShapeError, match=r"shape \(N, 3\)"):
        regimes.assign(embeddings[:, :2])
    with pytest.raises(ShapeError, match="give previous_numbers"):
        Regimes.fit(embeddings[:, :2].copy(), previous=regimes)
    with pytest.raises(ShapeError, match="a number a window"):
        Regimes.fit(embeddings, previous=regimes, previous_numbers=np.zeros(9, np.int32))
    with pytest.raises(ValueError, match="only numbers below 2"):
        Regimes.fit(embeddings, previous=regimes, previous_numbers=np.full(300, 2, np.int32))
