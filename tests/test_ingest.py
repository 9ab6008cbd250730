"""Laws of ingesting: every line is accounted for, and what is read is what was written."""

import gzip
import io
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features import ingest, tables
from features.cameo import cameo_table
from features.deduplication import resolve_duplicates
from features.ingest import IngestConfig, StagedFile, read_staged, stage_file
from features.raw_rows import SourceFormatError
from features.sample import ICEWS_COLUMNS, SampleConfig, generate_events, write_sample
from features.tables import TableFormatError

ROW = {
    "Event ID": "1",
    "Event Date": "2018-10-04",
    "Source Name": 'Joseph Benedict "Joe" Hockey',
    "Source Sectors": "Government,Executive",
    "Source Country": "Côte d'Ivoire",
    "Event Text": "Make statement",
    "CAMEO Code": "010",
    "Intensity": "0.0",
    "Target Name": 'The "Movement',
    "Target Sectors": "",
    "Target Country": "Moldova, Republic of",
    "Story ID": "37",
    "Sentence Number": "4",
    "Publisher": "Wire",
    "City": " Gao ",
    "District": "",
    "Province": "Gao",
    "Country": "Mali",
    "Latitude": "16.2717",
    "Longitude": "-0.0447",
}


def rows(*changes: dict[str, str]) -> list[dict[str, str]]:
    """Return good rows, numbered, with these changes."""
    return [ROW | {"Event ID": str(i)} | change for i, change in enumerate(changes, start=1)]


def table(
    records: Sequence[dict[str, str]], *, columns: Sequence[str] = ICEWS_COLUMNS, end: str = "\n"
) -> str:
    """Return the text of a tab-separated file of these records."""
    lines = ["\t".join(columns)] + ["\t".join(row[name] for name in columns) for row in records]
    return end.join(lines) + end


def stage(
    folder: Path, data: str | bytes, name: str = "mine.tab", config: IngestConfig | None = None
) -> tuple[StagedFile, pl.DataFrame, pl.DataFrame]:
    """Stage one file; return account, events in order of lines, rejected rows."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    target = folder / f"staged-{len(list(folder.iterdir()))}"
    account = stage_file(path, target, config=config)
    events = read_staged(target)
    rejected = pl.read_parquet(target / "rejected.parquet")
    assert account.lines == account.valid + sum(account.rejected.values())
    assert account.valid == events.height
    assert account.rejected == dict(rejected["reason"].value_counts().iter_rows())
    assert rejected["line"].is_sorted()
    assert rejected.schema == ingest.REJECTED_SCHEMA
    if events.height:
        days = events["event_date"].value_counts().sort("event_date")
        assert list(account.rows_by_day.items()) == days.rows()
        assert (account.first_event, account.last_event) == (
            events["event_date"].min(),
            events["event_date"].max(),
        )
        assert set(events["file"].cast(pl.String)) == {name}
        events = events.sort("line")
    return account, events, rejected


def zipped(members: dict[str, bytes]) -> bytes:
    """Return a zip archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


# A good row


def test_a_row_is_read_as_written(tmp_path: Path) -> None:
    account, events, rejected = stage(tmp_path, table([ROW]), config=IngestConfig(columns="all"))
    assert rejected.is_empty()
    assert account == StagedFile(
        name="mine.tab",
        edition="other",
        lines=1,
        valid=1,
        first_event=date(2018, 10, 4),
        last_event=date(2018, 10, 4),
        rows_by_day={date(2018, 10, 4): 1},
    )
    got = events.row(0, named=True)
    assert got.pop("latitude") == pytest.approx(16.2717, abs=1e-5)
    assert got.pop("longitude") == pytest.approx(-0.0447, abs=1e-5)
    assert got == {
        "event_id": "1",
        "event_date": date(2018, 10, 4),
        "event_code": "010",
        "intensity": 0.0,
        "source_name": 'Joseph Benedict "Joe" Hockey',
        "source_sectors": "Government,Executive",
        "source_country": "Côte d'Ivoire",
        "target_name": 'The "Movement',
        "target_sectors": None,
        "target_country": "Moldova, Republic of",
        "story_id": "37",
        "sentence_number": 4,
        "publisher": "Wire",
        "city": "Gao",
        "district": None,
        "province": "Gao",
        "country": "Mali",
        "file": "mine.tab",
        "line": 2,
    }


