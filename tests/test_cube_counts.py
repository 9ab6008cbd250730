"""Laws of the events behind a cube: they are those that it was built from, and a cube again."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregate import Counts, count_events
from features.cameo import cameo_table
from features.cube import Cube, build_cube
from features.cube_counts import counts_of, with_counts
from features.injection import InjectionConfig, inject
from features.vocabulary import Block, Vocabulary, VocabularyConfig

SEEDS = st.integers(0, 2**32 - 1)
CODES = ("010", "042", "0841", "173", "1823", "190", "193", "020")
KEPT = 5  # the codes that are features; the last three are in ``other``
WEEK = date(2018, 10, 1)
BLOCKS: tuple[Block, ...] = ("event_type", "quad", "intensity", "root", "log_volume")


def counted(counts: np.ndarray, **recorded: float) -> Counts:
    """Count events of these codes, ``(E, S, C)``, with CAMEO's intensities or those recorded."""
    table = cameo_table()
    intensity = dict(zip(table["code"], table["intensity"], strict=True))
    intensity |= {name.removeprefix("of_"): value for name, value in recorded.items()}
    rows = [
        (f"country {entity}", WEEK + timedelta(weeks=step), CODES[code], intensity[CODES[code]])
        for entity, step, code in np.argwhere(counts > 0).tolist()
        for _ in range(counts[entity, step, code])
    ]
    names = ["country", "event_date", "event_code", "intensity"]
    frame = pl.LazyFrame(rows, schema=names, orient="row")
    return count_events(frame, entity="country", step="week")


def built(counts: np.ndarray, vocabulary: Vocabulary, **recorded: float) -> Cube:
    last = WEEK + timedelta(weeks=counts.shape[1] - 1)
    names = [f"country {entity}" for entity in range(len(counts))]
    return build_cube(
        counted(counts, **recorded), vocabulary, step="week", first=WEEK, last=last, entities=names
    )


def vocabulary_of(*blocks: Block) -> Vocabulary:
    counts = np.ones((1, 1, len(CODES)), int)
    counts[..., :KEPT] = 2
    return Vocabulary.fit(counted(counts), VocabularyConfig(blocks=blocks, min_events=2))


def by_feature(counts: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [counts[..., :KEPT], counts[..., KEPT:].sum(axis=-1, keepdims=True)], axis=-1
    )


