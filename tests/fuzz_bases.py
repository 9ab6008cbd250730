"""Sound raw files of every layout, a few hundred lines each, for the fuzz harness to spoil."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from features.column_map import ColumnMap
from features.events import EventColumns
from features.gdelt import COLUMNS as GDELT_COLUMNS
from features.ingest import IngestConfig
from features.ontology import ontology

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
LINES = 120
MAPPED = ColumnMap(id="key", date="day", code="what", intensity="how", country="where")
POLECAT_COLUMNS = (
    *("Event ID", "Event Date", "Event Type", "Event Mode", "Intensity", "Quad Code", "Contexts"),
    *("Actor Name", "Actor Country", "Actor COW", "Primary Actor Sector", "Actor Sectors"),
    *("Actor Title", "Actor Name Raw", "Wikipedia Actor ID", "Recipient Name"),
    *("Recipient Country", "Recipient COW", "Primary Recipient Sector", "Recipient Sectors"),
    *("Recipient Title", "Recipient Name Raw", "Wikipedia Recipient ID", "Placename", "City"),
    *("District", "Province", "Country", "Latitude", "Longitude", "GeoNames ID", "Raw Placename"),
    *("Feature Type", "Source", "Publication Date", "Story People", "Story Organizations"),
    *("Story Locations", "Language", "Version"),
)


@dataclass(frozen=True)
class Base:
    """A sound file: what it is called, what is in it and how it is read."""

    layout: str
    name: str
    data: bytes
    config: IngestConfig
    has_header: bool = True


@cache
def _icews_lines(source: Path) -> list[tuple[str, list[bytes]]]:
    """Names of ICEWS files and their lines, the header first."""
    files = sorted(source.rglob("*-icews-events*.zip"))[:40]
    files += sorted(source.rglob("events.*.zip"))[:2]
    found = []
    for path in files:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(archive.namelist()[0])
        found.append((path.name.removesuffix(".zip"), data.splitlines()[:20_000]))
    return found


def icews(rng: np.random.Generator, source: Path) -> Base:
    """Lines of a real or sample file, in the usual layout."""
    files = _icews_lines(source)
    name, lines = files[int(rng.integers(len(files)))]
    at = int(rng.integers(1, max(2, len(lines) - LINES)))
    data = b"\n".join([lines[0], *lines[at : at + LINES], b""])
    return Base("icews", name, data, IngestConfig(columns=_columns(rng)))


def icews_csv(rng: np.random.Generator, source: Path) -> Base:
    """The same with alphabetical columns, comma-separated."""
    base = icews(rng, source)
    text = io.BytesIO(base.data.decode(errors="replace").encode())
    rows = pl.read_csv(text, separator="\t", quote_char=None, infer_schema=False)
    style: Literal["always", "necessary"] = "always" if rng.random() < 0.5 else "necessary"
    data = rows.select(sorted(rows.columns)).write_csv(quote_style=style).encode()
    return Base("icews csv", base.name + ".csv", data, base.config)


def polecat(rng: np.random.Generator, source: Path) -> Base:
    """Invented events of POLECAT, some lines ending in further tabs."""
    codes = ontology("plover").table["code"].to_list()
    lines = ["\t".join(POLECAT_COLUMNS)]
    for i in range(LINES):
        kind, _, mode = str(rng.choice(codes)).partition(":")
        own = {
            "Event ID": f"2022-{i}",
            "Event Date": f"2022-12-{1 + int(rng.integers(28)):02}",
            "Event Type": kind,
            "Event Mode": mode or "None",
            "Intensity": f"{rng.uniform(-10, 10):.1f}",
            "Actor Country": str(rng.choice(["RUS", "UKR;POL", "None"])),
            "Recipient Country": "CIV",
            "Contexts": "military;health",
            "City": "Abidjan é",
        }
        extra = "\t" * int(rng.integers(0, 4)) if i % 5 == 0 else ""
        lines.append("\t".join(own.get(name, "None") for name in POLECAT_COLUMNS) + extra)
    name = "ngecEvents.20230103111842.Release603.DV.txt"
    data = ("\n".join(lines) + "\n").encode()
    return Base("polecat", name, data, IngestConfig(columns=_columns(rng), format="polecat"))


def gdelt(rng: np.random.Generator, source: Path) -> Base:
    """Invented events of GDELT, of any of its versions."""
    codes = ontology("cameo").table["code"].to_list()
    columns = GDELT_COLUMNS[int(rng.choice(list(GDELT_COLUMNS)))]
    lines = []
    for i in range(LINES):
        code = str(rng.choice(codes))
        own = {
            "GLOBALEVENTID": str(400_000_000 + i),
            "SQLDATE": f"201502{1 + int(rng.integers(18)):02}",
            "EventCode": code,
            "EventBaseCode": code[:3],
            "EventRootCode": code[:2],
            "GoldsteinScale": f"{rng.uniform(-10, 10):.1f}",
            "Actor1CountryCode": str(rng.choice(["USA", "FRA", ""])),
            "ActionGeo_CountryCode": "ML",
            "ActionGeo_FullName": "Gao, Gao, Mali",
            "IsRootEvent": "1",
            "NumMentions": "4",
            "DATEADDED": "20150218230000",
            "SOURCEURL": 'http://x.org/?a="b"',
        }
        lines.append("\t".join(own.get(name, "") for name in columns))
    name = "20150218230000.export.CSV"
    data = ("\n".join(lines) + "\n").encode()
    config = IngestConfig(columns=_columns(rng), format="gdelt")
    return Base("gdelt", name, data, config, has_header=False)


def _mapped_rows(rng: np.random.Generator) -> pl.DataFrame:
    codes = ontology("cameo").table["code"].to_list()
    return pl.DataFrame(
        {
            "key": [f"k{i}" for i in range(LINES)],
            "day": [f"2020-02-{1 + int(rng.integers(29)):02}" for _ in range(LINES)],
            "what": [str(rng.choice(codes)) for _ in range(LINES)],
            "how": [f"{rng.uniform(-10, 10):.1f}" for _ in range(LINES)],
            "where": [str(rng.choice(["Mali", 'Côte d\'Ivoire, "R."', ""])) for _ in range(LINES)],
            "note": ["x"] * LINES,
        }
    )


def mapped(rng: np.random.Generator, source: Path) -> Base:
    """A table of the user's own, tab- or comma-separated."""
    rows, config = _mapped_rows(rng), IngestConfig(format="table", column_map=MAPPED)
    if rng.random() < 0.5:
        return Base("table", "mine.csv", rows.write_csv().encode(), config)
    return Base(
        "table", "mine.tsv", rows.write_csv(separator="\t", quote_style="never").encode(), config
    )


def parquet(rng: np.random.Generator, source: Path) -> Base:
    """The same as Parquet."""
    buffer = io.BytesIO()
    _mapped_rows(rng).write_parquet(buffer, row_group_size=50)
    config = IngestConfig(format="table", column_map=MAPPED)
    return Base("parquet", "mine.parquet", buffer.getvalue(), config)


def _columns(rng: np.random.Generator) -> EventColumns:
    return "all" if rng.random() < 0.5 else "core"


BASES: tuple[Callable[[np.random.Generator, Path], Base], ...] = (
    icews,
    icews,
    icews_csv,
    polecat,
    gdelt,
    mapped,
)


def in_two(data: bytes) -> bytes:
    """A zip of two tables with the same header."""
    lines = data.split(b"\n")
    middle = len(lines) // 2
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("b.txt", b"\n".join([lines[0], *lines[middle:]]))
        archive.writestr("a.txt", b"\n".join(lines[:middle]))
    return buffer.getvalue()