def test_core_columns_are_those_of_all_without_the_further_ones(tmp_path: Path) -> None:
    text = table(rows({}, {"City": ""}, {"CAMEO Code": "13y"}))
    _, core, _ = stage(tmp_path, text)
    _, full, _ = stage(tmp_path, text, config=IngestConfig(columns="all"))
    assert set(core.columns) < set(full.columns)
    assert core.width == 11
    assert_frame_equal(core, full.select(core.columns))


# Accounting


def test_rejected_rows_keep_reason_line_and_text(tmp_path: Path) -> None:
    records = rows(
        {},
        {"Event Date": "2018-02-30"},
        {"Event Date": ""},
        {"Event ID": ""},
        {"CAMEO Code": "999", "Event Text": ""},
        {},
        {"Event Date": "2150-01-01"},
    )
    text = table(records)
    account, events, rejected = stage(tmp_path, text)
    lines = text.split("\n")
    assert events["line"].to_list() == [2, 7]
    assert rejected.rows() == [
        ("mine.tab", 3, "unreadable date", lines[2]),
        ("mine.tab", 4, "no date", lines[3]),
        ("mine.tab", 5, "no event id", lines[4]),
        ("mine.tab", 6, "unknown event code", lines[5]),
        ("mine.tab", 8, "implausible date", lines[7]),
    ]
    assert (account.lines, account.valid) == (7, 2)


