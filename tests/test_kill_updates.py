"""Laws of recovery of updates: killed anywhere, the next one publishes what it was to publish."""

import shutil
from pathlib import Path

from flows.partitions import KEYS, scan_table
from flows.published_state import PublishedState
from flows.publishing import latest
from flows.scorer import SCORER, Scorer
from tests.faulty_runs import Fault, run_apart, update_once
from tests.icews_files import digests
from tests.kill_scene import unfinished
from tests.test_rescoring import DATASET, Case

N_KILLS = 6


def published(data: Path) -> dict[str, str]:
    """Check that what is published is whole, and return its digests."""
    folder = latest(data / DATASET)
    assert folder is not None
    state = PublishedState.read(folder)
    steps = scan_table(folder, "step_errors").select(KEYS["step_errors"]).collect()
    assert steps["step_start"].min() == state.bounds.first
    assert steps["step_start"].max() == state.bounds.last
    assert not steps.is_duplicated().any()
    Scorer.load(folder / SCORER)
    return digests(folder)


def test_a_killed_update_leaves_what_is_published_and_the_next_one_goes_on(
    tmp_path: Path,
) -> None:
    case = Case(tmp_path / "case")
    before, source = tmp_path / "before", tmp_path / "source"
    case.publish(before, case.base)
    source.mkdir()
    for path in case.files[:2]:
        shutil.copy(path, source)
    after = tmp_path / "after"
    shutil.copytree(before, after, symlinks=True)
    undisturbed = run_apart(after, source, run=update_once)
    assert (undisturbed.code, undisturbed.error) == (0, "")
    old, new = published(before), published(after)
    assert old != new
    for i in range(N_KILLS):
        data = tmp_path / f"killed-{i}"
        shutil.copytree(before, data, symlinks=True)
        at = (i + 1) * undisturbed.changes // (N_KILLS + 1)
        killed = run_apart(data, source, Fault(kind="change", at=at), run=update_once)
        assert killed.code == -9, killed
        assert published(data) in (old, new), killed
        mended = run_apart(data, source, run=update_once)
        assert (mended.code, mended.error) == (0, ""), killed
        assert published(data) == new, killed
        assert unfinished(data) == [], killed
