"""Laws of expected events: means of counts from expected roots or proportions."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.expected_events import (
    expected_events,
    poisson_root_variance,
    representation_variance,
)
from features.representation import Representation

BLOCKS = ("event_type", "event_type", "intensity", "log_volume")


def one_step(
    values: list[float], n: int, representation: Representation, variance: float = 0.0
) -> list[float]:
    """Return the events expected in a single step."""
    expected = np.array([[values]], np.float32)
    got = expected_events(
        expected,
        np.full((1, len(values)), variance, np.float32),
        np.array([[n]]),
        BLOCKS,
        representation,
    )
    assert got.dtype == np.float32
    assert got.shape == (1, 1, len(values))
    return got[0, 0].tolist()


@pytest.mark.parametrize(
    ("representation", "values", "wanted"),
    [
        ("root_counts", [3.0, 1.0, 0.5, 4.0], [9.25, 1.25, np.nan, 16.25]),
        ("root_counts", [-3.0, 0.0, 0.5, -1.0], [0.25, 0.25, np.nan, 0.25]),
        ("angular", [0.5, 0.6, 0.5, np.log(21)], [10.0, 12.2, np.nan, 20.0]),
        ("angular", [-0.5, 1.5, 0.5, -1.0], [5.0, 20.0, np.nan, 0.0]),
        ("proportion", [0.75, 0.25, 0.5, np.log(21)], [15.0, 5.0, np.nan, 20.0]),
        ("proportion", [-0.1, 1.1, 0.5, 0.0], [0.0, 20.0, np.nan, 0.0]),
    ],
)
def test_expected_events_by_hand(
    representation: Representation, values: list[float], wanted: list[float]
) -> None:
    assert one_step(values, 20, representation, 0.25) == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize("representation", get_args(Representation))
def test_what_is_not_known_is_not_expected_either(representation: Representation) -> None:
    assert np.isnan(one_step([np.nan] * 4, 20, representation)).all()


@settings(max_examples=50)
@given(rate=st.floats(0.01, 60), n_steps=st.integers(20, 300), seed=st.integers(0, 999))
def test_expected_events_average_to_the_observed_where_the_mean_root_is_expected(
    rate: float, n_steps: int, seed: int
) -> None:
    """However rare: of events that hardly ever occur, nearly all of it is the variance."""
    counts = np.random.default_rng(seed).poisson(rate, (1, n_steps, 1))
    roots = np.sqrt(counts).astype(np.float32)
    expected = np.full_like(roots, roots.mean())
    prior = poisson_root_variance(expected[:, 0])
    variance = representation_variance(roots - expected, np.ones((1, n_steps), bool), prior)
    got = expected_events(expected, variance, counts[..., 0], ["quad"], "root_counts")
    own = float(np.square(roots - expected).mean())
    assert got.mean() == pytest.approx(
        counts.mean() + (prior.item() - own) * 10 / (n_steps + 10), rel=1e-4, abs=1e-5
    )


@settings(max_examples=30)
@given(seed=st.integers(0, 999))
def test_variance_is_the_mean_square_in_training_drawn_towards_the_prior(seed: int) -> None:
    generator = np.random.default_rng(seed)
    errors = generator.normal(size=(3, 12, 2)).astype(np.float32) * [[[1]], [[4]], [[1]]]
    training = generator.random((3, 12)) > 0.4
    errors[generator.random((3, 12)) > 0.8] = np.nan
    training[2] = False
    prior = generator.random((3, 2)).astype(np.float32)
    got = representation_variance(errors.astype(np.float32), training, prior)
    for feature in range(2):
        own = [
            [
                float(errors[e, s, feature]) ** 2
                for s in range(12)
                if training[e, s] and not np.isnan(errors[e, s, feature])
            ]
            for e in range(3)
        ]
        wanted = [
            (sum(row) + 10 * float(prior[e, feature])) / (len(row) + 10)
            for e, row in enumerate(own)
        ]
        assert got[:, feature] == pytest.approx(wanted, rel=1e-4)
    assert got[2] == pytest.approx(prior[2], rel=1e-6)


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.4, 1.0, 3.0, 12.0, 40.0, 300.0])
def test_the_variance_of_a_poisson_root_is_that_of_many_draws(rate: float) -> None:
    roots = np.sqrt(np.random.default_rng(0).poisson(rate, 400_000))
    variance = float(poisson_root_variance(np.array([roots.mean()], np.float32))[0])
    assert variance == pytest.approx(roots.var(), rel=0.05, abs=2e-4)


def test_what_never_happens_has_no_variance() -> None:
    assert poisson_root_variance(np.array([0.0, -1.0], np.float32)).tolist() == [0.0, 0.0]
