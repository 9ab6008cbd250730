"""Laws of the doctor: a sound lake has no errors, each damage is found, and nothing is changed."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from features.ingest import IngestConfig, StagedFile
from flows.doctor import DoctorConfig, examine
from flows.doctor_events import examine_gaps, examine_sequence, examine_years
from flows.doctor_files import examine_files
from flows.doctor_findings import Finding, Report, print_report
from flows.doctor_state import examine_lock
from flows.lake import DayRecord, FileRecord, Lake, MonthRecord, month_file
from flows.lake_update import update_lake
from flows.locking import LOCK, sole_run
from flows.publishing import latest
from tests.icews_files import COLUMNS, WholeRun, bring, write_file, write_small_sample
from tests.test_lake_plan import tree

SHARED = Path(__file__).parents[2] / "shared" / "data"
MONDAY = date(2018, 1, 1)
DAMAGED_MONTH = date(2017, 5, 1)


def errors(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity == "error"]


def look(data: Path, **options: object) -> Report:
    return examine(DoctorConfig(data=data, **options))  # type: ignore[arg-type]


def the(report: Report | Sequence[Finding], check: str) -> Finding:
    """Return the one finding of a check."""
    findings = report.findings if isinstance(report, Report) else report
    (found,) = (finding for finding in findings if finding.check == check)
    return found


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a lake of the small sample and a daily file with rejected lines."""
    folder = tmp_path_factory.mktemp("sound")
    write_small_sample(folder / "raw")
    late = [("late", "2017-12-31"), ("new", "2018-01-02"), ("new", "2018-01-02")]
    write_file(folder / "raw" / "20180102-icews-events.tab", late, also=["", "a\tb"])
    bring(folder / "data", folder / "raw")
    return folder


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    """Copy the lake, to damage it."""
    shutil.copytree(sound / "data", tmp_path / "data", symlinks=True)
    return tmp_path / "data"


def lake_of(data: Path) -> Lake:
    return Lake.read(latest(data / "lake"))  # type: ignore[arg-type]


@pytest.mark.parametrize("quick", [False, True])
def test_a_sound_lake_has_no_errors_and_stays_as_it_is(sound: Path, *, quick: bool) -> None:
    was = tree(sound)
    report = look(sound / "data", source=(sound / "raw",), quick=quick)
    assert errors(report) == []
    assert "6 files" in report.summary
    assert tree(sound) == was


def test_a_whole_run_leaves_nothing_to_mend(small: WholeRun) -> None:
    report = look(small.config.data, source=small.config.source)
    assert {finding.severity for finding in report.findings} <= {"note"}
    assert [finding for finding in report.findings if finding.check == "published"] == []


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 0xFF
    path.write_bytes(bytes(content))


@settings(max_examples=25)
@given(at=st.integers(0, 10**6), kind=st.sampled_from(["events", "duplicates"]))
def test_a_single_changed_byte_of_a_month_is_found(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, at: int, kind: str
) -> None:
    data = tmp_path_factory.mktemp("flipped") / "data"
    shutil.copytree(sound / "data", data, symlinks=True)
    lake = lake_of(data)
    assert lake.folder is not None
    month = next(m for m, record in lake.months.items() if record.sha256[kind])
    flip(month_file(lake.folder, kind, month), at)
    found = the(errors(look(data)), "damaged month")
    (item,) = found.items
    assert item.startswith(f"{kind} of {month:%Y-%m}: ")
    for name in lake.months[month].accepted:
        assert f"--again {name}" in found.mend


Damage = Callable[[Path], None]


def _remove_month(lake: Path) -> None:
    month_file(lake, "events", DAMAGED_MONTH).unlink()


def _lose_rows(lake: Path) -> None:
    path = month_file(lake, "events", DAMAGED_MONTH)
    rows = pl.read_parquet(path, hive_partitioning=False)
    path.unlink()
    rows.head(rows.height - 1).write_parquet(path)


def _add_month(lake: Path) -> None:
    path = month_file(lake, "events", date(1999, 1, 1))
    path.parent.mkdir()
    shutil.copy(month_file(lake, "events", DAMAGED_MONTH), path)


def _cut_rejected(lake: Path) -> None:
    path = lake / "rejected" / "20180102-icews-events.tab.parquet"
    rows = pl.read_parquet(path)
    path.unlink()
    rows.head(1).write_parquet(path)


def _remove_rejected(lake: Path) -> None:
    shutil.rmtree(lake / "rejected")


def _change_records(lake: Path) -> None:
    content = json.loads((lake / "files.json").read_text())
    next(iter(content["files"].values()))["accepted"] += 1
    (lake / "files.json").write_text(json.dumps(content))


