"""The ledger: a row for every file that the lake has read or tried to read."""

from collections.abc import Iterable
from typing import Any, Final

import polars as pl

from features.deduplication import SUPERSEDED
from flows.lake import FileRecord, Lake

LEDGER: Final = "files.parquet"

SCHEMA: Final[dict[str, Any]] = {
    "file": pl.String,
    "edition": pl.String,
    "release": pl.String,
    "size": pl.Int64,
    "sha256": pl.String,
    "md5": pl.String,
    "lines": pl.Int64,
    "accepted": pl.Int64,
    "rejected": pl.Int64,
    "duplicates": pl.Int64,
    "superseded": pl.Int64,
    "mended_codes": pl.Int64,
    "first_event": pl.Date,
    "last_event": pl.Date,
    "covers_first": pl.Date,
    "covers_last": pl.Date,
    "superseded_by": pl.List(pl.String),
    "rejected_by_reason": pl.List(pl.Struct({"reason": pl.String, "lines": pl.Int64})),
    "duplicates_by_reason": pl.List(pl.Struct({"reason": pl.String, "lines": pl.Int64})),
    "error": pl.String,
}


def ledger_table(lake: Lake) -> pl.DataFrame:
    """Return the ledger of a lake, a row a file, by name.

    ``lines == accepted + rejected + duplicates``; rows that another file replaces are among the
    duplicates, and counted once more as ``superseded``.

    Examples
    --------
    >>> from features.ingest import IngestConfig
    >>> ledger_table(Lake(folder=None, config=IngestConfig())).height
    0
    """
    return pl.DataFrame([_row(record) for record in lake.files.values()], schema=SCHEMA).sort(
        "file"
    )


def _row(record: FileRecord) -> dict[str, Any]:
    staged = record.staged
    first, last = staged.covers or (None, None)
    return {
        "file": staged.name,
        "edition": staged.edition,
        "release": staged.release,
        "size": record.size,
        "sha256": record.sha256,
        "md5": record.md5,
        "lines": staged.lines,
        "accepted": record.accepted,
        "rejected": record.rejected,
        "duplicates": sum(record.duplicates.values()),
        "superseded": record.duplicates.get(SUPERSEDED, 0),
        "mended_codes": staged.mended_codes,
        "first_event": staged.first_event,
        "last_event": staged.last_event,
        "covers_first": first,
        "covers_last": last,
        "superseded_by": list(record.superseded_by),
        "rejected_by_reason": _by_reason(staged.rejected.items()),
        "duplicates_by_reason": _by_reason(record.duplicates.items()),
        "error": record.error,
    }


def _by_reason(counts: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"reason": reason, "lines": lines} for reason, lines in counts if lines]


def query_ledger(table: pl.DataFrame, where: str | None) -> pl.DataFrame:
    """Return the rows of the ledger for which a condition in SQL holds.

    Raises
    ------
    ValueError
        If it is no condition on the ledger's columns.

    Examples
    --------
    >>> table = pl.DataFrame({"file": ["a", "b"], "rejected": [0, 3]})
    >>> query_ledger(table, "rejected > 0")["file"].to_list()
    ['b']
    """
    if where is None:
        return table
    try:
        return table.filter(pl.sql_expr(where))
    except (pl.exceptions.PolarsError, TypeError) as error:
        msg = (
            f"{where!r} is no condition on the ledger: {error}. "
            f'Its columns are {", ".join(table.columns)}; such as "rejected > 0"'
        )
        raise ValueError(msg) from None
