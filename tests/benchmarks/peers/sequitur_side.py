"""Sequitur's side: `LSTM_AE` and its own `train_model`, which takes one window at a time.

Without hidden layers `LSTM_AE` raises an IndexError, so it gets one of the width of the others'
embedding: two LSTMs on either side.
"""

from sequitur.models import LSTM_AE
from sequitur.quick_train import train_model
from turns import Turns, Work


def main() -> None:
    """Run epochs by turns."""
    work, turns = Work.read(), Turns()
    windows = list(work.windows())
    model = LSTM_AE(windows[0].shape[1], work.hidden, h_dims=[work.hidden])

    def epoch() -> None:
        train_model(model, windows, verbose=False, lr=work.learning_rate, epochs=1, denoise=False)

    turns.run(model, epoch)


if __name__ == "__main__":
    main()
