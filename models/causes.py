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

EXPLAINED_FACTOR = 4.0
"""How many times as much PCA explains with enough components as with too few."""

EXPLAINED_GAIN = 0.1
"""Share of the mean's error that PCA explains besides, at least, with enough components."""

COMPRESSING_SHARE = 0.25
"""Components over the values of a window up to which PCA still compresses."""

MOVED_LIMIT = 0.05
"""Distance of the biases from their initial values, in units of a weight's size."""

OVERSHOT_LIMIT = 6.0
"""The same distance beyond which the steps of the optimiser were too long."""

FALL_LIMIT = 0.02
"""Fraction by which the validation loss falls in the last quarter of epochs that are too few."""

OVERFITTED_GAP = 0.1
"""Share of the mean's error by which the training error lies under the held-out one."""

REACHED_SHARE = 0.3
"""Share of what PCA explains of the training windows under which a model is probed."""

PROBE_GAIN = 0.125
"""Share of what PCA explains that a few steps add, if the loss was to blame."""

OUT_OF_BOUNDS_LIMIT = 0.05
"""Share of values outside (-1, 1) that a decoder bounded by them can do without."""

CauseName = Literal[
    "unscaled_input",
    "output_bounded",
    "overshot",
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
    narrowest_is_latent
        Whether the least number of values that a window passes through is `latent_size` rather
        than one of `hidden_sizes`.
    components
        That number, twice it and so on, up to `COMPRESSING_SHARE` of a window's values.
    components_left
        Held-out errors of PCA with so many components over the training mean's.
    biases_moved
        Root mean square of what training has changed the biases by, in units of the root mean
        square of a newly drawn weight: initial biases are known whatever the seed.
    validation_fall
        Fraction by which the best validation loss fell in the last quarter of the epochs, 0 where
        patience ended the training; None without a history of two epochs.
    training_share
        What the model explains of training windows over what PCA of `components[0]` does: falls
        in error from the training mean's. None where PCA explains nothing.
    probe_gain
        Where `training_share` is under `REACHED_SHARE`: by how much a copy's held-out error falls
        at most in some steps with a masked squared error on training windows, over PCA's fall
        from the training mean's error.
    out_of_bounds
        With the decoder `"repeat_vector_wide"`: share of observed training values outside (-1, 1).

    Examples
    --------
    >>> Evidence(
    ...     input_spread=1.0, greatest_input_spread=1.2, input_level=0.1,
    ...     narrowest_is_latent=True, components=(4, 8), components_left=(0.9, 0.5),
    ...     biases_moved=0.6, validation_fall=0.001, training_share=0.9, probe_gain=None,
    ...     out_of_bounds=None,
    ... ).enough
    (8, 0.5)
    """

    input_spread: float
    greatest_input_spread: float
    input_level: float
    narrowest_is_latent: bool
    components: tuple[int, ...]
    components_left: tuple[float, ...]
    biases_moved: float
    validation_fall: float | None
    training_share: float | None
    probe_gain: float | None
    out_of_bounds: float | None

    def __post_init__(self) -> None:
        """Turn the lists of JSON into tuples."""
        for name in ("components", "components_left"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def enough(self) -> tuple[int, float] | None:
        """The first components, and what they leave, with which PCA explains much more."""
        explained = 1 - self.components_left[0]
        wanted = max(EXPLAINED_FACTOR * explained, explained + EXPLAINED_GAIN)
        tried = zip(self.components[1:], self.components_left[1:], strict=True)
        return next(((number, left) for number, left in tried if 1 - left >= wanted), None)


def find_causes(
    evidence: Evidence, *, model: float, last_value: float, training: float
) -> tuple[Cause, ...]:
    """Return what the evidence speaks for, the first to be mended first.

    Where the input is not scaled, only that and a bounded output are named, and where training
    overshot, neither overfitting nor the loss: they may follow from it.

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
    ...     input_spread=1e-3, greatest_input_spread=2e-3, input_level=0.1,
    ...     narrowest_is_latent=True, components=(4, 8), components_left=(0.4, 0.3),
    ...     biases_moved=0.6, validation_fall=0.1, training_share=0.0, probe_gain=None,
    ...     out_of_bounds=None,
    ... )
    >>> [cause.name for cause in find_causes(evidence, model=1.0, last_value=0.9, training=1.0)]
    ['unscaled_input']
    """
    found = [_unscaled_input(evidence), _output_bounded(evidence)]
    if found[0] is None:
        overshot = _overshot(evidence)
        found += [
            overshot or _undertrained(evidence),
            _too_small(evidence),
            _level_dominates(model, last_value),
        ]
        if overshot is None:
            found += [_overfitted(model, training), _loss_does_not_reach_steps(evidence)]
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


def _overshot(evidence: Evidence) -> Cause | None:
    if evidence.biases_moved <= OVERSHOT_LIMIT:
        return None
    sentence = (
        "Training overshot: its biases have moved from where they started by "
        f"{evidence.biases_moved:.0f} times a weight's size. Lower learning_rate."
    )
    return Cause(name="overshot", sentence=sentence)


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
    if evidence.enough is None:
        return None
    narrowest, (enough, left) = evidence.components[0], evidence.enough
    option = "latent_size" if evidence.narrowest_is_latent else "hidden_sizes"
    sentence = (
        f"It is too small for the data: PCA with {narrowest} "
        f"{'component' if narrowest == 1 else 'components'} leaves "
        f"{evidence.components_left[0]:.2f} of the training mean's error, with {enough} only "
        f"{left:.2f}. Raise {option}, now {narrowest}, to about {enough}."
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
    share, gain = evidence.training_share, evidence.probe_gain
    is_trained = _undertrained(evidence) is None
    if not is_trained or share is None or gain is None or gain < PROBE_GAIN:
        return None
    sentence = (
        f"It could do better and was not told to: it explains {max(share, 0.0):.0%} of what PCA "
        "of its size does of the training windows, and a few steps with a squared error add "
        f"{gain:.0%} held out. The loss that it was trained with does not reach the single steps: "
        "look for a broadcast between output and target, or use loss='mse'."
    )
    return Cause(name="loss_does_not_reach_steps", sentence=sentence)
