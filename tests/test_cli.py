"""Laws of the command line: quick help, errors in a line, and a configuration that loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from features.sample import SampleConfig
from flows.cli import app, main
from flows.cli_parts import setting
from flows.config import RunConfig
from tests.icews_files import WholeRun

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")


def foreshock(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "80"},
    )


def test_help_imports_neither_torch_nor_prefect_nor_polars() -> None:
    code = (
        "import json, sys\n"
        "from flows.cli import app\n"
        "app(['--help'], result_action='return_value')\n"
        "app(['run', '--help'], result_action='return_value')\n"
        "heavy = {'torch', 'prefect', 'polars', 'sklearn', 'pyarrow'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    text, _, heavy = done.stdout.strip().rpartition("\n")
    assert json.loads(heavy) == []
    for word in ("run", "config", "sample", "evaluate", "compare", "--set", "--source"):
        assert word in text


def say(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run a command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["foreshock", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_printed_configuration_loads_as_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (
        "--source", "a b", "--step", "day", "--set", "training.epochs=3",
        "--set", "split.held_out_start=2018-10-01", "--set", 'vocabulary.blocks=["quad"]',
        "--set", "training.loss=mse", "--data", tmp_path / "data",
    )  # fmt: skip
    assert say(monkeypatch, "config", *given) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "run.toml"
    path.write_text(printed)
    expected = {
        "source": ["a b"], "step": "day", "training.epochs": 3, "training.loss": "mse",
        "split.held_out_start": "2018-10-01", "vocabulary.blocks": ["quad"],
        "data": tmp_path / "data",
    }  # fmt: skip
    assert RunConfig.load(path, {}) == RunConfig.load(None, expected)
    assert say(monkeypatch, "config", "--config", path) == 0
    assert capsys.readouterr().out == printed
    assert say(monkeypatch, "config", "--config", path, "--set", "training.epochs=4") == 0
    assert capsys.readouterr().out == printed.replace("epochs = 3", "epochs = 4")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("training.epochs=20", "training.epochs", 20),
        ("training.learning_rate = 1e-3", "training.learning_rate", 1e-3),
        ("transform.difference=true", "transform.difference", True),
        ("entity=world", "entity", "world"),
        ('entity="world"', "entity", "world"),
        ('vocabulary.blocks=["quad", "root"]', "vocabulary.blocks", ["quad", "root"]),
        ("data=a=b", "data", "a=b"),
        ("data=", "data", ""),
    ],
)
def test_a_setting_is_a_toml_value_or_else_text(text: str, key: str, value: object) -> None:
    assert setting(text) == (key, value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "--set", "epochs"], "--set epochs: expected key=value"),
        (["config", "--set", "training.epoch=3"], "training.epoch: no such key (got 3)"),
        (["config", "--step", "hour"], "step: Input should be 'day', 'week' or 'month'"),
        (["config", "--config", "nowhere.toml"], "nowhere.toml can't be read"),
        (["run"], "source: Field required"),
        (["run", "--source", "raw", "--set", "windows.length=0"], "length=0: expected at least 1"),
        (["compare", "--source", "raw", "--representation", "polar"], "polar"),
        (["compare", "--source", "data/sample", "--events", "nowhere.csv"], "nowhere.csv"),
        (["evaluate", "--events", "nowhere.csv"], "no file of events at nowhere.csv"),
        (["evaluate", "--events", "x.csv", "--part", "future"], "part='future': expected one of"),
        (["evaluate", "--events", "x.csv", "--since", "May"], "'May' is no day"),
        (["benchmark", "nowhere.npz"], "nowhere.npz"),
        (["explain", "Kenya", "--data", "nowhere"], "nothing is published in nowhere/published"),
    ],
)
def test_a_wrong_input_is_said_on_stderr_with_exit_code_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert say(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("foreshock: ")
    assert message in said.err
    assert len(said.err.splitlines()) <= 2


def test_a_source_that_is_not_there_starts_no_run(tmp_path: Path) -> None:
    done = foreshock("run", "--source", tmp_path / "[red]no[/red]", "--data", tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"foreshock: source {tmp_path}/[red]no[/red] does not exist: expected a folder of event "
        "files, or such files\n"
    )


def test_an_explanation_is_printed_and_drawn(
    whole: WholeRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plot, calibration = tmp_path / "kestria.png", tmp_path / "calibration.png"
    where = ("--data", whole.config.data, "--plot", plot, "--calibration", calibration)
    assert say(monkeypatch, "explain", "Kestria", *where, "--steps", "2") == 0
    said = capsys.readouterr().out
    assert said.startswith("Kestria, ")
    assert said.count(" events, ") >= 2
    for path in (plot, calibration):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_option_or_command_is_an_error() -> None:
    for arguments in (["run", "--sauce", "raw"], ["rum"]):
        done = foreshock(*arguments)
        assert done.returncode != 0
        assert arguments[-1 if len(arguments) == 1 else 1] in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def test_the_sample_is_written_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SampleConfig(n_years=1, crises=(), scale=0.05, daily_days=3)
    monkeypatch.setattr("features.sample.SampleConfig", lambda: small)
    folder = tmp_path / "new" / "folder"
    assert app(["sample", str(folder)], result_action="return_value") == 0
    assert capsys.readouterr().out == f"3 files in {folder}\n"
    assert len(list(folder.glob("*.zip"))) == 3
