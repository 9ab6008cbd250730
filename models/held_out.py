"""Errors of several predictions of the same windows, by feature and by entity."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.autoencoder import LSTMAutoencoder
from models.windowing import Batch, WindowedCube

__all__ = [
    "Comparison",
    "Predictor",
    "batches_on",
    "compare",
    "mean_predictor",
    "model_predictor",
    "windows_with_data",
]

Predictor = Callable[[Batch], Tensor]
"""What gives predictions `(B, T, F)` of a batch's target."""


_WINDOWS_AT_ONCE = 2**14


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Means of squared errors over observed values, by the name of the predictor.

    Attributes
    ----------
    errors
        Over all values.
    feature_errors
        By feature, F numbers each.
    entity_errors
        By entity, E numbers each; None where no window of an entity has an observed step.
    variance_ratio
        Variance of the first predictor's output over that of the target, each over all observed
        steps and summed over features; None where the target doesn't vary.
    temporal_variance_ratio
        The same of the variance over time within windows, around each window's own mean.
    """

    errors: dict[str, float]
    feature_errors: dict[str, tuple[float, ...]]
    entity_errors: dict[str, tuple[float | None, ...]]
    variance_ratio: float | None
    temporal_variance_ratio: float | None


@torch.inference_mode()
def compare(
    predictors: Mapping[str, Predictor],
    data: WindowedCube,
    windows: Tensor,
    *,
    batch_size: int,
    device: torch.device,
) -> Comparison:
    """Judge predictors by the target of windows of which some step is observed.

    Parameters
    ----------
    predictors
        By name, the one whose variance is measured first.
    data
        Holds the target.
    windows
        `(N, 2)` rows (entity, start).
    batch_size
        Windows predicted at once.
    device
        That the predictors get their batches on.

    Examples
    --------
    >>> cube = torch.arange(4.0).reshape(1, 4, 1).numpy()
    >>> data = WindowedCube.place(cube, cube[..., 0] < 9, length=2, device="cpu")
    >>> predictors = {"zero": lambda batch: torch.zeros_like(batch.target)}
    >>> windows, place = torch.tensor([[0, 0], [0, 2]]), torch.device("cpu")
    >>> compare(predictors, data, windows, batch_size=8, device=place).errors
    {'zero': 3.5}
    """
    sums = {name: _Errors(data) for name in predictors}
    target, output = _Variance(data.n_features), _Variance(data.n_features)
    first = next(iter(predictors))
    for batch in batches_on(device, data, windows, batch_size):
        for name, predict in predictors.items():
            prediction = predict(batch)
            sums[name].add(prediction, batch)
            if name == first:
                output.add(prediction, batch.observed)
        target.add(batch.target, batch.observed)
    return Comparison(
        errors={name: errors.mean() for name, errors in sums.items()},
        feature_errors={name: errors.by_feature() for name, errors in sums.items()},
        entity_errors={name: errors.by_entity() for name, errors in sums.items()},
        variance_ratio=_ratio(output.total(), target.total()),
        temporal_variance_ratio=_ratio(output.within_windows, target.within_windows),
    )


def batches_on(
    device: torch.device, data: WindowedCube, windows: Tensor, batch_size: int
) -> Iterator[Batch]:
    """Yield windows in order on a device that the cube itself need not fit on.

    Examples
    --------
    >>> cube = torch.zeros(1, 4, 1).numpy()
    >>> data = WindowedCube.place(cube, cube[..., 0] == 0, length=2, device="cpu")
    >>> windows = torch.tensor([[0, 0], [0, 1], [0, 2]])
    >>> [len(batch.x) for batch in batches_on(torch.device("cpu"), data, windows, 2)]
    [2, 1]
    """
    for batch in data.batches(windows, batch_size):
        x = batch.x.to(device)
        yield replace(
            batch,
            windows=batch.windows.to(device),
            x=x,
            target=x if batch.target is batch.x else batch.target.to(device),
            observed=batch.observed.to(device),
        )


def windows_with_data(data: WindowedCube, windows: Tensor) -> Tensor:
    """Return those of windows `(N, 2)` of which some step is observed.

    Examples
    --------
    >>> observed = torch.tensor([[True, False, False]])
    >>> data = WindowedCube.place(
    ...     torch.zeros(1, 3, 1).numpy(), observed.numpy(), length=2, device="cpu"
    ... )
    >>> windows_with_data(data, torch.tensor([[0, 0], [0, 1]]))
    tensor([[0, 0]])
    """
    parts = torch.split(windows, _WINDOWS_AT_ONCE)
    return torch.cat([part[data.observed[data.positions(part)].any(dim=1)] for part in parts])


def mean_predictor(mean: Tensor) -> Predictor:
    """Return what predicts `(F,)` everywhere.

    Examples
    --------
    >>> cube = torch.zeros(1, 4, 2).numpy()
    >>> data = WindowedCube.place(cube, cube[..., 0] == 0, length=3, device="cpu")
    >>> mean_predictor(torch.ones(2))(data.gather(torch.tensor([[0, 1]]))).shape
    torch.Size([1, 3, 2])
    """
    return lambda batch: mean.to(batch.target).expand_as(batch.target)


def model_predictor(model: LSTMAutoencoder) -> Predictor:
    """Return what predicts a model's reconstruction of what it sees.

    Examples
    --------
    >>> cube = torch.zeros(1, 4, 2).numpy()
    >>> data = WindowedCube.place(cube, cube[..., 0] == 0, length=3, device="cpu")
    >>> batch = data.gather(torch.tensor([[0, 1]]))
    >>> model_predictor(LSTMAutoencoder(2))(batch).shape
    torch.Size([1, 3, 2])
    """
    return lambda batch: model.encode_and_reconstruct(batch.x)[1]


class _Errors:
    """Sums of squared errors of one predictor."""

    def __init__(self, data: WindowedCube) -> None:
        self._features = torch.zeros(data.n_features, dtype=torch.float64)
        self._entities = torch.zeros(data.n_entities, dtype=torch.float64)
        self._steps = torch.zeros(data.n_entities, dtype=torch.float64)

    def add(self, prediction: Tensor, batch: Batch) -> None:
        difference = torch.where(batch.observed[..., None], prediction - batch.target, 0.0)
        squared = difference.double().square()
        entities = batch.windows[:, 0].cpu()
        self._features += squared.sum(dim=(0, 1)).cpu()
        self._entities.index_add_(0, entities, squared.sum(dim=(1, 2)).cpu())
        self._steps.index_add_(0, entities, batch.observed.sum(dim=1).double().cpu())

    def mean(self) -> float:
        return float(self._features.sum() / (self._steps.sum() * len(self._features)))

    def by_feature(self) -> tuple[float, ...]:
        return tuple((self._features / self._steps.sum()).tolist())

    def by_entity(self) -> tuple[float | None, ...]:
        means = (self._entities / (self._steps * len(self._features))).tolist()
        has_steps = (self._steps > 0).tolist()
        return tuple(mean if has else None for mean, has in zip(means, has_steps, strict=True))


class _Variance:
    """Sums of squares of observed values, around nothing and around each window's mean."""

    def __init__(self, n_features: int) -> None:
        self._n = 0
        self._sum = torch.zeros(n_features, dtype=torch.float64)
        self._squares = torch.zeros(n_features, dtype=torch.float64)
        self.within_windows = 0.0

    def add(self, values: Tensor, observed: Tensor) -> None:
        mask = observed[..., None]
        seen = torch.where(mask, values, 0.0).double()
        n_steps = observed.sum(dim=1)
        self._n += int(n_steps.sum())
        self._sum += seen.sum(dim=(0, 1)).cpu()
        self._squares += seen.square().sum(dim=(0, 1)).cpu()
        mean = seen.sum(dim=1) / n_steps.clamp(min=1)[:, None]
        self.within_windows += float(torch.where(mask, seen - mean[:, None], 0.0).square().sum())

    def total(self) -> float:
        """Return the sum of squares around the mean of all, summed over features."""
        return float((self._squares - self._sum.square() / self._n).clamp(min=0).sum())


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
