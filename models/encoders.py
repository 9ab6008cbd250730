"""The encoder: a window to the numbers that cross the bottleneck."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.architecture import AutoencoderConfig

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Read windows `(B, T, F)` with a stack of LSTMs and keep its final state.

    Parameters
    ----------
    n_features
        F.
    config
        Widths, directions, embedding and bottleneck.

    Examples
    --------
    >>> config = AutoencoderConfig(hidden_sizes=(8, 4), latent_size=3, bidirectional=True)
    >>> Encoder(5, config)(torch.zeros(2, 7, 5)).shape
    torch.Size([2, 3])
    """

    def __init__(self, n_features: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.passes_state = config.passes_state
        width = config.embedding_size or n_features
        self.embedding = nn.Linear(n_features, width) if config.embedding_size else nn.Identity()
        n_directions = 2 if config.bidirectional else 1
        self.layers = nn.ModuleList()
        for size in config.encoder_sizes:
            lstm = nn.LSTM(width, size, batch_first=True, bidirectional=config.bidirectional)
            self.layers.append(lstm)
            width = size * n_directions
        is_latent = width == config.latent_size and not config.bidirectional
        self.latent = nn.Identity() if is_latent else nn.Linear(width, config.latent_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return what crosses, `(B, C)`: the embedding `(B, L)`, then the cell state if it does."""
        x = self.embedding(x)
        for layer, lstm in enumerate(self.layers):
            if layer:
                x = functional.dropout(x, self.dropout, self.training)
            x, (h, c) = lstm(x)
        # The final state and not the last output: of the backward LSTM that is its first step.
        final = torch.cat(h.unbind(0), dim=-1)
        embedding: Tensor = self.latent(final)
        return torch.cat([embedding, c[0]], dim=-1) if self.passes_state else embedding
