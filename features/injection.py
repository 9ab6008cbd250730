"""Anomalies of known strength, injected into counts of real events.

What is injected is changed in whole events, so that the noise around it stays that of the data.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import ClassVar, Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

Kind = Literal["surge", "drift", "silence", "swap"]
"""What happens to the events of an entity, and in which units its strength is.

``surge``: one usual type has more events in every step, by as many of its standard deviations as
the strength says, rounded up; nothing is taken away, so the volume rises by the same number.
``drift``: the share of one usual type grows in a line, up to as many of the share's standard
deviations in the last step as the strength says; events of the other types turn into it, so the
volume stays. ``silence``: each event is lost with a probability of strength / `FULL_STRENGTH`, at
most 1; steps left with few events are masked by windows that ask for more. ``swap``: a usual type
and a rare one exchange counts, to a part of strength / `FULL_STRENGTH` of their difference, at
most all of it, rounded away from 0; the volume stays.

Usual is a type with an event a step or more on average, and in any case the most frequent one;
the others are rare, and in any case the least frequent one. Averages and standard deviations are
those of the entity's steps that have events, but no deviation is taken to be less than that of
chance: Poisson's for a count, the binomial one for a share.
"""

FULL_STRENGTH: Final = 4.0
"""At this strength a silence leaves no event, and a swap has exchanged both counts entirely."""


class NoRoomError(ValueError):
    """No entity has enough usable steps with enough events for an anomaly."""


@dataclass(frozen=True, kw_only=True)
class InjectionConfig:
    """Which anomalies are injected, and where.

    Attributes
    ----------
    kinds
        See `Kind`. Kinds and strengths are combined, each combination about as often.
    strengths
        Above 0, in the units of the kind; the stronger, the more events change.
    entity_share
        Share of the entities that have room for an anomaly into which any is injected, rounded up.
    step_share
        About this share of the steps that have room becomes anomalous in each of these entities,
        but at least one anomaly is tried.
    length
        Steps of an anomaly, other than a drift.
    drift_length
        Steps of a drift.
    min_spacing
        Steps between two anomalies of an entity, at least.
    min_events
        Events that every step of an anomaly has before it is injected, at least.

    Raises
    ------
    ValueError
        If a value is out of its range, or a kind or strength is absent, unknown or twice there.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    kinds: tuple[Kind, ...] = ("surge", "drift", "silence", "swap")
    strengths: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    entity_share: float = 0.5
    step_share: float = 0.1
    length: int = 3
    drift_length: int = 8
    min_spacing: int = 4
    min_events: int = 20

    def __post_init__(self) -> None:
        if not self.kinds or not _distinct(self.kinds) or set(self.kinds) - set(get_args(Kind)):
            msg = f"kinds={self.kinds}: expected one or more of {get_args(Kind)}, each once"
            raise ValueError(msg)
        in_range = all(0 < strength < math.inf for strength in self.strengths)
        if not self.strengths or not _distinct(self.strengths) or not in_range:
            msg = f"strengths={self.strengths}: expected one or more above 0 and finite, each once"
            raise ValueError(msg)
        for name in ("entity_share", "step_share"):
            if not 0 < getattr(self, name) <= 1:
                msg = f"{name}={getattr(self, name)}: expected above 0 and at most 1"
                raise ValueError(msg)
        for name, least in (("length", 1), ("drift_length", 1), ("min_spacing", 0)):
            if getattr(self, name) < least:
                msg = f"{name}={getattr(self, name)}: expected at least {least}"
                raise ValueError(msg)
        if self.min_events < 1:
            msg = f"min_events={self.min_events}: expected at least 1"
            raise ValueError(msg)

    def steps(self, kind: Kind) -> int:
        """Return how many steps an anomaly of a kind has."""
        return self.drift_length if kind == "drift" else self.length


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """One injected anomaly.

    Attributes
    ----------
    entity, first_step, last_step
        Positions; the last step is part of it.
    kind, strength
        See `Kind`.
    features
        Positions of the event types: the one that grows, or for a swap the usual one and the
        rare one; none for a silence, which takes from all.
    """

    entity: int
    first_step: int
    last_step: int
    kind: Kind
    strength: float
    features: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Injection:
    """Counts with anomalies in them, and what is anomalous.

    Attributes
    ----------
    counts
        int64 ``(E, S, F)``.
    labels
        bool ``(E, S)``: the steps of anomalies.
    anomalies
        Sorted by entity and step; they don't overlap.
    """

    counts: Ints
    labels: Mask
    anomalies: tuple[Anomaly, ...]

    def table(self) -> pl.DataFrame:
        """Return the anomalies as a table, one row each, a column an attribute."""
        schema = pl.Schema(
            {
                "entity": pl.Int64(),
                "first_step": pl.Int64(),
                "last_step": pl.Int64(),
                "kind": pl.String(),
                "strength": pl.Float64(),
                "features": pl.List(pl.Int64()),
            }
        )
        rows = [asdict(anomaly) for anomaly in self.anomalies]
        return pl.DataFrame(
            {name: [row[name] for row in rows] for name in schema}, schema=schema, strict=False
        )


