"""Decoders: the numbers that crossed the bottleneck to a window, without a loop where it can be.

A conditional decoder's cell is fed with x_i = W h_i + b, its previous output. That equals running
a cell without input whose recurrent matrix is W_hh + W_ih W and whose bias is
b_ih + b_hh + W_ih b, so that the closed loop is one fused LSTM call. The same holds for the mix
p t_i + (1 - p) x_i with the true step t_i: the input is p t_i, the recurrent matrix
W_hh + (1 - p) W_ih W and the bias b_ih + b_hh + (1 - p) W_ih b. With p = 1 it is teacher forcing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.architecture import AutoencoderConfig

__all__ = ["ConditionalDecoder", "RepeatVectorDecoder"]

State = tuple[Tensor, Tensor]  # (h, c), each (B, H)


class ConditionalDecoder(nn.Module):
    """Decode from the encoder's state, each step fed with the previous one.

    Parameters
    ----------
    n_features
        F.
    config
        Widths, bottleneck and direction.

    Examples
    --------
    >>> config = AutoencoderConfig(latent_size=4)
    >>> ConditionalDecoder(3, config)(torch.zeros(2, 8), 5).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, n_features: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.sizes, self.dropout = config.decoder_sizes, config.dropout
        self.is_reverse = config.direction == "reverse"
        self.start = (
            nn.Identity()
            if config.passes_state
            else nn.Linear(config.latent_size, 2 * sum(self.sizes))
        )
        widths = (n_features, *self.sizes)
        self.cells = nn.ModuleList(map(nn.LSTMCell, widths[:-1], self.sizes))
        self.output = nn.Linear(self.sizes[-1], n_features)

    def forward(
        self, code: Tensor, length: int, truth: Tensor | None = None, truth_share: float = 0.0
    ) -> Tensor:
        """Return `(B, T, F)` in forward time order.

        Parameters
        ----------
        code
            `(B, C)`, what crossed the bottleneck.
        length
            T.
        truth
            `(B, T, F)`, needed where `truth_share` is above 0.
        truth_share
            p, the share of the true previous step in what the decoder is fed with.
        """
        states = self._first_states(code)
        h = states[-1][0][:, None]  # (B, 1, H): the step that is decoded first
        if length > 1:
            fed = None if truth is None or not truth_share else self._previous(truth) * truth_share
            h = torch.cat([h, self._run(states, length - 1, fed, truth_share)], dim=1)
        reconstruction: Tensor = self.output(h.flip(1) if self.is_reverse else h)
        return reconstruction

    @property
    def _cells(self) -> list[nn.LSTMCell]:
        return [cell for cell in self.cells if isinstance(cell, nn.LSTMCell)]

    def _first_states(self, code: Tensor) -> list[State]:
        """Return (h, c) of every cell, the one that is fed with the data first."""
        h, c = self.start(code).chunk(2, dim=-1)
        parts = zip(h.split(self.sizes, dim=-1), c.split(self.sizes, dim=-1), strict=True)
        return list(parts)

    def _previous(self, truth: Tensor) -> Tensor:
        """Return the true steps `(B, T - 1, F)` that precede each but the first, as decoded."""
        return (truth.flip(1) if self.is_reverse else truth)[:, :-1]

    def _run(
        self, states: list[State], n_steps: int, fed: Tensor | None, truth_share: float
    ) -> Tensor:
        """Return the last cell's hidden states `(B, n_steps, H)` that follow its first."""
        if truth_share == 1 and fed is not None:
            return self._run_layers(states, fed)
        if len(states) == 1:
            folded, bias = self._folded(1 - truth_share)
            cell = self._cells[0]
            recurrent, weight_ih = cell.weight_hh + folded, cell.weight_ih
            if fed is None:  # cuDNN wants an input: one zero a step
                fed = folded.new_zeros(len(states[0][0]), n_steps, 1)
                weight_ih = folded.new_zeros(len(bias), 1)
            return _fused_lstm(fed, states[0], weight_ih, recurrent, bias)
        return self._loop(states, n_steps, fed, 1 - truth_share)

    def _run_layers(self, states: list[State], fed: Tensor) -> Tensor:
        """Feed the truth alone: no layer waits for the one above it, so a fused call each."""
        x = fed
        for layer, (cell, state) in enumerate(zip(self._cells, states, strict=True)):
            if layer:
                x = functional.dropout(x, self.dropout, self.training)
            bias = cell.bias_ih + cell.bias_hh
            x = _fused_lstm(x, state, cell.weight_ih, cell.weight_hh, bias)
        return x

    def _loop(
        self, states: list[State], n_steps: int, fed: Tensor | None, own_share: float
    ) -> Tensor:
        """Run several cells, the top one feeding the bottom one, with the projection folded.

        One cell a step and layer remains: the projection to F features and the bottom cell's
        product with F features are one product with the top cell's hidden state.
        """
        bottom, *above = self._cells
        weight, bias = self._folded(own_share)
        no_bias = torch.zeros_like(bias)
        if fed is not None:
            weight = torch.cat([weight, bottom.weight_ih], dim=1)
        outputs = []
        for step in range(n_steps):
            x = states[-1][0] if fed is None else torch.cat([states[-1][0], fed[:, step]], dim=1)
            x, c = torch.lstm_cell(x, states[0], weight, bottom.weight_hh, bias, no_bias)
            following = [(x, c)]
            for cell, state in zip(above, states[1:], strict=True):
                x = functional.dropout(x, self.dropout, self.training)
                following.append(cell(x, state))
                x = following[-1][0]
            states = following
            outputs.append(x)
        return torch.stack(outputs, dim=1)

    def _folded(self, own_share: float) -> State:
        """Return what stands for the own output fed back: weights `(4H, H_top)`, bias `(4H,)`."""
        cell, output = self._cells[0], self.output
        weight_ih = cell.weight_ih * own_share if own_share != 1 else cell.weight_ih
        bias = cell.bias_ih + cell.bias_hh + weight_ih @ output.bias
        return weight_ih @ output.weight, bias


