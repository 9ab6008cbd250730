"""Publishing a folder in one move: a reader sees the whole old version or the whole new one.

A dataset is a folder of versions and ``latest``, a symbolic link to one of them. A version is
written under a name that readers don't glob, renamed when it is whole, and the link replaced.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

LATEST: Final = "latest"
VERSIONS_KEPT: Final = 3
STAGING: Final = ".staging-"
UNFINISHED: Final = ".unfinished-"
"""What begins the name of anything that a killed run may leave behind."""


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
    """Yield an empty folder that becomes `target` when the block ends, and not if it raises."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f"{UNFINISHED}{target.name}-{uuid4().hex[:8]}"
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def point_latest(dataset: Path, version: str) -> None:
    """Make ``latest`` mean this version, in one move."""
    link = dataset / f"{UNFINISHED}{uuid4().hex[:8]}"
    link.symlink_to(version)
    link.replace(dataset / LATEST)


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
            shutil.rmtree(path, ignore_errors=True)
