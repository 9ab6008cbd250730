"""What came of the experiments in tables: the goals, the published figures, the sweep."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import median
from typing import Final

import numpy as np
import polars as pl

from flows.experiment_grid import DECODERS, SCALINGS, Data, ExperimentsConfig
from flows.experiment_runs import Outcome, choose, mean_mse
from models import AutoencoderConfig, TrainingConfig

MISSED: Final = "–"

GOAL_TITLES: Final = ("", "published", "goal", "median", "each seed", "levels", "reached")

_PUBLISHED: Final = (
    "not in 1,000 steps: flat lines",
    "not in 1,000 steps",
    "942 steps",
    "215 steps",
    "0.2 everywhere",
    "[0.0260, 0.0886, 0.1976, 0.3079, 0.3962] after 60,000 steps",
    "[0.0405, 0.1049, 0.1986, 0.3098, 0.4027] after 10,645 steps",
    MISSED,
)
"""In the order of `published_grid`."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What the library is to reach at its default settings, and what it did.

    Attributes
    ----------
    name
        The data and what is varied.
    published
        What the published recipe needed.
    within
        Steps that the median over seeds may take.
    steps, level_steps
        Of each seed, None where never: as published, where a differenced sequence is judged by
        its changes, and with the changes added up.
    """

    name: str
    published: str
    within: int
    steps: tuple[int | None, ...]
    level_steps: tuple[int | None, ...]

    @property
    def median(self) -> float:
        """Over the seeds; infinite where most never reach it."""
        return _median(self.steps)

    @property
    def is_reached(self) -> bool:
        """Whether the median is within the goal."""
        return self.median <= self.within


def goals(outcomes: Iterable[Outcome]) -> list[Goal]:
    """Return the goals with the steps that the library's runs took."""
    mine = choose(outcomes, study="goals")
    default, epochs = AutoencoderConfig().latent_size, TrainingConfig().epochs

    def goal(
        name: str, published: str, within: int, data: Data, hidden: int, *, diff: bool = False
    ) -> Goal:
        runs = choose(mine, data=data, hidden=hidden, is_differenced=diff)
        return Goal(
            name=name,
            published=published,
            within=within,
            steps=tuple(run.steps_to_goal for run in runs),
            level_steps=tuple(run.level_steps_to_goal for run in runs),
        )

    ramp = "0.026 off after 60,000"
    return [
        goal("14 × 5, hidden 100", "942", 25, "sequence", 100),
        goal("14 × 5, hidden 100, differenced", "215", 35, "sequence", 100, diff=True),
        goal("14 × 5, hidden 10", MISSED, epochs, "sequence", 10),
        goal("14 × 5, hidden 10, differenced", MISSED, epochs, "sequence", 10, diff=True),
        goal("ramp, latent 20, as published", ramp, 500, "ramp", 20),
        goal(f"ramp, latent {default}, the default", ramp, 500, "ramp", default),
    ]


def runs_frame(outcomes: Iterable[Outcome]) -> pl.DataFrame:
    """Return a row a run; `run` is its number, which `losses_frame` has too."""
    rows = [
        {"run": number, "recipe": "published" if outcome.setting.is_published else "library"}
        | asdict(outcome.setting)
        | {
            "steps": len(outcome.levels),
            "steps_to_goal": outcome.steps_to_goal,
            "level_steps_to_goal": outcome.level_steps_to_goal,
            "mse": outcome.mse[-1],
            "level_mse": outcome.level_mse[-1],
            "largest_error": outcome.largest_error[-1],
            "ratio_to_mean": outcome.ratio_to_mean,
            "seconds": outcome.seconds,
        }
        for number, outcome in enumerate(outcomes)
    ]
    whole = dict.fromkeys(("steps_to_goal", "level_steps_to_goal"), pl.Int64)
    return pl.DataFrame(rows, schema_overrides=whole, infer_schema_length=None)


def losses_frame(outcomes: Iterable[Outcome]) -> pl.DataFrame:
    """Return a row a run and step, in raw units."""
    return pl.concat(
        pl.DataFrame(
            {
                "run": np.full(len(outcome.levels), number),
                "step": np.arange(1, len(outcome.levels) + 1),
                "mse": outcome.mse,
                "level_mse": outcome.level_mse,
                "largest_error": outcome.largest_error,
            }
        )
        for number, outcome in enumerate(outcomes)
    )


