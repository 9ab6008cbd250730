"""The tables that are published, made from a cube and its scores."""

from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from features.aggregate import EVERY
from features.cube import Cube
from features.preparation import Prepared
from features.split import PARTS
from features.vocabulary import Vocabulary
from models import Scores

TOP_FEATURES: Final = 5
_ROWS_AT_ONCE: Final = 1 << 16


def proportions_table(cube: Cube) -> pa.Table:
    """Return the proportions, one row an entity and step, empty steps included."""
    table = cube.proportions()
    steps = _with_step_end(cube, table.select("entity", "step_start", "n_events"))
    return pl.concat([steps, table.drop(steps.columns, strict=False)], how="horizontal").to_arrow(
        compat_level=pl.CompatLevel.oldest()
    )


def embeddings_table(cube: Cube, prepared: Prepared, scores: Scores) -> pa.Table:
    """Return the embedding of each window as a fixed-size list of float32."""
    flat = pa.array(np.ascontiguousarray(scores.embeddings).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(flat, scores.embeddings.shape[1])
    return _windows(cube, prepared).append_column("embedding", vectors)


def window_errors_table(cube: Cube, prepared: Prepared, scores: Scores) -> pa.Table:
    """Return the error of each window."""
    return _windows(cube, prepared).append_column("error", _nullable(scores.window_error))


def step_errors_table(
    cube: Cube, prepared: Prepared, scores: Scores, vocabulary: Vocabulary
) -> pa.Table:
    """Return the error of each step and the features with the largest part in it."""
    steps = _with_step_end(
        cube, cube.index().with_columns(n_events=pl.Series(cube.exposure.reshape(-1)))
    ).with_columns(part=_parts_of_steps(cube, prepared))
    return (
        steps.to_arrow(compat_level=pl.CompatLevel.oldest())
        .append_column("n_windows", pa.array(scores.coverage.reshape(-1)))
        .append_column("error", _nullable(scores.step_error.reshape(-1)))
        .append_column("top_features", _top_features(cube, prepared, scores, vocabulary))
    )


def _windows(cube: Cube, prepared: Prepared) -> pa.Table:
    windows = prepared.windows
    entity, start = windows.index[:, 0], windows.index[:, 1]
    ends = _step_ends(cube)
    frame = pl.DataFrame(
        {
            "entity": pl.Series(cube.entities, dtype=pl.String).gather(entity),
            "window_start": pl.Series(cube.steps).cast(pl.Date).gather(start),
            "window_end": ends.gather(start + windows.length - 1),
            "n_events": windows.exposure,
            "part": pl.Series(PARTS).gather(prepared.parts.astype(np.int64)),
        }
    )
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _step_ends(cube: Cube) -> pl.Series:
    starts = pl.DataFrame({"step": pl.Series(cube.steps).cast(pl.Date)})
    return starts.select(pl.col("step").dt.offset_by(EVERY[cube.step]).dt.offset_by("-1d")).to_series()


def _with_step_end(cube: Cube, table: pl.DataFrame) -> pl.DataFrame:
    ends = _step_ends(cube).gather(np.tile(np.arange(len(cube.steps)), len(cube.entities)))
    return table.select(
        "entity", "step_start", pl.Series("step_end", ends), "n_events"
    )


def _parts_of_steps(cube: Cube, prepared: Prepared) -> pl.Series:
    positions = np.arange(len(cube.steps))
    split = prepared.split
    inside = [
        positions < split.training_end,
        (positions >= split.validation_start) & (positions < split.validation_end),
        positions >= split.held_out_start,
    ]
    part = np.select(inside, [0, 1, 2], default=3)
    return pl.Series(PARTS).gather(np.tile(part, len(cube.entities)))


def _nullable(values: NDArray[np.float32]) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _top_features(
    cube: Cube, prepared: Prepared, scores: Scores, vocabulary: Vocabulary
) -> pa.ChunkedArray:
    """Take the features with the largest errors of each step, a slab of steps at a time."""
    n_features = len(cube.features)
    flat = {
        "error": scores.step_feature_error.reshape(-1, n_features),
        "values": cube.values.reshape(-1, n_features),
        "target": prepared.values.reshape(-1, n_features),
        "reconstruction": scores.step_reconstruction.reshape(-1, n_features),
    }
    scale = prepared.standardiser.scale
    entity = np.repeat(np.arange(len(cube.entities)), len(cube.steps)) % len(scale)
    chunks = [
        _top_of_slab({name: array[i : i + _ROWS_AT_ONCE] for name, array in flat.items()},
                     scale[entity[i : i + _ROWS_AT_ONCE]], vocabulary)
        for i in range(0, len(entity), _ROWS_AT_ONCE)
    ]
    return pa.chunked_array(chunks)


def _top_of_slab(
    slab: dict[str, NDArray[np.float32]], scale: NDArray[np.float32], vocabulary: Vocabulary
) -> pa.Array:
    error = slab["error"]
    known = ~np.isnan(error[:, 0])
    k = min(TOP_FEATURES, error.shape[1])
    order = np.argsort(-error[known], axis=1, kind="stable")[:, :k]

    def pick(array: NDArray[Any]) -> NDArray[np.float32]:
        return np.take_along_axis(array[known], order, axis=1).reshape(-1)

    observed = pick(slab["values"])
    expected = observed + (pick(slab["reconstruction"]) - pick(slab["target"])) * pick(scale)
    total = np.repeat(error[known].sum(axis=1), k)
    share = np.divide(pick(error), total, out=np.zeros_like(total), where=total > 0)
    names, labels = (
        pa.array([getattr(feature, field) for feature in vocabulary.features])
        for field in ("name", "label")
    )
    positions = pa.array(order.reshape(-1))
    entries = pa.StructArray.from_arrays(
        [names.take(positions), labels.take(positions), *map(pa.array, (observed, expected, share))],
        names=["feature", "label", "observed", "expected", "share"],
    )
    offsets = np.concatenate([[0], np.cumsum(np.where(known, k, 0))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), entries, mask=pa.array(~known))
