"""What a run would do, as it is printed."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.lake_plan import LakePlan, PlannedFile, Replacement
from flows.run_plan import RunPlan

_LOG_WIDTH: Final = 120
_SHOWN: Final = 20
_NUMBERS: Final = ("lines", "valid", "rejected", "rows that go")


def plan_content(plan: RunPlan) -> dict[str, Any]:
    """Return a plan as what JSON can hold."""
    content: dict[str, Any] = to_jsonable_python(plan)
    return {"idle": plan.is_idle} | content


def print_plan(plan: RunPlan, console: Console | None = None) -> None:
    """Print what a run would add, replace, leave out, resolve, count, train and score."""
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_LOG_WIDTH)
    lake = plan.lake
    if lake.anew is not None:
        _say(console, f"The lake would be read anew from the source: {lake.anew}", "yellow")
        _say_some(console, "a run would refuse, as the source lacks it", lake.lost, style="red")
    _print_files(lake, console)
    if lake.failure is not None:
        _say(console, f"The run would fail: {lake.failure}", "red")
        return
    if plan.is_idle:
        _say(console, "Nothing to do: the lake has all files, and what is published all events")
        return
    _print_changes(lake, console)
    _print_steps(plan, console)


def _print_files(lake: LakePlan, console: Console) -> None:
    read = [file for file in lake.files if file.action != "leave out"]
    if read:
        table = Table(box=None, header_style="bold")
        table.add_column("new and changed files")
        table.add_column("")
        for title in (*_NUMBERS, "first event", "last event"):
            table.add_column(title, justify="right")
        for file in read[:_SHOWN]:
            table.add_row(*map(Text, _cells(file)))
        if len(read) > _SHOWN:
            table.add_row(f"… and {len(read) - _SHOWN:,} more (--json has all)")
        if len(read) > 1:
            table.add_row(*_total(read), style="bold")
        console.print(table)
    for file in lake.files:
        if file.action == "leave out":
            gone = f"; its {file.rows_gone:,} rows would go" if file.rows_gone else ""
            _say(console, f"left out: {file.why}{gone}", "red")


def _cells(file: PlannedFile) -> list[str]:
    numbers = [f"{n:,}" for n in (file.lines, file.valid, file.rejected, file.rows_gone)]
    days = ["" if day is None else str(day) for day in (file.first_event, file.last_event)]
    return [file.name, file.action, *numbers, *days]


def _total(files: Sequence[PlannedFile]) -> list[str]:
    counts = ((file.lines, file.valid, file.rejected, file.rows_gone) for file in files)
    numbers = [f"{sum(column):,}" for column in zip(*counts, strict=True)]
    first = min((file.first_event for file in files if file.first_event), default="")
    last = max((file.last_event for file in files if file.last_event), default="")
    return [f"{len(files):,} files", "", *numbers, str(first), str(last)]


def _print_changes(lake: LakePlan, console: Console) -> None:
    superseded = [f"{_rows(one)}: replaced by {one.by}" for one in lake.superseded]
    restored = [f"{_rows(one)}: {one.by} no longer replaces them" for one in lake.restored]
    _say_some(console, "superseded", superseded)
    _say_some(console, "back", restored)
    if lake.returns_to is not None:
        _say(console, f"Lake: back to version {lake.returns_to}, which is still there")
    elif not lake.changes:
        _say(console, "Lake: nothing new")
    elif lake.months:
        months = sorted(f"{month:%Y-%m}" for month in lake.months)
        _say(console, f"Months resolved anew: {len(months):,}, {_span(months)}")
    if lake.days:
        _say(console, f"Days whose events may change: {_days(lake.days)}")


def _print_steps(plan: RunPlan, console: Console) -> None:
    if plan.counted:
        _say(console, f"{plan.name}: at most {_steps(plan.counted)} counted")
    if plan.training is not None:
        _say(console, f"`foreshock run` would train a model and score all: {plan.training}")
    if plan.scored:
        _say(console, f"`foreshock update` would score at most {_steps(plan.scored)} again")


def _rows(one: Replacement) -> str:
    unit = "row" if one.rows == 1 else "rows"
    return f"{one.rows:,} {unit} of {one.file} on {_days(one.days)}"


def _days(days: Sequence[date]) -> str:
    unit = "day" if len(days) == 1 else "days"
    return f"{len(days):,} {unit}, {_span([str(day) for day in days])}"


def _steps(starts: Sequence[date]) -> str:
    unit = "step" if len(starts) == 1 else "steps"
    return f"{len(starts):,} {unit} ({_span([str(day) for day in starts])})"


def _span(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _say_some(console: Console, what: str, lines: Sequence[str], style: str = "") -> None:
    for line in lines[:_SHOWN]:
        _say(console, f"{what}: {line}", style)
    if len(lines) > _SHOWN:
        _say(console, f"{what}: … and {len(lines) - _SHOWN:,} more (--json has all)", style)


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(line, style=style), soft_wrap=True)
