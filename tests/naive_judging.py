"""Small invented cases, and slow oracles of how their steps are judged, a number at a time."""

import math
from functools import cache
from typing import Any

import numpy as np

from features.cube import Cube
from features.vocabulary import Block, Feature, Vocabulary, VocabularyConfig
from flows.config import RunConfig
from flows.learning import LearningData, learning_data
from models import Scores

BLOCKS: tuple[Block, ...] = (*["event_type"] * 4, *["quad"] * 2, "intensity", "log_volume")  # type: ignore[assignment]
LENGTH = 4
N_STEPS = 80


def cube_of(counts: np.ndarray, blocks: tuple[Block, ...] = BLOCKS, seed: int = 0) -> Cube:
    """Return a cube of weeks from counts `(E, S, 4)` of four kinds of event."""
    generator, exposure = np.random.default_rng(seed), counts.sum(axis=2)
    n = np.maximum(exposure, 1)
    share = counts / n[..., None]
    of_block = {
        "event_type": iter(np.moveaxis(share, 2, 0)),
        "root": iter([share[..., 0], share[..., 1] + share[..., 2], share[..., 3]]),
        "quad": iter([share[..., 0] + share[..., 1], share[..., 2] + share[..., 3]]),
        "source_sector": iter(generator.binomial(n, 0.4, (3, *n.shape)) / n),
        "intensity": iter([generator.random(n.shape)]),
        "log_volume": iter([np.log1p(exposure)]),
    }
    values = np.stack([next(of_block[block]) for block in blocks], axis=2).astype(np.float32)
    values[exposure == 0] = np.nan
    return Cube(
        values=values,
        exposure=exposure,
        entities=tuple("ABCDEFG"[: len(counts)]),
        steps=np.datetime64("2018-01-01", "D") + 7 * np.arange(counts.shape[1]),
        features=tuple(f"{block}_{place}" for place, block in enumerate(blocks)),
        blocks=blocks,
        step="week",
    )


def invented_counts(seed: int = 0, *, n_entities: int = 3, n_steps: int = N_STEPS) -> np.ndarray:
    """Draw counts `(E, S, 4)` of entities that differ in volume and composition."""
    generator = np.random.default_rng(seed)
    usual = generator.integers(15, 80, n_entities)
    exposure = generator.poisson(usual[:, None], (n_entities, n_steps))
    composition = generator.dirichlet([4, 3, 2, 1], n_entities)
    return generator.multinomial(exposure, composition[:, None])


def vocabulary_of(cube: Cube) -> Vocabulary:
    """Return a vocabulary whose columns are the cube's."""
    features = tuple(
        Feature(name=name, block=block, category=name, label=f"label of {name}")
        for name, block in zip(cube.features, cube.blocks, strict=True)
    )
    return Vocabulary(
        features=features, config=VocabularyConfig(blocks=tuple(dict.fromkeys(cube.blocks)))
    )


def config_of(**settings: Any) -> RunConfig:
    """Return a configuration for short series; two underscores lead into a section."""
    base = {
        "source": ["raw"],
        "windows.length": LENGTH,
        "windows.min_window_events": 1,
        "split.validation": 0.25,
        "split.held_out": 0.25,
    }
    return RunConfig.load(
        None, base | {key.replace("__", "."): value for key, value in settings.items()}
    )


def learning(cube: Cube, config: RunConfig) -> LearningData:
    """Prepare a cube by a configuration."""
    return learning_data(cube, vocabulary_of(cube), config)


def invented_scores(
    data: LearningData, seed: int = 0, *, off: float = 1.0
) -> tuple[Scores, np.ndarray]:
    """Return what a model that is off by random amounts would say, of all windows and newest."""
    generator, prepared = np.random.default_rng(seed), data.prepared
    truth = prepared.values if data.target is None else data.target
    coverage = np.zeros(prepared.observed.shape, np.int32)
    ends = np.zeros(prepared.observed.shape, bool)
    for entity, start in prepared.windows.index:
        coverage[entity, start : start + prepared.windows.length] += 1
        ends[entity, start + prepared.windows.length - 1] = True
    combined, newest = (
        (truth + off * generator.normal(size=truth.shape)).astype(np.float32) for _ in range(2)
    )
    combined[coverage == 0] = np.nan
    newest[~ends] = np.nan
    n = len(prepared.windows)
    scores = Scores(
        embeddings=generator.normal(size=(n, 3)).astype(np.float32),
        window_error=np.arange(n, dtype=np.float32),
        step_feature_error=np.square(truth - combined),
        step_reconstruction=combined,
        coverage=coverage,
    )
    return scores, newest


