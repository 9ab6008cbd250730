"""Where and how the work of a run is done: nothing of it shows in what is made."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args
from urllib.parse import urlsplit

Runner = Literal["threads", "processes", "dask"]
"""What runs the tasks of a flow: threads or processes of this machine, or a Dask cluster."""


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """How a run is carried out.

    Attributes
    ----------
    runner
        What runs the work on files and months. ``dask`` needs the optional extra of that name.
    workers
        Threads or processes at a time, of this machine or of a Dask cluster started for the run.
    dask_address
        Scheduler of a Dask cluster that is there already, such as ``tcp://10.0.0.1:8786``.
    lock_wait
        Seconds to wait for another run that writes to the same folder before giving up.

    Raises
    ------
    ValueError
        If the runner is unknown, a number is out of its range, or there is an address that is none
        or that the runner doesn't use.

    Examples
    --------
    >>> ExecutionConfig(runner="processes", workers=4).lock_wait
    600.0
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    runner: Runner = "threads"
    workers: int = 2
    dask_address: str | None = None
    lock_wait: float = 600.0

    def __post_init__(self) -> None:
        if self.runner not in get_args(Runner):
            msg = f"runner={self.runner!r}: expected one of {', '.join(get_args(Runner))}"
            raise ValueError(msg)
        if self.workers < 1:
            msg = f"workers={self.workers}: expected at least 1"
            raise ValueError(msg)
        if not 0 <= self.lock_wait < math.inf:
            msg = f"lock_wait={self.lock_wait}: expected seconds, 0 or more and finite"
            raise ValueError(msg)
        if self.dask_address is not None:
            self._check_address(self.dask_address)

    def _check_address(self, address: str) -> None:
        if self.runner != "dask":
            msg = (
                f"dask_address={address!r}: expected none with runner={self.runner!r}, which "
                "doesn't use it; set runner to dask, or leave the address out"
            )
            raise ValueError(msg)
        parts = urlsplit(address)
        if not (parts.scheme and parts.netloc):
            msg = f"dask_address={address!r}: expected an address such as tcp://10.0.0.1:8786"
            raise ValueError(msg)
