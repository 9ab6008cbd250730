"""Reading Parquet files as `features.tables` reads text: as blocks of tab-separated lines."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.raw_rows import listing
from features.tables import Block, TableFormatError

ROWS_AT_ONCE: Final = 32_768
"""Rows read at a time."""

_MAGIC: Final = b"PAR1"
_BUFFER_BYTES: Final = 1 << 20
_LINE_BREAKS: Final = r"[\t\r\n]"


def is_parquet(path: Path) -> bool:
    """Tell by its first bytes whether a file is one of Parquet.

    Raises
    ------
    TableFormatError
        If it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        msg = f"{path}: can't be read: {error}"
        raise TableFormatError(msg) from error


def parquet_columns(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns.

    Raises
    ------
    TableFormatError
        If the file is damaged.
    """
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def parquet_blocks(path: Path, columns: Sequence[str]) -> Iterator[Block]:
    """Read columns of a Parquet file, a part of a row group at a time.

    A row's number, from 1, is its line. Absent values are empty, dates and times are written
    ``YYYY-MM-DD``, and tabs and line ends in text become spaces.

    Raises
    ------
    TableFormatError
        If the file is damaged, or one of the columns holds something else than text, numbers,
        dates, times or truth values.
    """
    line = 1
    for batch in _batches(path, columns):
        lines = io.BytesIO()
        _as_text(path, batch).write_csv(
            lines, include_header=False, separator="\t", quote_style="never", null_value=""
        )
        yield Block(first_line=line, n_lines=batch.num_rows, data=lines.getvalue())
        line += batch.num_rows


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield an empty batch, so that types are checked in any case, and then the rows."""
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            empty = file.schema_arrow.empty_table().select(list(columns))
            yield pa.RecordBatch.from_arrays(
                [column.combine_chunks() for column in empty.columns], names=list(columns)
            )
            n_rows = 0
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
                batch.validate(full=True)
                n_rows += batch.num_rows
                yield batch.select(list(columns))
            groups = sum(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
            if not n_rows == groups == file.metadata.num_rows:
                msg = f"it has {n_rows} rows and should have {file.metadata.num_rows}"
                raise ValueError(msg)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error


def _as_text(path: Path, batch: pa.RecordBatch) -> pl.DataFrame:
    odd = [f"{field.name} ({field.type})" for field in batch.schema if not _is_plain(field.type)]
    if odd:
        msg = (
            f"{path}: columns that can't be read as text: {listing(odd)}. Expected text, numbers, "
            "dates or times; map others, or write them as text"
        )
        raise TableFormatError(msg)
    # Names anew, without the schema's metadata: polars panics where these are damaged.
    bare = pa.RecordBatch.from_arrays(batch.columns, names=batch.schema.names)
    rows = cast("pl.DataFrame", pl.from_arrow(bare))
    return rows.select(_text_of(name, kind) for name, kind in rows.schema.items())


def _is_plain(kind: pa.DataType) -> bool:
    plain = (
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean),
        *(pa.types.is_date, pa.types.is_timestamp, pa.types.is_null),
    )
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_kind(value) for is_kind in plain)


def _text_of(name: str, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Datetime):
        return pl.col(name).dt.date().cast(pl.String)
    return pl.col(name).cast(pl.String).str.replace_all(_LINE_BREAKS, " ")


def _damaged(path: Path, error: Exception) -> TableFormatError:
    return TableFormatError(f"{path}: the Parquet file is damaged or can't be read: {error}")
