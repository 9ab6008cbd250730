"""POLECAT files by their names, headers and rows."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.events import FileName
from features.ingest import IngestConfig, StagedFile, read_staged, stage_file
from features.ontology import ontology
from features.polecat import POLECAT, parse_file_name, plover_codes
from features.raw_rows import SourceFormatError
from features.tables import TableFormatError
from tests.source_files import POLECAT_COLUMNS, Record, delimited, zipped

GOOD: Record = dict.fromkeys(POLECAT_COLUMNS, "None") | {
    "Event ID": "20230103-17-a",
    "Event Date": "2023-01-02",
    "Event Type": "ASSAULT",
    "Event Mode": "aerial",
    "Intensity": "-9.5",
    "Quad Code": "MATERIAL CONFLICT",
    "Contexts": "military;terrorism",
    "Actor Name": 'Wing "Blue" Commander',
    "Actor Country": "MLI;FRA",
    "Actor Sectors": "MIL;GOV",
    "Recipient Name": "Villager",
    "Recipient Country": "NER",
    "Recipient Sectors": "CVL",
    "Placename": "Gao",
    "City": "Gao",
    "Province": "Gao Region",
    "Country": "MLI",
    "Latitude": "16.25",
    "Longitude": "-0.5",
    "Source": "Wire",
    "Publication Date": "2023-01-03",
    "Language": "fr",
    "Version": "DV",
}
CORE = IngestConfig(format="polecat")
FULL = IngestConfig(format="polecat", columns="all")


def stage(
    folder: Path, data: str | bytes, name: str = "mine.txt", config: IngestConfig = CORE
) -> tuple[StagedFile, pl.DataFrame, pl.DataFrame]:
    """Stage one file; return account, events in order of lines, rejected rows."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    target = folder / f"staged-{len(list(folder.iterdir()))}"
    account = stage_file(path, target, config=config)
    rejected = pl.read_parquet(target / "rejected.parquet")
    assert account.lines == account.valid + rejected.height
    events = read_staged(target)
    return account, events.sort("line") if events.width else events, rejected


def rows(*changes: Record) -> str:
    """Return a table of good rows with these changes."""
    return delimited([GOOD | change for change in changes], POLECAT_COLUMNS)


# Names of files


@pytest.mark.parametrize(
    ("name", "edition", "year", "release", "last"),
    [
        (
            "ngecEvents.20230103111842.Release603.DV.txt",
            *("daily", None, "20230103111842", date(2023, 2, 3)),
        ),
        (
            "ngecEvents.20230103.Release603.DV.txt.zip",
            *("daily", None, "20230103000000", date(2023, 2, 3)),
        ),
        ("ngecEventsDV-2022.txt.zip", "yearly", 2022, "", date(2023, 1, 31)),
        ("ngecEvents.DV.2023.txt", "yearly", 2023, "", date(2024, 1, 31)),
        ("ngecevents.dv.2023.txt", "yearly", 2023, "", date(2024, 1, 31)),
        ("ngecEvents.20231303111842.Release603.DV.txt", "other", None, "", date(2100, 1, 1)),
        ("ngecEvents.DV.0000.txt", "other", None, "", date(2100, 1, 1)),
        ("ngecEvents.DV.9999.txt", "other", None, "", date(2100, 1, 1)),
        ("my-ngecEvents.DV.2023.txt", "other", None, "", date(2100, 1, 1)),
    ],
)
def test_edition_year_release_and_last_plausible_day(
    name: str, edition: str, year: int | None, release: str, last: date
) -> None:
    found = parse_file_name(name)
    assert (found.edition, found.year, found.release, found.last_plausible) == (
        edition,
        year,
        release,
        last,
    )


def test_a_name_of_another_source_tells_nothing() -> None:
    assert parse_file_name("20181004-icews-events.zip") == FileName()


# Headers


