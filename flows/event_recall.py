"""Dated events and scores of a cube, brought together."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.aggregate import EVERY
from features.cube import Cube
from features.dated_events import DatedEvents, match_entities
from models.crisis_outcomes import DatedEvent, EventRecall
from models.crisis_recall import evaluate_events
from models.ranked_series import EntitySeries
from models.volume_matching import volume_matched


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What scores find of dated events: as they are, and against steps of as many events."""

    plain: EventRecall
    matched: EventRecall


@dataclass(frozen=True, kw_only=True, eq=False)
class CubeJudge:
    """Judges scores ``(E, S)`` of a cube by dated events.

    Attributes
    ----------
    names
        Of the cube's entities, those of the events where they are the same.
    starts, ends
        datetime64[D] ``(S,)``: first day of each step, and of the one after it.
    exposure
        int64 ``(E, S)``.
    events
        All of them.
    """

    names: tuple[str, ...]
    starts: NDArray[np.datetime64]
    ends: NDArray[np.datetime64]
    exposure: NDArray[np.int64]
    events: tuple[DatedEvent, ...]

    @classmethod
    def of(cls, cube: Cube, events: DatedEvents) -> Self:
        """Match the events' entities with the cube's."""
        found = match_entities(cube.entities, events).names
        steps = pl.DataFrame({"step": pl.Series(cube.steps).cast(pl.Date)})
        ends = steps.select(pl.col("step").dt.offset_by(EVERY[cube.step])).to_series()
        return cls(
            names=tuple(found.get(entity, entity) for entity in cube.entities),
            starts=cube.steps,
            ends=ends.to_numpy().astype("datetime64[D]"),
            exposure=cube.exposure,
            events=dated_events(events),
        )

    def judge(
        self,
        scores: NDArray[np.floating[Any]],
        steps: slice,
        *,
        repetitions: int,
        min_rows: int = 30,
    ) -> Recalled:
        """Return what the scores of some steps find; steps without a score are left out."""
        series = []
        for entity, name in enumerate(self.names):
            of_entity = scores[entity, steps].astype(np.float64)
            known = ~np.isnan(of_entity)
            if not known.any():
                continue
            series.append(
                EntitySeries(
                    name=name,
                    start=self.starts[steps][known],
                    end=self.ends[steps][known],
                    score=of_entity[known],
                    n_events=self.exposure[entity, steps][known].astype(np.float64),
                )
            )
        plain, matched = (
            evaluate_events(some, self.events, repetitions=repetitions, min_rows=min_rows)
            for some in (series, volume_matched(series).series)
        )
        return Recalled(plain=plain, matched=matched)


def dated_events(events: DatedEvents) -> tuple[DatedEvent, ...]:
    """Return the events of a table."""
    columns = events.table.select("id", "entity", "start", "end", "kind", "label")
    return tuple(DatedEvent(**row) for row in columns.iter_rows(named=True))
