"""How well scores find labelled anomalies, without point adjustment."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score

from models.labelled_series import LabelledSeries, Series, join_series
from models.vus import volume_under_surface

__all__ = ["Alarms", "Detection", "alarms", "average_precision", "detect", "vus_pr"]


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """What a threshold that was chosen elsewhere makes of the scores.

    Attributes
    ----------
    precision
        Share of the alarms that are anomalous steps; NaN if there is no alarm.
    recall
        Share of the anomalous steps that are alarms.
    f1
        Harmonic mean of the two; 0 if there is no alarm.
    alarm_rate
        Share of all steps that are alarms.
    """

    precision: float
    recall: float
    f1: float
    alarm_rate: float


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How well scores find labelled anomalies.

    Attributes
    ----------
    average_precision
        Area under the precision-recall curve.
    vus_pr
        Volume under the surface of range-based precision and recall.
    base_rate
        Share of the steps that are anomalous: the average precision that chance has.
    at_threshold
        Precision, recall, F1 and alarm rate at a threshold that was chosen elsewhere.
    """

    average_precision: float
    vus_pr: float
    base_rate: float
    at_threshold: Alarms


def detect(labels: Series, scores: Series, *, threshold: float, max_window: int) -> Detection:
    """Judge scores by labels, over all thresholds and at one.

    Parameters
    ----------
    labels
        `(S,)`, `(E, S)` or a list of `(S_e,)`: bool, or numbers that are 0 or 1.
    scores
        Of the same shapes: the higher, the more anomalous; finite.
    threshold
        A score of at least this is an alarm. Take it from training data, never from `scores`.
    max_window
        As for `vus_pr`.

    Returns
    -------
    Detection

    Raises
    ------
    ShapeError
        If the shapes don't fit.
    ValueError
        If a label is neither 0 nor 1, none is 1, a score is not finite, `threshold` is NaN or
        `max_window` is negative.

    Examples
    --------
    >>> labels, scores = np.array([0, 0, 1, 1, 0, 0]), np.array([0.1, 0.3, 0.9, 0.2, 0.4, 0.0])
    >>> found = detect(labels, scores, threshold=0.35, max_window=2)
    >>> round(found.average_precision, 3), round(found.base_rate, 3)
    (0.75, 0.333)
    >>> found.at_threshold.precision, found.at_threshold.recall
    (0.5, 0.5)
    """
    joined = join_series(labels, scores)
    _validate_threshold(threshold)
    _validate_max_window(max_window)
    return Detection(
        average_precision=float(average_precision_score(joined.labels, joined.scores)),
        vus_pr=volume_under_surface(joined, max_window),
        base_rate=float(joined.labels.mean()),
        at_threshold=_alarms(joined, threshold),
    )


def average_precision(labels: Series, scores: Series) -> float:
    """Return the area under the precision-recall curve, a step at each distinct score.

    Several series are taken together, under one threshold.

    Parameters
    ----------
    labels, scores
        As for `detect`.

    Raises
    ------
    ShapeError
        If the shapes don't fit.
    ValueError
        If a label is neither 0 nor 1, none is 1, or a score is not finite.

    Examples
    --------
    >>> average_precision(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.8, 0.7])).__round__(3)
    0.833
    """
    joined = join_series(labels, scores)
    return float(average_precision_score(joined.labels, joined.scores))


def alarms(labels: Series, scores: Series, *, threshold: float) -> Alarms:
    """Return precision, recall, F1 and alarm rate of the scores that reach a threshold.

    Every step counts by itself: one alarm in an anomaly doesn't make alarms of its other steps.

    Parameters
    ----------
    labels, scores
        As for `detect`.
    threshold
        A score of at least this is an alarm. Take it from training data, never from `scores`.

    Raises
    ------
    ShapeError
        If the shapes don't fit.
    ValueError
        If a label is neither 0 nor 1, none is 1, a score is not finite, or `threshold` is NaN.

    Examples
    --------
    >>> alarms(np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.2, 0.8]), threshold=0.5)
    Alarms(precision=0.5, recall=0.5, f1=0.5, alarm_rate=0.5)
    """
    joined = join_series(labels, scores)
    _validate_threshold(threshold)
    return _alarms(joined, threshold)


def vus_pr(labels: Series, scores: Series, *, max_window: int) -> float:
    """Return VUS-PR: range-based average precision, averaged over the widths of a buffer.

    After Paparrizos et al., "Volume Under the Surface" (VLDB 2022), in the form that the TSB-AD
    benchmark computes, but with a threshold at every distinct score instead of 250 of them. With
    buffer l, a step at distance d ≤ l/2 from an anomaly has the label √(1 - d/l) (labels from
    two anomalies add up to at most 1); of all labels, those that a threshold reaches sum to TP,
    and those of them outside the anomalies to B. Then, with P anomalous steps,

    - precision is TP over the number of alarms,
    - recall is TP / (P + B/2), at most 1, times the share of the anomalies, each with its
      buffers and those that touch taken as one, in which there is an alarm,

    and the area sums precision times the growth of recall. Averaged over l = 0…`max_window`. A
    buffer never leaves its series. As buffers count as partly anomalous, scores without any
    information get more than the base rate: about the mean label.

    Parameters
    ----------
    labels, scores
        As for `detect`.
    max_window
        The widest buffer in steps, both sides together; about the length of the anomalies or of
        a period of the series. With 0 there are no buffers, and with a single anomaly the
        result is then `average_precision`.

    Raises
    ------
    ShapeError
        If the shapes don't fit.
    ValueError
        If a label is neither 0 nor 1, none is 1, a score is not finite, or `max_window` is
        negative.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 0, 0, 0])
    >>> vus_pr(labels, labels, max_window=4)
    1.0
    >>> late = np.array([0, 0, 0, 0, 0, 1, 0, 0])
    >>> round(vus_pr(labels, late, max_window=0), 3), round(vus_pr(labels, late, max_window=4), 3)
    (0.25, 0.462)
    """
    joined = join_series(labels, scores)
    _validate_max_window(max_window)
    return volume_under_surface(joined, max_window)


def _validate_threshold(threshold: float) -> None:
    if np.isnan(threshold):
        raise ValueError("threshold is NaN; take a quantile of the scores of training data")


def _validate_max_window(max_window: int) -> None:
    if max_window < 0:
        raise ValueError(f"max_window is {max_window}; it must be at least 0 steps")


def _alarms(joined: LabelledSeries, threshold: float) -> Alarms:
    raised = joined.scores >= threshold
    n_hits, n_raised = int((raised & joined.labels).sum()), int(raised.sum())
    n_anomalous = int(joined.labels.sum())
    return Alarms(
        precision=n_hits / n_raised if n_raised else float("nan"),
        recall=n_hits / n_anomalous,
        f1=2 * n_hits / (n_raised + n_anomalous),
        alarm_rate=n_raised / raised.size,
    )
