"""The command line: ``run``, ``update``, ``ingest``; `cli_scores`, `cli_lake`, `cli_sync`."""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows import cli_lake, cli_scores, cli_sync
from flows.cli_parts import (
    BAD_INPUT,
    FAILED,
    ConfigFile,
    Settings,
    Source,
    app,
    load,
    prepare_prefect,
    report,
    say,
)

__all__ = ["app", "cli_lake", "cli_scores", "cli_sync", "main"]


Again = Annotated[
    list[str] | None,
    Parameter(
        help="Name of a file to read although it has not changed, to mend a lake that was damaged "
        "(`foreshock doctor`). Repeatable.",
        negative=(),
    ),
]


@app.command
def run(
    *,
    config: ConfigFile = None,
    source: Source = None,
    data: Annotated[Path | None, Parameter(help="Folder for everything that is written.")] = None,
    entity: Annotated[str | None, Parameter(help="Whose events are counted together.")] = None,
    step: Annotated[str | None, Parameter(help="day, week or month.")] = None,
    set_: Settings = None,
) -> int:
    """Read event files, train a model, and write embeddings and errors as Parquet.

    What was done before and has not changed is not done again. Options override the file.
    """
    from flows.sources import find_files  # noqa: PLC0415

    settings = load(config, source, data, entity, step, set_)
    find_files(settings.source)
    prepare_prefect(settings.data)
    from flows.pipeline import run as pipeline  # noqa: PLC0415
    from flows.summary import print_summary  # noqa: PLC0415

    return report("run", lambda: pipeline(settings), print_summary)


@app.command
def update(
    *,
    config: ConfigFile = None,
    source: Source = None,
    data: Path | None = None,
    entity: str | None = None,
    step: str | None = None,
    set_: Settings = None,
) -> int:
    """Read new event files and score what they change with the model that is published.

    Trains nothing: `run` does. Only steps near those that changed are scored, whatever the size
    of the lake; the result is what scoring everything anew would give.
    """
    from flows.sources import find_files  # noqa: PLC0415

    settings = load(config, source, data, entity, step, set_)
    find_files(settings.source)
    prepare_prefect(settings.data)
    from flows.summary import print_update  # noqa: PLC0415
    from flows.update import update as flow  # noqa: PLC0415

    return report("update", lambda: flow(settings), print_update)


@app.command
def ingest(
    *,
    config: ConfigFile = None,
    source: Source = None,
    data: Path | None = None,
    set_: Settings = None,
    again: Again = None,
) -> int:
    """Read new event files into the lake, and do no more."""
    from flows.sources import find_files  # noqa: PLC0415

    settings = load(config, source, data, None, None, set_)
    find_files(settings.source)
    prepare_prefect(settings.data)
    from flows.ingest import ingest as flow  # noqa: PLC0415
    from flows.summary import print_ingested  # noqa: PLC0415

    return report("ingestion", lambda: flow(settings, tuple(again or ())), print_ingested)


@app.command
def config(
    *,
    config: ConfigFile = None,
    source: Source = None,
    data: Path | None = None,
    entity: str | None = None,
    step: str | None = None,
    set_: Settings = None,
) -> int:
    """Print the whole configuration, defaults included, as TOML for ``run --config``."""
    settings = load(config, source or ([] if config else [Path("raw")]), data, entity, step, set_)
    sys.stdout.write(settings.to_toml())
    return 0


@app.command
def sample(folder: Path, *, seed: int | None = None) -> int:
    """Write invented events in ICEWS's format, with planted crises, to FOLDER."""
    from features.sample import SampleConfig, write_sample  # noqa: PLC0415

    files = write_sample(folder, SampleConfig() if seed is None else SampleConfig(seed=seed))
    sys.stdout.write(f"{len(files)} files in {folder}\n")
    return 0


@app.command
def experiments(
    *,
    data: Annotated[Path, Parameter(help="Folder for everything that is written.")] = Path(
        "data/lake"
    ),
    seeds: Annotated[int, Parameter(help="Runs of each goal; their median counts.")] = 5,
    quick: Annotated[
        bool, Parameter(help="Less of the ramp and of the sweep; the same goals.", negative=())
    ] = False,
) -> int:
    """Repeat the published experiments, to the letter and with this library.

    Writes tables and figures. Exit code 1 says that a goal was missed.
    """
    from flows.experiment_grid import ExperimentsConfig  # noqa: PLC0415

    make = ExperimentsConfig.quick if quick else ExperimentsConfig
    settings = make(data=data, seeds=seeds)
    prepare_prefect(data)
    from flows.experiments import ExperimentsResult, print_goals  # noqa: PLC0415
    from flows.experiments import experiments as flow  # noqa: PLC0415

    def show(result: ExperimentsResult) -> int:
        print_goals(result)
        return 0 if result.all_reached else FAILED

    return report("experiments", lambda: flow(settings), show)


def main() -> None:
    """Run the command line; errors of the input are one line, and exit code 2."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        sys.exit(app(result_action="return_value"))
    except (ValueError, OSError) as error:
        say(str(error))
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
