"""Reading raw delimited tables, plain, gzip or zip, as blocks of whole lines."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.archives import (
    DEFAULT_LIMITS,
    TABLE_SUFFIXES,
    ArchiveError,
    ArchiveLimits,
    TableFormatError,
    open_members,
)
from features.lines import (
    CHARACTERS_KEPT,
    LINE_BYTES,
    LINES_AT_ONCE,
    Chunk,
    csv_chunks,
    decode,
    recode,
    tab_chunks,
)

__all__ = [
    "BLOCK_BYTES",
    "LINE_BYTES",
    "TABLE_SUFFIXES",
    "ArchiveError",
    "ArchiveLimits",
    "Block",
    "TableFormatError",
    "open_table",
    "recode",
]

BLOCK_BYTES: Final = 8 << 20
"""Bytes read at a time: small enough to stay in the processor's cache while it is parsed."""

MAX_COLUMNS: Final = 10_000

_TAB, _NEWLINE, _RETURN = ord("\t"), ord("\n"), ord("\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_REJECTED_SCHEMA: Final = {"line": pl.UInt32, "reason": pl.String, "text": pl.String}

Columns = Callable[[int], Sequence[str]]


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
    rejected
        The other lines: ``line`` (its number), ``reason`` (``blank line``, ``wrong number of
        fields``, ``line too long`` or, in a comma-separated table, ``misplaced quote``) and the
        first `CHARACTERS_KEPT` characters of its ``text``, in order.
    """

    first_line: int
    n_lines: int
    data: bytes
    lines: np.ndarray | None = None
    rejected: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_REJECTED_SCHEMA))

    def line_numbers(self) -> np.ndarray:
        """Return the line number of each line in `data`."""
        if self.lines is None:
            return np.arange(self.first_line, self.first_line + self.n_lines)
        return self.lines

    def text_of_lines(self, numbers: np.ndarray) -> list[str]:
        """Return the text of the lines in `data` that have these line numbers."""
        lines = self.data.split(b"\n")
        positions = np.searchsorted(self.line_numbers(), numbers)
        return [decode(lines[i]).rstrip("\r") for i in positions]


@contextmanager
def open_table(
    path: Path,
    *,
    columns: Columns | None = None,
    several: bool = False,
    extra_tabs: bool = False,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> Iterator[tuple[list[str], Iterator[Block]]]:
    r"""Open a table and yield its header and its blocks of lines.

    Compression is told by the first bytes, not by the name. Fields are tab-separated with no
    quote character, as ICEWS needs, or comma-separated with quotes where the header is. A line
    ends in LF or CRLF; in a comma-separated table a record counts as one line. Text is in UTF-8,
    and lines that aren't are in ISO-8859-1. Memory doesn't grow with the file or with a line.

    Parameters
    ----------
    path
        The table, plain, gzip or zip.
    columns
        For tables without a header, which are tab-separated: called with the number of fields of
        the first line, it returns their names or raises `TableFormatError`. The first line is
        data then.
    several
        Whether a zip may hold several tables of the same header. They are read in order of their
        names as if they were one: each header takes a line number, and is no data.
    extra_tabs
        Whether a line may end in more tabs than the header's: they are cut off.
    limits
        What an archive may come to.

    Raises
    ------
    TableFormatError
        If there is no header line, the file is in UTF-16, its lines end in CR alone, it can't be
        read or is damaged, or the tables of an archive have different headers.
    ArchiveError
        If an archive is unsafe, goes beyond `limits` or doesn't hold what it should.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "t.tab"
    >>> _ = path.write_bytes(b"a\tb\n1\t2\n3\n")
    >>> with open_table(path) as (header, blocks):
    ...     block = next(blocks)
    >>> header, block.n_lines, block.data, block.rejected.rows()
    (['a', 'b'], 2, b'1\t2\n', [(3, 'wrong number of fields', '3')])
    """
    with open_members(path, several=several, limits=limits) as members:
        tables = (_begin(name, stream, columns, extra_tabs=extra_tabs) for name, stream in members)
        first = next(tables)
        yield first.header, _blocks(chain([first], tables), first, extra_tabs=extra_tabs)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """A table whose first line has been read; `pending` is that line where it is data."""

    name: str
    stream: io.BufferedReader
    header: list[str]
    has_commas: bool
    pending: bytes


def _begin(
    name: str, stream: io.BufferedReader, columns: Columns | None, *, extra_tabs: bool
) -> _Table:
    line = stream.readline(LINE_BYTES + 1)
    if fault := _fault(line, has_header=columns is None):
        raise TableFormatError(f"{name}: {fault}")
    first = line.removeprefix(_BYTE_ORDER_MARK)
    text = decode(first).rstrip("\r\n")
    if columns:
        names, pending = list(columns(text.count("\t") + 1)), first
        return _Table(name=name, stream=stream, header=names, has_commas=False, pending=pending)
    has_commas = "," in text and "\t" not in text
    try:
        names = next(csv.reader([text], strict=True)) if has_commas else text.split("\t")
    except csv.Error as error:
        msg = f"{name}: its header can't be read: {error}; expected names parted by commas"
        raise TableFormatError(msg) from error
    if not has_commas:
        names = [name.strip().strip('"') for name in names]
    while extra_tabs and len(names) > 1 and not names[-1]:
        names.pop()
    return _Table(name=name, stream=stream, header=names, has_commas=has_commas, pending=b"")


def _fault(first: bytes, *, has_header: bool) -> str | None:
    """Say why a file with this first line can't be read as a table."""
    if first.startswith(_UTF16_MARKS) or first.count(0) * 4 > len(first):
        return (
            "its first line is in UTF-16, or no text at all: expected UTF-8; convert it, such as "
            "by iconv -f UTF-16 -t UTF-8"
        )
    if not first.removeprefix(_BYTE_ORDER_MARK).strip():
        return "the file is empty: expected a header line naming its columns"
    if has_header and b"\r" in first.rstrip(b"\r\n"):
        return (
            "its lines end in CR alone: expected LF or CRLF; convert it, such as by tr '\\r' '\\n'"
        )
    n_columns = 1 + (first.count(b"\t") or first.count(b","))
    if len(first.removesuffix(b"\n")) > LINE_BYTES or n_columns > MAX_COLUMNS:
        return (
            f"its first line has {n_columns} fields, {len(first)} bytes or more: expected at most "
            f"{MAX_COLUMNS} fields, {LINE_BYTES} bytes; is it a table?"
        )
    return None


def _blocks(tables: Iterator[_Table], first: _Table, *, extra_tabs: bool) -> Iterator[Block]:
    line, n_fields = 1, len(first.header)
    for table in tables:
        if (table.header, table.has_commas) != (first.header, first.has_commas):
            msg = (
                f"{table.name}: its header differs from that of {first.name}: got {table.header}, "
                f"expected {first.header}"
            )
            raise TableFormatError(msg)
        line += not table.pending
        for chunk in _chunks(table):
            data = _without_extra_tabs(chunk.data, n_fields) if extra_tabs else chunk.data
            for block in _checked(data, chunk.passed_over, line, n_fields):
                line += block.n_lines
                yield block


def _chunks(table: _Table) -> Iterator[Chunk]:
    if table.has_commas:
        return csv_chunks(table.stream, BLOCK_BYTES)
    return tab_chunks(table.stream, table.pending, BLOCK_BYTES)


def _without_extra_tabs(data: bytes, n_fields: int) -> bytes:
    """Cut off the tabs at the end of lines that have too many fields."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets == _NEWLINE)
    before = _tabs_before(octets, ends)
    extra = np.maximum(np.diff(before, prepend=0) - (n_fields - 1), 0)
    stops = ends - (octets[ends - 1] == _RETURN)
    starts = stops - extra
    bare = (extra > 0) & (before - _tabs_before(octets, starts) == extra)
    bare &= _sizes(ends) <= LINE_BYTES
    if not bare.any():
        return data
    steps = np.zeros(len(octets) + 1, np.int8)
    steps[starts[bare]], steps[stops[bare]] = 1, -1
    kept: NDArray[np.uint8] = octets[np.cumsum(steps[:-1], dtype=np.int8) == 0]
    return kept.tobytes()


def _checked(
    data: bytes, passed_over: Sequence[tuple[int, str, str]], first_line: int, n_fields: int
) -> Iterator[Block]:
    """Set apart the lines whose number of fields isn't the header's, and those too long."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets == _NEWLINE)
    if len(ends) > LINES_AT_ONCE:
        cuts = [0, *(ends[LINES_AT_ONCE - 1 : -1 : LINES_AT_ONCE] + 1), len(data)]
        for i, (start, stop) in enumerate(pairwise(cuts)):
            yield from _checked(data[start:stop], (), first_line + i * LINES_AT_ONCE, n_fields)
        return
    fits = np.diff(_tabs_before(octets, ends), prepend=0) == n_fields - 1
    if len(data) > LINE_BYTES:
        fits &= _sizes(ends) <= LINE_BYTES
    fits[[position for position, _, _ in passed_over]] = False
    if fits.all():
        yield Block(first_line=first_line, n_lines=len(ends), data=data)
        return
    kept = np.repeat(fits, _sizes(ends) + 1)
    rejected = _rejected(octets[~kept].tobytes(), np.flatnonzero(~fits))
    if passed_over:
        own = pl.DataFrame(passed_over, schema=_REJECTED_SCHEMA, orient="row")
        rejected = pl.concat([rejected.join(own, on="line", how="anti"), own]).sort("line")
    yield Block(
        first_line=first_line,
        n_lines=len(ends),
        data=octets[kept].tobytes(),
        lines=np.flatnonzero(fits) + first_line,
        rejected=rejected.with_columns(pl.col("line") + first_line),
    )


def _sizes(ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bytes of each line without its end."""
    sizes: NDArray[np.int64] = np.diff(ends, prepend=-1) - 1
    return sizes


def _rejected(data: bytes, positions: NDArray[np.int64]) -> pl.DataFrame:
    """Say of each line of `data` why it can't be used."""
    sizes = _sizes(np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE))
    text = pl.Series([recode(data[:-1]).decode()]).str.split("\n").explode()
    lines = pl.DataFrame({"line": positions, "size": sizes, "text": text})
    blank = pl.col("text").str.strip_chars() == ""
    reason = (
        pl.when(pl.col("size") > LINE_BYTES)
        .then(pl.lit("line too long"))
        .when(blank)
        .then(pl.lit("blank line"))
        .otherwise(pl.lit("wrong number of fields"))
    )
    return lines.select(
        pl.col("line").cast(pl.UInt32),
        reason.alias("reason"),
        pl.col("text").str.strip_chars_end("\r").str.slice(0, CHARACTERS_KEPT),
    )


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
