"""A line that says how far a training is."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

from models.training_config import BatchReport, EpochReport

__all__ = ["ProgressBar"]

_BAR_WIDTH = 10


class ProgressBar:
    """Show a training on one line that is rewritten in place.

    Give its two methods to `train`. On a stream that is no terminal it writes a plain line an
    epoch and nothing between. Open it just before the training: time is counted from then.

    Parameters
    ----------
    epochs
        At most so many are trained.
    stream
        Where it is written; None means `sys.stderr`.
    clock
        Returns seconds; only differences count.

    Raises
    ------
    ValueError
        If `epochs` is under 1.

    Examples
    --------
    >>> report = EpochReport(
    ...     epoch=1, training_loss=0.5, validation_loss=0.625, learning_rate=0.01,
    ...     windows_per_second=8412.3, is_best=True,
    ... )
    >>> with ProgressBar(epochs=3, stream=sys.stdout, clock=iter([0.0, 40.0]).__next__) as bar:
    ...     bar.epoch(report)
    epoch 1 of at most 3: loss 0.5000, validation 0.6250 (best 0.6250), 8,412 windows/s, at most ...
    """

    def __init__(
        self,
        *,
        epochs: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if epochs < 1:
            raise ValueError(f"epochs is {epochs}; it must be at least 1")
        self._epochs = epochs
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._clock = clock
        self._started = clock()
        self._epochs_seen, self._seconds_an_epoch = 0, 0.0
        self._validation = ""
        self._best = ""
        self._shown = 0

    def epoch(self, report: EpochReport) -> None:
        """Show an epoch that has ended; for `train`'s `on_epoch`."""
        self._epochs_seen += 1
        self._seconds_an_epoch = (self._clock() - self._started) / self._epochs_seen
        if report.is_best:
            self._best = f" (best {report.validation_loss:.4f})"
        self._validation = f", validation {report.validation_loss:.4f}{self._best}"
        self._show(report, share_done=1.0)

    def batch(self, report: BatchReport) -> None:
        """Show how far an epoch is; for `train`'s `on_batch`."""
        if self._is_terminal:
            self._show(report, share_done=report.windows_done / report.n_windows)

    def close(self) -> None:
        """End the line, if one is open; what is shown next begins another."""
        if self._shown:
            self._write("\n")
        self._shown = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _show(self, report: EpochReport | BatchReport, *, share_done: float) -> None:
        epoch = f"epoch {report.epoch} of at most {self._epochs}"
        left = (self._epochs - report.epoch + 1 - share_done) * self._seconds_an_epoch
        text = (
            f"loss {report.training_loss:.4f}{self._validation}, "
            f"{report.windows_per_second:,.0f} windows/s"
        )
        if left > 0:
            text += f", at most {_duration(left)} left"
        if not self._is_terminal:
            self._write(f"{epoch}: {text}\n")
            return
        done = int(share_done * _BAR_WIDTH)
        # A character in the last column would make some terminals begin a new line.
        width = shutil.get_terminal_size().columns - 1
        line = f"{epoch} [{'#' * done:.<{_BAR_WIDTH}}] {text}"[:width]
        self._write(f"\r{line:<{min(self._shown, width)}}")
        self._shown = len(line)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
