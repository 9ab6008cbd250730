"""Laws of the vocabulary: fitted on what is given, frozen, the same wherever it is read."""

import json
from datetime import date
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.aggregate import CategoryField, Counts, count_events
from features.cameo import QUAD_CLASSES
from features.ontology import OntologyName, ontology
from features.vocabulary import Block, Vocabulary, VocabularyConfig

BLOCKS: tuple[Block, ...] = get_args(Block)
TINY_DIGEST = "e1c13f91602c3b101b83a388e45ed59acfbcdcd18db97cb201c86658688eb456"


def counts(*codes: str, sectors: str | None = None, contexts: str | None = None) -> Counts:
    """Count an event of each of these codes."""
    events = pl.LazyFrame(
        {
            "event_date": [date(2018, 10, 1)] * len(codes),
            "event_code": codes,
            "intensity": [0.0] * len(codes),
            "source_sectors": [sectors] * len(codes),
            "target_sectors": pl.Series([None] * len(codes), dtype=pl.String),
            "contexts": [contexts] * len(codes),
        },
        schema_overrides={
            "event_date": pl.Date,
            "event_code": pl.String,
            "intensity": pl.Float32,
            "source_sectors": pl.String,
            "contexts": pl.String,
        },
    )
    return count_events(events, entity="world", step="week", fields=get_args(CategoryField))


def test_event_types_are_the_frequent_codes_in_order_and_other() -> None:
    given_ = counts("190", "190", "042", "010", "010", "010")
    vocabulary = Vocabulary.fit(given_, VocabularyConfig(blocks=("event_type",), min_events=2))
    assert vocabulary.names == ("event_type_010", "event_type_190", "event_type_other")
    assert vocabulary.positions("event_type") == {"010": 0, "190": 1, "other": 2}
    assert [feature.label for feature in vocabulary.features] == [
        "Make statement",
        "Use conventional military force",
        "Any other event",
    ]


@settings(max_examples=40, deadline=None)
@given(
    codes=st.lists(st.sampled_from(["010", "042", "10", "190", "1823"]), min_size=1, max_size=12),
    min_events=st.integers(1, 4),
)
def test_vocabulary_is_fitted_on_what_is_given_only(codes: list[str], min_events: int) -> None:
    config = VocabularyConfig(blocks=("event_type",), min_events=min_events)
    wanted = sorted({code for code in codes if codes.count(code) >= min_events})
    got = Vocabulary.fit(counts(*codes), config)
    assert list(got.positions("event_type")) == [*wanted, "other"]
    assert Vocabulary.fit(counts(*codes[::-1]), config) == got


def test_quads_and_roots_do_not_depend_on_the_data() -> None:
    vocabulary = Vocabulary.fit(counts("190"), VocabularyConfig(blocks=("root", "quad")))
    assert list(vocabulary.positions("root")) == [f"{root:02}" for root in range(1, 21)]
    assert list(vocabulary.positions("quad")) == list(QUAD_CLASSES)


def test_quads_and_roots_are_those_of_the_ontology() -> None:
    config = VocabularyConfig(blocks=("root", "quad"), ontology="plover")
    vocabulary = Vocabulary.fit(counts("ASSAULT:aerial"), config)
    assert list(vocabulary.positions("root")) == ontology("plover").roots["code"].to_list()
    assert list(vocabulary.positions("quad")) == list(QUAD_CLASSES)
    assert {"root_assault", "root_accuse"} <= set(vocabulary.names)
    labels = {feature.name: feature.label for feature in vocabulary.features}
    assert labels["root_aid"] == "Aid"


def test_event_types_of_plover_are_named_and_labelled() -> None:
    config = VocabularyConfig(blocks=("event_type",), min_events=1, ontology="plover")
    vocabulary = Vocabulary.fit(counts("COERCE:martial-law", "ASSAULT:aerial", "ASSAULT"), config)
    assert vocabulary.names == (
        "event_type_assault",
        "event_type_assault_aerial",
        "event_type_coerce_martial_law",
        "event_type_other",
    )
    assert vocabulary.features[1].label == "Attack from aircraft"


