"""The diagnosis: its errors are those of the oracles, its verdict what they say."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from models.autoencoder import AutoencoderConfig, LSTMAutoencoder
from models.diagnosis import Diagnosis, diagnose
from models.errors import ShapeError
from models.training import TrainingConfig, train
from tests import naive

LENGTH = 5


class Exact(LSTMAutoencoder):
    """Reconstructs perfectly."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()


class Constant(LSTMAutoencoder):
    """Puts out the mean, whatever comes in."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


def panel(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    observed = generator.random((2, 60)) > 0.2
    phase = generator.uniform(0, 6, size=(2, 1, 3))
    waves = np.sin(np.arange(60)[None, :, None] / 3 + phase) * np.sqrt(2)
    cube = (waves + 0.1 * generator.normal(size=(2, 60, 3))).astype(np.float32)
    cube *= observed[..., None]
    rows = [
        np.array([(entity, start) for entity in range(2) for start in range(*span)])
        for span in ((0, 36), (42, 56))
    ]
    return cube, observed, rows[0], rows[1]


def model(kind: type[LSTMAutoencoder] = LSTMAutoencoder) -> LSTMAutoencoder:
    return kind(3, AutoencoderConfig(latent_size=4))


def judge(judged: LSTMAutoencoder) -> Diagnosis:
    return diagnose(judged, *panel(), length=LENGTH)


def made(**changes: float) -> Diagnosis:
    values: dict[str, Any] = {
        "model_error": 0.2,
        "mean_error": 1.0,
        "last_value_error": 0.5,
        "pca_error": 0.3,
        "pca_components": 8,
        "variance_ratio": 0.8,
        "n_training_windows": 90,
        "n_held_out_windows": 9,
    }
    return Diagnosis(**values | changes)


def test_each_error_is_that_of_its_oracle() -> None:
    cube, observed, training, held_out = panel()
    judged = model()
    x = np.stack([naive.window(cube, row, LENGTH) for row in held_out])
    mask = np.stack([naive.window(observed, row, LENGTH) for row in held_out])
    mean = naive.training_mean(cube, observed, training, LENGTH)
    fitted = np.stack([naive.window(cube, row, LENGTH).ravel() for row in training])
    with torch.no_grad():
        output = judged(torch.tensor(x)).numpy()
    expected = {
        "model_error": output,
        "mean_error": np.broadcast_to(mean, x.shape),
        "last_value_error": np.stack(
            [naive.last_value(x[i], mask[i], mean) for i in range(len(x))]
        ),
        "pca_error": naive.principal_components(fitted, x.reshape(len(x), -1), 4).reshape(x.shape),
    }
    diagnosis = judge(judged)
    for name, prediction in expected.items():
        wanted = naive.masked_loss(prediction, x, mask)
        assert getattr(diagnosis, name) == pytest.approx(wanted, rel=1e-4), name
    ratio = output[mask].var(axis=0).sum() / x[mask].var(axis=0).sum()
    assert diagnosis.variance_ratio == pytest.approx(ratio, rel=1e-4)
    assert (diagnosis.n_training_windows, diagnosis.n_held_out_windows) == (72, 28)
    assert diagnosis.pca_components == 4


@pytest.mark.parametrize("judged", [model(), model(Constant)])
def test_an_untrained_and_a_constant_model_have_collapsed(judged: LSTMAutoencoder) -> None:
    diagnosis = judge(judged)
    assert diagnosis.verdict == "collapsed"
    assert "learnt no more than the mean" in diagnosis.sentence


def test_a_constant_model_is_a_flat_line() -> None:
    diagnosis = judge(model(Constant))
    assert diagnosis.variance_ratio == 0
    assert diagnosis.explained == pytest.approx(0, abs=0.05)
    assert "flat line" in diagnosis.sentence


def test_a_model_that_reconstructs_perfectly_is_sound() -> None:
    diagnosis = judge(model(Exact))
    assert diagnosis.verdict == "sound"
    assert diagnosis.explained == 1
    assert diagnosis.variance_ratio == pytest.approx(1)


def test_a_trained_model_has_not_collapsed() -> None:
    cube, observed, training, held_out = panel()
    trained = train(
        cube,
        observed,
        training,
        held_out,
        length=LENGTH,
        autoencoder=AutoencoderConfig(latent_size=16),
        training=TrainingConfig(loss="mse", epochs=20, device="cpu"),
    )
    diagnosis = diagnose(trained.model, cube, observed, training, held_out, length=LENGTH)
    assert diagnosis.model_error == pytest.approx(trained.best_validation_loss, rel=1e-5)
    assert diagnosis.explained > 0.5
    assert diagnosis.verdict != "collapsed"


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "sound", "0.200 of the training mean's"),
        ({"model_error": 0.95}, "collapsed", "0.950 of the training mean's"),
        ({"model_error": 2.0}, "collapsed", "2.000"),
        ({"model_error": 0.6}, "beaten_by_last_value", r"Difference the data"),
        ({"model_error": 0.4}, "beaten_by_pca", r"PCA with 8 components does better \(0.300\)"),
        ({"mean_error": 0.0, "model_error": 0.0}, "undecided", "Nothing can be said"),
    ],
)
def test_the_verdict_follows_from_the_errors(
    changes: dict[str, float], verdict: str, words: str
) -> None:
    diagnosis = made(**changes)
    assert diagnosis.verdict == verdict
    assert re.search(words, diagnosis.sentence)


def test_the_table_is_relative_to_the_mean() -> None:
    assert made(mean_error=2.0).rows() == [
        ("autoencoder", 0.2, 0.1),
        ("training mean", 2.0, 1.0),
        ("last value", 0.5, 0.25),
        ("PCA (8)", 0.3, 0.15),
    ]


def test_the_dict_is_json_and_holds_what_is_derived() -> None:
    for diagnosis in (made(), made(mean_error=0.0)):
        values = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
        assert values["verdict"] == diagnosis.verdict
        assert values["explained"] == diagnosis.explained


def test_held_out_data_that_never_vary_leave_it_undecided() -> None:
    cube, observed = np.full((1, 30, 3), 0.1, np.float32), np.ones((1, 30), dtype=bool)
    rows = np.array([(0, start) for start in range(20)])
    diagnosis = diagnose(model(), cube, observed, rows[:9], rows[14:], length=LENGTH)
    assert diagnosis.verdict == "undecided"


def test_the_diagnosis_is_repeatable_and_leaves_the_model_as_it_was() -> None:
    judged = model().train()
    assert judge(judged) == judge(judged)
    assert judged.training


def test_arrays_that_break_the_contract_are_refused() -> None:
    cube, observed, training, held_out = panel()
    with pytest.raises(ValueError, match="no held-out windows"):
        diagnose(model(), cube, observed, training, held_out[:0], length=LENGTH)
    with pytest.raises(ValueError, match="no training window covers an observed step"):
        diagnose(model(), cube, np.zeros_like(observed), training, held_out, length=LENGTH)
    with pytest.raises(ShapeError, match="2 features and the model 3"):
        diagnose(model(), cube[..., :2], observed, training, held_out, length=LENGTH)
