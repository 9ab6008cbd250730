"""Opening raw files, plain, gzip or zip, without believing what an archive says of itself."""

import gzip
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, Final, cast

TABLE_SUFFIXES: Final = (".tab", ".tsv", ".csv", ".txt")

FREE_BYTES: Final = 64 << 20
"""What any archive may come to: a small one of many equal lines is no bomb."""

_BUFFER_BYTES: Final = 128 << 10
_READING_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)

_FORMS: Final = {
    "zip": rb"PK(?:\x03\x04|\x05\x06|\x07\x08)",
    "gzip": rb"\x1f\x8b",
    "bzip2": rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",
    "xz": rb"\xfd7zXZ\x00",
    "Zstandard": rb"\x28\xb5\x2f\xfd",
    "7-Zip": rb"7z\xbc\xaf\x27\x1c",
    "RAR": rb"Rar!\x1a\x07",
    "compress": rb"\x1f\x9d",
    "tar": rb"(?s:.{257})ustar",
}
_NO_TABLE: Final = re.compile(r"^__MACOSX/|(?:^|/)(?:\._|readme|licen[cs]e)", re.IGNORECASE)


class TableFormatError(ValueError):
    """A file that does not hold the table that was expected; the message says why."""


class ArchiveError(TableFormatError):
    """An archive that is unsafe to read, or holds something else than tables."""


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """How much the tables of an archive may come to, counted while they are read.

    Attributes
    ----------
    max_bytes
        Bytes of all its tables together. All of ICEWS is 5 GB.
    max_ratio
        Bytes of its tables for each of its own, beyond `FREE_BYTES`. Tables of events shrink to a
        fifth or a twentieth; deflate can't shrink anything to less than 1/1032, so that a bomb
        lies between.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_bytes: int = 64 << 30
    max_ratio: float = 200.0

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.max_ratio < 1:
            msg = (
                f"max_bytes={self.max_bytes} and max_ratio={self.max_ratio}: expected at least 1 "
                f"of each; the defaults are {type(self).max_bytes} and {type(self).max_ratio}"
            )
            raise ValueError(msg)


DEFAULT_LIMITS: Final = ArchiveLimits()


@contextmanager
def open_members(
    path: Path, *, several: bool = False, limits: ArchiveLimits = DEFAULT_LIMITS
) -> Iterator[Iterator[tuple[str, io.BufferedReader]]]:
    """Open a raw file and yield its tables, each as its name for messages and its bytes.

    Compression is told by the first bytes, not by the name. Nothing is written anywhere. A table
    can be read until the next one is asked for.

    Parameters
    ----------
    path
        A plain file, a gzip of one, or a zip with tables among its members; other members don't
        matter.
    several
        Whether a zip may hold several tables; they come in order of their names.
    limits
        What the tables of an archive may come to.

    Raises
    ------
    ArchiveError
        When the first table is asked for: if an archive has members with unsafe or equal names,
        links, encrypted members, another archive where the table should be, no table or too many,
        or if the file is of a kind that isn't read. While a table is read: if it goes beyond
        `limits`.
    TableFormatError
        If the file can't be read or is damaged, whenever that shows.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "t.zip"
    >>> with zipfile.ZipFile(path, "w") as archive:
    ...     archive.writestr("README.txt", "About it.")
    ...     archive.writestr("b.tab", "2")
    ...     archive.writestr("a.tab", "1")
    >>> with open_members(path, several=True) as tables:
    ...     [table.read() for _, table in tables]
    [b'1', b'2']
    """
    with reading(path):
        raw = path.open("rb")
    with raw, closing(_members(raw, path, several=several, limits=limits)) as members:
        yield members


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in reading `path` into a `TableFormatError` that names it."""
    try:
        yield
    except TableFormatError:
        raise
    except _READING_ERRORS as error:
        msg = (
            f"{path}: can't be read: {str(error) or type(error).__name__}; is it damaged, or only "
            "half there? Fetch it again, or leave it out"
        )
        raise TableFormatError(msg) from error


