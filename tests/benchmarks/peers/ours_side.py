"""Foreshock's side: `models.train`, whose reports count the training and no validation."""

import numpy as np
from turns import Turns, Work

from models import AutoencoderConfig, LSTMAutoencoder, TrainingConfig, train


def main() -> None:
    """Train with a decoder, an epoch a turn.

    Nothing is dropped from the input, for none of the peers does so. Patience never runs out,
    and a single window is validated.
    """
    work, turns = Work.read(), Turns()
    values = work.values()
    starts = np.arange(len(values) - work.length + 1)
    windows = np.stack([np.zeros_like(starts), starts], axis=1)
    autoencoder = AutoencoderConfig(decoder=work.variant, latent_size=work.hidden)
    turns.ready(LSTMAutoencoder(values.shape[1], autoencoder))
    train(
        values[None],
        np.ones((1, len(values)), dtype=np.bool_),
        windows,
        windows[:1],
        length=work.length,
        autoencoder=autoencoder,
        training=TrainingConfig(
            loss="mse",
            epochs=work.epochs,
            patience=work.epochs,
            batch_size=work.batch,
            learning_rate=work.learning_rate,
            input_dropout=0.0,
            device="cpu",
        ),
        on_epoch=lambda report: turns.report(len(windows) / report.windows_per_second),
    )


if __name__ == "__main__":
    main()
