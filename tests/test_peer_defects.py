"""Defects that other LSTM autoencoders have, and a law of ours against each of them."""

import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

import models
from models.architecture import AutoencoderConfig, DecoderKind
from models.autoencoder import LSTMAutoencoder
from models.errors import ShapeError
from models.estimator import WindowAutoencoder
from models.losses import reconstruction_loss
from models.scoring import Scores, score
from models.training import train
from models.training_config import TrainedModel, TrainingConfig
from models.windowing import Batch, WindowedCube

ROOT = Path(__file__).parents[1]
LENGTH, N_FEATURES, N_STEPS = 5, 3, 34
DECODERS = get_args(DecoderKind)
STACKED = {"hidden_sizes": (6, 4)}

every_decoder = pytest.mark.parametrize("decoder", DECODERS)


def panel() -> tuple[np.ndarray, np.ndarray]:
    """A cube `(2, 34, 3)` of waves and noise, all observed."""
    generator = np.random.default_rng(0)
    waves = np.sin(np.arange(N_STEPS)[None, :, None] / [1.5, 2.5, 4.0])
    cube = (waves + 0.3 * generator.normal(size=(2, N_STEPS, N_FEATURES))).astype(np.float32)
    return cube, np.ones((2, N_STEPS), bool)


def rows(first: int, last: int) -> np.ndarray:
    return np.array([(entity, start) for entity in range(2) for start in range(first, last)])


def build(**options: Any) -> LSTMAutoencoder:
    config = AutoencoderConfig(**({"latent_size": 4} | options))
    return LSTMAutoencoder(N_FEATURES, config, seed=1).eval()


def batch(size: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, LENGTH, N_FEATURES, generator=generator)


def fit(architecture: dict[str, Any] | None = None, **options: Any) -> TrainedModel:
    """Train on 30 windows and validate on 16."""
    cube, observed = panel()
    exposure = np.random.default_rng(1).integers(1, 50, size=observed.shape)
    return train(
        cube,
        observed,
        rows(0, 15),
        rows(20, 28),
        length=LENGTH,
        exposure=exposure,
        autoencoder=AutoencoderConfig(**({"latent_size": 4} | (architecture or {}))),
        training=TrainingConfig(**({"epochs": 2, "batch_size": 8, "device": "cpu"} | options)),
    )


def scored(model: LSTMAutoencoder, windows: np.ndarray, **options: Any) -> Scores:
    cube, observed = panel()
    return score(model, cube, observed, windows, length=LENGTH, device="cpu", **options)


def outcome(trained: TrainedModel) -> list[object]:
    """Return what an option may change: the losses and the weights."""
    losses = [(one.training_loss, one.validation_loss) for one in trained.history]
    weights = [tensor.tolist() for tensor in trained.model.state_dict().values()]
    return [losses, weights]


# Samples and steps are kept apart


@every_decoder
def test_item_i_does_not_depend_on_item_j(decoder: str) -> None:
    """A repeated embedding that is reshaped as (T, B) instead of (B, T) mixes the samples."""
    model, x = build(decoder=decoder), batch()
    changed = x.clone()
    changed[2] = 100.0
    others = [0, 1, 3, 4, 5]
    with torch.no_grad():
        torch.testing.assert_close(model(x)[others], model(changed)[others])
        assert not torch.allclose(model(x)[2], model(changed)[2])
        for item in range(len(x)):
            torch.testing.assert_close(model(x)[item], model(x[item : item + 1])[0])


@every_decoder
def test_the_gradient_of_item_i_is_that_of_item_i_alone(decoder: str) -> None:
    x = batch().requires_grad_()
    build(decoder=decoder)(x)[2].square().sum().backward()
    assert x.grad is not None
    assert x.grad[2].abs().sum() > 0
    assert x.grad[[0, 1, 3, 4, 5]].abs().sum() == 0


