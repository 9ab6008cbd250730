"""The flow over all: from raw files to published Parquet, and the record of the run."""

import time
from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from flows.aggregate import aggregate
from flows.config import RunConfig
from flows.ingest import ingest
from flows.locking import sole_run
from flows.publish import publish
from flows.publishing import sweep
from flows.record import RunResult, write_record
from flows.summary import summary_text
from flows.train import train_model


@flow(name="foreshock", flow_run_name="{config.name}")
def run(config: RunConfig) -> RunResult:
    """Ingest, aggregate, train, diagnose, score and publish; what is done already is kept."""
    wait = config.execution.lock_wait
    with sole_run(config.data, doing="run", wait=wait, on_wait=get_run_logger().warning):
        return _run(config)


def _run(config: RunConfig) -> RunResult:
    started, at = time.monotonic(), datetime.now(UTC)
    sweep(config.data)
    create_markdown_artifact(
        f"```toml\n{config.to_toml()}```",
        key="configuration",
        description="The whole configuration",
    )
    ingested = ingest(config)
    features = aggregate(ingested.lake, config)
    model = train_model(features, config)
    publication = publish(features, model, config, ingested.lake)
    result = RunResult(
        ingested=ingested,
        features=features,
        model=model,
        publication=publication,
        seconds=time.monotonic() - started,
        record=config.data / "runs" / f"{at:%Y%m%dT%H%M%S.%fZ}-{config.name}.json",
    )
    write_record(result, config, at)
    create_markdown_artifact(
        f"```text\n{summary_text(result)}```",
        key=f"run-report-{config.name}",
        description="What was read, trained and written, and which steps stand out",
    )
    return result
