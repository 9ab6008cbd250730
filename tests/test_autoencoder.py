"""Laws of the autoencoder: the folded decoder is the looped one, and windows stay apart."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.autoencoder import AutoencoderConfig, LSTMAutoencoder
from models.errors import ShapeError
from tests import naive

KINDS = ("closed_loop", "repeat_vector")
sizes = st.integers(1, 5)


def build(
    kind: str = "closed_loop", n_features: int = 3, latent_size: int = 4, seed: int = 0
) -> LSTMAutoencoder:
    config = AutoencoderConfig(decoder=kind, latent_size=latent_size)
    return LSTMAutoencoder(n_features, config, seed=seed)


def windows(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gradients(model: LSTMAutoencoder, output: torch.Tensor) -> tuple[torch.Tensor, ...]:
    weights = windows(*output.shape, seed=7, dtype=output.dtype)
    return torch.autograd.grad((output * weights).sum(), list(model.parameters()))


@settings(max_examples=25, deadline=None)
@given(batch=sizes, length=st.integers(1, 9), n_features=sizes, latent=sizes, seed=sizes)
def test_the_folded_closed_loop_is_the_looped_cell(
    batch: int, length: int, n_features: int, latent: int, seed: int
) -> None:
    model = build("closed_loop", n_features, latent, seed).double()
    with torch.no_grad():
        for parameter in model.parameters():  # biases too, which start at 0
            parameter.add_(windows(*parameter.shape, seed=seed, dtype=torch.float64), alpha=0.1)
    x = windows(batch, length, n_features, seed=seed, dtype=torch.float64)
    folded, looped = model(x), naive.closed_loop(model, x)
    torch.testing.assert_close(folded, looped, rtol=1e-10, atol=1e-12)
    looped_gradients = torch.autograd.grad(
        (looped * windows(*looped.shape, seed=7, dtype=looped.dtype)).sum(),
        list(model.parameters()),
        allow_unused=True,  # a single step never reads the cell
        materialize_grads=True,
    )
    folded_gradients = torch.autograd.grad(
        (folded * windows(*folded.shape, seed=7, dtype=folded.dtype)).sum(),
        list(model.parameters()),
        allow_unused=True,
        materialize_grads=True,
    )
    for got, expected in zip(folded_gradients, looped_gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)


def test_the_folded_weights_lie_in_one_buffer_in_the_order_of_cudnn() -> None:
    weights = build().decoder._folded_weights()
    end = weights[0].data_ptr()
    for weight in weights:
        assert weight.is_contiguous()
        assert weight.data_ptr() == end
        end += weight.nbytes
    assert weights[0].untyped_storage().nbytes() == sum(weight.nbytes for weight in weights)


@settings(max_examples=15, deadline=None)
@given(batch=sizes, length=st.integers(1, 9), n_features=sizes, latent=sizes)
def test_the_repeat_vector_decoder_is_the_keras_form(
    batch: int, length: int, n_features: int, latent: int
) -> None:
    model = build("repeat_vector", n_features, latent).double()
    x = windows(batch, length, n_features, dtype=torch.float64)
    output, expected = model(x), naive.repeat_vector(model, x)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-12)
    for got, wanted in zip(gradients(model, output), gradients(model, expected), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


def test_the_closed_loop_begins_with_the_last_step() -> None:
    model, x = build(), windows(2, 6, 3)
    torch.testing.assert_close(model(x)[:, -1], model.decoder.output(model.encode(x)))


def test_the_output_of_a_shorter_decoding_is_the_end_of_a_longer_one() -> None:
    model, x = build(), windows(2, 6, 3)
    state = model.encoder(x)[1]
    torch.testing.assert_close(model.decoder(state, 4), model.decoder(state, 6)[:, 2:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_does_not_depend_on_the_others_of_its_batch(kind: str) -> None:
    model, x = build(kind), windows(4, 6, 3)
    other = x.clone()
    other[2:] = windows(2, 6, 3, seed=9)
    torch.testing.assert_close(model(other)[:2], model(x)[:2])
    torch.testing.assert_close(model(x[1:2]), model(x)[1:2])
    gradient = torch.autograd.grad(model(x.requires_grad_())[0].sum(), x)[0]
    assert gradient[0].abs().sum() > 0
    assert not gradient[1:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_embedding_is_the_final_hidden_state(kind: str) -> None:
    model, x = build(kind), windows(4, 6, 3)
    _, (h, _) = model.encoder(x)
    assert torch.equal(model.encode(x), h[-1])
    assert torch.equal(model.encode(x), model.encode(x))
    assert torch.equal(model.encode_and_reconstruct(x)[0], h[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_and_windows_of_one_step_work(kind: str) -> None:
    model = LSTMAutoencoder(3, AutoencoderConfig(decoder=kind))
    assert model(windows(2, 1, 3)).shape == (2, 1, 3)
    assert LSTMAutoencoder(3)(windows(2, 5, 3)).shape == (2, 5, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind: str) -> None:
    model = build(kind)
    x = windows(4, 6, 3)
    for name, gradient in zip(
        dict(model.named_parameters()), gradients(model, model(x)), strict=True
    ):
        assert gradient.abs().sum() > 0, name


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    x = windows(2, 6, 3)
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))


def test_the_initial_weights_are_orthogonal_with_a_forget_bias_of_one() -> None:
    model = build(latent_size=6)
    for gate in model.encoder.weight_hh_l0.chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6))
    bias = model.encoder.bias_ih_l0 + model.encoder.bias_hh_l0
    assert bias.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    assert not model.decoder.output.bias.any()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 3), r"x\[None\]"),
        ((2, 5, 4), r"\(2, 5, 4\); expected \(B, T, 3\)"),
        ((0, 5, 3), "at least 1"),
        ((2, 0, 3), "at least 1"),
    ],
)
def test_windows_of_another_shape_are_refused(shape: tuple[int, ...], words: str) -> None:
    for call in (build(), build().encode):
        with pytest.raises(ShapeError, match=words):
            call(torch.zeros(shape))


def test_windows_of_another_dtype_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"x.to\(torch.float32\)"):
        build()(torch.zeros(2, 5, 3, dtype=torch.float64))


@pytest.mark.parametrize("options", [{"latent_size": 0}, {"decoder": "transformer"}])
def test_values_outside_their_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        AutoencoderConfig(**options)
    with pytest.raises(ValueError, match="n_features"):
        LSTMAutoencoder(0)


def test_importing_models_brings_no_other_layer() -> None:
    code = (
        "import sys, models; "
        "print([m for m in ('prefect', 'polars', 'pydantic', 'features', 'flows') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
