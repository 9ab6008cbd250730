"""Runs of the experiments, by the published recipes and by this library.

The library runs as `train` does, at its default settings but for what is under study, on one
window: a step is an epoch. After each step the decoder's output is taken back to raw units.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from features.transforms import Standardiser, difference, undifference
from flows.experiment_grid import Data, Scaling, Setting
from models import AutoencoderConfig, LSTMAutoencoder, TrainingConfig
from models.epochs import EpochRunner
from models.processes import Processes
from models.published import RAMP, SEQUENCE, run_closed_loop, run_repeat_vector
from models.windowing import CubeOnHost, SlabbedCube

Floats = NDArray[np.float32]

REAL: Final[dict[Data, Floats]] = {"sequence": SEQUENCE, "ramp": RAMP}

MSE_GOAL: Final = 1e-4
"""Of the sequence: mean squared error in raw units."""

ERROR_GOAL: Final = 1e-3
"""Of the ramp: error of every value."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    setting
        What was run.
    levels
        `(N, T, F)` float32: the reconstruction in raw units at each step, changes added up.
    seconds
        How long it took.
    """

    setting: Setting
    levels: Floats
    seconds: float

    @cached_property
    def mse(self) -> NDArray[np.float64]:
        """`(N,)` of what the model rebuilds, in raw units: of changes where it is differenced."""
        errors = self._errors
        if self.setting.is_differenced:
            errors = np.diff(errors, axis=1, prepend=0)
        return _mean_square(errors)

    @cached_property
    def level_mse(self) -> NDArray[np.float64]:
        """`(N,)` in raw units, changes added up."""
        return _mean_square(self._errors)

    @cached_property
    def largest_error(self) -> NDArray[np.float64]:
        """`(N,)`: that of the worst value, changes added up."""
        largest: NDArray[np.float64] = np.abs(self._errors).max(axis=(1, 2))
        return largest

    @property
    def steps_to_goal(self) -> int | None:
        """Steps until the goal of the data is reached, as published; None if it never is."""
        if self.setting.data == "ramp":
            return _first(self.largest_error <= ERROR_GOAL)
        return _first(self.mse < MSE_GOAL)

    @property
    def level_steps_to_goal(self) -> int | None:
        """Steps until the levels reach it, which for changes is another thing than the changes."""
        if self.setting.data == "ramp":
            return self.steps_to_goal
        return _first(self.level_mse < MSE_GOAL)

    @property
    def ratio_to_mean(self) -> float:
        """The last error of the levels over that of each variable's mean."""
        return float(self.level_mse[-1]) / mean_mse(self.setting.data)

    @property
    def _errors(self) -> NDArray[np.float64]:
        return np.subtract(self.levels, REAL[self.setting.data], dtype=np.float64)


def mean_mse(data: Data) -> float:
    """Return the mean squared error of each variable's mean: that of a model that learnt no more.

    Examples
    --------
    >>> f"{mean_mse('sequence'):.2e}"
    '1.19e-03'
    """
    return float(REAL[data].astype(np.float64).var(axis=0).mean())


def run(setting: Setting) -> Outcome:
    """Run it, on one thread: the models are too small for more."""
    started = time.perf_counter()
    with _one_thread():
        levels = _run_published(setting) if setting.is_published else _run_library(setting)
    return Outcome(setting=setting, levels=levels, seconds=time.perf_counter() - started)


def _run_published(setting: Setting) -> Floats:
    real = REAL[setting.data]
    if setting.data == "sequence":
        done = run_closed_loop(
            real,
            hidden_size=setting.hidden,
            is_differenced=setting.is_differenced,
            seed=setting.seed,
            max_steps=setting.steps,
            tolerance=MSE_GOAL,
        )
        return done.outputs.cumsum(axis=1) if setting.is_differenced else done.outputs
    return run_repeat_vector(
        real,
        latent_size=setting.hidden,
        loss="l1" if setting.loss == "l1" else "mse",
        is_broadcast=setting.loss == "mse, broadcast",
        has_dense=setting.decoder == "repeat_vector",
        seed=setting.seed,
        max_steps=setting.steps,
    ).outputs


def _run_library(setting: Setting) -> Floats:
    real = REAL[setting.data][None]
    observed = np.ones(real.shape[:2], np.bool_)
    standardiser = _standardiser(real, observed, setting.scaling)
    cube = standardiser.transform(real, observed)
    if setting.is_differenced:
        cube = difference(cube, observed)
    outputs = _outputs_of_each_step(cube, observed, setting)
    if setting.is_differenced:
        outputs = undifference(outputs, np.ones(outputs.shape[:2], np.bool_))
    return standardiser.inverse(outputs)


def _outputs_of_each_step(cube: Floats, observed: NDArray[np.bool_], setting: Setting) -> Floats:
    """Return `(N, T, F)`, the output after each epoch of a training on one window."""
    autoencoder = AutoencoderConfig(latent_size=setting.hidden, decoder=setting.decoder)
    # With all the patience there is, no early stop comes before the goal.
    training = TrainingConfig(
        epochs=setting.steps, patience=setting.steps, seed=setting.seed, device="cpu"
    )
    model = LSTMAutoencoder(cube.shape[2], autoencoder, seed=setting.seed)
    host = CubeOnHost(values=cube, observed=observed, length=cube.shape[1])
    window, x = np.zeros((1, 2), np.int64), torch.from_numpy(cube)
    outputs = np.empty((setting.steps, *cube.shape[1:]), np.float32)
    gpus = range(torch.cuda.device_count())
    alone = Processes(rank=0, count=1, device=torch.device("cpu"))
    with torch.random.fork_rng(devices=gpus):
        slabs = SlabbedCube(host, device="cpu")
        runner = EpochRunner(model, slabs, window, window, training, alone)
        for output in outputs:
            runner.run_epoch()
            with torch.no_grad():
                output[:] = model(x)[0].numpy()
    return outputs


def _standardiser(real: Floats, observed: NDArray[np.bool_], scaling: Scaling) -> Standardiser:
    if scaling == "by variable":
        return Standardiser.fit(real, observed)
    shape, own_mean = (1, real.shape[2]), real.mean(axis=1)
    low, width = {
        "raw": (0.0, 1.0),
        "min-max": (real.min(axis=1), np.ptp(real, axis=1)),
        "one deviation": (own_mean, (real - own_mean).std()),
        "over all": (real.mean(), real.std()),
    }[scaling]
    mean, scale = (np.broadcast_to(np.float32(part), shape) for part in (low, width))
    return Standardiser(mean=mean, scale=scale)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _first(reached: NDArray[np.bool_]) -> int | None:
    return int(reached.argmax()) + 1 if reached.any() else None


def _mean_square(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.square(errors).mean(axis=(1, 2))
    return means


def choose(outcomes: Iterable[Outcome], **fields: object) -> list[Outcome]:
    """Return those whose setting has these values.

    Examples
    --------
    >>> choose([], study="goals", hidden=100)
    []
    """
    return [
        outcome
        for outcome in outcomes
        if all(getattr(outcome.setting, name) == value for name, value in fields.items())
    ]
