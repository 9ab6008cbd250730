"""Laws of bringing files into the lake when the disk is full, or the files aren't all there yet."""

import errno
import gzip
import io
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.ingest import IngestConfig, StagedFile
from flows import lake_update
from flows.digests import digests_of_file
from flows.ingest import ingest
from flows.lake import Lake
from flows.lake_update import IngestResult, in_turn, update_lake
from flows.locking import LOCK
from flows.months import MonthWork
from flows.publishing import latest
from flows.sources import find_files
from tests.faulty_runs import Fault, Kind, run_apart, run_once, run_without_rights
from tests.icews_files import bring, digests, in_order, small_config, write_file
from tests.kill_scene import (
    Scene,
    check_version,
    contents,
    make_scene,
    unfinished,
    unmended,
)

FIRST = "20180301-icews-events.tab"
SECOND = "20180302-icews-events.tab"
ROWS = [("1", "2018-03-01"), ("2", "2018-03-01"), ("3", "2018-02-28")]
MORE = [("4", "2018-03-02"), ("2", "2018-03-01")]
N_DRAWS = 6


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _lake(data: Path) -> Lake:
    folder = latest(data / "lake")
    assert folder is not None
    return Lake.read(folder)


def _events(data: Path) -> list[tuple[str, str]]:
    rows = pl.read_parquet(data / "lake/latest/events/**/*.parquet", hive_partitioning=False)
    return sorted(rows.select("event_id", "file").rows())


def _draw(scene: Scene, kind: Kind, seed: int) -> Fault:
    """Draw where in a run the disk is full, once from each part of it."""
    rng = np.random.default_rng(seed)
    change = int((seed + rng.random()) / N_DRAWS * scene.undisturbed[True].changes)
    if kind == "limit":
        return Fault(kind=kind, at=int(rng.integers(300)), since=int(0.9 * change))
    return Fault(kind=kind, at=1 + change)


@pytest.mark.parametrize("seed", range(N_DRAWS))
@pytest.mark.parametrize("kind", ["full", "refused", "limit"])
def test_a_full_disk_changes_nothing_is_said_and_is_made_good_by_the_next_run(
    scene: Scene, tmp_path: Path, kind: Kind, seed: int
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene.before, data, symlinks=True)
    before = _files(data / "lake" / scene.versions[0])
    ended = run_apart(data, scene.source, _draw(scene, kind, seed))
    assert unfinished(data) == []
    if ended.code:  # A link that is refused is made a copy, and the run goes on.
        assert ended.error.startswith("DiskFullError")
        assert f"no space left to write to {data}" in ended.error
        assert "What was published stays as it was" in ended.error
        assert "free some space and run again" in ended.error
        assert ended.code == 1
    else:
        assert kind == "refused"
        assert contents(data) == scene.expected
    published = latest(data / "lake")
    assert published is not None
    assert published.name in scene.versions
    check_version(published)
    assert _files(data / "lake" / scene.versions[0]) == before
    assert unmended(scene, data, run_apart(data, scene.source)) == []


