"""What is said of steps and windows beside their scores: alarms, drivers, analogues, regimes."""

from dataclasses import dataclass
from typing import ClassVar, Final

from features.vocabulary import Block

KINDS_OF_EVENT: Final[tuple[Block, ...]] = ("event_type", "root", "quad")
"""Blocks of which every event has one feature, those that tell most kinds apart first."""


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How steps are judged.

    Attributes
    ----------
    alarm_rate
        Share of quiet steps that may be alarms: of p-values at most this.
    drivers
        Features that are named for each step.
    analogues
        Windows that each window is likened to.
    regimes
        Fewest and most regimes; the number within is chosen by silhouette.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    alarm_rate: float = 0.01
    drivers: int = 5
    analogues: int = 5
    regimes: tuple[int, int] = (2, 10)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 < self.alarm_rate < 1:
            msg = f"alarm_rate={self.alarm_rate}: expected above 0 and below 1"
            raise ValueError(msg)
        for name in ("drivers", "analogues"):
            if getattr(self, name) < 1:
                msg = f"{name}={getattr(self, name)}: expected at least 1"
                raise ValueError(msg)
        fewest, most = self.regimes
        if not 2 <= fewest <= most:
            msg = f"regimes={self.regimes}: expected two numbers, 2 <= fewest <= most"
            raise ValueError(msg)
