"""The flow that brings raw files into the lake."""

from prefect import flow
from prefect.logging import get_run_logger

from flows.config import RunConfig
from flows.lake_update import IngestResult, update_lake
from flows.locking import sole_run
from flows.publishing import sweep_unfinished
from flows.task_runners import runner_of, through_tasks


def ingest(config: RunConfig, again: tuple[str, ...] = ()) -> IngestResult:
    """Bring new and changed source files into the lake, on the workers that are configured.

    Parameters
    ----------
    config
        What is read, how, and by whom.
    again
        Names of files to read although they have not changed, to mend a lake that was damaged.
    """
    return ingest_flow.with_options(task_runner=runner_of(config.execution))(config, again)


@flow(name="ingest", flow_run_name="ingest", validate_parameters=False)
def ingest_flow(config: RunConfig, again: tuple[str, ...] = ()) -> IngestResult:
    """Bring new and changed source files into the lake, and publish it in one move."""
    logger = get_run_logger()
    wait = config.execution.lock_wait
    with sole_run(config.data, doing="ingest", wait=wait, on_wait=logger.warning):
        for path in sweep_unfinished(config.data):
            logger.warning("removed what a run that was killed had left: %s", path)
        result = update_lake(
            config.data / "lake",
            config.source,
            config.ingest,
            again=again,
            run_all=through_tasks(config),
        )
    for error in result.errors:
        logger.error("left out: %s", error)
    if not result.added:
        logger.info("nothing new")
    return result
