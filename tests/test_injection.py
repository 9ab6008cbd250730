"""Laws of injected anomalies: what is said to be changed is changed, and nothing else."""

from dataclasses import replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.injection import FULL_STRENGTH, Injection, InjectionConfig, Kind, inject

SEEDS = st.integers(0, 2**32 - 1)
KINDS: tuple[Kind, ...] = get_args(Kind)
STRENGTHS = (0.5, 1.0, 2.0, 4.0)
DENSE = InjectionConfig(entity_share=1, step_share=0.5, min_spacing=1, min_events=5, drift_length=5)


def background(seed: int, shape: tuple[int, int, int] = (4, 60, 6)) -> np.ndarray:
    """Overdispersed counts with common types and rare ones, and some empty steps."""
    generator = np.random.default_rng(seed)
    rate = generator.gamma(2, 8 / 4.0 ** np.arange(shape[2]), size=(shape[0], 1, shape[2]))
    rate[..., 0] += 10
    counts = generator.poisson(rate * generator.gamma(5, 0.2, size=(*shape[:2], 1)))
    counts[generator.random(shape[:2]) < 0.05] = 0
    return counts


def everywhere(counts: np.ndarray) -> np.ndarray:
    return np.ones(counts.shape[:2], bool)


def of_kind(kind: Kind, strength: float, seed: int) -> tuple[np.ndarray, Injection]:
    counts = background(seed)
    config = replace(DENSE, kinds=(kind,), strengths=(strength,))
    return counts, inject(counts, everywhere(counts), seed=seed, config=config)


@given(seed=SEEDS, config=st.sampled_from([DENSE, InjectionConfig()]))
def test_the_rest_is_untouched_and_the_labels_are_the_anomalies(
    seed: int, config: InjectionConfig
) -> None:
    counts = background(seed)
    kept = counts.copy()
    usable = np.random.default_rng(seed).random(counts.shape[:2]) < 0.95
    config = replace(config, min_events=5)
    injection = inject(counts, usable, seed=seed, config=config)
    assert np.array_equal(counts, kept)
    assert injection.counts.dtype == np.int64
    assert (injection.counts >= 0).all()
    assert injection.counts[~injection.labels].tobytes() == counts[~injection.labels].tobytes()
    n_covering = np.zeros(usable.shape, int)
    for anomaly in injection.anomalies:
        span = anomaly.entity, slice(anomaly.first_step, anomaly.last_step + 1)
        n_covering[span] += 1
        assert usable[span].all()
        assert (counts[span].sum(axis=1) >= config.min_events).all()
        assert not np.array_equal(injection.counts[span], counts[span])
        assert anomaly.last_step - anomaly.first_step + 1 == config.steps(anomaly.kind)
    assert np.array_equal(n_covering, injection.labels)  # none overlap: 0 or 1 everywhere


@given(seed=SEEDS, min_spacing=st.integers(0, 6))
def test_anomalies_of_an_entity_are_sorted_and_keep_their_distance(
    seed: int, min_spacing: int
) -> None:
    counts = background(seed)
    config = replace(DENSE, min_spacing=min_spacing)
    anomalies = inject(counts, everywhere(counts), seed=seed, config=config).anomalies
    for one, other in pairwise(anomalies):
        assert one.entity <= other.entity
        if one.entity == other.entity:
            assert other.first_step - one.last_step - 1 >= min_spacing


@given(seed=SEEDS)
def test_the_same_seed_gives_the_same_and_another_seed_another(seed: int) -> None:
    counts = background(0)
    one, same, other = (
        inject(counts, everywhere(counts), seed=given, config=DENSE)
        for given in (seed, seed, seed + 1)
    )
    assert one.anomalies == same.anomalies
    assert np.array_equal(one.counts, same.counts)
    assert one.anomalies != other.anomalies


