"""Laws of the lake: it is what its files make it, and every line in them is accounted for."""

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.deduplication import DUPLICATE_REASONS, SUPERSEDED
from features.ingest import IngestConfig
from flows import lake_update, months
from flows.lake import VERSION, Lake, LakeError, MonthRecord, month_file, month_files
from flows.lake_update import IngestResult, update_lake
from flows.months import MonthWork, resolve_month
from flows.publishing import latest
from flows.sources import SourceError, find_files
from tests.icews_files import (
    accounts,
    bring,
    digests,
    in_order,
    sha256,
    write_file,
    write_small_sample,
)

YEARLY = "events.2018.20190101000000.tab"
EARLIER = "events.2018.20180701000000.tab"
DAILY = "20180301-icews-events.tab"
OTHER = "mine.tab"
BASE = "base.tab"
UNREADABLE = "2"
"""Name of the folder of versions that are no tables."""

CHOICES: tuple[tuple[str, int], ...] = (
    *((YEARLY, version) for version in range(3)),
    *((EARLIER, version) for version in range(2)),
    *((DAILY, version) for version in range(3)),
    *((OTHER, version) for version in range(2)),
)


def write_versions(folder: Path) -> dict[tuple[str, int], Path]:
    """Write every version of every file, each in a folder of its own."""
    contents: dict[tuple[str, int], tuple[list[tuple[str, str]], list[str]]] = {
        (YEARLY, 0): ([("1", "2018-01-05"), ("2", "2018-02-28"), ("2", "2018-02-28")], ["x"]),
        (YEARLY, 1): ([("1", "2018-01-05"), ("4", "2018-04-02")], []),  # none in two months
        (EARLIER, 0): ([("1", "2018-01-05"), ("9", "2018-03-01")], []),
        (EARLIER, 1): ([("9", "2018-01-01"), ("8", "2018-01-05")], ["", "7\tnot a date"]),
        (DAILY, 0): ([("2", "2018-02-28"), ("3", "2018-03-01")], []),
        (DAILY, 1): ([("5", "2018-03-01"), ("3", "2018-03-01")], []),
        (OTHER, 0): ([("2", "2018-02-28"), ("6", "2018-05-31"), ("6", "2018-06-01")], []),
        (OTHER, 1): ([("6", "2018-06-01"), ("3", "2018-03-01")], []),
        (BASE, 0): ([("3", "2018-03-01"), ("7", "2018-03-02")], []),
    }
    files = {
        (name, version): write_file(folder / str(version) / name, events, also=also)
        for (name, version), (events, also) in contents.items()
    }
    for name in (YEARLY, DAILY):
        files[name, 2] = folder / "2" / name
        files[name, 2].parent.mkdir(exist_ok=True)
        files[name, 2].write_text("no table at all\n")
    return files


def events(lake: Path) -> pl.DataFrame:
    return pl.read_parquet(lake / "events" / "**" / "*.parquet", hive_partitioning=False)


def keys(lake: Path) -> list[tuple[str, str]]:
    """Return (id, file) of every event, sorted."""
    return sorted(events(lake).select("event_id", "file").rows())


@settings(max_examples=40, deadline=None)
@given(
    arrivals=st.lists(st.lists(st.sampled_from(CHOICES), min_size=1, max_size=3), max_size=5),
    first=st.integers(0, 5),
)
def test_a_lake_is_that_of_its_files_whatever_came_before_and_in_whatever_order(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[list[tuple[str, int]]], first: int
) -> None:
    folder = tmp_path_factory.mktemp("orders")
    files = write_versions(folder / "raw")
    arrivals = [*arrivals[:first], [(BASE, 0)], *arrivals[first:]]
    final: dict[str, Path] = {}
    grown = None
    for together in arrivals:
        batch = {name: files[name, version] for name, version in together}
        try:
            grown = bring(folder / "grown", *batch.values())
        except SourceError:  # nothing that can be read, yet
            continue
        # What can't be read leaves in place what could be before.
        final = batch | final | {n: p for n, p in batch.items() if p.parent.name != UNREADABLE}
    grown = bring(folder / "grown", *final.values())
    at_once = bring(folder / "at-once", *final.values())
    assert digests(grown.lake) == digests(at_once.lake)
    assert in_order(grown.lake) == in_order(at_once.lake)
    assert grown.lake.name == at_once.lake.name


