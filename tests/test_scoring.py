"""Laws of scoring: equal to the naive loop, whatever the batches and their neighbours."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.errors import ShapeError
from models.scoring import Scores, score
from tests import naive

LENGTH = 4


def model(decoder: str = "closed_loop", seed: int = 0) -> LSTMAutoencoder:
    return LSTMAutoencoder(2, AutoencoderConfig(decoder=decoder, latent_size=3), seed=seed)


def panel(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cube `(2, 9, 2)`, mask, and all windows but some; entity 1's last steps uncovered."""
    generator = np.random.default_rng(seed)
    observed = generator.random((2, 9)) > 0.3
    observed[0, :LENGTH] = False  # a window without an observed step
    cube = generator.normal(size=(2, 9, 2)).astype(np.float32) * observed[..., None]
    windows = np.array([(0, start) for start in range(6)] + [(1, start) for start in range(3)])
    return cube, observed, windows


def assert_equal(got: Scores, expected: Scores, rtol: float = 1e-6) -> None:
    for field in dataclasses.fields(Scores):
        np.testing.assert_allclose(
            getattr(got, field.name), getattr(expected, field.name), rtol=rtol, atol=1e-6
        )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99),
    batch_size=st.integers(1, 12),
    decoder=st.sampled_from(["closed_loop", "repeat_vector"]),
)
def test_scores_are_those_of_the_naive_loop(seed: int, batch_size: int, decoder: str) -> None:
    cube, observed, windows = panel(seed)
    windows = np.random.default_rng(seed).permutation(windows)
    scored = model(decoder, seed)
    got = score(scored, cube, observed, windows, length=LENGTH, batch_size=batch_size)
    for name, expected in naive.scores(scored, cube, observed, windows, LENGTH).items():
        np.testing.assert_allclose(getattr(got, name), expected, rtol=1e-4, atol=1e-6)


def test_scores_do_not_depend_on_the_batch_size() -> None:
    cube, observed, windows = panel()
    one = score(model(), cube, observed, windows, length=LENGTH, batch_size=1)
    for batch_size in (2, 5, 9, 512):
        assert_equal(
            score(model(), cube, observed, windows, length=LENGTH, batch_size=batch_size), one
        )


def test_scores_do_not_depend_on_the_slabs() -> None:
    cube, observed, windows = panel()
    whole = score(model(), cube, observed, windows, length=LENGTH)
    order = np.random.default_rng(0).permutation(len(windows))
    in_slabs = score(model(), cube, observed, windows[order], length=LENGTH, slab_bytes=1)
    assert_equal(
        dataclasses.replace(
            in_slabs,
            embeddings=in_slabs.embeddings[np.argsort(order)],
            window_error=in_slabs.window_error[np.argsort(order)],
        ),
        whole,
    )


def test_errors_are_those_against_the_target_where_there_is_one() -> None:
    cube, observed, windows = panel()
    plain = score(model(), cube, observed, windows, length=LENGTH)
    target = np.nan_to_num(plain.step_reconstruction).astype(np.float32)
    scored = score(model(), cube, observed, windows, length=LENGTH, target=target)
    assert np.array_equal(scored.embeddings, plain.embeddings)
    # A step that one window covers alone is rebuilt as itself.
    alone = observed & (scored.coverage == 1)
    assert alone.any()
    np.testing.assert_allclose(scored.step_error[alone], 0, atol=1e-12)


def test_a_multinomial_model_rebuilds_shares() -> None:
    cube, observed, windows = panel()
    shares = LSTMAutoencoder(2, AutoencoderConfig(latent_size=3), share_groups=(2,))
    scored = score(shares, cube, observed, windows, length=LENGTH)
    covered = scored.coverage > 0
    np.testing.assert_allclose(scored.step_reconstruction[covered].sum(-1), 1, rtol=1e-5)


def test_an_entity_does_not_depend_on_another() -> None:
    cube, observed, windows = panel()
    alone = score(model(), cube, observed, windows, length=LENGTH)
    cube[1] += 1.0
    beside = score(model(), cube, observed, windows, length=LENGTH)
    np.testing.assert_allclose(beside.embeddings[:6], alone.embeddings[:6], atol=1e-6)
    np.testing.assert_allclose(beside.step_error[0], alone.step_error[0], atol=1e-6)
    assert not np.allclose(beside.embeddings[6:], alone.embeddings[6:])


