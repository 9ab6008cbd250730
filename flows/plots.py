"""Figures of the experiments: loss curves, rebuilt against real, and the sweep, as PNG."""

import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flows.experiment_grid import DECODERS, SCALINGS
from flows.experiment_runs import ERROR_GOAL, MSE_GOAL, REAL, Outcome, choose
from flows.experiment_tables import sweep_cell
from flows.plot_parts import (
    FAILED,
    GREY,
    LIBRARY,
    LIBRARY_SMALL,
    PUBLISHED,
    REAL_LINE,
    STYLE,
    UNREACHED,
    by_step,
    in_words,
    legend_below,
    log_axes,
    mark,
    mark_goal,
    median_run,
    shown,
    steps_shown,
)

Line = tuple[str, Outcome, dict[str, Any]]
"""Label, what is drawn, and how."""

VARIABLES: Final = (
    ("mean intensity", "scaled to 0…1"),
    *((f"quad class {number}", "share of events") for number in range(1, 5)),
)
"""Of the 14 x 5 sequence: names and units."""


def draw_all(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write every figure into a folder."""
    for name, draw in FIGURES.items():
        with mpl.rc_context(STYLE):
            draw(outcomes).savefig(folder / name)


def draw_losses(outcomes: Sequence[Outcome]) -> Figure:
    """Draw the loss by step, published and ours, as it is and differenced."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, is_differenced, within, took in zip(
        panels, (False, True), (25, 35), (942, 215), strict=True
    ):
        of_sequence = choose(outcomes, data="sequence", is_differenced=is_differenced)
        _losses_panel(axes, of_sequence, within, took)
        axes.set_title("differenced" if is_differenced else "as it is")
        level = _error_of_the_mean(is_differenced=is_differenced)
        axes.axhline(level, color=GREY, lw=1, ls=":", label="each variable's mean", zorder=0)
    panels[0].set_ylabel("mean squared error, raw units")
    legend_below(figure, panels[0], columns=4)
    plain, differenced = (_compared(outcomes, is_differenced=yes) for yes in (False, True))
    figure.suptitle(
        "14 × 5 to 1e-4 at hidden 100, this library's defaults against the published recipe:\n"
        f"{plain}; differenced {differenced}"
    )
    return figure


def draw_sequence(outcomes: Sequence[Outcome]) -> Figure:
    """Draw the rebuilt 14 x 5 sequence against the real one."""
    return _draw_sequence(outcomes, is_differenced=False)


def draw_differenced_sequence(outcomes: Sequence[Outcome]) -> Figure:
    """Draw what was rebuilt from changes, added up again, against the real sequence."""
    return _draw_sequence(outcomes, is_differenced=True)


def draw_ramp(outcomes: Sequence[Outcome]) -> Figure:
    """Draw the rebuilt ramp against the real one, and the largest error by step."""
    lines = _ramp_lines(outcomes)
    (_, published, _), (_, ours, _) = lines[1:]
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    values, errors = figure.subplots(1, 2)
    steps = np.arange(1, 6)
    values.plot(steps, REAL["ramp"][:, 0], label="real", **REAL_LINE)
    for label, run, style in lines:
        values.plot(steps, shown(run)[:, 0], label=label, **style)
        errors.plot(*by_step(run.largest_error), **style)
    values.set(xlabel="step of the ramp", ylabel="value", xticks=steps, title="rebuilt and real")
    log_axes(errors, (1e-5, 2))
    errors.set(ylabel="error of the worst value, raw units", title="error by training step")
    mark_goal(errors, 500, ERROR_GOAL)
    legend_below(figure, values, errors, columns=3)
    worst = np.abs(published.levels[-1] - REAL["ramp"]).max()
    figure.suptitle(
        f"The ramp: within 0.001 in {in_words(ours)} with this library's defaults; "
        f"as published still {worst:.3f} off after {len(published.levels):,}"
    )
    return figure


def draw_sweep(outcomes: Sequence[Outcome]) -> Figure:
    """Draw the steps that each decoder takes by scaling and hidden size."""
    swept = choose(outcomes, study="sweep")
    sizes = sorted({run.setting.hidden for run in swept})
    norm = LogNorm(10, max(20, *(len(run.levels) for run in swept)))
    figure = Figure(figsize=(15, 6.6), layout="constrained")
    panels = figure.subplots(2, len(DECODERS), sharex=True, sharey=True)
    for (row, is_differenced), (column, decoder) in product(
        enumerate((False, True)), enumerate(DECODERS)
    ):
        axes = panels[row, column]
        cells = choose(swept, decoder=decoder, is_differenced=is_differenced)
        _sweep_panel(axes, cells, sizes, norm)
    _label_sweep(figure, panels)
    figure.suptitle(_sweep_finding(swept))
    note = "grey: not reached; the number is the last error over that of each variable's mean"
    figure.supxlabel(note, fontsize=11, color=GREY)
    return figure


FIGURES: Final[dict[str, Callable[[Sequence[Outcome]], Figure]]] = {
    "losses.png": draw_losses,
    "sequence.png": draw_sequence,
    "sequence_differenced.png": draw_differenced_sequence,
    "ramp.png": draw_ramp,
    "sweep.png": draw_sweep,
}


def _ramp_lines(outcomes: Sequence[Outcome]) -> list[Line]:
    wide = {"study": "published", "data": "ramp", "decoder": "repeat_vector_wide"}
    broadcast = choose(outcomes, **wide, loss="mse, broadcast")[0]
    published = choose(outcomes, **wide, loss="mse")[0]
    ours = median_run(choose(outcomes, study="goals", data="ramp", hidden=20))
    return [
        (f"published, target broadcast, {len(broadcast.levels):,} steps", broadcast, FAILED),
        (f"published, right shapes, {len(published.levels):,} steps", published, PUBLISHED),
        (f"this library, {in_words(ours)}", ours, LIBRARY),
    ]


