"""Laws of the autoencoder: the folded decoder is the looped one, and windows stay apart."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.errors import ShapeError
from tests import naive

DESIGNS: dict[str, dict[str, Any]] = {
    "closed_loop": {},
    "closed_loop_forward": {"direction": "forward"},
    "closed_loop_of_the_embedding_alone": {"bottleneck": "hidden"},
    "teacher_forcing": {"decoder": "teacher_forcing"},
    "scheduled_mix": {"decoder": "scheduled_mix"},
    "repeat_vector": {"decoder": "repeat_vector"},
    "repeat_vector_wide": {"decoder": "repeat_vector_wide"},
    "embedding_before_the_lstm": {"embedding_size": 2},
    "widening_and_narrowing": {"hidden_sizes": (8, 4)},
    "widening_and_narrowing_repeat_vector": {"decoder": "repeat_vector", "hidden_sizes": (8, 4)},
    "wide_stack_as_wide_as_the_data": {"decoder": "repeat_vector_wide", "hidden_sizes": (8, 4)},
    "three_layers": {"hidden_sizes": (4, 4, 4), "dropout": 0.3},
    "three_layers_forward": {"hidden_sizes": (5, 4, 3), "direction": "forward"},
    "bidirectional": {"bidirectional": True},
    "bidirectional_stack": {"bidirectional": True, "hidden_sizes": (3, 5), "dropout": 0.2},
    "latent_apart_from_hidden": {"hidden_sizes": (7,), "latent_size": 3},
}
NAMES = sorted(DESIGNS)
CONDITIONAL = [name for name in NAMES if "repeat" not in name and "wide_stack" not in name]
sizes = st.integers(1, 5)


def build(
    name: str = "closed_loop", n_features: int = 3, latent_size: int = 4, seed: int = 0
) -> LSTMAutoencoder:
    config = AutoencoderConfig(**{"latent_size": latent_size} | DESIGNS[name])
    return LSTMAutoencoder(n_features, config, seed=seed)


def exact(name: str, n_features: int = 3, latent_size: int = 4, seed: int = 0) -> LSTMAutoencoder:
    """A model in float64 whose biases, too, are not 0."""
    model = build(name, n_features, latent_size, seed).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(windows(*parameter.shape, seed=seed, dtype=torch.float64), alpha=0.1)
    return model


def windows(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gradients(model: LSTMAutoencoder, output: torch.Tensor) -> tuple[torch.Tensor, ...]:
    weights = windows(*output.shape, seed=7, dtype=output.dtype).to(output.device)
    return torch.autograd.grad(
        (output * weights).sum(),
        list(model.parameters()),
        allow_unused=True,  # a single step never reads the cell
        materialize_grads=True,
    )


def assert_same(model: LSTMAutoencoder, got: torch.Tensor, expected: torch.Tensor) -> None:
    """Outputs and the gradients of all parameters are equal."""
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)
    for one, other in zip(gradients(model, got), gradients(model, expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def naive_output(
    model: LSTMAutoencoder,
    x: torch.Tensor,
    truth: torch.Tensor | None = None,
    truth_share: float = 0.0,
) -> torch.Tensor:
    code = naive.encode(model, x)
    if model.config.is_conditional:
        return naive.conditional(model, code, x.shape[1], truth, truth_share)
    return naive.repeat_vector(model, code, x.shape[1])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    batch=sizes,
    length=st.integers(1, 9),
    n_features=sizes,
    latent=sizes,
    seed=sizes,
)
def test_every_design_is_the_one_that_is_looped_a_cell_at_a_time(
    name: str, batch: int, length: int, n_features: int, latent: int, seed: int
) -> None:
    model = exact(name, n_features, latent, seed)
    x = windows(batch, length, n_features, seed=seed, dtype=torch.float64)
    assert_same(model, model(x), naive_output(model, x))


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(CONDITIONAL),
    length=st.integers(1, 9),
    latent=sizes,
    truth_share=st.sampled_from([0.25, 0.5, 0.9, 1.0]),
)
def test_the_mix_with_the_truth_is_the_one_that_is_looped_a_cell_at_a_time(
    name: str, length: int, latent: int, truth_share: float
) -> None:
    model = exact(name, 3, latent)
    x = windows(2, length, 3, dtype=torch.float64)
    truth = windows(2, length, 3, seed=3, dtype=torch.float64)
    got = model(x, truth=truth, truth_share=truth_share)
    assert_same(model, got, naive_output(model, x, truth, truth_share))


@pytest.mark.parametrize("name", ["closed_loop", "closed_loop_forward", "three_layers"])
def test_a_teacher_that_repeats_the_pupil_changes_nothing(name: str) -> None:
    model, x = exact(name), windows(2, 6, 3, dtype=torch.float64)
    alone = model(x)
    for share in (0.3, 1.0):
        torch.testing.assert_close(model(x, truth=alone.detach(), truth_share=share), alone)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_the_outputs_and_gradients_of_the_loop(name: str) -> None:
    model, x = exact(name).cuda(), windows(3, 9, 3, dtype=torch.float64).cuda()
    assert_same(model.train(model.config.dropout == 0), model(x), naive_output(model, x))


def test_a_closed_loop_of_one_lstm_is_one_fused_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    lstm = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda *args, **kw: calls.append(1) or lstm(*args, **kw))
    for name in ("closed_loop", "closed_loop_forward", "latent_apart_from_hidden"):
        calls.clear()
        model, x = build(name), windows(2, 6, 3)
        model.decode(model.encoder(x), 6)
        assert len(calls) == 1


def test_the_folded_weights_lie_in_one_buffer_in_the_order_of_cudnn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.Tensor] = []
    lstm = torch.lstm
    monkeypatch.setattr(
        torch, "lstm", lambda *args, **kw: seen.extend(args[2]) or lstm(*args, **kw)
    )
    build().decode(torch.zeros(2, 8), 5)
    end = seen[0].data_ptr()
    for weight in seen:
        assert weight.is_contiguous()
        assert weight.data_ptr() == end
        end += weight.nbytes
    assert seen[0].untyped_storage().nbytes() == sum(weight.nbytes for weight in seen)


def test_the_closed_loop_begins_with_the_last_step() -> None:
    model, x = build(), windows(2, 6, 3)
    torch.testing.assert_close(model(x)[:, -1], model.decoder.output(model.encode(x)))
    forward = build("closed_loop_forward")
    torch.testing.assert_close(forward(x)[:, 0], forward.decoder.output(forward.encode(x)))


def test_the_output_of_a_shorter_decoding_is_the_end_of_a_longer_one() -> None:
    model, x = build(), windows(2, 6, 3)
    code = model.encoder(x)
    torch.testing.assert_close(model.decode(code, 4), model.decode(code, 6)[:, 2:])


@pytest.mark.parametrize("name", NAMES)
def test_a_window_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    model, x = build(name).eval(), windows(4, 6, 3)
    other = x.clone()
    other[2:] = windows(2, 6, 3, seed=9)
    torch.testing.assert_close(model(other)[:2], model(x)[:2])
    torch.testing.assert_close(model(x[1:2]), model(x)[1:2])
    gradient = torch.autograd.grad(model(x.requires_grad_())[0].sum(), x)[0]
    assert gradient[0].abs().sum() > 0
    assert not gradient[1:].any()


@pytest.mark.parametrize("name", NAMES)
def test_the_embedding_comes_from_the_final_hidden_states(name: str) -> None:
    model, x = build(name).eval(), windows(4, 6, 3)
    hidden = model.encoder.embedding(x)
    for lstm in model.encoder.layers:
        hidden, (h, _) = lstm(hidden)
    expected = model.encoder.latent(torch.cat(list(h), dim=1))
    assert expected.shape == (4, model.config.latent_size)
    assert torch.equal(model.encode(x), expected)
    assert torch.equal(model.encode(x), model.encode(x))
    assert torch.equal(model.encode_and_reconstruct(x)[0], expected)


def test_both_directions_reach_the_embedding_from_their_own_end() -> None:
    model, x = build("bidirectional"), windows(1, 6, 3)
    for step in (0, -1):  # output[-1] of the backward LSTM would have seen the last step alone
        changed = x.clone()
        changed[:, step] += 1
        assert not torch.allclose(model.encode(changed), model.encode(x))


@pytest.mark.parametrize("name", NAMES)
def test_windows_of_one_step_work(name: str) -> None:
    assert build(name)(windows(2, 1, 3)).shape == (2, 1, 3)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str) -> None:
    model = build(name)
    x = windows(4, 6, 3)
    for parameter, gradient in zip(
        dict(model.named_parameters()), gradients(model, model(x)), strict=True
    ):
        assert gradient.abs().sum() > 0, parameter


@pytest.mark.parametrize("name", NAMES)
def test_what_crosses_is_all_that_the_decoder_knows(name: str) -> None:
    model, x = build(name).eval(), windows(3, 6, 3)
    code = model.encoder(x)
    assert code.shape == (3, model.config.bottleneck_size)
    torch.testing.assert_close(model.decode(code, 6), model(x))
    if not model.config.passes_state:
        torch.testing.assert_close(model.decode(model.encode(x), 6), model(x))


def test_dropout_acts_between_lstms_in_training_alone() -> None:
    model, x = build("three_layers"), windows(2, 6, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(model(x), model(x))
        assert not torch.equal(model(x, truth=x, truth_share=1), model(x, truth=x, truth_share=1))
    assert torch.equal(model.eval()(x), model(x))


def test_the_widest_decoder_puts_out_no_more_than_one() -> None:
    output = build("repeat_vector_wide")(100 * windows(5, 6, 3))
    assert output.abs().max() < 1


def test_logits_become_shares_a_group_and_other_values_stay() -> None:
    model = LSTMAutoencoder(6, AutoencoderConfig(latent_size=4), share_groups=(3, 2))
    x = windows(2, 5, 6)
    output, reconstruction = model(x), model.encode_and_reconstruct(x)[1]
    torch.testing.assert_close(reconstruction[..., :3], output[..., :3].softmax(-1))
    torch.testing.assert_close(reconstruction[..., 3:5], output[..., 3:5].softmax(-1))
    assert torch.equal(reconstruction[..., 5:], output[..., 5:])
    assert torch.equal(build()(x[..., :3]), build().encode_and_reconstruct(x[..., :3])[1])


@pytest.mark.parametrize("groups", [(), (0, 3), (4, 3)])
def test_groups_that_do_not_fit_are_refused(groups: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="share_groups"):
        LSTMAutoencoder(6, share_groups=groups)


def test_a_truth_that_does_not_fit_is_refused() -> None:
    x = windows(2, 5, 3)
    with pytest.raises(ShapeError, match="truth has shape None"):
        build()(x, truth_share=0.5)
    with pytest.raises(ShapeError, match=r"truth has shape \(2, 4, 3\)"):
        build()(x, truth=x[:, 1:], truth_share=0.5)
    with pytest.raises(ValueError, match="not fed with any step"):
        build("repeat_vector")(x, truth=x, truth_share=0.5)


def test_a_code_of_another_width_is_refused() -> None:
    model = build()
    with pytest.raises(ShapeError, match=r"\(B, 8\), embedding and cell state"):
        model.decode(model.encode(windows(2, 5, 3)), 5)


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    x = windows(2, 6, 3)
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))


def test_the_initial_weights_are_orthogonal_with_a_forget_bias_of_one_in_the_encoder() -> None:
    model = build(latent_size=6)
    lstm, cell = model.encoder.layers[0], model.decoder.cells[0]
    for gate in (*lstm.weight_hh_l0.chunk(4), *cell.weight_hh.chunk(4)):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6))
    assert (lstm.bias_ih_l0 + lstm.bias_hh_l0).tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    assert not (cell.bias_ih + cell.bias_hh).any()
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


def test_a_model_of_no_features_is_refused() -> None:
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
