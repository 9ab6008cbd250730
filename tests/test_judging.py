"""Laws of judging steps: agreement with slow oracles, and what a score may depend on."""

from dataclasses import replace
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest

from features.cube import Cube
from features.representation import Representation
from flows.judging import Judgement, StepJudgement, judge_steps
from flows.learning import LearningData
from flows.noise import noise_residuals, reference_steps
from models import AutoencoderConfig, LSTMAutoencoder, Mahalanobis, nowcast, score
from models.step_scores import surge
from tests.naive_judging import (
    BLOCKS,
    LENGTH,
    N_STEPS,
    Oracle,
    config_of,
    cube_of,
    invented_counts,
    invented_scores,
    learning,
)

REPRESENTATIONS: tuple[Representation, ...] = get_args(Representation)
CASES = list(product(REPRESENTATIONS, [False, True]))
OF_STEPS = ("score", "loudness", "strangeness", "expected_events", "p_value", "q_value")
OF_EXPECTATIONS = ("squared_error", "surge", "deviance", "mahalanobis")


def case(
    representation: str = "root_counts",
    *,
    counts: np.ndarray | None = None,
    blocks: Any = BLOCKS,
    n_steps: int = N_STEPS,
    **settings: Any,
) -> tuple[LearningData, Any]:
    """Return data and configuration; proportions are masked below 40 events."""
    least = 0 if representation == "root_counts" else 40
    chosen: dict[str, Any] = {
        "transform__representation": representation,
        "windows__min_step_events": least,
    }
    config = config_of(**chosen | settings)
    cube = cube_of(invented_counts(n_steps=N_STEPS + 9) if counts is None else counts, blocks)
    return learning(first_steps(cube, n_steps), config), config


def first_steps(cube: Cube, n_steps: int) -> Cube:
    """Return what is known after so many steps."""
    return replace(
        cube,
        values=cube.values[:, :n_steps],
        exposure=cube.exposure[:, :n_steps],
        steps=cube.steps[:n_steps],
    )


def judged(data: LearningData, config: Any, *, seed: int = 0, off: float = 1.0) -> Judgement:
    return judge_steps(data, *invented_scores(data, seed, off=off), config)


def expected_of_scores(data: LearningData) -> np.ndarray:
    """Return what the score compares with: newest where a window ends, combined elsewhere."""
    scores, newest = invented_scores(data)
    expected = newest.copy()
    for e, s in np.ndindex(expected.shape[:2]):
        if np.isnan(newest[e, s]).any():
            expected[e, s] = scores.step_reconstruction[e, s]
    return expected


def by_model(data: LearningData, config: Any) -> Judgement:
    """Judge by a model with random weights: its expectations are a function of what it sees."""
    groups = data.share_groups
    model = LSTMAutoencoder(
        data.prepared.values.shape[2], AutoencoderConfig(latent_size=3), share_groups=groups
    )
    windows = data.prepared.windows.index
    seen = {name: value for name, value in data.arrays.items() if name != "target"}
    return judge_steps(
        data,
        score(model, windows=windows, device="cpu", **data.arrays),
        nowcast(model, windows=windows, device="cpu", **seen),
        config,
    )


def step_arrays(judgement: Judgement) -> dict[str, np.ndarray]:
    arrays = {name: getattr(judgement, name) for name in OF_STEPS}
    arrays["volume_share"] = judgement.drivers.volume_share
    for name in OF_EXPECTATIONS:
        arrays[f"combined {name}"] = getattr(judgement.combined, name)
        arrays[f"newest {name}"] = getattr(judgement.newest, name)
    return arrays


@pytest.mark.parametrize(("representation", "difference"), CASES)
def test_score_strangeness_and_shares_are_the_naive_formula_s(
    representation: str, difference: bool
) -> None:
    data, config = case(representation, transform__difference=difference)
    got, oracle = judged(data, config), Oracle(data, expected_of_scores(data))
    fine = [f for f in oracle.counted if BLOCKS[f] != "log_volume"]
    wanted = oracle.relative(oracle.residual, oracle.counted)
    np.testing.assert_allclose(got.score, wanted, rtol=2e-3)
    strangeness = oracle.relative(oracle.by_composition, fine)
    np.testing.assert_allclose(got.strangeness, strangeness, rtol=5e-3, atol=1e-4)
    for e, s in [(0, 0), (0, 7), (1, 30), (2, N_STEPS - 1), *np.ndindex((3, 12))]:
        if not oracle.is_known(e, s):
            assert np.isnan(got.score[e, s])
            continue
        volume = oracle.residual(e, s, len(BLOCKS) - 1)
        assert got.loudness[e, s] == pytest.approx(volume, rel=1e-3, abs=1e-5)
        assert got.expected_events[e, s] == pytest.approx(oracle.expected_events(e, s), rel=1e-3)
        share = got.drivers.volume_share[e, s]
        assert share == pytest.approx(oracle.volume_share(e, s), rel=5e-3, abs=1e-4)


