"""Laws of the reconstruction loss: it skips what is masked and never broadcasts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.errors import ShapeError
from models.losses import loss_and_weight, reconstruction_loss
from tests import naive

KINDS = ("mse", "huber", "l1")
values = hnp.arrays(np.float64, (2, 4, 3), elements=st.floats(-5, 5))
masks = hnp.arrays(bool, (2, 4))
weights = hnp.arrays(np.float64, (2, 4), elements=st.floats(0, 9))


@given(
    output=values,
    target=values,
    observed=masks,
    weight=weights,
    kind=st.sampled_from(KINDS),
    reduction=st.sampled_from(["mean", "sum"]),
)
def test_the_loss_is_the_naive_one(
    output: np.ndarray,
    target: np.ndarray,
    observed: np.ndarray,
    weight: np.ndarray,
    kind: str,
    reduction: str,
) -> None:
    arrays = map(torch.tensor, (output, target, observed))
    got = reconstruction_loss(*arrays, kind=kind, weight=torch.tensor(weight), reduction=reduction)
    total, total_weight = naive.loss_and_weight(output, target, observed, weight, kind)
    expected = total if reduction == "sum" else total / (total_weight or 1)
    assert got.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(logits=values, shares=values, observed=masks, weight=weights)
def test_the_multinomial_loss_is_the_naive_deviance(
    logits: np.ndarray, shares: np.ndarray, observed: np.ndarray, weight: np.ndarray
) -> None:
    target = np.abs(shares)
    target[..., :2] /= np.where(target[..., :2].sum(-1) > 0, target[..., :2].sum(-1), 1)[..., None]
    got = loss_and_weight(
        torch.tensor(logits),
        torch.tensor(target),
        torch.tensor(observed),
        kind="multinomial",
        weight=torch.tensor(weight),
        share_groups=(2,),
    )
    expected = naive.loss_and_weight(logits, target, observed, weight, "multinomial", (2,))
    assert [value.item() for value in got] == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_the_deviance_is_minus_twice_the_log_likelihood_up_to_what_no_model_changes() -> None:
    counts = torch.tensor([3.0, 1.0, 0.0, 6.0], dtype=torch.float64)
    n = counts.sum()
    differences = []
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(4, generator=generator, dtype=torch.float64)
        deviance, _ = loss_and_weight(
            logits[None], (counts / n)[None], kind="multinomial", weight=n[None]
        )
        law = torch.distributions.Multinomial(int(n), logits=logits)
        differences.append(deviance + 2 * law.log_prob(counts))
    torch.testing.assert_close(*differences)


def test_the_deviance_is_least_and_0_at_the_shares_themselves() -> None:
    shares = torch.tensor([[0.25, 0.75]])
    exact = reconstruction_loss(shares.log(), shares, kind="multinomial")
    assert exact.item() == pytest.approx(0, abs=1e-6)
    assert reconstruction_loss(torch.zeros(1, 2), shares, kind="multinomial") > exact


def test_a_step_of_weight_2_counts_as_two_steps() -> None:
    output, target = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0))
    twice = [torch.cat([array, array[:1]]) for array in (output, target)]
    weighted = reconstruction_loss(output, target, weight=torch.tensor([2.0, 1.0, 1.0]))
    torch.testing.assert_close(weighted, reconstruction_loss(*twice))


@pytest.mark.parametrize("kind", [*KINDS, "multinomial"])
def test_batches_add_up_to_the_whole(kind: str) -> None:
    output = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    target = output.flip(0).softmax(-1)
    parts = [
        loss_and_weight(*rows, kind=kind)
        for rows in ((output[:1], target[:1]), (output[1:], target[1:]))
    ]
    total, weight = (sum(values) for values in zip(*parts, strict=True))
    torch.testing.assert_close(total / weight, reconstruction_loss(output, target, kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_no_mask_is_a_mask_of_ones(kind: str) -> None:
    output, target = torch.randn(2, 2, 4, 3, generator=torch.Generator().manual_seed(0))
    observed = torch.ones(2, 4, dtype=torch.bool)
    unmasked = reconstruction_loss(output, target, kind=kind)
    torch.testing.assert_close(unmasked, reconstruction_loss(output, target, observed, kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_ramp_is_not_broadcast_to_its_mean(kind: str) -> None:
    ramp = torch.tensor([[0.0], [0.1], [0.2], [0.3], [0.4]])
    output = torch.full((5, 1, 1), 0.2)
    assert (output - ramp).shape == (5, 5, 1)
    with pytest.raises(ShapeError, match=r"\(5, 1, 1\).*\(5, 1\)"):
        reconstruction_loss(output, ramp, kind=kind)


def test_masked_steps_get_no_gradient_whatever_they_hold() -> None:
    output = torch.zeros(1, 2, 1, requires_grad=True)
    target = torch.tensor([[[1.0], [torch.inf]]])
    loss = reconstruction_loss(output, target, torch.tensor([[True, False]]))
    loss.backward()
    assert loss.item() == 1.0
    assert output.grad.flatten().tolist() == [-2.0, 0.0]


def test_nothing_observed_is_a_loss_of_zero_with_a_gradient_of_zero() -> None:
    output = torch.ones(2, 3, 1, requires_grad=True)
    loss = reconstruction_loss(output, torch.zeros(2, 3, 1), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not output.grad.any()


@pytest.mark.parametrize(
    "observed",
    [
        torch.ones(2, 3, 1, dtype=torch.bool),
        torch.ones(3, dtype=torch.bool),
        torch.ones(1, 3, dtype=torch.bool),
        torch.ones(2, 3),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(observed: torch.Tensor) -> None:
    x = torch.zeros(2, 3, 1)
    with pytest.raises(ShapeError, match=r"expected torch.bool of shape \(2, 3\)"):
        reconstruction_loss(x, x, observed)


@pytest.mark.parametrize("weight", [torch.ones(3), torch.ones(2, 3, 1), torch.ones(2, 3).bool()])
def test_a_weight_that_does_not_fit_is_refused(weight: torch.Tensor) -> None:
    x = torch.zeros(2, 3, 1)
    with pytest.raises(ShapeError, match=r"weight is .*expected numbers of shape \(2, 3\)"):
        reconstruction_loss(x, x, weight=weight)


def test_an_unknown_kind_or_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="mae"):
        reconstruction_loss(torch.zeros(1, 1), torch.zeros(1, 1), kind="mae")
    with pytest.raises(ValueError, match="median"):
        reconstruction_loss(torch.zeros(1, 1), torch.zeros(1, 1), reduction="median")
