"""The slow, obvious oracle of `models.analogues`: every pair of windows, one after the other."""

import math

import numpy as np


def nearest_analogues(
    embeddings: np.ndarray,
    windows: np.ndarray,
    *,
    length: int,
    n_neighbours: int,
    training: np.ndarray | None = None,
    min_lag: int | None = 0,
    same_entity: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    values = standardise(embeddings, np.ones(len(windows), bool) if training is None else training)
    positions = np.full((len(windows), n_neighbours), -1)
    distances = np.full((len(windows), n_neighbours), np.nan)
    for query, (own_entity, own_start) in enumerate(windows):
        candidates = []
        for row, (entity, start) in enumerate(windows):
            overlaps = entity == own_entity and abs(start - own_start) < length
            too_late = min_lag is not None and start > own_start - min_lag
            if not overlaps and not too_late and (same_entity or entity != own_entity):
                candidates.append((distance(values[query], values[row]), row))
        taken: list[int] = []
        for how_far, row in sorted(candidates):
            entity, start = windows[row]
            is_shift = any(
                windows[other][0] == entity and abs(windows[other][1] - start) < length
                for other in taken
            )
            if not is_shift and len(taken) < n_neighbours:
                positions[query, len(taken)] = row
                distances[query, len(taken)] = how_far
                taken.append(row)
    return positions, distances


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return math.sqrt(sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True)))


def standardise(embeddings: np.ndarray, training: np.ndarray) -> np.ndarray:
    """In float32, as the embeddings are."""
    columns = []
    for column in embeddings.astype(np.float64).T:
        of_training = column[training]
        deviation = of_training.std() if len(set(of_training)) > 1 else 1.0
        columns.append((column - of_training.mean()) / deviation)
    return np.array(columns).T.astype(np.float32)
