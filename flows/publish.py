"""The flow that scores every window and publishes what readers of the Parquet get."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version as version_of
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.aggregate import FeatureSet
from flows.config import RunConfig
from flows.datasets import SCHEMA_VERSION
from flows.digests import digest_of
from flows.learning import learning_data
from flows.products import (
    embeddings_table,
    judge_errors,
    proportions_table,
    step_errors_table,
    window_errors_table,
)
from flows.publishing import latest, point_latest, publishing
from flows.train import ModelReference
from models import checkpoint, score

VERSION: Final = 2
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
    version = digest_of(VERSION, SCHEMA_VERSION, model.model_id)
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
    scores = score(
        checkpoint.load(model.folder).trained.model,
        windows=prepared.windows.index,
        device=config.training.device,
        **data.arrays,
    )
    errors = judge_errors(data, scores, vocabulary)
    tables = {
        "embeddings": [embeddings_table(cube, prepared, scores)],
        "window_errors": [window_errors_table(cube, prepared, scores, errors)],
        "step_errors": [step_errors_table(cube, prepared, scores, errors, vocabulary)],
    }
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
