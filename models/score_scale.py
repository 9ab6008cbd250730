"""One scale for the scores of entities that differ in level and spread."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ScoreScale", "standardise_held_out"]

_N_STRETCHES = 10
_LEVEL_PRIOR = 0.1  # of prior_steps: levels differ more between entities than within one
_TRIMMED, _WINSORISED = 0.9, 0.95  # where outliers stop counting
_SLOPE = 0.75  # of log(1 + x) by log(x), at high scores; it is 1/2 at the level and tends to 1
_LEAST_SPREAD = 0.05  # of all entities': a few equal scores are no proof of a spread of 0


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreScale:
    """z = (log(1 + x / level) - log 2) / spread: about standard normal above 0, whatever the unit.

    An entity's level is the mean of the lowest nine tenths of its scores. Its spread is the
    standard deviation of the normal distribution with the same mean distance above that level,
    distances capped at their .95 quantile: it is the upper side that alarms are about, and a
    twentieth of outliers hardly moves either. Of few scores the level is uncertain, so the spread
    is wider by that: a new entity's high score may just be its level.

    Attributes
    ----------
    level, spread
        float64 `(E,)`, positive.
    pooled_level, pooled_spread
        Those of an entity of which no score is known.
    """

    level: NDArray[np.float64]
    spread: NDArray[np.float64]
    pooled_level: float
    pooled_spread: float

    @classmethod
    def fit(
        cls, scores: NDArray[np.float64], used: NDArray[np.bool_], *, prior_steps: float
    ) -> "ScoreScale":
        """Measure level and spread of each entity, drawn towards those of all entities.

        Parameters
        ----------
        scores
            `(E, S)`, at least 0 where used.
        used
            bool `(E, S)`.
        prior_steps
            So many steps of all entities' spread, and a tenth of it of their level, are added
            to each entity's own.

        Raises
        ------
        ValueError
            If nothing is used or the used scores don't vary.

        Examples
        --------
        >>> scores = np.array([[1.0, 1.0, 4.0], [10.0, 10.0, 40.0]])
        >>> scale = ScoreScale.fit(scores, np.ones((2, 3), np.bool_), prior_steps=0)
        >>> scale.level.round(6).tolist(), bool(np.isclose(*scale.spread))
        ([2.0, 20.0], True)
        """
        n_used = used.sum(axis=1)
        # Unused scores sort behind all others.
        ascending = np.sort(np.where(used, scores, np.inf), axis=1)[:, : max(int(n_used.max()), 1)]
        n_prior = _LEVEL_PRIOR * prior_steps
        level, pooled_level, between = _levels(ascending, n_used, n_prior)
        spread, pooled_spread = _spreads(ascending, n_used, level, prior_steps)
        spread = _widen(spread, n_used, n_prior, between)
        pooled_spread = math.hypot(pooled_spread, _SLOPE * between)
        return cls(
            level=level, spread=spread, pooled_level=pooled_level, pooled_spread=pooled_spread
        )

    def of_entities(self, rows: NDArray[np.int64]) -> "ScoreScale":
        """Return the scale of these rows, pooled where a row is -1."""
        return ScoreScale(
            level=np.append(self.level, self.pooled_level)[rows],
            spread=np.append(self.spread, self.pooled_spread)[rows],
            pooled_level=self.pooled_level,
            pooled_spread=self.pooled_spread,
        )

    def standardise(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return z of scores x `(E, S)`; it grows with x.

        Examples
        --------
        >>> scale = ScoreScale(
        ...     level=np.array([2.0]), spread=np.array([0.5]), pooled_level=2.0, pooled_spread=0.5
        ... )
        >>> scale.standardise(np.array([[2.0, 6.0]])).round(3).tolist()
        [[0.0, 1.386]]
        """
        return _standardise(scores, self.level[:, None], self.spread[:, None])

    def restore(self, standardised: float) -> NDArray[np.float64]:
        """Return the scores `(E,)` of one z; infinite where no float64 is as large."""
        with np.errstate(over="ignore"):
            scores: NDArray[np.float64] = self.level * np.expm1(
                math.log(2) + self.spread * standardised
            )
        return scores


