"""The comparison of scorers: which representations, and what is kept of each run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from flows.config import RunConfig

# Proportions of few events are mostly noise, so the steps that have them are masked.
_PROPORTIONS: Final = {"windows": {"min_step_events": 5}}

REPRESENTATIONS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "root counts": {"transform": {"representation": "root_counts"}},
        "root counts, differenced": {
            "transform": {"representation": "root_counts", "difference": True}
        },
        "root counts, one scale a feature": {
            "transform": {"representation": "root_counts", "standardise": "feature"}
        },
        "angular": {"transform": {"representation": "angular"}} | _PROPORTIONS,
        "proportion": {"transform": {"representation": "proportion"}} | _PROPORTIONS,
        "proportion, differenced": {
            "transform": {"representation": "proportion", "difference": True}
        }
        | _PROPORTIONS,
    }
)
"""What differs from the run's own configuration, by name."""


class ComparisonConfig(BaseModel):
    """What is compared.

    Examples
    --------
    >>> run = RunConfig.load(None, {"source": ["raw"]})
    >>> ComparisonConfig(run=run, seeds=1).representations[0]
    'root counts'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: RunConfig
    events: Path | None = Field(
        default=None, description="CSV of dated events; without it only injected anomalies judge."
    )
    representations: tuple[str, ...] = Field(default=tuple(REPRESENTATIONS), min_length=1)
    seeds: int = Field(default=3, ge=1, description="Models of each representation.")
    held_out: float = Field(
        default=0.5, gt=0, lt=0.8, description="Share of the steps after the training."
    )
    repetitions: int = Field(default=200, ge=1, description="Random moves of the dated events.")

    def model_post_init(self, _: Any) -> None:
        """Refuse representations that are not known."""
        unknown = sorted(set(self.representations) - set(REPRESENTATIONS))
        if unknown:
            msg = f"representations {unknown}: expected some of {list(REPRESENTATIONS)}"
            raise ValueError(msg)

    def run_of(self, representation: str, seed: int) -> RunConfig:
        """Return the configuration of one model."""
        content = self.run.model_dump()
        for section, values in REPRESENTATIONS[representation].items():
            content[section] = content[section] | values
        content["training"] |= {"seed": seed}
        content["split"] |= {"held_out": self.held_out, "validation": 0.1}
        return RunConfig.model_validate(content)


@dataclass(frozen=True, kw_only=True)
class RecallRow:
    """What a scorer finds of dated events in some steps.

    Attributes
    ----------
    representation, scorer, seed
        Of what.
    steps
        ``all``; ``past``, which the model has seen; or ``future``, which it hasn't.
    n_scored
        Events that could be judged.
    recall_1, recall_2, recall_5
        Share of them in the top 1, 2 and 5 % of their entity's own steps.
    lift_2, p_2
        Recall over chance at 2 %, and its p-value.
    mean_percentile
        Of the steps of events.
    matched_1, matched_2, matched_5, matched_lift_2, matched_percentile
        The same against steps of the entity with about as many events.
    """

    representation: str
    scorer: str
    seed: int
    steps: str
    n_scored: int
    recall_1: float
    recall_2: float
    recall_5: float
    lift_2: float | None
    p_2: float
    mean_percentile: float | None
    matched_1: float
    matched_2: float
    matched_5: float
    matched_lift_2: float | None
    matched_percentile: float | None


FIGURES: Final = (
    "recall_1",
    "recall_2",
    "recall_5",
    "lift_2",
    "mean_percentile",
    "matched_1",
    "matched_2",
    "matched_5",
    "matched_lift_2",
    "matched_percentile",
)
"""Columns of which the median over seeds is shown."""
