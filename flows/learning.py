"""What a model learns from a prepared cube: its input, target, weights and groups of shares."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.aggregate import Step
from features.cube import Cube
from features.preparation import Preparation, Prepared, require_windows
from features.vocabulary import Block, Vocabulary
from flows.config import RunConfig

SHARE_BLOCKS: Final = frozenset[Block]({"event_type", "quad", "root"})
"""Blocks whose features are shares of one whole."""

SEASONS: Final[Mapping[Step, int]] = MappingProxyType({"day": 7, "week": 52, "month": 12})
"""Steps of a season."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningData:
    """A prepared cube and what a loss needs beside it.

    Attributes
    ----------
    cube, prepared
        Proportions, and what a model sees of them.
    preparation
        How the one was made of the other.
    target
        float32 ``(E, S, F)``: the proportions themselves, 0 in masked steps, where the loss is of
        shares; None where a model is to rebuild what it sees.
    share_groups
        Sizes of the leading blocks that are shares of one whole each, or None.
    """

    cube: Cube
    prepared: Prepared
    preparation: Preparation
    target: NDArray[np.float32] | None
    share_groups: tuple[int, ...] | None

    @property
    def arrays(self) -> dict[str, Any]:
        """What `train`, `score` and `diagnose` all take."""
        return {
            "cube": self.prepared.values,
            "observed": self.prepared.observed,
            "length": self.prepared.windows.length,
            "target": self.target,
        }


def learning_data(cube: Cube, vocabulary: Vocabulary, config: RunConfig) -> LearningData:
    """Prepare a cube for the configured loss.

    Raises
    ------
    ValueError
        If a part of time would have no windows, or the loss is of shares and the vocabulary
        doesn't begin with them.
    """
    windows = config.windows
    if _is_of_shares(config):  # an empty step has none
        windows = replace(windows, min_step_events=max(windows.min_step_events, 1))
    preparation = Preparation.fit(
        cube, windows=windows, split=config.split, transform=config.transform
    )
    data = prepared_data(cube, vocabulary, config, preparation)
    require_windows(data.prepared, cube)
    return data


def prepared_data(
    cube: Cube, vocabulary: Vocabulary, config: RunConfig, preparation: Preparation
) -> LearningData:
    """Prepare a cube as others were before it."""
    prepared, is_of_shares = preparation.apply(cube), _is_of_shares(config)
    return LearningData(
        cube=cube,
        prepared=prepared,
        preparation=preparation,
        target=np.where(prepared.observed[..., None], cube.values, np.float32(0))
        if is_of_shares
        else None,
        share_groups=_share_groups(vocabulary) if is_of_shares else None,
    )


def _is_of_shares(config: RunConfig) -> bool:
    return config.training.loss == "multinomial"


def _share_groups(vocabulary: Vocabulary) -> tuple[int, ...]:
    blocks = [
        (block, len(list(features)))
        for block, features in groupby(vocabulary.features, lambda feature: feature.block)
    ]
    is_share = [block in SHARE_BLOCKS for block, _ in blocks]
    if not is_share[0] or is_share != sorted(is_share, reverse=True):
        msg = (
            "training.loss is 'multinomial', but the vocabulary's blocks are "
            f"{', '.join(block for block, _ in blocks)}: those of shares "
            f"({', '.join(sorted(SHARE_BLOCKS))}) must come first; change vocabulary.blocks"
        )
        raise ValueError(msg)
    return tuple(size for block, size in blocks if block in SHARE_BLOCKS)
