"""Slow, obvious oracle of recall on dated events, and its figures as one flat table.

Everything is written out event by event, move by move and row by row. Only the random draws are
those of the fast code, in its order, so that chance can be compared to the last digit. The same
table is made of what a script of another hand says, where it is there.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from statistics import NormalDist, mean, median, pstdev
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.crisis_outcomes import DatedEvent, EventRecall
from models.ranked_series import EntitySeries

if TYPE_CHECKING:
    import pandas as pd

SCRIPT = Path(__file__).parents[2] / "shared" / "eval" / "eval_crises.py"
WHY = f"no script to compare with at {SCRIPT}" + (": CI has none" if os.environ.get("CI") else "")
Row = tuple[int, int, float]
Figures = dict[str, float | str | None]
EPOCH = date(1970, 1, 1)


def figures(recall: EventRecall) -> Figures:
    """Every number that a comparison says, by name."""
    found: Figures = {
        "n_events": recall.n_events,
        "n_scored": recall.n_scored,
        "n_entities": recall.n_entities,
        "n_constant": recall.n_constant,
        "median_rows": recall.median_rows,
        "median_series_rows": recall.median_series_rows,
    }
    for status, count in recall.not_scored.items():
        found[f"not scored: {status}"] = count
    for one in recall.tops:
        for name in ("counted", "hits", "recall", "chance", "chance_sd", "lift", "p_value"):
            found[f"top {one.top} {name}"] = getattr(one, name)
        low, high = one.lift_interval or (None, None)
        found |= {f"top {one.top} low": low, f"top {one.top} high": high}
        found |= {f"top {one.top} placebo": one.placebo}
        found |= {f"top {one.top} placebo_lift": one.placebo_lift}
    for name in ("best", "mean"):
        percentile = getattr(recall, f"{name}_percentile")
        for part in ("value", "chance", "chance_sd", "p_value") if percentile else ():
            found[f"{name} percentile {part}"] = getattr(percentile, part)
    for kind, kind_recall in recall.by_kind.items():
        for name in ("n_events", "recall", "chance", "lift", "best"):
            found[f"{kind} {name}"] = getattr(kind_recall, name)
    for outcome in recall.outcomes:
        name = f"event {outcome.event.id}"
        found[f"{name} status"] = outcome.status
        if outcome.status != "scored":
            continue
        found[f"{name} n_rows"] = outcome.n_rows
        found[f"{name} n_series_rows"] = outcome.n_series_rows
        found[f"{name} best"], found[f"{name} mean"] = outcome.best, outcome.mean
        found[f"{name} first_hit"] = str(outcome.first_hit or "")
        for k, one in enumerate(recall.tops):
            found[f"{name} top {one.top} hit"] = outcome.hits[k]
            found[f"{name} top {one.top} chance"] = outcome.chance[k]
            found[f"{name} top {one.top} placebo"] = outcome.placebo[k]
    return found


def assert_same(got: Figures, wanted: Figures) -> None:
    """Check that two tables of figures are the same but for rounding errors."""
    differing = {
        name: (got.get(name, "absent"), wanted.get(name, "absent"))
        for name in sorted(got.keys() | wanted.keys())
        if not is_same(got.get(name, "absent"), wanted.get(name, "absent"))
    }
    assert not differing, f"got and wanted: {differing}"


def is_same(got: float | str | None, wanted: float | str | None) -> bool:
    if isinstance(got, str) or isinstance(wanted, str) or got is None or wanted is None:
        return got == wanted
    return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9)


class Series:
    """Rows of one entity; those with the same interval are one, with the highest score."""

    def __init__(self, parts: Sequence[EntitySeries]) -> None:
        highest: dict[tuple[int, int], float] = {}
        for part in parts:
            for start, end, score in zip(part.start, part.end, part.score, strict=True):
                key = (int(start.astype(int)), int(end.astype(int)))
                highest[key] = max(highest.get(key, -math.inf), float(score))
        self.rows: list[Row] = [(*key, score) for key, score in sorted(highest.items())]
        self.first = min((row[0] for row in self.rows), default=0)
        self.stop = max((row[1] for row in self.rows), default=0)
        starts = sorted({row[0] for row in self.rows})
        gaps = [late - early for early, late in itertools.pairwise(starts)]
        self.step = max(1, int(median(gaps))) if gaps else 1

    def overlapping(self, first: int, stop: int) -> list[Row]:
        return [row for row in self.rows if row[0] < stop and row[1] > first]

    def percentile(self, score: float) -> float:
        lower = sum(row[2] < score for row in self.rows)
        equal = sum(row[2] == score for row in self.rows)
        return (lower + equal / 2) / len(self.rows)

    def n_top(self, top: float) -> int:
        return max(1, math.floor(top / 100 * len(self.rows) + 0.5))

    def is_top(self, score: float, top: float) -> bool:
        return sum(row[2] >= score for row in self.rows) <= self.n_top(top)

    def is_hit(self, first: int, stop: int, top: float) -> bool:
        return any(self.is_top(row[2], top) for row in self.overlapping(first, stop))


class Oracle:
    """A comparison of scores with events, in loops."""

    def __init__(
        self,
        series: Sequence[EntitySeries],
        events: Sequence[DatedEvent],
        *,
        tops: Sequence[float],
        after_days: int,
        repetitions: int,
        seed: int,
        min_rows: int,
    ) -> None:
        self.events = sorted(events, key=lambda one: (one.start, one.entity, one.end, one.id))
        names = {one.name for one in series}
        all_series = {name: Series([one for one in series if one.name == name]) for name in names}
        self.series = {name: one for name, one in all_series.items() if one.rows}
        self.given = names
        self.tops, self.after_days, self.min_rows = tops, after_days, min_rows
        self.repetitions, self.seed = repetitions, seed
        self.generator = np.random.default_rng(seed)
        self.moves: dict[str, list[int]] = {}
        self.moved = [
            [self.rows_after(event, move) for move in range(repetitions)]
            if self.status(event) == "scored"
            else []
            for event in self.events
        ]

    def interval(self, event: DatedEvent) -> tuple[int, int]:
        return (event.start - EPOCH).days, (event.end - EPOCH).days + self.after_days + 1

    def status(self, event: DatedEvent) -> str:
        first, stop = self.interval(event)
        series = self.series.get(event.entity)
        if event.entity not in self.given:
            return "no_such_entity"
        if series is None:
            return "too_few_rows"
        if len(series.rows) < self.min_rows:
            return "too_few_rows"
        if first < series.first - 3 or first >= series.stop:
            return "outside_series"
        if not series.overlapping(first, stop):
            return "outside_series"
        return "scored" if series.stop - series.first > 2 * (stop - first) else "series_too_short"

    def moves_of(self, entity: str) -> list[int]:
        """Whole steps: none so small or large that an event would meet itself."""
        if entity not in self.moves:
            series = self.series[entity]
            lengths = [
                stop - first
                for first, stop in (
                    self.interval(one) for one in self.events if one.entity == entity
                )
            ]
            n_steps = max(1, (series.stop - series.first) // series.step)
            least = min(math.ceil(max(lengths) / series.step) + 1, n_steps // 4)
            most = max(least, n_steps - least)
            drawn = self.generator.integers(least, most + 1, self.repetitions)
            self.moves[entity] = drawn.tolist()
        return self.moves[entity]

    def rows_after(self, event: DatedEvent, move: int) -> list[Row]:
        """The rows that the event's interval meets after a move."""
        series, (first, stop) = self.series[event.entity], self.interval(event)
        room = series.stop - series.first - (stop - first)
        offset = first - series.first
        moved = (offset + self.moves_of(event.entity)[move] * series.step) % (room + 1)
        while (moved - offset) % series.step:
            moved -= 1
        begin = series.first + max(moved, 0)
        for _ in range(20):
            if series.overlapping(begin, begin + stop - first):
                break
            begin = series.first + int(self.generator.integers(room + 1))
        return series.overlapping(begin, begin + stop - first)

    def placebo(self, event: DatedEvent, top: float) -> float | None:
        first, stop = self.interval(event)
        found = []
        for name, series in self.series.items():
            others = [self.interval(one) for one in self.events if one.entity == name]
            is_busy = any(begin < stop and end > first for begin, end in others)
            if name == event.entity or is_busy or len(series.rows) < self.min_rows:
                continue
            if first < series.first or stop > series.stop + 1:
                continue
            if series.overlapping(first, stop):
                found.append(series.is_hit(first, stop, top))
        return mean(found) if found else None

    def figures(self) -> Figures:
        statuses = [self.status(event) for event in self.events]
        scored = [i for i, status in enumerate(statuses) if status == "scored"]
        found: Figures = {"n_events": len(self.events), "n_scored": len(scored)}
        found["n_entities"] = len({self.events[i].entity for i in scored})
        for status in set(statuses) - {"scored"}:
            found[f"not scored: {status}"] = statuses.count(status)
        for event, status in zip(self.events, statuses, strict=True):
            found[f"event {event.id} status"] = status
        for i in scored:
            found |= self.event_figures(i)
        own = [self.series[self.events[i].entity] for i in scored]
        found["n_constant"] = sum(len({row[2] for row in one.rows}) == 1 for one in own)
        for name in ("rows", "series_rows"):
            values = [found[f"event {self.events[i].id} n_{name}"] for i in scored]
            found[f"median_{name}"] = median(values) if values else None
        if scored:
            found |= self.top_figures(scored) | self.percentile_figures(scored)
            found |= self.kind_figures(scored)
        return found

    def event_figures(self, i: int) -> Figures:
        event = self.events[i]
        name, series, (first, stop) = (
            f"event {event.id}",
            self.series[event.entity],
            self.interval(event),
        )
        rows = series.overlapping(first, stop)
        ranks = [series.percentile(row[2]) for row in rows]
        hits = [row for row in rows if series.is_top(row[2], self.tops[-1])]
        found: Figures = {
            f"{name} n_rows": len(rows),
            f"{name} n_series_rows": len(series.rows),
            f"{name} best": max(ranks),
            f"{name} mean": mean(ranks),
            f"{name} first_hit": str(EPOCH + timedelta(days=hits[0][0])) if hits else "",
        }
        for top in self.tops:
            found[f"{name} top {top} hit"] = series.is_hit(first, stop, top)
            found[f"{name} top {top} chance"] = mean(self.moved_hits(i, top))
            found[f"{name} top {top} placebo"] = self.placebo(event, top)
        return found

    def moved_hits(self, i: int, top: float) -> list[float]:
        series = self.series[self.events[i].entity]
        return [float(any(series.is_top(row[2], top) for row in rows)) for rows in self.moved[i]]

    def top_figures(self, scored: list[int]) -> Figures:
        found: Figures = {}
        generator = np.random.default_rng(self.seed + 1)
        drawn = generator.integers(0, len(scored), (2000, len(scored))).tolist()
        for top in self.tops:
            own = [self.event_figures_of(i, top) for i in scored]
            hits, chances, placebos = ([one[part] for one in own] for part in range(3))
            recall, chance = mean(hits), mean(chances)
            moved = [self.moved_hits(i, top) for i in scored]
            by_move = [mean(column) for column in zip(*moved, strict=True)]
            known = [one for one in placebos if one is not None]
            placebo = mean(known) if known else None
            lifts = sorted(
                sum(hits[j] for j in row) / max(sum(chances[j] for j in row), 1e-12 * len(row))
                for row in drawn
            )
            series = [self.series[self.events[i].entity] for i in scored]
            found |= {
                f"top {top} counted": mean(100 * s.n_top(top) / len(s.rows) for s in series),
                f"top {top} hits": sum(hits),
                f"top {top} recall": recall,
                f"top {top} chance": chance,
                f"top {top} chance_sd": pstdev(by_move),
                f"top {top} lift": recall / chance if chance else None,
                f"top {top} low": quantile(lifts, 0.025) if chance else None,
                f"top {top} high": quantile(lifts, 0.975) if chance else None,
                f"top {top} p_value": p_value(recall, by_move),
                f"top {top} placebo": placebo,
                f"top {top} placebo_lift": recall / placebo if placebo else None,
            }
        return found

    def event_figures_of(self, i: int, top: float) -> tuple[float, float, float | None]:
        event = self.events[i]
        hit = float(self.series[event.entity].is_hit(*self.interval(event), top))
        return hit, mean(self.moved_hits(i, top)), self.placebo(event, top)

    def percentile_figures(self, scored: list[int]) -> Figures:
        found: Figures = {}
        for name, pick in (("best", max), ("mean", mean)):
            values, table = [], []
            for i in scored:
                series = self.series[self.events[i].entity]
                rows = series.overlapping(*self.interval(self.events[i]))
                values.append(pick([series.percentile(row[2]) for row in rows]))
                table.append(
                    [
                        pick([series.percentile(row[2]) for row in moved]) if moved else None
                        for moved in self.moved[i]
                    ]
                )
            columns = [[x for x in column if x is not None] for column in zip(*table, strict=True)]
            by_move = [mean(column) for column in columns if column]
            if not by_move:
                continue
            found |= {
                f"{name} percentile value": mean(values),
                f"{name} percentile chance": mean(x for column in columns for x in column),
                f"{name} percentile chance_sd": pstdev(by_move),
                f"{name} percentile p_value": p_value(mean(values), by_move),
            }
        return found

    def kind_figures(self, scored: list[int]) -> Figures:
        found: Figures = {}
        for kind in {self.events[i].kind for i in scored} - {None}:
            same = [i for i in scored if self.events[i].kind == kind]
            own = [self.event_figures_of(i, self.tops[-1]) for i in same]
            recall, chance = mean(one[0] for one in own), mean(one[1] for one in own)
            best = []
            for i in same:
                series = self.series[self.events[i].entity]
                rows = series.overlapping(*self.interval(self.events[i]))
                best.append(max(series.percentile(row[2]) for row in rows))
            found |= {
                f"{kind} n_events": len(same),
                f"{kind} recall": recall,
                f"{kind} chance": chance,
                f"{kind} lift": recall / chance if chance else None,
                f"{kind} best": mean(best),
            }
        return found


