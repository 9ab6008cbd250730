"""The table that a run ends with: what was read, trained and written, and where."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.datasets import DATASETS
from flows.lake import FileRecord, Lake
from flows.pipeline import RunResult
from models import checkpoint

ROWS_SHOWN = 8


def print_summary(result: RunResult, console: Console | None = None) -> None:
    """Print what a run came to."""
    lake = Lake.read(result.ingested.lake)
    (console or Console()).print(
        Group(
            _read_table(lake, result),
            _trained_table(result),
            _top_table(result.publication.folder / "step_errors.parquet"),
            _written_table(result),
        )
    )


def _read_table(lake: Lake, result: RunResult) -> RenderableType:
    table = _table("Read", "files", "lines", "accepted", "rejected", "duplicates")
    for title, chosen in (
        ("in this run", [lake.files[name] for name in result.ingested.added]),
        ("in the lake", list(lake.files.values())),
    ):
        table.add_row(title, *map(_number, (len(chosen), *_account(chosen))))
    details = [_details(lake.files.values())]
    errors = [f"left out: {record.error}" for record in lake.files.values() if record.error]
    return Group(table, *details, *(Text(line, style="red") for line in errors))


def _account(records: Iterable[FileRecord]) -> tuple[int, int, int, int]:
    records = list(records)
    return (
        sum(record.staged.lines for record in records),
        sum(record.accepted for record in records),
        sum(record.rejected for record in records),
        sum(sum(record.duplicates.values()) for record in records),
    )


def _details(records: Iterable[FileRecord]) -> Text:
    reasons: Counter[str] = Counter()
    for record in records:
        reasons.update(record.staged.rejected)
        reasons.update(record.duplicates)
    found = [f"{reason} {_number(n)}" for reason, n in reasons.most_common() if n]
    return Text("  " + ", ".join(found), style="dim")


def _trained_table(result: RunResult) -> RenderableType:
    loaded = checkpoint.load(result.model.folder)
    diagnosis = loaded.diagnosis
    if diagnosis is None:
        return Text(f"model {result.model.model_id} has no diagnosis", style="red")
    done = "kept" if result.model.reused else "trained"
    trained = loaded.trained
    table = _table(
        f"Model {result.model.model_id} ({done}; best of {len(trained.history)} epochs: "
        f"{trained.best_epoch}; {diagnosis.n_training_windows:,} windows)",
        "held-out error",
        "÷ training mean's",
    )
    for name, error, ratio in diagnosis.rows():
        table.add_row(name, f"{error:.4f}", f"{ratio:.3f}")
    style = "green" if diagnosis.verdict == "sound" else "yellow"
    return Group(table, Text("  " + diagnosis.sentence, style=style))


def _top_table(path: Path) -> RenderableType:
    table = _table("Steps that stand out", "step", "events", "error", "because of", left=2)
    top = (
        pl.scan_parquet(path)
        .filter(pl.col("error").is_not_null())
        .sort("error", "entity", "step_start", descending=[True, False, False])
        .head(ROWS_SHOWN)
        .collect()
    )
    for row in top.iter_rows(named=True):
        why = row["top_features"][0]
        reason = f"{why['label']}: {why['observed']:.0%}, expected {why['expected']:.0%}"
        table.add_row(
            row["entity"],
            str(row["step_start"]),
            _number(row["n_events"]),
            f"{row['error']:.2f}",
            reason,
        )
    return table


def _written_table(result: RunResult) -> RenderableType:
    done = " (nothing new)" if result.publication.reused else ""
    table = _table(f"Written{done}", "rows", "kB", "where", left=3)
    for name in DATASETS:
        path = result.publication.latest / f"{name}.parquet"
        rows = pq.read_metadata(path).num_rows
        table.add_row(name, _number(rows), _number(path.stat().st_size // 1024), str(path))
    return Group(table, Text(f"  run record: {result.record} · {result.seconds:.0f} s", style="dim"))


def _table(title: str, *columns: str, left: int | None = None) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=True)
    table.add_column("")
    for position, column in enumerate(columns, 1):
        is_text = left is not None and position in {1, len(columns)} and column not in {"rows"}
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    return table


def _number(value: int) -> str:
    return f"{value:,}"
