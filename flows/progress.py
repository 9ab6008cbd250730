"""Progress of long stages: a line in the log now and then, and an artifact in the UI."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from models import BatchReport, EpochReport, TrainingConfig

SECONDS_BETWEEN_REPORTS = 3.0


class Advance(Protocol):
    """Tells how many units more are done, and in words what was."""

    def __call__(self, units: int = 1, *, doing: str = "") -> None:
        """Report."""


@contextmanager
def progress(stage: str, total: int) -> Iterator[Advance]:
    """Report the progress of a stage of `total` units until the block ends."""
    logger = get_run_logger()
    artifact = create_progress_artifact(progress=0.0, description=stage)
    assert isinstance(artifact, UUID)
    started = reported = time.monotonic()
    done = 0

    def advance(units: int = 1, *, doing: str = "") -> None:
        nonlocal done, reported
        done += units
        now = time.monotonic()
        if now - reported < SECONDS_BETWEEN_REPORTS or done >= total:
            return
        reported = now
        left = (now - started) / max(done, 1) * (total - done)
        logger.info("%s: %d of %d, about %.0f s left%s", stage, done, total, left, _after(doing))
        update_progress_artifact(artifact, progress=100 * done / max(total, 1))

    yield advance
    update_progress_artifact(artifact, progress=100.0)
    logger.info("%s: done in %.1f s%s", stage, time.monotonic() - started, f" ({total})")


def _after(doing: str) -> str:
    return f" · {doing}" if doing else ""


@contextmanager
def training_progress(
    config: TrainingConfig,
) -> Iterator[tuple[Callable[[EpochReport], None], Callable[[BatchReport], None]]]:
    """Yield what is to be called with each epoch's and batch's report until the block ends."""
    logger = get_run_logger()
    artifact = create_progress_artifact(progress=0.0, description="Training")
    assert isinstance(artifact, UUID)
    started = reported = time.monotonic()
    first_epoch = 0

    def on_epoch(report: EpochReport) -> None:
        nonlocal first_epoch, reported
        first_epoch = first_epoch or report.epoch
        reported = time.monotonic()
        done = report.epoch - first_epoch + 1
        left = (reported - started) / done * (config.epochs - report.epoch)
        logger.info(
            "epoch %d of at most %d: loss %.4f, validation %.4f%s, %.0f windows a second, "
            "at most %.0f s left",
            report.epoch,
            config.epochs,
            report.training_loss,
            report.validation_loss,
            " (best)" if report.is_best else "",
            report.windows_per_second,
            left,
        )
        update_progress_artifact(artifact, progress=100 * report.epoch / config.epochs)

    def on_batch(report: BatchReport) -> None:
        nonlocal reported
        if time.monotonic() - reported < SECONDS_BETWEEN_REPORTS:
            return
        reported = time.monotonic()
        done = report.epoch - 1 + report.windows_done / report.n_windows
        update_progress_artifact(artifact, progress=100 * done / config.epochs)

    yield on_epoch, on_batch
    update_progress_artifact(artifact, progress=100.0)
