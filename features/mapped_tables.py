"""The adapter of tables whose columns a column map names: text or Parquet."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from features.column_map import ColumnMap
from features.events import (
    ACTOR_NAMES,
    CORE_COLUMNS,
    END_OF_TIME,
    LATEST_REPORT,
    Adapter,
    FileName,
    cameo_codes,
    parse_dates,
)
from features.ontology import MODE_SEPARATOR
from features.parquet_tables import is_parquet, parquet_blocks, parquet_columns
from features.polecat import plover_codes
from features.raw_rows import SourceFormatError, listed, listing, placed, stripped, without_empty
from features.tables import TABLE_SUFFIXES, Block, open_table

_BLOCKS: Final = ("event_type", "root", "quad", "intensity", "log_volume")
_BLOCKS_WITHOUT_ONTOLOGY: Final = ("event_type", "log_volume")
_NEVER: Final = r"(?!)"


def table_adapter(column_map: ColumnMap) -> Adapter:
    """Return the adapter of tables with these columns: text or Parquet."""
    columns = column_map.columns
    nothing = pl.lit(None, pl.String)
    lists = dict.fromkeys(("source_sectors", "target_sectors"), column_map.sector_separator)

    def text(key: str) -> pl.Expr:
        if key not in columns:
            return nothing
        if key in lists:
            return listed(columns[key], separator=lists[key])
        return stripped(columns[key])

    return Adapter(
        name="table",
        ontology=column_map.ontology,
        blocks=_BLOCKS_WITHOUT_ONTOLOGY if column_map.ontology == "none" else _BLOCKS,
        parse_file_name=partial(_parse_file_name, column_map=column_map),
        match_columns=partial(_match_columns, columns=columns),
        event_id=stripped(columns["id"]) if "id" in columns else None,
        event_date=pl.col(columns["date"]),
        intensity=_intensity(column_map),
        event_codes=partial(_event_codes, column_map=column_map),
        code_columns=(columns["code"],),
        core={key: text(key) for key in CORE_COLUMNS},
        further={key: text(key) for key in ACTOR_NAMES},
        numbers={columns["intensity"]: pl.Float32} if "intensity" in columns else {},
        missing=column_map.missing,
        parse_dates=partial(parse_dates, form=column_map.date_format),
        open=partial(_open, columns=columns),
        suffixes=(*TABLE_SUFFIXES, ".zip", ".gz", ".parquet"),
    )


def _intensity(column_map: ColumnMap) -> pl.Expr:
    if column_map.intensity is None:
        return pl.lit(None, pl.Float32)
    low, high = column_map.intensity_bounds
    given = pl.col(column_map.intensity)
    if (low, high) == (-10, 10):
        return given
    return (given.cast(pl.Float64) - low) / (high - low) * 20 - 10


def _event_codes(raw: pl.DataFrame, *, column_map: ColumnMap) -> pl.DataFrame:
    code = pl.col(column_map.code)
    if column_map.ontology == "cameo":
        return cameo_codes(raw.select(cameo_code=code, event_text=pl.lit(None, pl.String)))
    if column_map.ontology == "plover":
        kind = code.str.split_exact(MODE_SEPARATOR, 1).struct.rename_fields(
            ["event_type", "event_mode"]
        )
        return plover_codes(raw.select(kind.alias("code")).unnest("code"))
    codes = without_empty(raw.select(stripped(column_map.code).alias("event_code")))
    return codes.with_columns(mended=pl.lit(value=False))


def _match_columns(header: Sequence[str], *, path: object, columns: Mapping[str, str]) -> list[str]:
    names = [name.strip() for name in header]
    lacking = {key: name for key, name in columns.items() if name not in names}
    if lacking:
        wanted = ", ".join(f"{key}={name!r}" for key, name in lacking.items())
        near = difflib.get_close_matches(next(iter(lacking.values())), names, n=1, cutoff=0.5)
        hint = f" Is {near[0]!r} meant?" if near else ""
        msg = (
            f"{path}: the table lacks columns that the column map names: {wanted}.{hint} "
            f"Found: {listing(names)}"
        )
        raise SourceFormatError(msg)
    mapped = set(columns.values())
    return placed([name if name in mapped else None for name in names])


@contextmanager
def _open(path: Path, *, columns: Mapping[str, str]) -> Iterator[tuple[list[str], Iterator[Block]]]:
    if is_parquet(path):
        written = parquet_columns(path)
        found = _match_columns(written, path=path, columns=columns)
        wanted = {
            name: found.index(name) for name in sorted(set(columns.values()), key=found.index)
        }
        yield list(wanted), parquet_blocks(path, [written[i] for i in wanted.values()])
    else:
        with open_table(path) as table:
            yield table


def _parse_file_name(name: str, *, column_map: ColumnMap) -> FileName:
    try:
        if found := re.search(column_map.yearly or _NEVER, name):
            year, release = int(found["year"]), found.groupdict().get("release") or ""
            last = (_day(release) or date(year, 12, 31)) + LATEST_REPORT
            return FileName(edition="yearly", year=year, release=release, last_plausible=last)
        if found := re.search(column_map.daily or _NEVER, name):
            release = found.groupdict().get("release") or ""
            day = _day(release)
            last = END_OF_TIME if day is None else day + LATEST_REPORT
            return FileName(edition="daily", release=release, last_plausible=last)
    except (TypeError, ValueError, OverflowError):
        pass
    return FileName()


def _day(release: str) -> date | None:
    digits = re.match(r"\d{8}", release)
    return None if digits is None else date.fromisoformat(digits[0])