def _move_rows_among_files(lake: Path) -> None:
    content = json.loads((lake / "files.json").read_text())
    one = content["files"]["20180102-icews-events.tab"]
    one["accepted"] += 1
    one["duplicates"]["repeated in file"] -= 1
    (lake / "files.json").write_text(json.dumps(content))


def _break_records(lake: Path) -> None:
    (lake / "files.json").write_text('{"version"')


def _remove_months(lake: Path) -> None:
    (lake / "months.json").unlink()


def _change_ledger(lake: Path) -> None:
    path = lake / "files.parquet"
    rows = pl.read_parquet(path)
    path.unlink()
    rows.head(2).write_parquet(path)


def _break_ledger(lake: Path) -> None:
    (lake / "files.parquet").write_bytes(b"PAR1")


def _remove_version(lake: Path) -> None:
    shutil.rmtree(lake)


def _remove_link(lake: Path) -> None:
    (lake.parent / "latest").unlink()


def _forget_a_file(lake: Path) -> None:
    content = json.loads((lake / "files.json").read_text())
    del content["files"]["20180102-icews-events.tab"]
    (lake / "files.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "check", "said"),
    [
        (_remove_month, "damaged month", "the file is missing"),
        (_lose_rows, "damaged month", "2017-05"),
        (_add_month, "unknown files", "month=1999-01"),
        (_cut_rejected, "rejected lines", "1 lines, recorded 2"),
        (_remove_rejected, "rejected lines", "0 lines, recorded 2"),
        (_change_records, "accounts", "accepted"),
        (_move_rows_among_files, "accounts", "but the months have"),
        (_break_records, "lake", "can't be read"),
        (_remove_months, "lake", "months.json"),
        (_change_ledger, "ledger", "doesn't say what the records say"),
        (_break_ledger, "ledger", "can't be read"),
        (_remove_version, "lake", "which is gone"),
        (_remove_link, "lake", "latest is missing"),
        (_forget_a_file, "version", "has the records of version"),
    ],
)
def test_every_damage_is_an_error_that_says_how_to_mend_it(
    copy: Path, damage: Damage, check: str, said: str
) -> None:
    folder = lake_of(copy).folder
    assert folder is not None
    damage(folder)
    was = tree(copy)
    found = the(errors(look(copy)), check)
    assert said in " ".join([found.found, *found.items])
    assert "`" in found.mend or found.mend.startswith("rm ")
    assert tree(copy) == was


def test_a_lost_row_is_found_without_checksums(copy: Path) -> None:
    folder = lake_of(copy).folder
    assert folder is not None
    _lose_rows(folder)
    assert "rows, expected" in the(errors(look(copy, quick=True)), "damaged month").items[0]


def test_what_mends_a_damaged_month_mends_it(sound: Path, copy: Path) -> None:
    folder = lake_of(copy).folder
    assert folder is not None
    before = {p.name: p.read_bytes() for p in folder.glob("*.parquet")}
    _lose_rows(folder)
    mend = the(look(copy), "damaged month").mend
    names = re.findall(r"--again ([^\s`]+)", mend)
    again = update_lake(copy / "lake", [sound / "raw"], IngestConfig(), again=names).lake
    assert errors(look(copy)) == []
    assert {p.name: p.read_bytes() for p in again.glob("*.parquet")} == before


def test_what_mends_a_lost_link_mends_it(copy: Path) -> None:
    version = lake_of(copy).folder
    assert version is not None
    _remove_link(version)
    mend = the(look(copy), "lake").mend
    assert f"ln -sfn {version.name} {copy / 'lake' / 'latest'}" in mend
    (copy / "lake" / "latest").symlink_to(version.name)
    assert errors(look(copy)) == []


def test_a_lake_of_other_code_is_a_note(copy: Path) -> None:
    folder = lake_of(copy).folder
    assert folder is not None
    content = json.loads((folder / "files.json").read_text())
    (folder / "files.json").write_text(json.dumps(content | {"version": -1}))
    assert the(look(copy), "version").severity == "note"


def test_an_empty_data_folder_has_no_lake(tmp_path: Path) -> None:
    found = the(look(tmp_path), "lake")
    assert found.severity == "error"
    assert "foreshock run --source" in found.mend