@pytest.mark.parametrize(("representation", "difference"), CASES)
@pytest.mark.parametrize("which", ["combined", "newest"])
def test_scores_by_either_expectation_are_the_naive_formula_s(
    representation: str, difference: bool, which: str
) -> None:
    data, config = case(representation, transform__difference=difference)
    scores, newest = invented_scores(data)
    got: StepJudgement = getattr(judged(data, config), which)
    oracle = Oracle(data, scores.step_reconstruction if which == "combined" else newest)
    n_known = 0
    for e, s in np.ndindex((3, 30)):
        if not oracle.is_known(e, s):
            assert all(np.isnan(getattr(got, name)[e, s]) for name in OF_EXPECTATIONS)
            continue
        n_known += 1
        assert got.squared_error[e, s] == pytest.approx(oracle.squared_error(e, s), rel=1e-4)
        wanted = oracle.surge(e, s, oracle.residual, oracle.counted, two_steps=False)
        assert got.surge[e, s] == pytest.approx(wanted, rel=1e-3, abs=1e-6)
        assert got.deviance[e, s] == pytest.approx(oracle.deviance(e, s), rel=2e-3, abs=1e-3)
    assert n_known > 20


def test_mahalanobis_is_of_all_residuals_by_those_of_validation() -> None:
    data, config = case()
    scores, newest = invented_scores(data)
    for which, expected in (("combined", scores.step_reconstruction), ("newest", newest)):
        residuals = noise_residuals(data, expected, slice(None)).residuals
        fitted = Mahalanobis.fit(
            residuals, reference_steps(data.prepared), seed=0, config=config.mahalanobis
        )
        got = getattr(judged(data, config), which).mahalanobis
        np.testing.assert_allclose(got, fitted.score(residuals), rtol=1e-5)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_drivers_are_sorted_shares_of_the_score(representation: str) -> None:
    data, config = case(representation, scoring__drivers=3)
    drivers, oracle = judged(data, config).drivers, Oracle(data, expected_of_scores(data))
    n_fewer = 0
    for e, s in np.ndindex(data.cube.exposure.shape):
        wanted = oracle.drivers(e, s) if oracle.is_known(e, s) else []
        n_fewer += len(wanted) < 3
        got = [
            (
                int(drivers.positions[e, s, k]),
                float(drivers.shares[e, s, k]),
                float(drivers.events[e, s, k]),
                float(drivers.expected_events[e, s, k]),
            )
            for k in range(3)
        ]
        for k, one in enumerate(wanted[:3]):
            assert got[k] == pytest.approx(one, rel=2e-3, abs=1e-4), (e, s)
        for one in got[len(wanted) :]:
            assert one[0] == -1
            assert np.isnan(one[1:]).all()
    assert n_fewer > 5


def test_a_step_is_named_as_many_drivers_as_there_are_kinds_at_most() -> None:
    data, config = case(scoring__drivers=99)
    assert judged(data, config).drivers.positions.shape[2] == 4


