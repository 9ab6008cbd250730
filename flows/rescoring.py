"""Scoring what has changed, by the scorer that is published: the steps touched, and no others.

The score of a step depends on windows of `length` steps that cover it and on the step before; so a
changed step changes the scores of its neighbours, and those of no step further away. A model of
differences reaches back to the last observed step, however far that is: there all is scored anew.
Analogues are looked for among all windows that were over before, but those of windows that are not
scored anew stay as they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from features.aggregate import Counts, Step
from features.cube import build_cube
from flows.counting import CountStore, months_between, steps_of
from flows.digests import digest_of
from flows.lake import Lake
from flows.learning import prepared_data
from flows.partitions import read_table, replace_rows, within
from flows.proportions import NO_COUNTS, StepBounds, end_of, write_year
from flows.published_state import STATE, PublishedState, days_of, write_state
from flows.publishing import latest, link_tree, point_latest, publishing
from flows.score_tables import analogues_among, provenance_of, score_tables
from flows.scorer import Scorer, frozen_part
from flows.scorers import score_all
from models.device import Device

VERSION: Final = 1
"""To be raised when the same scorer would give other tables of the same events."""

Span = tuple[int, int]
"""First and last position of some steps."""


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """What was done anew: steps whose events changed, steps scored again, years written."""

    touched: int
    scored: int
    years: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """All steps from the first to the last that there are or were."""

    steps: list[date]
    step: Step

    def positions(self, steps: Sequence[date]) -> list[int]:
        place = {start: i for i, start in enumerate(self.steps)}
        return [place[start] for start in steps if start in place]

    def dates(self, span: Span) -> tuple[date, date]:
        first, last = (min(max(at, 0), len(self.steps) - 1) for at in span)
        return self.steps[first], self.steps[last]


def publish_changes(
    scorer: Scorer, lake: Lake, store: CountStore, dataset: Path, *, device: Device = "auto"
) -> tuple[Path, Rescored | None]:
    """Score what has changed since the last publication, and publish it in one move.

    Parameters
    ----------
    scorer
        What scores.
    lake, store
        Its events, and their counts, in which no month is missing.
    dataset
        Folder of the publications. One must be there; without tables, all are made.
    device
        What scores, as in `models.TrainingConfig`.

    Returns
    -------
    tuple
        The version's folder, and what was done, None if it was there already.
    """
    previous = latest(dataset)
    assert previous is not None
    before = PublishedState.read(previous) if (previous / STATE).exists() else None
    if before is not None and before.days == days_of(lake):
        return previous, None
    version = digest_of(VERSION, scorer.model_id, frozen_part(scorer.config), days_of(lake))
    if (dataset / version).exists():
        point_latest(dataset, version)
        return dataset / version, None
    training = replace(scorer.config.training, device=device)
    scorer = replace(scorer, config=scorer.config.model_copy(update={"training": training}))
    with publishing(dataset, version) as folder:
        folder.rmdir()
        link_tree(previous, folder)
        rescored = rescore(scorer, lake, store, before, folder)
    return dataset / version, rescored


def rescore(
    scorer: Scorer,
    lake: Lake,
    store: CountStore,
    before: PublishedState | None,
    folder: Path,
) -> Rescored:
    """Bring a version that is being written up to what the lake holds.

    Parameters
    ----------
    scorer, lake, store
        As in `publish_changes`.
    before
        What the tables in `folder` were made of; None if there are none yet.
    folder
        Holds the tables of the version before, as links.

    Returns
    -------
    Rescored
        What was done.
    """
    bounds, step = bounds_of(store, lake), scorer.config.step
    axis = _axis(bounds, before, step)
    touched = _touched(axis, bounds, before, lake)
    if scorer.config.transform.difference or _starts_elsewhere(scorer, bounds, before):
        touched = list(range(len(axis.steps))) if touched else []
    provenance = provenance_of(scorer)
    years = sorted({axis.steps[at].year for at in touched})
    for year in years:
        months = months_between(date(year, 1, 1), end_of(date(year, 12, 31), step))
        counts = store.counts(lake, months) or NO_COUNTS
        write_year(counts, scorer.vocabulary, step, year, bounds, folder, provenance)
    reach = 3 * scorer.preparation.windows.length
    stretch = _Stretch(scorer, lake, store, bounds, axis)
    scored = sum(stretch.score(span, folder, provenance) for span in spans_of(touched, reach))
    write_state(folder, lake, bounds)
    return Rescored(touched=len(touched), scored=scored, years=tuple(years))


def bounds_of(store: CountStore, lake: Lake) -> StepBounds:
    """Return the first and last step that has an event that counts, reading as few as it takes."""
    months = list(lake.months)
    ends = []
    for order in (months, months[::-1]):
        for month in order:
            counts = store.counts(lake, [month])
            if counts is not None and not counts.totals.is_empty():
                ends.append(counts)
                break
    if not ends:
        msg = f"no event in the lake counts for entity={store.entity!r}: there is nothing to score"
        raise ValueError(msg)
    return StepBounds.of(ends)


def spans_of(positions: Sequence[int], reach: int) -> list[Span]:
    """Join positions, rising, into spans that are more than twice `reach` apart.

    Examples
    --------
    >>> spans_of([3, 4, 9, 30], reach=3)
    [(3, 9), (30, 30)]
    """
    spans: list[Span] = []
    for at in positions:
        if spans and at - spans[-1][1] <= 2 * reach:
            spans[-1] = (spans[-1][0], at)
        else:
            spans.append((at, at))
    return spans


def _axis(bounds: StepBounds, before: PublishedState | None, step: Step) -> _Axis:
    both = bounds
    if before is not None:
        both = StepBounds(
            first=min(bounds.first, before.bounds.first), last=max(bounds.last, before.bounds.last)
        )
    return _Axis(steps=both.steps(step), step=step)


def _touched(
    axis: _Axis, bounds: StepBounds, before: PublishedState | None, lake: Lake
) -> list[int]:
    """Return the positions of steps whose events changed, or that came or went at an end."""
    if before is None:
        return list(range(len(axis.steps)))
    now = days_of(lake)
    changed = [d for d in now.keys() | before.days if now.get(d) != before.days.get(d)]
    touched = set(axis.positions(steps_of(changed, axis.step)))
    touched |= {
        at
        for at, start in enumerate(axis.steps)
        if _inside(start, bounds) != _inside(start, before.bounds)
    }
    return sorted(touched)


def _inside(start: date, bounds: StepBounds) -> bool:
    return bounds.first <= start <= bounds.last


def _starts_elsewhere(scorer: Scorer, bounds: StepBounds, before: PublishedState | None) -> bool:
    """Tell whether windows lie elsewhere: with a stride they are counted from the first step."""
    is_strided = scorer.preparation.windows.stride > 1
    return is_strided and before is not None and before.bounds.first != bounds.first


class _Stretch:
    """Scores a stretch of steps and puts the rows in their place."""

    def __init__(
        self,
        scorer: Scorer,
        lake: Lake,
        store: CountStore,
        bounds: StepBounds,
        axis: _Axis,
    ) -> None:
        self._scorer, self._lake, self._store = scorer, lake, store
        self._bounds, self._axis = bounds, axis

    def score(self, span: Span, folder: Path, provenance: dict[str, Any]) -> int:
        """Score the steps that a changed span reaches; return how many."""
        length = self._scorer.preparation.windows.length
        step_span = self._axis.dates((span[0] - length + 1, span[1] + length))
        window_span = self._axis.dates((span[0] - 2 * length + 2, span[1] + length))
        tables = self._tables(span)
        rows = 0
        for name, table in tables.items():
            is_step = name == "step_errors"
            where = step_span if is_step else window_span
            part = within(table, "step_start" if is_step else "window_start", [where])
            put = replace_rows(part, folder, name, [where], provenance)
            rows += put if is_step else 0
        analogues = self._analogues(folder, window_span)
        replace_rows(analogues, folder, "analogues", [window_span], provenance)
        return rows

    def _tables(self, span: Span) -> dict[str, pa.Table]:
        scorer, config = self._scorer, self._scorer.config
        first, last = self._ends(span)
        cube = build_cube(
            self._counts(span),
            scorer.vocabulary,
            step=config.step,
            first=first,
            last=last,
            entities=scorer.entities,
        )
        data = prepared_data(cube, scorer.vocabulary, config, scorer.preparation)
        scored = score_all(scorer.model, data, config, scorer.yardstick)
        return score_tables(scorer, data, scored)

    def _ends(self, span: Span) -> tuple[date, date]:
        """Return the first and last step that the scores of a span are made of."""
        length = self._scorer.preparation.windows.length
        stride = self._scorer.preparation.windows.stride
        first = span[0] - 3 * length
        origin = self._axis.positions([self._bounds.first])[0]
        first = max(first - (first - origin) % stride, origin)
        start, end = self._axis.dates((first, span[1] + 3 * length))
        return max(start, self._bounds.first), min(end, self._bounds.last)

    def _counts(self, span: Span) -> Counts:
        first, last = self._ends(span)
        months = months_between(first, end_of(last, self._axis.step))
        # Months without any event at all would make no cube.
        months += [self._bounds.first.replace(day=1), self._bounds.last.replace(day=1)]
        counts = self._store.counts(self._lake, months)
        assert counts is not None
        return counts

    def _analogues(self, folder: Path, span: tuple[date, date]) -> pa.Table:
        """Return the analogues of the windows that start within a span, among all earlier ones."""
        table = read_table(folder, "embeddings")
        return analogues_among(table, self._axis.steps, self._scorer, span)
