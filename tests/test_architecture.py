"""Laws of the architecture's configuration: nothing is ignored, nothing out of range."""

from typing import Any

import pytest

from models.architecture import AutoencoderConfig


def test_one_lstm_of_the_latent_size_is_the_default() -> None:
    config = AutoencoderConfig(latent_size=9)
    assert config.encoder_sizes == config.decoder_sizes == (9,)
    assert config.passes_state
    assert config.bottleneck_size == 18


def test_the_decoder_mirrors_a_stack_that_widens_and_then_narrows() -> None:
    config = AutoencoderConfig(hidden_sizes=[128, 64, 32], latent_size=32)
    assert config.encoder_sizes == (128, 64, 32)
    assert config.decoder_sizes == (32, 64, 128)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_sizes": (8, 4)},
        {"hidden_sizes": (8,)},
        {"bidirectional": True},
        {"decoder": "repeat_vector"},
        {"bottleneck": "hidden"},
    ],
)
def test_where_no_single_state_can_cross_the_embedding_alone_does(options: dict[str, Any]) -> None:
    config = AutoencoderConfig(latent_size=4, **options)
    assert not config.passes_state
    assert config.bottleneck_size == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latent_size": 0}, "latent_size is 0"),
        ({"embedding_size": -1}, "embedding_size is -1"),
        ({"decoder": "transformer"}, "decoder is 'transformer'"),
        ({"direction": "sideways"}, "direction is 'sideways'"),
        ({"bottleneck": "cell"}, "bottleneck is 'cell'"),
        ({"hidden_sizes": ()}, "at least one LSTM"),
        ({"hidden_sizes": (4, 0)}, r"hidden_sizes is \(4, 0\)"),
        ({"dropout": 1.0, "hidden_sizes": (4, 4)}, "dropout is 1.0"),
        ({"dropout": 0.1}, "there is only one"),
        ({"dropout": 0.1, "hidden_sizes": (4,)}, "there is only one"),
        ({"direction": "forward", "decoder": "repeat_vector"}, "not fed with any step"),
        ({"bottleneck": "state", "decoder": "repeat_vector"}, "Use 'hidden'"),
        ({"bottleneck": "state", "hidden_sizes": (4, 64)}, "Use 'hidden'"),
        ({"bottleneck": "state", "bidirectional": True}, "Use 'hidden'"),
    ],
)
def test_values_out_of_range_and_options_without_effect_are_refused(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        AutoencoderConfig(**options)
