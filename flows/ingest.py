"""The flow that brings raw files into the lake."""

from prefect import flow
from prefect.logging import get_run_logger

from flows.config import RunConfig
from flows.lake_update import IngestResult, update_lake
from flows.locking import sole_run
from flows.publishing import sweep_unfinished
from flows.task_runners import runner_of, through_tasks


def ingest(config: RunConfig) -> IngestResult:
    """Bring new and changed source files into the lake, on the workers that are configured."""
    return ingest_flow.with_options(task_runner=runner_of(config.execution))(config)


@flow(name="ingest", flow_run_name="ingest", validate_parameters=False)
def ingest_flow(config: RunConfig) -> IngestResult:
    """Bring new and changed source files into the lake, and publish it in one move."""
    logger = get_run_logger()
    wait = config.execution.lock_wait
    with sole_run(config.data, doing="ingest", wait=wait, on_wait=logger.warning):
        for path in sweep_unfinished(config.data):
            logger.warning("removed what a run that was killed had left: %s", path)
        result = update_lake(
            config.data / "lake", config.source, config.ingest, run_all=through_tasks(config)
        )
    for error in result.errors:
        logger.error("left out: %s", error)
    if not result.added:
        logger.info("nothing new")
    return result
