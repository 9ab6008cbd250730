"""Which alarms are believed when many entities are watched at once."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from models.errors import ShapeError

__all__ = ["Dependence", "false_discovery"]

Dependence = Literal["positive", "any"]

_METHODS = {"positive": "bh", "any": "by"}


def false_discovery(
    p_values: NDArray[np.floating[Any]], *, dependence: Dependence = "positive"
) -> NDArray[np.float64]:
    """Return q-values: an alarm where q <= 0.1 is false in a tenth of the cases, on average.

    With m entities in a step, ranked by p-value from the smallest, q is the smallest m p / rank
    of this rank and those after it (Benjamini and Hochberg, 1995). Each step is a family of its
    own: what is controlled is the share of false ones among the alarms of one step.

    Parameters
    ----------
    p_values
        `(E, S)` in 0…1, NaN where there is none; these don't count among the m.
    dependence
        Between the entities of a step. `"positive"` also covers independence; `"any"` multiplies
        q by 1 + 1/2 + … + 1/m (Benjamini and Yekutieli, 2001).

    Returns
    -------
    numpy.ndarray
        float64 `(E, S)`, NaN where the p-value is.

    Raises
    ------
    ShapeError
        If `p_values` isn't two-dimensional or holds no floats.
    ValueError
        If a p-value is outside 0…1 or `dependence` is unknown.

    Examples
    --------
    >>> p = np.array([[0.01, 0.5], [0.04, np.nan], [0.03, 0.2]])
    >>> false_discovery(p).round(3).tolist()
    [[0.03, 0.5], [0.04, nan], [0.04, 0.4]]
    """
    if p_values.ndim != 2 or not np.issubdtype(p_values.dtype, np.floating):
        raise ShapeError(
            f"p_values is {p_values.dtype} of shape {p_values.shape}; expected floats of shape "
            "(entities, steps)"
        )
    if dependence not in get_args(Dependence):
        raise ValueError(
            f"dependence is {dependence!r}; it must be one of {list(get_args(Dependence))}"
        )
    known = ~np.isnan(p_values)
    outside = known & ~((p_values >= 0) & (p_values <= 1))
    if outside.any():
        entity, step = np.argwhere(outside)[0]
        raise ValueError(
            f"p_values holds {int(outside.sum())} values outside 0 to 1, the first at entity "
            f"{entity}, step {step}: {p_values[entity, step]:.6g}; give p-values, not scores"
        )
    q_values = np.full(p_values.shape, np.nan)
    for step in np.flatnonzero(known.any(axis=0)):
        rows = known[:, step]
        family = p_values[rows, step].astype(np.float64)
        q_values[rows, step] = false_discovery_control(family, method=_METHODS[dependence])
    return q_values
