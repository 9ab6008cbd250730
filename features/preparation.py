"""From a cube of proportions to what a model sees: represented, masked, standardised, differenced.

Standardising comes first: the first step of a differenced series keeps its level, which
would be an outlier among changes, but is an ordinary value among standardised levels.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.cube import Cube
from features.representation import (
    ROOT_COUNT_NOISE,
    Representation,
    common_volume,
    expected_represented,
    relative_volume,
    represent,
    usual_volume,
)
from features.split import PARTS, Part, Split, SplitConfig, SplitDates, split_steps
from features.transforms import Floats, Mask, Prior, Standardiser, TransformConfig, difference
from features.windows import WindowConfig, Windows, find_windows, observed_steps


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A cube ready for a model, with its windows and the part of time that each lies in.

    Attributes
    ----------
    values
        float32 ``(E, S, F)``, 0 in masked steps.
    represented
        float32 ``(E, S, F)``: the same before it was standardised and differenced; NaN in empty
        steps, but for root counts.
    representation
        Of what.
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
    represented: NDArray[np.float32]
    representation: Representation
    observed: NDArray[np.bool_]
    windows: Windows
    parts: NDArray[np.int8]
    split: Split
    standardiser: Standardiser

    def windows_of(self, part: Part) -> NDArray[np.int64]:
        """Return int64 ``(N, 2)``, entity and first step, of the windows of a part."""
        return self.windows.where(self.parts == PARTS.index(part)).index


@dataclass(frozen=True, kw_only=True, eq=False)
class Preparation:
    """How cubes are made ready for a model: all that was learnt on the training part.

    Attributes
    ----------
    windows, transform
        What was asked for.
    dates
        Where the parts of time begin and end.
    mean, scale
        float32 ``(E, F)`` or ``(1, F)``: of `features.transforms.Standardiser`.
    usual_volume
        float64 ``(E,)``: see `features.representation.usual_volume`; None where steps are not
        expected to rise and fall with all others.
    """

    windows: WindowConfig
    transform: TransformConfig
    dates: SplitDates
    mean: Floats
    scale: Floats
    usual_volume: NDArray[np.float64] | None

    @classmethod
    def fit(
        cls,
        cube: Cube,
        *,
        windows: WindowConfig | None = None,
        split: SplitConfig | None = None,
        transform: TransformConfig | None = None,
    ) -> "Preparation":
        """Learn from the training part of a cube.

        Raises
        ------
        ValueError
            If the steps can't be split, or nothing is observed in the training part.
        """
        windows, transform = windows or WindowConfig(), transform or TransformConfig()
        if transform.representation != "root_counts":
            windows = replace(windows, min_step_events=max(windows.min_step_events, 1))
        parts = split_steps(cube.steps, split)
        seen = observed_steps(cube.exposure, windows).copy()
        seen[:, parts.training_end :] = False
        prior = _prior(cube, seen, parts.training_end, transform)
        represented = represent(cube, transform.representation)
        standardiser = Standardiser.fit(represented, seen, transform, prior=prior)
        has_level = standardiser.level is not None
        return cls(
            windows=windows,
            transform=transform,
            dates=SplitDates.of(parts, cube.steps),
            mean=standardiser.mean,
            scale=standardiser.scale,
            usual_volume=usual_volume(cube.exposure, parts.training_end) if has_level else None,
        )

    def apply(self, cube: Cube) -> Prepared:
        """Mask, represent, standardise and difference a cube of the entities learnt on.

        Its steps may be any; where they are some of a longer cube's, the values of each step are
        those that it has there, but for differences, which reach back to the last observed step.
        """
        transform, found = self.transform, find_windows(cube.exposure, self.windows)
        observed = observed_steps(cube.exposure, self.windows)
        represented = represent(cube, transform.representation)
        level: Floats | None = None
        if self.usual_volume is not None:
            level = np.sqrt(relative_volume(cube.exposure, self.usual_volume))
        standardiser = Standardiser(mean=self.mean, scale=self.scale, level=level)
        values = standardiser.transform(represented, observed)
        parts = self.dates.among(cube.steps)
        return Prepared(
            values=difference(values, observed) if transform.difference else values,
            represented=represented,
            representation=transform.representation,
            observed=observed,
            windows=found,
            parts=parts.parts(found),
            split=parts,
            standardiser=standardiser,
        )


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
    preparation = Preparation.fit(cube, windows=windows, split=split, transform=transform)
    prepared = preparation.apply(cube)
    require_windows(prepared, cube)
    return prepared


def _prior(cube: Cube, seen: Mask, n_training: int, transform: TransformConfig) -> Prior | None:
    """Return what is known of root counts: their noise, and what the exposure alone would give.

    Means of root counts are shrunk towards those of all entities' composition at the entity's own
    exposure: shrunk towards the mean of all, a small country would be expected to have the events
    of a large one.
    """
    if transform.representation != "root_counts" or not seen.any():
        return None
    level: Floats | None = None
    if transform.common_volume:
        level = np.sqrt(common_volume(cube.exposure, n_training))
    events = np.where(seen, cube.exposure, 0)
    values = np.where((events > 0)[..., None], cube.values, np.float32(0))
    common = np.einsum("es,esf->f", events, values, dtype=np.float64) / max(events.sum(), 1)
    roots = np.sqrt(events).sum(axis=1)
    of_level = np.where(seen, 1 if level is None else level, 0).sum(axis=1)
    usual = np.divide(roots, of_level, out=np.zeros_like(roots), where=of_level > 0)
    mean = expected_represented(
        common.astype(np.float32), (usual**2)[:, None], cube.blocks, transform.representation
    )
    return Prior(mean=mean[:, 0], noise=ROOT_COUNT_NOISE, level=level)


def require_windows(prepared: Prepared, cube: Cube) -> None:
    """Refuse a cube of which some part of time has no window.

    Raises
    ------
    ValueError
        The message says which part and what to change.
    """
    for part in PARTS[:3]:
        if len(prepared.windows_of(part)) == 0:
            msg = (
                f"no window of {prepared.windows.length} steps with enough events lies in the "
                f"{part} part. "
                f"{len(cube.entities)} entities have {len(cube.steps)} steps from "
                f"{cube.steps[0]} to {cube.steps[-1]}; training ends before step "
                f"{prepared.split.training_end}, validation is {prepared.split.validation_start} "
                f"to {prepared.split.validation_end - 1}, held out from "
                f"{prepared.split.held_out_start}. Give more data, a smaller windows.length, "
                "windows.min_step_events or windows.min_window_events, or another split"
            )
            raise ValueError(msg)
