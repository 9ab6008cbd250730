"""GDELT 1.0 and 2.0: their files, columns by position, and event codes.

Source: "The GDELT Event Database: Data Format Codebook", versions 1.03 (57 columns up to March
2013, 58 from then on) and 2.0 (61 columns). Events may be dated long before their file, when an
article looks back: that is kept. No file replaces another but the one of the same name.
"""

import re
from calendar import monthrange
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from features.events import LATEST_REPORT, Adapter, FileName
from features.ontology import ontology
from features.raw_rows import SourceFormatError, match_header, stripped
from features.tables import Block, open_table

_ACTOR: Final = (
    *("Code", "Name", "CountryCode", "KnownGroupCode", "EthnicCode", "Religion1Code"),
    *("Religion2Code", "Type1Code", "Type2Code", "Type3Code"),
)
_EVENT: Final = (
    *("IsRootEvent", "EventCode", "EventBaseCode", "EventRootCode", "QuadClass"),
    *("GoldsteinScale", "NumMentions", "NumSources", "NumArticles", "AvgTone"),
)
_PLACE: Final = ("Type", "FullName", "CountryCode", "ADM1Code", "Lat", "Long", "FeatureID")
_PLACE_2: Final = (*_PLACE[:4], "ADM2Code", *_PLACE[4:])


def _columns(place: tuple[str, ...]) -> tuple[str, ...]:
    return (
        *("GLOBALEVENTID", "SQLDATE", "MonthYear", "Year", "FractionDate"),
        *(f"Actor{number}{name}" for number in (1, 2) for name in _ACTOR),
        *_EVENT,
        *(f"{of}Geo_{name}" for of in ("Actor1", "Actor2", "Action") for name in place),
        "DATEADDED",
        "SOURCEURL",
    )


COLUMNS: Final = {57: _columns(_PLACE)[:-1], 58: _columns(_PLACE), 61: _columns(_PLACE_2)}
"""Names of the columns, by how many there are."""

NAMES: Final = {
    "GLOBALEVENTID": "event_id",
    "SQLDATE": "event_date",
    "GoldsteinScale": "intensity",
    "EventCode": "event_code",
    "EventBaseCode": "base_code",
    "EventRootCode": "root_code",
    "Actor1CountryCode": "source_country",
    "Actor2CountryCode": "target_country",
    "ActionGeo_CountryCode": "country",
    **{f"Actor1Type{i}Code": f"source_type_{i}" for i in (1, 2, 3)},
    **{f"Actor2Type{i}Code": f"target_type_{i}" for i in (1, 2, 3)},
    "Actor1Name": "source_name",
    "Actor2Name": "target_name",
    "IsRootEvent": "is_root_event",
    "NumMentions": "num_mentions",
    "NumSources": "num_sources",
    "NumArticles": "num_articles",
    "AvgTone": "average_tone",
    "ActionGeo_FullName": "place",
    "ActionGeo_Lat": "latitude",
    "ActionGeo_Long": "longitude",
    "SOURCEURL": "source_url",
}
"""Columns of GDELT that are used, and the names that they have in Foreshock."""

_FILE = re.compile(
    r"^(?P<year>\d{4})(?P<month>\d\d)?(?P<day>\d\d)?(?P<time>\d{6})?"
    r"(?:(?:\.translation)?\.export)?\.(?:csv|zip)\b",
    re.IGNORECASE,
)


def column_names(n_fields: int, *, path: object) -> Sequence[str]:
    """Return the names of the columns of a file, which has no header, by how many there are.

    Parameters
    ----------
    n_fields
        Of the file's first line.
    path
        For the message of the error.

    Raises
    ------
    SourceFormatError
        If no version of GDELT has so many.

    Examples
    --------
    >>> column_names(58, path="20130401.export.CSV")[-2:]
    ('DATEADDED', 'SOURCEURL')
    """
    if n_fields not in COLUMNS:
        msg = (
            f"{path}: not a file of GDELT events: its first line has {n_fields} tab-separated "
            "fields. Expected 57 (GDELT 1.0 up to March 2013), 58 (1.0) or 61 (2.0), and no "
            "header. If it is of another source, ingest.format must name that."
        )
        raise SourceFormatError(msg)
    return COLUMNS[n_fields]


