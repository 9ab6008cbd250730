"""The processes that train together under `torchrun`, or the one that trains alone."""

import atexit
import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from models.device import Device, resolve_device

__all__ = ["Processes", "join_processes"]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Those that share a training, as one of them sees it.

    Attributes
    ----------
    rank, count
        This process, from 0, and how many there are.
    device
        Of this process.

    Examples
    --------
    >>> second = Processes(rank=1, count=2, device=torch.device("cpu"))
    >>> second.share(torch.arange(5)).tolist()
    [1, 3]
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reports and writes."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Return this process's rows of a batch that all of them have."""
        return rows if self.count == 1 else rows[self.rank :: self.count]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes; `values` is left alone."""
        if self.count == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total

    def wrap(self, model: nn.Module, *, all_used: bool) -> nn.Module:
        """Return a model whose gradients are averaged over the processes.

        Parameters
        ----------
        model
            On this process's device, with the same weights in all.
        all_used
            Whether every parameter takes part in every loss.
        """
        if self.count == 1:
            return model
        ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids, find_unused_parameters=not all_used)


def join_processes(device: Device) -> Processes:
    """Join the processes that `torchrun` started, or be alone.

    Under `torchrun` (which sets WORLD_SIZE) the process group is made here, once a process,
    unless the caller has made one: NCCL where each process has a GPU, Gloo on CPUs. It is left
    when the interpreter ends.

    Raises
    ------
    ValueError
        If the device is absent.

    Examples
    --------
    >>> alone = join_processes("cpu")
    >>> alone.count, alone.is_first
    (1, True)
    """
    place = resolve_device(device)
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not started and not distributed.is_initialized():
        return Processes(rank=0, count=1, device=place)
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    return Processes(rank=distributed.get_rank(), count=distributed.get_world_size(), device=place)
