"""Laws of telling events from duplicates: by key, by file, never by order of arrival."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.deduplication import precedence, resolve_duplicates
from features.icews import parse_file_name
from features.ingest import StagedFile
from tests import naive

OLD = "events.2018.20180930000000.tab"
NEW = "events.2018.20190710092545.tab"
BEFORE = "events.2017.20180710092545.tab"
DAILY = "20181004-icews-events.zip"
LATER = "20181005-icews-events.zip"
OTHER = "mine.tab"
NAMES = (OLD, NEW, BEFORE, DAILY, LATER, OTHER)
DAY = date(2018, 10, 4)
SCHEMA = {
    "event_id": pl.String,
    "event_date": pl.Date,
    "note": pl.String,
    "source_name": pl.String,
    "target_name": pl.String,
    "event_code": pl.String,
    "file": pl.Categorical(),
    "line": pl.UInt32,
}

Row = tuple[str, str, date, int]  # file, id, date, line


def frame(rows: list[Row]) -> pl.DataFrame:
    """Return rows as they are staged."""
    records = [
        {
            "event_id": key,
            "event_date": day,
            "note": f"{file} {line}",
            "source_name": (None, "A", "B")[line % 3],
            "target_name": ("A", "B")[line % 2],
            "event_code": "190",
            "file": file,
            "line": line,
        }
        for file, key, day, line in rows
    ]
    return pl.DataFrame(records, schema=SCHEMA)


def account(name: str, first: date | None, last: date | None) -> StagedFile:
    """Return the account of a file whose events reach from first to last."""
    told = parse_file_name(name)
    covers = None
    if told.year is not None and first is not None and last is not None:
        span = max(first, date(told.year, 1, 1)), min(last, date(told.year, 12, 31))
        covers = span if span[0] <= span[1] else None
    return StagedFile(
        name=name,
        edition=told.edition,
        release=told.release,
        first_event=first,
        last_event=last,
        covers=covers,
    )


def accounts(rows: list[Row], names: tuple[str, ...] = NAMES) -> list[StagedFile]:
    """Return the account of each file."""
    days = {name: [day for file, _, day, _ in rows if file == name] for name in names}
    return [
        account(name, min(days[name], default=None), max(days[name], default=None))
        for name in names
    ]


def resolve(
    rows: list[Row], files: list[StagedFile] | None = None
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return (file, line) of the events, and (file, line, reason) of the duplicates."""
    files = accounts(rows) if files is None else files
    events, duplicates = resolve_duplicates(frame(rows), files)
    assert events.height + duplicates.height == len(rows)
    return (
        events.select(pl.col("file").cast(pl.String), "line").rows(),
        duplicates.select(pl.col("file").cast(pl.String), "line", "reason").rows(),
    )


# Precedence


def test_yearly_files_come_first_and_the_latest_release_of_them() -> None:
    files = accounts([])
    assert precedence(files) == [NEW, OLD, BEFORE, DAILY, LATER, OTHER]
    assert precedence(files[::-1]) == precedence(files)


def test_of_two_releases_on_one_day_the_later_comes_first() -> None:
    names = ["events.2018.20190710092545.tab", "events.2018.20190710120000.tab"]
    assert precedence([account(name, None, None) for name in names]) == names[::-1]


# The key


def test_an_id_used_again_on_another_day_is_another_event() -> None:
    rows = [(DAILY, "7", DAY, 2), (DAILY, "7", DAY + timedelta(days=1), 3)]
    assert resolve(rows) == ([(DAILY, 2), (DAILY, 3)], [])


def test_the_same_day_under_another_id_is_another_event() -> None:
    assert resolve([(DAILY, "7", DAY, 2), (DAILY, "8", DAY, 3)])[1] == []


def test_a_row_repeated_in_its_file_is_kept_once_the_first_time() -> None:
    rows = [(DAILY, "7", DAY, 9), (DAILY, "7", DAY, 4), (DAILY, "7", DAY, 5)]
    assert resolve(rows) == (
        [(DAILY, 4)],
        [(DAILY, 5, "repeated in file"), (DAILY, 9, "repeated in file")],
    )


