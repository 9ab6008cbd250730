"""Parts that the figures of the experiments share: lines, marks, legends, and what to show."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flows.experiment_runs import Outcome

# Okabe and Ito's colours, told apart by colour-blind readers; line styles tell them apart in grey.
REAL_LINE: Final[dict[str, Any]] = {"color": "#000000", "marker": "o", "lw": 1, "ms": 4}
FAILED: Final[dict[str, Any]] = {"color": "#E69F00", "ls": "-.", "lw": 2}
PUBLISHED: Final[dict[str, Any]] = {"color": "#D55E00", "ls": "--", "lw": 2}
LIBRARY: Final[dict[str, Any]] = {"color": "#0072B2", "ls": "-", "lw": 2}
LIBRARY_SMALL: Final[dict[str, Any]] = {"color": "#56B4E9", "ls": "-", "lw": 2}

GREY: Final = "#666666"
UNREACHED: Final = "#E4E4E4"
_GOAL: Final = "#009E73"
_POINTS: Final = 400

STYLE: Final[dict[Any, Any]] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "figure.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 150,
}


def log_axes(axes: Axes, errors: tuple[float, float]) -> None:
    """Give both axes a logarithmic scale, errors between these limits."""
    axes.set(xscale="log", yscale="log", ylim=errors, xlabel="training step")
    axes.xaxis.set_major_formatter("{x:,.0f}")


def mark_goal(axes: Axes, step: int, level: float) -> None:
    """Mark an error that is to be reached within so many steps."""
    axes.axhline(level, color=_GOAL, lw=1, zorder=0)
    text = f"goal: {level:.0e}".replace("e-0", "e-")
    mark(axes, step, level, text, color=_GOAL, marker="*", ms=13)


def mark(
    axes: Axes, step: int, level: float, label: str, *, is_left: bool = False, **style: Any
) -> None:
    """Mark a step and error, with the step beside it."""
    axes.plot(step, level, label=label, ls="", mfc="white", mew=1.5, zorder=5, **style)
    axes.annotate(
        f"{step}", (step, level), (-9 if is_left else 9, 7), textcoords="offset points",
        ha="right" if is_left else "left", color=style["color"],
    )  # fmt: skip


def legend_below(figure: Figure, *panels: Axes, columns: int) -> None:
    """Put one legend of several panels under the figure."""
    entries: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)


def by_step(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return steps and values at them, as many as a logarithmic axis can show."""
    steps = np.unique(np.geomspace(1, len(values), _POINTS).round().astype(np.int64))
    return steps, values[steps - 1]


def median_run(runs: Sequence[Outcome]) -> Outcome:
    """Return the run in the middle by the steps that it took."""
    by_steps = sorted(runs, key=lambda run: run.steps_to_goal or math.inf)
    return by_steps[(len(runs) - 1) // 2]


def steps_shown(run: Outcome) -> int:
    """Return the steps after which a run is shown: when it was first good enough, or all."""
    return run.steps_to_goal or len(run.levels)


def shown(run: Outcome) -> NDArray[np.float32]:
    """Return the reconstruction `(T, F)` after `steps_shown`."""
    reconstruction: NDArray[np.float32] = run.levels[steps_shown(run) - 1]
    return reconstruction


def in_words(run: Outcome) -> str:
    """Return the steps that a run took, in words."""
    steps = run.steps_to_goal
    return f"more than {len(run.levels):,} steps" if steps is None else f"{steps:,} steps"
