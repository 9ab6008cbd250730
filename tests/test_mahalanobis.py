"""Laws of the Mahalanobis distance of residuals: the textbook's, whatever there is to fit it on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ShapeError
from models.mahalanobis import Mahalanobis, MahalanobisConfig
from tests import naive_step_scores as naive

SEEDS = st.integers(0, 2**32 - 1)
POOLED = MahalanobisConfig(steps_a_feature=1e9)


def residuals_of(
    seed: int, shape: tuple[int, int, int] = (3, 40, 4), masked: float = 0
) -> np.ndarray:
    """Residuals with a mean and with features that go together; NaN in some steps."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(shape[2], shape[2]))
    residuals = (generator.normal(size=shape) @ mixing + generator.normal(size=shape[2])) * 2
    residuals[generator.random(shape[:2]) < masked] = np.nan
    return residuals.astype(np.float32)


def everything(residuals: np.ndarray) -> np.ndarray:
    return np.ones(residuals.shape[:2], bool)


def fitted(residuals: np.ndarray, reference: np.ndarray, **options: Any) -> Mahalanobis:
    return Mahalanobis.fit(residuals, reference, seed=0, config=MahalanobisConfig(**options))


@given(seed=SEEDS)
def test_the_distance_is_the_textbook_formula(seed: int) -> None:
    residuals = residuals_of(seed, masked=0.1)
    reference = np.random.default_rng(seed).random((3, 40)) < 0.7
    rows = residuals[reference]
    wanted = naive.mahalanobis(
        np.nan_to_num(residuals).reshape(-1, 4), rows[~np.isnan(rows[:, 0])]
    ).reshape(3, 40)
    scores = Mahalanobis.fit(residuals, reference, seed=0, config=POOLED).score(residuals)
    known = ~np.isnan(residuals[..., 0])
    np.testing.assert_allclose(scores[known], wanted[known], rtol=2e-3)
    assert np.isnan(scores[~known]).all()
    assert scores.dtype == np.float32


def test_a_case_worked_by_hand() -> None:
    # Far more steps than shrinkage needs: variances 4 and 1, nothing shared, means 1 and 0.
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 5000)
    residuals = (signs * [2, 1] + [1, 0])[None].astype(np.float32)
    distance = fitted(residuals, everything(residuals))
    scores = distance.score(np.float32([[[1, 0], [3, 0], [1, 3], [3, 3]]]))
    np.testing.assert_allclose(scores, [[0, 0.5, 4.5, 5]], rtol=1e-2, atol=1e-3)


@given(seed=SEEDS)
def test_an_entity_with_enough_history_has_its_own_covariance(seed: int) -> None:
    residuals = residuals_of(seed)
    residuals[1] = 5 * residuals[1][:, ::-1] + 3
    reference = everything(residuals)
    reference[2, 7:] = False  # 7 steps of 4 features: not enough
    distance = fitted(residuals, reference)
    assert distance.group.tolist() == [1, 2, 0]
    scores = distance.score(residuals)
    pool = np.concatenate([residuals[0], residuals[1], residuals[2, :7]])
    for entity, own in enumerate((residuals[0], residuals[1], pool)):
        np.testing.assert_allclose(
            scores[entity], naive.mahalanobis(residuals[entity], own), rtol=2e-3
        )


@pytest.mark.parametrize(("n_steps", "group"), [(7, 0), (8, 1)])
def test_enough_is_so_many_steps_a_feature(n_steps: int, group: int) -> None:
    residuals = residuals_of(0, (1, 20, 4))
    reference = (np.arange(20) < n_steps)[None]
    assert fitted(residuals, reference, steps_a_feature=2.0).group.tolist() == [group]


def test_a_single_step_is_never_enough() -> None:
    residuals = residuals_of(0, (2, 20, 4))
    reference = everything(residuals)
    reference[1, 1:] = False
    distance = fitted(residuals, reference, steps_a_feature=0.1)
    assert distance.group.tolist() == [1, 0]


def test_scores_are_about_1_on_the_reference_and_more_on_what_is_stranger() -> None:
    # What little varies is shrunk most: features must not be nearly the same.
    residuals = np.random.default_rng(1).normal(size=(2, 1000, 6)).astype(np.float32)
    residuals[..., 1] += residuals[..., 0] + 3
    for config in (POOLED, MahalanobisConfig()):
        distance = Mahalanobis.fit(residuals, everything(residuals), seed=0, config=config)
        assert distance.score(residuals).mean() == pytest.approx(1, abs=0.05)
        centre = residuals.mean(axis=(0, 1))
        assert distance.score(centre + 3 * (residuals - centre)).mean() == pytest.approx(9, abs=0.6)