@pytest.mark.parametrize(
    ("representation", "difference", "loss"),
    [(*one, "huber") for one in CASES] + [(*one, "multinomial") for one in CASES],
)
def test_every_representation_and_loss_gives_finite_scores_where_there_is_something_to_judge(
    representation: str, difference: bool, loss: str
) -> None:
    data, config = case(representation, transform__difference=difference, training__loss=loss)
    got = by_model(data, config)
    is_given = loss == "multinomial" and representation == "root_counts"
    known = data.prepared.observed.copy()
    covered, ends = np.zeros_like(known), np.zeros_like(known)
    for entity, start in data.prepared.windows.index:
        covered[entity, start : start + LENGTH], ends[entity, start + LENGTH - 1] = True, True
    for name, values in step_arrays(got).items():
        wanted = known & (ends if name.startswith("newest") else covered)
        if name == "loudness" and is_given:
            wanted[:] = False
        np.testing.assert_array_equal(np.isfinite(values), wanted, err_msg=name)
        np.testing.assert_array_equal(np.isnan(values), ~wanted, err_msg=name)
    judged_steps = known & covered
    assert (got.score[judged_steps] >= 0).all()
    assert ((got.p_value[judged_steps] > 0) & (got.p_value[judged_steps] <= 1)).all()
    assert (got.q_value >= got.p_value)[judged_steps].all()
    share = got.drivers.volume_share[judged_steps]
    assert ((share >= 0) & (share <= 1)).all()


def test_a_model_without_any_error_has_no_usual_one_to_judge_by() -> None:
    data, config = case()
    scores, _ = invented_scores(data)
    perfect = replace(scores, step_reconstruction=data.prepared.values)
    with pytest.raises(ValueError, match="must be above 0 to be what is usual"):
        judge_steps(data, perfect, data.prepared.values, config)


def planted(counts: np.ndarray, *, blocks: Any = BLOCKS) -> Judgement:
    """Judge counts by the mean of training, which is 50, 50, 30 and 10 events a kind.

    Where counts are NaN the step comes as expected, give or take an event in training.
    """
    usual = np.tile([50, 50, 30, 10], (2, N_STEPS, 1))
    usual[:, :50:2] += 1
    usual[:, 1:50:2] -= 1
    data, config = case(
        counts=np.where(np.isnan(counts), usual, counts).astype(int),
        blocks=blocks,
        transform__common_volume=False,
    )
    mean = data.prepared.represented[:, :50].mean(axis=1, keepdims=True)
    standardiser = data.prepared.standardiser
    expected = (mean - standardiser.expected) / standardiser.scale[:, None]
    expected = np.broadcast_to(expected, data.prepared.values.shape).astype(np.float32)
    scores, newest = invented_scores(data)
    scores = replace(
        scores, step_reconstruction=np.where(scores.coverage[..., None], expected, np.nan)
    )
    return judge_steps(data, scores, np.where(np.isnan(newest), np.nan, expected), config)


STEP = 70


def with_step(*kinds: float) -> np.ndarray:
    """Return counts, NaN for as usual, in which one step of the first entity is what is given."""
    counts = np.full((2, N_STEPS, 4), np.nan)
    counts[0, STEP] = kinds
    return counts


@pytest.mark.parametrize("blocks", [BLOCKS, BLOCKS[:-1]])
def test_a_step_that_is_louder_and_composed_as_expected_is_all_volume(blocks: Any) -> None:
    usual = planted(with_step(50, 50, 30, 10), blocks=blocks)
    for times in (4, 9):
        loud = planted(with_step(*(times * np.array([50, 50, 30, 10]))), blocks=blocks)
        assert loud.drivers.volume_share[0, STEP] > 0.95
        assert loud.score[0, STEP] > 20 * usual.score[0, STEP]
        assert loud.strangeness[0, STEP] < usual.strangeness[0, STEP] + 1
        assert loud.expected_events[0, STEP] == pytest.approx(140, rel=0.02)


@pytest.mark.parametrize("blocks", [BLOCKS, BLOCKS[:-1]])
def test_a_step_of_usual_volume_and_other_kinds_is_all_composition(blocks: Any) -> None:
    usual = planted(with_step(50, 50, 30, 10), blocks=blocks)
    strange = planted(with_step(10, 30, 50, 50), blocks=blocks)
    assert strange.drivers.volume_share[0, STEP] < 0.02
    assert strange.strangeness[0, STEP] > 5 * usual.strangeness[0, STEP]
    if "log_volume" in blocks:
        assert abs(strange.loudness[0, STEP]) < 0.2
    assert [BLOCKS[f] for f in strange.drivers.positions[0, STEP, :2]] == ["event_type"] * 2
    assert strange.drivers.positions[0, STEP, :2].tolist() == [3, 2]
    assert strange.drivers.events[0, STEP, :2].tolist() == [50, 50]
    assert strange.drivers.expected_events[0, STEP, :2] == pytest.approx([10, 30], rel=0.05)


