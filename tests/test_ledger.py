"""Laws of the ledger: a row a file, every line in it accounted for, and queries in SQL."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from features.ingest import IngestConfig
from flows.lake import Lake
from flows.ledger import LEDGER, SCHEMA, ledger_table, query_ledger
from tests.icews_files import bring, sha256, write_file

YEARLY = "events.2018.20180401000000.tab"
DAILY = "20180302-icews-events.tab"
BROKEN = "broken.csv"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    write_file(tmp_path / "raw" / YEARLY, [("1", "2018-01-05"), ("2", "2018-03-01")], also=["x"])
    daily = [("2", "2018-03-01"), ("3", "2018-03-02"), ("3", "2018-03-02")]
    write_file(tmp_path / "raw" / DAILY, daily, also=["7\tnot a date"])
    (tmp_path / "raw" / BROKEN).write_text("name,age\n")
    return Lake.read(bring(tmp_path / "data", tmp_path / "raw").lake)


def test_the_ledger_says_what_became_of_every_line(lake: Lake, tmp_path: Path) -> None:
    table = ledger_table(lake)
    assert table.schema == pl.Schema(SCHEMA)
    assert table["file"].to_list() == [DAILY, BROKEN, YEARLY]
    parts = table["accepted"] + table["rejected"] + table["duplicates"]
    assert parts.to_list() == table["lines"].to_list()
    daily, broken, yearly = table.to_dicts()
    assert (daily["lines"], daily["accepted"], daily["rejected"]) == (4, 1, 1)
    assert (daily["duplicates"], daily["superseded"], daily["superseded_by"]) == (2, 1, [YEARLY])
    assert daily["duplicates_by_reason"] == [
        {"reason": "repeated in file", "lines": 1},
        {"reason": "superseded", "lines": 1},
    ]
    assert sum(one["lines"] for one in daily["rejected_by_reason"]) == 1
    assert (daily["first_event"], daily["last_event"]) == (date(2018, 3, 1), date(2018, 3, 2))
    assert (yearly["covers_first"], yearly["covers_last"]) == (date(2018, 1, 5), date(2018, 3, 1))
    assert yearly["release"] == "20180401000000"
    assert BROKEN in broken["error"]
    assert (broken["lines"], broken["first_event"]) == (0, None)
    assert daily["error"] is None
    for row in table.to_dicts():
        assert row["sha256"] == sha256(tmp_path / "raw" / row["file"])
        assert row["size"] == (tmp_path / "raw" / row["file"]).stat().st_size


def test_the_ledger_lies_beside_the_events(lake: Lake) -> None:
    assert lake.folder is not None
    assert pl.read_parquet(lake.folder / LEDGER).equals(ledger_table(lake))


def test_the_ledger_of_an_empty_lake_has_its_columns() -> None:
    table = ledger_table(Lake(folder=None, config=IngestConfig()))
    assert table.schema == pl.Schema(SCHEMA)
    assert table.is_empty()


@pytest.mark.parametrize(
    ("where", "files"),
    [
        (None, [DAILY, BROKEN, YEARLY]),
        ("rejected > 0", [DAILY, YEARLY]),
        ("superseded > 0 AND edition = 'daily'", [DAILY]),
        ("error IS NOT NULL", [BROKEN]),
        ("file LIKE 'events.%'", [YEARLY]),
        ("last_event >= DATE '2018-03-02'", [DAILY]),
        ("lines > 100", []),
    ],
)
def test_a_query_gives_the_rows_for_which_it_holds(
    lake: Lake, where: str | None, files: list[str]
) -> None:
    assert query_ledger(ledger_table(lake), where)["file"].to_list() == files


@pytest.mark.parametrize("where", ["rejected >", "nonsense > 0", "lines", "'a'", ""])
def test_what_is_no_condition_is_said_with_the_columns_that_there_are(
    lake: Lake, where: str
) -> None:
    with pytest.raises(ValueError, match=r"is no condition on the ledger: .*Its columns are file"):
        query_ledger(ledger_table(lake), where)