def test_a_first_run_on_a_full_disk_leaves_no_lake(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    ended = run_apart(data, scene.source, Fault(kind="limit", at=300))
    assert ended.error.startswith("DiskFullError")
    assert sorted(path.name for path in data.iterdir() if path.is_file()) == [".lock"]
    assert latest(data / "lake") is None
    assert unfinished(data) == []
    assert unmended(scene, data, run_apart(data, scene.source)) == []


def test_a_lake_that_cannot_be_written_to_stays_as_it_was(scene: Scene, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scene.before, data, symlinks=True)
    before = _files(data / "lake")
    (data / "lake").chmod(0o555)
    ended = run_apart(data, scene.source, run=run_without_rights)
    assert ended.code == 1
    assert ended.error.startswith("PermissionError: [Errno 13] Permission denied")
    assert f"{data / 'lake'}" in ended.error
    assert _files(data / "lake") == before
    assert unfinished(data) == []
    (data / "lake").chmod(0o755)
    assert unmended(scene, data, run_apart(data, scene.source)) == []


def test_a_file_that_may_not_be_read_is_recorded_and_read_by_the_next_run(tmp_path: Path) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    write_file(raw / FIRST, ROWS)
    write_file(raw / SECOND, MORE).chmod(0)
    assert run_apart(data, raw, run=run_without_rights).error == ""
    record = _lake(data).files[SECOND]
    assert record.error is not None
    assert "Permission denied" in record.error
    assert str(raw / SECOND) in record.error
    assert (record.size, record.sha256, record.staged.lines) == (
        (raw / SECOND).stat().st_size,
        "",
        0,
    )
    assert {file for _, file in _events(data)} == {FIRST}
    (raw / SECOND).chmod(0o644)
    run_once(data, raw)
    assert _same(data, tmp_path / "at-once", raw)


def test_a_file_that_was_touched_and_may_not_be_read_does_not_stop_the_others(
    tmp_path: Path,
) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    bring(data, write_file(raw / FIRST, ROWS))
    os.utime(raw / FIRST, ns=(1, 1))
    (raw / FIRST).chmod(0)
    write_file(raw / SECOND, MORE)
    assert run_apart(data, raw, run=run_without_rights).error == ""
    assert "Permission denied" in str(_lake(data).files[FIRST].error)
    assert ("4", SECOND) in _events(data)
    (raw / FIRST).chmod(0o644)
    run_once(data, raw)
    assert _same(data, tmp_path / "at-once", raw)


def _same(data: Path, at_once: Path, source: Path) -> bool:
    """Tell whether a lake is the one that its files make when they all come at once."""
    bring(at_once, source)
    one, other = (latest(folder / "lake") for folder in (data, at_once))
    assert one is not None
    assert other is not None
    return digests(one) == digests(other) and in_order(one) == in_order(other)


def _after_listing(change: Callable[[], object]) -> Callable[..., list[Any]]:
    def run_all(function: Any, items: Sequence[Any], *, stage: str, weight: Any) -> list[Any]:
        if stage == "Reading files":
            change()
        for item in items:
            weight(item)
        return in_turn(function, items, stage=stage, weight=weight)

    return run_all


def test_a_file_that_vanishes_before_it_is_read_is_recorded_and_read_by_the_next_run(
    tmp_path: Path,
) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    write_file(raw / FIRST, ROWS)
    gone = write_file(raw / SECOND, MORE)
    vanish = _after_listing(lambda: gone.rename(tmp_path / "elsewhere"))
    result = update_lake(data / "lake", [raw], IngestConfig(), run_all=vanish)
    assert [str(gone) in error for error in result.errors] == [True]
    record = _lake(data).files[SECOND]
    assert "No such file" in str(record.error)
    assert (record.size, record.sha256, record.accepted) == (0, "", 0)
    (tmp_path / "elsewhere").rename(gone)
    assert bring(data, raw).added == (SECOND,)
    assert _same(data, tmp_path / "at-once", raw)


def test_a_known_file_that_vanishes_while_files_are_listed_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    bring(data, write_file(raw / FIRST, ROWS))
    write_file(raw / SECOND, MORE)

    def found(source: Sequence[Path]) -> list[Path]:
        files = find_files(source)
        (raw / FIRST).unlink()
        return files

    monkeypatch.setattr(lake_update, "find_files", found)
    result = bring(data, raw)
    assert "No such file" in result.errors[0]
    assert ("4", SECOND) in _events(data)


def _growing(path: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function after which a file has a line more, as while it is being written."""

    def grown(given: Path, *args: Any, **kwargs: Any) -> Any:
        result = function(given, *args, **kwargs)
        if given == path:
            with path.open("a") as file:
                file.write(
                    "\t".join(("5", "2018-03-02", *["Valmora", "042", "1.9"], "", "")) + "\n"
                )
        return result

    return grown


@pytest.mark.parametrize("after", ["digests_of_file", "stage_file"])
def test_a_file_that_is_still_being_written_is_recorded_and_read_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    raw, data = tmp_path / "raw", tmp_path / "data"
    write_file(raw / FIRST, ROWS)
    growing = write_file(raw / SECOND, MORE)
    monkeypatch.setattr(lake_update, after, _growing(growing, getattr(lake_update, after)))
    result = bring(data, raw)
    assert [f"{growing} changed while it was read" in error for error in result.errors] == [True]
    assert {file for _, file in _events(data)} == {FIRST}
    assert _lake(data).files[SECOND].staged.lines == 0
    monkeypatch.undo()
    assert bring(data, raw).added == (SECOND,)
    assert ("5", SECOND) in _events(data)
    assert _same(data, tmp_path / "at-once", raw)


def _zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.tab", content)
    return buffer.getvalue()


@settings(max_examples=15)
@given(share=st.floats(0, 1, exclude_max=True), packing=st.sampled_from([".zip", ".tab.gz"]))
def test_a_half_written_archive_is_recorded_and_read_whole_by_the_next_run(
    tmp_path_factory: pytest.TempPathFactory, share: float, packing: str
) -> None:
    folder = tmp_path_factory.mktemp("half")
    raw, data = folder / "raw", folder / "data"
    write_file(raw / FIRST, ROWS)
    rows = [(str(n), "2018-03-02") for n in range(200)]
    content = write_file(folder / "plain.tab", rows).read_bytes()
    whole = _zipped(content) if packing == ".zip" else gzip.compress(content, mtime=0)
    archive = raw / f"20180302-icews-events{packing}"
    archive.write_bytes(whole[: int(share * len(whole))])
    result = bring(data, raw)
    assert [str(archive) in error for error in result.errors] == [True]
    assert {file for _, file in _events(data)} == {FIRST}
    archive.write_bytes(whole)
    assert bring(data, raw).added == (archive.name,)
    assert len(_events(data)) == len(ROWS) + len(rows)
    assert _same(data, folder / "at-once", raw)


def test_a_version_that_is_there_is_published_again_without_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, data = tmp_path / FIRST, tmp_path / "data"
    first = bring(data, write_file(path, ROWS)).lake
    were = {file: file.stat().st_ino for file in first.rglob("*.parquet")}
    second = bring(data, write_file(path, MORE)).lake
    assert second != first

    def worked(work: MonthWork) -> None:
        pytest.fail(f"{work.month} was resolved again")

    monkeypatch.setattr(lake_update, "resolve_month", worked)
    back = bring(data, write_file(path, ROWS))
    assert back.lake == first == latest(data / "lake")
    assert back.months == ()
    assert [str(day) for day in back.days] == ["2018-02-28", "2018-03-01", "2018-03-02"]
    assert {file: file.stat().st_ino for file in first.rglob("*.parquet")} == were


def test_a_run_that_ended_before_it_pointed_to_its_version_has_done_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    before = bring(data, write_file(tmp_path / FIRST, ROWS)).lake
    second = write_file(tmp_path / SECOND, MORE)

    def killed(dataset: Path, version: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.publishing.point_latest", killed)
    with pytest.raises(KeyboardInterrupt):
        bring(data, second)
    assert latest(data / "lake") == before
    monkeypatch.undo()
    monkeypatch.setattr(lake_update, "resolve_month", killed)
    result = bring(data, second)
    assert latest(data / "lake") == result.lake != before
    assert ("4", SECOND) in _events(data)
    assert [str(day) for day in result.days] == ["2018-03-02"]


def test_an_error_in_writing_is_never_taken_for_a_damaged_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the source is to blame for is recorded; what the disk is to blame for stops the run."""
    data = tmp_path / "data"
    before = bring(data, write_file(tmp_path / FIRST, ROWS)).lake
    write_ipc = pl.DataFrame.write_ipc

    def broken(self: pl.DataFrame, file: Path, **kwargs: Any) -> None:
        write_ipc(self.clear(), file, **kwargs)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pl.DataFrame, "write_ipc", broken)
    with pytest.raises(OSError, match="Input/output error"):
        bring(data, write_file(tmp_path / SECOND, MORE))
    assert latest(data / "lake") == before
    assert SECOND not in _lake(data).files
    assert unfinished(data) == []


def test_a_file_that_cannot_be_read_is_tried_again_by_each_run(tmp_path: Path) -> None:
    data, damaged = tmp_path / "data", tmp_path / "20180302-icews-events.zip"
    damaged.write_bytes(b"PK\x03\x04")
    results: list[IngestResult] = [
        bring(data, write_file(tmp_path / FIRST, ROWS), damaged) for _ in range(3)
    ]
    assert [len(result.errors) for result in results] == [1, 1, 1]
    assert len({result.lake.resolve() for result in results}) == 1
    assert digests_of_file(damaged)[0] == _lake(data).files[damaged.name].sha256


@pytest.mark.usefixtures("prefect")
def test_a_failure_waits_for_the_workers_that_still_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(tmp_path / "raw", tmp_path / "data")
    for name in (FIRST, SECOND):
        write_file(tmp_path / "raw" / name, ROWS)
    has_failed, stage_file = threading.Event(), lake_update.stage_file

    def slow(path: Path, folder: Path, *, config: IngestConfig) -> StagedFile:
        if path.name == FIRST:
            has_failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        has_failed.wait()
        time.sleep(0.2)
        return stage_file(path, folder, config=config)

    monkeypatch.setattr(lake_update, "stage_file", slow)
    with pytest.raises(OSError, match="no space left to write to"):
        ingest(config)
    assert [path.name for path in config.data.iterdir()] == [LOCK]
