"""The flow that compares every representation and scorer by dated events and injected anomalies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.dated_events import DatedEvents, read_dated_events
from flows.aggregate import FeatureSet, aggregate
from flows.comparison_grid import ComparisonConfig, RecallRow
from flows.comparison_table import report
from flows.config import RunConfig
from flows.evaluation_scores import (
    ColumnRecall,
    evaluate_scores,
    frame_of_steps,
    require_match,
)
from flows.ingest import ingest
from flows.injected import InjectedRow, can_inject, detect_injected
from flows.learning import LearningData, learning_data
from flows.progress import progress
from flows.proportions import step_ends
from flows.publishing import publishing
from flows.scorers import DEFAULT_SCORER, all_scores
from models import LSTMAutoencoder, train

RECALL: Final = "recall.parquet"
INJECTED: Final = "injected.parquet"
TABLE: Final = "table.md"
MIN_ROWS: Final = {"all": 30, "past": 20, "future": 20}
"""Steps that an entity must have for its events to count."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """What came of a comparison.

    Attributes
    ----------
    folder
        Holds the tables.
    table
        The report as markdown.
    """

    folder: Path
    table: str


@flow(name="compare", flow_run_name="compare {config.run.name}")
def compare(config: ComparisonConfig) -> ComparisonResult:
    """Train a model for each representation and seed on the past, and judge every scorer."""
    started = datetime.now(UTC)
    run = config.run_of(config.representations[0], 0)
    run.data.mkdir(parents=True, exist_ok=True)
    features = aggregate(ingest(run).lake, run)
    recalls: list[RecallRow] = []
    injected: list[dict[str, object]] = []
    cells = [(name, seed) for name in config.representations for seed in range(config.seeds)]
    with progress("models compared", len(cells)) as advance:
        for representation, seed in cells:
            found = compare_one(features, representation, seed, config)
            recalls += found.recalls
            injected += found.injected_rows()
            advance(doing=f"{representation}, seed {seed}")
    folder = write(recalls, injected, config, f"{started:%Y%m%dT%H%M%S.%fZ}")
    table = (folder / TABLE).read_text()
    create_markdown_artifact(
        table, key=f"comparison-{run.name}", description="Every representation and scorer"
    )
    return ComparisonResult(folder=folder, table=table)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What one model and the baselines on its representation find."""

    representation: str
    seed: int
    recalls: tuple[RecallRow, ...]
    injected: tuple[InjectedRow, ...]

    def injected_rows(self) -> list[dict[str, object]]:
        """Return rows of a table."""
        key = {"representation": self.representation, "seed": self.seed}
        return [key | vars(row) for row in self.injected]


@task(name="compare one model", cache_policy=NO_CACHE)
def compare_one(
    features: FeatureSet, representation: str, seed: int, config: ComparisonConfig
) -> Compared:
    """Train one model, score with it and the baselines, and judge them."""
    run = config.run_of(representation, seed)
    cube, vocabulary = features.cube(run.windows), features.vocabulary()
    events = None if config.events is None else read_dated_events(config.events)
    if events is not None:
        require_match(cube.entities, events)
    data = learning_data(cube, vocabulary, run)
    model = _train(data, run)
    recalls: list[RecallRow] = []
    if events is not None:
        scores = all_scores(model, data, run)
        for part, found in judge_parts(scores, data, events, config.repetitions):
            recalls.append(_row(found, representation, seed, part))
    injected: list[InjectedRow] = []
    if can_inject(vocabulary):
        injected = detect_injected(
            data, vocabulary, run, lambda changed: all_scores(model, changed, run), seed=seed
        )
    else:
        get_run_logger().warning(
            "no anomalies are injected: events of the blocks %s can't be invented",
            ", ".join(vocabulary.config.blocks),
        )
    return Compared(
        representation=representation,
        seed=seed,
        recalls=tuple(recalls),
        injected=tuple(injected),
    )


@task(name="write tables", cache_policy=NO_CACHE)
def write(
    recalls: list[RecallRow],
    injected: list[dict[str, object]],
    config: ComparisonConfig,
    version: str,
) -> Path:
    """Write everything, whole or not at all."""
    recall_frame = pl.DataFrame([vars(row) for row in recalls], infer_schema_length=None)
    injected_frame = pl.DataFrame(injected, infer_schema_length=None)
    with publishing(config.run.data / "comparisons", version) as folder:
        recall_frame.write_parquet(folder / RECALL)
        injected_frame.write_parquet(folder / INJECTED)
        (folder / TABLE).write_text(report(recall_frame, injected_frame, config))
    return config.run.data / "comparisons" / version


def _train(data: LearningData, config: RunConfig) -> LSTMAutoencoder:
    return train(
        training_windows=data.prepared.windows_of("training"),
        validation_windows=data.prepared.windows_of("validation"),
        exposure=data.cube.exposure,
        share_groups=data.share_groups,
        autoencoder=config.autoencoder,
        training=config.training,
        **data.arrays,
    ).model


def judge_parts(
    scores: Mapping[str, Floats], data: LearningData, events: DatedEvents, repetitions: int
) -> Iterator[tuple[str, ColumnRecall]]:
    """Yield what each scorer finds of the events in all steps, the past and the future.

    All are judged on the steps that the model judges, or they would be ranked among others.
    """
    cube, judged = data.cube, ~np.isnan(scores[DEFAULT_SCORER])
    known = {
        name: np.where(judged, values, np.float32(np.nan))
        for name, values in scores.items()
        if not np.isnan(values[judged]).all()
    }
    ends = step_ends(cube).to_numpy()
    frame = frame_of_steps(cube.entities, cube.steps, ends, known, n_events=cube.exposure)
    held_out = pl.col("step_start") >= cube.steps[data.prepared.split.held_out_start].item()
    for part, rows in {"all": pl.lit(value=True), "past": ~held_out, "future": held_out}.items():
        for found in evaluate_scores(
            frame.filter(rows),
            list(known),
            events,
            repetitions=repetitions,
            min_rows=MIN_ROWS[part],
        ):
            if found.plain.n_scored and found.matched is not None and found.matched.n_scored:
                yield part, found


def _row(found: ColumnRecall, representation: str, seed: int, steps: str) -> RecallRow:
    plain, matched = found.plain, found.matched
    assert matched is not None
    (one, two, five), (m_one, m_two, m_five) = plain.tops, matched.tops
    return RecallRow(
        representation=representation,
        scorer=found.column,
        seed=seed,
        steps=steps,
        n_scored=plain.n_scored,
        recall_1=one.recall,
        recall_2=two.recall,
        recall_5=five.recall,
        lift_2=two.lift,
        p_2=two.p_value,
        mean_percentile=plain.mean_percentile.value if plain.mean_percentile else None,
        matched_1=m_one.recall,
        matched_2=m_two.recall,
        matched_5=m_five.recall,
        matched_lift_2=m_two.lift,
        matched_percentile=matched.mean_percentile.value if matched.mean_percentile else None,
    )
