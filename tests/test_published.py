"""Laws of the published recipes: they give the published figures and show their causes."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from models import ShapeError, reconstruction_loss
from models.published import RAMP, SEQUENCE, PublishedRun, run_closed_loop, run_repeat_vector

MEAN_MSE = 1.19e-3


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def changes(sequence: np.ndarray) -> np.ndarray:
    return np.stack([row - (sequence[i - 1] if i else 0) for i, row in enumerate(sequence)])


def largest_error(run: PublishedRun) -> float:
    return float(np.abs(run.output - RAMP).max())


def test_the_data_are_as_published_and_can_not_be_changed() -> None:
    assert SEQUENCE.shape == (14, 5)
    np.testing.assert_allclose(SEQUENCE[:, 1:].sum(axis=1), 1, atol=2e-4)
    np.testing.assert_allclose(SEQUENCE[[0, -1], 0], [0.5122, 0.5279])
    assert SEQUENCE.astype(float).var(axis=0).mean() == pytest.approx(MEAN_MSE, rel=1e-3)
    np.testing.assert_allclose(RAMP.ravel(), [0.0, 0.1, 0.2, 0.3, 0.4])
    for data in (SEQUENCE, RAMP):
        with pytest.raises(ValueError, match="read-only"):
            data[0] = 0


@pytest.mark.parametrize(
    ("is_differenced", "first", "last"), [(False, 850, 1050), (True, 180, 320)]
)
def test_hidden_100_takes_about_the_published_number_of_steps(
    is_differenced: bool, first: int, last: int
) -> None:
    run = run_closed_loop(SEQUENCE, is_differenced=is_differenced, max_steps=1100)
    assert first <= run.steps <= last
    assert run.final_loss < 1e-4 <= run.losses[:-1].min()


def test_hidden_5_learns_flat_lines_at_the_mean() -> None:
    run = run_closed_loop(SEQUENCE, hidden_size=5)
    assert run.steps == 1000
    assert 0.8 * MEAN_MSE < run.final_loss < MEAN_MSE
    # Past the first steps the output hardly moves, where the sequence does.
    assert (run.output[4:].std(axis=0) < 0.1 * SEQUENCE[4:].std(axis=0)).all()


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("is_differenced", [False, True])
def test_the_loss_is_that_of_the_output_in_the_order_of_time(
    is_differenced: bool, is_reversed: bool
) -> None:
    run = run_closed_loop(
        SEQUENCE,
        hidden_size=8,
        is_differenced=is_differenced,
        is_reversed=is_reversed,
        max_steps=5,
    )
    target = changes(SEQUENCE) if is_differenced else SEQUENCE
    losses = np.square(run.outputs - target).mean(axis=(1, 2))
    np.testing.assert_allclose(run.losses, losses, rtol=1e-5)
    assert run.outputs.shape == (run.steps, *SEQUENCE.shape)
    assert np.diff(run.losses).max() < 0


def test_a_target_that_broadcasts_teaches_the_mean() -> None:
    run = run_repeat_vector(RAMP, is_broadcast=True, max_steps=1500)
    assert np.abs(run.output - RAMP.mean()).max() < 0.01
    with pytest.raises(ShapeError, match="broadcasting would teach the mean"):
        reconstruction_loss(torch.tensor(run.output)[:, None], torch.tensor(RAMP))


def test_with_the_shapes_right_it_is_the_missing_dense_layer_that_holds_the_ramp_up() -> None:
    published, dense = (
        run_repeat_vector(RAMP, has_dense=has_dense, max_steps=1000) for has_dense in (False, True)
    )
    assert 0.03 < largest_error(published) < 0.06
    assert largest_error(dense) < 0.015


def test_l1_is_the_mean_of_absolute_errors() -> None:
    run = run_repeat_vector(RAMP, loss="l1", max_steps=3)
    np.testing.assert_allclose(run.losses, np.abs(run.outputs - RAMP).mean(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize(("run", "data"), [(run_closed_loop, SEQUENCE), (run_repeat_vector, RAMP)])
def test_the_seed_decides_and_the_global_generator_is_left_alone(
    run: Callable[..., PublishedRun], data: np.ndarray
) -> None:
    before = torch.get_rng_state()
    first, again, other = (run(data, seed=seed, max_steps=3) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.losses, again.losses)
    np.testing.assert_array_equal(first.outputs, again.outputs)
    assert not np.array_equal(first.losses, other.losses)
    assert torch.equal(before, torch.get_rng_state())


def test_a_sequence_of_another_shape_or_type_is_refused() -> None:
    for run in (run_closed_loop, run_repeat_vector):
        for wrong in (SEQUENCE[None], SEQUENCE[:, 0], SEQUENCE.astype(float), SEQUENCE[:0]):
            with pytest.raises(ShapeError, match="expected float32 of shape"):
                run(wrong)
