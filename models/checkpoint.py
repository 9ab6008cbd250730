"""Checkpoints: weights that hold no code, beside JSON that people can read."""

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.causes import Evidence
from models.diagnosis import Diagnosis
from models.errors import CheckpointError
from models.resumption import write_whole
from models.training_config import EpochReport, TrainedModel, TrainingConfig

__all__ = ["FORMAT_VERSION", "Checkpoint", "load", "save"]

FORMAT_VERSION = 2

_WEIGHTS = "model.pt"
_DESCRIPTION = "model.json"
_KEYS = frozenset(
    {
        "format_version",
        "torch_version",
        "weights_sha256",
        "n_features",
        "length",
        "share_groups",
        "autoencoder",
        "training",
        "best_epoch",
        "history",
        "diagnosis",
        "extra",
    }
)

Dataclass = TypeVar("Dataclass")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What `load` reads.

    Attributes
    ----------
    trained
        As it was saved; the model is on the CPU, in eval mode.
    diagnosis
        None if none was saved.
    extra
        What the caller of `save` added.
    torch_version
        That wrote the weights.
    """

    trained: TrainedModel
    diagnosis: Diagnosis | None
    extra: dict[str, Any]
    torch_version: str


def save(
    folder: Path | str,
    trained: TrainedModel,
    *,
    diagnosis: Diagnosis | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write `model.pt`, a state dict, and `model.json`, everything else.

    Each file is renamed into place when it is whole, the JSON last and with the weights'
    SHA-256; a checkpoint that was there is unmade first. An interrupted save therefore leaves
    a folder that `load` refuses.

    Parameters
    ----------
    folder
        Made if it is not there. Other files in it are left alone.
    trained
        What `train` returned.
    diagnosis
        Kept beside the model.
    extra
        Anything that JSON holds, such as the names of the features.

    Raises
    ------
    ValueError
        If `extra` holds something that JSON cannot; nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> trained = TrainedModel(
    ...     model=LSTMAutoencoder(2), n_features=2, length=7, autoencoder=AutoencoderConfig(),
    ...     training=TrainingConfig(), history=(), best_epoch=0,
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder, trained, extra={"features": ["coop", "conf"]})
    ...     load(folder).extra
    {'features': ['coop', 'conf']}
    """
    folder = Path(folder)
    weights = _weights_bytes(trained.model)
    description = {
        "format_version": FORMAT_VERSION,
        "torch_version": str(torch.__version__),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "n_features": trained.n_features,
        "length": trained.length,
        "share_groups": trained.model.share_groups,
        "autoencoder": dataclasses.asdict(trained.autoencoder),
        "training": dataclasses.asdict(trained.training),
        "best_epoch": trained.best_epoch,
        "history": [dataclasses.asdict(report) for report in trained.history],
        "diagnosis": None if diagnosis is None else diagnosis.to_dict(),
        "extra": dict(extra or {}),
    }
    try:
        text = json.dumps(description, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the checkpoint's description does not fit into JSON: {error}; give extra only "
            "strings, finite numbers, booleans, None, lists and dicts"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    write_whole(folder / _WEIGHTS, weights)
    write_whole(folder / _DESCRIPTION, text.encode() + b"\n")


def load(folder: Path | str) -> Checkpoint:
    """Read what `save` wrote: weights bit for bit, configurations and history equal.

    Raises
    ------
    CheckpointError
        If the folder holds no whole checkpoint, the format version is another, keys are
        unknown or missing, or the weights are not those that the description was written for.

    Examples
    --------
    See `save`.
    """
    folder = Path(folder)
    description = _read_description(folder)
    weights = _read_weights(folder, description["weights_sha256"])
    autoencoder = _build(AutoencoderConfig, description["autoencoder"], folder)
    model = LSTMAutoencoder(
        description["n_features"], autoencoder, share_groups=description["share_groups"]
    )
    try:
        model.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    except RuntimeError as error:
        raise CheckpointError(f"{folder / _WEIGHTS} does not fit its configuration: {error}") from (
            error
        )
    trained = TrainedModel(
        model=model.eval(),
        n_features=description["n_features"],
        length=description["length"],
        autoencoder=autoencoder,
        training=_build(TrainingConfig, description["training"], folder),
        history=tuple(_build(EpochReport, report, folder) for report in description["history"]),
        best_epoch=description["best_epoch"],
    )
    return Checkpoint(
        trained=trained,
        diagnosis=_read_diagnosis(description["diagnosis"], folder),
        extra=description["extra"],
        torch_version=description["torch_version"],
    )


def _weights_bytes(model: LSTMAutoencoder) -> bytes:
    buffer = io.BytesIO()
    torch.save({name: tensor.cpu() for name, tensor in model.state_dict().items()}, buffer)
    return buffer.getvalue()


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / _DESCRIPTION
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds no {_DESCRIPTION}, so that it is no checkpoint or one whose writing "
            "was interrupted; train and save again"
        )
    try:
        description = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}; save again") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version!r}; this version reads {FORMAT_VERSION}. Use "
            "the Foreshock that wrote it, or train again"
        )
    _require_keys(set(description), _KEYS, str(path))
    content: dict[str, Any] = description
    return content


def _read_weights(folder: Path, sha256: str) -> bytes:
    path = folder / _WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {_WEIGHTS}; copy both files, or save again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(
            f"{path} is not the file that {_DESCRIPTION} was written for: its SHA-256 differs; "
            "copy both files together, or save again"
        )
    return content


def _read_diagnosis(values: dict[str, Any] | None, folder: Path) -> Diagnosis | None:
    if values is None:
        return None
    stored = {field.name for field in dataclasses.fields(Diagnosis)}
    where = f"diagnosis in {folder / _DESCRIPTION}"
    _require_keys(set(values), stored.union(Diagnosis.derived), where)
    evidence = values["evidence"]
    built = None if evidence is None else _build(Evidence, evidence, folder)
    content = {name: values[name] for name in stored} | {"evidence": built}
    return _build(Diagnosis, content, folder)


def _build(kind: type[Dataclass], values: dict[str, Any], folder: Path) -> Dataclass:
    """Make a dataclass of exactly its own fields."""
    where = f"{kind.__name__} in {folder / _DESCRIPTION}"
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    _require_keys(set(values), fields, where)
    try:
        return kind(**values)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _require_keys(got: set[str], expected: frozenset[str] | set[str], where: str) -> None:
    if got != expected:
        raise CheckpointError(
            f"{where} has unknown keys {sorted(got - expected)} and lacks "
            f"{sorted(expected - got)}; use the Foreshock that wrote it, or save again"
        )
