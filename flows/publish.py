"""The flow that scores every window and publishes what readers of the Parquet get."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version as version_of
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.vocabulary import Vocabulary
from flows.aggregate import FeatureSet
from flows.config import RunConfig
from flows.datasets import SCHEMA_VERSION
from flows.digests import digest_of
from flows.injected import can_inject, detect_injected
from flows.learning import LearningData, learning_data
from flows.products import (
    analogues_table,
    embeddings_table,
    proportions_table,
    step_errors_table,
    window_errors_table,
)
from flows.publishing import latest, point_latest, publishing
from flows.regime_naming import REGIMES, fit_regimes
from flows.scorers import Scored, all_scores, score_all
from flows.train import ModelReference
from models import LSTMAutoencoder, Regimes, checkpoint, nearest_analogues

BASELINES: Final = "baselines.json"

VERSION: Final = 3
"""To be raised when the same model would give other tables."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What is published.

    Attributes
    ----------
    folder
        Holds a Parquet file a dataset.
    latest
        The link by which readers reach it.
    reused
        Whether it was there already.
    """

    folder: Path
    latest: Path
    reused: bool


@flow(name="publish", flow_run_name="publish {config.name}", validate_parameters=False)
def publish(features: FeatureSet, model: ModelReference, config: RunConfig) -> Publication:
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
        write_datasets(features, model, dataset / version, config)
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
    features: FeatureSet, model: ModelReference, target: Path, config: RunConfig
) -> None:
    """Score, and write every dataset with its provenance, which doesn't name any folder."""
    logger = get_run_logger()
    cube, vocabulary = features.cube(config.windows), features.vocabulary()
    data = learning_data(cube, vocabulary, config)
    prepared = data.prepared
    logger.info("scoring %d windows", len(prepared.windows))
    trained = checkpoint.load(model.folder).trained.model
    scored = score_all(trained, data, config)
    scores, judgement = scored.scores, scored.judgement
    if (method := judgement.calibration.config.method) != config.calibration.method:
        logger.warning("few steps in the validation part: p-values are by the method %s", method)
    regimes = fit_regimes(scores.embeddings, cube, prepared, config.scoring, latest(target.parent))
    tables = _tables(data, scored, regimes, vocabulary, config)
    beside = beside_baselines(trained, data, vocabulary, config)
    provenance = {
        "schema_version": SCHEMA_VERSION,
        "code_version": version_of("foreshock"),
        "model_id": model.model_id,
        "vocabulary": vocabulary.digest,
        "config": config.to_toml(without=("source", "data")),
    }
    with publishing(target.parent, target.name) as folder:
        slabs = map(proportions_table, features.slabs())
        for name, parts in {"proportions": slabs, **tables}.items():
            rows = write_parquet(parts, folder / f"{name}.parquet", provenance | {"dataset": name})
            logger.info("%s: %d rows", name, rows)
        (folder / "vocabulary.json").write_text(vocabulary.to_json())
        _write_json(folder / REGIMES, regimes.to_dict())
        _write_json(folder / BASELINES, beside)
        entities = {"entities": cube.entities}
        _write_json(folder / "calibration.json", entities | judgement.calibration.to_dict())


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


def _tables(
    data: LearningData,
    scored: Scored,
    regimes: Regimes,
    vocabulary: Vocabulary,
    config: RunConfig,
) -> dict[str, list[pa.Table]]:
    cube, prepared, scores = data.cube, data.prepared, scored.scores
    analogues = nearest_analogues(
        scores.embeddings,
        prepared.windows.index,
        length=prepared.windows.length,
        n_neighbours=config.scoring.analogues,
        training=prepared.parts == 0,
        min_lag=prepared.windows.length,
    )
    numbers = regimes.assign(scores.embeddings)
    return {
        "embeddings": [embeddings_table(cube, prepared, scores, numbers)],
        "analogues": [analogues_table(cube, prepared, analogues)],
        "window_errors": [window_errors_table(cube, prepared, scores, scored.judgement)],
        "step_errors": [
            step_errors_table(
                cube,
                prepared,
                scores.coverage,
                scored.judgement,
                vocabulary,
                alarm_rate=config.scoring.alarm_rate,
            )
        ],
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False))


def write_parquet(parts: Iterable[pa.Table], path: Path, provenance: dict[str, Any]) -> int:
    """Write a table with zstd, and its provenance as JSON under the metadata key `foreshock`.

    Parameters
    ----------
    parts
        The table in parts of one schema, so that it need not be in memory as a whole.

    Returns
    -------
    int
        The number of rows.
    """
    parts = iter(parts)
    first = next(parts)
    metadata = {**(first.schema.metadata or {}), b"foreshock": json.dumps(provenance).encode()}
    schema = first.schema.with_metadata(metadata)
    floats = [field.name for field in schema if _holds_floats(field.type)]
    rows = 0
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[name for name in schema.names if name not in floats],
        use_byte_stream_split=floats,
    ) as writer:
        for part in chain([first], parts):
            writer.write_table(part.replace_schema_metadata(metadata), row_group_size=1 << 17)
            rows += part.num_rows
    return rows


def _holds_floats(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
    return bool(pa.types.is_floating(value))
