"""Small valid files in every layout that can be ingested, and the events that are in them."""

import io
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from features.column_map import ColumnMap
from features.ingest import IngestConfig
from features.sample import ICEWS_COLUMNS

Record = dict[str, str]

POLECAT_COLUMNS: Final = (
    *("Event ID", "Event Date", "Event Type", "Event Mode", "Intensity", "Quad Code", "Contexts"),
    *("Actor Name", "Actor Country", "Actor COW", "Primary Actor Sector", "Actor Sectors"),
    *("Actor Title", "Actor Name Raw", "Wikipedia Actor ID"),
    *("Recipient Name", "Recipient Country", "Recipient COW", "Primary Recipient Sector"),
    *("Recipient Sectors", "Recipient Title", "Recipient Name Raw", "Wikipedia Recipient ID"),
    *("Placename", "City", "District", "Province", "Country", "Latitude", "Longitude"),
    *("GeoNames ID", "Raw Placename", "Feature Type", "Source", "Publication Date"),
    *("Story People", "Story Organizations", "Story Locations", "Language", "Version"),
)
GDELT_COLUMNS: Final = (
    *("GLOBALEVENTID", "SQLDATE", "MonthYear", "Year", "FractionDate"),
    *("Actor1Code", "Actor1Name", "Actor1CountryCode", "Actor1KnownGroupCode"),
    *("Actor1EthnicCode", "Actor1Religion1Code", "Actor1Religion2Code"),
    *("Actor1Type1Code", "Actor1Type2Code", "Actor1Type3Code"),
    *("Actor2Code", "Actor2Name", "Actor2CountryCode", "Actor2KnownGroupCode"),
    *("Actor2EthnicCode", "Actor2Religion1Code", "Actor2Religion2Code"),
    *("Actor2Type1Code", "Actor2Type2Code", "Actor2Type3Code"),
    *("IsRootEvent", "EventCode", "EventBaseCode", "EventRootCode", "QuadClass"),
    *("GoldsteinScale", "NumMentions", "NumSources", "NumArticles", "AvgTone"),
    *("Actor1Geo_Type", "Actor1Geo_FullName", "Actor1Geo_CountryCode", "Actor1Geo_ADM1Code"),
    *("Actor1Geo_ADM2Code", "Actor1Geo_Lat", "Actor1Geo_Long", "Actor1Geo_FeatureID"),
    *("Actor2Geo_Type", "Actor2Geo_FullName", "Actor2Geo_CountryCode", "Actor2Geo_ADM1Code"),
    *("Actor2Geo_ADM2Code", "Actor2Geo_Lat", "Actor2Geo_Long", "Actor2Geo_FeatureID"),
    *("ActionGeo_Type", "ActionGeo_FullName", "ActionGeo_CountryCode", "ActionGeo_ADM1Code"),
    *("ActionGeo_ADM2Code", "ActionGeo_Lat", "ActionGeo_Long", "ActionGeo_FeatureID"),
    *("DATEADDED", "SOURCEURL"),
)
"""Of GDELT 2.0; 1.0 lacks the three of ADM2, and up to March 2013 SOURCEURL."""

TABLE_COLUMNS: Final = ("key", "day", "what", "how", "who", "whom", "where", "roles", "name")
TABLE_MAP: Final = ColumnMap(
    id="key",
    date="day",
    code="what",
    intensity="how",
    source_country="who",
    target_country="whom",
    country="where",
    source_sectors="roles",
    source_name="name",
    target_name="whom",
    sector_separator="|",
    yearly=r"^year-(?P<year>\d{4})-(?P<release>\d{8})\.",
    daily=r"^(?P<release>\d{8})\.",
)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file, what it has to be read with, and how many events are in it."""

    layout: str
    name: str
    data: bytes
    config: IngestConfig
    n_events: int

    def write(self, folder: Path) -> Path:
        """Write it to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.name
        path.write_bytes(self.data)
        return path


def source_file(layout: str, *, n_events: int = 6, seed: int = 0) -> SourceFile:
    """Return a valid file of one of `LAYOUTS`, of random events of October 2018.

    Files of the same seed have the same events, as far as their layout can say it.
    """
    source, name, write = _WRITERS[layout]
    rng = random.Random(seed)
    data = write([_event(rng, i) for i in range(n_events)])
    return SourceFile(
        layout=layout, name=name, data=data, config=CONFIGS[source], n_events=n_events
    )


def delimited(
    records: Sequence[Mapping[str, str]],
    columns: Sequence[str],
    *,
    header: bool = True,
    end: str = "\n",
) -> str:
    """Return a tab-separated table of records; what one lacks is empty."""
    lines = ["\t".join(columns)] if header else []
    lines += ["\t".join(record.get(name, "") for name in columns) for record in records]
    return "".join(line + end for line in lines)


