"""Laws of gathering windows, whole or in slabs of entities."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.windowing import CubeOnHost, SlabbedCube, WindowedCube
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
    assert np.array_equal(torch.cat([batch.windows for batch in batches]), windows)
    got_values = torch.cat([batch.x for batch in batches]).numpy()
    got_masks = torch.cat([batch.observed for batch in batches]).numpy()
    assert all(batch.target is batch.x and batch.weight is None for batch in batches)
    for index, window in enumerate(windows):
        assert np.array_equal(got_values[index], naive.window(cube, window, length))
        assert np.array_equal(got_masks[index], naive.window(observed, window, length))


def test_the_cube_is_not_copied_on_the_cpu_and_may_be_read_only() -> None:
    cube, observed = np.zeros((2, 4, 1), np.float32), np.ones((2, 4), dtype=bool)
    placed = WindowedCube.place(cube, observed, length=2, device="cpu")
    assert placed.values.data_ptr() == cube.ctypes.data
    cube.flags.writeable = observed.flags.writeable = False
    WindowedCube.place(cube, observed, length=2, device="cpu")


def host(n_entities: int = 5) -> CubeOnHost:
    values = np.arange(n_entities * 7 * 2, dtype=np.float32).reshape(n_entities, 7, 2)
    return CubeOnHost(
        values=values,
        observed=values[..., 0] % 3 > 0,
        length=3,
        target=-values,
        weight=values[..., 0] / 10,
    )


@settings(max_examples=30, deadline=None)
@given(data=st.data(), entities_a_slab=st.integers(1, 7))
def test_slabs_hold_every_window_once_with_all_that_goes_with_it(
    data: st.DataObject, entities_a_slab: int
) -> None:
    cube = host()
    row = st.tuples(st.integers(0, 4), st.integers(0, 4))
    windows = np.array(data.draw(st.lists(row, max_size=12)), dtype=np.int64).reshape(-1, 2)
    slabs = SlabbedCube(cube, device="cpu", slab_bytes=entities_a_slab * cube.entity_bytes)
    assert len(slabs.slabs) == -(-5 // entities_a_slab)
    rows_by_slab = slabs.rows_by_slab(windows)
    assert sorted(np.concatenate(rows_by_slab)) == list(range(len(windows)))
    for slab, rows in enumerate(rows_by_slab):
        assert sorted(rows) == list(rows)
        placed, local = slabs.place(slab, windows[rows])
        assert placed.n_entities <= entities_a_slab
        batch = placed.gather(local)
        for index, window in enumerate(windows[rows]):
            for got, whole in (
                (batch.x, cube.values),
                (batch.target, cube.target),
                (batch.observed, cube.observed),
                (batch.weight, cube.weight),
            ):
                assert np.array_equal(got[index], naive.window(whole, window, 3))


def test_a_cube_that_fits_is_placed_once() -> None:
    cube = host()
    slabs = SlabbedCube(cube, device="cpu")
    window = np.array([[0, 0]])
    assert slabs.slabs == [slice(0, 5)]
    assert slabs.place(0, window)[0] is slabs.place(0, window)[0]


def test_a_slab_holds_at_least_one_entity() -> None:
    assert len(SlabbedCube(host(), device="cpu", slab_bytes=1).slabs) == 5
