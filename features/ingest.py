"""Ingesting raw files: canonical events staged by month, and an account of every line."""

from calendar import monthrange
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.adapters import IngestConfig, adapter_of
from features.events import Adapter, FileName, canonical_events
from features.lines import CHARACTERS_KEPT
from features.tables import Block

__all__ = ["REJECTED_SCHEMA", "IngestConfig", "StagedFile", "read_staged", "stage_file"]

_ROWS_STAGED_AT_ONCE: Final = 250_000
_BYTES_STAGED_AT_ONCE: Final = 128 << 20
_REJECTED_AT_ONCE: Final = 20_000

REJECTED_SCHEMA: Final = {
    "file": pl.String,
    "line": pl.UInt32,
    "reason": pl.String,
    "text": pl.String,
}


@dataclass(frozen=True, kw_only=True)
class StagedFile:
    """The account of one raw file, before duplicates are looked for.

    ``lines == valid + rejected``; headers are not counted, every other line is.

    Attributes
    ----------
    edition
        See `features.events.FileName`.
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
    release
        When the file was made: of two texts the one that sorts later is newer; empty if not told.
    covers
        Of a yearly file, the days that it speaks for: the dates of its first and last valid row
        within its year. None for others.
    rows_by_day
        Valid rows by date.
    """

    name: str
    edition: str
    lines: int = 0
    valid: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    mended_codes: int = 0
    first_event: date | None = None
    last_event: date | None = None
    release: str = ""
    covers: tuple[date, date] | None = None
    rows_by_day: dict[date, int] = field(default_factory=dict)

    @property
    def months(self) -> list[date]:
        """First days of the months that have valid rows."""
        return sorted({day.replace(day=1) for day in self.rows_by_day})


def stage_file(path: Path, folder: Path, *, config: IngestConfig | None = None) -> StagedFile:
    """Read a raw file and write its events and its rejected rows to `folder`.

    Memory doesn't grow with the file: it is read in blocks and written in batches, a file for each
    month that a batch has events of.

    Parameters
    ----------
    path
        A table as its source publishes it; text may be plain, gzip or zip.
    folder
        Receives ``events-YYYY-MM-*.arrow`` (canonical events, with ``file`` and ``line``; see
        `read_staged`) and ``rejected.parquet`` (``file``, ``line``, ``reason``, ``text``). Created
        if absent.
    config
        Which source it is of, and what to keep.

    Returns
    -------
    StagedFile
        The account.

    Raises
    ------
    features.tables.TableFormatError
        If the file can't be read, is damaged or isn't of the source; the message says why.
    OSError
        If `folder` can't be written to.
    """
    config = config or IngestConfig()
    adapter = adapter_of(config)
    kept = adapter.kept(config.columns, names=config.one_report_a_day)
    wanted = adapter.raw_columns(kept)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        adapter.open(path) as (header, blocks),
        _Staging(folder, path.name, adapter, kept) as staging,
    ):
        columns = adapter.match_columns(header, path=path)
        for block in blocks:
            staging.add(block, adapter.read_block(block, columns, wanted))
        return staging.finish()


def read_staged(
    folder: Path, month: date | None = None, days: tuple[date, date] | None = None
) -> pl.DataFrame:
    """Read the events that `stage_file` wrote to `folder`, by month and within it by line.

    Parameters
    ----------
    folder
        As given to `stage_file`.
    month
        The first day of the month to read; by default all are.
    days
        First and last day to read; by default all are.

    Returns
    -------
    pl.DataFrame
        Canonical events with ``file`` and ``line``. The rows stay in the files, which must not be
        written to while the frame is in use.
    """
    every = sorted(folder.glob("events-*.arrow"))
    wanted = [path for path in every if month is None or f"-{month:%Y-%m}-" in path.name]
    of_days = pl.lit(value=True) if days is None else pl.col("event_date").is_between(*days)
    parts = [_mapped(path).filter(of_days) for path in wanted or every[:1]]
    rows = pl.concat(parts) if parts else pl.DataFrame()
    return rows if wanted else rows.clear()


def _mapped(path: Path) -> pl.DataFrame:
    with pa.memory_map(str(path)) as file:
        return cast("pl.DataFrame", pl.from_arrow(pa.ipc.open_file(file).read_all()))


