"""The flow that scores every window and publishes what readers of the Parquet get."""

import json
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.preparation import prepare
from flows.aggregate import FeatureSet
from flows.datasets import SCHEMA_VERSION
from flows.digests import digest_of
from flows.publishing import latest, point_latest, publishing
from flows.products import (
    embeddings_table,
    judge_errors,
    proportions_table,
    step_errors_table,
    window_errors_table,
)
from flows.train import ModelConfig, ModelReference
from models import checkpoint, score

VERSION: Final = 1
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


@flow(name="publish", validate_parameters=False)
def publish(
    features: FeatureSet, model: ModelReference, data: Path, name: str, config: ModelConfig,
    settings: str,
) -> Publication:
    """Score every window with the model and publish all datasets in one move."""
    dataset = data / "published" / name
    version = digest_of(VERSION, SCHEMA_VERSION, model.model_id)
    folder = dataset / version
    current = latest(dataset)
    if current == folder.resolve():
        get_run_logger().info("nothing new: %s is published", version)
    elif folder.exists():
        point_latest(dataset, version)
    else:
        write_datasets(features, model, dataset, version, config, settings)
    return Publication(folder=folder, latest=dataset / "latest", reused=current == folder.resolve())


@task(name="score and write", cache_policy=NO_CACHE)
def write_datasets(
    features: FeatureSet,
    model: ModelReference,
    dataset: Path,
    version: str,
    config: ModelConfig,
    settings: str,
) -> None:
    """Score, and write every dataset with its provenance."""
    logger = get_run_logger()
    cube, vocabulary = features.cube(), features.vocabulary()
    prepared = prepare(
        cube, windows=config.windows, split=config.split, transform=config.transform
    )
    logger.info("scoring %d windows", len(prepared.windows))
    scores = score(
        checkpoint.load(model.folder).trained.model,
        prepared.values,
        prepared.observed,
        prepared.windows.index,
        length=prepared.windows.length,
        device=config.training.device,
    )
    errors = judge_errors(cube, prepared, scores, vocabulary)
    tables = {
        "proportions": proportions_table(cube),
        "embeddings": embeddings_table(cube, prepared, scores),
        "window_errors": window_errors_table(cube, prepared, scores, errors),
        "step_errors": step_errors_table(cube, prepared, scores, errors, vocabulary),
    }
    provenance = {
        "schema_version": SCHEMA_VERSION,
        "code_version": version_of("foreshock"),
        "model_id": model.model_id,
        "vocabulary": vocabulary.digest,
        "config": settings,
    }
    with publishing(dataset, version) as folder:
        for name, table in tables.items():
            write_parquet(table, folder / f"{name}.parquet", provenance | {"dataset": name})
            logger.info("%s: %d rows", name, table.num_rows)
        (folder / "vocabulary.json").write_text(vocabulary.to_json())


def write_parquet(table: pa.Table, path: Path, provenance: dict[str, Any]) -> None:
    """Write a table with zstd, and its provenance as JSON under the metadata key `foreshock`."""
    metadata = {**(table.schema.metadata or {}), b"foreshock": json.dumps(provenance).encode()}
    floats = [name for name in table.column_names if _holds_floats(table.schema.field(name).type)]
    pq.write_table(
        table.replace_schema_metadata(metadata),
        path,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in floats],
        use_byte_stream_split=floats,
        row_group_size=1 << 17,
    )


def _holds_floats(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or (
        pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)
    )
