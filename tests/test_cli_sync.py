"""The command ``foreshock sync``, as it is called."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import cli_sync
from flows.cli_parts import app
from flows.dataverse import TOKEN_VARIABLE
from tests.dataverse_server import DOI, DataverseServer, status

NAME, CONTENT = "events.2018.20200427.tab.zip", b"yearly" * 99
QUICK = ("--pause", "0", "--attempts", "2", "--timeout", "5")

assert cli_sync.sync.__name__ == "sync"


@pytest.fixture
def server() -> Iterator[DataverseServer]:
    with DataverseServer() as running:
        yield running


def foreshock(server: DataverseServer, folder: Path, *more: str) -> int:
    """Run the command in this process and return its exit code."""
    where = ("--into", str(folder / "raw"), "--data", str(folder / "data"))
    given = ["sync", "icews", *where, "--api-base", server.url, "--doi", DOI, *QUICK, *more]
    code = app(given, result_action="return_value")
    assert isinstance(code, int)
    return code


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    server: DataverseServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add(NAME, CONTENT)
    server.add("events.2019.1.tab", b"x", restricted=True)
    assert foreshock(server, tmp_path, "--dry-run") == 0
    said = capsys.readouterr()
    assert f"fetch {NAME}: 594 bytes; to be proved by md5" in said.out
    assert "restricted, left out: events.2019.1.tab" in said.out
    assert said.err == ""
    assert list(tmp_path.iterdir()) == []
    assert server.file_requests == []


def test_a_dry_run_imports_no_prefect_and_writes_nothing_anywhere(
    server: DataverseServer, tmp_path: Path
) -> None:
    """Prefect writes its settings where it is imported."""
    server.add(NAME, CONTENT)
    program = (
        "import sys\n"
        "from flows import cli_sync\n"
        "from flows.cli_parts import app\n"
        "assert 'httpx' not in sys.modules\n"
        "code = app(sys.argv[1:], result_action='return_value')\n"
        "sys.exit(code or 'prefect' in sys.modules)\n"
    )
    given = ["sync", "icews", "--into", "raw", "--api-base", server.url, "--doi", DOI, "--dry-run"]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program, *given],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"fetch {NAME}" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_patterns_and_datasets_choose_what_is_fetched(
    server: DataverseServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "doi:10.7910/DVN/OTHER"
    server.add(NAME, CONTENT)
    server.add("Codebook.PDF", b"x", doi=other)
    more = ("--doi", other, "--match", "*.pdf", "--dry-run")
    assert foreshock(server, tmp_path, *more) == 0
    said = capsys.readouterr().out
    assert re.findall(r"(?:fetch|replace) (\S+):", said) == ["Codebook.PDF"]
    assert re.search(r"that match no pattern +1\b", said)


def test_a_list_that_cannot_be_had_is_one_line_and_exit_code_1(
    server: DataverseServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.listing_faults.extend([status(403)])
    assert foreshock(server, tmp_path, "--dry-run") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"foreshock: the files can't be listed: {DOI}: status 403")
    assert TOKEN_VARIABLE in said.err
    server.listing = {"status": "OK", "data": {"latest": {}}}
    assert foreshock(server, tmp_path, "--dry-run") == 1
    assert "got only the keys ['latest']" in capsys.readouterr().err


def test_a_sync_fetches_and_one_that_misses_a_file_says_how_to_go_on(
    server: DataverseServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    prefect: None,
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "secret-token")
    server.add(NAME, CONTENT)
    server.add("events.2019.1.tab", b"x", faults=[status(500)] * 2)
    assert foreshock(server, tmp_path) == 1
    said = capsys.readouterr()
    assert f"1 fetched and verified into {tmp_path / 'raw'}" in said.out
    assert "failed: events.2019.1.tab: status 500" in said.out
    assert "1 of 2 files are missing: events.2019.1.tab" in said.err
    assert "Run the same command again" in said.err
    assert (tmp_path / "raw" / NAME).read_bytes() == CONTENT
    assert foreshock(server, tmp_path) == 0
    assert (tmp_path / "raw" / "events.2019.1.tab").read_bytes() == b"x"
    again = capsys.readouterr()
    for text in (said.out, said.err, again.out, again.err):
        assert "secret-token" not in text
    assert {request.headers["x-dataverse-key"] for request in server.requests} == {"secret-token"}


def test_a_folder_that_cannot_be_made_is_told(
    server: DataverseServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], prefect: None
) -> None:
    (tmp_path / "raw").write_bytes(b"a file")
    assert foreshock(server, tmp_path) == 1
    assert "foreshock: the sync failed: " in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--connections", "0"), "connections=0: expected at least 1"),
        (("--doi", "28075"), "'28075' is no identifier"),
    ],
)
def test_a_wrong_option_is_an_error_before_anything_is_asked(
    server: DataverseServer, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        foreshock(server, tmp_path, *more)
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []
