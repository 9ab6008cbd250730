"""What scores find of dated events as tables: a row a score, and a row an event."""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from flows.evaluation_scores import ColumnRecall
from models.crisis_outcomes import EventOutcome, EventRecall

_LIFT_AT: Final = 2.0
_NONE: Final = "–"

OUTCOME_TITLES: Final = ("entity", "start", "label", "rows", "best percentile", "first hit", "hit")


def recall_frame(rows: Sequence[ColumnRecall]) -> pl.DataFrame:
    """Return a row a column of scores with every figure; ``matched_`` begins the matched ones."""
    flat = []
    for row in rows:
        figures = {"score": row.column, **_figures(row.plain, "")}
        if row.matched is not None:
            figures |= _figures(row.matched, "matched_") | {"correlation": row.correlation}
        flat.append(figures)
    return pl.DataFrame(flat, infer_schema_length=None)


def _figures(recall: EventRecall, prefix: str) -> dict[str, Any]:
    mean = recall.mean_percentile
    figures: dict[str, Any] = {
        "n_scored": recall.n_scored,
        "n_entities": recall.n_entities,
        "mean_percentile": None if mean is None else mean.value,
        "mean_percentile_p": None if mean is None else mean.p_value,
    }
    for one in recall.tops:
        low, high = one.lift_interval or (None, None)
        named = {
            "recall": one.recall,
            "chance": one.chance,
            "lift": one.lift,
            "lift_low": low,
            "lift_high": high,
            "p": one.p_value,
            "placebo": one.placebo,
        }
        figures |= {f"{name}_{one.top:g}": value for name, value in named.items()}
    return {f"{prefix}{name}": value for name, value in figures.items()}


def outcome_frame(recall: EventRecall) -> pl.DataFrame:
    """Return a row an event: whether it was scored, or why not, and whether it was found."""
    tops = [f"hit_{one.top:g}" for one in recall.tops]
    rows = [
        {
            "entity": one.event.entity,
            "start": one.event.start,
            "end": one.event.end,
            "kind": one.event.kind,
            "label": one.event.label,
            "status": one.status,
            "n_rows": one.n_rows,
            "n_series_rows": one.n_series_rows,
            "best_percentile": one.best,
            "mean_percentile": one.mean,
            "first_hit": one.first_hit,
        }
        | dict(zip(tops, one.hits or [None] * len(tops), strict=True))
        for one in recall.outcomes
    ]
    schema: dict[str, Any] = dict.fromkeys(("kind", "label"), pl.String)
    schema |= dict.fromkeys(("best_percentile", "mean_percentile"), pl.Float64)
    schema |= {"first_hit": pl.Date} | dict.fromkeys(tops, pl.Boolean)
    return pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None)


def not_scored(recall: EventRecall) -> str:
    """Say how many events could not be judged, by why.

    Examples
    --------
    >>> from models.crisis_summary import Chance, summarise
    >>> import numpy as np
    >>> none = np.zeros((0, 1))
    >>> chance = Chance(hit=none[..., None] > 0, best=none, mean=none)
    >>> recall = summarise((), chance, {}, tops=(1,), seed=0)
    >>> not_scored(recall)
    '0 of 0 events scored'
    """
    why = [f"{n} {status.replace('_', ' ')}" for status, n in sorted(recall.not_scored.items())]
    return f"{recall.n_scored} of {recall.n_events} events scored" + "".join(
        f", {reason}" for reason in why
    )


def lift_at(tops: Sequence[float]) -> float:
    """Return the top share whose lift is shown: 2 % if it is among them, else the first."""
    return _LIFT_AT if _LIFT_AT in tops else tops[0]


def recall_titles(tops: Sequence[float]) -> tuple[str, ...]:
    """Return the titles of `recall_cells`; the second block is volume-matched."""
    recalls, at = [f"@{top:g} %" for top in tops], f"@{lift_at(tops):g} %"
    block = (*recalls, f"chance {at}", f"lift {at}", "95 %", "p", "placebo", "mean")
    return ("score", "events", *block, *(f"matched {title}" for title in block))


def recall_cells(row: ColumnRecall, tops: Sequence[float]) -> tuple[str, ...]:
    """Return what is shown of a column of scores, under `recall_titles`."""
    blocks = (*_block(row.plain, tops), *_block(row.matched, tops))
    return (row.column, str(row.plain.n_scored), *blocks)


def _block(recall: EventRecall | None, tops: Sequence[float]) -> tuple[str, ...]:
    found = {} if recall is None else {one.top: one for one in recall.tops}
    if recall is None or not found:
        return (_NONE,) * (len(tops) + 6)
    at = found[lift_at(tops)]
    interval = _NONE
    if at.lift_interval is not None:
        interval = f"{at.lift_interval[0]:.1f}…{at.lift_interval[1]:.1f}"
    mean = recall.mean_percentile
    return (
        *(_number(found[top].recall) for top in tops),
        _number(at.chance, 3),
        _number(at.lift, 1),
        interval,
        _number(at.p_value, 3),
        _number(at.placebo),
        _number(None if mean is None else mean.value),
    )


def outcome_rows(recall: EventRecall) -> list[tuple[str, ...]]:
    """Return what is shown of each scored event, under `OUTCOME_TITLES`."""
    tops = [one.top for one in recall.tops]
    return [_outcome_cells(one, tops) for one in recall.outcomes if one.status == "scored"]


def _outcome_cells(one: EventOutcome, tops: Sequence[float]) -> tuple[str, ...]:
    hits = sorted(top for top, hit in zip(tops, one.hits, strict=True) if hit)
    return (
        one.event.entity,
        str(one.event.start),
        one.event.label or one.event.kind or "",
        str(one.n_rows),
        _number(one.best, 3),
        str(one.first_hit or _NONE),
        f"{hits[0]:g} %" if hits else "no",
    )


def as_markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of markdown; what the cells hold can't break it.

    Examples
    --------
    >>> as_markdown(("a", "b"), [("x y", "1")]).splitlines()
    ['| a | b |', '| --- | --- |', '| x y | 1 |']
    """
    escaped = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows]
    lines = [titles, ["---"] * len(titles), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None, digits: int = 2) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"
