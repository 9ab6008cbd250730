"""The state of a training on disk, so that one that was killed goes on as if it had not been."""

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.architecture import AutoencoderConfig
from models.errors import CheckpointError
from models.training_config import TrainingConfig

__all__ = ["TrainingState", "fingerprint", "write_whole"]

_FREE = ("device", "slab_bytes")
_DIGEST_BYTES = 32


class TrainingState:
    """A file that holds the state of a training after its last whole epoch.

    Parameters
    ----------
    path
        The file; its folder is made when it is first written.
    key
        What `fingerprint` gave: a state of other data or another configuration is refused.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     state = TrainingState(Path(folder) / "training.pt", "a")
    ...     state.read(), state.write({"epoch": 3}), state.read()
    (None, None, {'epoch': 3})
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self._key = path, key

    def write(self, content: dict[str, Any]) -> None:
        """Replace the file in one move."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save({"key": self._key, "content": content}, buffer)
        payload = buffer.getvalue()
        write_whole(self.path, hashlib.sha256(payload).digest() + payload)

    def read(self) -> dict[str, Any] | None:
        """Return what was written last, or None if there is no file.

        Raises
        ------
        CheckpointError
            If the file is damaged, or of another training.
        """
        if not self.path.exists():
            return None
        stored = self.path.read_bytes()
        digest, payload = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != digest:
            raise CheckpointError(
                f"{self.path} is not the whole state of a training: its SHA-256 differs; delete "
                "it to begin anew"
            )
        state = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
        if state["key"] != self._key:
            raise CheckpointError(
                f"{self.path} is the state of a training with other data or another "
                "configuration; delete it to begin anew, or give the former ones to go on"
            )
        content: dict[str, Any] = state["content"]
        return content


def fingerprint(
    arrays: Iterable[NDArray[np.generic] | None],
    autoencoder: AutoencoderConfig,
    training: TrainingConfig,
    **others: object,
) -> str:
    """Return a digest of all that decides how a training goes on.

    That is not the device, and not the number of epochs unless the learning rate depends on it:
    a training that ended may go on with more of them.

    Examples
    --------
    >>> digests = {
    ...     fingerprint([np.zeros(3)], AutoencoderConfig(), TrainingConfig(epochs=epochs))
    ...     for epochs in (5, 9)
    ... }
    >>> len(digests)
    1
    """
    free = (*_FREE, "epochs") if training.schedule != "cosine" else _FREE
    settings = {k: v for k, v in dataclasses.asdict(training).items() if k not in free}
    described = [dataclasses.asdict(autoencoder), settings, {k: str(v) for k, v in others.items()}]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to the disk, then rename: `path` is never half written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "a", b"whole")
    ...     (Path(folder) / "a").read_bytes()
    b'whole'
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
