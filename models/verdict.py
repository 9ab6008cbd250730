"""Errors of a model and of what it has to beat, and the verdict that they come to."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from models.causes import Cause, Evidence, find_causes

__all__ = ["COLLAPSED_RATIO", "FLAT_VARIANCE_RATIO", "Diagnosis", "Verdict"]

COLLAPSED_RATIO = 0.95
"""Share of the training mean's error from which on a model has learnt no more than the mean."""

FLAT_VARIANCE_RATIO = 0.02
"""Share of the data's variance over time under which the reconstructions count as flat lines."""

Verdict = Literal[
    "undecided",
    "collapsed",
    "beaten_by_last_value",
    "beaten_by_seasonal_last_value",
    "beaten_by_pca",
    "beaten_by_linear_autoencoder",
    "sound",
]

_NO_CAUSE = (
    "Nothing that was measured says why: give it more windows, try input_dropout or another "
    "architecture."
)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Held-out errors of a model and of what it has to beat.

    All errors are means of squared errors over the observed values of the held-out windows.

    Attributes
    ----------
    model_error
        Of the autoencoder.
    mean_error
        Of the training mean, a number per feature.
    last_value_error
        Of each step predicted by the last observed one before it in the window, and by the
        training mean where there is none. It sees the raw values one step late, so that it is
        no reconstruction; smooth data make it strong.
    season, seasonal_last_value_error
        Of each step predicted by the observed value so many steps before, in the window or
        before it, and by the training mean where there is none. Both None without a season.
    pca_components, pca_error
        Of so many principal components of the flattened training windows: the model's latent
        size, or the number of training windows or of values if smaller.
    bottleneck_pca_components, bottleneck_pca_error
        The same with as many components as numbers cross from encoder to decoder. It is shown
        and decides nothing; both None where that is the latent size.
    linear_autoencoder_error
        Of a linear autoencoder of `pca_components` numbers; see `LinearAutoencoder`.
    feature_errors, entity_errors
        The same errors by feature (F numbers) and by entity (E numbers, None where an entity has
        no observed step in a held-out window), by the names of the above without `_error`.
    variance_ratio
        Variance of the reconstructions over that of the data, each summed over features; near
        0 the output is the same everywhere. None where the data don't vary.
    temporal_variance_ratio
        The same of the variance within windows, around each window's own mean; near 0 the output
        is a flat line. None where the data don't vary there.
    training_ratio
        Error of the model on training windows, at most 2,000 of them, over the training mean's
        there.
    evidence
        What the causes are told from; None where the model is sound or nothing can be said.
    n_training_windows, n_held_out_windows
        How many windows each side had.
    explained, verdict, causes, sentence, feature_skill, entity_skill
        Derived; see the properties.

    Examples
    --------
    >>> Diagnosis(
    ...     model_error=0.2, mean_error=1.0, last_value_error=0.5, season=None,
    ...     seasonal_last_value_error=None, pca_components=8, pca_error=0.3,
    ...     bottleneck_pca_components=None, bottleneck_pca_error=None,
    ...     linear_autoencoder_error=0.3, feature_errors={"model": (0.2,), "mean": (1.0,)},
    ...     entity_errors={"model": (0.2,), "mean": (1.0,)}, variance_ratio=0.8,
    ...     temporal_variance_ratio=0.8, training_ratio=0.2, evidence=None,
    ...     n_training_windows=90, n_held_out_windows=9,
    ... ).verdict
    'sound'
    """

    derived: ClassVar[tuple[str, ...]] = (
        "explained",
        "verdict",
        "causes",
        "sentence",
        "feature_skill",
        "entity_skill",
    )

    model_error: float
    mean_error: float
    last_value_error: float
    season: int | None
    seasonal_last_value_error: float | None
    pca_components: int
    pca_error: float
    bottleneck_pca_components: int | None
    bottleneck_pca_error: float | None
    linear_autoencoder_error: float
    feature_errors: dict[str, tuple[float, ...]]
    entity_errors: dict[str, tuple[float | None, ...]]
    variance_ratio: float | None
    temporal_variance_ratio: float | None
    training_ratio: float
    evidence: Evidence | None
    n_training_windows: int
    n_held_out_windows: int

    def __post_init__(self) -> None:
        """Turn the lists of JSON into tuples."""
        for name in ("feature_errors", "entity_errors"):
            errors = {key: tuple(values) for key, values in getattr(self, name).items()}
            object.__setattr__(self, name, errors)

    @property
    def explained(self) -> float:
        """1 - model_error / mean_error; 0 where the data do not vary from the mean."""
        return 1 - self._relative(self.model_error)

    @property
    def verdict(self) -> Verdict:
        """The first that holds.

        `"undecided"`: the held-out data are the training mean. `"collapsed"`: the error is at
        least `COLLAPSED_RATIO` of the mean's. `"beaten_by_last_value"`,
        `"beaten_by_seasonal_last_value"`, `"beaten_by_pca"` and `"beaten_by_linear_autoencoder"`:
        that baseline's error is lower. `"sound"`: lower than all.
        """
        if self.mean_error == 0:
            return "undecided"
        if self.model_error >= COLLAPSED_RATIO * self.mean_error:
            return "collapsed"
        victor = self._victor()
        return "sound" if victor is None else victor[0]

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What the evidence says of why, the first to be mended first; none if there is none."""
        if self.evidence is None:
            return ()
        return find_causes(
            self.evidence,
            model=self._relative(self.model_error),
            last_value=self._relative(self.last_value_error),
            training=self.training_ratio,
        )

    @property
    def sentence(self) -> str:
        """The verdict in words, with what was measured and what to do about it."""
        if self.verdict == "undecided":
            return (
                "Nothing can be said of the model: the held-out values all equal the training "
                "mean. Hold out a period in which something happens."
            )
        parts = [self._judgement(), *([self._flatness()] if self.is_flat else [])]
        if self.verdict != "sound":
            parts += [cause.sentence for cause in self.causes] or [_NO_CAUSE]
        return " ".join(parts)

    @property
    def is_flat(self) -> bool:
        """Whether the output hardly varies over time within windows."""
        ratio = self.temporal_variance_ratio
        return ratio is not None and ratio < FLAT_VARIANCE_RATIO

    @property
    def feature_skill(self) -> tuple[float | None, ...]:
        """1 - model_error / mean_error by feature, None where a feature doesn't vary."""
        return self.feature_skill_over("mean")

    @property
    def entity_skill(self) -> tuple[float | None, ...]:
        """1 - model_error / mean_error by entity, None where nothing is held out of one."""
        return self.entity_skill_over("mean")

    def feature_skill_over(self, baseline: str) -> tuple[float | None, ...]:
        """Return 1 less the model's error over a baseline's, by feature.

        Parameters
        ----------
        baseline
            A key of `feature_errors`, such as `"pca"`.
        """
        return _skill(self.feature_errors["model"], self.feature_errors[baseline])

    def entity_skill_over(self, baseline: str) -> tuple[float | None, ...]:
        """Return the same by entity; see `feature_skill_over`."""
        return _skill(self.entity_errors["model"], self.entity_errors[baseline])

    def to_dict(self) -> dict[str, Any]:
        """Return everything, derived values included, as JSON can hold it."""
        values = asdict(self) | {name: getattr(self, name) for name in self.derived}
        return values | {"causes": [asdict(cause) for cause in self.causes]}

    def rows(self) -> list[tuple[str, float, float]]:
        """Return (name, held-out error, error over the training mean's) for a table."""
        size, wider = self.pca_components, self.bottleneck_pca_components
        errors = [
            ("autoencoder", self.model_error),
            ("training mean", self.mean_error),
            ("last value", self.last_value_error),
            (f"value {self.season} steps before", self.seasonal_last_value_error),
            (f"PCA ({size})", self.pca_error),
            (f"PCA ({wider})", self.bottleneck_pca_error),
            (f"linear autoencoder ({size})", self.linear_autoencoder_error),
        ]
        return [(name, error, self._relative(error)) for name, error in errors if error is not None]

    def _relative(self, error: float) -> float:
        return error / self.mean_error if self.mean_error > 0 else 1.0

    def _judgement(self) -> str:
        ratio = f"{self._relative(self.model_error):.3f}"
        if self.verdict == "collapsed":
            return (
                "The model has learnt no more than the mean: its held-out error is "
                f"{ratio} of the training mean's."
            )
        victor = self._victor()
        if victor is not None:
            _, name, error = victor
            return (
                f"The model has learnt something, its held-out error is {ratio} of the training "
                f"mean's, but {name} does better ({self._relative(error):.3f})."
            )
        size = self.pca_components
        season = "" if self.season is None else f"the value {self.season} steps before, "
        return (
            f"The model beats the mean, the last value, {season}PCA with {size} components and a "
            f"linear autoencoder of {size} numbers: its held-out error is {ratio} of the training "
            "mean's."
        )

    def _victor(self) -> tuple[Verdict, str, float] | None:
        """Return the first baseline of lower error: the verdict then, its name and its error."""
        size, season = self.pca_components, f"the value {self.season} steps before"
        rivals: list[tuple[Verdict, str, float | None]] = [
            ("beaten_by_last_value", "repeating the last value", self.last_value_error),
            (
                "beaten_by_seasonal_last_value",
                f"repeating {season}",
                self.seasonal_last_value_error,
            ),
            ("beaten_by_pca", f"PCA with {size} components", self.pca_error),
            (
                "beaten_by_linear_autoencoder",
                f"a linear autoencoder of {size} numbers",
                self.linear_autoencoder_error,
            ),
        ]
        for verdict, name, error in rivals:
            if error is not None and self.model_error > error:
                return verdict, name, error
        return None

    def _flatness(self) -> str:
        return (
            "Its output is nearly a flat line: within windows it has "
            f"{self.temporal_variance_ratio:.1%} of the data's variance over time."
        )


def _skill(
    model: Sequence[float | None], baseline: Sequence[float | None]
) -> tuple[float | None, ...]:
    return tuple(
        1 - error / other if error is not None and other else None
        for error, other in zip(model, baseline, strict=True)
    )