def test_a_row_repeated_across_files_is_kept_from_the_first_of_them() -> None:
    rows = [(LATER, "7", DAY, 2), (DAILY, "7", DAY, 8), (OTHER, "7", DAY, 2)]
    assert resolve(rows) == (
        [(DAILY, 8)],
        [(LATER, 2, "repeated across files"), (OTHER, 2, "repeated across files")],
    )


# Superseding


@pytest.mark.parametrize(
    ("day", "superseded"),
    [
        (date(2018, 1, 1), False),  # before the yearly file's first event
        (date(2018, 1, 2), True),
        (date(2018, 9, 30), True),
        (date(2018, 10, 1), False),  # after its last
        (date(2017, 6, 1), False),  # outside its year
    ],
)
def test_a_yearly_file_supersedes_daily_rows_of_the_days_that_it_covers(
    day: date, *, superseded: bool
) -> None:
    files = [account(OLD, date(2018, 1, 2), date(2018, 9, 30)), account(DAILY, day, day)]
    events, duplicates = resolve([(DAILY, "7", day, 2)], files)
    assert (duplicates == [(DAILY, 2, "superseded")]) is superseded
    assert (events == []) is superseded


def test_the_newer_release_of_a_year_supersedes_the_older_even_rows_it_lacks() -> None:
    days = (date(2018, 1, 1), date(2018, 9, 30))
    files = [account(OLD, *days), account(NEW, *days)]
    rows = [(OLD, "7", days[0], 2), (OLD, "gone", days[0], 3), (NEW, "7", days[0], 2)]
    assert resolve(rows, files) == (
        [(NEW, 2)],
        [(OLD, 2, "superseded"), (OLD, 3, "superseded")],
    )


def test_the_older_release_still_speaks_for_days_that_the_newer_does_not_cover() -> None:
    days = DAY - timedelta(days=9), DAY - timedelta(days=1)
    files = [account(OLD, DAY, DAY), account(NEW, *days), account(DAILY, DAY, DAY)]
    events, duplicates = resolve([(OLD, "7", DAY, 2), (DAILY, "8", DAY, 2)], files)
    assert (events, duplicates) == ([(OLD, 2)], [(DAILY, 2, "superseded")])


def test_other_editions_are_not_superseded_but_may_repeat() -> None:
    rows = [(OLD, "7", DAY, 2), (OTHER, "7", DAY, 2), (OTHER, "8", DAY, 3)]
    assert resolve(rows) == ([(OLD, 2), (OTHER, 3)], [(OTHER, 2, "repeated across files")])


def test_a_row_is_superseded_by_the_file_that_goes_first_of_those_that_cover_its_day() -> None:
    spans = {OLD: (DAY, DAY), NEW: (DAY, DAY + timedelta(days=1)), DAILY: (DAY, DAY)}
    files = [account(name, *span) for name, span in spans.items()]
    rows = [(DAILY, "7", DAY, 2), (OLD, "8", DAY, 2), (NEW, "9", DAY, 2), (DAILY, "7", DAY, 3)]
    _, duplicates = resolve_duplicates(frame(rows), files)
    assert duplicates["superseded_by"].to_list() == [NEW, NEW, NEW]
    assert duplicates["reason"].unique().to_list() == ["superseded"]


def reports(rows: list[tuple[str | None, str | None, str]]) -> list[int]:
    """Return the lines that count of rows of one day, (source, target, code) each."""
    table = frame([(DAILY, str(line), DAY, line) for line in range(len(rows))])
    names = pl.DataFrame(rows, schema=["source_name", "target_name", "event_code"], orient="row")
    given = table.with_columns(names.get_columns()).sample(fraction=1, shuffle=True, seed=0)
    events, duplicates = resolve_duplicates(given, accounts([]), one_report_a_day=True)
    assert events.height + duplicates.height == len(rows)
    assert set(duplicates["reason"]) <= {"another report"}
    return events["line"].to_list()


