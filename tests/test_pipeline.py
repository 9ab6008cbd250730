"""Laws of the whole pipeline: what it finds, what it repeats, and what a failure leaves."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.sample import CRISES, Crisis
from flows import counting, lake_update, publish, train
from flows.lake import Lake
from flows.locking import LOCK
from flows.pipeline import run
from flows.record import RunResult
from models import checkpoint
from models.regimes import MIN_OVERLAP
from models.resumption import TrainingState
from tests.icews_files import WholeRun, digests, sha256, small_config, write_file

FOUND_WITHIN = 0.01
"""Share of all steps among which a crisis must be; at writing they are the first 10 of 2,520."""

QUIET_FOUND_WITHIN = 0.03
"""The same for a crisis that changes what happens and not how much: 69th at writing."""

QUIET = ("Belmark",)


def steps_of(crisis: Crisis) -> pl.Expr:
    return (
        (pl.col("entity") == crisis.country)
        & (pl.col("step_start") <= crisis.end)
        & (pl.col("step_end") >= crisis.start)
    )


def forbid(monkeypatch: pytest.MonkeyPatch, *places: tuple[Any, str]) -> None:
    def not_again(*args: Any, **kwargs: Any) -> None:
        pytest.fail("this was done already")

    for module, name in places:
        monkeypatch.setattr(module, name, not_again)


def published(result: RunResult) -> dict[str, str]:
    return digests(result.publication.folder)


def test_every_planted_crisis_that_was_held_out_stands_out(whole: WholeRun) -> None:
    steps = pl.read_parquet(whole.result.publication.latest / "step_errors").with_columns(
        rank=pl.col("score").rank(descending=True)
    )
    best = {
        (crisis.country, crisis.start): steps.filter(
            steps_of(crisis), pl.col("part") == "held_out"
        )["rank"].min()
        for crisis in CRISES
    }
    held_out = {crisis: rank for crisis, rank in best.items() if rank is not None}
    assert len(held_out) == 4
    n_steps = steps["score"].count()
    for (country, _), rank in held_out.items():
        within = QUIET_FOUND_WITHIN if country in QUIET else FOUND_WITHIN
        assert rank <= within * n_steps, (country, rank)


def test_a_quiet_crisis_is_strange_and_not_loud(whole: WholeRun) -> None:
    steps = pl.read_parquet(whole.result.publication.latest / "step_errors")
    for crisis in CRISES:
        if crisis.country not in QUIET:
            continue
        during = steps.filter(steps_of(crisis))
        assert during["strangeness"].max() > steps["strangeness"].quantile(0.98)  # type: ignore[operator]
        assert during["loudness"].max() < 1  # type: ignore[operator]
        assert during["volume_share"].max() < 0.1  # type: ignore[operator]


def test_the_step_that_stands_out_most_is_a_planted_one(whole: WholeRun) -> None:
    steps = pl.read_parquet(whole.result.publication.latest / "step_errors")
    top = steps.top_k(1, by="score")
    assert top.filter(pl.any_horizontal(steps_of(crisis) for crisis in CRISES)).height == 1


def test_the_model_beats_the_training_mean(whole: WholeRun) -> None:
    diagnosis = checkpoint.load(whole.result.model.folder).diagnosis
    assert diagnosis is not None
    ratios = {name: ratio for name, _, ratio in diagnosis.rows()}
    assert ratios["autoencoder"] < 1


def test_the_record_of_a_run_has_everything_about_it(whole: WholeRun) -> None:
    record = json.loads(whole.result.record.read_text())
    assert record["config"] == whole.config.model_dump(mode="json")
    assert record["config"]["training"]["epochs"] == whole.config.training.epochs
    assert record["code_version"]
    result = record["result"]
    assert len(result["ingested"]["added"]) == 31
    assert result["model"]["model_id"] == whole.result.model.model_id
    assert Path(result["publication"]["folder"]) == whole.result.publication.folder
    assert result["seconds"] > 0
    diagnosis = checkpoint.load(whole.result.model.folder).diagnosis
    assert diagnosis is not None
    assert record["diagnosis"] == json.loads(json.dumps(diagnosis.to_dict()))
    assert record["diagnosis"]["verdict"] == diagnosis.verdict
    lake = Lake.read(whole.result.ingested.lake)
    assert {name: file["accepted"] for name, file in record["files"].items()} == {
        name: file.accepted for name, file in lake.files.items()
    }


def test_a_run_leaves_no_litter(whole: WholeRun) -> None:
    assert sorted(path.name for path in whole.config.data.iterdir()) == [
        LOCK,
        "counts",
        "features",
        "lake",
        "models",
        "published",
        "runs",
    ]
    assert list(whole.config.data.rglob(".*")) == [whole.config.data / LOCK]
    assert (whole.config.data / LOCK).read_text() == ""


def test_a_second_run_does_nothing_again(small: WholeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(
        monkeypatch,
        (lake_update, "stage_file"),
        (lake_update, "resolve_month"),
        (counting, "count_events"),
        (train, "train"),
        (train, "diagnose"),
        (publish, "score_all"),
        (publish, "detect_injected"),
    )
    before = {path: path.stat().st_mtime_ns for path in small.config.data.rglob("*.parquet")}
    first, second = small.result, run(small.config)
    assert not (first.features.reused or first.model.reused or first.publication.reused)
    assert second.features.reused
    assert second.model.reused
    assert second.publication.reused
    assert second.ingested.added == second.ingested.months == ()
    assert second.publication.folder == first.publication.folder
    assert second.record != first.record
    assert before == {
        path: path.stat().st_mtime_ns for path in small.config.data.rglob("*.parquet")
    }


def test_the_same_run_elsewhere_gives_the_same_bytes(small: WholeRun, tmp_path: Path) -> None:
    result = run(small_config(small.config.source[0], tmp_path / "data"))
    assert not result.publication.reused
    assert result.publication.folder.name == small.result.publication.folder.name
    assert published(result) == published(small.result)
    for name in ("vocabulary.json", "regimes.json", "calibration.json"):
        assert sha256(result.publication.folder / name) == sha256(
            small.result.publication.folder / name
        )


def test_another_training_is_another_version_of_the_same_events(
    small: WholeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, (lake_update, "stage_file"), (counting, "count_events"))
    other = run(small_config(small.config.source[0], small.config.data, **{"training.seed": 1}))
    assert other.features.reused
    assert not other.model.reused
    assert other.publication.folder != small.result.publication.folder
    assert other.publication.latest.resolve() == other.publication.folder.resolve()
    assert small.result.publication.folder.exists()
    forbid(monkeypatch, (train, "train"), (publish, "score_all"))
    back = run(small.config)
    assert back.publication.latest.resolve() == small.result.publication.folder.resolve()


def test_regimes_keep_their_numbers_in_a_publication_by_another_model(
    small: WholeRun, tmp_path: Path
) -> None:
    source = small.config.source[0]
    first = run(small_config(source, tmp_path / "data"))
    other = run(small_config(source, tmp_path / "data", **{"training.seed": 1}))
    old, new = (
        pl.read_parquet(result.publication.folder / "embeddings").filter(part="training")
        for result in (first, other)
    )
    before, after = (
        json.loads((result.publication.folder / "regimes.json").read_text())
        for result in (first, other)
    )
    both = old.join(new, on=["entity", "window_start"], suffix="_new", validate="1:1")
    assert both.height == old.height == new.height
    kept = set(before["numbers"]) & set(after["numbers"])
    for number in kept:
        was, is_now = both["regime"] == number, both["regime_new"] == number
        assert (was & is_now).sum() >= MIN_OVERLAP * (was | is_now).sum()
    assert after["next_number"] >= before["next_number"]
    assert set(after["numbers"]) - kept <= set(range(before["next_number"], 99))
    alone = run(small_config(source, tmp_path / "alone", **{"training.seed": 1}))
    assert alone.publication.folder.name == other.publication.folder.name
    fresh = json.loads((alone.publication.folder / "regimes.json").read_text())
    assert sorted(fresh["n_windows"]) == sorted(after["n_windows"])


def test_a_world_of_few_steps_is_judged_by_ranks(small: WholeRun, tmp_path: Path) -> None:
    config = small_config(small.config.source[0], tmp_path / "data", entity="world")
    result = run(config)
    steps = pl.read_parquet(result.publication.latest / "step_errors")
    assert steps["p_value"].null_count() == 0
    assert (steps["q_value"] == steps["p_value"]).all()
    content = json.loads((result.publication.latest / "calibration.json").read_text())
    assert content["config"]["method"] == "conformal"


def test_a_training_that_dies_leaves_no_model_and_the_next_run_goes_on(
    small: WholeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(small.config.source[0], tmp_path / "data")

    def killed(*args: Any, **kwargs: Any) -> None:
        raise MemoryError("no room for the model")

    with monkeypatch.context() as patch:
        patch.setattr(train, "train", killed)
        with pytest.raises(MemoryError, match="no room"):
            run(config)
    for folder in ("models", "published", "runs"):
        assert list((config.data / folder).glob("*")) == []
    assert list(config.data.rglob(".*")) == [config.data / LOCK]
    forbid(monkeypatch, (lake_update, "stage_file"), (counting, "count_events"))
    result = run(config)
    assert result.features.reused
    assert not result.model.reused
    assert published(result) == published(small.result)


def test_a_training_that_is_killed_goes_on_after_its_last_epoch(
    small: WholeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(small.config.source[0], tmp_path / "data")
    write = TrainingState.write

    def killed(self: TrainingState, content: dict[str, Any]) -> None:
        write(self, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    (state,) = (config.data / "models").iterdir()
    result = run(config)
    assert not state.exists()
    assert published(result) == published(small.result)


def test_a_damaged_state_of_a_training_is_told_of_and_begun_anew(
    small: WholeRun, tmp_path: Path
) -> None:
    config = small_config(small.config.source[0], tmp_path / "data")
    (config.data / "models").mkdir(parents=True)
    state = config.data / "models" / f".unfinished-training-{small.result.model.model_id}.pt"
    state.write_bytes(b"half a sta")
    assert published(run(config)) == published(small.result)
    assert not state.exists()


def test_a_collapsed_model_is_not_published_unless_forced(small: WholeRun, tmp_path: Path) -> None:
    hopeless = {"training.epochs": 1, "training.learning_rate": 1e-9, "force": False}
    config = small_config(small.config.source[0], tmp_path / "data", **hopeless)
    with pytest.raises(publish.CollapsedModelError, match=r"no more than the mean.*force=true"):
        run(config)
    assert not (config.data / "published").exists()
    result = run(config.model_copy(update={"force": True}))
    assert result.model.reused
    assert result.publication.latest.resolve() == result.publication.folder.resolve()
    again = run(config)  # it is what readers have already
    assert again.publication.reused


def test_a_model_of_shares_goes_through_the_whole_pipeline(small: WholeRun, tmp_path: Path) -> None:
    settings = {"training.loss": "multinomial", "training.learning_rate": 0.01}
    result = run(small_config(small.config.source[0], tmp_path / "data", **settings))
    steps = pl.read_parquet(result.publication.latest / "step_errors")
    known = steps.drop_nulls("score")
    assert known.height > 0
    assert known["score"].is_finite().all()
    assert known["loudness"].null_count() == known.height  # it is told how many events there are
    shares = known["drivers"].explode().drop_nulls().struct.field("proportion")
    assert shares.is_between(0, 1).all()
    assert (
        steps.filter(pl.col("n_events") == 0)["score"].null_count()
        == steps.filter(pl.col("n_events") == 0).height
    )
    blocks = ["intensity", "event_type"]
    other = small_config(
        small.config.source[0], tmp_path / "other", **settings, **{"vocabulary.blocks": blocks}
    )
    with pytest.raises(ValueError, match="must come first"):
        run(other)


def test_a_publication_that_dies_leaves_the_old_one_to_be_read(
    small: WholeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(small.config.source[0], tmp_path / "data")
    first = run(config)
    was = published(first)
    late = write_file(
        tmp_path / "20180102-icews-events.tab", [(f"late{i}", "2018-01-01") for i in range(30)]
    )
    more = config.model_copy(update={"source": (*config.source, late)})

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        run(more)
    assert first.publication.latest.resolve() == first.publication.folder.resolve()
    assert digests(first.publication.latest) == was
    assert list((config.data / "published").rglob(".*")) == []
