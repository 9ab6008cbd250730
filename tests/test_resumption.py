"""A training that is killed goes on as if it had not been, bit for bit."""

import io
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.architecture import AutoencoderConfig
from models.errors import CheckpointError
from models.training import train
from models.training_config import EpochReport, TrainedModel, TrainingConfig

STACK = AutoencoderConfig(hidden_sizes=(6, 4), latent_size=4, dropout=0.3)
PLAIN = AutoencoderConfig(latent_size=4)
MIXED = AutoencoderConfig(decoder="scheduled_mix", latent_size=4)


class KilledError(Exception):
    """Stands for whatever ends a process."""


def fit(
    resume: Path | None = None,
    *,
    autoencoder: AutoencoderConfig = PLAIN,
    stop_after: int | None = None,
    seed: int = 0,
    **options: Any,
) -> TrainedModel:
    generator = np.random.default_rng(seed)
    cube = generator.normal(size=(3, 40, 5)).astype(np.float32)
    windows = np.array([(entity, start) for entity in range(3) for start in range(32)])
    early = windows[:, 1] < 20

    def stop(report: EpochReport) -> None:
        if report.epoch == stop_after:
            raise KilledError

    config = {"epochs": 8, "batch_size": 16, "input_dropout": 0.2, "device": "cpu"} | options
    return train(
        cube,
        np.ones((3, 40), dtype=bool),
        windows[early],
        windows[~early],
        length=8,
        autoencoder=autoencoder,
        training=TrainingConfig(**config),
        on_epoch=stop,
        resume=resume,
    )


def content(state: Path) -> dict[str, Any]:
    """What a state holds, behind the digest of 32 bytes that it begins with."""
    payload = io.BytesIO(state.read_bytes()[32:])
    stored: dict[str, Any] = torch.load(payload, weights_only=True)["content"]
    return stored


def assert_same(one: TrainedModel, other: TrainedModel) -> None:
    assert one.best_epoch == other.best_epoch
    for a, b in zip(one.history, other.history, strict=True):
        assert (a.training_loss, a.validation_loss) == (b.training_loss, b.validation_loss)
        assert (a.learning_rate, a.is_best) == (b.learning_rate, b.is_best)
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name


@pytest.mark.parametrize("autoencoder", [PLAIN, STACK, MIXED], ids=["plain", "stack", "mixed"])
@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
@pytest.mark.parametrize(("stop_after", "hidden_newest"), [(1, 0.5), (5, 0.0), (5, 0.5)])
def test_a_stopped_training_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path,
    autoencoder: AutoencoderConfig,
    schedule: str,
    stop_after: int,
    hidden_newest: float,
) -> None:
    options: dict[str, Any] = {"autoencoder": autoencoder, "schedule": schedule, "mix_epochs": 3}
    options["hidden_newest"] = hidden_newest
    undisturbed = fit(**options)
    state = tmp_path / "deep" / "training.pt"
    with pytest.raises(KilledError):
        fit(state, stop_after=stop_after, **options)
    torch.rand(3)  # whatever else the process did
    assert_same(fit(state, **options), undisturbed)


@pytest.mark.parametrize("optimizer", ["nadam", "rmsprop", "sgd"])
def test_every_optimiser_goes_on(tmp_path: Path, optimizer: str) -> None:
    with pytest.raises(KilledError):
        fit(tmp_path / "training.pt", stop_after=3, optimizer=optimizer)
    assert_same(fit(tmp_path / "training.pt", optimizer=optimizer), fit(optimizer=optimizer))


def test_a_process_that_is_killed_goes_on_in_another(tmp_path: Path) -> None:
    state = tmp_path / "training.pt"
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from models.training import train
        from tests import test_resumption

        def slowly(*args, on_epoch, **options):
            def wait(report):
                on_epoch(report)
                print(report.epoch, flush=True)
                time.sleep(0.05)
            return train(*args, on_epoch=wait, **options)

        test_resumption.train = slowly
        test_resumption.fit(Path({str(state)!r}), epochs=40)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "3":
                process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(content(state)["history"]) < 40
    assert_same(fit(state, epochs=8), fit(epochs=8))


def test_a_training_that_ended_is_returned_and_may_go_on_for_more_epochs(tmp_path: Path) -> None:
    state = tmp_path / "training.pt"
    first = fit(state, epochs=4)
    again = fit(state, epochs=4)
    assert_same(first, again)
    assert first.history == again.history  # nothing was trained anew
    assert_same(fit(state, epochs=8), fit(epochs=8))


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"learning_rate": 0.1},
        {"autoencoder": STACK},
        {"schedule": "cosine"},
        {"hidden_newest": 0.5},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_state_of_another_training_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    fit(tmp_path / "training.pt", epochs=1)
    with pytest.raises(CheckpointError, match="delete it to begin anew"):
        fit(tmp_path / "training.pt", epochs=1, **other)


@pytest.mark.parametrize("damaged", [b"", b"rubbish", None], ids=["empty", "rubbish", "cut"])
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, damaged: bytes | None) -> None:
    state = tmp_path / "training.pt"
    fit(state, epochs=1)
    state.write_bytes(state.read_bytes()[:500] if damaged is None else damaged)
    with pytest.raises(CheckpointError, match="is not the whole state of a training"):
        fit(state, epochs=1)


def test_a_write_that_is_interrupted_leaves_the_former_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "training.pt"
    fit(state, epochs=2)
    before = state.read_bytes()

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        fit(state, epochs=3)
    assert state.read_bytes() == before


@pytest.mark.parametrize("option", ["input_dropout", "hidden_newest"])
def test_numbers_are_drawn_only_for_what_is_left_out(tmp_path: Path, option: str) -> None:
    options = {"input_dropout": 0.0, "hidden_newest": 0.0, "epochs": 1}
    fresh = torch.Generator().manual_seed(0).get_state()
    fit(tmp_path / "plain.pt", **options)
    fit(tmp_path / "noisy.pt", **options | {option: 0.1})
    assert torch.equal(content(tmp_path / "plain.pt")["noise"], fresh)
    assert not torch.equal(content(tmp_path / "noisy.pt")["noise"], fresh)


def test_the_state_holds_no_code(tmp_path: Path) -> None:
    fit(tmp_path / "training.pt", epochs=1)
    assert content(tmp_path / "training.pt")["history"]