def test_a_step_is_scored_alike_whatever_follows_its_windows() -> None:
    cube, observed, windows = panel()
    long = score(model(), cube, observed, windows, length=LENGTH)
    short = score(model(), cube[:, :7], observed[:, :7], windows[windows[:, 1] < 4], length=LENGTH)
    np.testing.assert_allclose(short.step_error[:, :4], long.step_error[:, :4], atol=1e-6)


def test_scoring_is_repeatable_and_leaves_the_model_and_the_cube_as_they_were() -> None:
    cube, observed, windows = panel()
    scored, before = model().train(), cube.copy()
    one = score(scored, cube, observed, windows, length=LENGTH)
    assert_equal(score(scored, cube, observed, windows, length=LENGTH), one, rtol=0)
    assert scored.training
    assert all(parameter.requires_grad for parameter in scored.parameters())
    assert np.array_equal(cube, before)


def test_nothing_to_score_is_nan_and_the_first_step_is_no_exception() -> None:
    cube, observed, windows = panel()
    scores = score(model(), cube, observed, windows, length=LENGTH)
    assert np.isnan(scores.window_error).tolist() == [True] + [False] * 8
    scored = observed & (scores.coverage > 0)
    assert np.array_equal(np.isfinite(scores.step_error), scored)
    assert np.array_equal(np.isfinite(scores.step_reconstruction[..., 0]), scores.coverage > 0)
    assert scores.coverage.tolist() == [[1, 2, 3, 4, 4, 4, 3, 2, 1], [1, 2, 3, 3, 2, 1, 0, 0, 0]]
    assert observed[1, 0]
    assert scores.step_error[1, 0] > 0


def test_the_dtypes_are_those_of_the_contract() -> None:
    cube, observed, windows = panel()
    scores = score(model(), cube, observed, windows, length=LENGTH)
    for field in dataclasses.fields(Scores):
        expected = np.int32 if field.name == "coverage" else np.float32
        assert getattr(scores, field.name).dtype == expected
    assert scores.step_error.dtype == np.float32


def test_no_windows_give_empty_scores() -> None:
    cube, observed, windows = panel()
    scores = score(model(), cube, observed, windows[:0], length=LENGTH)
    assert scores.embeddings.shape == (0, 3)
    assert scores.window_error.shape == (0,)
    assert np.isnan(scores.step_feature_error).all()


def test_windows_of_one_step_are_scored() -> None:
    cube, observed, _ = panel()
    windows = np.argwhere(np.ones((2, 9), dtype=bool))
    scores = score(model(), cube, observed, windows, length=1)
    np.testing.assert_allclose(
        scores.window_error.reshape(2, 9), scores.step_error, rtol=1e-5, equal_nan=True
    )


def test_the_global_generator_has_no_say() -> None:
    cube, observed, windows = panel()
    before = torch.random.get_rng_state()
    score(model(), cube, observed, windows, length=LENGTH)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_arrays_that_break_the_contract_are_refused() -> None:
    cube, observed, windows = panel()
    with pytest.raises(ValueError, match="1 of 10 windows repeat"):
        score(model(), cube, observed, np.concatenate([windows, windows[:1]]), length=LENGTH)
    with pytest.raises(ValueError, match="reaches out"):
        score(model(), cube, observed, windows, length=9)
    with pytest.raises(ShapeError, match="1 features and the model 2"):
        score(model(), cube[..., :1], observed, windows, length=LENGTH)
    with pytest.raises(ValueError, match="batch_size"):
        score(model(), cube, observed, windows, length=LENGTH, batch_size=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("decoder", ["closed_loop", "repeat_vector"])
def test_a_gpu_gives_the_scores_of_the_cpu_and_the_same_ones_each_time(decoder: str) -> None:
    cube, observed, windows = panel()
    scored = model(decoder)
    on_cpu = score(scored, cube, observed, windows, length=LENGTH, device="cpu")
    on_gpu = score(scored, cube, observed, windows, length=LENGTH, device="cuda")
    again = score(scored, cube, observed, windows, length=LENGTH, device="cuda")
    for field in dataclasses.fields(Scores):
        got, expected = getattr(on_gpu, field.name), getattr(on_cpu, field.name)
        np.testing.assert_allclose(got, expected, rtol=1e-2, atol=1e-3)
        np.testing.assert_array_equal(getattr(again, field.name), got)
