"""One run at a time in a data folder: the second waits, and then refuses, saying who holds it.

The lock is the kernel's (`flock`), so that it goes with the process that holds it, however that
ends; what the file says is for people.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from flows.publishing import saying_if_full

LOCK: Final = ".lock"
_POLL_SECONDS: Final = 0.2
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


class BusyError(RuntimeError):
    """Another run holds the data folder."""


def _ignore(message: str) -> None:
    """Say nothing."""


@contextmanager
def sole_run(
    data: Path, *, doing: str, wait: float = 0, on_wait: Callable[[str], None] = _ignore
) -> Iterator[None]:
    """Hold a data folder while the block runs; a flow within a flow that holds it goes on.

    Parameters
    ----------
    data
        The folder; made if absent.
    doing
        What other runs are told.
    wait
        Seconds to wait for a run that holds it.
    on_wait
        Called once, with who that is, before waiting.

    Raises
    ------
    BusyError
        If it is still held then.
    OSError
        If the folder can't be written to.

    Examples
    --------
    >>> import tempfile
    >>> with sole_run(Path(tempfile.mkdtemp()), doing="ingest"):
    ...     pass
    """
    folder = data.resolve()
    if folder in _held.get():
        yield
        return
    with _open(folder) as file:
        _take(file, folder, wait, on_wait)
        _describe(file, doing)
        token = _held.set(_held.get() | {folder})
        try:
            yield
        finally:
            _held.reset(token)
            file.truncate(0)


def _open(folder: Path) -> IO[str]:
    with saying_if_full(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return (folder / LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            msg = (
                f"can't write to the data folder {folder} ({error.strerror}): let this user write "
                "there, or choose another folder (--data)"
            )
            raise type(error)(error.errno, msg) from error


def _take(file: IO[str], folder: Path, wait: float, on_wait: Callable[[str], None]) -> None:
    until = time.monotonic() + wait
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            left = until - time.monotonic()
            if left <= 0:
                msg = (
                    f"another run holds {folder}: {_holder(file)}. One run at a time writes to a "
                    f"data folder; waited {wait:g} s (execution.lock_wait). Nothing was changed; "
                    "run again when it is done, or stop it"
                )
                raise BusyError(msg) from None
            if not told:
                on_wait(f"waiting up to {wait:g} s for another run: {_holder(file)}")
                told = True
            time.sleep(min(_POLL_SECONDS, left))
        else:
            return


def _describe(file: IO[str], doing: str) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    holder = {"doing": doing, "process": os.getpid(), "host": socket.gethostname(), "since": since}
    file.truncate(0)
    with suppress(OSError):  # Where the disk is full, the run is to say so and not the lock.
        os.pwrite(file.fileno(), json.dumps(holder).encode(), 0)


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        said: dict[str, Any] = json.load(file)
        return f"{said['doing']}, process {said['process']} on {said['host']} since {said['since']}"
    except (ValueError, KeyError, TypeError):
        return "it hasn't said which"
