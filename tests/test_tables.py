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

from features import lines as lines_module
from features import tables
from features.tables import Block, TableFormatError, open_table, recode
from tests import naive, naive_tables

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
    return {number: text for block in blocks for number, _, text in block.rejected.rows()}


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
    with pytest.raises(TableFormatError, match=r"t\.gz: can't be read: Compressed file ended"):
        read(write(tmp_path, data[: len(data) // 2], "t.gz"))


def test_a_damaged_zip_raises(tmp_path: Path) -> None:
    data = zipped({"x.tab": "a\tb\n" + "1\t2\n" * 100})
    with pytest.raises(TableFormatError, match=r"t\.zip: can't be read: File is not a zip file"):
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


def test_a_quote_that_never_closes_costs_its_line_alone(tmp_path: Path) -> None:
    text = 'x,y\n1,"2\n' + "3,4\n" * 50_000
    _, (block,) = read(write(tmp_path, text, "t.csv"))
    assert block.rejected.rows() == [(2, "misplaced quote", '1,"2')]
    assert (block.n_lines, block.data) == (50_001, b"3\t4\n" * 50_000)


def test_quotes_that_do_not_match_cost_the_first_line_of_their_record(tmp_path: Path) -> None:
    text = 'x,y\n1,"2\n3,"4\n5,6\n"Joe" Hockey,7\n8,"9\n10,"\n11,12 "x"\n'
    _, (block,) = read(write(tmp_path, text, "t.csv"))
    assert block.rejected.rows() == [
        (2, "misplaced quote", '1,"2'),
        (3, "misplaced quote", '3,"4'),
        (5, "misplaced quote", '"Joe" Hockey,7'),
    ]
    assert fitting([block]) == {4: b"5\t6", 6: b"8\t9 10,", 7: b'11\t12 "x"'}


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.text(alphabet='a,"\r é', max_size=6), max_size=9),
    size=st.sampled_from((1, 9, 8 << 20)),
)
def test_records_are_those_of_a_slow_reader_whatever_their_quotes(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], size: int
) -> None:
    data = "\n".join(["x,y", *lines, ""]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_BYTES", size)
        _, blocks = read(write(tmp_path_factory.mktemp("t"), data, "t.csv"))
    wanted = naive_tables.data_lines([data], has_header=True)
    assert sorted(fitting(blocks) | ragged(blocks)) == [line.number for line in wanted]
    assert sum(block.n_lines for block in blocks) == len(wanted)


def test_a_csv_field_beyond_the_limit_costs_its_line(tmp_path: Path) -> None:
    text = "x,y\n1," + "é" * (naive_tables.FIELD_LIMIT + 1) + "\n3,4\n"
    _, (block,) = read(write(tmp_path, text, "t.csv"))
    assert block.rejected.rows() == [(2, "line too long", "1," + "é" * 1_998)]
    assert fitting([block]) == {3: b"3\t4"}


def test_a_csv_header_whose_quotes_do_not_match_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableFormatError, match=r"t\.csv: its header can't be read"):
        read(write(tmp_path, 'x,"y\n1,2\n', "t.csv"))