@every_decoder
def test_no_step_is_copied_from_the_input(decoder: str) -> None:
    """A first step that is handed over has an error of zero by construction."""
    errors = scored(build(decoder=decoder), rows(3, 4)).step_feature_error[:, 3 : 3 + LENGTH]
    assert (errors > 1e-6).all()


@every_decoder
def test_afterwards_no_true_step_is_looked_at(decoder: str) -> None:
    """What is fed with the truth in training must not be when it is judged by its errors."""
    model, x = build(decoder=decoder), batch()
    with torch.no_grad():
        embedding, reconstruction = model.encode_and_reconstruct(x)
        torch.testing.assert_close(reconstruction, model.decode(model.encoder(x), LENGTH))
        torch.testing.assert_close(embedding, model.encode(x))


def test_errors_of_opposite_sign_do_not_cancel() -> None:
    """Errors averaged over time before they are squared would."""
    cube = np.array([1.0, -1.0, 1.0, -1.0], np.float32).reshape(1, 4, 1)
    model = LSTMAutoencoder(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    got = score(model, cube, np.ones((1, 4), bool), np.array([[0, 0]]), length=4, device="cpu")
    assert got.window_error.tolist() == [1.0]


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ShapeError):
        reconstruction_loss(torch.zeros(5, 1, 1), torch.zeros(5, 1))


# Training


@every_decoder
def test_the_returned_weights_are_the_best_and_not_those_from_before_training(
    decoder: str,
) -> None:
    stopped = {"patience": 2, "min_delta": 0.0}  # by patience, so that the last is not the best
    trained = fit({"decoder": decoder}, epochs=99, learning_rate=0.3, mix_epochs=1, **stopped)
    best = min(report.validation_loss for report in trained.history)
    errors = scored(trained.model, rows(20, 28)).window_error
    assert errors.mean() == pytest.approx(best, rel=1e-5)
    assert trained.best_epoch < len(trained.history)
    before = LSTMAutoencoder(N_FEATURES, trained.autoencoder, seed=0)
    for weights, first in zip(trained.model.parameters(), before.parameters(), strict=True):
        assert not torch.equal(weights, first)


def test_training_leaves_the_model_in_evaluation_mode() -> None:
    trained = fit({**STACKED, "dropout": 0.5}, input_dropout=0.3, hidden_newest=0.5)
    assert not trained.model.training
    with torch.no_grad():
        assert torch.equal(trained.model(batch()), trained.model(batch()))


def test_scoring_a_model_in_training_mode_drops_nothing_and_leaves_it_there() -> None:
    model = build(**STACKED, dropout=0.5).train()
    one, other = scored(model, rows(0, 9)), scored(model, rows(0, 9))
    np.testing.assert_array_equal(one.window_error, other.window_error)
    np.testing.assert_array_equal(one.window_error, scored(model.eval(), rows(0, 9)).window_error)
    assert build().train().training


