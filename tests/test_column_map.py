"""Tables with a column map: what it may say, how it is read, and what comes of a table."""

from dataclasses import fields, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features import parquet_tables
from features.cameo import cameo_table
from features.column_map import ColumnMap, ColumnMapError, read_column_map
from features.events import FileName
from features.ingest import IngestConfig, StagedFile, read_staged, stage_file
from features.mapped_tables import table_adapter
from features.raw_rows import SourceFormatError
from features.tables import TableFormatError

MAP = ColumnMap(
    id="key",
    date="day",
    code="what",
    intensity="how",
    source_country="who",
    target_country="whom",
    country="where",
    source_sectors="roles",
    sector_separator="|",
)
GOOD = {
    "key": "1",
    "day": "2018-10-04",
    "what": "190",
    "how": "-9.5",
    "who": " Mali",
    "whom": "Niger",
    "where": "Mali",
    "roles": "MIL | GOV",
    "note": 'a "note',
}


def stage(
    folder: Path, data: str | bytes, name: str = "mine.tsv", column_map: ColumnMap = MAP
) -> tuple[StagedFile, pl.DataFrame, pl.DataFrame]:
    """Stage one file; return account, events in order of lines, rejected rows."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return stage_path(path, column_map)


def stage_path(path: Path, column_map: ColumnMap) -> tuple[StagedFile, pl.DataFrame, pl.DataFrame]:
    """Stage a file that is there."""
    target = path.parent / f"staged-{len(list(path.parent.iterdir()))}"
    config = IngestConfig(format="table", column_map=column_map)
    account = stage_file(path, target, config=config)
    rejected = pl.read_parquet(target / "rejected.parquet")
    assert account.lines == account.valid + rejected.height
    events = read_staged(target)
    return account, events.sort("line") if events.width else events, rejected


def tsv(*changes: dict[str, str], columns: tuple[str, ...] = tuple(GOOD)) -> str:
    """Return a table of good rows with these changes."""
    lines = ["\t".join(columns)]
    lines += ["\t".join((GOOD | change)[name] for name in columns) for change in changes]
    return "".join(line + "\n" for line in lines)


# What a map may say


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"date": ""}, "date='': expected a text"),
        ({"code": None}, "code=None: expected a text"),
        ({"id": 3}, "id=3: expected a text"),
        ({"country": ""}, "country='': expected a text"),
        ({"sector_separator": ""}, "sector_separator='': expected a text"),
        ({"code": "day"}, "expected a column each"),
        ({"id": "what"}, "expected a column each"),
        ({"ontology": "esperanto"}, "ontology='esperanto': expected one of cameo, plover, none"),
        ({"missing": "NA"}, "missing='NA': expected texts"),
        ({"missing": (1,)}, r"missing=\(1,\): expected texts"),
        ({"intensity_bounds": (1.0, 1.0)}, "expected two different numbers"),
        ({"intensity_bounds": (0.0, 1.0, 2.0)}, "expected two different numbers"),
        ({"intensity_bounds": ("0", "1")}, "expected two different numbers"),
        ({"intensity_bounds": (0.0, float("inf"))}, "expected two different numbers"),
        ({"intensity_bounds": (float("nan"), 1.0)}, "expected two different numbers"),
        ({"date_format": "%Y"}, "date_format='%Y': expected"),
        ({"date_format": "day"}, "date_format='day': expected"),
        ({"date_format": "%d.%m"}, "date_format='%d.%m': expected"),
        ({"yearly": r"\d{4}"}, r"a group that is the year, such as \(\?P<year>"),
        ({"yearly": "("}, "yearly='\\(': expected a regular expression"),
        ({"daily": "["}, "daily='\\[': expected a regular expression"),
    ],
)
def test_what_cannot_be_used_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ColumnMapError, match=words):
        ColumnMap(**{"date": "day", "code": "what"} | options)


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%m/%d/%y", "%Y%j", "%d %B %Y", "%Y-%m-%d %H:%M"])
def test_forms_of_dates_that_tell_the_day_are_accepted(form: str) -> None:
    assert ColumnMap(date="day", code="what", date_format=form).date_format == form


def test_a_map_says_what_goes_into_a_configuration() -> None:
    with pytest.raises(ValueError, match="format='table' needs a column_map"):
        IngestConfig(format="table")
    with pytest.raises(ValueError, match="column_map is for format='table'; this is 'icews'"):
        IngestConfig(column_map=MAP)
    with pytest.raises(ValueError, match="needs source_name and target_name in the column map"):
        IngestConfig(format="table", column_map=MAP, one_report_a_day=True)
    named = replace(MAP, source_name="who")
    with pytest.raises(ValueError, match="needs target_name in the column map"):
        IngestConfig(format="table", column_map=named, one_report_a_day=True)
    both = replace(named, target_name="whom")
    assert IngestConfig(format="table", column_map=both, one_report_a_day=True).one_report_a_day


# TOML


def test_a_map_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(
        'date = "day"\ncode = "what"\nid = "key"\nintensity = "how"\n'
        'intensity_bounds = [0, 1]\nmissing = ["", "n/a"]\nontology = "none"\n'
        "yearly = '(?P<year>\\d{4})\\.csv$'\n"
    )
    assert read_column_map(path) == ColumnMap(
        date="day",
        code="what",
        id="key",
        intensity="how",
        intensity_bounds=(0, 1),
        missing=("", "n/a"),
        ontology="none",
        yearly=r"(?P<year>\d{4})\.csv$",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('date = "day"\ncode = "what"\nwhere = "x"\n', "no such key: 'where'"),
        ('date = "day"\n', "missing: 'code'"),
        ("", "missing: 'date', 'code'"),
        ('date = "day"\ncode = 3\n', "code=3: expected a text"),
        ('date = "day"\ncode = ["a"]\n', r"code=\('a',\): expected a text"),
        ("date = day\n", "can't be read"),
        ('[table]\ndate = "day"\n', "no such key: 'table'"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(ColumnMapError, match=rf"map\.toml.*{words}") as error:
        read_column_map(path)
    if "key" in words or "missing" in words:
        listed = str(error.value).split("Keys are: ")[1].split(", ")
        assert listed == [field.name for field in fields(ColumnMap)]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ColumnMapError, match=r"absent\.toml can't be read"):
        read_column_map(tmp_path / "absent.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ColumnMapError, match=r"odd\.toml can't be read"):
        read_column_map(tmp_path / "odd.toml")


# Rows


def test_a_row_is_read_as_the_map_says(tmp_path: Path) -> None:
    account, events, _ = stage(tmp_path, tsv({}))
    assert events.row(0, named=True) == {
        "event_id": "1",
        "event_date": date(2018, 10, 4),
        "event_code": "190",
        "intensity": -9.5,
        "source_country": "Mali",
        "target_country": "Niger",
        "country": "Mali",
        "source_sectors": "MIL,GOV",
        "target_sectors": None,
        "file": "mine.tsv",
        "line": 2,
    }
    assert account == StagedFile(
        name="mine.tsv",
        edition="other",
        lines=1,
        valid=1,
        first_event=date(2018, 10, 4),
        last_event=date(2018, 10, 4),
        rows_by_day={date(2018, 10, 4): 1},
    )


def test_what_is_not_mapped_is_null_and_one_column_can_be_several(tmp_path: Path) -> None:
    small = ColumnMap(date="day", code="what", source_country="who", country="who")
    _, events, _ = stage(tmp_path, tsv({}), column_map=small)
    row = events.row(0, named=True)
    assert (row["source_country"], row["country"]) == ("Mali", "Mali")
    assert (row["target_country"], row["source_sectors"]) == (None, None)
    assert row["intensity"] == -10.0


def test_all_columns_are_those_of_core_and_the_names(tmp_path: Path) -> None:
    named = replace(MAP, source_name="who", target_name="whom")
    path = tmp_path / "mine.tsv"
    path.write_text(tsv({}))
    for options in ({"columns": "all"}, {"one_report_a_day": True}):
        config = IngestConfig(format="table", column_map=named, **options)
        stage_file(path, tmp_path / "staged", config=config)
        events = read_staged(tmp_path / "staged")
        assert events.select("source_name", "target_name").rows() == [("Mali", "Niger")]


def test_without_ids_file_and_line_are_the_identity(tmp_path: Path) -> None:
    without = replace(MAP, id=None)
    _, events, rejected = stage(tmp_path, tsv({}, {"day": "never"}, {}), column_map=without)
    assert events["event_id"].to_list() == ["mine.tsv:2", "mine.tsv:4"]
    assert rejected["reason"].to_list() == ["unreadable date"]


def test_rejected_rows_keep_reason_line_and_text(tmp_path: Path) -> None:
    text = tsv({"key": ""}, {"day": ""}, {"what": "999"}, {"day": "2018-02-30"}, {})
    _, events, rejected = stage(tmp_path, text + "short\n\n")
    lines = text.split("\n")
    assert events["line"].to_list() == [6]
    assert rejected.select("line", "reason", "text").rows() == [
        (2, "no event id", lines[1]),
        (3, "no date", lines[2]),
        (4, "unknown event code", lines[3]),
        (5, "unreadable date", lines[4]),
        (7, "wrong number of fields", "short"),
        (8, "blank line", ""),
    ]


@pytest.mark.parametrize(
    ("bounds", "written", "intensity"),
    [
        ((-10.0, 10.0), "-9.5", -9.5),
        ((0.0, 1.0), "0.75", 5.0),
        ((0, 1), "0", -10.0),
        ((100.0, 0.0), "100", -10.0),
        ((100.0, 0.0), "25", 5.0),
        ((0.0, 1.0), "1.01", -10.0),
        ((0.0, 1.0), "", -10.0),
        ((0.0, 1.0), "high", -10.0),
    ],
)
def test_intensity_is_scaled_and_out_of_bounds_is_that_of_the_code(
    tmp_path: Path, bounds: tuple[float, float], written: str, intensity: float
) -> None:
    column_map = replace(MAP, intensity_bounds=bounds)
    _, events, _ = stage(tmp_path, tsv({"how": written}), column_map=column_map)
    assert events["intensity"].to_list() == [intensity]
    assert events.schema["intensity"] == pl.Float32


@pytest.mark.parametrize(
    ("ontology", "written", "code", "mended"),
    [
        ("cameo", "190", "190", 0),
        ("cameo", "13y", "137", 1),
        ("cameo", "36", "036", 1),
        ("cameo", "ASSAULT", None, 0),
        ("plover", "ASSAULT:aerial", "ASSAULT:aerial", 0),
        ("plover", "assault:AERIAL", "ASSAULT:aerial", 0),
        ("plover", "ASSAULT", "ASSAULT", 0),
        ("plover", "ASSAULT:tickle", "ASSAULT", 1),
        ("plover", "ASSAULT:aerial:more", "ASSAULT:aerial", 0),
        ("plover", "190", None, 0),
        ("none", "Anything at all", "Anything at all", 0),
        ("none", " x ", "x", 0),
        ("none", "  ", None, 0),
        ("none", "", None, 0),
    ],
)
def test_codes_by_ontology(
    tmp_path: Path, ontology: Any, written: str, code: str | None, mended: int
) -> None:
    column_map = replace(MAP, ontology=ontology, intensity=None)
    account, events, rejected = stage(tmp_path, tsv({"what": written}), column_map=column_map)
    assert account.mended_codes == mended
    if code is None:
        assert rejected["reason"].to_list() == ["unknown event code"]
    else:
        assert events["event_code"].to_list() == [code]
        assert (events["intensity"].null_count() == 1) == (ontology == "none")


def test_an_intensity_out_of_range_is_null_where_codes_have_none(tmp_path: Path) -> None:
    column_map = replace(MAP, ontology="none")
    text = tsv({"how": "4"}, {"how": "11"}, {"how": ""})
    _, events, _ = stage(tmp_path, text, column_map=column_map)
    assert events["intensity"].to_list() == [4.0, None, None]
    assert events.schema["event_code"] == pl.String


def test_dates_of_a_given_form(tmp_path: Path) -> None:
    column_map = replace(MAP, date_format="%d/%m/%Y")
    text = tsv({"day": "04/10/2018"}, {"day": "2018-10-05"}, {"day": "10/31/2018"})
    _, events, rejected = stage(tmp_path, text, column_map=column_map)
    assert events["event_date"].to_list() == [date(2018, 10, 4), date(2018, 10, 5)]
    assert rejected["reason"].to_list() == ["unreadable date"]


def test_spellings_of_absent_values_are_those_of_the_map(tmp_path: Path) -> None:
    text = tsv({"where": "NA"}, {"where": "n/a"}, {"where": ""})
    _, events, _ = stage(tmp_path, text)
    assert events["country"].to_list() == ["NA", "n/a", None]
    _, events, _ = stage(tmp_path, text, column_map=replace(MAP, missing=("", "n/a")))
    assert events["country"].to_list() == ["NA", None, None]


def test_columns_that_are_lacking_are_named_with_what_they_are(tmp_path: Path) -> None:
    columns = tuple(name for name in GOOD if name not in {"what", "where"})
    words = r"mine\.tsv: .*lacks columns.*: code='what', country='where'\. .*Found: 'key', 'day'"
    with pytest.raises(SourceFormatError, match=words):
        stage(tmp_path, tsv({}, columns=columns))


def test_a_name_that_is_nearly_right_is_proposed(tmp_path: Path) -> None:
    column_map = replace(MAP, country="wherer")
    with pytest.raises(SourceFormatError, match="Is 'where' meant"):
        stage(tmp_path, tsv({}), column_map=column_map)


def test_of_two_columns_of_one_name_the_first_counts(tmp_path: Path) -> None:
    text = "day\twhat\twhere\tday\twhere\n2018-10-04\t190\tMali\tnever\tNiger\n"
    column_map = ColumnMap(date="day", code="what", country="where")
    _, events, _ = stage(tmp_path, text, column_map=column_map)
    assert events["country"].to_list() == ["Mali"]


# Names of files


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (
            "all-2018-20190604.csv",
            FileName(
                edition="yearly",
                year=2018,
                release="20190604",
                last_plausible=date(2019, 7, 5),
            ),
        ),
        (
            "all-2018-.csv",
            FileName(edition="yearly", year=2018, last_plausible=date(2019, 1, 31)),
        ),
        (
            "day-20181004.csv",
            FileName(edition="daily", release="20181004", last_plausible=date(2018, 11, 4)),
        ),
        ("day-2018.csv", FileName(edition="daily", release="2018")),
        ("all-2018-20199999.csv", FileName()),
        ("all-9999-.csv", FileName()),
        ("mine.csv", FileName()),
    ],
)
def test_edition_and_release_are_found_in_names(name: str, found: FileName) -> None:
    column_map = replace(
        MAP,
        yearly=r"^all-(?P<year>\d{4})-(?P<release>\d{8})?",
        daily=r"^day-(?P<release>\d+)",
    )
    assert table_adapter(column_map).parse_file_name(name) == found


def test_without_patterns_files_neither_replace_nor_are_replaced() -> None:
    parse = table_adapter(MAP).parse_file_name
    assert parse("events.2018.20190604.tab") == FileName()
    bare = table_adapter(replace(MAP, daily="^day")).parse_file_name
    assert bare("day.csv") == FileName(edition="daily")
    assert bare("today.csv") == FileName()


def test_dates_are_bounded_by_the_release(tmp_path: Path) -> None:
    column_map = replace(MAP, daily=r"^(?P<release>\d{8})")
    text = tsv({"day": "2018-11-04"}, {"day": "2018-11-05"})
    _, _, rejected = stage(tmp_path, text, "20181004.tsv", column_map)
    assert rejected.select("line", "reason").rows() == [(3, "implausible date")]


# CSV, TSV and Parquet


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Give columns the types that a Parquet file would have them in."""
    return frame.with_columns(
        pl.col("key").cast(pl.Int64, strict=False),
        pl.col("day").str.to_date(strict=False),
        pl.col("how").cast(pl.Float64, strict=False),
        pl.col("where").replace("", None).cast(pl.Categorical),
    )


