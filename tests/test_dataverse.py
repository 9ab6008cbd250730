"""Laws of the Dataverse client: whatever goes wrong, a file arrives whole and verified, or not."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from flows.dataverse import TOKEN_VARIABLE, Dataverse, DataverseConfig
from flows.dataverse_listing import (
    Checksum,
    ListingError,
    RemoteFile,
    fault_of_name,
    read_listing,
)
from flows.partial_file import PartialFile, remove_outdated_parts
from flows.patience import Patience, TransferError, TransientError
from tests.dataverse_server import DOI, DataverseServer, Fault, Stored, status

NAME = "events.2018.20200427.tab.zip"
CONTENT = bytes(range(256)) * 600
TIMEOUT, SHORT_TIMEOUT = 20.0, 0.3


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server() -> Iterator[DataverseServer]:
    with DataverseServer() as running:
        yield running


@pytest.fixture
def storage() -> Iterator[DataverseServer]:
    with DataverseServer() as running:
        yield running


def client(
    server: DataverseServer,
    time_: Time | None = None,
    *,
    token: str | None = None,
    said: list[str] | None = None,
    **settings: Any,
) -> Dataverse:
    time_ = time_ or Time()
    given = {"api_base": server.url, "timeout": TIMEOUT, "pause": 0.0, "seed": 0} | settings
    return Dataverse(
        DataverseConfig(**given),
        token=token,
        on_retry=None if said is None else said.append,
        sleep=time_.sleep,
        clock=time_.clock,
    )


def version(*files: object) -> dict[str, object]:
    return {"status": "OK", "data": {"latestVersion": {"files": list(files)}}}


def listed(stored: Stored) -> RemoteFile:
    """Return a file as the listing gives it."""
    (file,) = read_listing(version(stored.entry), DOI).files
    return file


def fetch(server: DataverseServer, stored: Stored, folder: Path, **settings: Any) -> None:
    with client(server, **settings) as dataverse:
        dataverse.download(listed(stored), folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# The listing


def test_a_listing_gives_what_can_be_downloaded(server: DataverseServer) -> None:
    plain = server.add(NAME, b"abc")
    ingested = server.add_ingested("20190503-icews-events.tab", "20190503-icews-events.tsv", b"ab")
    server.add("secret.tab", b"x", restricted=True)
    server.add("../../etc/passwd", b"x")
    with client(server) as dataverse:
        listing = dataverse.list_files(DOI)
    assert listing.files == (
        RemoteFile(
            id=plain.id,
            name=NAME,
            size=3,
            checksum=Checksum(kind="md5", value="900150983cd24fb0d6963f7d28e17f72"),
            is_original=False,
            doi=DOI,
        ),
        # The MD5 that is listed is that of the derived table: it must not be held against this.
        RemoteFile(
            id=ingested.id,
            name="20190503-icews-events.tsv",
            size=2,
            checksum=None,
            is_original=True,
            doi=DOI,
        ),
    )
    assert listing.restricted == ("secret.tab",)
    assert listing.refused == {"'../../etc/passwd'": "it has a path separator"}
    assert [file.proof for file in listing.files] == ["md5", "size alone"]


@pytest.mark.parametrize(
    ("kind", "digits"), [("MD5", 32), ("SHA-1", 40), ("SHA-256", 64), ("SHA-512", 128)]
)
def test_every_checksum_of_dataverse_is_understood(
    server: DataverseServer, kind: str, digits: int, tmp_path: Path
) -> None:
    import hashlib

    name = kind.lower().replace("-", "")
    value = hashlib.new(name, CONTENT).hexdigest()
    assert len(value) == digits
    stored = server.add(NAME, CONTENT, checksum={"type": kind, "value": value.upper()})
    fetch(server, stored, tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    (tmp_path / NAME).write_bytes(b"\1" + CONTENT[1:])
    fault = listed(stored).fault_of(tmp_path / NAME)
    assert fault is not None
    assert re.fullmatch(rf"its {name} is [0-9a-f]{{{digits}}} in place of {value}", fault)


FILE = {"id": 1, "filename": "a.tab", "filesize": 3, "md5": "0" * 32}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], ["expected an object with 'data'", "got []"]),
        ({}, ["expected 'data' with a value of type dict", "got only the keys []"]),
        ({"status": "ERROR", "message": "gone"}, ["is an error: 'gone'"]),
        ({"data": {"version": 2}}, ["expected 'latestVersion'", "got only the keys ['version']"]),
        ({"data": {"latestVersion": {"files": {}}}}, ["expected 'files'", "type list, got {}"]),
        (version(), ["has no files: check the DOI"]),
        (version({"datafile": FILE}), ["file 1 of 1: expected 'dataFile'", "['datafile']"]),
        (version({"dataFile": FILE | {"id": "7"}}), ["expected 'id'", "type int, got '7'"]),
        (version({"dataFile": FILE | {"filesize": True}}), ["expected 'filesize'", "got True"]),
        (version({"dataFile": FILE | {"filesize": -1}}), ["at least 0, got -1"]),
        (version({"dataFile": FILE | {"filename": None}}), ["expected 'filename'", "got None"]),
        (version({"dataFile": FILE | {"md5": None}}), ["expected 'md5'", "got None"]),
        (version({"dataFile": FILE | {"md5": "0" * 31}}), [f"got 'md5' of '{'0' * 31}'"]),
        (version({"dataFile": FILE | {"md5": "g" * 32}}), [f"got 'md5' of '{'g' * 32}'"]),
        (version({"dataFile": FILE | {"checksum": {"type": "CRC", "value": "1"}}}), ["got 'crc'"]),
        (version({"dataFile": FILE | {"checksum": {"type": "MD5"}}}), ["expected 'value'"]),
        (version({"dataFile": FILE}, "a.tab"), ["file 2 of 2: expected an object", "got 'a.tab'"]),
    ],
)
def test_a_listing_of_another_form_is_an_error_that_says_what_was_got(
    content: object, words: list[str]
) -> None:
    with pytest.raises(ListingError) as raised:
        read_listing(content, DOI)
    for part in [DOI, *words]:
        assert part in str(raised.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["data", "latestVersion", "files", "dataFile", "filename", "id", "status"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_no_listing_crashes_the_reader(content: object) -> None:
    with pytest.raises(ListingError, match=re.escape(DOI)):
        read_listing(content, DOI)


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "..", "../a", "a/b", "/etc/passwd", "a\\b", "..\\a", ".hidden", "a\x00b",
        "a\nb", "a\x1b[31m", "a\u202etab", "a\u2028b", " a", "a ", "a" * 201, "ä" * 101,
        "\ud800", None, 7,
    ],
)  # fmt: skip
def test_a_hostile_name_is_refused(name: object) -> None:
    assert fault_of_name(name)
    entry = FILE | {"originalFileFormat": "text/tsv", "originalFileName": name, "md5": "0" * 32}
    listing = read_listing(version({"dataFile": entry}), DOI)
    assert listing.files == ()
    assert len(listing.refused) == 1
    assert all(shown.isascii() and shown.isprintable() for shown in listing.refused)


@given(st.text(max_size=20) | st.text("ab./\\ \n", max_size=6))
def test_a_name_that_is_not_refused_is_that_of_a_file_in_the_folder(name: str) -> None:
    if fault_of_name(name) is not None:
        return
    path = Path("/folder") / name
    assert (path.parent, path.name) == (Path("/folder"), name)
    assert os.path.normpath(path) == str(path)
    assert not set(name) & set(map(chr, [*range(32), *range(127, 160)]))


# Downloading


def test_a_file_arrives_with_its_bytes_and_nothing_else(
    server: DataverseServer, tmp_path: Path
) -> None:
    fetch(server, server.add(NAME, CONTENT), tmp_path)
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == CONTENT
    (request,) = server.file_requests
    assert re.fullmatch(r"foreshock/\d+\.\d+\S*", request.headers["user-agent"])
    assert request.headers["accept-encoding"] == "identity"
    assert "range" not in request.headers
    assert "format" not in request.path


def test_an_empty_file_arrives(server: DataverseServer, tmp_path: Path) -> None:
    fetch(server, server.add(NAME, b""), tmp_path)
    assert (tmp_path / NAME).read_bytes() == b""


def test_the_original_of_an_ingested_file_is_asked_for_and_no_other(
    server: DataverseServer, tmp_path: Path
) -> None:
    fetch(server, server.add_ingested("a.tab", "a.tsv", CONTENT), tmp_path)
    assert (tmp_path / "a.tsv").read_bytes() == CONTENT
    assert server.file_requests[0].path.endswith("?format=original")


def test_an_original_of_another_size_is_not_put_in_place(
    server: DataverseServer, tmp_path: Path
) -> None:
    stored = server.add_ingested("a.tab", "a.tsv", CONTENT, originalFileSize=len(CONTENT) + 1)
    with pytest.raises(TransferError, match=f"has {len(CONTENT)} bytes in place of"):
        fetch(server, stored, tmp_path, attempts=2)
    assert not (tmp_path / "a.tsv").exists()


PAGE = b"<html>back soon</html>"
FAULTS = [
    (status(404, b'{"status":"ERROR","message":"not found"}'), "status 404 Not Found (not found);"),
    (status(408), "status 408 Request Timeout;"),
    (status(429, Retry_After="2"), "status 429 Too Many Requests;"),
    (status(500, b"<html>oops</html>"), "status 500 Internal Server Error;"),
    (status(502), "status 502 Bad Gateway;"),
    (status(503, Retry_After="1"), "status 503 Service Unavailable;"),
    (status(200, PAGE), f"the body has {len(PAGE)} bytes in place of {len(CONTENT)};"),
    (status(206, CONTENT, Content_Range="items 0-1/2"), "got 'items 0-1/2';"),
    (status(416), "the server has no bytes from"),
    (Fault("reset"), "the connection failed"),
    (Fault("truncated", after=0), "the connection failed"),
    (Fault("truncated", after=70_000), "the connection failed"),
    (Fault("stall", after=0), "no answer in time"),
    (Fault("stall", after=100_000), "no answer in time"),
    (Fault("short"), f"the body has {len(CONTENT) // 2} bytes in place of {len(CONTENT)}"),
    (Fault("ends early"), f"the body ended after {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
    (Fault("long"), f"the body goes on after the {len(CONTENT)} bytes that are listed"),
    (Fault("compressed"), "the body is compressed"),
]
FAULTS_OF_RANGES = [
    (Fault("whole"), None),
    (Fault("part as 200"), f"the body has {len(CONTENT) - 1000} bytes in place of {len(CONTENT)}"),
    (Fault("wrong start"), "asked for the bytes from 1000 on, got 'bytes 0-"),
    (Fault("wrong total"), "asked for the bytes from 1000 on, got 'bytes 1000-"),
]


def fault_name(value: object) -> str | None:
    return f"{value.kind} {value.status or value.after}" if isinstance(value, Fault) else ""


@pytest.mark.parametrize("is_ingested", [False, True])
@pytest.mark.parametrize(
    ("here", "fault", "words"),
    [
        *((here, fault, words) for here in (0, 1000) for fault, words in FAULTS),
        *((1000, fault, words) for fault, words in FAULTS_OF_RANGES),
    ],
    ids=fault_name,
)
def test_a_fault_is_told_and_survived(
    server: DataverseServer,
    tmp_path: Path,
    is_ingested: bool,
    here: int,
    fault: Fault,
    words: str | None,
) -> None:
    """Without the help of a checksum where the file was ingested."""
    if is_ingested:
        stored = server.add_ingested("a.tab", NAME, CONTENT, faults=[fault])
    else:
        stored = server.add(NAME, CONTENT, faults=[fault])
    part = PartialFile(listed(stored), tmp_path)
    if here:
        part.path.write_bytes(CONTENT[:here])
    said: list[str] = []
    stalls = fault.kind == "stall"
    settings = {"timeout": SHORT_TIMEOUT, "attempts": 20} if stalls else {}
    fetch(server, stored, tmp_path, said=said, **settings)
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert (words or "") in "".join(said)
    # On a busy machine an answer that isn't held back may come late too.
    assert stalls or len(said) == (words is not None)
    if fault.kind in ("part as 200", "wrong start", "wrong total", "long"):
        assert server.file_requests[-1].range is None


EVERY_FAULT = [fault for fault, _ in FAULTS + FAULTS_OF_RANGES if fault.kind != "stall"]
scripts = st.lists(st.sampled_from(EVERY_FAULT), max_size=5)
# A page as long as the file would be wrong bytes once more.
sizes = st.integers(0, 200_000).filter(lambda size: size != len(PAGE))


def test_whatever_faults_there_are_fewer_of_than_attempts_the_bytes_arrive(
    server: DataverseServer,
) -> None:
    @settings(max_examples=50)
    @given(scripts, st.booleans(), scripts, sizes, st.booleans())
    def check(
        before: list[Fault], wrong: bool, after: list[Fault], size: int, sends_etags: bool
    ) -> None:
        server.sends_etags = sends_etags
        content = (CONTENT * 2)[:size]
        script = [*before, *([Fault("wrong")] if wrong else []), *after]
        assert len(script) < attempts
        stored = server.add(NAME, content, faults=script)
        with tempfile.TemporaryDirectory() as folder:
            dataverse.download(listed(stored), Path(folder))
            assert names(Path(folder)) == [NAME]
            assert (Path(folder) / NAME).read_bytes() == content

    attempts = 12
    with client(server, attempts=attempts) as dataverse:
        check()


def test_a_transfer_that_breaks_off_goes_on_at_the_byte_where_it_was(
    server: DataverseServer, tmp_path: Path
) -> None:
    faults = [Fault("truncated", after=50_000), status(500), Fault("truncated", after=30_000)]
    fetch(server, server.add(NAME, CONTENT, faults=faults), tmp_path)
    assert [request.range for request in server.file_requests] == [
        None,
        "bytes=50000-",
        "bytes=50000-",
        "bytes=80000-",
    ]
    etag = server.file_requests[1].headers["if-range"]
    assert re.fullmatch(r'"[0-9a-f]{40}"', etag)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_file_that_changes_between_two_requests_is_fetched_from_its_beginning(
    server: DataverseServer, tmp_path: Path
) -> None:
    """By the ETag where there is one, so that no checksum has to fail first."""
    stored = server.add(NAME, CONTENT, faults=[Fault("truncated", after=50_000)])
    file = listed(stored)
    old = b"\7" * len(CONTENT)
    said: list[str] = []
    stored.content, changed = old, threading.Event()

    def on_retry(words: str) -> None:
        said.append(words)
        stored.content = CONTENT
        changed.set()

    config = DataverseConfig(api_base=server.url, timeout=TIMEOUT, pause=0)
    with Dataverse(config, on_retry=on_retry, sleep=Time().sleep) as dataverse:
        dataverse.download(file, tmp_path)
    assert changed.is_set()
    assert [request.range for request in server.file_requests] == [None, "bytes=50000-"]
    assert len(said) == 1
    assert (tmp_path / NAME).read_bytes() == CONTENT


PROGRAM = """
import sys
from pathlib import Path
from flows.dataverse import Dataverse, DataverseConfig
with Dataverse(DataverseConfig(api_base=sys.argv[1], pause=0)) as dataverse:
    (file,) = dataverse.list_files(sys.argv[2]).files
    dataverse.download(file, Path(sys.argv[3]))
