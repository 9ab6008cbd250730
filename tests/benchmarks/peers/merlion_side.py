"""Merlion's side: `LSTMED`, trained by its own loop or by the same loop on ready batches."""

import pandas as pd
import torch
from merlion.models.anomaly import lstm_ed
from turns import Turns, Work


def run_own_loop(work: Work, turns: Turns) -> None:
    """Train with `LSTMED._train`, which makes batches of a series' windows as it goes.

    It is called rather than `train`, which would also standardise the series and calibrate
    scores; the scoring at its own end is never reached. The loop tells its progress bar of the
    end of each epoch, so a stand-in for the bar takes the time.
    """
    values = work.values()
    detector = lstm_ed.LSTMED(
        lstm_ed.LSTMEDConfig(
            hidden_size=work.hidden,
            sequence_len=work.length,
            lr=work.learning_rate,
            batch_size=work.batch,
            num_epochs=work.epochs,
        )
    )

    class Bar:
        def __init__(self, total: int) -> None:
            turns.ready(detector.lstmed)

        def print(self, *_: object, **__: object) -> None:
            turns.lap()

    lstm_ed.ProgressBar = Bar
    detector._train(pd.DataFrame(values, pd.date_range("2000", periods=len(values), freq="D")))


def run_module(work: Work, turns: Turns) -> None:
    """Train `LSTMEDModule` with the steps of that loop, on batches of windows made beforehand.

    This leaves out what its loader costs, and so is generous to it.
    """
    windows = work.windows()
    model = lstm_ed.LSTMEDModule(windows.shape[2], work.hidden, (1, 1), (0, 0), "cpu")
    optimizer = torch.optim.Adam(model.parameters(), lr=work.learning_rate)
    loss_function = torch.nn.MSELoss(reduction="sum")

    def epoch() -> None:
        model.train()
        for rows in torch.randperm(len(windows)).split(work.batch):
            batch = windows[rows]
            loss = loss_function(model(batch), batch)
            model.zero_grad()
            loss.backward()
            optimizer.step()

    turns.run(model, epoch)


if __name__ == "__main__":
    given = Work.read()
    (run_module if given.variant == "module" else run_own_loop)(given, Turns())
