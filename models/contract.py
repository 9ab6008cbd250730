"""Checks of the arrays that callers hand over."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ShapeError

__all__ = [
    "validate_cube",
    "validate_exposure",
    "validate_shares",
    "validate_target",
    "validate_windows",
    "validate_windows_with_data",
]


def validate_cube(
    cube: NDArray[np.float32], observed: NDArray[np.bool_], *, n_features: int | None = None
) -> None:
    """Check that a cube and its mask hold to the contract.

    Parameters
    ----------
    cube
        `(E, S, F)` float32, finite everywhere.
    observed
        `(E, S)` bool.
    n_features
        The F of the model that is to see the cube; None for any.

    Raises
    ------
    ShapeError
        If a shape or dtype is wrong.
    ValueError
        If a value is not finite; the message names the first one's entity, step and feature.

    Examples
    --------
    >>> validate_cube(np.zeros((2, 9, 3), np.float32), np.ones((2, 9), np.bool_))
    """
    if cube.ndim != 3 or cube.dtype != np.float32 or 0 in cube.shape:
        raise ShapeError(
            f"cube is {cube.dtype} of shape {cube.shape}; expected float32 of shape (entities, "
            "steps, features), none of them 0. Use cube.astype(np.float32)"
        )
    if n_features is not None and cube.shape[2] != n_features:
        raise ShapeError(
            f"cube has {cube.shape[2]} features and the model {n_features}; give the features "
            "that the model was trained on, in their order"
        )
    if observed.shape != cube.shape[:2] or observed.dtype != np.bool_:
        raise ShapeError(
            f"observed is {observed.dtype} of shape {observed.shape}; expected bool of shape "
            f"{cube.shape[:2]}, the cube's without its features"
        )
    finite = np.isfinite(cube)
    if not finite.all():
        entity, step, feature = np.argwhere(~finite)[0]
        raise ValueError(
            f"cube holds {int((~finite).sum())} values that are not finite, the first at entity "
            f"{entity}, step {step}, feature {feature}; fill masked steps with 0 and mark them "
            "False in observed"
        )


def validate_windows(
    windows: NDArray[np.int64],
    *,
    length: int,
    n_entities: int,
    n_steps: int,
    name: str = "windows",
) -> None:
    """Check that every window lies inside the cube.

    Parameters
    ----------
    windows
        `(N, 2)` int64: rows (entity, start). N may be 0.
    length
        T, at least 1.
    n_entities, n_steps
        E and S of the cube.
    name
        What the message calls them.

    Raises
    ------
    ShapeError
        If the shape or dtype is wrong.
    ValueError
        If `length` is under 1 or a window reaches out of the cube.

    Examples
    --------
    >>> validate_windows(np.array([[0, 3]]), length=5, n_entities=1, n_steps=8)
    >>> validate_windows(np.array([[0, 4]]), length=5, n_entities=1, n_steps=8)
    Traceback (most recent call last):
    ...
    ValueError: windows[0] is (entity 0, start 4) of length 5, which ...
    """
    if length < 1:
        raise ValueError(f"length is {length}; a window has at least 1 step")
    if windows.ndim != 2 or windows.shape[1] != 2 or windows.dtype != np.int64:
        raise ShapeError(
            f"{name} is {windows.dtype} of shape {windows.shape}; expected int64 of shape (N, 2), "
            "rows (entity, start)"
        )
    inside = (windows >= 0) & (windows <= [n_entities - 1, n_steps - length])
    if not inside.all():
        row = int(np.argmin(inside.all(axis=1)))
        entity, start = windows[row]
        raise ValueError(
            f"{name}[{row}] is (entity {entity}, start {start}) of length {length}, which reaches "
            f"out of {n_entities} entities x {n_steps} steps; make the windows from this very cube"
        )


def validate_windows_with_data(
    windows: NDArray[np.int64], observed: NDArray[np.bool_], *, length: int, name: str
) -> None:
    """Check that windows lie inside the cube and that there is something in them to learn from.

    Parameters
    ----------
    windows
        `(N, 2)` int64: rows (entity, start).
    observed
        `(E, S)` bool.
    length
        T.
    name
        Of the period, such as "training".

    Raises
    ------
    ShapeError
        If the shape or dtype of `windows` is wrong.
    ValueError
        If a window lies outside the cube, there are none, or none covers an observed step.

    Examples
    --------
    >>> observed = np.ones((1, 8), dtype=bool)
    >>> validate_windows_with_data(np.array([[0, 3]]), observed, length=5, name="training")
    """
    n_entities, n_steps = observed.shape
    validate_windows(
        windows,
        length=length,
        n_entities=n_entities,
        n_steps=n_steps,
        name=f"{name} windows",
    )
    if len(windows) == 0:
        raise ValueError(
            f"there are no {name} windows; shorten the windows (length is {length}) or give the "
            f"{name} period at least {length} steps"
        )
    if not any(observed[entity, start : start + length].any() for entity, start in windows):
        raise ValueError(
            f"no {name} window covers an observed step; lower the number of events that a step "
            "needs, or choose a period with data"
        )


def validate_target(target: NDArray[np.float32], cube: NDArray[np.float32]) -> None:
    """Check that what is to be reconstructed has the shape of what is seen.

    Parameters
    ----------
    target, cube
        `(E, S, F)` float32, the target finite everywhere.

    Raises
    ------
    ShapeError
        If shape or dtype differ.
    ValueError
        If a value is not finite.

    Examples
    --------
    >>> validate_target(np.zeros((2, 9, 3), np.float32), np.ones((2, 9, 3), np.float32))
    """
    if target.shape != cube.shape or target.dtype != np.float32:
        raise ShapeError(
            f"target is {target.dtype} of shape {target.shape}; expected float32 of the cube's "
            f"shape {cube.shape}"
        )
    if not np.isfinite(target).all():
        raise ValueError(
            f"target holds {int((~np.isfinite(target)).sum())} values that are not finite; fill "
            "masked steps with 0 and mark them False in observed"
        )


def validate_exposure(
    exposure: NDArray[np.integer[Any] | np.floating[Any]], observed: NDArray[np.bool_]
) -> None:
    """Check the events behind each step.

    Parameters
    ----------
    exposure
        `(E, S)`, numbers; at least 0 and finite, and above 0 in some observed step.
    observed
        `(E, S)` bool.

    Raises
    ------
    ShapeError
        If the shape is wrong or it holds no numbers.
    ValueError
        If a value is negative or not finite, or all observed steps have 0.

    Examples
    --------
    >>> validate_exposure(np.full((2, 9), 40), np.ones((2, 9), np.bool_))
    """
    is_number = np.issubdtype(exposure.dtype, np.integer) or np.issubdtype(
        exposure.dtype, np.floating
    )
    if exposure.shape != observed.shape or not is_number:
        raise ShapeError(
            f"exposure is {exposure.dtype} of shape {exposure.shape}; expected numbers of shape "
            f"{observed.shape}, the cube's without its features"
        )
    if not np.isfinite(exposure).all() or (exposure < 0).any():
        raise ValueError("exposure must be finite and at least 0 everywhere; it counts events")
    if not exposure[observed].any():
        raise ValueError("exposure is 0 in every observed step; give the events behind each step")


def validate_shares(
    target: NDArray[np.float32], observed: NDArray[np.bool_], groups: Sequence[int]
) -> None:
    """Check that each group of features holds shares of one whole in every observed step.

    Parameters
    ----------
    target
        `(E, S, F)`.
    observed
        `(E, S)` bool.
    groups
        Sizes of consecutive groups, from the first feature on.

    Raises
    ------
    ValueError
        If a share is negative or a group doesn't sum to 1; the message names the first place.

    Examples
    --------
    >>> validate_shares(np.float32([[[0.25, 0.75, 7.0]]]), np.array([[True]]), (2,))
    """
    first = 0
    for size in groups:
        shares = target[..., first : first + size]
        sums = shares.sum(axis=-1, dtype=np.float64)
        wrong = observed & ((shares < 0).any(axis=-1) | (np.abs(sums - 1) > 1e-4))
        if wrong.any():
            entity, step = np.argwhere(wrong)[0]
            raise ValueError(
                f"features {first} to {first + size - 1} are to be shares of one whole, but at "
                f"entity {entity}, step {step} they sum to {sums[entity, step]:.6g}, the least "
                f"{shares[entity, step].min():.6g}; give plain proportions as target (the cube "
                "itself may be standardised) and the sizes of their groups"
            )
        first += size
