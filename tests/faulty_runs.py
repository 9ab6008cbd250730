"""Runs in processes of their own, without Prefect, each befallen by a fault if one is given."""

import ctypes
import errno
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow.parquet as pq

from features.ingest import IngestConfig
from flows.counting import CountStore
from flows.lake import Lake
from flows.lake_update import update_lake
from flows.locking import sole_run
from flows.publishing import latest, saying_if_full, sweep_unfinished

Kind = Literal["moment", "change", "size", "full", "refused", "limit"]
WRITERS = ("polars parquet", "polars ipc", "pyarrow", "bytes", "copies")
_CHANGES = frozenset(
    {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "write"}
)
_REMOVALS = frozenset({"os.remove", "os.rmdir"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_WITHOUT_LIMIT = resource.RLIM_INFINITY
_PLACES = {
    r"\.lock": "taking the lock",
    r"(?:remove|rmdir) \S*\.staging-": "removing what was staged",
    r"(?:remove|rmdir) \S*lake/\.unfinished-[^/ ]+(?:/[^/ ]+)? ": "removing a version",
    r"(?:remove|rmdir) \S*counts/\S*\.unfinished-": "removing old counts",
    r"rename \S*lake/[^.]": "removing a version",
    r"rename \S*counts/[^/]+/[^./]+ ": "removing old counts",
    r"rename \S*lake/\.unfinished-[0-9a-f]{16}-[0-9a-f]{8} ": "publishing the version",
    r"(?:symlink|rename) \S*lake/": "pointing latest to it",
    r"\.staging-": "reading files",
    r"lake/\.unfinished-": "writing the version",
    r"rename \S*counts/": "publishing counts",
    r"counts/": "writing counts",
    r"mkdir": "making folders",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What befalls a run.

    Attributes
    ----------
    kind
        Killed at a ``moment`` (a share of an undisturbed run's time), before a ``change`` to a
        folder (its number), or where a file reaches a ``size`` (in bytes). The disk is ``full``
        from a change on, or a change is ``refused`` for want of space once, or no file may exceed
        a ``limit`` (in bytes).
    at
        The moment, the number or the bytes.
    since
        The change from which on the bytes are limited; from the beginning if 0.
    """

    kind: Kind
    at: float
    since: int = 0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run in a process of its own ended.

    Attributes
    ----------
    code
        Exit code; negative for the signal that killed it.
    error
        What it raised.
    changes
        How many changes to folders it made.
    last
        The last of them.
    seconds
        How long it took.
    """

    code: int
    error: str
    changes: int
    last: str
    seconds: float

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        return self.code in {-signal.SIGKILL, -signal.SIGXFSZ}

    @property
    def place(self) -> str:
        """What it was doing."""
        if not self.changes:
            return "before all"
        found = (name for pattern, name in _PLACES.items() if re.search(pattern, self.last))
        return next(found, self.last)


def update_once(data: Path, source: Path) -> None:
    """Do what the update flow does, without Prefect, for countries by week."""
    import torch  # seconds to import, and threads that must not be there when processes fork

    from flows.rescoring import publish_changes
    from flows.scorer import SCORER, Scorer

    torch.set_num_threads(1)
    dataset = data / "published" / "country-week"
    with sole_run(data, doing="an update"):
        sweep_unfinished(data)
        result = update_lake(data / "lake", [source], IngestConfig())
        folder, lake = latest(dataset), Lake.read(result.lake)
        assert folder is not None
        scorer = Scorer.load(folder / SCORER)
        config = scorer.config
        store = CountStore(
            root=data / "counts",
            entity=config.entity,
            step=config.step,
            fields=config.vocabulary.fields,
        )
        store.count(lake)
        publish_changes(scorer, lake, store, dataset, device="cpu")


def run_once(data: Path, source: Path, *, wait: float = 60) -> None:
    """Do what a nightly run does as far as counts, in this process and without Prefect."""
    with sole_run(data, doing="a run", wait=wait):
        sweep_unfinished(data)
        result = update_lake(data / "lake", [source], IngestConfig())
        count_store(data).count(Lake.read(result.lake))


def hold(data: Path, source: Path) -> None:
    """Hold a data folder until there is a file ``release`` in the source; say so in ``held``."""
    with sole_run(data, doing="a long run", wait=60):
        (source / "held").write_text(str(os.getpid()))
        while not (source / "release").exists():
            time.sleep(0.001)


def hold_briefly(data: Path, source: Path) -> None:
    """Hold a data folder and let it go."""
    with sole_run(data, doing=f"a look at {source}"):
        pass


def write_by(writer: str) -> Callable[[Path, Path], None]:
    """Return what writes more than a few bytes by one of the writers of a run, with its own error.

    It is told by name, so that another process can do it.
    """
    return partial(_write_by, writer)


def _write_by(writer: str, data: Path, source: Path) -> None:
    data.mkdir()
    rows = pl.DataFrame({"text": [str(n) for n in range(10_000)]})
    table = rows.to_arrow()
    writers: dict[str, Callable[[], object]] = {
        "polars parquet": lambda: rows.write_parquet(data / "rows.parquet"),
        "polars ipc": lambda: rows.write_ipc(data / "rows.arrow"),
        "pyarrow": lambda: pq.write_table(table, data / "rows.parquet"),
        "bytes": lambda: (data / "rows").write_bytes(bytes(10_000)),
        "copies": lambda: shutil.copytree(source, data / "copies"),
    }
    with saying_if_full(data):
        writers[writer]()


def without_rights() -> None:
    """Have this process heed the permissions of files, even if it is the superuser's."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "can't give up capabilities")


def run_without_rights(data: Path, source: Path) -> None:
    """Run as a user that isn't the superuser."""
    without_rights()
    run_once(data, source)


def count_store(data: Path) -> CountStore:
    """Return where a run keeps its counts."""
    return CountStore(root=data / "counts", entity="country", step="week", fields=("event_code",))


class _Watch:
    """An audit hook that counts a run's changes to folders, and does what a fault says to one."""

    def __init__(self, fault: Fault | None, shared: "_Shared") -> None:
        self._fault, self._shared = fault, shared
        self._removed = ""

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "shutil.rmtree":
            self._removed = str(args[0])
        is_opened = event == "open" and isinstance(args[2], int) and args[2] & _WRITING
        if not (is_opened or event in _CHANGES):
            return
        self._shared.changes += 1
        self._shared.last = f"{event} {self._described(event, args)}".encode()[:1000]
        if self._fault is not None:
            self._befall(self._fault, event)

    def _described(self, event: str, args: tuple[Any, ...]) -> str:
        path = os.fsdecode(args[0]) if isinstance(args[0], str | bytes | os.PathLike) else "?"
        if event in _REMOVALS and "/" not in path:
            path = f"{self._removed}/{path}"
        if event in {"os.link", "os.symlink"}:
            return f"{os.fsdecode(args[1])} "
        return f"{path} {os.fsdecode(args[1]) if event == 'os.rename' else ''}"

    def _befall(self, fault: Fault, event: str) -> None:
        number = self._shared.changes
        if fault.kind == "change" and number == fault.at:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind in {"size", "limit"} and number == fault.since:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(fault.at), _WITHOUT_LIMIT))
        if event in _REMOVALS:
            return
        if fault.kind == "full" and number >= fault.at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, _WITHOUT_LIMIT))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault.kind == "refused" and number == fault.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Shared(ctypes.Structure):
    """What a run says of itself to the process that started it, in memory that both see."""

    _fields_ = (
        ("began", ctypes.c_double),
        ("ended", ctypes.c_double),
        ("changes", ctypes.c_int64),
        ("last", ctypes.c_char * 1001),
        ("error", ctypes.c_char * 4001),
    )


