"""Laws of recovery: killed anywhere, a run leaves what is whole, and the next mends the rest."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows import lake_update
from flows.publishing import latest, point_latest
from tests.faulty_runs import Fault, run_once
from tests.kill_runs import draw_case, kill_and_mend, main
from tests.kill_scene import Scene, check_version, make_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("seed", range(50))
def test_what_a_killed_run_leaves_is_whole_and_the_next_run_mends_the_rest(
    scene: Scene, tmp_path: Path, seed: int
) -> None:
    is_there, faults = draw_case(scene, seed)
    hits, problems = kill_and_mend(scene, tmp_path / "data", faults, is_there=is_there)
    assert problems == []
    assert len(hits) >= 1


def test_a_lake_that_grew_and_one_made_at_once_are_the_same(scene: Scene, tmp_path: Path) -> None:
    hits, problems = kill_and_mend(scene, tmp_path / "data", [], is_there=False)
    assert (hits, problems) == ([], [])


@contextmanager
def _in_place(dataset: Path, version: str) -> Iterator[Path]:
    """Publish as one must not: the version grows under its own name."""
    folder = dataset / version
    folder.mkdir(parents=True)
    yield folder
    point_latest(dataset, version)


def _run_in_place(data: Path, source: Path) -> None:
    lake_update.publishing = _in_place
    run_once(data, source)


@contextmanager
def _pointed_to_first(dataset: Path, version: str) -> Iterator[Path]:
    """Publish as one must not: readers are sent to a version that isn't whole."""
    folder = dataset / version
    folder.mkdir(parents=True)
    point_latest(dataset, version)
    yield folder


def _run_pointed_to_first(data: Path, source: Path) -> None:
    lake_update.publishing = _pointed_to_first
    run_once(data, source)


def test_a_run_that_is_not_mended_is_found_out(scene: Scene, tmp_path: Path) -> None:
    late = Fault(kind="change", at=scene.undisturbed[False].changes // 2)
    hits, problems = kill_and_mend(
        scene, tmp_path / "data", [late], is_there=False, run=_run_in_place
    )
    assert [hit.published for hit in hits] == ["old"]
    assert any("the next run failed" in problem for problem in problems)


def test_a_version_that_is_read_before_it_is_whole_is_found_out(
    scene: Scene, tmp_path: Path
) -> None:
    hits, problems = kill_and_mend(scene, tmp_path / "data", [], run=_run_pointed_to_first)
    assert hits == []
    assert any("FileNotFoundError" in problem for problem in problems)


@pytest.mark.parametrize("kind", ["events", "duplicates", "rejected"])
def test_whatever_is_not_as_the_records_say_is_noticed(
    scene: Scene, tmp_path: Path, kind: str
) -> None:
    shutil.copytree(scene.after, tmp_path / "data", symlinks=True)
    folder = latest(tmp_path / "data" / "lake")
    assert folder is not None
    check_version(folder)
    mine, other = sorted((folder / kind).rglob("*.parquet"))[:2]
    more = mine.with_name("more.parquet")
    shutil.copy(mine, more)
    with pytest.raises(AssertionError, match=r"more\.parquet"):
        check_version(folder)
    more.unlink()
    shutil.copy(mine, other)
    with pytest.raises(AssertionError, match=kind):
        check_version(folder)
    mine.unlink()
    with pytest.raises(FileNotFoundError):
        check_version(folder)


def test_the_command_prints_where_runs_were_killed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kills", "2", "--seed", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("killed while")
    assert lines[-1].endswith("cases, 0 of them not mended")
