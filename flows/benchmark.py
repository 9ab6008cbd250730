"""The flow over labelled series: every scorer trained, judged, and put in tables and a figure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from rich.console import Console
from rich.table import Table

from flows.benchmark_data import BenchmarkConfig, read_labelled_cube
from flows.benchmark_runs import Finding, evaluate
from flows.benchmark_table import (
    TITLES,
    about,
    cells,
    draw_vus,
    medians,
    over_files,
    report,
    rows_frame,
)
from flows.progress import progress
from flows.publishing import publishing

RUNS: Final = "benchmark.parquet"
TABLE: Final = "table.md"
FIGURE: Final = "vus_pr.png"
_LOG_WIDTH: Final = 160


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchmarkResult:
    """What came of a benchmark.

    Attributes
    ----------
    folder
        Holds the tables and the figure.
    rows
        A row a file, scorer and seed, as in the Parquet file.
    """

    folder: Path
    rows: pl.DataFrame


@flow(name="benchmark", flow_run_name="benchmark")
def benchmark(config: BenchmarkConfig) -> BenchmarkResult:
    """Score every file by every scorer and seed, and write how well that went.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file can't be used, as `read_labelled_cube` says: before anything is trained.
    """
    started = datetime.now(UTC)
    check_files(config)
    findings = [finding for file in config.files for finding in evaluate_file(file, config)]
    rows = rows_frame(findings)
    folder = write(rows, config, f"{started:%Y%m%dT%H%M%S.%fZ}")
    create_markdown_artifact(
        report(rows, config), key="benchmark", description="Scorers on labelled series"
    )
    return BenchmarkResult(folder=folder, rows=rows)


@task(name="check files", cache_policy=NO_CACHE)
def check_files(config: BenchmarkConfig) -> None:
    """Read every file once, so that none stops the benchmark halfway; say what is shortened."""
    logger = get_run_logger()
    for file in config.files:
        length = read_labelled_cube(file, config).length
        if length < config.length:
            logger.warning(
                "%s: windows have %d steps in place of %d, as train is so short",
                file,
                length,
                config.length,
            )


@task(name="evaluate", task_run_name="evaluate {file.name}", cache_policy=NO_CACHE)
def evaluate_file(file: Path, config: BenchmarkConfig) -> list[Finding]:
    """Score one file by every scorer, once a seed."""
    cube = read_labelled_cube(file, config)
    findings = []
    with progress(file.name, config.seeds) as advance:
        for seed in range(config.seeds):
            findings += evaluate(cube, seed, config)
            advance(doing=f"seed {seed}")
    return findings


@task(name="write tables and figure", cache_policy=NO_CACHE)
def write(rows: pl.DataFrame, config: BenchmarkConfig, version: str) -> Path:
    """Write everything, whole or not at all."""
    with publishing(config.data / "benchmarks", version) as folder:
        rows.write_parquet(folder / RUNS)
        (folder / TABLE).write_text(report(rows, config), encoding="utf-8")
        draw_vus(rows).savefig(folder / FIGURE)
    return config.data / "benchmarks" / version


def print_benchmark(result: BenchmarkResult, console: Console | None = None) -> None:
    """Print the scorers, best first, and where everything is; of several files their means."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_LOG_WIDTH)
    rows = result.rows
    files = rows["file"].unique(maintain_order=True).to_list()
    title = files[0] if len(files) == 1 else f"Means over {len(files)} files"
    console.print(title, style="bold", markup=False, soft_wrap=True)
    if len(files) == 1:
        console.print(about(rows), markup=False)
    table = Table(box=None)
    for name in TITLES:
        table.add_column(name, justify="left" if name == TITLES[0] else "right", no_wrap=True)
    shown = medians(rows) if len(files) == 1 else over_files(rows)
    for row in shown.iter_rows(named=True):
        table.add_row(*cells(row))
    console.print(table)
    console.print(f"\nWritten to {result.folder}", style="bold", markup=False, soft_wrap=True)
    for path in sorted(result.folder.iterdir()):
        console.print(f"  {path.name}", markup=False)
