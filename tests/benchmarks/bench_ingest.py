"""Raw TSV to counts or proportions by country and week: Foreshock beside DuckDB and pandas.

Every side reads the same generated file in a process of its own, in turn, over several rounds.
CPU seconds are user plus system time of that process, memory its peak resident set; the table
gives medians, and each side's ratio to Foreshock. Run it from the root of the repository::

    python tests/benchmarks/bench_ingest.py --rows 2000000 8000000 --json bench.json

The sides do not do the same work. Foreshock validates, deduplicates and writes its lake; DuckDB
only counts by (country, week, code), which is the floor that a CSV engine sets; pandas goes from
the three columns needed to mean dummies, the way that the notebooks before Foreshock did.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

ROOT = Path(__file__).resolve().parents[2]
ROWS_PER_YEAR = 2_000_000
CHUNK = 250_000
PANDAS_LIMIT = 2_000_000  # its dummies take about 2.3 GB a million rows
FIRST_DAY = date(2015, 1, 1)


# The sides: each reads the file `tsv` and may write into the empty folder `out`.


# ---- FORESHOCK'S SIDE: TO BE COMPLETED BY THE OWNER OF features.ingest -------------------------
def run_foreshock(tsv: Path, out: Path) -> None:
    """Stand in for Foreshock's ingest until it is there: polars, lazy, streaming."""
    import polars as pl  # noqa: PLC0415

    names = tsv.open(encoding="utf-8").readline().rstrip("\n").split("\t")
    keys = ["Country", "CAMEO Code"]
    types = {n: pl.Categorical() if n in (*keys, "Event Date") else pl.String() for n in names}
    day = pl.col("Event Date").cast(pl.String).str.to_date("%Y-%m-%d")
    (
        pl.scan_csv(tsv, separator="\t", quote_char=None, schema=types)
        .group_by("Event Date", *keys)
        .len()
        .group_by(day.dt.truncate("1w").alias("week"), *keys)
        .agg(pl.col("len").sum())
        .collect(engine="streaming")
        .write_parquet(out / "counts.parquet")
    )


# ------------------------------------------------------------------------------------------------


def run_duckdb(tsv: Path, out: Path) -> None:
    """Count by (country, week, code), the columns typed, nothing inferred."""
    import duckdb  # noqa: PLC0415

    names = tsv.open(encoding="utf-8").readline().rstrip("\n").split("\t")
    types = {name: "DATE" if name == "Event Date" else "VARCHAR" for name in names}
    duckdb.execute(
        f"""
        COPY (
            SELECT "Country", date_trunc('week', "Event Date") AS week, "CAMEO Code", count(*) AS n
            FROM read_csv(
                '{tsv}', delim = '\t', quote = '', escape = '', header = true,
                auto_detect = false, columns = {types}
            )
            GROUP BY ALL
        ) TO '{out / "counts.parquet"}'
        """
    )


def run_pandas(tsv: Path, out: Path) -> None:
    """Average one-hot codes by (country, week)."""
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415

    needed = ["Event Date", "CAMEO Code", "Country"]
    events = pd.read_csv(
        tsv, sep="\t", quoting=3, usecols=needed, dtype={"CAMEO Code": str, "Country": str}
    )
    week = pd.to_datetime(events["Event Date"]).dt.to_period("W").dt.start_time
    dummies = pd.get_dummies(events["CAMEO Code"])
    dummies.groupby([events["Country"], week]).mean().to_parquet(out / "means.parquet")


SIDES: dict[str, Callable[[Path, Path], None]] = {
    "foreshock": run_foreshock,
    "duckdb": run_duckdb,
    "pandas": run_pandas,
}


# The file: 20 columns of about 250 bytes a row, made in chunks from pools of values.


def write_events(tsv: Path, rows: int) -> None:
    """Write `rows` ICEWS-like rows, 2 million a year, sorted by date but for late ones."""
    import numpy as np  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415

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
            ).select(_columns())
            chunk.write_csv(file, separator="\t", quote_style="never", include_header=start == 0)


def _columns() -> list[str]:
    from features.sample import ICEWS_COLUMNS  # noqa: PLC0415

    return list(ICEWS_COLUMNS)