def test_what_breaks_a_relation_scores_higher_than_what_is_merely_far() -> None:
    generator = np.random.default_rng(0)
    shared = generator.normal(size=(1, 2000, 1))
    residuals = (shared + 0.1 * generator.normal(size=(1, 2000, 2))).astype(np.float32)
    distance = fitted(residuals, everything(residuals))
    along, against = distance.score(np.float32([[[2, 2], [1, -1]]]))[0]
    assert against > 10 * along


@given(seed=SEEDS)
def test_fewer_steps_than_features_are_enough(seed: int) -> None:
    residuals = residuals_of(seed, (1, 5, 12))
    distance = fitted(residuals, everything(residuals))
    scores = distance.score(residuals)
    assert np.isfinite(scores).all()
    assert (distance.score(residuals + 100) > scores).all()


def test_a_feature_that_never_varies_is_no_obstacle() -> None:
    residuals = residuals_of(2, (1, 500, 3))
    residuals[..., 1] = 0.5
    distance = fitted(residuals, everything(residuals))
    scores = distance.score(residuals)
    assert np.isfinite(scores).all()
    assert scores.mean() == pytest.approx(2 / 3, abs=0.1), "the two that vary"
    residuals[0, 7, 1] = 2.5
    assert distance.score(residuals)[0, 7] > scores[0, 7], "and now it does"


def test_residuals_that_never_vary_have_distances_all_the_same() -> None:
    residuals = np.ones((1, 6, 2), np.float32)
    distance = fitted(residuals, everything(residuals))
    assert not distance.score(residuals).any()
    np.testing.assert_allclose(distance.score(residuals + 2), 4)


@given(seed=SEEDS, until=st.integers(1, 39))
def test_once_fitted_scores_depend_on_nothing_but_the_step(seed: int, until: int) -> None:
    residuals, other = residuals_of(seed), residuals_of(seed + 1)
    reference = everything(residuals)
    distance = fitted(residuals, reference)
    whole = distance.score(residuals)
    np.testing.assert_allclose(distance.score(residuals[:, :until]), whole[:, :until], rtol=1e-5)
    other[1] = residuals[1]
    np.testing.assert_allclose(distance.score(other)[1], whole[1], rtol=1e-5)
    other[:, :until] = residuals[:, :until]
    np.testing.assert_allclose(distance.score(other)[:, :until], whole[:, :until], rtol=1e-5)


@given(seed=SEEDS)
def test_steps_outside_the_reference_have_no_say(seed: int) -> None:
    residuals, other = residuals_of(seed), residuals_of(seed + 1)
    reference = np.broadcast_to(np.arange(40) < 25, (3, 40))
    other[:, :25] = residuals[:, :25]
    one, two = (fitted(values, reference) for values in (residuals, other))
    np.testing.assert_array_equal(one.score(residuals), two.score(residuals))


def test_a_residual_that_is_missing_leaves_its_step_without_a_score() -> None:
    residuals = residuals_of(3)
    residuals[0, 4, 2] = np.nan
    reference = everything(residuals)
    unknown = np.isnan(fitted(residuals, reference).score(residuals))
    assert np.argwhere(unknown).tolist() == [[0, 4]]


def test_very_many_rows_are_drawn_from_by_the_seed() -> None:
    residuals = residuals_of(4, (2, 300, 3))
    config = MahalanobisConfig(steps_a_feature=1e9, max_rows=50)

    def means(seed: int) -> np.ndarray:
        distance = Mahalanobis.fit(residuals, everything(residuals), seed=seed, config=config)
        return distance.means

    np.testing.assert_array_equal(means(0), means(0))
    assert not np.array_equal(means(0), means(1))


def test_long_series_are_scored_in_parts_that_fit_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    residuals = residuals_of(5)
    distance = fitted(residuals, everything(residuals))
    whole = distance.score(residuals)
    monkeypatch.setattr("models.mahalanobis._ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(distance.score(residuals), whole, rtol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    residuals = residuals_of(6)
    with pytest.raises(ShapeError, match=r"expected \(E, S, F\) and \(E, S\)"):
        fitted(residuals, np.ones((3, 39), bool))
    with pytest.raises(ValueError, match="1 reference steps have residuals"):
        fitted(residuals, np.arange(120).reshape(3, 40) == 5)
    distance = fitted(residuals, everything(residuals))
    for other in (residuals[:2], residuals[..., :3], residuals[0]):
        with pytest.raises(ShapeError, match="fitted on 3 entities with 4 features"):
            distance.score(other)


@pytest.mark.parametrize("name", ["steps_a_feature", "max_rows"])
def test_numbers_that_are_not_above_0_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0; it must be above 0"):
        MahalanobisConfig(**{name: 0})  # type: ignore[arg-type]