def gdelt_columns(n_columns: int) -> list[str]:
    """Return the columns of the version of GDELT that has so many."""
    columns = [name for name in GDELT_COLUMNS if n_columns == 61 or "ADM2" not in name]
    return columns[: 57 if n_columns == 57 else None]


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of these members, the same bytes whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def _event(rng: random.Random, i: int) -> dict[str, Any]:
    """Return an event in nobody's layout."""
    who, whom, where = (rng.choice(list(_COUNTRIES)) for _ in range(3))
    code, text, intensity, plover = rng.choice(_CODES)
    return {
        "id": str(1000 + i),
        "date": date(2018, 10, 1) + timedelta(days=rng.randrange(31)),
        "code": code,
        "text": text,
        "plover": plover,
        "intensity": intensity,
        "who": who,
        "whom": whom,
        "where": where,
        "roles": rng.choice((["GOV"], ["MIL", "GOV"], [])),
        "name": rng.choice(('Joseph "Joe" Hockey', "Côte Police", "Army")),
    }


_COUNTRIES: Final = {"Mali": ("MLI", "ML"), "Niger": ("NER", "NG"), "Côte d'Ivoire": ("CIV", "IV")}
_CODES: Final = (
    ("010", "Make statement", 0.0, ("SUPPORT", "None")),
    ("040", "Consult", 1.0, ("CONSULT", "visit")),
    ("190", "Use conventional military force", -10.0, ("ASSAULT", "aerial")),
)


def _icews_record(event: dict[str, Any]) -> Record:
    return {
        "Event ID": event["id"],
        "Event Date": str(event["date"]),
        "Source Name": event["name"],
        "Source Sectors": ",".join(event["roles"]),
        "Source Country": event["who"],
        "Event Text": event["text"],
        "CAMEO Code": event["code"],
        "Intensity": str(event["intensity"]),
        "Target Name": "Citizen",
        "Target Country": event["whom"],
        "Story ID": "37",
        "Sentence Number": "4",
        "City": "Gao",
        "Country": event["where"],
        "Latitude": "16.25",
        "Longitude": "-0.5",
        "Headline": 'A "quoted headline',
        "Story Text": "Some words, of a story.",
        "URL": "https://example.org/1",
        "Language": "en",
    }


def _icews(columns: Sequence[str]) -> Callable[[list[dict[str, Any]]], bytes]:
    return lambda events: delimited([_icews_record(e) for e in events], columns).encode()


def _icews_csv(events: list[dict[str, Any]]) -> bytes:
    records = [_icews_record(event) | {"Event ID": f"ICEWS{event['id']}"} for event in events]
    schema = dict.fromkeys(sorted(ICEWS_COLUMNS), pl.String)
    return pl.DataFrame(records, schema=schema).write_csv(quote_style="always").encode()


def _polecat_record(event: dict[str, Any]) -> Record:
    kind, mode = event["plover"]
    record = dict.fromkeys(POLECAT_COLUMNS, "None") | {
        "Event ID": event["id"],
        "Event Date": str(event["date"]),
        "Event Type": kind,
        "Event Mode": mode,
        "Intensity": str(event["intensity"]),
        "Contexts": "military;terrorism",
        "Actor Name": event["name"],
        "Actor Country": _COUNTRIES[event["who"]][0],
        "Recipient Name": "Citizen",
        "Recipient Country": f"{_COUNTRIES[event['whom']][0]};GBR",
        "Country": _COUNTRIES[event["where"]][0],
        "Latitude": "16.25",
        "Longitude": "-0.5",
    }
    return record | {"Actor Sectors": ";".join(event["roles"]) or "None"}


def _polecat(events: list[dict[str, Any]]) -> bytes:
    lines = delimited([_polecat_record(event) for event in events], POLECAT_COLUMNS).split("\n")
    return "\n".join([*lines[:2], *(line + "\t\t" * bool(line) for line in lines[2:])]).encode()


def _polecat_zip(events: list[dict[str, Any]]) -> bytes:
    columns = [name.replace("Intensity", "Event Intensity") for name in POLECAT_COLUMNS]
    records = [_polecat_record(event) for event in events]
    records = [record | {"Event Intensity": record["Intensity"]} for record in records]
    half = len(records) // 2
    members = {
        "ngecEventsDV-2018-01.txt": delimited(records[:half], columns).encode(),
        "ngecEventsDV-2018-02.txt": delimited(records[half:], columns).encode(),
    }
    return zipped(members)


