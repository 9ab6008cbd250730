"""Laws of representations: they can be undone, and roots of counts are equally noisy everywhere."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from features.cube import Cube
from features.representation import (
    ROOT_COUNT_NOISE,
    Representation,
    block_masks,
    common_volume,
    expected_represented,
    represent,
    restore,
)
from features.vocabulary import Block
from tests import naive_representation

BLOCKS: tuple[Block, ...] = ("quad", "intensity", "quad", "source_sector", "log_volume")
REPRESENTATIONS: tuple[Representation, ...] = get_args(Representation)
KINDS = st.sampled_from(REPRESENTATIONS)
EXPOSURES = arrays.arrays(
    np.int64,
    st.tuples(st.integers(1, 4), st.integers(1, 8)),
    elements=st.one_of(st.integers(0, 3), st.integers(0, 100_000)),
)


def cube_of(values: np.ndarray, exposure: np.ndarray, blocks: tuple[Block, ...]) -> Cube:
    n_entities, n_steps = exposure.shape
    return Cube(
        values=values,
        exposure=exposure,
        entities=tuple(f"country {entity}" for entity in range(n_entities)),
        steps=np.datetime64("2018-01-01", "D") + 7 * np.arange(n_steps),
        features=tuple(f"{block}_{place}" for place, block in enumerate(blocks)),
        blocks=blocks,
        step="week",
    )


@st.composite
def cubes(draw: st.DrawFn) -> Cube:
    """Draw a cube with shares, an intensity and a log volume, some steps of which are empty."""
    exposure = draw(EXPOSURES)
    shape = (*exposure.shape, len(BLOCKS))
    values = draw(arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    values[..., BLOCKS.index("log_volume")] = np.log1p(exposure)
    values[exposure == 0] = np.nan
    return cube_of(values, exposure, BLOCKS)


@given(cube=cubes(), representation=KINDS)
def test_representations_are_those_computed_one_by_one(
    cube: Cube, representation: Representation
) -> None:
    before = cube.values.tobytes(), cube.exposure.tobytes()
    got = represent(cube, representation)
    wanted = naive_representation.represent(cube.values, cube.exposure, BLOCKS, representation)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-20)
    assert got.dtype == np.float32
    assert (cube.values.tobytes(), cube.exposure.tobytes()) == before


@given(cube=cubes(), representation=KINDS)
def test_what_is_represented_can_be_restored_to_rounding_and_empty_steps_stay_empty(
    cube: Cube, representation: Representation
) -> None:
    back = restore(represent(cube, representation), cube.exposure, BLOCKS, representation)
    np.testing.assert_allclose(back, cube.values, rtol=2e-6, atol=1e-6)
    assert back.dtype == np.float32


@given(cube=cubes())
def test_an_empty_step_is_zero_as_root_counts_and_missing_otherwise(cube: Cube) -> None:
    empty = cube.exposure == 0
    assert (represent(cube, "root_counts")[empty] == 0).all()
    assert np.isfinite(represent(cube, "root_counts")).all()
    for representation in ("angular", "proportion"):
        missing = np.isnan(represent(cube, representation))
        assert np.array_equal(missing.all(axis=2), empty)
        assert np.array_equal(missing.any(axis=2), empty)


@given(seed=st.integers(0, 2**32 - 1))
def test_root_counts_squared_are_counts(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 500, size=(2, 7, 3))
    counts[0, 2] = 0
    n = counts.sum(axis=2)
    values = (counts / np.maximum(n, 1)[..., None]).astype(np.float32)
    values[n == 0] = np.nan
    roots = represent(cube_of(values, n, ("event_type",) * 3), "root_counts")
    np.testing.assert_allclose(roots**2, counts, rtol=1e-5)


@pytest.mark.parametrize("n_events", [10, 100, 1000, 100_000])
def test_sampling_noise_of_a_root_count_is_about_one_half_whatever_the_exposure(
    n_events: int,
) -> None:
    generator = np.random.default_rng(0)
    composition = np.array([0.5, 0.3, 0.2])
    exposure = generator.poisson(n_events, size=(1, 20_000))
    counts = generator.multinomial(exposure, composition)
    values = (counts / np.maximum(exposure, 1)[..., None]).astype(np.float32)
    cube = cube_of(values, exposure, ("quad",) * 3)
    assert represent(cube, "root_counts").std(axis=1) == pytest.approx(ROOT_COUNT_NOISE, rel=0.3)
    if n_events >= 100:
        assert represent(cube, "root_counts").std(axis=1) == pytest.approx(0.5, rel=0.04)
    of_proportions = represent(cube, "proportion").std(axis=1)
    assert of_proportions == pytest.approx(
        np.sqrt(composition * (1 - composition) / n_events)[None], rel=0.1
    )


def test_all_of_it_by_hand() -> None:
    blocks: tuple[Block, ...] = ("quad", "quad", "intensity", "log_volume")
    values = np.array([[[0.25, 0.75, 0.875, np.log(17)]]], np.float32)
    cube = cube_of(values, np.array([[16]]), blocks)
    assert represent(cube, "root_counts")[0, 0].tolist() == pytest.approx([2, 12**0.5, 1.5, 4])
    assert represent(cube, "angular")[0, 0].tolist() == pytest.approx(
        [0.5, 0.75**0.5, 0.875, np.log(17)]
    )
    assert np.array_equal(represent(cube, "proportion"), values)


@pytest.mark.parametrize("representation", ["root_counts", "angular"])
def test_a_root_below_zero_counts_as_zero(representation: Representation) -> None:
    blocks: tuple[Block, ...] = ("quad", "intensity", "log_volume")
    below = np.full((1, 1, 3), -1, np.float32)
    share, intensity, volume = restore(below, np.array([[4]]), blocks, representation)[0, 0]
    assert share == 0
    if representation == "root_counts":
        assert (intensity, volume) == (0, 0)
    else:
        assert (intensity, volume) == (-1, -1)


def test_each_feature_is_a_share_an_intensity_or_a_volume() -> None:
    share, intensity, volume = block_masks(BLOCKS)
    assert share.tolist() == [True, False, True, True, False]
    assert intensity.tolist() == [False, True, False, False, False]
    assert volume.tolist() == [False, False, False, False, True]


# What a composition would show


@given(cube=cubes(), factor=st.floats(0.01, 100))
def test_expected_root_counts_are_linear_in_the_root_of_exposure(cube: Cube, factor: float) -> None:
    common = np.array([0.5, 0.8, 0.0, 0.25, 3.0], np.float32)
    one = expected_represented(common, cube.exposure, BLOCKS, "root_counts")
    other = expected_represented(common, factor * cube.exposure, BLOCKS, "root_counts")
    np.testing.assert_allclose(other, np.sqrt(factor) * one, rtol=1e-5)
    assert one.shape == cube.values.shape
    assert other.dtype == one.dtype == np.float32


@given(cube=cubes(), representation=KINDS)
def test_steps_composed_as_expected_show_what_is_expected(
    cube: Cube, representation: Representation
) -> None:
    common = np.array([0.5, 0.8, 0.0, 0.25, 3.0], np.float32)
    composed = replace(cube, values=np.tile(common, (*cube.exposure.shape, 1)))
    expected = expected_represented(common, cube.exposure, BLOCKS, representation)
    assert np.array_equal(expected, represent(composed, representation))
    if representation != "root_counts":
        assert np.array_equal(expected, np.broadcast_to(expected[0, 0], expected.shape))


# What all entities share


@given(exposure=EXPOSURES, data=st.data())
def test_the_common_volume_is_that_computed_one_by_one(
    exposure: np.ndarray, data: st.DataObject
) -> None:
    n_training = data.draw(st.integers(1, exposure.shape[1]))
    got = common_volume(exposure, n_training)
    wanted = naive_representation.common_volume(exposure, n_training)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert got.dtype == np.float32
    assert (got > 0).all()


@given(exposure=EXPOSURES, data=st.data())
def test_an_entity_s_own_events_do_not_change_its_common_volume(
    exposure: np.ndarray, data: st.DataObject
) -> None:
    entity = data.draw(st.integers(0, len(exposure) - 1))
    before = common_volume(exposure, exposure.shape[1])
    exposure[entity] = exposure[entity] ** 2 + 17
    after = common_volume(exposure, exposure.shape[1])
    assert np.array_equal(after[entity], before[entity])


@given(exposure=EXPOSURES)
def test_the_common_volume_of_a_single_entity_is_one(exposure: np.ndarray) -> None:
    assert (common_volume(exposure[:1], exposure.shape[1]) == 1).all()


@given(exposure=EXPOSURES, data=st.data())
def test_what_is_usual_is_taken_from_training_alone(
    exposure: np.ndarray, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, exposure.shape[1] - 1))
    n_training = data.draw(st.integers(1, max(step, 1)))
    before = common_volume(exposure, n_training)
    later = np.arange(exposure.shape[1]) > step
    exposure[:, later] = 3 * exposure[:, later] + 1000
    after = common_volume(exposure, n_training)
    assert np.array_equal(after[:, ~later], before[:, ~later])
    if len(exposure) > 1:
        assert (after[:, later] > before[:, later]).all()


def test_a_crisis_of_one_entity_is_news_of_it_and_a_common_rise_is_not() -> None:
    exposure = np.full((4, 10), 10_000)
    exposure[0, 8] *= 3
    exposure[:, 9] *= 3
    common = common_volume(exposure, 8)
    assert common[0, 8] == 1
    assert common[1:, 8] == pytest.approx(5 / 3, rel=0.01)
    assert common[:, 9] == pytest.approx(3, rel=0.01)
