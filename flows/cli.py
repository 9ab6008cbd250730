"""The command line: ``foreshock run``, ``config``, ``sample`` and ``experiments``."""

import os
import sys
import tomllib
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

app = App(
    name="foreshock",
    help="Embeddings and reconstruction errors for event time series.",
    version=lambda: version_of("foreshock"),
)

BAD_INPUT = 2
FAILED = 1

Settings = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        help="Any key of the configuration, such as --set training.epochs=20. Repeatable.",
        negative=(),
    ),
]
ConfigFile = Annotated[Path | None, Parameter(help="A TOML file; `foreshock config` writes one.")]
Source = Annotated[
    list[Path] | None,
    Parameter(help="Folder of ICEWS files, or such a file. Repeatable.", negative=()),
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

    settings = _load(config, source, data, entity, step, set_)
    find_files(settings.source)
    _prepare_prefect(settings.data)
    from flows.pipeline import run as pipeline  # noqa: PLC0415
    from flows.summary import print_summary  # noqa: PLC0415

    try:
        result = pipeline(settings)
    except Exception as error:
        _say(f"the run failed: {error}")
        return FAILED
    print_summary(result)
    return 0


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
    settings = _load(config, source or ([] if config else [Path("raw")]), data, entity, step, set_)
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
    _prepare_prefect(data)
    from flows.experiments import experiments as flow  # noqa: PLC0415
    from flows.experiments import print_goals  # noqa: PLC0415

    try:
        result = flow(settings)
    except Exception as error:
        _say(f"the experiments failed: {error}")
        return FAILED
    print_goals(result)
    return 0 if result.all_reached else FAILED


def main() -> None:
    """Run the command line; errors of the input are one line, and exit code 2."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        sys.exit(app(result_action="return_value"))
    except (ValueError, OSError) as error:
        _say(str(error))
        sys.exit(BAD_INPUT)


def _load(
    file: Path | None,
    source: list[Path] | None,
    data: Path | None,
    entity: str | None,
    step: str | None,
    settings: list[str] | None,
) -> Any:
    from flows.config import RunConfig  # noqa: PLC0415

    given = {"source": source or None, "data": data, "entity": entity, "step": step}
    overrides = {key: value for key, value in given.items() if value is not None}
    return RunConfig.load(file, overrides | dict(map(_setting, settings or [])))


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        msg = f"--set {text}: expected key=value, such as --set training.epochs=20"
        raise ValueError(msg)
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _prepare_prefect(data: Path) -> None:
    """Keep Prefect's state with the data and its embedded server quiet, unless told otherwise.

    Must come before the first import of prefect, which reads the environment then.
    """
    data.mkdir(parents=True, exist_ok=True)
    defaults = {
        "PREFECT_HOME": str((data / "prefect").absolute()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _say(message: str) -> None:
    Console(stderr=True).print(f"foreshock: {message}", style="red", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
