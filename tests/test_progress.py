"""Laws of the progress bar: one line on a terminal, a line an epoch elsewhere."""

import io
import re
from collections.abc import Iterable

import numpy as np
import pytest

from models.architecture import AutoencoderConfig
from models.progress import ProgressBar
from models.training import train
from models.training_config import BatchReport, EpochReport, TrainingConfig


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What was to be seen, one rewriting after the other."""
        return re.split(r"[\r\n]", self.getvalue())[1:]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def epoch(number: int, validation: float = 0.512, *, is_best: bool = False) -> EpochReport:
    return EpochReport(
        epoch=number,
        training_loss=0.43121,
        validation_loss=validation,
        learning_rate=0.01,
        windows_per_second=8412.4,
        is_best=is_best,
    )


def batch(number: int, done: int, rate: float = 1234567.0) -> BatchReport:
    return BatchReport(
        epoch=number,
        windows_done=done,
        n_windows=200,
        training_loss=0.25,
        windows_per_second=rate,
    )


def bar_at(
    seconds: Iterable[float], stream: io.StringIO | None = None, epochs: int = 150
) -> ProgressBar:
    """Return a bar whose clock shows these seconds, one after the other; the first is its start."""
    return ProgressBar(epochs=epochs, stream=stream or Terminal(), clock=iter(seconds).__next__)


def test_the_line_says_where_it_is_how_well_and_how_long() -> None:
    stream = Terminal()
    bar = bar_at([100, 101, 160], stream)
    bar.epoch(epoch(11, 0.5017, is_best=True))
    bar.epoch(epoch(12))
    bar.batch(batch(13, 100))
    assert stream.lines[1] == (
        "epoch 12 of at most 150 [##########] loss 0.4312, validation 0.5120 (best 0.5017), "
        "8,412 windows/s, at most 1:09:00 left"  # 138 epochs of 30 seconds
    )
    assert stream.lines[2].rstrip() == (
        "epoch 13 of at most 150 [#####.....] loss 0.2500, validation 0.5120 (best 0.5017), "
        "1,234,567 windows/s, at most 1:08:45 left"
    )


def test_before_the_first_epoch_has_ended_nothing_is_said_that_is_not_known() -> None:
    stream = Terminal()
    bar_at([0], stream).batch(batch(1, 30))
    assert stream.lines == ["epoch 1 of at most 150 [#.........] loss 0.2500, 1,234,567 windows/s"]


def test_a_training_that_goes_on_counts_the_epochs_that_it_saw() -> None:
    """The best loss was seen by another process, and its seconds are not this one's."""
    stream = Terminal()
    bar_at([0, 2], stream).epoch(epoch(140))
    assert "validation 0.5120, " in stream.lines[0]
    assert stream.lines[0].endswith("at most 0:20 left")


def test_after_the_last_epoch_no_time_is_left() -> None:
    stream = Terminal()
    bar_at([0, 5], stream, epochs=1).epoch(epoch(1, is_best=True))
    assert stream.lines[0].endswith("(best 0.5120), 8,412 windows/s")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0:00"), (61.2, "1:01"), (3599.6, "1:00:00"), (90061, "25:01:01")]
)
def test_time_left(seconds: float, words: str) -> None:
    stream = Terminal()
    bar_at([0, seconds], stream, epochs=2).epoch(epoch(1))
    assert stream.lines[0].endswith(f"at most {words} left")


def test_a_shorter_line_leaves_nothing_of_the_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    bar = bar_at([0], stream)
    bar.batch(batch(1, 20))
    bar.batch(batch(1, 30, rate=9.0))
    long, short = stream.lines
    assert short.endswith(" 9 windows/s        ")
    assert len(short) == len(long)
    bar.batch(batch(1, 40, rate=8.0))
    assert stream.lines[2] == short.rstrip().replace("9 w", "8 w").replace("#.", "##")
    monkeypatch.setenv("COLUMNS", "31")  # a window that was made narrower must not wrap
    bar.batch(batch(1, 60))
    assert len(stream.lines[3]) == 30


@pytest.mark.parametrize("columns", [1, 2, 10, 60, 80])
def test_the_line_is_cut_to_the_terminals_width(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    bar = bar_at([0, 1, 2], stream)
    bar.epoch(epoch(1))
    bar.batch(batch(2, 100))
    assert {len(line) for line in stream.lines} == {columns - 1}
    assert "epoch 1 of at most".startswith(stream.lines[0][:18])


def test_a_line_left_open_is_ended_once() -> None:
    stream = Terminal()
    with bar_at([0, 1, 2], stream) as bar:
        bar.close()
        assert stream.getvalue() == ""
        bar.epoch(epoch(1))
        assert "\n" not in stream.getvalue()
    bar.close()
    assert stream.getvalue().endswith("left\n")
    assert stream.getvalue().count("\n") == 1


def test_the_line_is_ended_where_the_training_fails() -> None:
    stream = Terminal()
    with pytest.raises(ArithmeticError), bar_at([0, 1], stream) as bar:
        bar.epoch(epoch(1))
        raise ArithmeticError
    assert stream.getvalue().endswith("\n")


def test_what_is_no_terminal_gets_a_plain_line_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    with bar_at([0, 1, 3], stream, epochs=3) as bar:
        bar.batch(batch(1, 100))
        assert stream.getvalue() == ""
        bar.epoch(epoch(1, is_best=True))
        bar.batch(batch(2, 100))
        bar.epoch(epoch(2, 0.6))
    assert stream.getvalue() == (
        "epoch 1 of at most 3: loss 0.4312, validation 0.5120 (best 0.5120), 8,412 windows/s, "
        "at most 0:02 left\n"
        "epoch 2 of at most 3: loss 0.4312, validation 0.6000 (best 0.5120), 8,412 windows/s, "
        "at most 0:02 left\n"
    )


def test_it_writes_to_the_standard_error_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ProgressBar(epochs=2).epoch(epoch(1))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("epoch 1 of at most 2: ")


def test_it_takes_at_least_one_epoch() -> None:
    with pytest.raises(ValueError, match="epochs is 0"):
        ProgressBar(epochs=0)


def test_train_drives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr("models.training.time.perf_counter", lambda: float(next(ticks)))
    cube = np.sin(np.arange(40, dtype=np.float32)).reshape(1, 40, 1)
    starts = np.array([[0, start] for start in range(30)])
    training = TrainingConfig(epochs=2, batch_size=10, device="cpu")
    stream = Terminal()
    with ProgressBar(epochs=training.epochs, stream=stream) as bar:
        trained = train(
            cube,
            np.ones((1, 40), bool),
            starts[:20],
            starts[20:],
            length=10,
            autoencoder=AutoencoderConfig(latent_size=3),
            training=training,
            on_epoch=bar.epoch,
            on_batch=bar.batch,
        )
    shares = [re.search(r"epoch (\d) of at most 2 \[(#*)", line) for line in stream.lines[:-1]]
    assert [(found[1], len(found[2])) for found in shares if found] == [
        ("1", 5),
        ("1", 10),
        ("1", 10),
        ("2", 5),
        ("2", 10),
        ("2", 10),
    ]
    assert f"(best {trained.best_validation_loss:.4f})" in stream.lines[-2]
