"""Embeddings and reconstruction errors of windows and of the steps that they cover."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.autoencoder import LSTMAutoencoder
from models.contract import validate_cube, validate_target, validate_windows
from models.device import Device, resolve_device
from models.windowing import CubeOnHost, SlabbedCube, WindowedCube, scoring_slab_bytes

__all__ = ["Scores", "place_model", "score"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores in float32, NaN where there is nothing to score.

    Attributes
    ----------
    embeddings
        `(N, L)`: the encoder's final hidden state of each window.
    window_error
        `(N,)`: mean squared error over the window's observed values; NaN if there are none.
    step_feature_error
        `(E, S, F)`: squared error averaged over the windows that cover the step; NaN where the
        step is not observed or not covered.
    step_reconstruction
        `(E, S, F)`: reconstruction averaged over the windows that cover the step; NaN where it
        is not covered.
    coverage
        `(E, S)` int32: how many windows cover the step.
    """

    embeddings: NDArray[np.float32]
    window_error: NDArray[np.float32]
    step_feature_error: NDArray[np.float32]
    step_reconstruction: NDArray[np.float32]
    coverage: NDArray[np.int32]

    @property
    def step_error(self) -> NDArray[np.float32]:
        """`(E, S)`: `step_feature_error` averaged over the features."""
        mean: NDArray[np.float32] = self.step_feature_error.mean(axis=2)
        return mean


def score(
    model: LSTMAutoencoder,
    cube: NDArray[np.float32],
    observed: NDArray[np.bool_],
    windows: NDArray[np.int64],
    *,
    length: int,
    target: NDArray[np.float32] | None = None,
    batch_size: int = 512,
    device: Device = "auto",
    slab_bytes: int | None = None,
) -> Scores:
    """Embed and reconstruct every window and judge every step that a window covers.

    A step's scores depend on the windows that cover it alone, and not on the batch size or the
    slabs. Windows are views: beside the arrays that are returned, memory holds a slab of
    entities with two float64 arrays of its shape, and one batch.

    Parameters
    ----------
    model
        Left as it is, device and mode included: a copy is scored.
    cube, observed
        `(E, S, F)` float32 and `(E, S)` bool.
    windows
        `(N, 2)` int64: rows (entity, start), none twice.
    length
        T, the steps of a window.
    target
        `(E, S, F)` float32, what the reconstruction is compared with, if that is not the cube:
        the plain proportions for a model trained with the loss `"multinomial"`.
    batch_size
        Windows that the model reconstructs at once.
    device
        `"auto"` is the GPU where there is one.
    slab_bytes
        Memory of the cube that is taken to the device at once; None is what fits, or 64 MiB on
        the CPU.

    Returns
    -------
    Scores

    Raises
    ------
    ShapeError
        If an array's shape or dtype is wrong, or the model is made for other features.
    ValueError
        If the cube is not finite, a window lies outside it or is listed twice, or
        `batch_size` is under 1.

    Examples
    --------
    >>> cube, observed = np.zeros((1, 6, 2), np.float32), np.ones((1, 6), np.bool_)
    >>> windows = np.array([[0, 0], [0, 2]])
    >>> scores = score(LSTMAutoencoder(2), cube, observed, windows, length=4)
    >>> scores.embeddings.shape, scores.coverage.tolist()
    ((2, 64), [[1, 1, 2, 2, 1, 1]])
    """
    validate_cube(cube, observed, n_features=model.n_features)
    n_entities, n_steps = observed.shape
    validate_windows(windows, length=length, n_entities=n_entities, n_steps=n_steps)
    _validate_distinct(windows, n_steps)
    if target is not None:
        validate_target(target, cube)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    placed, place = place_model(model, device), resolve_device(device)
    host = CubeOnHost(values=cube, observed=observed, length=length, target=target)
    # Two sums in float64 lie beside the values.
    slabs = SlabbedCube(
        host, device=place, slab_bytes=slab_bytes or scoring_slab_bytes(place, n_extra=4)
    )
    scores = _empty_scores(cube, len(windows), model.config.latent_size)
    for slab, (entities, rows) in enumerate(
        zip(slabs.slabs, slabs.rows_by_slab(windows), strict=True)
    ):
        _score_slab(placed, *slabs.place(slab, windows[rows]), batch_size, rows, entities, scores)
    return scores


