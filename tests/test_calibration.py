"""Laws of p-values, thresholds and false discoveries."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import genpareto, kstest

from models import ShapeError
from models.calibration import Calibration, CalibrationConfig, conformal_p_values
from models.false_discovery import false_discovery
from models.generalized_pareto import CENSORED, MIN_SHAPE, ParetoTail
from models.score_scale import ScoreScale, standardise_held_out

METHODS = ("peaks_over_threshold", "conformal")
KINDS = ("gamma", "lognormal", "poisson_noise")
N_ENTITIES, LONGEST = 60, 150


def quiet_scores(
    kind: str, *, seed: int, n_held_out: int, n_entities: int = N_ENTITIES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores and reference of quiet entities, each with a distribution, unit and length."""
    generator = np.random.default_rng(seed)
    n_steps = LONGEST + n_held_out
    scores = np.empty((n_entities, n_steps))
    for row in range(n_entities):
        if kind == "poisson_noise":  # squared errors of ten counts, in units of their variance
            mean = np.exp(generator.uniform(np.log(2), np.log(50)))
            counts = generator.poisson(mean, (n_steps, 10))
            scores[row] = ((counts - mean) ** 2 / mean).mean(axis=1)
        elif kind == "gamma":
            scores[row] = generator.gamma(generator.uniform(1, 8), size=n_steps)
        else:
            scores[row] = generator.lognormal(0, generator.uniform(0.3, 0.9), size=n_steps)
    scores *= np.exp(generator.normal(size=(n_entities, 1)))
    n_reference = generator.integers(60, LONGEST + 1, n_entities)
    return scores, np.arange(n_steps) < n_reference[:, None], scores[:, LONGEST:]


def fitted(method: str, seed: int = 0, **config: float) -> tuple[Calibration, np.ndarray]:
    scores, reference, held_out = quiet_scores("gamma", seed=seed, n_held_out=50, n_entities=8)
    return Calibration.fit(scores, reference, CalibrationConfig(method=method, **config)), held_out


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_false_alarm_in_a_hundred_steps_is_what_quiet_entities_get(
    kind: str, method: str
) -> None:
    rates, n_reference = [], []
    for seed in range(30):
        scores, reference, held_out = quiet_scores(kind, seed=seed, n_held_out=200)
        calibration = Calibration.fit(scores, reference, CalibrationConfig(method=method))
        p_values = calibration.p_values(held_out)
        rates.append([(p_values <= rate).mean() for rate in (0.05, 0.01, 0.001)])
        n_reference.append(reference.sum())
    five, one, tenth = np.array(rates).T
    assert five.mean() == pytest.approx(0.05, abs=0.002)
    assert one.mean() == pytest.approx(0.01, abs=0.0007)
    assert tenth.mean() == pytest.approx(0.001, abs=0.0003)
    # One panel's rate varies as a share of its reference and its held-out steps does.
    by_chance = np.sqrt(0.01 * 0.99 * (1 / np.mean(n_reference) + 1 / held_out.size))
    assert one.std() < 1.35 * by_chance


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_large_panel_is_within_a_fifth_of_the_rate_asked_for(kind: str, method: str) -> None:
    scores, reference, held_out = quiet_scores(kind, seed=0, n_held_out=417, n_entities=240)
    calibration = Calibration.fit(scores, reference, CalibrationConfig(method=method))
    assert held_out.size > 100_000
    assert 0.008 < (held_out > calibration.thresholds(0.01)[:, None]).mean() < 0.012