def mean_root(rate: float) -> float:
    """Return the mean of the root of a Poisson count."""
    probability, total = math.exp(-rate), 0.0
    for count in range(1, 500):
        probability *= rate / count
        total += probability * math.sqrt(count)
    return total


def poisson_root_variance(root: float) -> float:
    """Return the variance of the root of a Poisson count whose mean root is known, by halving."""
    if root <= 0:
        return 0.0
    if root > 15:  # its limit, to four digits
        return 0.25
    low, high = 0.0, 300.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_root(middle) < root else (low, middle)
    return low - root**2


class Oracle:
    """All that is said of steps, by what was expected of them in the model's units, `(E, S, F)`.

    Values are None where nothing was expected or the step is masked.
    """

    def __init__(self, data: LearningData, expected: np.ndarray) -> None:
        self.cube, self.prepared, self.expected = data.cube, data.prepared, expected
        self.blocks = data.cube.blocks
        self.is_root = data.prepared.representation == "root_counts"
        self.counted = [f for f, block in enumerate(self.blocks) if block != "intensity"]
        finest = next(b for b in ("event_type", "root", "quad") if b in self.blocks)
        self.kinds = [f for f, block in enumerate(self.blocks) if block == finest]
        self.n_entities, self.n_steps, self.n_features = data.prepared.values.shape

    def is_known(self, e: int, s: int) -> bool:
        inside = 0 <= s < self.n_steps
        return inside and self.prepared.observed[e, s] and not np.isnan(self.expected[e, s, 0])

    def off(self, e: int, s: int, f: int) -> float:
        return float(self.prepared.values[e, s, f]) - float(self.expected[e, s, f])

    def scale(self, e: int, f: int) -> float:
        scale = self.prepared.standardiser.scale
        return float(scale[e if len(scale) > 1 else 0, f])

    def represented(self, e: int, s: int, f: int) -> float:
        """What was expected, before standardising; no root of a count is below 0."""
        value = float(self.prepared.represented[e, s, f]) - self.off(e, s, f) * self.scale(e, f)
        return max(value, 0) if self.is_root and self.blocks[f] != "intensity" else value

    def restored(self, e: int, s: int, f: int) -> float:
        """What was expected of a proportion."""
        value = self.represented(e, s, f)
        is_share = self.blocks[f] not in {"intensity", "log_volume"}
        if self.prepared.representation == "angular" and is_share:
            return max(value, 0) ** 2
        return value

    def residual(self, e: int, s: int, f: int) -> float:
        if self.is_root:
            off = float(self.prepared.represented[e, s, f]) - self.represented(e, s, f)
            return off / self.scale(e, f)
        n = int(self.cube.exposure[e, s])
        observed, expected, variance = float(self.cube.values[e, s, f]), self.restored(e, s, f), 1.0
        if self.blocks[f] != "log_volume":
            expected = min(max(expected, 0.0), 1.0)
            variance = expected * (1 - expected)
        return (observed - expected) * math.sqrt(n / (variance + 0.5 / n))

    def by_volume(self, e: int, s: int, f: int) -> float:
        if not self.is_root:
            return self.residual(e, s, f) if self.blocks[f] == "log_volume" else 0.0
        if "log_volume" in self.blocks:
            usual = self.represented(e, s, self.blocks.index("log_volume"))
        else:
            usual = math.sqrt(sum(self.wanted(e, s, kind) for kind in self.kinds))
        ratio = math.sqrt(self.cube.exposure[e, s]) / max(usual, 0.5)
        return max(self.represented(e, s, f), 0) * (ratio - 1) / self.scale(e, f)

    def by_composition(self, e: int, s: int, f: int) -> float:
        return self.residual(e, s, f) - self.by_volume(e, s, f)

    def part(self, e: int, s: int, f: int, residual: Any, *, two_steps: bool = True) -> float:
        """One feature's part in the surge."""
        now = residual(e, s, f)
        together = now
        if self.is_known(e, s - 1):
            together = (residual(e, s - 1, f) + now) / math.sqrt(2)
        total = max(now, 0) ** 1.5
        return float(total + (0.5 * max(together, 0) ** 1.5 if two_steps else 0))

    def surge(
        self, e: int, s: int, residual: Any, features: list[int], *, two_steps: bool = True
    ) -> float:
        parts = [self.part(e, s, f, residual, two_steps=two_steps) for f in features]
        return sum(parts) / len(parts)

    def relative(self, residual: Any, features: list[int]) -> np.ndarray:
        """Surges `(E, S)` over what is usual for the entity in training."""
        raw = np.full((self.n_entities, self.n_steps), np.nan)
        for e, s in np.ndindex(raw.shape):
            if self.is_known(e, s):
                raw[e, s] = self.surge(e, s, residual, features)
        end = self.prepared.split.training_end
        own = [[x for x in row[:end] if not np.isnan(x)] for row in raw]
        common = sum(map(sum, own)) / sum(map(len, own))
        usual = [(sum(row) + 10 * common) / (len(row) + 10) for row in own]
        return raw / np.array(usual)[:, None]

    @cache  # noqa: B019
    def variance(self, e: int, f: int) -> float:
        """Mean square of errors in training, and of ten more steps of sampling noise."""
        steps = range(self.prepared.split.training_end)
        squares = [
            (self.off(e, s, f) * self.scale(e, f)) ** 2 for s in steps if self.is_known(e, s)
        ]
        mean = self.prepared.standardiser.mean
        root = float(mean[e if len(mean) > 1 else 0, f])
        usual = 1.0
        if self.prepared.representation == "angular":
            seen = [s for s in steps if self.prepared.observed[e, s]]
            usual = sum(int(self.cube.exposure[e, s]) for s in seen) / len(seen)
        prior = poisson_root_variance(root * math.sqrt(usual)) / usual
        return (sum(squares) + 10 * prior) / (len(squares) + 10)

    def wanted(self, e: int, s: int, f: int) -> float:
        """Events that were expected."""
        if self.is_root:
            return max(self.represented(e, s, f), 0) ** 2 + self.variance(e, f)
        share = self.restored(e, s, f)
        if self.prepared.representation == "angular":
            share += self.variance(e, f)
        return min(max(share, 0), 1) * int(self.cube.exposure[e, s])

    def expected_events(self, e: int, s: int) -> float:
        return sum(self.wanted(e, s, f) for f in self.kinds)

    def events(self, e: int, s: int, f: int) -> int:
        n = int(self.cube.exposure[e, s])
        return 0 if n == 0 else round(float(self.cube.values[e, s, f]) * n)

    def deviance(self, e: int, s: int) -> float:
        total = 0.0
        for f in self.kinds:
            events, wanted = self.events(e, s, f), self.wanted(e, s, f)
            total -= events - wanted
            if events:
                total += events * math.log(events / max(wanted, 1e-6))
        return 2 * total

    def squared_error(self, e: int, s: int) -> float:
        return sum(self.off(e, s, f) ** 2 for f in range(self.n_features)) / self.n_features

    def volume_share(self, e: int, s: int) -> float:
        score = self.surge(e, s, self.residual, self.counted)
        by_volume = self.surge(e, s, self.by_volume, self.counted)
        return min(max(by_volume / score, 0), 1) if score > 0 else 0.0

    def drivers(self, e: int, s: int) -> list[tuple[int, float, int, float]]:
        """Feature, share, events and expected events of each kind that has a part."""
        parts = [(self.part(e, s, f, self.residual, two_steps=False), f) for f in self.kinds]
        total = sum(part for part, _ in parts)
        ordered = sorted((one for one in parts if one[0] > 0), key=lambda one: (-one[0], one[1]))
        return [
            (f, part / total, self.events(e, s, f), self.wanted(e, s, f)) for part, f in ordered
        ]
