"""Splitting by time into training, validation and held-out parts that share no step."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from features.windows import Windows

Part = Literal["training", "validation", "held_out", "between"]
"""A part of time; ``between`` are windows that lie across a boundary or touch a gap."""

PARTS: Final[tuple[Part, ...]] = ("training", "validation", "held_out", "between")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Where time is split.

    Attributes
    ----------
    validation, held_out
        Share of the steps in each part, at the end of time, where no date is given.
    validation_start, held_out_start
        First day of each part, instead of a share.
    gap
        Steps left out before each of them: a difference reaches back one step.
    min_steps
        A part given as a share has at least this many steps, where there are four times as many
        in all: 15 % of nine months of weeks would have no window of eight.

    Raises
    ------
    ValueError
        If the shares leave nothing to train on, or the dates are in the wrong order.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    validation: float = 0.15
    held_out: float = 0.2
    validation_start: date | None = None
    held_out_start: date | None = None
    gap: int = 1
    min_steps: int = 9

    def __post_init__(self) -> None:
        if min(self.validation, self.held_out) <= 0 or self.validation + self.held_out >= 1:
            msg = (
                f"validation={self.validation}, held_out={self.held_out}: "
                "expected shares above 0 that leave some of the steps for training"
            )
            raise ValueError(msg)
        for name in ("gap", "min_steps"):
            if getattr(self, name) < 0:
                msg = f"{name}={getattr(self, name)}: expected at least 0"
                raise ValueError(msg)
        starts = self.validation_start, self.held_out_start
        if starts[0] is not None and starts[1] is not None and starts[0] >= starts[1]:
            msg = f"validation_start={starts[0]} must come before held_out_start={starts[1]}"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Positions of steps at which the parts begin and, the gap before the next, end.

    Attributes
    ----------
    training_end
        The steps before this one are the training part.
    validation_start, validation_end
        First step of the validation part, and the step after its last.
    held_out_start
        First step of the held-out part, which lasts to the end.
    """

    training_end: int
    validation_start: int
    validation_end: int
    held_out_start: int

    def parts(self, windows: Windows) -> NDArray[np.int8]:
        """Return the part of each window, int8 ``(N,)``, as a position in `PARTS`.

        Examples
        --------
        >>> from features.windows import WindowConfig, find_windows
        >>> windows = find_windows(np.full((1, 10), 99), WindowConfig(length=2))
        >>> split = Split(training_end=4, validation_start=5, validation_end=7, held_out_start=8)
        >>> split.parts(windows).tolist()
        [0, 0, 0, 3, 3, 1, 3, 3, 2]
        """
        start = windows.index[:, 1]
        end = start + windows.length
        inside = [
            end <= self.training_end,
            (start >= self.validation_start) & (end <= self.validation_end),
            start >= self.held_out_start,
        ]
        return np.select(inside, [0, 1, 2], default=3).astype(np.int8)


@dataclass(frozen=True, kw_only=True)
class SplitDates:
    """A split by first days of steps, which stays as it is when steps are added.

    Attributes
    ----------
    training_end, validation_start, validation_end, held_out_start
        As in `Split`.
    """

    training_end: date
    validation_start: date
    validation_end: date
    held_out_start: date

    @classmethod
    def of(cls, split: Split, steps: NDArray[np.datetime64]) -> "SplitDates":
        """Return the days at which a split of `steps`, datetime64[D] ``(S,)``, has its bounds."""
        return cls(**{name: steps[at].item() for name, at in asdict(split).items()})

    def among(self, steps: NDArray[np.datetime64]) -> Split:
        """Return where the bounds lie among other steps, rising; outside of them at their ends.

        Examples
        --------
        >>> steps = np.arange("2018-01-01", "2018-01-11", dtype="datetime64[D]")
        >>> split = Split(training_end=4, validation_start=5, validation_end=7, held_out_start=8)
        >>> SplitDates.of(split, steps).among(steps[4:7])
        Split(training_end=0, validation_start=1, validation_end=3, held_out_start=3)
        """
        days = {name: np.datetime64(day, "D") for name, day in asdict(self).items()}
        return Split(**{name: int(np.searchsorted(steps, day)) for name, day in days.items()})


def split_steps(steps: NDArray[np.datetime64], config: SplitConfig | None = None) -> Split:
    """Find where the parts begin and end.

    Parameters
    ----------
    steps
        datetime64[D] ``(S,)``: the first day of each step, rising.
    config
        Shares or dates.

    Raises
    ------
    ValueError
        If a part would have no step.

    Examples
    --------
    >>> steps = np.arange("2018-01-01", "2018-04-11", dtype="datetime64[D]")
    >>> split_steps(steps, SplitConfig(validation=0.2, held_out=0.1, gap=2))
    Split(training_end=68, validation_start=70, validation_end=88, held_out_start=90)
    """
    config = config or SplitConfig()
    n = len(steps)
    held_out = _position(steps, config.held_out_start, n - _steps_of(config.held_out, n, config))
    default = held_out - _steps_of(config.validation, n, config)
    validation = _position(steps, config.validation_start, default)
    split = Split(
        training_end=validation - config.gap,
        validation_start=validation,
        validation_end=held_out - config.gap,
        held_out_start=held_out,
    )
    if not (split.training_end > 0 and validation < split.validation_end and held_out < n):
        msg = (
            f"{n} steps from {steps[0]} to {steps[-1]} can't be split by {config}: expected at "
            "least one step in each part; give more data, or other shares or dates"
        )
        raise ValueError(msg)
    return split


def _steps_of(share: float, n: int, config: SplitConfig) -> int:
    """Return how many of n steps a share is."""
    least = config.min_steps if n >= 4 * config.min_steps else 0
    return max(round(n * share), least)


def _position(steps: NDArray[np.datetime64], start: date | None, default: int) -> int:
    return default if start is None else int(np.searchsorted(steps, np.datetime64(start, "D")))


def parts_of_steps(split: Split, n_steps: int) -> NDArray[np.int8]:
    """Return the part of each step, int8 ``(S,)``, as a position in `PARTS`.

    Examples
    --------
    >>> split = Split(training_end=2, validation_start=3, validation_end=4, held_out_start=5)
    >>> parts_of_steps(split, 6).tolist()
    [0, 0, 3, 1, 3, 2]
    """
    steps = np.arange(n_steps)
    inside = [
        steps < split.training_end,
        (steps >= split.validation_start) & (steps < split.validation_end),
        steps >= split.held_out_start,
    ]
    return np.select(inside, [0, 1, 2], default=3).astype(np.int8)