@pytest.mark.parametrize("kind", KINDS)
def test_entities_with_few_or_no_reference_steps_get_no_more_alarms(kind: str) -> None:
    alarms, n_steps = [], []
    for seed in range(15):
        scores, reference, held_out = quiet_scores(kind, seed=seed, n_held_out=100, n_entities=120)
        n_reference = (np.random.default_rng(seed).random(120) ** 3 * 60).astype(int)
        reference &= np.arange(scores.shape[1]) < n_reference[:, None]
        p_values = Calibration.fit(scores, reference).p_values(held_out)
        alarms.extend((p_values <= 0.01).mean(axis=1))
        n_steps.extend(n_reference)
    rate, steps = np.array(alarms), np.array(n_steps)
    assert 0.006 < rate.mean() < 0.011
    for fewest, most in ((0, 0), (1, 2), (3, 9), (10, 29), (30, 60)):
        assert 0.002 < rate[(steps >= fewest) & (steps <= most)].mean() < 0.015


def test_standardised_by_themselves_reference_scores_would_look_too_tame() -> None:
    by_themselves, held_out_rates = [], []
    for seed in range(10):
        scores, reference, held_out = quiet_scores("lognormal", seed=seed, n_held_out=300)
        reference &= np.arange(scores.shape[1]) < 25
        scale = ScoreScale.fit(scores, reference, prior_steps=0)
        new = scale.standardise(held_out)
        naive = np.sort(scale.standardise(scores)[reference])
        apart = np.sort(standardise_held_out(scores, reference, prior_steps=0)[reference])
        by_themselves.append((conformal_p_values(new, naive) <= 0.01).mean())
        held_out_rates.append((conformal_p_values(new, apart) <= 0.01).mean())
    assert np.mean(by_themselves) > 0.014
    assert np.mean(held_out_rates) == pytest.approx(0.01, abs=0.0025)


@pytest.mark.parametrize("method", METHODS)
def test_crises_in_the_reference_make_alarms_rarer_and_never_more_frequent(method: str) -> None:
    scores, reference, held_out = quiet_scores("gamma", seed=3, n_held_out=300)
    crises = reference & (np.random.default_rng(0).random(scores.shape) < 0.01)
    scores[crises] *= 20
    calibration = Calibration.fit(scores, reference, CalibrationConfig(method=method))
    p_values = calibration.p_values(held_out)
    assert 0 < (p_values <= 0.01).mean() < 0.004
    assert 0.012 < (p_values <= 0.03).mean() < 0.025
    assert np.median(calibration.p_values(scores)[crises]) < 0.008


def test_a_tail_fitted_in_full_would_give_way_to_those_crises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, reference, held_out = quiet_scores("gamma", seed=3, n_held_out=300)
    scores[reference & (np.random.default_rng(0).random(scores.shape) < 0.01)] *= 20
    monkeypatch.setattr("models.generalized_pareto.CENSORED", 0)
    calibration = Calibration.fit(scores, reference)
    assert (calibration.p_values(held_out) <= 0.03).mean() < 0.012


