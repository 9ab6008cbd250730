"""The flow that counts events, fits the vocabulary and keeps both for what comes after."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.aggregate import (
    Counts,
    Entity,
    Step,
    count_events,
    merge_counts,
    step_range,
)
from features.cube import Cube, build_cube, build_exposure
from features.split import SplitConfig, split_steps
from features.vocabulary import Vocabulary
from features.windows import WindowConfig, find_windows
from flows.config import RunConfig
from flows.digests import digest_of
from flows.lake import Lake, month_file
from flows.progress import progress
from flows.publishing import whole_folder

VERSION: Final = 1
"""To be raised when the same events would give other counts or another vocabulary."""


_SLAB_VALUES: Final = 1 << 24


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
        counts = _read_counts(self.folder)
        entities, exposure = build_exposure(counts, step=self.step)
        found = np.unique(find_windows(exposure, windows).index[:, 0])
        if len(found) == 0:
            msg = f"none of {len(entities)} entities has a window with as many events as {windows}"
            raise NoEventsError(msg)
        chosen = [entities[position] for position in found]
        return build_cube(counts, self.vocabulary(), step=self.step, entities=chosen)

    def slabs(self) -> Iterator[Cube]:
        """Encode all entities, as many at a time as make about 64 MB."""
        counts, vocabulary = _read_counts(self.folder), self.vocabulary()
        entities, exposure = build_exposure(counts, step=self.step)
        at_once = max(1, _SLAB_VALUES // (exposure.shape[1] * len(vocabulary.features)))
        for first in range(0, len(entities), at_once):
            chosen = entities[first : first + at_once]
            yield build_cube(counts, vocabulary, step=self.step, entities=chosen)


@flow(name="aggregate", flow_run_name="aggregate {config.name}", validate_parameters=False)
def aggregate(lake: Path, config: RunConfig) -> FeatureSet:
    """Count the events of each month that was not counted before, and fit the vocabulary."""
    months = Lake.read(lake).months
    digests = [record.sha256 for record in months.values()]
    entity, step = config.entity, config.step
    digest = digest_of(VERSION, digests, entity, step, config.vocabulary, config.split)
    folder = config.data / "features" / digest
    reused = folder.exists()
    if reused:
        get_run_logger().info("nothing new: counts and vocabulary %s are there", digest)
    else:
        counts = count_months(lake, config)
        fit_vocabulary(counts, folder, config)
    return FeatureSet(folder=folder, entity=entity, step=step, digest=digest, reused=reused)


@task(name="count events", cache_policy=NO_CACHE)
def count_months(lake: Path, config: RunConfig) -> Counts:
    """Count the events of every month, reading those counted before from the cache."""
    months = Lake.read(lake).months
    entity, step, fields = config.entity, config.step, config.vocabulary.fields
    cache = config.data / "counts" / f"{entity}-{step}-{digest_of(VERSION, fields)}"
    counts = []
    with progress("Counting events", len(months)) as advance:
        for month, record in sorted(months.items()):
            place = cache / record.sha256[:16]
            if not place.exists():
                events = pl.scan_parquet(month_file(lake, "events", month))
                _write_counts(count_events(events, entity=entity, step=step, fields=fields), place)
            counts.append(_read_counts(place))
            advance(doing=f"{month:%Y-%m}")
    return merge_counts(counts)


@task(name="fit vocabulary", cache_policy=NO_CACHE)
def fit_vocabulary(counts: Counts, folder: Path, config: RunConfig) -> None:
    """Fit the vocabulary on the training period and write it beside the counts."""
    if counts.totals.is_empty():
        msg = (
            f"no event in the lake has what entity={config.entity!r} needs: choose another, such "
            "as either_country, which uses the countries of source and target"
        )
        raise NoEventsError(msg)
    training = _before(counts, training_end(counts, config.step, config.split))
    vocabulary = Vocabulary.fit(training, config.vocabulary)
    get_run_logger().info("%d features in the vocabulary", len(vocabulary.features))
    with whole_folder(folder) as target:
        _write_tables(counts, target)
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


def _write_counts(counts: Counts, folder: Path) -> None:
    with whole_folder(folder) as target:
        _write_tables(counts, target)


def _write_tables(counts: Counts, folder: Path) -> None:
    counts.totals.write_parquet(folder / "totals.parquet", compression="zstd")
    counts.categories.write_parquet(folder / "categories.parquet", compression="zstd")


def _read_counts(folder: Path) -> Counts:
    return Counts(
        totals=pl.read_parquet(folder / "totals.parquet"),
        categories=pl.read_parquet(folder / "categories.parquet"),
    )
