"""Measurements of a model that is not sound, from which its causes are told."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from models.autoencoder import LSTMAutoencoder
from models.baselines import PrincipalComponents, covered_rows, sum_of_rows
from models.causes import COMPRESSING_SHARE, REACHED_SHARE, Evidence
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

__all__ = ["MAX_COMPONENTS", "SAMPLE_SIZE", "components_to_try", "draw", "measure"]

SAMPLE_SIZE = 2000
"""Windows that are measured at most."""

MAX_COMPONENTS = 512
"""Components that PCA is tried with at most."""

_PROBED_AFTER = (10, 25, 50, 100)  # steps
_PROBE_BATCH = 256
_PROBE_LEARNING_RATE = 3e-2


def measure(
    model: LSTMAutoencoder,
    data: WindowedCube,
    training_windows: Tensor,
    held_out_windows: Tensor,
    pca: PrincipalComponents,
    *,
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
        Of the training windows, on the model's device, with as many components as are to be tried.
    history, training
        Of the model, as far as known.
    batch_size
        Windows that the model reconstructs at once.
    seed
        Determines the samples.
    """
    rows = covered_rows(data, training_windows)
    samples = draw(training_windows, seed), draw(held_out_windows, seed)
    narrowest = min(model.config.latent_size, *model.config.encoder_sizes)
    is_wide = model.config.decoder == "repeat_vector_wide"
    return Evidence(
        **_input_scale(data.values, rows),
        narrowest_is_latent=narrowest == model.config.latent_size,
        **_reach(model, data, samples, pca, narrowest, batch_size=batch_size, seed=seed),
        biases_moved=_biases_moved(model),
        validation_fall=_validation_fall(history, training),
        out_of_bounds=_out_of_bounds(data, rows) if is_wide else None,
    )


def components_to_try(window_size: int) -> int:
    """Return how many components PCA is tried with at most, for windows of so many values.

    Examples
    --------
    >>> components_to_try(96), components_to_try(9000)
    (24, 512)
    """
    return min(MAX_COMPONENTS, int(COMPRESSING_SHARE * window_size))


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


def _reach(
    model: LSTMAutoencoder,
    data: WindowedCube,
    samples: tuple[Tensor, Tensor],
    pca: PrincipalComponents,
    narrowest: int,
    *,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Return what PCA and the model do, and a copy of it where that is far less."""
    most = min(components_to_try(data.length * data.n_features), len(pca.components))
    sizes = [narrowest]
    while sizes[-1] * 2 <= most:
        sizes.append(sizes[-1] * 2)
    predictors: dict[str, Predictor] = {str(size): pca.truncated(size).predict for size in sizes}
    predictors |= {"mean": mean_predictor(pca.fill), "model": model_predictor(model)}
    on_training, held_out = (
        compare(predictors, data, sample, batch_size=batch_size, device=pca.mean.device).errors
        for sample in samples
    )
    share = _of_pca(on_training["mean"] - on_training["model"], on_training, sizes[0])
    gain = None
    if share is not None and share < REACHED_SHARE:
        least = _probe(model, data, samples, held_out["model"], batch_size=batch_size, seed=seed)
        gain = _of_pca(held_out["model"] - least, held_out, sizes[0])
    return {
        "components": tuple(sizes),
        "components_left": tuple(held_out[str(size)] / (held_out["mean"] or 1.0) for size in sizes),
        "training_share": share,
        "probe_gain": gain,
    }


def _of_pca(part: float, errors: dict[str, float], size: int) -> float | None:
    """Return a fall in error over that from the mean to PCA; None where PCA does no better."""
    explained = errors["mean"] - errors[str(size)]
    return part / explained if explained > 0 else None


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
    samples: tuple[Tensor, Tensor],
    least: float,
    *,
    batch_size: int,
    seed: int,
) -> float:
    """Return the least held-out error of a copy that takes some steps on training windows."""
    place = next(model.parameters()).device
    windows, held_out = samples
    probe = copy.deepcopy(model).requires_grad_()
    optimizer = torch.optim.Adam(probe.parameters(), lr=_PROBE_LEARNING_RATE)
    order = torch.Generator().manual_seed(seed)
    # Dropout between LSTMs draws from torch's global generators, which are to be left alone.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for step in range(1, _PROBED_AFTER[-1] + 1):
            drawn = torch.randperm(len(windows), generator=order)[:_PROBE_BATCH]
            (batch,) = batches_on(place, data, windows[drawn], _PROBE_BATCH)
            output = probe.train().encode_and_reconstruct(batch.x)[1]
            optimizer.zero_grad()
            torch.autograd.backward(reconstruction_loss(output, batch.target, batch.observed))
            clip_grad_norm_(probe.parameters(), 1.0)
            optimizer.step()
            if step in _PROBED_AFTER:
                judged = {"probe": model_predictor(probe.eval())}
                found = compare(judged, data, held_out, batch_size=batch_size, device=place)
                least = min(least, found.errors["probe"])
    return least


def _out_of_bounds(data: WindowedCube, rows: Tensor) -> float:
    target = data.values if data.targets is None else data.targets
    outside = sum_of_rows(target, rows, lambda some: some.abs() > 1)
    return float(outside.sum()) / (len(rows) * data.n_features)
