"""Batches of windows gathered by index from a cube that lies on the device once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import ShapeError

__all__ = ["WindowedCube", "validate_cube", "validate_windows", "validate_windows_with_data"]


@dataclass(frozen=True, kw_only=True)
class WindowedCube:
    """A cube on a device, from which windows are gathered a batch at a time.

    Attributes
    ----------
    values
        `(E * S, F)` float32: the steps of all entities, one entity after the other.
    observed
        `(E * S,)` bool.
    n_entities, n_steps, length
        E, S and T.

    Examples
    --------
    >>> cube = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    >>> data = WindowedCube.place(cube, np.ones((1, 4), dtype=bool), length=2, device="cpu")
    >>> data.gather(torch.tensor([[0, 1]]))[0]
    tensor([[[1.],
             [2.]]])
    """

    values: Tensor
    observed: Tensor
    n_entities: int
    n_steps: int
    length: int

    @classmethod
    def place(
        cls,
        cube: NDArray[np.float32],
        observed: NDArray[np.bool_],
        *,
        length: int,
        device: torch.device | str,
    ) -> "WindowedCube":
        """Put a validated cube `(E, S, F)` and its mask `(E, S)` on the device."""
        n_entities, n_steps, n_features = cube.shape
        return cls(
            values=_tensor(cube).reshape(-1, n_features).to(device),
            observed=_tensor(observed).reshape(-1).to(device),
            n_entities=n_entities,
            n_steps=n_steps,
            length=length,
        )

    @property
    def device(self) -> torch.device:
        """Where the values lie."""
        return self.values.device

    @property
    def n_features(self) -> int:
        """F."""
        return self.values.shape[1]

    def windows(self, windows: NDArray[np.int64]) -> Tensor:
        """Put validated window rows `(N, 2)` on the device."""
        return _tensor(windows).to(self.device)

    def positions(self, windows: Tensor) -> Tensor:
        """Return the rows `(B, T)` of `values` that windows `(B, 2)` cover."""
        first = windows[:, 0] * self.n_steps + windows[:, 1]
        return first[:, None] + torch.arange(self.length, device=self.device)

    def gather(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return values `(B, T, F)` and mask `(B, T)` of windows `(B, 2)`."""
        positions = self.positions(windows)
        return self.values[positions], self.observed[positions]

    def batches(self, windows: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (windows, values, mask) in order, the last batch as short as it comes."""
        for first in range(0, len(windows), batch_size):
            batch = windows[first : first + batch_size]
            yield batch, *self.gather(batch)


def validate_cube(
    cube: NDArray[np.float32], observed: NDArray[np.bool_], *, n_features: int | None = None
) -> None:
    """Check that a cube and its mask hold to the contract.

    Parameters
    ----------
    cube
        `(E, S, F)` float32, finite everywhere.
    observed
        `(E, S)` bool.
    n_features
        The F of the model that is to see the cube; None for any.

    Raises
    ------
    ShapeError
        If a shape or dtype is wrong.
    ValueError
        If a value is not finite; the message names the first one's entity, step and feature.

    Examples
    --------
    >>> validate_cube(np.zeros((2, 9, 3), np.float32), np.ones((2, 9), np.bool_))
    """
    if cube.ndim != 3 or cube.dtype != np.float32 or 0 in cube.shape:
        raise ShapeError(
            f"cube is {cube.dtype} of shape {cube.shape}; expected float32 of shape (entities, "
            "steps, features), none of them 0. Use cube.astype(np.float32)"
        )
    if n_features is not None and cube.shape[2] != n_features:
        raise ShapeError(
            f"cube has {cube.shape[2]} features and the model {n_features}; give the features "
            "that the model was trained on, in their order"
        )
    if observed.shape != cube.shape[:2] or observed.dtype != np.bool_:
        raise ShapeError(
            f"observed is {observed.dtype} of shape {observed.shape}; expected bool of shape "
            f"{cube.shape[:2]}, the cube's without its features"
        )
    finite = np.isfinite(cube)
    if not finite.all():
        entity, step, feature = np.argwhere(~finite)[0]
        raise ValueError(
            f"cube holds {int((~finite).sum())} values that are not finite, the first at entity "
            f"{entity}, step {step}, feature {feature}; fill masked steps with 0 and mark them "
            "False in observed"
        )


def validate_windows(
    windows: NDArray[np.int64],
    *,
    length: int,
    n_entities: int,
    n_steps: int,
    name: str = "windows",
) -> None:
    """Check that every window lies inside the cube.

    Parameters
    ----------
    windows
        `(N, 2)` int64: rows (entity, start). N may be 0.
    length
        T, at least 1.
    n_entities, n_steps
        E and S of the cube.
    name
        What the message calls them.

    Raises
    ------
    ShapeError
        If the shape or dtype is wrong.
    ValueError
        If `length` is under 1 or a window reaches out of the cube.

    Examples
    --------
    >>> validate_windows(np.array([[0, 3]]), length=5, n_entities=1, n_steps=8)
    >>> validate_windows(np.array([[0, 4]]), length=5, n_entities=1, n_steps=8)
    Traceback (most recent call last):
    ...
    ValueError: windows[0] is (entity 0, start 4) of length 5, which ...
    """
    if length < 1:
        raise ValueError(f"length is {length}; a window has at least 1 step")
    if windows.ndim != 2 or windows.shape[1] != 2 or windows.dtype != np.int64:
        raise ShapeError(
            f"{name} is {windows.dtype} of shape {windows.shape}; expected int64 of shape (N, 2), "
            "rows (entity, start)"
        )
    inside = (windows >= 0) & (windows <= [n_entities - 1, n_steps - length])
    if not inside.all():
        row = int(np.argmin(inside.all(axis=1)))
        entity, start = windows[row]
        raise ValueError(
            f"{name}[{row}] is (entity {entity}, start {start}) of length {length}, which reaches "
            f"out of {n_entities} entities x {n_steps} steps; make the windows from this very cube"
        )


def validate_windows_with_data(
    windows: NDArray[np.int64], observed: NDArray[np.bool_], *, length: int, name: str
) -> None:
    """Check that windows lie inside the cube and that there is something in them to learn from.

    Parameters
    ----------
    windows
        `(N, 2)` int64: rows (entity, start).
    observed
        `(E, S)` bool.
    length
        T.
    name
        Of the period, such as "training".

    Raises
    ------
    ShapeError
        If the shape or dtype of `windows` is wrong.
    ValueError
        If a window lies outside the cube, there are none, or none covers an observed step.

    Examples
    --------
    >>> observed = np.ones((1, 8), dtype=bool)
    >>> validate_windows_with_data(np.array([[0, 3]]), observed, length=5, name="training")
    """
    n_entities, n_steps = observed.shape
    validate_windows(
        windows,
        length=length,
        n_entities=n_entities,
        n_steps=n_steps,
        name=f"{name} windows",
    )
    if len(windows) == 0:
        raise ValueError(
            f"there are no {name} windows; shorten the windows (length is {length}) or give the "
            f"{name} period at least {length} steps"
        )
    if not any(observed[entity, start : start + length].any() for entity, start in windows):
        raise ValueError(
            f"no {name} window covers an observed step; lower the number of events that a step "
            "needs, or choose a period with data"
        )


def _tensor(array: NDArray[np.generic]) -> Tensor:
    # torch shares memory with numpy and warns about read-only arrays.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
