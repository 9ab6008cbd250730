"""Slow, obvious oracles of step scores, expectations and baselines: a step at a time."""

import math

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import PCA


def over_two_steps(residuals: np.ndarray) -> np.ndarray:
    together = residuals.astype(float)
    for entity, step, feature in np.ndindex(residuals.shape):
        if step > 0 and not math.isnan(residuals[entity, step - 1, feature]):
            pair = residuals[entity, step - 1 : step + 1, feature].astype(float)
            together[entity, step, feature] = pair.sum() / math.sqrt(2)
    return together


def surge(residuals: np.ndarray, counted: np.ndarray, with_two_steps: bool) -> np.ndarray:
    pairs, scores = over_two_steps(residuals), np.zeros(residuals.shape[:2])
    for entity, step in np.ndindex(scores.shape):
        parts = []
        for feature in np.flatnonzero(counted):
            own = float(residuals[entity, step, feature])
            part = own if math.isnan(own) else max(own, 0) ** 1.5
            if with_two_steps:
                both = pairs[entity, step, feature]
                part += 0.5 * (both if math.isnan(both) else max(both, 0) ** 1.5)
            parts.append(part)
        scores[entity, step] = sum(parts) / len(parts)
    return scores


def counted_deviance(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    deviance = np.zeros(counts.shape[:-1])
    for place in np.ndindex(deviance.shape):
        for x, m in zip(map(float, counts[place]), map(float, expected[place]), strict=True):
            least = max(m, 1e-6)
            deviance[place] += 2 * ((x * math.log(x / least) if x > 0 else 0) - (x - m))
    return deviance


def composition_deviance(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    deviance = np.zeros(counts.shape[:-1])
    for place in np.ndindex(deviance.shape):
        n, whole = float(counts[place].sum()), float(expected[place].sum())
        for x, m in zip(map(float, counts[place]), map(float, expected[place]), strict=True):
            if x > 0:
                deviance[place] += 2 * x * math.log(x / max(n * m / whole, 1e-6))
    return deviance


def relative_to_usual(scores: np.ndarray, training: np.ndarray) -> np.ndarray:
    known = [
        [float(score) for score, yes in zip(*rows, strict=True) if yes and not math.isnan(score)]
        for rows in zip(scores, training, strict=True)
    ]
    everything = [score for own in known for score in own]
    common = sum(everything) / len(everything)
    usual = [(sum(own) + 10 * common) / (len(own) + 10) for own in known]
    return np.array([row / own for row, own in zip(scores.astype(float), usual, strict=True)])


def mahalanobis(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(e - μ)ᵀ Σ⁻¹ (e - μ) / F of rows `(N, F)`, μ and Σ those of the reference `(M, F)`."""
    reference = reference.astype(float)
    mean = reference.mean(axis=0)
    inverse = np.linalg.inv(ledoit_wolf(reference)[0])
    return np.array([(e - mean) @ inverse @ (e - mean) / len(mean) for e in rows.astype(float)])


def last_value(cube: np.ndarray, observed: np.ndarray) -> np.ndarray:
    expected = np.zeros(cube.shape)
    for entity, step in np.ndindex(observed.shape):
        for before in range(step):
            if observed[entity, before]:
                expected[entity, step] = cube[entity, before]
    return expected


def trailing(cube: np.ndarray, observed: np.ndarray, n_steps: int) -> np.ndarray:
    expected = np.zeros(cube.shape)
    for entity, step in np.ndindex(observed.shape):
        seen = [
            cube[entity, before].astype(float)
            for before in range(max(step - n_steps, 0), step)
            if observed[entity, before]
        ]
        if seen:
            expected[entity, step] = sum(seen) / len(seen)
    return expected


def principal_components(
    cube: np.ndarray,
    observed: np.ndarray,
    training_windows: np.ndarray,
    windows: np.ndarray,
    length: int,
    n_components: int,
) -> np.ndarray:
    """Reconstructions of all windows, each taken by itself, averaged where they overlap."""
    covered = {
        (entity, step)
        for entity, start in training_windows
        for step in range(start, start + length)
        if observed[entity, step]
    }
    fill = np.mean([cube[place] for place in sorted(covered)], axis=0, dtype=float)

    def flat(window: np.ndarray) -> np.ndarray:
        entity, start = window
        steps = range(start, start + length)
        rows = [cube[entity, step] if observed[entity, step] else fill for step in steps]
        return np.concatenate(rows)

    fitted = PCA(n_components, svd_solver="full").fit(np.stack([*map(flat, training_windows)]))
    rebuilt: dict[tuple[int, int], list[np.ndarray]] = {}
    for entity, start in windows:
        projected = fitted.inverse_transform(fitted.transform(flat((entity, start))[None]))
        for offset, row in enumerate(projected.reshape(length, -1)):
            rebuilt.setdefault((entity, start + offset), []).append(row)
    expected = np.full(cube.shape, np.nan)
    for place, rows in rebuilt.items():
        expected[place] = np.mean(rows, axis=0)
    return expected


def usual_counts(counts: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Mean training counts `(E, C)`, with five events of the common composition invented."""
    total = sum(counts[place] for place in zip(*np.nonzero(training), strict=True))
    usual = []
    for own, steps in zip(counts, training, strict=True):
        seen = sum(own[step] for step in np.flatnonzero(steps))
        usual.append((seen + 5 * total / total.sum()) / steps.sum())
    return np.array(usual)
