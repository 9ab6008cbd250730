"""Scores for the benchmark of the lake: a scorer of one epoch, and what a day changes."""

from pathlib import Path

import polars as pl
from sides import DATASET

from features.aggregate import Counts
from features.cube import build_cube
from features.vocabulary import Vocabulary
from flows.aggregate import count_store, training_end
from flows.config import RunConfig
from flows.lake import Lake
from flows.learning import learning_data
from flows.publishing import latest, publishing
from flows.regime_naming import fit_regimes
from flows.rescoring import publish_changes
from flows.scorer import SCORER, Scorer
from flows.scorers import score_all
from models import checkpoint, train


def settings_of(out: Path) -> RunConfig:
    """Return the default configuration, with little training."""
    overrides = {"source": [out], "data": out, "training.epochs": 1, "scoring.regimes": [4, 4]}
    return RunConfig.load(None, overrides)


def train_scorer(out: Path) -> None:
    """Train on the lake, and publish all tables."""
    config, lake = settings_of(out), lake_of(out)
    store = count_store(config)
    store.count(lake)
    counts = store.counts(lake)
    assert counts is not None
    early = pl.col("step_start") < training_end(counts, config.step, config.split)
    vocabulary = Vocabulary.fit(
        Counts(totals=counts.totals.filter(early), categories=counts.categories.filter(early)),
        config.vocabulary,
    )
    cube = build_cube(counts, vocabulary, step=config.step)
    data = learning_data(cube, vocabulary, config)
    trained = train(
        training_windows=data.prepared.windows_of("training"),
        validation_windows=data.prepared.windows_of("validation"),
        exposure=cube.exposure,
        autoencoder=config.autoencoder,
        training=config.training,
        **data.arrays,
    )
    scored = score_all(trained.model, data, config)
    checkpoint.save(out / "model", trained, diagnosis=None, extra={})
    embeddings = scored.scores.embeddings
    scorer = Scorer(
        model_id="benchmark",
        config=config,
        entities=cube.entities,
        model=trained.model,
        vocabulary=vocabulary,
        preparation=data.preparation,
        yardstick=scored.judgement.yardstick,
        regimes=fit_regimes(embeddings, cube, data.prepared, config.scoring, None),
    )
    with publishing(out / DATASET, "scorer-alone") as folder:
        scorer.save(folder / SCORER, out / "model")
    del data, scored, trained, cube
    publish_changes(scorer, lake, store, out / DATASET)


def score_changes(out: Path) -> None:
    """Score what has changed since the last publication."""
    folder = latest(out / DATASET)
    assert folder is not None
    store, lake = count_store(settings_of(out)), lake_of(out)
    store.count(lake)
    _, done = publish_changes(Scorer.load(folder / SCORER), lake, store, out / DATASET)
    assert done is not None
    print(f"{done.touched} steps touched, {done.scored} rows of steps scored, years {done.years}")


def lake_of(out: Path) -> Lake:
    """Return the lake's current version."""
    folder = latest(out / "lake")
    assert folder is not None
    return Lake.read(folder)