def inject(
    counts: Ints, usable: Mask, *, seed: int, config: InjectionConfig | None = None
) -> Injection:
    """Inject anomalies of known kind and strength into counts of events.

    Where they lie and which types they touch depends on the seed but not on the strengths, if
    there are as many. An anomaly that would change no count, as a weak silence of few events
    may, is left out.

    Parameters
    ----------
    counts
        int64 ``(E, S, F)``: events by entity, step and type; F at least 2.
    usable
        bool ``(E, S)``: the steps that an anomaly may have, such as those held out.
    seed
        The same one gives the same anomalies.
    config
        Which and how many.

    Returns
    -------
    Injection
        Of `counts`, which is left as it is, a copy that is changed in the labelled steps only.

    Raises
    ------
    ValueError
        If a shape or dtype is wrong, a count is negative, or there is no room for any anomaly.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(20, size=(2, 60, 3))
    >>> config = InjectionConfig(kinds=("surge",), strengths=(4.0,), step_share=0.05)
    >>> injection = inject(counts, np.ones((2, 60), np.bool_), seed=1, config=config)
    >>> injection.anomalies
    (Anomaly(entity=1, first_step=..., last_step=..., kind='surge', strength=4.0, features=(...,)),)
    >>> np.array_equal(injection.counts[~injection.labels], counts[~injection.labels])
    True
    """
    config = config or InjectionConfig()
    _check_counts(counts, usable)
    placing, changing = np.random.SeedSequence(seed).spawn(2)
    room = usable & (counts.sum(axis=2) >= config.min_events)
    places = list(_places(room, config, np.random.default_rng(placing)))
    changed, labels = counts.copy(), np.zeros(usable.shape, np.bool_)
    anomalies: list[Anomaly] = []
    for place, child in zip(places, changing.spawn(len(places)), strict=True):
        span = place.entity, slice(place.first_step, place.last_step + 1)
        usual = _Usual.of(counts[place.entity])
        new, features = _change(counts[span], usual, place, np.random.default_rng(child))
        if not np.array_equal(new, counts[span]):
            changed[span], labels[span] = new, True
            anomalies.append(replace(place, features=features))
    anomalies.sort(key=lambda anomaly: (anomaly.entity, anomaly.first_step))
    return Injection(counts=changed, labels=labels, anomalies=tuple(anomalies))


def _distinct(values: tuple[object, ...]) -> bool:
    return len(set(values)) == len(values)


def _check_counts(counts: Ints, usable: Mask) -> None:
    if counts.ndim != 3 or counts.dtype != np.int64 or counts.shape[2] < 2:
        msg = (
            f"counts is {counts.dtype} of shape {counts.shape}: expected int64 of shape "
            "(entities, steps, types), with at least 2 types; make them by counts_of"
        )
        raise ValueError(msg)
    if usable.shape != counts.shape[:2] or usable.dtype != np.bool_:
        msg = (
            f"usable is {usable.dtype} of shape {usable.shape}: expected bool of shape "
            f"{counts.shape[:2]}, that of counts without its types"
        )
        raise ValueError(msg)
    if (counts < 0).any():
        entity, step, feature = np.argwhere(counts < 0)[0]
        msg = f"counts are negative at entity {entity}, step {step}, type {feature}: expected >= 0"
        raise ValueError(msg)


def _places(
    room: Mask, config: InjectionConfig, generator: np.random.Generator
) -> Iterator[Anomaly]:
    """Choose entities, then a place in each by turns, until each has as many as wanted."""
    lengths = [config.steps(kind) for kind in config.kinds]
    fitting = [entity for entity, row in enumerate(room) if len(_starts(row, min(lengths)))]
    if not fitting:
        msg = (
            f"no entity has {min(lengths)} usable steps in a row with at least "
            f"{config.min_events} events each: lower min_events or the lengths, or let more "
            "steps be used"
        )
        raise NoRoomError(msg)
    n_chosen = math.ceil(config.entity_share * len(fitting))
    chosen = generator.permutation(fitting)[:n_chosen]
    steps = config.step_share * room[chosen].sum(axis=1)
    wanted = np.maximum(np.rint(steps / np.mean(lengths)), 1)
    pairs = list(product(config.kinds, config.strengths))
    pairs = [pairs[position] for position in generator.permutation(len(pairs))]
    used, free = dict.fromkeys(pairs, 0), room.copy()
    for turn in range(int(wanted.max())):
        for entity in chosen[wanted > turn]:
            place = _place(int(entity), free[entity], used, config, generator)
            if place is not None:
                yield place


