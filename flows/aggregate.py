"""The flow that counts events, fits the vocabulary and keeps both for what comes after."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.aggregate import (
    CategoryField,
    Counts,
    Entity,
    Step,
    count_events,
    merge_counts,
    step_range,
)
from features.cube import Cube, build_cube
from features.split import SplitConfig, split_steps
from features.vocabulary import Vocabulary, VocabularyConfig
from flows.digests import digest_of
from flows.lake import Lake, month_file
from flows.progress import progress
from flows.publishing import whole_folder

VERSION: Final = 1
"""To be raised when the same events would give other counts or another vocabulary."""


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

    def cube(self) -> Cube:
        """Encode the counts by the vocabulary."""
        return build_cube(_read_counts(self.folder), self.vocabulary(), step=self.step)


@flow(name="aggregate", validate_parameters=False)
def aggregate(
    lake: Path,
    data: Path,
    entity: Entity,
    step: Step,
    vocabulary: VocabularyConfig,
    split: SplitConfig,
) -> FeatureSet:
    """Count the events of each month that was not counted before, and fit the vocabulary."""
    months = Lake.read(lake).months
    digests = [record.sha256 for record in months.values()]
    digest = digest_of(VERSION, digests, entity, step, vocabulary, split)
    folder = data / "features" / digest
    reused = folder.exists()
    if reused:
        get_run_logger().info("nothing new: counts and vocabulary %s are there", digest)
    else:
        counts = count_months(lake, data / "counts", entity, step, vocabulary.fields)
        fit_vocabulary(counts, folder, entity, step, vocabulary, split)
    return FeatureSet(folder=folder, entity=entity, step=step, digest=digest, reused=reused)


@task(name="count events", cache_policy=NO_CACHE)
def count_months(
    lake: Path, cache: Path, entity: Entity, step: Step, fields: Sequence[CategoryField]
) -> Counts:
    """Count the events of every month, reading those counted before from the cache."""
    months = Lake.read(lake).months
    folder = cache / f"{entity}-{step}-{digest_of(VERSION, fields)}"
    counts = []
    with progress("Counting events", len(months)) as advance:
        for month, record in sorted(months.items()):
            place = folder / record.sha256[:16]
            if not place.exists():
                events = pl.scan_parquet(month_file(lake, "events", month))
                _write_counts(count_events(events, entity=entity, step=step, fields=fields), place)
            counts.append(_read_counts(place))
            advance(doing=f"{month:%Y-%m}")
    return merge_counts(counts)


@task(name="fit vocabulary", cache_policy=NO_CACHE)
def fit_vocabulary(
    counts: Counts,
    folder: Path,
    entity: Entity,
    step: Step,
    config: VocabularyConfig,
    split: SplitConfig,
) -> None:
    """Fit the vocabulary on the training period and write it beside the counts."""
    if counts.totals.is_empty():
        msg = (
            f"no event in the lake has what entity={entity!r} needs: choose another, such as "
            "either_country, which uses the countries of source and target"
        )
        raise NoEventsError(msg)
    training = _before(counts, training_end(counts, step, split))
    vocabulary = Vocabulary.fit(training, config)
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