def standardise_held_out(
    scores: NDArray[np.float64], used: NDArray[np.bool_], *, prior_steps: float
) -> NDArray[np.float64]:
    """Standardise each used score by a scale that it had no part in.

    The used steps of each entity are cut into ten stretches of time; each is standardised by the
    others. It is then as strange to the scale as a new score is, where scores standardised by
    themselves look too tame.

    Parameters
    ----------
    scores, used, prior_steps
        As for `ScoreScale.fit`.

    Returns
    -------
    numpy.ndarray
        float64 `(E, S)`: NaN where a score is not used.

    Raises
    ------
    ValueError
        If the used scores don't vary without one of the stretches.

    Examples
    --------
    >>> scores = np.arange(40.0).reshape(2, 20)
    >>> int(np.isnan(standardise_held_out(scores, scores > 4, prior_steps=1)).sum())
    5
    """
    rank, n_used = used.cumsum(axis=1) - 1, used.sum(axis=1, keepdims=True)
    stretch = np.where(used, rank * _N_STRETCHES // np.maximum(n_used, 1), -1)
    standardised = np.full(scores.shape, np.nan)
    for left_out in range(_N_STRETCHES):
        inside = stretch == left_out
        if inside.any():
            scale = ScoreScale.fit(scores, used & ~inside, prior_steps=prior_steps)
            entity = np.nonzero(inside)[0]
            standardised[inside] = _standardise(
                scores[inside], scale.level[entity], scale.spread[entity]
            )
    return standardised


def _standardise(
    scores: NDArray[np.float64], level: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    standardised: NDArray[np.float64] = (np.log1p(scores / level) - math.log(2)) / spread
    return standardised


def _levels(
    ascending: NDArray[np.float64], n_used: NDArray[np.int64], n_prior: float
) -> tuple[NDArray[np.float64], float, float]:
    """Return levels, that of all entities, and the deviation of log levels between them.

    An entity's scores are in the first `n_used` columns.
    """
    trimmed = np.arange(ascending.shape[1]) < np.ceil(_TRIMMED * n_used)[:, None]
    own = _row_means(ascending, trimmed)
    n_own = np.where(own > 0, n_used, 0)
    if not n_own.any():
        raise ValueError(_NO_SPREAD)
    log_own = np.log(np.where(n_own > 0, own, 1))
    pooled = float(np.average(log_own, weights=n_own))
    between = math.sqrt(float(np.average((log_own - pooled) ** 2, weights=n_own)))
    return np.exp(_shrink(log_own, n_own, pooled, n_prior)), math.exp(pooled), between


def _widen(
    spread: NDArray[np.float64], n_used: NDArray[np.int64], n_prior: float, between: float
) -> NDArray[np.float64]:
    """Return spreads `(E,)` of new scores about levels that are uncertain themselves.

    A level is off by its own sampling error, by its weight in the shrunk one, and by what
    entities differ, by the weight of all entities in it.
    """
    weight = np.where(n_used > 0, n_used / np.maximum(n_used + n_prior, 1), 0)
    sampling = weight * 2 * spread / np.sqrt(np.maximum(n_used, 1))  # scores vary by 2 spread
    widened: NDArray[np.float64] = np.sqrt(
        spread**2 + _SLOPE**2 * (sampling**2 + ((1 - weight) * between) ** 2)
    )
    return widened


def _spreads(
    ascending: NDArray[np.float64],
    n_used: NDArray[np.int64],
    level: NDArray[np.float64],
    n_prior: float,
) -> tuple[NDArray[np.float64], float]:
    """Return the spread of each entity above its level, and of all."""
    filled = np.arange(ascending.shape[1]) < n_used[:, None]
    distance = np.log1p(np.where(filled, ascending, 0) / level[:, None]) - math.log(2)
    cap_at = np.maximum(np.ceil(_WINSORISED * n_used).astype(np.int64) - 1, 0)[:, None]
    capped = np.minimum(distance, np.take_along_axis(distance, cap_at, axis=1))
    # The positive part of a normal distribution has the mean deviation / sqrt(2 pi).
    own = math.sqrt(2 * math.pi) * _row_means(np.maximum(capped, 0), filled)
    pooled = float(np.average(own, weights=n_used))
    if not pooled > 0:
        raise ValueError(_NO_SPREAD)
    return np.maximum(_shrink(own, n_used, pooled, n_prior), _LEAST_SPREAD * pooled), pooled


_NO_SPREAD = (
    "the reference scores are all alike, or nearly all of them 0, so that nothing says which "
    "score is high; give a longer reference, or scores that vary"
)


def _row_means(values: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of the kept values of each row, 0 where there are none."""
    means: NDArray[np.float64] = np.where(kept, values, 0).sum(axis=1) / np.maximum(
        kept.sum(axis=1), 1
    )
    return means


def _shrink(
    own: NDArray[np.float64], n_own: NDArray[np.int64], pooled: float, n_prior: float
) -> NDArray[np.float64]:
    """Return means of own and pooled values, weighted by steps; pooled where there are none."""
    weighted = (n_own * own + n_prior * pooled) / np.maximum(n_own + n_prior, 1)
    return np.where(n_own > 0, weighted, pooled)