@pytest.mark.parametrize(
    ("options", "message"),
    [({"days": 0}, "days=0: expected at least 1"), ({}, "expected a folder that a run has")],
)
def test_what_cannot_be_examined_is_said(
    tmp_path: Path, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DoctorConfig(data=tmp_path / "nowhere", **options)


def test_new_changed_and_gone_files_of_the_source_are_told_apart(
    sound: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(sound / "raw", raw)
    write_file(raw / "20180103-icews-events.tab", [("1", "2018-01-03")])
    write_file(raw / "20180102-icews-events.tab", [("other", "2018-01-02")])
    gone = sorted(raw.glob("*.zip"))[0]
    gone.unlink()
    os.utime(sorted(raw.glob("*.zip"))[0])  # the same bytes
    report = look(sound / "data", source=(raw,))
    assert the(report, "new files").items == ("20180103-icews-events.tab",)
    assert the(report, "changed files").items == ("20180102-icews-events.tab",)
    assert the(report, "files gone").items == (gone.name,)
    assert errors(report) == []


def test_a_source_that_is_not_there_is_an_error(sound: Path, tmp_path: Path) -> None:
    found = the(look(sound / "data", source=(tmp_path / "nowhere",)), "source")
    assert found.severity == "error"
    assert "does not exist" in found.found


def test_a_file_that_could_not_be_read_is_a_warning_with_its_reason(tmp_path: Path) -> None:
    good = write_file(tmp_path / "20180301-icews-events.tab", [("1", "2018-03-01")])
    bad = tmp_path / "bad.csv"
    bad.write_text("name,age\n")
    bring(tmp_path / "data", good, bad)
    found = the(look(tmp_path / "data", source=(good, bad)), "unreadable files")
    assert found.severity == "warning"
    assert "bad.csv" in found.items[0]


def test_the_lock_of_a_run_that_goes_on_names_it_and_its_leftovers_are_its_own(
    copy: Path,
) -> None:
    (copy / "lake" / ".unfinished-abc-123").mkdir()
    with sole_run(copy, doing="ingest"):
        report = look(copy)
        found = the(report, "lock")
        assert found.severity == "note"
        assert f"a run holds the folder: ingest, process {os.getpid()}" in found.found
        assert "leftovers" not in {finding.check for finding in report.findings}
        os.utime(copy / LOCK, (time.time() - 90_000,) * 2)
        assert the(examine_lock(copy)[0], "lock").severity == "warning"
    report = look(copy)
    assert "lock" not in {finding.check for finding in report.findings}
    assert the(report, "leftovers").items == (str(copy / "lake" / ".unfinished-abc-123"),)


def test_a_killed_run_is_named_and_what_it_left_too(copy: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom flows.locking import sole_run\n"
        "with sole_run(Path(sys.argv[1]), doing='update'):\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(copy)], check=False, timeout=60)
    assert done.returncode == -9
    (copy / ".staging-x").mkdir()
    (copy / ".staging-x" / "part.arrow").write_bytes(b"0" * 2_000_000)
    (copy / "models").mkdir()
    (copy / "models" / ".unfinished-training-abc.pt").touch()
    report = look(copy)
    found = the(report, "lock")
    assert found.severity == "warning"
    assert "killed or the machine stopped: update, process" in found.found
    assert "2.0 MB" in the(report, "leftovers").found
    assert "goes on from it" in the(report, "unfinished training").mend
    assert errors(report) == []


def test_looking_at_a_lock_keeps_no_run_out(copy: Path) -> None:
    with sole_run(copy, doing="ingest"):
        look(copy)
    with (copy / LOCK).open("a+") as file:
        look(copy)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_is_published_behind_the_lake_is_said(small: WholeRun, tmp_path: Path) -> None:
    data = tmp_path / "data"
    ignore = shutil.ignore_patterns("prefect", "models")
    shutil.copytree(small.config.data, data, symlinks=True, ignore=ignore)
    bring(data, write_file(tmp_path / "mine.tab", [("x", "2017-06-01"), ("y", "2018-01-05")]))
    found = the(look(data), "published")
    assert found.severity == "warning"
    assert "2 days, 2017-06-01 to 2018-01-05" in found.found
    published = data / "published" / "country-week"
    table = published / "latest" / "step_errors"
    shutil.rmtree(table)
    assert "lacks step_errors" in the(errors(look(data)), "published").found
    (published / "latest").unlink()
    assert "points at nothing" in the(errors(look(data)), "published").found


def account(name: str, **values: object) -> FileRecord:
    staged = StagedFile(name=name, **({"edition": "daily"} | values))  # type: ignore[arg-type]
    return FileRecord(size=1, mtime_ns=1, sha256="", md5="", staged=staged)


def made_lake(events: dict[date, int], records: Sequence[FileRecord] = ()) -> Lake:
    """Return a lake with so many events on days, and the accounts of files."""
    months: dict[date, dict[date, DayRecord]] = {}
    for day, n in sorted(events.items()):
        months.setdefault(day.replace(day=1), {})[day] = DayRecord(events=n, digest="")
    return Lake(
        folder=None,
        config=IngestConfig(),
        files={record.staged.name: record for record in records},
        months={
            month: MonthRecord(accepted={}, duplicates={}, superseded_by={}, days=days, sha256={})
            for month, days in months.items()
        },
    )


def every_day(n: int, *, every: int = 1) -> list[date]:
    return [MONDAY + timedelta(days=i) for i in range(0, n, every)]


def daily(day: date) -> FileRecord:
    return account(f"{day:%Y%m%d}-icews-events.zip", release=f"{day:%Y%m%d}")


def test_a_missing_file_whose_events_are_lacking_is_told_from_one_whose_events_came() -> None:
    days = every_day(70)
    lacking, elsewhere = days[33], days[40]
    events = dict.fromkeys(days, 100) | {lacking: 4, elsewhere: 80}
    files = [daily(day) for day in days if day not in (lacking, elsewhere)]
    warning, note = examine_sequence(made_lake(events, files))
    assert (warning.severity, note.severity) == ("warning", "note")
    assert warning.items == (
        "2018-02-03 (Sat), between 20180202-icews-events.zip and 20180204-icews-events.zip: "
        "4 events, usually about 100",
    )
    assert note.items[0].startswith("2018-02-10 (Sat)")


def test_days_that_a_yearly_file_covers_need_no_daily_files() -> None:
    days = every_day(70)
    files = [daily(day) for day in days if day != days[33]]
    yearly = account("events.2018.20190101.tab", edition="yearly", covers=(days[0], days[40]))
    assert examine_sequence(made_lake(dict.fromkeys(days, 100), [*files, yearly])) == []


def test_a_source_without_weekend_files_lacks_none() -> None:
    days = every_day(140)
    weekdays = [day for day in days if day.weekday() < 5]
    files = [daily(day) for day in weekdays if day != weekdays[50]]
    lake = made_lake(dict.fromkeys(weekdays, 100) | {weekdays[50]: 2}, files)
    (found,) = examine_sequence(lake)
    assert found.severity == "warning"
    assert [item[:10] for item in found.items] == [str(weekdays[50])]


@pytest.mark.parametrize("jitter", [0, 1])
def test_a_weekly_file_is_missed_though_others_come_a_day_early_or_late(jitter: int) -> None:
    weeks = [MONDAY + timedelta(days=7 * i + (i % 3 - 1) * jitter) for i in range(30)]
    events = dict.fromkeys(every_day(210), 100)
    for day in every_day(210):
        if weeks[13] < day <= weeks[14]:
            events[day] = 0
    files = [daily(day) for day in weeks if day != weeks[14]]
    (found,) = examine_sequence(made_lake(events, files))
    assert found.severity == "warning"
    assert len(found.items) == 1
    assert found.items[0].startswith(str(weeks[13] + timedelta(days=1)))


def test_a_source_that_turns_from_daily_to_weekly_lacks_nothing_for_good() -> None:
    days = every_day(400)
    made = [day for day in days if day < days[200] or day.weekday() == 2]
    found = examine_sequence(made_lake(dict.fromkeys(days, 100), [daily(day) for day in made]))
    assert all(finding.severity == "note" for finding in found)
    assert all(item[:10] < str(days[280]) for finding in found for item in finding.items)


def test_a_gap_after_a_yearly_file_names_it() -> None:
    days = every_day(300)
    events = {day: 100 for day in days if not 200 <= (day - MONDAY).days < 203}
    yearly = account("events.2018.20180720.tab", edition="yearly", covers=(days[0], days[199]))
    (found,) = examine_gaps(made_lake(events, [yearly]))
    assert found.items == (
        "2018-07-20 to 2018-07-22 (Fri to Sun): 0 events where about 300 are usual; "
        "events.2018.20180720.tab stops the day before",
    )


def test_a_yearly_file_that_stops_early_is_said_where_nothing_goes_on() -> None:
    days = every_day(273)
    yearly = account("events.2018.20180930.tab", edition="yearly", covers=(days[0], days[-1]))
    events = dict.fromkeys(days, 100)
    (found,) = examine_years(made_lake(events, [yearly]))
    assert found.items == ("events.2018.20180930.tab stops on 2018-09-30",)
    assert examine_years(made_lake(events | {date(2018, 11, 5): 90}, [yearly])) == []
    whole = account(
        "events.2018.20190101.tab", edition="yearly", covers=(days[0], date(2018, 12, 30))
    )
    assert examine_years(made_lake(events, [yearly, whole])) == []


def test_files_with_many_rejected_lines_or_mended_codes_or_no_events_are_said() -> None:
    ordinary = [
        account(f"2018030{i}.tab", lines=1000, valid=998, rejected={"no date": 2})
        for i in range(1, 8)
    ]
    high = account("high.tab", lines=1000, valid=900, rejected={"no date": 60, "no event id": 40})
    risen = account("risen.tab", lines=1000, valid=970, rejected={"no date": 30})
    mended = account("mended.tab", lines=1000, valid=1000, mended_codes=700)
    none = account("none.tab", lines=7, rejected={"unknown event code": 7})
    empty = account("empty.tab")
    lake = made_lake({}, [*ordinary, high, risen, mended, none, empty])
    found = examine_files(lake)
    assert {item for finding in found for item in finding.items} == {
        "high.tab: 100 of 1,000 lines, 10% (no date 60, no event id 40)",
        "risen.tab: no date 3.0%, usually 0.2%",
        "mended.tab: 700 of 1,000 events, 70%",
        "none.tab: 7 lines (unknown event code 7)",
        "empty.tab: 0 lines",
    }
    assert {finding.severity for finding in found} == {"warning"}
    assert examine_files(made_lake({}, ordinary)) == []


def rows(ids: str, day: date, code: str, country: str, n: int = 1) -> list[str]:
    values = ("Chad", code, "0.0", "Chad", country)
    assert len(values) + 2 == len(COLUMNS)
    return ["\t".join((f"{ids}{i}", str(day), *values)) for i in range(n)]


def test_codes_and_countries_seen_for_the_first_time_are_noted(tmp_path: Path) -> None:
    old, new = date(2018, 1, 10), date(2018, 3, 20)
    lines = [*rows("a", old, "010", "Mali", 3), *rows("b", new, "190", "Kosovo", 2)]
    lines += rows("c", date(2018, 3, 25), "010", "Mali")
    bring(tmp_path, write_file(tmp_path / "mine.tab", [], also=lines))
    report = look(tmp_path, days=10)
    assert the(report, "new event codes").items[0].startswith("190 (Use conventional military")
    assert the(report, "new countries").items == ("Kosovo: 2 events since 2018-03-20",)
    assert not [f for f in look(tmp_path, days=2).findings if f.check.startswith("new ")]


def test_a_damaged_month_does_not_keep_the_rest_from_being_examined(copy: Path) -> None:
    folder = lake_of(copy).folder
    assert folder is not None
    month_file(folder, "events", DAMAGED_MONTH).write_bytes(b"no parquet")
    report = look(copy)
    assert [finding.check for finding in errors(report)] == ["damaged month"]


def test_the_worst_comes_first_and_long_lists_are_cut_in_print_alone() -> None:
    many = Finding(
        severity="note",
        check="a check",
        found="[x] 30 of [red]them[/red]",
        items=tuple(f"case {i}" for i in range(30)),
        mend="do it",
    )
    report = Report(summary="the lake", findings=(many,))
    text = StringIO()
    print_report(report, Console(file=text, width=80))
    said = text.getvalue().splitlines()
    assert said[:2] == ["the lake", "note: a check: [x] 30 of [red]them[/red]"]
    assert said[-2:] == ["    … and 24 more (--json has all)", "    → do it"]
    assert len(report.content()["findings"][0]["items"]) == 30


def test_nothing_wrong_is_said_plainly() -> None:
    text = StringIO()
    print_report(Report(summary="the lake", findings=()), Console(file=text, width=80))
    assert text.getvalue() == "the lake\nNothing is wrong or odd.\n"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the ICEWS files are not here")
def test_real_icews_has_the_gaps_that_are_known_of_it(tmp_path: Path) -> None:
    bring(tmp_path, SHARED)
    report = look(tmp_path, source=(SHARED,))
    assert errors(report) == []
    gaps = the(report, "gaps").items
    assert [gap[:10] for gap in gaps] == [
        "2019-03-09", "2018-10-06", "2018-10-01", "2010-01-01", "2008-09-25", "2007-11-20",
    ]  # fmt: skip
    missing = [finding for finding in report.findings if finding.check == "missing files"]
    assert [item[:10] for item in missing[0].items] == ["2018-10-06"]
    assert [item[:10] for item in missing[1].items] == [
        "2019-03-10", "2019-02-10", "2019-02-09", "2018-12-02", "2018-12-01",
    ]  # fmt: skip
    assert "jumps" not in {finding.check for finding in report.findings}
