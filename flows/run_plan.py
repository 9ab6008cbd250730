"""What a run would do beyond the lake, without doing it: count, train and score.

Nothing here imports Prefect, which would write its state.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from features.aggregate import step_range
from flows.config import RunConfig
from flows.counting import CountStore, steps_of
from flows.lake import Lake
from flows.lake_plan import LakePlan, plan_update
from flows.published_state import STATE, PublishedState, days_of
from flows.publishing import latest
from flows.rescoring import spans_of

_RECORDS_READ: Final = 10
_TRAINED_BY: Final = (
    *("entity", "step", "vocabulary", "split", "windows", "transform", "autoencoder", "training"),
)
_NOT_TRAINED_BY: Final = ("device", "slab_bytes")
"""Settings of the training that change nothing of the model."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What a run would do.

    Attributes
    ----------
    lake
        What it would do to the lake.
    name
        Of what is published, such as ``country-week``.
    counted
        First days of the steps whose events would be counted, at most.
    scored
        First days of the steps that the published model would score again, at most; none if there
        is none.
    published
        Whether there is one.
    training
        Why `foreshock run` would train anew, None if it wouldn't.
    """

    lake: LakePlan
    name: str
    counted: tuple[date, ...]
    scored: tuple[date, ...]
    published: bool
    training: str | None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.lake.changes or self.counted or self.scored or self.training)


def plan_run(config: RunConfig) -> RunPlan:
    """Say what `foreshock run` would do, and `foreshock update`; nothing is written.

    Raises
    ------
    flows.sources.SourceError
        If there are no files, or it isn't clear which is meant.
    flows.lake_plan.PlanError
        If the records of the lake can't be read, or a new file can't be read for lack of space.
    """
    dataset = config.data / "lake"
    lake = plan_update(dataset, config.source, config.ingest)
    previous = Lake.load(latest(dataset), config.ingest)
    state = _published_state(config)
    days = set(lake.days)
    uncounted = _uncounted_days(config, previous)
    return RunPlan(
        lake=lake,
        name=config.name,
        counted=() if lake.failure else tuple(steps_of([*days, *uncounted], config.step)),
        scored=() if state is None else _scored(config, previous, days, state),
        published=state is not None,
        training=None if lake.failure else _why_training(config, previous, lake, state),
    )


def _published_state(config: RunConfig) -> PublishedState | None:
    folder = latest(config.data / "published" / config.name)
    if folder is None or not (folder / STATE).exists():
        return None
    return PublishedState.read(folder)


def _uncounted_days(config: RunConfig, previous: Lake) -> list[date]:
    """Return the days of the months that were not counted in this way as they are."""
    if previous.folder is None:
        return []
    store = CountStore(
        root=config.data / "counts",
        entity=config.entity,
        step=config.step,
        fields=config.vocabulary.fields,
    )
    return [day for work in store.missing(previous) for day in work.days]


def _scored(
    config: RunConfig, previous: Lake, days: set[date], state: PublishedState
) -> tuple[date, ...]:
    """Return the steps that changes reach: those within a window's length of one that changed."""
    now = days_of(previous)
    behind = {day for day in now.keys() | state.days if now.get(day) != state.days.get(day)}
    changed = days | behind
    if not changed:
        return ()
    every = _steps_between([*changed, *now, *state.days, state.bounds.last], config)
    if config.transform.difference or config.windows.stride > 1:
        return tuple(every)
    place = {start: i for i, start in enumerate(every)}
    kept = [place[start] for start in steps_of(sorted(now.keys() - changed), config.step)]
    touched = {place[start] for start in steps_of(sorted(changed), config.step)}
    first, last = (min(kept), max(kept)) if kept else (len(every), len(every))
    touched |= {at for at in range(len(every)) if not first <= at <= last}
    length = config.windows.length
    reached: set[int] = set()
    for a, b in spans_of(sorted(touched), 3 * length):
        reached.update(range(max(a - length + 1, 0), min(b + length, len(every) - 1) + 1))
    return tuple(every[at] for at in sorted(reached))


def _steps_between(days: Sequence[date], config: RunConfig) -> list[date]:
    ends = steps_of([min(days), max(days)], config.step)
    found: list[date] = step_range(ends[0], ends[-1], config.step).to_list()
    return found


def _why_training(
    config: RunConfig, previous: Lake, lake: LakePlan, state: PublishedState | None
) -> str | None:
    if lake.days:
        return "events change"
    if previous.folder is None or not any(
        _has_trained(path, config, previous) for path in _records(config)
    ):
        reason = "no run has trained a model of these events under this configuration"
        return reason if state is not None else "nothing is published yet"
    return None


def _records(config: RunConfig) -> list[Path]:
    """Return the records of the last runs, the newest first."""
    found = sorted((config.data / "runs").glob(f"*-{config.name}.json"), reverse=True)
    return found[:_RECORDS_READ]


def _has_trained(record: Path, config: RunConfig, lake: Lake) -> bool:
    """Tell whether a run has trained on this lake as this one would, and the model is there."""
    try:
        content = json.loads(record.read_text())
        result = content["result"]
        used, version = content["config"], Path(result["ingested"]["lake"]).name
        model = result["model"]["model_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    asked = config.model_dump(mode="json")
    is_same = _determinants(used) == _determinants(asked) and version == lake.version
    return is_same and (config.data / "models" / model).exists()


def _determinants(config: dict[str, Any]) -> dict[str, Any]:
    sections = {name: config.get(name) for name in _TRAINED_BY}
    training = sections["training"] or {}
    kept = {name: value for name, value in training.items() if name not in _NOT_TRAINED_BY}
    return sections | {"training": kept}
