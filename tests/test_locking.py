"""Laws of the lock: one run at a time in a data folder, and the others wait or are told which."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.locking import LOCK, BusyError, sole_run
from flows.publishing import latest
from tests.faulty_runs import (
    Fault,
    Run,
    hold,
    hold_briefly,
    run_apart,
    run_once,
    run_without_rights,
)
from tests.icews_files import bring, digests, in_order, write_file
from tests.kill_scene import unfinished


def _holding(tmp_path: Path) -> Run:
    """Return a process that holds the data folder."""
    source = tmp_path / "signals"
    source.mkdir()
    run = Run.start(tmp_path / "data", source, run=hold)
    while not (source / "held").exists():
        assert run.process.is_alive()
        time.sleep(0.001)
    return run


def _is_free(data: Path) -> bool:
    def take() -> None:
        with sole_run(data, doing="a look"):
            pass

    with ThreadPoolExecutor(1) as pool:  # What this thread holds, another doesn't.
        error = pool.submit(take).exception()
    assert error is None or isinstance(error, BusyError)
    return error is None


def test_the_second_run_refuses_and_says_who_holds_the_folder(tmp_path: Path) -> None:
    run = _holding(tmp_path)
    with pytest.raises(BusyError) as error, sole_run(tmp_path / "data", doing="me"):
        pytest.fail("two runs hold one folder")
    words = str(error.value)
    assert f"another run holds {tmp_path / 'data'}: a long run" in words
    assert f"process {run.process.pid} on {socket.gethostname()} since" in words
    assert "Nothing was changed; run again when it is done, or stop it" in words
    (tmp_path / "signals" / "release").touch()
    assert run.end().code == 0
    assert _is_free(tmp_path / "data")


def test_the_second_run_waits_and_then_does_its_own(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    write_file(source / "20180301-icews-events.tab", [("1", "2018-03-01")])
    first = _holding(tmp_path)
    second = Run.start(tmp_path / "data", source, run=run_once)
    second.wait_until(0.05)
    assert latest(tmp_path / "data" / "lake") is None
    (tmp_path / "signals" / "release").touch()
    assert (first.end().code, second.end().code) == (0, 0)
    alone = bring(tmp_path / "alone", source).lake
    assert digests(tmp_path / "data" / "lake" / "latest") == digests(alone)


def test_who_waits_is_told_once_for_whom(tmp_path: Path) -> None:
    run, told = _holding(tmp_path), list[str]()
    with (
        pytest.raises(BusyError, match=r"waited 0\.5 s"),
        sole_run(tmp_path / "data", doing="me", wait=0.5, on_wait=told.append),
    ):
        pytest.fail("two runs hold one folder")
    assert len(told) == 1
    assert told[0].startswith("waiting up to 0.5 s for another run: a long run, process ")
    (tmp_path / "signals" / "release").touch()
    run.end()


def test_the_lock_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    run = _holding(tmp_path)
    assert not _is_free(tmp_path / "data")
    run.process.kill()
    assert run.end().was_killed
    assert str(run.process.pid) in (tmp_path / "data" / LOCK).read_text()
    assert _is_free(tmp_path / "data")


def test_the_lock_goes_with_a_block_that_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), sole_run(tmp_path, doing="a test"):
        raise ZeroDivisionError
    assert _is_free(tmp_path)
    assert (tmp_path / LOCK).read_text() == ""


def test_a_flow_in_a_flow_goes_on_and_does_not_let_the_lock_go(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "alias").symlink_to("data")
    with sole_run(tmp_path / "data", doing="outer"):
        with sole_run(tmp_path / "alias", doing="inner"):
            assert '"outer"' in (tmp_path / "data" / LOCK).read_text()
        assert not _is_free(tmp_path / "data")
    assert _is_free(tmp_path / "data")


def test_two_data_folders_do_not_block_each_other(tmp_path: Path) -> None:
    with sole_run(tmp_path / "one", doing="a test"):
        assert _is_free(tmp_path / "two")
        with sole_run(tmp_path / "two", doing="a test"):
            assert not _is_free(tmp_path / "one")
            assert not _is_free(tmp_path / "two")
        assert _is_free(tmp_path / "two")
        assert not _is_free(tmp_path / "one")


def test_threads_of_a_process_exclude_each_other(tmp_path: Path) -> None:
    inside, most = list[int](), list[int]()

    def work(number: int) -> None:
        with sole_run(tmp_path, doing=f"thread {number}", wait=60):
            inside.append(number)
            time.sleep(0.002)
            most.append(len(inside))
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


@pytest.mark.parametrize("text", ["", "{", "[]", '{"doing": "a test"}'])
def test_a_holder_that_has_not_said_who_it_is_is_named_so(tmp_path: Path, text: str) -> None:
    with sole_run(tmp_path, doing="a test"), ThreadPoolExecutor(1) as pool:
        (tmp_path / LOCK).write_text(text)

        def take() -> None:
            with sole_run(tmp_path, doing="me"):
                pass

        with pytest.raises(BusyError, match="it hasn't said which"):
            pool.submit(take).result()


def test_a_full_disk_does_not_keep_a_run_from_the_lock(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ended = run_apart(data, tmp_path, Fault(kind="limit", at=0), run=hold_briefly)
    assert (ended.code, ended.error) == (0, "")


def test_no_room_for_the_lock_itself_is_said_as_such(tmp_path: Path) -> None:
    ended = run_apart(tmp_path / "data", tmp_path, Fault(kind="full", at=1), run=hold_briefly)
    assert ended.code == 1
    assert ended.error.startswith("DiskFullError: [Errno 28] no space left to write to")


def test_a_data_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o555)
    ended = run_apart(data, tmp_path, run=run_without_rights)
    assert ended.code == 1
    assert "PermissionError" in ended.error
    assert f"can't write to the data folder {data} (Permission denied)" in ended.error
    assert "choose another folder (--data)" in ended.error
    assert list(data.iterdir()) == []


FILES = {
    "events.2018.20190101000000.tab": [
        ("1", "2018-02-27"),
        ("2", "2018-03-01"),
        ("y", "2018-05-02"),
    ],
    "20180301-icews-events.tab": [("2", "2018-03-01"), ("3", "2018-03-01")],
    "20180302-icews-events.tab": [("3", "2018-03-01"), ("4", "2018-03-02")],
    "20180601-icews-events.tab": [("5", "2018-06-01"), ("late", "2018-02-28")],
    "mine.tab": [("5", "2018-06-01"), ("6", "2018-02-27")],
}


@settings(max_examples=6)
@given(
    owners=st.lists(
        st.sampled_from([(0,), (1,), (0, 1)]), min_size=len(FILES), max_size=len(FILES)
    ),
    apart=st.floats(0, 0.3),
)
def test_two_runs_at_once_over_different_files_make_the_lake_of_both(
    tmp_path_factory: pytest.TempPathFactory, owners: list[tuple[int, ...]], apart: float
) -> None:
    folder = tmp_path_factory.mktemp("both")
    sources = [folder / "0", folder / "1"]
    for (name, rows), owner in zip(FILES.items(), owners, strict=True):
        for n in owner:
            write_file(sources[n] / name, rows)
            os.utime(sources[n] / name, ns=(0, 0))
    sources = [source for source in sources if source.exists()]
    runs = [Run.start(folder / "data", source) for source in sources[:1]]
    runs[0].wait_until(apart)
    runs += [Run.start(folder / "data", source) for source in sources[1:]]
    assert [run.end().error for run in runs] == [""] * len(runs)
    at_once = bring(folder / "at-once", *sources).lake
    found = latest(folder / "data" / "lake")
    assert found is not None
    assert digests(found) == digests(at_once)
    assert in_order(found) == in_order(at_once)
    assert unfinished(folder) == []
