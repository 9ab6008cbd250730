"""Laws of reading Parquet: the same blocks whatever the types, row groups and batches."""

import decimal
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import parquet_tables
from features.parquet_tables import is_parquet, parquet_blocks, parquet_columns
from features.tables import TableFormatError


def write(folder: Path, frame: pl.DataFrame, *, row_group_size: int | None = None) -> Path:
    """Write a frame to a new file."""
    path = folder / f"{len(list(folder.iterdir()))}.parquet"
    frame.write_parquet(path, row_group_size=row_group_size)
    return path


def text(path: Path, columns: list[str]) -> str:
    """Return the text of all blocks."""
    return b"".join(block.data for block in parquet_blocks(path, columns)).decode()


@pytest.mark.parametrize(
    ("values", "written"),
    [
        (pl.Series(["a", "", None, "b c"]), ["a", "", "", "b c"]),
        (pl.Series(['"', '"q"', "a,b"]), ['"', '"q"', "a,b"]),
        (pl.Series(["a\tb", "c\nd", "e\r\nf", "\r"]), ["a b", "c d", "e  f", " "]),
        (pl.Series(["Côte", None], dtype=pl.Categorical), ["Côte", ""]),
        (pl.Series(["x"], dtype=pl.Enum(["x"])), ["x"]),
        (pl.Series([10, -1, None], dtype=pl.Int8), ["10", "-1", ""]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), ["18446744073709551615"]),
        (pl.Series([1.5, None], dtype=pl.Float32), ["1.5", ""]),
        (pl.Series([decimal.Decimal("1.50")]), ["1.50"]),
        (pl.Series([True, False]), ["true", "false"]),
        (pl.Series([date(2018, 10, 4), None]), ["2018-10-04", ""]),
        (pl.Series([datetime(2018, 10, 4, 23, 59)], dtype=pl.Datetime("ms")), ["2018-10-04"]),
        (pl.Series([datetime(2018, 10, 4, 23, 59)], dtype=pl.Datetime("ns")), ["2018-10-04"]),
        (pl.Series([None, None]), ["", ""]),
    ],
)
def test_values_are_written_as_text(tmp_path: Path, values: pl.Series, written: list[str]) -> None:
    frame = pl.DataFrame({"v": values, "w": ["w"] * len(values)})
    path = write(tmp_path, frame)
    assert text(path, ["v", "w"]) == "".join(f"{value}\tw\n" for value in written)


def test_a_time_with_a_zone_is_of_the_day_in_that_zone(tmp_path: Path) -> None:
    times = pl.Series([datetime(2018, 10, 4, 23, 59)]).dt.replace_time_zone("Pacific/Auckland")
    path = write(tmp_path, pl.DataFrame({"t": times, "w": ["w"]}))
    assert text(path, ["t", "w"]) == "2018-10-04\tw\n"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pl.Series([["a"], ["b"]]), "large_list<"),
        (pl.Series([{"x": 1}, None]), "struct<x: int64>"),
        (pl.Series([b"a", b"b"]), "large_binary"),
    ],
)
def test_columns_that_are_no_text_are_named_with_their_type(
    tmp_path: Path, values: pl.Series, kind: str
) -> None:
    path = write(tmp_path, pl.DataFrame({"odd": values, "w": ["w", "w"]}))
    words = rf"{path.name}: columns that can't be read as text: 'odd \({kind}"
    with pytest.raises(TableFormatError, match=words) as error:
        text(path, ["odd", "w"])
    assert "'w" not in str(error.value)
    assert text(path, ["w"]) == "w\nw\n"


def test_columns_come_as_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, pl.DataFrame({"a": ["1"], "b": ["2"], "c": ["3"]}))
    assert parquet_columns(path) == ["a", "b", "c"]
    assert text(path, ["c", "a"]) == "3\t1\n"


@settings(max_examples=25, deadline=None)
@given(n_rows=st.integers(0, 20), group=st.integers(1, 21), at_once=st.integers(1, 21))
def test_row_groups_and_batches_make_no_difference_and_rows_are_numbered(
    tmp_path_factory: pytest.TempPathFactory, n_rows: int, group: int, at_once: int
) -> None:
    frame = pl.DataFrame({"n": range(n_rows), "w": ["w"] * n_rows}, schema={"n": int, "w": str})
    path = write(tmp_path_factory.mktemp("t"), frame, row_group_size=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_tables, "ROWS_AT_ONCE", at_once)
        blocks = list(parquet_blocks(path, ["n", "w"]))
    assert b"".join(block.data for block in blocks).decode() == "".join(
        f"{n}\tw\n" for n in range(n_rows)
    )
    numbers = np.concatenate([block.line_numbers() for block in blocks])
    assert numbers.tolist() == list(range(1, n_rows + 1))
    assert max(block.n_lines for block in blocks) <= at_once


def test_parquet_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, pl.DataFrame({"a": [1]}))
    assert is_parquet(path.rename(tmp_path / "mine.csv"))
    (tmp_path / "text.parquet").write_text("PAR,a\n")
    assert not is_parquet(tmp_path / "text.parquet")
    (tmp_path / "empty.parquet").write_bytes(b"")
    assert not is_parquet(tmp_path / "empty.parquet")
    with pytest.raises(TableFormatError, match=r"absent\.parquet: can't be read"):
        is_parquet(tmp_path / "absent.parquet")


@pytest.mark.parametrize("n_bytes", [4, 8, 100, -1])
def test_a_cut_file_is_an_error_of_the_table(tmp_path: Path, n_bytes: int) -> None:
    data = write(tmp_path, pl.DataFrame({"a": range(1000), "w": ["w"] * 1000})).read_bytes()
    path = tmp_path / "cut.parquet"
    path.write_bytes(data[:n_bytes])
    with pytest.raises(TableFormatError, match=r"cut\.parquet: the Parquet file is damaged"):
        parquet_columns(path)
    with pytest.raises(TableFormatError, match=r"cut\.parquet: the Parquet file is damaged"):
        text(path, ["a"])


def test_text_that_is_not_in_utf_8_is_an_error_of_the_table(tmp_path: Path) -> None:
    offsets = np.array([0, 2, 4], np.int32).tobytes()
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"\xff\xfeab")]
    table = pa.table({"a": pa.Array.from_buffers(pa.string(), 2, buffers)})
    pq.write_table(table, tmp_path / "odd.parquet", use_dictionary=False)
    with pytest.raises(TableFormatError, match=r"odd\.parquet: .*UTF8"):
        text(tmp_path / "odd.parquet", ["a"])


def test_rows_that_go_missing_are_an_error_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, pl.DataFrame({"a": range(10), "w": ["w"] * 10}), row_group_size=4)
    assert text(path, ["a"]).count("\n") == 10
    read = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda *given, **more: list(read(*given, **more))[:2]
    )
    monkeypatch.setattr(parquet_tables, "ROWS_AT_ONCE", 4)
    with pytest.raises(TableFormatError, match=r"damaged.*it has 8 rows and should have 10"):
        text(path, ["a"])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_is_an_error_of_the_table(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("t")
    frame = pl.DataFrame({"a": range(50), "w": [f"w{i % 3}" for i in range(50)]})
    octets = bytearray(write(folder, frame).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place] = data.draw(st.integers(0, 255))
    path = folder / "damaged.parquet"
    path.write_bytes(octets)
    try:
        columns = parquet_columns(path)
        list(parquet_blocks(path, columns))
    except TableFormatError as error:
        assert "damaged.parquet" in str(error)