def p_value(value: float, by_move: Sequence[float]) -> float:
    return (1 + sum(one >= value - 1e-12 for one in by_move)) / (1 + len(by_move))


def quantile(ascending: Sequence[float], share: float) -> float:
    place = share * (len(ascending) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (place - below) * (ascending[above] - ascending[below])


def normal_scores(values: Sequence[float]) -> list[float]:
    """Normal quantiles of ranks, those of ties averaged."""
    found = []
    for value in values:
        rank = sum(other < value for other in values) + (values.count(value) + 1) / 2
        found.append(NormalDist().inv_cdf((rank - 0.5) / len(values)))
    return found


def volume_matched_scores(scores: Sequence[float], n_events: Sequence[float]) -> list[float]:
    """What is left of a score's normal scores, in units of its usual size at that volume."""
    x, y = normal_scores(n_events), normal_scores(scores)
    left = [a - b for a, b in zip(y, fitted(x, y, 3), strict=True)]
    size = [abs(one) for one in left]
    usual = fitted(x, size, 2)
    least = max(mean(size) / 2, 1e-3)
    return [round(one / max(scale, least), 6) for one, scale in zip(left, usual, strict=True)]


def fitted(x: Sequence[float], y: Sequence[float], degree: int) -> list[float]:
    powers = np.array([[one**power for power in range(degree + 1)] for one in x])
    return (powers @ np.linalg.pinv(powers) @ np.array(y)).tolist()


def load_script() -> ModuleType:
    """Load the script that the figures are to agree with, or skip."""
    if not SCRIPT.exists():
        pytest.skip(WHY)
    pytest.importorskip("pandas", reason="the script to compare with needs pandas")
    spec = importlib.util.spec_from_file_location("eval_crises", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script_figures(result: dict[str, Any], table: pd.DataFrame) -> Figures:
    """The script's figures under the names of `figures`."""
    found: Figures = {"n_events": result["crises"], "n_scored": result["scored"]}
    found |= {"n_entities": result["countries"], "n_constant": result["constant_series"]}
    found["median_rows"] = result["median_rows_in_interval"]
    found["median_series_rows"] = result["median_series_rows"]
    for top, line in result["top"].items():
        low, high = line["lift_ci"] or (None, None)
        found |= {f"top {top} low": low, f"top {top} high": high}
        found |= {f"top {top} p_value": line["p"]}
        found |= {f"top {top} counted": line["rows_counted_as_top_pct"]}
        for name in ("hits", "recall", "chance", "chance_sd", "lift", "placebo", "placebo_lift"):
            found[f"top {top} {name}"] = line[name]
    for name in ("best", "mean"):
        part = result[f"{name}_percentile"]
        found[f"{name} percentile p_value"] = part["p"]
        for key in ("value", "chance", "chance_sd"):
            found[f"{name} percentile {key}"] = part[key]
    for kind, part in result["by_kind"].items():
        found[f"{kind} n_events"] = part["n"]
        for key in ("recall", "chance", "lift", "best"):
            found[f"{kind} {key}"] = part[key]
    for row in table.to_dict("records"):
        name, status = f"event {row['id']}", script_status(row["status"])
        found[f"{name} status"] = status
        if status != "scored":
            key = f"not scored: {status}"
            found[key] = int(found.get(key) or 0) + 1
            continue
        found[f"{name} n_rows"], found[f"{name} n_series_rows"] = row["rows"], row["series_rows"]
        for key in ("best", "mean", "first_hit"):
            found[f"{name} {key}"] = row[key]
        for top in result["top"]:
            placebo = row[f"placebo{top}"]
            found[f"{name} top {top} hit"] = row[f"hit{top}"]
            found[f"{name} top {top} chance"] = row[f"chance{top}"]
            found[f"{name} top {top} placebo"] = None if np.isnan(placebo) else placebo
    return found


def script_status(text: str) -> str:
    if text.startswith("only "):
        return "too_few_rows"
    return {
        "scored": "scored",
        "no such entity": "no_such_entity",
        "outside the series": "outside_series",
        "series too short for the control": "series_too_short",
    }[text]
