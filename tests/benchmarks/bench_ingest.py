"""Raw TSV to counts or proportions by country and week: Foreshock beside DuckDB and pandas.

Every side reads the same generated file in a process of its own, in turn, over several rounds.
CPU seconds are user plus system time of that process, memory its peak resident set; the table
gives medians, and each side's ratio to Foreshock. Run it from the root of the repository::

    python tests/benchmarks/bench_ingest.py --rows 2000000 8000000 --json bench.json

The sides do not do the same work. Foreshock validates, deduplicates, writes its lake, counts it,
fits the vocabulary and writes proportions, with the functions that its flows run but without
Prefect; DuckDB only counts by (country, week, code), which is the floor that a CSV engine sets;
pandas goes from the three columns needed to mean dummies, the way that the notebooks before
Foreshock did.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from sides import SIDES, STAGES

ROOT = Path(__file__).resolve().parents[2]
PANDAS_LIMIT = 2_000_000  # its dummies take about 2.3 GB a million rows

# This process imports nothing large: the peak of a child begins at that of its parent.


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one side took, once."""

    side: str
    rows: int
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    stages: dict[str, dict[str, float]] = field(default_factory=dict)


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
        report = Path(out) / STAGES
        stages = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    if child.returncode:
        raise SystemExit(f"side {side!r} ended with {child.returncode} at {rows:,} rows")
    return Run(
        side=side,
        rows=rows,
        cpu_seconds=used.ru_utime + used.ru_stime,
        wall_seconds=wall,
        peak_mb=used.ru_maxrss / 1024,
        stages=stages,
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


def show_stages(runs: Sequence[Run]) -> None:
    """Print where Foreshock's CPU time went and how its memory grew: medians by stage."""
    for rows in sorted({run.rows for run in runs}):
        split = [run.stages for run in runs if run.rows == rows and run.stages]
        for measure in split[0] if split else {}:
            medians = {
                name: statistics.median(run[measure][name] for run in split)
                for name in split[0][measure]
            }
            cells = ", ".join(f"{name} {value:.4g}" for name, value in medians.items())
            print(f"{rows:>10,}  {measure} by stage: {cells}")


def main() -> None:
    """Measure, print and, if asked, write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000_000])
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
    show_stages(runs)
    if chosen.json:
        report = {"machine": machine(), "medians": table, "runs": [asdict(run) for run in runs]}
        chosen.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def run_side(side: str, tsv: Path, out: Path, rows: int) -> None:
    """Do a child's work."""
    if side == "write":
        from generate import write_events

        write_events(tsv, rows)
    else:
        SIDES[side](tsv, out)


if __name__ == "__main__":
    main()
