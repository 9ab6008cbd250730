"""Choice of the device and precision that train and score."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

__all__ = ["Device", "Precision", "autocast", "resolve_device"]

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]


def resolve_device(device: Device) -> torch.device:
    """Turn a configured device into one that is present.

    Parameters
    ----------
    device
        `"auto"` is the GPU where there is one and the CPU elsewhere.

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If `"cuda"` is asked for and torch sees no GPU, or the name is unknown.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}; it must be 'auto', 'cpu' or 'cuda'")
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ValueError(
            "device is 'cuda' but torch sees no GPU; use 'auto' or 'cpu', "
            "or install a torch build with CUDA"
        )
    return torch.device("cuda" if has_cuda and device != "cpu" else "cpu")


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which a model is trained.

    Parameters
    ----------
    device
        Where the model lies.
    precision
        `"auto"` is bfloat16 on a GPU that has it and float32 elsewhere. Weights, losses and the
        optimiser stay float32.

    Examples
    --------
    >>> with autocast(torch.device("cpu"), "auto"):
    ...     torch.is_autocast_enabled("cpu")
    False
    """
    if precision == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bfloat16" if has_bfloat16 else "float32"
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
