"""Laws of publishing: a reader sees the whole old version or the whole new one."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import publishing as published
from flows.publishing import (
    LATEST,
    UNFINISHED,
    VERSIONS_KEPT,
    DiskFullError,
    latest,
    link_tree,
    point_latest,
    publishing,
    remove_whole,
    saying_if_full,
    sweep,
    sweep_unfinished,
    whole_folder,
)
from tests.faulty_runs import WRITERS, Fault, run_apart, write_by

FILES = ("a.txt", "b.txt", "c.txt")


def publish(dataset: Path, version: str) -> None:
    with publishing(dataset, version) as folder:
        for name in FILES:
            (folder / name).write_text(version)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_there_is_no_version_before_the_first(tmp_path: Path) -> None:
    assert latest(tmp_path / "dataset") is None


def test_a_version_is_not_there_until_it_is_whole(tmp_path: Path) -> None:
    with publishing(tmp_path, "v1") as folder:
        (folder / "a.txt").write_text("half")
        assert latest(tmp_path) is None
        assert not (tmp_path / "v1").exists()
        assert list(tmp_path.glob("[!.]*")) == []  # readers' globs don't find it either
    assert latest(tmp_path) == tmp_path / "v1"
    assert names(tmp_path) == ["latest", "v1"]


def test_the_old_version_is_read_until_the_new_one_is_whole(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    with publishing(tmp_path, "v2") as folder:
        (folder / "a.txt").write_text("v2")
        assert latest(tmp_path) == tmp_path / "v1"
        assert (tmp_path / "latest" / "a.txt").read_text() == "v1"
    assert latest(tmp_path) == tmp_path / "v2"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_published_and_nothing_left_if_the_block_raises(
    tmp_path: Path, error: type[BaseException]
) -> None:
    publish(tmp_path, "v1")

    def fail() -> None:
        with publishing(tmp_path, "v2") as folder:
            (folder / "a.txt").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == ["latest", "v1"]
    assert latest(tmp_path) == tmp_path / "v1"


def test_a_folder_made_anew_replaces_the_one_that_was_there(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    with whole_folder(tmp_path / "v1") as folder:
        (folder / "d.txt").write_text("new")
    assert names(tmp_path / "v1") == ["d.txt"]


def test_a_failure_to_make_a_folder_anew_leaves_the_one_that_was_there(tmp_path: Path) -> None:
    publish(tmp_path, "v1")

    def fail() -> None:
        with whole_folder(tmp_path / "v1"):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert names(tmp_path / "v1") == sorted(FILES)


def test_a_reader_sees_the_old_version_or_the_new_one(tmp_path: Path) -> None:
    """After each version the writer awaits a read, so that none is pruned while it is read."""
    n_versions, seen, stop = 100, list[tuple[str, ...]](), threading.Event()
    publish(tmp_path, "0")

    def reader() -> None:
        while not stop.is_set():
            folder = latest(tmp_path)
            assert folder is not None
            seen.append(tuple((folder / name).read_text() for name in FILES))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reader)
        for version in range(1, n_versions):
            n_seen = len(seen)
            publish(tmp_path, str(version))
            while len(seen) == n_seen and not reading.done():
                time.sleep(0)
        stop.set()
        reading.result()
    assert [version for version in seen if len(set(version)) != 1] == []
    order = [int(version[0]) for version in seen]
    assert order == sorted(order)
    assert len(set(order)) > n_versions // 4


def test_the_link_is_there_until_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "v1")
    replace, seen = Path.replace, list[Path | None]()

    def watched(path: Path, target: Path) -> Path:
        seen.append(latest(tmp_path))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    publish(tmp_path, "v2")
    assert seen == [tmp_path / "v1"]
    assert latest(tmp_path) == tmp_path / "v2"


def test_a_reader_keeps_the_file_that_it_has_open(tmp_path: Path) -> None:
    publish(tmp_path, "0")
    with (tmp_path / "latest" / "a.txt").open() as file:
        for version in range(1, VERSIONS_KEPT + 2):
            publish(tmp_path, str(version))
        assert not (tmp_path / "0").exists()
        assert file.read() == "0"


def test_the_last_versions_are_kept(tmp_path: Path) -> None:
    for version in range(VERSIONS_KEPT + 3):
        publish(tmp_path, str(version))
        os.utime(tmp_path / str(version), ns=(version, version))
    kept = [str(version) for version in range(3, VERSIONS_KEPT + 3)]
    assert names(tmp_path) == [*kept, "latest"]


def test_the_current_version_is_kept_however_old(tmp_path: Path) -> None:
    for version in range(VERSIONS_KEPT):
        publish(tmp_path, str(version))
    with publishing(tmp_path, "current") as folder:
        (folder / "a.txt").write_text("current")
    for age, path in enumerate(sorted(tmp_path.glob("[!.l]*"))):
        os.utime(path, ns=(age, age) if path.name != "current" else (0, 0))
    published._remove_old(tmp_path)
    assert latest(tmp_path) == tmp_path / "current"


def test_another_writer_s_unfinished_version_is_left_alone(tmp_path: Path) -> None:
    with publishing(tmp_path, "slow") as folder:
        (folder / "a.txt").write_text("slow")
        for version in range(VERSIONS_KEPT + 2):
            publish(tmp_path, str(version))
        assert (folder / "a.txt").read_text() == "slow"
    assert latest(tmp_path) == tmp_path / "slow"


def test_latest_can_point_back_to_a_version_that_is_there(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    publish(tmp_path, "v2")
    point_latest(tmp_path, "v1")
    assert latest(tmp_path) == tmp_path / "v1"
    assert names(tmp_path) == ["latest", "v1", "v2"]


def test_a_dataset_can_be_moved_with_its_link(tmp_path: Path) -> None:
    publish(tmp_path / "here", "v1")
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there" / "latest" / "a.txt").read_text() == "v1"


def test_a_linked_tree_shares_its_files(tmp_path: Path) -> None:
    publish(tmp_path, "v1")
    (tmp_path / "v1" / "deep").mkdir()
    (tmp_path / "v1" / "deep" / "d.txt").write_text("deep")
    link_tree(tmp_path / "v1", tmp_path / "v2")
    for path in (tmp_path / "v1").rglob("*.txt"):
        twin = tmp_path / "v2" / path.relative_to(tmp_path / "v1")
        assert twin.stat().st_ino == path.stat().st_ino
    (tmp_path / "v2" / "a.txt").unlink()
    assert (tmp_path / "v1" / "a.txt").read_text() == "v1"


def test_where_the_disk_has_no_links_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(published.os, "link", refuse)
    publish(tmp_path, "v1")
    link_tree(tmp_path / "v1", tmp_path / "v2")
    assert (tmp_path / "v2" / "a.txt").read_text() == "v1"
    assert not (tmp_path / "v2" / "a.txt").samefile(tmp_path / "v1" / "a.txt")


def test_what_a_killed_run_left_is_swept_and_what_is_going_on_is_not(tmp_path: Path) -> None:
    dataset = tmp_path / "published" / "x"
    with publishing(dataset, "v1") as folder:
        (folder / "a").write_text("whole")
    long_ago = time.time() - 3 * 24 * 3600
    left = [tmp_path / ".staging-1", dataset / ".unfinished-v2-1", dataset / ".unfinished-2"]
    going_on = [tmp_path / ".staging-2", dataset / ".unfinished-v3-1"]
    for path in [*left[:2], *going_on]:
        path.mkdir()
        (path / "part").touch()
    left[2].symlink_to("v1")
    for path in left:
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    assert sorted(sweep(tmp_path)) == sorted(left)
    assert not any(os.path.lexists(path) for path in left)
    assert all(path.exists() for path in going_on)
    assert (dataset / "latest" / "a").read_text() == "whole"


def test_a_folder_that_is_removed_is_never_seen_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "v1")
    rmtree, seen = shutil.rmtree, list[list[str]]()

    def watched(path: Path, *, ignore_errors: bool) -> None:
        seen.append([names(tmp_path), names(path)])
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(published.shutil, "rmtree", watched)
    remove_whole(tmp_path / "v1")
    [[there, inside]] = seen
    assert "v1" not in there
    assert any(name.startswith(f"{UNFINISHED}v1-") for name in there)
    assert inside == sorted(FILES)
    assert names(tmp_path) == [LATEST]


def test_what_is_new_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "v1")
    done = list[str]()
    fsync, rename = os.fsync, Path.rename

    def flushed(number: int) -> None:
        done.append(Path(f"/proc/self/fd/{number}").resolve().name)
        fsync(number)

    def renamed(path: Path, target: Path) -> Path:
        done.append(f"now {target.name}")
        return rename(path, target)

    monkeypatch.setattr(published.os, "fsync", flushed)
    monkeypatch.setattr(Path, "rename", renamed)
    with publishing(tmp_path, "v2") as folder:
        link_tree(tmp_path / "v1", folder / "linked")
        (folder / "deep").mkdir()
        (folder / "deep" / "new.txt").write_text("new")
        (folder / "other.txt").write_text("other")
    assert sorted(done[:-1]) == ["new.txt", "other.txt"]
    assert done[-1] == "now v2"


def test_a_link_that_cannot_be_replaced_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "v1")
    publish(tmp_path, "v2")

    def full(path: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DiskFullError, match=f"no space left to write to {tmp_path}"):
        point_latest(tmp_path, "v1")
    assert latest(tmp_path) == tmp_path / "v2"
    assert names(tmp_path) == ["latest", "v1", "v2"]


def test_an_old_version_that_cannot_be_removed_does_not_stop_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [str(version) for version in range(VERSIONS_KEPT)]
    for age, version in enumerate(versions):
        publish(tmp_path, version)
        os.utime(tmp_path / version, ns=(age, age))
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if path.name == "0":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    publish(tmp_path, "new")
    assert latest(tmp_path) == tmp_path / "new"
    assert names(tmp_path) == [*versions, "latest", "new"]
    monkeypatch.undo()
    publish(tmp_path, "newer")
    assert "0" not in names(tmp_path)


LEFT = (
    ".staging-abc/20180301.tab/events-2018-03-00000.arrow",
    "lake/.unfinished-v2-1/events/month=2018-03/part-0.parquet",
    "lake/.unfinished-1",
    "features/.unfinished-f-1/totals.parquet",
    "counts/country-week-1/.unfinished-2018-03-d-1/totals.parquet",
    "published/country-week/.unfinished-v2-1/a.parquet",
    "published/country-week/.unfinished-2",
)
WHOLE = (
    ".lock",
    "lake/v1/events/month=2018-03/part-0.parquet",
    "lake/v1/rejected/.unfinished-a.tab.parquet",
    "features/f/totals.parquet",
    "counts/country-week-1/2018-03-d/totals.parquet",
    "published/country-week/v1/a.parquet",
    "models/.unfinished-training-m.pt",
    "models/m/weights.pt",
    "prefect/.staging-of-its-own/a",
    "runs/.unfinished-notes/a",
)


@given(st.sets(st.sampled_from(LEFT)), st.sets(st.sampled_from(WHOLE)))
def test_what_killed_runs_left_goes_and_all_else_stays(
    tmp_path_factory: pytest.TempPathFactory, left: set[str], whole: set[str]
) -> None:
    data = tmp_path_factory.mktemp("data")
    for name in left | whole:
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix or path.name == "a":
            path.write_text(name)
        else:
            path.symlink_to("v1")
    top = {next(p for p in (data / name, *(data / name).parents) if is_left(p)) for name in left}
    assert sorted(sweep_unfinished(data)) == sorted(top)
    files = {str(p.relative_to(data)) for p in data.rglob("*") if p.is_file() or p.is_symlink()}
    assert files == whole
    assert sweep_unfinished(data) == []


def is_left(path: Path) -> bool:
    return path.name.startswith((".staging-", UNFINISHED))


def test_what_is_swept_is_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    publish(tmp_path / "lake", "v1")
    (tmp_path / "lake" / f"{UNFINISHED}1").symlink_to("v1")
    sweep_unfinished(tmp_path)
    assert names(tmp_path / "lake" / "latest") == sorted(FILES)


@pytest.mark.parametrize("writer", WRITERS)
def test_whoever_finds_the_disk_full_the_error_is_the_same(tmp_path: Path, writer: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(bytes(1000))
    data = tmp_path / "data"
    ended = run_apart(data, source, Fault(kind="limit", at=500), run=write_by(writer))
    assert (ended.code, ended.error) == (
        1,
        f"DiskFullError: [Errno 27] no space left to write to {data} (File too large). What was "
        "published stays as it was, and nothing unfinished is left; free some space and run again",
    )


def _fail(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        pl.exceptions.ComputeError("parquet: File out of specification: line 28"),
        OSError("it is just broken"),
        ValueError("No space left on device (os error 28)"),
    ],
)
def test_errors_of_another_kind_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, saying_if_full(tmp_path):
        _fail(error)()
    assert raised.value is error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_once_and_nothing_is_left(tmp_path: Path, number: int) -> None:
    publish(tmp_path, "v1")
    error = _fail(pl.exceptions.ComputeError(f"parquet: {os.strerror(number)} (os error {number})"))
    with (
        pytest.raises(DiskFullError) as raised,
        saying_if_full(tmp_path.parent),
        publishing(tmp_path, "v2"),
    ):
        error()
    assert raised.value.errno == number
    assert str(raised.value).count("no space left") == 1
    assert names(tmp_path) == ["latest", "v1"]
