"""Laws of rescoring: what is published depends on events and scorer, not on how they came."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.aggregate import Counts
from features.cube import build_cube
from features.vocabulary import Vocabulary
from flows import counting
from flows.aggregate import count_store, training_end
from flows.config import RunConfig
from flows.counting import CountStore
from flows.lake import Lake
from flows.learning import learning_data
from flows.partitions import KEYS, scan_table
from flows.publishing import latest, publishing
from flows.regime_naming import fit_regimes
from flows.rescoring import publish_changes, spans_of
from flows.scorer import SCORER, Scorer, ScorerError, frozen_part
from flows.scorers import score_all
from models import checkpoint, train
from tests.icews_files import COLUMNS, bring, digests

FIRST = date(2016, 1, 4)
COUNTRIES = ("Valmora", "Kestria", "Ardovia")
CODES = ("010", "042", "190", "141", "036")
N_WEEKS = 70
LENGTH = 4
DATASET = "published/country-week"


def write_days(path: Path, days: list[date], seed: int, *, per_day: int = 6) -> Path:
    """Write events of some days, as many of the same for the same day and seed."""
    rows = []
    for day in days:
        draw = np.random.default_rng([seed, day.toordinal()])
        for i in range(int(draw.integers(1, per_day))):
            a, b = draw.choice(COUNTRIES, 2)
            code = CODES[int(draw.integers(len(CODES)) ** 2) % len(CODES)]
            rows.append([f"{seed}-{day}-{i}", str(day), a, code, "1.5", b, a])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(row) for row in [COLUMNS, *rows]) + "\n")
    return path


def days_from(week: int, weeks: int) -> list[date]:
    return [FIRST + timedelta(days=7 * week + i) for i in range(7 * weeks)]


def settings_of(data: Path, **overrides: Any) -> RunConfig:
    quick = {
        "autoencoder.latent_size": 4,
        "training.epochs": 2,
        "windows.length": LENGTH,
        "vocabulary.min_events": 3,
        "scoring.regimes": [2, 3],
        "scoring.analogues": 2,
    }
    return RunConfig.load(None, {"source": [data], "data": data} | quick | overrides)


def trained_scorer(folder: Path, config: RunConfig, lake: Lake) -> Path:
    """Train on a lake as a run does, and return the folder with its scorer alone."""
    store = count_store(config)
    store.count(lake)
    counts = store.counts(lake)
    assert counts is not None
    early = pl.col("step_start") < training_end(counts, config.step, config.split)
    training = Counts(
        totals=counts.totals.filter(early), categories=counts.categories.filter(early)
    )
    vocabulary = Vocabulary.fit(training, config.vocabulary)
    cube = build_cube(counts, vocabulary, step=config.step)
    data = learning_data(cube, vocabulary, config)
    trained = train(
        training_windows=data.prepared.windows_of("training"),
        validation_windows=data.prepared.windows_of("validation"),
        exposure=cube.exposure,
        share_groups=data.share_groups,
        autoencoder=config.autoencoder,
        training=config.training,
        **data.arrays,
    )
    scored = score_all(trained.model, data, config)
    checkpoint.save(folder / "model", trained, diagnosis=None, extra={})
    scorer = Scorer(
        model_id="m",
        config=config,
        entities=cube.entities,
        model=trained.model,
        vocabulary=vocabulary,
        preparation=data.preparation,
        yardstick=scored.judgement.yardstick,
        regimes=fit_regimes(scored.scores.embeddings, cube, data.prepared, config.scoring, None),
    )
    (folder / "alone").mkdir()
    scorer.save(folder / "alone" / SCORER, folder / "model")
    return folder / "alone"


class Case:
    """Files of a little more than a year, and a scorer trained on most of them."""

    def __init__(self, folder: Path, **overrides: Any) -> None:
        raw = folder / "raw"
        self.config = settings_of(folder / "training", **overrides)
        self.base = write_days(raw / "base.tab", days_from(0, N_WEEKS), 0)
        self.files = [
            write_days(raw / "20170601-icews-events.tab", days_from(69, 2), 1),
            write_days(raw / "20160601-icews-events.tab", days_from(20, 1)[:2], 2),
            write_days(raw / "20170101-icews-events.tab", days_from(50, 3), 3, per_day=3),
            write_days(raw / "before.tab", [FIRST - timedelta(days=9)], 4),
            write_days(raw / "later.tab", [days_from(75, 1)[3]], 5),
            write_days(raw / "events.2016.20170101000000.tab", days_from(30, 3), 6, per_day=9),
        ]
        self.again = write_days(folder / "again" / "base.tab", days_from(0, N_WEEKS - 3), 0)
        lake = Lake.read(bring(folder / "training", self.base, *self.files[:1]).lake)
        self.alone = trained_scorer(folder, self.config, lake)

    def start(self, data: Path) -> Path:
        """Return a folder of publications that has a scorer and no tables."""
        from flows.publishing import link_tree

        with publishing(data / DATASET, "scorer-alone") as target:
            target.rmdir()
            link_tree(self.alone, target)
        return data / DATASET

    def publish(self, data: Path, *paths: Path) -> Path:
        """Bring files into a lake and publish what changed; return the version's folder."""
        lake = Lake.read(bring(data, *paths).lake)
        dataset = data / DATASET
        if latest(dataset) is None:
            self.start(data)
        folder = latest(dataset)
        assert folder is not None
        scorer = Scorer.load(folder / SCORER)
        store = self.store(data)
        store.count(lake)
        return publish_changes(scorer, lake, store, dataset, device="cpu")[0]

    def store(self, data: Path) -> CountStore:
        return count_store(self.config.model_copy(update={"data": data}))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("rescoring"))


