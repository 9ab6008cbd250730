"""One epoch after the other: batches, steps of the optimiser, validation, and their state."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.autoencoder import LSTMAutoencoder
from models.device import autocast
from models.early_stopping import BestModel
from models.errors import NonFiniteLossError
from models.losses import finite_loss_and_weight
from models.optimisation import LearningRate, make_optimizer
from models.processes import Processes
from models.training_config import BatchReport, EpochReport, TrainingConfig
from models.windowing import Batch, SlabbedCube, WindowedCube

__all__ = ["EpochRunner"]

OnBatch = Callable[[Callable[[], BatchReport]], None]


class EpochRunner:
    """A model in training.

    Parameters
    ----------
    model
        Moved to the processes' device and trained in place.
    cube
        What the windows are gathered from.
    training_windows, validation_windows
        `(N, 2)` int64, validated.
    config
        How to train.
    together
        The processes that share each batch.

    Attributes
    ----------
    best
        The best weights so far.
    history
        A report an epoch.
    """

    def __init__(
        self,
        model: LSTMAutoencoder,
        cube: SlabbedCube,
        training_windows: NDArray[np.int64],
        validation_windows: NDArray[np.int64],
        config: TrainingConfig,
        together: Processes,
    ) -> None:
        self._model, self._cube, self._config = model.to(together.device), cube, config
        self._windows = {True: training_windows, False: validation_windows}
        self._rows = {key: cube.rows_by_slab(rows) for key, rows in self._windows.items()}
        self.together = together
        # A closed loop of a single step never runs its cell.
        all_used = cube.length > 1 or not model.config.is_conditional
        self._forward = together.wrap(model, all_used=all_used)
        self._optimizer = make_optimizer(model.parameters(), config)
        self._learning_rate = LearningRate(self._optimizer, config)
        self._order = torch.Generator().manual_seed(config.seed)
        self._noise = torch.Generator(together.device).manual_seed(config.seed)
        torch.manual_seed(config.seed)
        is_mixed = model.config.decoder == "scheduled_mix"
        self.best = BestModel(
            patience=config.patience,
            min_delta=config.min_delta,
            first_epoch=config.mix_epochs if is_mixed else 0,
        )
        self.history: list[EpochReport] = []

    @property
    def is_done(self) -> bool:
        """Whether the epochs or the patience have run out."""
        done = len(self.history)
        return done >= self._config.epochs or (done > 0 and self.best.exhausted(done))

    def run_epoch(self, on_batch: OnBatch | None = None) -> EpochReport:
        """Train on every window once, in a new order, validate, and return the report."""
        epoch, learning_rate = len(self.history) + 1, self._learning_rate.value
        started = time.perf_counter()
        training_loss = self._train(epoch, on_batch)
        seconds = time.perf_counter() - started
        validation_loss = self._validate()
        _require_finite(epoch, training_loss, validation_loss, self._config)
        report = EpochReport(
            epoch=epoch,
            training_loss=training_loss,
            validation_loss=validation_loss,
            learning_rate=learning_rate,
            windows_per_second=len(self._windows[True]) / seconds,
            is_best=self.best.update(epoch, validation_loss, self._model),
        )
        self.history.append(report)
        self._learning_rate.step(validation_loss)
        return report

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how training goes on."""
        is_gpu = self.together.device.type == "cuda"
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "learning_rate": self._learning_rate.state_dict(),
            "order": self._order.get_state(),
            "noise": self._noise.get_state(),
            "dropout": torch.get_rng_state(),
            "dropout_gpu": torch.cuda.get_rng_state(self.together.device) if is_gpu else None,
            "best": self.best.state_dict(),
            "history": [dataclasses.asdict(report) for report in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._learning_rate.load_state_dict(state["learning_rate"])
        self._order.set_state(state["order"])
        self._noise.set_state(state["noise"])
        torch.set_rng_state(state["dropout"])
        if state["dropout_gpu"] is not None:
            torch.cuda.set_rng_state(state["dropout_gpu"], self.together.device)
        self.best.load_state_dict(state["best"])
        self.history = [EpochReport(**report) for report in state["history"]]

    def _train(self, epoch: int, on_batch: OnBatch | None) -> float:
        self._model.train()
        truth_share = self._truth_share(epoch)
        mean = _RunningMean(self.together)
        started, done, total = time.perf_counter(), 0, len(self._windows[True])

        def report() -> BatchReport:
            rate = done / (time.perf_counter() - started)
            return BatchReport(
                epoch=epoch,
                windows_done=done,
                n_windows=total,
                training_loss=mean.own_value(),
                windows_per_second=rate,
            )

        for batch, size in self._batches(is_training=True):
            self._step(batch, size, truth_share, mean)
            done += size
            if on_batch is not None:
                on_batch(report)
        return mean.value()

    def _step(self, batch: Batch, size: int, truth_share: float, mean: "_RunningMean") -> None:
        """Take a step of the optimiser on a global batch of `size` windows."""
        given = self._corrupted(batch.x, size)
        share = {"truth": batch.x, "truth_share": truth_share} if truth_share else {}
        with autocast(self.together.device, self._config.precision):
            output = self._forward(given, **share)
        total, weight = self._loss(output, batch)
        everything = self.together.sum(weight)
        if self._config.reduction == "mean":
            loss = total / torch.where(everything > 0, everything, 1)
        else:
            loss = total
        self._optimizer.zero_grad()
        # Processes average their gradients, and the loss is a sum over them.
        torch.autograd.backward(loss * self.together.count)
        if self._config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._config.gradient_clip)
        self._optimizer.step()
        mean.add(total, weight)

    @torch.no_grad()
    def _validate(self) -> float:
        self._model.eval()
        mean = _RunningMean(self.together)
        for batch, _ in self._batches(is_training=False):
            mean.add(*self._loss(self._model(batch.x), batch))
        return mean.value()

    def _batches(self, *, is_training: bool) -> Iterator[tuple[Batch, int]]:
        """Yield this process's part of each global batch, and the batch's size."""
        windows, rows = self._windows[is_training], self._rows[is_training]
        shuffle = partial(torch.randperm, generator=self._order)
        slabs = shuffle(len(rows)).tolist() if is_training and len(rows) > 1 else range(len(rows))
        for slab in slabs:
            data, placed = self._cube.place(slab, windows[rows[slab]])
            if is_training:
                placed = placed[shuffle(len(placed)).to(placed.device)]
            for first in range(0, len(placed), self._config.batch_size):
                batch = placed[first : first + self._config.batch_size]
                yield _gather(data, batch, self.together), len(batch)

    def _loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        return finite_loss_and_weight(
            output.float(),
            batch.target,
            batch.observed,
            kind=self._config.loss,
            weight=batch.weight,
            share_groups=self._model.share_groups,
        )

    def _corrupted(self, x: Tensor, size: int) -> Tensor:
        """Return what the encoder sees of the windows `(B, T, F)` of a batch of `size`."""
        if dropped := self._config.input_dropout:
            # Values that are kept are scaled up for those that are dropped.
            kept = self._drawn(x, (size, *x.shape[1:])) >= dropped
            x = x * kept / (1 - dropped)
        if hidden := self._config.hidden_newest:
            is_newest = torch.arange(x.shape[1], device=x.device)[:, None] == x.shape[1] - 1
            x = x.masked_fill(is_newest & (self._drawn(x, (size, 1, 1)) < hidden), 0)
        return x

    def _drawn(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Draw numbers for a global batch and return those of this process's windows `x`."""
        drawn = torch.rand(shape, generator=self._noise, device=x.device)
        own = self.together.share(drawn)
        # A process without a window of its own holds a masked one.
        return own if len(own) else drawn[: len(x)]

    def _truth_share(self, epoch: int) -> float:
        decoder = self._model.config.decoder
        if decoder == "scheduled_mix":
            return max(0.0, 1 - (epoch - 1) / self._config.mix_epochs)
        return 1.0 if decoder == "teacher_forcing" else 0.0


class _RunningMean:
    """Mean loss, kept on the device: a read a batch would stall a GPU."""

    def __init__(self, together: Processes) -> None:
        self._together = together
        self._sums = torch.zeros(2, dtype=torch.float64, device=together.device)

    def add(self, total: Tensor, weight: Tensor) -> None:
        self._sums += torch.stack([total.detach(), weight])

    def own_value(self) -> float:
        """Return the mean over this process's part."""
        return float(self._sums[0] / self._sums[1])

    def value(self) -> float:
        total, weight = self._together.sum(self._sums).tolist()
        return float(total / weight) if weight else math.nan


def _gather(data: WindowedCube, batch: Tensor, together: Processes) -> Batch:
    """Gather this process's windows of a batch; a masked one where there are fewer than processes.

    Every process takes every step, or the others would wait for its gradients.
    """
    own = together.share(batch)
    if len(own):
        return data.gather(own)
    spare = data.gather(batch[:1])
    return dataclasses.replace(spare, observed=torch.zeros_like(spare.observed))


def _require_finite(
    epoch: int, training_loss: float, validation_loss: float, config: TrainingConfig
) -> None:
    if math.isfinite(training_loss) and math.isfinite(validation_loss):
        return
    raise NonFiniteLossError(
        f"epoch {epoch} ended with a training loss of {training_loss} and a validation loss of "
        f"{validation_loss}; lower learning_rate (now {config.learning_rate}) or gradient_clip "
        f"(now {config.gradient_clip}), and see that the cube is standardised"
    )
