"""Mahalanobis distance of residuals, after Malhotra et al. (2016), arXiv 1607.00148."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from models.errors import ShapeError

__all__ = ["Mahalanobis", "MahalanobisConfig"]

Floats = NDArray[np.float32]

_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class MahalanobisConfig:
    """How the covariance of residuals is estimated.

    Attributes
    ----------
    steps_a_feature
        An entity has a covariance of its own if it has at least this many reference steps for each
        feature; else it shares the pooled one.
    max_rows
        Residuals that the pooled covariance is fitted on at most.

    Raises
    ------
    ValueError
        If a value is not above 0.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    steps_a_feature: float = 2.0
    max_rows: int = 20_000

    def __post_init__(self) -> None:
        for name in ("steps_a_feature", "max_rows"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class Mahalanobis:
    """Mean and covariance of the residuals of steps that the model was not trained on.

    The score of residuals e is (e - μ)ᵀ Σ⁻¹ (e - μ) / F: about 1 on average where they are as in
    the reference. Σ is shrunk towards a multiple of the identity (Ledoit and Wolf, 2004), so that
    it can be inverted with fewer steps than features.

    Attributes
    ----------
    means
        `(G, F)`: of the pool, then of each entity that has a covariance of its own.
    whiteners
        `(G, F, F)`: L⁻¹ of Σ = L Lᵀ.
    group
        `(E,)`: which of them each entity has.

    Examples
    --------
    >>> residuals = np.random.default_rng(0).normal(size=(2, 500, 3)).astype(np.float32)
    >>> distance = Mahalanobis.fit(residuals, np.ones((2, 500), bool), seed=0)
    >>> round(float(distance.score(residuals).mean()), 1)
    1.0
    """

    means: NDArray[np.float64]
    whiteners: NDArray[np.float64]
    group: NDArray[np.int64]

    @classmethod
    def fit(
        cls,
        residuals: Floats,
        reference: NDArray[np.bool_],
        *,
        seed: int,
        config: MahalanobisConfig | None = None,
    ) -> Self:
        """Fit on residuals `(E, S, F)` of the reference steps, `(E, S)` bool.

        Raises
        ------
        ShapeError
            If the shapes don't fit.
        ValueError
            If fewer than two reference steps have residuals.
        """
        config = config or MahalanobisConfig()
        if residuals.ndim != 3 or reference.shape != residuals.shape[:2]:
            raise ShapeError(
                f"residuals have shape {residuals.shape} and reference {reference.shape}; expected "
                "(E, S, F) and (E, S)"
            )
        known = reference & ~np.isnan(residuals).any(axis=2)
        if known.sum() < 2:
            raise ValueError(
                f"{int(known.sum())} reference steps have residuals; a covariance needs at least "
                "2: give more of the time that the model was not trained on"
            )
        rows = np.argwhere(known)
        if len(rows) > config.max_rows:
            chosen = np.random.default_rng(seed).choice(len(rows), config.max_rows, replace=False)
            rows = rows[np.sort(chosen)]
        fitted = [_whitener(residuals[tuple(rows.T)])]
        group = np.zeros(len(residuals), np.int64)
        needed = max(2, config.steps_a_feature * residuals.shape[2])
        for entity in np.flatnonzero(known.sum(axis=1) >= needed):
            group[entity] = len(fitted)
            fitted.append(_whitener(residuals[entity, known[entity]]))
        means, whiteners = (np.stack(part) for part in zip(*fitted, strict=True))
        return cls(means=means, whiteners=whiteners, group=group)

    def score(self, residuals: Floats) -> Floats:
        """Return the scores `(E, S)` of residuals `(E, S, F)`; NaN where a residual is.

        Raises
        ------
        ShapeError
            If it was fitted on other entities or features.
        """
        if residuals.shape[::2] != (len(self.group), self.means.shape[1]):
            raise ShapeError(
                f"residuals have shape {residuals.shape}; it was fitted on {len(self.group)} "
                f"entities with {self.means.shape[1]} features, in that order"
            )
        scores = np.empty(residuals.shape[:2], np.float32)
        for entity, group in enumerate(self.group):
            for first in range(0, residuals.shape[1], _ROWS_AT_ONCE):
                part = residuals[entity, first : first + _ROWS_AT_ONCE] - self.means[group]
                white = part @ self.whiteners[group].T
                scores[entity, first : first + _ROWS_AT_ONCE] = np.square(white).mean(axis=1)
        return scores


def _whitener(rows: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean `(F,)` of rows `(N, F)` and the inverse Cholesky factor `(F, F)` of Σ."""
    values = rows.astype(np.float64)
    mean = values.mean(axis=0)
    covariance, _ = ledoit_wolf(values - mean, assume_centered=True)
    # A feature that never varied has no share in Σ but the shrinkage's, which may be 0.
    floor = 1e-6 * np.trace(covariance) / len(covariance) or 1.0
    factor = np.linalg.cholesky(covariance + floor * np.eye(len(covariance)))
    return mean, np.linalg.inv(factor)
