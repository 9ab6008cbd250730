"""A polite client of a Dataverse: what a dataset lists, and files that arrive whole or not at all.

Requests that fail for a reason that may pass are made again, after pauses that grow. Dataverse is
known to answer 404 and 500 for files that are there.
"""

import errno
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import ClassVar, Final, Self

import httpx

from flows.dataverse_listing import Listing, RemoteFile, read_listing
from flows.partial_file import PartialFile
from flows.patience import Patience, TransferError, TransientError

TOKEN_VARIABLE: Final = "FORESHOCK_DATAVERSE_TOKEN"
_TOKEN_HEADER: Final = "X-Dataverse-key"
_MAY_PASS: Final = frozenset({404, 408, 425, 429})
_USABLE: Final = frozenset({200, 206, 416})
_MOST_REDIRECTS: Final = 5
_CHARACTERS_OF_A_MESSAGE: Final = 200


@dataclass(frozen=True, kw_only=True)
class DataverseConfig:
    """Which Dataverse, and with how much patience.

    Attributes
    ----------
    api_base
        Where its API is, without ``/api``.
    connections
        Files fetched at the same time.
    timeout
        Seconds without a byte after which a request has failed.
    attempts
        Requests for the same thing, at most.
    backoff
        Seconds before the second of them; twice as many before the next, and so on. Up to half
        of each wait is left out at random.
    longest_wait
        Seconds: no wait grows longer, and a server that asks for more is given up.
    pause
        Seconds between the beginnings of two requests, over all connections.
    seed
        Of the random parts of waits; None for other ones in each run.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> DataverseConfig(api_base="https://demo.dataverse.org/").connections
    2
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    api_base: str = "https://dataverse.harvard.edu"
    connections: int = 2
    timeout: float = 60.0
    attempts: int = 6
    backoff: float = 1.0
    longest_wait: float = 300.0
    pause: float = 0.5
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        url = httpx.URL(self.api_base)
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
            msg = (
                f"api_base={self.api_base!r}: expected an address such as "
                "'https://dataverse.harvard.edu'"
            )
            raise ValueError(msg)
        for name, least in {"connections": 1, "attempts": 1, "backoff": 0, "pause": 0}.items():
            if not getattr(self, name) >= least:
                msg = f"{name}={getattr(self, name)}: expected at least {least}"
                raise ValueError(msg)
        for name in ("timeout", "longest_wait"):
            if not getattr(self, name) > 0:
                msg = f"{name}={getattr(self, name)}: expected above 0"
                raise ValueError(msg)


class Dataverse:
    """A client of one Dataverse, to be used in a ``with`` block; its methods in any thread.

    Parameters
    ----------
    config
        Which Dataverse, and with how much patience.
    token
        An API token. It is sent to the Dataverse alone, never to where that redirects to.
    on_retry, sleep, clock
        As for `flows.patience.Patience`.
    """

    def __init__(
        self,
        config: DataverseConfig,
        *,
        token: str | None = None,
        on_retry: Callable[[str], object] | None = None,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base, self._token = httpx.URL(config.api_base.rstrip("/")), token
        self._on_retry = on_retry or (lambda _: None)
        self._patience = Patience(
            attempts=config.attempts,
            backoff=config.backoff,
            longest_wait=config.longest_wait,
            pause=config.pause,
            seed=config.seed,
            on_retry=on_retry,
            sleep=sleep,
            clock=clock,
        )
        self._client = httpx.Client(
            headers={"User-Agent": f"foreshock/{version_of('foreshock')}"},
            timeout=config.timeout,
            limits=httpx.Limits(max_connections=config.connections),
            follow_redirects=True,
            max_redirects=_MOST_REDIRECTS,
            event_hooks={"request": [self._guard]},
        )

    @classmethod
    def from_environment(
        cls, config: DataverseConfig, *, on_retry: Callable[[str], object] | None = None
    ) -> Self:
        """Return a client with the token, if there is one, that an environment variable holds.

        Raises
        ------
        ValueError
            If it can't be a token.
        """
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not all("!" <= character <= "~" for character in token):
            msg = f"{TOKEN_VARIABLE} holds characters that no token has: copy it anew"
            raise ValueError(msg)
        return cls(config, token=token or None, on_retry=on_retry)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def stop(self) -> None:
        """Make everything that is going on in other threads fail soon."""
        self._patience.stop()

    def list_files(self, doi: str) -> Listing:
        """Return what a dataset lists.

        Raises
        ------
        TransferError
            If it can't be had.
        flows.dataverse_listing.ListingError
            If it isn't in the form that is known.
        """

        def ask() -> object:
            response = self._client.get(
                f"{self._base}/api/datasets/:persistentId/", params={"persistentId": doi}
            )
            _check_status(response)
            try:
                return response.json()
            except ValueError:
                msg = f"expected a list of files as JSON, got {_printable(response.text)!r}"
                raise TransientError(msg) from None

        return read_listing(self._patience.persist(doi, ask), doi)

    def download(self, file: RemoteFile, folder: Path) -> None:
        """Fetch a file into a folder, going on where an earlier run was ended.

        It gets its name there once it is whole and verified. One that isn't what was listed is
        fetched anew, once.

        Raises
        ------
        TransferError
            If it can't be had. What has arrived is kept, and the next run goes on with it, unless
            it was whole and wrong.
        """
        part = PartialFile(file, folder)
        try:
            for is_last in (False, True):
                self._patience.persist(file.name, lambda: self._ask_for(part))
                fault = file.fault_of(part.path)
                if fault is None:
                    part.put_in_place()
                    return
                part.discard()
                if not is_last:
                    self._on_retry(f"{file.name}: {fault}; it is fetched anew")
        except OSError as error:
            raise TransferError(_on_disk(error, part)) from error
        msg = (
            f"{file.name}: fetched twice and not what is listed: {fault}. Nothing of it was kept; "
            "if this goes on, the Dataverse or something on the way to it is at fault"
        )
        raise TransferError(msg)

    def _ask_for(self, part: PartialFile) -> None:
        """Make one request for what is missing of a file."""
        if part.is_whole:
            return
        url = f"{self._base}/api/access/datafile/{part.file.id}"
        # For a file that isn't an ingested one ``format=original`` is answered 404.
        params = {"format": "original"} if part.file.is_original else {}
        with self._client.stream("GET", url, params=params, headers=part.headers()) as response:
            _check_status(response)
            part.receive(response, check=self._patience.check)

    def _guard(self, request: httpx.Request) -> None:
        """Give the token to the Dataverse alone; httpx would hand it on to other hosts."""
        request.headers.pop(_TOKEN_HEADER, None)
        if self._base.scheme == "https" and request.url.scheme != "https":
            msg = f"redirected to {request.url.scheme}://{request.url.host}, which isn't https"
            raise TransferError(msg)
        if self._token and _origin(request.url) == _origin(self._base):
            request.headers[_TOKEN_HEADER] = self._token


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _check_status(response: httpx.Response) -> None:
    """Raise what fits the status of a response that is of no use."""
    status = response.status_code
    if status in _USABLE:
        return
    said = f"status {status} {response.reason_phrase}".strip() + _message(response)
    if status in _MAY_PASS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise TransientError(said, retry_after=_retry_after(response))
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        said += (
            f". It needs leave: set {TOKEN_VARIABLE} to an API token that has it, or, if it is "
            "set, look whether the token has expired"
        )
    raise TransferError(said)


def _message(response: httpx.Response) -> str:
    """Return what Dataverse says of an error, from the first bytes of the body."""
    body = next(response.iter_bytes(), b"") if not response.is_stream_consumed else response.content
    try:
        message = json.loads(body)["message"]
    except (ValueError, TypeError, KeyError):
        return ""
    return f" ({_printable(str(message))})"


def _printable(text: str) -> str:
    words = " ".join(text.split())[:_CHARACTERS_OF_A_MESSAGE]
    return "".join(character if character.isprintable() else "?" for character in words)


def _retry_after(response: httpx.Response) -> float:
    """Return how many seconds the server asks to wait: it gives them, or a date."""
    given = response.headers.get("retry-after", "")
    if given.isdecimal():
        return float(given)
    try:
        until = parsedate_to_datetime(given)
        now = parsedate_to_datetime(response.headers["date"])
        return max(0.0, (until - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return 0.0


def _on_disk(error: OSError, part: PartialFile) -> str:
    """Say what keeps a file from being written, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        size = "" if part.file.size is None else f" of {part.file.size}"
        return (
            f"{part.file.name}: no space left in {part.path.parent}. {part.n_bytes}{size} bytes "
            f"are kept in {part.path.name}; make room and run again, which goes on from there"
        )
    return f"{part.file.name}: it can't be written: {error}"