"""


def test_a_killed_download_goes_on_at_the_byte_where_it_was(
    server: DataverseServer, tmp_path: Path
) -> None:
    stored = server.add(NAME, CONTENT, faults=[Fault("stall", after=123_456)])
    part = PartialFile(listed(stored), tmp_path)
    command = [sys.executable, "-c", PROGRAM, server.url, DOI, str(tmp_path)]
    with subprocess.Popen(command) as process:
        until = time.monotonic() + 30
        while part.n_bytes < 123_456 and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [part.path.name]
    assert part.path.read_bytes() == CONTENT[:123_456]
    fetch(server, stored, tmp_path)
    assert [request.range for request in server.file_requests] == [None, "bytes=123456-"]
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_file_that_is_whole_but_not_in_place_is_not_asked_for_again(
    server: DataverseServer, tmp_path: Path
) -> None:
    stored = server.add(NAME, CONTENT)
    PartialFile(listed(stored), tmp_path).path.write_bytes(CONTENT)
    fetch(server, stored, tmp_path)
    assert server.file_requests == []
    assert names(tmp_path) == [NAME]


@pytest.mark.parametrize("here", [len(CONTENT) + 1, 2 * len(CONTENT)])
def test_more_bytes_than_there_are_are_thrown_away(
    server: DataverseServer, tmp_path: Path, here: int
) -> None:
    stored = server.add(NAME, CONTENT)
    PartialFile(listed(stored), tmp_path).path.write_bytes(bytes(here))
    fetch(server, stored, tmp_path)
    assert [request.range for request in server.file_requests] == [None]
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("here", [0, 5, len(CONTENT)])
def test_an_original_whose_size_is_not_listed_is_whole_when_the_server_has_no_more(
    server: DataverseServer, tmp_path: Path, here: int
) -> None:
    stored = server.add_ingested("a.tab", "a.tsv", CONTENT, originalFileSize=None)
    file = listed(stored)
    assert file.proof.startswith("nothing")
    part = PartialFile(file, tmp_path)
    if here:
        part.path.write_bytes(CONTENT[:here])
    fetch(server, stored, tmp_path)
    assert (tmp_path / "a.tsv").read_bytes() == CONTENT
    assert [request.range for request in server.file_requests] == [
        f"bytes={here}-" if here else None
    ]


def test_wrong_bytes_are_fetched_anew_from_the_first_byte_once(
    server: DataverseServer, tmp_path: Path
) -> None:
    stored = server.add(NAME, CONTENT)
    PartialFile(listed(stored), tmp_path).path.write_bytes(bytes(1000))
    said: list[str] = []
    fetch(server, stored, tmp_path, said=said)
    assert [request.range for request in server.file_requests] == ["bytes=1000-", None]
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert len(said) == 1
    assert "in place of" in said[0]
    assert said[0].endswith("; it is fetched anew")


def test_bytes_that_stay_wrong_are_never_put_in_place(
    server: DataverseServer, tmp_path: Path
) -> None:
    stored = server.add(NAME, CONTENT, faults=[Fault("wrong")] * 2)
    (tmp_path / NAME).write_bytes(b"of last year")
    with pytest.raises(
        TransferError, match=f"{NAME}: fetched twice and not what is listed: its md5"
    ):
        fetch(server, stored, tmp_path)
    assert len(server.file_requests) == 2
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"of last year"


def test_what_has_arrived_of_a_file_that_was_replaced_since_is_removed(
    server: DataverseServer, tmp_path: Path
) -> None:
    stored = server.add(NAME, CONTENT)
    file = listed(stored)
    kept = [PartialFile(file, tmp_path).path.name, f".{NAME}.x.7.part", ".a.part", "a.7.part"]
    for name in [f".{NAME}.7.part", *kept]:
        (tmp_path / name).write_bytes(b"old")
    remove_outdated_parts(tmp_path, [file])
    assert names(tmp_path) == sorted(kept)


# What isn't worth another attempt


@pytest.mark.parametrize("code", [400, 401, 403, 405, 410])
def test_a_refusal_is_not_asked_again(server: DataverseServer, tmp_path: Path, code: int) -> None:
    body = json.dumps({"status": "ERROR", "message": "sign the\nguestbook\x1b[31m"}).encode()
    stored = server.add(NAME, CONTENT, faults=[status(code, body)])
    with pytest.raises(TransferError) as raised:
        fetch(server, stored, tmp_path)
    assert len(server.file_requests) == 1
    said = str(raised.value)
    assert said.startswith(f"{NAME}: status {code} ")
    assert "(sign the guestbook?[31m)" in said
    assert (TOKEN_VARIABLE in said) == (code in (401, 403))
    assert names(tmp_path) == []


def test_patience_ends(server: DataverseServer, tmp_path: Path) -> None:
    said: list[str] = []
    stored = server.add(NAME, CONTENT, faults=[status(500)] * 9)
    with pytest.raises(TransferError, match=r"status 500 .*; given up after 3 attempts"):
        fetch(server, stored, tmp_path, attempts=3, said=said)
    assert len(server.file_requests) == 3
    assert [words.rpartition("; ")[2] for words in said] == [
        "attempt 2 of 3 follows",
        "attempt 3 of 3 follows",
    ]


def test_nobody_there_is_a_failed_connection(tmp_path: Path) -> None:
    with DataverseServer() as gone:
        pass
    with (
        client(gone, attempts=2) as dataverse,
        pytest.raises(TransferError, match="the connection"),
    ):
        dataverse.list_files(DOI)


def test_redirects_without_end_are_given_up_at_once(
    server: DataverseServer, tmp_path: Path
) -> None:
    server.storage = server.url
    with pytest.raises(TransferError, match="Exceeded maximum allowed redirects"):
        fetch(server, server.add(NAME, CONTENT), tmp_path)
    assert len(server.file_requests) == 6


# Listing through faults


@pytest.mark.parametrize(
    "fault", [*EVERY_FAULT[:6], Fault("reset"), status(200, b"<!DOCTYPE HTML>")]
)
def test_a_listing_is_asked_for_until_it_comes(server: DataverseServer, fault: Fault) -> None:
    server.add(NAME, CONTENT)
    server.listing_faults.extend([fault] * 3)
    with client(server) as dataverse:
        assert [file.name for file in dataverse.list_files(DOI).files] == [NAME]
    assert len(server.requests) == 4


def test_a_page_in_place_of_a_listing_is_shown(server: DataverseServer) -> None:
    server.listing_faults.extend([status(200, b"<!DOCTYPE HTML>\n<title>\x1bSorry")] * 2)
    with (
        client(server, attempts=2) as dataverse,
        pytest.raises(TransferError, match="JSON, got '<!DOCTYPE HTML> <title>\\?Sorry'"),
    ):
        dataverse.list_files(DOI)


# The token


def test_the_token_is_sent_to_the_dataverse_and_not_where_it_redirects(
    server: DataverseServer, storage: DataverseServer, tmp_path: Path
) -> None:
    faults = [Fault("truncated", after=50_000)]
    stored = server.add(NAME, CONTENT, faults=faults)
    server.storage, storage.datasets = storage.url, server.datasets
    with client(server, token="secret") as dataverse:
        dataverse.list_files(DOI)
        dataverse.download(listed(stored), tmp_path)
    assert [request.headers["x-dataverse-key"] for request in server.requests] == ["secret"] * 3
    assert len(storage.requests) == 2
    for request in storage.requests:
        assert "secret" not in json.dumps([request.path, request.headers])
    assert storage.requests[1].range == "bytes=50000-"
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_httpx_alone_would_hand_the_token_on(
    server: DataverseServer, storage: DataverseServer
) -> None:
    """Why the client guards it; were it otherwise, the test above would prove nothing."""
    stored = server.add(NAME, CONTENT)
    server.storage, storage.datasets = storage.url, server.datasets
    with httpx.Client(follow_redirects=True, headers={"X-Dataverse-key": "secret"}) as bare:
        bare.get(f"{server.url}/api/access/datafile/{stored.id}")
    assert storage.requests[0].headers["x-dataverse-key"] == "secret"


def test_without_a_token_none_is_sent(
    server: DataverseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(NAME, CONTENT)
    config = DataverseConfig(api_base=server.url, timeout=TIMEOUT)
    for value in (None, "", " \n", " secret\n"):
        if value is None:
            monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(TOKEN_VARIABLE, value)
        with Dataverse.from_environment(config) as dataverse:
            dataverse.list_files(DOI)
    sent = [request.headers.get("x-dataverse-key") for request in server.requests]
    assert sent == [None, None, None, "secret"]


def test_what_is_no_token_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "sécret")
    with pytest.raises(ValueError, match=TOKEN_VARIABLE) as raised:
        Dataverse.from_environment(DataverseConfig())
    assert "cret" not in str(raised.value)


def test_a_redirect_that_is_not_encrypted_is_not_followed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "http://elsewhere.org/a"})

    with Dataverse(DataverseConfig(pause=0)) as dataverse:
        dataverse._client._transport = httpx.MockTransport(answer)
        dataverse._client._mounts = {}
        with pytest.raises(
            TransferError, match=r"redirected to http://elsewhere\.org, which isn't"
        ):
            dataverse.list_files(DOI)


# Waiting


def test_waits_double_and_are_cut_by_up_to_half_at_random() -> None:
    def waits(seed: int) -> list[float]:
        time_ = Time()
        patience = Patience(
            attempts=7, backoff=1.0, longest_wait=16.0, pause=0, seed=seed, sleep=time_.sleep,
            clock=time_.clock,
        )  # fmt: skip
        with pytest.raises(TransferError):
            patience.persist("a", fail)
        return time_.slept

    def fail() -> None:
        msg = "status 500"
        raise TransientError(msg)

    slept = waits(0)
    longest = [1, 2, 4, 8, 16, 16]
    assert len(slept) == len(longest)
    assert all(most / 2 <= wait <= most for wait, most in zip(slept, longest, strict=True))
    assert waits(0) == slept
    assert waits(1) != slept


DATES = {"Date": "Wed, 21 Oct 2026 07:28:00 GMT", "Retry_After": "Wed, 21 Oct 2026 07:28:40 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "40"}, 40.0),
        (DATES, 40.0),
        (DATES | {"Retry_After": "Wed, 21 Oct 2026 07:27:00 GMT"}, 0.0),
        ({"Retry_After": "soon"}, 0.0),
        ({"Retry_After": "-5"}, 0.0),
        ({}, 0.0),
    ],
)
def test_a_server_that_says_when_to_come_back_is_heard(
    server: DataverseServer, tmp_path: Path, headers: dict[str, str], seconds: float
) -> None:
    time_ = Time()
    stored = server.add(NAME, CONTENT, faults=[status(429, **headers)])
    fetch(server, stored, tmp_path, time_=time_, backoff=0.0)
    assert sum(time_.slept) == pytest.approx(seconds)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_server_that_says_when_to_come_back_is_heard_by_all_connections() -> None:
    time_ = Time()
    patience = Patience(
        attempts=2, backoff=0, longest_wait=60, pause=0, sleep=time_.sleep, clock=time_.clock
    )
    faults = [TransientError("status 429", retry_after=40)]

    def ask() -> None:
        if faults:
            raise faults.pop()

    patience.persist("a", ask)
    assert time_.now == 1040
    patience.persist("b", ask)
    assert time_.now == 1040


def test_a_server_that_says_to_come_back_much_later_is_left_for_another_run(
    server: DataverseServer, tmp_path: Path
) -> None:
    stored = server.add(NAME, CONTENT, faults=[status(503, Retry_After="3600")])
    with pytest.raises(
        TransferError, match="come back in 3600 seconds, more than longest_wait=300"
    ):
        fetch(server, stored, tmp_path)
    assert len(server.file_requests) == 1


def test_requests_begin_no_closer_than_the_pause() -> None:
    time_ = Time()
    begun: list[float] = []
    patience = Patience(
        attempts=1, backoff=0, longest_wait=1, pause=0.5, sleep=time_.sleep, clock=time_.clock
    )
    for _ in range(4):
        patience.persist("a", lambda: begun.append(time_.now))
    assert begun == [1000.0, 1000.5, 1001.0, 1001.5]


def test_what_is_stopped_ends_soon(server: DataverseServer, tmp_path: Path) -> None:
    stored = server.add(NAME, CONTENT, faults=[status(500)] * 3)
    config = DataverseConfig(api_base=server.url, backoff=1000, longest_wait=1000)
    failed: list[str] = []

    def download() -> None:
        try:
            dataverse.download(listed(stored), tmp_path)
        except TransferError as error:
            failed.append(str(error))

    waiting = threading.Event()
    with Dataverse(config, on_retry=lambda _: waiting.set()) as dataverse:
        thread = threading.Thread(target=download)
        thread.start()
        assert waiting.wait(30)
        dataverse.stop()
        thread.join(30)
        assert not thread.is_alive()
    assert failed == [f"{NAME}: stopped"]


class Trickle(httpx.SyncByteStream):
    """A body during which the client is stopped."""

    def __init__(self, dataverse: Dataverse) -> None:
        self._dataverse = dataverse

    def __iter__(self) -> Iterator[bytes]:
        yield b"a"
        self._dataverse.stop()
        yield b"b"
        raise AssertionError


def test_a_body_that_is_under_way_is_stopped_at_the_next_piece(tmp_path: Path) -> None:
    entry = FILE | {"filename": NAME, "filesize": 10}
    (file,) = read_listing(version({"dataFile": entry}), DOI).files
    with Dataverse(DataverseConfig(pause=0)) as dataverse:
        body = Trickle(dataverse)
        dataverse._client._transport = httpx.MockTransport(
            lambda _: httpx.Response(200, stream=body)
        )
        dataverse._client._mounts = {}
        with pytest.raises(TransferError, match="stopped"):
            dataverse.download(file, tmp_path)
    assert PartialFile(file, tmp_path).path.read_bytes() == b"a"


# The disk


class FullDisk(io.FileIO):
    """A file on a disk with room for some bytes more."""

    room = 100_000

    def write(self, data: Any) -> int:
        n_bytes = min(self.room - self.tell(), len(data))
        if n_bytes == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[:n_bytes])


def test_a_full_disk_is_told_and_what_has_arrived_is_kept(
    server: DataverseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = server.add(NAME, CONTENT)
    opened = Path.open

    def open_(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if path.suffix == ".part" and mode in ("wb", "r+b"):
            return FullDisk(path, mode)
        return opened(path, mode, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        with pytest.raises(TransferError) as raised:
            fetch(server, stored, tmp_path)
    part = PartialFile(listed(stored), tmp_path).path
    assert str(raised.value) == (
        f"{NAME}: no space left in {tmp_path}. 100000 of {len(CONTENT)} bytes are kept in "
        f"{part.name}; make room and run again, which goes on from there"
    )
    assert len(server.file_requests) == 1
    fetch(server, stored, tmp_path)
    assert server.file_requests[1].range == "bytes=100000-"
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_place_that_cannot_be_written_is_told(server: DataverseServer, tmp_path: Path) -> None:
    stored = server.add(NAME, CONTENT)
    (tmp_path / NAME).mkdir()
    with pytest.raises(TransferError, match=f"{NAME}: it can't be written: .*Is a directory"):
        fetch(server, stored, tmp_path)
    with pytest.raises(TransferError, match="No such file or directory"):
        fetch(server, stored, tmp_path / "nowhere")


# The configuration


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api_base": "dataverse.harvard.edu"}, "api_base='dataverse.harvard.edu': expected"),
        ({"api_base": "ftp://dataverse.org"}, "api_base="),
        ({"api_base": "https://dataverse.org?key=1"}, "api_base="),
        ({"connections": 0}, "connections=0: expected at least 1"),
        ({"attempts": 0}, "attempts=0: expected at least 1"),
        ({"pause": -1.0}, "pause=-1.0: expected at least 0"),
        ({"backoff": float("nan")}, "backoff=nan: expected at least 0"),
        ({"timeout": 0.0}, "timeout=0.0: expected above 0"),
        ({"longest_wait": 0.0}, "longest_wait=0.0: expected above 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        DataverseConfig(**settings)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="retries"):
        TypeAdapter(DataverseConfig).validate_python({"retries": 3})