def parse_file_name(name: str) -> FileName:
    """Read the day, month or year of making off a file's name.

    Every file is a part of the whole, however long the time that it is of.

    Examples
    --------
    >>> found = parse_file_name("20150218230000.export.CSV.zip")
    >>> found.edition, found.release, found.last_plausible
    ('daily', '20150218230000', datetime.date(2015, 3, 21))
    >>> parse_file_name("2005.zip").last_plausible
    datetime.date(2006, 1, 31)
    """
    found = _FILE.match(name)
    if found is None:
        return FileName()
    try:
        year, month = int(found["year"]), int(found["month"] or 12)
        last = date(year, month, int(found["day"] or monthrange(year, month)[1]))
        return FileName(
            edition="daily",
            release=f"{last:%Y%m%d}{found['time'] or ''}",
            last_plausible=last + LATEST_REPORT,
        )
    except (ValueError, OverflowError):
        return FileName()


def gdelt_codes(raw: pl.DataFrame) -> pl.DataFrame:
    """Return ``event_code`` and ``mended``: the narrowest of the three codes that is in CAMEO.

    A root code of one digit tells that the file has lost its leading zeros; they are put back.

    Examples
    --------
    >>> raw = pl.DataFrame(
    ...     {
    ...         "event_code": ["043", "1999", "43", "X"], "base_code": ["043", "199", "43", "X"],
    ...         "root_code": ["04", "19", "4", "X"],
    ...     }
    ... )
    >>> gdelt_codes(raw).rows()
    [('043', False), ('19', True), ('043', True), (None, False)]
    """
    code_type = ontology("cameo").code_type
    known = raw["event_code"].cast(code_type, strict=False)
    lost = raw["root_code"].str.contains(r"^\s*[1-9]\s*$").fill_null(value=False)
    if not (known.has_nulls() or lost.any()):
        return known.to_frame().with_columns(mended=pl.lit(value=False))
    zero = pl.when(lost).then(pl.lit("0")).otherwise(pl.lit(""))
    spelt = [
        zero + pl.col(name).str.strip_chars() for name in ("event_code", "base_code", "root_code")
    ]
    code = pl.coalesce([text.cast(code_type, strict=False) for text in spelt])
    return raw.select(event_code=code).with_columns(mended=pl.col("event_code").ne_missing(known))


def _types(side: str) -> pl.Expr:
    """Return the codes of an actor's types as a list, empty if it has none."""
    codes = [pl.col(f"{side}_type_{i}") for i in (1, 2, 3)]
    return pl.concat_str(codes, separator=",", ignore_nulls=True)


def _open(path: Path) -> AbstractContextManager[tuple[list[str], Iterator[Block]]]:
    return open_table(path, columns=partial(column_names, path=path))


GDELT: Final = Adapter(
    name="gdelt",
    ontology="cameo",
    blocks=("event_type", "root", "quad", "intensity", "log_volume"),
    parse_file_name=parse_file_name,
    match_columns=partial(match_header, names=NAMES, required=(), source="GDELT"),
    event_id=stripped("event_id"),
    event_date=pl.col("event_date"),
    intensity=pl.col("intensity"),
    event_codes=gdelt_codes,
    code_columns=("event_code", "base_code", "root_code"),
    core={
        "source_country": stripped("source_country"),
        "target_country": stripped("target_country"),
        "country": stripped("country"),
        "source_sectors": _types("source"),
        "target_sectors": _types("target"),
    },
    further={
        **{name: stripped(name) for name in ("source_name", "target_name", "place", "source_url")},
        **{
            name: pl.col(name)
            for name in ("is_root_event", "num_mentions", "num_sources", "num_articles")
        },
        **{name: pl.col(name) for name in ("average_tone", "latitude", "longitude")},
    },
    numbers={
        **dict.fromkeys(("intensity", "average_tone", "latitude", "longitude"), pl.Float32),
        **dict.fromkeys(("is_root_event", "num_mentions", "num_sources", "num_articles"), pl.Int32),
    },
    open=_open,
)
