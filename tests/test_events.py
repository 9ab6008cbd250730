"""Laws of canonical events: typed, mended, or rejected with a reason."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cameo import cameo_table, event_code_type
from features.events import canonical_events, parse_dates
from features.icews import ICEWS

LAST = date(2018, 12, 31)
GOOD: dict[str, Any] = {
    "event_id": "1",
    "event_date": "2018-10-04",
    "cameo_code": "190",
    "event_text": "Use conventional military force",
    "intensity": -10.0,
    "source_country": "Mali",
    "target_country": "Niger",
    "country": "Mali",
    "source_sectors": "Government,Military",
    "target_sectors": None,
}


def canonical(*changes: dict[str, Any]) -> pl.DataFrame:
    """Make canonical events of good rows with these changes."""
    kept = ICEWS.kept("core")
    schema = {name: ICEWS.numbers.get(name, pl.String) for name in ICEWS.raw_columns(kept)}
    raw = pl.DataFrame([GOOD | change for change in changes], schema=schema)
    return canonical_events(raw, ICEWS, kept, last_plausible=LAST)


# Dates


@settings(max_examples=80, deadline=None)
@given(days=st.lists(st.dates(date(1900, 1, 1), date(2099, 12, 31)), min_size=1, max_size=5))
def test_a_date_is_read_back_from_every_spelling(days: list[date]) -> None:
    spellings = [
        [day.isoformat() for day in days],
        [f"{day:%Y%m%d}" for day in days],
        [f"{day.month}/{day.day}/{day.year}" for day in days],
        [f"{day:%m/%d/%Y}" for day in days],
        [f" {day.isoformat()} " for day in days],
        [f"{day.isoformat()}T00:00:00Z" for day in days],
        [f"{day.month}/{day.day}/{day.year} 23:59" for day in days],
    ]
    for spelt in spellings:
        assert parse_dates(pl.Series(spelt)).to_list() == days
    mixed = [spelt for spelling in zip(*spellings, strict=True) for spelt in spelling]
    assert parse_dates(pl.Series(mixed)).to_list() == [day for day in days for _ in spellings]


@pytest.mark.parametrize(
    "text", ["2018-02-30", "20180230", "2/30/2018", "13/1/2018", "2018-13-01", "soon", "2018", "0"]
)
def test_an_impossible_date_is_null_and_does_not_spoil_the_others(text: str) -> None:
    days = parse_dates(pl.Series(["2018-10-04", text, "10/4/2018", None]))
    assert days.to_list() == [date(2018, 10, 4), None, date(2018, 10, 4), None]


@settings(max_examples=40, deadline=None)
@given(days=st.lists(st.dates(date(1900, 1, 1), date(2099, 12, 31)), min_size=1, max_size=5))
def test_dates_of_a_given_form_are_read_and_so_are_those_of_typed_columns(
    days: list[date],
) -> None:
    for form in ("%d.%m.%Y", "%d/%m/%Y", "%Y%j"):
        spelt = [f"{day:{form}}" for day in days]
        mixed = [*spelt, *(day.isoformat() for day in days), f" {spelt[0]} "]
        wanted = [*days, *days, days[0]]
        assert parse_dates(pl.Series(mixed), form=form).to_list() == wanted


def test_a_given_form_rules_out_other_forms() -> None:
    days = parse_dates(pl.Series(["04/10/2018", "20181004", "10/31/2018"]), form="%d/%m/%Y")
    assert days.to_list() == [date(2018, 10, 4), None, None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no date"),
        ("2018-02-30", "unreadable date"),
        ("soon", "unreadable date"),
        ("2019-01-01", "implausible date"),
        ("1899-12-31", "implausible date"),
        ("0018-10-04", "implausible date"),
        ("2018-12-31", None),
        ("1900-01-01", None),
    ],
)
def test_reason_of_a_date_that_cannot_be_used(text: str | None, reason: str | None) -> None:
    assert canonical({"event_date": text})["reason"].to_list() == [reason]


# Codes


@pytest.mark.parametrize(
    ("code", "text", "wanted", "mended"),
    [
        ("190", None, "190", False),
        ("010", "Make statement", "010", False),
        ("10", "Make statement", "010", True),
        ("10", None, "10", False),
        ("13y", None, "137", True),
        ("190b", None, "190", True),
        ("36", None, "036", True),
        ("36", "Express intent to meet or negotiate", "036", True),
        (None, "Make statement", "010", True),
        (" 190 ", None, "190", True),
    ],
)
def test_codes_are_mended_and_it_is_told(
    code: str | None, text: str | None, wanted: str, *, mended: bool
) -> None:
    row = canonical({"cameo_code": code, "event_text": text}).row(0, named=True)
    assert (row["event_code"], row["mended"], row["reason"]) == (wanted, mended, None)


@pytest.mark.parametrize(("code", "text"), [(None, None), ("999", None), ("abc", "no such text")])
def test_a_code_that_nothing_fits_is_a_reason(code: str | None, text: str | None) -> None:
    row = canonical({"cameo_code": code, "event_text": text}).row(0, named=True)
    assert (row["event_code"], row["reason"]) == (None, "unknown event code")


def test_codes_are_mended_row_by_row_whatever_the_rows_around_them() -> None:
    changes = [
        {"cameo_code": code, "event_text": text}
        for code in ("10", "13y", "190", None)
        for text in ("Make statement", "Consult", None)
    ]
    together = canonical(*changes * 2)
    alone = pl.concat([canonical(change) for change in changes * 2])
    assert together.equals(alone)


# Intensity


@pytest.mark.parametrize("given_", [None, 11.0, -10.5, float("nan")])
def test_an_intensity_absent_or_out_of_range_is_that_of_the_code(given_: float | None) -> None:
    table = cameo_table()
    changes = [{"cameo_code": code, "intensity": given_} for code in table["code"]]
    changes = [change | {"event_text": None} for change in changes]
    assert canonical(*changes)["intensity"].to_list() == table["intensity"].to_list()


@pytest.mark.parametrize("given_", [-10.0, 0.0, 3.5, 10.0])
def test_an_intensity_in_range_is_kept(given_: float) -> None:
    assert canonical({"intensity": given_})["intensity"].to_list() == [given_]


# Other columns


@pytest.mark.parametrize("column", ["source_country", "target_country", "country"])
def test_names_of_places_lose_stray_spaces(column: str) -> None:
    assert canonical({column: " Mali  "})[column].to_list() == ["Mali"]


@pytest.mark.parametrize("column", ["source_country", "target_country", "country"])
def test_a_name_of_nothing_but_spaces_is_missing(column: str) -> None:
    assert canonical({column: "  "})[column].to_list() == [None]


@pytest.mark.parametrize("event_id", [None, "  "])
def test_a_row_needs_an_id(event_id: str | None) -> None:
    assert canonical({"event_id": event_id})["reason"].to_list() == ["no event id"]


def test_rows_keep_their_order_and_types() -> None:
    rows = canonical({"event_id": "b"}, {"event_id": "a", "event_date": None}, {"event_id": "b"})
    assert rows["event_id"].to_list() == ["b", "a", "b"]
    assert rows["reason"].to_list() == [None, "no date", None]
    assert rows.schema["event_date"] == pl.Date
    assert rows.schema["event_code"] == event_code_type()
    assert rows.schema["intensity"] == pl.Float32


def test_an_absent_country_stays_absent() -> None:
    row = canonical({"country": None, "source_country": None}).row(0, named=True)
    assert (row["country"], row["source_country"], row["reason"]) == (None, None, None)


def test_no_rows_make_no_events() -> None:
    assert canonical().height == 0
