"""Two processes under torchrun train as one with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.architecture import AutoencoderConfig
from models.processes import join_processes
from models.training import train
from models.training_config import TrainedModel, TrainingConfig

ROOT = Path(__file__).parents[1]

CASES: dict[str, dict[str, Any]] = {
    "closed_loop": {},
    "a_last_batch_of_one": {"training": {"batch_size": 59}},
    "masked_and_weighted": {"training": {"exposure_power": 0.5}, "masked": 0.4},
    "sums": {"training": {"reduction": "sum"}},
    "slabs": {"training": {"slab_bytes": 1}},
    "scheduled_mix": {"autoencoder": {"decoder": "scheduled_mix"}},
    "windows_of_one_step": {"length": 1},
    "hidden_newest": {"training": {"hidden_newest": 0.5, "batch_size": 59}},
    "hidden_newest_alone": {"training": {"hidden_newest": 0.5, "input_dropout": 0.0}},
}


def fit(case: dict[str, Any], resume: Path | None = None, epochs: int = 5) -> TrainedModel:
    generator = np.random.default_rng(0)
    observed = generator.random((3, 40)) >= case.get("masked", 0.0)
    cube = generator.normal(size=(3, 40, 5)).astype(np.float32) * observed[..., None]
    windows = np.array([(entity, start) for entity in range(3) for start in range(32)])
    early = windows[:, 1] < 20
    options = {"batch_size": 16, "input_dropout": 0.2, "device": "cpu"}
    return train(
        cube,
        observed,
        windows[early],
        windows[~early],
        length=case.get("length", 8),
        exposure=generator.integers(1, 90, size=(3, 40)),
        autoencoder=AutoencoderConfig(**{"latent_size": 4} | case.get("autoencoder", {})),
        training=TrainingConfig(epochs=epochs, **options | case.get("training", {})),
        resume=resume,
    )


def traces(trained: TrainedModel) -> list[tuple[float, float]]:
    return [(report.training_loss, report.validation_loss) for report in trained.history]


def main(folder: str) -> None:
    """What each of the processes runs: every case, and one that is resumed."""
    rank = os.environ["RANK"]
    for name, case in CASES.items():
        trained = fit(case)
        Path(folder, f"{name}-{rank}.json").write_text(json.dumps(traces(trained)))
        torch.save(trained.model.state_dict(), Path(folder, f"{name}-{rank}.pt"))
    state = Path(folder, "training.pt")
    fit(CASES["hidden_newest"], resume=state, epochs=2)
    trained = fit(CASES["hidden_newest"], resume=state)
    Path(folder, f"resumed-{rank}.json").write_text(json.dumps(traces(trained)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have left their traces and weights."""
    folder = tmp_path_factory.mktemp("processes")
    program = f"from tests.test_processes import main; main({str(folder)!r})"
    (folder / "program.py").write_text(program)
    options = ["--standalone", "--nproc-per-node=2"]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [sys.executable, "-m", "torch.distributed.run", *options, str(folder / "program.py")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as started:
        try:
            _, errors = started.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            started.terminate()  # killed, it would leave its processes behind
            _, errors = started.communicate()
    assert started.returncode == 0, errors[-3000:]
    return folder


@pytest.mark.parametrize("name", [*CASES, "resumed"])
def test_two_processes_give_the_loss_trace_of_one(folder: Path, name: str) -> None:
    expected = traces(fit(CASES["hidden_newest" if name == "resumed" else name]))
    for rank in (0, 1):
        got = json.loads((folder / f"{name}-{rank}.json").read_text())
        np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_both_processes_return_the_same_weights(folder: Path, name: str) -> None:
    one, other = (torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_without_torchrun_a_process_is_alone() -> None:
    alone = join_processes("cpu")
    assert (alone.rank, alone.count, alone.is_first) == (0, 1, True)
    assert not torch.distributed.is_initialized()