def _pools() -> dict[str, "tuple[pl.Series, float]"]:
    """Return each column's values and the power of their skew, shaped like ICEWS's.

    `event` holds the columns that go together as one struct.
    """
    import numpy as np  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415

    from features.cameo import cameo_table  # noqa: PLC0415

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


# Measuring. This process imports nothing large: a child's peak begins at its parent's.


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one side took, once."""

    side: str
    rows: int
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float


def run_child(side: str, tsv: Path, rows: int) -> Run:
    """Run a side, or `write`, in a process of its own and measure it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with TemporaryDirectory(dir=tsv.parent) as out:
        command = [sys.executable, __file__, "--child", side, str(tsv), out, "--rows", str(rows)]
        began = perf_counter()
        child = subprocess.Popen(command, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = perf_counter() - began
    if child.returncode:
        raise SystemExit(f"side {side!r} ended with {child.returncode} at {rows:,} rows")
    return Run(
        side=side,
        rows=rows,
        cpu_seconds=used.ru_utime + used.ru_stime,
        wall_seconds=wall,
        peak_mb=used.ru_maxrss / 1024,
    )


def measure(rows: int, rounds: int, sides: Sequence[str], folder: Path) -> list[Run]:
    """Generate a file, run every side on it in turn, `rounds` times, and delete it."""
    tsv = folder / f"events-{rows}.tab"
    run_child("write", tsv, rows)
    print(f"{rows:,} rows, {tsv.stat().st_size / 1e6:,.0f} MB", file=sys.stderr)
    fitting = [side for side in sides if side != "pandas" or rows <= PANDAS_LIMIT]
    try:
        return [run_child(side, tsv, rows) for _ in range(rounds) for side in fitting]
    finally:
        tsv.unlink()


def summarise(runs: Sequence[Run]) -> list[dict[str, float | int | str]]:
    """Take medians by rows and side, and their ratios to Foreshock's."""
    groups: dict[tuple[int, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.rows, run.side), []).append(run)
    measures = ("cpu_seconds", "wall_seconds", "peak_mb")
    medians = {
        key: {name: statistics.median(getattr(run, name) for run in group) for name in measures}
        for key, group in groups.items()
    }
    return [
        {
            "rows": rows,
            "side": side,
            **values,
            **{
                f"{name}_ratio": values[name] / medians[rows, "foreshock"][name]
                for name in measures
                if (rows, "foreshock") in medians
            },
        }
        for (rows, side), values in medians.items()
    ]


def machine() -> dict[str, str | int | None]:
    """Describe what the figures were measured on."""
    packages = ("polars", "pyarrow", "duckdb", "pandas", "numpy")
    return {
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def show(table: Sequence[dict[str, float | int | str]]) -> None:
    """Print the medians, with each side's ratio to Foreshock in brackets."""
    print(f"{'rows':>10}  {'side':<10}{'CPU s':>16}{'wall s':>16}{'peak MB':>18}")
    for row in table:
        cells = [
            f"{row[name]:,.{digits}f} ({row.get(f'{name}_ratio', float('nan')):.2f})"
            for name, digits in (("cpu_seconds", 2), ("wall_seconds", 2), ("peak_mb", 0))
        ]
        print(f"{row['rows']:>10,}  {row['side']:<10}{cells[0]:>16}{cells[1]:>16}{cells[2]:>18}")


def main() -> None:
    """Measure, print and, if asked, write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[ROWS_PER_YEAR])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--json", type=Path, help="file to write every run and the medians to")
    parser.add_argument("--folder", type=Path, help="where to put the temporary files")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        side, tsv, out = chosen.child
        run_side(side, Path(tsv), Path(out), chosen.rows[0])
        return
    with TemporaryDirectory(dir=chosen.folder) as folder:
        runs = [
            run
            for rows in chosen.rows
            for run in measure(rows, chosen.rounds, chosen.sides, Path(folder))
        ]
    table = summarise(runs)
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    show(table)
    if chosen.json:
        report = {"machine": machine(), "medians": table, "runs": [asdict(run) for run in runs]}
        chosen.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def run_side(side: str, tsv: Path, out: Path, rows: int) -> None:
    """Do a child's work."""
    if side == "write":
        write_events(tsv, rows)
    else:
        SIDES[side](tsv, out)


if __name__ == "__main__":
    main()
