"""Laws of the aggregate flow: no month is counted twice, and no vocabulary knows the future."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.aggregate import Counts, count_events
from features.windows import WindowConfig
from flows import counting
from flows.aggregate import NoEventsError, aggregate, training_end
from flows.config import RunConfig
from flows.lake import Lake
from tests.icews_files import COLUMNS, WholeRun, bring, small_config, write_file

pytestmark = pytest.mark.usefixtures("prefect")

JANUARY = [(f"a{i}", f"2018-01-{1 + i % 28:02}") for i in range(60)]
FEBRUARY = [(f"b{i}", f"2018-02-{1 + i % 28:02}") for i in range(60)]
MARCH = [(f"c{i}", f"2018-03-{1 + i % 28:02}") for i in range(60)]


def configuration(data: Path, **overrides: Any) -> RunConfig:
    return small_config(data, data, **overrides)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which months are counted from now on."""
    months: list[str] = []

    def noting(events: pl.LazyFrame, **how: Any) -> Counts:
        days = events.select(pl.col("event_date").min()).collect().item()
        months.append(f"{days:%Y-%m}")
        return count_events(events, **how)

    monkeypatch.setattr(counting, "count_events", noting)
    return months


def test_a_month_counted_before_is_not_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(tmp_path, step="day")
    months = counted(monkeypatch)
    lake = bring(tmp_path, write_file(tmp_path / "a.tab", JANUARY + FEBRUARY)).lake
    first = aggregate(lake, config)
    assert sorted(months) == ["2018-01", "2018-02"]
    months.clear()
    lake = bring(tmp_path, write_file(tmp_path / "b.tab", MARCH)).lake
    second = aggregate(lake, config)
    assert months == ["2018-03"]
    assert second.digest != first.digest
    months.clear()
    again = aggregate(lake, config)
    assert again.reused
    assert (again.folder, again.digest) == (second.folder, second.digest)
    assert months == []


def test_counts_by_month_are_the_counts_of_everything(tmp_path: Path) -> None:
    lake = bring(tmp_path, write_file(tmp_path / "a.tab", JANUARY + FEBRUARY + MARCH)).lake
    features = aggregate(lake, configuration(tmp_path))
    events = pl.scan_parquet(lake / "events" / "**" / "*.parquet")
    expected = count_events(events, entity="country", step="week")
    for name, table in (("totals", expected.totals), ("categories", expected.categories)):
        assert_frame_equal(pl.read_parquet(features.folder / f"{name}.parquet"), table)


def test_how_the_lake_grew_does_not_show_in_the_features(tmp_path: Path) -> None:
    files = [
        write_file(tmp_path / f"{name}.tab", events)
        for name, events in (("a", MARCH), ("b", JANUARY), ("c", FEBRUARY))
    ]
    for path in files:
        grown = bring(tmp_path / "grown", path).lake
    at_once = bring(tmp_path / "at-once", *files).lake
    one = aggregate(grown, configuration(tmp_path / "grown"))
    other = aggregate(at_once, configuration(tmp_path / "at-once"))
    assert one.digest == other.digest
    assert one.vocabulary() == other.vocabulary()


def test_events_after_the_training_period_do_not_change_the_vocabulary(tmp_path: Path) -> None:
    early = write_file(tmp_path / "early.tab", JANUARY + FEBRUARY)
    row = ["2018-03-25", "Valmora", "190", "-10.0", "Kestria", "Valmora"]
    late = tmp_path / "late.tab"
    lines = ["\t".join(COLUMNS), *("\t".join([f"w{i}", *row]) for i in range(500))]
    late.write_text("\n".join(lines) + "\n")
    last = write_file(tmp_path / "last.tab", [("z", "2018-03-31")])
    split = {"split.validation_start": "2018-02-12", "split.held_out_start": "2018-03-05"}
    names = {}
    for data, files in (("with", (early, late, last)), ("without", (early, last))):
        config = configuration(tmp_path / data, **split, **{"vocabulary.min_events": 1})
        features = aggregate(bring(tmp_path / data, *files).lake, config)
        names[data] = features.vocabulary().names
    assert names["with"] == names["without"]
    assert "event_type_190" not in names["with"]
    later = configuration(
        tmp_path / "with",
        **{"split.validation_start": "2018-03-27", "split.held_out_start": "2018-03-30"},
        **{"vocabulary.min_events": 1, "step": "day", "split.gap": 0},
    )
    lake = bring(tmp_path / "with", early, late, last).lake
    assert "event_type_190" in aggregate(lake, later).vocabulary().names


def test_the_training_period_ends_where_the_split_says(whole: WholeRun) -> None:
    counts = Counts(
        totals=pl.read_parquet(whole.result.features.folder / "totals.parquet"),
        categories=pl.read_parquet(whole.result.features.folder / "categories.parquet"),
    )
    end = training_end(counts, "week", whole.config.split)
    errors = pl.read_parquet(whole.result.publication.latest / "step_errors")
    in_training = pl.col("part") == "training"
    assert errors.filter(in_training)["step_start"].max() < end
    assert errors.filter(~in_training)["step_start"].min() == end


def test_events_without_the_entity_are_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tab"
    columns, row = COLUMNS[:-1], ["1", "2018-01-01", "Valmora", "042", "1.9", "Kestria"]
    path.write_text("\n".join("\t".join(line) for line in (columns, row)) + "\n")
    lake = bring(tmp_path, path).lake
    with pytest.raises(NoEventsError, match=r"entity='country'.*such as either_country"):
        aggregate(lake, configuration(tmp_path))
    assert not list((tmp_path / "features").glob("*"))
    config = configuration(tmp_path, entity="either_country", step="day")
    with pytest.raises(ValueError, match="can't be split"):  # but the countries were found
        aggregate(lake, config)


def test_windows_that_no_entity_has_events_for_are_an_error(whole: WholeRun) -> None:
    with pytest.raises(NoEventsError, match="none of 12 entities has a window"):
        whole.result.features.cube(WindowConfig(min_window_events=10**6))


def test_features_remember_what_was_counted(whole: WholeRun) -> None:
    features = whole.result.features
    assert (features.entity, features.step) == ("country", "week")
    cube = features.cube(whole.config.windows)
    assert cube.features == features.vocabulary().names
    lake = Lake.read(whole.result.ingested.lake)
    accepted = sum(record.accepted for record in lake.files.values())
    totals = pl.read_parquet(features.folder / "totals.parquet")
    assert 0.9 * accepted < totals["n_events"].sum() <= accepted