def random_events(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    counts = generator.poisson(1.5, size=(3, 5, len(CODES)))
    counts[generator.random((3, 5)) < 0.2] = 0
    counts[0, 0, 0] += 1
    return counts


@given(seed=SEEDS)
def test_counts_of_a_cube_are_those_that_it_was_built_from(seed: int) -> None:
    counts, vocabulary = random_events(seed), vocabulary_of("log_volume", "event_type")
    assert np.array_equal(counts_of(built(counts, vocabulary), vocabulary), by_feature(counts))


@given(seed=SEEDS)
def test_a_cube_with_other_counts_is_the_one_built_from_other_events(seed: int) -> None:
    counts, vocabulary = random_events(seed), vocabulary_of(*BLOCKS)
    changed = counts.copy()
    changed[..., :KEPT] = random_events(seed + 1)[..., :KEPT]
    changed[0, 0, 0] = 1
    cube = built(counts, vocabulary)
    got, wanted = with_counts(cube, vocabulary, by_feature(changed)), built(changed, vocabulary)
    assert got.values.dtype == np.float32
    assert np.array_equal(got.exposure, wanted.exposure)
    np.testing.assert_allclose(got.values, wanted.values, atol=2e-6)
    shares = [name for name in vocabulary.names if name.startswith(("event_type", "quad", "root"))]
    places = [vocabulary.names.index(name) for name in shares]
    assert np.array_equal(got.values[..., places], wanted.values[..., places], equal_nan=True)


@given(seed=SEEDS)
def test_one_unchanged_code_in_other_is_followed_exactly(seed: int) -> None:
    counts, vocabulary = random_events(seed), vocabulary_of(*BLOCKS)
    counts[..., KEPT + 1 :] = 0  # ``other`` is code 190 alone, so its composition is known
    counts[0, 0, KEPT] += 1
    changed = random_events(seed + 1)
    changed[..., KEPT + 1 :] = 0
    changed[0, 0, 0] += 1
    got = with_counts(built(counts, vocabulary), vocabulary, by_feature(changed))
    np.testing.assert_allclose(got.values, built(changed, vocabulary).values, atol=2e-5)


@given(seed=SEEDS)
def test_shares_sum_to_one_and_are_whole_events_whatever_other_does(seed: int) -> None:
    vocabulary = vocabulary_of(*BLOCKS)
    cube = built(random_events(seed), vocabulary)
    new = by_feature(random_events(seed + 1))
    got = with_counts(cube, vocabulary, new)
    assert np.array_equal(counts_of(got, vocabulary), new)
    full = got.exposure > 0
    assert np.array_equal(np.isnan(got.values).any(axis=2), ~full)
    assert np.array_equal(np.isnan(got.values).all(axis=2), ~full)
    for block in ("event_type", "quad", "root"):
        shares = got.values[full][:, list(vocabulary.positions(block).values())]
        assert (shares >= 0).all()
        assert shares.sum(axis=1) == pytest.approx(1, abs=1e-6)
        events = shares * got.exposure[full][:, None]
        assert events == pytest.approx(np.rint(events), abs=1e-4)
    (intensity,) = vocabulary.positions("intensity").values()
    assert ((got.values[full][:, intensity] >= 0) & (got.values[full][:, intensity] <= 1)).all()


@given(seed=SEEDS)
def test_steps_whose_counts_stay_keep_their_values_bit_for_bit(seed: int) -> None:
    vocabulary = vocabulary_of(*BLOCKS)
    cube = built(random_events(seed), vocabulary)
    counts = counts_of(cube, vocabulary)
    same = with_counts(cube, vocabulary, counts)
    assert same.values.tobytes() == cube.values.tobytes()
    assert same.values is not cube.values
    counts[1, 2, 0] += 3
    one = with_counts(cube, vocabulary, counts)
    others = np.ones(counts.shape[:2], bool)
    others[1, 2] = False
    assert one.values[others].tobytes() == cube.values[others].tobytes()
    assert one.exposure[1, 2] == cube.exposure[1, 2] + 3


def test_other_keeps_its_composition_in_whole_events_by_hand() -> None:
    vocabulary = vocabulary_of("event_type", "root")
    counts = np.zeros((1, 2, len(CODES)), int)
    counts[0, 0] = [2, 0, 0, 0, 0, 4, 0, 2]  # two statements; in other four of 19, two of 02
    counts[0, 1, 0] = 1
    cube = built(counts, vocabulary)
    new = counts_of(cube, vocabulary)
    new[0, 0, KEPT] = 4  # thirds of 4: 2.67 and 1.33
    new[0, 1, KEPT] = 3  # the step had none: as in the whole cube
    got = with_counts(cube, vocabulary, new)
    root = vocabulary.positions("root")
    events = got.values * got.exposure[..., None]
    assert events[0, 0, [root["01"], root["02"], root["19"]]] == pytest.approx([2, 1, 3])
    assert events[0, 1, [root["01"], root["02"], root["19"]]] == pytest.approx([1, 1, 2])


def test_where_other_never_occurred_it_takes_the_composition_of_all_events() -> None:
    vocabulary = vocabulary_of("event_type", "quad", "intensity")
    counts = np.zeros((1, 1, len(CODES)), int)
    counts[0, 0, 0] = 5
    cube = built(counts, vocabulary)
    new = counts_of(cube, vocabulary)
    new[0, 0, KEPT] = 2
    got = with_counts(cube, vocabulary, new).values[0, 0]
    assert got[vocabulary.positions("quad")["verbal_cooperation"]] == 1
    assert got[vocabulary.positions("intensity")["intensity"]] == pytest.approx(0.5)


def test_intensities_that_are_not_cameos_stay_in_their_range_by_hand() -> None:
    vocabulary = vocabulary_of("event_type", "intensity")
    (intensity,) = vocabulary.positions("intensity").values()
    counts = np.zeros((1, 1, len(CODES)), int)
    counts[0, 0, [0, 1, KEPT]] = 2, 1, 1  # CAMEO gives the first 0 and the second 1.9
    cube = built(counts, vocabulary, of_010=-10, of_042=-10, of_190=0)
    new = counts_of(cube, vocabulary)
    new[0, 0, KEPT] = 2  # the one there was would be -31.9 if the others were CAMEO's
    assert with_counts(cube, vocabulary, new).values[0, 0, intensity] == pytest.approx(
        ((-30 - 10) / 5 + 10) / 20
    )
    new[0, 0] = 0
    new[0, 0, 0] = 1  # -30 - 1.9 + 10 over one event is less than there is
    assert with_counts(cube, vocabulary, new).values[0, 0, intensity] == 0


def of_codes(
    *events: tuple[str, float | None], config: VocabularyConfig
) -> tuple[Cube, Vocabulary]:
    """Return the cube and vocabulary of events of a country and week, by code and intensity."""
    schema = {"event_code": pl.String, "intensity": pl.Float32}
    frame = pl.LazyFrame(events, schema=schema, orient="row").with_columns(
        country=pl.lit("Mali"), event_date=pl.lit(WEEK)
    )
    counts = count_events(frame, entity="country", step="week")
    vocabulary = Vocabulary.fit(counts, config)
    return build_cube(counts, vocabulary, step="week"), vocabulary


def test_roots_quads_and_intensities_follow_from_the_ontology_by_hand() -> None:
    blocks: tuple[Block, ...] = ("event_type", "root", "quad", "intensity")
    config = VocabularyConfig(blocks=blocks, min_events=1, ontology="plover")
    cube, vocabulary = of_codes(("AID", 7.4), ("ASSAULT:aerial", -9.3), config=config)
    new = np.array([[[1, 3, 0]]])  # two more attacks
    got = dict(zip(cube.features, with_counts(cube, vocabulary, new).values[0, 0], strict=True))
    assert got["root_assault"] == got["quad_material_conflict"] == 0.75
    assert got["root_aid"] == got["quad_material_cooperation"] == 0.25
    assert got["intensity"] == pytest.approx(((7.4 - 3 * 9.3) / 4 + 10) / 20)


def test_without_an_ontology_events_come_and_go_with_the_mean_intensity_of_their_step() -> None:
    blocks: tuple[Block, ...] = ("event_type", "intensity", "log_volume")
    config = VocabularyConfig(blocks=blocks, min_events=1, ontology="none")
    cube, vocabulary = of_codes(("Riots", -6.0), ("Riots", None), ("Peace", 2.0), config=config)
    new = np.array([[[4, 0, 1]]])
    got = dict(zip(cube.features, with_counts(cube, vocabulary, new).values[0, 0], strict=True))
    assert got["event_type_peace"] == pytest.approx(0.8)
    assert got["intensity"] == pytest.approx((-2 + 10) / 20)
    assert got["log_volume"] == pytest.approx(np.log(6))


def test_injected_counts_become_a_cube_again() -> None:
    vocabulary = vocabulary_of(*BLOCKS)
    counts = np.random.default_rng(0).poisson(3, size=(2, 30, len(CODES)))
    cube = built(counts, vocabulary)
    injection = inject(
        counts_of(cube, vocabulary), np.ones((2, 30), bool), seed=0, config=InjectionConfig()
    )
    got = with_counts(cube, vocabulary, injection.counts)
    assert np.array_equal(counts_of(got, vocabulary), injection.counts)
    differs = (got.values != cube.values).any(axis=2)
    assert differs.any()
    assert not differs[~injection.labels].any()


def test_cubes_that_cannot_be_counted_are_refused() -> None:
    vocabulary = vocabulary_of("event_type", "quad")
    cube = built(random_events(0), vocabulary)
    with pytest.raises(ValueError, match="the cube has 10 features and the vocabulary 6"):
        counts_of(cube, vocabulary_of("event_type"))
    with pytest.raises(ValueError, match="no block event_type in"):
        quads = vocabulary_of("quad")
        counts_of(built(random_events(0), quads), quads)
    with pytest.raises(ValueError, match="shares that don't make up their events, the first at"):
        counts_of(replace(cube, values=cube.values / 3), vocabulary)


def test_counts_that_cannot_become_a_cube_are_refused() -> None:
    vocabulary = vocabulary_of("event_type", "quad")
    cube = built(random_events(0), vocabulary)
    counts = counts_of(cube, vocabulary)
    with pytest.raises(ValueError, match="counts is int32 of shape"):
        with_counts(cube, vocabulary, counts.astype(np.int32))
    with pytest.raises(ValueError, match="expected int64 of shape"):
        with_counts(cube, vocabulary, counts[:, :1])
    with pytest.raises(ValueError, match="the least -1"):
        with_counts(cube, vocabulary, np.where(counts == counts.max(), -1, counts))
    swapped = cube.values.copy()
    quads = list(vocabulary.positions("quad").values())
    swapped[..., quads] = swapped[..., quads[::-1]]
    with pytest.raises(ValueError, match="shares of quad aren't those of the event codes"):
        with_counts(replace(cube, values=swapped), vocabulary, counts + 1)


def test_sectors_and_codes_that_are_not_known_are_refused() -> None:
    sectors = vocabulary_of("event_type")
    config = VocabularyConfig(blocks=("event_type", "source_sector"), min_events=2)
    sectors = replace(sectors, config=config)
    cube = built(random_events(0), sectors)
    counts = counts_of(cube, sectors)
    with pytest.raises(ValueError, match="source_sector: the sectors of events"):
        with_counts(cube, sectors, counts)
    plain = vocabulary_of("event_type", "quad")
    cube = built(random_events(0), plain)
    renamed = (replace(plain.features[0], category="999"), *plain.features[1:])
    strange = replace(plain, features=renamed)
    with pytest.raises(ValueError, match=r"event codes \['999'\] aren't in CAMEO"):
        with_counts(cube, strange, counts_of(cube, strange) + 1)


def test_contexts_of_events_that_come_or_go_are_not_invented() -> None:
    plain = vocabulary_of("event_type")
    config = VocabularyConfig(blocks=("event_type", "context"), min_events=2)
    contexts = replace(plain, config=config)
    cube = built(random_events(0), contexts)
    with pytest.raises(ValueError, match=r"the vocabulary has context: .*nor their contexts"):
        with_counts(cube, contexts, counts_of(cube, contexts))
