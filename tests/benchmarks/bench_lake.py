"""The lake at size: growth from 2 to 20 million rows, an increment of a day, and 100 million rows.

Each piece of work runs in a process of its own, with two threads; CPU seconds are user plus system
time of that process, memory its peak resident set. Run it from the root of the repository::

    python tests/benchmarks/bench_lake.py icews --rows 2000000 20000000 --rounds 3
    python tests/benchmarks/bench_lake.py gdelt --rows 100000000

``icews`` writes yearly files of 2 million rows, brings them into a lake, counts them by country and
week and writes proportions; then daily files, one after the other, each of which is brought into
that lake and counted, and proportions of its year are written anew. With ``--scores`` its steps are
scored again by a model of one epoch. DuckDB counts the same files. ``gdelt`` grows a lake only. A
process that grows a lake fails beyond `--budget` megabytes.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
THREADS = 2


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one piece of work took."""

    work: str
    rows: int
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float


def run_child(work: str, rows: int, *places: Path) -> Run:
    """Do a piece of work in a process of its own and measure it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, __file__, "child", work, str(rows), *map(str, places)]
    began = perf_counter()
    child = subprocess.Popen(command, env=environment)
    _, status, used = os.wait4(child.pid, 0)
    wall = perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{work!r} ended with {child.returncode} at {rows:,} rows")
    run = Run(
        work=work,
        rows=rows,
        cpu_seconds=used.ru_utime + used.ru_stime,
        wall_seconds=wall,
        peak_mb=used.ru_maxrss / 1024,
    )
    print(
        f"{rows:>12,} {work:<20} {run.cpu_seconds:9.1f} s CPU {wall:8.1f} s {run.peak_mb:7,.0f} MB",
        flush=True,
    )
    return run


def measure_icews(rows: int, rounds: int, folder: Path, *, scores: bool) -> list[Run]:
    """Grow a lake, then bring one day after the other into it."""
    source, out = folder / "source", folder / "out"
    run_child("write icews", rows, source)
    runs = [run_child("grow icews", rows, source, out), run_child("duckdb icews", rows, source)]
    shutil.rmtree(source)
    if scores:
        runs.append(run_child("train", rows, out))
    for day in range(rounds):
        daily = folder / "daily"
        run_child(f"write day {day}", rows, daily)
        runs.append(run_child("increment", rows, daily, out))
        if scores:
            runs.append(run_child("score increment", rows, out))
    shutil.rmtree(out)
    return runs


def measure_gdelt(rows: int, folder: Path) -> list[Run]:
    """Grow a lake of GDELT-like rows."""
    source, out = folder / "source", folder / "out"
    run_child("write gdelt", rows, source)
    size = sum(path.stat().st_size for path in source.iterdir())
    print(f"{rows:>12,} rows in {len(list(source.iterdir()))} files, {size / 1e9:.1f} GB zipped")
    runs = [run_child("grow gdelt", rows, source, out)]
    lake = sum(path.stat().st_size for path in (out / "lake").rglob("*.parquet"))
    print(f"{rows:>12,} rows in the lake, {lake / 1e9:.1f} GB")
    shutil.rmtree(folder / "source")
    shutil.rmtree(out)
    return runs


def over_threads(function: Any, items: Any, *, stage: str, weight: Any) -> list[Any]:
    """Apply a function to items in two threads, as the flows' default runner does."""
    del stage, weight
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        return list(pool.map(function, items))


def child(work: str, rows: int, places: list[Path]) -> None:
    """Do a child's work."""
    if work == "write icews":
        from generate import write_years

        write_years(places[0], rows)
    elif work == "write gdelt":
        from generate import write_gdelt

        write_gdelt(places[0], rows)
    elif work.startswith("write day"):
        from generate import write_day

        write_day(places[0], rows, int(work.removeprefix("write day ")))
    elif work.startswith("grow"):
        from sides import make_lake

        make_lake(*places, over_threads, format_=work.removeprefix("grow "))
    elif work == "duckdb icews":
        with TemporaryDirectory() as scratch:
            from sides import run_duckdb_files

            run_duckdb_files(places[0], Path(scratch))
    elif work == "increment":
        increment(*places)
    elif work == "train":
        from lake_scores import train_scorer

        train_scorer(places[0])
    elif work == "score increment":
        from lake_scores import score_changes

        score_changes(places[0])


