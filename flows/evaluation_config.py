"""What an evaluation is asked for, and the events and scores that it is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import ClassVar, Final, Literal, get_args

import polars as pl

from features.dated_events import DatedEvents, read_dated_events
from flows.evaluation_scores import VOLUME

COLUMNS: Final = (
    *("score", "loudness", "strangeness", "surge", "deviance", "mahalanobis", "squared_error"),
    *("nowcast_surge", "nowcast_deviance", "nowcast_mahalanobis", "nowcast_squared_error"),
)
"""Columns that are compared where none are named, the first of them being ranked by."""

EvaluatedPart = Literal["all", "training", "validation", "held_out", "between"]

_STARTS: Final = ("window_start", "step_start", "window_end")
_ENDS: Final = ("window_end", "step_end", "step_start")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Which scores are compared with which events, and how.

    Attributes
    ----------
    events
        CSV file of dated events: see `features.dated_events.read_dated_events`.
    data, name
        The data folder, and what was published there: entity and step, such as ``country-week``.
        The evaluation is written to this folder too.
    scores
        Parquet file of other scores, or a folder of such; None for the published `step_errors`.
    columns
        Columns of scores, the first of which is told event by event; those of `COLUMNS` that are
        there if empty. The number of events is compared beside them.
    part
        Part of time that rows must lie in, or ``all``. Scores are ranked among these rows alone.
    since, until
        Rows that begin earlier or end later are left out.
    core
        Whether only events with 1 in the column ``core`` count.
    kinds
        Kinds of event that count; all if empty.
    tops
        Per cent of an entity's rows that count as its top.
    after_days
        Days after an event's end that still count.
    repetitions, seed
        Random moves of the events that chance is made of, and their seed.
    min_rows
        An entity with fewer rows isn't judged.
    last_step
        Whether a window stands for its last step alone.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    events: Path
    data: Path = Path("data/lake")
    name: str = "country-week"
    scores: Path | None = None
    columns: tuple[str, ...] = ()
    part: EvaluatedPart = "all"
    since: date | None = None
    until: date | None = None
    core: bool = False
    kinds: tuple[str, ...] = ()
    tops: tuple[float, ...] = (1, 2, 5)
    after_days: int = 7
    repetitions: int = 200
    seed: int = 0
    min_rows: int = 30
    last_step: bool = False

    def __post_init__(self) -> None:
        if self.part not in get_args(EvaluatedPart):
            msg = f"part={self.part!r}: expected one of {', '.join(get_args(EvaluatedPart))}"
            raise ValueError(msg)
        if self.since is not None and self.until is not None and self.until < self.since:
            msg = f"until={self.until} comes before since={self.since}"
            raise ValueError(msg)
        if not self.tops or not all(0 < top <= 100 for top in self.tops):
            msg = f"tops={self.tops}: expected per cents above 0 and up to 100, at least one"
            raise ValueError(msg)
        for name, least in (("after_days", 0), ("repetitions", 1), ("min_rows", 1)):
            if getattr(self, name) < least:
                msg = f"{name}={getattr(self, name)}: expected at least {least}"
                raise ValueError(msg)

    @property
    def scores_path(self) -> Path:
        """Where the scores are."""
        published = self.data / "published" / self.name / "latest" / "step_errors"
        return published if self.scores is None else self.scores


def read_events(config: EvaluationConfig) -> DatedEvents:
    """Read the events that count.

    Raises
    ------
    FileNotFoundError
        If the file isn't there.
    ValueError
        If it can't be used, or no event is of the kinds asked for.
    """
    if not config.events.is_file():
        msg = f"no file of events at {config.events}: expected a CSV file with country and start"
        raise FileNotFoundError(msg)
    events = read_dated_events(config.events)
    table = events.table
    if config.core:
        table = table.filter(pl.col("core") == "1")
    if config.kinds:
        table = table.filter(pl.col("kind").is_in(config.kinds))
    if table.is_empty():
        there = events.table["kind"].drop_nulls().unique().sort().to_list()
        n_core = events.table.filter(pl.col("core") == "1").height
        msg = (
            f"{config.events}: no event with core={config.core} and kinds {config.kinds or 'any'}; "
            f"{n_core} have 1 in the column core, and the kinds are {', '.join(there) or 'none'}"
        )
        raise ValueError(msg)
    return replace(events, table=table)


def read_scores(config: EvaluationConfig) -> pl.DataFrame:
    """Read the rows of scores that count.

    Raises
    ------
    FileNotFoundError
        If the file isn't there.
    ValueError
        If it has no part of time or dates to choose by, or no row is left.
    """
    path = config.scores_path
    if not path.exists():
        published = config.data / "published"
        there = sorted(one.name for one in published.glob("*")) if published.exists() else []
        msg = f"no scores at {path}: " + (
            f"published in {published} are {', '.join(there) or 'none'}; give one of these names, "
            "or run first"
            if config.scores is None
            else "expected a Parquet file, or a folder of such"
        )
        raise FileNotFoundError(msg)
    lazy = pl.scan_parquet(path)
    there = lazy.collect_schema().names()
    _require(["entity"], there)
    if config.part != "all":
        _require(["part"], there)
        lazy = lazy.filter(pl.col("part").cast(pl.String) == config.part)
    rows = _within(lazy, there, config).collect()
    if rows.is_empty():
        msg = (
            f"no row of {path} lies in part {config.part} from {config.since or 'the beginning'} "
            f"to {config.until or 'the end'}"
        )
        raise ValueError(msg)
    return rows


def chosen_columns(scores: pl.DataFrame, config: EvaluationConfig) -> tuple[str, ...]:
    """Return the columns of scores that are compared, the number of events among them.

    Raises
    ------
    ValueError
        If one that was named is not there or holds no score, or none of the usual ones is there.
    """
    numeric = [name for name, kind in scores.schema.items() if kind.is_numeric()]
    _require(config.columns, numeric)
    empty = [name for name in config.columns if scores[name].is_null().all()]
    if empty:
        msg = f"the scores hold nothing in {', '.join(empty)}; leave it out"
        raise ValueError(msg)
    usual = (name for name in COLUMNS if name in numeric and not scores[name].is_null().all())
    columns = config.columns or tuple(usual)
    if not columns:
        msg = f"none of the usual columns of scores is there; name some of {', '.join(numeric)}"
        raise ValueError(msg)
    return columns if VOLUME in columns or VOLUME not in numeric else (*columns, VOLUME)


def _within(lazy: pl.LazyFrame, there: Sequence[str], config: EvaluationConfig) -> pl.LazyFrame:
    """Keep the rows that begin and end within the days asked for."""
    if config.since is not None:
        lazy = lazy.filter(pl.col(_first_of(_STARTS, there)) >= config.since)
    if config.until is not None:
        lazy = lazy.filter(pl.col(_first_of(_ENDS, there)) <= config.until)
    return lazy


def _first_of(names: Sequence[str], there: Sequence[str]) -> str:
    found = [name for name in names if name in there]
    if not found:
        _require(names[:1], there)
    return found[0]


def _require(names: Sequence[str], there: Sequence[str]) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        msg = f"the scores have no column {', '.join(missing)}; there are {', '.join(there)}"
        raise ValueError(msg)
