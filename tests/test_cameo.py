"""The CAMEO table's own laws, and the mending of codes."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.cameo import (
    QUAD_CLASSES,
    ambiguous_codes,
    cameo_table,
    event_code_type,
    resolve_event_codes,
)
from tests import naive

TABLE = list(cameo_table().iter_rows(named=True))
CODES = [row["code"] for row in TABLE]


def resolve(*pairs: tuple[str | None, str | None]) -> list[str | None]:
    """Resolve (code, text) pairs."""
    schema = {"code": pl.String, "text": pl.String}
    return resolve_event_codes(pl.DataFrame(pairs, schema=schema, orient="row"))[
        "event_code"
    ].to_list()


# The table


def test_there_are_as_many_codes_of_each_level_as_in_icews() -> None:
    assert len(set(CODES)) == len(CODES)
    assert [sum(len(code) == n for code in CODES) for n in (2, 3, 4)] == [20, 147, 145]


def test_codes_are_text_and_sorted() -> None:
    assert {"010", "10"} <= set(CODES)
    assert sorted(CODES) == CODES
    assert event_code_type().categories.to_list() == CODES


def test_root_is_the_first_two_digits_and_has_a_row_of_its_own() -> None:
    names = {row["code"]: row["name"] for row in TABLE}
    for row in TABLE:
        assert row["root"] == row["code"][:2]
        assert row["root_name"] == names[row["root"]]


def test_quad_classes_have_the_codebooks_bounds() -> None:
    assert [row["quad"] for row in TABLE] == [naive.quad_class(code) for code in CODES]
    assert {row["quad"] for row in TABLE} == set(QUAD_CLASSES)


def test_intensities_lie_between_minus_ten_and_ten() -> None:
    assert all(-10 <= row["intensity"] <= 10 for row in TABLE)


def test_texts_below_the_root_are_one_to_one_with_codes() -> None:
    texts = [row["name"].lower() for row in TABLE if row["code"] != row["root"]]
    assert len(set(texts)) == len(texts)


# Mending


def test_every_code_stands_for_itself() -> None:
    assert resolve(*((code, None) for code in CODES)) == CODES


def test_every_code_below_the_root_stands_for_itself_beside_its_text() -> None:
    rows = [row for row in TABLE if row["code"] != row["root"]]
    wanted = [row["code"] for row in rows]
    assert resolve(*((row["code"], row["name"]) for row in rows)) == wanted
    assert resolve(*((None, row["name"]) for row in rows)) == wanted
    assert resolve(*((None, row["name"].upper().replace("-", " ")) for row in rows)) == wanted


def test_a_stripped_zero_is_put_back_by_the_text_even_where_the_code_is_another() -> None:
    rows = [row for row in TABLE if row["code"].startswith("0") and row["code"] != row["root"]]
    assert any(row["code"][1:] in ambiguous_codes() for row in rows)
    stripped = [(row["code"][1:], row["name"]) for row in rows]
    assert resolve(*stripped) == [row["code"] for row in rows]


def test_a_stripped_zero_is_put_back_without_a_text_where_the_code_is_no_other() -> None:
    wanted = [code for code in CODES if code.startswith("0") and code[1:] not in CODES]
    assert len(wanted) > 50
    assert resolve(*((code[1:], None) for code in wanted)) == wanted


def test_a_code_that_may_lack_its_zero_is_taken_as_it_is_without_a_text() -> None:
    assert ambiguous_codes() == [str(root) for root in range(10, 21)]
    assert resolve(*((code, None) for code in ambiguous_codes())) == ambiguous_codes()


@pytest.mark.parametrize(
    ("code", "text", "wanted"),
    [
        ("13y", None, "137"),
        ("13y", "Threaten with repression", "137"),
        ("190a", None, "190"),
        ("042xy", None, "042"),
        ("42x", None, "042"),
        (" 190 ", None, "190"),
        (None, "Consult", "040"),
        ("10", "Make statement", "010"),
        ("10", "Demand", "100"),  # a text below the root wins: ICEWS writes those
        ("10", "no such text", "10"),
        ("190", "Make statement", "190"),
        ("999", None, None),
        ("999", "Make statement", "010"),
        ("", "no such text", None),
        (None, None, None),
        ("y", None, None),
    ],
)
def test_known_bad_codes(code: str | None, text: str | None, wanted: str | None) -> None:
    assert resolve((code, text)) == [wanted]


def test_pairs_keep_their_order_and_columns() -> None:
    pairs = pl.DataFrame({"code": ["43", "13y", "43"], "text": [None, None, "Consult"]})
    got = resolve_event_codes(pairs)
    assert_frame_equal(got.select("code", "text"), pairs)
    assert got["event_code"].dtype == event_code_type()
    assert got["event_code"].to_list() == ["043", "137", "040"]
