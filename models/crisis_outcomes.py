"""What is known of dated events, and what a comparison of scores with them says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

__all__ = [
    "DatedEvent",
    "EventOutcome",
    "EventRecall",
    "KindRecall",
    "MeanPercentile",
    "Status",
    "TopRecall",
]

Status = Literal["scored", "no_such_entity", "too_few_rows", "outside_series", "series_too_short"]
"""Whether an event could be judged, and what stood in the way."""


@dataclass(frozen=True, kw_only=True)
class DatedEvent:
    """Something that is known to have happened to an entity.

    Attributes
    ----------
    id
        What the caller knows it by.
    entity
        Name of its entity, as the series are named.
    start, end
        First and last day.
    kind
        What it is broken down by; None leaves it out of the breakdown.
    label
        In words.

    Raises
    ------
    ValueError
        If it ends before it starts.
    """

    id: str
    entity: str
    start: date
    end: date
    kind: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(
                f"event {self.id} ({self.entity}) ends on {self.end}, before its start on "
                f"{self.start}; end is the last day"
            )


@dataclass(frozen=True, kw_only=True)
class TopRecall:
    """Events that have a row among the highest of their entity, beside what chance finds.

    Attributes
    ----------
    top
        Per cent of an entity's rows.
    counted
        Per cent that these are on average, as at least one row and whole rows are taken.
    hits, recall
        How many of the scored events have such a row in their interval, and their share.
    chance, chance_sd
        The same share with the intervals moved at random, and how it varies.
    lift
        Recall over chance; None where chance finds nothing.
    lift_interval
        Bootstrap over events: 2.5 % and 97.5 %.
    p_value
        Share of the random moves that reach the recall, the data counted as one of them.
    placebo
        Recall at the same dates in the entities that had no event then; None without any. A
        score that only follows something worldwide is no better than this.
    placebo_lift
        Recall over it.
    """

    top: float
    counted: float
    hits: int
    recall: float
    chance: float
    chance_sd: float
    lift: float | None
    lift_interval: tuple[float, float] | None
    p_value: float
    placebo: float | None
    placebo_lift: float | None


@dataclass(frozen=True, kw_only=True)
class MeanPercentile:
    """A percentile rank, 0…1, averaged over events, beside the same under random moves."""

    value: float
    chance: float
    chance_sd: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class KindRecall:
    """Recall of one kind of event in the last of the top shares.

    Attributes
    ----------
    n_events
        Scored events of this kind.
    recall, chance, lift
        As in `TopRecall`.
    best
        Mean percentile rank of the highest row in the interval.
    """

    n_events: int
    recall: float
    chance: float
    lift: float | None
    best: float


@dataclass(frozen=True, kw_only=True)
class EventOutcome:
    """What became of one event.

    Attributes
    ----------
    event
        The event.
    status
        Whether it was scored; if not, why, and all below but `n_series_rows` is empty.
    n_series_rows
        Rows of its entity.
    n_rows
        Rows of them that overlap the event's interval.
    hits
        `(K,)`: whether one of these is in each top share.
    chance, placebo
        `(K,)`: share of random moves, and of entities without an event then, with such a row;
        placebo is None without such entities.
    best, mean
        Percentile ranks, 0…1, of the highest row in the interval and of all, averaged.
    first_hit
        Start of the earliest row that is in the last top share.
    """

    event: DatedEvent
    status: Status
    n_series_rows: int = 0
    n_rows: int = 0
    hits: tuple[bool, ...] = ()
    chance: tuple[float, ...] = ()
    placebo: tuple[float | None, ...] = ()
    best: float | None = None
    mean: float | None = None
    first_hit: date | None = None


@dataclass(frozen=True, kw_only=True)
class EventRecall:
    """How well scores find dated events.

    Attributes
    ----------
    n_events, n_scored, n_entities
        Events given, events that could be judged, and entities of these.
    not_scored
        How many events could not be judged, by why.
    median_rows, median_series_rows
        Rows in the interval of a scored event and in its entity's series; None without any.
    n_constant
        Scored events whose entity has the same score throughout.
    tops
        A result for each top share; empty without a scored event, as is `by_kind`.
    best_percentile, mean_percentile
        Of the highest row in the interval, and of all rows in it.
    by_kind
        The last top share by kind of event.
    outcomes
        Every event, in order of date, scored or not.
    """

    n_events: int
    n_scored: int
    n_entities: int
    not_scored: Mapping[Status, int]
    median_rows: float | None
    median_series_rows: float | None
    n_constant: int
    tops: tuple[TopRecall, ...]
    best_percentile: MeanPercentile | None
    mean_percentile: MeanPercentile | None
    by_kind: Mapping[str, KindRecall]
    outcomes: tuple[EventOutcome, ...]
