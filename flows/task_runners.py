"""Spreading work over Prefect's task runners: threads, processes or a Dask cluster."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed, wait
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from flows.config import RunConfig
from flows.execution import ExecutionConfig
from flows.progress import progress
from flows.run_all import RunAll

_BATCHES_A_WORKER: Final = 8


class MissingDaskError(ImportError):
    """Dask is asked for, and not installed."""


def runner_of(config: ExecutionConfig) -> "TaskRunner[Any]":
    """Return the task runner that is configured.

    Raises
    ------
    MissingDaskError
        If it is Dask's, which is an optional extra.
    """
    if config.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=config.workers)
    if config.runner == "processes":
        return ProcessPoolTaskRunner(max_workers=config.workers)
    try:
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415
    except ImportError as error:
        msg = (
            "execution.runner is 'dask', which needs prefect-dask: install it with "
            "pip install 'foreshock[dask]', or choose threads or processes"
        )
        raise MissingDaskError(msg) from error
    if config.dask_address is not None:
        runner: TaskRunner[Any] = DaskTaskRunner(address=config.dask_address)
    else:
        local = {"n_workers": config.workers, "threads_per_worker": 1, "dashboard_address": None}
        runner = DaskTaskRunner(cluster_kwargs=local)
    return runner


def through_tasks(config: RunConfig) -> RunAll:
    """Return what applies a function to items in batches, each a task of the flow that runs.

    A batch is a share of the work, by weight: thousands of small files take a few tasks and not
    thousands, and a large file is one by itself.
    """

    def run_all(
        function: Callable[[Any], Any],
        items: Sequence[Any],
        *,
        stage: str,
        weight: Callable[[Any], float],
    ) -> list[Any]:
        share = _work.with_options(name=stage.lower())
        with progress(stage, len(items)) as advance:
            futures: dict[PrefectFuture[list[Any]], range] = {
                share.submit(function, [items[i] for i in batch]): batch
                for batch in batches([weight(item) for item in items], config.execution.workers)
            }
            results: dict[int, Any] = {}
            try:
                for future in as_completed(list(futures)):
                    results |= dict(zip(futures[future], future.result(), strict=True))
                    advance(len(futures[future]))
            except BaseException:
                wait(list(futures))  # What they write to is about to be removed.
                raise
        return [results[i] for i in range(len(items))]

    return run_all


@task(name="work", cache_policy=NO_CACHE, persist_result=False)
def _work(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]


def batches(weights: Sequence[float], workers: int) -> list[range]:
    """Part items, in order, into batches of about the same weight, several for each worker.

    Examples
    --------
    >>> batches([1, 1, 1, 1, 9], workers=1)
    [range(0, 2), range(2, 4), range(4, 5)]
    >>> [len(batch) for batch in batches([1] * 100, workers=2)]
    [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 2]
    """
    limit = sum(weights) / (workers * _BATCHES_A_WORKER)
    found, start, load = [], 0, 0.0
    for i, weight in enumerate(weights):
        load += weight
        if load >= limit:
            found.append(range(start, i + 1))
            start, load = i + 1, 0.0
    if start < len(weights):
        found.append(range(start, len(weights)))
    return found
