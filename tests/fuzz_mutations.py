"""Ways to spoil a raw file: of its text, and of what it is packed in; each seeded."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Sequence

import numpy as np

Random = np.random.Generator
Mutation = Callable[[bytes, Random], bytes]

DATES = (
    *("2018-10-04T00:00:00Z", "2018-10-04 12:30", "20181004", "10/4/2018", "4.10.2018", "today"),
    *("04-Oct-2018", "2018-13-01", "2018-02-30", "0000-00-00", "9999-12-31", "10000-01-01"),
    *("-2018-10-04", "1538611200", "2018", "2018-W40", "201810", "٢٠١٨-١٠-٠٤", "2018-10-4"),
    *(" 2018-10-04 ", "2018/10/04", "1/1/1", "99999999", "NaT", "2018-10-04\x00", "1899-12-31"),
)
VALUES = (
    *("nan", "inf", "-inf", "1e999", "-0", "1e-400", "99999999999999999999", "0x1f", "1,5", "١٢"),
    *("TRUE", "NULL", "NA", "---", "None", "'", "\\", "\\N", "=1+1", "<script>", "%s", "${x}"),
    *(";;;", "\u2028", "\x85", "\ufeff", "\u202e", "\U0001f300", "é", "e\u0301", "\x0b\x0c\x1c"),
    *("13y", "0", "190000"),
)
EXTREME_LINE = 150_000
"""Bytes of a field that is longer than any line may be in the harness."""


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")


def _some(rng: Random, n: int, most: int = 12) -> list[int]:
    return sorted(int(i) for i in rng.integers(0, max(n, 1), int(rng.integers(1, most))))


def _separator(data: bytes) -> bytes:
    return b"\t" if b"\t" in data.split(b"\n", 1)[0] else b","


def _edit_fields(data: bytes, rng: Random, values: Sequence[bytes]) -> bytes:
    """Put values into fields picked at random, of one column or of any."""
    separator, lines = _separator(data), _lines(data)
    column = int(rng.integers(0, 60)) if rng.random() < 0.5 else None
    for i in _some(rng, len(lines)):
        fields = lines[i].split(separator)
        at = (int(rng.integers(0, 60)) if column is None else column) % len(fields)
        fields[at] = values[int(rng.integers(len(values)))]
        lines[i] = separator.join(fields)
    return b"\n".join(lines)


def _insert(data: bytes, rng: Random, pieces: Sequence[bytes]) -> bytes:
    for at in reversed(_some(rng, len(data) + 1)):
        data = data[:at] + pieces[int(rng.integers(len(pieces)))] + data[at:]
    return data


def _columns(data: bytes, rng: Random, change: Callable[[list[int]], list[int]]) -> bytes:
    """Take each line's fields by position, as `change` does with the header's."""
    separator = _separator(data)
    rows = [line.split(separator) for line in _lines(data)]
    order = change(list(range(len(rows[0]))))
    wanted = [[row[i] for i in order] if len(row) == len(rows[0]) else row for row in rows]
    return b"\n".join(separator.join(row) for row in wanted)


def encoding(data: bytes, rng: Random) -> bytes:
    """The whole text in another encoding."""
    forms = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1251", "iso-8859-1")
    return data.decode(errors="replace").encode(str(rng.choice(forms)), errors="replace")


def mixed_encodings(data: bytes, rng: Random) -> bytes:
    """Some lines in ISO-8859-1, letters with accents among them."""
    lines = _lines(data)
    for i in _some(rng, len(lines)):
        lines[i] = (lines[i].decode(errors="replace") + "é").encode("iso-8859-1", "replace")
    return b"\n".join(lines)


def invalid_bytes(data: bytes, rng: Random) -> bytes:
    """Bytes that no UTF-8 has."""
    return _insert(
        data, rng, [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5", b"\x80", b"\xe2\x82"]
    )


def nuls(data: bytes, rng: Random) -> bytes:
    """NUL bytes, alone and many."""
    return _insert(data, rng, [b"\0", b"\0\0\0\0", b"\0" * 500])


def huge_field(data: bytes, rng: Random) -> bytes:
    """Fields longer than a line may be, or just below."""
    letters = [b"x", b'"', b"\xe9", " é".encode(), b"\0"]
    sizes = (EXTREME_LINE, 90_000, 100_001, 5_000)
    pieces = [letters[int(rng.integers(5))] * int(rng.choice(sizes)) for _ in range(2)]
    if rng.random() < 0.5:
        return _edit_fields(data, rng, pieces)
    at = int(rng.integers(0, len(data) + 1))
    return data[:at] + pieces[0] + data[at:]


def missing_columns(data: bytes, rng: Random) -> bytes:
    """Columns left out, of header and lines alike, or of the header alone."""
    gone = set(_some(rng, 60, 4))
    if rng.random() < 0.3:
        header, _, rest = data.partition(b"\n")
        return _columns(header, rng, lambda order: order[:-1]) + b"\n" + rest
    return _columns(data, rng, lambda order: [i for i in order if i not in gone] or [0])


def reordered_columns(data: bytes, rng: Random) -> bytes:
    """Columns in another order."""
    return _columns(data, rng, lambda order: [int(i) for i in rng.permutation(order)])


def doubled_columns(data: bytes, rng: Random) -> bytes:
    """Columns that are there twice."""
    return _columns(data, rng, lambda order: order + [i % len(order) for i in _some(rng, 60)])


def many_columns(data: bytes, rng: Random) -> bytes:
    """Thousands of columns."""
    n = int(rng.choice([300, 3_000, 12_000]))
    return _columns(b"\n".join(_lines(data)[:5]), rng, lambda order: order + [0] * n)


def line_ends(data: bytes, rng: Random) -> bytes:
    """Every line end of another kind, or all of one."""
    ends = [b"\n", b"\r\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\x0b", "\u2028".encode()]
    if rng.random() < 0.3:
        return data.replace(b"\n", ends[int(rng.integers(len(ends)))])
    kinds = rng.integers(0, int(rng.choice([2, 3, len(ends)])), data.count(b"\n") + 1)
    return b"".join(line + ends[kind] for line, kind in zip(_lines(data), kinds, strict=True))


def dates(data: bytes, rng: Random) -> bytes:
    """Dates of every shape, in the second column or in any."""
    separator, lines = _separator(data), _lines(data)
    for i in _some(rng, len(lines), 40):
        fields = lines[i].split(separator)
        fields[min(1, len(fields) - 1)] = str(rng.choice(DATES)).encode()
        lines[i] = separator.join(fields)
    return b"\n".join(lines)


def values(data: bytes, rng: Random) -> bytes:
    """Values that are no such values."""
    return _edit_fields(data, rng, [value.encode() for value in VALUES])


def rubbish(data: bytes, rng: Random) -> bytes:
    """Random bytes in place of a part, or of all."""
    size = int(rng.integers(1, 5_000))
    at = 0 if rng.random() < 0.1 else int(rng.integers(0, len(data) + 1))
    return data[:at] + rng.bytes(size) + (b"" if rng.random() < 0.2 else data[at + size :])


def truncation(data: bytes, rng: Random) -> bytes:
    """The end cut off, or the beginning."""
    at = int(rng.integers(0, len(data) + 1))
    return data[at:] if rng.random() < 0.2 else data[:at]


def deletions(data: bytes, rng: Random) -> bytes:
    """Spans left out."""
    for at in reversed(_some(rng, len(data) + 1)):
        data = data[:at] + data[at + int(rng.choice([1, 1, 2, 50, 400])) :]
    return data


def insertions(data: bytes, rng: Random) -> bytes:
    """Random bytes put in."""
    return _insert(data, rng, [rng.bytes(int(rng.integers(1, 9))) for _ in range(8)])


def bit_flips(data: bytes, rng: Random) -> bytes:
    """Single bits turned."""
    octets = bytearray(data)
    for at in _some(rng, len(octets), 60):
        if octets:
            octets[at] ^= 1 << int(rng.integers(8))
    return bytes(octets)


def quotes(data: bytes, rng: Random) -> bytes:
    """Quotes of all kinds, open and closed."""
    return _insert(data, rng, [b'"', b'""', b'"""', b"'", b'"x"', b'","', b'"\n"', b'\\"'])


