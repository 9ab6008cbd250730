"""The flow that counts events, fits the vocabulary and keeps both for what comes after."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.aggregate import Counts, Entity, Step, step_range
from features.cube import Cube, build_cube, build_exposure
from features.split import SplitConfig, split_steps
from features.vocabulary import Vocabulary
from features.windows import WindowConfig, find_windows
from flows.config import RunConfig
from flows.counting import CountStore, read_counts, write_counts
from flows.digests import digest_of
from flows.lake import Lake
from flows.publishing import whole_folder
from flows.task_runners import runner_of, through_tasks

VERSION: Final = 2
"""To be raised when the same counts would give another vocabulary."""


class NoEventsError(ValueError):
    """The lake has no events of the kind of entity asked for."""


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Counts of the whole lake and the vocabulary fitted on its training period.

    Attributes
    ----------
    folder
        Holds ``totals.parquet``, ``categories.parquet`` and ``vocabulary.json``.
    entity, step
        What was counted.
    digest
        Stands for all that went into it.
    reused
        Whether it was there already.
    """

    folder: Path
    entity: Entity
    step: Step
    digest: str
    reused: bool

    def vocabulary(self) -> Vocabulary:
        """Read the vocabulary."""
        return Vocabulary.from_json((self.folder / "vocabulary.json").read_text())

    def cube(self, windows: WindowConfig) -> Cube:
        """Encode the entities that have a window with enough events: most dyads have none."""
        counts = read_counts(self.folder)
        entities, exposure = build_exposure(counts, step=self.step)
        found = np.unique(find_windows(exposure, windows).index[:, 0])
        if len(found) == 0:
            msg = f"none of {len(entities)} entities has a window with as many events as {windows}"
            raise NoEventsError(msg)
        chosen = [entities[position] for position in found]
        return build_cube(counts, self.vocabulary(), step=self.step, entities=chosen)

    def counts(self) -> Counts:
        """Read the counts."""
        return read_counts(self.folder)


def aggregate(lake: Path, config: RunConfig) -> FeatureSet:
    """Count the events that were not counted before, on the workers that are configured."""
    flow_here = aggregate_flow.with_options(task_runner=runner_of(config.execution))
    return flow_here(lake, config)


@flow(name="aggregate", flow_run_name="aggregate {config.name}", validate_parameters=False)
def aggregate_flow(lake: Path, config: RunConfig) -> FeatureSet:
    """Count the events of each month that was not counted before, and fit the vocabulary."""
    found = Lake.read(lake)
    digests = [(month, record.digest) for month, record in found.months.items()]
    entity, step = config.entity, config.step
    digest = digest_of(VERSION, digests, entity, step, config.vocabulary, config.split)
    folder = config.data / "features" / digest
    reused = folder.exists()
    if reused:
        get_run_logger().info("nothing new: counts and vocabulary %s are there", digest)
    else:
        store = count_store(config)
        store.count(found, run_all=through_tasks(config))
        fit_vocabulary(store.counts(found), folder, config)
    return FeatureSet(folder=folder, entity=entity, step=step, digest=digest, reused=reused)


def count_store(config: RunConfig) -> CountStore:
    """Return where the counts that a run needs are kept."""
    return CountStore(
        root=config.data / "counts",
        entity=config.entity,
        step=config.step,
        fields=config.vocabulary.fields,
    )


@task(name="fit vocabulary", cache_policy=NO_CACHE)
def fit_vocabulary(counts: Counts | None, folder: Path, config: RunConfig) -> None:
    """Fit the vocabulary on the training period and write it beside the counts."""
    if counts is None or counts.totals.is_empty():
        msg = (
            f"no event in the lake has what entity={config.entity!r} needs: choose another, such "
            "as either_country, which uses the countries of source and target"
        )
        raise NoEventsError(msg)
    training = _before(counts, training_end(counts, config.step, config.split))
    vocabulary = Vocabulary.fit(training, config.vocabulary)
    get_run_logger().info("%d features in the vocabulary", len(vocabulary.features))
    with whole_folder(folder) as target:
        write_counts(counts, target)
        (target / "vocabulary.json").write_text(vocabulary.to_json())


def training_end(counts: Counts, step: Step, split: SplitConfig) -> date:
    """Return the first day after the training period."""
    first, last = counts.totals.select(
        pl.col("step_start").min().alias("first"), pl.col("step_start").max().alias("last")
    ).row(0)
    steps = step_range(first, last, step).to_numpy().astype("datetime64[D]")
    end: date = steps[split_steps(steps, split).training_end].item()
    return end


def _before(counts: Counts, end: date) -> Counts:
    early = pl.col("step_start") < end
    return Counts(totals=counts.totals.filter(early), categories=counts.categories.filter(early))
