"""Laws of what is expected of newest steps: nothing after them counts, nor they themselves."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.errors import ShapeError
from models.nowcast import nowcast
from models.training import train
from models.training_config import TrainingConfig
from tests import naive

LENGTH = 4
DECODERS = st.sampled_from(["closed_loop", "repeat_vector"])


def model(decoder: str = "closed_loop", seed: int = 0, **options: Any) -> LSTMAutoencoder:
    config = AutoencoderConfig(decoder=decoder, latent_size=3)
    return LSTMAutoencoder(2, config, seed=seed, **options)


def panel(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cube `(3, 9, 2)`, mask, and most windows in no order; the last entity has none."""
    generator = np.random.default_rng(seed)
    observed = generator.random((3, 9)) > 0.2
    cube = generator.normal(size=(3, 9, 2)).astype(np.float32) * observed[..., None]
    windows = np.array([(0, start) for start in range(6)] + [(1, start) for start in (0, 2, 5)])
    return cube, observed, generator.permutation(windows)


def expected_of(
    cube: np.ndarray, observed: np.ndarray, windows: np.ndarray, **options: Any
) -> np.ndarray:
    return nowcast(model(), cube, observed, windows, length=LENGTH, **options)


@given(seed=st.integers(0, 99), decoder=DECODERS, is_hidden=st.booleans())
def test_expectations_are_the_last_steps_of_windows_rebuilt_one_by_one(
    seed: int, decoder: str, is_hidden: bool
) -> None:
    cube, observed, windows = panel(seed)
    asked = model(decoder, seed)
    got = nowcast(asked, cube, observed, windows, length=LENGTH, is_hidden=is_hidden)
    wanted = np.full(cube.shape, np.nan)
    for entity, start in windows:
        x = naive.window(cube, (entity, start), LENGTH).copy()
        if is_hidden:
            x[-1] = 0
        with torch.no_grad():
            wanted[entity, start + LENGTH - 1] = asked(torch.tensor(x)[None])[0, -1].numpy()
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert got.dtype == np.float32


@given(seed=st.integers(0, 99), step=st.integers(LENGTH - 1, 8))
def test_a_hidden_step_and_what_comes_after_it_have_no_say(seed: int, step: int) -> None:
    cube, observed, windows = panel(seed)
    other_cube, other_observed, _ = panel(seed + 100)
    one = expected_of(cube, observed, windows)
    cube[:, step:], observed[:, step:] = 3 + other_cube[:, step:], other_observed[:, step:]
    other = expected_of(cube, observed, windows)
    np.testing.assert_array_equal(other[:, : step + 1], one[:, : step + 1])
    shorter = windows[windows[:, 1] + LENGTH - 1 <= step]
    cut = expected_of(cube[:, : step + 1], observed[:, : step + 1], shorter)
    np.testing.assert_allclose(cut, one[:, : step + 1], rtol=1e-5, atol=1e-6)


def test_the_steps_before_have_a_say_and_so_has_a_newest_step_that_is_seen() -> None:
    cube, observed, windows = panel()
    hidden, seen = (
        expected_of(cube, observed, windows, is_hidden=is_hidden) for is_hidden in (True, False)
    )
    changed = cube.copy()
    changed[0, 8] += 1
    assert not np.allclose(
        expected_of(changed, observed, windows, is_hidden=False)[0, 8], seen[0, 8]
    )
    changed = cube.copy()
    changed[0, 5] += 1  # the first of the window that ends the series
    assert not np.allclose(expected_of(changed, observed, windows)[0, 8], hidden[0, 8])


def test_where_no_window_ends_nothing_is_expected() -> None:
    cube, observed, windows = panel()
    for is_hidden in (True, False):
        expected = expected_of(cube, observed, windows, is_hidden=is_hidden)
        ends = np.zeros(observed.shape, bool)
        ends[windows[:, 0], windows[:, 1] + LENGTH - 1] = True
        assert np.array_equal(np.isfinite(expected).all(axis=2), ends)
        assert np.array_equal(np.isnan(expected).all(axis=2), ~ends)
    assert np.isnan(expected_of(cube, observed, windows[:0])).all()


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 4}, {"slab_bytes": 1}])
@pytest.mark.parametrize("is_hidden", [True, False])
def test_batches_and_slabs_have_no_say(options: dict[str, int], is_hidden: bool) -> None:
    cube, observed, windows = panel()
    whole = expected_of(cube, observed, windows, is_hidden=is_hidden)
    parts = expected_of(cube, observed, windows, is_hidden=is_hidden, **options)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)


