"""ICEWS files by their names, headers and spellings of values."""

from datetime import date

import polars as pl
import pytest

from features import icews
from features.icews import ICEWS, parse_file_name
from features.raw_rows import SourceFormatError
from features.sample import ICEWS_COLUMNS
from features.tables import Block

NEEDED = ("Event ID", "Event Date", "Source Country", "CAMEO Code", "Target Country")
NAMES = list(icews.NAMES.values())
match_columns, read_block = ICEWS.match_columns, ICEWS.read_block


def block(*lines: str, encoding: str = "utf-8", end: str = "\n") -> Block:
    """Return a block of these lines, all of them fitting."""
    data = "".join(line + end for line in lines).encode(encoding)
    return Block(first_line=2, n_lines=len(lines), data=data, lines=None)


# Names of files


@pytest.mark.parametrize(
    ("name", "edition", "year", "release", "last"),
    [
        ("events.2015.20180710092545.tab", "yearly", 2015, "20180710092545", date(2018, 8, 10)),
        ("events.2015.20180710092545.tab.zip", "yearly", 2015, "20180710092545", date(2018, 8, 10)),
        ("events.2015.20180710092545.tsv", "yearly", 2015, "20180710092545", date(2018, 8, 10)),
        ("Events.2017.20200602.tab.zip", "yearly", 2017, "20200602000000", date(2020, 7, 3)),
        ("20181004-icews-events.zip", "daily", None, "20181004", date(2018, 11, 4)),
        ("20181004-icews-events-1.tab", "daily", None, "20181004", date(2018, 11, 4)),
        ("20190503-thru-20190519-icews-events.zip", "daily", None, "20190519", date(2019, 6, 19)),
        ("202201-icews-events.tab", "daily", None, "20220131", date(2022, 3, 3)),
        ("202202-icews-events.tab", "daily", None, "20220228", date(2022, 3, 31)),
        ("mine.tsv", "other", None, "", date(2100, 1, 1)),
        ("20181304-icews-events.zip", "other", None, "", date(2100, 1, 1)),
        ("events.2015.20189999000000.tab", "other", None, "", date(2100, 1, 1)),
    ],
)
def test_edition_year_release_and_last_plausible_day(
    name: str, edition: str, year: int | None, release: str, last: date
) -> None:
    parsed = parse_file_name(name)
    assert (parsed.edition, parsed.year, parsed.release) == (edition, year, release)
    assert parsed.last_plausible == last


def test_a_release_with_the_time_of_day_is_later_than_one_of_the_day_alone() -> None:
    names = ["events.2015.20180710.tab", "events.2015.20180710092545.tab", "events.2015.201808.tab"]
    releases = [parse_file_name(name).release for name in names[:2]]
    assert releases == sorted(releases)
    assert parse_file_name(names[2]).edition == "other"


# Headers


def test_the_twenty_columns_are_matched_in_their_order() -> None:
    assert match_columns(list(ICEWS_COLUMNS), path="a.tab") == NAMES


@pytest.mark.parametrize(
    "respell",
    [
        str.lower,
        str.upper,
        lambda name: name.replace(" ", "."),
        lambda name: name.replace(" ", "_").lower(),
        lambda name: f" {name}  ",
        lambda name: name.replace(" ", ""),
        lambda name: name[0].lower() + name[1:].replace(" ", ""),
    ],
)
def test_columns_are_matched_whatever_their_case_and_punctuation(respell: object) -> None:
    assert callable(respell)
    assert match_columns([respell(name) for name in ICEWS_COLUMNS], path="a.tab") == NAMES


def test_columns_are_matched_by_name_in_any_order() -> None:
    header = sorted(ICEWS_COLUMNS)
    wanted = [NAMES[ICEWS_COLUMNS.index(name)] for name in header]
    assert match_columns(header, path="a.tab") == wanted


def test_further_columns_have_placeholders() -> None:
    header = ["Text", *ICEWS_COLUMNS, "Headline", "", "Text", "Source Name"]
    got = match_columns(header, path="a.tab")
    assert got[1:21] == NAMES
    assert len(set(got)) == len(header)
    assert not {got[0], *got[21:]} & set(NAMES)


@pytest.mark.parametrize("name", ["Event ID", "Event Date", "Source Country", "Target Country"])
def test_a_missing_column_is_named_and_so_are_file_and_columns_found(name: str) -> None:
    header = [other for other in NEEDED if other != name]
    with pytest.raises(SourceFormatError) as error:
        match_columns(header, path="some/a.tab")
    lacking = str(error.value).split("Found")[0]
    assert "some/a.tab" in lacking
    assert f"lacks '{name}'." in lacking
    assert all(f"'{other}'" in str(error.value).split("Expected")[0] for other in header)


