"""Commands that look at the lake and change nothing: plan, doctor and ledger."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from flows.cli_parts import FAILED, ConfigFile, Settings, Source, app, load

_FOLDER = Path("data/lake")
_WIDE = 1000

AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON, for programs.", negative=())]
DataFolder = Annotated[Path | None, Parameter(help="Folder that a run writes to.")]


@app.command
def plan(
    *,
    config: ConfigFile = None,
    source: Source = None,
    data: DataFolder = None,
    entity: Annotated[str | None, Parameter(help="Whose events are counted together.")] = None,
    step: Annotated[str | None, Parameter(help="day, week or month.")] = None,
    set_: Settings = None,
    as_json: AsJson = False,
) -> int:
    """Say what a run would add, replace, leave out, resolve, count, train and score.

    New files are read to know their dates; nothing is written but temporary files, which go.
    """
    settings = load(config, source, data, entity, step, set_)
    from flows.plan_table import plan_content, print_plan  # noqa: PLC0415
    from flows.run_plan import plan_run  # noqa: PLC0415

    found = plan_run(settings)
    if as_json:
        _print_json(plan_content(found))
    else:
        print_plan(found)
    return 0


@app.command
def doctor(
    *,
    config: ConfigFile = None,
    source: Source = None,
    data: DataFolder = None,
    days: Annotated[int, Parameter(help="Days back that codes and countries count as new.")] = 30,
    quick: Annotated[
        bool, Parameter(help="Don't read the lake's files whole: no checksums.", negative=())
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Look for what is wrong or odd in the lake, and say how to mend it.

    Ledger against lake, and against the source if one is given; leftovers and locks; gaps, jumps
    and novelties. Exit code 1 says that there is an error.
    """
    from flows.doctor import DoctorConfig, examine  # noqa: PLC0415
    from flows.doctor_findings import print_report  # noqa: PLC0415

    if config is not None:
        settings = load(config, source, data, None, None, None)
        source, data = list(settings.source), settings.data
    report = examine(
        DoctorConfig(data=data or _FOLDER, source=tuple(source or ()), days=days, quick=quick)
    )
    if as_json:
        _print_json(report.content())
    else:
        print_report(report)
    return FAILED if report.has_errors else 0


@app.command
def ledger(
    *,
    data: Annotated[Path, Parameter(help="Folder that a run writes to.")] = _FOLDER,
    where: Annotated[
        str | None, Parameter(help="Condition in SQL on the ledger's columns: 'rejected > 0'.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print the ledger: what became of the lines of every file that the lake has read."""
    import polars as pl  # noqa: PLC0415

    from flows.ledger import LEDGER, query_ledger  # noqa: PLC0415

    path = data / "lake" / "latest" / LEDGER
    if not path.exists():
        msg = f"there is no ledger at {path}: give --data, or bring files in with `foreshock run`"
        raise ValueError(msg)
    found = query_ledger(pl.read_parquet(path), where)
    if as_json:
        sys.stdout.write(found.write_json() + "\n")
        return 0
    _print_ledger(found)
    Console().print(
        f"{found.height:,} files. All columns: duckdb -c \"FROM '{path}'\"",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _print_ledger(table: Any) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    numbers = ("lines", "accepted", "rejected", "duplicates", "superseded")
    shown = Table(box=None, header_style="bold")
    shown.add_column("file", no_wrap=True)
    shown.add_column("edition")
    for title in (*numbers, "first event", "last event"):
        shown.add_column(title, justify="right")
    shown.add_column("error")
    days = ("first_event", "last_event")
    for row in table.iter_rows(named=True):
        cells = [
            *(row[name] for name in ("file", "edition")),
            *(f"{row[name]:,}" for name in numbers),
            *("" if row[name] is None else str(row[name]) for name in days),
            row["error"] or "",
        ]
        shown.add_row(*map(Text, cells))
    console = Console()
    (console if console.is_terminal else Console(width=_WIDE)).print(shown)


def _print_json(content: Any) -> None:
    sys.stdout.write(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