def _place(
    entity: int,
    free: Mask,
    used: dict[tuple[Kind, float], int],
    config: InjectionConfig,
    generator: np.random.Generator,
) -> Anomaly | None:
    """Take a place in `free` for the least used kind and strength that fits, if any does."""
    for kind, strength in sorted(used, key=lambda pair: used[pair]):
        starts = _starts(free, config.steps(kind))
        if len(starts):
            first = int(generator.choice(starts))
            last = first + config.steps(kind) - 1
            free[max(first - config.min_spacing, 0) : last + config.min_spacing + 1] = False
            used[kind, strength] += 1
            return Anomaly(
                entity=entity,
                first_step=first,
                last_step=last,
                kind=kind,
                strength=strength,
                features=(),
            )
    return None


def _starts(free: Mask, length: int) -> NDArray[np.intp]:
    if len(free) < length:
        return np.empty(0, np.intp)
    return np.flatnonzero(sliding_window_view(free, length).all(axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Usual:
    """What is usual for an entity, by type, ``(F,)`` each; the first two sets of positions."""

    types: NDArray[np.intp]
    rare: NDArray[np.intp]
    deviation: Floats
    share_deviation: Floats

    @classmethod
    def of(cls, counts: Ints) -> "_Usual":
        """Look at an entity's counts ``(S, F)`` in the steps that have events."""
        volume = counts.sum(axis=1)
        seen, events = counts[volume > 0], volume[volume > 0, None]
        mean, share = seen.mean(axis=0), seen / events
        chance = share.mean(axis=0) * (1 - share.mean(axis=0)) / events.mean()
        order = np.argsort(-mean, kind="stable")
        n_usual = int(np.clip((mean >= 1).sum(), 1, len(mean) - 1))
        return cls(
            types=order[:n_usual],
            rare=order[n_usual:],
            deviation=np.sqrt(np.maximum(seen.var(axis=0), mean)),
            share_deviation=np.sqrt(np.maximum(share.var(axis=0), chance)),
        )


def _change(
    span: Ints, usual: _Usual, place: Anomaly, generator: np.random.Generator
) -> tuple[Ints, tuple[int, ...]]:
    """Return the changed counts ``(T, F)`` of a stretch, and the types meant by the change."""
    if place.kind == "silence":
        return _silenced(span, place.strength, generator), ()
    present = usual.types[span[:, usual.types].any(axis=0)]
    grown = int(generator.choice(present if len(present) else usual.types))
    if place.kind == "surge":
        added = math.ceil(place.strength * usual.deviation[grown])
        return span + added * (np.arange(span.shape[1]) == grown), (grown,)
    if place.kind == "drift":
        gain = place.strength * float(usual.share_deviation[grown])
        return _drifted(span, grown, gain, generator), (grown,)
    rare = int(generator.choice(usual.rare))
    return _swapped(span, grown, rare, min(place.strength / FULL_STRENGTH, 1)), (grown, rare)


def _silenced(span: Ints, strength: float, generator: np.random.Generator) -> Ints:
    """Thin the events: a draw for each, so that the same draws lose more at more strength."""
    lost = generator.random(int(span.sum())) < strength / FULL_STRENGTH
    cell = np.repeat(np.arange(span.size), span.ravel())
    return span - np.bincount(cell[lost], minlength=span.size).reshape(span.shape)


def _drifted(span: Ints, grown: int, gain: float, generator: np.random.Generator) -> Ints:
    """Turn events of other types, drawn without replacement, into the one that grows."""
    others = span.copy()
    others[:, grown] = 0
    target = gain * span.sum(axis=1) * np.arange(1, len(span) + 1) / len(span)
    moved = np.minimum(np.ceil(target).astype(np.int64), others.sum(axis=1))
    taken = [
        generator.multivariate_hypergeometric(row, n, method="marginals")
        for row, n in zip(others, moved, strict=True)
    ]
    new = span - np.stack(taken)
    new[:, grown] += moved
    return new


def _swapped(span: Ints, usual: int, rare: int, part: float) -> Ints:
    difference = span[:, usual] - span[:, rare]
    moved = (np.sign(difference) * np.ceil(part * np.abs(difference))).astype(np.int64)
    new = span.copy()
    new[:, usual] -= moved
    new[:, rare] += moved
    return new