def test_there_are_forty_columns_and_those_that_are_used_are_among_them() -> None:
    assert len(POLECAT_COLUMNS) == 40
    used = set(POLECAT.match_columns(POLECAT_COLUMNS, path="a.txt"))
    assert used >= set(POLECAT.raw_columns(POLECAT.kept("all")))


@pytest.mark.parametrize("name", ["Event ID", "Event Type", "Actor Country", "Recipient Country"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    header = [column for column in POLECAT_COLUMNS if column != name]
    with pytest.raises(SourceFormatError, match=rf"mine\.txt: not a file of POLECAT.*'{name}'\. F"):
        stage(tmp_path, delimited([], header))


def test_an_icews_file_is_not_taken_for_polecat(tmp_path: Path) -> None:
    header = ["Event ID", "Event Date", "Source Country", "CAMEO Code", "Target Country"]
    with pytest.raises(SourceFormatError, match="lacks 'Event Type', 'Actor Country'"):
        stage(tmp_path, delimited([], header))


# Rows


def test_a_row_is_read_as_written(tmp_path: Path) -> None:
    account, events, _ = stage(tmp_path, rows({}), config=FULL)
    assert (account.valid, account.mended_codes) == (1, 0)
    assert events.row(0, named=True) == {
        "event_id": "20230103-17-a",
        "event_date": date(2023, 1, 2),
        "event_code": "ASSAULT:aerial",
        "intensity": -9.5,
        "source_country": "MLI",
        "target_country": "NER",
        "country": "MLI",
        "source_sectors": "MIL,GOV",
        "target_sectors": "CVL",
        "contexts": "military,terrorism",
        "source_name": 'Wing "Blue" Commander',
        "target_name": "Villager",
        "publisher": "Wire",
        "publication_date": "2023-01-03",
        "language": "fr",
        "place": "Gao",
        "city": "Gao",
        "district": None,
        "province": "Gao Region",
        "latitude": 16.25,
        "longitude": -0.5,
        "file": "mine.txt",
        "line": 2,
    }


def test_core_columns_are_those_of_all_without_the_further_ones(tmp_path: Path) -> None:
    _, core, _ = stage(tmp_path, rows({}))
    _, full, _ = stage(tmp_path, rows({}), config=FULL)
    assert "contexts" in core.columns
    assert "source_name" not in core.columns
    assert_frame_equal(core, full.select(core.columns))
    _, named, _ = stage(
        tmp_path, rows({}), config=IngestConfig(format="polecat", one_report_a_day=True)
    )
    assert named["source_name"].to_list() == ['Wing "Blue" Commander']


@pytest.mark.parametrize("missing", ["None", ""])
@pytest.mark.parametrize(
    ("column", "canonical"),
    [
        ("Actor Country", "source_country"),
        ("Recipient Country", "target_country"),
        ("Country", "country"),
        ("Actor Sectors", "source_sectors"),
        ("Recipient Sectors", "target_sectors"),
        ("Contexts", "contexts"),
        ("Actor Name", "source_name"),
        ("Latitude", "latitude"),
    ],
)
def test_what_is_absent_is_null(tmp_path: Path, column: str, canonical: str, missing: str) -> None:
    _, events, _ = stage(tmp_path, rows({column: missing}), config=FULL)
    assert events[canonical].to_list() == [None]
    assert events.select(pl.exclude(canonical, "district")).null_count().row(0).count(1) == 0


@pytest.mark.parametrize(
    ("written", "country"),
    [
        ("MLI", "MLI"),
        ("MLI;FRA", "MLI"),
        (" MLI ; FRA", "MLI"),
        (";FRA", "FRA"),
        ("MLI;", "MLI"),
        (";", None),
        ("  ", None),
    ],
)
def test_of_several_countries_the_first_is_taken(
    tmp_path: Path, written: str, country: str | None
) -> None:
    changes = dict.fromkeys(("Actor Country", "Recipient Country", "Country"), written)
    _, events, _ = stage(tmp_path, rows(changes))
    places = events.select("source_country", "target_country", "country")
    assert places.rows() == [(country,) * 3]


@pytest.mark.parametrize(
    ("written", "items"),
    [("GOV", "GOV"), ("GOV; MIL", "GOV,MIL"), ("GOV;;MIL;", "GOV,MIL"), (";", None)],
)
def test_lists_are_separated_by_commas(tmp_path: Path, written: str, items: str | None) -> None:
    changes = dict.fromkeys(("Actor Sectors", "Recipient Sectors", "Contexts"), written)
    _, events, _ = stage(tmp_path, rows(changes))
    assert events.select("source_sectors", "target_sectors", "contexts").rows() == [(items,) * 3]


@pytest.mark.parametrize("name", ["Intensity", "Event Intensity", "event_intensity"])
def test_either_name_of_the_intensity_is_known(tmp_path: Path, name: str) -> None:
    header = [name if column == "Intensity" else column for column in POLECAT_COLUMNS]
    _, events, _ = stage(tmp_path, delimited([GOOD | {name: "-9.5"}], header))
    assert events["intensity"].to_list() == [-9.5]


@pytest.mark.parametrize("written", ["None", "", "high", "-11", "nan"])
def test_an_intensity_absent_or_out_of_range_is_that_of_the_code(
    tmp_path: Path, written: str
) -> None:
    _, events, _ = stage(tmp_path, rows({"Intensity": written}))
    table = ontology("plover").table
    own = table.filter(code="ASSAULT:aerial")["intensity"].to_list()
    assert events["intensity"].to_list() == own


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2023-01-02", date(2023, 1, 2)),
        ("20230102", date(2023, 1, 2)),
        ("1/2/2023", date(2023, 1, 2)),
        ("2023-01-02T00:00:00", date(2023, 1, 2)),
        ("2023-01-02 00:00:00+00:00", date(2023, 1, 2)),
    ],
)
def test_every_spelling_of_a_date_is_read(tmp_path: Path, written: str, day: date) -> None:
    _, events, _ = stage(tmp_path, rows({"Event Date": written}))
    assert events["event_date"].to_list() == [day]


