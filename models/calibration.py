"""What a score means: p-values and thresholds from scores that the model wasn't trained on."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError
from models.generalized_pareto import ParetoTail
from models.score_scale import ScoreScale, standardise_held_out

__all__ = [
    "MIN_REFERENCE",
    "Calibration",
    "CalibrationConfig",
    "CalibrationMethod",
    "conformal_p_values",
]

CalibrationMethod = Literal["peaks_over_threshold", "conformal"]

MIN_REFERENCE = 20
"""Reference steps, of all entities together, without which there is nothing to compare with."""

_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """How scores become p-values.

    Attributes
    ----------
    method
        `"conformal"` ranks a score among the reference scores, so that no p-value is below
        1 / (1 + their number). `"peaks_over_threshold"` does so up to the tail and goes on from
        there with a generalized Pareto distribution, beyond the largest reference score as well.
    tail
        Share of the reference scores that are the tail.
    prior_steps
        So many reference steps of all entities' spread are added to each entity's own, and a
        tenth of it of their level, since levels differ more. With 0 each entity stands alone.

    Examples
    --------
    >>> CalibrationConfig(method="conformal").tail
    0.1
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: CalibrationMethod = "peaks_over_threshold"
    tail: float = 0.1
    prior_steps: float = 10.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.method not in get_args(CalibrationMethod):
            choices = list(get_args(CalibrationMethod))
            raise ValueError(f"method is {self.method!r}; it must be one of {choices}")
        if not 0 < self.tail < 1:
            raise ValueError(f"tail is {self.tail}; it must be in (0, 1)")
        if not 0 <= self.prior_steps < math.inf:
            raise ValueError(f"prior_steps is {self.prior_steps}; it must be at least 0 and finite")


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """How unusual a score is for its entity, with the tail learnt from all entities together.

    A hundred quiet steps of one entity say little about its one step in a hundred; those of sixty
    entities do. So scores are brought to a common scale first, by each entity's own level and
    spread (`ScoreScale`); the reference, standardised by scales that it had no part in, is pooled.

    What it can't mend:

    - Crises in the reference count in the tail. With 1 % of them, of twenty times their entity's
      usual score, a rate of .01 gives only .1 % to .2 % alarms on quiet steps, and .03 gives 1.2 %
      to 1.7 % (2 % by `"conformal"`); the p-value of such a crisis is about .001 (.005). Leave
      known crises out of the reference, or ask for a rate well above their share.
    - An entity whose level drifts after the reference is judged by the level that it had. One
      without reference is judged by the level and spread of all entities, so that its alarms are
      no more frequent, but its own crises are found only if they stand out among all.
    - The rate that is got for a rate r asked for varies by about sqrt(r (1 - r) / n) with the
      reference that was drawn: by .0013 at .01 with 6,000 steps.

    Attributes
    ----------
    config
        What it was fitted with.
    scale
        Level and spread of each entity.
    reference
        float64 `(n,)`: the pooled standardised scores, ascending.
    """

    config: CalibrationConfig
    scale: ScoreScale
    reference: NDArray[np.float64]

    @cached_property
    def _tail(self) -> ParetoTail | None:
        if self.config.method == "conformal":
            return None
        return ParetoTail.fit(self.reference, self.config.tail)

    @classmethod
    def fit(
        cls,
        scores: NDArray[np.floating[Any]],
        reference: NDArray[np.bool_],
        config: CalibrationConfig | None = None,
    ) -> "Calibration":
        """Learn from the steps that the model wasn't trained on.

        Parameters
        ----------
        scores
            `(E, S)`, at least 0, NaN where unknown.
        reference
            bool `(E, S)`: the steps to learn from; those without a score are left out.
        config
            The default one if None.

        Returns
        -------
        Calibration

        Raises
        ------
        ShapeError
            If a shape or dtype is wrong.
        ValueError
            If a score is negative or infinite, fewer than `MIN_REFERENCE` reference steps have a
            score, these don't vary, or their tail is too short for `"peaks_over_threshold"`.

        Examples
        --------
        >>> scores = np.random.default_rng(0).gamma(2, size=(3, 400))
        >>> scores[1] *= 50
        >>> calibration = Calibration.fit(scores, np.ones((3, 400), np.bool_))
        >>> bool(0.005 < (calibration.p_values(scores) <= 0.01).mean() < 0.015)
        True
        """
        _validate_scores(scores)
        if reference.shape != scores.shape or reference.dtype != np.bool_:
            raise ShapeError(
                f"reference is {reference.dtype} of shape {reference.shape}; expected bool of "
                f"the scores' shape {scores.shape}"
            )
        config = config or CalibrationConfig()
        used = reference & ~np.isnan(scores)
        if np.count_nonzero(used) < MIN_REFERENCE:
            raise ValueError(
                f"{np.count_nonzero(used)} reference steps have a score; at least {MIN_REFERENCE} "
                "are needed. Choose a longer reference period, in which steps are scored"
            )
        values, prior_steps = scores.astype(np.float64), config.prior_steps
        fitted = cls(
            config=config,
            scale=ScoreScale.fit(values, used, prior_steps=prior_steps),
            reference=np.sort(standardise_held_out(values, used, prior_steps=prior_steps)[used]),
        )
        fitted._tail  # noqa: B018  (a tail that is too short is an error here, not when scoring)
        return fitted

    def p_values(self, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return how likely a quiet step of the entity is to have such a score or a higher one.

        Parameters
        ----------
        scores
            `(E, S)` of the entities fitted, at least 0, NaN where unknown; S may be any.

        Returns
        -------
        numpy.ndarray
            float64 `(E, S)` in (0, 1], NaN where the score is. Within an entity a higher score
            never has a higher p-value.

        Raises
        ------
        ShapeError
            If the shape or dtype is wrong.
        ValueError
            If a score is negative or infinite.
        """
        _validate_scores(scores, n_entities=len(self.scale.level))
        return self._p_values(self.scale.standardise(scores.astype(np.float64)))

    def reference_p_values(
        self, scores: NDArray[np.floating[Any]], reference: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return p-values of the reference steps, each by the scale of its entity without it.

        A crisis in the reference would otherwise be judged by a spread that it made itself.

        Parameters
        ----------
        scores, reference
            As given to `fit`.

        Returns
        -------
        numpy.ndarray
            float64 `(E, S)`: NaN where a step is not of the reference or has no score.

        Raises
        ------
        ShapeError, ValueError
            As `fit`.

        Examples
        --------
        >>> scores = np.random.default_rng(0).gamma(2, size=(2, 100))
        >>> scores[1, 50:53] = 60
        >>> reference = np.ones((2, 100), np.bool_)
        >>> calibration = Calibration.fit(scores, reference)
        >>> by_others = calibration.reference_p_values(scores, reference)[1, 51]
        >>> bool(by_others < calibration.p_values(scores)[1, 51])
        True
        """
        _validate_scores(scores, n_entities=len(self.scale.level))
        used = reference & ~np.isnan(scores)
        return self._p_values(
            standardise_held_out(
                scores.astype(np.float64), used, prior_steps=self.config.prior_steps
            )
        )

    def _p_values(self, standardised: NDArray[np.float64]) -> NDArray[np.float64]:
        p_values = conformal_p_values(standardised, self.reference)
        if self._tail is not None:
            beyond = standardised > self._tail.start
            p_values[beyond] = self._tail.p_values(standardised[beyond])
        return p_values

    def thresholds(self, rate: float) -> NDArray[np.float64]:
        """Return the score of each entity above which a step is an alarm.

        Parameters
        ----------
        rate
            Share of quiet steps that may be alarms, in (0, 1].

        Returns
        -------
        numpy.ndarray
            float64 `(E,)`: a score has a p-value of at most `rate` if it is higher, to rounding;
            infinite where `"conformal"` has too few reference steps for that rate.

        Raises
        ------
        ValueError
            If `rate` is out of its range.

        Examples
        --------
        >>> scores = np.random.default_rng(0).gamma(2, size=(2, 500))
        >>> calibration = Calibration.fit(scores, np.ones((2, 500), np.bool_))
        >>> at_threshold = calibration.p_values(calibration.thresholds(0.01)[:, None])
        >>> at_threshold.round(6).tolist()
        [[0.01], [0.01]]
        """
        if not 0 < rate <= 1:
            raise ValueError(f"rate is {rate}; it must be in (0, 1], such as 0.01")
        if self._tail is not None and rate < self._tail.share:
            return self.scale.restore(self._tail.threshold(rate))
        return self.scale.restore(_conformal_threshold(self.reference, rate))

    def of_entities(self, rows: NDArray[np.int64]) -> "Calibration":
        """Return the calibration for other entities, or these in another order.

        Parameters
        ----------
        rows
            int64 `(E',)`: the entity, as fitted, that each one is; -1 for one that wasn't there,
            which gets the pooled statistics.

        Raises
        ------
        ShapeError
            If the shape or dtype is wrong.
        ValueError
            If there is no such entity.

        Examples
        --------
        >>> scores = np.random.default_rng(0).gamma(2, size=(2, 500))
        >>> calibration = Calibration.fit(scores, np.ones((2, 500), np.bool_))
        >>> other = calibration.of_entities(np.array([1, -1]))
        >>> bool(other.scale.level[1] == calibration.scale.pooled_level)
        True
        """
        if rows.ndim != 1 or rows.dtype != np.int64:
            raise ShapeError(
                f"rows is {rows.dtype} of shape {rows.shape}; expected int64 of shape (entities,)"
            )
        n_entities = len(self.scale.level)
        if ((rows < -1) | (rows >= n_entities)).any():
            raise ValueError(
                f"rows reaches from {rows.min()} to {rows.max()}; the calibration has "
                f"{n_entities} entities from 0 on, and -1 is one that it doesn't know"
            )
        return replace(self, scale=self.scale.of_entities(rows))

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds, with every reference score; `from_dict` is its exact inverse."""
        return {
            "format_version": _FORMAT_VERSION,
            "config": asdict(self.config),
            "level": self.scale.level.tolist(),
            "spread": self.scale.spread.tolist(),
            "pooled_level": self.scale.pooled_level,
            "pooled_spread": self.scale.pooled_spread,
            "reference": self.reference.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Rebuild what `to_dict` returned.

        Raises
        ------
        ValueError
            If the format version is another, or keys are unknown or missing.

        Examples
        --------
        >>> scores = np.random.default_rng(0).gamma(2, size=(2, 500))
        >>> calibration = Calibration.fit(scores, np.ones((2, 500), np.bool_))
        >>> again = Calibration.from_dict(calibration.to_dict())
        >>> bool((again.p_values(scores) == calibration.p_values(scores)).all())
        True
        """
        expected = {"format_version", "config", "level", "spread", "reference"}
        expected |= {"pooled_level", "pooled_spread"}
        if values.get("format_version") != _FORMAT_VERSION or set(values) != expected:
            raise ValueError(
                f"the calibration has format version {values.get('format_version')!r} and keys "
                f"{sorted(values)}; expected version {_FORMAT_VERSION} and {sorted(expected)}. "
                "Fit it again"
            )
        scale = ScoreScale(
            level=np.array(values["level"], np.float64),
            spread=np.array(values["spread"], np.float64),
            pooled_level=float(values["pooled_level"]),
            pooled_spread=float(values["pooled_spread"]),
        )
        return cls(
            config=CalibrationConfig(**values["config"]),
            scale=scale,
            reference=np.array(values["reference"], np.float64),
        )


def conformal_p_values(
    scores: NDArray[np.float64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (1 + #{reference >= score}) / (1 + n): at most a with a probability of at most a.

    This holds whatever the distribution if score and reference are exchangeable (Vovk et al.,
    2005).

    Parameters
    ----------
    scores
        Any shape; NaN gives NaN.
    reference
        `(n,)`, ascending.

    Examples
    --------
    >>> conformal_p_values(np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [1.0, 0.75, 0.25]
    """
    n_at_least = len(reference) - np.searchsorted(reference, scores, side="left")
    return np.where(np.isnan(scores), np.nan, (1 + n_at_least) / (1 + len(reference)))


def _conformal_threshold(reference: NDArray[np.float64], rate: float) -> float:
    """Return the reference score above which p-values are at most `rate`."""
    n = len(reference)
    n_allowed = int(np.count_nonzero(np.arange(1, n + 2) / (n + 1) <= rate))
    if n_allowed == 0:
        return math.inf
    return -math.inf if n_allowed > n else float(reference[n - n_allowed])


def _validate_scores(scores: NDArray[Any], *, n_entities: int | None = None) -> None:
    is_float = np.issubdtype(scores.dtype, np.floating)
    if scores.ndim != 2 or not is_float or n_entities not in {None, scores.shape[0]}:
        wanted = "entities" if n_entities is None else n_entities
        raise ShapeError(
            f"scores is {scores.dtype} of shape {scores.shape}; expected floats of shape "
            f"({wanted}, steps)"
        )
    wrong = (scores < 0) | np.isinf(scores)
    if wrong.any():
        entity, step = np.argwhere(wrong)[0]
        raise ValueError(
            f"scores holds {int(wrong.sum())} values that are negative or infinite, the first at "
            f"entity {entity}, step {step}: {scores[entity, step]:.6g}; scores are errors of at "
            "least 0, NaN where unknown"
        )
