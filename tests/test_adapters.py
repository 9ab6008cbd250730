"""Laws that hold for every source, and the example of how to add one."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features import adapters, tables
from features.adapters import ADAPTERS, Adapter, IngestConfig, SourceFormat, adapter_of
from features.column_map import ColumnMap, read_column_map
from features.events import ACTOR_NAMES, CORE_COLUMNS, FileName
from features.ingest import REJECTED_SCHEMA, StagedFile, read_staged, stage_file
from features.ontology import ontology
from features.raw_rows import match_header
from features.vocabulary import VocabularyConfig
from tests.source_files import CONFIGS, LAYOUTS, TABLE_MAP, source_file

SOURCES = Path(__file__).parents[1] / "data" / "SOURCES.md"
EVERY = [*ADAPTERS.values(), adapter_of(CONFIGS["table"])]


def stage(
    folder: Path, name: str, data: bytes, config: IngestConfig
) -> tuple[StagedFile, pl.DataFrame, pl.DataFrame]:
    """Stage one file; return account, events in order of lines, rejected rows."""
    path = folder / name
    path.write_bytes(data)
    target = folder / f"staged-{len(list(folder.iterdir()))}"
    account = stage_file(path, target, config=config)
    events = read_staged(target)
    rejected = pl.read_parquet(target / "rejected.parquet")
    return account, events.sort("line") if events.width else events, rejected


def example(kind: str) -> str:
    """Return the block of code after a mark in the documentation."""
    found = re.search(rf"<!-- {kind} -->\n```\w+\n(.*?)```", SOURCES.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


# Configurations


def test_every_format_has_an_adapter_of_its_name() -> None:
    assert {*ADAPTERS, "table"} == set(get_args(SourceFormat))
    for name, config in CONFIGS.items():
        assert adapter_of(config).name == config.format == name
    assert IngestConfig().format == "icews"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "acled"}, "format='acled' is unknown: expected one of icews, .*, table"),
        ({"columns": "most"}, "columns='most' is unknown: expected 'core' or 'all'"),
    ],
)
def test_unknown_values_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        IngestConfig(**options)


# Laws of adapters


@pytest.mark.parametrize("adapter", EVERY, ids=lambda adapter: adapter.name)
def test_every_adapter_has_the_core_columns_the_names_and_blocks_that_exist(
    adapter: Adapter,
) -> None:
    assert tuple(adapter.core)[:5] == CORE_COLUMNS
    assert set(ACTOR_NAMES) <= set(adapter.further)
    assert not set(adapter.core) & set(adapter.further)
    blocks: Any = adapter.blocks
    assert VocabularyConfig(blocks=blocks, ontology=adapter.ontology).blocks == adapter.blocks
    assert ".zip" in adapter.suffixes


@pytest.mark.parametrize("adapter", EVERY, ids=lambda adapter: adapter.name)
def test_what_is_kept_with_names_lies_between_core_and_all(adapter: Adapter) -> None:
    core, named, full = (
        list(adapter.kept("core")),
        list(adapter.kept("core", names=True)),
        list(adapter.kept("all", names=True)),
    )
    assert named == [*core, *ACTOR_NAMES]
    assert set(named) <= set(full)
    assert full == list(adapter.kept("all"))
    raw = [adapter.raw_columns(adapter.kept(columns)) for columns in ("core", "all")]
    assert set(raw[0]) <= set(raw[1])
    assert all(len(set(columns)) == len(columns) for columns in raw)


@pytest.mark.parametrize("adapter", EVERY, ids=lambda adapter: adapter.name)
@settings(max_examples=60, deadline=None)
@given(name=st.one_of(st.text(), st.from_regex(r"[\w.-]*\d{4,14}[\w.-]*")))
def test_any_name_of_a_file_is_read(adapter: Adapter, name: str) -> None:
    found = adapter.parse_file_name(name)
    assert isinstance(found, FileName)
    assert (found.edition == "yearly") == (found.year is not None)


# Laws of files


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_in_full(tmp_path: Path, layout: str) -> None:
    source = source_file(layout, n_events=20, seed=1)
    account, events, rejected = stage(tmp_path, source.name, source.data, source.config)
    assert (account.lines, account.valid, rejected.height) == (20, 20, 0)
    assert events["event_id"].n_unique() == 20
    adapter = adapter_of(source.config)
    assert events.schema["event_code"] == ontology(adapter.ontology).code_type
    assert events.schema["intensity"] == pl.Float32
    assert events.columns == [
        *("event_id", "event_date", "event_code", "intensity"),
        *adapter.core,
        *("file", "line"),
    ]
    assert account.edition == adapter.parse_file_name(source.name).edition


@pytest.mark.parametrize("source", CONFIGS)
@pytest.mark.parametrize("seed", range(3))
def test_layouts_of_a_source_hold_the_same_events(tmp_path: Path, source: str, seed: int) -> None:
    found = []
    for layout in LAYOUTS:
        if layout.split("_")[0] == source:
            file = source_file(layout, n_events=12, seed=seed)
            _, events, _ = stage(tmp_path, file.name, file.data, file.config)
            bare = events.drop("file", "line").sort("event_id")
            found.append(bare.with_columns(pl.col("event_id").str.strip_prefix("ICEWS")))
    assert len(found) >= 3
    for other in found[1:]:
        assert_frame_equal(other, found[0])


def test_sources_of_one_ontology_agree_on_the_events(tmp_path: Path) -> None:
    columns = ("event_id", "event_date", "event_code", "intensity", "source_sectors")
    found = []
    for layout in ("icews", "gdelt_61", "table_csv"):
        file = source_file(layout, n_events=30, seed=2)
        found.append(stage(tmp_path, file.name, file.data, file.config)[1].select(columns))
    assert_frame_equal(found[1], found[0])
    assert_frame_equal(found[2], found[0])


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if not name.startswith("table")])
def test_a_file_of_another_source_is_refused_with_its_name(tmp_path: Path, layout: str) -> None:
    file = source_file(layout)
    for name, config in CONFIGS.items():
        if name == file.config.format:
            continue
        with pytest.raises(tables.TableFormatError, match=re.escape(file.name)):
            stage(tmp_path, file.name, file.data, config)


@pytest.mark.parametrize("source", CONFIGS)
def test_an_empty_file_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(tables.TableFormatError, match=r"mine\.txt"):
        stage(tmp_path, "mine.txt", b"", CONFIGS[source])


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_line_is_valid_or_rejected_whatever_is_done_to_a_file(
    tmp_path_factory: pytest.TempPathFactory, layout: str, data: st.DataObject
) -> None:
    file = source_file(layout, n_events=5, seed=3)
    octets = bytearray(file.data)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(octets)))
        end = place + data.draw(st.integers(0, 3))
        octets[place:end] = data.draw(
            st.sampled_from((b"\t", b"\n", b"\r", b'"', b",", b"\0", b"\xff", b"9", b"", b"\r\n"))
        )
    folder = tmp_path_factory.mktemp("t")
    try:
        account, events, rejected = stage(folder, file.name, bytes(octets), file.config)
    except tables.TableFormatError as error:
        assert file.name in str(error)
        return
    assert account.lines == account.valid + rejected.height
    assert account.valid == events.height == sum(account.rows_by_day.values())
    assert sum(account.rejected.values()) == rejected.height
    assert rejected.schema == REJECTED_SCHEMA
    lines = [*(events["line"] if events.width else []), *rejected["line"]]
    assert len(set(lines)) == account.lines
    if account.valid:
        kept = ("event_id", "event_date", "event_code")
        assert not any(events[name].has_nulls() for name in kept)
        assert events["intensity"].is_between(-10, 10).all(ignore_nulls=False)


# Headers


@settings(max_examples=40, deadline=None)
@given(header=st.lists(st.sampled_from(("Event ID", "event.id", "Note", "", "n", "N")), max_size=8))
def test_names_of_columns_are_all_different_whatever_the_header(header: list[str]) -> None:
    names = {"Event ID": "event_id", "N": "n"}
    found = match_header(header, names=names, required=(), source="any", path="a.tab")
    assert len(set(found)) == len(found) == len(header)
    ids = [i for i, name in enumerate(header) if name in {"Event ID", "event.id"}]
    assert [i for i, name in enumerate(found) if name == "event_id"] == ids[:1]


def test_a_header_of_very_many_columns_is_not_shown_in_full() -> None:
    header = [f"column {i}" + "x" * 1000 for i in range(5000)]
    with pytest.raises(tables.TableFormatError, match="and 4970 more") as error:
        ADAPTERS["icews"].match_columns(header, path="a.tab")
    assert len(str(error.value)) < 4000


# The documentation


def test_the_adapter_of_the_documentation_reads_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: dict[str, Any] = {"__name__": "phoenix"}
    exec(compile(example("adapter"), "phoenix.py", "exec"), module)
    monkeypatch.setitem(adapters.ADAPTERS, "phoenix", module["PHOENIX"])
    source_format: Any = "phoenix"
    config = IngestConfig(format=source_format, columns="all")
    text = (
        "eid,story_date,year,source,source_root,source_agent,target,target_root,target_agent,"
        "code,goldstein,countryname\n"
        '17,10/4/2004,2004,MLIGOV,MLI,"GOV;MIL",NER,NER,,190,-10,Mali\n'
        "18,10/5/2004,2004,MLIGOV,MLI,,NER,NER,NA,10,0,\n"
        "19,never,2004,MLIGOV,MLI,,NER,NER,,190,0,\n"
        "20,2/1/2006,2004,MLIGOV,MLI,,NER,NER,,190,0,\n"
    )
    account, events, rejected = stage(tmp_path, "PhoenixNYT_1945-2005.csv", text.encode(), config)
    columns = ("event_id", "event_code", "source_country", "source_sectors", "target_sectors")
    assert events.select(columns).rows() == [
        ("17", "190", "MLI", "GOV,MIL", None),
        ("18", "010", "MLI", None, None),
    ]
    assert rejected["reason"].to_list() == ["unreadable date", "implausible date"]
    assert account.edition == "daily"
    assert account.release == "2005"


def test_the_adapter_of_the_documentation_is_a_page() -> None:
    assert len(example("adapter").splitlines()) < 80


def test_the_column_map_of_the_documentation_reads_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(example("column map"))
    column_map = read_column_map(path)
    config = IngestConfig(format="table", column_map=column_map, one_report_a_day=True)
    text = (
        "event_id_cnty,event_date,sub_event_type,actor1,assoc_actor_1,actor2,country,notes\n"
        'MLI1,04 October 2018,Air/drone strike,Army,"A; B",n/a,Mali,"one, two"\n'
    )
    account, events, _ = stage(tmp_path, "acled-20181101.csv", text.encode(), config)
    assert (account.edition, account.release) == ("daily", "20181101")
    row = events.row(0, named=True)
    assert (row["event_code"], row["source_sectors"]) == ("Air/drone strike", "A,B")
    assert (row["source_country"], row["country"]) == ("Mali", "Mali")
    assert (row["source_name"], row["target_name"]) == ("Army", None)
    yearly = adapter_of(config).parse_file_name("acled-2018-20190301.csv")
    assert (yearly.edition, yearly.year, yearly.release) == ("yearly", 2018, "20190301")


def test_every_key_of_a_column_map_is_documented() -> None:
    text = SOURCES.read_text()
    keys = [field.name for field in fields(ColumnMap) if f"{field.name} = " not in text]
    assert keys == ["target_country", "target_sectors"]


def test_every_column_that_is_taken_is_documented() -> None:
    from features import gdelt, icews, polecat

    text = SOURCES.read_text()
    for source in (icews, polecat, gdelt):
        adapter = EVERY[("icews", "polecat", "gdelt").index(source.__name__.split(".")[1])]
        core = set(adapter.raw_columns(adapter.kept("core", names=True)))
        for written, raw in source.NAMES.items():
            bare = re.sub(r"[23]Code$", "1Code", written)
            assert raw not in core or bare in text, written


def test_tables_without_ids_are_told_apart_by_file_and_line(tmp_path: Path) -> None:
    file = source_file("table_parquet")
    config = replace(file.config, column_map=replace(TABLE_MAP, id=None))
    _, events, _ = stage(tmp_path, file.name, file.data, config)
    assert events["event_id"].to_list() == [f"{file.name}:{i}" for i in range(1, 7)]
