"""Laws of checkpoints: an exact round trip, and nothing half-written is read."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.checkpoint import load, save
from models.diagnosis import Diagnosis, diagnose
from models.errors import CheckpointError
from models.training import train
from models.training_config import TrainedModel, TrainingConfig

LENGTH = 5
CUBE = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)
OBSERVED = np.ones((2, 20), dtype=bool)
WINDOWS = np.array([(entity, start) for entity in range(2) for start in range(16)])


@pytest.fixture(scope="module", params=["closed_loop", "repeat_vector"])
def trained(request: pytest.FixtureRequest) -> TrainedModel:
    return train(
        CUBE,
        OBSERVED,
        WINDOWS[:16],
        WINDOWS[16:],
        length=LENGTH,
        autoencoder=AutoencoderConfig(decoder=request.param, latent_size=4),
        training=TrainingConfig(epochs=3, seed=5, device="cpu"),
    )


@pytest.fixture(scope="module")
def diagnosis(trained: TrainedModel) -> Diagnosis:
    return diagnose(
        trained.model, CUBE, OBSERVED, WINDOWS[:16], WINDOWS[16:], length=LENGTH, season=7
    )


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


def test_the_round_trip_is_exact(
    trained: TrainedModel, diagnosis: Diagnosis, tmp_path: Path
) -> None:
    extra = {"features": ["a", "b", "c"], "scale": 0.1}
    save(tmp_path / "new" / "folder", trained, diagnosis=diagnosis, extra=extra)
    loaded = load(tmp_path / "new" / "folder")
    for field in dataclasses.fields(TrainedModel):
        if field.name != "model":
            assert getattr(loaded.trained, field.name) == getattr(trained, field.name)
    state = trained.model.state_dict()
    for name, tensor in loaded.trained.model.state_dict().items():
        assert torch.equal(tensor, state[name])
    x = torch.tensor(CUBE[:, :LENGTH])
    assert torch.equal(loaded.trained.model(x), trained.model(x))
    assert not loaded.trained.model.training
    assert loaded.diagnosis == diagnosis
    assert loaded.diagnosis.sentence == diagnosis.sentence
    assert loaded.extra == extra
    assert loaded.torch_version == str(torch.__version__)


def test_a_diagnosis_comes_back_with_and_without_evidence(
    trained: TrainedModel, diagnosis: Diagnosis, tmp_path: Path
) -> None:
    assert diagnosis.evidence is not None
    assert None in diagnosis.entity_errors["model"]
    for saved in (diagnosis, dataclasses.replace(diagnosis, evidence=None, season=None)):
        save(tmp_path, trained, diagnosis=saved)
        assert load(tmp_path).diagnosis == saved


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("training_ratio"), r"diagnosis in .*lacks \['training_ratio'\]"),
        (lambda d: d["evidence"].update(mood=1), r"Evidence in .*\['mood'\]"),
    ],
)
def test_a_diagnosis_of_another_form_is_refused(
    trained: TrainedModel,
    diagnosis: Diagnosis,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    words: str,
) -> None:
    save(tmp_path, trained, diagnosis=diagnosis)
    edit(tmp_path, lambda description: change(description["diagnosis"]))
    with pytest.raises(CheckpointError, match=words):
        load(tmp_path)


def test_the_weights_hold_no_code_and_the_rest_is_json(
    trained: TrainedModel, tmp_path: Path
) -> None:
    save(tmp_path, trained)
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "model.json"}
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert state.keys() == trained.model.state_dict().keys()
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["training"]["seed"] == 5
    assert len(description["history"]) == 3
    assert load(tmp_path).diagnosis is None


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_save_is_never_taken_for_a_checkpoint(
    trained: TrainedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
    *,
    existing: bool,
) -> None:
    if existing:
        save(tmp_path, trained)
    calls = iter(range(1, 3))
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if next(calls) == call:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, trained)
    with pytest.raises(CheckpointError, match="interrupted"):
        load(tmp_path)
    monkeypatch.setattr(Path, "replace", replace)
    save(tmp_path, trained)
    assert load(tmp_path).trained.history == trained.history


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(colour="red"), r"unknown keys \['colour'\]"),
        (lambda d: d.pop("length"), r"lacks \['length'\]"),
        (lambda d: d.update(format_version=9), "format version 9; this version reads 2"),
        (lambda d: d.pop("format_version"), "format version None"),
        (lambda d: d["autoencoder"].update(layers=3), r"AutoencoderConfig .*\['layers'\]"),
        (lambda d: d["training"].pop("seed"), r"TrainingConfig .*lacks \['seed'\]"),
        (lambda d: d["training"].update(epochs=0), "TrainingConfig .*at least 1"),
        (lambda d: d["history"][0].update(mood=1), r"EpochReport .*\['mood'\]"),
        (lambda d: d["autoencoder"].update(latent_size=5), "does not fit its configuration"),
        (lambda d: d.update(diagnosis={"verdict": "sound"}), "diagnosis in .*lacks"),
    ],
)
def test_a_description_of_another_format_is_refused(
    trained: TrainedModel,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    words: str,
) -> None:
    save(tmp_path, trained)
    edit(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        load(tmp_path)


def test_what_is_missing_or_damaged_is_named(trained: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no model.json"):
        load(tmp_path / "nowhere")
    save(tmp_path, trained)
    weights = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(weights[:-1])
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load(tmp_path)
    (tmp_path / "model.pt").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model.pt"):
        load(tmp_path)
    (tmp_path / "model.json").write_text('{"format_version":')
    with pytest.raises(CheckpointError, match="not JSON"):
        load(tmp_path)


@pytest.mark.parametrize("value", [math.nan, object(), np.float32(1)])
def test_extra_that_json_cannot_hold_is_refused_and_nothing_is_lost(
    trained: TrainedModel, tmp_path: Path, value: object
) -> None:
    save(tmp_path, trained, extra={"note": "first"})
    with pytest.raises(ValueError, match="JSON"):
        save(tmp_path, trained, extra={"value": value})
    assert load(tmp_path).extra == {"note": "first"}


def test_loading_leaves_the_global_generator_alone(trained: TrainedModel, tmp_path: Path) -> None:
    save(tmp_path, trained)
    before = torch.random.get_rng_state()
    load(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "options",
    [
        {"decoder": "scheduled_mix", "direction": "forward", "bottleneck": "hidden"},
        {"hidden_sizes": (6, 4), "bidirectional": True, "embedding_size": 2, "dropout": 0.1},
        {"decoder": "repeat_vector_wide", "hidden_sizes": (5,)},
    ],
)
@pytest.mark.parametrize("groups", [None, (2, 1)])
def test_every_design_comes_back_as_it_was(
    options: dict[str, Any], groups: tuple[int, ...] | None, tmp_path: Path
) -> None:
    config = AutoencoderConfig(latent_size=4, **options)
    made = TrainedModel(
        model=LSTMAutoencoder(3, config, share_groups=groups, seed=9).eval(),
        n_features=3,
        length=LENGTH,
        autoencoder=config,
        training=TrainingConfig(gradient_clip=0.0, exposure_power=0.5),
        history=(),
        best_epoch=0,
    )
    save(tmp_path, made)
    loaded = load(tmp_path).trained
    assert (loaded.autoencoder, loaded.training) == (made.autoencoder, made.training)
    assert loaded.model.share_groups == groups
    x = torch.from_numpy(CUBE)
    assert torch.equal(loaded.model(x), made.model(x))
