"""The closed loop as it is mostly written: an `LSTMCell` called step by step, its output fed back.

The model has the weights and computes the outputs of Foreshock's `closed_loop`. It is trained
like that, with a clipped gradient and Adam, but spared the mask of steps without events.
"""

import torch
from torch import Tensor, nn
from turns import Turns, Work


class NaiveAutoencoder(nn.Module):
    """EncDec-AD, fed with its own output from the last step back to the first."""

    def __init__(self, n_features: int, latent_size: int) -> None:
        super().__init__()
        self.encoder = nn.LSTM(n_features, latent_size, batch_first=True)
        self.cell = nn.LSTMCell(n_features, latent_size)
        self.output = nn.Linear(latent_size, n_features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction `(B, T, F)` of windows `(B, T, F)`."""
        h, c = (state[0] for state in self.encoder(x)[1])
        steps = [self.output(h)]
        for _ in range(x.shape[1] - 1):
            h, c = self.cell(steps[-1], (h, c))
            steps.append(self.output(h))
        return torch.stack(steps[::-1], dim=1)


def main() -> None:
    """Run epochs by turns."""
    work, turns = Work.read(), Turns()
    windows = work.windows()
    model = NaiveAutoencoder(windows.shape[2], work.hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=work.learning_rate)

    def epoch() -> None:
        for rows in torch.randperm(len(windows)).split(work.batch):
            x = windows[rows]
            loss = nn.functional.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    turns.run(model, epoch)


if __name__ == "__main__":
    main()