def test_without_an_ontology_a_code_is_its_own_label() -> None:
    config = VocabularyConfig(blocks=("event_type",), min_events=1, ontology="none")
    vocabulary = Vocabulary.fit(counts("Air/drone strike", "Zamach – próba"), config)
    assert vocabulary.names == (
        "event_type_air_drone_strike",
        "event_type_zamach_pr_ba",
        "event_type_other",
    )
    assert vocabulary.features[0].label == "Air/drone strike"


@pytest.mark.parametrize("code", ["other", "Other", " OTHER "])
def test_a_code_that_is_called_other_is_one_of_the_others(code: str) -> None:
    config = VocabularyConfig(blocks=("event_type",), min_events=1, ontology="none")
    vocabulary = Vocabulary.fit(counts(code, code, "Battles"), config)
    assert vocabulary.names == ("event_type_battles", "event_type_other")


def test_two_codes_with_one_column_name_are_refused() -> None:
    config = VocabularyConfig(blocks=("event_type",), min_events=1, ontology="none")
    with pytest.raises(ValueError, match=r"\['Air strike', 'Air-strike'\].*event_type_air_strike:"):
        Vocabulary.fit(counts("Air strike", "Air-strike"), config)
    rare = VocabularyConfig(blocks=("event_type",), min_events=2, ontology="none")
    vocabulary = Vocabulary.fit(counts("Air strike", "Air strike", "Air-strike"), rare)
    assert vocabulary.names == ("event_type_air_strike", "event_type_other")


@pytest.mark.parametrize(
    ("code", "name"), [("190", "plover"), ("ASSAULT", "cameo"), ("assault", "plover")]
)
def test_codes_of_another_ontology_are_refused(code: str, name: OntologyName) -> None:
    config = VocabularyConfig(blocks=("event_type",), ontology=name)
    with pytest.raises(ValueError, match=rf"event codes \['{code}'\] aren't in .*'{name}'"):
        Vocabulary.fit(counts(code), config)


def test_contexts_are_the_frequent_ones_and_have_no_other() -> None:
    config = VocabularyConfig(blocks=("context",), min_events=2, ontology="plover")
    vocabulary = Vocabulary.fit(counts("AID", "AID", contexts="pro-democracy,military"), config)
    assert vocabulary.names == ("context_military", "context_pro_democracy")
    assert vocabulary.features[1].label == "Context: pro-democracy"


def test_sectors_have_no_other() -> None:
    given_ = counts("190", "190", sectors="(National) Major Party, Police")
    config = VocabularyConfig(blocks=("source_sector", "target_sector"), min_events=2)
    vocabulary = Vocabulary.fit(given_, config)
    assert vocabulary.names == ("source_sector_national_major_party", "source_sector_police")
    assert vocabulary.features[1].label == "Source: Police"


@given(blocks=st.permutations(BLOCKS), n=st.integers(1, len(BLOCKS)))
@settings(max_examples=25, deadline=None)
def test_columns_are_in_the_order_of_the_blocks(blocks: list[Block], n: int) -> None:
    config = VocabularyConfig(blocks=tuple(blocks[:n]), min_events=1)
    given_ = counts("190", "042", sectors="Police", contexts="military")
    vocabulary = Vocabulary.fit(given_, config)
    found = [feature.block for feature in vocabulary.features]
    present = [block for block in blocks[:n] if block != "target_sector"]  # there are none
    assert list(dict.fromkeys(found)) == present
    assert len(set(vocabulary.names)) == len(vocabulary.names) == len(found)
    for block in present:
        assert list(vocabulary.positions(block).values()) == [
            i for i, name in enumerate(found) if name == block
        ]


@pytest.mark.parametrize("name", ["cameo", "plover"])
def test_every_code_makes_a_column_of_its_own_usable_in_sql(name: OntologyName) -> None:
    codes = ontology(name).table["code"].to_list()
    config = VocabularyConfig(blocks=BLOCKS, min_events=1, ontology=name)
    vocabulary = Vocabulary.fit(counts(*codes), config)
    assert len(vocabulary.positions("event_type")) == len(codes) + 1
    assert all(name.isidentifier() and name == name.lower() for name in vocabulary.names)


def test_two_sectors_with_one_column_name_are_refused() -> None:
    config = VocabularyConfig(blocks=("source_sector",), min_events=1)
    with pytest.raises(ValueError, match="source_sector_center_left"):
        Vocabulary.fit(counts("190", sectors="Center Left,Center-Left"), config)


