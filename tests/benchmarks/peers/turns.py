"""A side's half of `bench_models.py`: an epoch each time it is told to, and the seconds it took."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every side is given, as JSON in its first argument."""

    series: str
    length: int
    hidden: int
    batch: int
    learning_rate: float
    threads: int
    epochs: int
    variant: str

    @classmethod
    def read(cls) -> "Work":
        """Read the argument and set torch's threads and seed."""
        work = cls(**json.loads(sys.argv[1]))
        torch.set_num_threads(work.threads)
        torch.manual_seed(0)
        return work

    def values(self) -> np.ndarray:
        """Return the series `(S, F)` float32."""
        return np.load(Path(self.series))

    def windows(self) -> torch.Tensor:
        """Return all windows `(N, T, F)` of the series, each a copy."""
        views = np.lib.stride_tricks.sliding_window_view(self.values(), self.length, axis=0)
        return torch.from_numpy(np.ascontiguousarray(views.swapaxes(1, 2)))


class Turns:
    """Lines to and from the process that measures."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # what a library prints is no figure
        self._began = 0.0

    def ready(self, model: torch.nn.Module) -> None:
        """Say what will be trained, and wait for the first turn."""
        parameters = sum(parameter.numel() for parameter in model.parameters())
        self._answer({"parameters": parameters, "torch": torch.__version__})

    def lap(self) -> None:
        """Report the seconds since the turn began, and wait for the next one."""
        self.report(perf_counter() - self._began)

    def report(self, seconds: float) -> None:
        """Report an epoch's seconds, and wait for the next turn."""
        self._answer({"seconds": seconds})

    def run(self, model: torch.nn.Module, epoch: Callable[[], object]) -> None:
        """Run an epoch each turn until there are no more."""
        self.ready(model)
        while True:
            epoch()
            self.lap()

    def _answer(self, answer: dict[str, float | int | str]) -> None:
        print(json.dumps(answer), file=self._answers)
        if not sys.stdin.readline():
            raise SystemExit
        self._began = perf_counter()
