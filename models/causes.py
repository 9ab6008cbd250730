"""Why a model has learnt too little, and what to change, decided by measured quantities."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Cause", "CauseName", "Evidence", "find_causes"]

SPREAD_LIMIT = 10.0
"""Factor by which the spread of the input may differ from 1, either way."""

LEVEL_LIMIT = 10.0
"""Spreads that a feature's mean may lie from 0."""

LAST_VALUE_SHARE = 0.5
"""Share of the errors of model and mean at which the last value says that the level dominates."""

LEFT_BY_NARROWEST = 0.7
"""Share of the mean's error that PCA leaves where it holds too few components."""

LEFT_BY_MORE = 0.5
"""Share of the mean's error that PCA leaves where it holds enough."""

COMPRESSING_SHARE = 0.25
"""Components of a window's values with which PCA still compresses."""

MOVED_LIMIT = 0.05
"""Distance of the biases from their initial values, in units of a weight's size."""

FALL_LIMIT = 0.02
"""Fraction by which the validation loss falls in the last quarter of epochs that are too few."""

OVERFITTED_GAP = 0.1
"""Share of the mean's error by which the training error lies under the held-out one."""

PROBE_LIMIT = 0.95
"""Share of its error that a collapsed model keeps after a few steps, if its loss was right."""

OUT_OF_BOUNDS_LIMIT = 0.05
"""Share of values outside (-1, 1) that a decoder bounded by them can do without."""

CauseName = Literal[
    "unscaled_input",
    "output_bounded",
    "undertrained",
    "too_small",
    "level_dominates",
    "overfitted",
    "loss_does_not_reach_steps",
]


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A reason for a verdict.

    Attributes
    ----------
    name
        Stable, for programs.
    sentence
        What was measured and what to change.
    """

    name: CauseName
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is measured of a model that is not sound.

    Attributes
    ----------
    input_spread, greatest_input_spread
        Median and greatest standard deviation of a feature over the observed training steps,
        of features that vary; 0 where none does.
    input_level
        Greatest distance of a feature's mean from 0, in units of `greatest_input_spread`.
    narrowest, narrowest_is_latent
        Least number of values that a window passes through, and whether that is `latent_size`
        rather than one of `hidden_sizes`.
    narrowest_left
        Held-out error of PCA with so many components over the training mean's.
    enough, enough_left
        The first of twice, four times, ... as many components with which PCA leaves
        `LEFT_BY_MORE` at most, and what it leaves; None where none tried does.
    window_size
        T * F.
    biases_moved
        Root mean square of what training has changed the biases by, in units of the root mean
        square of a newly drawn weight: initial biases are known whatever the seed.
    validation_fall
        Fraction by which the best validation loss fell in the last quarter of the epochs, 0 where
        patience ended the training; None without a history of two epochs.
    probe_left
        Where the model has collapsed or its output is a flat line: the error after a few steps
        with a masked squared error, taken by a copy on training windows, over that before; of
        held-out windows.
    out_of_bounds
        With the decoder `"repeat_vector_wide"`: share of observed training values outside (-1, 1).

    Examples
    --------
    >>> Evidence(
    ...     input_spread=1.0, greatest_input_spread=1.2, input_level=0.1, narrowest=8,
    ...     narrowest_is_latent=True, narrowest_left=0.4, enough=None, enough_left=None,
    ...     window_size=96, biases_moved=0.6, validation_fall=0.001, probe_left=None,
    ...     out_of_bounds=None,
    ... ).narrowest
    8
    """

    input_spread: float
    greatest_input_spread: float
    input_level: float
    narrowest: int
    narrowest_is_latent: bool
    narrowest_left: float
    enough: int | None
    enough_left: float | None
    window_size: int
    biases_moved: float
    validation_fall: float | None
    probe_left: float | None
    out_of_bounds: float | None


def find_causes(
    evidence: Evidence, *, model: float, last_value: float, training: float
) -> tuple[Cause, ...]:
    """Return what the evidence speaks for, the first to be mended first.

    Where the input is not scaled, only that and a bounded output are named: the rest may follow
    from it.

    Parameters
    ----------
    evidence
        Of the model.
    model, last_value, training
        Errors of the model and of the last value on held-out windows and of the model on training
        windows, over the training mean's.

    Examples
    --------
    >>> evidence = Evidence(
    ...     input_spread=1e-3, greatest_input_spread=2e-3, input_level=0.1, narrowest=8,
    ...     narrowest_is_latent=True, narrowest_left=0.4, enough=None, enough_left=None,
    ...     window_size=96, biases_moved=0.6, validation_fall=0.1, probe_left=None,
    ...     out_of_bounds=None,
    ... )
    >>> [cause.name for cause in find_causes(evidence, model=1.0, last_value=0.9, training=1.0)]
    ['unscaled_input']
    """
    found = [_unscaled_input(evidence), _output_bounded(evidence)]
    if found[0] is None:
        found += [
            _undertrained(evidence),
            _too_small(evidence),
            _level_dominates(model, last_value),
            _overfitted(model, training),
            _loss_does_not_reach_steps(evidence),
        ]
    return tuple(cause for cause in found if cause is not None)


