"""Regimes of a run, named as those of the run before."""

import json
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.cube import Cube
from features.preparation import Prepared
from flows.partitions import scan_table
from flows.scoring_config import ScoringConfig
from models import Regimes

REGIMES: Final = "regimes.json"


def fit_regimes(
    embeddings: NDArray[np.float32],
    cube: Cube,
    prepared: Prepared,
    config: ScoringConfig,
    previous: Path | None,
) -> Regimes:
    """Cluster the embeddings of the training windows.

    Parameters
    ----------
    embeddings
        float32 ``(N, L)``, of all windows.
    cube, prepared
        What the windows lie in.
    config
        How many regimes there may be.
    previous
        The published folder that this run replaces, whose regimes give theirs their numbers by
        the windows that they share; None if there is none.
    """
    training = prepared.parts == 0
    fewest, most = config.regimes
    n_different = len(np.unique(embeddings[training], axis=0))
    at_most = max(n_different - 1, 1)
    choices = range(min(fewest, at_most), min(most, at_most) + 1)
    old, numbers = _read_previous(previous, cube, prepared)
    return Regimes.fit(
        embeddings[training],
        n_regimes=choices,
        previous=old,
        previous_numbers=None if numbers is None else numbers[training],
    )


def _read_previous(
    previous: Path | None, cube: Cube, prepared: Prepared
) -> tuple[Regimes | None, NDArray[np.int32] | None]:
    """Return the old regimes, and the old number of each window, -1 where it has none."""
    needed = () if previous is None else (previous / REGIMES, previous / "embeddings")
    if previous is None or not all(path.exists() for path in needed):
        return None, None
    old = scan_table(previous, "embeddings").select("entity", "window_start", "regime").collect()
    entity, start = prepared.windows.index.T
    windows = pl.DataFrame(
        {
            "entity": pl.Series(cube.entities, dtype=pl.String).gather(entity),
            "window_start": pl.Series(cube.steps).cast(pl.Date).gather(start),
        }
    )
    joined = windows.join(
        old, on=["entity", "window_start"], how="left", maintain_order="left", validate="1:1"
    )
    numbers = joined["regime"].fill_null(-1).cast(pl.Int32).to_numpy()
    return Regimes.from_dict(json.loads((previous / REGIMES).read_text())), numbers