def empty_lines(data: bytes, rng: Random) -> bytes:
    """Lines without anything, or with spaces."""
    lines = _lines(data)
    for at in reversed(_some(rng, len(lines) + 1)):
        lines.insert(at, [b"", b" ", b"\t", b"\r", b"\x00", b"\xa0", b"\x0c"][int(rng.integers(7))])
    return b"\n".join(lines)


def extra_tabs(data: bytes, rng: Random) -> bytes:
    """Tabs and commas at the ends of lines, or anywhere."""
    if rng.random() < 0.5:
        return _insert(data, rng, [b"\t", b"\t\t", b",", b",,,"])
    lines = _lines(data)
    for i in _some(rng, len(lines), 60):
        lines[i] += b"\t" * int(rng.integers(1, 6)) + (b"\r" if rng.random() < 0.2 else b"")
    return b"\n".join(lines)


def separators(data: bytes, rng: Random) -> bytes:
    """Another separator, in all lines or some."""
    old, new = _separator(data), [b",", b";", b"\t", b"|", b"  "][int(rng.integers(5))]
    if rng.random() < 0.5:
        return data.replace(old, new)
    lines = _lines(data)
    for i in _some(rng, len(lines)):
        lines[i] = lines[i].replace(old, new)
    return b"\n".join(lines)


def moved_lines(data: bytes, rng: Random) -> bytes:
    """Lines shuffled, repeated, joined; the header somewhere else or again."""
    header, *lines = _lines(data)
    order = rng.integers(0, len(lines), len(lines)) if lines else np.array([], int)
    moved = [lines[int(i)] for i in order]
    moved.insert(int(rng.integers(0, len(moved) + 1)), header)
    return b"\n".join([header, *moved] if rng.random() < 0.8 else moved)