def goal_cells(goal: Goal) -> tuple[str, ...]:
    """Return what is shown of a goal, under `GOAL_TITLES`."""
    return (
        goal.name,
        goal.published,
        f"{goal.within}",
        _number(goal.median),
        ", ".join(map(_number, goal.steps)),
        _number(_median(goal.level_steps)),
        "yes" if goal.is_reached else "no",
    )


def report(outcomes: Sequence[Outcome], config: ExperimentsConfig) -> str:
    """Return all tables as markdown."""
    return f"""# Experiments

Steps until the mean squared error is below 1e-4 in raw units (14 × 5), or every value within 0.001
(ramp). The mean of each variable has {mean_mse("sequence"):.2e} and {mean_mse("ramp"):.2e}.

## Goals

The library at its default settings, {config.seeds} seeds. A differenced sequence is judged by its
changes, as published; `levels` is the median for the changes added up.

{_table(GOAL_TITLES, map(goal_cells, goals(outcomes)))}

## The published recipes

{_published_table(outcomes)}

## The sweep

14 × 5, at most {config.sweep_steps} steps: steps until the levels are below 1e-4, or else, in
brackets, the last error of the levels over the mean's (1 is a model that has learnt the mean).
Median of {config.sweep_seeds}.

{_sweep_table(outcomes, config)}
"""


def sweep_cell(outcomes: Iterable[Outcome]) -> tuple[float, float]:
    """Return the median steps until the levels are below 1e-4, and of the ratio to the mean."""
    runs = list(outcomes)
    return (
        _median([run.level_steps_to_goal for run in runs]),
        median(run.ratio_to_mean for run in runs),
    )


def _published_table(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for published, run in zip(_PUBLISHED, choose(outcomes, study="published"), strict=True):
        setting = run.setting
        size = {"data": setting.data, "hidden": setting.hidden}
        ours = choose(outcomes, study="goals", is_differenced=setting.is_differenced, **size)
        rows.append(
            (
                describe(run),
                published,
                _repeated(run),
                f"{run.ratio_to_mean:.2g}",
                _number(_median([one.steps_to_goal for one in ours])),
            )
        )
    titles = ("recipe", "published", "repeated here", "error ÷ the mean's", "library, steps")
    return _table(titles, rows)


def describe(run: Outcome) -> str:
    """Return what a published run was, in a few words."""
    setting = run.setting
    if setting.data == "sequence":
        return f"14 × 5, hidden {setting.hidden}{', differenced' * setting.is_differenced}"
    dense = "a dense layer, " if setting.decoder == "repeat_vector" else ""
    return f"ramp, {dense}{setting.loss}"


def _repeated(run: Outcome) -> str:
    if run.setting.data == "ramp":
        values = ", ".join(f"{value:.4f}" for value in run.levels[-1, :, 0])
        return f"[{values}] after {len(run.levels):,} steps"
    if run.steps_to_goal is None:
        return f"{run.mse[-1]:.2e} after {len(run.levels):,} steps"
    return f"{run.steps_to_goal:,} steps"


def _sweep_table(outcomes: Sequence[Outcome], config: ExperimentsConfig) -> str:
    swept = choose(outcomes, study="sweep")
    rows = []
    for decoder, is_differenced, scaling in product(DECODERS, (False, True), SCALINGS):
        row = choose(swept, decoder=decoder, is_differenced=is_differenced, scaling=scaling)
        cells = [_sweep_text(choose(row, hidden=hidden)) for hidden in config.sweep_hidden]
        rows.append((decoder, "yes" if is_differenced else "no", scaling, *cells))
    hidden = (f"hidden {hidden}" for hidden in config.sweep_hidden)
    return _table(("decoder", "differenced", "scaled", *hidden), rows)


def _sweep_text(runs: Sequence[Outcome]) -> str:
    steps, ratio = sweep_cell(runs)
    return f"({ratio:.2g})" if math.isinf(steps) else f"{steps:g}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _median(steps: Iterable[int | None]) -> float:
    return float(median(math.inf if step is None else step for step in steps))


def _number(steps: float | None) -> str:
    return MISSED if steps is None or math.isinf(steps) else f"{steps:g}"
