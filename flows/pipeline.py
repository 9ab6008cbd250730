"""The flow over all: from raw files to published Parquet, and the record of the run."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.logging import get_run_logger
from pydantic_core import to_jsonable_python

from flows.aggregate import FeatureSet, aggregate
from flows.config import RunConfig
from flows.ingest import IngestResult, ingest
from flows.publish import Publication, publish
from flows.train import ModelConfig, ModelReference, train_model


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What each stage of a run came to.

    Attributes
    ----------
    ingested, features, model, publication
        The stages' results.
    seconds
        The whole run's, without Prefect's own start.
    record
        The file with everything about the run, its configuration included.
    """

    ingested: IngestResult
    features: FeatureSet
    model: ModelReference
    publication: Publication
    seconds: float
    record: Path


@flow(name="foreshock", flow_run_name="{config.name}", log_prints=False)
def run(config: RunConfig) -> RunResult:
    """Ingest, aggregate, train, diagnose, score and publish; what is done already is kept."""
    started, at = time.monotonic(), datetime.now(UTC)
    config.data.mkdir(parents=True, exist_ok=True)
    get_run_logger().info("configuration:\n%s", config.to_toml())
    model_config = ModelConfig(
        windows=config.windows,
        split=config.split,
        transform=config.transform,
        autoencoder=config.autoencoder,
        training=config.training,
    )
    ingested = ingest(config.source, config.data, config.ingest)
    features = aggregate(
        ingested.lake, config.data, config.entity, config.step, config.vocabulary, config.split
    )
    model = train_model(features, config.data, model_config)
    publication = publish(
        features, model, config.data, config.name, model_config, config.to_toml()
    )
    result = RunResult(
        ingested=ingested,
        features=features,
        model=model,
        publication=publication,
        seconds=time.monotonic() - started,
        record=config.data / "runs" / f"{at:%Y%m%dT%H%M%S.%fZ}-{config.name}.json",
    )
    write_record(result, config, at)
    return result


def write_record(result: RunResult, config: RunConfig, at: datetime) -> None:
    """Write everything about the run: its configuration in full, and what each stage came to."""
    record: dict[str, Any] = {
        "started": at.isoformat(),
        "code_version": version_of("foreshock"),
        "config": config.model_dump(mode="json"),
        "result": to_jsonable_python(result),
    }
    result.record.parent.mkdir(parents=True, exist_ok=True)
    result.record.write_text(json.dumps(record, indent=1, ensure_ascii=False))
