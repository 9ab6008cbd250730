"""What a model expects of the newest step of each window: all that a nightly run can judge."""

import numpy as np
import torch
from numpy.typing import NDArray

from models.autoencoder import LSTMAutoencoder
from models.contract import validate_cube, validate_windows
from models.device import Device, resolve_device
from models.scoring import place_model
from models.windowing import CubeOnHost, SlabbedCube, WindowedCube, scoring_slab_bytes

__all__ = ["nowcast"]


def nowcast(
    model: LSTMAutoencoder,
    cube: NDArray[np.float32],
    observed: NDArray[np.bool_],
    windows: NDArray[np.int64],
    *,
    length: int,
    is_hidden: bool = True,
    batch_size: int = 512,
    device: Device = "auto",
    slab_bytes: int | None = None,
) -> NDArray[np.float32]:
    """Return what the model makes of each window's newest step.

    A step's expectation depends on the steps of its one window alone: it is the same tonight as
    in a year, whatever has come after, and whatever else is scored.

    Parameters
    ----------
    model
        Left as it is: a copy is scored.
    cube, observed
        `(E, S, F)` float32, standardised so that 0 is what is usual, and `(E, S)` bool.
    windows
        `(N, 2)` int64: rows (entity, start).
    length
        T, the steps of a window.
    is_hidden
        Whether the encoder gets 0 in place of the newest step. It is then expected from the steps
        before it, and an anomaly cannot explain itself; else it is reconstructed.
    batch_size
        Windows at once; doesn't change the result.
    device
        `"auto"` is the GPU where there is one.
    slab_bytes
        As in `score`.

    Returns
    -------
    numpy.ndarray
        float32 `(E, S, F)`: NaN where no window ends.

    Raises
    ------
    ShapeError
        If an array's shape or dtype is wrong, or the model is made for other features.
    ValueError
        If the cube is not finite, a window lies outside it, or `batch_size` is under 1.

    Examples
    --------
    >>> cube, observed = np.ones((1, 6, 2), np.float32), np.ones((1, 6), np.bool_)
    >>> expected = nowcast(LSTMAutoencoder(2), cube, observed, np.array([[0, 1]]), length=4)
    >>> np.isnan(expected[0, :, 0]).tolist()
    [True, True, True, True, False, True]
    """
    validate_cube(cube, observed, n_features=model.n_features)
    n_entities, n_steps = observed.shape
    validate_windows(windows, length=length, n_entities=n_entities, n_steps=n_steps)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    placed, place = place_model(model, device), resolve_device(device)
    slabs = SlabbedCube(
        CubeOnHost(values=cube, observed=observed, length=length),
        device=place,
        slab_bytes=slab_bytes or scoring_slab_bytes(place, n_extra=0),
    )
    expected = np.full_like(cube, np.nan, order="C")
    for slab, rows in enumerate(slabs.rows_by_slab(windows)):
        entity, newest = windows[rows].T + np.array([[0], [length - 1]])
        expected[entity, newest] = _newest(
            placed, *slabs.place(slab, windows[rows]), batch_size, is_hidden=is_hidden
        )
    return expected


@torch.inference_mode()
def _newest(
    model: LSTMAutoencoder,
    data: WindowedCube,
    windows: torch.Tensor,
    batch_size: int,
    *,
    is_hidden: bool,
) -> NDArray[np.float32]:
    """Return the reconstruction `(N, F)` of the newest step of windows of a slab."""
    parts = []
    for batch in data.batches(windows, batch_size):
        x = batch.x
        if is_hidden:
            x[:, -1] = 0
        parts.append(model.encode_and_reconstruct(x)[1][:, -1].cpu())
    empty = torch.empty(0, data.n_features)
    newest: NDArray[np.float32] = torch.cat([empty, *parts]).numpy()
    return newest
