"""Numalogic's side: `LSTMAE` with the loss and the optimiser that it configures for itself.

The loop is a plain one on windows made beforehand. Numalogic trains with Lightning, whose
callbacks and logging are left out here, which is generous to it.
"""

import torch
from numalogic.models.autoencoder.variants.lstm import LSTMAE
from turns import Turns, Work


def main() -> None:
    """Run epochs by turns."""
    work, turns = Work.read(), Turns()
    windows = work.windows()
    model = LSTMAE(
        seq_len=work.length,
        no_features=windows.shape[2],
        embedding_dim=work.hidden,
        lr=work.learning_rate,
    )
    optimizer = model.configure_optimizers()["optimizer"]

    def epoch() -> None:
        model.train()
        for rows in torch.randperm(len(windows)).split(work.batch):
            loss = model.get_reconstruction_loss(windows[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    turns.run(model, epoch)


if __name__ == "__main__":
    main()