@torch.inference_mode()
def _score_slab(
    model: LSTMAutoencoder,
    data: WindowedCube,
    windows: Tensor,
    batch_size: int,
    rows: NDArray[np.int64],
    entities: slice,
    scores: Scores,
) -> None:
    """Write what is known of a slab's windows and entities into their places in `scores`."""
    sums, first = _StepSums(data), 0
    for batch in data.batches(windows, batch_size):
        embedding, reconstruction = model.encode_and_reconstruct(batch.x)
        squared = (reconstruction - batch.target).double().square()
        own = rows[first : first + len(batch.windows)]
        scores.embeddings[own] = embedding.cpu().numpy()
        scores.window_error[own] = _window_error(squared, batch.observed).cpu().numpy()
        sums.add(data.positions(batch.windows), squared, reconstruction)
        first += len(batch.windows)
    error, expected, coverage = sums.means()
    scores.step_feature_error[entities] = error
    scores.step_reconstruction[entities] = expected
    scores.coverage[entities] = coverage


def _empty_scores(cube: NDArray[np.float32], n_windows: int, latent_size: int) -> Scores:
    return Scores(
        embeddings=np.empty((n_windows, latent_size), np.float32),
        window_error=np.empty(n_windows, np.float32),
        step_feature_error=np.empty_like(cube, order="C"),
        step_reconstruction=np.empty_like(cube, order="C"),
        coverage=np.empty(cube.shape[:2], np.int32),
    )


def place_model(model: LSTMAutoencoder, device: Device) -> LSTMAutoencoder:
    """Return a copy of the model on the device, in eval mode; the model itself is untouched.

    Raises
    ------
    ValueError
        If the device is unknown or absent.

    Examples
    --------
    >>> place_model(LSTMAutoencoder(2), "cpu").training
    False
    """
    return copy.deepcopy(model).to(resolve_device(device)).eval()


class _StepSums:
    """Sums over the windows that cover each step, a row of `WindowedCube.values` each."""

    def __init__(self, data: WindowedCube) -> None:
        self._data = data
        self._squared = torch.zeros_like(data.values, dtype=torch.float64)
        self._reconstruction = torch.zeros_like(self._squared)
        self._coverage = torch.zeros_like(data.observed, dtype=torch.int32)

    def add(self, positions: Tensor, squared: Tensor, reconstruction: Tensor) -> None:
        """Add a batch's errors and reconstructions, `(B, T, F)`, at `positions` `(B, T)`."""
        one = torch.ones_like(positions[:, 0], dtype=torch.int32)
        # Distinct windows never share a step at one offset, so that no two rows of a call
        # meet and the sums are deterministic on a GPU as well.
        for offset, rows in enumerate(positions.unbind(1)):
            self._squared.index_add_(0, rows, squared[:, offset])
            self._reconstruction.index_add_(0, rows, reconstruction[:, offset].double())
            self._coverage.index_add_(0, rows, one)

    def means(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Return squared error and reconstruction `(E, S, F)`, and coverage `(E, S)`."""
        n_windows = self._coverage[:, None]  # 0 / 0 is the NaN of a step not covered
        error = torch.where(self._data.observed[:, None], self._squared / n_windows, torch.nan)
        reconstruction = self._reconstruction / n_windows
        steps = (self._data.n_entities, self._data.n_steps)
        return (
            error.float().cpu().numpy().reshape(*steps, -1),
            reconstruction.float().cpu().numpy().reshape(*steps, -1),
            self._coverage.cpu().numpy().reshape(steps),
        )


def _window_error(squared: Tensor, observed: Tensor) -> Tensor:
    """Return the mean `(B,)` of `(B, T, F)` over observed steps; NaN where there are none."""
    per_step = torch.where(observed, squared.mean(dim=2), 0.0)
    return (per_step.sum(dim=1) / observed.sum(dim=1)).float()


def _validate_distinct(windows: NDArray[np.int64], n_steps: int) -> None:
    n_repeated = len(windows) - len(np.unique(windows[:, 0] * n_steps + windows[:, 1]))
    if n_repeated:
        raise ValueError(
            f"{n_repeated} of {len(windows)} windows repeat another; pass "
            "np.unique(windows, axis=0)"
        )
