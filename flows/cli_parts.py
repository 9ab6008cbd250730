"""What the commands share: the app, options, and how settings, errors and paths are handled."""

import os
import tomllib
from collections.abc import Callable
from datetime import date
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter
from rich.console import Console

app = App(
    name="foreshock",
    help="Embeddings and reconstruction errors for event time series.",
    version=lambda: version_of("foreshock"),
)

T = TypeVar("T")

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


def load(
    file: Path | None,
    source: list[Path] | None,
    data: Path | None,
    entity: str | None,
    step: str | None,
    settings: list[str] | None,
) -> Any:
    """Read the configuration that a command runs under: a file, and what overrides it."""
    from flows.config import RunConfig  # noqa: PLC0415

    given = {"source": source or None, "data": data, "entity": entity, "step": step}
    overrides = {key: value for key, value in given.items() if value is not None}
    return RunConfig.load(file, overrides | dict(map(setting, settings or [])))


def setting(text: str) -> tuple[str, Any]:
    """Take a key and value of ``--set`` apart."""
    key, equals, value = text.partition("=")
    if not equals:
        msg = f"--set {text}: expected key=value, such as --set training.epochs=20"
        raise ValueError(msg)
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def prepare_prefect(data: Path) -> None:
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


def day(text: str | None) -> date | None:
    """Read a day, or say what one looks like."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is no day: expected one such as 2008-07-01"
        raise ValueError(msg) from None


def say_written(folder: Path) -> None:
    """Say where something was written."""
    Console().print(f"Written to {folder}", style="bold", markup=False, soft_wrap=True)


def report(what: str, run: Callable[[], T], show: Callable[[T], int | None]) -> int:
    """Run a flow and show what it came to, or say why it failed; return the exit code.

    Parameters
    ----------
    what
        Of what it is said that it failed.
    run
        Runs the flow.
    show
        Prints its result; may return an exit code other than 0.
    """
    try:
        result = run()
    except Exception as error:
        say(f"the {what} failed: {error}")
        return FAILED
    return show(result) or 0


def say(message: str) -> None:
    """Tell an error, in red."""
    Console(stderr=True).print(f"foreshock: {message}", style="red", markup=False, soft_wrap=True)
