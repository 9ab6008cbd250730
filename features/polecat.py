"""POLECAT, the successor of ICEWS: its files, its columns and its types and modes of events.

Source: Scarborough et al., "POLECAT Weekly Data", doi:10.7910/DVN/AJGVIT. What is a list in it, by
semicolons, is one by commas here; of several countries of an actor the first is taken.
"""

import re
from datetime import date
from functools import partial
from typing import Final

import polars as pl

from features.events import LATEST_REPORT, Adapter, FileName
from features.ontology import MODE_SEPARATOR, ontology
from features.raw_rows import first_listed, listed, match_header, stripped
from features.tables import open_table

NAMES: Final = {
    "Event ID": "event_id",
    "Event Date": "event_date",
    "Event Type": "event_type",
    "Event Mode": "event_mode",
    "Intensity": "intensity",
    "Event Intensity": "intensity",
    "Contexts": "contexts",
    "Actor Name": "source_name",
    "Actor Country": "source_country",
    "Actor Sectors": "source_sectors",
    "Recipient Name": "target_name",
    "Recipient Country": "target_country",
    "Recipient Sectors": "target_sectors",
    "Placename": "place",
    "City": "city",
    "District": "district",
    "Province": "province",
    "Country": "country",
    "Latitude": "latitude",
    "Longitude": "longitude",
    "Source": "publisher",
    "Publication Date": "publication_date",
    "Language": "language",
}
"""Columns of POLECAT that are used, and the names that they have in Foreshock."""

_REQUIRED: Final = (
    ("Event ID",),
    ("Event Date",),
    ("Event Type",),
    ("Actor Country",),
    ("Recipient Country",),
)
_WEEKLY = re.compile(r"^ngecEvents\.(?P<release>\d{8}(?:\d{6})?)\.", re.IGNORECASE)
_YEARLY = re.compile(r"^ngecEvents\.?DV[-.](?P<year>\d{4})\.", re.IGNORECASE)


def parse_file_name(name: str) -> FileName:
    """Read edition, year and release off a file's name; yearly files don't tell their release.

    Examples
    --------
    >>> found = parse_file_name("ngecEvents.20230103111842.Release603.DV.txt")
    >>> found.edition, found.release, found.last_plausible
    ('daily', '20230103111842', datetime.date(2023, 2, 3))
    >>> found = parse_file_name("ngecEventsDV-2022.txt.zip")
    >>> found.edition, found.year, found.last_plausible
    ('yearly', 2022, datetime.date(2023, 1, 31))
    """
    try:
        if found := _WEEKLY.match(name):
            release = found["release"].ljust(14, "0")
            made = date(int(release[:4]), int(release[4:6]), int(release[6:8]))
            return FileName(edition="daily", release=release, last_plausible=made + LATEST_REPORT)
        if found := _YEARLY.match(name):
            year = int(found["year"])
            return FileName(
                edition="yearly", year=year, last_plausible=date(year, 12, 31) + LATEST_REPORT
            )
    except (ValueError, OverflowError):
        pass
    return FileName()


def plover_codes(raw: pl.DataFrame) -> pl.DataFrame:
    """Return ``event_code``, made of ``event_type`` and ``event_mode``, and ``mended``.

    An event whose mode is unknown is one of its type, and counts as mended; one whose type is
    unknown has no code. Neither case nor spaces at the ends make a difference.

    Examples
    --------
    >>> raw = pl.DataFrame(
    ...     {"event_type": ["ASSAULT", "Assault", "AGREE"], "event_mode": ["aerial", "?", None]}
    ... )
    >>> plover_codes(raw).rows()
    [('ASSAULT:aerial', False), ('ASSAULT', True), ('AGREE', False)]
    """
    kind = pl.col("event_type").str.strip_chars().str.to_uppercase()
    mode = pl.col("event_mode").str.strip_chars().str.to_lowercase()
    code_type = ontology("plover").code_type
    has_mode = (mode != "").fill_null(value=False)
    exact = pl.when(has_mode).then(kind + MODE_SEPARATOR + mode).otherwise(kind)
    codes = raw.select(
        exact=exact.cast(code_type, strict=False), bare=kind.cast(code_type, strict=False)
    )
    return codes.select(
        event_code=pl.coalesce("exact", "bare"),
        mended=pl.col("exact").is_null() & pl.col("bare").is_not_null(),
    )


POLECAT: Final = Adapter(
    name="polecat",
    ontology="plover",
    blocks=("event_type", "root", "quad", "intensity", "context", "log_volume"),
    parse_file_name=parse_file_name,
    match_columns=partial(match_header, names=NAMES, required=_REQUIRED, source="POLECAT"),
    event_id=stripped("event_id"),
    event_date=pl.col("event_date"),
    intensity=pl.col("intensity"),
    event_codes=plover_codes,
    code_columns=("event_type", "event_mode"),
    core={
        "source_country": first_listed("source_country", separator=";"),
        "target_country": first_listed("target_country", separator=";"),
        "country": first_listed("country", separator=";"),
        "source_sectors": listed("source_sectors", separator=";"),
        "target_sectors": listed("target_sectors", separator=";"),
        "contexts": listed("contexts", separator=";"),
    },
    further={
        "source_name": stripped("source_name"),
        "target_name": stripped("target_name"),
        "publisher": stripped("publisher"),
        "publication_date": stripped("publication_date"),
        "language": stripped("language"),
        "place": stripped("place"),
        "city": stripped("city"),
        "district": stripped("district"),
        "province": stripped("province"),
        "latitude": pl.col("latitude"),
        "longitude": pl.col("longitude"),
    },
    numbers={"intensity": pl.Float32, "latitude": pl.Float32, "longitude": pl.Float32},
    missing=("", "None"),
    open=partial(open_table, several=True, extra_tabs=True),
)
