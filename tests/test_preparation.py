"""Laws of preparing a cube: masked steps are 0, and nothing is learnt from after training."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cube import Cube
from features.preparation import Prepared, prepare
from features.split import PARTS, Split, SplitConfig
from features.transforms import TransformConfig, undifference
from features.windows import WindowConfig
from tests import naive

WINDOWS = WindowConfig(length=3, min_step_events=5, min_window_events=1)
TRANSFORMS = st.builds(
    TransformConfig,
    difference=st.booleans(),
    standardise=st.sampled_from(["entity", "feature", "none"]),
)
SPLIT = SplitConfig(validation=0.2, held_out=0.2)


def make_cube(seed: int, *, n_entities: int = 3, n_steps: int = 40, busy: float = 0.8) -> Cube:
    """Return a cube of random proportions; some steps are empty, some have few events."""
    rng = np.random.default_rng(seed)
    exposure = rng.integers(5, 40, size=(n_entities, n_steps))
    quiet = rng.random(exposure.shape) > busy
    exposure[quiet] = rng.integers(0, 5, size=quiet.sum())
    values = rng.dirichlet(np.ones(4), size=exposure.shape).astype(np.float32)
    values[exposure == 0] = np.nan
    return Cube(
        values=values,
        exposure=exposure,
        entities=tuple("ABCDEFG"[:n_entities]),
        steps=np.datetime64("2018-01-01", "D") + 7 * np.arange(n_steps),
        features=("a", "b", "c", "d"),
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
    assert prepared.values.dtype == np.float32
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
    values = cube.values.copy()
    values[:, step] *= 3
    other = make_ready(replace(cube, values=values), transform)
    assert np.array_equal(other.values[:, :step], one.values[:, :step])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), transform=TRANSFORMS)
def test_observed_proportions_can_be_had_back(seed: int, transform: TransformConfig) -> None:
    cube = make_cube(seed)
    prepared = make_ready(cube, transform)
    levels = prepared.values
    if transform.difference:
        levels = undifference(levels, prepared.observed)
    back = prepared.standardiser.inverse(levels)
    seen = prepared.observed
    np.testing.assert_allclose(back[seen], cube.values[seen], rtol=0, atol=1e-5)


def test_without_transforms_the_proportions_are_as_they_were() -> None:
    cube = make_cube(3)
    prepared = make_ready(cube, TransformConfig(standardise="none"))
    assert np.array_equal(prepared.values[prepared.observed], cube.values[prepared.observed])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), busy=st.floats(0.5, 1))
def test_windows_are_those_found_by_trying_each_in_the_part_of_their_steps(
    seed: int, busy: float
) -> None:
    cube = make_cube(seed, busy=busy)
    prepared = make_ready(cube, TransformConfig())
    wanted = naive.find_windows(cube.exposure, WINDOWS)
    assert prepared.windows.index.tolist() == [[entity, start] for entity, start, _ in wanted]
    for part in PARTS:
        assert prepared.windows_of(part).tolist() == [
            [entity, start]
            for entity, start, _ in wanted
            if naive.part_of_window(start, 3, prepared.split) == part
        ]


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
