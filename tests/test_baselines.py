"""Each baseline against its oracle."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import baselines
from models.baselines import PrincipalComponents, SeasonalLastValue, last_value, training_mean
from models.linear_autoencoder import LinearAutoencoder, split_by_start
from models.windowing import Batch, WindowedCube
from tests import naive

LENGTH = 4


def panel(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    observed = generator.random((2, 20)) > 0.3
    cube = generator.normal(1, 2, size=(2, 20, 3)).astype(np.float32) * observed[..., None]
    windows = np.array([(entity, start) for entity in range(2) for start in range(0, 15, 2)])
    return cube, observed, windows


def place(cube: np.ndarray, observed: np.ndarray, target: np.ndarray | None = None) -> WindowedCube:
    return WindowedCube.place(cube, observed, length=LENGTH, device="cpu", target=target)


def stack(array: np.ndarray, windows: np.ndarray) -> np.ndarray:
    return np.stack([naive.window(array, row, LENGTH) for row in windows])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_the_training_mean_counts_each_covered_step_once(seed: int) -> None:
    cube, observed, windows = panel(seed)
    got = training_mean(place(cube, observed), torch.tensor(windows))
    np.testing.assert_allclose(got, naive.training_mean(cube, observed, windows, LENGTH))


def test_the_training_mean_is_that_of_the_target() -> None:
    cube, observed, windows = panel()
    got = training_mean(place(cube, observed, cube + 5), torch.tensor(windows))
    np.testing.assert_allclose(got, naive.training_mean(cube + 5, observed, windows, LENGTH))


def test_sums_don_t_depend_on_how_many_rows_are_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cube, observed, windows = panel()
    whole = training_mean(place(cube, observed), torch.tensor(windows))
    monkeypatch.setattr(baselines, "_ROWS_AT_ONCE", 3)
    torch.testing.assert_close(training_mean(place(cube, observed), torch.tensor(windows)), whole)


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


class TestSeasonalLastValue:
    def test_by_hand(self) -> None:
        # Two entities of seven steps; entity 1's step 2 is not observed. A season has 3 steps.
        cube = np.arange(14, dtype=np.float32).reshape(2, 7, 1)
        observed = np.ones((2, 7), bool)
        observed[1, 2] = False
        seasonal = SeasonalLastValue(
            data=place(cube, observed), season=3, mean=torch.tensor([-1.0])
        )
        batch = seasonal.data.gather(torch.tensor([[0, 1], [0, 3], [1, 0], [1, 3]]))
        expected = [
            [-1, -1, 0, 1],  # steps 1 to 4: those before step 3 have none
            [0, 1, 2, 3],
            [-1, -1, -1, 7],  # not entity 0's last steps
            [7, 8, -1, 10],
        ]
        assert seasonal.predict(batch)[..., 0].tolist() == expected

    @pytest.mark.parametrize("season", [1, 3, 9, 50])
    def test_it_is_the_oracle_s(self, season: int) -> None:
        cube, observed, windows = panel()
        target, mean = cube * 3, np.array([7.0, 8.0, 9.0])
        data = place(cube, observed, target)
        seasonal = SeasonalLastValue(data=data, season=season, mean=torch.tensor(mean))
        got = seasonal.predict(data.gather(torch.tensor(windows)))
        for (entity, start), predicted in zip(windows, got.numpy(), strict=True):
            for offset in range(LENGTH):
                before = start + offset - season
                known = before >= 0 and observed[entity, before]
                expected = target[entity, before] if known else mean
                np.testing.assert_allclose(predicted[offset], expected)


class TestPrincipalComponents:
    @pytest.mark.parametrize("n_components", [1, 3, 8])
    def test_they_are_those_of_the_singular_value_decomposition(self, n_components: int) -> None:
        cube, observed, windows = panel()
        judged = windows[::3] + np.array([0, 1])
        data, mean = place(cube, observed), np.array([0.5, 1.0, 1.5])
        pca = self.fit(data, windows, mean, n_components=n_components)
        got = pca.predict(data.gather(torch.tensor(judged))).numpy()
        filled = np.where(observed[..., None], cube, mean)
        flat, x = (stack(filled, rows).reshape(len(rows), -1) for rows in (windows, judged))
        expected = naive.principal_components(flat, x, n_components)
        np.testing.assert_allclose(got.reshape(len(x), -1), expected, atol=1e-4)

    def test_they_are_no_more_than_windows_or_values(self) -> None:
        cube, observed, windows = panel()
        data, mean = place(cube, observed), np.zeros(3)
        sizes = [self.fit(data, windows[:n], mean, n_components=64) for n in (3, 16, 1)]
        assert [len(pca.components) for pca in sizes] == [3, 12, 0]
        only = stack(np.where(observed[..., None], cube, 0), windows[:1])
        np.testing.assert_allclose(
            sizes[2].predict(data.gather(torch.tensor(windows[1:2]))), only, atol=1e-6
        )

    def test_fewer_are_a_part_of_more(self) -> None:
        cube, observed, windows = panel()
        data, mean = place(cube, observed), np.zeros(3)
        few, many = (self.fit(data, windows, mean, n_components=n) for n in (2, 8))
        batch = data.gather(torch.tensor(windows))
        torch.testing.assert_close(many.truncated(2).predict(batch), few.predict(batch))

    @pytest.mark.parametrize("solver", ["auto", "full", "covariance_eigh"])
    def test_every_solver_gives_the_same(
        self, monkeypatch: pytest.MonkeyPatch, solver: str
    ) -> None:
        cube, observed, windows = panel()
        data, mean = place(cube, observed), np.zeros(3)
        batch = data.gather(torch.tensor(windows))
        expected = self.fit(data, windows, mean, n_components=3).predict(batch)
        monkeypatch.setattr(baselines, "_solver", lambda *_: solver)
        got = self.fit(data, windows, mean, n_components=3).predict(batch)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)

    def test_windows_that_are_all_alike_warn_of_nothing(self) -> None:
        data = place(np.ones((1, 9, 3), np.float32), np.ones((1, 9), dtype=bool))
        windows = np.array([[0, start] for start in range(5)])
        pca = self.fit(data, windows, np.zeros(3), n_components=2)
        batch = data.gather(torch.tensor(windows))
        torch.testing.assert_close(pca.predict(batch), batch.x)

    def test_the_windows_that_are_fitted_are_capped_and_drawn_by_the_seed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cube, observed, windows = panel()
        data, mean = place(cube, observed), np.zeros(3)
        monkeypatch.setattr(baselines, "MAX_PCA_VALUES", 5 * LENGTH * 3)
        # Never fewer windows than components, whatever the cap.
        assert len(self.fit(data, windows, mean, n_components=9).components) == 9
        capped = [self.fit(data, windows, mean, n_components=2, seed=seed) for seed in (0, 0, 1)]
        assert torch.equal(capped[0].mean, capped[1].mean)
        assert not torch.equal(capped[0].mean, capped[2].mean)

    @staticmethod
    def fit(
        data: WindowedCube, windows: np.ndarray, mean: np.ndarray, n_components: int, seed: int = 0
    ) -> PrincipalComponents:
        rows = torch.tensor(windows)
        return PrincipalComponents.fit(
            data, rows, torch.tensor(mean), n_components=n_components, seed=seed
        )


class TestLinearAutoencoder:
    """On three waves in eight features, of which a third is masked."""

    WINDOWS = np.array([(entity, start) for entity in range(4) for start in range(190)])
    K = 6

    @staticmethod
    def data(*, masked: float = 0.3, level: float = 0.0, scale: float = 1.0) -> WindowedCube:
        generator = np.random.default_rng(0)
        phases = generator.uniform(0, 6, size=(4, 1, 3))
        waves = np.sin(np.arange(200)[:, None] * [0.3, 0.5, 0.7] + phases)
        cube = waves @ generator.normal(size=(3, 8)) + 0.1 * generator.normal(size=(4, 200, 8))
        observed = generator.random((4, 200)) >= masked
        values = (level + scale * cube).astype(np.float32) * observed[..., None]
        return place(values.astype(np.float32), observed)

    def fit(
        self, data: WindowedCube, **options: float
    ) -> tuple[PrincipalComponents, LinearAutoencoder]:
        windows = torch.tensor(self.WINDOWS)
        mean = training_mean(data, windows)
        pca = PrincipalComponents.fit(data, windows, mean, n_components=self.K, seed=0)
        return pca, LinearAutoencoder.fit(data, windows, pca, **options)  # type: ignore[arg-type]

    @staticmethod
    def error(judged: PrincipalComponents | LinearAutoencoder, batch: Batch) -> float:
        difference = (judged.predict(batch) - batch.target)[batch.observed]
        return float(difference.square().mean())

    def test_what_it_starts_from_is_pca(self) -> None:
        data = self.data(level=3.0)
        pca, _ = self.fit(data)
        batch = data.gather(torch.tensor(self.WINDOWS[::7]))
        for scale in (1.0, 2.5):
            start = LinearAutoencoder.from_components(pca, scale=scale)
            torch.testing.assert_close(start.predict(batch), pca.predict(batch))

    @pytest.mark.parametrize("masked", [0.0, 0.1, 0.3, 0.6])
    @pytest.mark.parametrize("input_dropout", [0.0, 0.2])
    def test_it_is_never_worse_than_pca_where_it_is_judged(
        self, masked: float, input_dropout: float
    ) -> None:
        data = self.data(masked=masked)
        earlier, later = split_by_start(torch.tensor(self.WINDOWS), LENGTH)
        mean = training_mean(data, torch.tensor(self.WINDOWS))
        start = PrincipalComponents.fit(data, earlier, mean, n_components=self.K, seed=0)
        pca, linear = self.fit(data, input_dropout=input_dropout)
        judges = data.gather(later)
        is_pca = torch.equal(linear.decoder, pca.components)
        assert is_pca or self.error(linear, judges) < self.error(start, judges)

    def test_it_does_better_than_pca_with_masked_values(self) -> None:
        data = self.data()
        pca, linear = self.fit(data)
        batch = data.gather(torch.tensor(self.WINDOWS))
        assert self.error(linear, batch) < 0.95 * self.error(pca, batch)

    def test_with_everything_observed_it_is_no_better_than_pca_on_the_windows_fitted(self) -> None:
        data = self.data(masked=0.0)
        pca, linear = self.fit(data)
        batch = data.gather(torch.tensor(self.WINDOWS))
        assert self.error(linear, batch) >= 0.9999 * self.error(pca, batch)

    @pytest.mark.parametrize(("level", "scale"), [(0.0, 1e-3), (100.0, 1.0)])
    def test_it_knows_no_units(self, level: float, scale: float) -> None:
        plain, moved = self.data(), self.data(level=level, scale=scale)
        rows = torch.tensor(self.WINDOWS)
        expected = self.error(self.fit(plain)[1], plain.gather(rows))
        got = self.error(self.fit(moved)[1], moved.gather(rows)) / scale**2
        assert got == pytest.approx(expected, rel=1e-2)

    def test_it_has_as_many_numbers_as_pca(self) -> None:
        pca, linear = self.fit(self.data())
        assert linear.encoder.shape == linear.decoder.T.shape == (LENGTH * 8, self.K)
        assert not torch.equal(linear.decoder, pca.components)

    def test_it_is_repeatable_by_its_seed_and_leaves_the_global_generator_alone(self) -> None:
        data, before = self.data(), torch.random.get_rng_state()
        first, second, other = (
            self.fit(data, seed=seed, input_dropout=0.2)[1] for seed in (3, 3, 4)
        )
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.equal(first.encoder, second.encoder)
        assert not torch.equal(first.encoder, other.encoder)

    @pytest.mark.parametrize("n_windows", [1, 3, 8])
    def test_with_too_few_windows_it_is_pca(self, n_windows: int) -> None:
        data, windows = self.data(), torch.tensor(self.WINDOWS[:n_windows])
        pca = PrincipalComponents.fit(data, windows, torch.zeros(8), n_components=6, seed=0)
        linear = LinearAutoencoder.fit(data, windows, pca)
        batch = data.gather(torch.tensor(self.WINDOWS[:20]))
        torch.testing.assert_close(linear.predict(batch), pca.predict(batch))

    def test_windows_that_it_is_judged_by_don_t_overlap_the_others(self) -> None:
        earlier, later = split_by_start(torch.tensor(self.WINDOWS), LENGTH)
        assert earlier[:, 1].max() + LENGTH == later[:, 1].min()
        assert len(later) == 4 * 19
