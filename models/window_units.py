"""The way from windows as a user has them to what a model sees, and back."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import ShapeError

__all__ = ["WindowUnits", "read_windows"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowUnits:
    """What windows `(N, T, F)` are standardised by, and which features are reconstructed plain.

    Attributes
    ----------
    mean, scale
        `(F,)`.
    is_share
        `(F,)` bool: features that are reconstructed as they are. Where there are any, the others
        are reconstructed standardised, and else, with `difference`, as changes.
    difference
        Whether the encoder sees each step's change from the one before, but the first as it is.

    Examples
    --------
    >>> values = np.array([[[1.0], [3.0], [np.nan]]])
    >>> units = WindowUnits.fit(values, n_shares=0, standardise=True, difference=True)
    >>> inputs, observed = units.inputs(values)
    >>> inputs.ravel().tolist(), observed.ravel().tolist()
    ([-1.0, 2.0, 0.0], [True, True, False])
    >>> units.restored(inputs).ravel().tolist()
    [1.0, 3.0, 3.0]
    """

    mean: Doubles
    scale: Doubles
    is_share: NDArray[np.bool_]
    difference: bool

    @classmethod
    def fit(cls, values: Doubles, *, n_shares: int, standardise: bool, difference: bool) -> Self:
        """Take the statistics of the observed steps of windows `(N, T, F)`.

        A feature that doesn't vary by more than rounding is only centred. The first `n_shares`
        features are reconstructed as they are.

        Raises
        ------
        ValueError
            If no step is observed.
        """
        n_features = values.shape[2]
        seen = values[_observed(values)]
        if len(seen) == 0:
            raise ValueError(
                "no training window has an observed step, one without a NaN; give more windows, "
                "or a smaller validation_share"
            )
        mean, scale = np.zeros(n_features), np.ones(n_features)
        if standardise:
            rounding = 10 * np.finfo(np.float64).eps * np.abs(seen).max(axis=0)
            mean = seen.mean(axis=0)
            scale = np.where(np.ptp(seen, axis=0) > rounding, seen.std(axis=0), 1.0)
        is_share = np.arange(n_features) < n_shares
        return cls(mean=mean, scale=scale, is_share=is_share, difference=difference)

    def inputs(self, values: Doubles) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return what the encoder sees, `(N, T, F)` with 0 in gaps, and what is observed of it.

        Of changes those are observed that lead from an observed step to an observed one.

        Raises
        ------
        ValueError
            If values are beyond float32.
        """
        observed, seen = _observed(values), self._standardised(values)
        if self.difference:
            seen = np.concatenate([seen[:, :1], np.diff(seen, axis=1)], axis=1)
            observed = np.concatenate([observed[:, :1], observed[:, 1:] & observed[:, :-1]], axis=1)
        return _float32(seen, observed), observed

    def targets(self, values: Doubles) -> NDArray[np.float32]:
        """Return what is to be reconstructed, `(N, T, F)` with 0 in gaps.

        Raises
        ------
        ValueError
            If values are beyond float32.
        """
        if not self.is_share.any():
            return self.inputs(values)[0]
        plain = np.where(self.is_share, values, self._standardised(values))
        return _float32(plain, _observed(values))

    def errors(self, outputs: NDArray[np.float32], values: Doubles) -> Doubles:
        """Return how far outputs `(N, T, F)` are from the targets, standardised."""
        errors = outputs.astype(np.float64) - self.targets(values)
        return np.where(self.is_share, errors / self.scale, errors)

    def restored(self, outputs: NDArray[np.float32]) -> Doubles:
        """Return outputs `(N, T, F)` in the units that the values had."""
        plain = outputs.astype(np.float64)
        if self.difference and not self.is_share.any():
            plain = plain.cumsum(axis=1)
        return np.where(self.is_share, plain, plain * self.scale + self.mean)

    def _standardised(self, values: Doubles) -> Doubles:
        return (values - self.mean) / self.scale


def read_windows(X: ArrayLike, n_features: int | None = None) -> Doubles:
    """Return X in float64, or say what is wrong with it.

    Parameters
    ----------
    X
        `(N, T, F)` numbers, none of the three 0; NaN in gaps.
    n_features
        F; None for any.

    Raises
    ------
    ShapeError
        If the shape is another or it holds no numbers.
    ValueError
        If it holds infinity.

    Examples
    --------
    >>> read_windows([[[1], [2]]]).shape
    (1, 2, 1)
    """
    array = np.asarray(X)
    if array.dtype.kind not in "biuf":
        raise ShapeError(f"X holds {array.dtype}; expected numbers, with NaN in gaps")
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(
            f"X has shape {array.shape}; expected windows (N, T, F), none of them 0. Use "
            "X[..., None] if it is (N, T), X[None] if it is a single window (T, F), or "
            "X.reshape(len(X), T, F) if each row is a flattened window"
        )
    if n_features is not None and array.shape[2] != n_features:
        raise ShapeError(
            f"X has {array.shape[2]} features and the model {n_features}; give those that it was "
            "fitted on, in their order"
        )
    if np.isinf(array).any():
        window, step, feature = np.argwhere(np.isinf(array))[0]
        raise ValueError(
            f"X holds infinity, first in window {window}, step {step}, feature {feature}; put "
            "NaN where nothing was observed"
        )
    return np.asarray(array, np.float64)


def _observed(values: Doubles) -> NDArray[np.bool_]:
    return np.logical_not(np.isnan(values).any(axis=2))


def _float32(values: Doubles, observed: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill gaps with 0 and cast."""
    filled = np.where(observed[..., None], values, 0.0)
    greatest = np.abs(filled).max()
    if not greatest <= np.finfo(np.float32).max:
        raise ValueError(
            f"X holds values that are {greatest:.3g} once standardised, beyond float32; scale X, "
            "or put NaN where nothing was observed"
        )
    return filled.astype(np.float32)
