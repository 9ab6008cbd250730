"""Laws of a sync: what it plans, what it fetches, and that it never deletes."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from features.ingest import IngestConfig, StagedFile
from flows.dataverse import TOKEN_VARIABLE, Dataverse, DataverseConfig
from flows.dataverse_listing import Checksum, Listing, RemoteFile
from flows.lake import UNREADABLE, FileRecord, Lake
from flows.locking import BusyError, sole_run
from flows.publishing import publishing
from flows.sync import download_all, sync
from flows.sync_plan import (
    DOIS_OF_SOURCE,
    MATCH_OF_SOURCE,
    SyncConfig,
    SyncError,
    SyncPlan,
    SyncResult,
    known_files,
    make_plan,
    plan_sync,
)
from flows.sync_table import print_plan, print_sync
from tests.dataverse_server import DOI, DataverseServer, Fault, status

YEARLY, DAILY = DOIS_OF_SOURCE["icews"]
A, B, C = "events.2018.20200427.tab.zip", "20181004-icews-events.zip", "events.2019.1.tab"
MD5_OF_ABC = "900150983cd24fb0d6963f7d28e17f72"
EVERYTHING = ("*",)


@pytest.fixture
def server() -> Iterator[DataverseServer]:
    with DataverseServer() as running:
        yield running


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def config(server: DataverseServer, folder: Path, **settings: Any) -> SyncConfig:
    dataverse = DataverseConfig(
        api_base=server.url, timeout=5, attempts=3, backoff=0.001, pause=0, seed=0
    )
    given = {"source": "icews", "into": folder / "raw", "data": folder / "data"}
    return SyncConfig(**{**given, "dataverse": dataverse, **settings})


def remote(name: str, number: int = 1, **settings: Any) -> RemoteFile:
    md5 = Checksum(kind="md5", value=MD5_OF_ABC)
    given = {"size": 3, "checksum": md5, "is_original": False, "doi": DOI}
    return RemoteFile(id=number, name=name, **{**given, **settings})


def plan(
    *files: RemoteFile, into: Path, known: dict[str, str] | None = None, **listing: Any
) -> SyncPlan:
    return plan_sync([Listing(doi=DOI, files=files, **listing)], into, known or {}, EVERYTHING)


def actions(planned: SyncPlan) -> dict[str, str]:
    return {item.file.name: item.action for item in planned.files}


def printed(what: SyncPlan | SyncResult) -> str:
    console = Console(file=StringIO(), width=200)
    with console.capture() as capture:
        if isinstance(what, SyncPlan):
            print_plan(what, console)
        else:
            print_sync(what, console)
    return capture.get()


# The plan


@pytest.mark.parametrize(
    ("here", "in_lake", "action", "why"),
    [
        (None, None, "fetch", "to be proved by md5"),
        (b"abc", None, "present", "proved by md5"),
        (b"abd", None, "replace", f"its md5 is .* in place of {MD5_OF_ABC}"),
        (b"ab", None, "replace", "it has 2 bytes in place of 3"),
        (None, MD5_OF_ABC, "in the lake", "proved by md5"),
        (None, MD5_OF_ABC.upper(), "in the lake", "proved by md5"),
        (None, "0" * 32, "replace", "the lake has other bytes of that name"),
        (b"abc", "0" * 32, "present", "proved by md5"),
        # What lies in the folder would be read as the newest file of its name.
        (b"abd", MD5_OF_ABC, "replace", "its md5 is .* in place of"),
    ],
)
def test_what_becomes_of_a_file_depends_on_the_bytes_that_are_here(
    tmp_path: Path, here: bytes | None, in_lake: str | None, action: str, why: str
) -> None:
    if here is not None:
        (tmp_path / "a.tab").write_bytes(here)
    known = {} if in_lake is None else {"a.tab": in_lake}
    (planned,) = plan(remote("a.tab"), into=tmp_path, known=known).files
    assert planned.action == action
    assert re.match(why, planned.why)


def test_an_original_is_compared_by_its_size_and_the_plan_says_so(tmp_path: Path) -> None:
    """The MD5 that the lake knows is of another thing than the one that is listed."""
    original = {"checksum": None, "is_original": True}
    files = [remote(name, number, **original) for number, name in enumerate("abcd")]
    (tmp_path / "a").write_bytes(b"xyz")
    (tmp_path / "b").write_bytes(b"xy")
    found = plan(*files, into=tmp_path, known={"c": MD5_OF_ABC})
    assert actions(found) == {"a": "present", "b": "replace", "c": "fetch", "d": "fetch"}
    assert [item.why for item in found.files] == [
        "proved by size alone",
        "it has 2 bytes in place of 3",
        "the lake has a file of that name; whether it is the same can't be told",
        "to be proved by size alone",
    ]


def test_a_checksum_of_another_kind_is_not_compared_with_the_lakes_md5(tmp_path: Path) -> None:
    file = remote("a", checksum=Checksum(kind="sha1", value="0" * 40))
    (planned,) = plan(file, into=tmp_path, known={"a": MD5_OF_ABC}).files
    assert (planned.action, planned.why[:8]) == ("fetch", "the lake")


def test_what_is_no_longer_listed_is_named_from_folder_and_lake(tmp_path: Path) -> None:
    for name in ("a", "b", ".c.7.part", ".lock"):
        (tmp_path / name).write_bytes(b"abc")
    (tmp_path / "folder").mkdir()
    found = plan(
        remote("a"),
        into=tmp_path,
        known={"d": MD5_OF_ABC, "e": MD5_OF_ABC, "a": MD5_OF_ABC},
        restricted=("e", "f"),
    )
    assert found.gone == ("b", "d")
    assert found.restricted == ("e", "f")


def test_different_files_of_one_name_are_refused_and_the_same_twice_is_one(tmp_path: Path) -> None:
    other = Checksum(kind="md5", value="0" * 32)
    size_alone = {"checksum": None, "is_original": True}
    files = [
        remote("a", 1), remote("a", 2, doi="doi:10.1/B"),
        remote("b", 3), remote("b", 4, checksum=other, doi="doi:10.1/B"),
        remote("c", 5, **size_alone), remote("c", 6, **size_alone),
        remote("d", 7, **size_alone), remote("d", 7, **size_alone),
    ]  # fmt: skip
    (tmp_path / "b").write_bytes(b"abc")
    found = plan(*files, into=tmp_path)
    assert actions(found) == {"a": "fetch", "d": "fetch"}
    assert found.refused == {
        "b": f"different files have this name: in {DOI} (file 3) and doi:10.1/B (file 4)",
        "c": f"different files have this name: in {DOI} (file 5) and {DOI} (file 6)",
    }
    assert found.gone == ()


def test_what_is_refused_in_the_listing_is_refused_in_the_plan(tmp_path: Path) -> None:
    assert plan(into=tmp_path, refused={"'../a'": "why"}).refused == {"'../a'": "why"}


@pytest.mark.parametrize(
    ("source", "name", "is_events"),
    [
        ("icews", A, True),
        ("icews", "Events.2017.20200602.tab.zip", True),
        ("icews", "events.2015.20180710092545.tsv", True),
        ("icews", B, True),
        ("icews", "20190309-icews-events-1.tab", True),
        ("icews", "20190503-thru-20190519-icews-events.zip", True),
        ("icews", "202201-icews-events.tab", True),
        ("icews", "CAMEO.CDB.09b5.pdf", False),
        ("icews", "icews.actors.20140112.tab.zip", False),
        ("icews", "ngecEventsDV-2022.txt.zip", False),
        ("polecat", "ngecEventsDV-2022.txt.zip", True),
        ("polecat", "ngecEvents.20230103111842.Release603.DV.txt", True),
        ("polecat", "ngecEvents.DV.2023.txt", True),
        ("polecat", "POLECAT Codebook.pdf", False),
        ("polecat", B, False),
    ],
)
def test_the_sources_patterns_choose_event_files(
    tmp_path: Path, source: str, name: str, is_events: bool
) -> None:
    listing = Listing(doi=DOI, files=(remote(name),))
    found = plan_sync([listing], tmp_path, {}, MATCH_OF_SOURCE[source])
    assert (len(found.files), found.n_others) == ((1, 0) if is_events else (0, 1))


names_ = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.lists(names_, unique=True),
    st.lists(names_, unique=True),
    st.dictionaries(names_, st.sampled_from([MD5_OF_ABC, "0" * 32])),
    st.dictionaries(names_, st.sampled_from([b"abc", b"abd", b"ab"])),
)
def test_every_name_is_accounted_for_once(
    files: list[str], restricted: list[str], known: dict[str, str], here: dict[str, bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in here.items():
            (Path(folder) / name).write_bytes(content)
        found = plan(
            *(remote(name, number) for number, name in enumerate(files)),
            into=Path(folder),
            known=known,
            restricted=tuple(restricted),
        )
        assert {path.name: path.read_bytes() for path in Path(folder).iterdir()} == here
    accounted = [*actions(found), *found.restricted, *found.gone]
    assert sorted(accounted) == sorted({*files, *restricted, *known, *here})
    has_it = {name for name in files if here.get(name) == b"abc"}
    has_it |= {name for name in files if name not in here and known.get(name) == MD5_OF_ABC}
    assert {file.name for file in found.wanted} == set(files) - has_it


def test_the_files_of_the_lake_are_known_by_their_md5(tmp_path: Path) -> None:
    assert known_files(tmp_path) == {}
    record = {"size": 3, "mtime_ns": 0, "sha256": ""}
    files = {
        name: FileRecord(
            **record, md5=md5, staged=StagedFile(name=name, edition=edition), error=error
        )
        for name, md5, edition, error in [
            ("a", MD5_OF_ABC, "yearly", None),
            ("b", MD5_OF_ABC, UNREADABLE, "cut off"),
            ("c", "", "yearly", None),
            ("d", MD5_OF_ABC, "yearly", "cut off this time"),  # its earlier self is in the lake
        ]
    }
    with publishing(tmp_path / "lake", "v1") as folder:
        Lake(folder=folder, config=IngestConfig(), files=files).save(folder)
    assert known_files(tmp_path) == {"a": MD5_OF_ABC, "d": MD5_OF_ABC}


# Fetching


def test_a_sync_brings_what_is_missing_and_the_next_one_nothing(
    server: DataverseServer, tmp_path: Path, prefect: None
) -> None:
    server.add(A, b"yearly" * 9999, doi=YEARLY)
    server.add("Codebook.pdf", b"pdf", doi=YEARLY)
    server.add(B, b"daily", doi=DAILY)
    settings = config(server, tmp_path)
    settings.into.mkdir()
    (settings.into / B).write_bytes(b"stale")
    (settings.into / C).write_bytes(b"gone upstream")
    result = sync(settings)
    assert (result.fetched, result.failed, result.plan.gone) == ((B, A), {}, (C,))
    assert {path.name: path.read_bytes() for path in settings.into.glob("[!.]*")} == {
        A: b"yearly" * 9999,
        B: b"daily",
        C: b"gone upstream",
    }
    assert not list(settings.into.glob("*.part"))
    before = len(server.file_requests)
    again = sync(settings)
    assert (again.fetched, actions(again.plan)) == ((), {A: "present", B: "present"})
    assert len(server.file_requests) == before == 2


def test_one_file_that_fails_does_not_stop_the_others_and_the_next_run_goes_on(
    server: DataverseServer, tmp_path: Path, prefect: None
) -> None:
    broken = [Fault("truncated", after=1000), status(500), status(500)]
    server.add(A, b"yearly" * 999, faults=broken)
    server.add(B, b"daily")
    settings = config(server, tmp_path, dois=(DOI,))
    with pytest.raises(SyncError) as raised:
        sync(settings)
    result = raised.value.result
    assert result.fetched == (B,)
    assert result.failed == {A: f"{A}: status 500 Internal Server Error; given up after 3 attempts"}
    assert str(raised.value).startswith(f"1 of 2 files are missing: {A}. The others are whole. Run")
    assert (settings.into / B).read_bytes() == b"daily"
    assert not (settings.into / A).exists()
    assert "failed: " + result.failed[A] in printed(result)
    assert sync(settings).fetched == (A,)
    assert (settings.into / A).read_bytes() == b"yearly" * 999
    assert server.file_requests[-1].range == "bytes=1000-"


def test_a_refused_name_fails_the_sync_after_all_others_are_fetched(
    server: DataverseServer, tmp_path: Path, prefect: None
) -> None:
    server.add(A, b"yearly")
    server.add("../events.2019.1.tab", b"evil")
    settings = config(server, tmp_path, dois=(DOI,))
    with pytest.raises(SyncError, match=r"1 of 2 files are missing: '\.\./events"):
        sync(settings)
    assert (settings.into / A).read_bytes() == b"yearly"
    assert not list(tmp_path.glob("events*"))


def test_a_second_sync_into_the_same_folder_is_refused(
    server: DataverseServer, tmp_path: Path, prefect: None
) -> None:
    server.add(A, b"yearly")
    settings = config(server, tmp_path, dois=(DOI,))
    with sole_run(settings.into, doing="sync icews"):
        failed: list[BaseException] = []

        def second() -> None:
            try:
                sync(settings)
            except BusyError as error:
                failed.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(failed) == 1
    assert f"process {os.getpid()}" in str(failed[0])
    assert server.requests == []


def download(server: DataverseServer, into: Path, connections: int) -> dict[str, str]:
    settings = DataverseConfig(
        api_base=server.url, connections=connections, pause=0, backoff=0, attempts=2, timeout=5
    )
    into.mkdir()
    with Dataverse(settings) as dataverse:
        files = dataverse.list_files(DOI).files
        return download_all(dataverse, files, into, connections)


@pytest.mark.parametrize("connections", [1, 2])
def test_there_are_never_more_requests_at_once_than_connections(
    server: DataverseServer, tmp_path: Path, connections: int
) -> None:
    for number in range(6):
        server.add(f"{number}", bytes(1000))
    server.hold_seconds = 0.03
    assert download(server, tmp_path / "raw", connections) == {}
    assert server.most_at_once == connections
    assert len(list((tmp_path / "raw").iterdir())) == 6


def test_what_failed_is_told_in_the_order_of_the_files(
    server: DataverseServer, tmp_path: Path
) -> None:
    for number in range(6):
        server.add(f"{number}", bytes(10), faults=[status(403)] if number % 2 else [])
    failed = download(server, tmp_path / "raw", 2)
    assert list(failed) == ["1", "3", "5"]
    assert all(why.startswith(f"{name}: status 403") for name, why in failed.items())


def test_an_interrupted_sync_starts_no_further_file(
    server: DataverseServer, tmp_path: Path
) -> None:
    for number in range(20):
        server.add(f"{number}", bytes(10))
    server.hold_seconds = 0.05
    settings = DataverseConfig(api_base=server.url, pause=0)

    def interrupt(name: str, fault: str | None) -> None:
        raise KeyboardInterrupt

    with Dataverse(settings) as dataverse:
        files = dataverse.list_files(DOI).files
        with pytest.raises(KeyboardInterrupt):
            download_all(dataverse, files, tmp_path, 1, on_end=interrupt)
    assert len(server.file_requests) < 20


def test_a_plan_writes_nothing(server: DataverseServer, tmp_path: Path) -> None:
    server.add(A, b"yearly")
    settings = config(server, tmp_path, dois=(DOI,))
    with Dataverse.from_environment(settings.dataverse) as dataverse:
        planned = make_plan(settings, dataverse)
    assert actions(planned) == {A: "fetch"}
    assert list(tmp_path.iterdir()) == []
    assert server.file_requests == []


# What is printed


def test_the_printed_plan_says_what_would_be_done(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"ab")
    (tmp_path / "z[red]").write_bytes(b"ab")
    original = {"checksum": None, "is_original": True, "size": None}
    text = printed(
        plan(
            remote("a", 1, size=12_345),
            remote("b", 2),
            remote("c", 3, **original),
            into=tmp_path,
            restricted=("s",),
            refused={"'../x'": "it has a path separator"},
        )
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines == [
        "files number bytes",
        "new, to be fetched 2 12,345",
        "changed, to be replaced 1 3",
        "there already 0 0",
        "in the lake already 0 0",
        "restricted, left out 1",
        "refused 1",
        "no longer listed, kept 1",
        "that match no pattern 0",
        "fetch a: 12,345 bytes; to be proved by md5",
        "replace b: 3 bytes; it has 2 bytes in place of 3",
        "fetch c: size unknown; to be proved by nothing: neither checksum nor size is listed",
        "restricted, left out: s",
        "refused: '../x': it has a path separator",
        "no longer listed, kept: z[red]",
    ]


def test_the_printed_result_says_what_was_verified_by_size_alone(tmp_path: Path) -> None:
    planned = plan(
        remote("a", 1), remote("b", 2, checksum=None, is_original=True), into=tmp_path / "no"
    )
    text = printed(SyncResult(into=tmp_path, plan=planned, fetched=("a", "b")))
    assert f"2 fetched and verified into {tmp_path}\n" in text
    assert "1 of them by size alone, as Dataverse lists no checksum of originals" in text
    assert text.rstrip().endswith(": b")
    only = SyncResult(into=tmp_path, plan=planned, fetched=("a",), failed={"b": "b: gone"})
    assert "size alone" not in printed(only)
    assert "failed: b: gone" in printed(only)


# The configuration


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "gdelt"}, "source='gdelt': expected one of icews, polecat"),
        ({"dois": ("10.7910/DVN/28075",)}, "'10.7910/DVN/28075' is no identifier: expected"),
        ({"dois": ("doi:a b",)}, "'doi:a b' is no identifier"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyncConfig(**{"source": "icews", "into": Path("raw"), **settings})


def test_an_unknown_setting_is_refused_at_any_depth() -> None:
    given = {"source": "icews", "into": "raw"}
    for wrong in ({"folder": "raw"}, {"dataverse": {"retries": 3}}):
        with pytest.raises(ValidationError, match=r"folder|retries"):
            TypeAdapter(SyncConfig).validate_python(given | wrong)
