"""Each baseline against its oracle."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import baselines
from models.baselines import PrincipalComponents, last_value, training_mean
from models.windowing import WindowedCube
from tests import naive

LENGTH = 4


def panel(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    observed = generator.random((2, 20)) > 0.3
    cube = generator.normal(1, 2, size=(2, 20, 3)).astype(np.float32) * observed[..., None]
    windows = np.array([(entity, start) for entity in range(2) for start in range(0, 15, 2)])
    return cube, observed, windows


def place(cube: np.ndarray, observed: np.ndarray) -> WindowedCube:
    return WindowedCube.place(cube, observed, length=LENGTH, device="cpu")


def stack(array: np.ndarray, windows: np.ndarray) -> np.ndarray:
    return np.stack([naive.window(array, row, LENGTH) for row in windows])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), batch_size=st.integers(1, 20))
def test_the_training_mean_counts_each_covered_step_once(seed: int, batch_size: int) -> None:
    cube, observed, windows = panel(seed)
    got = training_mean(place(cube, observed), torch.tensor(windows), batch_size)
    np.testing.assert_allclose(got, naive.training_mean(cube, observed, windows, LENGTH))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_the_last_value_is_the_last_observed_before(seed: int) -> None:
    cube, observed, windows = panel(seed)
    x, mask, mean = stack(cube, windows), stack(observed, windows), np.array([7.0, 8.0, 9.0])
    got = last_value(torch.tensor(x), torch.tensor(mask), torch.tensor(mean)).numpy()
    for index in range(len(windows)):
        np.testing.assert_allclose(got[index], naive.last_value(x[index], mask[index], mean))


def test_no_step_predicts_itself() -> None:
    x = torch.arange(6.0).reshape(1, 6, 1)
    observed = torch.ones(1, 6, dtype=torch.bool)
    changed = x.clone()
    changed[0, 3] = 99.0
    before = last_value(x, observed, torch.zeros(1))
    after = last_value(changed, observed, torch.zeros(1))
    assert (before != after).flatten().tolist() == [False] * 4 + [True, False]


@pytest.mark.parametrize("n_components", [1, 3, 8])
def test_principal_components_are_those_of_the_singular_value_decomposition(
    n_components: int,
) -> None:
    cube, observed, windows = panel()
    judged = windows[::3] + np.array([0, 1])
    data = place(cube, observed)
    pca = PrincipalComponents.fit(data, torch.tensor(windows), n_components=n_components, seed=0)
    flat = stack(cube, windows).reshape(len(windows), -1)
    x = stack(cube, judged)
    got = pca.reconstruct(torch.tensor(x), torch.tensor(stack(observed, judged))).numpy()
    expected = naive.principal_components(flat, x.reshape(len(x), -1), n_components)
    np.testing.assert_allclose(got.reshape(len(x), -1), expected, atol=1e-4)


def test_components_are_no_more_than_windows_or_values() -> None:
    cube, observed, windows = panel()
    data, rows = place(cube, observed), torch.tensor(windows)
    few = PrincipalComponents.fit(data, rows[:3], n_components=64, seed=0)
    many = PrincipalComponents.fit(data, rows, n_components=64, seed=0)
    one = PrincipalComponents.fit(data, rows[:1], n_components=64, seed=0)
    assert [len(pca.components) for pca in (few, many, one)] == [3, 12, 0]
    x = data.gather(rows[1:2])[0]
    assert torch.equal(one.reconstruct(x), data.gather(rows[:1])[0])


def test_windows_that_are_all_alike_warn_of_nothing() -> None:
    data = place(np.ones((1, 9, 3), np.float32), np.ones((1, 9), dtype=bool))
    rows = torch.tensor([[0, start] for start in range(5)])
    pca = PrincipalComponents.fit(data, rows, n_components=2, seed=0)
    torch.testing.assert_close(pca.reconstruct(torch.ones(1, LENGTH, 3)), torch.ones(1, LENGTH, 3))


def test_the_windows_that_are_fitted_are_capped_and_drawn_by_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cube, observed, windows = panel()
    data, rows = place(cube, observed), torch.tensor(windows)
    monkeypatch.setattr(baselines, "MAX_PCA_VALUES", 5 * LENGTH * 3)
    fits = [PrincipalComponents.fit(data, rows, n_components=9, seed=seed) for seed in (0, 0, 1)]
    assert len(fits[0].components) == 9
    capped = [PrincipalComponents.fit(data, rows, n_components=2, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(capped[0].mean, capped[1].mean)
    assert not torch.equal(capped[0].mean, capped[2].mean)
