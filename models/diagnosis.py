"""Has the autoencoder learnt more than the mean? It is compared with trivial baselines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.autoencoder import LSTMAutoencoder
from models.baselines import PrincipalComponents, SeasonalLastValue, last_value, training_mean
from models.contract import validate_cube, validate_target, validate_windows_with_data
from models.device import Device, resolve_device
from models.evidence import components_to_try, draw, measure
from models.held_out import (
    Comparison,
    Predictor,
    compare,
    mean_predictor,
    model_predictor,
    windows_with_data,
)
from models.linear_autoencoder import LinearAutoencoder
from models.scoring import place_model
from models.training_config import EpochReport, TrainingConfig
from models.verdict import COLLAPSED_RATIO, FLAT_VARIANCE_RATIO, Diagnosis
from models.windowing import WindowedCube

__all__ = ["COLLAPSED_RATIO", "FLAT_VARIANCE_RATIO", "Diagnosis", "diagnose"]

_BATCH_SIZE = 512


@torch.enable_grad()
def diagnose(
    model: LSTMAutoencoder,
    cube: NDArray[np.float32],
    observed: NDArray[np.bool_],
    training_windows: NDArray[np.int64],
    held_out_windows: NDArray[np.int64],
    *,
    length: int,
    target: NDArray[np.float32] | None = None,
    season: int | None = None,
    history: Sequence[EpochReport] = (),
    training: TrainingConfig | None = None,
    seed: int = 0,
    device: Device = "auto",
) -> Diagnosis:
    """Compare a model with trivial baselines on held-out windows, and look for what it lacks.

    PCA and a linear autoencoder have `latent_size` components, the size of an embedding; where
    more numbers cross from encoder to decoder, PCA of that size is shown as well. They are fitted
    on at most `MAX_PCA_VALUES` values, so that memory is bounded, and the cube stays in the
    host's memory. Unless the model is sound, causes are looked for in up to 2,000 windows of
    either period.

    Parameters
    ----------
    model
        Left as it is, device and mode included: a copy is judged.
    cube, observed
        `(E, S, F)` float32 and `(E, S)` bool.
    training_windows, held_out_windows
        `(N, 2)` int64: rows (entity, start). Baselines are fitted on the former, everything is
        judged on the latter.
    length
        T, the steps of a window.
    target
        `(E, S, F)` float32, what the model reconstructs, if that is not the cube: the plain
        proportions for a model trained with the loss `"multinomial"`. The baselines predict the
        target from the target.
    season
        Steps after which the data are expected to be alike: 52 weeks, 7 days, 12 months. None
        leaves that baseline out.
    history, training
        Of the model, as far as known: what ended the training, and the input dropout, which the
        linear autoencoder then has as well.
    seed
        Determines what windows are drawn and in what order.
    device
        `"auto"` is the GPU where there is one.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ShapeError
        If an array's shape or dtype is wrong, or the model is made for other features.
    ValueError
        If the cube is not finite, a window lies outside it, either set of windows is empty or
        covers no observed step, `season` is under 1, or the model puts out values that are not
        finite.

    Examples
    --------
    >>> cube = np.random.default_rng(0).normal(size=(1, 40, 3)).astype(np.float32)
    >>> windows = np.array([[0, start] for start in range(31)])
    >>> observed = np.ones((1, 40), dtype=bool)
    >>> diagnose(
    ...     LSTMAutoencoder(3), cube, observed, windows[:20], windows[20:], length=10
    ... ).verdict
    'collapsed'
    """
    validate_cube(cube, observed, n_features=model.n_features)
    for name, windows in (("training", training_windows), ("held-out", held_out_windows)):
        validate_windows_with_data(windows, observed, length=length, name=name)
    if target is not None:
        validate_target(target, cube)
    if season is not None and season < 1:
        raise ValueError(f"season is {season}; it must be at least 1 step, or None for no season")
    placed, place = place_model(model, device), resolve_device(device)
    data = WindowedCube.place(cube, observed, length=length, device="cpu", target=target)
    fitted = windows_with_data(data, data.windows(training_windows))
    judged = windows_with_data(data, data.windows(held_out_windows))
    pca = _fit_pca(placed, data, fitted, seed).to(place)
    predictors = _predictors(placed, data, fitted, pca, season=season, training=training, seed=seed)
    held_out = compare(predictors, data, judged, batch_size=_BATCH_SIZE, device=place)
    diagnosis = Diagnosis(
        **_errors(held_out, season, placed, pca),
        training_ratio=_training_ratio(predictors, data, draw(fitted, seed), place),
        evidence=None,
        n_training_windows=len(training_windows),
        n_held_out_windows=len(held_out_windows),
    )
    if diagnosis.verdict in ("sound", "undecided"):
        return diagnosis
    evidence = measure(
        placed,
        data,
        fitted,
        judged,
        pca,
        history=history,
        training=training,
        batch_size=_BATCH_SIZE,
        seed=seed,
    )
    return replace(diagnosis, evidence=evidence)


def _fit_pca(
    model: LSTMAutoencoder, data: WindowedCube, windows: Tensor, seed: int
) -> PrincipalComponents:
    """Fit with all components that anything needs: fewer are a part of them."""
    config, window_size = model.config, data.length * data.n_features
    return PrincipalComponents.fit(
        data,
        windows,
        training_mean(data, windows),
        n_components=max(config.bottleneck_size, components_to_try(window_size)),
        seed=seed,
    )


def _predictors(
    model: LSTMAutoencoder,
    data: WindowedCube,
    windows: Tensor,
    pca: PrincipalComponents,
    *,
    season: int | None,
    training: TrainingConfig | None,
    seed: int,
) -> dict[str, Predictor]:
    """Return the model and its baselines, by the names of `Diagnosis`'s errors."""
    mean, latent = pca.fill, pca.truncated(model.config.latent_size)
    bottleneck = pca.truncated(model.config.bottleneck_size)
    dropout = 0.0 if training is None else training.input_dropout
    linear = LinearAutoencoder.fit(data, windows, latent, input_dropout=dropout, seed=seed)
    predictors = {
        "model": model_predictor(model),
        "mean": mean_predictor(mean),
        "last_value": lambda batch: last_value(batch.target, batch.observed, mean),
        "pca": latent.predict,
        "linear_autoencoder": linear.predict,
    }
    if season is not None:
        seasonal = SeasonalLastValue(data=data, season=season, mean=mean)
        predictors["seasonal_last_value"] = seasonal.predict
    if len(bottleneck.components) > len(latent.components):
        predictors["bottleneck_pca"] = bottleneck.predict
    return predictors


