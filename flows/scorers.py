"""Every scorer on one prepared cube: the model's scores and the baselines', by name."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.cube import Cube
from features.representation import block_masks, common_volume, restore
from flows.config import RunConfig
from flows.judging import Judgement, judge_steps
from flows.learning import LearningData
from flows.noise import (
    countable,
    events_behind,
    finest,
    in_model_units,
    noise_residuals,
    slabs_of,
    training_steps,
)
from flows.yardstick import Yardstick
from models import LSTMAutoencoder, Scores, nowcast, pearson_errors, score
from models.baseline_scorers import StepArrays, baseline_scores

Floats = NDArray[np.float32]

DEFAULT_SCORER: Final = "score"
"""What is ranked by."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What a model makes of windows and steps, and how these are judged."""

    scores: Scores
    judgement: Judgement


def score_all(
    model: LSTMAutoencoder,
    data: LearningData,
    config: RunConfig,
    yardstick: Yardstick | None = None,
) -> Scored:
    """Embed and reconstruct every window, expect every newest step, and judge every step."""
    prepared, device = data.prepared, config.training.device
    scores = score(model, windows=prepared.windows.index, device=device, **data.arrays)
    seen = {name: value for name, value in data.arrays.items() if name != "target"}
    ending = windows_ending(prepared.observed & (scores.coverage > 0), prepared.windows.length)
    newest = nowcast(model, windows=ending, device=device, **seen)
    return Scored(scores=scores, judgement=judge_steps(data, scores, newest, config, yardstick))


def windows_ending(steps: NDArray[np.bool_], length: int) -> NDArray[np.int64]:
    """Return the windows, int64 ``(N, 2)``, that end with steps ``(E, S)``, however quiet they are.

    Examples
    --------
    >>> windows_ending(np.array([[True, False, True, True]]), 3).tolist()
    [[0, 0], [0, 1]]
    """
    entity, last = np.nonzero(steps[:, length - 1 :])
    return np.stack([entity, last], axis=1).astype(np.int64)


def all_scores(model: LSTMAutoencoder, data: LearningData, config: RunConfig) -> dict[str, Floats]:
    """Return the model's scores and those of the baselines, ``(E, S)`` each, by name."""
    scored = score_all(model, data, config)
    return model_scores(data, scored.scores, scored.judgement) | simple_scores(
        data, n_components=config.autoencoder.latent_size, seed=config.training.seed
    )


def model_scores(data: LearningData, scores: Scores, judgement: Judgement) -> dict[str, Floats]:
    """Return each of the model's scores of steps, ``(E, S)``."""
    found = {
        DEFAULT_SCORER: judgement.score,
        "loudness": judgement.loudness,
        "strangeness": judgement.strangeness,
    }
    for name, one in (("", judgement.combined), ("nowcast ", judgement.newest)):
        found |= {
            f"{name}squared error": one.squared_error,
            f"{name}surge": one.surge,
            f"{name}deviance": one.deviance,
            f"{name}Mahalanobis": one.mahalanobis,
        }
    found["Pearson"] = _pearson(data, scores)
    return found


def simple_scores(data: LearningData, *, n_components: int, seed: int) -> dict[str, Floats]:
    """Return the baselines' scores of steps, ``(E, S)``, on the representation that a model sees.

    Parameters
    ----------
    data
        What a model is given.
    n_components
        Of PCA: the model's latent size.
    seed
        Of everything drawn.
    """
    cube, prepared = data.cube, data.prepared
    return baseline_scores(
        StepArrays(
            values=prepared.values,
            observed=prepared.observed,
            training=training_steps(prepared),
            training_windows=prepared.windows_of("training"),
            windows=prepared.windows.index,
            length=prepared.windows.length,
            n_components=n_components,
            seed=seed,
            counted=countable(cube),
            counts=events_behind(cube, slice(None))[..., finest(cube)],
            volume=_standardised_roots(cube.exposure, data),
            conflict=_standardised_roots(_material_conflict(cube), data),
        )
    )


def _pearson(data: LearningData, scores: Scores) -> Floats:
    """Return the mean squared Pearson residual of proportions, by the combined reconstruction.

    The expected volume doesn't enter: expected root counts are made proportions by their sum.
    """
    cube, prepared = data.cube, data.prepared
    share, _, _ = block_masks(cube.blocks)
    expected = in_model_units(data, scores.step_reconstruction)
    errors = np.full(prepared.observed.shape, np.nan, np.float32)
    for entities in slabs_of(cube):
        represented = noise_residuals(data, expected, entities).represented
        exposure = cube.exposure[entities]
        restored = restore(represented, exposure, cube.blocks, prepared.representation)
        if prepared.representation == "root_counts":
            total = restored[..., finest(cube)].sum(axis=-1, keepdims=True)
            restored = np.divide(restored, total, out=np.zeros_like(restored), where=total > 0)
        observed = cube.values[entities][..., share]
        errors[entities] = pearson_errors(observed, restored[..., share], exposure).mean(axis=-1)
    return np.where(prepared.observed, errors, np.float32(np.nan))


def _material_conflict(cube: Cube) -> Floats:
    """Return the events of material conflict, ``(E, S)``: CAMEO's roots from 14 on."""
    names = np.array(cube.features)
    quads = names == "quad_material_conflict"
    if not quads.any():
        quads = np.array(
            [
                block == "event_type" and name[len("event_type_") :][:2] >= "14"
                and name != "event_type_other"
                for name, block in zip(cube.features, cube.blocks, strict=True)
            ]
        )  # fmt: skip
    events: Floats = events_behind(cube, slice(None))[..., quads].sum(axis=-1)
    return events


def _standardised_roots(events: NDArray[np.generic], data: LearningData) -> Floats:
    """Return the roots of counts `(E, S)` as deviations from the entity's training mean."""
    roots = np.sqrt(events.astype(np.float64))
    training = training_steps(data.prepared)
    level = np.sqrt(common_volume(data.cube.exposure, data.prepared.split.training_end))
    n = np.maximum(np.where(training, level, 0).sum(axis=1, keepdims=True), 1)
    off = roots - level * np.where(training, roots, 0).sum(axis=1, keepdims=True) / n
    variance = np.where(training, off**2, 0).sum(axis=1, keepdims=True) / n
    scaled: Floats = (off / np.maximum(np.sqrt(variance), 0.5)).astype(np.float32)
    return scaled
