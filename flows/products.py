"""The tables that are published, made from a cube and its scores."""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from features.cube import Cube
from features.preparation import Prepared
from features.split import PARTS, parts_of_steps
from features.vocabulary import Vocabulary
from features.windows import window_view
from flows.judging import Drivers, Judgement
from flows.proportions import step_ends, to_arrow, with_step_end
from models import Analogues, Scores


def embeddings_table(
    cube: Cube, prepared: Prepared, scores: Scores, regimes: NDArray[np.int32]
) -> pa.Table:
    """Return the embedding of each window as a fixed-size list of float32, and its regime."""
    flat = pa.array(np.ascontiguousarray(scores.embeddings).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(flat, scores.embeddings.shape[1])
    return (
        _windows(cube, prepared)
        .append_column("regime", pa.array(regimes))
        .append_column("embedding", vectors)
    )


def analogues_table(
    windows: pa.Table, found: Analogues, queries: NDArray[np.int64] | None = None
) -> pa.Table:
    """Return the windows that each window is most like, the nearest first.

    Parameters
    ----------
    windows
        ``entity``, ``window_start`` and ``window_end`` of every window, as in `embeddings_table`.
    found
        Of `models.nearest_analogues`.
    queries
        int64 ``(Q,)``: the rows that they are of; all if None.
    """
    row, rank = np.nonzero(found.positions >= 0)
    position = found.positions[row, rank]
    row_of = row if queries is None else queries[row]
    windows = windows.select(["entity", "window_start", "window_end"])
    names = ["analogue_entity", "analogue_start", "analogue_end"]
    analogues = windows.take(pa.array(position)).rename_columns(names)
    table = windows.take(pa.array(row_of)).append_column(
        "rank", pa.array((rank + 1).astype(np.int32))
    )
    for name in names:
        table = table.append_column(name, analogues[name])
    return table.append_column("distance", pa.array(found.distances[row, rank]))


def window_errors_table(
    cube: Cube, prepared: Prepared, scores: Scores, judgement: Judgement
) -> pa.Table:
    """Return the scores of each window: the means of those of its steps, and its newest step's."""
    combined, (entity, start) = judgement.combined, prepared.windows.index.T
    newest = judgement.score[entity, start + prepared.windows.length - 1]
    table = _windows(cube, prepared)
    for name, steps in (
        ("score", judgement.score),
        ("strangeness", judgement.strangeness),
        ("surge", combined.surge),
        ("deviance", combined.deviance),
        ("mahalanobis", combined.mahalanobis),
    ):
        table = table.append_column(name, _nullable(_means_of_windows(steps, prepared)))
    return table.append_column("squared_error", _nullable(scores.window_error)).append_column(
        "newest_score", _nullable(newest)
    )


def step_errors_table(
    cube: Cube,
    prepared: Prepared,
    coverage: NDArray[np.int32],
    judgement: Judgement,
    vocabulary: Vocabulary,
    *,
    alarm_rate: float,
) -> pa.Table:
    """Return what is said of each step, empty steps included."""
    steps = with_step_end(
        cube, cube.index().with_columns(n_events=pl.Series(cube.exposure.reshape(-1)))
    ).with_columns(part=_parts_of_steps(cube, prepared))
    p_value, combined, newest = judgement.p_value, judgement.combined, judgement.newest
    columns: dict[str, NDArray[Any]] = {
        "score": judgement.score,
        "p_value": p_value,
        "q_value": judgement.q_value,
        "loudness": judgement.loudness,
        "strangeness": judgement.strangeness,
        "squared_error": combined.squared_error,
        "surge": combined.surge,
        "deviance": combined.deviance,
        "mahalanobis": combined.mahalanobis,
        "nowcast_squared_error": newest.squared_error,
        "nowcast_surge": newest.surge,
        "nowcast_deviance": newest.deviance,
        "nowcast_mahalanobis": newest.mahalanobis,
        "volume_share": judgement.drivers.volume_share,
    }
    alarms = pa.array(p_value.reshape(-1) <= alarm_rate, mask=np.isnan(p_value).reshape(-1))
    table = to_arrow(steps)
    table = table.add_column(
        table.schema.get_field_index("n_events") + 1,
        "expected_events",
        _nullable(judgement.expected_events.reshape(-1)),
    ).append_column("n_windows", pa.array(coverage.reshape(-1)))
    for name, values in columns.items():
        table = table.append_column(name, _nullable(values.reshape(-1)))
        if name == "q_value":
            table = table.append_column("is_alarm", alarms)
    return table.append_column("drivers", _drivers(cube, judgement.drivers, vocabulary))


def _means_of_windows(steps: NDArray[np.float32], prepared: Prepared) -> NDArray[np.float32]:
    """Return the mean of each window's steps that have a value, ``(N,)``; NaN where none has."""
    if len(prepared.windows) == 0:
        return np.zeros(0, np.float32)
    windows = window_view(np.isnan(steps), prepared.windows.length)
    entity, start = prepared.windows.index.T
    known = (~windows[entity, start]).sum(axis=-1)
    total = np.nansum(window_view(steps, prepared.windows.length)[entity, start], axis=-1)
    means: NDArray[np.float32] = np.divide(
        total, known, out=np.full_like(total, np.nan), where=known > 0
    )
    return means


def _windows(cube: Cube, prepared: Prepared) -> pa.Table:
    windows = prepared.windows
    entity, start = windows.index[:, 0], windows.index[:, 1]
    ends = step_ends(cube)
    frame = pl.DataFrame(
        {
            "entity": pl.Series(cube.entities, dtype=pl.String).gather(entity),
            "window_start": pl.Series(cube.steps).cast(pl.Date).gather(start),
            "window_end": ends.gather(start + windows.length - 1),
            "n_events": windows.exposure,
            "part": pl.Series(PARTS).gather(prepared.parts.astype(np.int64)),
        }
    )
    return to_arrow(frame)


def _parts_of_steps(cube: Cube, prepared: Prepared) -> pl.Series:
    parts = parts_of_steps(prepared.split, len(cube.steps)).astype(np.int64)
    return pl.Series(PARTS).gather(np.tile(parts, len(cube.entities)))


def _nullable(values: NDArray[np.floating[Any]]) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _drivers(cube: Cube, drivers: Drivers, vocabulary: Vocabulary) -> pa.Array:
    """Return the drivers of each step as a list of structs; null where the step has no score."""
    k = drivers.positions.shape[2]
    positions = drivers.positions.reshape(-1, k)
    has_part = positions >= 0
    exposure = cube.exposure.reshape(-1, 1).astype(np.float32)
    events, wanted, share = (
        array.reshape(-1, k) for array in (drivers.events, drivers.expected_events, drivers.shares)
    )
    observed = np.divide(events, exposure, out=np.zeros_like(events), where=exposure > 0)
    names, labels = (
        pa.array([getattr(feature, field) for feature in vocabulary.features])
        for field in ("name", "label")
    )
    chosen = pa.array(positions[has_part])
    entries = pa.StructArray.from_arrays(
        [
            names.take(chosen),
            labels.take(chosen),
            pa.array(events[has_part].astype(np.int32)),
            pa.array(wanted[has_part]),
            pa.array(observed[has_part]),
            pa.array(share[has_part]),
        ],
        names=["feature", "label", "events", "expected_events", "proportion", "share"],
    )
    offsets = np.concatenate([[0], np.cumsum(has_part.sum(axis=1))]).astype(np.int32)
    unknown = np.isnan(drivers.volume_share.reshape(-1))
    return pa.ListArray.from_arrays(pa.array(offsets), entries, mask=pa.array(unknown))
