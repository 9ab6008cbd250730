"""LSTM autoencoders for windows of a time series."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.architecture import AutoencoderConfig
from models.decoders import ConditionalDecoder, RepeatVectorDecoder
from models.encoders import Encoder
from models.errors import ShapeError

__all__ = ["LSTMAutoencoder"]


class LSTMAutoencoder(nn.Module):
    """Encode windows `(B, T, F)` into `(B, L)` and reconstruct them.

    Parameters
    ----------
    n_features
        F, the variables of a step.
    config
        Architecture; the default is `AutoencoderConfig()`.
    share_groups
        Sizes of consecutive groups of features that are shares of a whole each, from the first
        feature on; the model's output is then logits of their shares, which `reconstruction`
        turns into shares. Features after the last group are values as they are. None means that
        all are.
    seed
        Determines the initial weights; torch's global generator is left as it was.

    Raises
    ------
    ValueError
        If `n_features` is under 1, or the groups are empty or wider than the data.

    Examples
    --------
    >>> model = LSTMAutoencoder(5, AutoencoderConfig(latent_size=8), seed=0)
    >>> x = torch.zeros(3, 14, 5)
    >>> model.encode(x).shape, model(x).shape
    (torch.Size([3, 8]), torch.Size([3, 14, 5]))
    """

    def __init__(
        self,
        n_features: int,
        config: AutoencoderConfig | None = None,
        *,
        share_groups: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if n_features < 1:
            raise ValueError(f"n_features is {n_features}; it must be at least 1")
        self.n_features = n_features
        self.config = config or AutoencoderConfig()
        self.share_groups = None if share_groups is None else tuple(share_groups)
        _require_groups(self.share_groups, n_features)
        # The layers' own initialisation draws from the global generator.
        with torch.random.fork_rng(devices=[]):
            self.encoder = Encoder(n_features, self.config)
            kind = ConditionalDecoder if self.config.is_conditional else RepeatVectorDecoder
            self.decoder = kind(n_features, self.config)
        self.reset_parameters(seed)

    @torch.no_grad()
    def reset_parameters(self, seed: int) -> None:
        """Draw the weights anew: the same seed gives the same weights.

        Recurrent matrices are orthogonal and input matrices Glorot-uniform, gate by gate (Saxe
        et al. 2014; Glorot and Bengio 2010). The forget gate's bias is 1 (Jozefowicz et al. 2015)
        but in a conditional decoder, which is fed at each step with what it is to remember; every
        other bias is 0, which is the mean of standardised data.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            kind = name.rpartition(".")[2]
            if kind.startswith("weight_hh"):
                for gate in parameter.chunk(4):
                    nn.init.orthogonal_(gate, generator=generator)
            elif kind.startswith("weight"):
                for gate in parameter.chunk(4 if kind.startswith("weight_ih") else 1):
                    nn.init.xavier_uniform_(gate, generator=generator)
            else:
                nn.init.zeros_(parameter)
            if kind.startswith("bias_ih_l"):
                parameter.chunk(4)[1].fill_(1.0)  # torch orders gates i, f, g, o

    def encode(self, x: Tensor) -> Tensor:
        """Return the embeddings `(B, L)` of windows `(B, T, F)`, from the final hidden state.

        Raises
        ------
        ShapeError
            If `x` is not `(B, T, F)` of the model's F and dtype with B and T at least 1.
        """
        self._require_windows(x)
        return self._embedding(self.encoder(x))

    def forward(
        self, x: Tensor, *, truth: Tensor | None = None, truth_share: float = 0.0
    ) -> Tensor:
        """Return the decoder's output `(B, T, F)` for windows `(B, T, F)`, in the same time order.

        Parameters
        ----------
        x
            Windows, as the encoder gets to see them.
        truth, truth_share
            True steps `(B, T, F)` that a conditional decoder is fed with in training, and their
            share in what it is fed with; the rest is its own output.

        Raises
        ------
        ShapeError
            If `x` is not `(B, T, F)` of the model's F and dtype with B and T at least 1, or
            `truth` is of another shape.
        """
        self._require_windows(x)
        code = self.encoder(x)
        if not truth_share:
            return self.decode(code, x.shape[1])
        self._require_truth(x, truth)
        output: Tensor = self.decoder(code, x.shape[1], truth, truth_share)
        return output

    def decode(self, code: Tensor, length: int) -> Tensor:
        """Return the decoder's output `(B, T, F)` from what crossed the bottleneck, `(B, C)`.

        C is `config.bottleneck_size`: with `config.passes_state` the embedding and the cell state
        beside each other, else the embedding alone.

        Raises
        ------
        ShapeError
            If the code's width is another.
        """
        expected = self.config.bottleneck_size
        if code.ndim != 2 or code.shape[1] != expected:
            beside = "embedding and cell state" if self.config.passes_state else "the embedding"
            raise ShapeError(
                f"code has shape {tuple(code.shape)}; expected (B, {expected}), {beside}. A model "
                "with bottleneck='hidden' can be decoded from embeddings alone"
            )
        output: Tensor = self.decoder(code, length)
        return output

    def reconstruction(self, output: Tensor) -> Tensor:
        """Turn the output `(..., F)` into what it stands for: logits of each group into shares."""
        if self.share_groups is None:
            return output
        rest = self.n_features - sum(self.share_groups)
        *logits, values = torch.split(output, [*self.share_groups, rest], dim=-1)
        return torch.cat([*(group.softmax(dim=-1) for group in logits), values], dim=-1)

    def encode_and_reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings `(B, L)` and reconstruction `(B, T, F)` from one encoding.

        Raises
        ------
        ShapeError
            If `x` is not `(B, T, F)` of the model's F and dtype with B and T at least 1.
        """
        self._require_windows(x)
        code = self.encoder(x)
        return self._embedding(code), self.reconstruction(self.decode(code, x.shape[1]))

    def _embedding(self, code: Tensor) -> Tensor:
        return code[:, : self.config.latent_size]

    def _require_windows(self, x: Tensor) -> None:
        if x.ndim != 3 or x.shape[2] != self.n_features or 0 in x.shape:
            raise ShapeError(
                f"windows have shape {tuple(x.shape)}; expected (B, T, {self.n_features}) with B "
                "and T at least 1. A single window (T, F) needs x[None]; another number of "
                "features needs a model built for it"
            )
        dtype = next(self.parameters()).dtype
        if x.dtype != dtype:
            raise ShapeError(
                f"windows have dtype {x.dtype}; the model's is {dtype}. Cast one of them: "
                f"x.to({dtype}) or model.to(x.dtype)"
            )

    def _require_truth(self, x: Tensor, truth: Tensor | None) -> None:
        if not self.config.is_conditional:
            raise ValueError(
                f"truth_share is above 0, but a {self.config.decoder!r} decoder is not fed with "
                "any step; choose 'closed_loop', 'teacher_forcing' or 'scheduled_mix'"
            )
        if truth is None or truth.shape != x.shape:
            got = None if truth is None else tuple(truth.shape)
            raise ShapeError(f"truth has shape {got}; expected {tuple(x.shape)}, the windows'")


def _require_groups(groups: tuple[int, ...] | None, n_features: int) -> None:
    if groups is None:
        return
    if not groups or min(groups) < 1 or sum(groups) > n_features:
        raise ValueError(
            f"share_groups is {groups} and n_features {n_features}; each group needs at least one "
            "feature, and together they can't have more than there are"
        )
