"""The comparison of scorers as a table that people read."""

from typing import Final

import polars as pl

from flows.comparison_grid import FIGURES, ComparisonConfig
from flows.injected import ALL

_PARTS: Final = ("all", "past", "future")
_TITLES: Final = ("@1 %", "@2 %", "@5 %", "lift", "mean", "@1 %", "@2 %", "@5 %", "lift", "mean")


def report(recalls: pl.DataFrame, injected: pl.DataFrame, config: ComparisonConfig) -> str:
    """Write everything as markdown: medians over seeds, and the range of the recall at 2 %."""
    seeds = f"Medians of {config.seeds} seeds" if config.seeds > 1 else "One seed"
    head = (
        f"# Scorers on {config.run.name}\n\n{seeds}; trained on the first "
        f"{1 - config.held_out:.0%} of the time. `score` is what Foreshock ranks by.\n"
    )
    parts = [head]
    if not recalls.is_empty():
        parts += [_recall_table(recalls, steps) for steps in _PARTS]
    if not injected.is_empty():
        parts.append(_injected_table(injected))
    return "\n".join(parts)


def _recall_table(recalls: pl.DataFrame, steps: str) -> str:
    chosen = recalls.filter(pl.col("steps") == steps)
    if chosen.is_empty():
        return f"## {steps}: no event could be judged\n"
    table = (
        chosen.group_by("representation", "scorer", maintain_order=True)
        .agg(
            *(pl.col(name).median() for name in FIGURES),
            low=pl.col("recall_2").min(),
            high=pl.col("recall_2").max(),
            n_scored=pl.col("n_scored").max(),
        )
        .sort("representation", "recall_2", descending=[False, True], maintain_order=True)
    )
    n_scored = int(table["n_scored"].to_numpy().max())
    said = {
        "all": "all steps",
        "past": "steps before the held-out part, which training saw",
        "future": "held-out steps, which training did not see",
    }[steps]
    lines = [
        f"## Dated events, {said}: {n_scored} judged\n",
        "Recall in the top 1, 2 and 5 % of the entity's own steps, lift over chance at 2 %, mean "
        "percentile; then the same against steps with about as many events.\n",
        _row("representation", "scorer", *_TITLES, "range @2 %"),
        _row("---", "---", *["--:"] * (len(_TITLES) + 1)),
    ]
    for row in table.iter_rows(named=True):
        figures = [_number(row[name]) for name in FIGURES]
        spread = f"{_number(row['low'])}…{_number(row['high'])}"
        lines.append(_row(row["representation"], row["scorer"], *figures, spread))
    return "\n".join(lines) + "\n"


def _injected_table(injected: pl.DataFrame) -> str:
    found = injected["anomalies"].unique(maintain_order=True).to_list()
    kinds = sorted(found, key=lambda name: (name == ALL, name.startswith("strength"), name))
    table = (
        injected.group_by("representation", "scorer", "anomalies", maintain_order=True)
        .agg(pl.col("average_precision", "vus_pr").median())
        .pivot(
            on="anomalies",
            index=["representation", "scorer"],
            values=["average_precision", "vus_pr"],
        )
    )
    lines = [
        "## Anomalies injected into the held-out part\n",
        "Area under the precision-recall curve (in brackets VUS-PR), no point adjustment; chance "
        "has the share of anomalous steps.\n",
        _row("representation", "scorer", *kinds),
        _row("---", "---", *["--:"] * len(kinds)),
    ]
    for row in table.iter_rows(named=True):
        cells = [
            f"{_number(row[f'average_precision_{kind}'])} ({_number(row[f'vus_pr_{kind}'])})"
            for kind in kinds
        ]
        lines.append(_row(row["representation"], row["scorer"], *cells))
    bases = [
        _number(injected.filter(anomalies=kind).select(pl.col("base_rate").median()).item())
        for kind in kinds
    ]
    lines.append(_row("", "chance", *bases))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    return "–" if value is None else format(value, ".2f")
