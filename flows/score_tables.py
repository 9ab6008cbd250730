"""The tables of scores, made by a scorer of some steps, and what is written beside them."""

from collections.abc import Sequence
from datetime import date
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
import pyarrow as pa

from flows.datasets import SCHEMA_VERSION
from flows.learning import LearningData
from flows.products import (
    analogues_table,
    embeddings_table,
    step_errors_table,
    window_errors_table,
)
from flows.scorer import Scorer
from flows.scorers import Scored
from models import nearest_analogues


def score_tables(scorer: Scorer, data: LearningData, scored: Scored) -> dict[str, pa.Table]:
    """Return embeddings, window errors and step errors of all steps of some data."""
    cube, prepared, scores = data.cube, data.prepared, scored.scores
    numbers = scorer.regimes.assign(scores.embeddings)
    alarm_rate = scorer.config.scoring.alarm_rate
    return {
        "embeddings": embeddings_table(cube, prepared, scores, numbers),
        "window_errors": window_errors_table(cube, prepared, scores, scored.judgement),
        "step_errors": step_errors_table(
            cube,
            prepared,
            scores.coverage,
            scored.judgement,
            scorer.vocabulary,
            alarm_rate=alarm_rate,
        ),
    }


def analogues_among(
    embeddings: pa.Table,
    steps: Sequence[date],
    scorer: Scorer,
    span: tuple[date, date] | None = None,
) -> pa.Table:
    """Return the analogues of windows among all that were over before them.

    Parameters
    ----------
    embeddings
        The published table, whole.
    steps
        First days of all steps, rising.
    scorer
        Whose windows they are.
    span
        First and last start of the windows whose analogues are wanted; all if None.
    """
    entity = embeddings["entity"].combine_chunks().dictionary_encode()
    starts = embeddings["window_start"].to_numpy()
    place = np.searchsorted(np.array(steps, "datetime64[D]"), starts.astype("datetime64[D]"))
    queries = None
    if span is not None:
        first, last = (np.datetime64(day, "D") for day in span)
        queries = np.flatnonzero((starts >= first) & (starts <= last))
    vectors = embeddings["embedding"].combine_chunks()
    training = np.asarray(embeddings["part"].to_numpy() == "training")
    length = scorer.preparation.windows.length
    found = nearest_analogues(
        vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size),
        np.stack([entity.indices.to_numpy().astype(np.int64), place], axis=1),
        length=length,
        n_neighbours=scorer.config.scoring.analogues,
        training=training if training.any() else None,
        queries=queries,
        min_lag=length,
    )
    return analogues_table(embeddings, found, queries)


def provenance_of(scorer: Scorer) -> dict[str, Any]:
    """Return what every file says of its origin."""
    return {
        "schema_version": SCHEMA_VERSION,
        "code_version": version_of("foreshock"),
        "model_id": scorer.model_id,
        "vocabulary": scorer.vocabulary.digest,
        "config": scorer.config.to_toml(without=("source", "data", "execution")),
    }
