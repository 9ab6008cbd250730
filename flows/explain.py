"""Why an entity's steps stand out: in words, and drawn."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flows.driver_words import in_words
from flows.partitions import scan_table
from flows.plot_parts import GREY, LIBRARY, PUBLISHED, STYLE

STEP_ERRORS: Final = "step_errors"
RATES: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Of alarms, at which the calibration is checked."""

_LABEL_WIDTH: Final = 44


class NothingToExplainError(ValueError):
    """No step of the entity was scored in that time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """The steps of an entity in some time.

    Attributes
    ----------
    entity
        Its name.
    steps
        Rows of ``step_errors``, in order; those without a score included.
    """

    entity: str
    steps: pl.DataFrame

    @property
    def highest(self) -> dict[str, Any]:
        """The step with the highest score."""
        return (
            self.steps.drop_nulls("score")
            .sort("score", "step_start", descending=True)
            .row(0, named=True)
        )

    def text(self, *, n_steps: int = 5) -> str:
        """Say in words which steps stand out and why, the highest first."""
        top = self.steps.drop_nulls("score").top_k(n_steps, by="score")
        blocks = [_said(row) for row in top.iter_rows(named=True)]
        return "\n\n".join([f"{self.entity}, {len(self.steps)} steps", *blocks]) + "\n"


def explain(published: Path, entity: str, first: date | None, last: date | None) -> Explanation:
    """Read what is published of an entity between two days.

    Parameters
    ----------
    published
        A published version.
    entity
        As it is published.
    first, last
        None for all.

    Raises
    ------
    NothingToExplainError
        If the entity isn't published, or none of its steps has a score then.
    """
    table = scan_table(published, STEP_ERRORS)
    steps = table.filter(pl.col("entity") == entity)
    if first is not None:
        steps = steps.filter(pl.col("step_end") >= first)
    if last is not None:
        steps = steps.filter(pl.col("step_start") <= last)
    found = steps.sort("step_start").collect()
    if found["score"].null_count() == found.height:
        names = table.select(pl.col("entity").unique().sort()).collect()["entity"].to_list()
        known = "" if entity in names else f"; the {len(names)} entities are {_some(names)}"
        when = f"{f' from {first}' if first else ''}{f' to {last}' if last else ''}"
        msg = f"no step of {entity!r}{when} has a score in {published}{known}"
        raise NothingToExplainError(msg)
    return Explanation(entity=entity, steps=found)


def draw_explanation(explanation: Explanation) -> Figure:
    """Draw scores over time, their parts, and the drivers of the highest step."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 8.5), layout="constrained")
        top, middle, bottom = figure.subplots(3, 1, height_ratios=[1.2, 1, 1.3])
        _draw_score(top, explanation)
        _draw_parts(middle, explanation)
        _draw_drivers(bottom, explanation.highest)
        figure.suptitle(_headline(explanation))
    return figure


def draw_calibration(published: Path) -> Figure:
    """Draw the share of steps that are alarms against the share that was asked for, by part."""
    rates = alarm_rates(scan_table(published, STEP_ERRORS).select("part", "p_value").collect())
    styles = {"validation": PUBLISHED, "held_out": LIBRARY}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.5, 6), layout="constrained")
        axes = figure.subplots()
        axes.plot(RATES, RATES, color=GREY, lw=1, label="as asked for")
        axes.fill_between(RATES, np.multiply(RATES, 0.8), np.multiply(RATES, 1.2), color="#E4E4E4")
        for part, style in styles.items():
            rows = rates.filter(part=part)
            if rows.is_empty():
                continue
            label = f"{part.replace('_', ' ')}, {rows['n_steps'][0]:,} steps"
            axes.plot(rows["asked"], rows["got"], marker="o", label=label, **style)
        axes.set(xscale="log", yscale="log", xlabel="share of alarms asked for")
        axes.set(ylabel="share of steps that are alarms", title="Calibration; grey: within a fifth")
        axes.legend()
    return figure


