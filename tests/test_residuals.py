"""Laws of errors in units of sampling noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ShapeError, pearson_errors
from tests import naive


def random_shares(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    observed, expected = generator.dirichlet(np.ones(5), size=(2, 3, 4)).astype(np.float32)
    return observed, expected, generator.integers(0, 50, size=(3, 4))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_errors_equal_the_formula_written_out(seed: int) -> None:
    observed, expected, exposure = random_shares(seed)
    is_share = np.array([True, True, True, True, False])
    got = pearson_errors(observed, expected, exposure, is_share=is_share)
    wanted = naive.pearson_errors(observed, expected, exposure, is_share)
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_where_only_chance_differs_the_mean_error_is_about_one_whatever_the_exposure() -> None:
    generator = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.2])
    for n in (20, 200, 2000):
        observed = (generator.multinomial(n, shares, size=20_000) / n).astype(np.float32)
        expected = np.broadcast_to(shares.astype(np.float32), observed.shape)
        error = pearson_errors(observed, expected, np.full(20_000, n)).mean()
        assert error == pytest.approx(1, abs=0.2)


def test_a_plain_error_would_rank_the_quiet_step_first_and_this_one_does_not() -> None:
    expected = np.float32([[0.1, 0.9], [0.1, 0.9]])
    observed = np.float32([[1 / 3, 2 / 3], [0.2, 0.8]])  # one event of three; 400 of 2,000
    plain = ((observed - expected) ** 2).mean(axis=1)
    judged = pearson_errors(observed, expected, np.array([3, 2000])).mean(axis=1)
    assert plain[0] > plain[1]
    assert judged[1] > 20 * judged[0]


def test_a_step_without_events_has_no_error() -> None:
    observed, expected, exposure = random_shares(1)
    exposure[0, 0] = 0
    errors = pearson_errors(observed, expected, exposure)
    assert np.isnan(errors[0, 0]).all()


def test_shares_that_a_decoder_overshoots_are_clipped() -> None:
    exposure = np.array([10])
    over = pearson_errors(np.float32([[0.5]]), np.float32([[1.7]]), exposure)
    at_one = pearson_errors(np.float32([[0.5]]), np.float32([[1.0]]), exposure)
    assert over == at_one


def test_shapes_that_do_not_fit_are_refused_and_not_broadcast() -> None:
    observed, expected, exposure = random_shares(2)
    with pytest.raises(ShapeError, match="observed has shape"):
        pearson_errors(observed, expected[:1], exposure)
    with pytest.raises(ShapeError, match="exposure"):
        pearson_errors(observed, expected, exposure[:, :1])
