"""Residuals in units of noise: what is left of steps after what was expected of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.cube import Cube
from features.expected_events import (
    expected_events,
    poisson_root_variance,
    representation_variance,
)
from features.preparation import Prepared
from features.representation import block_masks, represent, restore
from features.split import PARTS, parts_of_steps
from flows.learning import LearningData
from flows.scoring_config import KINDS_OF_EVENT
from models import pearson_residuals

Floats = NDArray[np.float32]

_VALUES_AT_ONCE: Final = 1 << 24


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseResiduals:
    """Residuals of some entities in units of noise, and what they were made of.

    Attributes
    ----------
    residuals
        float32 ``(e, S, F)``: of root counts the standardised ones; of proportions, whose noise
        depends on the events behind them, Pearson's.
    represented
        float32 ``(e, S, F)``: the expected representation.
    errors
        float32 ``(e, S, F)``: represented less expected.
    """

    residuals: Floats
    represented: Floats
    errors: Floats


def noise_residuals(data: LearningData, expected: Floats, entities: slice) -> NoiseResiduals:
    """Return what is left of some entities' steps after what was expected of them.

    Parameters
    ----------
    expected
        float32 ``(E, S, F)``, in the model's units. A change is judged as the change from what was
        observed: the level before it is known, so the difference of two levels is the
        difference of two changes.
    """
    cube, prepared = data.cube, data.prepared
    scale = prepared.standardiser.scale
    scale = (scale if len(scale) == 1 else scale[entities])[:, None]
    errors = (prepared.values[entities] - expected[entities]) * scale
    represented = prepared.represented[entities] - errors
    _, intensity, volume = block_masks(cube.blocks)
    if prepared.representation == "root_counts":
        # A decoder may expect less than nothing, which would make a surplus of no events.
        represented = np.where(intensity, represented, np.maximum(represented, np.float32(0)))
        errors = prepared.represented[entities] - represented
        residuals = errors / scale
        return NoiseResiduals(residuals=residuals, represented=represented, errors=errors)
    exposure = cube.exposure[entities]
    restored = restore(represented, exposure, cube.blocks, prepared.representation)
    residuals = pearson_residuals(cube.values[entities], restored, exposure, is_share=~volume)
    return NoiseResiduals(residuals=residuals, represented=represented, errors=errors)


def training_steps(prepared: Prepared) -> NDArray[np.bool_]:
    """Return the observed steps of the training part, bool ``(E, S)``."""
    steps = prepared.observed.copy()
    steps[:, prepared.split.training_end :] = False
    return steps


def reference_steps(prepared: Prepared) -> NDArray[np.bool_]:
    """Return the observed steps of the validation part, on which the model wasn't trained."""
    parts = parts_of_steps(prepared.split, prepared.observed.shape[1])
    steps: NDArray[np.bool_] = prepared.observed & (parts == PARTS.index("validation"))
    return steps


def slabs_of(cube: Cube) -> Iterator[slice]:
    """Yield entities, as many at a time as make about 64 MB."""
    at_once = max(1, _VALUES_AT_ONCE // (cube.values.shape[1] * cube.values.shape[2]))
    for first in range(0, len(cube.entities), at_once):
        yield slice(first, first + at_once)


def countable(cube: Cube) -> NDArray[np.bool_]:
    """Return the features, bool ``(F,)``, of which there can be more: shares and volume."""
    share, _, volume = block_masks(cube.blocks)
    return share | volume


def finest(cube: Cube) -> NDArray[np.bool_]:
    """Return the features, bool ``(F,)``, of the block that tells most kinds of event apart.

    Sectors are no kinds of event: an event may have several, so that they don't add up.

    Raises
    ------
    ValueError
        If the cube has no kinds of event: then there is nothing to count.
    """
    present = [block for block in KINDS_OF_EVENT if block in cube.blocks]
    if not present:
        msg = (
            f"the vocabulary's blocks are {', '.join(dict.fromkeys(cube.blocks))}: none of them "
            f"counts events by kind; add {', '.join(KINDS_OF_EVENT)} to vocabulary.blocks"
        )
        raise ValueError(msg)
    mask: NDArray[np.bool_] = np.array(cube.blocks) == present[0]
    return mask


def in_model_units(data: LearningData, reconstruction: Floats) -> Floats:
    """Return a reconstruction in the units of what the model sees.

    A model of shares rebuilds the cube's own units, and levels where it sees changes: the change
    to a level that was expected is the one observed and what the levels differ by.
    """
    if data.target is None:
        return reconstruction.copy()
    prepared, cube = data.prepared, data.cube
    share, intensity, _ = block_masks(cube.blocks)
    clipped = np.where(share | intensity, np.clip(reconstruction, 0, 1), reconstruction)
    rebuilt = Cube(**vars(cube) | {"values": clipped})
    scaled, observed = (
        prepared.standardiser.transform(represented, prepared.observed)
        for represented in (represent(rebuilt, prepared.representation), prepared.represented)
    )
    scaled += prepared.values - observed
    return np.where(np.isnan(reconstruction), np.float32(np.nan), scaled)


def error_variance(data: LearningData, expected: Floats) -> Floats:
    """Return the variance of the representation around what was expected, ``(E, F)``."""
    prepared = data.prepared
    scale = prepared.standardiser.scale
    shape = (len(expected), expected.shape[2])
    prior = np.broadcast_to(_sampling_variance(data) / scale**2, shape)
    variance = representation_variance(prepared.values - expected, training_steps(prepared), prior)
    return np.asarray(variance * scale**2, np.float32)


def _sampling_variance(data: LearningData) -> Floats:
    """Return the variance of roots of counts, or of proportions of the entity's usual events."""
    prepared, exposure = data.prepared, data.cube.exposure
    mean = prepared.standardiser.mean
    if prepared.representation != "angular":
        return poisson_root_variance(mean)
    training = training_steps(prepared)
    total = np.where(training, exposure, 0).sum(axis=1, keepdims=True)
    usual = np.maximum(total / np.maximum(training.sum(axis=1, keepdims=True), 1), 1)
    variance = poisson_root_variance((mean * np.sqrt(usual)).astype(np.float32)) / usual
    return np.asarray(variance, np.float32)


def events_expected(
    data: LearningData, represented: Floats, variance: Floats, entities: slice
) -> Floats:
    """Return the events of each kind expected in some entities' steps, float32 ``(e, S, F)``.

    Parameters
    ----------
    represented
        float32 ``(e, S, F)``: the expected representation.
    variance
        float32 ``(E, F)``: see `error_variance`.
    """
    cube = data.cube
    return expected_events(
        represented,
        variance[entities],
        cube.exposure[entities],
        cube.blocks,
        data.prepared.representation,
    )


def events_behind(cube: Cube, entities: slice) -> Floats:
    """Return the events behind each share, float32 ``(e, S, F)``; makes sense of shares alone."""
    events = np.rint(cube.values[entities] * cube.exposure[entities][..., None])
    return np.asarray(np.nan_to_num(events), np.float32)
