"""From a model's reconstructions to scores of steps: how far, how likely, and made of what."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.representation import block_masks
from flows.config import RunConfig
from flows.learning import LearningData
from flows.noise import (
    NoiseResiduals,
    countable,
    error_variance,
    events_behind,
    events_expected,
    finest,
    in_model_units,
    noise_residuals,
    reference_steps,
    slabs_of,
    training_steps,
)
from flows.yardstick import Calibrated, ErrorScale, Yardstick
from models import Calibration, Mahalanobis, Scores, false_discovery
from models.step_scores import (
    composition_residuals,
    counted_deviance,
    squared,
    surge,
    surge_parts,
    usual_scores,
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class StepJudgement:
    """Scores of every step by one expectation, float32 ``(E, S)``; NaN where there is none.

    Attributes
    ----------
    squared_error, surge, deviance, mahalanobis
        As in the data dictionary (`flows.datasets`).
    by
        What they were judged by.
    """

    squared_error: Floats
    surge: Floats
    deviance: Floats
    mahalanobis: Floats
    by: ErrorScale


@dataclass(frozen=True, kw_only=True, eq=False)
class Drivers:
    """The kinds of event that a step's score is made of, largest part first.

    Attributes
    ----------
    positions
        int32 ``(E, S, K)``: features; -1 where the step has no score or fewer have a part.
    shares
        float32 ``(E, S, K)``: parts of the surplus of the step alone.
    events, expected_events
        float32 ``(E, S, K)``.
    volume_share
        float32 ``(E, S)``: the part that more events, composed as expected, would have by
        themselves.
    """

    positions: NDArray[np.int32]
    shares: Floats
    events: Floats
    expected_events: Floats
    volume_share: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """All that is said of steps, ``(E, S)`` each; NaN where there is nothing to say.

    Attributes
    ----------
    score, loudness, strangeness, expected_events, p_value, q_value
        As in the data dictionary (`flows.datasets`).
    combined
        By the reconstructions of all windows that cover the step.
    newest
        By what the window that the step ends expects of it, unseen.
    drivers
        What the score is made of.
    yardstick
        What they are judged by.
    """

    score: Floats
    loudness: Floats
    strangeness: Floats
    expected_events: Floats
    p_value: NDArray[np.float64]
    q_value: NDArray[np.float64]
    combined: StepJudgement
    newest: StepJudgement
    drivers: Drivers
    yardstick: Yardstick

    @property
    def calibration(self) -> Calibration:
        """That the p-values come from."""
        return self.yardstick.calibration


def judge_steps(
    data: LearningData,
    scores: Scores,
    newest: Floats,
    config: RunConfig,
    yardstick: Yardstick | None = None,
) -> Judgement:
    """Judge every observed step that a window covers.

    The score, loudness, strangeness and drivers compare a step with what was expected of it by the
    seven (length - 1) steps before it; the first steps of an entity, which end no window, with what
    their windows make of them.

    Parameters
    ----------
    data
        What the model was given.
    scores, newest
        Of `models.score` and `models.nowcast`.
    config
        How.
    yardstick
        What steps of this model are judged by; by default it is made of these very steps, which
        must be those that the model was trained and validated on.
    """
    prepared = data.prepared
    combined = in_model_units(data, scores.step_reconstruction)
    unseen = in_model_units(data, newest)
    unknown = ~prepared.observed | (scores.coverage == 0)
    first = np.where(np.isnan(unseen), combined, unseen)
    for expected in (combined, unseen, first):
        expected[unknown] = np.nan
    by = yardstick
    judged = _Judged(data, first, config, None if by is None else by.variance)
    usual = judged.usual() if by is None else by.usual
    score, strangeness = (
        (raw / usual[:, i, None]).astype(np.float32)
        for i, raw in enumerate((judged.score, judged.strangeness))
    )
    of_combined = _judge(data, combined, config, None if by is None else by.combined)
    of_newest = _judge(data, unseen, config, None if by is None else by.newest)
    if by is None:
        calibrated = Calibrated.fit(score, prepared, data.cube.steps, config.calibration)
        by = Yardstick(
            variance=judged.variance,
            usual=usual,
            combined=of_combined.by,
            newest=of_newest.by,
            calibrated=calibrated,
        )
    p_value = by.calibrated.p_values(score, prepared, data.cube.steps)
    return Judgement(
        score=score,
        loudness=judged.loudness,
        strangeness=strangeness,
        expected_events=judged.expected_events,
        p_value=p_value,
        q_value=false_discovery(p_value),
        combined=of_combined,
        newest=of_newest,
        drivers=judged.drivers,
        yardstick=by,
    )


def _judge(
    data: LearningData, expected: Floats, config: RunConfig, by: ErrorScale | None
) -> StepJudgement:
    cube, prepared = data.cube, data.prepared
    shape = prepared.observed.shape
    squares, surges, deviances = (np.full(shape, np.nan, np.float32) for _ in range(3))
    everything = np.full_like(prepared.values, np.nan)
    variance = error_variance(data, expected) if by is None else by.variance
    counted, kinds = countable(cube), finest(cube)
    for entities in slabs_of(cube):
        found = noise_residuals(data, expected, entities)
        everything[entities] = found.residuals
        squares[entities] = squared(prepared.values[entities] - expected[entities])
        surges[entities] = surge(found.residuals, counted=counted, with_two_steps=False)
        wanted = events_expected(data, found.represented, variance, entities)
        deviances[entities] = counted_deviance(
            events_behind(cube, entities)[..., kinds], wanted[..., kinds]
        )
    if by is None:
        distance = Mahalanobis.fit(
            everything, reference_steps(prepared), seed=0, config=config.mahalanobis
        )
        by = ErrorScale(variance=variance, mahalanobis=distance)
    return StepJudgement(
        squared_error=squares,
        surge=surges,
        deviance=deviances,
        mahalanobis=by.mahalanobis.score(everything),
        by=by,
    )


class _Judged:
    """The score, and what is said of it, by one expectation."""

    def __init__(
        self, data: LearningData, expected: Floats, config: RunConfig, variance: Floats | None
    ) -> None:
        self._data, self._kinds = data, np.flatnonzero(finest(data.cube))
        shape, k = data.prepared.observed.shape, min(config.scoring.drivers, len(self._kinds))
        empty = [np.full(shape, np.nan, np.float32) for _ in range(5)]
        self.score, self.strangeness, self.loudness, self.expected_events, volume = empty
        self.drivers = Drivers(
            positions=np.full((*shape, k), -1, np.int32),
            shares=np.full((*shape, k), np.nan, np.float32),
            events=np.full((*shape, k), np.nan, np.float32),
            expected_events=np.full((*shape, k), np.nan, np.float32),
            volume_share=volume,
        )
        self.variance = error_variance(data, expected) if variance is None else variance
        for entities in slabs_of(data.cube):
            self._judge(noise_residuals(data, expected, entities), entities)

    def usual(self) -> NDArray[np.float64]:
        """Return the usual score and strangeness of each entity in training, ``(E, 2)``."""
        training = training_steps(self._data.prepared)
        raw = (self.score, self.strangeness)
        return np.stack([usual_scores(values, training) for values in raw], axis=1)

    def _judge(self, found: NoiseResiduals, entities: slice) -> None:
        cube = self._data.cube
        counted, (_, _, volume) = countable(cube), block_masks(cube.blocks)
        score = surge(found.residuals, counted=counted)
        wanted = events_expected(self._data, found.represented, self.variance, entities)
        by_volume, by_composition = self._parts(found, wanted, entities)
        loud = surge(by_volume, counted=counted)
        self.score[entities] = score
        self.strangeness[entities] = surge(by_composition, counted=counted & ~volume)
        self.expected_events[entities] = wanted[..., self._kinds].sum(axis=-1)
        self.drivers.volume_share[entities] = np.clip(
            np.divide(loud, score, out=np.zeros_like(score), where=score > 0), 0, 1
        )
        self.drivers.volume_share[entities][np.isnan(score)] = np.nan
        # A model of shares is told how many events there are where it rebuilds their roots.
        is_given = (
            self._data.target is not None and self._data.prepared.representation == "root_counts"
        )
        if volume.any() and not is_given:
            self.loudness[entities] = found.residuals[..., volume][..., 0]
        self._drive(found, wanted, entities)

    def _parts(
        self, found: NoiseResiduals, wanted: Floats, entities: slice
    ) -> tuple[Floats, Floats]:
        """Part residuals into those of volume and of composition; proportions have no volume."""
        prepared, cube = self._data.prepared, self._data.cube
        _, _, volume = block_masks(cube.blocks)
        if prepared.representation != "root_counts":
            by_volume = np.where(volume, found.residuals, np.float32(0))
            return by_volume, found.residuals - by_volume
        scale = prepared.standardiser.scale
        if volume.any():
            usual = found.represented[..., volume][..., 0]
        else:
            usual = np.sqrt(wanted[..., self._kinds].sum(axis=-1))
        # A root count below one half is all noise.
        ratio = np.sqrt(cube.exposure[entities]) / np.maximum(usual, np.float32(0.5))
        return composition_residuals(
            found.residuals,
            found.represented,
            ratio,
            scale if len(scale) == 1 else scale[entities],
        )

    def _drive(self, found: NoiseResiduals, wanted: Floats, entities: slice) -> None:
        drivers, k = self.drivers, self.drivers.positions.shape[2]
        # The step before may have had other kinds of event; those are its own drivers.
        parts = surge_parts(found.residuals[..., self._kinds], with_two_steps=False)
        order = np.argsort(-parts, axis=-1, kind="stable")[..., :k]
        part = np.take_along_axis(parts, order, axis=-1)
        total = parts.sum(axis=-1, keepdims=True)
        has_part = part > 0
        share = np.divide(part, total, out=np.zeros_like(part), where=has_part)
        drivers.positions[entities] = np.where(has_part, self._kinds[order], -1)
        drivers.shares[entities] = np.where(has_part, share, np.nan)
        for target, source in (
            (drivers.events, events_behind(self._data.cube, entities)),
            (drivers.expected_events, wanted),
        ):
            chosen = np.take_along_axis(source[..., self._kinds], order, axis=-1)
            target[entities] = np.where(has_part, chosen, np.nan)
