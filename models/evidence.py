"""Measurements of a model that is not sound, from which its causes are told."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from models.autoencoder import LSTMAutoencoder
from models.baselines import PrincipalComponents, covered_rows, sum_of_rows
from models.causes import LEFT_BY_MORE, Evidence
from models.held_out import (
    Predictor,
    batches_on,
    compare,
    mean_predictor,
    model_predictor,
)
from models.losses import reconstruction_loss
from models.training_config import EpochReport, TrainingConfig
from models.windowing import WindowedCube

__all__ = ["CAPACITY_FACTOR", "SAMPLE_SIZE", "draw", "measure"]

SAMPLE_SIZE = 2000
"""Windows that are measured at most."""

CAPACITY_FACTOR = 16
"""PCA is tried with up to so many times the components that the model has numbers."""

_PROBE_STEPS = 100
_PROBE_BATCH = 256
_PROBE_LEARNING_RATE = 3e-2


def measure(
    model: LSTMAutoencoder,
    data: WindowedCube,
    training_windows: Tensor,
    held_out_windows: Tensor,
    pca: PrincipalComponents,
    *,
    is_probed: bool,
    history: Sequence[EpochReport],
    training: TrainingConfig | None,
    batch_size: int,
    seed: int,
) -> Evidence:
    """Measure a model, on the device where it lies, by samples of the windows.

    Parameters
    ----------
    model
        In eval mode; left as it is.
    data
        With the target; on any device.
    training_windows, held_out_windows
        `(N, 2)` rows (entity, start).
    pca
        Of the training windows, with as many components as are to be tried.
    is_probed
        Whether a copy is to be trained for a few steps, to see whether the loss was at fault.
    history, training
        Of the model, as far as known.
    batch_size
        Windows that the model reconstructs at once.
    seed
        Determines the samples.
    """
    held_out = draw(held_out_windows, seed)
    rows = covered_rows(data, training_windows)
    is_wide = model.config.decoder == "repeat_vector_wide"
    return Evidence(
        **_input_scale(data.values, rows),
        **_capacity(model, data, held_out, pca, batch_size),
        biases_moved=_biases_moved(model),
        validation_fall=_validation_fall(history, training),
        probe_left=(
            _probe(model, data, draw(training_windows, seed), held_out, batch_size, seed)
            if is_probed
            else None
        ),
        out_of_bounds=_out_of_bounds(data, rows) if is_wide else None,
    )


def draw(windows: Tensor, seed: int) -> Tensor:
    """Draw `SAMPLE_SIZE` windows, or all if there are no more.

    Examples
    --------
    >>> draw(torch.zeros(9000, 2), 0).shape
    torch.Size([2000, 2])
    """
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    return windows[order[:SAMPLE_SIZE].to(windows.device)]


def _input_scale(values: Tensor, rows: Tensor) -> dict[str, Any]:
    """Return `Evidence`'s median and greatest spread and its level."""
    mean = sum_of_rows(values, rows, lambda some: some) / len(rows)
    variance = sum_of_rows(values, rows, lambda some: (some - mean).square()) / len(rows)
    spread = variance.sqrt()
    if not spread.any():
        return {"input_spread": 0.0, "greatest_input_spread": 0.0, "input_level": 0.0}
    greatest = float(spread.max())
    return {
        "input_spread": float(spread[spread > 0].median()),
        "greatest_input_spread": greatest,
        "input_level": float(mean.abs().max()) / greatest,
    }


def _capacity(
    model: LSTMAutoencoder,
    data: WindowedCube,
    windows: Tensor,
    pca: PrincipalComponents,
    batch_size: int,
) -> dict[str, Any]:
    """Return what PCA leaves with as many components as the model has numbers, and with more."""
    narrowest = min(model.config.latent_size, *model.config.encoder_sizes)
    sizes = [narrowest]
    while sizes[-1] * 2 <= min(CAPACITY_FACTOR * narrowest, len(pca.components)):
        sizes.append(sizes[-1] * 2)
    predictors: dict[str, Predictor] = {str(size): pca.truncated(size).predict for size in sizes}
    predictors["mean"] = mean_predictor(pca.fill)
    place = pca.mean.device
    errors = compare(predictors, data, windows, batch_size=batch_size, device=place).errors
    left = {size: errors[str(size)] / (errors["mean"] or 1.0) for size in sizes}
    enough = next((size for size in sizes[1:] if left[size] <= LEFT_BY_MORE), None)
    return {
        "narrowest": narrowest,
        "narrowest_is_latent": narrowest == model.config.latent_size,
        "narrowest_left": left[narrowest],
        "enough": enough,
        "enough_left": None if enough is None else left[enough],
        "window_size": data.length * data.n_features,
    }


def _biases_moved(model: LSTMAutoencoder) -> float:
    drawn = LSTMAutoencoder(model.n_features, model.config, share_groups=model.share_groups)
    moved, weights = [], []
    for (name, parameter), initial in zip(
        model.named_parameters(), drawn.parameters(), strict=True
    ):
        is_bias = "bias" in name.rpartition(".")[2]
        if is_bias:
            moved.append((parameter.detach().cpu() - initial.detach()).flatten())
        else:
            weights.append(initial.detach().flatten())
    size = torch.cat(weights).square().mean().sqrt()
    return float(torch.cat(moved).square().mean().sqrt() / size)


def _validation_fall(
    history: Sequence[EpochReport], training: TrainingConfig | None
) -> float | None:
    if len(history) < 2:
        return None
    if training is not None and len(history) < training.epochs:
        return 0.0
    losses = [report.validation_loss for report in history]
    before = min(losses[: -max(1, len(losses) // 4)])
    return max(0.0, 1 - min(losses) / before) if before > 0 else 0.0


def _probe(
    model: LSTMAutoencoder,
    data: WindowedCube,
    windows: Tensor,
    held_out: Tensor,
    batch_size: int,
    seed: int,
) -> float:
    """Return the held-out error after a few steps on training windows over that before.

    1 where the steps lead nowhere.
    """
    place = next(model.parameters()).device
    probe = copy.deepcopy(model).requires_grad_().train()
    optimizer = torch.optim.Adam(probe.parameters(), lr=_PROBE_LEARNING_RATE)
    order = torch.Generator().manual_seed(seed)
    # Dropout between LSTMs draws from torch's global generators, which are to be left alone.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for _ in range(_PROBE_STEPS):
            drawn = torch.randperm(len(windows), generator=order)[:_PROBE_BATCH]
            (batch,) = batches_on(place, data, windows[drawn], _PROBE_BATCH)
            output = probe.encode_and_reconstruct(batch.x)[1]
            optimizer.zero_grad()
            torch.autograd.backward(reconstruction_loss(output, batch.target, batch.observed))
            clip_grad_norm_(probe.parameters(), 1.0)
            optimizer.step()
    models = {"before": model, "after": probe.eval()}
    predictors = {name: model_predictor(judged) for name, judged in models.items()}
    errors = compare(predictors, data, held_out, batch_size=batch_size, device=place).errors
    left = errors["after"] / (errors["before"] or 1.0)
    return left if math.isfinite(left) else 1.0


def _out_of_bounds(data: WindowedCube, rows: Tensor) -> float:
    target = data.values if data.targets is None else data.targets
    outside = sum_of_rows(target, rows, lambda some: some.abs() > 1)
    return float(outside.sum()) / (len(rows) * data.n_features)