def nothing(data: bytes, rng: Random) -> bytes:
    """As it is, or next to nothing of it."""
    pieces = [
        data,
        data,
        b"",
        b"\n",
        _lines(data)[0],
        _lines(data)[0] + b"\n",
        b"\xef\xbb\xbf",
        b"\r",
    ]
    return pieces[int(rng.integers(len(pieces)))]


TEXT_MUTATIONS: tuple[Mutation, ...] = (
    encoding,
    mixed_encodings,
    invalid_bytes,
    nuls,
    huge_field,
    missing_columns,
    reordered_columns,
    doubled_columns,
    many_columns,
    line_ends,
    dates,
    values,
    rubbish,
    truncation,
    deletions,
    insertions,
    bit_flips,
    quotes,
    empty_lines,
    extra_tabs,
    separators,
    moved_lines,
    nothing,
)


def zipped(members: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members, in this order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def pack(data: bytes, rng: Random) -> bytes:
    """Plain in most cases, or as a gzip or zip."""
    extras = [("__MACOSX/._x.tab", b"\0\5"), ("readme.txt", b"x"), ("deep/", b"")]
    packings: list[Callable[[], bytes]] = [
        lambda: data,
        lambda: data,
        lambda: gzip.compress(data, 1, mtime=0),
        lambda: gzip.compress(data[:99], 1, mtime=0) + gzip.compress(data[99:], 1, mtime=0),
        lambda: zipped([("x.tab", data)]),
        lambda: zipped([("x.csv", data)], zipfile.ZIP_STORED),
        lambda: zipped([*extras, ("deep/x.TSV", data)]),
    ]
    return packings[int(rng.integers(len(packings)))]()


def flipped_archive(data: bytes, rng: Random) -> bytes:
    """Single bits of a compressed file turned."""
    return bit_flips(
        gzip.compress(data, 1, mtime=0) if rng.random() < 0.4 else zipped([("x.tab", data)]), rng
    )


def cut_archive(data: bytes, rng: Random) -> bytes:
    """A compressed file cut off, with parts left out, or with rubbish after it."""
    packed = gzip.compress(data, 1, mtime=0) if rng.random() < 0.4 else zipped([("x.tab", data)])
    changes: list[Mutation] = [
        truncation,
        deletions,
        rubbish,
        lambda packed, rng: packed + rng.bytes(int(rng.integers(1, 99))),
    ]
    return changes[int(rng.integers(4))](packed, rng)


def lying_directory(data: bytes, rng: Random) -> bytes:
    """A zip whose directory has other numbers than the truth."""
    packed = bytearray(zipped([("x.tab", data)]))
    at = packed.rindex(b"PK\x01\x02") + int(rng.integers(4, 46))
    packed[at : at + 4] = [b"\0" * 4, b"\xff" * 4, b"\x01\0\0\0", rng.bytes(4)][
        int(rng.integers(4))
    ]
    return bytes(packed)


def unsafe_members(data: bytes, rng: Random) -> bytes:
    """A zip with names that lead elsewhere, links, names twice, encrypted or odd members."""
    names = ["../x.tab", "/x.tab", "C:\\x.tab", "a\\x.tab", "a/../../x.tab", "C:x.tab", "x\0.tab"]
    link = zipfile.ZipInfo("x.tab")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, b"/etc/passwd")
    encrypted = bytearray(zipped([("x.tab", data)]))
    encrypted[6] |= 1
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    kinds = [
        zipped([(str(rng.choice(names[:-1])), data)]),
        zipped([(names[-1], data)]),
        buffer.getvalue(),
        bytes(encrypted),
        zipped([("a.tab", data), ("b.tab", data)]),
        zipped([("x.tab", data)], zipfile.ZIP_BZIP2),
        zipped([("x.tab", data)], zipfile.ZIP_LZMA),
        zipped([("x.md", data)]),
        zipped([]),
    ]
    return kinds[int(rng.integers(len(kinds)))]


def nested_archive(data: bytes, rng: Random) -> bytes:
    """An archive in an archive, or one of another kind."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("x.tab")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    packed = [zipped([("x.tab", data)]), gzip.compress(data, 1, mtime=0), tar.getvalue()]
    inner = packed[int(rng.integers(3))]
    outer = [
        zipped([("x.tab", inner)]),
        zipped([("x.zip", inner)]),
        gzip.compress(inner, 1, mtime=0),
        bz2.compress(data, 1),
        lzma.compress(data, preset=0),
        tar.getvalue(),
    ]
    return outer[int(rng.integers(len(outer)))]


ARCHIVE_MUTATIONS: tuple[Mutation, ...] = (
    flipped_archive,
    cut_archive,
    lying_directory,
    unsafe_members,
    nested_archive,
)
