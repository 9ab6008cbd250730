"""The diagnosis: its errors are those of the oracles, its verdict what they say."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch

from models import diagnosis as module
from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.causes import Evidence
from models.diagnosis import Diagnosis, diagnose
from models.errors import ShapeError
from models.training import train
from models.training_config import TrainingConfig
from tests import naive

LENGTH = 5
SEASON = 7


class Exact(LSTMAutoencoder):
    """Reconstructs perfectly."""

    def encode_and_reconstruct(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, reconstruction = super().encode_and_reconstruct(x)
        return embedding, x + 0 * reconstruction


class Constant(LSTMAutoencoder):
    """Puts out the mean, whatever comes in."""

    def encode_and_reconstruct(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, reconstruction = super().encode_and_reconstruct(x)
        return embedding, 0 * reconstruction


class WindowMean(LSTMAutoencoder):
    """Puts out each window's own mean at every step."""

    def encode_and_reconstruct(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, reconstruction = super().encode_and_reconstruct(x)
        return embedding, x.mean(dim=1, keepdim=True) + 0 * reconstruction


class NotFinite(LSTMAutoencoder):
    """Puts out no numbers."""

    def encode_and_reconstruct(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, reconstruction = super().encode_and_reconstruct(x)
        return embedding, reconstruction / 0


def panel(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return three entities, the last of which has no held-out windows."""
    generator = np.random.default_rng(seed)
    observed = generator.random((3, 60)) > 0.2
    phase = generator.uniform(0, 6, size=(3, 1, 3))
    waves = np.sin(np.arange(60)[None, :, None] / 3 + phase) * np.sqrt(2)
    cube = (waves + 0.1 * generator.normal(size=(3, 60, 3))).astype(np.float32)
    cube *= observed[..., None]
    training = [(entity, start) for entity in range(3) for start in range(36)]
    held_out = [(entity, start) for entity in range(2) for start in range(42, 56)]
    return cube, observed, np.array(training), np.array(held_out)


def model(kind: type[LSTMAutoencoder] = LSTMAutoencoder) -> LSTMAutoencoder:
    return kind(3, AutoencoderConfig(latent_size=4))


def judge(judged: LSTMAutoencoder, **options: Any) -> Diagnosis:
    return diagnose(judged, *panel(), length=LENGTH, **options)


EVIDENCE = Evidence(
    input_spread=1.0,
    greatest_input_spread=1.0,
    input_level=0.0,
    narrowest_is_latent=True,
    components=(8, 16),
    components_left=(0.3, 0.1),
    biases_moved=1.0,
    validation_fall=0.0,
    training_share=0.9,
    probe_gain=None,
    out_of_bounds=None,
)


def made(**changes: Any) -> Diagnosis:
    values: dict[str, Any] = {
        "model_error": 0.2,
        "mean_error": 1.0,
        "last_value_error": 0.7,
        "season": 52,
        "seasonal_last_value_error": 0.6,
        "pca_components": 8,
        "pca_error": 0.5,
        "bottleneck_pca_components": 16,
        "bottleneck_pca_error": 0.1,
        "linear_autoencoder_error": 0.4,
        "feature_errors": {"model": (0.2, 0.0), "mean": (0.8, 0.0), "pca": (0.1, 0.0)},
        "entity_errors": {"model": (0.2, None), "mean": (0.8, None), "pca": (0.1, None)},
        "variance_ratio": 0.8,
        "temporal_variance_ratio": 0.7,
        "training_ratio": 0.2,
        "evidence": None,
        "n_training_windows": 90,
        "n_held_out_windows": 9,
    }
    return Diagnosis(**values | changes)


def seasonal(cube: np.ndarray, observed: np.ndarray, row: np.ndarray, mean: np.ndarray) -> Any:
    entity, start = row
    steps = [step - SEASON for step in range(start, start + LENGTH)]
    return np.stack([cube[entity, s] if s >= 0 and observed[entity, s] else mean for s in steps])


def expected_predictions(
    judged: LSTMAutoencoder, cube: np.ndarray, target: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what each but the linear autoencoder predicts, a window at a time."""
    _, observed, training, held_out = panel()
    mean = naive.training_mean(target, observed, training, LENGTH)
    filled = np.where(observed[..., None], target, mean)
    x, true, mask, full = (
        np.stack([naive.window(array, row, LENGTH) for row in held_out])
        for array in (cube, target, observed, filled)
    )
    fitted = np.stack([naive.window(filled, row, LENGTH).ravel() for row in training])
    with torch.no_grad():
        output = judged.encode_and_reconstruct(torch.tensor(x))[1].numpy()
    components = {
        name: naive.principal_components(fitted, full.reshape(len(x), -1), k).reshape(x.shape)
        for name, k in (("pca", 4), ("bottleneck_pca", 8))
    }
    return components | {
        "model": output,
        "mean": np.broadcast_to(mean, x.shape),
        "last_value": np.stack(
            [naive.last_value(true[i], mask[i], mean) for i in range(len(true))]
        ),
        "seasonal_last_value": np.stack(
            [seasonal(target, observed, row, mean) for row in held_out]
        ),
    }


@pytest.mark.parametrize("has_target", [False, True])
def test_each_error_is_that_of_its_oracle(*, has_target: bool) -> None:
    cube, observed, _, held_out = panel()
    target = (cube * 2 + 1 * observed[..., None]).astype(np.float32) if has_target else cube
    judged = model()
    true, mask = (
        np.stack([naive.window(array, row, LENGTH) for row in held_out])
        for array in (target, observed)
    )
    got = judge(judged, season=SEASON, target=target if has_target else None)
    predictions = expected_predictions(judged, cube, target)
    for name, prediction in predictions.items():
        wanted = naive.masked_loss(prediction, true, mask)
        assert getattr(got, f"{name}_error") == pytest.approx(wanted, rel=1e-4), name
        features = [naive.masked_loss(prediction[..., [f]], true[..., [f]], mask) for f in range(3)]
        assert got.feature_errors[name] == pytest.approx(tuple(features), rel=1e-4)
        rows = [held_out[:, 0] == entity for entity in range(2)]
        entities = [naive.masked_loss(prediction[r], true[r], mask[r]) for r in rows]
        assert got.entity_errors[name] == (*map(pytest.approx, entities), None)
    assert set(got.feature_errors) - set(predictions) == {"linear_autoencoder"}
    assert (got.n_training_windows, got.n_held_out_windows) == (108, 28)
    assert (got.pca_components, got.bottleneck_pca_components, got.season) == (4, 8, SEASON)


def test_variance_is_measured_over_all_and_within_windows() -> None:
    cube, observed, _, held_out = panel()
    judged, got = model(), judge(model())
    x, mask = (
        np.stack([naive.window(array, row, LENGTH) for row in held_out])
        for array in (cube, observed)
    )
    output = expected_predictions(judged, cube, cube)["model"]
    ratio = output[mask].var(axis=0).sum() / x[mask].var(axis=0).sum()
    assert got.variance_ratio == pytest.approx(ratio, rel=1e-4)
    within = [
        sum(((a[m] - a[m].mean(axis=0)) ** 2).sum() for a, m in zip(array, mask, strict=True))
        for array in (output, x)
    ]
    assert got.temporal_variance_ratio == pytest.approx(within[0] / within[1], rel=1e-4)


def test_the_training_ratio_is_that_of_the_training_windows() -> None:
    cube, observed, training, _ = panel()
    judged = model()
    x, mask = (
        np.stack([naive.window(array, row, LENGTH) for row in training])
        for array in (cube, observed)
    )
    mean = np.broadcast_to(naive.training_mean(cube, observed, training, LENGTH), x.shape)
    with torch.no_grad():
        output = judged(torch.tensor(x)).numpy()
    ratio = naive.masked_loss(output, x, mask) / naive.masked_loss(mean, x, mask)
    assert judge(judged).training_ratio == pytest.approx(ratio, rel=1e-4)


def test_skill_is_one_less_the_error_over_a_baseline_s() -> None:
    diagnosis = made()
    assert diagnosis.feature_skill == (0.75, None)
    assert diagnosis.entity_skill == (0.75, None)
    assert diagnosis.feature_skill_over("pca") == (-1.0, None)
    assert diagnosis.entity_skill_over("pca") == (-1.0, None)
    assert judge(model()).entity_skill[2] is None


@pytest.mark.parametrize("judged", [model(), model(Constant)])
def test_an_untrained_and_a_constant_model_have_collapsed(judged: LSTMAutoencoder) -> None:
    diagnosis = judge(judged)
    assert diagnosis.verdict == "collapsed"
    assert "learnt no more than the mean" in diagnosis.sentence


def test_a_constant_model_is_a_flat_line() -> None:
    diagnosis = judge(model(Constant))
    assert diagnosis.variance_ratio == diagnosis.temporal_variance_ratio == 0
    assert diagnosis.explained == pytest.approx(0, abs=0.05)
    assert "flat line: within windows it has 0.0% of the data's variance" in diagnosis.sentence


def test_a_model_that_knows_levels_only_is_a_flat_line_that_varies() -> None:
    diagnosis = judge(model(WindowMean))
    assert diagnosis.temporal_variance_ratio == pytest.approx(0, abs=1e-10)
    assert diagnosis.variance_ratio is not None
    assert diagnosis.variance_ratio > 0.1
    assert "flat line" in diagnosis.sentence


def test_a_model_that_reconstructs_perfectly_is_sound() -> None:
    diagnosis = judge(model(Exact))
    assert diagnosis.verdict == "sound"
    assert diagnosis.explained == 1
    assert diagnosis.variance_ratio == diagnosis.temporal_variance_ratio == 1
    assert diagnosis.evidence is None
    assert diagnosis.causes == ()
    assert "flat line" not in diagnosis.sentence


def test_a_trained_model_s_error_is_its_validation_loss() -> None:
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
    diagnosis = judge(trained.model)
    assert diagnosis.model_error == pytest.approx(trained.best_validation_loss, rel=1e-5)
    assert diagnosis.explained > 0.5
    assert diagnosis.verdict != "collapsed"


def test_a_multinomial_model_is_compared_by_its_shares() -> None:
    generator = np.random.default_rng(0)
    shares = generator.dirichlet([8.0, 1.0, 1.0], size=(3, 60)).astype(np.float32)
    shares[:, ::2] = shares[:, ::2, ::-1]
    cube = (shares - shares.mean(axis=(0, 1))) / shares.std(axis=(0, 1))
    _, _, training, held_out = panel()
    observed = np.ones((3, 60), bool)
    trained = train(
        cube,
        observed,
        training,
        held_out,
        length=LENGTH,
        target=shares,
        exposure=np.full((3, 60), 9),
        share_groups=(3,),
        autoencoder=AutoencoderConfig(latent_size=8),
        training=TrainingConfig(loss="multinomial", epochs=20, device="cpu"),
    )
    got = diagnose(trained.model, cube, observed, training, held_out, length=LENGTH, target=shares)
    x, true = (
        torch.tensor(np.stack([naive.window(array, row, LENGTH) for row in held_out]))
        for array in (cube, shares)
    )
    with torch.no_grad():
        output = trained.model(x).softmax(dim=-1)
    assert got.model_error == pytest.approx(float((output - true).square().mean()), rel=1e-4)
    assert got.mean_error == pytest.approx(float(true.var(dim=(0, 1)).mean()), rel=0.1)
    assert got.explained > 0.5


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "sound", r"the value 52 steps before, PCA .* 0.200 of the training mean's"),
        ({"model_error": 0.95}, "collapsed", "0.950 of the training mean's"),
        ({"model_error": 2.0}, "collapsed", "2.000"),
        ({"model_error": 0.8}, "beaten_by_last_value", r"the last value does better \(0.700\)"),
        (
            {"model_error": 0.65},
            "beaten_by_seasonal_last_value",
            r"the value 52 steps before does better \(0.600\)",
        ),
        ({"model_error": 0.55}, "beaten_by_pca", r"PCA with 8 components does better \(0.500\)"),
        (
            {"model_error": 0.45},
            "beaten_by_linear_autoencoder",
            r"a linear autoencoder of 8 numbers does better \(0.400\)",
        ),
        ({"mean_error": 0.0, "model_error": 0.0}, "undecided", "Nothing can be said"),
        (
            {"model_error": 0.65, "season": None, "seasonal_last_value_error": None},
            "beaten_by_pca",
            "PCA with 8 components",
        ),
        ({"season": None, "seasonal_last_value_error": None}, "sound", "the last value, PCA"),
    ],
)
def test_the_verdict_follows_from_the_errors(
    changes: dict[str, Any], verdict: str, words: str
) -> None:
    diagnosis = made(**changes)
    assert diagnosis.verdict == verdict
    assert re.search(words, diagnosis.sentence)


