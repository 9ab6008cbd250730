"""The cube: one float32 array of entities × steps × features, and its index.

This is where features and models meet: models take the array, and windows are views on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.aggregate import INTENSITY_UNITS, CategoryField, Counts, Step, step_range
from features.ontology import OntologyName, ontology
from features.vocabulary import LIST_FIELDS, OTHER, Block, Vocabulary

_FIELD_OF_BLOCK: Final[dict[Block, CategoryField]] = {
    "event_type": "event_code",
    "quad": "event_code",
    "root": "event_code",
    **LIST_FIELDS,
}


_ROWS_AT_ONCE: Final = 1 << 18


@dataclass(frozen=True, kw_only=True, eq=False)
class Cube:
    """Proportions of every entity in every step, with the number of events behind each.

    Attributes
    ----------
    values
        float32 ``(E, S, F)``; NaN throughout a step that has no events.
    exposure
        int64 ``(E, S)``: events in the step.
    entities
        Names, sorted, as many as E.
    steps
        datetime64[D], the first day of each step, without gaps, as many as S.
    features
        Names, as many as F.
    blocks
        The block of each feature, as many as F.
    step
        How long a step is.
    """

    values: NDArray[np.float32]
    exposure: NDArray[np.int64]
    entities: tuple[str, ...]
    steps: NDArray[np.datetime64]
    features: tuple[str, ...]
    blocks: tuple[Block, ...]
    step: Step

    def index(self) -> pl.DataFrame:
        """Return ``entity`` and ``step_start`` of every cell, entity by entity."""
        entities, steps = pl.Series(self.entities, dtype=pl.String), pl.Series(self.steps)
        return pl.DataFrame(
            {
                "entity": entities.gather(np.repeat(np.arange(len(entities)), len(steps))),
                "step_start": steps.cast(pl.Date).gather(
                    np.tile(np.arange(len(steps)), len(entities))
                ),
            }
        )

    def proportions(self) -> pl.DataFrame:
        """Return the cube as a table, one row an entity and step, empty steps included.

        Returns
        -------
        pl.DataFrame
            ``entity``, ``step_start``, ``n_events`` and a float32 column a feature, null where
            there are no events.
        """
        flat = self.values.reshape(-1, len(self.features))
        table = pl.from_numpy(flat, schema=list(self.features), orient="row").fill_nan(None)
        return pl.concat(
            [
                self.index().with_columns(n_events=pl.Series(self.exposure.reshape(-1))),
                table,
            ],
            how="horizontal",
        )


def build_cube(
    counts: Counts,
    vocabulary: Vocabulary,
    *,
    step: Step,
    first: date | None = None,
    last: date | None = None,
    entities: Sequence[str] | None = None,
) -> Cube:
    """Encode counts by a vocabulary into proportions for every entity and step.

    Parameters
    ----------
    counts
        From `features.aggregate.count_events`, with the fields that the vocabulary needs.
    vocabulary
        The features.
    step
        As counted.
    first, last
        Days in the first and last step; by default those of the earliest and latest counts.
    entities
        Which entities; by default all that are in `counts`.

    Returns
    -------
    Cube
        The entities, sorted, and every step from first to last.

    Raises
    ------
    ValueError
        If there are no counts.
    """
    placed = _Placement.of(counts, step, first, last, entities)
    exposure, cells = placed.expose(counts)
    values = np.zeros((*exposure.shape, len(vocabulary.features)), np.float32)
    _fill_shares(values, exposure, counts, vocabulary, placed)
    _fill_scalars(values, exposure, cells, vocabulary)
    values[exposure == 0] = np.nan
    return Cube(
        values=values,
        exposure=exposure,
        entities=tuple(placed.entities),
        steps=placed.steps.to_numpy().astype("datetime64[D]"),
        features=vocabulary.names,
        blocks=vocabulary.blocks,
        step=step,
    )


def build_exposure(
    counts: Counts, *, step: Step, first: date | None = None, last: date | None = None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return all entities, sorted, and the events of each in each step, int64 ``(E, S)``.

    This is what `build_cube` would hold as its exposure, without the features: enough to tell
    which entities have windows at all, before a cube is made of those alone.

    Raises
    ------
    ValueError
        If there are no counts.
    """
    placed = _Placement.of(counts, step, first, last, None)
    return tuple(placed.entities), placed.expose(counts)[0]


