"""The best model so far, and when to give up on a better one."""

import copy
import math

from torch import Tensor, nn

__all__ = ["BestModel"]


class BestModel:
    """The weights of the lowest validation loss, and how long ago it last fell enough.

    Weights are copied at every improvement; patience is counted from the last one by more than
    `min_delta`, a fraction.

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

    def __init__(self, *, patience: int, min_delta: float) -> None:
        self.epoch = 0
        self.loss = math.inf
        self.state: dict[str, Tensor] = {}
        self._patience, self._min_delta = patience, min_delta
        self._reference, self._reference_epoch = math.inf, 0

    def update(self, epoch: int, loss: float, model: nn.Module) -> bool:
        """Return whether the loss is the lowest so far; if so, copy the weights."""
        if loss < self._reference * (1 - self._min_delta):
            self._reference, self._reference_epoch = loss, epoch
        if not loss < self.loss:  # NaN is no improvement
            return False
        self.epoch, self.loss, self.state = epoch, loss, copy.deepcopy(model.state_dict())
        return True

    def exhausted(self, epoch: int) -> bool:
        """Whether patience has run out."""
        return epoch - self._reference_epoch >= self._patience
