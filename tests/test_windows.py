"""Laws of finding windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from features.windows import WindowConfig, find_windows, observed_steps, window_view
from tests import naive

EXPOSURES = arrays.arrays(
    np.int64,
    st.tuples(st.integers(1, 3), st.integers(1, 12)),
    elements=st.sampled_from([0, 1, 4, 5, 6, 20, 90]),
)
CONFIGS = st.builds(
    WindowConfig,
    length=st.integers(1, 6),
    stride=st.integers(1, 4),
    min_step_events=st.integers(0, 8),
    min_window_events=st.integers(1, 120),
    min_observed=st.sampled_from([0.01, 0.3, 0.5, 0.6, 2 / 3, 1.0]),
)


@settings(max_examples=150, deadline=None)
@given(exposure=EXPOSURES, config=CONFIGS)
def test_windows_are_those_found_by_trying_each(exposure: np.ndarray, config: WindowConfig) -> None:
    found = find_windows(exposure, config)
    wanted = naive.find_windows(exposure, config)
    assert found.index.tolist() == [[entity, start] for entity, start, _ in wanted]
    assert found.exposure.tolist() == [events for _, _, events in wanted]
    assert len(found) == len(wanted)
    assert found.length == config.length
    assert found.index.shape == (len(wanted), 2)
    assert found.index.dtype == found.exposure.dtype == np.int64


@settings(max_examples=50, deadline=None)
@given(exposure=EXPOSURES, length=st.integers(1, 6), stride=st.integers(1, 4))
def test_number_of_windows_when_every_step_has_enough(
    exposure: np.ndarray, length: int, stride: int
) -> None:
    config = WindowConfig(length=length, stride=stride, min_window_events=1)
    entities, steps = exposure.shape
    found = find_windows(exposure + 5, config)
    assert len(found) == entities * len(range(0, steps - length + 1, stride))


@settings(max_examples=50, deadline=None)
@given(exposure=EXPOSURES, config=CONFIGS)
def test_no_window_crosses_from_one_entity_into_another(
    exposure: np.ndarray, config: WindowConfig
) -> None:
    together = find_windows(exposure, config)
    for entity in range(len(exposure)):
        alone = find_windows(exposure[[entity]], config)
        own = together.index[:, 0] == entity
        assert np.array_equal(together.index[own, 1], alone.index[:, 1])
        assert (alone.index[:, 1] + config.length <= exposure.shape[1]).all()


def test_fewer_steps_than_a_window_has_give_no_window() -> None:
    found = find_windows(np.full((3, 4), 1000), WindowConfig(length=5))
    assert len(found) == 0
    assert found.index.shape == (0, 2)
    assert found.exposure.shape == (0,)
    assert found.length == 5


def test_the_last_window_is_found() -> None:
    assert find_windows(np.full((1, 9), 50), WindowConfig(length=4)).index[-1].tolist() == [0, 5]


def test_masked_events_still_count_towards_the_window() -> None:
    config = WindowConfig(length=2, min_step_events=5, min_window_events=9)
    assert find_windows(np.array([[5, 4, 0]]), config).index.tolist() == [[0, 0]]


def test_observed_steps_have_at_least_the_events_asked_for() -> None:
    exposure = np.array([[4, 5, 6], [0, 100, 0]])
    config = WindowConfig(min_step_events=5)
    assert observed_steps(exposure, config).tolist() == [[False, True, True], [False, True, False]]


def test_with_no_events_asked_for_every_step_is_observed_and_silence_breaks_no_window() -> None:
    exposure = np.array([[90, 0, 0, 0, 0, 0]])
    config = WindowConfig(length=4, min_step_events=0, min_observed=1)
    assert observed_steps(exposure, config).all()
    assert find_windows(exposure, config).index.tolist() == [[0, 0]]
    one = WindowConfig(length=4, min_step_events=1, min_observed=1)
    assert len(find_windows(exposure, one)) == 0


def test_where_keeps_index_and_exposure_together() -> None:
    found = find_windows(np.array([[50, 60, 70, 80]]), WindowConfig(length=2))
    kept = found.where(np.array([True, False, True]))
    assert kept.index.tolist() == [[0, 0], [0, 2]]
    assert kept.exposure.tolist() == [110, 150]
    assert (kept.length, len(kept)) == (2, 2)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(5, 9), st.integers(1, 4)),
    length=st.integers(1, 5),
)
def test_view_holds_every_slice_and_copies_nothing(
    shape: tuple[int, int, int], length: int
) -> None:
    cube = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    view = window_view(cube, length)
    assert view.shape == (shape[0], shape[1] - length + 1, length, shape[2])
    assert np.shares_memory(view, cube)
    assert not view.flags.writeable
    flat = window_view(cube[..., 0], length)
    for entity, start in np.ndindex(view.shape[:2]):
        assert np.array_equal(view[entity, start], cube[entity, start : start + length])
        assert np.array_equal(flat[entity, start], cube[entity, start : start + length, 0])


def test_exposure_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 4\): expected \(entities, steps\)"):
        find_windows(np.ones((2, 3, 4), np.int64))


@pytest.mark.parametrize(
    "changes",
    [
        {"length": 0},
        {"stride": 0},
        {"min_step_events": -1},
        {"min_window_events": 0},
        {"min_observed": 0.0},
        {"min_observed": 1.1},
    ],
)
def test_a_config_out_of_range_is_refused_by_name(changes: dict[str, float]) -> None:
    ((name, value),) = changes.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        WindowConfig(**changes)  # type: ignore[arg-type]