def test_loudness_sees_volume_alone_and_strangeness_composition_alone() -> None:
    loud, strange, both = (
        planted(with_step(*kinds))
        for kinds in ((200, 200, 120, 40), (10, 30, 50, 50), (40, 120, 200, 200))
    )
    assert loud.loudness[0, STEP] == pytest.approx(both.loudness[0, STEP], rel=1e-5)
    assert loud.loudness[0, STEP] > 5
    assert abs(strange.loudness[0, STEP]) < 1
    assert both.strangeness[0, STEP] > strange.strangeness[0, STEP] > 5
    assert both.score[0, STEP] > loud.score[0, STEP]


def test_a_silent_step_is_scored_with_negative_loudness_and_no_surge() -> None:
    got = planted(with_step(0, 0, 0, 0))
    assert got.loudness[0, STEP] < -5
    assert got.score[0, STEP] == got.combined.surge[0, STEP] == got.newest.surge[0, STEP] == 0
    assert got.p_value[0, STEP] > 0.5
    assert (got.drivers.positions[0, STEP] == -1).all()
    assert got.drivers.volume_share[0, STEP] == 0
    assert got.combined.squared_error[0, STEP] > 10


def test_what_goes_on_for_two_steps_scores_higher_than_what_is_over_in_one() -> None:
    counts = with_step(200, 200, 120, 40)
    once = planted(counts).score[0, STEP + 1]
    counts[0, STEP + 1] = counts[0, STEP]
    twice = planted(counts).score[0]
    assert twice[STEP + 1] > twice[STEP] > 1
    assert twice[STEP + 1] > once


def test_without_log_volume_all_but_loudness_is_said() -> None:
    data, config = case(blocks=BLOCKS[:-1])
    got = judged(data, config)
    for name, values in step_arrays(got).items():
        wanted = name != "loudness"
        assert np.isfinite(values[:, LENGTH:]).all() == wanted, name
    assert np.isnan(got.loudness).all()


def test_blocks_without_kinds_of_event_are_refused() -> None:
    with pytest.raises(ValueError, match="none of them counts events by kind"):
        case(vocabulary__blocks=["intensity", "source_sector"])
    data, config = case(blocks=("source_sector", "intensity", "log_volume"))
    with pytest.raises(ValueError, match=r"blocks are source_sector, intensity, log_volume: none"):
        judged(data, config)