# Lines that are too long


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no line be longer than ten bytes."""
    for module in (tables, lines_module):
        monkeypatch.setattr(module, "LINE_BYTES", 10)


@pytest.mark.usefixtures("short_lines")
@pytest.mark.parametrize("size", [1, 5, 11, 30, 8 << 20])
@pytest.mark.parametrize("form", ["plain", "gzip"])
@pytest.mark.parametrize("ended", [True, False])
def test_a_line_that_is_too_long_is_one_rejected_line_wherever_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, form: str, *, ended: bool
) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", size)
    lines = ["1\t2", "1234\t56789", "1234\t567890", "x" * 99, "", "3\t4", "y\t" * 30]
    data = ("\n".join(["a\tb", *lines]) + "\n" * ended).encode()
    _, blocks = read(write(tmp_path, gzip.compress(data) if form == "gzip" else data))
    rows = [row for block in blocks for row in block.rejected.rows()]
    assert [(number, reason, text[:10]) for number, reason, text in rows] == [
        (4, "line too long", "1234\t56789"),
        (5, "line too long", "x" * 10),
        (6, "blank line", ""),
        (8, "line too long", "y\t" * 5),
    ]
    assert fitting(blocks) == {2: b"1\t2", 3: b"1234\t56789", 7: b"3\t4"}


@pytest.mark.usefixtures("short_lines")
@pytest.mark.parametrize("size", [1, 8 << 20])
def test_a_csv_line_that_is_too_long_is_one_rejected_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", size)
    text = 'a,b\n1,2\n1234567,890\n"3,4\n' + "x" * 50 + "\n5,6\n"
    _, blocks = read(write(tmp_path, text, "t.csv"))
    rows = [row for block in blocks for row in block.rejected.rows()]
    assert [(number, reason, text[:10]) for number, reason, text in rows] == [
        (3, "line too long", "1234567,89"),
        (4, "misplaced quote", '"3,4'),
        (5, "line too long", "x" * 10),
    ]
    assert fitting(blocks) == {2: b"1\t2", 6: b"5\t6"}


def test_the_text_of_a_line_too_long_is_cut_between_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tables, lines_module):
        monkeypatch.setattr(module, "LINE_BYTES", 20_000)
    monkeypatch.setattr(tables, "BLOCK_BYTES", 3)
    for letter, encoding in (("é", "utf-8"), ("é", "iso-8859-1"), ("a😀", "utf-8")):
        line = (letter * 30_000).encode(encoding)
        _, blocks = read(write(tmp_path, b"a\tb\n" + line + b"\n1\t2\n"))
        assert ragged(blocks) == {2: (letter * 2_000)[:2_000]}
        assert fitting(blocks) == {3: b"1\t2"}


@pytest.mark.usefixtures("short_lines")
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_first_line_that_is_too_long_is_refused(tmp_path: Path, mark: bytes) -> None:
    longest = mark + b"1234567890"[len(mark) + 1 :] + b"\t"
    assert read(write(tmp_path, longest + b"\n1\t2\n"))[1][0].data == b"1\t2\n"
    with pytest.raises(TableFormatError, match=r"t\.tab: its first line has 2 fields, 11 bytes"):
        read(write(tmp_path, longest + b"3\n1\t2\n"))


def test_blocks_of_very_short_lines_have_few_enough_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tables, lines_module):
        monkeypatch.setattr(module, "LINES_AT_ONCE", 10)
    text = "a\tb\n" + "\n" * 25 + "1\t2\n" + "3\t4\n" * 30 + "x" * 40 + "\n" * 8
    for name, data in (("t.tab", text), ("t.csv", text.replace("\t", ","))):
        _, blocks = read(write(tmp_path, data, name))
        assert max(block.n_lines for block in blocks) == 10
        assert fitting(blocks) == {27: b"1\t2"} | dict.fromkeys(range(28, 58), b"3\t4")
        assert sum(block.n_lines for block in blocks) == 64
        assert ragged(blocks)[58] == "x" * 40


# What is no table


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wider_encodings_are_refused_and_the_mending_is_named(
    tmp_path: Path, encoding: str
) -> None:
    with pytest.raises(TableFormatError, match=r"t\.tab: .*UTF-16.*expected UTF-8.*iconv"):
        read(write(tmp_path, "Event ID\tEvent Date\n1\t2\n".encode(encoding)))


@pytest.mark.parametrize("name", ["t.tab", "t.csv"])
def test_lines_that_end_in_cr_alone_are_refused_and_the_mending_is_named(
    tmp_path: Path, name: str
) -> None:
    text = "a\tb\r1\t2\r3\t4\r\n" if name == "t.tab" else "a,b\r1,2\r"
    with pytest.raises(TableFormatError, match=r"lines end in CR alone.*tr '\\r' '\\n'"):
        read(write(tmp_path, text, name))


def test_cr_inside_a_line_is_no_line_end(tmp_path: Path) -> None:
    _, blocks = read(write(tmp_path, "a\tb\n1\t2\r3\n1\t2\r3\t4\r\n\r\n"))
    assert fitting(blocks) == {2: b"1\t2\r3"}
    assert ragged(blocks) == {3: "1\t2\r3\t4", 4: ""}
    _, blocks = read(write(tmp_path, "a,b\n1,2\r3\r\n", "t.csv"))
    assert fitting(blocks) == {2: b"1\t2 3"}


def test_a_table_may_have_thousands_of_columns_but_not_any_number(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(tables.MAX_COLUMNS)]
    header, (block,) = read(write(tmp_path, "\t".join(names) + "\n" + "\t" * 9_999 + "\n"))
    assert (header, block.n_lines, block.rejected.height) == (names, 1, 0)
    with pytest.raises(TableFormatError, match="10001 fields"):
        read(write(tmp_path, "\t".join([*names, "more"]) + "\n"))


def test_columns_of_one_name_are_all_there(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a\tb\ta\n1\t2\t3\n"))[0] == ["a", "b", "a"]


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_cannot_be_opened_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path if kind == "folder" else tmp_path / "t.tab"
    with pytest.raises(TableFormatError, match=rf"{path.name}: can't be read"):
        read(path)


def test_an_error_of_the_reader_of_blocks_is_not_taken_for_one_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a\tb\n1\t2\n")

    def use() -> None:
        with open_table(path) as (_, blocks):
            next(blocks)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        use()


# Tables without a header


def named(n_fields: int) -> list[str]:
    """Return names for two or three columns."""
    if n_fields not in {2, 3}:
        raise TableFormatError(f"{n_fields} fields")
    return ["a", "b", "c"][:n_fields]


@pytest.mark.parametrize("size", [1, 8 << 20])
@pytest.mark.parametrize("form", ["plain", "gzip"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_without_a_header_the_first_line_is_line_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, form: str, mark: bytes
) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", size)
    data = mark + b"1\t2,2,2\n3\n\t4"
    path = write(tmp_path, gzip.compress(data) if form == "gzip" else data)
    with open_table(path, columns=named) as (header, blocks):
        found = list(blocks)
    assert header == ["a", "b"]
    assert found[0].first_line == 1
    assert fitting(found) == {1: b"1\t2,2,2", 3: b"\t4"}
    assert ragged(found) == {2: "3"}


def test_without_a_header_a_number_of_fields_that_is_not_known_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "1\t2\t3\t4\n")
    with pytest.raises(TableFormatError, match="4 fields"), open_table(path, columns=named):
        pass


# Several tables


@pytest.mark.parametrize("size", [1, 8 << 20])
def test_several_tables_are_one_in_order_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", size)
    members = {
        "b.tab": "x\ty\n5\t6\n",
        "a.tab": "x\ty\n1\t2\n3",
        "c.tab": "x\ty",
        "d.txt": "x\ty\n7\t8",
    }
    path = write(tmp_path, zipped(members), "t.zip")
    with open_table(path, several=True) as (header, blocks):
        found = list(blocks)
    assert header == ["x", "y"]
    assert fitting(found) == {2: b"1\t2", 5: b"5\t6", 8: b"7\t8"}
    assert ragged(found) == {3: "3"}
    wanted = naive_tables.data_lines(
        [members[name].encode() for name in sorted(members)], has_header=True
    )
    assert [line.number for line in wanted] == [2, 3, 5, 8]


def test_several_tables_without_headers_go_on_counting(tmp_path: Path) -> None:
    path = write(tmp_path, zipped({"a.csv": "1\t2\n", "b.csv": "3\t4\n5\n"}), "t.zip")
    with open_table(path, columns=named, several=True) as (_, blocks):
        found = list(blocks)
    assert fitting(found) == {1: b"1\t2", 2: b"3\t4"}
    assert ragged(found) == {3: "5"}


def test_several_tables_with_different_headers_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, zipped({"a.tab": "x\ty\n", "b.tab": "y\tx\n"}), "t.zip")
    with (
        open_table(path, several=True) as (_, blocks),
        pytest.raises(TableFormatError, match=r"b\.tab: its header differs from that of .*a\.tab"),
    ):
        list(blocks)


# Further tabs at the end


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.text(alphabet="\t\t\ta\r", max_size=7), max_size=9),
    further=st.integers(0, 3),
)
def test_further_tabs_are_cut_off_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], further: int
) -> None:
    text = "\n".join(["a\tb\tc" + "\t" * further, *lines, ""]).encode()
    with open_table(write(tmp_path_factory.mktemp("t"), text), extra_tabs=True) as (header, blocks):
        found = list(blocks)
    assert header == ["a", "b", "c"]
    wanted = [header_and_lines.encode() for header_and_lines in ["a\tb\tc", *map(without, lines)]]
    wanted_fitting, wanted_ragged = naive.split_lines(b"\n".join([*wanted, b""]), 3)
    assert fitting(found) == wanted_fitting
    assert ragged(found) == {n: line.decode().rstrip("\r") for n, line in wanted_ragged.items()}


def without(line: str) -> str:
    """Cut off one tab after the other while there are more than three fields."""
    end = "\r" if line.endswith("\r") else ""
    line = line.removesuffix("\r")
    trimmed = line
    while trimmed.count("\t") > 2 and trimmed.endswith("\t"):
        trimmed = trimmed[:-1]
    return (trimmed if trimmed.count("\t") <= 2 else line) + end
