"""Summing up what became of dated events: recall, lift, percentiles."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.crisis_outcomes import (
    DatedEvent,
    EventOutcome,
    EventRecall,
    KindRecall,
    MeanPercentile,
    TopRecall,
)
from models.ranked_series import RankedSeries

__all__ = ["Chance", "DatedEvent", "EventOutcome", "summarise"]

_BOOTSTRAPS = 2000
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Chance:
    """What R random moves of M events find.

    Attributes
    ----------
    hit
        bool `(M, R, K)`: whether a row in each top share.
    best, mean
        `(M, R)`: percentile rank of the highest row and mean of all; NaN where there was none.
    """

    hit: NDArray[np.bool_]
    best: NDArray[np.float64]
    mean: NDArray[np.float64]


def summarise(
    outcomes: tuple[EventOutcome, ...],
    chance: Chance,
    series: Mapping[str, RankedSeries],
    *,
    tops: tuple[float, ...],
    seed: int,
) -> EventRecall:
    """Sum up M scored events of all, beside what chance finds of them.

    Parameters
    ----------
    outcomes
        Of all events, in order of date.
    chance
        Of the scored ones, in this order.
    series
        By entity.
    tops
        K top shares in per cent.
    seed
        The bootstrap's is one more.

    Returns
    -------
    EventRecall

    Examples
    --------
    >>> from datetime import date
    >>> event = DatedEvent(id="1", entity="Mali", start=date(2018, 8, 1), end=date(2018, 8, 5))
    >>> lost = EventOutcome(event=event, status="no_such_entity")
    >>> none = np.zeros((0, 200))
    >>> chance = Chance(hit=np.zeros((0, 200, 1), bool), best=none, mean=none)
    >>> dict(summarise((lost,), chance, {}, tops=(5,), seed=0).not_scored)
    {'no_such_entity': 1}
    """
    scored = [one for one in outcomes if one.status == "scored"]
    ranked = [series[one.event.entity] for one in scored]
    return EventRecall(
        n_events=len(outcomes),
        n_scored=len(scored),
        n_entities=len({one.event.entity for one in scored}),
        not_scored=Counter(one.status for one in outcomes if one.status != "scored"),
        median_rows=_median([one.n_rows for one in scored]),
        median_series_rows=_median([one.n_series_rows for one in scored]),
        n_constant=sum(one.is_constant for one in ranked),
        tops=_top_recalls(scored, ranked, chance.hit, tops, seed),
        best_percentile=_mean_percentile([one.best for one in scored], chance.best),
        mean_percentile=_mean_percentile([one.mean for one in scored], chance.mean),
        by_kind=_by_kind(scored),
        outcomes=outcomes,
    )


def _median(values: Sequence[int]) -> float | None:
    return float(np.median(values)) if values else None


def _top_recalls(
    scored: Sequence[EventOutcome],
    ranked: Sequence[RankedSeries],
    moved_hit: NDArray[np.bool_],
    tops: Sequence[float],
    seed: int,
) -> tuple[TopRecall, ...]:
    """Sum up each top share; `ranked` are the series of the scored events, none if there are none.

    The bootstrap draws the same events for all of them.
    """
    n_events = len(scored)
    if n_events == 0:
        return ()
    drawn = np.random.default_rng(seed + 1).integers(0, n_events, (_BOOTSTRAPS, n_events))
    counted = [[100 * one.top_rows[k] / len(one) for one in ranked] for k in range(len(tops))]
    return tuple(
        _top_recall(
            scored, moved_hit[:, :, k], drawn, k=k, top=top, counted=float(np.mean(counted[k]))
        )
        for k, top in enumerate(tops)
    )


def _top_recall(
    scored: Sequence[EventOutcome],
    moved_hit: NDArray[np.bool_],
    drawn: NDArray[np.int64],
    *,
    k: int,
    top: float,
    counted: float,
) -> TopRecall:
    """Sum up top share k; `moved_hit` is `(M, R)`, `drawn` `(B, M)` the bootstrap's events."""
    hit = np.array([one.hits[k] for one in scored], np.float64)
    chance = moved_hit.mean(axis=1)
    placebo = [share for one in scored if (share := one.placebo[k]) is not None]
    recall, expected, by_move = float(hit.mean()), float(chance.mean()), moved_hit.mean(axis=0)
    found_elsewhere = float(np.mean(placebo)) if placebo else None
    lifts = hit[drawn].mean(axis=1) / np.maximum(chance[drawn].mean(axis=1), _ROUNDING)
    low, high = np.quantile(lifts, [0.025, 0.975]).tolist()
    return TopRecall(
        top=top,
        counted=counted,
        hits=int(hit.sum()),
        recall=recall,
        chance=expected,
        chance_sd=float(by_move.std()),
        lift=recall / expected if expected > 0 else None,
        lift_interval=(low, high) if expected > 0 else None,
        p_value=_p_value(recall, by_move),
        placebo=found_elsewhere,
        placebo_lift=recall / found_elsewhere if found_elsewhere else None,
    )


def _mean_percentile(
    values: Sequence[float | None], moved: NDArray[np.float64]
) -> MeanPercentile | None:
    """Compare a mean over events with that of each move; `moved` is `(M, R)`."""
    if not values or np.isnan(moved).all():
        return None
    value = float(np.mean(np.array(values, np.float64)))
    by_move = np.nanmean(moved[:, ~np.isnan(moved).all(axis=0)], axis=0)
    return MeanPercentile(
        value=value,
        chance=float(np.nanmean(moved)),
        chance_sd=float(by_move.std()),
        p_value=_p_value(value, by_move),
    )


def _p_value(value: float, by_move: NDArray[np.float64]) -> float:
    return float((1 + (by_move >= value - _ROUNDING).sum()) / (1 + len(by_move)))


def _by_kind(scored: Sequence[EventOutcome]) -> dict[str, KindRecall]:
    kinds: dict[str, list[EventOutcome]] = {}
    for outcome in scored:
        if outcome.event.kind is not None:
            kinds.setdefault(outcome.event.kind, []).append(outcome)
    return {kind: _kind_recall(same) for kind, same in sorted(kinds.items())}


def _kind_recall(same: Sequence[EventOutcome]) -> KindRecall:
    recall = float(np.mean([one.hits[-1] for one in same]))
    chance = float(np.mean([one.chance[-1] for one in same]))
    return KindRecall(
        n_events=len(same),
        recall=recall,
        chance=chance,
        lift=recall / chance if chance > 0 else None,
        best=float(np.mean([one.best for one in same if one.best is not None])),
    )
