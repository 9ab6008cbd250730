"""Laws of residuals in units of noise, and of the counts behind and expected of them."""

from dataclasses import replace
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest

from features.representation import Representation
from flows.learning import LearningData
from flows.noise import (
    countable,
    error_variance,
    events_behind,
    events_expected,
    finest,
    in_model_units,
    noise_residuals,
    reference_steps,
    slabs_of,
    training_steps,
)
from tests.naive_judging import (
    BLOCKS,
    N_STEPS,
    Oracle,
    config_of,
    cube_of,
    invented_counts,
    invented_scores,
    learning,
)

CASES = list(product(get_args(Representation), [False, True]))
EVERYTHING = slice(None)


def case(representation: str, *, difference: bool = False, loss: str = "huber") -> LearningData:
    """Return data in which steps with few events are masked, and one has none."""
    counts = invented_counts()
    counts[1, 20] = 0
    least = {"root_counts": 0}.get(representation, 20)
    config = config_of(
        transform__representation=representation,
        transform__difference=difference,
        training__loss=loss,
        windows__min_step_events=least,
    )
    return learning(cube_of(counts), config)


@pytest.mark.parametrize(("representation", "difference"), CASES)
def test_residuals_and_expectations_are_the_naive_formula_s(
    representation: str, difference: bool
) -> None:
    data = case(representation, difference=difference)
    expected = invented_scores(data)[0].step_reconstruction
    oracle, own = Oracle(data, expected), slice(1, 3)
    found = noise_residuals(data, expected, own)
    variance = error_variance(data, expected)
    wanted = events_expected(data, found.represented, variance[EVERYTHING], own)
    for e, s, f in np.ndindex((2, 40, len(BLOCKS))):
        if not oracle.is_known(1 + e, s):
            continue
        place, cell = (1 + e, s, f), (e, s, f)
        assert found.residuals[cell] == pytest.approx(
            oracle.residual(*place), rel=2e-3, abs=1e-4
        ), place
        represented = oracle.represented(*place)
        assert found.represented[cell] == pytest.approx(represented, rel=1e-3, abs=1e-4)
        assert found.errors[cell] == pytest.approx(
            float(data.prepared.represented[place]) - represented, rel=1e-3, abs=1e-4
        )
        if BLOCKS[f] in {"event_type", "quad"}:
            assert wanted[cell] == pytest.approx(oracle.wanted(*place), rel=2e-3, abs=1e-3)
    for e, f in np.ndindex(3, len(BLOCKS)):
        assert variance[e, f] == pytest.approx(oracle.variance(e, f), rel=1e-3)


@pytest.mark.parametrize("loss", ["huber", "multinomial"])
@pytest.mark.parametrize(("representation", "difference"), CASES)
def test_nothing_is_left_of_steps_that_came_as_expected(
    representation: str, difference: bool, loss: str
) -> None:
    data = case(representation, difference=difference, loss=loss)
    perfect = data.prepared.values if data.target is None else data.target
    assert np.isfinite(perfect).all()  # the empty step is masked where there are only shares
    found = noise_residuals(data, in_model_units(data, perfect), EVERYTHING)
    residuals = found.residuals[data.prepared.observed]
    np.testing.assert_allclose(residuals, 0, atol=2e-3)
    assert residuals.shape == (data.prepared.observed.sum(), len(BLOCKS))


def test_a_model_of_shares_is_judged_in_the_units_of_what_it_sees() -> None:
    data = case("root_counts", loss="multinomial")
    assert data.target is not None
    rebuilt = data.target.copy()
    rebuilt[..., :4] = [0.1, 0.2, 0.3, 0.4]
    rebuilt[0, 0, 0], rebuilt[0, 1] = -0.5, np.nan
    got, prepared = in_model_units(data, rebuilt), data.prepared
    assert np.isnan(got[0, 1]).all()
    for e, s, f in [(0, 0, 0), (1, 5, 1), (2, 60, 3)]:
        share = max(float(rebuilt[e, s, f]), 0)
        root = np.sqrt(share * data.cube.exposure[e, s])
        level = 1 if prepared.standardiser.level is None else prepared.standardiser.level[e, s]
        mean = prepared.standardiser.mean[e, f] * level
        wanted = (root - mean) / prepared.standardiser.scale[e, f]
        assert got[e, s, f] == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_a_model_of_what_it_sees_is_left_alone_but_for_a_copy() -> None:
    data = case("root_counts")
    got = in_model_units(data, data.prepared.values)
    np.testing.assert_array_equal(got, data.prepared.values)
    assert not np.shares_memory(got, data.prepared.values)


