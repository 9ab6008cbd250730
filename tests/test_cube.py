"""Laws of the cube: shares that sum to one, explicit empty steps, columns that never shift."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.aggregate import Counts, Step, count_events, merge_counts
from features.cube import Cube, build_cube
from features.vocabulary import Block, Vocabulary, VocabularyConfig

MONDAY = date(2018, 12, 24)
CODES = ("010", "10", "042", "0841", "1823", "190")
SHARES: tuple[Block, ...] = ("event_type", "quad", "root")
ALL = VocabularyConfig(
    blocks=(*SHARES, "intensity", "source_sector", "target_sector", "log_volume"), min_events=1
)

Event = tuple[
    str, int, str, float, str | None, str | None
]  # country, day, code, intensity, sectors
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["Mali", "Niger", "Iraq"]),
        st.integers(0, 40),
        st.sampled_from(CODES),
        st.sampled_from([-10.0, -0.1, 0.0, 10.0]),
        st.sampled_from([None, "Police", "Police,Media,Police"]),
        st.sampled_from([None, "Elite"]),
    ),
    min_size=1,
    max_size=25,
)


def count(events: list[Event], step: Step = "week") -> Counts:
    """Count events by country."""
    columns = ("country", "day", "event_code", "intensity", "source_sectors", "target_sectors")
    schema = dict.fromkeys(columns, pl.String) | {"day": pl.Int64, "intensity": pl.Float32}
    frame = pl.LazyFrame(events, schema=schema, orient="row").with_columns(
        event_date=pl.lit(MONDAY) + pl.duration(days="day")
    )
    return count_events(frame, entity="country", step=step, fields=ALL.fields)


def few(*codes: str, country: str = "Mali", day: int = 0) -> list[Event]:
    """Return an event of each of these codes."""
    return [(country, day, code, 0.0, None, None) for code in codes]


def block(cube: Cube, vocabulary: Vocabulary, name: Block) -> np.ndarray:
    """Return the values of a block in the steps that have events."""
    return cube.values[cube.exposure > 0][:, list(vocabulary.positions(name).values())]


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, fitted_on=EVENTS, min_events=st.integers(1, 3))
def test_proportions_of_a_nonempty_step_sum_to_one(
    events: list[Event], fitted_on: list[Event], min_events: int
) -> None:
    config = VocabularyConfig(blocks=SHARES, min_events=min_events)
    vocabulary = Vocabulary.fit(count(fitted_on), config)
    cube = build_cube(count(events), vocabulary, step="week")
    for name in SHARES:
        assert block(cube, vocabulary, name).sum(axis=1) == pytest.approx(1, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(events=EVENTS)
def test_everything_but_the_volume_lies_between_zero_and_one(events: list[Event]) -> None:
    vocabulary = Vocabulary.fit(count(events), ALL)
    cube = build_cube(count(events), vocabulary, step="week")
    for name in set(ALL.blocks) - {"log_volume"}:
        found = block(cube, vocabulary, name)
        assert ((found >= 0) & (found <= 1)).all()


@settings(max_examples=40, deadline=None)
@given(events=EVENTS)
def test_empty_steps_are_explicit(events: list[Event]) -> None:
    vocabulary = Vocabulary.fit(count(events), ALL)
    cube = build_cube(count(events), vocabulary, step="week")
    empty = cube.exposure == 0
    assert np.array_equal(np.isnan(cube.values).all(axis=2), empty)
    assert np.array_equal(np.isnan(cube.values).any(axis=2), empty)
    table = cube.proportions()
    assert table.height == empty.size
    assert np.array_equal((table["n_events"] == 0).to_numpy(), empty.ravel())
    for name in vocabulary.names:
        assert np.array_equal(table[name].is_null().to_numpy(), empty.ravel())
        assert not table[name].is_nan().any()


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, step=st.sampled_from(["day", "week", "month"]))
def test_events_are_all_in_the_cube_and_steps_have_no_gaps(events: list[Event], step: Step) -> None:
    counts = count(events, step)
    cube = build_cube(counts, Vocabulary.fit(counts), step=step)
    assert cube.exposure.sum() == len(events)
    assert cube.entities == tuple(sorted({event[0] for event in events}))
    unit = {"day": "D", "week": "D", "month": "M"}[step]
    lengths = np.diff(cube.steps.astype(f"datetime64[{unit}]")).astype(int)
    assert (lengths == (7 if step == "week" else 1)).all()
    assert cube.exposure.any(axis=0)[[0, -1]].all()


@settings(max_examples=40, deadline=None)
@given(events=EVENTS, data=st.data())
def test_cube_of_merged_counts_is_that_of_all_events(
    events: list[Event], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(events)))
    whole = count(events)
    vocabulary = Vocabulary.fit(whole, ALL)
    parts = merge_counts([count(events[cut:]), count(events[:cut])])
    one, other = (build_cube(counts, vocabulary, step="week") for counts in (whole, parts))
    assert one.values.tobytes() == other.values.tobytes()
    assert np.array_equal(one.exposure, other.exposure)


# By hand


def test_a_small_table() -> None:
    events: list[Event] = [
        ("Mali", 0, "190", -10.0, "Police,Police", None),
        ("Mali", 6, "190", -10.0, "Media,Police", "Elite"),
        ("Mali", 3, "042", 2.0, None, "Elite"),
        ("Mali", 5, "010", 0.0, None, None),
        ("Mali", 14, "010", 10.0, "Media", None),
        ("Iraq", 7, "0841", 7.0, None, None),
    ]
    config = VocabularyConfig(
        blocks=("event_type", "intensity", "quad", "source_sector", "log_volume"), min_events=2
    )
    cube = build_cube(count(events), Vocabulary.fit(count(events), config), step="week")
    assert cube.features == (
        "event_type_010",
        "event_type_190",
        "event_type_other",
        "intensity",
        "quad_verbal_cooperation",
        "quad_material_cooperation",
        "quad_verbal_conflict",
        "quad_material_conflict",
        "source_sector_media",
        "source_sector_police",
        "log_volume",
    )
    assert cube.blocks == (
        *["event_type"] * 3,
        "intensity",
        *["quad"] * 4,
        *["source_sector"] * 2,
        "log_volume",
    )
    assert cube.entities == ("Iraq", "Mali")
    assert cube.steps.astype(str).tolist() == ["2018-12-24", "2018-12-31", "2019-01-07"]
    assert cube.exposure.tolist() == [[0, 1, 0], [4, 0, 1]]
    mali, iraq = cube.values[1], cube.values[0]
    wanted = [0.25, 0.5, 0.25, (-18 / 4 + 10) / 20, 0.5, 0, 0, 0.5, 0.25, 0.5, np.log(5)]
    assert mali[0].tolist() == pytest.approx(wanted)
    wanted = [1, 0, 0, 1, 1, 0, 0, 0, 1, 0, np.log(2)]
    assert mali[2].tolist() == pytest.approx(wanted)
    wanted = [0, 0, 1, 17 / 20, 0, 1, 0, 0, 0, 0, np.log(2)]
    assert iraq[1].tolist() == pytest.approx(wanted)
    assert cube.values.dtype == np.float32
    assert cube.exposure.dtype == np.int64


def test_unseen_codes_go_to_other() -> None:
    vocabulary = Vocabulary.fit(count(few("190", "042")), VocabularyConfig(min_events=1))
    cube = build_cube(count(few("190", "1823", "010", "10")), vocabulary, step="week")
    found = dict(zip(cube.features, cube.values[0, 0].tolist(), strict=True))
    assert found["event_type_190"] == 0.25
    assert found["event_type_042"] == 0
    assert found["event_type_other"] == 0.75


def test_unseen_codes_still_count_in_their_quad_and_root() -> None:
    config = VocabularyConfig(blocks=("quad", "root"), min_events=1)
    vocabulary = Vocabulary.fit(count(few("010")), config)
    cube = build_cube(count(few("1823", "190")), vocabulary, step="week")
    found = dict(zip(cube.features, cube.values[0, 0].tolist(), strict=True))
    assert found["quad_material_conflict"] == 1
    assert (found["root_18"], found["root_19"]) == (0.5, 0.5)


def counted(*events: tuple[str, float | None, str | None]) -> Counts:
    """Count events of a country and week by code, intensity and contexts."""
    schema = {"event_code": pl.String, "intensity": pl.Float32, "contexts": pl.String}
    frame = pl.LazyFrame(events, schema=schema, orient="row")
    return count_events(
        frame.with_columns(country=pl.lit("Mali"), event_date=pl.lit(MONDAY)),
        entity="country",
        step="week",
        fields=("event_code", "contexts"),
    )


def test_a_small_table_of_plover() -> None:
    counts = counted(
        ("ASSAULT:aerial", -9.0, "military,cyber"),
        ("ASSAULT", -10.0, "military"),
        ("CONSULT:phone", 3.0, None),
        ("AID", 7.0, "military"),
    )
    blocks: tuple[Block, ...] = ("event_type", "root", "quad", "intensity", "context")
    config = VocabularyConfig(blocks=blocks, min_events=1, ontology="plover")
    cube = build_cube(counts, Vocabulary.fit(counts, config), step="week")
    found = dict(zip(cube.features, cube.values[0, 0].tolist(), strict=True))
    wanted = {
        "event_type_aid": 0.25,
        "event_type_assault": 0.25,
        "event_type_assault_aerial": 0.25,
        "event_type_consult_phone": 0.25,
        "root_aid": 0.25,
        "root_assault": 0.5,
        "root_consult": 0.25,
        "quad_verbal_cooperation": 0.25,
        "quad_material_cooperation": 0.25,
        "quad_material_conflict": 0.5,
        "intensity": (-9 / 4 + 10) / 20,
        "context_cyber": 0.25,
        "context_military": 0.75,
    }
    assert {name: value for name, value in found.items() if value} == pytest.approx(wanted)
    assert len([name for name in found if name.startswith("root_")]) == 16


@settings(max_examples=30, deadline=None)
@given(codes=st.lists(st.sampled_from(["other", "Other", "Riots", "Zamach"]), min_size=1))
def test_codes_of_no_ontology_called_other_are_counted_with_the_others(codes: list[str]) -> None:
    config = VocabularyConfig(blocks=("event_type",), min_events=2, ontology="none")
    counts = counted(*((code, None, None) for code in codes))
    cube = build_cube(counts, Vocabulary.fit(counts, config), step="week")
    found = dict(zip(cube.features, cube.values[0, 0].tolist(), strict=True))
    frequent = [code for code in ("Riots", "Zamach") if codes.count(code) >= 2]
    assert found == pytest.approx(
        {f"event_type_{code.lower()}": codes.count(code) / len(codes) for code in frequent}
        | {"event_type_other": sum(code not in frequent for code in codes) / len(codes)}
    )


def test_the_mean_intensity_is_of_the_events_that_have_one() -> None:
    config = VocabularyConfig(blocks=("event_type", "intensity"), min_events=1, ontology="none")
    counts = counted(("Riots", -6.0, None), ("Riots", None, None), ("Peace", 2.0, None))
    vocabulary = Vocabulary.fit(counts, config)
    cube = build_cube(counts, vocabulary, step="week")
    assert cube.values[0, 0, vocabulary.positions("intensity")["intensity"]] == pytest.approx(0.4)
    none = build_cube(counted(("Riots", None, None)), vocabulary, step="week")
    assert none.values[0, 0, vocabulary.positions("intensity")["intensity"]] == 0.5


def test_data_that_lack_a_category_do_not_shift_the_columns() -> None:
    vocabulary = Vocabulary.fit(count(few(*CODES)), VocabularyConfig(min_events=1))
    full = build_cube(count(few(*CODES)), vocabulary, step="week")
    lacking = build_cube(count(few("190")), vocabulary, step="week")
    assert lacking.features == full.features == vocabulary.names
    assert lacking.blocks == full.blocks == vocabulary.blocks
    assert lacking.values[0, 0, vocabulary.positions("event_type")["190"]] == 1
    assert lacking.values[0, 0, vocabulary.positions("event_type")["010"]] == 0


def test_unseen_sectors_are_left_out_even_where_one_is_called_other() -> None:
    config = VocabularyConfig(blocks=("source_sector",), min_events=1)
    vocabulary = Vocabulary.fit(count([("Mali", 0, "190", 0.0, "other,Police", None)]), config)
    cube = build_cube(
        count([("Mali", 0, "190", 0.0, "Elite,Media", None)]), vocabulary, step="week"
    )
    assert cube.values.tolist() == [[[0.0, 0.0]]]


def test_first_and_last_day_set_the_steps_whatever_the_events() -> None:
    events = few("190", day=0) + few("190", "190", day=14)
    vocabulary = Vocabulary.fit(count(events))
    days = {"first": MONDAY - timedelta(days=3), "last": MONDAY + timedelta(days=8)}
    cube = build_cube(count(events), vocabulary, step="week", **days)
    assert cube.steps.astype(str).tolist() == ["2018-12-17", "2018-12-24", "2018-12-31"]
    assert cube.exposure.tolist() == [[0, 1, 0]]
    assert np.isnan(cube.values[0, [0, 2]]).all()


def test_table_and_index_run_entity_by_entity() -> None:
    events = few("190", country="Mali") + few("190", country="Iraq", day=7)
    cube = build_cube(count(events), Vocabulary.fit(count(events)), step="week")
    week = MONDAY + timedelta(days=7)
    rows: list[tuple[Any, ...]] = [
        ("Iraq", MONDAY, 0),
        ("Iraq", week, 1),
        ("Mali", MONDAY, 1),
        ("Mali", week, 0),
    ]
    table = cube.proportions()
    assert table.columns == ["entity", "step_start", "n_events", *cube.features]
    assert table.select("entity", "step_start", "n_events").rows() == rows
    assert cube.index().rows() == [row[:2] for row in rows]
    assert set(table.dtypes[3:]) == {pl.Float32}
    flat = cube.values.reshape(-1, len(cube.features))
    assert np.array_equal(table[:, 3:].to_numpy(), flat, equal_nan=True)


def test_no_events_to_encode_is_refused() -> None:
    vocabulary = Vocabulary.fit(count(few("190")))
    with pytest.raises(ValueError, match="no events to encode"):
        build_cube(count([]), vocabulary, step="week")
