"""From a cube of proportions to what a model sees: masked, standardised, differenced.

Standardising comes first: the first step of a differenced series keeps its level, which
would be an outlier among changes, but is an ordinary value among standardised levels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.cube import Cube
from features.split import PARTS, Part, Split, SplitConfig, split_steps
from features.transforms import Standardiser, TransformConfig, difference
from features.windows import WindowConfig, Windows, find_windows, observed_steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A cube ready for a model, with its windows and the part of time that each lies in.

    Attributes
    ----------
    values
        float32 ``(E, S, F)``, 0 in masked steps.
    observed
        bool ``(E, S)``: steps that are not masked.
    windows
        All windows with enough events.
    parts
        int8 ``(N,)``: the part of each window, a position in `features.split.PARTS`.
    split
        Where the parts begin and end.
    standardiser
        As fitted on the training part.
    """

    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    windows: Windows
    parts: NDArray[np.int8]
    split: Split
    standardiser: Standardiser

    def windows_of(self, part: Part) -> NDArray[np.int64]:
        """Return int64 ``(N, 2)``, entity and first step, of the windows of a part."""
        return self.windows.where(self.parts == PARTS.index(part)).index


def prepare(
    cube: Cube,
    *,
    windows: WindowConfig | None = None,
    split: SplitConfig | None = None,
    transform: TransformConfig | None = None,
) -> Prepared:
    """Mask, standardise and difference a cube, with statistics of the training part only.

    Raises
    ------
    ValueError
        If a part would be empty: the message says which and what to change.
    """
    windows, transform = windows or WindowConfig(), transform or TransformConfig()
    parts = split_steps(cube.steps, split)
    found = find_windows(cube.exposure, windows)
    observed = observed_steps(cube.exposure, windows)
    seen = observed.copy()
    seen[:, parts.training_end :] = False
    standardiser = Standardiser.fit(cube.values, seen, transform)
    values = standardiser.transform(cube.values, observed)
    prepared = Prepared(
        values=difference(values, observed) if transform.difference else values,
        observed=observed,
        windows=found,
        parts=parts.parts(found),
        split=parts,
        standardiser=standardiser,
    )
    _require_windows(prepared, cube, windows)
    return prepared


def _require_windows(prepared: Prepared, cube: Cube, config: WindowConfig) -> None:
    for part in PARTS[:3]:
        if len(prepared.windows_of(part)) == 0:
            msg = (
                f"no window of {config.length} steps with enough events lies in the {part} part. "
                f"{len(cube.entities)} entities have {len(cube.steps)} steps from "
                f"{cube.steps[0]} to {cube.steps[-1]}; training ends before step "
                f"{prepared.split.training_end}, validation is {prepared.split.validation_start} "
                f"to {prepared.split.validation_end - 1}, held out from "
                f"{prepared.split.held_out_start}. Give more data, a smaller windows.length, "
                "windows.min_step_events or windows.min_window_events, or another split"
            )
            raise ValueError(msg)