@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_stronger_is_never_less_visible(seed: int, kind: Kind) -> None:
    changes = []
    for strength in (0.1, *STRENGTHS, 8.0):
        counts, injection = of_kind(kind, strength, seed)
        changes.append(np.abs(injection.counts - counts).sum(axis=2))
    for weaker, stronger in pairwise(changes):
        assert (stronger >= weaker).all()


@given(seed=SEEDS, strength=st.sampled_from(STRENGTHS))
def test_a_surge_raises_one_type_by_its_own_deviation_and_the_volume_with_it(
    seed: int, strength: float
) -> None:
    counts, injection = of_kind("surge", strength, seed)
    for anomaly in injection.anomalies:
        own = counts[anomaly.entity]
        own = own[own.sum(axis=1) > 0, anomaly.features[0]]
        deviation = max(own.std(), np.sqrt(own.mean()))
        change = (injection.counts - counts)[
            anomaly.entity, anomaly.first_step : anomaly.last_step + 1
        ]
        assert (change[:, anomaly.features[0]] == np.ceil(strength * deviation)).all()
        assert np.array_equal(change.sum(axis=1), change[:, anomaly.features[0]])
        assert (change >= 0).all()


@given(seed=SEEDS, strength=st.sampled_from(STRENGTHS))
def test_a_drift_grows_in_a_line_at_equal_volume(seed: int, strength: float) -> None:
    counts, injection = of_kind("drift", strength, seed)
    assert np.array_equal(injection.counts.sum(axis=2), counts.sum(axis=2))
    for anomaly in injection.anomalies:
        steps = slice(anomaly.first_step, anomaly.last_step + 1)
        before, after = counts[anomaly.entity, steps], injection.counts[anomaly.entity, steps]
        grown, volume = anomaly.features[0], before.sum(axis=1)
        own = counts[anomaly.entity]
        shares = own[own.sum(axis=1) > 0] / own[own.sum(axis=1) > 0].sum(axis=1, keepdims=True)
        p, n = shares[:, grown].mean(), own[own.sum(axis=1) > 0].sum(axis=1).mean()
        gain = strength * max(shares[:, grown].std(), np.sqrt(p * (1 - p) / n))
        line = np.ceil(gain * volume * np.arange(1, len(volume) + 1) / len(volume) - 1e-9)
        most = volume - before[:, grown]
        change = after - before
        assert np.abs(change[:, grown] - np.minimum(line, most)).max() <= 1e-9
        assert (np.delete(change, grown, axis=1) <= 0).all()


@given(seed=SEEDS, strength=st.sampled_from(STRENGTHS))
def test_a_silence_takes_events_and_adds_none(seed: int, strength: float) -> None:
    counts, injection = of_kind("silence", strength, seed)
    assert (injection.counts <= counts).all()
    assert injection.counts[injection.labels].any() == (strength < FULL_STRENGTH)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_silence_loses_as_many_events_as_its_strength_says(strength: float) -> None:
    counts = np.full((1, 200, 5), 100)
    config = InjectionConfig(kinds=("silence",), strengths=(strength,), entity_share=1)
    injection = inject(counts, everywhere(counts), seed=0, config=config)
    left = injection.counts[injection.labels].mean() / 100
    assert left == pytest.approx(1 - strength / FULL_STRENGTH, abs=0.02)


@given(seed=SEEDS, strength=st.sampled_from((*STRENGTHS, 2 * FULL_STRENGTH)))
def test_a_swap_exchanges_a_usual_type_and_a_rare_one_at_equal_volume(
    seed: int, strength: float
) -> None:
    counts, injection = of_kind("swap", strength, seed)
    assert np.array_equal(injection.counts.sum(axis=2), counts.sum(axis=2))
    for anomaly in injection.anomalies:
        span = anomaly.entity, slice(anomaly.first_step, anomaly.last_step + 1)
        usual, rare = anomaly.features
        seen = counts[anomaly.entity].sum(axis=1) > 0
        mean = counts[anomaly.entity, seen].mean(axis=0)
        assert mean[usual] >= 1 or usual == mean.argmax()
        assert mean[rare] < 1 or rare == mean.argmin()
        assert counts[span][:, usual].any() or not counts[span][:, mean >= 1].any()
        before, after = counts[span], injection.counts[span]
        difference = before[:, usual] - before[:, rare]
        moved = np.abs(after[:, usual] - before[:, usual])
        part = min(strength / FULL_STRENGTH, 1)
        assert (moved == np.ceil(part * np.abs(difference))).all()
        others = np.delete(np.arange(counts.shape[2]), [usual, rare])
        assert np.array_equal(after[:, others], before[:, others])
        if strength >= FULL_STRENGTH:
            assert np.array_equal(after[:, [usual, rare]], before[:, [rare, usual]])