def test_rejected_rows_keep_reason_line_and_text(tmp_path: Path) -> None:
    text = rows(
        {"Event ID": "None"},
        {},
        {"Event Type": "JUGGLE"},
        {"Event Date": "2023-02-30"},
        {"Event Type": "None"},
        {"Event Date": "2023-02-04"},
        {"Event Date": "2023-02-03"},
    )
    name = "ngecEvents.20230103111842.Release603.DV.txt"
    account, events, rejected = stage(tmp_path, text + "short\tline\n", name)
    lines = text.split("\n")
    assert events["line"].to_list() == [3, 8]
    assert rejected.select("line", "reason", "text").rows() == [
        (2, "no event id", lines[1]),
        (4, "unknown event code", lines[3]),
        (5, "unreadable date", lines[4]),
        (6, "unknown event code", lines[5]),
        (7, "implausible date", lines[6]),
        (9, "wrong number of fields", "short\tline"),
    ]
    assert account.rejected["unknown event code"] == 2


# Codes


@pytest.mark.parametrize(
    ("kind", "mode", "code", "mended"),
    [
        ("ASSAULT", "aerial", "ASSAULT:aerial", False),
        ("assault", "Aerial", "ASSAULT:aerial", False),
        (" ASSAULT ", " aerial ", "ASSAULT:aerial", False),
        ("ASSAULT", None, "ASSAULT", False),
        ("ASSAULT", "", "ASSAULT", False),
        ("ASSAULT", "tickle", "ASSAULT", True),
        ("AGREE", "aerial", "AGREE", True),
        ("JUGGLE", "aerial", None, False),
        ("JUGGLE", None, None, False),
        (None, "aerial", None, False),
        (None, None, None, False),
        ("ASSAULT:aerial", None, None, False),
    ],
)
def test_code_of_type_and_mode(
    kind: str | None, mode: str | None, code: str | None, *, mended: bool
) -> None:
    schema = {"event_type": pl.String, "event_mode": pl.String}
    raw = pl.DataFrame({"event_type": [kind], "event_mode": [mode]}, schema=schema)
    assert plover_codes(raw).rows() == [(code, mended)]


