"""Requests made again until they succeed: when, how often, and when that is given up."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")


class TransferError(Exception):
    """What can't be had from a server, at least not now."""


class TransientError(Exception):
    """What went wrong with one request and may go right with the next.

    Attributes
    ----------
    retry_after
        Seconds that the server asks to wait, 0 if it doesn't.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Patience:
    """Spaces the requests of several threads and repeats those that fail for a passing reason.

    Parameters
    ----------
    attempts
        Requests for the same thing, at most.
    backoff
        Seconds before the second of them; twice as many before each further one, less up to half
        of it at random, so that many clients don't come back at the same time.
    longest_wait
        Seconds: no wait grows longer, and a server that asks for more is given up.
    pause
        Seconds between the beginnings of two requests, whatever their threads.
    seed
        Of what is random; None for other waits each time.
    on_retry
        Is told in words what went wrong before each wait.
    sleep, clock
        How to wait, and how to tell the time in seconds.

    Examples
    --------
    >>> patience = Patience(attempts=3, backoff=0, longest_wait=1, pause=0, on_retry=print)
    >>> answers = iter([TransientError("status 500"), None])
    >>> def ask() -> str:
    ...     if fault := next(answers):
    ...         raise fault
    ...     return "bytes"
    >>> patience.persist("a.tab", ask)
    a.tab: status 500; attempt 2 of 3 follows
    'bytes'
    """

    def __init__(
        self,
        *,
        attempts: int,
        backoff: float,
        longest_wait: float,
        pause: float,
        seed: int | None = None,
        on_retry: Callable[[str], object] | None = None,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempts, self._backoff = attempts, backoff
        self._longest_wait, self._pause = longest_wait, pause
        self._random = random.Random(seed)
        self._on_retry = on_retry or (lambda _: None)
        self._stopped = threading.Event()
        self._sleep, self._clock = sleep or self._stopped.wait, clock
        self._lock, self._next_turn = threading.Lock(), clock()

    def stop(self) -> None:
        """Make everything that is going on fail soon."""
        self._stopped.set()

    def check(self) -> None:
        """Raise a `TransferError` once `stop` was called."""
        if self._stopped.is_set():
            msg = "stopped"
            raise TransferError(msg)

    def persist(self, what: str, ask: Callable[[], T]) -> T:
        """Call `ask` until it returns, and return that.

        Parameters
        ----------
        what
            What is asked for, in words.
        ask
            Raises `TransientError` or `httpx.TransportError` where it's worth asking again.

        Raises
        ------
        TransferError
            If it isn't, or the attempts are used up; the message begins with `what`.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                self._await_turn()
                return ask()
            except (TransientError, httpx.TransportError) as fault:
                self._wait(what, fault, attempt)
            except (TransferError, httpx.HTTPError, httpx.InvalidURL) as error:
                msg = f"{what}: {error}"
                raise TransferError(msg) from error

    def _await_turn(self) -> None:
        with self._lock:
            now = self._clock()
            turn = max(now, self._next_turn)
            self._next_turn = turn + self._pause
        if turn > now:
            self._sleep(turn - now)
        self.check()

    def _wait(self, what: str, fault: TransientError | httpx.TransportError, attempt: int) -> None:
        words = _in_words(fault)
        if attempt >= self._attempts:
            msg = f"{what}: {words}; given up after {attempt} attempts"
            raise TransferError(msg) from fault
        asked = fault.retry_after if isinstance(fault, TransientError) else 0.0
        if asked > self._longest_wait:
            msg = (
                f"{what}: {words}; the server asks to come back in {asked:.0f} seconds, more than "
                f"longest_wait={self._longest_wait:g}"
            )
            raise TransferError(msg) from fault
        self._on_retry(f"{what}: {words}; attempt {attempt + 1} of {self._attempts} follows")
        longest = min(self._longest_wait, self._backoff * 2.0 ** (attempt - 1))
        with self._lock:
            self._next_turn = max(self._next_turn, self._clock() + asked)
            seconds = longest * (1 - self._random.random() / 2)
        self._sleep(seconds)


def _in_words(fault: TransientError | httpx.TransportError) -> str:
    if isinstance(fault, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(fault, httpx.TransportError):
        return f"the connection failed ({str(fault) or type(fault).__name__})"
    return str(fault)