def test_sectors_are_no_kinds_of_event_whatever_the_order_of_blocks() -> None:
    blocks = ("source_sector", "source_sector", "quad", "quad", *["event_type"] * 4)
    data, config = case(blocks=blocks)
    got, oracle = judged(data, config), Oracle(data, expected_of_scores(data))
    named = got.drivers.positions[got.drivers.positions >= 0]
    assert set(named.tolist()) == {4, 5, 6, 7}
    assert got.expected_events[1, 40] == pytest.approx(oracle.expected_events(1, 40), rel=1e-3)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_how_many_entities_are_judged_at_once_makes_no_difference(
    representation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config = case(representation, counts=invented_counts(n_entities=5))
    once = judged(data, config)
    monkeypatch.setattr("flows.noise._VALUES_AT_ONCE", 2 * data.prepared.values[0].size)
    again = judged(data, config)
    for (name, one), other in zip(
        step_arrays(once).items(), step_arrays(again).values(), strict=True
    ):
        np.testing.assert_array_equal(other, one, err_msg=name)
    for name, one in vars(once.drivers).items():
        np.testing.assert_array_equal(getattr(again.drivers, name), one)


def test_what_is_given_is_left_as_it_was() -> None:
    data, config = case()
    scores, newest = invented_scores(data)
    kept = [scores.step_reconstruction.copy(), newest.copy(), data.prepared.values.copy()]
    judge_steps(data, scores, newest, config)
    given = [scores.step_reconstruction, newest, data.prepared.values]
    for one, other in zip(given, kept, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("representation", "difference"), CASES)
def test_a_score_stays_when_later_steps_come(representation: str, difference: bool) -> None:
    dates = {"split__validation_start": "2018-10-01", "split__held_out_start": "2019-03-04"}
    long, short = (
        case(
            representation,
            n_steps=n_steps,
            transform__difference=difference,
            **dates,
        )
        for n_steps in (N_STEPS + 9, N_STEPS)
    )
    later, now = by_model(*long), by_model(*short)
    arrays = step_arrays(later)
    for name, wanted in step_arrays(now).items():
        got, same = arrays[name][:, :N_STEPS], slice(None)
        if name.startswith("combined"):  # more windows cover the last steps then
            same = slice(None, N_STEPS - LENGTH)
            is_same = np.allclose(got, wanted, rtol=1e-3, equal_nan=True)
            assert not is_same, name
        np.testing.assert_allclose(
            got[:, same], wanted[:, same], rtol=1e-3, atol=1e-5, err_msg=name
        )
    np.testing.assert_array_equal(later.drivers.positions[:, :N_STEPS], now.drivers.positions)


def with_entities(data: LearningData, others: LearningData) -> LearningData:
    """Add entities to prepared ones, each with its own statistics as they were fitted."""
    one, two = data.prepared, others.prepared
    standardiser = replace(
        one.standardiser,
        mean=np.concatenate([one.standardiser.mean, two.standardiser.mean]),
        scale=np.concatenate([one.standardiser.scale, two.standardiser.scale]),
        level=None,
    )
    prepared = replace(
        one,
        standardiser=standardiser,
        **{
            name: np.concatenate([getattr(one, name), getattr(two, name)])
            for name in ("values", "represented", "observed")
        },
    )
    cube = replace(
        data.cube,
        values=np.concatenate([data.cube.values, others.cube.values]),
        exposure=np.concatenate([data.cube.exposure, others.cube.exposure]),
        entities=(*data.cube.entities, *(f"{name}2" for name in others.cube.entities)),
    )
    return replace(data, cube=cube, prepared=prepared)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_residuals_and_p_values_stay_when_other_entities_come(representation: str) -> None:
    data, config = case(representation)
    others, _ = case(representation, counts=invented_counts(seed=5))
    more, own = with_entities(data, others), slice(0, 3)
    model = LSTMAutoencoder(len(BLOCKS), AutoencoderConfig(latent_size=3))
    found = []
    for one in (data, more):
        windows = np.argwhere(np.ones((len(one.cube.entities), N_STEPS - LENGTH + 1), bool))
        newest = nowcast(model, one.prepared.values, one.prepared.observed, windows, length=LENGTH)
        residuals = noise_residuals(one, newest, own).residuals
        found.append((residuals, surge(residuals)))
    for before, after in zip(*found, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    judgement = judged(data, config)
    calibration = judgement.calibration.of_entities(np.array([0, 1, 2, -1]))
    scores = np.concatenate([judgement.score, judgement.score[:1]])
    known = ~np.isnan(judgement.score) & ~reference_steps(data.prepared)
    got = calibration.p_values(scores)[:3]
    np.testing.assert_array_equal(got[known], judgement.p_value[known])
    assert known.sum() > 30


def test_a_step_of_the_reference_is_judged_by_the_others() -> None:
    data, config = case(counts=invented_counts(n_entities=5))
    got, reference = judged(data, config), reference_steps(data.prepared)
    by_others = got.calibration.reference_p_values(got.score, reference)
    np.testing.assert_array_equal(got.p_value[reference], by_others[reference])
    assert (got.p_value != got.calibration.p_values(got.score))[reference].any()


@pytest.mark.parametrize(
    ("n_steps", "n_entities", "method", "parts"),
    [
        (N_STEPS, 3, "conformal", 1),
        (N_STEPS, 9, "peaks_over_threshold", 1),
        (40, 1, "conformal", 2),
    ],
)
def test_a_short_validation_part_is_judged_by_ranks_and_a_tiny_one_with_training(
    n_steps: int, n_entities: int, method: str, parts: int
) -> None:
    counts = np.tile(invented_counts(n_entities=3, n_steps=n_steps), (3, 1, 1))[:n_entities]
    data, config = case(counts=counts[:n_entities])
    got = judged(data, config)
    reference = reference_steps(data.prepared)
    if parts == 2:
        reference[:, : data.prepared.split.training_end] = True
    assert len(got.calibration.reference) == (reference & ~np.isnan(got.score)).sum()
    assert got.calibration.config == replace(config.calibration, method=method)
    assert np.isfinite(got.p_value).all()
