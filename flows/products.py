"""The tables that are published, made from a cube and its scores."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from features.aggregate import EVERY
from features.cube import Cube
from features.preparation import Prepared
from features.split import PARTS
from features.vocabulary import Vocabulary
from features.windows import window_view
from flows.learning import LearningData
from models import Scores, pearson_errors

TOP_FEATURES: Final = 5
_ROWS_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors:
    """Errors in units of sampling noise, NaN in steps that have no error.

    Attributes
    ----------
    expected
        float32 ``(E, S, F)``: the reconstruction, in the units of the cube.
    feature
        float32 ``(E, S, F)``: squared Pearson residuals.
    step
        float32 ``(E, S)``: their mean over features.
    """

    expected: NDArray[np.float32]
    feature: NDArray[np.float32]
    step: NDArray[np.float32]


def proportions_table(cube: Cube) -> pa.Table:
    """Return the proportions, one row an entity and step, empty steps included."""
    table = cube.proportions()
    steps = _with_step_end(cube, table.select("entity", "step_start", "n_events"))
    return _to_arrow(pl.concat([steps, table.drop(steps.columns, strict=False)], how="horizontal"))


def embeddings_table(cube: Cube, prepared: Prepared, scores: Scores) -> pa.Table:
    """Return the embedding of each window as a fixed-size list of float32."""
    flat = pa.array(np.ascontiguousarray(scores.embeddings).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(flat, scores.embeddings.shape[1])
    return _windows(cube, prepared).append_column("embedding", vectors)


def window_errors_table(cube: Cube, prepared: Prepared, scores: Scores, errors: Errors) -> pa.Table:
    """Return the error of each window, in units of sampling noise and in the model's own."""
    steps = np.where(prepared.observed, errors.step, np.nan)
    windows = window_view(steps, prepared.windows.length)
    entity, start = prepared.windows.index.T
    return (
        _windows(cube, prepared)
        .append_column("error", _nullable(np.nanmean(windows[entity, start], axis=-1)))
        .append_column("squared_error", _nullable(scores.window_error))
    )


def step_errors_table(
    cube: Cube, prepared: Prepared, scores: Scores, errors: Errors, vocabulary: Vocabulary
) -> pa.Table:
    """Return the error of each step and the features with the largest part in it."""
    steps = _with_step_end(
        cube, cube.index().with_columns(n_events=pl.Series(cube.exposure.reshape(-1)))
    ).with_columns(part=_parts_of_steps(cube, prepared))
    return (
        _to_arrow(steps)
        .append_column("n_windows", pa.array(scores.coverage.reshape(-1)))
        .append_column("error", _nullable(errors.step.reshape(-1)))
        .append_column("squared_error", _nullable(scores.step_error.reshape(-1)))
        .append_column("top_features", _top_features(cube, errors, vocabulary))
    )


def judge_errors(data: LearningData, scores: Scores, vocabulary: Vocabulary) -> Errors:
    """Bring reconstructions back to the units of the cube and judge them by the exposure.

    A reconstructed change is judged as the change from what was observed: the level before it is
    known, so the difference of two levels is the difference of two changes. A model of shares
    rebuilds the cube's own units.
    """
    cube, prepared = data.cube, data.prepared
    expected = scores.step_reconstruction.copy()
    if data.target is None:
        scale = prepared.standardiser.scale[:, None]
        expected = cube.values + (expected - prepared.values) * scale
    is_share = np.array([feature.block != "log_volume" for feature in vocabulary.features])
    expected[..., is_share] = np.clip(expected[..., is_share], 0, 1)
    feature = pearson_errors(cube.values, expected, cube.exposure, is_share=is_share)
    feature[~prepared.observed | (scores.coverage == 0)] = np.nan
    return Errors(expected=expected, feature=feature, step=feature.mean(axis=-1))


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
    return _to_arrow(frame)


def _to_arrow(frame: pl.DataFrame) -> pa.Table:
    """Convert to Arrow, with plain strings for polars' large ones."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _step_ends(cube: Cube) -> pl.Series:
    starts = pl.DataFrame({"step": pl.Series(cube.steps).cast(pl.Date)})
    return starts.select(
        pl.col("step").dt.offset_by(EVERY[cube.step]).dt.offset_by("-1d")
    ).to_series()


def _with_step_end(cube: Cube, table: pl.DataFrame) -> pl.DataFrame:
    ends = _step_ends(cube).gather(np.tile(np.arange(len(cube.steps)), len(cube.entities)))
    return table.select("entity", "step_start", pl.Series("step_end", ends), "n_events")


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


def _top_features(cube: Cube, errors: Errors, vocabulary: Vocabulary) -> pa.ChunkedArray:
    """Take the features with the largest errors of each step, a slab of steps at a time."""
    error, observed, expected = (
        array.reshape(-1, len(cube.features))
        for array in (errors.feature, cube.values, errors.expected)
    )
    slabs = [slice(i, i + _ROWS_AT_ONCE) for i in range(0, len(error), _ROWS_AT_ONCE)]
    return pa.chunked_array(
        [_top_of_slab(error[s], observed[s], expected[s], vocabulary) for s in slabs]
    )


def _top_of_slab(
    error: NDArray[np.float32],
    observed: NDArray[np.float32],
    expected: NDArray[np.float32],
    vocabulary: Vocabulary,
) -> pa.Array:
    known = ~np.isnan(error[:, 0])
    k = min(TOP_FEATURES, error.shape[1])
    order = np.argsort(-error[known], axis=1, kind="stable")[:, :k]

    def pick(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.take_along_axis(array[known], order, axis=1).reshape(-1)

    total = np.repeat(error[known].sum(axis=1), k)
    share = np.divide(pick(error), total, out=np.zeros_like(total), where=total > 0)
    names, labels = (
        pa.array([getattr(feature, field) for feature in vocabulary.features])
        for field in ("name", "label")
    )
    positions = pa.array(order.reshape(-1))
    numbers = (pick(observed), pick(expected), share)
    entries = pa.StructArray.from_arrays(
        [names.take(positions), labels.take(positions), *map(pa.array, numbers)],
        names=["feature", "label", "observed", "expected", "share"],
    )
    offsets = np.concatenate([[0], np.cumsum(np.where(known, k, 0))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), entries, mask=pa.array(~known))
