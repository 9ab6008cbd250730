"""The architecture of an autoencoder: which designs there are and which options go together."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

__all__ = ["AutoencoderConfig", "Bottleneck", "DecoderKind", "Direction"]

DecoderKind = Literal[
    "closed_loop", "teacher_forcing", "scheduled_mix", "repeat_vector", "repeat_vector_wide"
]
Direction = Literal["reverse", "forward"]
Bottleneck = Literal["state", "hidden"]

_CONDITIONAL = ("closed_loop", "teacher_forcing", "scheduled_mix")


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Architecture of an `LSTMAutoencoder`.

    Attributes
    ----------
    decoder
        `"closed_loop"`, `"teacher_forcing"` and `"scheduled_mix"`: the conditional decoder of
        EncDec-AD (Malhotra et al. 2016, arXiv 1607.00148), which is fed with the previous step.
        In training that is its own output, the true value, or a mix whose share of truth falls
        from 1 to 0 (after Bengio et al. 2015, arXiv 1506.03099); afterwards it is always its own
        output. `"repeat_vector"`: the decoder of Srivastava et al. 2015 (arXiv 1502.04681) in the
        Keras form, which reads the embedding at every step, with a dense layer a step.
        `"repeat_vector_wide"`: its last LSTM is as wide as the data and nothing follows it; its
        output lies in (-1, 1).
    latent_size
        L, the width of the embedding.
    hidden_sizes
        Widths of the encoder's LSTMs from first to last; the decoder's are the same in reverse.
        None means one LSTM of `latent_size`. `(64, 64)` is a stack of two, `(128, 64)` one that
        widens and then narrows; `(300,)` with a latent size of 64 puts a linear bottleneck
        between two wide LSTMs.
    bidirectional
        Whether a second encoder reads the window from its end. The embedding is a linear map of
        the final hidden states of both.
    embedding_size
        Each step is projected to this width before it enters the encoder; 0 means that it enters
        as it is. A width under F keeps the first LSTM from learning single values by heart.
    bottleneck
        What crosses from encoder to decoder. `"state"`: the final hidden and cell state of a
        single LSTM, 2 L numbers, as in EncDec-AD; the embedding is the former. `"hidden"`: the
        embedding alone, L numbers, from which a linear map makes the decoder's first states.
        None means `"state"` where that is possible and `"hidden"` elsewhere.
    direction
        Of the conditional decoder: from the last step back to the first, or forward.
    dropout
        Between the LSTMs of a stack.

    Raises
    ------
    ValueError
        If a value is out of its range or an option would do nothing beside the others.

    Examples
    --------
    >>> AutoencoderConfig(latent_size=32).encoder_sizes
    (32,)
    >>> AutoencoderConfig(hidden_sizes=(128, 64), dropout=0.1).decoder_sizes
    (64, 128)
    >>> AutoencoderConfig(dropout=0.1)
    Traceback (most recent call last):
    ...
    ValueError: dropout is 0.1 but acts between LSTMs, and there is only one; give hidden_sizes ...
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    decoder: DecoderKind = "closed_loop"
    latent_size: int = 64
    hidden_sizes: tuple[int, ...] | None = None
    bidirectional: bool = False
    embedding_size: int = 0
    bottleneck: Bottleneck | None = None
    direction: Direction = "reverse"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values outside their range and options without effect."""
        if self.hidden_sizes is not None:  # JSON and TOML know lists only
            object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        self._require_ranges()
        self._require_effect()

    @property
    def encoder_sizes(self) -> tuple[int, ...]:
        """Widths of the encoder's LSTMs, the one that reads the data first."""
        return self.hidden_sizes or (self.latent_size,)

    @property
    def decoder_sizes(self) -> tuple[int, ...]:
        """Widths of the decoder's LSTMs, the one that writes the data last."""
        return self.encoder_sizes[::-1]

    @property
    def is_conditional(self) -> bool:
        """Whether the decoder is fed with the previous step."""
        return self.decoder in _CONDITIONAL

    @property
    def passes_state(self) -> bool:
        """Whether the cell state crosses beside the hidden one."""
        return self.bottleneck != "hidden" and self._can_pass_state

    @property
    def bottleneck_size(self) -> int:
        """How many numbers of a window reach the decoder."""
        return 2 * self.latent_size if self.passes_state else self.latent_size

    @property
    def _can_pass_state(self) -> bool:
        one_lstm = self.encoder_sizes == (self.latent_size,) and not self.bidirectional
        return one_lstm and self.is_conditional

    def _require_ranges(self) -> None:
        choices = {"decoder": DecoderKind, "direction": Direction}
        for name, literal in choices.items():
            _require_choice(name, getattr(self, name), get_args(literal))
        _require_choice("bottleneck", self.bottleneck, (None, *get_args(Bottleneck)))
        for name, least in (("latent_size", 1), ("embedding_size", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.hidden_sizes is not None and (
            not self.hidden_sizes or any(size < 1 for size in self.hidden_sizes)
        ):
            raise ValueError(
                f"hidden_sizes is {self.hidden_sizes}; it needs at least one LSTM, each at least "
                "1 wide, or None for a single one of latent_size"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be in [0, 1)")

    def _require_effect(self) -> None:
        if self.dropout and len(self.encoder_sizes) == 1:
            raise ValueError(
                f"dropout is {self.dropout} but acts between LSTMs, and there is only one; give "
                "hidden_sizes of several, or use input_dropout in training"
            )
        if self.direction == "forward" and not self.is_conditional:
            raise ValueError(
                f"direction is 'forward', but a {self.decoder!r} decoder is not fed with any "
                "step; leave it at 'reverse' or choose a conditional decoder"
            )
        if self.bottleneck == "state" and not self._can_pass_state:
            raise ValueError(
                "bottleneck is 'state', which a conditional decoder after a single LSTM in one "
                f"direction of latent_size can take; here the decoder is {self.decoder!r}, the "
                f"LSTMs are {self.encoder_sizes} wide and latent_size is {self.latent_size}. Use "
                "'hidden'"
            )


def _require_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {list(choices)}")
