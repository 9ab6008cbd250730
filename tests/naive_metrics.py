"""Slow, obvious oracles of detection metrics: every threshold and step in a loop."""

from collections.abc import Sequence

import numpy as np


def soft_labels(labels: np.ndarray, window: int) -> np.ndarray:
    """Labels of one series with √(1 - d/l) within half a buffer of each anomaly."""
    soft = labels.astype(float)
    for begin, end in ranges(labels):
        for distance in range(1, window // 2 + 1):
            for step in (begin - distance, end + distance):
                if 0 <= step < len(labels):
                    soft[step] += np.sqrt(1 - distance / window)
    return np.minimum(soft, 1)


def ranges(labels: np.ndarray) -> list[tuple[int, int]]:
    """First and last step of each anomaly."""
    found: list[tuple[int, int]] = []
    for step in np.flatnonzero(labels):
        if found and found[-1][1] == step - 1:
            found[-1] = (found[-1][0], int(step))
        else:
            found.append((int(step), int(step)))
    return found


def buffered_ranges(labels: np.ndarray, reach: int) -> list[tuple[int, int]]:
    """Anomalies with their buffers, those that share a step taken as one."""
    merged: list[tuple[int, int]] = []
    for begin, end in ranges(labels):
        low, high = max(begin - reach, 0), min(end + reach, len(labels) - 1)
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], high)
        else:
            merged.append((low, high))
    return merged


def range_auc_pr(labels: Sequence[np.ndarray], scores: Sequence[np.ndarray], window: int) -> float:
    """Area under range-based precision and recall for one buffer."""
    pairs = list(zip(labels, scores, strict=True))
    n_anomalous = sum(int(truth.sum()) for truth in labels)
    area = previous = 0.0
    for threshold in sorted({float(value) for one in scores for value in one}, reverse=True):
        hits = buffered = n_raised = n_found = n_ranges = 0.0
        for truth, score in pairs:
            raised, soft = score >= threshold, soft_labels(truth, window)
            hits += (soft * raised).sum()
            buffered += (soft * raised * ~truth).sum()
            n_raised += raised.sum()
            found = [raised[a : b + 1].any() for a, b in buffered_ranges(truth, window // 2)]
            n_found, n_ranges = n_found + sum(found), n_ranges + len(found)
        # P is the mean of the labels as given and as buffered where there are alarms.
        recall = min(hits / ((n_anomalous + n_anomalous + buffered) / 2), 1) * n_found / n_ranges
        area += (recall - previous) * hits / n_raised
        previous = recall
    return float(area)


def vus_pr(labels: Sequence[np.ndarray], scores: Sequence[np.ndarray], max_window: int) -> float:
    """Mean of the areas over all buffers."""
    areas = [range_auc_pr(labels, scores, window) for window in range(max_window + 1)]
    return sum(areas) / len(areas)