@settings(max_examples=20, deadline=None)
@given(
    columns=st.permutations(tuple(GOOD)),
    order=st.permutations(range(5)),
    row_group=st.integers(1, 6),
    at_once=st.integers(1, 6),
)
def test_format_and_order_of_rows_and_columns_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory,
    columns: list[str],
    order: list[int],
    row_group: int,
    at_once: int,
) -> None:
    folder = tmp_path_factory.mktemp("t")
    changes = [{}, {"where": ""}, {"what": "13y", "how": "3"}, {"day": ""}, {"what": "x"}]
    records = [GOOD | {"key": str(i), "note": ""} | c for i, c in enumerate(changes)]
    _, wanted, _ = stage(folder, tsv(*records))
    frame = pl.DataFrame([records[i] for i in order]).select(columns)
    frame.write_csv(folder / "a.csv")
    frame.write_csv(folder / "b.tsv", separator="\t", line_terminator="\r\n", quote_style="never")
    typed(frame).write_parquet(folder / "c.parquet", row_group_size=row_group)
    for name, first in (("a.csv", 2), ("b.tsv", 2), ("c.parquet", 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parquet_tables, "ROWS_AT_ONCE", at_once)
            account, events, rejected = stage_path(folder / name, MAP)
        assert (account.lines, account.valid, account.mended_codes) == (5, 3, 1)
        assert_frame_equal(
            events.drop("file", "line").sort("event_id"), wanted.drop("file", "line")
        )
        assert events["line"].to_list() == [first + i for i in range(5) if order[i] < 3]
        assert dict(rejected.select("line", "reason").iter_rows()) == {
            first + order.index(3): "no date",
            first + order.index(4): "unknown event code",
        }


def test_text_of_a_rejected_row_of_parquet_is_its_mapped_values(tmp_path: Path) -> None:
    frame = typed(pl.DataFrame([GOOD, GOOD | {"what": "9\t9"}]))
    frame.write_parquet(tmp_path / "mine.parquet")
    _, events, rejected = stage_path(tmp_path / "mine.parquet", MAP)
    assert events["line"].to_list() == [1]
    assert rejected.rows() == [
        (
            "mine.parquet",
            2,
            "unknown event code",
            "1\t2018-10-04\t9 9\t-9.5\t Mali\tNiger\tMali\tMIL | GOV",
        )
    ]


def test_times_in_parquet_are_dates_whatever_form_the_map_gives(tmp_path: Path) -> None:
    frame = pl.DataFrame([GOOD]).with_columns(day=pl.lit(datetime(2018, 10, 4, 12, 30)))
    frame.write_parquet(tmp_path / "mine.parquet")
    for form in (None, "%d/%m/%Y"):
        _, events, _ = stage_path(tmp_path / "mine.parquet", replace(MAP, date_format=form))
        assert events["event_date"].to_list() == [date(2018, 10, 4)]


def test_columns_that_parquet_lacks_are_named_among_those_it_has(tmp_path: Path) -> None:
    pl.DataFrame([GOOD]).drop("how").write_parquet(tmp_path / "mine.parquet")
    with pytest.raises(SourceFormatError, match=r"lacks.*: intensity='how'.*'note'"):
        stage_path(tmp_path / "mine.parquet", MAP)


def test_spaces_around_names_of_columns_make_no_difference(tmp_path: Path) -> None:
    frame = pl.DataFrame([GOOD]).rename(lambda name: f" {name} ")
    frame.write_parquet(tmp_path / "mine.parquet")
    frame.write_csv(tmp_path / "mine.csv")
    _, wanted, _ = stage(tmp_path, tsv({}))
    for name in ("mine.parquet", "mine.csv"):
        _, events, _ = stage_path(tmp_path / name, MAP)
        assert_frame_equal(events.drop("file", "line"), wanted.drop("file", "line"))


def test_parquet_with_two_columns_of_a_name_that_is_mapped_is_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame([GOOD])
    arrays = [*frame.to_arrow().columns, frame["where"].to_arrow()]
    pq.write_table(pa.table(arrays, names=[*frame.columns, "where"]), tmp_path / "mine.parquet")
    with pytest.raises(TableFormatError, match=r"mine\.parquet: .*2 times"):
        stage_path(tmp_path / "mine.parquet", MAP)


def test_damaged_parquet_is_an_error_of_the_table(tmp_path: Path) -> None:
    pl.DataFrame([GOOD]).write_parquet(tmp_path / "mine.parquet")
    data = (tmp_path / "mine.parquet").read_bytes()
    with pytest.raises(TableFormatError, match=r"mine\.parquet: the Parquet file is damaged"):
        stage(tmp_path, data[:-9], "mine.parquet")


def test_parquet_with_no_rows_has_no_lines(tmp_path: Path) -> None:
    typed(pl.DataFrame([GOOD])).clear().write_parquet(tmp_path / "mine.parquet")
    account, events, _ = stage_path(tmp_path / "mine.parquet", MAP)
    assert (account.lines, events.height) == (0, 0)


def test_every_code_of_cameo_can_be_mapped() -> None:
    codes = cameo_table()["code"]
    found = table_adapter(MAP).event_codes(pl.DataFrame({"what": codes}))
    assert found["event_code"].cast(pl.String).to_list() == codes.to_list()
