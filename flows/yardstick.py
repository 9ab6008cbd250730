"""What steps of a model are judged by: learnt with it, and the same until the next training."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.preparation import Prepared
from flows.noise import reference_steps, training_steps
from models import Calibration, CalibrationConfig, Mahalanobis
from models.calibration import MIN_REFERENCE
from models.generalized_pareto import MIN_EXCESSES

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorScale:
    """How large errors of one expectation usually are.

    Attributes
    ----------
    variance
        float32 ``(E, F)``: see `flows.noise.error_variance`.
    mahalanobis
        Mean and covariance of errors of the validation part.
    """

    variance: Floats
    mahalanobis: Mahalanobis


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated:
    """What scores mean, and the scores that this was learnt from.

    Attributes
    ----------
    calibration
        Of the reference steps.
    scores
        float32 ``(E, R)``: the reference scores, NaN where there is none.
    steps
        datetime64[D] ``(R,)``: the steps that they are of, rising.
    with_training
        Whether the training part is among the reference, since the validation part was too short.
    """

    calibration: Calibration
    scores: Floats
    steps: NDArray[np.datetime64]
    with_training: bool

    @classmethod
    def fit(
        cls,
        scores: Floats,
        prepared: Prepared,
        steps: NDArray[np.datetime64],
        config: CalibrationConfig,
    ) -> "Calibrated":
        """Learn from the validation part, or from what there is where it is short.

        A reference too short for a tail is judged by ranks; one of fewer than `MIN_REFERENCE`
        steps is joined by the training part, whose scores are lower, so that there are more
        alarms.

        Parameters
        ----------
        scores
            float32 ``(E, S)``.
        prepared
            What they are of.
        steps
            datetime64[D] ``(S,)``.
        config
            How, where the reference is long enough.

        Raises
        ------
        ValueError
            If even both parts have too few steps.
        """
        known = ~np.isnan(scores)
        with_training = bool((reference_steps(prepared) & known).sum() < MIN_REFERENCE)
        reference = _reference(prepared, with_training=with_training)
        if np.count_nonzero(reference & known) * config.tail < MIN_EXCESSES + 1:
            config = replace(config, method="conformal")
        used = reference.any(axis=0)
        return cls(
            calibration=Calibration.fit(scores, reference, config),
            scores=np.where(reference, scores, np.float32(np.nan))[:, used],
            steps=steps[used],
            with_training=with_training,
        )

    def p_values(
        self, scores: Floats, prepared: Prepared, steps: NDArray[np.datetime64]
    ) -> NDArray[np.float64]:
        """Return the p-values of scores, float64 ``(E, S)``.

        A reference step is judged by its entity's scale without it, also where it has another
        score now than when that was learnt.
        """
        p_values = self.calibration.p_values(scores)
        reference = _reference(prepared, with_training=self.with_training)
        own = self.calibration.reference_p_values(self.scores, ~np.isnan(self.scores))
        for s in np.flatnonzero(reference.any(axis=0)):
            now = np.where(reference[:, s], scores[:, s], np.float32(np.nan))
            column = int(np.searchsorted(self.steps, steps[s]))
            is_there = column < len(self.steps) and self.steps[column] == steps[s]
            if is_there and np.allclose(now, self.scores[:, column], rtol=1e-4, equal_nan=True):
                judged = own[:, column]
            else:
                judged = self._judged_again(now, column if is_there else None)
            p_values[:, s] = np.where(reference[:, s], judged, p_values[:, s])
        return p_values

    def _judged_again(self, now: Floats, column: int | None) -> NDArray[np.float64]:
        """Return the p-values ``(E,)`` of a reference step whose scores are `now` others."""
        if column is None:
            known, column = np.column_stack([self.scores, now]), self.scores.shape[1]
        else:
            known = self.scores.copy()
            known[:, column] = now
        judged = self.calibration.reference_p_values(known, ~np.isnan(known))
        p_values: NDArray[np.float64] = judged[:, column]
        return p_values


def _reference(prepared: Prepared, *, with_training: bool) -> NDArray[np.bool_]:
    reference = reference_steps(prepared)
    return reference | training_steps(prepared) if with_training else reference


@dataclass(frozen=True, kw_only=True, eq=False)
class Yardstick:
    """What steps of a model are judged by.

    Attributes
    ----------
    variance
        float32 ``(E, F)``: of errors of the expectation that the score is made of.
    usual
        float64 ``(E, 2)``: the usual score and strangeness, of which 1 is made.
    combined, newest
        For the expectation by all covering windows, and by the window that a step ends.
    calibrated
        What p-values come from.
    """

    variance: Floats
    usual: NDArray[np.float64]
    combined: ErrorScale
    newest: ErrorScale
    calibrated: Calibrated

    @property
    def calibration(self) -> Calibration:
        """That the p-values come from."""
        return self.calibrated.calibration