def test_fitting_on_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no events to fit the vocabulary on"):
        Vocabulary.fit(counts())


@pytest.mark.parametrize(
    "changes",
    [
        {"blocks": ()},
        {"blocks": ("quads",)},
        {"blocks": ("quad", "quad")},
        {"min_events": 0},
        {"blocks": ("event_type", "root"), "ontology": "none"},
        {"blocks": ("quad",), "ontology": "none"},
        {"ontology": "icews"},
    ],
)
def test_a_config_out_of_range_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(changes))}=.*: expected"):
        VocabularyConfig(**changes)


def test_what_belongs_nowhere_has_no_root_and_no_quad_class() -> None:
    blocks: tuple[Block, ...] = ("event_type", "quad", "root")
    with pytest.raises(ValueError, match=r"no quad or root with ontology='none'.*cameo, plover"):
        VocabularyConfig(blocks=blocks, ontology="none")
    left: tuple[Block, ...] = ("event_type", "intensity", "source_sector", "context", "log_volume")
    assert VocabularyConfig(blocks=left, ontology="none").blocks == left


def test_the_default_blocks_are_those_of_the_274_dimensions() -> None:
    assert VocabularyConfig().blocks == ("event_type", "quad", "intensity")


@pytest.mark.parametrize(
    ("blocks", "fields"),
    [
        (("event_type",), ("event_code",)),
        (("log_volume", "target_sector"), ("event_code", "target_sectors")),
        (BLOCKS, get_args(CategoryField)),
    ],
)
def test_fields_are_those_that_the_blocks_need(
    blocks: tuple[Block, ...], fields: tuple[str, ...]
) -> None:
    assert VocabularyConfig(blocks=blocks).fields == fields


# JSON


def test_json_round_trip_keeps_everything() -> None:
    config = VocabularyConfig(blocks=BLOCKS, min_events=1)
    vocabulary = Vocabulary.fit(counts("190", "042", sectors="Médias,Police"), config)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.digest == vocabulary.digest
    assert "Médias" in vocabulary.to_json()


def test_digest_of_a_tiny_vocabulary_has_not_changed() -> None:
    # Published cubes and models carry it: if this changes on purpose, raise VERSION with it.
    config = VocabularyConfig(blocks=("event_type", "quad", "intensity"), min_events=2)
    vocabulary = Vocabulary.fit(counts("190", "190", "042"), config)
    assert vocabulary.digest == TINY_DIGEST


def test_digest_tells_vocabularies_apart() -> None:
    one = VocabularyConfig(min_events=1)
    fitted = [
        Vocabulary.fit(counts("190"), one),
        Vocabulary.fit(counts("190", "042"), one),
        Vocabulary.fit(counts("190", "042"), VocabularyConfig(min_events=2)),
        Vocabulary.fit(counts("190"), VocabularyConfig(blocks=("quad", "event_type"))),
        Vocabulary.fit(counts("190"), VocabularyConfig(blocks=("event_type",), ontology="none")),
        Vocabulary.fit(counts("190"), VocabularyConfig(blocks=("event_type",))),
    ]
    assert len({vocabulary.digest for vocabulary in fitted}) == len(fitted)
    assert Vocabulary.fit(counts("190", "190"), one).digest == fitted[0].digest


def test_one_of_before_there_was_a_choice_of_ontologies_is_cameos() -> None:
    vocabulary = Vocabulary.fit(counts("190", "042"), VocabularyConfig(min_events=1))
    content = json.loads(vocabulary.to_json())
    assert content["config"].pop("ontology") == "cameo"
    assert Vocabulary.from_json(json.dumps(content | {"version": 1})) == vocabulary


@pytest.mark.parametrize("name", ["plover", "none"])
def test_json_keeps_the_ontology(name: OntologyName) -> None:
    config = VocabularyConfig(blocks=("event_type", "intensity"), min_events=1, ontology=name)
    vocabulary = Vocabulary.fit(counts("AID", "CONSULT:visit"), config)
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_another_version_of_the_format_is_refused() -> None:
    content = json.loads(Vocabulary.fit(counts("190")).to_json())
    with pytest.raises(ValueError, match="vocabulary of version 0: expected 2"):
        Vocabulary.from_json(json.dumps(content | {"version": 0}))