class _Staging:
    """Splits rows into events and rejected ones, counts them and writes them in batches."""

    def __init__(
        self, folder: Path, file: str, adapter: Adapter, kept: Mapping[str, pl.Expr]
    ) -> None:
        self._folder, self._file, self._adapter, self._kept = folder, file, adapter, kept
        self._name = adapter.parse_file_name(file)
        self._rejected = _RejectedRows(folder / "rejected.parquet", file)
        self._batch: list[pl.DataFrame] = []
        self._batches = self._rows_in_batch = self._bytes_in_batch = 0
        self._lines = self._valid = self._mended = 0
        self._days: Counter[date] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rejected.close()

    def add(self, block: Block, raw: pl.DataFrame) -> None:
        self._lines += block.n_lines
        rows = self._canonical(block, raw)
        if block.rejected.height or rows["reason"].null_count() < rows.height:
            bad = rows.filter(pl.col("reason").is_not_null()).select("line", "reason")
            self._rejected.add(bad, block)
            rows = rows.filter(pl.col("reason").is_null())
        self._valid += rows.height
        self._mended += int(rows["mended"].sum())
        self._days.update(dict(rows["event_date"].value_counts().iter_rows()))
        self._batch.append(rows.drop("reason", "mended"))
        self._rows_in_batch += rows.height
        self._bytes_in_batch += len(block.data)
        if (
            self._rows_in_batch >= _ROWS_STAGED_AT_ONCE
            or self._bytes_in_batch >= _BYTES_STAGED_AT_ONCE
        ):
            self._flush()

    def _canonical(self, block: Block, raw: pl.DataFrame) -> pl.DataFrame:
        lines = pl.Series("line", block.line_numbers(), dtype=pl.UInt32)
        ids = None
        if self._adapter.event_id is None:
            ids = (f"{self._file}:" + lines.cast(pl.String)).alias("event_id")
        last = self._name.last_plausible
        rows = canonical_events(raw, self._adapter, self._kept, last_plausible=last, ids=ids)
        return rows.with_columns(pl.lit(self._file, pl.Categorical).alias("file"), lines)

    def _flush(self) -> None:
        if self._rows_in_batch:
            _write_staged(pl.concat(self._batch), self._folder, self._batches)
            self._batches += 1
        self._batch, self._rows_in_batch, self._bytes_in_batch = [], 0, 0

    def finish(self) -> StagedFile:
        self._flush()
        self._rejected.close()
        return StagedFile(
            name=self._file,
            edition=self._name.edition,
            lines=self._lines,
            valid=self._valid,
            rejected=self._rejected.by_reason,
            mended_codes=self._mended,
            first_event=min(self._days, default=None),
            last_event=max(self._days, default=None),
            release=self._name.release,
            covers=_covered(self._name, self._days),
            rows_by_day=dict(sorted(self._days.items())),
        )


def _covered(name: FileName, days: Mapping[date, int]) -> tuple[date, date] | None:
    """Return the days that a yearly file speaks for."""
    if name.edition != "yearly":
        return None
    within = [day for day in days if day.year == name.year]
    return (min(within), max(within)) if within else None


class _RejectedRows:
    """Writes rejected rows as they come, in order of their lines, and counts them by reason."""

    def __init__(self, path: Path, file: str) -> None:
        self._file = file
        self._schema = pl.DataFrame(schema=REJECTED_SCHEMA).to_arrow().schema
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._pending: list[pl.DataFrame] = []
        self._counts: Counter[str] = Counter()

    @property
    def by_reason(self) -> dict[str, int]:
        """Number of rows by reason, the most frequent first."""
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0])))

    def add(self, bad: pl.DataFrame, block: Block) -> None:
        """Add the lines of `bad` (``line``, ``reason``) and those that the block has rejected."""
        text = pl.Series("text", block.text_of_lines(bad["line"].to_numpy()), dtype=pl.String)
        rows = pl.concat([bad.with_columns(text), block.rejected], how="vertical_relaxed")
        self._counts.update(dict(rows["reason"].value_counts().iter_rows()))
        self._pending.append(
            rows.sort("line").select(
                pl.lit(self._file).alias("file"),
                pl.col("line").cast(pl.UInt32),
                "reason",
                pl.col("text").str.slice(0, CHARACTERS_KEPT),
            )
        )
        if sum(frame.height for frame in self._pending) >= _REJECTED_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(pl.concat(self._pending).to_arrow().cast(self._schema))
            self._pending = []

    def close(self) -> None:
        """Write what is left; nothing is added after that."""
        self._flush()
        self._writer.close()


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
