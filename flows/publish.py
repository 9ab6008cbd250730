"""The flow that scores every window and publishes what readers of the Parquet get."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.vocabulary import Vocabulary
from flows.aggregate import FeatureSet
from flows.config import RunConfig
from flows.datasets import SCHEMA_VERSION
from flows.digests import digest_of
from flows.injected import can_inject, detect_injected
from flows.lake import Lake
from flows.learning import LearningData, learning_data
from flows.partitions import write_table
from flows.proportions import StepBounds, write_years
from flows.published_state import write_state
from flows.publishing import latest, point_latest, publishing
from flows.regime_naming import REGIMES, fit_regimes
from flows.score_tables import analogues_among, provenance_of, score_tables
from flows.scorer import SCORER, Scorer
from flows.scorers import all_scores, score_all
from flows.train import ModelReference
from models import LSTMAutoencoder, checkpoint

BASELINES: Final = "baselines.json"

VERSION: Final = 4
"""To be raised when the same model would give other tables."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What is published.

    Attributes
    ----------
    folder
        Holds a folder of Parquet files a dataset.
    latest
        The link by which readers reach it.
    reused
        Whether it was there already.
    """

    folder: Path
    latest: Path
    reused: bool


@flow(name="publish", flow_run_name="publish {config.name}", validate_parameters=False)
def publish(
    features: FeatureSet, model: ModelReference, config: RunConfig, lake: Path
) -> Publication:
    """Score every window with the model and publish all datasets in one move."""
    dataset = config.data / "published" / config.name
    judging = (config.scoring, config.calibration, config.mahalanobis)
    version = digest_of(VERSION, SCHEMA_VERSION, model.model_id, *judging)
    folder = dataset / version
    current = latest(dataset)
    if current != folder.resolve():
        refuse_collapsed(model, config)
    if current == folder.resolve():
        get_run_logger().info("nothing new: %s is published", version)
    elif folder.exists():
        point_latest(dataset, version)
    else:
        write_datasets(features, model, dataset / version, config, lake)
    return Publication(folder=folder, latest=dataset / "latest", reused=current == folder.resolve())


class CollapsedModelError(RuntimeError):
    """A model that has learnt no more than the mean was about to be published."""


def refuse_collapsed(model: ModelReference, config: RunConfig) -> None:
    """Let no collapsed model be published unless that is asked for.

    Raises
    ------
    CollapsedModelError
        If the diagnosis says so and `config.force` is not set.
    """
    diagnosis = checkpoint.load(model.folder).diagnosis
    if diagnosis is None or diagnosis.verdict != "collapsed":
        return
    if config.force:
        get_run_logger().warning("published all the same, since force is set: a collapsed model")
        return
    msg = (
        f"model {model.model_id} is not published, and what was published stays. "
        f"{diagnosis.sentence} To publish it all the same, set force (--set force=true)"
    )
    raise CollapsedModelError(msg)


@task(name="score and write", cache_policy=NO_CACHE)
def write_datasets(
    features: FeatureSet, model: ModelReference, target: Path, config: RunConfig, lake: Path
) -> None:
    """Score, and write every dataset with its provenance, which doesn't name any folder."""
    logger = get_run_logger()
    cube, vocabulary = features.cube(config.windows), features.vocabulary()
    data = learning_data(cube, vocabulary, config)
    logger.info("scoring %d windows", len(data.prepared.windows))
    trained = checkpoint.load(model.folder).trained.model
    scored = score_all(trained, data, config)
    scores, judgement = scored.scores, scored.judgement
    if (method := judgement.calibration.config.method) != config.calibration.method:
        logger.warning("few steps in the validation part: p-values are by the method %s", method)
    previous = latest(target.parent)
    regimes = fit_regimes(scores.embeddings, cube, data.prepared, config.scoring, previous)
    scorer = Scorer(
        model_id=model.model_id,
        config=config,
        entities=cube.entities,
        model=trained,
        vocabulary=vocabulary,
        preparation=data.preparation,
        yardstick=judgement.yardstick,
        regimes=regimes,
    )
    tables = score_tables(scorer, data, scored)
    steps = cube.steps.tolist()
    tables["analogues"] = analogues_among(tables["embeddings"], steps, scorer)
    beside = beside_baselines(trained, data, vocabulary, config)
    provenance, counts = provenance_of(scorer), features.counts()
    bounds = StepBounds.of([counts])
    with publishing(target.parent, target.name) as folder:
        how = {"step": config.step, "bounds": bounds, "folder": folder, "provenance": provenance}
        rows = write_years(bounds.years(), counts, vocabulary=vocabulary, **how)
        logger.info("%s: %d rows", "proportions", rows)
        for name, table in tables.items():
            rows = write_table(table, folder, name, provenance)
            logger.info("%s: %d rows", name, rows)
        scorer.save(folder / SCORER, model.folder)
        write_state(folder, Lake.read(lake), bounds)
        (folder / "vocabulary.json").write_text(vocabulary.to_json())
        write_json(folder / REGIMES, regimes.to_dict())
        write_json(folder / BASELINES, beside)
        entities = {"entities": cube.entities}
        write_json(folder / "calibration.json", entities | judgement.calibration.to_dict())


def beside_baselines(
    model: LSTMAutoencoder, data: LearningData, vocabulary: Vocabulary, config: RunConfig
) -> list[dict[str, Any]]:
    """Say how well the model's scores and the baselines find anomalies injected into held-out time.

    Returns
    -------
    list of dict
        The rows of `flows.injected.InjectedRow`; none where no anomalies can be injected.
    """
    if not can_inject(vocabulary):
        return []
    seed = config.training.seed
    rows = detect_injected(
        data, vocabulary, config, lambda changed: all_scores(model, changed, config), seed=seed
    )
    return [asdict(row) for row in rows]


def write_json(path: Path, content: Any) -> None:
    """Write JSON, in which nothing is infinite."""
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False))
