"""Laws of the plan: it says what the run then does, and leaves no trace."""

import json
import shutil
import tempfile
from datetime import date
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from features.ingest import IngestConfig
from flows.config import RunConfig
from flows.counting import CountStore, steps_of
from flows.lake import Lake
from flows.lake_plan import LakePlan, PlanError, plan_update
from flows.partitions import scan_table
from flows.plan_table import plan_content, print_plan
from flows.publishing import latest
from flows.run_plan import RunPlan, plan_run
from flows.sources import SourceError
from tests.icews_files import WholeRun, bring, write_file, write_small_sample
from tests.test_lake import BASE, CHOICES, DAILY, EARLIER, OTHER, YEARLY, write_versions

LATER = "20180302-icews-events.tab"


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what lies in a folder, with sizes and times of change."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }


def plan_of(data: Path, *paths: Path, config: IngestConfig | None = None) -> LakePlan:
    return plan_update(data / "lake", paths, config or IngestConfig())


def printed(plan: RunPlan) -> str:
    text = StringIO()
    print_plan(plan, Console(file=text, width=200))
    return text.getvalue()


def superseded_rows(lake: Lake) -> dict[tuple[str, str], int]:
    return {
        (name, by): n
        for name, record in lake.files.items()
        for by, n in record.superseded_by.items()
    }


