"""Has the autoencoder learnt more than the mean? A verdict against trivial baselines."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.autoencoder import LSTMAutoencoder
from models.baselines import PrincipalComponents, last_value, training_mean
from models.device import Device, resolve_device
from models.scoring import place_model
from models.windowing import WindowedCube, validate_cube, validate_windows_with_data

__all__ = ["COLLAPSED_RATIO", "FLAT_VARIANCE_RATIO", "Diagnosis", "diagnose"]

COLLAPSED_RATIO = 0.95
"""Share of the training mean's error from which on a model has learnt no more than the mean."""

FLAT_VARIANCE_RATIO = 0.1
"""Share of the data's variance under which the reconstructions count as flat lines."""

Verdict = Literal["collapsed", "beaten_by_last_value", "beaten_by_pca", "sound", "undecided"]

_BATCH_SIZE = 512


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
    pca_error
        Of `pca_components` principal components of the flattened training windows.
    pca_components
        The model's latent size, or the number of training windows or of values if smaller.
    variance_ratio
        Variance of the reconstructions over that of the data, each summed over features; near
        0 the output is a flat line.
    n_training_windows, n_held_out_windows
        How many windows each side had.
    explained, verdict, sentence
        Derived; see the properties.

    Examples
    --------
    >>> Diagnosis(
    ...     model_error=0.2, mean_error=1.0, last_value_error=0.5, pca_error=0.3,
    ...     pca_components=8, variance_ratio=0.8, n_training_windows=90, n_held_out_windows=9,
    ... ).verdict
    'sound'
    """

    model_error: float
    mean_error: float
    last_value_error: float
    pca_error: float
    pca_components: int
    variance_ratio: float
    n_training_windows: int
    n_held_out_windows: int

    @property
    def explained(self) -> float:
        """1 - model_error / mean_error; 0 where the data do not vary from the mean."""
        return 1 - self._relative(self.model_error)

    @property
    def verdict(self) -> Verdict:
        """The first that holds.

        `"undecided"`: the held-out data are the training mean. `"collapsed"`: the error is at
        least `COLLAPSED_RATIO` of the mean's. `"beaten_by_last_value"` and `"beaten_by_pca"`:
        that baseline's error is lower. `"sound"`: lower than all.
        """
        if self.mean_error == 0:
            return "undecided"
        if self.model_error >= COLLAPSED_RATIO * self.mean_error:
            return "collapsed"
        if self.model_error > self.last_value_error:
            return "beaten_by_last_value"
        if self.model_error > self.pca_error:
            return "beaten_by_pca"
        return "sound"

    @property
    def sentence(self) -> str:
        """The verdict in words, with what to do about it."""
        ratio = f"{self._relative(self.model_error):.3f}"
        words = {
            "undecided": (
                "Nothing can be said of the model: the held-out values all equal the training "
                "mean. Hold out a period in which something happens."
            ),
            "collapsed": self._collapsed_sentence(ratio),
            "beaten_by_last_value": (
                f"The model has learnt something, its held-out error is {ratio} of the training "
                "mean's, but repeating the last value does better "
                f"({self._relative(self.last_value_error):.3f}). Difference the data, raise "
                "latent_size or train longer."
            ),
            "beaten_by_pca": (
                f"The model has learnt something, its held-out error is {ratio} of the training "
                f"mean's, but PCA with {self.pca_components} components does better "
                f"({self._relative(self.pca_error):.3f}). Train longer, raise latent_size or "
                "give it more windows."
            ),
            "sound": (
                "The model beats the mean, the last value and PCA with "
                f"{self.pca_components} components: its held-out error is {ratio} of the "
                "training mean's."
            ),
        }
        return words[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, derived values included, as JSON can hold it."""
        derived = {name: getattr(self, name) for name in ("explained", "verdict", "sentence")}
        return asdict(self) | derived

    def rows(self) -> list[tuple[str, float, float]]:
        """Return (name, held-out error, error over the training mean's) for a table."""
        errors = [
            ("autoencoder", self.model_error),
            ("training mean", self.mean_error),
            ("last value", self.last_value_error),
            (f"PCA ({self.pca_components})", self.pca_error),
        ]
        return [(name, error, self._relative(error)) for name, error in errors]

    def _relative(self, error: float) -> float:
        return error / self.mean_error if self.mean_error > 0 else 1.0

    def _collapsed_sentence(self, ratio: str) -> str:
        flat = (
            " Its output is nearly a flat line."
            if self.variance_ratio < FLAT_VARIANCE_RATIO
            else ""
        )
        return (
            "The model has learnt no more than the mean: its held-out error is "
            f"{ratio} of the training mean's.{flat} Standardise and difference the data, raise "
            "learning_rate or latent_size, or train longer."
        )


