"""The table that a run ends with: what was read, trained and written, and where."""

import json
from collections import Counter
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.datasets import DATASETS
from flows.driver_words import in_words
from flows.injected import ALL
from flows.lake import FileRecord, Lake
from flows.lake_update import IngestResult
from flows.partitions import scan_table
from flows.publish import BASELINES
from flows.record import RunResult
from flows.scorers import DEFAULT_SCORER
from flows.update import UpdateResult
from models import checkpoint

ROWS_SHOWN = 8
_LOG_WIDTH = 120
_ARTIFACT_WIDTH = 100


def print_summary(result: RunResult, console: Console | None = None) -> None:
    """Print what a run came to, as wide as the terminal or wide enough for a log."""
    _console(console).print(_summary(result))


def print_ingested(result: IngestResult, console: Console | None = None) -> None:
    """Print what an ingestion read, and what became of it."""
    _console(console).print(_ingested(result))


def print_update(result: UpdateResult, console: Console | None = None) -> None:
    """Print what an update read and scored, and which of all published steps stand out."""
    _console(console).print(
        Group(
            _ingested(result.ingested),
            _rescored(result),
            _top_table(result.published),
            Text(f"  model {result.model_id} · {result.seconds:.0f} s", style="dim"),
        )
    )


def _console(console: Console | None) -> Console:
    """Return a console as wide as the terminal, or wide enough for a log."""
    if console is not None:
        return console
    console = Console()
    return console if console.is_terminal else Console(width=_LOG_WIDTH)


def _ingested(result: IngestResult) -> RenderableType:
    return _read_table(Lake.read(result.lake), result)


def _rescored(result: UpdateResult) -> RenderableType:
    done = result.rescored
    if done is None:
        return Text(f"nothing new to score: {result.published} has all events")
    words = (
        f"{_number(done.touched)} steps have other events than before; "
        f"{_number(done.scored)} rows of steps were scored anew, years written: "
        f"{', '.join(map(str, done.years))}"
    )
    return Group(_title(f"Published to {result.published}"), Text("  " + words))


def summary_text(result: RunResult) -> str:
    """Return what a run came to as plain text."""
    console = Console(file=StringIO(), width=_ARTIFACT_WIDTH)
    with console.capture() as capture:
        console.print(_summary(result))
    return capture.get()


def _summary(result: RunResult) -> RenderableType:
    return Group(
        _ingested(result.ingested),
        _trained_table(result),
        _top_table(result.publication.folder),
        _baselines_table(result.publication.folder / BASELINES),
        _written_table(result),
    )


def _read_table(lake: Lake, result: IngestResult) -> RenderableType:
    table = _table("files", "lines", "accepted", "rejected", "duplicates")
    for title, chosen in (
        ("in this run", [lake.files[name] for name in result.added]),
        ("in the lake", list(lake.files.values())),
    ):
        table.add_row(title, *map(_number, (len(chosen), *_account(chosen))))
    errors = [
        f"  {'kept as it was' if record.is_read else 'left out'}: {record.error}"
        for record in lake.files.values()
        if record.error
    ]
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


def _top_table(published: Path) -> RenderableType:
    table = _table("from", "events", "score", "p", "strange", "above all")
    top = (
        scan_table(published, "step_errors")
        .filter(pl.col("score").is_not_null())
        .sort("score", "entity", "step_start", descending=[True, False, False])
        .head(ROWS_SHOWN)
        .collect()
    )
    for row in top.iter_rows(named=True):
        numbers = f"{row['score']:.1f}", f"{row['p_value']:.1g}", f"{row['strangeness']:.1f}"
        cells = row["entity"], str(row["step_start"]), _number(row["n_events"]), *numbers
        table.add_row(*map(Text, (*cells, why(row["drivers"]))))
    return Group(_title("Steps that stand out"), table)


def _baselines_table(path: Path) -> RenderableType:
    """Set the model's scores and the baselines side by side, those that find most first."""
    rows = json.loads(path.read_text()) if path.exists() else []
    if not rows:
        return Text("no anomalies were injected: there was no room, or sectors are features")
    anomalies = list(dict.fromkeys(row["anomalies"] for row in rows if row["anomalies"] != ALL))
    kinds = [ALL, *(name for name in anomalies if not name.startswith("strength"))]
    found = {(row["scorer"], row["anomalies"]): row for row in rows}
    scorers = sorted(
        {row["scorer"] for row in rows}, key=lambda name: -found[name, ALL]["average_precision"]
    )
    table = _table(*kinds)
    for name in scorers:
        cells = [_figure(found.get((name, kind)), "average_precision") for kind in kinds]
        table.add_row(name, *cells, style="bold" if name == DEFAULT_SCORER else None)
    chance = [_figure(found.get((scorers[0], kind)), "base_rate") for kind in kinds]
    table.add_row("chance", *chance, style="dim")
    title = "Anomalies injected into the held-out part: average precision"
    note = (
        "  each changes one or two kinds of event, or all volume; a score is made for breaks over "
        "many kinds: `foreshock evaluate` judges it by dated events"
    )
    return Group(_title(title), table, Text(note, style="dim"))


def _figure(row: dict[str, Any] | None, name: str) -> str:
    return "–" if row is None else f"{row[name]:.2f}"


def why(drivers: list[dict[str, Any]]) -> str:
    """Say in words what a step's score is made of, above all."""
    return in_words(drivers[0]) if drivers else "no kind of event is more frequent than expected"


def _written_table(result: RunResult) -> RenderableType:
    done = "nothing new" if result.publication.reused else "new"
    table = _table("rows", "kB")
    for name in DATASETS:
        files = list((result.publication.folder / name).glob("*.parquet"))
        rows = sum(pq.read_metadata(path).num_rows for path in files)
        size = sum(path.stat().st_size for path in files)
        table.add_row(f"{name}/*.parquet", _number(rows), _number(size // 1024))
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