@settings(max_examples=20)
@given(
    arrivals=st.lists(
        st.lists(st.sampled_from([*CHOICES, (BASE, 0)]), min_size=1, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_the_run_then_does_what_the_plan_says(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[list[tuple[str, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("plans")
    files = write_versions(folder / "raw")
    data = folder / "data"
    data.mkdir()
    for together in arrivals:
        batch = {name: files[name, version] for name, version in together}.values()
        before = latest(data / "lake")
        old = Lake.load(before, IngestConfig())
        was = tree(data)
        plan = plan_of(data, *batch)
        assert tree(data) == was
        try:
            result = bring(data, *batch)
        except SourceError as error:
            assert plan.failure is not None
            assert str(error).replace("could be", "can be") == plan.failure
            continue
        assert plan.failure is None
        new = Lake.read(result.lake)
        assert plan.months == result.months
        assert set(result.days) <= set(plan.days)
        assert plan.changes or not (result.months or result.days)
        assert plan.returns_to in (None, new.version)
        assert [file.why for file in plan.files if file.why] == list(result.errors)
        for file in plan.files:
            record, was_before = new.files[file.name], old.files.get(file.name)
            if file.why:
                assert (file.lines, file.rows_gone) == (0, 0)
                assert record.staged.lines == (was_before.staged.lines if was_before else 0)
                continue
            assert (file.lines, file.rejected) == (record.staged.lines, record.rejected)
            assert file.rows_gone == (was_before.staged.valid if was_before else 0)
        once, now = superseded_rows(old), superseded_rows(new)
        staged = {file.name for file in plan.files if not file.why}
        if plan.changes:
            change: dict[str, int] = {}
            for one, sign in ((plan.superseded, 1), (plan.restored, -1)):
                for found in one:
                    change[found.file] = change.get(found.file, 0) + sign * found.rows
            for name in new.files:
                total = sum(n for (file, _), n in now.items() if file == name)
                kept = sum(n for (file, _), n in once.items() if file == name)
                assert change.get(name, 0) == (total if name in staged else total - kept)


def test_a_plan_does_not_make_the_data_folder(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    plan = plan_of(tmp_path / "data", files[DAILY, 0])
    assert plan.version is None
    assert plan.months == (date(2018, 2, 1), date(2018, 3, 1))
    assert not (tmp_path / "data").exists()


def test_new_files_are_not_all_held_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import lake_plan

    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    held: list[int] = []
    staged = lake_plan.stage

    def watched(path: Path, staging: Path, config: IngestConfig) -> object:
        held.append(len(list(spare.rglob("*.arrow"))))
        found = staged(path, staging, config)
        held.append(len(list(spare.rglob("*.arrow"))))
        return found

    monkeypatch.setattr(lake_plan, "stage", watched)
    files = [write_file(tmp_path / f"{i}.tab", [(str(i), "2018-03-01")]) for i in range(3)]
    plan_of(tmp_path / "data", *files)
    assert held == [0, 1] * 3
    assert list(spare.iterdir()) == []


def test_no_space_for_a_new_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import lake_plan

    def full(path: Path, staging: Path, config: IngestConfig) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lake_plan, "stage", full)
    path = write_file(tmp_path / DAILY, [("1", "2018-03-01")])
    with pytest.raises(PlanError, match=r"20180301.*No space left on device.*TMPDIR"):
        plan_of(tmp_path / "data", path)


def test_what_a_yearly_file_replaces_is_said_by_file_and_days(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    bring(tmp_path, files[DAILY, 0], files[OTHER, 0])
    plan = plan_of(tmp_path, files[YEARLY, 0])
    (found,) = plan.superseded
    assert (found.file, found.by, found.rows) == (DAILY, YEARLY, 1)
    assert found.days == (date(2018, 2, 28),)
    assert plan.restored == ()
    text = printed(plan_run(config_of(tmp_path, source=[files[YEARLY, 0]], data=tmp_path)))
    assert f"superseded: 1 row of {DAILY} on 1 day, 2018-02-28: replaced by {YEARLY}" in text
    (file,) = plan.files
    assert (file.action, file.lines, file.valid, file.rejected) == ("add", 4, 3, 1)
    assert (file.first_event, file.last_event) == (date(2018, 1, 5), date(2018, 2, 28))


def test_rows_that_a_yearly_file_gives_back_are_said(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    bring(tmp_path, files[DAILY, 0], files[EARLIER, 0])
    plan = plan_of(tmp_path, files[EARLIER, 1])
    (found,) = plan.restored
    assert (found.file, found.by, found.rows) == (DAILY, EARLIER, 2)
    assert plan.files[0].action == "replace"
    assert plan.files[0].rows_gone == 2
    assert {date(2018, 2, 28), date(2018, 3, 1)} <= set(plan.days)


def test_a_file_that_cannot_be_read_any_more_keeps_its_rows(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    bring(tmp_path, files[YEARLY, 0], files[OTHER, 0])
    (file,) = plan_of(tmp_path, files[YEARLY, 2]).files
    assert (file.action, file.rows_gone, file.lines) == ("leave out", 0, 0)
    assert file.why is not None
    assert YEARLY in file.why


def test_other_settings_read_all_anew_and_what_is_gone_would_be_lost(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    bring(tmp_path, files[DAILY, 0], files[OTHER, 0])
    config = IngestConfig(columns="all")
    plan = plan_of(tmp_path, files[DAILY, 0], config=config)
    assert plan.anew == ("it was made with other settings of ingest: columns was 'core', is 'all'")
    assert plan.lost == (OTHER,)
    assert [file.name for file in plan.files] == [DAILY]


def test_a_lake_of_other_code_is_read_anew(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    lake = bring(tmp_path, files[DAILY, 0]).lake
    content = json.loads((lake / "files.json").read_text())
    (lake / "files.json").write_text(json.dumps(content | {"version": -1}))
    plan = plan_of(tmp_path, files[DAILY, 0])
    assert plan.anew == "it was made by another version of the code"
    assert [file.action for file in plan.files] == ["add"]


def test_records_that_cannot_be_read_are_an_error_that_says_what_helps(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    lake = bring(tmp_path, files[DAILY, 0]).lake
    (lake / "files.json").write_text("{")
    with pytest.raises(PlanError, match=r"records of the lake in .* can't be read.*doctor"):
        plan_of(tmp_path, files[DAILY, 0])


def config_of(tmp_path: Path, **overrides: object) -> RunConfig:
    given_ = {"source": [tmp_path / "raw"], "data": tmp_path / "data"}
    return RunConfig.load(None, given_ | overrides)


def test_the_steps_that_are_counted_are_those_of_the_changed_days(tmp_path: Path) -> None:
    write_small_sample(tmp_path / "raw")
    config = config_of(tmp_path)
    lake = Lake.read(bring(config.data, tmp_path / "raw").lake)
    every = plan_run(config)
    assert list(every.counted) == steps_of(list(lake.days), "week")
    assert every.training == "nothing is published yet"
    store = CountStore(
        root=config.data / "counts",
        entity=config.entity,
        step=config.step,
        fields=config.vocabulary.fields,
    )
    store.count(lake)
    assert plan_run(config).counted == ()
    late = [("new1", "2017-12-31"), ("new2", "2018-01-01")]
    write_file(tmp_path / "raw" / "20180102-icews-events.tab", late)
    plan = plan_run(config)
    assert plan.counted == (date(2017, 12, 25), date(2018, 1, 1))
    assert plan.training == "events change"


def test_after_a_run_there_is_nothing_to_do(small: WholeRun) -> None:
    plan = plan_run(small.config)
    assert plan.is_idle
    assert plan.published
    assert printed(plan).startswith("Nothing to do")
    other = small.config.model_copy(update={"step": "day"})
    assert not plan_run(other).is_idle
    assert plan_run(other).scored == ()


def test_other_settings_of_the_model_train_anew_and_others_do_not(small: WholeRun) -> None:
    training = small.config.training
    slower = type(training)(**vars(training) | {"epochs": training.epochs + 1})
    plan = plan_run(small.config.model_copy(update={"training": slower}))
    assert plan.training is not None
    assert "under this configuration" in plan.training
    assert not plan.is_idle
    elsewhere = type(training)(**vars(training) | {"slab_bytes": 2**25})
    assert plan_run(small.config.model_copy(update={"training": elsewhere})).is_idle


def test_scores_reach_a_window_beyond_the_steps_that_change(
    small: WholeRun, tmp_path: Path
) -> None:
    length = small.config.windows.length
    late = write_file(tmp_path / "20170602-icews-events.tab", [("late", "2017-06-01")])
    config = small.config.model_copy(update={"source": (*small.config.source, late)})
    plan = plan_run(config)
    assert plan.counted == (date(2017, 5, 29),)
    assert len(plan.scored) == 2 * length
    assert plan.scored[length - 1] == plan.counted[0]
    assert plan.training == "events change"
    text = printed(plan)
    assert "20170602-icews-events.tab" in text
    assert f"`foreshock update` would score at most {2 * length} steps" in text
    content = json.loads(json.dumps(plan_content(plan)))
    assert content["lake"]["files"][0]["first_event"] == "2017-06-01"
    assert content["idle"] is False


def test_an_update_changes_no_scores_but_those_of_the_plan(small: WholeRun, tmp_path: Path) -> None:
    from flows.update import update

    data = tmp_path / "data"
    shutil.copytree(small.config.data, data, symlinks=True, ignore=_ignore_prefect)
    row = "late\t2017-06-01\tKestria\t190\t-10.0\tKestria\tKestria"
    late = write_file(tmp_path / "mine.tab", [], also=[row] * 3)  # replaced by no other
    sources = (*small.config.source, late)
    config = small.config.model_copy(update={"source": sources, "data": data})
    folder = data / "published" / config.name
    before = {name: changing(folder, name) for name in ("step_errors", "proportions")}
    plan = plan_run(config)
    assert update(config).rescored is not None
    for name, allowed in (("step_errors", plan.scored), ("proportions", plan.counted)):
        after = changing(folder, name)
        changed = after.join(before[name], on=after.columns, how="anti", nulls_equal=True)
        assert not changed.is_empty()
        assert set(changed["step_start"]) <= set(allowed)


def _ignore_prefect(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "prefect"]


def changing(folder: Path, name: str) -> pl.DataFrame:
    """Read a published table; what it holds of lists as text, so that rows can be compared."""
    table = scan_table(latest(folder) or folder, name).collect()
    nested = [column for column, kind in table.schema.items() if kind.is_nested()]
    texts = [pl.Series(column, list(map(str, table[column].to_list()))) for column in nested]
    return table.with_columns(texts)


def test_what_a_run_would_do_is_printed(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    config = config_of(tmp_path, source=[files[YEARLY, 0], tmp_path / "raw" / "1" / EARLIER])
    bring(config.data, files[DAILY, 0], files[EARLIER, 0])
    broken = write_file(tmp_path / "more" / LATER, [])
    broken.write_text("no table\n")
    text = printed(plan_run(config.model_copy(update={"source": (*config.source, broken)})))
    for said in (
        "replace", "add", f"left out: {broken}",
        f"back: 1 row of {DAILY} on 1 day, 2018-03-01: {EARLIER} no longer replaces them",
        "Months resolved anew: 3, 2018-01 to 2018-03",
        "`foreshock run` would train a model and score all: events change",
    ):  # fmt: skip
        assert said in text


def test_a_run_that_would_fail_is_said_to(tmp_path: Path) -> None:
    files = write_versions(tmp_path / "raw")
    plan = plan_run(config_of(tmp_path, source=[files[DAILY, 2]]))
    assert plan.lake.failure is not None
    assert "The run would fail: none of the 1 files can be read" in printed(plan)
    assert plan.counted == plan.scored == ()