def test_the_sentence_ends_with_the_causes() -> None:
    found = made(model_error=0.55, evidence=EVIDENCE)
    assert [cause.name for cause in found.causes] == ["overfitted"]
    assert found.sentence.endswith(found.causes[0].sentence)
    for evidence, training_ratio in ((None, 0.2), (EVIDENCE, 0.5)):
        none = made(model_error=0.55, evidence=evidence, training_ratio=training_ratio)
        assert none.causes == ()
        assert "Nothing that was measured says why" in none.sentence


@pytest.mark.parametrize("model_error", [0.2, 0.55, 2.0])
@pytest.mark.parametrize(("ratio", "is_flat"), [(0.019, True), (0.02, False), (None, False)])
def test_a_flat_line_is_named_in_any_verdict(
    model_error: float, ratio: float | None, *, is_flat: bool
) -> None:
    diagnosis = made(model_error=model_error, temporal_variance_ratio=ratio)
    assert ("flat line" in diagnosis.sentence) == diagnosis.is_flat == is_flat


def test_the_table_is_relative_to_the_mean() -> None:
    assert made(mean_error=2.0).rows() == [
        ("autoencoder", 0.2, 0.1),
        ("training mean", 2.0, 1.0),
        ("last value", 0.7, 0.35),
        ("value 52 steps before", 0.6, 0.3),
        ("PCA (8)", 0.5, 0.25),
        ("PCA (16)", 0.1, 0.05),
        ("linear autoencoder (8)", 0.4, 0.2),
    ]
    without = made(
        season=None,
        seasonal_last_value_error=None,
        bottleneck_pca_components=None,
        bottleneck_pca_error=None,
    )
    assert [name for name, *_ in without.rows()] == [
        "autoencoder",
        "training mean",
        "last value",
        "PCA (8)",
        "linear autoencoder (8)",
    ]


