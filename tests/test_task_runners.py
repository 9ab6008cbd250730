"""Laws of task runners: whichever workers do the work, lake and counts are the same bytes."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.aggregate import aggregate
from flows.config import RunConfig
from flows.ingest import ingest
from flows.publishing import latest
from flows.task_runners import MissingDaskError, batches, runner_of
from tests.icews_files import bring, digests, in_order, small_config, write_small_sample


def config_of(folder: Path, runner: str, **overrides: Any) -> RunConfig:
    execution = {"execution.runner": runner, "execution.workers": 2}
    return small_config(folder / "raw", folder / runner, **execution | overrides)


def made_by(config: RunConfig) -> tuple[dict[str, str], str, dict[str, str], str]:
    """Return all that an ingestion and a counting leave."""
    lake = ingest(config).lake
    features = aggregate(lake, config)
    counts = config.data / "counts"
    return digests(lake), in_order(lake), digests(counts), features.digest


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize("runner", ["processes", "dask"])
def test_other_runners_make_the_same_bytes_as_threads(tmp_path: Path, runner: str) -> None:
    write_small_sample(tmp_path / "raw")
    config = config_of(tmp_path, runner)
    assert made_by(config) == made_by(config_of(tmp_path, "threads"))
    by_hand = bring(tmp_path / "by-hand", tmp_path / "raw").lake
    lake = latest(config.data / "lake")
    assert lake is not None
    assert digests(lake) == digests(by_hand)


def test_the_workers_are_as_many_as_asked_for(tmp_path: Path) -> None:
    for runner in ("threads", "processes"):
        config = config_of(tmp_path, runner, **{"execution.workers": 3})
        assert runner_of(config.execution)._max_workers == 3  # type: ignore[attr-defined]


def test_without_dask_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prefect_dask.task_runners", None)
    with pytest.raises(MissingDaskError, match=r"pip install 'foreshock\[dask\]'"):
        runner_of(config_of(tmp_path, "dask").execution)


def test_a_dask_cluster_that_is_there_is_used(tmp_path: Path) -> None:
    config = config_of(tmp_path, "dask", **{"execution.dask_address": "tcp://somewhere:8786"})
    assert runner_of(config.execution).address == "tcp://somewhere:8786"  # type: ignore[attr-defined]


@given(weights=st.lists(st.floats(0, 1e9), max_size=40), workers=st.integers(1, 8))
def test_batches_are_all_items_in_order_and_not_many_more_than_workers(
    weights: list[float], workers: int
) -> None:
    found = batches(weights, workers)
    assert [i for batch in found for i in batch] == list(range(len(weights)))
    assert all(len(batch) for batch in found)
    if sum(weights) > 0:
        assert len(found) <= 8 * workers + 1


def test_a_large_item_does_not_wait_for_small_ones_after_it() -> None:
    assert batches([100.0, *[1.0] * 20], workers=1)[0] == range(1)
