"""What a benchmark found: a row a run, medians over seeds, markdown, and a figure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import polars as pl
from matplotlib.figure import Figure

from flows.benchmark_data import BenchmarkConfig
from flows.benchmark_runs import OURS, Finding
from flows.plot_parts import GREY, LIBRARY, STYLE

METRICS: Final[Mapping[str, str]] = {
    "vus_pr": "VUS-PR",
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "alarm_rate": "alarm rate",
}
"""Columns, and what they are called in tables; the last four are at the threshold."""

TITLES: Final = ("scorer", *METRICS.values())

_NONE: Final = "–"


def rows_frame(findings: Iterable[Finding]) -> pl.DataFrame:
    """Return a row a file, scorer and seed; precision is null where there is no alarm."""
    whole = {"seed": pl.Int64, "length": pl.Int64, "latent_size": pl.Int64}
    frame = pl.DataFrame([_row(finding) for finding in findings], schema_overrides=whole)
    return frame.with_columns(pl.col("precision").fill_nan(None))


def medians(rows: pl.DataFrame) -> pl.DataFrame:
    """Return each metric's median over the seeds, a row a file and scorer, best VUS-PR first.

    Beside each ``<metric>`` are ``<metric>_least`` and ``<metric>_most``.
    """
    return pl.concat(
        _best_first(own.group_by("file", "scorer").agg(_summed_up(pl.Expr.median)))
        for own in rows.partition_by("file", maintain_order=True)
    )


def over_files(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the mean over files of `medians`, a row a scorer, with the least and the most."""
    return _best_first(medians(rows).group_by("scorer").agg(_summed_up(pl.Expr.mean)))


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is shown, under `TITLES`, of a row of `medians` or `over_files`."""
    numbers = ([row[f"{name}{end}"] for end in ("", "_least", "_most")] for name in METRICS)
    return (row["scorer"], *(_with_range(*three) for three in numbers))


def report(rows: pl.DataFrame, config: BenchmarkConfig) -> str:
    """Return all tables as markdown."""
    parts = [_introduction(config)]
    files = rows.partition_by("file", maintain_order=True)
    if len(files) > 1:
        title = f"## All {len(files)} files: means of their medians (least to most of these)"
        parts += [title, _markdown(over_files(rows))]
    for own in files:
        parts += [f"## {own['file'][0]}", about(own), _markdown(medians(own))]
    return "\n\n".join(parts) + "\n"


def about(rows: pl.DataFrame) -> str:
    """Return what there is to know of a file, in words."""
    first = rows.row(0, named=True)
    return (
        f"{first['steps']:,} test steps; {first['unscored_steps']:,} of them, in which a value is "
        f"missing, have no score and are left out. {first['base_rate']:.1%} of the others are "
        "anomalous, which is the average precision of chance; its VUS-PR is "
        f"{first['chance_vus_pr']:.3f}. "
        f"Windows of {first['length']} steps, compressed to {first['latent_size']} numbers."
    )


def draw_vus(rows: pl.DataFrame) -> Figure:
    """Draw the VUS-PR of every scorer as a bar, with a point a run."""
    with mpl.rc_context(STYLE):
        return _draw_vus(rows, over_files(rows).reverse())


def _draw_vus(rows: pl.DataFrame, bars: pl.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 1.6 + 0.42 * bars.height), layout="constrained")
    axes = figure.subplots()
    names = bars["scorer"].to_list()
    colors = [LIBRARY["color"] if name in OURS else GREY for name in names]
    axes.barh(names, bars["vus_pr"], color=colors, alpha=0.75, height=0.7)
    height = rows["scorer"].replace_strict({name: at for at, name in enumerate(names)})
    axes.plot(rows["vus_pr"], height, "o", color="black", mfc="white", ms=4, label="a run")
    chance = rows.unique("file").select(pl.col("chance_vus_pr").mean()).item()
    axes.axvline(chance, color="black", lw=1, ls="--", label="chance")
    axes.set(xlim=(0, 1.02), xlabel="VUS-PR")
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower right", ncols=2)
    of_ours = pl.col("scorer").is_in(OURS)
    best = " against ".join(_best(bars.filter(side)) for side in (of_ours, ~of_ours))
    figure.suptitle(f"{_files_and_seeds(rows)}: {best}")
    return figure


def _best(bars: pl.DataFrame) -> str:
    best = bars.row(-1, named=True)
    return f"{best['scorer']} {best['vus_pr']:.2f}"


def _row(finding: Finding) -> dict[str, Any]:
    detection = finding.detection
    return {
        "file": str(finding.file),
        "scorer": finding.scorer,
        "seed": finding.seed,
        "average_precision": detection.average_precision,
        "vus_pr": detection.vus_pr,
        **vars(detection.at_threshold),
        "threshold": finding.threshold,
        "base_rate": detection.base_rate,
        "chance_vus_pr": finding.chance_vus_pr,
        "steps": finding.n_steps,
        "unscored_steps": finding.n_unscored,
        "length": finding.length,
        "latent_size": finding.latent_size,
    }


def _summed_up(middle: Any) -> list[pl.Expr]:
    return [
        expression
        for column in map(pl.col, METRICS)
        for expression in (
            middle(column),
            column.min().name.suffix("_least"),
            column.max().name.suffix("_most"),
        )
    ]


def _best_first(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("vus_pr", "scorer", descending=[True, False])


def _with_range(middle: float | None, least: float | None, most: float | None) -> str:
    if middle is None or least is None or most is None:
        return _NONE
    if f"{least:.3f}" == f"{most:.3f}":
        return f"{middle:.3f}"
    return f"{middle:.3f} ({least:.3f}–{most:.3f})"


def _introduction(config: BenchmarkConfig) -> str:
    return f"""# Benchmark

Medians of {config.seeds} seeds (least to most), best VUS-PR first. Everything is learnt from train
without labels; values are standardised by its first {1 - config.validation_share:.0%}. An alarm is
a score of at least the {config.threshold_quantile:.0%} quantile of the same scorer's scores of
the last {config.validation_share:.0%} of train; these also stop the training early, and the
Mahalanobis distance is fitted on them. Every step counts by itself: no point adjustment. VUS-PR
has buffers of up to {config.max_window} steps."""


def _files_and_seeds(rows: pl.DataFrame) -> str:
    n_files, n_seeds = rows["file"].n_unique(), rows["seed"].n_unique()
    files = "1 file" if n_files == 1 else f"mean of {n_files} files"
    return f"{files}, {'1 seed' if n_seeds == 1 else f'median of {n_seeds} seeds'}"


def _markdown(frame: pl.DataFrame) -> str:
    lines: list[Sequence[str]] = [TITLES, ["---"] * len(TITLES)]
    lines += [cells(row) for row in frame.iter_rows(named=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
