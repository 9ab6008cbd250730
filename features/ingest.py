"""Ingesting raw files: canonical events staged by month, and an account of every line."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import ClassVar, Final

import polars as pl

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
        Canonical events with ``file`` and ``line``; without rows and columns if there are none.
    """
    pattern = "events-*.arrow" if month is None else f"events-{month:%Y-%m}-*.arrow"
    parts = [pl.read_ipc(path) for path in sorted(folder.glob(pattern))]
    return pl.concat(parts) if parts else pl.DataFrame()


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
            file=pl.lit(self._file, pl.Categorical), line=pl.Series(block.line_numbers(), dtype=pl.UInt32)
        )
        if rows["reason"].null_count() < rows.height:
            bad = rows.filter(pl.col("reason").is_not_null())
            self._rejected.append(self._rejected_rows(bad.select("line", "reason"), block))
            rows = rows.filter(pl.col("reason").is_null())
        if block.ragged:
            self._rejected.append(self._ragged_rows(block))
        self._valid += rows.height
        self._mended += int(rows["mended"].sum())
        self._days += [day for day in (rows["event_date"].min(), rows["event_date"].max()) if day]
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
        reason = pl.when(blank).then(pl.lit("blank line")).otherwise(pl.lit("wrong number of fields"))
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
        for month, rows in _by_month(pl.concat(self._batch)):
            rows.write_ipc(self._folder / f"events-{month:%Y-%m}-{self._batches:05}.arrow")
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


def _by_month(rows: pl.DataFrame) -> list[tuple[date, pl.DataFrame]]:
    """Part rows by the month of their date; the order within a month stays."""
    months = rows["event_date"].dt.month_start()
    found = months.unique()
    if len(found) == 1:
        return [(found[0], rows)]
    return [(month, rows.filter(months == month)) for month in found]
