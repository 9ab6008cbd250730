"""Reading raw delimited tables, plain, gzip or zip, as blocks of whole lines."""

import csv
import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES: Final = 8 << 20
"""Bytes read at a time: small enough to stay in the processor's cache while it is parsed."""

TABLE_SUFFIXES: Final = (".tab", ".tsv", ".csv", ".txt")

_TAB, _NEWLINE = ord("\t"), ord("\n")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class TableFormatError(ValueError):
    """A file that does not hold the table that was expected; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Whole data lines of a table, tab-separated.

    Attributes
    ----------
    first_line
        Line number of the first line in the file; the header is line 1.
    n_lines
        Number of lines.
    data
        The lines that have as many fields as the header.
    lines
        Line number of each line in `data`, or None if `data` has all of them, in order.
    ragged
        Line number and text of each line with another number of fields.
    """

    first_line: int
    n_lines: int
    data: bytes
    lines: np.ndarray | None
    ragged: tuple[tuple[int, str], ...]

    def line_numbers(self) -> np.ndarray:
        """Return the line number of each line in `data`."""
        if self.lines is None:
            return np.arange(self.first_line, self.first_line + self.n_lines)
        return self.lines

    def text_of_lines(self, numbers: np.ndarray) -> list[str]:
        """Return the text of the lines in `data` that have these line numbers."""
        lines = self.data.split(b"\n")
        positions = np.searchsorted(self.line_numbers(), numbers)
        return [_decode(lines[i]).rstrip("\r") for i in positions]


@contextmanager
def open_table(path: Path) -> Iterator[tuple[list[str], Iterator[Block]]]:
    r"""Open a table and yield its header and its blocks of lines.

    Compression is told by the first bytes, not by the name. Fields are tab-separated with no
    quote character, as ICEWS needs, or comma-separated with quotes where the header is.

    Raises
    ------
    TableFormatError
        If there is no header line, or a zip does not hold exactly one table.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "t.tab"
    >>> _ = path.write_bytes(b"a\tb\n1\t2\n3\n")
    >>> with open_table(path) as (header, blocks):
    ...     block = next(blocks)
    >>> header, block.n_lines, block.data, block.ragged
    (['a', 'b'], 2, b'1\t2\n', ((3, '3'),))
    """
    with _open_bytes(path) as stream:
        first = stream.readline().removeprefix(_BYTE_ORDER_MARK)
        if not first.strip():
            msg = f"{path}: the file is empty: expected a header line naming its columns"
            raise TableFormatError(msg)
        text = _decode(first).rstrip("\r\n")
        if "\t" in text or "," not in text:
            header = [name.strip().strip('"') for name in text.split("\t")]
            yield header, _tab_blocks(stream, len(header))
        else:
            header = next(csv.reader([text]))
            yield header, _csv_blocks(stream, len(header), path)


@contextmanager
def _open_bytes(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic.startswith(b"PK"):
            with zipfile.ZipFile(raw) as archive, archive.open(_only_table(path, archive)) as inner:
                yield cast("BinaryIO", inner)
        elif magic.startswith(b"\x1f\x8b"):
            with gzip.open(raw) as inner_gzip:
                yield cast("BinaryIO", inner_gzip)
        else:
            yield raw


def _only_table(path: Path, archive: zipfile.ZipFile) -> str:
    names = [
        name
        for name in archive.namelist()
        if PurePosixPath(name).suffix.lower() in TABLE_SUFFIXES and not name.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        found = ", ".join(archive.namelist()) or "nothing"
        msg = f"{path}: the archive must hold exactly one of {TABLE_SUFFIXES}; it holds {found}"
        raise TableFormatError(msg)
    return names[0]


def _tab_blocks(stream: BinaryIO, n_fields: int) -> Iterator[Block]:
    line = 2
    while chunk := _read_lines(stream):
        block = _checked(chunk if chunk.endswith(b"\n") else chunk + b"\n", line, n_fields)
        line += block.n_lines
        yield block


def _read_lines(stream: BinaryIO) -> bytes:
    """Read `BLOCK_BYTES` and on to the end of a line, where possible without copying them."""
    if not isinstance(stream, io.BufferedReader):
        return stream.read(BLOCK_BYTES) + stream.readline()
    start = stream.tell()
    stream.seek(start + BLOCK_BYTES)
    stream.readline()
    end = stream.tell()
    stream.seek(start)
    return stream.read(end - start)


def _checked(data: bytes, first_line: int, n_fields: int) -> Block:
    """Set apart the lines whose number of fields isn't the header's."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets == _NEWLINE)
    fits = np.diff(_tabs_before(octets, ends), prepend=0) == n_fields - 1
    if fits.all():
        return Block(first_line=first_line, n_lines=len(ends), data=data, lines=None, ragged=())
    return _split_ragged(data, first_line, fits)


def _tabs_before(octets: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the tabs before each position, by words of 64 bits, one for each octet."""
    bits = np.packbits(octets == _TAB, bitorder="little")
    words = np.zeros(len(bits) // 8 + 1, "<u8")
    words.view(np.uint8)[: len(bits)] = bits
    in_word = np.bitwise_count(words)
    before_word = np.cumsum(in_word, dtype=np.int64) - in_word
    word, bit = positions >> 6, (positions & 63).astype(np.uint64)
    lower = words[word] & ((np.uint64(1) << bit) - np.uint64(1))
    before: NDArray[np.int64] = before_word[word] + np.bitwise_count(lower)
    return before


def _split_ragged(data: bytes, first_line: int, fits: NDArray[np.bool_]) -> Block:
    lines = data.split(b"\n")[:-1]
    odd = tuple(
        (first_line + int(i), _decode(lines[i]).rstrip("\r")) for i in np.flatnonzero(~fits)
    )
    kept = np.flatnonzero(fits)
    return Block(
        first_line=first_line,
        n_lines=len(lines),
        data=b"".join(lines[i] + b"\n" for i in kept),
        lines=kept + first_line,
        ragged=odd,
    )


def recode(data: bytes) -> bytes:
    r"""Return `data` in UTF-8, reading each line that isn't in UTF-8 as ISO-8859-1.

    Examples
    --------
    >>> recode("Bogotá\n".encode("latin-1") + "Köln\n".encode()).decode()
    'Bogotá\nKöln\n'
    """
    return "\n".join(_decode(line) for line in data.split(b"\n")).encode()


def _decode(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("iso-8859-1")


def _csv_blocks(stream: BinaryIO, n_fields: int, path: Path) -> Iterator[Block]:
    """Turn quoted, comma-separated records into tab-separated lines, one a record."""
    line, size, records = 2, 0, list[str]()
    for record in _csv_records(stream, path):
        records.append(record)
        size += len(record)
        if size >= BLOCK_BYTES:
            yield _checked(("\n".join(records) + "\n").encode(), line, n_fields)
            line, size, records = line + len(records), 0, []
    if records:
        yield _checked(("\n".join(records) + "\n").encode(), line, n_fields)


def _csv_records(stream: BinaryIO, path: Path) -> Iterator[str]:
    spaces = str.maketrans("\t\r\n", "   ")
    try:
        for record in csv.reader(_decode(line) for line in stream):
            yield "\t".join(field.translate(spaces) for field in record)
    except csv.Error as error:
        msg = f"{path}: not comma-separated as its header is: {error}; is a quote left open?"
        raise TableFormatError(msg) from error
