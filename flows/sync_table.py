"""What a sync would do, or did, as it is printed."""

from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.sync_plan import Action, PlannedFile, SyncPlan, SyncResult

_LOG_WIDTH: Final = 120
_WORDS: Final[Mapping[Action, str]] = {
    "fetch": "new, to be fetched",
    "replace": "changed, to be replaced",
    "present": "there already",
    "in the lake": "in the lake already",
}


def print_plan(plan: SyncPlan, console: Console | None = None) -> None:
    """Print how many files there are of each kind, and what would be fetched, and why."""
    console = console or _console()
    _print_counts(plan, console)
    for planned in plan.files:
        if planned.is_wanted:
            _say(console, _line(planned))
    _print_left_out(plan, console)


def print_sync(result: SyncResult, console: Console | None = None) -> None:
    """Print how many files there were of each kind, and what became of those that were fetched."""
    console = console or _console()
    _print_counts(result.plan, console)
    _print_left_out(result.plan, console)
    unproved = [
        file.name
        for file in result.plan.wanted
        if file.name in result.fetched and file.checksum is None
    ]
    _say(console, f"{len(result.fetched):,} fetched and verified into {result.into}")
    if unproved:
        _say(
            console,
            f"  {len(unproved):,} of them by size alone, as Dataverse lists no checksum of "
            f"originals of tabular files: {', '.join(unproved)}",
        )
    for why in result.failed.values():
        _say(console, f"  failed: {why}", style="red")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_LOG_WIDTH)


def _print_counts(plan: SyncPlan, console: Console) -> None:
    table = Table("files", box=None, header_style="bold")
    for title in ("number", "bytes"):
        table.add_column(title, justify="right")
    for action, words in _WORDS.items():
        sizes = [planned.file.size or 0 for planned in plan.files if planned.action == action]
        table.add_row(words, f"{len(sizes):,}", f"{sum(sizes):,}")
    for words, lines in _left_out(plan).items():
        table.add_row(words, f"{len(lines):,}", "")
    table.add_row("that match no pattern", f"{plan.n_others:,}", "")
    console.print(table)


def _line(planned: PlannedFile) -> str:
    size = planned.file.size
    words = "size unknown" if size is None else f"{size:,} bytes"
    return f"  {planned.action} {planned.file.name}: {words}; {planned.why}"


def _print_left_out(plan: SyncPlan, console: Console) -> None:
    for words, lines in _left_out(plan).items():
        for line in lines:
            _say(console, f"  {words}: {line}")


def _left_out(plan: SyncPlan) -> dict[str, list[str]]:
    return {
        "restricted, left out": list(plan.restricted),
        "refused": [f"{name}: {why}" for name, why in plan.refused.items()],
        "no longer listed, kept": list(plan.gone),
    }


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line, style=style), soft_wrap=True)