def _unscaled_input(evidence: Evidence) -> Cause | None:
    median, greatest = evidence.input_spread, evidence.greatest_input_spread
    is_scaled = median >= 1 / SPREAD_LIMIT and greatest <= SPREAD_LIMIT
    if is_scaled and evidence.input_level <= LEVEL_LIMIT:
        return None
    sentence = (
        f"The input is not scaled: its features' standard deviations are {median:.3g} in the "
        f"median and {greatest:.3g} at most, and the mean of a feature lies up to "
        f"{evidence.input_level:.3g} times the latter from 0. Standardise the data."
    )
    return Cause(name="unscaled_input", sentence=sentence)


def _output_bounded(evidence: Evidence) -> Cause | None:
    share = evidence.out_of_bounds
    if share is None or share <= OUT_OF_BOUNDS_LIMIT:
        return None
    sentence = (
        f"The decoder 'repeat_vector_wide' puts out values in (-1, 1) only, but {share:.0%} of "
        "the observed values lie outside. Scale the data to that range, or use 'repeat_vector'."
    )
    return Cause(name="output_bounded", sentence=sentence)


def _undertrained(evidence: Evidence) -> Cause | None:
    fall = evidence.validation_fall
    if evidence.biases_moved < MOVED_LIMIT:
        sentence = (
            "It is hardly trained: its biases have moved from where they started by only "
            f"{evidence.biases_moved:.2g} of a weight's size. Raise learning_rate or epochs."
        )
    elif fall is not None and fall > FALL_LIMIT:
        sentence = (
            f"Its training ended early: the validation loss fell by {fall:.1%} in the last "
            "quarter of the epochs. Raise epochs or learning_rate."
        )
    else:
        return None
    return Cause(name="undertrained", sentence=sentence)


def _too_small(evidence: Evidence) -> Cause | None:
    enough = evidence.enough
    if evidence.narrowest_left < LEFT_BY_NARROWEST or enough is None:
        return None
    if enough > COMPRESSING_SHARE * evidence.window_size:
        return None
    option = "latent_size" if evidence.narrowest_is_latent else "hidden_sizes"
    components = "component" if evidence.narrowest == 1 else "components"
    sentence = (
        f"It is too small for the data: PCA with {evidence.narrowest} {components} leaves "
        f"{evidence.narrowest_left:.2f} of the training mean's error, with {enough} only "
        f"{evidence.enough_left:.2f}. Raise {option}, now {evidence.narrowest}, to about {enough}."
    )
    return Cause(name="too_small", sentence=sentence)


def _level_dominates(model: float, last_value: float) -> Cause | None:
    if last_value > LAST_VALUE_SHARE * min(model, 1.0):
        return None
    sentence = (
        "Each step is much like the one before: repeating the last value leaves "
        f"{last_value:.3f} of the training mean's error, the model {model:.3f}. Difference the "
        "data."
    )
    return Cause(name="level_dominates", sentence=sentence)


def _overfitted(model: float, training: float) -> Cause | None:
    if model - training <= OVERFITTED_GAP:
        return None
    sentence = (
        "It has learnt the training windows by heart, or the held-out period is unlike them: its "
        f"error is {training:.3f} of the training mean's there and {model:.3f} held out. Give it "
        "more windows, raise input_dropout or weight_decay, or lower latent_size."
    )
    return Cause(name="overfitted", sentence=sentence)


def _loss_does_not_reach_steps(evidence: Evidence) -> Cause | None:
    left = evidence.probe_left
    if left is None or left > PROBE_LIMIT or evidence.biases_moved < MOVED_LIMIT:
        return None
    sentence = (
        "It could do better and was not told to: a few steps with a squared error lower its "
        f"held-out error to {left:.2f} of what it is. The loss that it was trained with does not "
        "reach the single steps; look for a broadcast between output and target, or use "
        "loss='mse'."
    )
    return Cause(name="loss_does_not_reach_steps", sentence=sentence)
