"""The flow that compares published scores with dated events that a user lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from features.dated_events import DatedEvents
from flows.evaluation_config import EvaluationConfig, chosen_columns, read_events, read_scores
from flows.evaluation_scores import ColumnRecall, evaluate_scores
from flows.evaluation_table import (
    OUTCOME_TITLES,
    as_markdown,
    not_scored,
    outcome_frame,
    outcome_rows,
    recall_cells,
    recall_frame,
    recall_titles,
)
from flows.publishing import publishing

SCORES: Final = "scores.parquet"
EVENTS: Final = "events.parquet"
TABLE: Final = "table.md"

_LOG_WIDTH: Final = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationResult:
    """What scores find of dated events.

    Attributes
    ----------
    folder
        Holds `SCORES`, `EVENTS` and `TABLE`.
    rows
        A column of scores each.
    tops
        Per cent of an entity's rows that count as its top.
    notes
        What a reader must know of what was left out.
    """

    folder: Path
    rows: tuple[ColumnRecall, ...]
    tops: tuple[float, ...]
    notes: tuple[str, ...]


@flow(name="evaluate", flow_run_name="evaluate {config.name}")
def evaluate(config: EvaluationConfig) -> EvaluationResult:
    """Compare scores with dated events, and write what they find.

    Raises
    ------
    FileNotFoundError
        If a file isn't there.
    ValueError
        If a file can't be used, no entity is an event's, or no event can be judged.
    """
    started = datetime.now(UTC)
    events, scores = read_events(config), read_scores(config)
    columns = chosen_columns(scores, config)
    rows = evaluate_columns(scores, columns, events, config)
    result = EvaluationResult(
        folder=config.data / "evaluations" / f"{started:%Y%m%dT%H%M%S.%fZ}",
        rows=tuple(rows),
        tops=config.tops,
        notes=_notes(rows, events),
    )
    write(result, config)
    create_markdown_artifact(
        report(result, config),
        key=f"evaluation-{config.name}",
        description="What scores find of dated events",
    )
    return result


@task(name="compare scores with events", cache_policy=NO_CACHE)
def evaluate_columns(
    scores: pl.DataFrame, columns: Sequence[str], events: DatedEvents, config: EvaluationConfig
) -> list[ColumnRecall]:
    """Compare each column with the events.

    Raises
    ------
    ValueError
        If no event can be judged; the message says why.
    """
    rows = evaluate_scores(
        scores,
        columns,
        events,
        tops=config.tops,
        after_days=config.after_days,
        repetitions=config.repetitions,
        seed=config.seed,
        min_rows=config.min_rows,
        last_step=config.last_step,
    )
    if not any(row.plain.n_scored for row in rows):
        raise ValueError(_why_none(scores, rows[0], config))
    return rows


@task(name="write evaluation", cache_policy=NO_CACHE)
def write(result: EvaluationResult, config: EvaluationConfig) -> None:
    """Write everything, whole or not at all."""
    with publishing(result.folder.parent, result.folder.name) as folder:
        recall_frame(result.rows).write_parquet(folder / SCORES)
        outcome_frame(result.rows[0].plain).write_parquet(folder / EVENTS)
        (folder / TABLE).write_text(report(result, config), encoding="utf-8")


def report(result: EvaluationResult, config: EvaluationConfig) -> str:
    """Return all tables as markdown."""
    first = result.rows[0]
    notes = "\n".join(f"- {note}" for note in result.notes)
    cells = [recall_cells(row, result.tops) for row in result.rows]
    return f"""# Scores and dated events

Scores of {config.scores_path.name}, part {config.part}; events of {config.events.name}. An event is
found at k % if a row from its start to {config.after_days} days after its end is among the highest
k % of its entity's own rows. Chance moves the events at random; the placebo looks at the same days
in entities without an event; matched scores are judged against rows with about as many events, so
that what only counts finds nothing.

{notes}

{as_markdown(recall_titles(result.tops), cells)}

## Events, by {first.column}

{as_markdown(OUTCOME_TITLES, outcome_rows(first.plain))}
"""


def print_evaluation(result: EvaluationResult, console: Console | None = None) -> None:
    """Print what scores find, what became of each event, and where everything is."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_LOG_WIDTH)
    titles = recall_titles(result.tops)
    cells = [recall_cells(row, result.tops) for row in result.rows]
    n_block = (len(titles) - 2) // 2
    blocks = {
        "Scores as they are": slice(2, 2 + n_block),
        "Against rows with about as many events": slice(2 + n_block, None),
    }
    for title, block in blocks.items():
        short = [name.removeprefix("matched ") for name in titles[block]]
        console.print(Text(f"\n{title}", style="bold"))
        console.print(_table((*titles[:2], *short), [(*row[:2], *row[block]) for row in cells]))
    console.print(Text(f"\nEvents, by {result.rows[0].column}", style="bold"))
    console.print(_table(OUTCOME_TITLES, outcome_rows(result.rows[0].plain), n_words=3))
    for note in result.notes:
        console.print(Text(note, style="dim"))
    console.print(f"\nWritten to {result.folder}", style="bold", markup=False, soft_wrap=True)


def _why_none(scores: pl.DataFrame, row: ColumnRecall, config: EvaluationConfig) -> str:
    names = ("window_start", "step_start", "window_end")
    days = scores[next(name for name in names if name in scores.columns)]
    n_rows = scores.height / scores["entity"].n_unique()
    return (
        f"no event can be judged: {not_scored(row.plain)}. The rows begin from {days.min()!s} to "
        f"{days.max()!s}; an entity has {n_rows:.0f} on average, and needs {config.min_rows}"
    )


def _notes(rows: Sequence[ColumnRecall], events: DatedEvents) -> tuple[str, ...]:
    notes = [f"{rows[0].column}: {not_scored(rows[0].plain)}"]
    if events.repeated:
        notes.append(
            f"{len(events.repeated)} events repeat another of the same entity and start, in rows "
            f"{', '.join(map(str, events.repeated))}"
        )
    constant = [row.column for row in rows if row.plain.n_constant]
    if constant:
        notes.append(f"the same score throughout for some entities: {', '.join(constant)}")
    return tuple(notes)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, n_words: int = 1) -> Table:
    """Make a table whose first columns are words; names are printed as they are."""
    table = Table(box=None)
    for place, title in enumerate(titles):
        table.add_column(title, justify="left" if place < n_words else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
