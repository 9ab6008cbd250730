"""How well every scorer finds what is labelled: trained on train, judged on test."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from flows.benchmark_data import BenchmarkConfig, Floats, LabelledCube
from models import Mahalanobis, TrainedModel, nowcast, score, train
from models.baseline_scorers import StepArrays, baseline_scores
from models.detection_metrics import Detection, detect, vus_pr
from models.step_scores import squared

COMBINED: Final = "autoencoder"
NEWEST: Final = "autoencoder, nowcast"
DISTANCE: Final = "autoencoder, Mahalanobis"
OURS: Final = (COMBINED, NEWEST, DISTANCE)

_SOMEWHAT: Final = 1e-9
"""Of a window that is scored any step may be all that is observed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """How well a scorer found what is labelled.

    Attributes
    ----------
    file, scorer, seed
        Of what.
    length, latent_size
        Steps in a window, and the numbers that it was compressed to.
    threshold
        Of alarms, from validation steps.
    detection
        On the test steps that have a score.
    chance_vus_pr
        VUS-PR of scores without information, as `Detection.base_rate` is for average precision.
    n_steps, n_unscored
        Test steps, and those of them that have no score.
    """

    file: Path
    scorer: str
    seed: int
    length: int
    latent_size: int
    threshold: float
    detection: Detection
    chance_vus_pr: float
    n_steps: int
    n_unscored: int


def evaluate(cube: LabelledCube, seed: int, config: BenchmarkConfig) -> list[Finding]:
    """Train, score by every scorer, and compare with the labels, which nothing before looks at.

    The scores of validation steps, from which thresholds come, are made in a cube that ends
    with them: no value of test has a part in them.

    Parameters
    ----------
    cube
        Of `read_labelled_cube`.
    seed
        Of everything drawn.
    config
        How.

    Returns
    -------
    list of Finding
        One a scorer.
    """
    autoencoder = cube.sized(config.autoencoder)
    trained = train(
        cube.values,
        cube.observed,
        cube.windows(0, cube.validation_start),
        cube.windows(cube.validation_start, cube.test_start),
        length=cube.length,
        autoencoder=autoencoder,
        training=replace(config.training, seed=seed),
    )
    before_test, test = score_steps(cube, trained)
    return [
        _judge(cube, trained, name, before_test[name], test[name], config) for name in before_test
    ]


def score_steps(
    cube: LabelledCube, trained: TrainedModel
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return each scorer's scores of the validation steps, and of the test steps.

    Returns
    -------
    tuple of dict
        float32 ``(E, test_start - validation_start)`` and ``(E, S - test_start)`` by scorer;
        NaN in steps that are not observed.
    """
    n_steps = cube.observed.shape[1]
    parts = (cube.validation_start, cube.test_start), (cube.test_start, n_steps)
    data = [_step_arrays(cube, trained, *part) for part in parts]
    residuals = [_residuals(trained, one) for one in data]
    reference = data[0].observed & ~data[0].training
    distance = Mahalanobis.fit(residuals[0][0], reference, seed=trained.training.seed)
    scored = []
    for (first, _), one, (combined, newest) in zip(parts, data, residuals, strict=True):
        ours = {
            COMBINED: squared(combined),
            NEWEST: squared(newest),
            DISTANCE: distance.score(combined),
        }
        every = ours | baseline_scores(one)
        scored.append({name: scores[:, first:] for name, scores in every.items()})
    return scored[0], scored[1]


def _step_arrays(cube: LabelledCube, trained: TrainedModel, first: int, end: int) -> StepArrays:
    """Return a cube that ends before `end`, with the windows that cover the steps from `first`."""
    observed = np.ascontiguousarray(cube.observed[:, :end])
    return StepArrays(
        values=np.ascontiguousarray(cube.values[:, :end]),
        observed=observed,
        training=observed & (np.arange(end) < cube.validation_start),
        training_windows=cube.windows(0, cube.validation_start),
        windows=cube.windows(first - cube.length + 1, end, min_observed=_SOMEWHAT),
        length=cube.length,
        n_components=trained.autoencoder.latent_size,
        seed=trained.training.seed,
    )


def _residuals(trained: TrainedModel, data: StepArrays) -> tuple[Floats, Floats]:
    """Return what is left of the steps by all windows, and by the one that each ends, unseen."""
    given = (trained.model, data.values, data.observed, data.windows)
    device = trained.training.device
    combined = score(*given, length=data.length, device=device).step_reconstruction
    newest = nowcast(*given, length=data.length, device=device)
    for expected in (combined, newest):
        expected[~data.observed] = np.nan
    return data.values - combined, data.values - newest


def _judge(
    cube: LabelledCube,
    trained: TrainedModel,
    scorer: str,
    before_test: Floats,
    scores: Floats,
    config: BenchmarkConfig,
) -> Finding:
    threshold = float(np.nanquantile(before_test, config.threshold_quantile))
    labels, scored = zip(*_unbroken(cube.labels, scores), strict=True)
    nothing = [np.zeros(len(one)) for one in scored]
    return Finding(
        file=cube.file,
        scorer=scorer,
        seed=trained.training.seed,
        length=cube.length,
        latent_size=trained.autoencoder.latent_size,
        threshold=threshold,
        detection=detect(labels, scored, threshold=threshold, max_window=config.max_window),
        chance_vus_pr=vus_pr(labels, nothing, max_window=config.max_window),
        n_steps=scores.size,
        n_unscored=int(np.isnan(scores).sum()),
    )


def _unbroken(
    labels: NDArray[np.bool_], scores: Floats
) -> Iterator[tuple[NDArray[np.bool_], Floats]]:
    """Yield labels and scores of each run of steps that have a score."""
    for truth, own in zip(labels, scores, strict=True):
        unknown = np.isnan(own)
        breaks = np.flatnonzero(np.diff(unknown)) + 1
        for first, steps in zip([0, *breaks], np.split(np.arange(len(own)), breaks), strict=True):
            if not unknown[first]:
                yield truth[steps], own[steps]
