"""Choice of the device that trains and scores."""

from typing import Literal

import torch

__all__ = ["Device", "resolve_device"]

Device = Literal["auto", "cpu", "cuda"]


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
