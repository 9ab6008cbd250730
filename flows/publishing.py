"""Publishing a folder in one move: a reader sees the whole old version or the whole new one.

A dataset is a folder of versions and ``latest``, a symbolic link to one of them. A version is
written under a name that readers don't glob, renamed when it is whole, and the link replaced.
"""

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

from polars.exceptions import PolarsError

LATEST: Final = "latest"
VERSIONS_KEPT: Final = 3
STAGING: Final = ".staging-"
UNFINISHED: Final = ".unfinished-"
"""What begins the name of anything that a killed run may leave behind."""

_HELD: Final = ("lake", "features")
"""Folders in which only a run writes that holds the data folder alone."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ERRNO_IN_WORDS: Final = re.compile(r"(?:\[Errno |\(os error )(\d+)[\])]")


class DiskFullError(OSError):
    """There is no space left for what was to be written."""


@contextmanager
def saying_if_full(folder: Path) -> Iterator[None]:
    """Make one clear error of whatever a full disk has Python, pyarrow or polars raise.

    Polars and `shutil.copytree` say which error it was in words alone.

    Raises
    ------
    DiskFullError
        If the block raises for want of space.

    Examples
    --------
    >>> with saying_if_full(Path("data")):
    ...     raise OSError("No space left on device (os error 28)")
    Traceback (most recent call last):
    flows.publishing.DiskFullError: [Errno 28] no space left to write to data (No space left on \
device). What was published stays as it was, and nothing unfinished is left; free some space and \
run again
    """
    try:
        yield
    except DiskFullError:
        raise
    except (OSError, PolarsError) as error:
        number = _errno_of(error)
        if number not in _FULL:
            raise
        msg = (
            f"no space left to write to {folder} ({os.strerror(number)}). What was published stays "
            "as it was, and nothing unfinished is left; free some space and run again"
        )
        raise DiskFullError(number, msg) from error


def _errno_of(error: OSError | PolarsError) -> int:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _ERRNO_IN_WORDS.search(str(error))
    return int(found[1]) if found else 0


def latest(dataset: Path) -> Path | None:
    """Return the folder of the published version, or None before the first."""
    link = dataset / LATEST
    return link.resolve() if link.exists() else None


@contextmanager
def publishing(dataset: Path, version: str) -> Iterator[Path]:
    """Yield an empty folder to write a version into, and publish it when the block ends.

    Nothing is published if the block raises. The versions before the last few are removed.

    Examples
    --------
    >>> import tempfile
    >>> dataset = Path(tempfile.mkdtemp())
    >>> with publishing(dataset, "v1") as folder:
    ...     _ = (folder / "a.txt").write_text("whole")
    >>> (dataset / "latest" / "a.txt").read_text()
    'whole'
    """
    with whole_folder(dataset / version) as folder:
        yield folder
    point_latest(dataset, version)
    _remove_old(dataset)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends, and not if it raises.

    Raises
    ------
    DiskFullError
        If there is no space for it.
    """
    with saying_if_full(target.parent), _whole_folder(target) as folder:
        yield folder


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f"{UNFINISHED}{target.name}-{uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield folder
        _flush(folder)
        if target.exists():
            remove_whole(target)
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def remove_whole(folder: Path) -> None:
    """Remove a folder so that a run killed meanwhile leaves none that looks whole and isn't."""
    aside = folder.parent / f"{UNFINISHED}{folder.name}-{uuid4().hex[:8]}"
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Have the disk hold what is new in a folder before anyone is pointed to it."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_nlink == 1:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def point_latest(dataset: Path, version: str) -> None:
    """Make ``latest`` mean this version, in one move."""
    link = dataset / f"{UNFINISHED}{uuid4().hex[:8]}"
    with saying_if_full(dataset):
        link.symlink_to(version)
        try:
            link.replace(dataset / LATEST)
        except BaseException:
            link.unlink()
            raise


def sweep(data: Path, *, older_than: timedelta = timedelta(days=1)) -> list[Path]:
    """Remove what killed runs left unfinished long ago, and return what it was.

    A run that is going on is younger than that, so nothing of it is touched.
    """
    limit = time.time() - older_than.total_seconds()
    left = [
        path
        for path in data.rglob(".*")
        if path.name.startswith((UNFINISHED, STAGING)) and path.lstat().st_mtime < limit
    ]
    for path in left:
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return left


def sweep_unfinished(data: Path) -> list[Path]:
    """Remove what killed runs left unfinished in a data folder that this run holds alone.

    The state of a training that was killed stays: the next run goes on from it.
    """
    left = [
        path
        for folder in (data, *(data / name for name in _HELD), *(data.glob("counts/*")))
        if folder.is_dir()
        for path in (*folder.glob(f"{STAGING}*"), *folder.glob(f"{UNFINISHED}*"))
    ]
    left += data.glob(f"published/*/{UNFINISHED}*")
    for path in left:
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return left


def link_tree(source: Path, target: Path) -> None:
    """Make `target` have the same files as `source`, linked where the disk allows it."""
    shutil.copytree(source, target, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _remove_old(dataset: Path) -> None:
    current = latest(dataset)
    versions = [
        path
        for path in dataset.iterdir()
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(UNFINISHED)
    ]
    versions.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in versions[VERSIONS_KEPT:]:
        if path != current:
            with suppress(OSError):  # What is new is published all the same.
                remove_whole(path)
