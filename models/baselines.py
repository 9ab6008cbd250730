"""Reconstructions that need no autoencoder, for it to be measured against."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from models.windowing import Batch, WindowedCube

__all__ = [
    "MAX_PCA_VALUES",
    "PrincipalComponents",
    "SeasonalLastValue",
    "covered_rows",
    "draw_windows",
    "last_value",
    "sum_of_rows",
    "training_mean",
]

MAX_PCA_VALUES = 2**24
"""Values (windows x T x F) that PCA is fitted on at most: 64 MiB of float32."""

_ROWS_AT_ONCE = 2**14
_MAX_EXACT = 2048  # components; beyond, an exact solver takes longer than a randomised one


def training_mean(data: WindowedCube, windows: Tensor) -> Tensor:
    """Mean `(F,)` float64 of the target over the observed steps in windows, each counted once.

    Examples
    --------
    >>> cube = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    >>> data = WindowedCube.place(cube, np.ones((1, 4), dtype=bool), length=2, device="cpu")
    >>> training_mean(data, torch.tensor([[0, 0], [0, 1]]))
    tensor([1.], dtype=torch.float64)
    """
    target = data.values if data.targets is None else data.targets
    rows = covered_rows(data, windows)
    return sum_of_rows(target, rows, lambda values: values) / len(rows)


def covered_rows(data: WindowedCube, windows: Tensor) -> Tensor:
    """Return the rows of `data.values` that are observed and lie in a window, each once.

    Examples
    --------
    >>> cube = np.zeros((1, 4, 1), np.float32)
    >>> data = WindowedCube.place(cube, np.ones((1, 4), dtype=bool), length=2, device="cpu")
    >>> covered_rows(data, torch.tensor([[0, 1], [0, 2]]))
    tensor([1, 2, 3])
    """
    covered = torch.zeros_like(data.observed)
    for some in torch.split(windows, _ROWS_AT_ONCE):
        covered[data.positions(some)] = True
    return (covered & data.observed).nonzero().flatten()


def sum_of_rows(values: Tensor, rows: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum `(F,)` float64 of a function of some rows of `(N, F)`, without a copy of them all.

    Examples
    --------
    >>> sum_of_rows(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2]), torch.square)
    tensor([10.], dtype=torch.float64)
    """
    total = values.new_zeros(values.shape[1], dtype=torch.float64)
    for some in torch.split(rows, _ROWS_AT_ONCE):
        total += function(values[some].double()).sum(dim=0)
    return total


def last_value(x: Tensor, observed: Tensor, mean: Tensor) -> Tensor:
    """Predict each step `(B, T, F)` by the last observed one before it in its window.

    Parameters
    ----------
    x, observed
        `(B, T, F)` and `(B, T)` bool.
    mean
        `(F,)`: the prediction where no step was observed before; a step never predicts itself.

    Examples
    --------
    >>> x = torch.tensor([[[5.0], [0.0], [7.0]]])
    >>> last_value(x, torch.tensor([[True, False, True]]), torch.zeros(1)).flatten()
    tensor([0., 5., 5.])
    """
    steps = torch.arange(x.shape[1], device=x.device)
    latest = torch.where(observed, steps, -1).cummax(dim=1).values
    before = torch.cat([torch.full_like(latest[:, :1], -1), latest[:, :-1]], dim=1)[..., None]
    predicted = x.gather(1, before.clamp(min=0).expand_as(x))
    return torch.where(before >= 0, predicted, mean.to(x.dtype))


@dataclass(frozen=True, kw_only=True)
class SeasonalLastValue:
    """Predict each step by the observed value of its entity one season before.

    That value may lie before the window, but not before the cube.

    Attributes
    ----------
    data
        Where the values of a season before are looked up.
    season
        Steps of a season, at least 1.
    mean
        `(F,)`: the prediction where no value was observed a season before.

    Examples
    --------
    >>> cube = np.arange(5, dtype=np.float32).reshape(1, 5, 1)
    >>> data = WindowedCube.place(cube, np.ones((1, 5), dtype=bool), length=3, device="cpu")
    >>> seasonal = SeasonalLastValue(data=data, season=3, mean=torch.tensor([9.0]))
    >>> seasonal.predict(data.gather(torch.tensor([[0, 2]]))).flatten()
    tensor([9., 0., 1.])
    """

    data: WindowedCube
    season: int
    mean: Tensor

    def predict(self, batch: Batch) -> Tensor:
        """Return the predictions `(B, T, F)` of a batch of this cube's windows."""
        windows = batch.windows.to(self.data.device)
        offsets = torch.arange(self.data.length, device=self.data.device)
        is_inside = windows[:, 1:] + offsets >= self.season
        # Positions before the entity's first step are another entity's.
        before = torch.where(is_inside, self.data.positions(windows) - self.season, 0)
        known = is_inside & self.data.observed[before]
        target = self.data.values if self.data.targets is None else self.data.targets
        value = torch.where(known[..., None], target[before], self.mean.to(target))
        return value.to(batch.target.device)


