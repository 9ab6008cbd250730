"""Laws of the comparison: every scorer on the same steps, judged by the same events."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from features.sample import CRISES
from flows.comparison import INJECTED, RECALL, TABLE, ComparisonResult, compare
from flows.comparison_grid import FIGURES, REPRESENTATIONS, ComparisonConfig
from flows.config import RunConfig
from models.baseline_scorers import BASELINES, COUNT_BASELINES
from tests.icews_files import SAMPLE

CHOSEN = ("root counts", "proportion, differenced")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("events") / "crises.csv"
    rows = [f'"{one.country}",{one.start},{one.end},planted' for one in CRISES]
    path.write_text("\n".join(["country,start,end,kind", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def compared(
    prefect: None, tmp_path_factory: pytest.TempPathFactory, events: Path
) -> ComparisonResult:
    run = RunConfig.load(
        None,
        {
            "source": [SAMPLE],
            "data": tmp_path_factory.mktemp("comparison"),
            "training.epochs": 3,
            "autoencoder.latent_size": 8,
        },
    )
    config = ComparisonConfig(
        run=run, events=events, seeds=1, representations=CHOSEN, repetitions=20
    )
    return compare(config)


def test_every_representation_has_every_scorer_in_every_part_of_time(
    compared: ComparisonResult,
) -> None:
    recalls = pl.read_parquet(compared.folder / RECALL)
    assert set(recalls["representation"]) == set(CHOSEN)
    assert set(recalls["steps"]) == {"all", "past", "future"}
    scorers = set(recalls["scorer"])
    assert scorers >= {"score", "loudness", "strangeness", "nowcast Mahalanobis", "Pearson"}
    assert scorers >= set(BASELINES) | set(COUNT_BASELINES)
    key = ["representation", "scorer", "seed", "steps"]
    assert not recalls.select(key).is_duplicated().any()
    assert recalls.height == recalls.select(key[:1]).n_unique() * len(scorers) * 3


def test_all_scorers_are_judged_on_the_same_events(compared: ComparisonResult) -> None:
    recalls = pl.read_parquet(compared.folder / RECALL)
    judged = recalls.group_by("representation", "steps").agg(pl.col("n_scored").n_unique())
    assert judged["n_scored"].unique().to_list() == [1]
    every = recalls.filter(steps="all", representation="root counts")
    assert every["n_scored"].unique().to_list() == [len(CRISES)]


def test_planted_crises_are_found_and_volume_has_nothing_left_when_matched(
    compared: ComparisonResult,
) -> None:
    rows = pl.read_parquet(compared.folder / RECALL).filter(
        steps="all", representation="root counts"
    )
    score = rows.row(by_predicate=pl.col("scorer") == "score", named=True)
    assert score["recall_5"] >= 0.75
    assert score["mean_percentile"] > 0.8


def test_the_report_shows_medians_of_what_is_in_the_tables(compared: ComparisonResult) -> None:
    table = (compared.folder / TABLE).read_text()
    assert compared.table == table
    recalls = pl.read_parquet(compared.folder / RECALL)
    for row in recalls.filter(steps="future").iter_rows(named=True):
        shown = " | ".join("–" if row[name] is None else f"{row[name]:.2f}" for name in FIGURES)
        assert f"| {row['representation']} | {row['scorer']} | {shown} |" in table
    injected = pl.read_parquet(compared.folder / INJECTED)
    assert injected["average_precision"].is_between(0, 1).all()
    assert "Anomalies injected" in table


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"representations": ("polar",)}, "polar"),
        ({"seeds": 0}, "seeds"),
        ({"held_out": 0.9}, "held_out"),
        ({"typo": 1}, "typo"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_refused(given: dict[str, Any], words: str) -> None:
    run = RunConfig.load(None, {"source": ["raw"]})
    with pytest.raises(ValidationError, match=words):
        ComparisonConfig(run=run, **given)


def test_each_run_differs_from_the_given_one_in_what_it_says_only() -> None:
    run = RunConfig.load(None, {"source": ["raw"], "training.epochs": 7})
    config = ComparisonConfig(run=run)
    for name in REPRESENTATIONS:
        made = config.run_of(name, 4)
        assert made.training.seed == 4
        assert made.training.epochs == 7
        assert made.split.held_out == config.held_out
        assert made.autoencoder == run.autoencoder
    assert config.run_of("angular", 0).transform.representation == "angular"
    assert config.run_of("proportion, differenced", 0).transform.difference
