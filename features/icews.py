"""ICEWS: its two editions and what their files are called, its columns and its event codes.

Source: Boschee et al., "ICEWS Coded Event Data", doi:10.7910/DVN/28075 (yearly) and
doi:10.7910/DVN/QI2T9A (daily, later weekly). Every quirk handled here occurs in those files.
"""

import re
from calendar import monthrange
from datetime import date
from functools import partial
from typing import Final

import polars as pl

from features.events import LATEST_REPORT, Adapter, FileName, cameo_codes
from features.raw_rows import match_header, stripped

NAMES: Final = {
    "Event ID": "event_id",
    "Event Date": "event_date",
    "Source Name": "source_name",
    "Source Sectors": "source_sectors",
    "Source Country": "source_country",
    "Event Text": "event_text",
    "CAMEO Code": "cameo_code",
    "Intensity": "intensity",
    "Target Name": "target_name",
    "Target Sectors": "target_sectors",
    "Target Country": "target_country",
    "Story ID": "story_id",
    "Sentence Number": "sentence_number",
    "Publisher": "publisher",
    "City": "city",
    "District": "district",
    "Province": "province",
    "Country": "country",
    "Latitude": "latitude",
    "Longitude": "longitude",
}
"""Columns of ICEWS in their usual order, and the names that they have in Foreshock."""

_REQUIRED: Final = (
    ("Event ID",),
    ("Event Date",),
    ("Source Country",),
    ("Target Country",),
    ("CAMEO Code", "Event Text"),
)
_YEARLY = re.compile(r"^events\.(?P<year>\d{4})\.(?P<release>\d{8,})\b", re.IGNORECASE)
_DAILY = re.compile(r"^(?:\d{8}-thru-)?(?P<last>\d{6}(?:\d\d)?)-icews-events", re.IGNORECASE)


def parse_file_name(name: str) -> FileName:
    """Read edition, year and release off a file's name.

    Examples
    --------
    >>> found = parse_file_name("events.2015.20180710.tab.zip")
    >>> found.edition, found.year, found.release, found.last_plausible
    ('yearly', 2015, '20180710000000', datetime.date(2018, 8, 10))
    >>> parse_file_name("20190503-thru-20190519-icews-events.zip").last_plausible
    datetime.date(2019, 6, 19)
    >>> parse_file_name("mine.tsv").edition
    'other'
    """
    try:
        if found := _YEARLY.match(name):
            release = found["release"].ljust(14, "0")
            return FileName(
                edition="yearly",
                year=int(found["year"]),
                release=release,
                last_plausible=_last_day(release[:8]) + LATEST_REPORT,
            )
        if found := _DAILY.match(name):
            last = _last_day(found["last"])
            return FileName(
                edition="daily", release=f"{last:%Y%m%d}", last_plausible=last + LATEST_REPORT
            )
    except ValueError:
        pass
    return FileName()


def _last_day(digits: str) -> date:
    """Return the day that ``YYYYMMDD`` names, or the last day of the month ``YYYYMM``."""
    year, month = int(digits[:4]), int(digits[4:6])
    return date(year, month, int(digits[6:] or monthrange(year, month)[1]))


ICEWS: Final = Adapter(
    name="icews",
    ontology="cameo",
    blocks=("event_type", "root", "quad", "intensity", "log_volume"),
    parse_file_name=parse_file_name,
    match_columns=partial(match_header, names=NAMES, required=_REQUIRED, source="ICEWS"),
    event_id=stripped("event_id"),
    event_date=pl.col("event_date"),
    intensity=pl.col("intensity"),
    event_codes=cameo_codes,
    code_columns=("cameo_code", "event_text"),
    core={
        "source_country": stripped("source_country"),
        "target_country": stripped("target_country"),
        "country": stripped("country"),
        "source_sectors": pl.col("source_sectors"),
        "target_sectors": pl.col("target_sectors"),
    },
    further={
        "source_name": pl.col("source_name"),
        "target_name": pl.col("target_name"),
        "story_id": pl.col("story_id"),
        "sentence_number": pl.col("sentence_number"),
        "publisher": pl.col("publisher"),
        "city": stripped("city"),
        "district": pl.col("district"),
        "province": pl.col("province"),
        "latitude": pl.col("latitude"),
        "longitude": pl.col("longitude"),
    },
    numbers={
        "intensity": pl.Float32,
        "sentence_number": pl.Int32,
        "latitude": pl.Float32,
        "longitude": pl.Float32,
    },
    missing=("", "NULL", "NA", "---"),
)
