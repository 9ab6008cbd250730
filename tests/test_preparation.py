"""Laws of preparing a cube: masked steps are 0, and nothing is learnt from after training."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cube import Cube
from features.preparation import Preparation, Prepared, prepare
from features.representation import Representation, common_volume, represent, restore
from features.split import PARTS, Split, SplitConfig
from features.transforms import TransformConfig, undifference
from features.vocabulary import Block
from features.windows import WindowConfig
from tests import naive, naive_representation

WINDOWS = WindowConfig(length=3, min_step_events=5, min_window_events=1)
REPRESENTATIONS: tuple[Representation, ...] = get_args(Representation)
BLOCKS: tuple[Block, ...] = ("quad", "quad", "quad", "quad", "intensity", "log_volume")
TRANSFORMS = st.builds(
    TransformConfig,
    representation=st.sampled_from(REPRESENTATIONS),
    common_volume=st.booleans(),
    difference=st.booleans(),
    standardise=st.sampled_from(["entity", "feature", "none"]),
)
SPLIT = SplitConfig(validation=0.2, held_out=0.2, min_steps=0)


def make_cube(seed: int, *, n_entities: int = 3, n_steps: int = 40, busy: float = 0.8) -> Cube:
    """Return a cube of all kinds of feature; some steps are empty, some have few events."""
    rng = np.random.default_rng(seed)
    exposure = rng.integers(5, 40, size=(n_entities, n_steps))
    quiet = rng.random(exposure.shape) > busy
    exposure[quiet] = rng.integers(0, 5, size=quiet.sum())
    shares = rng.dirichlet(np.ones(4), size=exposure.shape)
    others = np.stack([rng.random(exposure.shape), np.log1p(exposure)], axis=-1)
    return cube_of(np.concatenate([shares, others], axis=-1), exposure, BLOCKS)


def cube_of(values: np.ndarray, exposure: np.ndarray, blocks: tuple[Block, ...]) -> Cube:
    """Return a cube of weeks of countries A, B, ..., without values where there are no events."""
    n_entities, n_steps = exposure.shape
    return Cube(
        values=np.where(exposure[..., None] > 0, values, np.nan).astype(np.float32),
        exposure=exposure,
        entities=tuple("ABCDEFG"[:n_entities]),
        steps=np.datetime64("2018-01-01", "D") + 7 * np.arange(n_steps),
        features=tuple(f"{block}_{place}" for place, block in enumerate(blocks)),
        blocks=blocks,
        step="week",
    )


def make_ready(cube: Cube, transform: TransformConfig) -> Prepared:
    """Prepare with the configuration of these tests."""
    return prepare(cube, windows=WINDOWS, split=SPLIT, transform=transform)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), transform=TRANSFORMS)
def test_masked_steps_are_zero_and_nothing_is_missing(
    seed: int, transform: TransformConfig
) -> None:
    cube = make_cube(seed)
    prepared = make_ready(cube, transform)
    assert np.array_equal(prepared.observed, cube.exposure >= 5)
    assert (prepared.values[~prepared.observed] == 0).all()
    assert np.isfinite(prepared.values).all()
    assert prepared.values.dtype == prepared.represented.dtype == np.float32
    assert prepared.representation == transform.representation
    wanted = represent(cube, transform.representation)
    assert np.array_equal(prepared.represented, wanted, equal_nan=True)
    assert prepared.values.shape == cube.values.shape


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), transform=TRANSFORMS)
def test_nothing_before_the_end_of_training_depends_on_what_comes_after(
    seed: int, transform: TransformConfig
) -> None:
    cube = make_cube(seed)
    one = make_ready(cube, transform)
    end = one.split.training_end
    later = make_cube(seed + 1)
    values, exposure = cube.values.copy(), cube.exposure.copy()
    values[:, end:], exposure[:, end:] = 10 * later.values[:, end:], later.exposure[:, end:]
    other = make_ready(replace(cube, values=values, exposure=exposure), transform)
    assert np.array_equal(other.standardiser.mean, one.standardiser.mean)
    assert np.array_equal(other.standardiser.scale, one.standardiser.scale)
    if one.standardiser.level is not None and other.standardiser.level is not None:
        assert np.array_equal(other.standardiser.level[:, :end], one.standardiser.level[:, :end])
    assert np.array_equal(other.values[:, :end], one.values[:, :end])
    assert not np.array_equal(other.values[:, end:], one.values[:, end:])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), transform=TRANSFORMS)
def test_no_step_depends_on_a_later_one_once_the_statistics_stand(
    seed: int, transform: TransformConfig
) -> None:
    cube = make_cube(seed)
    one = make_ready(cube, transform)
    step = one.split.held_out_start + 2
    values, exposure = cube.values.copy(), cube.exposure.copy()
    values[:, step], exposure[:, step] = 0.5, 3 * exposure[:, step] + 9
    other = make_ready(replace(cube, values=values, exposure=exposure), transform)
    assert not np.array_equal(other.values[:, step], one.values[:, step])
    assert np.array_equal(other.values[:, :step], one.values[:, :step])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), transform=TRANSFORMS)
def test_what_is_observed_can_be_had_back(seed: int, transform: TransformConfig) -> None:
    cube = make_cube(seed)
    prepared = make_ready(cube, transform)
    levels = prepared.values
    if transform.difference:
        levels = undifference(levels, prepared.observed)
    back = prepared.standardiser.inverse(levels)
    seen = prepared.observed
    np.testing.assert_allclose(back[seen], prepared.represented[seen], rtol=0, atol=2e-5)
    restored = restore(back, cube.exposure, cube.blocks, prepared.representation)
    np.testing.assert_allclose(restored[seen], cube.values[seen], rtol=0, atol=1e-4)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_without_transforms_the_representation_is_as_it_was(representation: Representation) -> None:
    cube = make_cube(3)
    prepared = make_ready(cube, TransformConfig(representation=representation, standardise="none"))
    seen = prepared.observed
    assert np.array_equal(prepared.values[seen], represent(cube, representation)[seen])
    if representation == "proportion":
        assert np.array_equal(prepared.values[seen], cube.values[seen])


# Silence


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), representation=st.sampled_from(REPRESENTATIONS))
def test_silence_is_an_observation_of_root_counts_and_of_nothing_else(
    seed: int, representation: Representation
) -> None:
    cube = make_cube(seed, busy=0.5)
    windows = replace(WINDOWS, min_step_events=0)
    transform = TransformConfig(representation=representation)
    prepared = prepare(cube, windows=windows, split=SPLIT, transform=transform)
    if representation == "root_counts":
        assert prepared.observed.all()
        assert (prepared.represented[cube.exposure == 0] == 0).all()
    else:
        assert np.array_equal(prepared.observed, cube.exposure > 0)
        windows = replace(WINDOWS, min_step_events=1)
    assert np.isfinite(prepared.values).all()
    wanted = naive.find_windows(cube.exposure, windows)
    assert prepared.windows.index.tolist() == [[entity, start] for entity, start, _ in wanted]


def test_silence_where_there_usually_are_events_stands_out() -> None:
    exposure = np.full((3, 40), 100)
    exposure[0, 35] = 0
    cube = cube_of(np.full((3, 40, 2), 0.5), exposure, ("quad", "quad"))
    windows = replace(WINDOWS, min_step_events=0)
    values = prepare(cube, windows=windows, split=SPLIT).values
    assert (values[0, 35] < -10).all()
    assert np.abs(values[0, 36:]).max() < 0.1
    masked = prepare(cube, windows=replace(windows, min_step_events=1), split=SPLIT).values
    assert (masked[0, 35] == 0).all()


# Root counts: noise, exposure and what all entities share


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), is_common=st.booleans(), min_step_events=st.integers(0, 5))
def test_statistics_of_root_counts_are_those_computed_one_by_one(
    seed: int, is_common: bool, min_step_events: int
) -> None:
    cube = make_cube(seed)
    end = make_ready(cube, TransformConfig()).split.training_end
    got = prepare(
        cube,
        windows=replace(WINDOWS, min_step_events=min_step_events),
        split=SPLIT,
        transform=TransformConfig(common_volume=is_common),
    ).standardiser
    seen = (cube.exposure >= min_step_events) & (np.arange(40) < end)
    level = np.ones(cube.exposure.shape)
    if is_common:
        level = np.sqrt(naive_representation.common_volume(cube.exposure, end))
        assert got.level is not None
        np.testing.assert_allclose(got.level, level, rtol=1e-6)
    else:
        assert got.level is None
    before = naive_representation.prior_mean(cube.values, cube.exposure, seen, level, cube.blocks)
    roots = naive_representation.represent(cube.values, cube.exposure, cube.blocks, "root_counts")
    mean, scale = naive_representation.entity_statistics(roots, seen, level, before, 0.5)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.scale, scale, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), difference=st.booleans(), by_entity=st.booleans())
def test_the_scale_of_root_counts_is_never_below_their_noise(
    seed: int, difference: bool, by_entity: bool
) -> None:
    cube = make_cube(seed)
    cube.values[1], cube.exposure[1] = 0.5, 50
    transform = TransformConfig(
        difference=difference, standardise="entity" if by_entity else "feature"
    )
    scale = make_ready(cube, transform).standardiser.scale
    assert (scale >= 0.5).all()
    plain = make_ready(cube, replace(transform, representation="proportion")).standardiser.scale
    assert (plain < 0.5).any()


def test_steps_that_never_vary_have_the_scale_of_their_noise() -> None:
    cube = cube_of(np.full((3, 40, 2), 0.5), np.full((3, 40), 50), ("quad", "quad"))
    prepared = prepare(cube, windows=WINDOWS, split=SPLIT)
    assert prepared.standardiser.scale == pytest.approx(0.5)
    assert prepared.standardiser.mean == pytest.approx(5)
    assert np.abs(prepared.values).max() < 1e-5


def test_a_small_entity_is_shrunk_to_the_common_composition_at_its_own_exposure() -> None:
    exposure = np.zeros((3, 40), np.int64)
    exposure[0] = 900
    exposure[1, 3] = 4
    values = np.empty((3, 40, 2))
    values[:] = [0.75, 0.25]
    values[1] = [0, 1]
    cube = cube_of(values, exposure, ("quad", "quad"))
    windows = replace(WINDOWS, min_step_events=1)
    transform = TransformConfig(common_volume=False)
    mean = prepare(cube, windows=windows, split=SPLIT, transform=transform).standardiser.mean
    end = prepare(cube, windows=windows, split=SPLIT).split.training_end
    n_events = 900 * end + 4
    common = np.array([0.75 * 900 * end, 0.25 * 900 * end + 4]) / n_events
    assert mean[1] == pytest.approx((np.array([0, 2]) + 10 * np.sqrt(4 * common)) / 11)
    assert mean[0] == pytest.approx(30 * np.sqrt([0.75, 0.25]), rel=1e-3)
    assert mean[2].tolist() == [0, 0]  # without any events none are expected


def test_a_rise_of_all_entities_is_expected_and_a_rise_of_one_is_not() -> None:
    exposure = np.full((7, 40), 5000)
    exposure[:, 34] *= 4
    exposure[0, 37] *= 4
    cube = cube_of(np.full((7, 40, 2), 0.5), exposure, ("quad", "quad"))
    with_common, without = (
        prepare(
            cube,
            windows=WINDOWS,
            split=SPLIT,
            transform=TransformConfig(common_volume=is_common),
        )
        for is_common in (True, False)
    )
    assert np.abs(with_common.values[:, 34]).max() < 1
    assert without.values[:, 34].min() > 50
    for prepared in (with_common, without):
        assert prepared.values[0, 37].min() > 50
    assert np.abs(without.values[1:, 37]).max() < 0.1
    # Others are expected to rise with it a little.
    assert (with_common.values[1:, 37] < 0).all()
    level = with_common.standardiser.level
    assert np.array_equal(level, np.sqrt(common_volume(exposure, with_common.split.training_end)))


@pytest.mark.parametrize("representation", ["angular", "proportion"])
def test_only_root_counts_rise_with_the_common_volume(representation: Representation) -> None:
    cube = make_cube(1)
    prepared = make_ready(cube, TransformConfig(representation=representation))
    assert prepared.standardiser.level is None
    alone = make_ready(cube, TransformConfig(representation=representation, common_volume=False))
    assert np.array_equal(prepared.values, alone.values)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), busy=st.floats(0.5, 1))
def test_windows_are_those_found_by_trying_each_in_the_part_of_their_steps(
    seed: int, busy: float
) -> None:
    cube = make_cube(seed, busy=busy)
    # Also where some part has no window at all, which `prepare` refuses.
    prepared = Preparation.fit(cube, windows=WINDOWS, split=SPLIT).apply(cube)
    wanted = naive.find_windows(cube.exposure, WINDOWS)
    assert prepared.windows.index.tolist() == [[entity, start] for entity, start, _ in wanted]
    for part in PARTS:
        assert prepared.windows_of(part).tolist() == [
            [entity, start]
            for entity, start, _ in wanted
            if naive.part_of_window(start, 3, prepared.split) == part
        ]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    transform=TRANSFORMS.filter(lambda transform: not transform.difference),
    first=st.integers(0, 20),
    n_steps=st.integers(4, 20),
)
def test_steps_prepared_apart_are_as_prepared_among_all(
    seed: int, transform: TransformConfig, first: int, n_steps: int
) -> None:
    cube = make_cube(seed)
    preparation = Preparation.fit(cube, windows=WINDOWS, split=SPLIT, transform=transform)
    whole, some = preparation.apply(cube), slice(first, first + n_steps)
    part = replace(
        cube,
        values=cube.values[:, some],
        exposure=cube.exposure[:, some],
        steps=cube.steps[some],
    )
    apart = preparation.apply(part)
    assert np.array_equal(apart.values, whole.values[:, some])
    assert np.array_equal(apart.observed, whole.observed[:, some])
    inside = (whole.windows.index[:, 1] >= first) & (
        whole.windows.index[:, 1] + WINDOWS.length <= first + len(part.steps)
    )
    assert (apart.windows.index + np.array([0, first])).tolist() == whole.windows.index[
        inside
    ].tolist()
    assert apart.parts.tolist() == whole.parts[inside].tolist()


def test_preparing_changes_nothing_in_the_cube() -> None:
    cube = make_cube(5)
    before = cube.values.tobytes(), cube.exposure.tobytes()
    make_ready(cube, TransformConfig(difference=True))
    assert (cube.values.tobytes(), cube.exposure.tobytes()) == before


def test_defaults_prepare_a_busy_cube() -> None:
    prepared = prepare(make_cube(0, n_steps=120))
    assert prepared.split == Split(
        training_end=77, validation_start=78, validation_end=95, held_out_start=96
    )
    assert all(len(prepared.windows_of(part)) > 0 for part in PARTS[:3])


@pytest.mark.parametrize(
    ("part", "quiet"),
    [("training", slice(0, 23)), ("validation", slice(24, 31)), ("held_out", slice(32, 40))],
)
def test_a_part_without_windows_is_named(part: str, quiet: slice) -> None:
    cube = make_cube(0, busy=1)
    cube.exposure[:, quiet] = 0
    if part == "training":
        cube.exposure[0, 3] = 10  # one step, so that there are statistics but no window
    with pytest.raises(
        ValueError, match=rf"no window .* in the {part} part.* 3 entities .* 40 steps"
    ):
        make_ready(cube, TransformConfig())