def _announced(write: Callable[..., Any]) -> Callable[..., Any]:
    """Have a write by polars or pyarrow, which Python doesn't see, count as a change."""

    @wraps(write)
    def announcing(self: Any, where: Any, *args: Any, **kwargs: Any) -> Any:
        sys.audit("write", str(where))
        return write(self, where, *args, **kwargs)

    return announcing


def _child(
    data: Path, source: Path, fault: Fault | None, shared: _Shared, run: Callable[..., None]
) -> None:
    """Run in a process of its own."""
    pl.DataFrame.write_parquet = _announced(pl.DataFrame.write_parquet)  # type: ignore[method-assign]
    pl.DataFrame.write_ipc = _announced(pl.DataFrame.write_ipc)  # type: ignore[method-assign]
    pq.ParquetWriter.__init__ = _announced(pq.ParquetWriter.__init__)
    os.fsync = lambda _: None  # What a killed process has written is there without.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if fault is not None and fault.kind in {"size", "limit"}:
        deadly = fault.kind == "size"
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
        if not fault.since:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(fault.at), _WITHOUT_LIMIT))
    sys.addaudithook(_Watch(fault, shared))
    shared.began = time.monotonic()
    try:
        run(data, source)
    except Exception as error:
        shared.error = f"{type(error).__name__}: {error}".encode()[:4000]
        sys.exit(1)
    finally:
        shared.ended = time.monotonic()
    if fault is not None and fault.kind == "moment":
        signal.pause()


_PROCESSES = multiprocessing.get_context("forkserver")
# What takes time to import is there in each process from the start; no thread of polars' is yet.
_PROCESSES.set_forkserver_preload(
    ["flows.lake_update", "flows.counting", "numpy.ma", "pyarrow.compute", "pydantic.dataclasses"]
)


@dataclass(frozen=True)
class Run:
    """A run in a process of its own that is going on."""

    process: Any
    shared: _Shared

    @classmethod
    def start(
        cls,
        data: Path,
        source: Path,
        fault: Fault | None = None,
        *,
        run: Callable[..., None] = run_once,
    ) -> "Run":
        """Start one; `run` is called with the data folder and the source."""
        shared = _PROCESSES.RawValue(_Shared)
        process = _PROCESSES.Process(target=_child, args=(data, source, fault, shared, run))
        process.start()
        return cls(process, shared)

    def wait_until(self, moment: float) -> None:
        """Wait until it has been running for so many seconds, or has ended."""
        while not self.shared.began and self.process.is_alive():
            time.sleep(0.0005)
        time.sleep(max(0, self.shared.began + moment - time.monotonic()))

    def end(self, *, seconds: float = 100) -> Ended:
        """Wait for its end."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"the run goes on after {seconds} s"
        shared = self.shared
        return Ended(
            code=self.process.exitcode,
            error=shared.error.decode(errors="replace"),
            changes=shared.changes,
            last=shared.last.decode(errors="replace"),
            seconds=max(0, shared.ended - shared.began),
        )


def run_apart(
    data: Path,
    source: Path,
    fault: Fault | None = None,
    *,
    takes: float = 0,
    run: Callable[..., None] = run_once,
) -> Ended:
    """Run in a process of its own, befallen by a fault; `takes` is an undisturbed run's time."""
    started = Run.start(data, source, fault, run=run)
    if fault is not None and fault.kind == "moment":
        started.wait_until(fault.at * takes)
        started.process.kill()
    return started.end()