def _compared(outcomes: Sequence[Outcome], *, is_differenced: bool) -> str:
    wide = choose(outcomes, data="sequence", hidden=100, is_differenced=is_differenced)
    ours, published = (median_run(choose(wide, study=study)) for study in ("goals", "published"))
    return f"{in_words(ours)} against {in_words(published)}"


def _losses_panel(axes: Axes, runs: Sequence[Outcome], goal: int, published: int) -> None:
    lines: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("published, hidden 5", {"study": "published", "hidden": 5}, FAILED),
        ("published, hidden 100", {"study": "published", "hidden": 100}, PUBLISHED),
        ("this library, hidden 10", {"study": "goals", "hidden": 10}, LIBRARY_SMALL),
        ("this library, hidden 100", {"study": "goals", "hidden": 100}, LIBRARY),
    ]
    for label, fields, style in lines:
        chosen = choose(runs, **fields)
        for run in chosen:
            axes.plot(*by_step(run.mse), **(style | {"lw": 0.7, "alpha": 0.5}))
        axes.plot(*by_step(median_run(chosen).mse), label=label, **style)
    log_axes(axes, (1e-6, 1))
    mark_goal(axes, goal, MSE_GOAL)
    style = {"color": PUBLISHED["color"], "marker": "o", "ms": 8}
    mark(axes, published, MSE_GOAL, "as published", is_left=True, **style)


def _sequence_lines(outcomes: Sequence[Outcome]) -> list[Line]:
    return [
        (
            f"{name}, hidden {hidden}",
            median_run(choose(outcomes, study=study, hidden=hidden)),
            style,
        )
        for name, study, hidden, style in (
            ("published", "published", 5, FAILED),
            ("published", "published", 100, PUBLISHED),
            ("this library", "goals", 100, LIBRARY),
        )
    ]


def _draw_sequence(outcomes: Sequence[Outcome], *, is_differenced: bool) -> Figure:
    lines = _sequence_lines(choose(outcomes, data="sequence", is_differenced=is_differenced))
    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplots(2, 3).flat
    steps = np.arange(1, 15)
    for variable, axes in enumerate(panels[:-1]):
        axes.plot(steps, REAL["sequence"][:, variable], label="real", **REAL_LINE)
        for label, run, style in lines:
            axes.plot(
                steps,
                shown(run)[:, variable],
                label=f"{label}, {steps_shown(run):,} steps",
                **style,
            )
        name, unit = VARIABLES[variable]
        axes.set(title=name, xlabel="step of the sequence", ylabel=unit, xticks=steps[::2])
    panels[-1].axis("off")
    panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center", fontsize=11)
    small, published, ours = (run for _, run, _ in lines)
    figure.suptitle(
        f"{'Differenced' if is_differenced else 'As it is'}: hidden 5 as published ends at "
        f"{small.ratio_to_mean:.2f} times the error of each variable's mean;\n"
        f"hidden 100 needs {in_words(published)} as published, {in_words(ours)} with this library"
    )
    return figure


def _sweep_panel(axes: Axes, runs: Sequence[Outcome], sizes: list[int], norm: LogNorm) -> None:
    steps = np.full((len(SCALINGS), len(sizes)), np.nan)
    for (row, scaling), (column, hidden) in product(enumerate(SCALINGS), enumerate(sizes)):
        median, ratio = sweep_cell(choose(runs, scaling=scaling, hidden=hidden))
        text, color = f"{ratio:.2g}", GREY
        if math.isfinite(median):
            steps[row, column] = median
            text, color = f"{median:g}", "white" if norm(median) < 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=10)
    axes.imshow(np.ma.masked_invalid(steps), cmap="cividis", norm=norm, aspect="auto")
    axes.set_facecolor(UNREACHED)
    axes.set_xticks(range(len(sizes)), map(str, sizes))
    axes.set_yticks(range(len(SCALINGS)), SCALINGS)
    axes.grid(visible=False)


def _label_sweep(figure: Figure, panels: NDArray[Any]) -> None:
    for decoder, axes in zip(DECODERS, panels[0], strict=True):
        axes.set_title(decoder)
    for axes in panels[-1]:
        axes.set_xlabel("hidden size")
    for axes, title in zip(panels[:, 0], ("as it is", "differenced"), strict=True):
        axes.set_ylabel(f"{title}\nscaling")
    ticks = [10, 20, 50, 100, 200]
    bar = figure.colorbar(panels[0, 0].images[0], ax=panels, pad=0.01, ticks=ticks, format="%d")
    bar.set_label("steps until the mean squared error is below 1e-4")
    bar.ax.minorticks_off()


def _sweep_finding(runs: Sequence[Outcome]) -> str:
    reached = []
    for scaling in SCALINGS:
        cells = choose(runs, scaling=scaling)
        n = sum(run.level_steps_to_goal is not None for run in cells)
        reached.append(f"{scaling} {n} of {len(cells)}")
    return f"What decides is scale. Runs that reach 1e-4: {', '.join(reached)}"


def _error_of_the_mean(*, is_differenced: bool) -> float:
    real = REAL["sequence"].astype(np.float64)
    rows = np.diff(real, axis=0, prepend=0) if is_differenced else real
    return float(rows.var(axis=0).mean())