def test_conformal_p_values_of_exchangeable_scores_are_super_uniform() -> None:
    # Each of n + 1 scores may be the new one; that is the whole distribution of its rank.
    for scores in ([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [0] * 7, list(range(40))):
        p_values = [
            float(conformal_p_values(np.float64(new), np.sort(np.float64(np.delete(scores, row)))))
            for row, new in enumerate(scores)
        ]
        for rate in np.arange(1, 101) / 100:
            assert np.mean(np.array(p_values) <= rate) <= rate + 1e-12


def test_conformal_p_values_are_super_uniform_in_simulation() -> None:
    generator = np.random.default_rng(1)
    p_values = np.array(
        [
            conformal_p_values(draw[:1], np.sort(draw[1:]))[0]
            for draw in generator.gamma(2, size=(20_000, 30))
        ]
    )
    for rate in (0.04, 0.1, 0.5):
        assert (p_values <= rate).mean() < rate + 3 * np.sqrt(rate / 20_000)
    assert (p_values <= 0.1).mean() > 0.09


@settings(max_examples=40)
@given(
    seed=st.integers(0, 99),
    method=st.sampled_from(METHODS),
    steps=st.lists(st.floats(0, 1e300), min_size=2, max_size=20),
)
def test_a_higher_score_never_has_a_higher_p_value(
    seed: int, method: str, steps: list[float]
) -> None:
    calibration, _ = fitted(method, seed)
    scores = np.tile(np.sort(steps), (8, 1))
    p_values = calibration.p_values(scores)
    assert (np.diff(p_values, axis=1) <= 0).all()
    assert ((p_values > 0) & (p_values <= 1)).all()


def test_the_tail_goes_on_beyond_the_largest_reference_score() -> None:
    calibration, _ = fitted("peaks_over_threshold")
    beyond = calibration.scale.restore(float(calibration.reference[-1]))[:, None]
    p_values = calibration.p_values(beyond * [1, 2, 4, 8, 16])
    assert (np.diff(p_values, axis=1) < 0).all()
    assert (p_values[:, 4] < 1 / (1 + len(calibration.reference))).all()
    conformal, _ = fitted("conformal")
    assert conformal.p_values(beyond * 16).tolist() == [[1 / (1 + len(conformal.reference))]] * 8


@settings(max_examples=60)
@given(seed=st.integers(0, 99), method=st.sampled_from(METHODS), rate=st.floats(1e-6, 1))
def test_a_score_is_above_the_threshold_if_and_only_if_its_p_value_is_at_most_the_rate(
    seed: int, method: str, rate: float
) -> None:
    calibration, held_out = fitted(method, seed)
    threshold = calibration.thresholds(rate)[:, None]
    finite = np.where(np.isfinite(threshold) & (threshold > 0), threshold, 1)
    scores = np.concatenate([held_out, finite * (1 - 1e-9), finite * (1 + 1e-9)], axis=1)
    np.testing.assert_array_equal(calibration.p_values(scores) <= rate, scores > threshold)


def test_a_rate_below_what_ranks_can_tell_has_no_threshold() -> None:
    calibration, _ = fitted("conformal")
    n = len(calibration.reference)
    assert np.isposinf(calibration.thresholds(0.99 / (n + 1))).all()
    assert np.isfinite(calibration.thresholds(1 / (n + 1))).all()
    assert (calibration.thresholds(1) < 0).all()


def test_where_a_score_is_unknown_so_is_its_p_value_and_nothing_else_changes() -> None:
    for method in METHODS:
        calibration, held_out = fitted(method)
        gaps = np.random.default_rng(0).random(held_out.shape) < 0.3
        whole = calibration.p_values(held_out)
        got = calibration.p_values(np.where(gaps, np.nan, held_out))
        np.testing.assert_array_equal(got, np.where(gaps, np.nan, whole))


def test_reference_steps_without_a_score_and_scores_outside_it_have_no_say() -> None:
    scores, reference, _ = quiet_scores("gamma", seed=0, n_held_out=5, n_entities=4)
    wanted = Calibration.fit(scores, reference).to_dict()
    changed = np.where(reference, scores, 1e6)
    assert Calibration.fit(changed, reference).to_dict() == wanted
    unknown = np.where(reference, scores, np.nan)
    assert Calibration.fit(unknown, np.ones_like(reference)).to_dict() == wanted


@settings(max_examples=20)
@given(seed=st.integers(0, 99), power=st.integers(-20, 20), method=st.sampled_from(METHODS))
def test_the_unit_of_all_scores_has_no_say(seed: int, power: int, method: str) -> None:
    scores, reference, held_out = quiet_scores("gamma", seed=seed, n_held_out=20, n_entities=5)
    config = CalibrationConfig(method=method)
    wanted = Calibration.fit(scores, reference, config).p_values(held_out)
    unit = 2.0**power
    got = Calibration.fit(scores * unit, reference, config).p_values(held_out * unit)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_without_prior_steps_entities_differ_by_their_unit_alone() -> None:
    scores, reference, held_out = quiet_scores("gamma", seed=1, n_held_out=20, n_entities=5)
    units = np.array([[1], [8], [2**-9], [64], [2**12]])
    config = CalibrationConfig(prior_steps=0)
    wanted = Calibration.fit(scores, reference, config).p_values(held_out)
    got = Calibration.fit(scores * units, reference, config).p_values(held_out * units)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_an_entity_without_reference_gets_the_pooled_statistics() -> None:
    scores, reference, _ = quiet_scores("gamma", seed=2, n_held_out=20, n_entities=5)
    reference[3] = False
    scale = Calibration.fit(scores, reference).scale
    assert (scale.level[3], scale.spread[3]) == (scale.pooled_level, scale.pooled_spread)
    assert scale.pooled_level == pytest.approx(
        np.exp(
            np.average(
                np.log(
                    [
                        np.sort(row[kept])[: int(np.ceil(0.9 * kept.sum()))].mean()
                        for row, kept in zip(
                            scores[reference.any(1)], reference[reference.any(1)], strict=True
                        )
                    ]
                ),
                weights=reference.sum(axis=1)[reference.any(1)],
            )
        )
    )


def test_the_more_prior_steps_the_more_alike_are_the_spreads() -> None:
    scores, reference, _ = quiet_scores("lognormal", seed=2, n_held_out=20)
    spreads = [ScoreScale.fit(scores, reference, prior_steps=n).spread for n in (0, 10, 1e9)]
    deviations = [spread.std() for spread in spreads]
    assert deviations[0] > deviations[1] > 100 * deviations[2]


def test_the_spread_is_the_deviation_of_what_is_normal_after_the_transform() -> None:
    standard = np.random.default_rng(0).normal(size=(1, 400_000))
    scores = 3 * np.expm1(np.log(2) + 0.2 * standard)
    scale = ScoreScale.fit(scores, np.ones(scores.shape, bool), prior_steps=0)
    assert scale.spread == pytest.approx(0.2, rel=0.2)
    assert scale.level == pytest.approx(3, rel=0.1)


def test_entities_that_are_mostly_silent_are_calibrated() -> None:
    scores, reference, _ = quiet_scores("gamma", seed=4, n_held_out=20, n_entities=6)
    scores[0] = 0
    scores[1, ::2] = 0
    p_values = Calibration.fit(scores, reference).p_values(scores)
    assert ((p_values > 0) & (p_values <= 1)).all()
    assert (p_values[0] > 0.5).all()


def test_other_entities_are_those_fitted_or_pooled() -> None:
    calibration, held_out = fitted("conformal")
    other = calibration.of_entities(np.array([5, -1, 0]))
    got = other.p_values(held_out[[5, 1, 0]])
    np.testing.assert_array_equal(got[[0, 2]], calibration.p_values(held_out)[[5, 0]])
    assert other.scale.level[1] == calibration.scale.pooled_level
    for rows, error in (([8], ValueError), ([-2], ValueError), ([[0]], ShapeError)):
        with pytest.raises(error):
            calibration.of_entities(np.array(rows))


@pytest.mark.parametrize("method", METHODS)
def test_json_keeps_p_values_and_thresholds_to_the_bit(method: str) -> None:
    calibration, held_out = fitted(method, tail=0.2)
    text = json.dumps(calibration.to_dict(), allow_nan=False)
    again = Calibration.from_dict(json.loads(text))
    assert again.config == calibration.config
    np.testing.assert_array_equal(again.p_values(held_out), calibration.p_values(held_out))
    np.testing.assert_array_equal(again.thresholds(0.003), calibration.thresholds(0.003))
    with pytest.raises(ValueError, match="format version 9"):
        Calibration.from_dict(calibration.to_dict() | {"format_version": 9})
    with pytest.raises(ValueError, match="Fit it again"):
        Calibration.from_dict(calibration.to_dict() | {"colour": 1})


@pytest.mark.parametrize("shape", [0.25, 0.5, 0.8])
def test_the_tail_finds_the_distribution_that_made_it(shape: float) -> None:
    excess = genpareto.rvs(shape, scale=2, size=50_000, random_state=0)
    tail = ParetoTail.fit(np.log(1 + excess), 0.5)
    # The excesses of a generalized Pareto distribution over u are one, of scale + shape u, and
    # relative to 1 + u here.
    u = np.expm1(tail.start)
    assert tail.shape == pytest.approx(shape, abs=0.04)
    assert tail.scale == pytest.approx((2 + shape * u) / (1 + u), rel=0.04)
    far = genpareto.isf(1e-4, shape, scale=2)
    assert tail.p_values(np.log1p([far])) == pytest.approx(1e-4, rel=0.35)


def test_p_values_of_the_tail_are_uniform() -> None:
    generator = np.random.default_rng(2)
    tail = ParetoTail.fit(generator.gumbel(size=50_000), 0.1)
    new = generator.gumbel(size=500_000)
    p_values = tail.p_values(new[new > tail.start])
    assert kstest(p_values / tail.share, "uniform").statistic < 0.02


def test_the_tail_of_a_few_values_is_not_cut_off() -> None:
    values = np.random.default_rng(0).uniform(size=200)  # of a distribution with an end
    tail = ParetoTail.fit(values, 0.1)
    assert tail.shape == MIN_SHAPE
    assert (tail.p_values(np.array([2.0, 5.0])) > [1e-8, 1e-15]).all()
    assert 0.2 < tail.p_values(np.array([0.98]))[0] / 0.02 < 5


@pytest.mark.parametrize("shape", [0.1, 0.5])
def test_no_other_shape_and_scale_are_likelier(shape: float) -> None:
    values = np.log1p(genpareto.rvs(shape, size=300, random_state=1))
    tail = ParetoTail.fit(values, 0.999)
    excess = np.sort(np.expm1(values[values > tail.start] - tail.start))
    n_measured = len(excess) - int(CENSORED * len(excess))

    def log_likelihood(shape: float, scale: float) -> float:
        measured = genpareto.logpdf(excess[:n_measured], shape, scale=scale).sum()
        largest = genpareto.logsf(excess[n_measured - 1], shape, scale=scale)
        return measured + (len(excess) - n_measured) * largest

    best = log_likelihood(tail.shape, tail.scale)
    for other_shape in np.linspace(MIN_SHAPE, 1, 41):
        for factor in np.linspace(0.7, 1.4, 41):
            assert log_likelihood(other_shape, factor * tail.scale) <= best + 1e-6


def test_a_tail_of_too_few_values_is_refused_when_fitting() -> None:
    scores = np.random.default_rng(0).gamma(2, size=(1, 60))
    with pytest.raises(ValueError, match=r'6 of 60 values .* use the method "conformal"'):
        Calibration.fit(scores, np.ones(scores.shape, bool))
    conformal = CalibrationConfig(method="conformal")
    assert Calibration.fit(scores, np.ones(scores.shape, bool), conformal).reference.shape == (60,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "guess"}, "method is 'guess'"),
        ({"tail": 0}, "tail is 0"),
        ({"tail": 1.0}, "tail is 1.0"),
        ({"prior_steps": -1}, "prior_steps is -1"),
        ({"prior_steps": np.inf}, "prior_steps is inf"),
    ],
)
def test_configurations_out_of_range_are_refused(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CalibrationConfig(**changed)


def test_scores_that_are_none_are_refused() -> None:
    scores, reference = np.ones((2, 30)), np.ones((2, 30), bool)
    for wrong, error, message in (
        (scores.astype(int), ShapeError, "expected floats"),
        (scores[0], ShapeError, "entities, steps"),
        (scores[:, :5], ShapeError, "expected bool of the scores' shape"),
        (-scores, ValueError, "60 values that are negative or infinite, the first at entity 0"),
        (scores * np.inf, ValueError, "negative or infinite"),
        (scores * np.nan, ValueError, "0 reference steps have a score; at least 20"),
        (scores, ValueError, "all alike"),
        (scores * 0, ValueError, "all alike"),
    ):
        with pytest.raises(error, match=message):
            Calibration.fit(wrong, reference)
    calibration, held_out = fitted("conformal")
    with pytest.raises(ShapeError, match=r"\(8, steps\)"):
        calibration.p_values(held_out[:3])
    with pytest.raises(ValueError, match="rate is 0"):
        calibration.thresholds(0)


def naive_q_values(column: np.ndarray, *, any_dependence: bool) -> np.ndarray:
    """Benjamini and Hochberg's step-up procedure, by trying every rate at which one is believed."""
    known = [p for p in column if not np.isnan(p)]
    m = len(known)
    factor = sum(1 / rank for rank in range(1, m + 1)) if any_dependence else 1.0
    rates = [min(1.0, m * factor * p / sum(other <= p for other in known)) for p in known]
    return np.array(
        [
            np.nan if np.isnan(p) else min(r for r, o in zip(rates, known, strict=True) if o >= p)
            for p in column
        ]
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), any_dependence=st.booleans())
def test_q_values_are_those_of_the_step_up_procedure(seed: int, any_dependence: bool) -> None:
    generator = np.random.default_rng(seed)
    p_values = generator.choice([0, 0.001, 0.01, 0.5, 1, *generator.random(20), np.nan], (9, 4))
    p_values[:, 0] = np.nan
    got = false_discovery(p_values, dependence="any" if any_dependence else "positive")
    wanted = [naive_q_values(column, any_dependence=any_dependence) for column in p_values.T]
    np.testing.assert_allclose(got, np.array(wanted).T)