def test_pca_of_the_bottleneck_is_shown_only_where_it_is_another() -> None:
    hidden = LSTMAutoencoder(3, AutoencoderConfig(latent_size=4, bottleneck="hidden"))
    assert judge(hidden).bottleneck_pca_components is None
    assert judge(LSTMAutoencoder(3, AutoencoderConfig(latent_size=9))).rows()[-2][0] == "PCA (15)"


@pytest.mark.parametrize(
    "diagnosis",
    [made(), made(mean_error=0.0), made(model_error=0.55, evidence=EVIDENCE), judge(model())],
)
def test_the_dict_is_json_and_holds_what_is_derived(diagnosis: Diagnosis) -> None:
    values = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert values["verdict"] == diagnosis.verdict
    assert values["explained"] == diagnosis.explained
    assert values["feature_skill"] == list(diagnosis.feature_skill)
    assert [cause["name"] for cause in values["causes"]] == [c.name for c in diagnosis.causes]
    stored = {name: value for name, value in values.items() if name not in Diagnosis.derived}
    if stored["evidence"] is not None:
        stored["evidence"] = Evidence(**stored["evidence"])
    assert Diagnosis(**stored) == diagnosis


def test_held_out_data_that_never_vary_leave_it_undecided() -> None:
    cube, observed = np.full((1, 30, 3), 0.1, np.float32), np.ones((1, 30), dtype=bool)
    rows = np.array([(0, start) for start in range(20)])
    diagnosis = diagnose(model(), cube, observed, rows[:9], rows[14:], length=LENGTH)
    assert diagnosis.verdict == "undecided"
    assert diagnosis.feature_skill == (None, None, None)
    assert diagnosis.variance_ratio is diagnosis.temporal_variance_ratio is None