def test_an_event_long_after_its_file_was_made_is_implausible(tmp_path: Path) -> None:
    text = table(rows({"Event Date": "2018-11-04"}, {"Event Date": "2018-11-05"}))
    account, _, rejected = stage(tmp_path, text, "20181004-icews-events.tab")
    assert account.edition == "daily"
    assert rejected.select("line", "reason").rows() == [(3, "implausible date")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_ragged_and_blank_lines_are_rejected_and_the_others_kept(tmp_path: Path, end: str) -> None:
    lines = table(rows({}, {}, {}, {})).rstrip("\n").split("\n")
    short, long = lines[2].rsplit("\t", 1)[0], lines[3] + "\tmore"
    account, events, rejected = stage(
        tmp_path, end.join([*lines[:2], short, "", long, "  ", lines[4]]) + end
    )
    assert events["line"].to_list() == [2, 7]
    assert events["event_id"].to_list() == ["1", "4"]
    assert rejected.select("line", "reason", "text").rows() == [
        (3, "wrong number of fields", short),
        (4, "blank line", ""),
        (5, "wrong number of fields", long),
        (6, "blank line", "  "),
    ]
    assert account.lines == 6


def test_one_line_too_long_and_one_too_short_are_both_rejected(tmp_path: Path) -> None:
    lines = table(rows({}, {}, {})).rstrip("\n").split("\n")
    text = "\n".join([lines[0], lines[1] + "\tmore", lines[2].rsplit("\t", 1)[0], lines[3]])
    _, events, rejected = stage(tmp_path, text)
    assert events["line"].to_list() == [4]
    assert rejected["line"].to_list() == [2, 3]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_last_line_without_its_end_is_read(tmp_path: Path, end: str) -> None:
    text = table(rows({}, {}), end=end)
    _, events, _ = stage(tmp_path, text)
    _, again, _ = stage(tmp_path, text.removesuffix(end))
    assert_frame_equal(again, events)
    assert events.height == 2


def test_a_file_of_ragged_lines_only_has_no_events(tmp_path: Path) -> None:
    account, _, rejected = stage(tmp_path, table([]) + "a\nb\tc\n\n")
    assert (account.lines, account.valid, account.first_event) == (3, 0, None)
    assert rejected["line"].to_list() == [2, 3, 4]
    assert account.months == []


def test_a_file_with_a_header_only_has_no_lines(tmp_path: Path) -> None:
    account, events, rejected = stage(tmp_path, table([]))
    assert account == StagedFile(name="mine.tab", edition="other")
    assert events.is_empty()
    assert rejected.is_empty()
    assert rejected.schema == ingest.REJECTED_SCHEMA


def test_long_rejected_lines_are_cut(tmp_path: Path) -> None:
    _, _, rejected = stage(tmp_path, table([]) + "é" * 5000 + "\n")
    assert rejected["text"].to_list() == ["é" * 2000]


def test_months_are_those_that_have_events() -> None:
    days = {date(2018, 11, 30): 1, date(2018, 11, 1): 2, date(2019, 1, 1): 3}
    account = StagedFile(name="a", edition="other", rows_by_day=days)
    assert account.months == [date(2018, 11, 1), date(2019, 1, 1)]


@pytest.mark.parametrize(
    ("days", "covers"),
    [
        (["2018-03-04", "2018-09-30", "2018-05-01"], (date(2018, 3, 4), date(2018, 9, 30))),
        (["2017-12-31", "2018-03-04", "2019-01-01"], (date(2018, 3, 4), date(2018, 3, 4))),
        (["2018-01-01", "2018-12-31"], (date(2018, 1, 1), date(2018, 12, 31))),
        (["2017-12-31", "2019-01-01"], None),
        ([], None),
    ],
)
def test_a_yearly_file_speaks_for_its_first_to_its_last_event_within_its_year(
    tmp_path: Path, days: list[str], covers: tuple[date, date] | None
) -> None:
    text = table(rows(*({"Event Date": day} for day in days), {"Event Date": "2018-13-01"}))
    account, _, _ = stage(tmp_path, text, "events.2018.20190604093512.tab")
    assert (account.edition, account.release) == ("yearly", "20190604093512")
    assert account.covers == covers
    daily, _, _ = stage(tmp_path, text, "20190604-icews-events.tab")
    assert (daily.edition, daily.release, daily.covers) == ("daily", "20190604", None)
    other, _, _ = stage(tmp_path, text)
    assert (other.release, other.covers) == ("", None)


def test_staged_events_are_had_back_by_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", 500)
    monkeypatch.setattr(ingest, "_ROWS_STAGED_AT_ONCE", 4)
    days = ["2018-11-30", "2018-12-01", "2019-02-28", "2018-12-31", "2018-11-01"] * 3
    path = tmp_path / "mine.tab"
    path.write_text(table(rows(*({"Event Date": day} for day in days))), encoding="utf-8")
    account = stage_file(path, tmp_path / "staged")
    by_month = [read_staged(tmp_path / "staged", month) for month in account.months]
    found = [frame.height for frame in by_month]
    assert account.months == [date(2018, 11, 1), date(2018, 12, 1), date(2019, 2, 1)]
    assert found == [6, 6, 3]
    assert read_staged(tmp_path / "staged", date(2019, 1, 1)).is_empty()
    for month, frame in zip(account.months, by_month, strict=True):
        if frame.height:
            assert frame["event_date"].dt.month_start().unique().to_list() == [month]
            assert frame["line"].is_sorted()
    assert_frame_equal(
        read_staged(tmp_path / "staged"), pl.concat([frame for frame in by_month if frame.height])
    )


# Spellings


def test_quotes_in_names_swallow_no_rows(tmp_path: Path) -> None:
    names = ['"', 'The "Movement', '""', '"Joe"', 'end"']
    records = rows(*({"Source Name": name} for name in names))
    _, events, _ = stage(tmp_path, table(records), config=IngestConfig(columns="all"))
    assert events["source_name"].to_list() == names


def test_spellings_of_missing_values_and_line_ends_make_no_difference(tmp_path: Path) -> None:
    columns = [*ICEWS_COLUMNS[:-3], "Latitude", "Longitude", "Country"]
    optional = set(columns) - {"Event ID", "Event Date", "CAMEO Code", "Event Text", "Intensity"}
    wanted = None
    for missing in ("", "NULL", "NA", "---"):
        for end in ("\n", "\r\n"):
            records = rows({}, *({name: missing} for name in columns if name in optional))
            text = table(records, columns=columns, end=end)
            _, events, rejected = stage(tmp_path, text, config=IngestConfig(columns="all"))
            assert rejected.is_empty()
            wanted = events if wanted is None else wanted
            assert_frame_equal(events, wanted)
    assert wanted is not None
    assert wanted["country"].null_count() == wanted["source_country"].null_count() == 1


def test_encodings_make_no_difference(tmp_path: Path) -> None:
    text = table(rows({}, {"Country": "Perú"}, {"City": "plain"}))
    _, wanted, _ = stage(tmp_path, text)
    assert wanted["country"].to_list() == ["Mali", "Perú", "Mali"]
    lines = text.encode().split(b"\n")
    mixed = b"\n".join([*lines[:2], lines[2].decode().encode("iso-8859-1"), *lines[3:]])
    for data in (text.encode("iso-8859-1"), text.encode("utf-8-sig"), mixed):
        _, events, _ = stage(tmp_path, data)
        assert_frame_equal(events, wanted)


def test_text_of_a_rejected_iso_8859_1_line_is_kept(tmp_path: Path) -> None:
    text = table(rows({}, {"Event Date": "never"}))
    _, _, rejected = stage(tmp_path, text.encode("iso-8859-1"))
    assert rejected["text"].to_list() == [text.split("\n")[2]]


def test_every_spelling_of_a_date_is_read(tmp_path: Path) -> None:
    spelt = ["2018-10-04", "20181004", "10/4/2018", "10/04/2018"]
    _, events, _ = stage(tmp_path, table(rows(*({"Event Date": day} for day in spelt))))
    assert events["event_date"].to_list() == [date(2018, 10, 4)] * 4


def test_bad_codes_are_mended_and_counted(tmp_path: Path) -> None:
    cases = [
        ("13y", "", "137"),
        ("190x", "", "190"),
        ("10", "Make statement", "010"),
        ("36", "", "036"),
        ("", "Consult", "040"),
        ("NULL", "Consult", "040"),
        ("010", "Make statement", "010"),
        ("10", "", "10"),
    ]
    records = rows(*({"CAMEO Code": code, "Event Text": text} for code, text, _ in cases))
    account, events, _ = stage(tmp_path, table(records))
    assert events["event_code"].to_list() == [wanted for _, _, wanted in cases]
    assert account.mended_codes == 6


def test_without_a_code_column_the_text_gives_the_code(tmp_path: Path) -> None:
    columns = [name for name in ICEWS_COLUMNS if name != "CAMEO Code"]
    records = rows({}, {"Event Text": "Use conventional military force"}, {"Event Text": "Juggle"})
    _, events, rejected = stage(tmp_path, table(records, columns=columns))
    assert events["event_code"].to_list() == ["010", "190"]
    assert rejected.select("line", "reason").rows() == [(4, "unknown event code")]


def test_without_a_text_column_the_code_is_enough(tmp_path: Path) -> None:
    columns = [name for name in ICEWS_COLUMNS if name not in {"Event Text", "Intensity", "City"}]
    _, events, _ = stage(tmp_path, table(rows({}, {"CAMEO Code": "190"}), columns=columns))
    assert events.select("event_code", "intensity").rows() == [("010", 0.0), ("190", -10.0)]


# Layouts


@settings(max_examples=25, deadline=None)
@given(data=st.data(), dots=st.booleans())
def test_order_and_number_of_columns_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, *, dots: bool
) -> None:
    folder = tmp_path_factory.mktemp("t")
    records = [
        row | {"Text": "more", "Headline": '"', "URL": "x", "Note": "", "A": "1", "B": "2"}
        for row in rows({}, {"Country": "NULL"}, {"CAMEO Code": "13y", "Event Text": ""})
    ]
    config = IngestConfig(columns="all")
    _, wanted, _ = stage(folder, table(records), config=config)
    extra = data.draw(st.lists(st.sampled_from(sorted(set(records[0]) - set(ROW))), unique=True))
    columns = data.draw(st.permutations([*ICEWS_COLUMNS, *extra]))
    text = table(records, columns=columns)
    if dots:
        header, rest = text.split("\n", 1)
        text = header.replace(" ", ".") + "\n" + rest
    _, events, rejected = stage(folder, text, config=config)
    assert rejected.is_empty()
    assert_frame_equal(events, wanted)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-1"])
