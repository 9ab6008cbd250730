"""Laws of reading tables: every line is in one block, as fitting or as ragged, by its number."""

import csv
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import tables
from features.tables import Block, TableFormatError, open_table, recode
from tests import naive

SIZES = (1, 2, 7, 40, 8 << 20)


def read(path: Path) -> tuple[list[str], list[Block]]:
    """Read a table whole."""
    with open_table(path) as (header, blocks):
        return header, list(blocks)


def write(folder: Path, data: bytes | str, name: str = "t.tab") -> Path:
    """Write a file."""
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def fitting(blocks: list[Block]) -> dict[int, bytes]:
    """Return the lines that have as many fields as the header, by number."""
    found: dict[int, bytes] = {}
    for block in blocks:
        lines = block.data.split(b"\n")[:-1]
        found.update(zip(block.line_numbers().tolist(), lines, strict=True))
    return found


def ragged(blocks: list[Block]) -> dict[int, str]:
    """Return the other lines by number."""
    return {number: text for block in blocks for number, text in block.ragged}


def zipped(members: dict[str, str]) -> bytes:
    """Return a zip archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


# Lines and blocks


@settings(max_examples=120, deadline=None)
@given(
    lines=st.lists(st.text(alphabet="\ta\"é ,'", max_size=6), min_size=1, max_size=12),
    size=st.sampled_from(SIZES),
    ended=st.booleans(),
)
def test_every_line_is_fitting_or_ragged_whatever_the_block_size(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], size: int, *, ended: bool
) -> None:
    if not lines[-1]:
        ended = True  # an empty last line without its newline is no line
    text = ("a\tb\tc\n" + "\n".join(lines) + "\n" * ended).encode()
    path = write(tmp_path_factory.mktemp("t"), text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_BYTES", size)
        header, blocks = read(path)
    wanted_fitting, wanted_ragged = naive.split_lines(text, 3)
    assert header == ["a", "b", "c"]
    assert fitting(blocks) == wanted_fitting
    assert ragged(blocks) == {number: line.decode() for number, line in wanted_ragged.items()}
    assert sum(block.n_lines for block in blocks) == len(lines)


def test_a_line_too_long_and_one_too_short_do_not_cancel_out(tmp_path: Path) -> None:
    _, blocks = read(write(tmp_path, "a\tb\n1\t2\t3\n4\n5\t6\n"))
    assert ragged(blocks) == {2: "1\t2\t3", 3: "4"}
    assert fitting(blocks) == {4: b"5\t6"}


def test_small_blocks_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", 3)
    _, blocks = read(write(tmp_path, "a\tb\n1\t2\n3\t4\n5\t6\n"))
    assert [(block.first_line, block.n_lines) for block in blocks] == [(2, 1), (3, 1), (4, 1)]


def test_blank_lines_are_ragged(tmp_path: Path) -> None:
    _, blocks = read(write(tmp_path, "a\tb\n\n1\t2\n \n"))
    assert ragged(blocks) == {2: "", 4: " "}
    assert fitting(blocks) == {3: b"1\t2"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last", [True, False])
def test_header_without_byte_order_mark_and_line_end(
    tmp_path: Path, end: str, mark: bytes, *, last: bool
) -> None:
    text = f"a\tb{end}1\t2{end}3{end}4\t5" + end * last
    header, blocks = read(write(tmp_path, mark + text.encode()))
    assert header == ["a", "b"]
    assert sum(block.n_lines for block in blocks) == 3
    assert ragged(blocks) == {3: "3"}


def test_quotes_around_header_names_are_taken_off(tmp_path: Path) -> None:
    header, _ = read(write(tmp_path, '"a"\t"b c"\n'))
    assert header == ["a", "b c"]


def test_a_header_alone_is_a_table_without_lines(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a\tb")) == (["a", "b"], [])


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n1\t2\n"])
def test_a_file_without_header_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(TableFormatError, match=r"t\.tab: the file is empty: expected a header"):
        read(write(tmp_path, data))


def test_text_of_lines_is_that_of_the_lines_asked_for(tmp_path: Path) -> None:
    text = "a\tb\r\n1\té\r\nragged\r\n3\t4\r\n".encode("iso-8859-1")
    _, (block,) = read(write(tmp_path, text))
    assert block.text_of_lines(np.array([4, 2])) == ["3\t4", "1\té"]


# Compression


@pytest.mark.parametrize("name", ["t.tab", "t.tab.zip", "t.csv.gz", "t.txt", "t"])
@pytest.mark.parametrize("form", ["plain", "gzip", "zip"])
def test_compression_is_told_by_the_bytes_not_by_the_name(
    tmp_path: Path, name: str, form: str
) -> None:
    text = "a\tb\n1\t2\n"
    data = {
        "plain": text.encode(),
        "gzip": gzip.compress(text.encode()),
        "zip": zipped({"inner.tab": text}),
    }[form]
    header, blocks = read(write(tmp_path, data, name))
    assert header == ["a", "b"]
    assert fitting(blocks) == {2: b"1\t2"}


@pytest.mark.parametrize(
    ("members", "held"),
    [
        ({}, "nothing"),
        ({"readme.md": "x"}, "readme.md"),
        ({"a.tab": "a\tb\n", "b.tab": "a\tb\n"}, "a.tab, b.tab"),
    ],
)
def test_a_zip_without_one_table_is_refused_and_says_what_it_holds(
    tmp_path: Path, members: dict[str, str], held: str
) -> None:
    with pytest.raises(TableFormatError, match=rf"exactly one of .*; it holds {held}"):
        read(write(tmp_path, zipped(members), "t.zip"))


@pytest.mark.parametrize("inner", ["x.tab", "deep/x.TSV", "x.csv", "x.txt"])
def test_a_zip_may_hold_other_things_beside_its_table(tmp_path: Path, inner: str) -> None:
    members = {"readme.md": "x", inner: "a\tb\n1\t2\n", "__MACOSX/._x.tab": "junk"}
    header, _ = read(write(tmp_path, zipped(members), "t.zip"))
    assert header == ["a", "b"]


def test_a_gzip_cut_short_raises(tmp_path: Path) -> None:
    data = gzip.compress(np.random.default_rng(0).bytes(4000).hex().encode() + b"\n")
    with pytest.raises((EOFError, TableFormatError)):
        read(write(tmp_path, data[: len(data) // 2], "t.gz"))


def test_a_damaged_zip_raises(tmp_path: Path) -> None:
    data = zipped({"x.tab": "a\tb\n" + "1\t2\n" * 100})
    with pytest.raises(zipfile.BadZipFile):
        read(write(tmp_path, data[: len(data) // 2], "t.zip"))


# Encodings


def test_lines_of_either_encoding_are_told_apart_line_by_line() -> None:
    data = "Bogotá\n".encode("iso-8859-1") + "Köln\n".encode() + b"plain\n"
    assert recode(data).decode() == "Bogotá\nKöln\nplain\n"


@settings(max_examples=80, deadline=None)
@given(lines=st.lists(st.text(alphabet="aé\x85 \u2028ÿß\r", max_size=5), max_size=6))
def test_recoding_leaves_utf8_as_it_is_and_recovers_each_iso_8859_1_line(lines: list[str]) -> None:
    utf8 = "\n".join(lines).encode()
    assert recode(utf8) == utf8
    narrow = [line.replace("\u2028", "") for line in lines]
    wanted = []
    for line in narrow:
        data = line.encode("iso-8859-1")
        try:
            wanted.append(data.decode())
        except UnicodeDecodeError:
            wanted.append(line)
    got = recode(b"\n".join(line.encode("iso-8859-1") for line in narrow)).decode()
    assert got == "\n".join(wanted)


def test_ragged_lines_in_iso_8859_1_keep_their_text(tmp_path: Path) -> None:
    _, blocks = read(write(tmp_path, "a\tb\nCôte\n".encode("iso-8859-1")))
    assert ragged(blocks) == {2: "Côte"}


# Comma-separated


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.text(alphabet="a,\"' é", max_size=4)] * 3), min_size=1, max_size=6
    ),
    size=st.sampled_from((1, 9, 8 << 20)),
)
def test_quoted_records_become_lines_whatever_the_block_size(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], size: int
) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("x", "y", "z"), *rows])
    path = write(tmp_path_factory.mktemp("t"), text.getvalue(), "t.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_BYTES", size)
        header, blocks = read(path)
    assert header == ["x", "y", "z"]
    wanted = {number: "\t".join(row).encode() for number, row in enumerate(rows, start=2)}
    assert fitting(blocks) == wanted
    assert ragged(blocks) == {}


def test_tabs_and_line_ends_inside_quotes_become_spaces(tmp_path: Path) -> None:
    _, blocks = read(write(tmp_path, 'x,y\n"a\tb","c\nd"\n', "t.csv"))
    assert fitting(blocks) == {2: b"a b\tc d"}


def test_records_with_another_number_of_fields_and_blank_ones_are_ragged(tmp_path: Path) -> None:
    _, blocks = read(write(tmp_path, "x,y\n1\n\n1,2\n1,2,3\n", "t.csv"))
    assert ragged(blocks) == {2: "1", 3: "", 5: "1\t2\t3"}
    assert fitting(blocks) == {4: b"1\t2"}


def test_a_comma_inside_a_quoted_name_of_the_header_is_no_separator(tmp_path: Path) -> None:
    header, blocks = read(write(tmp_path, '"x","y, z"\n1,2\n', "t.csv"))
    assert header == ["x", "y, z"]
    assert fitting(blocks) == {2: b"1\t2"}


def test_comma_separated_lines_in_iso_8859_1_keep_their_letters(tmp_path: Path) -> None:
    data = "x,y\nCôte,1\n".encode("iso-8859-1") + "Köln,2\n".encode()
    _, blocks = read(write(tmp_path, data, "t.csv"))
    assert fitting(blocks) == {2: "Côte\t1".encode(), 3: "Köln\t2".encode()}


def test_a_quote_that_never_closes_is_refused_when_it_swallows_the_file(tmp_path: Path) -> None:
    text = 'x,y\n1,"2\n' + "3,4\n" * 50_000
    with pytest.raises(TableFormatError, match=r"t\.csv"):
        read(write(tmp_path, text, "t.csv"))
