"""The best model so far, and when to give up on a better one."""

import copy
import math
from typing import Any

from torch import Tensor, nn

__all__ = ["BestModel"]


class BestModel:
    """The weights of the lowest validation loss, and how long ago it last fell enough.

    Weights are copied at every improvement; patience is counted from the last one by more than
    `min_delta`, a fraction, and not before `first_epoch`.

    Attributes
    ----------
    epoch, loss, state
        Of the best epoch so far; `state` is a copy that further training leaves alone.

    Examples
    --------
    >>> best = BestModel(patience=2, min_delta=0.0)
    >>> [best.update(epoch, loss, nn.Linear(1, 1)) for epoch, loss in enumerate([3, 1, 2], 1)]
    [True, True, False]
    >>> best.epoch, best.exhausted(3), best.exhausted(4)
    (2, False, True)
    """

    def __init__(self, *, patience: int, min_delta: float, first_epoch: int = 0) -> None:
        self.epoch = 0
        self.loss = math.inf
        self.state: dict[str, Tensor] = {}
        self._patience, self._min_delta = patience, min_delta
        self._reference, self._reference_epoch = math.inf, first_epoch

    def update(self, epoch: int, loss: float, model: nn.Module) -> bool:
        """Return whether the loss is the lowest so far; if so, copy the weights."""
        if loss < self._reference * (1 - self._min_delta):
            self._reference = loss
            self._reference_epoch = max(epoch, self._reference_epoch)
        if not loss < self.loss:  # NaN is no improvement
            return False
        self.epoch, self.loss, self.state = epoch, loss, copy.deepcopy(model.state_dict())
        return True

    def exhausted(self, epoch: int) -> bool:
        """Whether patience has run out."""
        return epoch - self._reference_epoch >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to go on."""
        return {
            "epoch": self.epoch,
            "loss": self.loss,
            "state": self.state,
            "reference": self._reference,
            "reference_epoch": self._reference_epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.epoch, self.loss, self.state = state["epoch"], state["loss"], state["state"]
        self._reference, self._reference_epoch = state["reference"], state["reference_epoch"]
