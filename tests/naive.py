"""Slow, obvious oracles that the fast functions are compared with."""

import numpy as np
import torch

from models.autoencoder import LSTMAutoencoder

SEQUENCE = np.array(
    [
        [0.5122, 0.0360, 0.7027, 0.0721, 0.1892],
        [0.5177, 0.0833, 0.6574, 0.1204, 0.1389],
        [0.4643, 0.0364, 0.6242, 0.1576, 0.1818],
        [0.4375, 0.0133, 0.5733, 0.1867, 0.2267],
        [0.4838, 0.0625, 0.6042, 0.1771, 0.1562],
        [0.4804, 0.0175, 0.6798, 0.1053, 0.1974],
        [0.5030, 0.0445, 0.6712, 0.1438, 0.1404],
        [0.4987, 0.0490, 0.6699, 0.1536, 0.1275],
        [0.4898, 0.0388, 0.6704, 0.1330, 0.1579],
        [0.4711, 0.0390, 0.5877, 0.1532, 0.2201],
        [0.4627, 0.0484, 0.5269, 0.1882, 0.2366],
        [0.5043, 0.0807, 0.6646, 0.1429, 0.1118],
        [0.4852, 0.0606, 0.6364, 0.1515, 0.1515],
        [0.5279, 0.0629, 0.6886, 0.1514, 0.0971],
    ]
)
"""Fourteen steps of mean intensity and four quad-class proportions, from ICEWS."""


def closed_loop(model: LSTMAutoencoder, x: torch.Tensor) -> torch.Tensor:
    """EncDec-AD's decoder, a step at a time, each output fed back into the cell."""
    _, (h, c) = model.encoder(x)
    h, c = h[0], c[0]
    cell, output = model.decoder.cell, model.decoder.output
    steps = [output(h)]
    for _ in range(x.shape[1] - 1):
        h, c = cell(steps[-1], (h, c))
        steps.append(output(h))
    return torch.stack(steps[::-1], dim=1)


def repeat_vector(model: LSTMAutoencoder, x: torch.Tensor) -> torch.Tensor:
    """The Keras form: LSTM, RepeatVector, LSTM, TimeDistributed(Dense)."""
    _, (h, _) = model.encoder(x)
    hidden, _ = model.decoder.lstm(torch.stack([h[0]] * x.shape[1], dim=1))
    return torch.stack([model.decoder.output(hidden[:, t]) for t in range(x.shape[1])], dim=1)


def masked_loss(
    output: np.ndarray, target: np.ndarray, observed: np.ndarray, kind: str = "mse"
) -> float:
    """Mean over observed steps and features, one value at a time."""
    total, n = 0.0, 0
    for index in np.ndindex(output.shape):
        if observed[index[:-1]]:
            residual = abs(float(output[index]) - float(target[index]))
            if kind == "mse":
                total += residual**2
            elif kind == "l1":
                total += residual
            else:
                total += residual**2 / 2 if residual <= 1 else residual - 0.5
            n += 1
    return total / max(n, 1)


def window(cube: np.ndarray, row: np.ndarray, length: int) -> np.ndarray:
    """The steps of one window, by slicing."""
    entity, start = row
    return cube[entity, start : start + length]


def scores(
    model: LSTMAutoencoder,
    cube: np.ndarray,
    observed: np.ndarray,
    windows: np.ndarray,
    length: int,
) -> dict[str, np.ndarray]:
    """Every array of `Scores`, one window and one step at a time."""
    n_entities, n_steps, _ = cube.shape
    squared = [[[] for _ in range(n_steps)] for _ in range(n_entities)]
    outputs = [[[] for _ in range(n_steps)] for _ in range(n_entities)]
    embeddings, window_error = [], []
    for row in windows:
        x = window(cube, row, length)
        with torch.no_grad():
            embeddings.append(model.encode(torch.tensor(x)[None])[0].numpy())
            output = model(torch.tensor(x)[None])[0].numpy()
        mask = window(observed, row, length)
        window_error.append(masked_loss(output, x, mask) if mask.any() else np.nan)
        for offset in range(length):
            squared[row[0]][row[1] + offset].append((output[offset] - x[offset]) ** 2)
            outputs[row[0]][row[1] + offset].append(output[offset])
    step_feature_error = np.full(cube.shape, np.nan)
    step_reconstruction = np.full(cube.shape, np.nan)
    coverage = np.zeros((n_entities, n_steps), dtype=int)
    for entity, step in np.ndindex(n_entities, n_steps):
        coverage[entity, step] = len(outputs[entity][step])
        if outputs[entity][step]:
            step_reconstruction[entity, step] = np.mean(outputs[entity][step], axis=0)
            if observed[entity, step]:
                step_feature_error[entity, step] = np.mean(squared[entity][step], axis=0)
    return {
        "embeddings": np.array(embeddings),
        "window_error": np.array(window_error),
        "step_feature_error": step_feature_error,
        "step_reconstruction": step_reconstruction,
        "coverage": coverage,
    }


def training_mean(
    cube: np.ndarray, observed: np.ndarray, windows: np.ndarray, length: int
) -> np.ndarray:
    """Mean of the observed steps that windows cover, each step once."""
    steps = {(entity, start + k) for entity, start in windows.tolist() for k in range(length)}
    return np.mean([cube[step].astype(float) for step in steps if observed[step]], axis=0)


def last_value(x: np.ndarray, observed: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Each step of one window `(T, F)` predicted by the last observed one before it."""
    predictions = []
    latest = mean
    for step in range(len(x)):
        predictions.append(latest)
        if observed[step]:
            latest = x[step]
    return np.array(predictions)


def principal_components(fitted: np.ndarray, judged: np.ndarray, n_components: int) -> np.ndarray:
    """Reconstruct rows by the leading right singular vectors of the centred fitted rows."""
    mean = fitted.mean(axis=0)
    _, _, directions = np.linalg.svd(fitted - mean, full_matrices=False)
    basis = directions[:n_components]
    return mean + (judged - mean) @ basis.T @ basis
