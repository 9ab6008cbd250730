"""Reconstruction losses that skip masked steps and never broadcast."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from models.errors import ShapeError

__all__ = ["LossKind", "reconstruction_loss"]

LossKind = Literal["mse", "huber", "l1"]

_ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "mse": functional.mse_loss,
    "huber": functional.huber_loss,
    "l1": functional.l1_loss,
}


def reconstruction_loss(
    output: Tensor, target: Tensor, observed: Tensor | None = None, *, kind: LossKind = "mse"
) -> Tensor:
    """Mean loss over the observed steps and all their features.

    Shapes must be equal: an output of (5, 1, 1) broadcast against a target of (5, 1) would be
    minimised by the target's mean.

    Parameters
    ----------
    output, target
        Reconstruction and truth, of one shape, `(..., F)`.
    observed
        Bool, `(...)`: the shape without features. False steps count for nothing. None means
        that all are observed.
    kind
        `"mse"`, `"l1"` or `"huber"` (delta 1).

    Returns
    -------
    Tensor
        A scalar. With nothing observed it is 0, with a gradient of 0, so that a batch of gaps
        moves no weight.

    Raises
    ------
    ShapeError
        If the shapes differ, or the mask is not bool of the shape without features.
    ValueError
        If `kind` is unknown.

    Examples
    --------
    >>> output, target = torch.tensor([[1.0], [9.0]]), torch.tensor([[3.0], [0.0]])
    >>> reconstruction_loss(output, target, torch.tensor([True, False]))
    tensor(4.)
    """
    if kind not in _ELEMENTWISE:
        raise ValueError(f"loss kind is {kind!r}; it must be one of {list(get_args(LossKind))}")
    if output.shape != target.shape:
        raise ShapeError(
            f"output has shape {tuple(output.shape)} and target {tuple(target.shape)}; they must "
            "be equal, for broadcasting would teach the mean. Reshape or unsqueeze one of them"
        )
    if observed is None:
        return _ELEMENTWISE[kind](output, target, reduction="mean")
    _require_mask(observed, target)
    # A residual of 0 rather than a masked loss: inf or NaN there would still reach the gradient.
    target = torch.where(observed.unsqueeze(-1), target, output.detach())
    n_values = (observed.sum() * target.shape[-1]).clamp(min=1)
    return _ELEMENTWISE[kind](output, target, reduction="sum") / n_values


def _require_mask(observed: Tensor, target: Tensor) -> None:
    if observed.dtype != torch.bool or observed.shape != target.shape[:-1]:
        raise ShapeError(
            f"observed is {observed.dtype} of shape {tuple(observed.shape)}; expected torch.bool "
            f"of shape {tuple(target.shape[:-1])}, the target's without its features"
        )