def test_events_are_those_expected_by_hand(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    lake = bring(tmp_path, files[YEARLY, 0], files[DAILY, 0], files[OTHER, 0]).lake
    assert keys(lake) == [
        ("1", YEARLY),
        ("2", YEARLY),
        ("3", DAILY),
        ("6", OTHER),
        ("6", OTHER),
    ]
    duplicates = pl.read_parquet(lake / "duplicates" / "**" / "*.parquet")
    assert sorted(duplicates.select("event_id", "file", "reason").rows()) == [
        ("2", DAILY, SUPERSEDED),
        ("2", YEARLY, "repeated in file"),
        ("2", OTHER, "repeated across files"),
    ]


def test_every_line_is_an_event_a_rejected_line_or_a_duplicate(tmp_path: Path) -> None:
    sample = write_small_sample(tmp_path / "raw")
    strange = write_file(tmp_path / "strange.tab", [("1", "2017-05-05")] * 3, also=["", "a\tb"])
    late = write_file(tmp_path / "20171002-icews-events.tab", [("late", "2017-10-01")])
    lake = Lake.read(bring(tmp_path, *sample, strange, late).lake)
    assert len(lake.files) == len(sample) + 2
    for name, record in lake.files.items():
        found = record.accepted + record.rejected + sum(record.duplicates.values())
        assert record.staged.lines == found, name
    assert lake.files["strange.tab"].staged.lines == 5
    assert lake.files["strange.tab"].rejected == 2
    assert lake.files["strange.tab"].duplicates["repeated in file"] == 2
    assert lake.files[late.name].duplicates[SUPERSEDED] == 1


def test_accounts_are_what_counting_the_parquet_gives(tmp_path: Path) -> None:
    strange = write_file(tmp_path / "strange.tab", [("1", "2017-05-05")] * 3, also=["", "a\tb"])
    lake = Lake.read(bring(tmp_path, *write_small_sample(tmp_path / "raw"), strange).lake)
    assert lake.folder is not None
    accepted = dict(events(lake.folder)["file"].value_counts().rows())
    duplicates = pl.read_parquet(lake.folder / "duplicates" / "**" / "*.parquet")
    by_reason = {
        (file, reason): n for file, reason, n in duplicates.group_by("file", "reason").len().rows()
    }
    for name, record in lake.files.items():
        assert record.accepted == accepted.get(name, 0), name
        for reason in DUPLICATE_REASONS:
            assert record.duplicates[reason] == by_reason.get((name, reason), 0), (name, reason)
        path = lake.folder / "rejected" / f"{name}.parquet"
        assert record.rejected == (pl.read_parquet(path).height if path.exists() else 0), name
    for month, record in lake.months.items():
        path = month_file(lake.folder, "events", month)
        rows = pl.read_parquet(path)
        assert dict(rows["file"].value_counts().rows()) == record.accepted
        assert rows["event_date"].dt.month_start().unique().to_list() == [month]
        assert [sha256(path)] == record.sha256["events"]


@settings(max_examples=15, deadline=None)
@given(rows_a_part=st.integers(1, 6), order=st.permutations(range(4)))
def test_months_in_parts_hold_what_whole_ones_do_in_whatever_order_files_come(
    tmp_path_factory: pytest.TempPathFactory, rows_a_part: int, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    files = write_versions(folder / "raw")
    names = (YEARLY, EARLIER, DAILY, OTHER)
    whole = bring(folder / "whole", *(files[name, 0] for name in names)).lake
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(months, "ROWS_A_PART", rows_a_part)
        bring(folder / "grown", files[names[order[0]], 1])
        for i in order:
            grown = bring(folder / "grown", files[names[i], 0]).lake
        parts = bring(folder / "parts", *(files[name, 0] for name in names)).lake
    assert digests(grown) == digests(parts)
    assert in_order(grown) == in_order(parts)
    for kind in ("events", "duplicates"):
        one, other = (
            pl.read_parquet(lake / kind / "**" / "*.parquet", hive_partitioning=False)
            for lake in (whole, parts)
        )
        assert_frame_equal(one, other)
    was, now = Lake.read(whole), Lake.read(parts)
    assert now.days == was.days
    assert now.files == was.files
    for month, record in now.months.items():
        assert replace(record, sha256={}) == replace(was.months[month], sha256={})
        paths = month_files(parts, "events", month, record)
        assert [sha256(path) for path in paths] == record.sha256["events"]
        assert sorted((parts / "events" / f"month={month:%Y-%m}").glob("*")) == paths
        for path in paths:
            part = pl.read_parquet(path)
            assert part.height <= rows_a_part or part["event_date"].n_unique() == 1


def test_keys_are_unique_across_the_lake(tmp_path: Path) -> None:
    lake = bring(tmp_path, *write_small_sample(tmp_path / "raw")).lake
    assert not events(lake).select("event_id", "event_date").is_duplicated().any()


def test_a_new_daily_file_changes_the_months_it_touches_alone(tmp_path: Path) -> None:
    before = bring(tmp_path, *write_small_sample(tmp_path / "raw"))
    daily = write_file(
        tmp_path / "20180102-icews-events.tab", [("new1", "2017-12-31"), ("new2", "2018-01-01")]
    )
    after = bring(tmp_path, daily)
    assert after.added == (daily.name,)
    assert after.months == (date(2017, 12, 1), date(2018, 1, 1))
    old, new = digests(before.lake / "events"), digests(after.lake / "events")
    changed = {path for path in old | new if old.get(path) != new.get(path)}
    assert changed == {f"month={month}/part-0.parquet" for month in ("2017-12", "2018-01")}
    for path in old.keys() - changed:
        assert (before.lake / "events" / path).samefile(after.lake / "events" / path)


def test_the_old_version_stays_as_it_was_when_a_file_arrives(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    before = bring(tmp_path, files[YEARLY, 0], files[DAILY, 0]).lake
    was = digests(before), accounts(before)
    after = bring(tmp_path, files[DAILY, 1], files[OTHER, 0]).lake
    assert after != before
    assert (digests(before), accounts(before)) == was


def test_a_file_released_anew_replaces_its_rows_and_what_it_hid_comes_back(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    before = bring(tmp_path, files[YEARLY, 0], files[OTHER, 0]).lake
    assert ("2", OTHER) not in keys(before)
    after = bring(tmp_path, files[YEARLY, 1])
    assert keys(after.lake) == [
        ("1", YEARLY),
        ("2", OTHER),
        ("4", YEARLY),
        ("6", OTHER),
        ("6", OTHER),
    ]
    assert not (after.lake / "rejected" / f"{YEARLY}.parquet").exists()
    assert (before / "rejected" / f"{YEARLY}.parquet").exists()


def test_a_file_whose_new_version_is_damaged_stays_as_it_was_and_that_is_said(
    tmp_path: Path,
) -> None:
    files = write_versions(tmp_path / "raw")
    before = bring(tmp_path, files[YEARLY, 0], files[OTHER, 0]).lake
    after = bring(tmp_path, files[YEARLY, 2])
    (error,) = after.errors
    assert YEARLY in error
    assert (after.months, after.days) == ((), ())
    for kind in ("events", "duplicates", "rejected"):
        assert digests(after.lake / kind) == digests(before / kind)
    was, record = Lake.read(before).files[YEARLY], Lake.read(after.lake).files[YEARLY]
    assert record == replace(was, error=error)
    assert bring(tmp_path, files[YEARLY, 2]).errors == (error,)  # it is tried again
    mended = bring(tmp_path, files[YEARLY, 1]).lake
    assert ("4", YEARLY) in keys(mended)


def test_a_file_that_is_not_icews_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    table = tmp_path / "table.csv"
    table.write_text("name\tage\nAda\t36\n")
    broken = tmp_path / "events.2017.20180101000000.zip"
    broken.write_bytes(b"PK\x03\x04 and then no more")
    cut = tmp_path / "20180302-icews-events.tab.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00")
    lake = Lake.read(bring(tmp_path, table, broken, cut, files[DAILY, 0]).lake)
    for path in (table, broken, cut):
        error = lake.files[path.name].error
        assert error is not None
        assert path.name in error
        assert lake.files[path.name].staged.lines == 0
    assert "Event ID" in str(lake.files["table.csv"].error)
    assert lake.files[DAILY].error is None
    assert lake.files[DAILY].accepted == 2
    assert [account.name for account in lake.accounts] == [DAILY]


def test_if_no_file_can_be_read_there_is_no_lake_but_an_error(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    with pytest.raises(SourceError, match=r"none of the 2 files could be read.*icews-events\.tab"):
        bring(tmp_path / "data", files[YEARLY, 2], files[DAILY, 2])
    assert list((tmp_path / "data").iterdir()) == []


def test_bad_files_alone_do_not_stop_a_lake_that_has_good_ones(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    before = bring(tmp_path, files[DAILY, 0]).lake
    after = bring(tmp_path, files[YEARLY, 2])
    assert after.added == (YEARLY,)
    assert after.months == ()
    for kind in ("events", "duplicates", "rejected"):
        assert digests(after.lake / kind) == digests(before / kind)


def test_nothing_new_is_the_same_version(tmp_path: Path) -> None:
    files = write_small_sample(tmp_path / "raw")
    before = bring(tmp_path, tmp_path / "raw")
    assert before.added == tuple(sorted(path.name for path in files))
    again = bring(tmp_path, tmp_path / "raw")
    assert (again.lake, again.added, again.months) == (before.lake.resolve(), (), ())


def test_a_file_that_was_only_touched_is_not_read_again(tmp_path: Path) -> None:
    path = write_file(tmp_path / DAILY, [("1", "2018-03-01")])
    before = bring(tmp_path, path)
    os.utime(path, ns=(1, 1))
    assert bring(tmp_path, path).added == ()
    write_file(path, [("2", "2018-03-01")])  # as long as before
    os.utime(path, ns=(2, 2))
    assert bring(tmp_path, path).added == (DAILY,)
    assert keys(before.lake) == [("1", DAILY)]


def test_what_was_kept_in_another_way_is_read_anew(tmp_path: Path) -> None:
    lake = bring(tmp_path, write_file(tmp_path / DAILY, [("1", "2018-03-01")])).lake
    other = IngestConfig(columns="all")
    assert Lake.load(lake, IngestConfig()).files.keys() == {DAILY}
    assert Lake.load(lake, other) == Lake(folder=None, config=other)
    assert Lake.load(None, other) == Lake(folder=None, config=other)
    assert Lake(folder=None, config=other).version != Lake(folder=None, config=IngestConfig())


def test_what_other_code_made_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = bring(tmp_path, write_file(tmp_path / DAILY, [("1", "2018-03-01")])).lake
    before = Lake.read(lake)
    monkeypatch.setattr("flows.lake.VERSION", 2**31)
    assert Lake.read(lake) == Lake(folder=None, config=IngestConfig())
    assert before.version != lake.name


def test_records_survive_being_written_and_read(tmp_path: Path) -> None:
    lake = Lake.read(bring(tmp_path, *write_small_sample(tmp_path / "raw")).lake)
    (tmp_path / "copy").mkdir()
    lake.save(tmp_path / "copy")
    again = Lake.read(tmp_path / "copy")
    assert (again.files, again.months, again.config) == (lake.files, lake.months, lake.config)
    assert again.version == lake.version == latest(tmp_path / "lake").name  # type: ignore[union-attr]


def test_a_failure_halfway_leaves_the_old_version_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_versions(tmp_path / "raw")
    data = tmp_path / "data"
    before = bring(data, files[YEARLY, 0]).lake
    was = digests(before), accounts(before), sorted(data.rglob("*"))

    def full(work: MonthWork) -> MonthRecord | None:
        if work.month.month == 6:
            raise OSError(28, "No space left on device")
        return resolve_month(work)

    monkeypatch.setattr(lake_update, "resolve_month", full)
    with pytest.raises(OSError, match=r"no space left to write to .*free some space and run again"):
        bring(data, files[OTHER, 0])
    assert latest(data / "lake") == before
    assert (digests(before), accounts(before), sorted(data.rglob("*"))) == was
    monkeypatch.undo()
    assert ("6", OTHER) in keys(bring(data, files[OTHER, 0]).lake)


def test_files_are_found_in_folders_in_folders_and_by_name(tmp_path: Path) -> None:
    deep = write_file(tmp_path / "a" / "b" / "z.tab", [])
    upper = write_file(tmp_path / "a" / "Y.TSV", [])
    single = write_file(tmp_path / "c.txt", [])
    write_file(tmp_path / "a" / "notes.md", [])
    assert find_files([tmp_path / "a", single]) == [upper, single, deep]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source .*nowhere does not exist"):
        find_files([tmp_path / "nowhere"])


def test_a_source_without_files_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no files to read in .*: expected .*\.tab.*\.zip"):
        find_files([tmp_path])


def test_two_different_files_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    one = write_file(tmp_path / "one" / DAILY, [("1", "2018-03-01")])
    two = write_file(tmp_path / "two" / DAILY, [("2", "2018-03-01")])
    with pytest.raises(SourceError, match="two different files") as error:
        find_files([tmp_path])
    assert str(one) in str(error.value)
    assert str(two) in str(error.value)


def test_the_same_file_twice_counts_once(tmp_path: Path) -> None:
    one = write_file(tmp_path / "one" / DAILY, [("1", "2018-03-01")])
    two = write_file(tmp_path / "two" / DAILY, [("1", "2018-03-01")])
    assert find_files([one, one]) == [one]
    assert len(find_files([one, two])) == 1


# Mending


def damage(lake: Path, month: date) -> None:
    path = month_file(lake, "events", month)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"x" * (len(content) - len(content) // 2)
    path.unlink()  # other versions may link to it
    path.write_bytes(bytes(content))


def again(data: Path, source: Path, *names: str) -> IngestResult:
    return update_lake(data / "lake", [source], IngestConfig(), again=names)


def test_a_damaged_month_is_mended_by_reading_again_the_files_that_have_rows_of_it(
    tmp_path: Path,
) -> None:
    files = write_versions(tmp_path / "raw")
    given = tmp_path / "given"
    given.mkdir()
    for name in (YEARLY, DAILY, OTHER):
        files[name, 0].rename(given / name)
    whole = digests(bring(tmp_path / "whole", given).lake)
    broken = bring(tmp_path / "data", given).lake
    damage(broken, date(2018, 2, 1))
    mended = again(tmp_path / "data", given, YEARLY, DAILY, OTHER)
    assert digests(mended.lake) == whole
    assert mended.lake != broken
    assert mended.days == ()
    assert again(tmp_path / "data", given).lake == mended.lake
    assert bring(tmp_path / "data", given / DAILY).lake == mended.lake


def test_a_file_that_is_to_be_read_again_must_be_there(tmp_path: Path) -> None:
    path = write_file(tmp_path / DAILY, [("1", "2018-03-01")])
    before = bring(tmp_path, path).lake
    with pytest.raises(SourceError, match=r"to be read again, but not in .*: gone\.tab"):
        update_lake(tmp_path / "lake", [path], IngestConfig(), again=["gone.tab"])
    assert latest(tmp_path / "lake") == before


def test_other_settings_lose_no_file_that_the_source_lacks(tmp_path: Path) -> None:
    path = write_file(tmp_path / DAILY, [("1", "2018-03-01")])
    before = bring(tmp_path, path, write_file(tmp_path / OTHER, [("2", "2018-03-01")])).lake
    other = IngestConfig(columns="all")
    with pytest.raises(SourceError, match=r"1 files .* not in the source: mine\.tab"):
        bring(tmp_path, path, config=other)
    assert latest(tmp_path / "lake") == before
    after = bring(tmp_path, path, tmp_path / OTHER, config=other).lake
    assert len(keys(after)) == 2


def test_records_that_cannot_be_read_are_an_error_that_names_them(tmp_path: Path) -> None:
    path = write_file(tmp_path / DAILY, [("1", "2018-03-01")])
    lake = bring(tmp_path, path).lake
    for content in ("{", json.dumps({"version": VERSION, "files": 3})):
        (lake / "files.json").write_text(content)
        with pytest.raises(LakeError, match=r"records can't be read: .*`foreshock doctor`"):
            bring(tmp_path, path)
