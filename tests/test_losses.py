"""Laws of the reconstruction loss: it skips what is masked and never broadcasts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.errors import ShapeError
from models.losses import reconstruction_loss
from tests import naive

KINDS = ("mse", "huber", "l1")
values = hnp.arrays(np.float64, (2, 4, 3), elements=st.floats(-5, 5))


@given(output=values, target=values, observed=hnp.arrays(bool, (2, 4)), kind=st.sampled_from(KINDS))
def test_the_loss_is_the_naive_masked_mean(
    output: np.ndarray, target: np.ndarray, observed: np.ndarray, kind: str
) -> None:
    got = reconstruction_loss(
        torch.tensor(output), torch.tensor(target), torch.tensor(observed), kind=kind
    )
    expected = naive.masked_loss(output, target, observed, kind)
    assert got.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


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


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="mae"):
        reconstruction_loss(torch.zeros(1, 1), torch.zeros(1, 1), kind="mae")
