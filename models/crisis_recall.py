"""Whether scores peak where something is known to have happened, and how surely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.crisis_outcomes import DatedEvent, EventOutcome, EventRecall, Status
from models.crisis_summary import Chance, summarise
from models.random_moves import RandomMoves, draw_moves
from models.ranked_series import EntitySeries, RankedSeries, rank_series

__all__ = ["DatedEvent", "EntitySeries", "EventRecall", "evaluate_events"]

_DAYS_BEFORE_SERIES = 3  # that an event may start earlier


def evaluate_events(
    series: Sequence[EntitySeries],
    events: Sequence[DatedEvent],
    *,
    tops: Sequence[float] = (1, 2, 5),
    after_days: int = 7,
    repetitions: int = 200,
    seed: int = 0,
    min_rows: int = 30,
) -> EventRecall:
    """Compare scores with dated events, and with what chance and other entities would find.

    Each event is looked for in the rows of its entity that overlap the time from its start to
    `after_days` after its end. It is found in the top k % if one of them is among the highest
    k % of that entity's own rows; ties count against the score. The order of series, rows and
    events is irrelevant, and so are scores by more than their order.

    Parameters
    ----------
    series
        Scores, named as the events name their entities. Entities without events serve the
        placebo. Of rows with the same entity and interval the highest counts.
    events
        Whatever their order, they are judged in that of start and entity.
    tops
        Per cent of an entity's rows that count as its top; the last is broken down by kind.
    after_days
        Days after an event's end that still count.
    repetitions
        Random moves of the events, in whole steps and all events of an entity together.
    seed
        Of the moves; that of the bootstrap is one more.
    min_rows
        An entity with fewer rows isn't judged.

    Returns
    -------
    EventRecall

    Raises
    ------
    ValueError
        If there are no events or a setting is out of its range.

    Examples
    --------
    >>> from datetime import date
    >>> start = np.arange("2018-01-01", "2019-12-01", 7, "datetime64[D]")
    >>> score = np.random.default_rng(0).normal(size=len(start))
    >>> score[48] = 9
    >>> mali = EntitySeries(name="Mali", start=start, end=start + 7, score=score)
    >>> event = DatedEvent(id="1", entity="Mali", start=date(2018, 12, 4), end=date(2018, 12, 4))
    >>> recall = evaluate_events([mali], [event], tops=(2,))
    >>> recall.tops[0].recall, round(recall.tops[0].chance, 2), recall.outcomes[0].first_hit
    (1.0, 0.01, datetime.date(2018, 12, 3))
    """
    _validate(events, tops, after_days, repetitions, min_rows)
    ordered = sorted(events, key=lambda event: (event.start, event.entity, event.end, event.id))
    parts: dict[str, list[EntitySeries]] = {}
    for one in series:
        parts.setdefault(one.name, []).append(one)
    ranked = {name: rank_series(same, tops) for name, same in parts.items()}
    question = _Question(
        events=ordered,
        series={name: one for name, one in ranked.items() if one is not None},
        without_rows=frozenset(name for name, one in ranked.items() if one is None),
        first=np.array([event.start for event in ordered], "datetime64[D]").astype(np.int64),
        stop=np.array([event.end for event in ordered], "datetime64[D]").astype(np.int64)
        + (after_days + 1),
        tops=tuple(tops),
        min_rows=min_rows,
    )
    outcomes, chance = _judge(question, repetitions, seed)
    return summarise(outcomes, chance, question.series, tops=question.tops, seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Question:
    """M events in order and the series that may answer, by entity.

    `first` and `stop`, `(M,)`, are the days of the intervals that are looked at, half open;
    `without_rows` names entities that are there but have no row.
    """

    events: Sequence[DatedEvent]
    series: Mapping[str, RankedSeries]
    without_rows: frozenset[str]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]
    tops: tuple[float, ...]
    min_rows: int

    @property
    def own(self) -> dict[str, NDArray[np.int64]]:
        """Positions of the events of each entity."""
        names = np.array([event.entity for event in self.events])
        return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}

    def status(self, event: int) -> Status:
        """Return whether an event can be judged."""
        entity = self.events[event].entity
        series = self.series.get(entity)
        first, stop = int(self.first[event]), int(self.stop[event])
        if series is None:
            return "too_few_rows" if entity in self.without_rows else "no_such_entity"
        if len(series) < self.min_rows:
            return "too_few_rows"
        is_inside = series.first - _DAYS_BEFORE_SERIES <= first < series.stop
        if not is_inside or not ((series.start < stop) & (series.end > first)).any():
            return "outside_series"
        is_long = series.stop - series.first > 2 * (stop - first)
        return "scored" if is_long else "series_too_short"


def _judge(
    question: _Question, repetitions: int, seed: int
) -> tuple[tuple[EventOutcome, ...], Chance]:
    """Return each event's outcome, and what chance finds of those that are scored."""
    generator = np.random.default_rng(seed)
    longest = {
        name: int((question.stop - question.first)[own].max()) for name, own in question.own.items()
    }
    placebo = _placebo(question)
    moves: dict[str, RandomMoves] = {}
    outcomes, chance = [], []
    for i, event in enumerate(question.events):
        status, series = question.status(i), question.series.get(event.entity)
        if series is None or status != "scored":
            n_rows = 0 if series is None else len(series)
            outcomes.append(EventOutcome(event=event, status=status, n_series_rows=n_rows))
            continue
        if event.entity not in moves:
            moves[event.entity] = draw_moves(series, longest[event.entity], repetitions, generator)
        first, stop = int(question.first[i]), int(question.stop[i])
        chance.append(moves[event.entity].look(series, first, stop, generator))
        outcomes.append(_outcome(event, series, first, stop, chance[-1].hit, placebo[i]))
    shape = (len(chance), repetitions)
    return tuple(outcomes), Chance(
        hit=np.reshape([looks.hit for looks in chance], (*shape, len(question.tops))).astype(bool),
        best=np.reshape([looks.best for looks in chance], shape),
        mean=np.reshape([looks.mean for looks in chance], shape),
    )