def assert_same(one: Path, other: Path) -> None:
    """Compare two publications: proportions byte for byte, scores to the rounding of float32."""
    assert one.name == other.name
    assert digests(one / "proportions") == digests(other / "proportions")
    assert (one / "state.json").read_bytes() == (other / "state.json").read_bytes()
    for name in ("step_errors", "window_errors", "embeddings"):
        tables = [scan_table(folder, name).sort(KEYS[name]).collect() for folder in (one, other)]
        for table in tables:
            assert table.height > 0
        assert_frame_equal(*(drop(table) for table in tables), rel_tol=1e-4, abs_tol=1e-5)
        if "p_value" in tables[0]:  # by ranks here, of which a rounding may move one
            found = [table["p_value"].to_numpy() for table in tables]
            np.testing.assert_allclose(*found, atol=0.03, equal_nan=True)
        files = [sorted(path.name for path in (f / name).iterdir()) for f in (one, other)]
        assert files[0] == files[1]


def drop(table: pl.DataFrame) -> pl.DataFrame:
    """Leave out what a rounding may put in another order."""
    return table.drop("drivers", "is_alarm", "q_value", "p_value", "regime", strict=False)


ARRIVALS = st.permutations(range(7)).flatmap(
    lambda order: st.lists(st.integers(1, 3), min_size=7, max_size=7).map(
        lambda sizes: [
            order[sum(sizes[:i]) : sum(sizes[: i + 1])]
            for i in range(7)
            if order[sum(sizes[:i]) : sum(sizes[: i + 1])]
        ]
    )
)


