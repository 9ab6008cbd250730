"""A local server that behaves as Dataverse does, with faults on demand."""

import hashlib
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

DOI = "doi:10.7910/DVN/TEST"
STALL_SECONDS = 30.0


@dataclass(frozen=True)
class Fault:
    """What is wrong with one answer.

    ``status`` (`status`, `headers` and `body` of the answer), ``reset`` and ``truncated`` (the
    connection ends before or after `after` bytes of the body), ``stall`` (nothing comes after
    `after` bytes), ``wrong`` (every byte is another), ``whole`` (a Range is ignored), ``part as
    200`` (a Range is answered as Dataverse before 5.11 did), ``wrong start``, ``short``,
    ``wrong total``, ``long`` and ``ends early`` (the body doesn't fit the request or the listing),
    ``compressed``.
    """

    kind: str
    status: int = 0
    after: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """Return an answer with a status; underscores in the names of headers stand for hyphens."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Fault("status", status=code, headers=named, body=body)


@dataclass
class Stored:
    """A file of the dataset: what is served, and what its entry of the listing says."""

    id: int
    content: bytes
    entry: dict[str, Any]
    is_ingested: bool = False
    faults: deque[Fault] = field(default_factory=deque)


@dataclass(frozen=True)
class Request:
    """What was asked: the path with its query, and the headers in lower case."""

    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class DataverseServer:
    """Serves datasets from memory: a native API, a data access API and a storage apart."""

    def __init__(self) -> None:
        self.datasets: dict[str, list[Stored]] = defaultdict(list)
        self.listing_faults: deque[Fault] = deque()
        self.listing: object = None
        self.requests: list[Request] = []
        self.storage: str | None = None
        self.sends_etags = True
        self.most_at_once = self.at_once = 0
        self.hold_seconds = 0.0
        self.lock = threading.Lock()
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.dataverse = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def file_requests(self) -> list[Request]:
        return [request for request in self.requests if "/datafile/" in request.path]

    def add(
        self,
        name: str,
        content: bytes,
        *,
        doi: str = DOI,
        faults: Iterable[Fault] = (),
        **entry: Any,
    ) -> Stored:
        """Add a plain file, listed with its MD5."""
        md5 = hashlib.md5(content).hexdigest()
        listed = {
            "filename": name,
            "filesize": len(content),
            "contentType": "application/zip",
            "md5": md5,
            "checksum": {"type": "MD5", "value": md5},
        }
        return self._add(doi, name, content, listed | entry, faults)

    def add_ingested(
        self,
        name: str,
        original: str,
        content: bytes,
        *,
        faults: Iterable[Fault] = (),
        **entry: Any,
    ) -> Stored:
        """Add a tabular file that was ingested: its size and MD5 are those of what was derived."""
        derived = b"derived\t" + content
        md5 = hashlib.md5(derived).hexdigest()
        listed = {
            "filename": name,
            "filesize": len(derived),
            "contentType": "text/tab-separated-values",
            "originalFileFormat": "text/tsv",
            "originalFormatLabel": "Tab-Separated Values",
            "originalFileSize": len(content),
            "originalFileName": original,
            "md5": md5,
            "checksum": {"type": "MD5", "value": md5},
        }
        stored = self._add(DOI, name, content, listed | entry, faults)
        stored.is_ingested = True
        return stored

    def _add(
        self, doi: str, label: str, content: bytes, entry: dict[str, Any], faults: Iterable[Fault]
    ) -> Stored:
        number = 1000 + sum(len(files) for files in self.datasets.values())
        data_file = {"id": number, **entry}
        restricted = data_file.pop("restricted", False)
        whole = {"label": label, "restricted": restricted, "version": 1, "dataFile": data_file}
        stored = Stored(number, content, whole, faults=deque(faults))
        self.datasets[doi].append(stored)
        return stored

    def listing_of(self, doi: str) -> object:
        if self.listing is not None:
            return self.listing
        files = [stored.entry for stored in self.datasets[doi]]
        return {"status": "OK", "data": {"id": 1, "latestVersion": {"files": files}}}

    def find(self, number: int) -> Stored | None:
        files = (stored for files in self.datasets.values() for stored in files)
        return next((stored for stored in files if stored.id == number), None)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count how many answers are under way at once."""
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.hold_seconds)
            yield
        finally:
            with self.lock:
                self.at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    dataverse: DataverseServer

    def shutdown_request(self, request: Any) -> None:
        """Close at once: a connection that lingers for no time is reset."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up in these tests; that is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        owner = self.server.dataverse
        headers = {name.lower(): value for name, value in self.headers.items()}
        with owner.lock:
            owner.requests.append(Request(self.path, headers))
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        with owner.counted():
            if parts.path == "/api/datasets/:persistentId/":
                self._answer_listing(query)
            elif parts.path.startswith("/api/access/datafile/"):
                self._answer_file(parts.path, query)
            else:
                self._send(404, b'{"status":"ERROR","message":"no such page"}')

    def _answer_listing(self, query: dict[str, list[str]]) -> None:
        owner = self.server.dataverse
        if owner.listing_faults:
            self._fail(owner.listing_faults.popleft(), b"{}")
        else:
            self._send(200, json.dumps(owner.listing_of(query["persistentId"][0])).encode())

    def _answer_file(self, path: str, query: dict[str, list[str]]) -> None:
        owner = self.server.dataverse
        stored = owner.find(int(path.rpartition("/")[2]))
        wants_original = query.get("format") == ["original"]
        if stored is None or (wants_original and not stored.is_ingested):
            self._send(404, b'{"status":"ERROR","message":"not found"}')
            return
        if owner.storage is not None:
            self._send(303, b"", Location=owner.storage + self.path)
            return
        with owner.lock:
            fault = stored.faults.popleft() if stored.faults else Fault("none")
        content = stored.content if wants_original or not stored.is_ingested else b"derived"
        self._fail(fault, content)

    def _fail(self, fault: Fault, content: bytes) -> None:
        if fault.kind == "status":
            self._send(fault.status, fault.body, **dict(fault.headers))
        elif fault.kind == "reset":
            self._hang_up(reset=True)
        elif fault.kind == "short":
            self._send(200, content[: len(content) // 2])
        elif fault.kind == "long":
            self._send_chunked(content + b"more")
        elif fault.kind == "ends early":
            self._send_chunked(content[: len(content) // 2])
        elif fault.kind == "compressed":
            self._send(200, content, Content_Encoding="gzip")
        else:
            self._send_file(fault, content)

    def _send_file(self, fault: Fault, content: bytes) -> None:
        owner = self.server.dataverse
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        start, code, headers = self._start(), 200, {}
        if self.headers.get("If-Range", etag) != etag or fault.kind == "whole":
            start = None
        if start is not None and start >= len(content):
            self._send(416, b"", Content_Range=f"bytes */{len(content)}")
            return
        first = start or 0
        if start is not None and fault.kind != "part as 200":
            shown = 0 if fault.kind == "wrong start" else first
            code = 206
            total = len(content) + (fault.kind == "wrong total")
            headers["Content_Range"] = f"bytes {shown}-{len(content) - 1}/{total}"
        if owner.sends_etags:
            headers["ETag"] = etag
        body = content[first:]
        is_wrong_part = code == 206 and fault.kind in ("wrong start", "wrong total")
        if fault.kind == "wrong" or is_wrong_part:
            body = bytes(byte ^ 0xFF for byte in body)
        if fault.kind in ("truncated", "stall"):
            self._send(code, body, cut=min(fault.after, max(len(body) - 1, 0)), **headers)
            if fault.kind == "stall":
                owner.released.wait(STALL_SECONDS)
            self._hang_up()
        else:
            self._send(code, body, **headers)

    def _start(self) -> int | None:
        given = self.headers.get("Range")
        return None if given is None else int(given.removeprefix("bytes=").removesuffix("-"))

    def _send(self, code: int, body: bytes, *, cut: int | None = None, **headers: str) -> None:
        self.send_response_only(code)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.wfile.flush()

    def _send_chunked(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    def _hang_up(self, *, reset: bool = False) -> None:
        self.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
