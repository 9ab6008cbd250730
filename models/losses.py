"""Reconstruction losses that skip masked steps, weigh steps and never broadcast."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from models.errors import ShapeError

__all__ = [
    "LossKind",
    "Reduction",
    "finite_loss_and_weight",
    "loss_and_weight",
    "reconstruction_loss",
]

LossKind = Literal["mse", "huber", "l1", "multinomial"]
Reduction = Literal["mean", "sum"]

_ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "mse": functional.mse_loss,
    "huber": functional.huber_loss,
    "l1": functional.l1_loss,
}


def reconstruction_loss(
    output: Tensor,
    target: Tensor,
    observed: Tensor | None = None,
    *,
    kind: LossKind = "mse",
    reduction: Reduction = "mean",
    weight: Tensor | None = None,
    share_groups: Sequence[int] | None = None,
) -> Tensor:
    """Loss over the observed steps and all their features.

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
        `"mse"`, `"l1"`, `"huber"` (delta 1) or `"multinomial"`: the output's first features are
        logits of shares and the target's are shares; the loss of a group is the deviance an
        event of the counts behind them, 2 sum x ln(x / p). Times a weight of n events it is that
        of the counts, -2 times their log-likelihood (McCullagh and Nelder 1989, ch. 2). Features
        after the last group are values and their loss is the square, the deviance of a normal
        distribution.
    reduction
        `"mean"` over weighted values or `"sum"`.
    weight
        Of each step, `(...)`, at least 0. None means 1.
    share_groups
        With `"multinomial"`: sizes of consecutive groups of features, each group shares of one
        whole. None means that all features are one group.

    Returns
    -------
    Tensor
        A scalar. With nothing observed it is 0, with a gradient of 0, so that a batch of gaps
        moves no weight.

    Raises
    ------
    ShapeError
        If the shapes differ, or mask or weight are not of the shape without features.
    ValueError
        If `kind` or `reduction` is unknown.

    Examples
    --------
    >>> output, target = torch.tensor([[1.0], [9.0]]), torch.tensor([[3.0], [0.0]])
    >>> reconstruction_loss(output, target, torch.tensor([True, False]))
    tensor(4.)
    >>> reconstruction_loss(output, target, weight=torch.tensor([3.0, 1.0]), reduction="sum")
    tensor(93.)
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction is {reduction!r}; it must be one of {get_args(Reduction)}")
    total, total_weight = loss_and_weight(
        output, target, observed, kind=kind, weight=weight, share_groups=share_groups
    )
    if reduction == "sum":
        return total
    return total / torch.where(total_weight > 0, total_weight, 1)


def loss_and_weight(
    output: Tensor,
    target: Tensor,
    observed: Tensor | None = None,
    *,
    kind: LossKind = "mse",
    weight: Tensor | None = None,
    share_groups: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of losses and the weight of the values in it.

    Their quotient is the mean; batches and processes are put together by adding both. Parameters
    and errors are those of `reconstruction_loss`.

    Examples
    --------
    >>> x = torch.zeros(2, 3)
    >>> loss_and_weight(x + 2, x)
    (tensor(24.), tensor(6.))
    """
    _require_same_shape(output, target)
    for name, array in (("observed", observed), ("weight", weight)):
        _require_steps(name, array, target)
    if kind != "multinomial" and kind not in _ELEMENTWISE:
        raise ValueError(f"loss kind is {kind!r}; it must be one of {list(get_args(LossKind))}")
    if observed is not None:
        # Zeros rather than a loss of weight 0: inf or NaN there would still reach the gradient.
        target = torch.where(observed.unsqueeze(-1), target, 0)
        output = torch.where(observed.unsqueeze(-1), output, 0)
    return finite_loss_and_weight(
        output, target, observed, kind=kind, weight=weight, share_groups=share_groups
    )


def finite_loss_and_weight(
    output: Tensor,
    target: Tensor,
    observed: Tensor | None = None,
    *,
    kind: LossKind,
    weight: Tensor | None,
    share_groups: Sequence[int] | None,
) -> tuple[Tensor, Tensor]:
    """Return what `loss_and_weight` does for validated arrays that are finite everywhere.

    Examples
    --------
    >>> x = torch.zeros(2, 3)
    >>> finite_loss_and_weight(x + 2, x, kind="l1", weight=None, share_groups=None)
    (tensor(12.), tensor(6.))
    """
    n_features = target.shape[-1]
    if kind == "multinomial":
        values = _deviance(output, target, share_groups or (n_features,))
    else:
        values = _ELEMENTWISE[kind](output, target, reduction="none").sum(dim=-1)
    steps = torch.ones_like(values) if weight is None else weight.to(values.dtype)
    if observed is not None:
        steps = steps * observed
    return (values * steps).sum(), steps.sum() * n_features


def _deviance(output: Tensor, target: Tensor, groups: Sequence[int]) -> Tensor:
    """Return the deviance an event and the squares of the features behind the groups, `(...)`."""
    sizes = [*groups, target.shape[-1] - sum(groups)]
    *logits, values = torch.split(output, sizes, dim=-1)
    *shares, true_values = torch.split(target, sizes, dim=-1)
    total = (values - true_values).square().sum(dim=-1)
    for logit, share in zip(logits, shares, strict=True):
        terms = torch.xlogy(share, share) - share * logit.log_softmax(dim=-1)
        total = total + 2 * terms.sum(dim=-1)
    return total


def _require_same_shape(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise ShapeError(
            f"output has shape {tuple(output.shape)} and target {tuple(target.shape)}; they must "
            "be equal, for broadcasting would teach the mean. Reshape or unsqueeze one of them"
        )


def _require_steps(name: str, array: Tensor | None, target: Tensor) -> None:
    if array is None:
        return
    is_mask = name == "observed"
    if array.shape != target.shape[:-1] or (array.dtype == torch.bool) != is_mask:
        kind = "torch.bool" if is_mask else "numbers"
        raise ShapeError(
            f"{name} is {array.dtype} of shape {tuple(array.shape)}; expected {kind} "
            f"of shape {tuple(target.shape[:-1])}, the target's without its features"
        )