@pytest.mark.parametrize("representation", get_args(Representation))
def test_expected_events_of_a_kind_average_to_the_observed_over_training(
    representation: str,
) -> None:
    """Where the expectation is right on average, as that of the mean is."""
    data = case(representation)
    training = training_steps(data.prepared)
    known = np.where(training[..., None], data.prepared.values, np.nan)
    mean = np.nanmean(known, axis=1, keepdims=True)
    expected = np.broadcast_to(mean, known.shape).astype(np.float32)
    found = noise_residuals(data, expected, EVERYTHING)
    wanted = events_expected(data, found.represented, error_variance(data, expected), EVERYTHING)
    behind = events_behind(data.cube, EVERYTHING)
    for e in range(3):
        got, there = (counts[e, training[e], :6].mean(axis=0) for counts in (wanted, behind))
        # Entities' variances are drawn a little towards each other's.
        np.testing.assert_allclose(got, there, rtol=0.06, atol=0.1)
        assert got.sum() == pytest.approx(there.sum(), rel=0.03)


def test_events_behind_a_share_are_whole_and_none_in_an_empty_step() -> None:
    counts = invented_counts()
    counts[1, 20] = 0
    behind = events_behind(cube_of(counts), slice(1, 3))
    np.testing.assert_array_equal(behind[..., :4], counts[1:])
    assert (behind[0, 20] == 0).all()


def test_training_and_reference_steps_are_observed_and_apart() -> None:
    data = case("proportion")
    training, reference = training_steps(data.prepared), reference_steps(data.prepared)
    split = data.prepared.split
    wanted = data.prepared.observed.copy()
    assert not wanted.all()
    np.testing.assert_array_equal(
        training[:, : split.training_end], wanted[:, : split.training_end]
    )
    assert not training[:, split.training_end :].any()
    inside = slice(split.validation_start, split.validation_end)
    np.testing.assert_array_equal(reference[:, inside], wanted[:, inside])
    assert reference.sum() == wanted[:, inside].sum()
    assert not (training & reference).any()


@pytest.mark.parametrize("at_once", [1, 2, 3, 99])
def test_slabs_hold_every_entity_once(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = cube_of(invented_counts(n_entities=5))
    monkeypatch.setattr("flows.noise._VALUES_AT_ONCE", at_once * N_STEPS * len(BLOCKS) + 1)
    slabs = [np.arange(5)[one] for one in slabs_of(cube)]
    assert np.concatenate(slabs).tolist() == [0, 1, 2, 3, 4]
    assert max(map(len, slabs)) == min(at_once, 5)


def test_there_can_be_more_of_everything_but_of_a_mean_intensity() -> None:
    cube = cube_of(invented_counts())
    assert countable(cube).tolist() == [block != "intensity" for block in BLOCKS]


@pytest.mark.parametrize(
    ("blocks", "kinds"),
    [
        (BLOCKS, range(4)),
        (("quad", "quad", *["event_type"] * 4), range(2, 6)),
        (("quad", "quad", *["root"] * 3, "intensity"), range(2, 5)),
        (("source_sector", "quad", "quad"), range(1, 3)),
    ],
)
def test_the_finest_kinds_are_of_the_block_that_tells_most_apart(blocks: Any, kinds: range) -> None:
    assert np.flatnonzero(finest(cube_of(invented_counts(), blocks))).tolist() == list(kinds)


def test_without_kinds_there_is_nothing_to_count() -> None:
    cube = replace(cube_of(invented_counts()), blocks=("source_sector",) * 7 + ("log_volume",))
    with pytest.raises(ValueError, match=r"blocks are source_sector, log_volume: none.*event_type"):
        finest(cube)
