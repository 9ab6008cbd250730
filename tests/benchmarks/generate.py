"""The files that the benchmarks read, made from pools of values.

ICEWS's have 20 columns, 250 bytes a row; GDELT's 58 columns, 330 bytes a row, zipped.
"""

import zipfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from features.cameo import QUAD_CLASSES, cameo_table
from features.sample import ICEWS_COLUMNS

ROWS_PER_YEAR = 2_000_000
CHUNK = 250_000
FIRST_DAY = date(2015, 1, 1)


def write_years(folder: Path, rows: int) -> list[Path]:
    """Write `rows` ICEWS-like rows as yearly files of 2 million each."""
    folder.mkdir(parents=True)
    files = []
    for first in range(0, rows, ROWS_PER_YEAR):
        year = FIRST_DAY.year + first // ROWS_PER_YEAR
        files.append(folder / f"events.{year}.{year + 1}0401000000.tab")
        write_events(files[-1], min(ROWS_PER_YEAR, rows - first), first=first)
    return files


def write_day(folder: Path, rows_before: int, day: int) -> Path:
    """Write the daily file of a day after `rows_before` rows; 0 is the first such day."""
    folder.mkdir(parents=True, exist_ok=True)
    a_day = ROWS_PER_YEAR // 365
    first = rows_before + day * a_day
    last = FIRST_DAY + timedelta(days=rows_before * 365 // ROWS_PER_YEAR + day + 1)
    path = folder / f"{last:%Y%m%d}-icews-events.tab"
    write_events(path, a_day, first=first)
    return path


def write_events(tsv: Path, rows: int, *, first: int = 0) -> None:
    """Write `rows` ICEWS-like rows, 2 million a year, sorted by date but for late ones."""
    rng = np.random.default_rng(first)
    pools = _pools()
    with tsv.open("wb") as file:
        for start in range(first, first + rows, CHUNK):
            number = np.arange(start, min(start + CHUNK, first + rows))
            late = np.floor(rng.exponential(0.3, len(number))).astype(int)
            day = np.maximum(number * 365 // ROWS_PER_YEAR - late, 0)
            picked = {
                name: pool.gather((len(pool) * rng.random(len(number)) ** skew).astype(int))
                for name, (pool, skew) in pools.items()
            }
            event = picked.pop("event")
            chunk = pl.DataFrame(
                {
                    "Event ID": 24_000_000 + number,
                    "Event Date": np.datetime64(FIRST_DAY, "D") + day,
                    "Story ID": 48_000_000 + number // 2,
                    "Sentence Number": rng.integers(1, 7, len(number)),
                    **picked,
                    **{field.name: field for field in event.struct.unnest()},
                }
            ).select(ICEWS_COLUMNS)
            chunk.write_csv(
                file, separator="\t", quote_style="never", include_header=start == first
            )


GDELT_ROWS_PER_DAY = 200_000


def write_gdelt(folder: Path, rows: int) -> int:
    """Write `rows` rows like GDELT 1.0's as zipped daily files; return their bytes, unpacked.

    A row is an id and dates of its own before a tail that is one of 100,000; one in fifty is dated
    a month before its file, one in two hundred a year, as GDELT does.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    tails, size = _gdelt_tails(rng, 100_000), 0
    for start in range(0, rows, GDELT_ROWS_PER_DAY):
        number = np.arange(start, min(start + GDELT_ROWS_PER_DAY, rows))
        day = FIRST_DAY + timedelta(days=start // GDELT_ROWS_PER_DAY)
        drawn = rng.random(len(number))
        back = np.where(drawn < 0.005, 365, np.where(drawn < 0.025, 30, 0))
        when = pl.Series("day", np.datetime64(day, "D") - back)
        table = pl.select(
            pl.Series("id", 400_000_000 + number),
            when.dt.strftime("%Y%m%d").alias("sqldate"),
            when.dt.strftime("%Y%m").alias("month"),
            when.dt.strftime("%Y").alias("year"),
            (when.dt.year() + when.dt.ordinal_day() / 365).round(4).alias("fraction"),
            tails.gather(rng.integers(len(tails), size=len(number))).alias("tail"),
        )
        text = table.write_csv(separator="\t", quote_style="never", include_header=False).encode()
        size += len(text)
        archive = folder / f"{day:%Y%m%d}.export.CSV.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            packed.writestr(f"{day:%Y%m%d}.export.CSV", text)
    return size


def _gdelt_tails(rng: np.random.Generator, n: int) -> pl.Series:
    """Return the fields after the dates: actors, event, tone, places and source of `n` events."""
    codes = cameo_table().filter(pl.col("code") != pl.col("root"))
    shape = (np.arange(len(codes)) + 8.0) ** -2.2
    event = codes.sample(fraction=1, seed=1, shuffle=True)[
        rng.choice(len(codes), n, p=shape / shape.sum())
    ]
    quads = {quad: str(i + 1) for i, quad in enumerate(QUAD_CLASSES)}
    iso = [a + b + c for a in "ABCDEFGHIJ" for b in "AEIOU" for c in "NRSTL"]

    def column(values: list[str], skew: float = 3.0, empty: float = 0.0) -> pl.Series:
        chosen = (len(values) * rng.random(n) ** skew).astype(int)
        found = pl.Series(values).gather(chosen)
        return found.zip_with(pl.Series(rng.random(n) >= empty), pl.Series([""] * n))

    def numbers(low: float, high: float, digits: int) -> pl.Series:
        return pl.Series(rng.uniform(low, high, n)).round(digits).cast(pl.String)

    def actor() -> list[pl.Series]:
        names = [f"ACTOR {i:05}" for i in range(5_000)]
        kinds = ["GOV", "MIL", "COP", "OPP", "REB", "CVL", "MED", "EDU", "BUS", "JUD", "LEG"]
        return [
            column(iso, empty=0.1),
            column(names, empty=0.1),
            column(iso, empty=0.4),
            *[column(["", "A", "B"]) for _ in range(4)],
            *[column(kinds, empty=share) for share in (0.5, 0.9, 0.99)],
        ]

    def place() -> list[pl.Series]:
        names = [f"City {i:05}, Region, Country" for i in range(8_000)]
        return [
            column(["1", "2", "3", "4", "5"]),
            column(names),
            column(iso[:200]),
            column(["A1", "B2", "C3"]),
            numbers(-90, 90, 4),
            numbers(-180, 180, 4),
            column([str(-i) for i in range(100_000, 108_000)]),
        ]

    counts = column([str(i) for i in range(1, 40)])
    fields = [
        *actor(),
        *actor(),
        column(["1", "0"]),
        event["code"],
        event["code"].str.head(3),
        event["root"],
        event["quad"].replace_strict(quads),
        event["intensity"].cast(pl.String),
        *[counts] * 3,
        numbers(-10, 10, 6),
        *place(),
        *place(),
        *place(),
        column([f"20150{i}01" for i in range(1, 9)]),
        column([f"http://example.org/news/{i:06}/what-happened" for i in range(50_000)]),
    ]
    named = [field.alias(str(i)) for i, field in enumerate(fields)]
    return pl.DataFrame(named).select(pl.concat_str(pl.all(), separator="\t")).to_series()


def _pools() -> dict[str, tuple[pl.Series, float]]:
    """Return each column's values and the power of their skew, shaped like ICEWS's.

    `event` holds the columns that go together as one struct.
    """

    rng = np.random.default_rng(1)

    def words(n: int, mean: int, empty: float = 0.0) -> pl.Series:
        letters = rng.integers(97, 123, size=(n, 2 * mean)).astype(np.uint8)
        letters[:, 7::8] = ord(" ")
        lengths = rng.integers(max(mean // 2, 3), 3 * mean // 2, n) * (rng.random(n) >= empty)
        text = letters.tobytes().decode()
        return pl.Series(
            [text[2 * mean * i : 2 * mean * i + k] for i, k in enumerate(lengths)], dtype=pl.String
        )

    codes = (
        cameo_table()
        .filter(pl.col("code") != pl.col("root"))
        .sample(fraction=1, seed=1, shuffle=True)
    )
    events = codes.select(
        pl.col("name").alias("Event Text"),
        pl.col("code").alias("CAMEO Code"),
        pl.col("intensity").cast(pl.String).str.strip_suffix(".0").alias("Intensity"),
    )
    shape = (np.arange(len(events)) + 8.0) ** -2.2  # top 10 codes 64 %, top 50 92 %
    commonness = np.ceil(20_000 * shape / shape.sum()).astype(int)
    countries = words(250, 9)
    degrees = pl.Series(np.char.mod("%.4f", rng.uniform(-90, 90, 12_000)))
    return {
        "event": (events[np.repeat(np.arange(len(events)), commonness)].to_struct("event"), 1.0),
        "Source Name": (words(14_000, 17), 3.0),
        "Source Sectors": (words(27_000, 53, 0.21), 2.0),
        "Source Country": (countries, 4.0),
        "Target Name": (words(14_000, 16), 3.0),
        "Target Sectors": (words(23_000, 50, 0.29), 2.0),
        "Target Country": (countries, 4.0),
        "Publisher": (words(146, 17), 3.0),
        "City": (words(10_000, 7, 0.25), 2.0),
        "District": (words(2_400, 14, 0.8), 1.0),
        "Province": (words(2_200, 16, 0.15), 2.0),
        "Country": (countries, 4.0),
        "Latitude": (degrees, 2.0),
        "Longitude": (degrees, 2.0),
    }
