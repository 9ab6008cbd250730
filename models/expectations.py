"""What simple rules expect of each step, beside what an autoencoder does.

Values are standardised, so that 0 is what is usual for an entity and feature: the training mean
expects 0 throughout. Each rule returns float32 `(E, S, F)`.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from models.baselines import PrincipalComponents, training_mean
from models.contract import validate_cube, validate_windows, validate_windows_with_data
from models.windowing import WindowedCube

__all__ = ["last_value_expectation", "principal_components_expectation", "trailing_expectation"]

Floats = NDArray[np.float32]

_BATCH_SIZE = 2048


def last_value_expectation(cube: Floats, observed: NDArray[np.bool_]) -> Floats:
    """Expect of each step what was last observed before it; 0 where nothing was.

    Parameters
    ----------
    cube, observed
        `(E, S, F)` float32 and `(E, S)` bool.

    Raises
    ------
    ShapeError, ValueError
        As `train`.

    Examples
    --------
    >>> cube = np.float32([[[5], [0], [7]]])
    >>> last_value_expectation(cube, np.array([[True, False, True]])).ravel().tolist()
    [0.0, 5.0, 5.0]
    """
    validate_cube(cube, observed)
    positions = np.where(observed, np.arange(observed.shape[1]), -1)
    last = np.maximum.accumulate(positions, axis=1)
    before = np.concatenate([np.full_like(last[:, :1], -1), last[:, :-1]], axis=1)[..., None]
    values = np.take_along_axis(cube, np.maximum(before, 0), axis=1)
    return np.where(before >= 0, values, np.float32(0))


def trailing_expectation(cube: Floats, observed: NDArray[np.bool_], *, n_steps: int) -> Floats:
    """Expect of each step the mean of the observed ones among the `n_steps` before it.

    Where none of them was observed it is 0.

    Parameters
    ----------
    cube, observed
        `(E, S, F)` float32 and `(E, S)` bool.
    n_steps
        At least 1.

    Raises
    ------
    ShapeError, ValueError
        As `train`, and if `n_steps` is under 1.

    Examples
    --------
    >>> cube = np.float32([[[1], [3], [8], [0]]])
    >>> trailing_expectation(cube, np.ones((1, 4), bool), n_steps=2).ravel().tolist()
    [0.0, 1.0, 2.0, 5.5]
    """
    validate_cube(cube, observed)
    if n_steps < 1:
        raise ValueError(f"n_steps is {n_steps}; it must be at least 1")
    seen = np.where(observed[..., None], cube, np.float32(0))
    total = _sum_of_steps_before(seen, n_steps)
    n = _sum_of_steps_before(observed[..., None], n_steps)
    return np.divide(total, n, out=np.zeros_like(total), where=n > 0).astype(np.float32)


def principal_components_expectation(
    cube: Floats,
    observed: NDArray[np.bool_],
    training_windows: NDArray[np.int64],
    windows: NDArray[np.int64],
    *,
    length: int,
    n_components: int,
    seed: int,
) -> Floats:
    """Expect of each step its reconstruction by PCA, averaged over the windows that cover it.

    Parameters
    ----------
    cube, observed
        `(E, S, F)` float32 and `(E, S)` bool.
    training_windows, windows
        `(N, 2)` int64: what PCA is fitted on, and what it reconstructs.
    length
        T, the steps of a window.
    n_components
        Numbers that a window is compressed to, as an autoencoder's latent size.
    seed
        Of the windows drawn for the fit where there are very many.

    Returns
    -------
    numpy.ndarray
        NaN where no window covers the step.

    Raises
    ------
    ShapeError, ValueError
        As `train`.

    Examples
    --------
    >>> cube = np.sin(np.arange(60, dtype=np.float32)).reshape(1, 60, 1)
    >>> windows = np.array([[0, start] for start in range(51)])
    >>> expected = principal_components_expectation(
    ...     cube, np.ones((1, 60), bool), windows, windows, length=10, n_components=2, seed=0
    ... )
    >>> float(np.abs(cube - expected).max()) < 1e-4
    True
    """
    validate_cube(cube, observed)
    validate_windows_with_data(training_windows, observed, length=length, name="training")
    n_entities, n_steps = observed.shape
    validate_windows(windows, length=length, n_entities=n_entities, n_steps=n_steps)
    data = WindowedCube.place(cube, observed, length=length, device="cpu")
    fitted = data.windows(training_windows)
    components = PrincipalComponents.fit(
        data, fitted, training_mean(data, fitted).float(), n_components=n_components, seed=seed
    )
    total = torch.zeros_like(data.values, dtype=torch.float64)
    coverage = torch.zeros(len(total), dtype=torch.float64)
    for batch in data.batches(data.windows(windows), _BATCH_SIZE):
        rows = data.positions(batch.windows).flatten()
        total.index_add_(0, rows, components.predict(batch).flatten(0, 1).double())
        coverage.index_add_(0, rows, torch.ones(len(rows), dtype=torch.float64))
    expected: Floats = (total / coverage[:, None]).float().numpy().reshape(cube.shape)
    return expected


def _sum_of_steps_before(values: NDArray[np.generic], n_steps: int) -> NDArray[np.float64]:
    """Return the sums `(E, S, F)` over the `n_steps` steps before each."""
    until = np.cumsum(values, axis=1, dtype=np.float64)
    until = np.concatenate([np.zeros_like(until[:, :1]), until], axis=1)[:, :-1]
    first = np.maximum(np.arange(until.shape[1]) - n_steps, 0)
    return until - until[:, first]