def test_a_tenth_of_what_is_believed_at_a_tenth_is_false_at_most() -> None:
    generator = np.random.default_rng(0)
    p_values = generator.random((100, 2000))
    p_values[:20] = generator.random((20, 2000)) / 1000
    alarm = false_discovery(p_values) <= 0.1
    share = alarm[20:].sum(axis=0) / np.maximum(alarm.sum(axis=0), 1)
    assert 0.06 < share.mean() < 0.1
    assert alarm[:20].mean() > 0.95


def test_p_values_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="1 values outside 0 to 1, the first at entity 1, step 0"):
        false_discovery(np.array([[0.5, np.nan], [1.5, 0.1]]))
    with pytest.raises(ValueError, match="dependence is 'none'"):
        false_discovery(np.array([[0.5]]), dependence="none")
    with pytest.raises(ShapeError, match="expected floats"):
        false_discovery(np.array([0.5]))


def test_a_crisis_in_the_reference_is_not_judged_by_the_spread_that_it_made() -> None:
    rng = np.random.default_rng(3)
    scores = rng.gamma(2, size=(20, 60))
    scores[4, 30:34] = 40
    reference = np.zeros(scores.shape, np.bool_)
    reference[:, 10:] = True
    calibration = Calibration.fit(scores, reference)
    own, plain = calibration.reference_p_values(scores, reference), calibration.p_values(scores)
    assert np.isnan(own[:, :10]).all()
    assert not np.isnan(own[:, 10:]).any()
    assert (own[4, 30:34] < plain[4, 30:34] / 2).all()


def test_p_values_of_the_reference_by_scales_without_them_are_uniform() -> None:
    rng = np.random.default_rng(4)
    scores = rng.lognormal(sigma=0.7, size=(60, 100)) * rng.gamma(2, size=(60, 1))
    reference = np.ones(scores.shape, np.bool_)
    own = Calibration.fit(scores, reference).reference_p_values(scores, reference)
    for rate in (0.01, 0.05, 0.2, 0.5):
        assert (own <= rate).mean() == pytest.approx(rate, rel=0.15)
