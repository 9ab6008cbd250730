"""The file that the benchmark reads: 20 columns, 250 bytes a row, made from pools of values."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from features.cameo import cameo_table
from features.sample import ICEWS_COLUMNS

ROWS_PER_YEAR = 2_000_000
CHUNK = 250_000
FIRST_DAY = date(2015, 1, 1)


def write_events(tsv: Path, rows: int) -> None:
    """Write `rows` ICEWS-like rows, 2 million a year, sorted by date but for late ones."""
    rng = np.random.default_rng(0)
    pools = _pools()
    with tsv.open("wb") as file:
        for start in range(0, rows, CHUNK):
            number = np.arange(start, min(start + CHUNK, rows))
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
            chunk.write_csv(file, separator="\t", quote_style="never", include_header=start == 0)


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