@pytest.mark.parametrize("n_training", [1, 2, 5])
def test_few_windows_and_windows_of_one_step_will_do(n_training: int) -> None:
    cube, observed, training, held_out = panel()
    observed[:] = True
    for length in (1, LENGTH):
        got = diagnose(model(), cube, observed, training[:n_training], held_out[:1], length=length)
        assert got.pca_components <= n_training
        assert (got.temporal_variance_ratio is None) == (length == 1)


def test_windows_without_an_observed_step_change_nothing() -> None:
    cube, observed, training, held_out = panel()
    observed[2, :20] = False
    cube *= observed[..., None]
    is_empty = (training[:, 0] == 2) & (training[:, 1] + LENGTH <= 20)
    judged = model()
    with_empty, without = (
        diagnose(judged, cube, observed, rows, held_out, length=LENGTH).to_dict()
        for rows in (training, training[~is_empty])
    )
    del with_empty["n_training_windows"], without["n_training_windows"]
    assert with_empty == without


def test_the_diagnosis_does_not_depend_on_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = judge(model(), season=SEASON)
    monkeypatch.setattr(module, "_BATCH_SIZE", 3)
    parts = judge(model(), season=SEASON)
    assert parts.verdict == whole.verdict
    assert [cause.name for cause in parts.causes] == [cause.name for cause in whole.causes]
    for (name, error, _), (other, expected, _) in zip(parts.rows(), whole.rows(), strict=True):
        assert (name, error) == (other, pytest.approx(expected, rel=1e-5))
    assert parts.temporal_variance_ratio == pytest.approx(whole.temporal_variance_ratio, rel=1e-5)
    assert parts.training_ratio == pytest.approx(whole.training_ratio, rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_diagnosis_is_repeatable_and_leaves_everything_as_it_was(dropout: float) -> None:
    sizes = (4, 4) if dropout else None
    config = AutoencoderConfig(latent_size=4, hidden_sizes=sizes, dropout=dropout)
    judged = LSTMAutoencoder(3, config).train()
    state = {name: tensor.clone() for name, tensor in judged.state_dict().items()}
    before = torch.random.get_rng_state()
    with torch.no_grad():
        first = judge(judged, training=TrainingConfig(input_dropout=0.2))
        assert not torch.is_grad_enabled()
    assert first == judge(judged, training=TrainingConfig(input_dropout=0.2))
    assert first.evidence is not None
    assert first.evidence.probe_gain is not None
    assert torch.equal(torch.random.get_rng_state(), before)
    assert judged.training
    assert all(parameter.grad is None for parameter in judged.parameters())
    for name, tensor in judged.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_arrays_that_break_the_contract_are_refused() -> None:
    cube, observed, training, held_out = panel()
    with pytest.raises(ValueError, match="no held-out windows"):
        diagnose(model(), cube, observed, training, held_out[:0], length=LENGTH)
    with pytest.raises(ValueError, match="no training window covers an observed step"):
        diagnose(model(), cube, np.zeros_like(observed), training, held_out, length=LENGTH)
    with pytest.raises(ShapeError, match="2 features and the model 3"):
        diagnose(model(), cube[..., :2], observed, training, held_out, length=LENGTH)
    with pytest.raises(ShapeError, match="target is"):
        judge(model(), target=cube[:1])
    with pytest.raises(ValueError, match="season is 0"):
        judge(model(), season=0)


def test_a_model_that_puts_out_no_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        judge(model(NotFinite))
