"""Batches of windows gathered by index from a cube that lies on the device once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Batch", "CubeOnHost", "SlabbedCube", "WindowedCube"]

_CPU_SLAB_BYTES = 2**26
_GPU_SHARE = 0.4  # of the free memory; activations and the allocator need the rest


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Windows and what is known of them.

    Attributes
    ----------
    windows
        `(B, 2)` rows (entity, start).
    x
        `(B, T, F)`: what the encoder sees.
    target
        `(B, T, F)`: what is to be reconstructed; `x` itself unless the cube has targets.
    observed
        `(B, T)` bool.
    weight
        `(B, T)`, or None for 1 everywhere.
    """

    windows: Tensor
    x: Tensor
    target: Tensor
    observed: Tensor
    weight: Tensor | None


@dataclass(frozen=True, kw_only=True)
class WindowedCube:
    """A cube on a device, from which windows are gathered a batch at a time.

    Attributes
    ----------
    values
        `(E * S, F)` float32: the steps of all entities, one entity after the other.
    observed
        `(E * S,)` bool.
    targets
        As `values`, or None where these are what is to be reconstructed.
    weights
        `(E * S,)` float32, or None.
    n_entities, n_steps, length
        E, S and T.

    Examples
    --------
    >>> cube = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    >>> data = WindowedCube.place(cube, np.ones((1, 4), dtype=bool), length=2, device="cpu")
    >>> data.gather(torch.tensor([[0, 1]])).x
    tensor([[[1.],
             [2.]]])
    """

    values: Tensor
    observed: Tensor
    targets: Tensor | None = None
    weights: Tensor | None = None
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
        target: NDArray[np.float32] | None = None,
        weight: NDArray[np.float32] | None = None,
    ) -> "WindowedCube":
        """Put a validated cube `(E, S, F)`, mask `(E, S)` and what goes with them on the device."""
        n_entities, n_steps = observed.shape

        def rows(array: NDArray[np.generic]) -> Tensor:
            return _tensor(array).reshape(n_entities * n_steps, *array.shape[2:]).to(device)

        return cls(
            values=rows(cube),
            observed=rows(observed),
            targets=None if target is None else rows(target),
            weights=None if weight is None else rows(weight),
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

    def gather(self, windows: Tensor) -> Batch:
        """Return what is known of windows `(B, 2)`."""
        positions = self.positions(windows)

        def take(rows: Tensor) -> Tensor:
            # Copies whole rows, which plain indexing with a matrix does a value at a time.
            return rows.index_select(0, positions.flatten()).view(*positions.shape, *rows.shape[1:])

        x = take(self.values)
        return Batch(
            windows=windows,
            x=x,
            target=x if self.targets is None else take(self.targets),
            observed=take(self.observed),
            weight=None if self.weights is None else take(self.weights),
        )

    def batches(self, windows: Tensor, batch_size: int) -> Iterator[Batch]:
        """Yield windows in order, the last batch as short as it comes."""
        for first in range(0, len(windows), batch_size):
            yield self.gather(windows[first : first + batch_size])


@dataclass(frozen=True, kw_only=True)
class CubeOnHost:
    """A validated cube in the host's memory with what goes with it, and the length of windows.

    Attributes
    ----------
    values, target
        `(E, S, F)` float32; no target means the values.
    observed, weight
        `(E, S)` bool and float32; no weight means 1.
    length
        T.
    """

    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    length: int
    target: NDArray[np.float32] | None = None
    weight: NDArray[np.float32] | None = None

    @property
    def entity_bytes(self) -> int:
        """Memory that an entity takes on a device."""
        arrays = (self.values, self.observed, self.target, self.weight)
        return sum(array.nbytes for array in arrays if array is not None) // len(self.values)

    def place(self, entities: slice, device: torch.device | str) -> WindowedCube:
        """Put some entities on a device."""
        return WindowedCube.place(
            self.values[entities],
            self.observed[entities],
            length=self.length,
            device=device,
            target=None if self.target is None else self.target[entities],
            weight=None if self.weight is None else self.weight[entities],
        )


class SlabbedCube:
    """A cube that is taken to the device in slabs of entities, or once if it fits.

    Parameters
    ----------
    cube
        On the host.
    device
        Where windows are gathered.
    slab_bytes
        Memory that a slab may take. None means, on a GPU, 40 % of what is free; on the CPU,
        where a slab is a view, all.

    Attributes
    ----------
    slabs
        Entities of each slab.

    Examples
    --------
    >>> values = np.zeros((5, 9, 2), np.float32)
    >>> host = CubeOnHost(values=values, observed=np.ones((5, 9), bool), length=3)
    >>> SlabbedCube(host, device="cpu", slab_bytes=2 * host.entity_bytes).slabs
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """

    def __init__(
        self, cube: CubeOnHost, *, device: torch.device | str, slab_bytes: int | None = None
    ) -> None:
        self._cube, self.device = cube, torch.device(device)
        if slab_bytes is None and self.device.type == "cuda":
            slab_bytes = int(torch.cuda.mem_get_info(self.device)[0] * _GPU_SHARE)
        n_entities = len(cube.values)
        a_slab = n_entities if slab_bytes is None else max(1, slab_bytes // cube.entity_bytes)
        self.slabs = [
            slice(first, min(first + a_slab, n_entities)) for first in range(0, n_entities, a_slab)
        ]
        self.length = cube.length
        self._only = cube.place(self.slabs[0], self.device) if len(self.slabs) == 1 else None

    def rows_by_slab(self, windows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return, for each slab, which rows of `windows` `(N, 2)` lie in it, in their order."""
        if len(self.slabs) == 1:
            return [np.arange(len(windows))]
        slab_of = windows[:, 0] // (self.slabs[0].stop - self.slabs[0].start)
        order = np.argsort(slab_of, kind="stable")
        ends = np.cumsum(np.bincount(slab_of, minlength=len(self.slabs)))
        return np.split(order, ends[:-1])

    def place(self, slab: int, windows: NDArray[np.int64]) -> tuple[WindowedCube, Tensor]:
        """Return a slab on the device, and windows of it with entities counted from its first."""
        entities = self.slabs[slab]
        data = self._only or self._cube.place(entities, self.device)
        return data, data.windows(windows - np.array([entities.start, 0]))


def scoring_slab_bytes(device: torch.device, n_extra: int) -> int:
    """Return the memory of a slab, where `n_extra` arrays of the cube's size lie beside it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _GPU_SHARE / (1 + n_extra))
    return _CPU_SLAB_BYTES


def _tensor(array: NDArray[np.generic]) -> Tensor:
    # torch shares memory with numpy and warns about read-only arrays.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
