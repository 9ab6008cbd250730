"""The best linear map of a window through as few numbers as an embedding has."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.parameter import Parameter

from models.baselines import PrincipalComponents, draw_windows
from models.windowing import Batch, WindowedCube

__all__ = ["LinearAutoencoder", "split_by_start"]

_EPOCHS = 40
_PATIENCE = 4
_BATCH_SIZE = 256
_LEARNING_RATE = 1e-3
_JUDGED_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class LinearAutoencoder:
    """Reconstruction of flattened windows from K linear combinations of their values.

    PCA is the best such map where every value is observed and seen. This one starts from PCA and
    is trained on what counts: the squared error of observed values only, the encoder denied some
    values if that of the model to be compared was.

    Attributes
    ----------
    fill
        `(F,)`: what stands for masked values.
    scale
        That values, less `fill`, are divided by before the encoder and multiplied with after the
        decoder.
    encoder, decoder
        `(T * F, K)` and `(K, T * F)`.
    bias
        `(T * F,)`, of the decoder; one of the encoder would come to the same.

    Examples
    --------
    >>> cube, observed = torch.arange(40.0).reshape(1, 40, 1), torch.ones(1, 40, dtype=torch.bool)
    >>> data = WindowedCube.place(cube.numpy(), observed.numpy(), length=3, device="cpu")
    >>> windows = torch.tensor([[0, start] for start in range(30)])
    >>> pca = PrincipalComponents.fit(data, windows, torch.zeros(1), n_components=1, seed=0)
    >>> linear = LinearAutoencoder.fit(data, windows, pca)
    >>> linear.predict(data.gather(torch.tensor([[0, 33]]))).round(decimals=1).flatten()
    tensor([33., 34., 35.])
    """

    fill: Tensor
    scale: float
    encoder: Tensor
    decoder: Tensor
    bias: Tensor

    @classmethod
    def fit(
        cls,
        data: WindowedCube,
        windows: Tensor,
        pca: PrincipalComponents,
        *,
        input_dropout: float = 0.0,
        seed: int = 0,
    ) -> "LinearAutoencoder":
        """Train on the earlier windows for as long as the error of the last tenth falls.

        Where it never does, or there are too few windows to tell, the result is the given PCA.

        Parameters
        ----------
        data, windows
            `(N, 2)` rows (entity, start); drawn from as for PCA.
        pca
            Fitted on all windows; gives K, what masked values are filled with, and the device.
        input_dropout
            Share of the values that the encoder doesn't get to see in training.
        seed
            Determines the windows drawn, their order and the values left out.
        """
        n_components, n_values = len(pca.components), data.length * data.n_features
        earlier, later = split_by_start(windows, data.length)
        if len(earlier) <= n_components or n_components == 0:
            return cls.from_components(pca)
        start = PrincipalComponents.fit(
            data, earlier, pca.fill, n_components=n_components, seed=seed
        ).to(pca.mean.device)
        fitted, judged = (
            data.gather(draw_windows(part, n_values, at_least=n_components, seed=seed))
            for part in (earlier, later)
        )
        trained = _train(start, fitted, judged, input_dropout, seed)
        return trained or cls.from_components(pca)

    @classmethod
    def from_components(
        cls, pca: PrincipalComponents, *, scale: float = 1.0
    ) -> "LinearAutoencoder":
        """Return the map that PCA is."""
        mean = (pca.mean - pca.fill.repeat(len(pca.mean) // len(pca.fill))) / scale
        return cls(
            fill=pca.fill,
            scale=scale,
            encoder=pca.components.T,
            decoder=pca.components,
            bias=mean - mean @ pca.components.T @ pca.components,
        )

    def predict(self, batch: Batch) -> Tensor:
        """Map the target `(B, T, F)`, masked values filled, through K numbers and back."""
        centred = torch.where(batch.observed[..., None], batch.target - self.fill, 0.0)
        output = centred.flatten(1) / self.scale @ self.encoder @ self.decoder + self.bias
        return output.view_as(batch.target) * self.scale + self.fill


def split_by_start(windows: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return the windows of the last tenth of the starts, and before them those that don't overlap.

    Examples
    --------
    >>> earlier, later = split_by_start(torch.tensor([[0, start] for start in range(20)]), 3)
    >>> earlier[:, 1].max(), later[:, 1].min()
    (tensor(15), tensor(18))
    """
    starts = windows[:, 1]
    first, end = int(starts.min()), int(starts.max()) + 1
    cut = end - math.ceil((end - first) * _JUDGED_SHARE)
    return windows[starts + length <= cut], windows[starts >= cut]