def test_of_reports_of_one_event_on_a_day_the_first_counts_if_that_is_asked_for() -> None:
    same = ("A", "B", "190")
    assert reports([same, same, ("B", "A", "190"), ("A", "B", "042"), same]) == [0, 2, 3]


def test_a_row_without_the_name_of_either_side_is_no_report_of_another() -> None:
    rows = [(None, "B", "190"), (None, "B", "190"), ("A", None, "1"), ("A", None, "1")]
    assert reports(rows) == [0, 1, 2, 3]


def test_reports_of_other_days_are_other_events_and_all_count_unless_asked() -> None:
    names = {"source_name": pl.lit("A"), "target_name": pl.lit("B"), "event_code": pl.lit("1")}
    rows = [(DAILY, "1", DAY, 1), (DAILY, "2", DAY + timedelta(days=1), 2), (DAILY, "3", DAY, 3)]
    table = frame(rows).with_columns(**names)
    assert resolve_duplicates(table, accounts([]))[0]["line"].to_list() == [1, 3, 2]
    once, further = resolve_duplicates(table, accounts([]), one_report_a_day=True)
    assert (once["line"].to_list(), further["line"].to_list()) == ([1, 2], [3])


def test_daily_files_supersede_nothing() -> None:
    rows = [(DAILY, "7", DAY, 2), (LATER, "8", DAY, 2), (OTHER, "9", DAY, 2)]
    assert resolve(rows) == ([(DAILY, 2), (LATER, 2), (OTHER, 2)], [])


def test_no_rows_are_no_events() -> None:
    events, duplicates = resolve_duplicates(frame([]), accounts([]))
    assert events.height == duplicates.height == 0
    assert duplicates.columns == [*events.columns, "reason", "superseded_by"]


# Against the oracle

ROWS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["7", "8", "9"]),
        st.sampled_from([date(2017, 12, 31), *(DAY + timedelta(days=i) for i in range(3))]),
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(drawn=ROWS, data=st.data(), one_report=st.booleans())
def test_events_and_duplicates_are_the_oracles_in_whatever_order_rows_and_files_come(
    drawn: list[tuple[str, str, date]], data: st.DataObject, *, one_report: bool
) -> None:
    rows = [(*row, line) for line, row in enumerate(drawn, start=2)]
    shuffled = data.draw(st.permutations(rows))
    files = data.draw(st.permutations(accounts(rows)))
    events, duplicates = resolve_duplicates(frame(shuffled), files, one_report_a_day=one_report)
    wanted_events, wanted_duplicates = naive.resolve_duplicates(
        frame(rows).with_columns(pl.col("file").cast(pl.String)).to_dicts(),
        accounts(rows),
        one_report_a_day=one_report,
    )
    order = naive.file_order(NAMES)

    def place(row: dict[str, Any]) -> tuple[date, int, int]:
        return row["event_date"], order.index(row["file"]), row["line"]

    assert events.to_dicts() == sorted(wanted_events, key=place)
    assert duplicates.to_dicts() == sorted(wanted_duplicates, key=place)
    keys = events.select("event_id", "event_date")
    assert not keys.is_duplicated().any()


@settings(max_examples=50, deadline=None)
@given(drawn=ROWS)
def test_days_resolved_apart_are_as_resolved_together(drawn: list[tuple[str, str, date]]) -> None:
    rows = [(*row, line) for line, row in enumerate(drawn, start=2)]
    together, _ = resolve_duplicates(frame(rows), accounts(rows))
    days = sorted({row[2] for row in rows})
    apart = [
        resolve_duplicates(frame([row for row in rows if row[2] == day]), accounts(rows))[0]
        for day in days
    ]
    assert_frame_equal(pl.concat([together.clear(), *apart]), together)