def test_kinds_and_strengths_are_combined_about_equally_often() -> None:
    counts = np.random.default_rng(0).poisson(30, size=(20, 200, 5))
    config = InjectionConfig(entity_share=1, step_share=0.1)
    injection = inject(counts, everywhere(counts), seed=0, config=config)
    table = injection.table().group_by("kind", "strength").len()
    assert table.height == len(config.kinds) * len(config.strengths)
    assert table["len"].max() - table["len"].min() <= 1
    assert injection.labels.mean() == pytest.approx(config.step_share, rel=0.25)


def test_only_a_share_of_the_entities_is_touched() -> None:
    counts = np.full((10, 100, 3), 20)
    for share, wanted in ((0.25, 3), (0.3, 3), (1, 10)):
        config = InjectionConfig(entity_share=share)
        injection = inject(counts, everywhere(counts), seed=0, config=config)
        assert injection.labels.any(axis=1).sum() == wanted


def test_the_table_is_the_anomalies_row_by_row() -> None:
    counts = background(3)
    injection = inject(counts, everywhere(counts), seed=3, config=DENSE)
    rows = injection.table().rows(named=True)
    assert len(rows) == len(injection.anomalies) > 4
    for row, anomaly in zip(rows, injection.anomalies, strict=True):
        assert row | {"features": tuple(row["features"])} == vars(anomaly)
    assert replace(injection, anomalies=()).table().schema == injection.table().schema


def test_counts_without_room_or_of_another_kind_are_refused() -> None:
    counts = background(0)
    usable = everywhere(counts)
    with pytest.raises(ValueError, match="no entity has 3 usable steps in a row with at least 20"):
        inject(counts, ~usable, seed=0)
    with pytest.raises(ValueError, match="no entity has 3 usable steps"):
        inject(counts[:, :2], usable[:, :2], seed=0)
    with pytest.raises(ValueError, match="counts is float64"):
        inject(counts.astype(float), usable, seed=0)
    with pytest.raises(ValueError, match="at least 2 types"):
        inject(counts[..., :1], usable, seed=0)
    with pytest.raises(ValueError, match=r"usable is bool of shape \(60,\)"):
        inject(counts, usable[0], seed=0)
    counts[1, 2, 3] = -1
    with pytest.raises(ValueError, match="negative at entity 1, step 2, type 3"):
        inject(counts, usable, seed=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ()}, "kinds"),
        ({"kinds": ("surge", "surge")}, "each once"),
        ({"kinds": ("spike",)}, "expected one or more of .'surge'"),
        ({"strengths": ()}, "strengths"),
        ({"strengths": (0.0,)}, "above 0"),
        ({"strengths": (1.0, 1.0)}, "each once"),
        ({"strengths": (float("inf"),)}, "finite"),
        ({"strengths": (float("nan"),)}, "finite"),
        ({"entity_share": 0}, "entity_share=0"),
        ({"step_share": 1.5}, "step_share=1.5"),
        ({"length": 0}, "length=0"),
        ({"drift_length": 0}, "drift_length=0"),
        ({"min_spacing": -1}, "min_spacing=-1"),
        ({"min_events": 0}, "min_events=0"),
    ],
)
def test_configurations_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InjectionConfig(**wrong)
