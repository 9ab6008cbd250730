"""From a cube of proportions to the events behind it, and back when these have changed."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregate import INTENSITY_UNITS
from features.cube import Cube
from features.ontology import ontology
from features.vocabulary import LIST_FIELDS, OTHER, Block, Vocabulary

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def counts_of(cube: Cube, vocabulary: Vocabulary) -> Ints:
    """Return the events of each type behind a cube of proportions.

    Parameters
    ----------
    cube
        From `features.cube.build_cube`, neither masked nor standardised.
    vocabulary
        The one that the cube was built with; it needs the block ``event_type``.

    Returns
    -------
    numpy.ndarray
        int64 ``(E, S, F)``: the features of ``event_type`` in their order, ``other`` included.
        They sum to the cube's exposure.

    Raises
    ------
    ValueError
        If the cube has other features than the vocabulary, there is no block ``event_type``, or
        the shares don't sum to 1 where there are events.

    Examples
    --------
    >>> from datetime import date
    >>> import polars as pl
    >>> from features.aggregate import count_events
    >>> from features.cube import build_cube
    >>> from features.vocabulary import VocabularyConfig
    >>> events = pl.LazyFrame({
    ...     "event_date": [date(2018, 10, 1)] * 3, "country": ["Mali"] * 3,
    ...     "event_code": ["190", "190", "042"], "intensity": [-10.0, -10.0, 1.9],
    ... })
    >>> counts = count_events(events, entity="country", step="week")
    >>> vocabulary = Vocabulary.fit(counts, VocabularyConfig(min_events=1))
    >>> counts_of(build_cube(counts, vocabulary, step="week"), vocabulary).tolist()
    [[[1, 2, 0]]]
    """
    if cube.features != vocabulary.names:
        differing = sorted(set(cube.features) ^ set(vocabulary.names))
        msg = (
            f"the cube has {len(cube.features)} features and the vocabulary "
            f"{len(vocabulary.names)}, in only one of the two or in another order: "
            f"{differing[:5]}; give the vocabulary that the cube was built with"
        )
        raise ValueError(msg)
    if OTHER not in vocabulary.positions("event_type"):
        msg = (
            f"no block event_type in {vocabulary.config.blocks}: events by type are needed; add "
            "it to the blocks and build the cube anew"
        )
        raise ValueError(msg)
    counts = _block_counts(cube, vocabulary, "event_type")
    wrong = counts.sum(axis=2) != cube.exposure
    if wrong.any():
        entity, step = np.argwhere(wrong)[0]
        msg = (
            f"{int(wrong.sum())} steps have shares that don't make up their events, the first at "
            f"entity {entity}, step {step}: {counts[entity, step].sum()} of "
            f"{cube.exposure[entity, step]}; give the cube as built, not standardised or masked"
        )
        raise ValueError(msg)
    return counts


def with_counts(cube: Cube, vocabulary: Vocabulary, counts: Ints) -> Cube:
    """Return the cube that would have been built, had there been these events instead.

    Steps whose counts are the cube's own keep their values, bit for bit. In the others quad
    classes and roots follow from the codes by the ontology, and the sum of intensities changes by
    the ontology's intensities of the events that came or went; where there is no ontology, the
    step's mean stays. What an event in ``other`` is can't be told from its code: the quad classes,
    the roots and the mean intensity of those in a step are what the step's known codes leave over,
    and if their number changes, their composition is kept, in whole events by largest remainders.
    A step that had none takes the composition of ``other`` in the whole cube or, if there is none,
    that of all events.

    Parameters
    ----------
    cube
        From `features.cube.build_cube`.
    vocabulary
        The one that the cube was built with, without sectors and contexts: which of them the
        events would have had isn't known.
    counts
        int64 ``(E, S, F)`` in the order of `counts_of`. A step may become empty: its values are
        then NaN, as in any cube.

    Returns
    -------
    Cube
        A new one.

    Raises
    ------
    ValueError
        As `counts_of`; if the vocabulary has a block of sectors or contexts, or a code that isn't
        in its ontology; if the shape or dtype of `counts` is wrong or one is negative; or if quad
        classes or roots aren't those of the codes.

    Examples
    --------
    >>> from datetime import date
    >>> import polars as pl
    >>> from features.aggregate import count_events
    >>> from features.cube import build_cube
    >>> from features.vocabulary import VocabularyConfig
    >>> events = pl.LazyFrame({
    ...     "event_date": [date(2018, 10, 1)], "country": ["Mali"],
    ...     "event_code": ["190"], "intensity": [-10.0],
    ... })
    >>> counts = count_events(events, entity="country", step="week")
    >>> config = VocabularyConfig(blocks=("event_type", "intensity", "log_volume"), min_events=1)
    >>> vocabulary = Vocabulary.fit(counts, config)
    >>> cube = build_cube(counts, vocabulary, step="week")
    >>> with_counts(cube, vocabulary, 6 * counts_of(cube, vocabulary)).values.round(2).tolist()
    [[[1.0, 0.0, 0.0, 1.95...]]]
    """
    lists = [block for block in vocabulary.config.blocks if block in LIST_FIELDS]
    if lists:
        msg = (
            f"the vocabulary has {', '.join(lists)}: the sectors of events that come or go aren't "
            "known, nor their contexts; fit one without these blocks and build the cube anew"
        )
        raise ValueError(msg)
    before = counts_of(cube, vocabulary)
    if counts.shape != before.shape or counts.dtype != np.int64 or (counts < 0).any():
        msg = (
            f"counts is {counts.dtype} of shape {counts.shape}, the least {counts.min()}: "
            f"expected int64 of shape {before.shape}, at least 0, as counts_of makes them"
        )
        raise ValueError(msg)
    cells = (counts != before).any(axis=2)
    values = cube.values.copy()
    if cells.any():
        values[cells] = _rows(cube, vocabulary, before, counts, cells)
    return replace(cube, values=values, exposure=counts.sum(axis=2))


def _rows(
    cube: Cube, vocabulary: Vocabulary, before: Ints, counts: Ints, cells: Mask
) -> NDArray[np.float32]:
    """Return the values ``(K, F)`` of the K steps whose counts change."""
    new = counts[cells]
    n_events = new.sum(axis=1)
    rows = np.empty((len(new), len(vocabulary.features)))
    whole = np.maximum(n_events, 1)[:, None]
    for block in vocabulary.config.blocks:
        positions = list(vocabulary.positions(block).values())
        if block == "event_type":
            rows[:, positions] = new / whole
        elif block == "intensity":
            rows[:, positions] = _intensity(cube, vocabulary, before, counts, cells)
        elif block == "log_volume":
            rows[:, positions] = np.log1p(n_events)[:, None]
        else:
            rows[:, positions] = _grouped(cube, vocabulary, block, before, counts, cells) / whole
    rows[n_events == 0] = np.nan
    return rows.astype(np.float32)


def _grouped(
    cube: Cube, vocabulary: Vocabulary, block: Block, before: Ints, counts: Ints, cells: Mask
) -> Floats:
    """Return the events ``(K, G)`` of each quad class or root in the steps that change."""
    other = list(vocabulary.positions("event_type")).index(OTHER)
    group = _of_ontology(vocabulary, block)
    belongs = (group[:, None] == np.array(list(vocabulary.positions(block)))).astype(np.float64)
    total = _block_counts(cube, vocabulary, block)
    # What is left over by the codes is the composition of ``other``.
    rest = total - before @ belongs
    wrong = (rest < 0).any(axis=2) | (rest.sum(axis=2) != before[..., other])
    if wrong.any():
        entity, step = np.argwhere(wrong)[0]
        msg = (
            f"the shares of {block} aren't those of the event codes in {int(wrong.sum())} steps, "
            f"the first at entity {entity}, step {step}; build the cube anew by this vocabulary"
        )
        raise ValueError(msg)
    common = rest.sum(axis=(0, 1))
    if not common.any():
        common = total.sum(axis=(0, 1)).astype(np.float64)
    new = counts[cells]
    events: Floats = new @ belongs + _apportioned(new[:, other], rest[cells], common)
    return events


def _apportioned(n_events: Ints, composition: Floats, common: Floats) -> Floats:
    """Share whole events ``(K,)`` out in proportion to ``(K, G)``, or to ``(G,)`` where it is 0.

    By largest remainders, the first group first among equals.
    """
    known = composition.sum(axis=1, keepdims=True) > 0
    weights = np.where(known, composition, common)
    exact = n_events[:, None] * weights / weights.sum(axis=1, keepdims=True)
    parts = np.floor(exact)
    rank = np.argsort(np.argsort(parts - exact, axis=1, kind="stable"), axis=1)
    left = n_events - parts.sum(axis=1)
    result: Floats = parts + (rank < left[:, None])
    return result


def _intensity(
    cube: Cube, vocabulary: Vocabulary, before: Ints, counts: Ints, cells: Mask
) -> Floats:
    """Return the scaled mean intensity ``(K, 1)`` of the steps that change."""
    of_code, unknown = _intensity_of_code(vocabulary)
    (position,) = vocabulary.positions("intensity").values()
    sums = np.nan_to_num(20 * cube.values[..., position].astype(np.float64) - 10) * cube.exposure
    rest, n_rest = sums - before @ of_code, before[..., unknown].sum(axis=-1)
    total, n_total = (rest, n_rest) if n_rest.any() else (sums, cube.exposure)
    common = total.sum() / max(n_total.sum(), 1)
    own = np.where(n_rest[cells] > 0, rest[cells] / np.maximum(n_rest[cells], 1), common)
    change = (counts - before)[cells]
    came = change[:, unknown].sum(axis=1)
    new = sums[cells] + change @ of_code + came * np.clip(own, -10, 10)
    mean = np.clip(new / np.maximum(counts[cells].sum(axis=1), 1), -10, 10)
    scaled: Floats = ((mean + 10) / 20)[:, None]
    return scaled


def _intensity_of_code(vocabulary: Vocabulary) -> tuple[Floats, Mask]:
    """Return the intensity of each event type ``(F,)``, 0 where it is unknown, and where it is."""
    types = np.array(list(vocabulary.positions("event_type")))
    if not ontology(vocabulary.config.ontology).has_codes:
        return np.zeros(len(types)), np.ones(len(types), np.bool_)
    units = np.rint(INTENSITY_UNITS * _of_ontology(vocabulary, "intensity").astype(np.float64))
    return units / INTENSITY_UNITS, types == OTHER


def _of_ontology(vocabulary: Vocabulary, column: str) -> NDArray[Any]:
    """Return a column of the ontology's table for each event type: "" or 0 for ``other``."""
    name = vocabulary.config.ontology
    table = ontology(name).table
    of_code = dict(zip(table["code"], table[column], strict=True))
    codes = [code for code in vocabulary.positions("event_type") if code != OTHER]
    unknown = [code for code in codes if code not in of_code]
    if unknown:
        msg = f"event codes {unknown[:5]} aren't in {name.upper()}: what they belong to isn't known"
        raise ValueError(msg)
    nothing = 0.0 if column == "intensity" else ""
    return np.array([of_code.get(code, nothing) for code in vocabulary.positions("event_type")])


def _block_counts(cube: Cube, vocabulary: Vocabulary, block: Block) -> Ints:
    """Return the events ``(E, S, G)`` behind the shares of a block; 0 where there are none."""
    shares = cube.values[..., list(vocabulary.positions(block).values())].astype(np.float64)
    return np.rint(np.nan_to_num(shares) * cube.exposure[..., None]).astype(np.int64)
