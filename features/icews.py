"""ICEWS event files: which columns they have, which edition they are, how to read a block.

Source: Boschee et al., "ICEWS Coded Event Data", doi:10.7910/DVN/28075 (yearly) and
doi:10.7910/DVN/QI2T9A (daily, later weekly). Every quirk handled here occurs in those files.
"""

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import polars as pl

from features.tables import Block, TableFormatError, recode

TYPE_OF_COLUMN: Final[dict[str, type[pl.DataType]]] = {
    "event_id": pl.String,
    "event_date": pl.String,
    "source_name": pl.String,
    "source_sectors": pl.String,
    "source_country": pl.String,
    "event_text": pl.String,
    "cameo_code": pl.String,
    "intensity": pl.Float32,
    "target_name": pl.String,
    "target_sectors": pl.String,
    "target_country": pl.String,
    "story_id": pl.String,
    "sentence_number": pl.Int32,
    "publisher": pl.String,
    "city": pl.String,
    "district": pl.String,
    "province": pl.String,
    "country": pl.String,
    "latitude": pl.Float32,
    "longitude": pl.Float32,
}
"""Columns of ICEWS in their usual order, under the names that they have in Foreshock."""

REQUIRED: Final = ("event_id", "event_date", "source_country", "target_country")
MISSING_VALUES: Final = ("", "NULL", "NA", "---")

Edition = Literal["yearly", "daily", "other"]

_YEARLY = re.compile(r"^events\.(?P<year>\d{4})\.(?P<release>\d{8})\d*\b", re.IGNORECASE)
_DAILY = re.compile(r"^(?:\d{8}-thru-)?(?P<last>\d{6}(?:\d\d)?)-icews-events", re.IGNORECASE)
_LATEST_REPORT = timedelta(days=31)
_END_OF_TIME = date(2100, 1, 1)


class IcewsFormatError(TableFormatError):
    """A table that lacks columns without which it can't be ICEWS."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileName:
    """What the name of an ICEWS file tells.

    Attributes
    ----------
    edition
        ``yearly``, ``daily`` (weekly and monthly deliveries too) or ``other``.
    year
        The year of a yearly file.
    last_plausible
        No event of the file can be dated later: an event dated long after its file was made is
        a slip, and one such row would add years of empty steps.
    """

    edition: Edition
    year: int | None
    last_plausible: date


def parse_file_name(name: str) -> FileName:
    """Read edition, year and date of making off a file's name.

    Examples
    --------
    >>> parse_file_name("events.2015.20180710092545.tab.zip")
    FileName(edition='yearly', year=2015, last_plausible=datetime.date(2018, 8, 10))
    >>> parse_file_name("20190503-thru-20190519-icews-events.zip").last_plausible
    datetime.date(2019, 6, 19)
    >>> parse_file_name("mine.tsv").edition
    'other'
    """
    try:
        if found := _YEARLY.match(name):
            last = _last_day(found["release"]) + _LATEST_REPORT
            return FileName(edition="yearly", year=int(found["year"]), last_plausible=last)
        if found := _DAILY.match(name):
            last = _last_day(found["last"]) + _LATEST_REPORT
            return FileName(edition="daily", year=None, last_plausible=last)
    except ValueError:
        pass
    return FileName(edition="other", year=None, last_plausible=_END_OF_TIME)


def _last_day(digits: str) -> date:
    """Return the day that ``YYYYMMDD`` names, or the last day of the month ``YYYYMM``."""
    year, month = int(digits[:4]), int(digits[4:6])
    return date(year, month, int(digits[6:] or monthrange(year, month)[1]))


def match_columns(header: list[str], *, path: object) -> list[str]:
    """Return the name that each column of `header` has in Foreshock, or a placeholder.

    Names are compared without regard to case, spaces and punctuation, so that ``Event ID``,
    ``event_id`` and R's ``Event.ID`` are one; order and further columns don't matter.

    Raises
    ------
    IcewsFormatError
        If a column is missing without which the table can't be ICEWS; the message names it.

    Examples
    --------
    >>> match_columns(
    ...     ["Target Country", "Note", "Event Date", "Event ID", "CAMEO Code", "Source Country"],
    ...     path="a.tab",
    ... )[:3]
    ['target_country', '_unused_1', 'event_date']
    """
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in header]
    seen: set[str] = set()
    columns = []
    for position, name in enumerate(names):
        known = name in TYPE_OF_COLUMN and name not in seen
        columns.append(name if known else f"_unused_{position}")
        seen.add(name)
    missing = [f"'{_title(name)}'" for name in REQUIRED if name not in seen]
    if not seen & {"cameo_code", "event_text"}:
        missing.append("'CAMEO Code' or 'Event Text'")
    if missing:
        found = ", ".join(repr(name) for name in header[:30])
        msg = (
            f"{path}: not an ICEWS file: its header lacks {', '.join(missing)}. "
            f"Found: {found}. Expected tab-separated columns named as in ICEWS, such as "
            "'Event ID', 'Event Date', 'Source Country', 'CAMEO Code', 'Target Country', 'Country'."
        )
        raise IcewsFormatError(msg)
    return columns


def _title(name: str) -> str:
    return name.replace("_", " ").title().replace(" Id", " ID").replace("Cameo", "CAMEO")


def read_block(block: Block, columns: list[str], wanted: Sequence[str]) -> pl.DataFrame:
    """Parse the lines of a block.

    Parameters
    ----------
    block
        From `features.tables.open_table`.
    columns
        From `match_columns`.
    wanted
        Columns to return, in this order; one that the file lacks comes back null.

    Returns
    -------
    pl.DataFrame
        One row a line, in order, typed by `TYPE_OF_COLUMN`; absent values are null, and so is a
        number that can't be read.
    """
    try:
        return _parse(block.data, columns, wanted)
    except pl.exceptions.ComputeError as error:
        if "utf-8" not in str(error):
            raise
        return _parse(recode(block.data), columns, wanted)


def _parse(data: bytes, columns: list[str], wanted: Sequence[str]) -> pl.DataFrame:
    absent = [name for name in wanted if name not in columns]
    numbers = [name for name in wanted if TYPE_OF_COLUMN[name] != pl.String]
    return (
        pl.scan_csv(
            data,
            separator="\t",
            has_header=False,
            quote_char=None,
            schema=dict.fromkeys(columns, pl.String),
            null_values=list(MISSING_VALUES),
        )
        .with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
        .select(wanted)
        .with_columns(pl.col(name).cast(TYPE_OF_COLUMN[name], strict=False) for name in numbers)
        .collect()
    )
