"""The lines of delimited files, slow and obvious."""

import gzip
import io
import zipfile
from dataclasses import dataclass

from features.archives import TABLE_SUFFIXES

FIELD_LIMIT = 131_072
"""Characters that a comma-separated field may have."""


@dataclass(frozen=True)
class NaiveLine:
    """A data line: its number, and its bytes if it is one line of the file."""

    number: int
    data: bytes | None


def unpacked(data: bytes) -> list[bytes]:
    """The tables in a file that could be read: itself, or those in a gzip or zip."""
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(TABLE_SUFFIXES)]
            kept = [name for name in names if "__MACOSX" not in name and "readme" not in name]
            return [archive.read(name) for name in sorted(kept)]
    return [gzip.decompress(data)] if data.startswith(b"\x1f\x8b") else [data]


def data_lines(
    tables: list[bytes], *, has_header: bool, longest: int = 16 << 20
) -> list[NaiveLine]:
    """The data lines of tables that are read one after another."""
    found: list[NaiveLine] = []
    number = 1
    for table in tables:
        lines = physical_lines(table)
        header = lines[0].removeprefix(b"\xef\xbb\xbf") if has_header else b"\t"
        if has_header:
            lines = lines[1:]
            number += 1
        if b"\t" not in header and b"," in header:
            n_records = count_records(lines, longest)
            found += [NaiveLine(number + i, None) for i in range(n_records)]
            number += n_records
        else:
            for line in lines:
                found.append(NaiveLine(number, line))
                number += 1
    return found


def physical_lines(text: bytes) -> list[bytes]:
    """What LF parts; after the last one there is no line."""
    lines = text.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def count_records(lines: list[bytes], longest: int) -> int:
    """Number of comma-separated records; one whose quotes don't match is its first line only."""
    n_records = 0
    at = 0
    while at < len(lines):
        at += lines_of_record(lines[at:], longest) or 1
        n_records += 1
    return n_records


def lines_of_record(lines: list[bytes], longest: int) -> int | None:
    """How many lines the first record takes, a character at a time; None if it is malformed."""
    state, length = "field begins", 0
    for taken, line in enumerate(lines, start=1):
        if len(line) > longest:
            return None
        for letter in text_of(line):
            length += 1
            if state == "in quotes":
                state = "quote in quotes" if letter == '"' else "in quotes"
                length -= letter == '"'
            elif letter == ",":
                state, length = "field begins", 0
            elif state == "quote in quotes":
                if letter != '"':
                    return None
                state = "in quotes"
            elif state == "field begins" and letter == '"':
                state, length = "in quotes", 0
            else:
                state = "in field"
            if length > FIELD_LIMIT:
                return None
        if state != "in quotes":
            return taken
        length += 1
        if length > FIELD_LIMIT:
            return None
    return None


def text_of(line: bytes) -> str:
    """UTF-8 or ISO-8859-1, without its end."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("iso-8859-1")
    return text.rstrip("\r\n")
