"""Laws of the commands that look at the lake: they change nothing; people or programs read them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flows import cli_lake
from flows.cli import app, main
from flows.publishing import latest
from tests.icews_files import bring, write_file
from tests.test_lake_plan import tree

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")

DAILY = "20180301-icews-events.tab"
NEW = "20180302-icews-events.tab"

assert cli_lake.app is app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a lake of a daily file, and put another beside it that the lake doesn't have."""
    write_file(tmp_path / "raw" / DAILY, [("1", "2018-03-01"), ("1", "2018-03-01")], also=["x"])
    bring(tmp_path / "data", tmp_path / "raw")
    write_file(tmp_path / "raw" / NEW, [("2", "2018-03-02")])
    return tmp_path


def said(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str | Path,
) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["foreshock", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    printed = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, printed.out, printed.err


Capture = pytest.CaptureFixture[str]


def test_a_plan_is_printed_and_changes_nothing(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--source", folder / "raw", "--data", folder / "data", "--step", "day")
    was = tree(folder)
    code, out, _ = said(capsys, monkeypatch, "plan", *where)
    assert code == 0
    assert NEW in out
    assert DAILY not in out
    assert "Months resolved anew: 1, 2018-03" in out
    code, out, _ = said(capsys, monkeypatch, "plan", *where, "--json")
    assert code == 0
    content = json.loads(out)
    assert content["name"] == "country-day"
    assert [file["name"] for file in content["lake"]["files"]] == [NEW]
    assert content["lake"]["months"] == ["2018-03-01"]
    assert content["counted"] == ["2018-03-01", "2018-03-02"]
    assert tree(folder) == was


def test_a_plan_neither_makes_a_folder_nor_imports_prefect(folder: Path) -> None:
    code = (
        "import sys\nimport flows.cli_lake\nfrom flows.cli import app\n"
        "app(sys.argv[1:], result_action='return_value')\n"
        "assert 'prefect' not in sys.modules\n"
    )
    data = folder / "nothing" / "here"
    where = ("plan", "--source", str(folder / "raw"), "--data", str(data))
    done = subprocess.run(
        [sys.executable, "-c", code, *where],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "2 files" in done.stdout
    assert not data.parent.exists()


def test_the_doctor_fails_where_there_is_an_error(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--source", folder / "raw", "--data", folder / "data")
    code, out, _ = said(capsys, monkeypatch, "doctor", *where)
    assert code == 0
    assert f"note: new files: 1 file of the source new since the last run\n    {NEW}\n" in out
    lake = latest(folder / "data" / "lake")
    assert lake is not None
    (lake / "events" / "month=2018-03" / "part-0.parquet").unlink()
    code, out, _ = said(capsys, monkeypatch, "doctor", *where, "--quick")
    assert code == 1
    assert out.splitlines()[1].startswith("error: damaged month: 1 month")
    code, out, _ = said(capsys, monkeypatch, "doctor", *where, "--json")
    content: dict[str, Any] = json.loads(out)
    assert (code, content["errors"]) == (1, True)
    assert content["findings"][0]["severity"] == "error"
    assert f"--again {DAILY}" in content["findings"][0]["mend"]


def test_the_doctor_takes_folders_from_a_configuration(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = folder / "my.toml"
    config.write_text(f'source = ["{folder / "raw"}"]\ndata = "{folder / "data"}"\n')
    code, out, _ = said(capsys, monkeypatch, "doctor", "--config", config, "--json")
    assert code == 0
    checks = {finding["check"] for finding in json.loads(out)["findings"]}
    assert "new files" in checks
    other = write_file(folder / "else" / DAILY, [("9", "2018-03-01")])
    given = ("--config", config, "--source", other)
    code, out, _ = said(capsys, monkeypatch, "doctor", *given, "--json")
    checks = {finding["check"] for finding in json.loads(out)["findings"]}
    assert "changed files" in checks
    assert "new files" not in checks


def test_the_ledger_is_a_table_and_json(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ("--data", folder / "data")
    code, out, _ = said(capsys, monkeypatch, "ledger", *data)
    assert code == 0
    assert DAILY in out
    path = folder / "data" / "lake" / "latest" / "files.parquet"
    assert str(path) in out
    assert pl.read_parquet(path).height == 1
    code, out, _ = said(capsys, monkeypatch, "ledger", *data, "--where", "rejected > 0", "--json")
    (row,) = json.loads(out)
    assert (row["file"], row["lines"], row["accepted"], row["rejected"]) == (DAILY, 3, 1, 1)
    code, out, _ = said(capsys, monkeypatch, "ledger", *data, "--where", "rejected > 9", "--json")
    assert json.loads(out) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan",), "source: Field required"),
        (("plan", "--source", "nowhere"), "source nowhere does not exist"),
        (("doctor", "--data", "nowhere"), "data=nowhere: expected a folder"),
        (("doctor", "--data", ".", "--days", "0"), "days=0: expected at least 1"),
        (("ledger", "--data", "nowhere"), "there is no ledger at nowhere/lake/latest"),
    ],
)
def test_a_wrong_input_is_said_with_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, err = said(capsys, monkeypatch, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_a_wrong_query_is_said_with_exit_code_2(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--data", folder / "data", "--where", "rejects > 0")
    code, out, err = said(capsys, monkeypatch, "ledger", *given)
    assert (code, out) == (2, "")
    assert "is no condition on the ledger" in err
    assert "rejected" in err
