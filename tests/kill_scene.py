"""A lake, files that are to come into it, what these make of it, and a reader that checks it."""

import hashlib
import io
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from flows.lake import Lake
from flows.publishing import STAGING, UNFINISHED, latest
from tests.faulty_runs import Ended, count_store, run_apart


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A data folder, files that are to come into it, and what an undisturbed run makes of both.

    Attributes
    ----------
    before, after
        The data folder before and after.
    source
        The files.
    versions
        Names of the lake's version before and after.
    expected
        Digests of what there is afterwards, see `contents`.
    undisturbed
        How an undisturbed run ended, by whether it found a lake or nothing.
    """

    before: Path
    after: Path
    source: Path
    versions: tuple[str, str]
    expected: dict[str, str]
    undisturbed: dict[bool, Ended]


def contents(data: Path) -> dict[str, str]:
    """Return the digest of every file of the published lake and of the counts of its months."""
    folder = latest(data / "lake")
    assert folder is not None
    store = count_store(data)
    places = [store.place(month, record) for month, record in Lake.read(folder).months.items()]
    return {
        f"{top.name}/{path.relative_to(top)}": _sha256(path.read_bytes())
        for top in (folder, *places)
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def unfinished(data: Path) -> list[Path]:
    """Return what a run has left lying about."""
    return [path for path in data.rglob(".*") if path.name.startswith((STAGING, UNFINISHED))]


def check_version(folder: Path) -> None:
    """Read all of a version of the lake and compare it with its own records.

    Raises
    ------
    AssertionError
        If something in it is not what the records say.
    FileNotFoundError
        If something isn't there.
    """
    said: set[str] = set()
    for month, record in json.loads((folder / "months.json").read_text()).items():
        rows = {
            "events": sum(record["accepted"].values()),
            "duplicates": sum(sum(found.values()) for found in record["duplicates"].values()),
        }
        for kind, digests in record["sha256"].items():
            found = 0
            for part, digest in enumerate(digests):
                name = f"{kind}/month={month[:7]}/part-{part}.parquet"
                content = (folder / name).read_bytes()
                assert _sha256(content) == digest, name
                found += len(pq.read_table(io.BytesIO(content)))
                said.add(name)
            assert found == rows[kind], (kind, month)
    files = json.loads((folder / "files.json").read_text())["files"].values()
    ledger = pq.read_table(io.BytesIO((folder / "files.parquet").read_bytes()))
    assert ledger["accepted"].to_pylist() == [record["accepted"] for record in files]
    for record in files:
        if n := sum(record["staged"]["rejected"].values()):
            name = f"rejected/{record['staged']['name']}.parquet"
            assert len(pq.read_table(io.BytesIO((folder / name).read_bytes()))) == n, name
            said.add(name)
    there = {str(path.relative_to(folder)) for path in folder.glob("*/**/*.parquet")}
    assert there == said, sorted(there ^ said)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Reader(threading.Thread):
    """Reads what is published over and over, each time through the link, and notes what is wrong.

    Before the first version there may be none.
    """

    def __init__(self, data: Path) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.versions: list[str] = []
        self._dataset, self._stopped = data / "lake", threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            if (folder := latest(self._dataset)) is None:
                if self.versions:
                    self.faults.append(f"nothing is published after {self.versions[-1]}")
                time.sleep(0.001)
                continue
            try:
                check_version(folder)
            except (AssertionError, OSError, ValueError) as error:
                self.faults.append(f"reading {folder.name}: {type(error).__name__} {error}")
            self.versions.append(folder.name)
            time.sleep(0.01)  # Two processors are to do for both.

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@contextmanager
def reading(data: Path) -> Iterator[Reader]:
    """Have a reader read while the block runs."""
    reader = Reader(data)
    reader.start()
    try:
        yield reader
    finally:
        reader.stop()


def write_states(folder: Path) -> list[Path]:
    """Write four states of a source, each of more files than the one before.

    Into the last come a yearly file that supersedes daily ones, a file released anew, a damaged
    one and new daily files.
    """
    from tests.icews_files import write_file

    states = [folder / str(n) for n in range(4)]
    january, march = date(2018, 1, 29), date(2018, 3, 13)
    late = [("late-1", "2018-01-30"), ("late-2", "2018-01-31")]
    write_file(states[0] / "20180131-icews-events.tab", _days("a", january, 3), also=["", "x\ty"])
    write_file(states[0] / "20180201-icews-events.tab", _days("b", january + timedelta(3), 1))
    _next(states[0], states[1])
    write_file(states[1] / "20180315-icews-events.tab", [*_days("c", march, 3), late[0]])
    _next(states[1], states[2])
    write_file(
        states[2] / "20181102-icews-events.tab", [*_days("d", date(2018, 11, 1), 2), late[1]]
    )
    _next(states[2], states[3])
    yearly = [
        *_days("a", january, 2),
        *_days("y", date(2018, 3, 10), 5, per_day=20),
        *_days("z", date(2018, 4, 1), 5, per_day=20),
        *_days("y", date(2018, 10, 10), 5),
    ]
    write_file(states[3] / "events.2018.20181020000000.tab", yearly, also=["1\t2"] * 3)
    write_file(states[3] / "20180315-icews-events.tab", [*_days("c", march, 3, per_day=5), late[1]])
    write_file(states[3] / "20181103-icews-events.tab", _days("e", date(2018, 11, 3), 1), also=[""])
    write_file(states[3] / "20181104-icews-events.tab", _days("f", date(2018, 11, 2), 3))
    (states[3] / "20181105-icews-events.zip").write_bytes(b"PK\x03\x04 and then no more")
    return states


def _days(prefix: str, first: date, n: int, *, per_day: int = 6) -> list[tuple[str, str]]:
    days = (first + timedelta(i) for i in range(n))
    return [(f"{prefix}{day:%m%d}-{i}", str(day)) for day in days for i in range(per_day)]


def _next(before: Path, after: Path) -> None:
    shutil.copytree(before, after)


def make_scene(folder: Path) -> Scene:
    """Make a lake in three runs, so that the fourth has old versions to remove."""
    states, before, after = write_states(folder / "raw"), folder / "before", folder / "after"
    for state in states[:3]:
        _succeed(run_apart(before, state))
    shutil.copytree(before, after, symlinks=True)
    undisturbed = {
        is_there: _succeed(run_apart(data, states[3]))
        for is_there, data in ((True, after), (False, folder / "new"))
    }
    names = [link.readlink().name for link in (before / "lake/latest", after / "lake/latest")]
    return Scene(
        before=before,
        after=after,
        source=states[3],
        versions=(names[0], names[1]),
        expected=contents(after),
        undisturbed=undisturbed,
    )


def _succeed(ended: Ended) -> Ended:
    assert ended.code == 0, ended
    return ended


def unmended(scene: Scene, data: Path, ended: Ended) -> list[str]:
    """Say in what a data folder differs from what an undisturbed run makes."""
    if ended.code != 0:
        return [f"the next run failed: {ended}"]
    found, expected = contents(data), scene.expected
    differing = sorted(k for k in found.keys() | expected if found.get(k) != expected.get(k))
    return [
        *(f"{name} isn't what an undisturbed run makes" for name in differing),
        *(f"left unfinished: {path}" for path in unfinished(data)),
    ]
