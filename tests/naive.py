"""Slow, obvious oracles that the fast functions are compared with.

The tests of models run where features can't be imported, so their types are named here only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.autoencoder import LSTMAutoencoder

if TYPE_CHECKING:
    from features.aggregate import Entity, Step
    from features.ingest import StagedFile
    from features.split import Split
    from features.vocabulary import Vocabulary
    from features.windows import WindowConfig


def encode(model: LSTMAutoencoder, x: torch.Tensor) -> torch.Tensor:
    """What crosses the bottleneck, each LSTM's cell called a step and direction at a time."""
    config, encoder = model.config, model.encoder
    steps = [encoder.embedding(x[:, t]) for t in range(x.shape[1])]
    for lstm in encoder.layers:
        forward, h, c = _cells(lstm, "", steps)
        if config.bidirectional:
            backward, h_backward, _ = _cells(lstm, "_reverse", steps[::-1])
            pairs = zip(forward, backward[::-1], strict=True)
            forward = [torch.cat(pair, dim=1) for pair in pairs]
            h = torch.cat([h, h_backward], dim=1)
        steps = forward
    embedding = encoder.latent(h)
    return torch.cat([embedding, c], dim=1) if config.passes_state else embedding


def _cells(
    lstm: torch.nn.LSTM, suffix: str, steps: list[torch.Tensor]
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    w_ih, w_hh, b_ih, b_hh = (
        getattr(lstm, f"{name}_l0{suffix}")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = c = steps[0].new_zeros(len(steps[0]), lstm.hidden_size)
    outputs = []
    for x in steps:
        i, f, g, o = (x @ w_ih.T + h @ w_hh.T + b_ih + b_hh).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return outputs, h, c


def conditional(
    model: LSTMAutoencoder,
    code: torch.Tensor,
    length: int,
    truth: torch.Tensor | None = None,
    truth_share: float = 0.0,
) -> torch.Tensor:
    """The conditional decoder, a step and a cell at a time, fed with the previous step."""
    decoder, is_reverse = model.decoder, model.config.direction == "reverse"
    h, c = decoder.start(code).chunk(2, dim=1)
    sizes = model.config.decoder_sizes
    states = list(zip(h.split(sizes, dim=1), c.split(sizes, dim=1), strict=True))
    order = list(range(length))[::-1] if is_reverse else list(range(length))
    decoded = {order[0]: decoder.output(states[-1][0])}
    for previous, step in itertools.pairwise(order):
        x = decoded[previous]
        if truth is not None:
            x = truth_share * truth[:, previous] + (1 - truth_share) * x
        for layer, cell in enumerate(decoder.cells):
            states[layer] = cell(x, states[layer])
            x = states[layer][0]
        decoded[step] = decoder.output(x)
    return torch.stack([decoded[step] for step in range(length)], dim=1)


def repeat_vector(model: LSTMAutoencoder, code: torch.Tensor, length: int) -> torch.Tensor:
    """The Keras form: RepeatVector, LSTMs, TimeDistributed(Dense)."""
    steps = [code] * length
    for lstm in model.decoder.layers:
        steps, _, _ = _cells(lstm, "", steps)
    return torch.stack([model.decoder.output(step) for step in steps], dim=1)


def loss_and_weight(
    output: np.ndarray,
    target: np.ndarray,
    observed: np.ndarray,
    weight: np.ndarray,
    kind: str = "mse",
    groups: Sequence[int] = (),
) -> tuple[float, float]:
    """Weighted sum of losses and the weight of the values in it, one value at a time."""
    total, total_weight = 0.0, 0.0
    for step in np.ndindex(observed.shape):
        if not observed[step]:
            continue
        first, loss = 0, 0.0
        for size in groups:
            logits = output[step][first : first + size].astype(float)
            likelihood = np.exp(logits) / np.exp(logits).sum()
            for share, expected in zip(target[step][first : first + size], likelihood, strict=True):
                loss += 2 * share * np.log(share / expected) if share > 0 else 0.0
            first += size
        for feature in range(first, output.shape[-1]):
            residual = abs(float(output[step][feature]) - float(target[step][feature]))
            if kind in {"mse", "multinomial"}:
                loss += residual**2
            elif kind == "l1":
                loss += residual
            else:
                loss += residual**2 / 2 if residual <= 1 else residual - 0.5
        total += loss * weight[step]
        total_weight += weight[step] * output.shape[-1]
    return total, total_weight


def masked_loss(
    output: np.ndarray, target: np.ndarray, observed: np.ndarray, kind: str = "mse"
) -> float:
    """Mean over observed steps and features, one value at a time."""
    total, weight = loss_and_weight(output, target, observed, np.ones(observed.shape), kind)
    return total / max(weight, 1)


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


# Features. An event is a dictionary of the columns of the lake.

Row = dict[str, Any]


def entities_of(row: Row, entity: Entity) -> list[str]:
    """The entities that an event counts for, each once."""
    source, target = row["source_country"], row["target_country"]
    pair = source is not None and target is not None and source != target
    if entity == "world":
        return ["World"]
    if entity == "either_country":
        return sorted({party for party in (source, target) if party is not None})
    if entity == "directed_dyad":
        return [f"{source}->{target}"] if pair else []
    if entity == "undirected_dyad":
        return ["--".join(sorted([source, target]))] if pair else []
    return [row[entity]] if row[entity] is not None else []


def step_start(day: date, step: Step) -> date:
    """The first day of a step: back a day at a time, to a Monday or to the first of a month."""
    while (step == "week" and day.isoweekday() != 1) or (step == "month" and day.day != 1):
        day -= timedelta(days=1)
    return day


def steps_between(first: date, last: date, step: Step) -> list[date]:
    """The first day of every step that any day from first to last lies in."""
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    return sorted({step_start(day, step) for day in days})


def quad_class(code: str) -> str:
    """The quad class by the bounds of the codebook: 01-05, 06-08, 09-13, 14-20."""
    root = int(code[:2])
    manner = "cooperation" if root <= 8 else "conflict"
    kind = "verbal" if root <= 5 or 9 <= root <= 13 else "material"
    return f"{kind}_{manner}"


def listed(row: Row, field: str) -> set[str]:
    """The members of a list of sectors or contexts, whatever their order and their repeats."""
    text = row[field] or ""
    return {member.strip() for member in text.split(",")} - {""}


def one_hot(row: Row, vocabulary: Vocabulary) -> list[float]:
    """One event as a row of zeros and ones, and its intensity scaled to 0...1, NaN if absent."""
    known = {feature.category for feature in vocabulary.features if feature.block == "event_type"}
    code = row["event_code"] if row["event_code"] in known else "other"
    values = []
    for feature in vocabulary.features:
        if feature.block == "event_type":
            values.append(float(feature.category == code))
        elif feature.block == "quad":
            values.append(float(feature.category == quad_class(row["event_code"])))
        elif feature.block == "root":
            values.append(float(feature.category == row["event_code"][:2]))
        elif feature.block == "intensity":
            absent = row["intensity"] is None
            values.append(np.nan if absent else (row["intensity"] + 10) / 20)
        elif feature.block == "log_volume":
            values.append(0.0)
        else:
            values.append(float(feature.category in listed(row, f"{feature.block}s")))
    return values


def proportions(
    rows: Sequence[Row], vocabulary: Vocabulary, entity: Entity, step: Step
) -> tuple[list[str], list[date], np.ndarray, np.ndarray]:
    """Entities, steps, values and exposure: the mean of the one-hot rows, cell by cell."""
    found = [(name, row) for row in rows for name in entities_of(row, entity)]
    entities = sorted({name for name, _ in found})
    days = [row["event_date"] for _, row in found]
    steps = steps_between(min(days), max(days), step)
    exposure = np.zeros((len(entities), len(steps)), dtype=int)
    values = np.full((*exposure.shape, len(vocabulary.features)), np.nan)
    for e, s in np.ndindex(exposure.shape):
        cell = [
            one_hot(row, vocabulary)
            for name, row in found
            if name == entities[e] and step_start(row["event_date"], step) == steps[s]
        ]
        exposure[e, s] = len(cell)
        if cell:
            values[e, s] = np.mean(cell, axis=0)
            for f, feature in enumerate(vocabulary.features):
                if feature.block == "log_volume":
                    values[e, s, f] = np.log(1 + len(cell))
                if feature.block == "intensity":
                    given = [row[f] for row in cell if not np.isnan(row[f])]
                    values[e, s, f] = np.mean(given) if given else 0.5
    return entities, steps, values, exposure


def category_counts(
    rows: Sequence[Row], entity: Entity, step: Step
) -> dict[tuple[str, date, str, str], int]:
    """Events by entity, step, field and category, an event at a time."""
    counts: dict[tuple[str, date, str, str], int] = {}
    for row in rows:
        categories = [("event_code", row["event_code"])]
        for field in ("source_sectors", "target_sectors", "contexts"):
            categories += [(field, member) for member in listed(row, field)]
        for name in entities_of(row, entity):
            for field, category in categories:
                key = (name, step_start(row["event_date"], step), field, category)
                counts[key] = counts.get(key, 0) + 1
    return counts


def file_order(names: Sequence[str]) -> list[str]:
    """Yearly files, the latest release first, then the others by name.

    Yearly files are those named ``events.YYYY.<14 digits>.tab``.
    """
    yearly = [name for name in names if name.startswith("events.")]
    others = [name for name in names if not name.startswith("events.")]
    return sorted(yearly, key=lambda name: name.split(".")[2], reverse=True) + sorted(others)


def resolve_duplicates(
    rows: Sequence[Row], files: Sequence[StagedFile], *, one_report_a_day: bool = False
) -> tuple[list[Row], list[Row]]:
    """Events and duplicates, a row at a time in order of file precedence and line."""
    order = file_order([file.name for file in files])
    edition = {file.name: file.edition for file in files}
    origin: dict[tuple[str, date], str] = {}
    seen: set[tuple[Any, ...]] = set()
    events, duplicates = [], []

    def set_apart(row: Row, reason: str, by: str | None = None) -> None:
        duplicates.append(row | {"reason": reason, "superseded_by": by})

    for row in sorted(rows, key=lambda row: (order.index(row["file"]), row["line"])):
        key = (row["event_id"], row["event_date"])
        report = (row["event_date"], row["source_name"], row["target_name"], row["event_code"])
        covering = [
            file.name
            for file in sorted(files, key=lambda file: order.index(file.name))
            if file.edition == "yearly"
            and file.first_event is not None
            and order.index(file.name) < order.index(row["file"])
            and file.first_event <= row["event_date"] <= file.last_event
            and row["event_date"].year == int(file.name.split(".")[1])
        ]
        if covering and edition[row["file"]] != "other":
            set_apart(row, "superseded", covering[0])
        elif key in origin:
            where = "in file" if origin[key] == row["file"] else "across files"
            set_apart(row, f"repeated {where}")
        else:
            origin[key] = row["file"]
            if one_report_a_day and None not in report and report in seen:
                set_apart(row, "another report")
            else:
                events.append(row)
            seen.add(report)
    return events, duplicates


def find_windows(exposure: np.ndarray, config: WindowConfig) -> list[tuple[int, int, int]]:
    """Entity, first step and events of every window, by trying each."""
    found = []
    for entity, steps in enumerate(exposure.tolist()):
        for start in range(0, len(steps) - config.length + 1, config.stride):
            inside = steps[start : start + config.length]
            enough = sum(n >= config.min_step_events for n in inside) / config.length
            if enough >= config.min_observed and sum(inside) >= config.min_window_events:
                found.append((entity, start, sum(inside)))
    return found


def part_of_window(start: int, length: int, split: Split) -> str:
    """The part that all steps of a window lie in, or ``between``."""
    parts = set()
    for step in range(start, start + length):
        if step < split.training_end:
            parts.add("training")
        elif split.validation_start <= step < split.validation_end:
            parts.add("validation")
        elif step >= split.held_out_start:
            parts.add("held_out")
        else:
            parts.add("gap")
    return parts.pop() if len(parts) == 1 and parts != {"gap"} else "between"


def difference(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Each observed step less the last observed one, a number at a time."""
    changes = np.zeros_like(values)
    for entity, feature in np.ndindex(values.shape[0], values.shape[2]):
        last = 0.0
        for step in range(values.shape[1]):
            if observed[entity, step]:
                changes[entity, step, feature] = values[entity, step, feature] - last
                last = values[entity, step, feature]
    return changes


def undifference(changes: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Add the changes up again, a number at a time."""
    values = np.full(changes.shape, np.nan)
    for entity, feature in np.ndindex(values.shape[0], values.shape[2]):
        last = 0.0
        for step in range(values.shape[1]):
            if observed[entity, step]:
                last += float(changes[entity, step, feature])
                values[entity, step, feature] = last
    return values


def split_lines(text: bytes, n_fields: int) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """The lines after the header by number: those with so many fields, and the others."""
    fitting: dict[int, bytes] = {}
    ragged: dict[int, bytes] = {}
    lines = text.removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines[1:], start=2):
        (fitting if line.count(b"\t") + 1 == n_fields else ragged)[number] = line
    return fitting, ragged


def pearson_errors(
    observed: np.ndarray, expected: np.ndarray, exposure: np.ndarray, is_share: np.ndarray
) -> np.ndarray:
    """n (x - m)² / (m (1 - m) + 0.5/n), a value at a time; nan without events."""
    errors = np.full(observed.shape, np.nan)
    for place in np.ndindex(*exposure.shape):
        n = int(exposure[place])
        for feature in range(observed.shape[-1]):
            if n == 0:
                continue
            x, m = float(observed[place][feature]), float(expected[place][feature])
            variance = 1.0
            if is_share[feature]:
                m = min(max(m, 0.0), 1.0)
                variance = m * (1 - m)
            errors[(*place, feature)] = n * (x - m) ** 2 / (variance + 0.5 / n)
    return errors