def alarm_rates(steps: pl.DataFrame) -> pl.DataFrame:
    """Return the share of scored steps with a p-value of at most each of `RATES`, by part.

    Returns
    -------
    pl.DataFrame
        ``part``, ``n_steps``, ``asked``, ``got``.
    """
    known = steps.filter(pl.col("p_value").is_not_null())
    return (
        known.group_by("part")
        .agg(
            n_steps=pl.len(),
            asked=pl.lit(pl.Series(RATES)).implode(),
            got=pl.concat_list((pl.col("p_value") <= rate).mean() for rate in RATES).first(),
        )
        .explode("asked", "got")
        .sort("part", "asked")
    )


def _said(row: dict[str, Any]) -> str:
    """Say what there is to say of one step."""
    lines = [
        f"{row['step_start']} to {row['step_end']}: score {row['score']:.1f}, "
        f"p {row['p_value']:.2g}{' (ALARM)' if row['is_alarm'] else ''}; {row['n_events']:,} "
        f"events, {row['expected_events']:.1f} expected; strangeness {row['strangeness']:.1f}; "
        f"volume alone would give {row['volume_share']:.0%} of the score"
    ]
    lines += [f"    {driver['share']:4.0%}  {in_words(driver)}" for driver in row["drivers"]]
    return "\n".join(lines)


def _headline(explanation: Explanation) -> str:
    row = explanation.highest
    above_all = row["drivers"][0] if row["drivers"] else None
    why = f"\n{in_words(above_all)}" if above_all else ""
    return f"{explanation.entity} stands out most in the step of {row['step_start']}{why}"


def _draw_score(axes: Axes, explanation: Explanation) -> None:
    steps = explanation.steps
    when = steps["step_start"].to_numpy()
    axes.plot(when, steps["score"].to_numpy(), label="score", **LIBRARY)
    alarms = steps.filter(pl.col("is_alarm"))
    axes.plot(
        alarms["step_start"].to_numpy(), alarms["score"].to_numpy(), ls="", marker="o",
        color=PUBLISHED["color"], label=f"alarms, {alarms.height}",
    )  # fmt: skip
    axes.axhline(1, color=GREY, lw=1, ls=":")
    axes.set(ylabel="score\n(1: the entity's usual)", ylim=(0, None))
    axes.legend(loc="upper left")


def _draw_parts(axes: Axes, explanation: Explanation) -> None:
    steps = explanation.steps
    when = steps["step_start"].to_numpy()
    axes.plot(when, steps["strangeness"].to_numpy(), label="strangeness", **LIBRARY)
    axes.plot(when, steps["loudness"].to_numpy(), label="loudness", **PUBLISHED)
    axes.axhline(0, color=GREY, lw=1)
    axes.set(ylabel="how strange for its\nloudness; how loud")
    axes.legend(loc="upper left")


def _draw_drivers(axes: Axes, row: dict[str, Any]) -> None:
    drivers = row["drivers"][::-1]
    places = np.arange(len(drivers))
    labels = [_shortened(driver["label"]) for driver in drivers]
    axes.barh(places + 0.2, [one["events"] for one in drivers], 0.38, color=LIBRARY["color"],
              label=f"events in the step of {row['step_start']}")  # fmt: skip
    axes.barh(places - 0.2, [one["expected_events"] for one in drivers], 0.38, color="#B0B0B0",
              label="expected")  # fmt: skip
    for place, driver in zip(places, drivers, strict=True):
        text = f" {driver['events']:,}, {driver['share']:.0%} of the score"
        axes.text(driver["events"], place + 0.2, text, va="center", fontsize=10)
    axes.set_yticks(places, labels)
    axes.set(xlabel="events")
    axes.margins(x=0.25)
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right")


def _shortened(label: str) -> str:
    return label if len(label) <= _LABEL_WIDTH else label[: _LABEL_WIDTH - 1] + "…"


def _some(names: list[str], n: int = 8) -> str:
    return ", ".join(names[:n]) + (" and others" if len(names) > n else "")
