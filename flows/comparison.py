"""The flow that compares every representation and scorer by dated events and injected anomalies."""

from collections.abc import Mapping
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

from features.dated_events import read_dated_events
from flows.aggregate import FeatureSet, aggregate
from flows.comparison_grid import ComparisonConfig, RecallRow
from flows.comparison_table import report
from flows.config import RunConfig
from flows.event_recall import CubeJudge, Recalled
from flows.ingest import ingest
from flows.injected import InjectedRow, can_inject, detect_injected
from flows.learning import LearningData, learning_data
from flows.progress import progress
from flows.publishing import publishing
from flows.scorers import all_scores
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
    data = learning_data(cube, vocabulary, run)
    model = _train(data, run)
    scores = all_scores(model, data, run)
    recalls: list[RecallRow] = []
    if config.events is not None:
        judge = CubeJudge.of(cube, read_dated_events(config.events))
        recalls = _recalls(scores, judge, data, representation, seed, config.repetitions)
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


def _recalls(
    scores: Mapping[str, Floats],
    judge: CubeJudge,
    data: LearningData,
    representation: str,
    seed: int,
    repetitions: int,
) -> list[RecallRow]:
    start = data.prepared.split.held_out_start
    parts: dict[str, slice] = {
        "all": slice(None),
        "past": slice(start),
        "future": slice(start, None),
    }
    # All are judged on the steps that the model judges, or they would be ranked among others.
    judged = ~np.isnan(scores["score"])
    rows = []
    for name, values in scores.items():
        if np.isnan(values[judged]).all():
            continue
        for part, steps in parts.items():
            found = judge.judge(
                np.where(judged, values, np.nan),
                steps,
                repetitions=repetitions,
                min_rows=MIN_ROWS[part],
            )
            if found.plain.n_scored and found.matched.n_scored:
                rows.append(_row(found, representation, name, seed, part))
    return rows


def _row(found: Recalled, representation: str, scorer: str, seed: int, steps: str) -> RecallRow:
    plain, matched = found.plain, found.matched
    (one, two, five), (m_one, m_two, m_five) = plain.tops, matched.tops
    return RecallRow(
        representation=representation,
        scorer=scorer,
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