def test_either_code_or_text_is_enough_and_neither_is_not() -> None:
    header = [name for name in NEEDED if name != "CAMEO Code"]
    assert "event_text" in match_columns([*header, "Event Text"], path="a.tab")
    with pytest.raises(SourceFormatError, match="lacks 'CAMEO Code' or 'Event Text'"):
        match_columns(header, path="a.tab")


def test_another_collection_is_not_taken_for_icews() -> None:
    polecat = ["Event ID", "Event Date", "Event Type", "Actor Country", "Recipient Country"]
    with pytest.raises(SourceFormatError, match="lacks 'Source Country', 'Target Country'"):
        match_columns(polecat, path="ngecEvents.txt")


# Values


@pytest.mark.parametrize("missing", ["", "NULL", "NA", "---"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("column", range(20))
def test_missing_values_are_null_in_every_column(missing: str, end: str, column: int) -> None:
    values = ["1" if name in ICEWS.numbers else "x" for name in NAMES]
    values[column] = missing
    got = read_block(block("\t".join(values), end=end), NAMES, NAMES)
    assert [value is None for value in got.row(0)] == [i == column for i in range(20)]


def test_words_that_hold_a_missing_word_are_values() -> None:
    got = read_block(block("NAMIBIA\tNULLA\t----\tn/a"), ["a", "b", "c", "city"], ["city"])
    assert got["city"].to_list() == ["n/a"]


def test_quotes_are_letters_like_any_other() -> None:
    names = ['Joseph "Joe" Hockey', '"', '""', '"open', "it's"]
    lines = [f"{i}\t{name}\tMali" for i, name in enumerate(names)]
    columns = ["event_id", "source_name", "country"]
    got = read_block(block(*lines), columns, columns)
    assert got["source_name"].to_list() == names
    assert got["country"].to_list() == ["Mali"] * len(names)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_end_is_no_part_of_the_last_value(end: str) -> None:
    columns = ["event_id", "country"]
    got = read_block(block("1\tMali", "2\tNULL", "3\tNiger", end=end), columns, columns)
    assert got["country"].to_list() == ["Mali", None, "Niger"]


def test_iso_8859_1_lines_among_utf8_lines() -> None:
    data = "1\tCôte\n".encode("iso-8859-1") + "2\tKöln\n".encode() + b"3\tMali\n"
    mixed = Block(first_line=2, n_lines=3, data=data, lines=None)
    columns = ["event_id", "country"]
    assert read_block(mixed, columns, columns)["country"].to_list() == ["Côte", "Köln", "Mali"]


def test_columns_come_as_wanted_and_absent_ones_are_null() -> None:
    got = read_block(
        block("Mali\t1"), ["country", "event_id"], ["event_id", "city", "country", "latitude"]
    )
    assert got.columns == ["event_id", "city", "country", "latitude"]
    assert got.row(0) == ("1", None, "Mali", None)
    assert got.dtypes == [pl.String, pl.String, pl.String, pl.Float32]


def test_a_number_that_cannot_be_read_is_null() -> None:
    columns = ["intensity", "sentence_number", "latitude"]
    got = read_block(block("-9.5\t3\t12.25", "high\t1.5\tnorth"), columns, columns)
    assert got.row(0) == (-9.5, 3, 12.25)
    assert got.row(1) == (None, None, None)


def test_ids_and_codes_stay_text() -> None:
    columns = ["event_id", "cameo_code"]
    got = read_block(block("0012\t010", "ICEWS123\t10"), columns, columns)
    assert got.rows() == [("0012", "010"), ("ICEWS123", "10")]


def test_a_block_without_lines_has_no_rows() -> None:
    wanted = ICEWS.raw_columns(ICEWS.kept("core"))
    got = read_block(block(), NAMES, wanted)
    assert got.columns == wanted
    assert got.height == 0


def test_reader_asks_for_columns_that_exist() -> None:
    core, full = (set(ICEWS.raw_columns(ICEWS.kept(columns))) for columns in ("core", "all"))
    assert full == set(NAMES)
    assert core < full
    assert "source_name" not in core


def test_of_two_columns_of_one_name_the_first_counts() -> None:
    header = ["Country", *NEEDED, "country"]
    columns = match_columns(header, path="a.tab")
    assert columns[0] == "country"
    assert columns[-1] == "_unused_6"