def increment(daily: Path, out: Path) -> None:
    """Bring a day into a lake, count it, and write the proportions of the years it touches."""
    from features.ingest import IngestConfig
    from features.vocabulary import Vocabulary
    from flows.counting import CountStore, months_between, steps_of
    from flows.lake import Lake
    from flows.lake_update import update_lake
    from flows.proportions import StepBounds, end_of, write_year

    found = update_lake(out / "lake", [daily], IngestConfig(), run_all=over_threads)
    assert len(found.added) == 1, found
    lake = Lake.read(found.lake)
    store = CountStore(root=out / "counts", entity="country", step="week", fields=("event_code",))
    store.count(lake, run_all=over_threads)
    months = list(lake.months)
    ends = [store.counts(lake, [month]) for month in (months[0], months[-1])]
    bounds = StepBounds.of([part for part in ends if part is not None])
    vocabulary = Vocabulary.from_json((out / "vocabulary.json").read_text())
    for year in sorted({start.year for start in steps_of(found.days, "week")}):
        from datetime import date

        own = months_between(date(year, 1, 1), end_of(date(year, 12, 31), "week"))
        counts = store.counts(lake, own)
        assert counts is not None
        write_year(counts, vocabulary, "week", year, bounds, out, {})


def show(runs: list[Run]) -> None:
    """Print medians, and what a row takes in relation to the smallest size."""
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    print(f"{'work':<20}{'rows':>13}{'CPU s':>10}{'wall s':>10}{'peak MB':>10}{'CPU, ratio':>12}")
    smallest: dict[str, float] = {}
    for work, rows in dict.fromkeys((run.work, run.rows) for run in runs):
        same = [run for run in runs if (run.work, run.rows) == (work, rows)]
        cpu, wall, peak = (
            statistics.median(getattr(run, name) for run in same)
            for name in ("cpu_seconds", "wall_seconds", "peak_mb")
        )
        ratio = cpu / smallest.setdefault(work, cpu)
        print(f"{work:<20}{rows:>13,}{cpu:>10.1f}{wall:>10.1f}{peak:>10,.0f}{ratio:>12.2f}")


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    from importlib.metadata import version

    packages = ("polars", "pyarrow", "duckdb", "numpy")
    return {
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def main() -> None:
    """Measure, print and, if asked, write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("source", choices=["icews", "gdelt", "child"])
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000_000, 20_000_000])
    parser.add_argument("--rounds", type=int, default=3, help="days brought in, one by one")
    parser.add_argument("--scores", action="store_true", help="score the increments too")
    parser.add_argument("--budget", type=float, default=2_000, help="MB that growing may take")
    parser.add_argument("--json", type=Path, help="file to write every run to")
    parser.add_argument("--folder", type=Path, help="where to put the temporary files")
    chosen = parser.parse_args()
    if chosen.source == "child":
        work, rows, *places = chosen.rest
        child(work, int(rows), [Path(place) for place in places])
        return
    runs: list[Run] = []
    for rows in chosen.rows:
        with TemporaryDirectory(dir=chosen.folder) as folder:
            if chosen.source == "icews":
                runs += measure_icews(rows, chosen.rounds, Path(folder), scores=chosen.scores)
            else:
                runs += measure_gdelt(rows, Path(folder))
    show(runs)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")
    over = [run for run in runs if run.work.startswith("grow") and run.peak_mb > chosen.budget]
    if over:
        raise SystemExit(f"beyond the budget of {chosen.budget:,.0f} MB: {over}")


if __name__ == "__main__":
    main()
