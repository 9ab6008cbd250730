"""Proportions of all entities, a year of steps at a time, made of that year's counts alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from features.aggregate import EVERY, Counts, Step, step_range
from features.cube import Cube, build_cube, build_exposure
from features.vocabulary import Vocabulary
from flows.partitions import write_parquet, year_file

_SLAB_VALUES: Final = 1 << 24
NAME: Final = "proportions"
NO_COUNTS: Final = Counts(
    totals=pl.DataFrame(schema={"entity": pl.String, "step_start": pl.Date}),
    categories=pl.DataFrame(schema={"entity": pl.String, "step_start": pl.Date}),
)


@dataclass(frozen=True, kw_only=True)
class StepBounds:
    """The first days of the first and of the last step of a lake's counts."""

    first: date
    last: date

    @classmethod
    def of(cls, parts: Sequence[Counts]) -> "StepBounds":
        """Return the bounds of counts, of which at least one has events."""
        start = pl.concat([part.totals["step_start"] for part in parts])
        first, last = start.min(), start.max()
        assert isinstance(first, date)
        assert isinstance(last, date)
        return cls(first=first, last=last)

    def years(self) -> range:
        """Return the years that have steps."""
        return range(self.first.year, self.last.year + 1)

    def steps(self, step: Step) -> list[date]:
        """Return the first days of all steps."""
        found: list[date] = step_range(self.first, self.last, step).to_list()
        return found


def end_of(start: date, step: Step) -> date:
    """Return the last day of the step that starts on a day."""
    after = pl.select(pl.lit(start).dt.offset_by(EVERY[step])).item()
    last: date = after - timedelta(days=1)
    return last


def write_year(
    counts: Counts,
    vocabulary: Vocabulary,
    step: Step,
    year: int,
    bounds: StepBounds,
    folder: Path,
    provenance: dict[str, Any],
) -> int:
    """Write the proportions of every entity that has events in a year's steps.

    Every step of the year within the bounds is a row of each of them, empty ones included.

    Parameters
    ----------
    counts
        At least those of the year's steps; others are left out.
    vocabulary, step, bounds
        What is encoded, and which steps there are.
    folder
        The version that is being written.

    Returns
    -------
    int
        The number of rows; 0, and no file, for a year without events.
    """
    path = year_file(folder, NAME, year)
    path.unlink(missing_ok=True)
    inside = pl.col("step_start").dt.year() == year
    own = Counts(totals=counts.totals.filter(inside), categories=counts.categories.filter(inside))
    if own.totals.is_empty():
        return 0
    path.parent.mkdir(exist_ok=True)
    parts = _slabs(own, vocabulary, step, _steps_in(year, bounds, step))
    return write_parquet(parts, path, provenance | {"dataset": NAME})


def _steps_in(year: int, bounds: StepBounds, step: Step) -> tuple[date, date]:
    every = step_range(date(year, 1, 1), date(year, 12, 31), step)
    steps = every.filter((every.dt.year() == year) & every.is_between(bounds.first, bounds.last))
    return steps[0], steps[-1]


def _slabs(
    counts: Counts, vocabulary: Vocabulary, step: Step, steps: tuple[date, date]
) -> Iterator[pa.Table]:
    """Encode all entities, as many at a time as make about 64 MB."""
    first, last = steps
    entities, exposure = build_exposure(counts, step=step, first=first, last=last)
    at_once = max(1, _SLAB_VALUES // (exposure.shape[1] * len(vocabulary.features)))
    for start in range(0, len(entities), at_once):
        chosen = entities[start : start + at_once]
        cube = build_cube(counts, vocabulary, step=step, first=first, last=last, entities=chosen)
        yield proportions_table(cube)


def write_years(years: Iterable[int], counts: Counts, **how: Any) -> int:
    """Write the proportions of several years; return the rows. See `write_year`."""
    return sum(write_year(counts, year=year, **how) for year in years)


def proportions_table(cube: Cube) -> pa.Table:
    """Return the proportions, one row an entity and step, empty steps included."""
    table = cube.proportions()
    steps = with_step_end(cube, table.select("entity", "step_start", "n_events"))
    return to_arrow(pl.concat([steps, table.drop(steps.columns, strict=False)], how="horizontal"))


def step_ends(cube: Cube) -> pl.Series:
    """Return the last day of each step."""
    starts = pl.DataFrame({"step": pl.Series(cube.steps).cast(pl.Date)})
    return starts.select(
        pl.col("step").dt.offset_by(EVERY[cube.step]).dt.offset_by("-1d")
    ).to_series()


def with_step_end(cube: Cube, table: pl.DataFrame) -> pl.DataFrame:
    """Return the key, last day and exposure of each cell of a cube."""
    ends = step_ends(cube).gather(np.tile(np.arange(len(cube.steps)), len(cube.entities)))
    return table.select("entity", "step_start", pl.Series("step_end", ends), "n_events")


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """Convert to Arrow, with plain strings for polars' large ones."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))