def _outcome(
    event: DatedEvent,
    series: RankedSeries,
    first: int,
    stop: int,
    moved_hit: NDArray[np.bool_],
    placebo: NDArray[np.float64],
) -> EventOutcome:
    looks = series.look(np.array([first]), np.array([stop]))
    return EventOutcome(
        event=event,
        status="scored",
        n_series_rows=len(series),
        n_rows=int(looks.n_rows[0]),
        hits=tuple(looks.hit[0].tolist()),
        chance=tuple(moved_hit.mean(axis=0).tolist()),
        placebo=tuple(None if np.isnan(share) else float(share) for share in placebo),
        best=float(looks.best[0]),
        mean=float(looks.mean[0]),
        first_hit=series.first_hit(first, stop),
    )


def _placebo(question: _Question) -> NDArray[np.float64]:
    """Return the share, `(M, K)`, of the other entities that have a top row at the same dates.

    NaN where all of them have an event then or no row.
    """
    first, stop, own = question.first, question.stop, question.own
    hits = np.zeros((len(first), len(question.tops)))
    n_entities = np.zeros(len(first))
    for name, series in question.series.items():
        if len(series) < question.min_rows:
            continue
        looks = series.look(first, stop)
        counts = (looks.n_rows > 0) & (first >= series.first) & (stop <= series.stop + 1)
        if name in own:
            is_busy = (first[own[name]] < stop[:, None]) & (stop[own[name]] > first[:, None])
            counts &= ~is_busy.any(axis=1)
        hits += looks.hit & counts[:, None]
        n_entities += counts
    return hits / np.where(n_entities > 0, n_entities, np.nan)[:, None]


def _validate(
    events: Sequence[DatedEvent],
    tops: Sequence[float],
    after_days: int,
    repetitions: int,
    min_rows: int,
) -> None:
    if not events:
        raise ValueError("there are no events; give at least one to look for")
    if not tops or len(set(tops)) < len(tops) or not all(0 < top <= 100 for top in tops):
        raise ValueError(
            f"tops is {tuple(tops)}; expected different per cents above 0 and up to 100, at "
            "least one"
        )
    for name, value, least in (
        ("after_days", after_days, 0),
        ("repetitions", repetitions, 1),
        ("min_rows", min_rows, 1),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