def _errors(
    held_out: Comparison, season: int | None, model: LSTMAutoencoder, pca: PrincipalComponents
) -> dict[str, Any]:
    """Return what `Diagnosis` holds of the held-out windows."""
    if not math.isfinite(held_out.errors["model"]):
        raise ValueError(
            "the model puts out values that are not finite; train it with a lower learning_rate "
            "or gradient_clip"
        )
    is_wider = "bottleneck_pca" in held_out.errors
    n_available, config = len(pca.components), model.config
    errors = {f"{name}_error": error for name, error in held_out.errors.items()}
    return (
        {"seasonal_last_value_error": None, "bottleneck_pca_error": None}
        | errors
        | {
            "season": season,
            "pca_components": min(config.latent_size, n_available),
            "bottleneck_pca_components": min(config.bottleneck_size, n_available)
            if is_wider
            else None,
            "feature_errors": held_out.feature_errors,
            "entity_errors": held_out.entity_errors,
            "variance_ratio": held_out.variance_ratio,
            "temporal_variance_ratio": held_out.temporal_variance_ratio,
        }
    )


def _training_ratio(
    predictors: Mapping[str, Predictor], data: WindowedCube, windows: Tensor, place: torch.device
) -> float:
    chosen = {name: predictors[name] for name in ("model", "mean")}
    errors = compare(chosen, data, windows, batch_size=_BATCH_SIZE, device=place).errors
    return errors["model"] / errors["mean"] if errors["mean"] > 0 else 1.0