def test_every_code_of_the_ontology_is_had_from_its_type_and_mode() -> None:
    codes = ontology("plover").table["code"]
    parts = codes.str.split_exact(":", 1).struct.rename_fields(["event_type", "event_mode"])
    found = plover_codes(parts.struct.unnest())
    assert found["event_code"].cast(pl.String).to_list() == codes.to_list()
    assert not found["mended"].any()


def test_unknown_modes_are_counted(tmp_path: Path) -> None:
    text = rows({}, {"Event Mode": "tickle"}, {"Event Mode": "None"}, {"Event Type": "JUGGLE"})
    account, events, _ = stage(tmp_path, text)
    assert events["event_code"].to_list() == ["ASSAULT:aerial", "ASSAULT", "ASSAULT"]
    assert (account.mended_codes, account.valid) == (1, 3)


# Layouts


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_extra_tabs_at_the_ends_of_lines_make_no_difference(tmp_path: Path, end: str) -> None:
    text = rows({}, {"Event ID": "2"}, {"Event ID": "3", "Version": ""})
    _, wanted, _ = stage(tmp_path, text)
    lines = text.rstrip("\n").split("\n")
    ragged = end.join(line + "\t" * i for i, line in enumerate(lines)) + end
    account, events, _ = stage(tmp_path, ragged)
    assert account.valid == 3
    assert_frame_equal(events, wanted)


def test_months_in_one_archive_are_read_as_one_file(tmp_path: Path) -> None:
    first = rows({"Event Date": "2022-01-05"}, {"Event Date": "2022-01-06", "Event ID": "None"})
    second = rows({"Event Date": "2022-02-07"})
    data = zipped({"b.txt": second.encode(), "a.txt": first.encode()})
    account, events, rejected = stage(tmp_path, data, "ngecEventsDV-2022.txt.zip")
    assert (account.lines, account.valid) == (3, 2)
    assert account.edition == "yearly"
    assert account.covers == (date(2022, 1, 5), date(2022, 2, 7))
    assert events.select("line", "event_date").rows() == [
        (2, date(2022, 1, 5)),
        (5, date(2022, 2, 7)),
    ]
    assert rejected["line"].to_list() == [3]


def test_months_of_different_columns_are_refused(tmp_path: Path) -> None:
    other = delimited([GOOD], POLECAT_COLUMNS[:30])
    data = zipped({"a.txt": rows({}).encode(), "b.txt": other.encode()})
    with pytest.raises(TableFormatError, match=r"mine\.txt"):
        stage(tmp_path, data)


@settings(max_examples=20, deadline=None)
@given(
    columns=st.permutations(POLECAT_COLUMNS),
    order=st.permutations(range(4)),
    mark=st.sampled_from(("", "\ufeff")),
)
def test_order_of_rows_and_columns_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], order: list[int], mark: str
) -> None:
    folder = tmp_path_factory.mktemp("t")
    changes = [{}, {"Event ID": "2", "Country": "None"}, {"Event ID": "3", "Event Mode": "?"}]
    records = [GOOD | change for change in (*changes, {"Event ID": "4", "Actor Name": '"'})]
    _, wanted, _ = stage(folder, delimited(records, POLECAT_COLUMNS), config=FULL)
    text = mark + delimited([records[i] for i in order], columns)
    account, events, _ = stage(folder, text, config=FULL)
    assert account.mended_codes == 1
    key = ["event_id"]
    assert_frame_equal(events.drop("line").sort(key), wanted.drop("line").sort(key))