def test_another_entity_has_no_say() -> None:
    cube, observed, windows = panel()
    beside = expected_of(cube, observed, windows)
    alone = expected_of(cube[:1], observed[:1], windows[windows[:, 0] == 0])
    np.testing.assert_allclose(alone[0], beside[0], rtol=1e-5, atol=1e-6)
    cube[1] += 1
    np.testing.assert_array_equal(expected_of(cube, observed, windows)[0], beside[0])


def test_windows_of_one_step_are_expected_from_nothing() -> None:
    cube, observed, _ = panel()
    windows = np.argwhere(observed)
    expected = nowcast(model(), cube, observed, windows, length=1)[observed]
    np.testing.assert_allclose(expected, np.broadcast_to(expected[0], expected.shape), atol=1e-6)
    seen = nowcast(model(), cube, observed, windows, length=1, is_hidden=False)[observed]
    assert seen.std(axis=0).min() > 1e-4


def test_a_multinomial_model_expects_shares() -> None:
    cube, observed, windows = panel()
    expected = nowcast(model(share_groups=(2,)), cube, observed, windows, length=LENGTH)
    sums = expected.sum(axis=2)
    np.testing.assert_allclose(sums[np.isfinite(sums)], 1, rtol=1e-5)
    assert np.isfinite(sums).sum() == len(windows)


def test_model_cube_and_global_generator_are_left_as_they_were() -> None:
    cube, observed, windows = panel()
    asked, before = model().train(), (cube.copy(), observed.copy(), windows.copy())
    weights = {name: tensor.clone() for name, tensor in asked.state_dict().items()}
    state = torch.random.get_rng_state()
    one = nowcast(asked, cube, observed, windows, length=LENGTH)
    np.testing.assert_array_equal(nowcast(asked, cube, observed, windows, length=LENGTH), one)
    assert asked.training
    assert all(parameter.requires_grad for parameter in asked.parameters())
    assert all(torch.equal(weights[name], now) for name, now in asked.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    for array, was in zip((cube, observed, windows), before, strict=True):
        assert np.array_equal(array, was)


def test_arrays_that_break_the_contract_are_refused() -> None:
    cube, observed, windows = panel()
    with pytest.raises(ShapeError, match="1 features and the model 2"):
        expected_of(cube[..., :1], observed, windows)
    with pytest.raises(ShapeError, match="float64"):
        expected_of(cube.astype(float), observed, windows)
    with pytest.raises(ValueError, match="reaches out"):
        expected_of(cube, observed, windows + 4)
    with pytest.raises(ValueError, match="batch_size is 0; it must be at least 1"):
        expected_of(cube, observed, windows, batch_size=0)
    cube[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        expected_of(cube, observed, windows)


def waves(n_entities: int, n_steps: int, seed: int) -> np.ndarray:
    """Sine waves of one period and of random phase, `(E, S, 1)`."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, size=(n_entities, 1, 1))
    return np.sin(np.arange(n_steps)[None, :, None] * 2 * np.pi / 7 + phase).astype(np.float32)


def error_of_newest(hidden_newest: float, seed: int) -> float:
    """Train on waves and return the mean squared error of hidden newest steps of other ones."""
    cube, new = waves(24, 20, seed), waves(40, 20, seed + 1)
    windows = np.argwhere(np.ones((24, 13), bool))
    trained = train(
        cube,
        np.ones(cube.shape[:2], bool),
        windows[windows[:, 0] < 20],
        windows[windows[:, 0] >= 20],
        length=8,
        autoencoder=AutoencoderConfig(latent_size=8),
        training=TrainingConfig(
            epochs=12, hidden_newest=hidden_newest, seed=seed, device="cpu", batch_size=32
        ),
    )
    expected = nowcast(
        trained.model,
        new,
        np.ones(new.shape[:2], bool),
        np.argwhere(np.ones((40, 13), bool)),
        length=8,
        device="cpu",
    )
    return float(np.square(expected - new)[:, 7:].mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_that_was_not_shown_newest_steps_expects_them_better(seed: int) -> None:
    without, trained_for_it = (error_of_newest(share, seed) for share in (0.0, 0.5))
    assert trained_for_it < without / 4
    assert trained_for_it < 0.1  # the waves' variance is 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("is_hidden", [True, False])
def test_a_gpu_expects_what_the_cpu_does(is_hidden: bool) -> None:
    cube, observed, windows = panel()
    on_cpu, on_gpu = (
        expected_of(cube, observed, windows, is_hidden=is_hidden, device=device)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-2, atol=1e-3)