def _gdelt_record(event: dict[str, Any]) -> Record:
    code, day = event["code"], event["date"]
    record = {
        "GLOBALEVENTID": event["id"],
        "SQLDATE": f"{day:%Y%m%d}",
        "MonthYear": f"{day:%Y%m}",
        "Year": f"{day:%Y}",
        "FractionDate": f"{day:%Y}.7501",
        "Actor1Code": _COUNTRIES[event["who"]][0],
        "Actor1Name": event["name"],
        "Actor1CountryCode": _COUNTRIES[event["who"]][0],
        "Actor2CountryCode": _COUNTRIES[event["whom"]][0],
        "IsRootEvent": "1",
        "EventCode": code,
        "EventBaseCode": code,
        "EventRootCode": code[:2],
        "QuadClass": "1",
        "GoldsteinScale": str(event["intensity"]),
        "NumMentions": "4",
        "NumSources": "1",
        "NumArticles": "4",
        "AvgTone": "-2.5",
        "ActionGeo_Type": "4",
        "ActionGeo_FullName": "Gao, Gao, Mali",
        "ActionGeo_CountryCode": _COUNTRIES[event["where"]][1],
        "ActionGeo_Lat": "16.25",
        "ActionGeo_Long": "-0.5",
        "DATEADDED": "20181101",
        "SOURCEURL": "https://example.org/1",
    }
    return record | {f"Actor1Type{i}Code": role for i, role in enumerate(event["roles"], start=1)}


def _gdelt(n_columns: int) -> Callable[[list[dict[str, Any]]], bytes]:
    def write(events: list[dict[str, Any]]) -> bytes:
        records = [_gdelt_record(event) for event in events]
        text = delimited(records, gdelt_columns(n_columns), header=False)
        return zipped({"20181101.export.CSV": text.encode()})

    return write


def _table_frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    rows = [
        (
            int(event["id"]),
            event["date"],
            event["code"],
            event["intensity"],
            event["who"],
            event["whom"],
            event["where"],
            "|".join(event["roles"]) or None,
            event["name"],
        )
        for event in events
    ]
    schema = dict.fromkeys(TABLE_COLUMNS, pl.String)
    types = {"key": pl.Int64, "day": pl.Date, "how": pl.Float64}
    return pl.DataFrame(rows, schema=schema | types, orient="row")


def _table_csv(events: list[dict[str, Any]]) -> bytes:
    return _table_frame(events).write_csv().encode()


def _table_tsv(events: list[dict[str, Any]]) -> bytes:
    frame = _table_frame(events)
    return frame.write_csv(separator="\t", quote_style="never", line_terminator="\r\n").encode()


def _table_parquet(events: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    _table_frame(events).write_parquet(buffer)
    return buffer.getvalue()


CONFIGS: Final = {
    "icews": IngestConfig(),
    "polecat": IngestConfig(format="polecat"),
    "gdelt": IngestConfig(format="gdelt"),
    "table": IngestConfig(format="table", column_map=TABLE_MAP),
}
"""What files of each source are read with."""

_TEXT: Final = ("Headline", "Story Text", "URL", "Language")
_WRITERS: Final[dict[str, tuple[str, str, Callable[[list[dict[str, Any]]], bytes]]]] = {
    "icews": ("icews", "events.2018.20190110.tab", _icews(ICEWS_COLUMNS)),
    "icews_24": ("icews", "events.2018.20190111.tab", _icews((*ICEWS_COLUMNS, *_TEXT))),
    "icews_26": ("icews", "20181101-icews-events.tab", _icews(("A", *_TEXT, "B", *ICEWS_COLUMNS))),
    "icews_without_codes": (
        "icews",
        "20181102-icews-events.tab",
        _icews([name for name in ICEWS_COLUMNS if name != "CAMEO Code"]),
    ),
    "icews_csv": ("icews", "icews.csv", _icews_csv),
    "polecat": ("polecat", "ngecEvents.20181101111842.Release603.DV.txt", _polecat),
    "polecat_yearly": ("polecat", "ngecEvents.DV.2018.txt", _polecat),
    "polecat_zip": ("polecat", "ngecEventsDV-2018.txt.zip", _polecat_zip),
    "gdelt_57": ("gdelt", "201810.zip", _gdelt(57)),
    "gdelt_58": ("gdelt", "20181101.export.CSV.zip", _gdelt(58)),
    "gdelt_61": ("gdelt", "20181101001500.export.CSV.zip", _gdelt(61)),
    "table_csv": ("table", "20181101.csv", _table_csv),
    "table_tsv": ("table", "year-2018-20190101.tsv", _table_tsv),
    "table_parquet": ("table", "year-2018-20190102.parquet", _table_parquet),
}

LAYOUTS: Final = tuple(_WRITERS)
"""Names of the layouts, each beginning with that of its source."""