def test_alphabetical_csv_is_the_same_data(tmp_path: Path, encoding: str) -> None:
    records = rows({"Event ID": "ICEWS123"}, {"Event ID": "ICEWS124", "Source Sectors": "A,B"})
    _, wanted, _ = stage(tmp_path, table(records), config=IngestConfig(columns="all"))
    text = pl.DataFrame(records).select(sorted(ICEWS_COLUMNS)).write_csv(quote_style="always")
    _, events, _ = stage(
        tmp_path, text.encode(encoding), "mine.csv", config=IngestConfig(columns="all")
    )
    assert_frame_equal(events.drop("file"), wanted.drop("file"))
    assert events["target_country"].to_list() == ["Moldova, Republic of"] * 2


@pytest.mark.parametrize("name", ["a.tab", "a.zip", "a.gz", "a.csv"])
def test_compression_makes_no_difference_whatever_the_name(tmp_path: Path, name: str) -> None:
    text = table(rows({}, {})).encode()
    staged = [
        stage(tmp_path, data, name)[1]
        for data in (text, gzip.compress(text), zipped({"x.tab": text}))
    ]
    assert staged[0].height == 2
    assert_frame_equal(staged[1], staged[0])
    assert_frame_equal(staged[2], staged[0])


@pytest.mark.parametrize("members", [(), ("a.tab", "b.tab")])
def test_a_zip_without_one_table_is_refused(tmp_path: Path, members: tuple[str, ...]) -> None:
    data = zipped({name: table([ROW]).encode() for name in members})
    with pytest.raises(TableFormatError, match="exactly one"):
        stage(tmp_path, data, "a.zip")


