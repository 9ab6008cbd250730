"""The table that a run ends with: what was read, trained and written, and where."""

from collections import Counter
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.datasets import DATASETS
from flows.lake import FileRecord, Lake
from flows.record import RunResult
from models import checkpoint

ROWS_SHOWN = 8
_LOG_WIDTH = 120
_ARTIFACT_WIDTH = 100


def print_summary(result: RunResult, console: Console | None = None) -> None:
    """Print what a run came to, as wide as the terminal or wide enough for a log."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_LOG_WIDTH)
    console.print(_summary(result))


def summary_text(result: RunResult) -> str:
    """Return what a run came to as plain text."""
    console = Console(file=StringIO(), width=_ARTIFACT_WIDTH)
    with console.capture() as capture:
        console.print(_summary(result))
    return capture.get()


def _summary(result: RunResult) -> RenderableType:
    return Group(
        _read_table(Lake.read(result.ingested.lake), result),
        _trained_table(result),
        _top_table(result.publication.folder / "step_errors.parquet"),
        _written_table(result),
    )


def _read_table(lake: Lake, result: RunResult) -> RenderableType:
    table = _table("files", "lines", "accepted", "rejected", "duplicates")
    for title, chosen in (
        ("in this run", [lake.files[name] for name in result.ingested.added]),
        ("in the lake", list(lake.files.values())),
    ):
        table.add_row(title, *map(_number, (len(chosen), *_account(chosen))))
    errors = [f"  left out: {record.error}" for record in lake.files.values() if record.error]
    return Group(
        _title("Read"),
        table,
        _details(lake.files.values()),
        *(Text(line, style="red") for line in errors),
    )


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
    title = (
        f"Model {result.model.model_id} ({done}; best epoch {trained.best_epoch} of "
        f"{len(trained.history)}, {diagnosis.n_training_windows:,} training windows)"
    )
    table = _table("held-out error", "÷ training mean's")
    for name, error, ratio in diagnosis.rows():
        table.add_row(name, f"{error:.4f}", f"{ratio:.3f}")
    style = "green" if diagnosis.verdict == "sound" else "yellow"
    return Group(_title(title), table, Text("  " + diagnosis.sentence, style=style))


def _top_table(path: Path) -> RenderableType:
    table = _table("from", "events", "error", "above all")
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
        error, events = f"{row['error']:.2f}", _number(row["n_events"])
        cells = row["entity"], str(row["step_start"]), events, error, reason
        table.add_row(*map(Text, cells))
    return Group(_title("Steps that stand out"), table)


def _written_table(result: RunResult) -> RenderableType:
    done = "nothing new" if result.publication.reused else "new"
    table = _table("rows", "kB")
    for name in DATASETS:
        path = result.publication.latest / f"{name}.parquet"
        rows = pq.read_metadata(path).num_rows
        table.add_row(path.name, _number(rows), _number(path.stat().st_size // 1024))
    title = _title(f"Written ({done}) to {result.publication.latest}")
    record = Text(f"  run record: {result.record} · {result.seconds:.0f} s", style="dim")
    return Group(title, table, record)


def _table(*columns: str) -> Table:
    """Make a table whose columns are numbers, aligned right, but for the first and words."""
    table = Table(box=None)
    table.add_column("")
    for column in columns:
        words = column in {"from", "above all"}
        table.add_column(column, justify="left" if words else "right")
    return table


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _number(value: int) -> str:
    return f"{value:,}"
