"""Training with early stopping that returns the best model it saw."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.contract import (
    validate_cube,
    validate_exposure,
    validate_shares,
    validate_target,
    validate_windows_with_data,
)
from models.epochs import EpochRunner
from models.processes import join_processes
from models.resumption import TrainingState, fingerprint
from models.training_config import BatchReport, EpochReport, TrainedModel, TrainingConfig
from models.windowing import CubeOnHost, SlabbedCube

__all__ = ["train"]


def train(
    cube: NDArray[np.float32],
    observed: NDArray[np.bool_],
    training_windows: NDArray[np.int64],
    validation_windows: NDArray[np.int64],
    *,
    length: int,
    target: NDArray[np.float32] | None = None,
    exposure: NDArray[Any] | None = None,
    share_groups: Sequence[int] | None = None,
    autoencoder: AutoencoderConfig | None = None,
    training: TrainingConfig | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_batch: Callable[[BatchReport], None] | None = None,
    resume: Path | str | None = None,
) -> TrainedModel:
    """Train an LSTM autoencoder and return it as it was at its best epoch.

    The windows are shuffled anew each epoch, all of them used. On the CPU the same seed gives
    the same losses, bit for bit, for a given number of threads. Under `torchrun` the processes
    share each batch, and all return the same model; with dropout between LSTMs they draw other
    values than one process would.

    Parameters
    ----------
    cube
        `(E, S, F)` float32, finite; standardised, or the model learns little but the level.
    observed
        `(E, S)` bool; False steps count in no loss.
    training_windows, validation_windows
        `(N, 2)` int64: rows (entity, start). Disjoint in time for an honest early stop.
    length
        T, the steps of a window.
    target
        `(E, S, F)` float32, what is to be reconstructed, if that is not the cube: with the loss
        `"multinomial"` the plain proportions, of which the cube may hold a standardised form.
    exposure
        `(E, S)`: events behind each step, where `exposure_power` is not 0.
    share_groups
        With the loss `"multinomial"`: sizes of consecutive groups of features that are shares of
        one whole each. None means one group of all.
    autoencoder, training
        Configurations; None means the defaults.
    on_epoch
        Called with each `EpochReport` as soon as it is known, in the first process only.
    on_batch
        Called with a `BatchReport` about twice a second, likewise; see `ProgressBar`.
    resume
        A file that is replaced after each epoch. If it is there, training goes on after its last
        epoch and ends with the weights of a training that was not interrupted: on the CPU bit for
        bit. Processes must see the same file. It is left behind; delete it when the model is
        saved.

    Returns
    -------
    TrainedModel

    Raises
    ------
    ShapeError
        If an array's shape or dtype is wrong.
    ValueError
        If the cube is not finite, a window lies outside it, either set of windows is empty or
        covers no observed step, the exposure is needed and missing, or targets of a multinomial
        loss are no shares.
    CheckpointError
        If `resume` is a file of another training.
    NonFiniteLossError
        If a loss becomes infinite or not a number.

    Examples
    --------
    >>> cube = np.sin(np.arange(60, dtype=np.float32)).reshape(1, 60, 1)
    >>> observed = np.ones((1, 60), dtype=bool)
    >>> starts = np.array([[0, start] for start in range(50)])
    >>> trained = train(
    ...     cube, observed, starts[:30], starts[40:], length=10,
    ...     autoencoder=AutoencoderConfig(latent_size=8), training=TrainingConfig(epochs=2),
    ... )
    >>> [report.epoch for report in trained.history]
    [1, 2]
    """
    autoencoder, training = autoencoder or AutoencoderConfig(), training or TrainingConfig()
    validate_cube(cube, observed)
    weight = _weights(observed, exposure, training)
    counted = observed if weight is None else observed & (weight > 0)
    for name, windows in (("training", training_windows), ("validation", validation_windows)):
        validate_windows_with_data(windows, counted, length=length, name=name)
    groups = _share_groups(cube, observed, target, share_groups, autoencoder, training)
    host = CubeOnHost(values=cube, observed=observed, length=length, target=target, weight=weight)
    state = None
    if resume is not None:
        arrays = (cube, observed, target, weight, training_windows, validation_windows)
        key = fingerprint(arrays, autoencoder, training, length=length, groups=groups)
        state = TrainingState(Path(resume), key)
    model = LSTMAutoencoder(cube.shape[2], autoencoder, share_groups=groups, seed=training.seed)
    gpus = range(torch.cuda.device_count())
    # Dropout between LSTMs draws from torch's global generators, which are to be left alone.
    with torch.random.fork_rng(devices=gpus):
        together = join_processes(training.device)
        slabs = SlabbedCube(host, device=together.device, slab_bytes=training.slab_bytes)
        runner = EpochRunner(model, slabs, training_windows, validation_windows, training, together)
        _run(runner, state, on_epoch, on_batch)
    model.load_state_dict(runner.best.state)
    return TrainedModel(
        model=model.cpu().eval(),
        n_features=cube.shape[2],
        length=length,
        autoencoder=autoencoder,
        training=training,
        history=tuple(runner.history),
        best_epoch=runner.best.epoch,
    )


def _run(
    runner: EpochRunner,
    state: TrainingState | None,
    on_epoch: Callable[[EpochReport], None] | None,
    on_batch: Callable[[BatchReport], None] | None,
) -> None:
    """Run epochs until the end, from where an earlier run was stopped."""
    stored = None if state is None else state.read()
    if stored is not None:
        runner.load_state_dict(stored)
    is_first = runner.together.is_first
    while not runner.is_done:
        report = runner.run_epoch(_seldom(on_batch) if is_first and on_batch else None)
        if state is not None and is_first:
            state.write(runner.state_dict())
        if on_epoch is not None and is_first:
            on_epoch(report)


def _seldom(on_batch: Callable[[BatchReport], None]) -> Callable[[Callable[[], BatchReport]], None]:
    """Make reports only twice a second: reading a loss makes the host wait for a GPU."""
    last = time.perf_counter()

    def call(report: Callable[[], BatchReport]) -> None:
        nonlocal last
        if time.perf_counter() - last >= 0.5:
            on_batch(report())
            last = time.perf_counter()

    return call


def _weights(
    observed: NDArray[np.bool_], exposure: NDArray[Any] | None, training: TrainingConfig
) -> NDArray[np.float32] | None:
    """Return the weight of each step, of mean 1 over the observed ones, or None for 1."""
    power = training.power_of_exposure
    if power == 0:
        return None
    if exposure is None:
        raise ValueError(
            f"steps are to weigh as the power {power:g} of their exposure, but no exposure is "
            "given; pass exposure=, or set exposure_power to 0"
        )
    validate_exposure(exposure, observed)
    weight = np.asarray(exposure, np.float64) ** power
    result: NDArray[np.float32] = (weight / weight[observed].mean()).astype(np.float32)
    return result


def _share_groups(
    cube: NDArray[np.float32],
    observed: NDArray[np.bool_],
    target: NDArray[np.float32] | None,
    groups: Sequence[int] | None,
    autoencoder: AutoencoderConfig,
    training: TrainingConfig,
) -> tuple[int, ...] | None:
    """Check the target and return the groups of shares that the model is to have."""
    if target is not None:
        validate_target(target, cube)
    if training.loss != "multinomial":
        if groups is not None:
            raise ValueError(
                f"share_groups is {tuple(groups)}, but the loss is {training.loss!r}; groups "
                "belong to the loss 'multinomial'"
            )
        return None
    if autoencoder.decoder in ("teacher_forcing", "scheduled_mix", "repeat_vector_wide"):
        raise ValueError(
            f"the loss 'multinomial' needs a decoder whose outputs are logits, and "
            f"{autoencoder.decoder!r} can't give them: use 'closed_loop' or 'repeat_vector'"
        )
    sizes = (cube.shape[2],) if groups is None else tuple(groups)
    validate_shares(cube if target is None else target, observed, sizes)
    return sizes