@dataclass(frozen=True)
class _Cells:
    """Rows of a table and where in the cube each belongs."""

    rows: pl.DataFrame
    e: NDArray[Any]
    s: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class _Placement:
    """Which entities and steps a cube has, and so where each count belongs."""

    entities: pl.Series
    steps: pl.Series

    @classmethod
    def of(
        cls,
        counts: Counts,
        step: Step,
        first: date | None,
        last: date | None,
        entities: Sequence[str] | None,
    ) -> "_Placement":
        totals = counts.totals
        if totals.is_empty():
            msg = "no events to encode: got empty counts; check that the events carry this entity"
            raise ValueError(msg)
        start = pl.col("step_start")
        earliest, latest = totals.select(start.min().alias("min"), start.max().alias("max")).row(0)
        names = totals["entity"] if entities is None else pl.Series(entities, dtype=pl.String)
        return cls(
            entities=names.unique().sort(),
            steps=step_range(first or earliest, last or latest, step),
        )

    def expose(self, counts: Counts) -> tuple[NDArray[np.int64], _Cells]:
        exposure = np.zeros((len(self.entities), len(self.steps)), np.int64)
        cells = self.locate(counts.totals)
        exposure[cells.e, cells.s] = cells.rows["n_events"].to_numpy()
        return exposure, cells

    def locate(self, table: pl.DataFrame) -> _Cells:
        """Find the cell of each row; rows outside the steps are dropped."""
        order = pl.DataFrame({"entity": self.entities}).with_row_index("_e")
        when = pl.DataFrame({"step_start": self.steps}).with_row_index("_s")
        rows = table.join(order, on="entity").join(when, on="step_start")
        return _Cells(rows, rows["_e"].to_numpy(), rows["_s"].to_numpy())


def _fill_shares(
    values: NDArray[np.float32],
    exposure: NDArray[np.int64],
    counts: Counts,
    vocabulary: Vocabulary,
    placed: _Placement,
) -> None:
    """Add up the counts of each feature, then divide them by the events in the step.

    Counts are added in slices, so that little is held beside the cube; float32 holds every
    count below 2**24 exactly, and the division is done in float64.
    """
    name = vocabulary.config.ontology
    blocks = [
        (block, field, positions)
        for block, field in _FIELD_OF_BLOCK.items()
        if (positions := vocabulary.positions(block))
    ]
    for rows in counts.categories.iter_slices(_ROWS_AT_ONCE):
        for block, field, positions in blocks:
            of_field = rows.filter(pl.col("field") == field)
            cells = placed.locate(_by_position(of_field, _position(block, positions, name)))
            position = cells.rows["position"].to_numpy()
            values[cells.e, cells.s, position] += cells.rows["n_events"].to_numpy()
    np.divide(
        values,
        exposure[..., None],
        out=values,
        where=exposure[..., None] > 0,
        casting="same_kind",
    )


def _by_position(rows: pl.DataFrame, position: pl.Expr) -> pl.DataFrame:
    return (
        rows.with_columns(position=position)
        .filter(pl.col("position").is_not_null())
        .group_by("entity", "step_start", "position")
        .agg(pl.col("n_events").sum())
    )


def _position(block: Block, positions: dict[str, int], name: OntologyName) -> pl.Expr:
    """Return the feature of a category; event codes outside the vocabulary are ``other``."""
    category = pl.col("category")
    if block in {"quad", "root"}:
        table = ontology(name).table
        category = category.replace_strict(table["code"], table[block], default=None)
    default = positions[OTHER] if block == "event_type" else None
    return category.replace_strict(positions, default=default, return_dtype=pl.UInt32)


def _fill_scalars(
    values: NDArray[np.float32],
    exposure: NDArray[np.int64],
    cells: _Cells,
    vocabulary: Vocabulary,
) -> None:
    for position in vocabulary.positions("intensity").values():
        # Without any intensity the sum is 0, and so is the mean, halfway between -10 and 10.
        n = np.maximum(cells.rows["n_intensities"].to_numpy(), 1)
        mean = cells.rows["intensity_sum"].to_numpy() / (INTENSITY_UNITS * n)
        values[cells.e, cells.s, position] = (mean + 10) / 20
    for position in vocabulary.positions("log_volume").values():
        values[:, :, position] = np.log1p(exposure)