@dataclass(frozen=True, kw_only=True)
class _Flat:
    """Windows flattened and scaled, `(N, T * F)`, masked values 0, and which are observed."""

    x: Tensor
    observed: Tensor

    @classmethod
    def of(cls, batch: Batch, fill: Tensor, scale: float) -> "_Flat":
        place = fill.device
        observed = batch.observed.to(place)[..., None].expand_as(batch.target)
        x = torch.where(observed, (batch.target.to(place) - fill) / scale, 0.0)
        return cls(x=x.flatten(1), observed=observed.flatten(1))

    def loss(self, output: Tensor) -> Tensor:
        """Return the mean squared error of the observed values; 0 if there are none."""
        total = torch.where(self.observed, output - self.x, 0.0).square().sum()
        return total / self.observed.sum().clamp(min=1)


def _train(
    start: PrincipalComponents, fitted: Batch, judged: Batch, input_dropout: float, seed: int
) -> LinearAutoencoder | None:
    """Return the linear autoencoder of the lowest error in `judged`; None if that is the start."""
    scale = float((fitted.target - start.fill.cpu())[fitted.observed].square().mean().sqrt()) or 1.0
    examples, judges = (_Flat.of(batch, start.fill, scale) for batch in (fitted, judged))
    linear = LinearAutoencoder.from_components(start, scale=scale)
    parameters = [Parameter(t.clone()) for t in (linear.encoder, linear.decoder, linear.bias)]
    optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE)
    generator = torch.Generator(start.mean.device).manual_seed(seed)
    lowest, best, best_epoch = _error(parameters, judges), None, 0
    for epoch in range(1, _EPOCHS + 1):
        _train_epoch(parameters, optimizer, examples, input_dropout, generator)
        error = _error(parameters, judges)
        if error < lowest:
            lowest, best_epoch = error, epoch
            best = [parameter.detach().clone() for parameter in parameters]
        if epoch - best_epoch >= _PATIENCE:
            break
    if best is None:
        return None
    encoder, decoder, bias = best
    return LinearAutoencoder(
        fill=start.fill, scale=scale, encoder=encoder, decoder=decoder, bias=bias
    )


def _train_epoch(
    parameters: list[Parameter],
    optimizer: torch.optim.Optimizer,
    examples: _Flat,
    input_dropout: float,
    generator: torch.Generator,
) -> None:
    place = examples.x.device
    order = torch.randperm(len(examples.x), generator=generator, device=place)
    for rows in torch.split(order, _BATCH_SIZE):
        batch = _Flat(x=examples.x[rows], observed=examples.observed[rows])
        seen = batch.x
        if input_dropout:
            kept = torch.rand(seen.shape, generator=generator, device=place) >= input_dropout
            seen = seen * kept / (1 - input_dropout)
        optimizer.zero_grad()
        torch.autograd.backward(batch.loss(_forward(parameters, seen)))
        optimizer.step()


@torch.no_grad()
def _error(parameters: list[Parameter], judges: _Flat) -> float:
    return float(judges.loss(_forward(parameters, judges.x)))


def _forward(parameters: list[Parameter], seen: Tensor) -> Tensor:
    encoder, decoder, bias = parameters
    return seen @ encoder @ decoder + bias
