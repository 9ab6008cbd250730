"""The lines of a delimited table as they come, however long they are, in chunks of many."""

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

LINE_BYTES: Final = 16 << 20
"""A longer line is passed over: it is rejected without being held in memory."""

CHARACTERS_KEPT: Final = 2_000
"""What is kept of the text of a rejected line."""

LINES_AT_ONCE: Final = 1 << 19
"""Lines dealt with together at most: what is noted of each outweighs a very short one itself."""

_BYTES_KEPT: Final = 4 * CHARACTERS_KEPT


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Lines as they come, tab-separated; of those passed over, which are empty, what is known.

    `passed_over` has the position of such a line among the others, the reason and its text.
    """

    data: bytes
    passed_over: Sequence[tuple[int, str, str]] = ()


def tab_chunks(stream: io.BufferedReader, pending: bytes, size: int) -> Iterator[Chunk]:
    r"""Cut a stream into chunks of about `size` bytes; `pending` comes before its first.

    Examples
    --------
    >>> [chunk.data for chunk in tab_chunks(io.BufferedReader(io.BytesIO(b"a\n12\n3")), b"", 2)]
    [b'a\n12\n', b'3\n']
    """
    while data := pending + _read_lines(stream, size):
        pending = b""
        if not data.endswith(b"\n") and not stream.peek(1):
            data += b"\n"
        end = data.rfind(b"\n") + 1
        if end:
            yield Chunk(data=data[:end])
        if end < len(data):
            too_long = (0, "line too long", _beginning(data[end : end + _BYTES_KEPT]))
            _skip_line(stream)
            yield Chunk(data=b"\n", passed_over=[too_long])


def _read_lines(stream: io.BufferedReader, size: int) -> bytes:
    """Read `size` bytes and on to the end of a line, where possible without copying them.

    There is no end of a line only where the file ends or the line is too long.
    """
    if not stream.seekable():
        return stream.read(size) + stream.readline(LINE_BYTES + 1)
    start = stream.tell()
    stream.seek(start + size)
    stream.readline(LINE_BYTES + 1)
    end = stream.tell()
    stream.seek(start)
    return stream.read(end - start)


def _skip_line(stream: io.BufferedReader) -> None:
    while (piece := stream.readline(LINE_BYTES)) and not piece.endswith(b"\n"):
        pass


def _beginning(line: bytes) -> str:
    """Return the first `CHARACTERS_KEPT` characters of a line."""
    first = line[:_BYTES_KEPT]
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(first)
    except UnicodeDecodeError:
        text = first.decode("iso-8859-1")
    return text[:CHARACTERS_KEPT]


class _LongLine(str):
    """The beginning of a line that is too long."""

    __slots__ = ()


class _TextLines(Iterator[str]):
    """The lines of a stream as text; those after the first of a failed record come again."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._again = deque[str]()
        self._taken = list[str]()

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        self._taken.append(line)
        if isinstance(line, _LongLine):
            raise csv.Error
        return line

    def _read(self) -> str:
        line = self._stream.readline(LINE_BYTES + 1)
        if not line:
            raise StopIteration
        if len(line.removesuffix(b"\n")) > LINE_BYTES:
            if not line.endswith(b"\n"):
                _skip_line(self._stream)
            return _LongLine(_beginning(line))
        return decode(line).rstrip("\r\n").replace("\r", " ") + "\n"

    def begin_record(self) -> None:
        """Forget the record before."""
        self._taken.clear()

    def give_up_record(self) -> tuple[str, str]:
        """Return why the first line of a failed record is rejected, and its text."""
        first, *others = self._taken
        self._again.extendleft(reversed(others))
        is_long = isinstance(first, _LongLine) or (
            not others and len(first) > csv.field_size_limit()
        )
        return "line too long" if is_long else "misplaced quote", first[:CHARACTERS_KEPT].rstrip(
            "\n"
        )


def csv_chunks(stream: io.BufferedReader, size: int) -> Iterator[Chunk]:
    r"""Turn quoted, comma-separated records into tab-separated lines, one a record.

    Chunks have about `size` bytes. Tabs and line ends in a field become spaces. A record whose
    quotes don't match costs its first line; reading goes on with the next.

    Examples
    --------
    >>> next(csv_chunks(io.BufferedReader(io.BytesIO(b'1,"2, 3"\n"4,5\n6,7\n')), 99))
    Chunk(data=b'1\t2, 3\n\n6\t7\n', passed_over=[(1, 'misplaced quote', '"4,5')])
    """
    lines = _TextLines(stream)
    reader = csv.reader(lines, strict=True)
    more = True
    while more:
        written, records, passed_over = 0, list[str](), list[tuple[int, str, str]]()
        while written < size and len(records) < LINES_AT_ONCE:
            lines.begin_record()
            try:
                record = _tab_separated(next(reader))
            except StopIteration:
                more = False
                break
            except csv.Error:
                record = ""
                passed_over.append((len(records), *lines.give_up_record()))
            records.append(record)
            written += len(record) + 1
        if records:
            yield Chunk(data=("\n".join(records) + "\n").encode(), passed_over=passed_over)


def _tab_separated(fields: list[str]) -> str:
    text = "\t".join(fields)
    if "\n" in text or text.count("\t") >= len(fields) > 0:
        spaces = str.maketrans("\t\n", "  ")
        return "\t".join(field.translate(spaces) for field in fields)
    return text


def recode(data: bytes) -> bytes:
    r"""Return `data` in UTF-8, reading each line that isn't in UTF-8 as ISO-8859-1.

    Examples
    --------
    >>> recode("Bogotá\n".encode("latin-1") + "Köln\n".encode()).decode()
    'Bogotá\nKöln\n'
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        return "\n".join(decode(line) for line in data.split(b"\n")).encode()
    return data


def decode(line: bytes) -> str:
    """Return a line's text, which is in UTF-8 or else in ISO-8859-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("iso-8859-1")