class RepeatVectorDecoder(nn.Module):
    """Decode with LSTMs that read the same embedding at every step.

    Parameters
    ----------
    n_features
        F.
    config
        Widths; with the decoder `"repeat_vector_wide"` the last LSTM is F wide and its hidden
        state is the output.

    Examples
    --------
    >>> config = AutoencoderConfig(decoder="repeat_vector_wide", latent_size=4)
    >>> RepeatVectorDecoder(3, config)(torch.zeros(2, 4), 5).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, n_features: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        is_wide = config.decoder == "repeat_vector_wide"
        sizes = (*config.decoder_sizes[:-1], n_features) if is_wide else config.decoder_sizes
        self.layers = nn.ModuleList()
        width = config.latent_size
        for size in sizes:
            self.layers.append(nn.LSTM(width, size, batch_first=True))
            width = size
        self.output = nn.Identity() if is_wide else nn.Linear(width, n_features)

    def forward(self, code: Tensor, length: int) -> Tensor:
        """Return `(B, T, F)` in forward time order from embeddings `(B, L)`."""
        x = code[:, None].expand(-1, length, -1)
        for layer, lstm in enumerate(self.layers):
            if layer:
                x = functional.dropout(x, self.dropout, self.training)
            x = lstm(x)[0]
        reconstruction: Tensor = self.output(x)
        return reconstruction


def _fused_lstm(x: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> Tensor:
    """Run one LSTM layer with given weights over `(B, T, I)`; return `(B, T, H)`."""
    # One buffer in cuDNN's order: separate tensors would be copied, with a warning, at every call.
    zeros = torch.zeros_like(bias)
    parts = [w_ih, w_hh, bias, zeros]
    buffer = torch.cat([part.flatten() for part in parts])
    weights = [
        piece.view_as(part)
        for piece, part in zip(torch.split(buffer, [p.numel() for p in parts]), parts, strict=True)
    ]
    return torch.lstm(
        x,
        (state[0][None].contiguous(), state[1][None].contiguous()),
        weights,
        has_biases=True,
        num_layers=1,
        dropout=0.0,
        train=torch.is_grad_enabled(),  # cuDNN has no backward for a call outside training
        bidirectional=False,
        batch_first=True,
    )[0]
