"""Embeddings and reconstruction errors of windows and of the steps that they cover."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.autoencoder import LSTMAutoencoder
from models.device import Device, resolve_device
from models.windowing import WindowedCube, validate_cube, validate_windows

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
    batch_size: int = 512,
    device: Device = "auto",
) -> Scores:
    """Embed and reconstruct every window and judge every step that a window covers.

    A step's scores depend on the windows that cover it alone, and not on the batch size.
    Beside the cube the device holds two float64 arrays of its shape.

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
    batch_size
        Windows that the model reconstructs at once.
    device
        `"auto"` is the GPU where there is one.

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
    _validate_distinct(windows)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    placed = place_model(model, device)
    data = WindowedCube.place(cube, observed, length=length, device=resolve_device(device))
    sums = _StepSums(data)
    embeddings, errors = [], []
    with torch.inference_mode():
        for batch, x, mask in data.batches(data.windows(windows), batch_size):
            embedding, reconstruction = placed.encode_and_reconstruct(x)
            squared = (reconstruction - x).double().square()
            embeddings.append(embedding.cpu())
            errors.append(_window_error(squared, mask).cpu())
            sums.add(data.positions(batch), squared, reconstruction)
        step_feature_error, step_reconstruction, coverage = sums.means()
    return Scores(
        embeddings=torch.cat(embeddings).numpy() if embeddings else _no_embeddings(model),
        window_error=torch.cat(errors).numpy() if errors else np.empty(0, np.float32),
        step_feature_error=step_feature_error,
        step_reconstruction=step_reconstruction,
        coverage=coverage,
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


def _no_embeddings(model: LSTMAutoencoder) -> NDArray[np.float32]:
    return np.empty((0, model.config.latent_size), np.float32)


def _validate_distinct(windows: NDArray[np.int64]) -> None:
    n_repeated = len(windows) - len(np.unique(windows, axis=0))
    if n_repeated:
        raise ValueError(
            f"{n_repeated} of {len(windows)} windows repeat another; pass "
            "np.unique(windows, axis=0)"
        )
