"""A file on its way here: what has arrived of it, where it goes on, and when it is whole."""

import os
import re
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import Final, NoReturn

import httpx

from flows.dataverse_listing import RemoteFile
from flows.patience import TransientError

_PART: Final = re.compile(r"\.(?P<name>.+)\.(?P<id>\d+)\.part", re.DOTALL)
_RANGE: Final = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<size>\d+|\*)")
_UNSATISFIED: Final = re.compile(r"bytes \*/(?P<size>\d+)")


class PartialFile:
    """What has arrived of a file, in ``.NAME.ID.part`` beside its place.

    ID is Dataverse's, which stands for the bytes: what is left of a file that was replaced since
    is never gone on with.

    Parameters
    ----------
    file
        What is fetched.
    folder
        Where to.
    """

    def __init__(self, file: RemoteFile, folder: Path) -> None:
        self.file = file
        self.path = folder / f".{file.name}.{file.id}.part"
        self.target = folder / file.name
        self._goes_on = True
        self._etag: str | None = None

    @property
    def n_bytes(self) -> int:
        """How many bytes are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def is_whole(self) -> bool:
        """Whether no byte is missing, as far as the size is listed."""
        return self.path.exists() and self.n_bytes == self.file.size

    def headers(self) -> dict[str, str]:
        """Return the headers of a request for the bytes that are missing."""
        asked = {"Accept-Encoding": "identity"}
        too_many = self.file.size is not None and self.n_bytes > self.file.size
        if not self._goes_on or not self.n_bytes or too_many:
            return asked
        asked["Range"] = f"bytes={self.n_bytes}-"
        if self._etag is not None:
            asked["If-Range"] = self._etag
        return asked

    def receive(self, response: httpx.Response, *, check: Callable[[], None]) -> None:
        """Append what a response brings, or begin anew with it where it isn't what is missing.

        Every byte is handed to the system as it comes, so that a killed run loses none.

        Parameters
        ----------
        response
            To a request with `headers`, its body not yet read.
        check
            Called before each piece is written; what it raises ends the transfer.

        Raises
        ------
        TransientError
            If the response can't be used, or ends early.
        OSError
            If a byte can't be written.
        """
        start = self._start_of(response)
        if start is None:
            return
        etag = response.headers.get("etag", "")
        self._etag = etag if etag.startswith('"') else None
        with self.path.open("r+b" if start else "wb", buffering=0) as file:
            file.seek(start)
            self._write(file, response.iter_raw(), start, check)
        if self.file.size is not None and not self.is_whole:
            msg = f"the body ended after {self.n_bytes} of {self.file.size} bytes"
            raise TransientError(msg)

    def _write(
        self, file: FileIO, chunks: Iterable[bytes], start: int, check: Callable[[], None]
    ) -> None:
        n_bytes = start
        for chunk in chunks:
            check()
            n_bytes += len(chunk)
            if self.file.size is not None and n_bytes > self.file.size:
                self._goes_on = False
                msg = f"the body goes on after the {self.file.size} bytes that are listed"
                raise TransientError(msg)
            left = memoryview(chunk)
            while left:
                left = left[file.write(left) :]

    def _start_of(self, response: httpx.Response) -> int | None:
        """Return which byte the body begins with; None if there is nothing to come."""
        here = self.n_bytes if "range" in response.request.headers else 0
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            found = _UNSATISFIED.fullmatch(response.headers.get("content-range", ""))
            if here and found and int(found["size"]) == here:
                return None
            self._refuse(f"the server has no bytes from {here} on")
        start = 0
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            given = response.headers.get("content-range", "")
            found = _RANGE.fullmatch(given)
            if not found or int(found["first"]) != here or not self._can_be(found["size"]):
                self._refuse(f"asked for the bytes from {here} on, got {given!r:.50}")
            start = here
        self._check_length(response, start)
        return start

    def _can_be(self, size: str) -> bool:
        return size == "*" or self.file.size is None or int(size) == self.file.size

    def _check_length(self, response: httpx.Response, start: int) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            self._refuse("the body is compressed, which was not asked for")
        length = response.headers.get("content-length")
        if length is None or self.file.size is None or start + int(length) == self.file.size:
            return
        # An error page with status 200, or a part of the file from a Dataverse before 5.11, which
        # answers 200 to a request for a part.
        self._refuse(f"the body has {length} bytes in place of {self.file.size - start}")

    def _refuse(self, message: str) -> NoReturn:
        """Give a response up; the next request is for the whole file."""
        self._goes_on = False
        raise TransientError(message)

    def discard(self) -> None:
        """Remove what has arrived; the next request is for the whole file."""
        self.path.unlink(missing_ok=True)

    def put_in_place(self) -> None:
        """Give the file its name, once all of it is on the disk."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_outdated_parts(folder: Path, files: Iterable[RemoteFile]) -> None:
    """Remove what has arrived of files that were replaced by these before they were whole."""
    newest = {file.name: str(file.id) for file in files}
    for path in folder.glob(".*.part"):
        found = _PART.fullmatch(path.name)
        if found and newest.get(found["name"], found["id"]) != found["id"]:
            path.unlink()
