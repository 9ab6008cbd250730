"""Laws of the ingest flow as Prefect runs it; those of what it makes are in `test_lake`."""

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows import lake_update
from flows.ingest import ingest
from flows.lake import Lake
from flows.locking import LOCK
from flows.publishing import latest
from flows.sources import SourceError
from tests.icews_files import (
    SAMPLE,
    WholeRun,
    bring,
    digests,
    in_order,
    small_config,
    write_file,
    write_small_sample,
)

pytestmark = pytest.mark.usefixtures("prefect")


def test_every_line_of_the_bundled_sample_is_accounted_for(whole: WholeRun) -> None:
    lake = Lake.read(whole.result.ingested.lake)
    assert lake.files.keys() == {path.name for path in SAMPLE.glob("*.zip")}
    for name, record in lake.files.items():
        assert record.error is None, name
        found = record.accepted + record.rejected + sum(record.duplicates.values())
        assert record.staged.lines == found > 0, name
    everything = whole.result.ingested.lake / "events" / "**" / "*.parquet"
    accepted = sum(record.accepted for record in lake.files.values())
    assert pl.scan_parquet(everything).select(pl.len()).collect().item() == accepted


def test_the_flow_makes_the_lake_that_its_parts_make(tmp_path: Path) -> None:
    write_small_sample(tmp_path / "raw")
    flown = ingest(small_config(tmp_path / "raw", tmp_path / "not" / "yet" / "there"))
    by_hand = bring(tmp_path / "by-hand", tmp_path / "raw")
    assert flown.added == by_hand.added
    assert digests(flown.lake) == digests(by_hand.lake)
    assert in_order(flown.lake) == in_order(by_hand.lake)


def test_a_second_ingestion_adds_nothing_and_keeps_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_small_sample(tmp_path / "raw")
    config = small_config(tmp_path / "raw", tmp_path / "data")
    first = ingest(config)
    for path in files:
        os.utime(path, ns=(1, 1))

    def read_again(*args: Any, **kwargs: Any) -> None:
        pytest.fail("a file that has not changed was read again")

    monkeypatch.setattr(lake_update, "stage_file", read_again)
    second = ingest(config)
    assert second.added == second.months == ()
    assert second.lake.samefile(first.lake)
    assert len(list((tmp_path / "data" / "lake").glob("[!l]*"))) == 1


def test_a_failure_leaves_the_old_lake_and_no_staging_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_sample(tmp_path / "raw")
    config = small_config(tmp_path / "raw", tmp_path / "data")
    first = ingest(config)
    was, listed = digests(first.lake), sorted(config.data.rglob("*"))
    write_file(tmp_path / "raw" / "20180102-icews-events.tab", [("new", "2018-01-01")])

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lake_update, "resolve_month", full)
    with pytest.raises(OSError, match="no space left"):
        ingest(config)
    assert latest(config.data / "lake") == first.lake
    assert digests(first.lake) == was
    assert sorted(config.data.rglob("*")) == listed


def test_files_none_of_which_can_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text("name\tage\nAda\t36\n")
    config = small_config(tmp_path / "raw", tmp_path / "data")
    with pytest.raises(SourceError, match=r"none of the 1 files could be read.*a\.csv"):
        ingest(config)
    assert [path.name for path in config.data.iterdir()] == [LOCK]