def _members(
    raw: BinaryIO, path: Path, *, several: bool, limits: ArchiveLimits
) -> Generator[tuple[str, io.BufferedReader]]:
    meter = _Meter(path, os.fstat(raw.fileno()).st_size, limits)
    plain: io.BufferedReader = io.BufferedReader(_Source(raw, path, None))
    form = _form(plain)
    if form == "zip":
        with reading(path):
            archive = zipfile.ZipFile(raw)
        with archive:
            for info in _tables(path, archive, several=several):
                with reading(path):
                    inner = archive.open(info)
                with inner:
                    source = _Source(cast("BinaryIO", inner), path, meter)
                    yield f"{path}: {info.filename}", _unpacked(source, path)
    elif form == "gzip":
        raw.seek(0)
        with gzip.open(raw) as inner_gzip:
            source = _Source(cast("BinaryIO", inner_gzip), path, meter)
            yield str(path), _unpacked(source, path)
    elif form:
        msg = f"{path}: a {form} file, which isn't read: unpack it, or recompress it as zip or gzip"
        raise ArchiveError(msg)
    else:
        yield str(path), plain


def _form(stream: io.BufferedReader) -> str | None:
    """Return which kind of archive a stream is by its first bytes; none of them is taken."""
    first = stream.peek(512)
    return next((form for form, magic in _FORMS.items() if re.match(magic, first)), None)


def _unpacked(source: "_Source", path: Path) -> io.BufferedReader:
    stream: io.BufferedReader = io.BufferedReader(source, _BUFFER_BYTES)
    if form := _form(stream):
        msg = f"{path}: a {form} archive inside an archive: unpack the outer one"
        raise ArchiveError(msg)
    return stream


def _tables(path: Path, archive: zipfile.ZipFile, *, several: bool) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    for info in infos:
        if fault := _fault(info):
            msg = f"{path}: the archive's member {info.orig_filename!r} {fault}; it is not read"
            raise ArchiveError(msg)
    count = Counter(str(PurePosixPath(info.filename)) for info in infos)
    if twice := [name for name, n in count.items() if n > 1]:
        msg = (
            f"{path}: the archive holds {twice[0]!r} more than once; it isn't clear which is meant"
        )
        raise ArchiveError(msg)
    tables = sorted((info for info in infos if _is_table(info)), key=lambda info: info.filename)
    if not tables or (len(tables) > 1 and not several):
        found = ", ".join(info.filename for info in infos[:30]) or "nothing"
        wanted = "at least" if several else "exactly"
        msg = f"{path}: the archive must hold {wanted} one of {TABLE_SUFFIXES}; it holds {found}"
        raise ArchiveError(msg)
    return tables


def _fault(info: zipfile.ZipInfo) -> str | None:
    """Say what is wrong with an entry of a zip's directory."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    methods = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    faults = {
        "has a backslash or a NUL in its name": "\\" in name or "\0" in name,
        "has an absolute name": name.startswith("/") or re.match(r"[A-Za-z]:", name),
        "has a name that leads out of the archive": ".." in PurePosixPath(name).parts,
        "is a link": kind == stat.S_IFLNK,
        "is no ordinary file": kind not in {0, stat.S_IFREG, stat.S_IFDIR},
        "is encrypted": info.flag_bits & 0x1,
        # The other methods are decompressed without a bound on what comes of one read.
        "isn't compressed by deflate": _is_table(info) and info.compress_type not in methods,
    }
    return next((fault for fault, found in faults.items() if found), None)


def _is_table(info: zipfile.ZipInfo) -> bool:
    suffix = PurePosixPath(info.filename).suffix.lower()
    return suffix in TABLE_SUFFIXES and not info.is_dir() and not _NO_TABLE.search(info.filename)


class _Meter:
    """Counts what an archive comes to, and stops where that is too much."""

    def __init__(self, path: Path, size: int, limits: ArchiveLimits) -> None:
        self._path, self._size, self._limits, self._bytes = path, size, limits, 0

    def add(self, n: int) -> None:
        self._bytes += n
        if self._bytes > self._limits.max_bytes:
            self._stop(f"max_bytes={self._limits.max_bytes}")
        if self._bytes > max(FREE_BYTES, self._limits.max_ratio * self._size):
            self._stop(f"max_ratio={self._limits.max_ratio:g}")

    def _stop(self, limit: str) -> None:
        msg = (
            f"{self._path}: {self._size} bytes of archive come to {self._bytes} and more, beyond "
            f"{limit}; if that is no bomb, raise the limit or unpack the file"
        )
        raise ArchiveError(msg)


class _Source(io.RawIOBase):
    """The bytes of one table: errors name the file, and what comes is counted."""

    def __init__(self, stream: BinaryIO, path: Path, meter: _Meter | None) -> None:
        self._stream, self._path, self._meter = stream, path, meter

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._meter is None and self._stream.seekable()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with reading(self._path):
            return self._stream.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        with reading(self._path):
            n: int = cast("io.BufferedIOBase", self._stream).readinto(buffer)
        if self._meter:
            self._meter.add(n)
        return n
