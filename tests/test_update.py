"""Laws of the update flow as Prefect runs it; those of what it makes are in `test_rescoring`."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from flows import rescoring
from flows.lake import Lake
from flows.locking import BusyError, sole_run
from flows.partitions import scan_table
from flows.pipeline import run
from flows.published_state import PublishedState, days_of
from flows.publishing import latest
from flows.scorer import ScorerError
from flows.update import update
from tests.icews_files import WholeRun, digests, small_config, write_file

pytestmark = pytest.mark.usefixtures("prefect")

LATE = "20171230-icews-events.tab"


@pytest.fixture
def data(small: WholeRun, tmp_path: Path) -> Path:
    """Return a data folder after a run, and beside it the raw files."""
    shutil.copytree(small.config.data, tmp_path / "data", symlinks=True)
    shutil.copytree(small.config.source[0], tmp_path / "raw")
    return tmp_path / "data"


def test_new_events_are_scored_by_the_published_model_and_nothing_is_trained(
    data: Path, small: WholeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(data.parent / "raw", data)
    before = latest(data / "published" / config.name)
    models = sorted((data / "models").iterdir())
    path = write_file(data.parent / "raw" / LATE, [(f"{i}", "2017-12-31") for i in range(40)])
    path.write_text(path.read_text().replace("\tValmora\n", "\tKestria\n"))
    result = update(config)
    assert before is not None
    assert result.model_id == small.result.model.model_id
    assert result.ingested.added == (LATE,)
    assert result.rescored is not None
    assert result.rescored.touched == 1
    assert latest(data / "published" / config.name) == result.published != before
    assert sorted((data / "models").iterdir()) == models
    steps = [
        scan_table(folder, "step_errors")
        .filter(pl.col("step_start") <= pl.date(2017, 12, 31), pl.col("entity") == "Kestria")
        .filter(pl.col("step_end") >= pl.date(2017, 12, 31))
        .collect()
        for folder in (before, result.published)
    ]
    assert steps[1]["n_events"].item() == steps[0]["n_events"].item() + 40
    state = PublishedState.read(result.published)
    assert state.days == days_of(Lake.read(result.ingested.lake))
    monkeypatch.setattr(rescoring, "score_all", lambda *_: pytest.fail("scored again"))
    again = update(config)
    assert (again.published, again.rescored) == (result.published, None)
    assert again.ingested.added == ()


def test_an_update_without_news_leaves_what_is_published(data: Path, small: WholeRun) -> None:
    result = update(small_config(data.parent / "raw", data))
    assert result.rescored is None
    assert result.published.name == small.result.publication.folder.name
    assert digests(result.published) == digests(small.result.publication.folder)


def test_an_update_by_other_settings_is_refused_and_names_them(data: Path) -> None:
    config = small_config(data.parent / "raw", data, **{"training.epochs": 3, "split.gap": 2})
    with pytest.raises(ScorerError, match=r"split\.gap is 2, was 1, training\.epochs is 3, was 2"):
        update(config)
    elsewhere = {"execution.workers": 1, "training.device": "cpu"}
    assert update(small_config(data.parent / "raw", data, **elsewhere)).rescored is None


def test_an_update_before_the_first_run_says_what_to_do(tmp_path: Path) -> None:
    write_file(tmp_path / "raw" / LATE, [("1", "2017-12-31")])
    with pytest.raises(ScorerError, match=r"run `foreshock run`, which trains one"):
        update(small_config(tmp_path / "raw", tmp_path / "data"))
    assert not (tmp_path / "data" / "lake").exists()


@pytest.mark.parametrize("flow", [run, update])
def test_a_second_run_at_once_is_refused_and_says_who_is_at_it(data: Path, flow: object) -> None:
    config = small_config(data.parent / "raw", data, **{"execution.lock_wait": 0})
    assert callable(flow)
    with (
        sole_run(data, doing="a run by hand"),
        pytest.raises(BusyError, match="a run by hand, process"),
    ):
        # A flow of this very thread would be a flow within it.
        _in_another_context(flow, config)


def _in_another_context(flow: object, config: object) -> None:
    import contextvars

    assert callable(flow)
    contextvars.Context().run(flow, config)
