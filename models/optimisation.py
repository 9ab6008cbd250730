"""The optimiser and its schedule."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from models.training_config import TrainingConfig

__all__ = ["LearningRate", "make_optimizer"]

_BETAS = (0.8, 0.99)
_MOMENTUM = 0.9
_PLATEAU_FACTOR = 0.5
_PLATEAU_PATIENCE = 3


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: TrainingConfig
) -> torch.optim.Optimizer:
    """Return the configured optimiser over the parameters.

    Examples
    --------
    >>> type(make_optimizer(nn.Linear(2, 1).parameters(), TrainingConfig())).__name__
    'AdamW'
    """
    common: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adam":  # decoupled decay; with none it is Adam
        return torch.optim.AdamW(parameters, betas=_BETAS, fused=True, **common)
    if config.optimizer == "nadam":
        decoupled = {"decoupled_weight_decay": True}
        return torch.optim.NAdam(parameters, betas=_BETAS, **decoupled, **common)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, **common)
    return torch.optim.SGD(parameters, momentum=_MOMENTUM, **common)


class LearningRate:
    """The schedule of an optimiser's learning rate, an epoch at a time.

    Examples
    --------
    >>> config = TrainingConfig(schedule="cosine", epochs=2, learning_rate=1.0)
    >>> rate = LearningRate(make_optimizer(nn.Linear(2, 1).parameters(), config), config)
    >>> rate.value, rate.step(0.3), rate.value
    (1.0, None, 0.5)
    """

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainingConfig) -> None:
        self._optimizer, self._config, self._epoch = optimizer, config, 0
        self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer,
            factor=_PLATEAU_FACTOR,
            patience=_PLATEAU_PATIENCE,
            threshold=config.min_delta,
        )

    @property
    def value(self) -> float:
        """The learning rate of the epoch at hand."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self, validation_loss: float) -> None:
        """End an epoch."""
        self._epoch += 1
        if self._config.schedule == "plateau":
            self._plateau.step(validation_loss)
        elif self._config.schedule == "cosine":
            share = 0.5 * (1 + math.cos(math.pi * self._epoch / self._config.epochs))
            for group in self._optimizer.param_groups:
                group["lr"] = self._config.learning_rate * share

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule is."""
        return {"epoch": self._epoch, "plateau": self._plateau.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._epoch = state["epoch"]
        self._plateau.load_state_dict(state["plateau"])