@settings(max_examples=6)
@given(arrivals=ARRIVALS)
def test_incremental_is_from_scratch_in_any_order_of_arrival(
    case: Case, tmp_path_factory: pytest.TempPathFactory, arrivals: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("orders")
    every = [*case.files, case.base]
    grown = None
    for batch in arrivals:
        grown = case.publish(folder / "grown", *(every[i] for i in batch))
    at_once = case.publish(folder / "at-once", *every)
    assert grown is not None
    assert_same(grown, at_once)
    one, other = (latest(folder / kind / "lake") for kind in ("grown", "at-once"))
    assert one is not None
    assert other is not None
    assert digests(one) == digests(other)


def test_a_file_released_anew_with_fewer_days_is_as_if_it_had_always_been_so(
    case: Case, tmp_path: Path
) -> None:
    case.publish(tmp_path / "grown", case.base, *case.files[:3])
    grown = case.publish(tmp_path / "grown", case.again)
    at_once = case.publish(tmp_path / "at-once", case.again, *case.files[:3])
    assert_same(grown, at_once)


def test_only_the_steps_near_what_changed_are_scored_and_the_version_before_stays(
    case: Case, tmp_path: Path
) -> None:
    before = case.publish(tmp_path, case.base)
    was = digests(before), (before / "state.json").read_bytes()
    lake = Lake.read(bring(tmp_path, case.files[1]).lake)  # two days of one week of 2016
    store = case.store(tmp_path)
    store.count(lake)
    folder, done = publish_changes(
        Scorer.load(before / SCORER), lake, store, tmp_path / DATASET, device="cpu"
    )
    assert done is not None
    assert done.touched == 1
    assert done.scored == 2 * LENGTH * len(COUNTRIES)
    assert done.years == (2016,)
    assert (digests(before), (before / "state.json").read_bytes()) == was
    kept = "step_errors/2017.parquet"
    assert (folder / kept).samefile(before / kept)
    old, new = (scan_table(f, "step_errors").collect() for f in (before, folder))
    both = old.join(new, on=["entity", "step_start"], suffix="_new", validate="1:1")
    changed = both.filter(pl.col("score").ne_missing(pl.col("score_new")))
    week = FIRST + timedelta(weeks=20)
    assert changed["step_start"].is_between(week, week + timedelta(weeks=LENGTH)).all()
    assert changed.height > 0
    assert old.height == new.height


def test_nothing_new_is_the_same_version_and_nothing_is_done(case: Case, tmp_path: Path) -> None:
    before = case.publish(tmp_path, case.base)
    lake = Lake.read(latest(tmp_path / "lake") or tmp_path)
    scorer = Scorer.load(before / SCORER)
    again = publish_changes(scorer, lake, case.store(tmp_path), tmp_path / DATASET)
    assert again == (before, None)


def test_a_differenced_model_scores_everything_anew(
    tmp_path: Path,
) -> None:
    case = Case(tmp_path / "case", **{"transform.difference": True})
    case.publish(tmp_path / "grown", case.base)
    grown = case.publish(tmp_path / "grown", *case.files[:3])
    assert_same(grown, case.publish(tmp_path / "at-once", case.base, *case.files[:3]))


def test_windows_with_a_stride_stay_where_they_are_or_all_move(tmp_path: Path) -> None:
    case = Case(tmp_path / "case", **{"windows.stride": 3})
    for name, late in (("inside", case.files[1:3]), ("before", case.files[3:4])):
        case.publish(tmp_path / name / "grown", case.base)
        grown = case.publish(tmp_path / name / "grown", *late)
        assert_same(grown, case.publish(tmp_path / name / "at-once", case.base, *late))


def test_p_values_of_untouched_steps_stay_and_those_of_reference_steps_are_judged_by_others(
    case: Case, tmp_path: Path
) -> None:
    before = case.publish(tmp_path, case.base, case.files[0])
    validation = scan_table(before, "step_errors").filter(part="validation").collect()
    week = validation["step_start"].min()
    assert isinstance(week, date)
    late = write_days(tmp_path / "raw" / "20170301-icews-events.tab", [week], 9, per_day=12)
    after = case.publish(tmp_path, late)
    at_once = case.publish(tmp_path / "at-once", case.base, case.files[0], late)
    old, new, whole = (
        scan_table(f, "step_errors").sort(KEYS["step_errors"]).collect()
        for f in (before, after, at_once)
    )
    far = pl.col("step_start") > week + timedelta(weeks=2 * LENGTH)
    assert_frame_equal(old.filter(far), new.filter(far))
    np.testing.assert_allclose(new["p_value"], whole["p_value"], rtol=0.02, equal_nan=True)
    assert (old["p_value"] != new["p_value"]).any()


def test_a_scorer_survives_being_written_and_read(case: Case, tmp_path: Path) -> None:
    scorer = Scorer.load(case.alone / SCORER)
    scorer.save(tmp_path / "copy", case.alone / SCORER / "model")
    again = Scorer.load(tmp_path / "copy")
    assert (again.model_id, again.entities) == (scorer.model_id, scorer.entities)
    assert frozen_part(again.config) == frozen_part(case.config)
    assert (tmp_path / "copy" / "scorer.json").read_bytes() == (
        case.alone / SCORER / "scorer.json"
    ).read_bytes()
    with (
        np.load(tmp_path / "copy" / "scorer.npz") as one,
        np.load(case.alone / SCORER / "scorer.npz") as other,
    ):
        assert sorted(one) == sorted(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_without_a_scorer_there_is_an_error_that_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match=r"no scorer in .*run `foreshock run`"):
        Scorer.load(tmp_path / SCORER)


def test_spans_are_joined_where_what_they_reach_meets() -> None:
    assert spans_of([], 2) == []
    assert spans_of([5, 9, 10, 15], 2) == [(5, 10), (15, 15)]


# Counts


def test_only_the_steps_of_changed_days_are_counted_again(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Lake.read(bring(tmp_path, case.base).lake)
    store = case.store(tmp_path)
    assert store.count(before) == [month for month, record in before.months.items() if record.days]
    after = Lake.read(bring(tmp_path, case.files[1]).lake)
    days: list[date] = []

    def noting(events: pl.LazyFrame, **how: Any) -> Counts:
        days.extend(events.select(pl.col("event_date").unique()).collect().to_series())
        return original(events, **how)

    original = counting.count_events
    monkeypatch.setattr(counting, "count_events", noting)
    assert store.count(after) == [date(2016, 5, 1)]
    week = FIRST + timedelta(weeks=20)
    assert set(days) <= {week + timedelta(days=i) for i in range(7)}
    assert store.count(after) == []
    anew = CountStore(
        root=tmp_path / "anew", entity=store.entity, step=store.step, fields=store.fields
    )
    monkeypatch.undo()
    anew.count(after)
    for month, record in after.months.items():
        if record.days:
            assert digests(anew.place(month, record)) == digests(store.place(month, record))


def test_counts_of_a_month_that_came_back_are_still_there_and_old_ones_go(
    case: Case, tmp_path: Path
) -> None:
    store = case.store(tmp_path)
    for seed in range(6):
        path = write_days(tmp_path / "raw" / "a.tab", [FIRST], seed)
        lake = Lake.read(bring(tmp_path, path).lake)
        store.count(lake)
        assert store.counts(lake) is not None
    assert len(list(store.folder.iterdir())) == 3
