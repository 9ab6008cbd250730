"""GDELT files by their names, numbers of columns and rows."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features import gdelt
from features.cameo import cameo_table
from features.events import FileName
from features.gdelt import GDELT, column_names, gdelt_codes, parse_file_name
from features.ingest import IngestConfig, StagedFile, read_staged, stage_file
from features.raw_rows import SourceFormatError
from tests.source_files import GDELT_COLUMNS, Record, delimited, gdelt_columns, zipped

GOOD: Record = {
    "GLOBALEVENTID": "410412347",
    "SQLDATE": "20150218",
    "MonthYear": "201502",
    "Year": "2015",
    "FractionDate": "2015.1315",
    "Actor1Code": "MLIGOV",
    "Actor1Name": 'MALI "THE"',
    "Actor1CountryCode": "MLI",
    "Actor1Type1Code": "GOV",
    "Actor1Type2Code": "MIL",
    "Actor2Code": "NER",
    "Actor2Name": "NIGER",
    "Actor2CountryCode": "NER",
    "Actor2Type3Code": "REB",
    "IsRootEvent": "1",
    "EventCode": "043",
    "EventBaseCode": "043",
    "EventRootCode": "04",
    "QuadClass": "1",
    "GoldsteinScale": "2.8",
    "NumMentions": "10",
    "NumSources": "2",
    "NumArticles": "9",
    "AvgTone": "-2.5",
    "ActionGeo_Type": "4",
    "ActionGeo_FullName": "Gao, Gao, Mali",
    "ActionGeo_CountryCode": "ML",
    "ActionGeo_Lat": "16.25",
    "ActionGeo_Long": "-0.5",
    "DATEADDED": "20150218230000",
    "SOURCEURL": "https://example.org/1",
}
CORE = IngestConfig(format="gdelt")
FULL = IngestConfig(format="gdelt", columns="all")
VERSIONS = (57, 58, 61)


def stage(
    folder: Path, data: str | bytes, name: str = "mine.CSV", config: IngestConfig = CORE
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


def rows(*changes: Record, version: int = 58, end: str = "\n") -> str:
    """Return a file of good rows with these changes."""
    records = [GOOD | change for change in changes]
    return delimited(records, gdelt_columns(version), header=False, end=end)


# Names of files


@pytest.mark.parametrize(
    ("name", "release", "last"),
    [
        ("20130401.export.CSV.zip", "20130401", date(2013, 5, 2)),
        ("20130401.export.CSV", "20130401", date(2013, 5, 2)),
        ("20150218230000.export.CSV.zip", "20150218230000", date(2015, 3, 21)),
        ("20150218230000.translation.export.CSV.zip", "20150218230000", date(2015, 3, 21)),
        ("201303.zip", "20130331", date(2013, 5, 1)),
        ("201303.csv", "20130331", date(2013, 5, 1)),
        ("2005.zip", "20051231", date(2006, 1, 31)),
    ],
)
def test_every_file_is_a_part_and_its_name_bounds_the_dates(
    name: str, release: str, last: date
) -> None:
    found = parse_file_name(name)
    assert found == FileName(edition="daily", release=release, last_plausible=last)


@pytest.mark.parametrize(
    "name",
    [
        "mine.CSV",
        "20131301.export.CSV.zip",
        "20130431.export.CSV",
        "0000.zip",
        "9999.zip",
        "20.zip",
    ],
)
def test_other_names_tell_nothing(name: str) -> None:
    assert parse_file_name(name) == FileName()


# Columns


@pytest.mark.parametrize("version", VERSIONS)
def test_columns_are_in_the_order_of_the_codebook(version: int) -> None:
    names = list(column_names(version, path="a.CSV"))
    assert names == gdelt_columns(version)
    assert len(names) == version


def test_positions_of_the_columns_that_are_used() -> None:
    first, second = (column_names(version, path="a.CSV") for version in (57, 61))
    assert [first.index(name) for name in ("EventCode", "GoldsteinScale")] == [26, 30]
    assert [first.index(name) for name in ("Actor1CountryCode", "Actor2CountryCode")] == [7, 17]
    assert [first.index(name) for name in ("ActionGeo_CountryCode", "DATEADDED")] == [51, 56]
    assert [second.index(name) for name in ("ActionGeo_CountryCode", "DATEADDED")] == [53, 59]


def test_all_columns_that_are_used_exist() -> None:
    assert set(gdelt.NAMES) <= set(GDELT_COLUMNS)
    assert set(GDELT.raw_columns(GDELT.kept("all"))) == set(gdelt.NAMES.values())


@pytest.mark.parametrize("n_fields", [1, 17, 56, 59, 60, 62])
def test_another_number_of_columns_is_refused_with_both_numbers(
    tmp_path: Path, n_fields: int
) -> None:
    words = rf"mine\.CSV: not a file of GDELT events: its first line has {n_fields} tab"
    with pytest.raises(SourceFormatError, match=words) as error:
        stage(tmp_path, "\t".join(["1"] * n_fields) + "\n")
    assert all(str(version) in str(error.value) for version in VERSIONS)


# Rows


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_is_read_as_written(tmp_path: Path, version: int, end: str) -> None:
    account, events, _ = stage(tmp_path, rows({}, version=version, end=end), config=FULL)
    assert (account.lines, account.valid, account.mended_codes) == (1, 1, 0)
    row = events.row(0, named=True)
    assert row.pop("intensity") == pytest.approx(2.8)
    assert row == {
        "event_id": "410412347",
        "event_date": date(2015, 2, 18),
        "event_code": "043",
        "source_country": "MLI",
        "target_country": "NER",
        "country": "ML",
        "source_sectors": "GOV,MIL",
        "target_sectors": "REB",
        "source_name": 'MALI "THE"',
        "target_name": "NIGER",
        "place": "Gao, Gao, Mali",
        "source_url": None if version == 57 else "https://example.org/1",
        "is_root_event": 1,
        "num_mentions": 10,
        "num_sources": 2,
        "num_articles": 9,
        "average_tone": -2.5,
        "latitude": 16.25,
        "longitude": -0.5,
        "file": "mine.CSV",
        "line": 1,
    }


def test_the_first_line_is_data(tmp_path: Path) -> None:
    account, events, rejected = stage(
        tmp_path, rows({"SQLDATE": "never"}, {"GLOBALEVENTID": "2"}, {"GLOBALEVENTID": ""})
    )
    assert account.lines == 3
    assert events.select("event_id", "line").rows() == [("2", 2)]
    assert rejected.select("line", "reason").rows() == [(1, "unreadable date"), (3, "no event id")]


def test_absent_actors_and_places_are_null(tmp_path: Path) -> None:
    empty = {name: "" for name in GDELT_COLUMNS if name.startswith(("Actor", "Action"))}
    _, events, _ = stage(tmp_path, rows(empty), config=FULL)
    assert events.select(
        pl.exclude("event_id", "event_date", "event_code", "intensity", "file", "line")
    ).row(0, named=True) == dict.fromkeys(
        (
            *("source_country", "target_country", "country", "source_sectors", "target_sectors"),
            *("source_name", "target_name", "place", "latitude", "longitude"),
        )
    ) | {
        "source_url": "https://example.org/1",
        "is_root_event": 1,
        "num_mentions": 10,
        "num_sources": 2,
        "num_articles": 9,
        "average_tone": -2.5,
    }


@pytest.mark.parametrize("code", ["NA", "NULL", "None"])
def test_words_for_absence_elsewhere_are_values_here(tmp_path: Path, code: str) -> None:
    _, events, _ = stage(tmp_path, rows({"ActionGeo_CountryCode": code}))
    assert events["country"].to_list() == [code]


def test_rows_dated_long_before_their_file_are_late_and_kept(tmp_path: Path) -> None:
    days = ["20150218", "20140218", "20050101", "20150321", "20150322", "19791231"]
    name = "20150218230000.export.CSV.zip"
    data = zipped({"a.CSV": rows(*({"SQLDATE": day} for day in days)).encode()})
    account, events, rejected = stage(tmp_path, data, name)
    assert [f"{day:%Y%m%d}" for day in events["event_date"]] == [*days[:4], days[5]]
    assert rejected.select("line", "reason").rows() == [(5, "implausible date")]
    assert account.months[0] == date(1979, 12, 1)
    assert account.covers is None


@pytest.mark.parametrize("written", ["", "12", "x"])
def test_an_intensity_absent_or_out_of_range_is_that_of_the_code(
    tmp_path: Path, written: str
) -> None:
    _, events, _ = stage(tmp_path, rows({"GoldsteinScale": written}))
    own = cameo_table().filter(code="043")["intensity"].to_list()
    assert events["intensity"].to_list() == own


# Codes


@pytest.mark.parametrize(
    ("codes", "wanted", "mended"),
    [
        (("043", "043", "04"), "043", False),
        (("010", "010", "01"), "010", False),
        (("10", "10", "10"), "10", False),
        (("100", "100", "10"), "100", False),
        (("1823", "182", "18"), "1823", False),
        (("1829", "182", "18"), "182", True),
        (("1999", "199", "19"), "19", True),
        (("43", "43", "4"), "043", True),
        (("10", "10", "1"), "010", True),
        (("831", "83", "8"), "0831", True),
        (("039", "03", "3"), "03", True),
        (("X", "X", "X"), None, False),
        (("---", "---", "--"), None, False),
        ((None, None, None), None, False),
        ((None, "043", "04"), "043", True),
        (("043", None, None), "043", False),
        ((" 043 ", "043", "04"), "043", True),
    ],
)
def test_the_narrowest_code_of_cameo_is_taken(
    codes: tuple[str | None, ...], wanted: str | None, *, mended: bool
) -> None:
    schema = dict.fromkeys(("event_code", "base_code", "root_code"), pl.String)
    raw = pl.DataFrame([codes], schema=schema, orient="row")
    assert gdelt_codes(raw).rows() == [(wanted, mended)]


def test_every_code_of_cameo_is_its_own_and_loses_no_zero() -> None:
    codes = cameo_table()["code"]
    raw = pl.DataFrame({"event_code": codes}).with_columns(
        base_code=pl.col("event_code").str.slice(0, 3),
        root_code=pl.col("event_code").str.slice(0, 2),
    )
    found = gdelt_codes(raw)
    assert found["event_code"].cast(pl.String).to_list() == codes.to_list()
    assert not found["mended"].any()


def test_codes_keep_their_zeros_and_unknown_ones_are_counted(tmp_path: Path) -> None:
    unknown = {"EventCode": "X", "EventBaseCode": "X", "EventRootCode": "X"}
    account, events, rejected = stage(tmp_path, rows({}, {"EventCode": "0439"}, unknown))
    assert events["event_code"].to_list() == ["043", "043"]
    assert account.mended_codes == 1
    assert rejected["reason"].to_list() == ["unknown event code"]


# Layouts


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(4)), version=st.sampled_from(VERSIONS))
def test_order_of_rows_and_version_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], version: int
) -> None:
    folder = tmp_path_factory.mktemp("t")
    changes = [
        {"GLOBALEVENTID": str(i)} | change
        for i, change in enumerate(({}, {"EventCode": "0439"}, {"Actor1Name": '"'}, {"Year": ""}))
    ]
    _, wanted, _ = stage(folder, rows(*changes))
    _, events, _ = stage(folder, rows(*(changes[i] for i in order), version=version))
    assert_frame_equal(events.drop("line").sort("event_id"), wanted.drop("line").sort("event_id"))


def test_lines_of_another_number_of_fields_are_rejected(tmp_path: Path) -> None:
    text = rows({}) + rows({}, version=61) + "\n" + rows({}, version=57)
    account, events, rejected = stage(tmp_path, text)
    assert (account.lines, events.height) == (4, 1)
    assert rejected.select("line", "reason").rows() == [
        (2, "wrong number of fields"),
        (3, "blank line"),
        (4, "wrong number of fields"),
    ]
