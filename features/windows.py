"""Windows: stretches of consecutive steps of one entity, as views on the cube."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Which windows there are and which of them have enough events to be looked at.

    Attributes
    ----------
    length
        Steps in a window.
    stride
        Steps from the start of one window to the start of the next.
    min_step_events
        A step with fewer events than this is masked: left out of every loss and error, because a
        proportion of three events is mostly noise. Root counts need none: with 0, no step of them
        is masked, and silence is an observation. Empty steps have no proportions, and are always
        masked where these are what a model sees.
    min_window_events
        A window with fewer events than this in all is left out.
    min_observed
        A window of whose steps a smaller share than this is unmasked is left out.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    length: int = 8
    stride: int = 1
    min_step_events: int = 5
    min_window_events: int = 80
    min_observed: float = 0.5

    def __post_init__(self) -> None:
        least = {"length": 1, "stride": 1, "min_step_events": 0, "min_window_events": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                msg = f"{name}={getattr(self, name)}: expected at least {value}"
                raise ValueError(msg)
        if not 0 < self.min_observed <= 1:
            msg = f"min_observed={self.min_observed}: expected above 0 and at most 1"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Where windows lie in a cube; none crosses from one entity into another.

    Attributes
    ----------
    index
        int64 ``(N, 2)``: entity and first step of each window, sorted.
    exposure
        int64 ``(N,)``: events in each.
    length
        Steps in each.
    """

    index: NDArray[np.int64]
    exposure: NDArray[np.int64]
    length: int

    def __len__(self) -> int:
        return len(self.index)

    def where(self, kept: NDArray[np.bool_]) -> "Windows":
        """Return the windows for which `kept`, bool ``(N,)``, is true."""
        return Windows(index=self.index[kept], exposure=self.exposure[kept], length=self.length)


def observed_steps(
    exposure: NDArray[np.int64], config: WindowConfig | None = None
) -> NDArray[np.bool_]:
    """Return which steps, bool ``(E, S)``, have enough events not to be masked."""
    return exposure >= (config or WindowConfig()).min_step_events


def find_windows(exposure: NDArray[np.int64], config: WindowConfig | None = None) -> Windows:
    """Find the windows that have enough events.

    Parameters
    ----------
    exposure
        int64 ``(E, S)``: events by entity and step.
    config
        Length, stride and what is enough.

    Returns
    -------
    Windows
        None if there are fewer steps than a window has.

    Raises
    ------
    ValueError
        If `exposure` isn't two-dimensional.

    Examples
    --------
    >>> exposure = np.array([[60, 0, 60, 60], [1, 1, 1, 1]])
    >>> find_windows(exposure, WindowConfig(length=2)).index.tolist()
    [[0, 2]]
    """
    config = config or WindowConfig()
    if exposure.ndim != 2:
        msg = f"exposure has shape {exposure.shape}: expected (entities, steps)"
        raise ValueError(msg)
    if exposure.shape[1] < config.length:
        empty = np.zeros((0, 2), np.int64)
        return Windows(index=empty, exposure=empty[:, 0], length=config.length)
    observed = window_view(observed_steps(exposure, config), config.length).mean(axis=-1)
    total = window_view(exposure, config.length).sum(axis=-1)
    kept = (observed >= config.min_observed) & (total >= config.min_window_events)
    kept[:, np.arange(kept.shape[1]) % config.stride != 0] = False
    return Windows(
        index=np.argwhere(kept).astype(np.int64), exposure=total[kept], length=config.length
    )


def window_view(array: NDArray[Any], length: int) -> NDArray[Any]:
    """Return every window of an array as a read-only view that copies nothing.

    Parameters
    ----------
    array
        ``(E, S)`` or ``(E, S, F)``.
    length
        Steps in a window, T.

    Returns
    -------
    numpy.ndarray
        ``(E, S - T + 1, T)`` or ``(E, S - T + 1, T, F)``, sharing the memory of `array`.

    Examples
    --------
    >>> cube = np.zeros((2, 10, 3), np.float32)
    >>> view = window_view(cube, 4)
    >>> view.shape, np.shares_memory(view, cube)
    ((2, 7, 4, 3), True)
    """
    view = sliding_window_view(array, length, axis=1)
    return view if array.ndim == 2 else view.swapaxes(-1, -2)
