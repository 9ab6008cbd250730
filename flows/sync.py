"""The flow that brings files from a Dataverse, each whole and verified or not at all."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.dataverse import Dataverse
from flows.dataverse_listing import RemoteFile
from flows.locking import sole_run
from flows.partial_file import remove_outdated_parts
from flows.patience import TransferError
from flows.progress import progress
from flows.sync_plan import SyncConfig, SyncError, SyncPlan, SyncResult, make_plan

_NAMED: Final = 5


@flow(name="sync", flow_run_name="sync {config.source}", validate_parameters=False)
def sync(config: SyncConfig) -> SyncResult:
    """Fetch the files that a source lists and that are not here yet, or with other bytes.

    Nothing is deleted. A file that can't be had doesn't keep the others from being fetched.

    Raises
    ------
    SyncError
        If a file could not be had or may not be had, after all others were; it holds the result.
    flows.locking.BusyError
        If another sync is writing to the same folder.
    TransferError, flows.dataverse_listing.ListingError
        If the files can't be listed.
    """
    with sole_run(config.into, doing=f"sync {config.source}"):
        plan = list_files(config)
        result = fetch_files(plan, config)
    missing = [*result.failed, *plan.refused]
    if missing:
        named = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        msg = (
            f"{len(missing)} of {len(plan.files) + len(plan.refused)} files are missing: {named}. "
            "The others are whole. Run the same command again: it goes on where this one ended"
        )
        raise SyncError(msg, result)
    return result


@task(name="list files", cache_policy=NO_CACHE)
def list_files(config: SyncConfig) -> SyncPlan:
    """List the datasets and compare them with what is here."""
    logger = get_run_logger()
    with Dataverse.from_environment(config.dataverse, on_retry=logger.warning) as dataverse:
        plan = make_plan(config, dataverse)
    logger.info("%d files are listed, %d of them to be fetched", len(plan.files), len(plan.wanted))
    return plan


@task(name="fetch files", cache_policy=NO_CACHE)
def fetch_files(plan: SyncPlan, config: SyncConfig) -> SyncResult:
    """Fetch what is wanted, a few files at a time."""
    wanted, logger = plan.wanted, get_run_logger()
    remove_outdated_parts(config.into, wanted)
    with (
        Dataverse.from_environment(config.dataverse, on_retry=logger.warning) as dataverse,
        progress("Fetching files", len(wanted)) as advance,
    ):

        def on_end(name: str, fault: str | None) -> None:
            if fault is not None:
                logger.error("left out: %s", fault)
            advance(doing=name)

        failed = download_all(
            dataverse, wanted, config.into, config.dataverse.connections, on_end=on_end
        )
    fetched = tuple(file.name for file in wanted if file.name not in failed)
    return SyncResult(into=config.into, plan=plan, fetched=fetched, failed=failed)


def download_all(
    dataverse: Dataverse,
    files: Sequence[RemoteFile],
    into: Path,
    connections: int,
    *,
    on_end: Callable[[str, str | None], object] = lambda _name, _fault: None,
) -> dict[str, str]:
    """Download files into a folder; one that fails doesn't stop the others.

    Parameters
    ----------
    dataverse, files, into
        From where, which, and where to.
    connections
        How many at a time.
    on_end
        Is called with the name of each file that is done, and with what went wrong, if it did.

    Returns
    -------
    dict
        What went wrong, by name, in the order of `files`.
    """
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=connections) as pool:
        futures = {pool.submit(dataverse.download, file, into): file.name for file in files}
        try:
            for future in as_completed(futures):
                fault = _fault(future)
                if fault is not None:
                    failed[futures[future]] = fault
                on_end(futures[future], fault)
        except BaseException:
            dataverse.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return {file.name: failed[file.name] for file in files if file.name in failed}


def _fault(future: "Future[None]") -> str | None:
    try:
        future.result()
    except TransferError as error:
        return str(error)
    return None
