"""Real ICEWS files, where there are some: every line is accounted for."""

import os
import zipfile
from pathlib import Path

import polars as pl
import pytest

from features.deduplication import REPORT_KEY, resolve_duplicates
from features.ingest import IngestConfig, StagedFile, read_staged, stage_file
from flows.lake import Lake
from flows.lake_update import update_lake

DATA = Path(__file__).parents[2] / "shared" / "data"
FILES = sorted(DATA.rglob("*.zip"))
WHY = f"no real ICEWS files in {DATA}" + (": CI has none" if os.environ.get("CI") else "")

pytestmark = pytest.mark.skipif(not FILES, reason=WHY)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[StagedFile, pl.DataFrame]]:
    """Stage every file; account and identity of the rows by name."""
    folder = tmp_path_factory.mktemp("real")
    found = {}
    for path in FILES:
        account = stage_file(path, folder / path.name)
        rows = read_staged(folder / path.name)
        found[path.name] = (account, rows.select("event_id", "event_date", "file", "line"))
    return found


def test_lines_are_the_newlines_of_the_file_less_the_header(
    staged: dict[str, tuple[StagedFile, pl.DataFrame]],
) -> None:
    for path in FILES:
        with zipfile.ZipFile(path) as archive:
            (member,) = archive.namelist()
            text = archive.read(member)
        assert text.endswith(b"\n"), path.name
        assert staged[path.name][0].lines == text.count(b"\n") - 1, path.name


def test_every_line_is_valid_or_rejected(
    staged: dict[str, tuple[StagedFile, pl.DataFrame]],
) -> None:
    for name, (account, rows) in staged.items():
        assert account.lines == account.valid + sum(account.rejected.values()), name
        assert account.valid == rows.height > 0, name
        assert rows["line"].n_unique() == rows.height, name
        assert sum(account.rejected.values()) <= account.lines // 1000, name


def test_editions_and_days_are_as_the_names_say(
    staged: dict[str, tuple[StagedFile, pl.DataFrame]],
) -> None:
    for name, (account, rows) in staged.items():
        if account.edition == "yearly":
            assert {day.year for day in (account.first_event, account.last_event) if day} == {
                int(name.split(".")[1])
            }
        else:
            assert account.edition == "daily"
            own = pl.lit(name[:8]).str.to_date("%Y%m%d")
            delay = rows.select((own - pl.col("event_date")).dt.total_days()).to_series()
            assert -31 <= int(delay.min()) <= int(delay.max()) <= 400, name  # type: ignore[call-overload]


def test_rows_are_events_or_duplicates_and_keys_are_unique(
    staged: dict[str, tuple[StagedFile, pl.DataFrame]],
) -> None:
    accounts = [account for account, _ in staged.values()]
    rows = pl.concat(
        [frame.with_columns(pl.col("file").cast(pl.String)) for _, frame in staged.values()]
    )
    events, duplicates = resolve_duplicates(rows, accounts)
    assert events.height + duplicates.height == rows.height
    assert not events.select("event_id", "event_date").is_duplicated().any()
    place = ["file", "line"]
    parted = pl.concat([events.select(place), duplicates.select(place)])
    assert parted.n_unique() == rows.height


def test_a_quarter_of_the_rows_of_daily_files_are_further_reports(tmp_path: Path) -> None:
    daily = sorted((DATA / "icews_daily").glob("*.zip"))[:30]
    config = IngestConfig(one_report_a_day=True)
    lake = Lake.read(update_lake(tmp_path / "lake", daily, config).lake)
    lines = sum(record.staged.lines for record in lake.files.values())
    further = sum(record.duplicates["another report"] for record in lake.files.values())
    assert 0.2 < further / lines < 0.3
    events = pl.read_parquet(tmp_path / "lake" / "latest" / "events" / "**" / "*.parquet")
    assert not events.select(REPORT_KEY).is_duplicated().any()
