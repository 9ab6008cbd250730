"""Reconstructions that need no autoencoder, for it to be measured against."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from models.windowing import WindowedCube

__all__ = ["MAX_PCA_VALUES", "PrincipalComponents", "last_value", "training_mean"]

MAX_PCA_VALUES = 2**24
"""Values (windows x T x F) that PCA is fitted on at most: 64 MiB of float32."""


def training_mean(data: WindowedCube, windows: Tensor, batch_size: int) -> Tensor:
    """Mean `(F,)` float64 over the observed steps that the windows cover, each counted once.

    Examples
    --------
    >>> cube = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    >>> data = WindowedCube.place(cube, np.ones((1, 4), dtype=bool), length=2, device="cpu")
    >>> training_mean(data, torch.tensor([[0, 0], [0, 1]]), 8)
    tensor([1.], dtype=torch.float64)
    """
    covered = torch.zeros_like(data.observed)
    for batch in torch.split(windows, batch_size):
        covered[data.positions(batch)] = True
    return data.values[covered & data.observed].double().mean(dim=0)


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
class PrincipalComponents:
    """Reconstruction of flattened windows from their leading principal components.

    Attributes
    ----------
    mean
        `(T * F,)`.
    components
        `(K, T * F)`, orthonormal rows; K is at most the number of fitted windows and T * F.

    Examples
    --------
    >>> cube = np.arange(12, dtype=np.float32).reshape(1, 12, 1)
    >>> data = WindowedCube.place(cube, np.ones((1, 12), dtype=bool), length=3, device="cpu")
    >>> windows = torch.tensor([[0, start] for start in range(8)])
    >>> pca = PrincipalComponents.fit(data, windows, n_components=1, seed=0)
    >>> pca.reconstruct(torch.tensor([[[1.0], [2.0], [3.0]]])).round(decimals=3).flatten()
    tensor([1., 2., 3.])
    """

    mean: Tensor
    components: Tensor

    @classmethod
    def fit(
        cls, data: WindowedCube, windows: Tensor, *, n_components: int, seed: int
    ) -> "PrincipalComponents":
        """Fit on the windows, masked values as 0; on `MAX_PCA_VALUES` drawn from them at most."""
        n_values = data.length * data.n_features
        generator = torch.Generator().manual_seed(seed)
        # Never fewer windows than components, whatever the cap.
        n_fitted = min(len(windows), max(MAX_PCA_VALUES // n_values, n_components))
        drawn = torch.randperm(len(windows), generator=generator)[:n_fitted].to(data.device)
        flat = _filled(*data.gather(windows[drawn])).flatten(1).cpu().numpy()
        if n_fitted == 1:  # no direction in which a single window varies
            mean, components = flat[0], flat[:0]
        else:
            pca = PCA(min(n_components, n_fitted, n_values), random_state=seed)
            # The share of variance explained is 0 / 0 for windows that are all alike.
            with np.errstate(invalid="ignore", divide="ignore"):
                pca.fit(flat)
            mean, components = pca.mean_, pca.components_
        return cls(
            mean=torch.tensor(mean, device=data.device),
            components=torch.tensor(components, device=data.device),
        )

    def reconstruct(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Project `(B, T, F)`, masked values as 0, onto the components and back."""
        centred = (x if observed is None else _filled(x, observed)).flatten(1) - self.mean
        return (self.mean + centred @ self.components.T @ self.components).view_as(x)


def _filled(x: Tensor, observed: Tensor) -> Tensor:
    return torch.where(observed[..., None], x, 0.0)
