"""The flow that scores what is new with the model that is published; it trains nothing."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.aggregate import count_store
from flows.config import RunConfig
from flows.counting import CountStore
from flows.ingest import ingest
from flows.lake import Lake
from flows.lake_update import IngestResult
from flows.locking import sole_run
from flows.publishing import latest
from flows.rescoring import Rescored, publish_changes
from flows.scorer import SCORER, Scorer, ScorerError, frozen_part
from flows.task_runners import runner_of, through_tasks


@dataclass(frozen=True, kw_only=True)
class UpdateResult:
    """What an update came to.

    Attributes
    ----------
    ingested
        What was read.
    published
        The version's folder.
    model_id
        The model that scored.
    rescored
        What was scored anew; None if nothing had changed.
    seconds
        The whole update's.
    """

    ingested: IngestResult
    published: Path
    model_id: str
    rescored: Rescored | None
    seconds: float


def update(config: RunConfig) -> UpdateResult:
    """Ingest, count and score what is new, on the workers that are configured."""
    return update_flow.with_options(task_runner=runner_of(config.execution))(config)


@flow(name="update", flow_run_name="update {config.name}", validate_parameters=False)
def update_flow(config: RunConfig) -> UpdateResult:
    """Ingest, count and score what is new with the published model, and publish it in one move.

    Raises
    ------
    flows.scorer.ScorerError
        If nothing is published to score with, or by another configuration.
    """
    started, logger = time.monotonic(), get_run_logger()
    wait = config.execution.lock_wait
    with sole_run(config.data, doing="update", wait=wait, on_wait=logger.warning):
        scorer = load_scorer(config)
        ingested = ingest(config)
        store = store_of(scorer, config)
        store.count(Lake.read(ingested.lake), run_all=through_tasks(config))
        published, rescored = score_and_publish(scorer, ingested.lake, config)
    return UpdateResult(
        ingested=ingested,
        published=published,
        model_id=scorer.model_id,
        rescored=rescored,
        seconds=time.monotonic() - started,
    )


def load_scorer(config: RunConfig) -> Scorer:
    """Return the scorer that is published for a configuration.

    Raises
    ------
    flows.scorer.ScorerError
        If there is none, or it was made under another configuration.
    """
    dataset = config.data / "published" / config.name
    folder = latest(dataset)
    scorer = Scorer.load((folder or dataset) / SCORER)
    asked, used = frozen_part(config), frozen_part(scorer.config)
    others = sorted(_differences(asked, used))
    if others:
        msg = (
            f"what is published in {dataset} was made with other settings than these: "
            f"{', '.join(others)}. Give those that it was trained with (`scorer/scorer.json` "
            "holds them), or train anew with `foreshock run`"
        )
        raise ScorerError(msg)
    return scorer


def _differences(asked: Any, used: Any, name: str = "") -> list[str]:
    if isinstance(asked, dict) and isinstance(used, dict):
        keys = asked.keys() | used.keys()
        return [
            found
            for key in keys
            for found in _differences(asked.get(key), used.get(key), f"{name}.{key}".strip("."))
        ]
    is_device = name == "training.device"
    return [] if asked == used or is_device else [f"{name} is {asked!r}, was {used!r}"]


@task(name="score what is new", cache_policy=NO_CACHE)
def score_and_publish(
    scorer: Scorer, lake: Path, config: RunConfig
) -> tuple[Path, Rescored | None]:
    """Score what has changed since the last publication, and publish it."""
    logger = get_run_logger()
    published, rescored = publish_changes(
        scorer,
        Lake.read(lake),
        store_of(scorer, config),
        config.data / "published" / config.name,
        device=config.training.device,
    )
    if rescored is None:
        logger.info("nothing new: what is published has all events")
    else:
        logger.info(
            "%d steps changed, %d rows of steps scored anew, years written: %s",
            rescored.touched,
            rescored.scored,
            ", ".join(map(str, rescored.years)),
        )
    return published, rescored


def store_of(scorer: Scorer, config: RunConfig) -> CountStore:
    """Return where the counts that a scorer needs are kept in a data folder."""
    return count_store(scorer.config.model_copy(update={"data": config.data}))