def batches_seen(monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[list[tuple[int, ...]]]:
    """Return the windows of each batch that a training gathered."""
    seen: list[list[tuple[int, ...]]] = []
    gather = WindowedCube.gather

    def record(self: WindowedCube, windows: torch.Tensor) -> Batch:
        seen.append([tuple(row) for row in windows.tolist()])
        return gather(self, windows)

    monkeypatch.setattr(WindowedCube, "gather", record)
    fit(**options)
    return seen


def test_each_epoch_has_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = batches_seen(monkeypatch, epochs=3, batch_size=100)[::2]  # then that of validation
    assert len(seen) == 3
    for number, one in enumerate(seen):
        assert one not in seen[:number]
        assert sorted(one) == sorted(seen[0])


def test_the_remainder_that_fills_no_batch_is_trained_and_validated_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = batches_seen(monkeypatch, epochs=1, batch_size=7)
    assert [len(one) for one in seen] == [7, 7, 7, 7, 2, 7, 7, 2]
    trained_on = [row for one in seen[:5] for row in one]
    assert sorted(trained_on) == [tuple(row) for row in rows(0, 15).tolist()]


def test_fewer_windows_than_a_batch_are_trained_on() -> None:
    plain, large = fit(batch_size=30), fit(batch_size=1000)
    assert outcome(plain) == outcome(large)


# Scoring


@every_decoder
def test_scoring_records_no_graph_and_leaves_no_gradient(decoder: str) -> None:
    model, modes = build(decoder=decoder), []
    model.encoder.register_forward_hook(lambda *_: modes.append(torch.is_grad_enabled()))
    got = scored(model, rows(0, 9), batch_size=8)
    assert modes == [False] * 3
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(isinstance(array, np.ndarray) for array in vars(got).values())


def test_the_last_windows_and_the_remainder_of_a_batch_are_scored() -> None:
    windows = rows(0, N_STEPS - LENGTH + 1)  # 60 windows, in batches of 7
    got = scored(build(), windows, batch_size=7)
    assert got.embeddings.shape == (60, 4)
    assert np.isfinite(got.embeddings).all()
    assert np.isfinite(got.window_error).all()
    assert (got.coverage >= 1).all()
    assert np.isfinite(got.step_feature_error).all()


def test_one_new_step_is_scored_with_the_steps_before_it() -> None:
    """Fewer new rows than a window are enough where the history is given."""
    cube, observed = panel()
    last = np.array([[1, N_STEPS - LENGTH]])
    got = scored(build(), last)
    assert np.isfinite(got.window_error).all()
    assert np.isfinite(got.step_feature_error[1, -1]).all()
    last_only = np.zeros_like(observed)
    last_only[:, -1] = True  # a history in which nothing was observed will do as well
    filled = cube * last_only[..., None]
    alone = score(build(), filled, last_only, last, length=LENGTH, device="cpu")
    assert np.isfinite(alone.window_error).all()


@every_decoder
def test_embeddings_are_the_same_from_call_to_call(decoder: str) -> None:
    """An initial state that is drawn at random in evaluation would change them."""
    model, x = build(decoder=decoder), batch()
    with torch.no_grad():
        first = model.encode(x), model(x)
        torch.manual_seed(99)
        again = model.encode(x), model(x)
    assert all(map(torch.equal, first, again))
    one, other = scored(model, rows(0, 9)), scored(model, rows(0, 9))
    for field in dataclasses.fields(Scores):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@every_decoder
def test_scores_do_not_depend_on_the_length_of_the_input(decoder: str) -> None:
    cube, observed = panel()
    model, windows, cut = build(decoder=decoder), rows(0, 9), 15
    whole = scored(model, windows)
    part = score(model, cube[:, :cut], observed[:, :cut], windows, length=LENGTH, device="cpu")
    np.testing.assert_allclose(whole.embeddings, part.embeddings, rtol=1e-6)
    np.testing.assert_allclose(whole.window_error, part.window_error, rtol=1e-6)
    np.testing.assert_allclose(
        whole.step_feature_error[:, :cut], part.step_feature_error, rtol=1e-6
    )


@every_decoder
def test_scores_do_not_depend_on_the_batch_size(decoder: str) -> None:
    model, windows = build(decoder=decoder), rows(0, 20)
    whole = scored(model, windows)
    for batch_size in (1, 7, 40):
        parts = scored(model, windows, batch_size=batch_size)
        for field in dataclasses.fields(Scores):
            np.testing.assert_allclose(
                getattr(parts, field.name), getattr(whole, field.name), rtol=1e-4, atol=1e-6
            )


def test_scores_do_not_depend_on_the_order_of_the_windows() -> None:
    windows = rows(0, 20)
    order = np.random.default_rng(0).permutation(len(windows))
    whole, shuffled = scored(build(), windows), scored(build(), windows[order])
    np.testing.assert_allclose(shuffled.window_error, whole.window_error[order], rtol=1e-5)
    np.testing.assert_allclose(shuffled.embeddings, whole.embeddings[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(shuffled.step_error, whole.step_error, rtol=1e-5)


# Construction and options


def test_default_construction_works() -> None:
    configs = [getattr(models, name) for name in models.__all__ if name.endswith("Config")]
    assert {AutoencoderConfig, TrainingConfig} <= set(configs)
    for config in configs:
        assert config() == config()
    assert LSTMAutoencoder(N_FEATURES).config == AutoencoderConfig()
    assert WindowAutoencoder().latent_size == AutoencoderConfig().latent_size


@every_decoder
def test_every_decoder_trains_and_scores_with_the_defaults_of_all_else(decoder: str) -> None:
    cube, observed = panel()
    trained = train(
        cube,
        observed,
        rows(0, 15),
        rows(20, 28),
        length=LENGTH,
        autoencoder=AutoencoderConfig(decoder=decoder),
        training=TrainingConfig(epochs=1),
    )
    got = score(trained.model, cube, observed, rows(0, 30), length=LENGTH)
    assert got.embeddings.shape == (60, 64)
    assert np.isfinite(got.window_error).all()


@every_decoder
@pytest.mark.parametrize("sizes", [(2, 1), (3, 2, 1), (1,), (1, 2)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_stack_of_widths_works(
    decoder: str, sizes: tuple[int, ...], bidirectional: bool
) -> None:
    for latent_size in (1, 3):
        options = {"hidden_sizes": sizes, "bidirectional": bidirectional}
        model = build(decoder=decoder, latent_size=latent_size, **options)
        with torch.no_grad():
            assert model.encode(batch()).shape == (6, latent_size)
            assert model(batch()).shape == (6, LENGTH, N_FEATURES)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("sizes", [(2, 1), (3, 2, 1), (4, 4)])
def test_the_embedding_is_made_of_the_last_layers_final_state(
    sizes: tuple[int, ...], bidirectional: bool
) -> None:
    model = build(hidden_sizes=sizes, bidirectional=bidirectional, latent_size=sizes[-1])
    states: list[torch.Tensor] = []
    last = model.encoder.layers[-1]
    last.register_forward_hook(lambda _module, _inputs, output: states.append(output[1][0]))
    with torch.no_grad():
        embedding = model.encode(batch())
        (final,) = states
        assert len(final) == (2 if bidirectional else 1)
        beside = torch.cat(list(final), dim=-1)
        torch.testing.assert_close(embedding, model.encoder.latent(beside))


ARCHITECTURE: dict[str, tuple[dict[str, Any], list[object]]] = {
    "decoder": ({}, [kind for kind in DECODERS if kind != "closed_loop"]),
    "latent_size": ({}, [5]),
    "hidden_sizes": ({}, [(6, 4), (7,)]),
    "bidirectional": ({}, [True]),
    "embedding_size": ({}, [2]),
    "bottleneck": ({}, ["hidden"]),
    "direction": ({}, ["forward"]),
    "dropout": (STACKED, [0.5]),
}
TRAINING: dict[str, tuple[dict[str, Any], list[object]]] = {
    "loss": ({}, ["huber", "l1"]),
    "reduction": ({}, ["sum"]),
    "exposure_power": ({}, [0.5, 1.0]),
    "epochs": ({}, [3]),
    "batch_size": ({}, [9]),
    "optimizer": ({}, ["nadam", "rmsprop", "sgd"]),
    "learning_rate": ({}, [0.01]),
    "schedule": ({"epochs": 12, "learning_rate": 0.3}, ["cosine", "constant"]),
    "weight_decay": ({}, [0.1]),
    "gradient_clip": ({"reduction": "sum"}, [0.01, 0.0]),
    "mix_epochs": ({"decoder": "scheduled_mix"}, [3]),
    "patience": ({"epochs": 12, "learning_rate": 0.3}, [1]),
    "min_delta": ({"epochs": 12, "patience": 2}, [0.9]),
    "input_dropout": ({}, [0.2]),
    "hidden_newest": ({}, [0.5]),
    "seed": ({}, [1]),
    "precision": ({}, ["bfloat16"]),
    "slab_bytes": ({}, [500]),
}


def test_every_option_is_tried() -> None:
    names = {field.name for field in dataclasses.fields(AutoencoderConfig)}
    assert set(ARCHITECTURE) == names
    names = {field.name for field in dataclasses.fields(TrainingConfig)}
    assert set(TRAINING) == names - {"device"}  # which is not to change anything


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, (_, values) in ARCHITECTURE.items() for value in values],
)
def test_no_option_of_the_architecture_does_nothing(name: str, value: object) -> None:
    beside, _ = ARCHITECTURE[name]
    assert outcome(fit({**beside, name: value})) != outcome(fit(beside))


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, (_, values) in TRAINING.items() for value in values],
)
def test_no_option_of_training_does_nothing(name: str, value: object) -> None:
    beside = dict(TRAINING[name][0])
    architecture = {"decoder": beside.pop("decoder", "closed_loop")}
    changed = fit(architecture, **(beside | {name: value}))
    assert outcome(changed) != outcome(fit(architecture, **beside))


@every_decoder
@pytest.mark.parametrize(
    "options", [{"dropout": 0.5}, {"input_dropout": 0.5}, {"hidden_newest": 0.5}], ids=str
)
def test_every_decoder_knows_each_kind_of_dropout(decoder: str, options: dict[str, float]) -> None:
    architecture: dict[str, Any] = {"decoder": decoder, **STACKED}
    plain = fit(architecture)
    if "dropout" in options:
        noisy = fit({**architecture, **options})
    else:
        noisy = fit(architecture, **options)
    assert outcome(noisy) != outcome(plain)


@every_decoder
def test_dropout_without_a_stack_is_refused(decoder: str) -> None:
    with pytest.raises(ValueError, match="there is only one"):
        AutoencoderConfig(decoder=decoder, dropout=0.1)


@pytest.mark.parametrize("decoder", ["repeat_vector", "repeat_vector_wide"])
def test_a_direction_without_a_conditional_decoder_is_refused(decoder: str) -> None:
    with pytest.raises(ValueError, match="not fed with any"):
        AutoencoderConfig(decoder=decoder, direction="forward")


@pytest.mark.parametrize("decoder", [kind for kind in DECODERS if not kind.startswith("repeat")])
def test_both_directions_of_a_conditional_decoder_differ(decoder: str) -> None:
    forward = fit({"decoder": decoder, "direction": "forward"})
    assert outcome(forward) != outcome(fit({"decoder": decoder}))


def test_every_weight_takes_part() -> None:
    """A weight that no loss reaches is an option that does nothing."""
    for options in (
        {"decoder": decoder, **stack} for decoder in DECODERS for stack in ({}, STACKED)
    ):
        model = build(**options).train()
        model(batch()).square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, (options, name)
            assert parameter.grad.abs().sum() > 0, (options, name)


def test_training_does_not_change_what_it_is_given() -> None:
    cube, observed = panel()
    before = copy.deepcopy((cube, observed))
    windows = rows(0, 15)
    train(
        cube,
        observed,
        windows,
        windows,
        length=LENGTH,
        training=TrainingConfig(epochs=1, input_dropout=0.5, hidden_newest=0.5, device="cpu"),
    )
    np.testing.assert_array_equal(cube, before[0])
    np.testing.assert_array_equal(observed, before[1])
    np.testing.assert_array_equal(windows, rows(0, 15))


def test_nothing_is_drawn_from_pythons_salted_hash() -> None:
    program = (
        "from tests.test_peer_defects import fit, outcome\n"
        "options = {'hidden_sizes': (6, 4), 'dropout': 0.3}\n"
        "print(outcome(fit(options, input_dropout=0.2, hidden_newest=0.2)))\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": salt},
            stdout=subprocess.PIPE,
            text=True,
        )
        for salt in ("0", "1")
    ]
    one, other = (process.communicate()[0] for process in running)
    assert one == other
    assert one.startswith("[[(")