@dataclass(frozen=True, kw_only=True)
class PrincipalComponents:
    """Reconstruction of flattened windows from their leading principal components.

    Attributes
    ----------
    fill
        `(F,)`: what stands for masked values.
    mean
        `(T * F,)`.
    components
        `(K, T * F)`, orthonormal rows; K is at most the number of fitted windows and T * F.

    Examples
    --------
    >>> cube = np.arange(12, dtype=np.float32).reshape(1, 12, 1)
    >>> data = WindowedCube.place(cube, np.ones((1, 12), dtype=bool), length=3, device="cpu")
    >>> windows = torch.tensor([[0, start] for start in range(8)])
    >>> pca = PrincipalComponents.fit(data, windows, torch.zeros(1), n_components=1, seed=0)
    >>> pca.predict(data.gather(torch.tensor([[0, 9]]))).round(decimals=2).flatten()
    tensor([ 9., 10., 11.])
    """

    fill: Tensor
    mean: Tensor
    components: Tensor

    @classmethod
    def fit(
        cls, data: WindowedCube, windows: Tensor, fill: Tensor, *, n_components: int, seed: int
    ) -> "PrincipalComponents":
        """Fit on the windows' target, on `MAX_PCA_VALUES` drawn from them at most."""
        n_values = data.length * data.n_features
        fitted = data.gather(draw_windows(windows, n_values, at_least=n_components, seed=seed))
        n_fitted, fill = len(fitted.windows), fill.to(fitted.target)
        centred = torch.where(fitted.observed[..., None], fitted.target - fill, 0.0).flatten(1)
        flat = centred.cpu().numpy()
        if n_fitted == 1:  # no direction in which a single window varies
            mean, components = flat[0], flat[:0]
        else:
            n_components = min(n_components, n_fitted, n_values)
            solver = _solver(n_fitted, n_values)
            pca = PCA(n_components, svd_solver=solver, random_state=seed)
            # The share of variance explained is 0 / 0 for windows that are all alike.
            with np.errstate(invalid="ignore", divide="ignore"):
                pca.fit(flat)
            mean, components = pca.mean_, pca.components_
        return cls(
            fill=fill,
            mean=torch.tensor(mean, device=data.device) + fill.repeat(data.length),
            components=torch.tensor(components, device=data.device),
        )

    def truncated(self, n_components: int) -> "PrincipalComponents":
        """Return the leading components only."""
        return replace(self, components=self.components[:n_components])

    def to(self, device: torch.device) -> "PrincipalComponents":
        """Return the same on a device."""
        return PrincipalComponents(
            fill=self.fill.to(device),
            mean=self.mean.to(device),
            components=self.components.to(device),
        )

    def predict(self, batch: Batch) -> Tensor:
        """Project the target `(B, T, F)`, masked values filled, onto the components and back."""
        filled = torch.where(batch.observed[..., None], batch.target, self.fill)
        centred = filled.flatten(1) - self.mean
        projected = centred @ self.components.T @ self.components
        return (self.mean + projected).view_as(batch.target)


def _solver(n_fitted: int, n_values: int) -> str:
    if min(n_fitted, n_values) > _MAX_EXACT:
        return "auto"
    return "covariance_eigh" if n_values <= n_fitted else "full"


def draw_windows(windows: Tensor, n_values: int, *, at_least: int, seed: int) -> Tensor:
    """Draw windows `(N, 2)` of `n_values` each, `MAX_PCA_VALUES` in all but at least so many."""
    generator = torch.Generator().manual_seed(seed)
    n_drawn = min(len(windows), max(MAX_PCA_VALUES // n_values, at_least))
    return windows[torch.randperm(len(windows), generator=generator)[:n_drawn].to(windows.device)]
