"""Progress of long stages: a line in the log now and then, and an artifact in the UI."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

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
