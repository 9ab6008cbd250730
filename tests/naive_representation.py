"""Slow, obvious oracles of representations and of their statistics, a number at a time."""

import math
import statistics
from collections.abc import Sequence

import numpy as np


def represent(
    values: np.ndarray, exposure: np.ndarray, blocks: Sequence[str], representation: str
) -> np.ndarray:
    """The table of `features.representation.represent`, a value at a time."""
    represented = np.empty(values.shape)
    for place in np.ndindex(values.shape):
        x, n, block = float(values[place]), int(exposure[place[:2]]), blocks[place[2]]
        if representation == "root_counts":
            if n == 0:
                represented[place] = 0
            elif block == "log_volume":
                represented[place] = math.sqrt(n)
            elif block == "intensity":
                represented[place] = math.sqrt(n) * (x - 0.5)
            else:
                represented[place] = math.sqrt(n * x)
        elif representation == "angular" and block not in {"intensity", "log_volume"}:
            represented[place] = math.nan if n == 0 else math.sqrt(x)
        else:
            represented[place] = x
    return represented


def common_volume(exposure: np.ndarray, n_training: int) -> np.ndarray:
    """Events of all the others and a hundred more, over what they are in the median step."""
    ratio = np.empty(exposure.shape)
    for entity, own in enumerate(exposure):
        others = [
            100 + sum(int(row[step]) for other, row in enumerate(exposure) if other != entity)
            for step in range(len(own))
        ]
        usual = statistics.median(others[:n_training])
        ratio[entity] = [n / usual for n in others]
    return ratio


def prior_mean(
    values: np.ndarray,
    exposure: np.ndarray,
    seen: np.ndarray,
    level: np.ndarray,
    blocks: Sequence[str],
) -> np.ndarray:
    """Root counts of each entity in a usual step, were it composed as all events together."""
    steps = [(e, s) for e, s in np.argwhere(seen & (exposure > 0)).tolist()]
    n_events = sum(int(exposure[step]) for step in steps)
    mean = np.zeros((len(values), len(blocks)))
    for entity, feature in np.ndindex(mean.shape):
        own = np.flatnonzero(seen[entity])
        of_level = sum(float(level[entity, s]) for s in own)
        if of_level == 0:
            continue
        root = sum(math.sqrt(exposure[entity, s]) for s in own) / of_level
        x = sum(int(exposure[step]) * float(values[step][feature]) for step in steps) / n_events
        if blocks[feature] == "log_volume":
            mean[entity, feature] = root
        elif blocks[feature] == "intensity":
            mean[entity, feature] = root * (x - 0.5)
        else:
            mean[entity, feature] = root * math.sqrt(x)
    return mean


def entity_statistics(
    values: np.ndarray,
    observed: np.ndarray,
    level: np.ndarray,
    mean_before: np.ndarray,
    noise: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each entity, as if ten common steps had been seen as well."""
    n_entities, _, n_features = values.shape
    mean, scale = np.empty((n_entities, n_features)), np.empty((n_entities, n_features))
    for feature in range(n_features):
        squares: list[list[float]] = []
        for entity in range(n_entities):
            steps = np.flatnonzero(observed[entity])
            total = 10 * float(mean_before[entity, feature])
            of_level = 10.0
            for s in steps:
                total += float(values[entity, s, feature])
                of_level += float(level[entity, s])
            mean[entity, feature] = total / of_level
            squares.append(
                [
                    (values[entity, s, feature] - mean[entity, feature] * level[entity, s]) ** 2
                    for s in steps
                ]
            )
        common = sum(map(sum, squares)) / sum(map(len, squares))
        for entity, own in enumerate(squares):
            variance = (sum(own) + 10 * common) / (len(own) + 10)
            scale[entity, feature] = max(math.sqrt(variance), noise)
    return mean, scale
