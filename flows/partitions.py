"""Published tables: a folder each, a Parquet file a year.

A run that brings one day of events writes the files of one year, or two, anew; the others are
linked from the version before. Readers take a folder as one table.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "proportions": ("entity", "step_start"),
    "step_errors": ("entity", "step_start"),
    "window_errors": ("entity", "window_start"),
    "embeddings": ("entity", "window_start"),
    "analogues": ("entity", "window_start", "rank"),
}
"""What the rows of each table are sorted by; the second is what parts them into years."""

_NO_YEAR: Final = 0


def year_file(folder: Path, name: str, year: int) -> Path:
    """Return where the rows of a year lie in a published version."""
    return folder / name / f"{year:04}.parquet"


def scan_table(folder: Path, name: str) -> pl.LazyFrame:
    """Read a published table, lazily."""
    return pl.scan_parquet(folder / name / "*.parquet")


def read_table(folder: Path, name: str) -> pa.Table:
    """Read a published table whole, sorted by year and then by its key."""
    return pa.concat_tables(
        [pq.read_table(year_file(folder, name, year)) for year in years_of(folder, name)]
    )


def years_of(folder: Path, name: str) -> list[int]:
    """Return the years that a published table has rows of."""
    return sorted(int(path.stem) for path in (folder / name).glob("*.parquet"))


def write_table(table: pa.Table, folder: Path, name: str, provenance: dict[str, Any]) -> int:
    """Write a whole table, whose rows are sorted by its key; return their number."""
    years = pc.year(table[KEYS[name][1]])
    for year in sorted(pc.unique(years).to_pylist()):
        _write_year(table.filter(pc.equal(years, year)), folder, name, year, provenance)
    _keep_one(table.schema, folder, name, provenance)
    return int(table.num_rows)


def _write_year(
    table: pa.Table, folder: Path, name: str, year: int, provenance: dict[str, Any]
) -> None:
    path = year_file(folder, name, year)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link to the file of the version before
    write_parquet([table.combine_chunks()], path, provenance | {"dataset": name})


def _keep_one(schema: pa.Schema, folder: Path, name: str, provenance: dict[str, Any]) -> None:
    """Have a table without rows be one empty file, so that readers find its columns."""
    years = years_of(folder, name)
    if not years:
        _write_year(schema.empty_table(), folder, name, _NO_YEAR, provenance)
    elif len(years) > 1:
        year_file(folder, name, _NO_YEAR).unlink(missing_ok=True)


def replace_rows(
    table: pa.Table,
    folder: Path,
    name: str,
    spans: Sequence[tuple[date, date]],
    provenance: dict[str, Any],
) -> int:
    """Put the rows of a table in the place of those whose time lies in any of some spans.

    Parameters
    ----------
    table
        Rows within the spans.
    folder
        A version that is being written; its files may be links to another's.
    name
        Of the table.
    spans
        First and last value of the column that parts the table, each.

    Returns
    -------
    int
        The rows that were put in.
    """
    key = KEYS[name]
    when = table[key[1]]
    years = set(pc.unique(pc.year(when)).to_pylist())
    years |= {year for year in years_of(folder, name) for a, b in spans if a.year <= year <= b.year}
    for year in sorted(years):
        path = year_file(folder, name, year)
        parts = [table.filter(pc.equal(pc.year(when), year))]
        if path.exists():
            old = pq.read_table(path)
            parts.append(old.filter(pc.invert(_within(old[key[1]], spans))).cast(table.schema))
        merged = pa.concat_tables(parts).sort_by([(column, "ascending") for column in key])
        if merged.num_rows:
            _write_year(merged, folder, name, year, provenance)
        else:
            path.unlink(missing_ok=True)
    _keep_one(table.schema, folder, name, provenance)
    return int(table.num_rows)


def _within(when: pa.ChunkedArray, spans: Sequence[tuple[date, date]]) -> Any:
    found: Any = pa.array(np.zeros(len(when), bool))
    for first, last in spans:
        bounds = pa.scalar(first, when.type), pa.scalar(last, when.type)
        inside = pc.and_(pc.greater_equal(when, bounds[0]), pc.less_equal(when, bounds[1]))
        found = pc.or_(found, inside)
    return found


def within(table: pa.Table, column: str, spans: Sequence[tuple[date, date]]) -> pa.Table:
    """Return the rows of a table whose time lies in any of some spans."""
    return table.filter(_within(table[column], spans))


def write_parquet(parts: Iterable[pa.Table], path: Path, provenance: dict[str, Any]) -> int:
    """Write a table with zstd, and its provenance as JSON under the metadata key `foreshock`.

    Parameters
    ----------
    parts
        The table in parts of one schema, so that it need not be in memory as a whole.

    Returns
    -------
    int
        The number of rows.
    """
    parts = iter(parts)
    first = next(parts)
    metadata = {**(first.schema.metadata or {}), b"foreshock": json.dumps(provenance).encode()}
    schema = first.schema.with_metadata(metadata)
    floats = [field.name for field in schema if _holds_floats(field.type)]
    rows = 0
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name not in floats],
        use_byte_stream_split=floats,
    ) as writer:
        for part in chain([first], parts):
            writer.write_table(part.replace_schema_metadata(metadata), row_group_size=1 << 17)
            rows += part.num_rows
    return rows


def _holds_floats(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
    return bool(pa.types.is_floating(value))
