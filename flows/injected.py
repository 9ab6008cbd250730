"""How well each scorer finds anomalies that were injected into the held-out part of real data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.cube_counts import counts_of, with_counts
from features.injection import Injection, InjectionConfig, NoRoomError, inject
from features.preparation import Prepared
from features.vocabulary import Block, Vocabulary
from flows.config import RunConfig
from flows.learning import LearningData, learning_data
from models.detection_metrics import average_precision, vus_pr

Floats = NDArray[np.float32]
Score = Callable[[LearningData], Mapping[str, Floats]]
"""What gives the scores of every scorer on a cube."""

KNOWN_BLOCKS: Final = frozenset[Block]({"event_type", "quad", "root", "intensity", "log_volume"})
"""Blocks that can be made again from changed events."""

INJECTION: Final = InjectionConfig(strengths=(2.0, 4.0, 8.0), entity_share=1.0, step_share=0.15)
"""Strong enough to be found among real events at all, and many of them."""

ALL: Final = "all"


@dataclass(frozen=True, kw_only=True)
class InjectedRow:
    """How well a scorer finds some of the injected anomalies.

    Attributes
    ----------
    scorer
        Its name.
    anomalies
        Which: a kind, a strength (``strength 2``), or `ALL`.
    average_precision
        Area under the precision-recall curve, over steps.
    vus_pr
        Volume under the range-based surface; buffers of up to an anomaly's length.
    base_rate
        Share of the steps that are anomalous: what chance would have.
    """

    scorer: str
    anomalies: str
    average_precision: float
    vus_pr: float
    base_rate: float


def can_inject(vocabulary: Vocabulary) -> bool:
    """Whether events of the vocabulary can be changed: sectors of invented events are not known."""
    blocks = set(vocabulary.config.blocks)
    return "event_type" in blocks and blocks <= KNOWN_BLOCKS


def detect_injected(
    data: LearningData,
    vocabulary: Vocabulary,
    config: RunConfig,
    score: Score,
    *,
    seed: int,
    injection: InjectionConfig = INJECTION,
) -> list[InjectedRow]:
    """Inject anomalies into held-out steps, score them, and compare the scorers.

    The model is not trained again, and no threshold is taken from what was injected.

    Parameters
    ----------
    data
        The cube as it is.
    vocabulary
        Of it; see `can_inject`.
    config
        How the cube was prepared.
    score
        Gives the scores of every scorer.
    seed
        Of what is injected.
    injection
        Which anomalies.

    Returns
    -------
    list of InjectedRow
        None if there is no room for any.
    """
    cube, prepared = data.cube, data.prepared
    usable = prepared.observed.copy()
    usable[:, : prepared.split.held_out_start] = False
    try:
        injected = inject(counts_of(cube, vocabulary), usable, seed=seed, config=injection)
    except NoRoomError:
        return []
    changed = _same_windows(
        learning_data(with_counts(cube, vocabulary, injected.counts), vocabulary, config), prepared
    )
    held_out = slice(prepared.split.held_out_start, None)
    longest = max(one.last_step - one.first_step + 1 for one in injected.anomalies)
    return [
        row
        for name, scores in score(changed).items()
        for row in _rows(name, scores, injected, held_out, longest)
    ]


def _same_windows(data: LearningData, prepared: Prepared) -> LearningData:
    """Return the changed cube with the windows of the unchanged one: a silence keeps its own."""
    same = replace(data.prepared, windows=prepared.windows, parts=prepared.parts)
    return replace(data, prepared=same)


def _labels(injected: Injection) -> dict[str, NDArray[np.bool_]]:
    """Return the steps, bool ``(E, S)``, of each kind, of each strength, and of all."""
    labels: dict[str, NDArray[np.bool_]] = {}
    for one in sorted(injected.anomalies, key=lambda one: (one.kind, one.strength)):
        for name in (one.kind, f"strength {one.strength:g}", ALL):
            steps = labels.setdefault(name, np.zeros_like(injected.labels))
            steps[one.entity, one.first_step : one.last_step + 1] = True
    return labels


def _rows(
    scorer: str, scores: Floats, injected: Injection, held_out: slice, longest: int
) -> list[InjectedRow]:
    """Judge a scorer by some of the anomalies at a time, the steps of all others left out."""
    rows = []
    for name, labels in _labels(injected).items():
        chosen = ~np.isnan(scores) & (labels | ~injected.labels)
        series = [
            (labels[entity, held_out][known], scores[entity, held_out][known])
            for entity, known in enumerate(chosen[:, held_out])
            if known.any()
        ]
        truth, values = [label for label, _ in series], [value for _, value in series]
        if not any(label.any() for label in truth):
            continue
        rows.append(
            InjectedRow(
                scorer=scorer,
                anomalies=name,
                average_precision=average_precision(truth, values),
                vus_pr=vus_pr(truth, values, max_window=longest),
                base_rate=float(np.concatenate(truth).mean()),
            )
        )
    return rows
