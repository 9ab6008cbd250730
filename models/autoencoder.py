"""LSTM autoencoders whose free-running decoder is one fused call."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.errors import ShapeError

__all__ = ["AutoencoderConfig", "LSTMAutoencoder"]

DecoderKind = Literal["closed_loop", "repeat_vector"]
State = tuple[Tensor, Tensor]  # (h, c), each (1, B, L)


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Architecture of an `LSTMAutoencoder`.

    Attributes
    ----------
    decoder
        `"closed_loop"`: EncDec-AD (Malhotra et al. 2016, arXiv 1607.00148) fed with its own
        output. It starts from the encoder's whole state, so that both h and c cross the
        bottleneck. `"repeat_vector"`: Srivastava et al. 2015 (arXiv 1502.04681) in the Keras
        form; h alone crosses.
    latent_size
        Width of the LSTMs and of the embedding.

    Examples
    --------
    >>> AutoencoderConfig(latent_size=32)
    AutoencoderConfig(decoder='closed_loop', latent_size=32)
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    decoder: DecoderKind = "closed_loop"
    latent_size: int = 64

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.decoder not in _DECODERS:
            raise ValueError(f"decoder is {self.decoder!r}; it must be one of {sorted(_DECODERS)}")
        if self.latent_size < 1:
            raise ValueError(f"latent_size is {self.latent_size}; it must be at least 1")


class ClosedLoopDecoder(nn.Module):
    """Decode in reverse time from (h, c), each output fed back as the next input.

    With x_i = W h_i + b, feeding x_i to the cell equals running a cell without input whose
    recurrent matrix is W_hh + W_ih W and whose bias is b_ih + b_hh + W_ih b. The loop is thus
    one fused LSTM call over T - 1 steps and one projection of h_0 ... h_{T-1}; gradients reach
    W_ih, W_hh, W and both biases through the folded weights.
    """

    def __init__(self, n_features: int, latent_size: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(n_features, latent_size)
        self.output = nn.Linear(latent_size, n_features)

    def forward(self, state: State, length: int) -> Tensor:
        """Return `(B, T, F)` in forward time order from `state`, two `(1, B, L)` tensors."""
        h = state[0].transpose(0, 1)  # (B, 1, L): the window's last step
        if length > 1:
            h = torch.cat([h, self._run(state, length - 1)], dim=1)
        reconstruction: Tensor = self.output(h.flip(1))
        return reconstruction

    def _run(self, state: State, n_steps: int) -> Tensor:
        """Return the hidden states `(B, n_steps, L)` that follow `state`."""
        h = state[0]
        return torch.lstm(
            h.new_zeros(h.shape[1], n_steps, 1),
            state,
            self._folded_weights(),
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=torch.is_grad_enabled(),  # cuDNN has no backward for a call outside training
            bidirectional=False,
            batch_first=True,
        )[0]

    def _folded_weights(self) -> list[Tensor]:
        """Return weight_ih `(4L, 1)`, weight_hh `(4L, L)`, bias_ih and bias_hh `(4L,)`."""
        cell, output = self.cell, self.output
        recurrent = torch.addmm(cell.weight_hh, cell.weight_ih, output.weight)
        bias = cell.bias_ih + cell.bias_hh + cell.weight_ih @ output.bias
        zeros = torch.zeros_like(bias)
        # One buffer in cuDNN's order: separate tensors would be copied, with a warning, at
        # every call.
        buffer = torch.cat([zeros, recurrent.flatten(), bias, zeros])
        sizes = [zeros.numel(), recurrent.numel(), bias.numel(), zeros.numel()]
        w_ih, w_hh, b_ih, b_hh = torch.split(buffer, sizes)
        return [w_ih.view(-1, 1), w_hh.view_as(recurrent), b_ih, b_hh]


class RepeatVectorDecoder(nn.Module):
    """Decode with an LSTM that reads the same h at every step, and a dense layer a step."""

    def __init__(self, n_features: int, latent_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(latent_size, latent_size, batch_first=True)
        self.output = nn.Linear(latent_size, n_features)

    def forward(self, state: State, length: int) -> Tensor:
        """Return `(B, T, F)` in forward time order from `state`, two `(1, B, L)` tensors."""
        repeated = state[0].transpose(0, 1).expand(-1, length, -1)
        reconstruction: Tensor = self.output(self.lstm(repeated)[0])
        return reconstruction


_DECODERS: dict[str, type[ClosedLoopDecoder] | type[RepeatVectorDecoder]] = {
    "closed_loop": ClosedLoopDecoder,
    "repeat_vector": RepeatVectorDecoder,
}


class LSTMAutoencoder(nn.Module):
    """Encode windows `(B, T, F)` into `(B, L)` and reconstruct them.

    Parameters
    ----------
    n_features
        F, the variables of a step.
    config
        Architecture; the default is `AutoencoderConfig()`.
    seed
        Determines the initial weights; torch's global generator is left as it was.

    Raises
    ------
    ValueError
        If `n_features` is under 1.

    Examples
    --------
    >>> model = LSTMAutoencoder(5, AutoencoderConfig(latent_size=8), seed=0)
    >>> x = torch.zeros(3, 14, 5)
    >>> model.encode(x).shape, model(x).shape
    (torch.Size([3, 8]), torch.Size([3, 14, 5]))
    """

    def __init__(
        self, n_features: int, config: AutoencoderConfig | None = None, *, seed: int = 0
    ) -> None:
        super().__init__()
        if n_features < 1:
            raise ValueError(f"n_features is {n_features}; it must be at least 1")
        self.n_features = n_features
        self.config = config or AutoencoderConfig()
        latent_size = self.config.latent_size
        # The layers' own initialisation draws from the global generator.
        with torch.random.fork_rng(devices=[]):
            self.encoder = nn.LSTM(n_features, latent_size, batch_first=True)
            self.decoder = _DECODERS[self.config.decoder](n_features, latent_size)
        self.reset_parameters(seed)

    @torch.no_grad()
    def reset_parameters(self, seed: int) -> None:
        """Draw the weights anew: the same seed gives the same weights.

        Recurrent matrices are orthogonal gate by gate (Saxe et al. 2014), other matrices
        Glorot-uniform; the forget gate's bias is 1 (Jozefowicz et al. 2015) and every other
        bias 0, which is the mean of standardised data.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            kind = name.rpartition(".")[2]
            if kind.startswith("weight_hh"):
                for gate in parameter.chunk(4):
                    nn.init.orthogonal_(gate, generator=generator)
            elif kind.startswith("weight"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)
            if kind.startswith("bias_ih"):
                parameter.chunk(4)[1].fill_(1.0)  # torch orders gates i, f, g, o

    def encode(self, x: Tensor) -> Tensor:
        """Return the embeddings `(B, L)` of windows `(B, T, F)`: the final hidden state.

        Raises
        ------
        ShapeError
            If `x` is not `(B, T, F)` of the model's F and dtype with B and T at least 1.
        """
        self._require_windows(x)
        return self._final_state(x)[0][-1]

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction `(B, T, F)` of windows `(B, T, F)`, in the same time order.

        Raises
        ------
        ShapeError
            If `x` is not `(B, T, F)` of the model's F and dtype with B and T at least 1.
        """
        return self.encode_and_reconstruct(x)[1]

    def encode_and_reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings `(B, L)` and reconstruction `(B, T, F)` from one encoding.

        Raises
        ------
        ShapeError
            If `x` is not `(B, T, F)` of the model's F and dtype with B and T at least 1.
        """
        self._require_windows(x)
        state = self._final_state(x)
        return state[0][-1], self.decoder(state, x.shape[1])

    def _final_state(self, x: Tensor) -> State:
        state: State = self.encoder(x)[1]
        return state

    def _require_windows(self, x: Tensor) -> None:
        if x.ndim != 3 or x.shape[2] != self.n_features or 0 in x.shape:
            raise ShapeError(
                f"windows have shape {tuple(x.shape)}; expected (B, T, {self.n_features}) with B "
                "and T at least 1. A single window (T, F) needs x[None]; another number of "
                "features needs a model built for it"
            )
        dtype = self.encoder.weight_ih_l0.dtype
        if x.dtype != dtype:
            raise ShapeError(
                f"windows have dtype {x.dtype}; the model's is {dtype}. Cast one of them: "
                f"x.to({dtype}) or model.to(x.dtype)"
            )
