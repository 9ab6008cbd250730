"""The flow over the experiments: published recipes, goals and sweep, in tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from rich.console import Console
from rich.table import Table

from flows import plots
from flows.experiment_grid import (
    ExperimentsConfig,
    Setting,
    goal_grid,
    published_grid,
    sweep_grid,
)
from flows.experiment_runs import Outcome, run
from flows.experiment_tables import (
    GOAL_TITLES,
    Goal,
    goal_cells,
    goals,
    losses_frame,
    report,
    runs_frame,
)
from flows.progress import progress
from flows.publishing import publishing

RUNS: Final = "experiments.parquet"
LOSSES: Final = "losses.parquet"
TABLE: Final = "table.md"
_LOG_WIDTH: Final = 120


@dataclass(frozen=True, kw_only=True)
class ExperimentsResult:
    """What came of the experiments.

    Attributes
    ----------
    folder
        Holds the tables and the figures.
    goals
        What was to be reached, and whether it was.
    """

    folder: Path
    goals: tuple[Goal, ...]

    @property
    def all_reached(self) -> bool:
        """Whether every goal was reached."""
        return all(goal.is_reached for goal in self.goals)


@flow(name="experiments", flow_run_name="experiments")
def experiments(config: ExperimentsConfig) -> ExperimentsResult:
    """Run the published grid, the goals and the sweep, and write what came of them."""
    started = datetime.now(UTC)
    outcomes = [*run_published(config), *run_goals(config), *run_sweep(config)]
    folder = write(outcomes, config, f"{started:%Y%m%dT%H%M%S.%fZ}")
    create_markdown_artifact(
        report(outcomes, config),
        key="experiments",
        description="Goals, published figures and the sweep",
    )
    return ExperimentsResult(folder=folder, goals=tuple(goals(outcomes)))


@task(name="published recipes", cache_policy=NO_CACHE)
def run_published(config: ExperimentsConfig) -> list[Outcome]:
    """Repeat the published recipes to the letter."""
    return _run_all("published recipes", published_grid(config))


@task(name="goals", cache_policy=NO_CACHE)
def run_goals(config: ExperimentsConfig) -> list[Outcome]:
    """Run the library at its default settings on the published data."""
    return _run_all("goals", goal_grid(config))


@task(name="sweep", cache_policy=NO_CACHE)
def run_sweep(config: ExperimentsConfig) -> list[Outcome]:
    """Run every decoder with every scaling, differenced and not, at every hidden size."""
    return _run_all("sweep", sweep_grid(config))


@task(name="write tables and figures", cache_policy=NO_CACHE)
def write(outcomes: list[Outcome], config: ExperimentsConfig, version: str) -> Path:
    """Write everything, whole or not at all."""
    with publishing(config.data / "experiments", version) as folder:
        runs_frame(outcomes).write_parquet(folder / RUNS)
        losses_frame(outcomes).write_parquet(folder / LOSSES)
        (folder / TABLE).write_text(report(outcomes, config), encoding="utf-8")
        plots.draw_all(outcomes, folder)
    return config.data / "experiments" / version


def print_goals(result: ExperimentsResult, console: Console | None = None) -> None:
    """Print what was to be reached, whether it was, and where everything is."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_LOG_WIDTH)
    table = Table(box=None)
    for title in GOAL_TITLES:
        table.add_column(title, justify="right" if title else "left")
    for goal in result.goals:
        table.add_row(*goal_cells(goal), style=None if goal.is_reached else "red")
    console.print(table)
    console.print(f"\nWritten to {result.folder}", style="bold", markup=False, soft_wrap=True)
    for path in sorted(result.folder.iterdir()):
        console.print(f"  {path.name}", markup=False)


def _run_all(stage: str, settings: Sequence[Setting]) -> list[Outcome]:
    outcomes = []
    with progress(stage, len(settings)) as advance:
        for setting in settings:
            outcomes.append(run(setting))
            advance(doing=f"{setting.data}, hidden {setting.hidden}")
    return outcomes
