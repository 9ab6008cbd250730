"""Ingesting raw files: canonical events staged by month, and an account of every line."""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import ClassVar, Final, cast

import polars as pl
import pyarrow as pa

from features.events import EventColumns, canonical_events, raw_columns
from features.icews import FileName, match_columns, parse_file_name, read_block
from features.tables import Block, open_table

_ROWS_STAGED_AT_ONCE: Final = 250_000
_CHARACTERS_KEPT: Final = 2_000

REJECTED_SCHEMA: Final = {
    "file": pl.String,
    "line": pl.UInt32,
    "reason": pl.String,
    "text": pl.String,
}


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """What is kept of each event.

    Attributes
    ----------
    columns
        ``core``: identity, date, code, intensity, countries and sectors. ``all``: actors, story,
        publisher and place too, at about twice the time and space.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    columns: EventColumns = "core"


@dataclass(frozen=True, kw_only=True)
class StagedFile:
    """The account of one raw file, before duplicates are looked for.

    ``lines == valid + rejected``; the header is not counted, every other line is.

    Attributes
    ----------
    lines
        Data lines read.
    valid
        Rows that are events.
    rejected
        Rows that are not, by reason.
    mended_codes
        Valid rows whose event code had to be mended.
    first_event, last_event
        Dates of the earliest and latest valid row, None if there is none.
    """

    name: str
    edition: str
    lines: int = 0
    valid: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    mended_codes: int = 0
    first_event: date | None = None
    last_event: date | None = None

    @property
    def months(self) -> list[date]:
        """First days of the months from the first event's to the last's."""
        if self.first_event is None or self.last_event is None:
            return []
        return pl.date_range(
            self.first_event.replace(day=1), self.last_event, interval="1mo", eager=True
        ).to_list()


def stage_file(path: Path, folder: Path, *, config: IngestConfig | None = None) -> StagedFile:
    """Read a raw ICEWS file and write its events and its rejected rows to `folder`.

    Memory doesn't grow with the file: it is read in blocks and written in batches, a file for each
    month that a batch has events of.

    Parameters
    ----------
    path
        A ``.tab``, ``.tsv``, ``.csv`` or ``.txt`` file, plain, gzip or zip.
    folder
        Receives ``events-YYYY-MM-*.arrow`` (canonical events, with ``file`` and ``line``; see
        `read_staged`) and ``rejected.parquet`` (``file``, ``line``, ``reason``, ``text``). Created
        if absent.
    config
        What to keep.

    Returns
    -------
    StagedFile
        The account.

    Raises
    ------
    features.icews.IcewsFormatError
        If the header isn't that of an ICEWS file.
    features.tables.TableFormatError
        If there is no header or no single table in an archive.
    OSError, zipfile.BadZipFile, zlib.error, EOFError
        If the file can't be read or is damaged.
    """
    config = config or IngestConfig()
    name = parse_file_name(path.name)
    folder.mkdir(parents=True, exist_ok=True)
    staging = _Staging(folder, path.name, name)
    with open_table(path) as (header, blocks):
        columns = match_columns(header, path=path)
        wanted = raw_columns(config.columns)
        for block in blocks:
            staging.add(block, read_block(block, columns, wanted))
    return staging.finish()


def read_staged(folder: Path, month: date | None = None) -> pl.DataFrame:
    """Read the events that `stage_file` wrote to `folder`, by month and within it by line.

    Parameters
    ----------
    folder
        As given to `stage_file`.
    month
        The first day of the month to read; by default all are.

    Returns
    -------
    pl.DataFrame
        Canonical events with ``file`` and ``line``. The rows stay in the files, which must not be
        written to while the frame is in use.
    """
    every = sorted(folder.glob("events-*.arrow"))
    wanted = [path for path in every if month is None or f"-{month:%Y-%m}-" in path.name]
    parts = [_mapped(path) for path in wanted or every[:1]]
    rows = pl.concat(parts) if parts else pl.DataFrame()
    return rows if wanted else rows.clear()


def _mapped(path: Path) -> pl.DataFrame:
    with pa.memory_map(str(path)) as file:
        return cast("pl.DataFrame", pl.from_arrow(pa.ipc.open_file(file).read_all()))


class _Staging:
    """Splits rows into events and rejected ones, counts them and writes them in batches."""

    def __init__(self, folder: Path, file: str, name: FileName) -> None:
        self._folder, self._file, self._name = folder, file, name
        self._batch: list[pl.DataFrame] = []
        self._rejected: list[pl.DataFrame] = [pl.DataFrame(schema=REJECTED_SCHEMA)]
        self._batches = self._rows_in_batch = self._lines = self._valid = self._mended = 0
        self._days: list[date] = []

    def add(self, block: Block, raw: pl.DataFrame) -> None:
        self._lines += block.n_lines
        rows = canonical_events(raw, last_plausible=self._name.last_plausible).with_columns(
            file=pl.lit(self._file, pl.Categorical),
            line=pl.Series(block.line_numbers(), dtype=pl.UInt32),
        )
        if rows["reason"].null_count() < rows.height:
            bad = rows.filter(pl.col("reason").is_not_null())
            self._rejected.append(self._rejected_rows(bad.select("line", "reason"), block))
            rows = rows.filter(pl.col("reason").is_null())
        if block.ragged:
            self._rejected.append(self._ragged_rows(block))
        self._valid += rows.height
        self._mended += int(rows["mended"].sum())
        day = pl.col("event_date")
        bounds = rows.select(day.min().alias("first"), day.max().alias("last")).row(0)
        self._days += [day for day in bounds if day is not None]
        self._batch.append(rows.drop("reason", "mended"))
        self._rows_in_batch += rows.height
        if self._rows_in_batch >= _ROWS_STAGED_AT_ONCE:
            self._flush()

    def _rejected_rows(self, bad: pl.DataFrame, block: Block) -> pl.DataFrame:
        text = block.text_of_lines(bad["line"].to_numpy())
        return self._as_rejected(bad.with_columns(text=pl.Series(text, dtype=pl.String)))

    def _ragged_rows(self, block: Block) -> pl.DataFrame:
        rows = pl.DataFrame(block.ragged, schema=["line", "text"], orient="row")
        blank = pl.col("text").str.strip_chars() == ""
        reason = (
            pl.when(blank).then(pl.lit("blank line")).otherwise(pl.lit("wrong number of fields"))
        )
        return self._as_rejected(rows.with_columns(reason=reason))

    def _as_rejected(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(
            pl.lit(self._file).alias("file"),
            pl.col("line").cast(pl.UInt32),
            "reason",
            pl.col("text").str.slice(0, _CHARACTERS_KEPT),
        )

    def _flush(self) -> None:
        if not self._rows_in_batch:
            return
        _write_staged(pl.concat(self._batch), self._folder, self._batches)
        self._batches += 1
        self._batch, self._rows_in_batch = [], 0

    def finish(self) -> StagedFile:
        self._flush()
        rejected = pl.concat(self._rejected).sort("line")
        rejected.write_parquet(self._folder / "rejected.parquet")
        reasons = rejected["reason"].value_counts(sort=True)
        return StagedFile(
            name=self._file,
            edition=self._name.edition,
            lines=self._lines,
            valid=self._valid,
            rejected=dict(reasons.iter_rows()),
            mended_codes=self._mended,
            first_event=min(self._days, default=None),
            last_event=max(self._days, default=None),
        )


def _write_staged(rows: pl.DataFrame, folder: Path, batch: int) -> None:
    for month, part in _by_month(rows):
        part.write_ipc(folder / f"events-{month:%Y-%m}-{batch:05}.arrow")


def _by_month(rows: pl.DataFrame) -> list[tuple[date, pl.DataFrame]]:
    """Part rows by the month of their date; the order within a month stays."""
    day = pl.col("event_date")
    months: list[date] = rows["event_date"].unique().dt.month_start().unique().sort().to_list()
    if len(months) == 1:
        return [(months[0], rows)]
    return [(month, rows.filter(day.is_between(month, _last_day(month)))) for month in months]


def _last_day(month: date) -> date:
    return month.replace(day=monthrange(month.year, month.month)[1])