def diagnose(
    model: LSTMAutoencoder,
    cube: NDArray[np.float32],
    observed: NDArray[np.bool_],
    training_windows: NDArray[np.int64],
    held_out_windows: NDArray[np.int64],
    *,
    length: int,
    seed: int = 0,
    device: Device = "auto",
) -> Diagnosis:
    """Compare a model with the mean, the last value and PCA on held-out windows.

    PCA has `latent_size` components, the size of an embedding; a closed-loop decoder starts from
    the cell state as well, so that it is handed twice as many numbers. PCA is fitted on at most
    `MAX_PCA_VALUES` values, windows drawn with `seed`, so that memory is bounded.

    Parameters
    ----------
    model
        Left as it is, device and mode included: a copy is judged.
    cube, observed
        `(E, S, F)` float32 and `(E, S)` bool.
    training_windows, held_out_windows
        `(N, 2)` int64: rows (entity, start). Baselines are fitted on the former, everything is
        judged on the latter.
    length
        T, the steps of a window.
    seed
        Determines the windows that PCA is fitted on and its solver.
    device
        `"auto"` is the GPU where there is one.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ShapeError
        If an array's shape or dtype is wrong, or the model is made for other features.
    ValueError
        If the cube is not finite, a window lies outside it, or either set of windows is empty
        or covers no observed step.

    Examples
    --------
    >>> cube = np.random.default_rng(0).normal(size=(1, 40, 3)).astype(np.float32)
    >>> windows = np.array([[0, start] for start in range(31)])
    >>> observed = np.ones((1, 40), dtype=bool)
    >>> diagnose(
    ...     LSTMAutoencoder(3), cube, observed, windows[:20], windows[20:], length=10
    ... ).verdict
    'collapsed'
    """
    validate_cube(cube, observed, n_features=model.n_features)
    for name, windows in (("training", training_windows), ("held-out", held_out_windows)):
        validate_windows_with_data(windows, observed, length=length, name=name)
    placed = place_model(model, device)
    data = WindowedCube.place(cube, observed, length=length, device=resolve_device(device))
    fitted_on = data.windows(training_windows)
    pca = PrincipalComponents.fit(data, fitted_on, n_components=model.config.latent_size, seed=seed)
    mean = training_mean(data, fitted_on, _BATCH_SIZE)
    errors = _held_out_errors(placed, data, data.windows(held_out_windows), mean, pca)
    return Diagnosis(
        **errors,
        pca_components=len(pca.components),
        n_training_windows=len(training_windows),
        n_held_out_windows=len(held_out_windows),
    )


@torch.inference_mode()
def _held_out_errors(
    model: LSTMAutoencoder,
    data: WindowedCube,
    windows: Tensor,
    mean: Tensor,
    pca: PrincipalComponents,
) -> dict[str, float]:
    """Return `Diagnosis`'s four errors and its variance ratio."""
    totals: dict[str, float] = defaultdict(float)
    target, output = _Variance(), _Variance()
    for _, x, observed in data.batches(windows, _BATCH_SIZE):
        predictions = {
            "model_error": model(x),
            "mean_error": mean.to(x.dtype).expand_as(x),
            "last_value_error": last_value(x, observed, mean),
            "pca_error": pca.reconstruct(x, observed),
        }
        for name, prediction in predictions.items():
            totals[name] += (prediction - x)[observed].double().square().sum().item()
        target.add(x[observed])
        output.add(predictions["model_error"][observed])
    errors = {name: total / (target.n * data.n_features) for name, total in totals.items()}
    variance = target.total()
    return errors | {"variance_ratio": output.total() / variance if variance > 0 else 0.0}


class _Variance:
    """Variance summed over features, of rows that come in batches."""

    def __init__(self) -> None:
        self.n = 0
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, rows: Tensor) -> None:
        self.n += len(rows)
        self._sum = self._sum + rows.double().sum(dim=0)
        self._squares = self._squares + rows.double().square().sum(dim=0)

    def total(self) -> float:
        mean = torch.as_tensor(self._sum) / self.n
        return float((torch.as_tensor(self._squares) / self.n - mean.square()).clamp(min=0).sum())