def test_a_file_that_is_not_icews_is_refused_and_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SourceFormatError, match=r"mine\.tab.* lacks 'Event ID', .*'Target Country'"
    ):
        stage(tmp_path, "date\tcases\n2018-10-04\t3\n")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableFormatError, match="the file is empty"):
        stage(tmp_path, "")


# Blocks


@settings(max_examples=25, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from(
            [
                table([ROW]).split("\n")[1],
                table([ROW | {"CAMEO Code": "13y", "Country": "Perú"}]).split("\n")[1],
                table([ROW | {"Event Date": "10/5/2018"}]).split("\n")[1],
                table([ROW | {"Event Date": "never"}]).split("\n")[1],
                "short\tline",
                table([ROW]).split("\n")[1] + "\t" * 3,
                "",
            ]
        ),
        max_size=12,
    ),
    size=st.sampled_from((1, 150, 400, 1000)),
    encoding=st.sampled_from(("utf-8", "iso-8859-1")),
)
def test_the_size_of_blocks_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], size: int, encoding: str
) -> None:
    folder = tmp_path_factory.mktemp("t")
    data = (table([]) + "".join(line + "\n" for line in lines)).encode(encoding)
    wanted = stage(folder, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_BYTES", size)
        patch.setattr(ingest, "_ROWS_STAGED_AT_ONCE", 3)
        patch.setattr(ingest, "_REJECTED_AT_ONCE", 2)
        got = stage(folder, data)
    assert got[0] == wanted[0]
    assert got[0].lines == len(lines)
    assert_frame_equal(got[2], wanted[2])
    if wanted[0].valid:
        assert_frame_equal(got[1], wanted[1])


def test_batches_are_written_before_they_hold_too_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = table(rows(*[{}] * 40))
    monkeypatch.setattr(tables, "BLOCK_BYTES", 400)
    monkeypatch.setattr(ingest, "_BYTES_STAGED_AT_ONCE", len(text) // 4)
    path = tmp_path / "mine.tab"
    path.write_text(text, encoding="utf-8")
    account = stage_file(path, tmp_path / "staged")
    assert 3 <= len(list((tmp_path / "staged").glob("events-*"))) <= 5
    assert read_staged(tmp_path / "staged").height == account.valid == 40


@pytest.mark.parametrize("stage_of_work", ["_write_staged", "pq.ParquetWriter.write_table"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: zipped({"a.tab": data})])
def test_an_error_of_writing_is_not_taken_for_one_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage_of_work: str, pack: Any
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"features.ingest.{stage_of_work}", full)
    with pytest.raises(OSError, match="No space left"):
        stage(tmp_path, pack(table(rows({}, {"Event Date": "never"})).encode()))


# What is kept


def test_one_report_a_day_keeps_the_names_of_source_and_target(tmp_path: Path) -> None:
    text = table(rows({}))
    _, plain, _ = stage(tmp_path, text)
    _, named, _ = stage(tmp_path, text, config=IngestConfig(one_report_a_day=True))
    names = ["source_name", "target_name"]
    assert named.select(names).rows() == [('Joseph Benedict "Joe" Hockey', 'The "Movement')]
    assert_frame_equal(named.drop(names), plain)
    _, full, _ = stage(tmp_path, text, config=IngestConfig(columns="all", one_report_a_day=True))
    assert full.columns == stage(tmp_path, text, config=IngestConfig(columns="all"))[1].columns


# The sample, end to end


def test_sample_is_read_back_as_it_was_generated(tmp_path: Path) -> None:
    config = SampleConfig(n_years=2, scale=0.05)
    frames, accounts = [], []
    for path in write_sample(tmp_path / "raw", config):
        target = tmp_path / "staged" / path.name
        accounts.append(stage_file(path, target, config=IngestConfig(columns="all")))
        frames.append(read_staged(target))
    files = pl.concat([frame.with_columns(pl.col("file").cast(pl.String)) for frame in frames])
    events, duplicates = resolve_duplicates(files, accounts)
    assert events.height + duplicates.height == files.height
    assert {reason for account in accounts for reason in account.rejected} == {"unreadable date"}
    truth = generate_events(config)
    names = {name: name.lower().replace(" ", "_") for name in ICEWS_COLUMNS}
    names["CAMEO Code"] = "event_code"
    trimmed = pl.col("Source Country", "Target Country", "Country", "City").str.strip_chars()
    wanted = truth.with_columns(trimmed).with_columns(pl.all().replace("", None)).rename(names)
    numbers = {"sentence_number": pl.Int32, "intensity": pl.Float32}
    numbers |= dict.fromkeys(("latitude", "longitude"), pl.Float32)
    wanted = wanted.with_columns(pl.col(name).cast(kind) for name, kind in numbers.items())
    wanted = wanted.with_columns(pl.col("event_date").str.to_date()).drop("event_text")
    key = ["event_date", "event_id"]
    got = events.with_columns(pl.col("event_code").cast(pl.String)).select(wanted.columns)
    assert_frame_equal(got.sort(key), wanted.sort(key))


def test_every_code_of_the_sample_is_in_cameo() -> None:
    codes: Any = generate_events(SampleConfig(n_years=1, scale=0.05))["CAMEO Code"].unique()
    assert codes.is_in(cameo_table()["code"].implode()).all()
