"""Laws of archives: what is unsafe or no table is refused by name, and nothing is unpacked."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import archives
from features.archives import ArchiveError, ArchiveLimits, TableFormatError, open_members
from tests.fuzz_mutations import zipped

TABLE = b"a\tb\n1\t2\n"


def read(path: Path, **options: Any) -> list[bytes]:
    """Read every table of a file whole."""
    with open_members(path, **options) as members:
        return [stream.read() for _, stream in members]


def write(folder: Path, data: bytes, name: str = "t.zip") -> Path:
    """Write a file."""
    path = folder / name
    path.write_bytes(data)
    return path


def zip_of(*infos: zipfile.ZipInfo, data: bytes = TABLE) -> bytes:
    """Return a zip of entries with attributes of their own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for info in infos:
            archive.writestr(info, data)
    return buffer.getvalue()


def with_mode(mode: int, name: str = "x.tab") -> zipfile.ZipInfo:
    """Return an entry with this Unix mode."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def tar() -> bytes:
    """Return a tar archive of a table."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("x.tab")
        info.size = len(TABLE)
        archive.addfile(info, io.BytesIO(TABLE))
    return buffer.getvalue()


# What passes


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), form=st.sampled_from(["plain", "gzip", "zip", "stored"]))
def test_what_comes_out_is_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, form: str
) -> None:
    packed = {
        "plain": b"a" + data,
        "gzip": gzip.compress(b"a" + data),
        "zip": zipped([("x.tab", b"a" + data)]),
        "stored": zipped([("x.tab", b"a" + data)], zipfile.ZIP_STORED),
    }[form]
    folder = tmp_path_factory.mktemp("t")
    assert read(write(folder, packed)) == [b"a" + data]
    assert [path.name for path in folder.iterdir()] == ["t.zip"]


@pytest.mark.parametrize(
    "extra",
    ["__MACOSX/._x.tab", "README.txt", "docs/readme.csv", "LICENSE.txt", "._x.tab", "codebook.pdf"],
)
def test_harmless_companions_of_a_table_pass(tmp_path: Path, extra: str) -> None:
    data = zipped([("deep/", b""), (extra, b"\0\1"), ("deep/x.tab", TABLE)])
    assert read(write(tmp_path, data)) == [TABLE]


def test_a_folder_with_the_name_of_a_table_is_none(tmp_path: Path) -> None:
    assert read(write(tmp_path, zipped([("x.tab/", b""), ("x.tab/x.tab", TABLE)]))) == [TABLE]


def test_a_zip_with_64_bit_sizes_passes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w") as archive,
        archive.open("x.tab", "w", force_zip64=True) as member,
    ):
        member.write(TABLE)
    assert read(write(tmp_path, buffer.getvalue())) == [TABLE]


def test_a_gzip_of_several_members_is_read_through(tmp_path: Path) -> None:
    data = gzip.compress(TABLE) + gzip.compress(b"3\t4\n")
    assert read(write(tmp_path, data)) == [TABLE + b"3\t4\n"]


def test_text_that_begins_like_the_name_of_an_archive_is_text(tmp_path: Path) -> None:
    for text in (b"PK\tb\n", b"BZh\tb\n", b"Rar\tb\n", b"7z\tb\n"):
        assert read(write(tmp_path, text)) == [text]


def test_several_tables_come_in_order_of_their_names(tmp_path: Path) -> None:
    path = write(tmp_path, zipped([("b.tab", b"2"), ("a.tab", b"1"), ("c/a.txt", b"3")]))
    assert read(path, several=True) == [b"1", b"2", b"3"]
    with pytest.raises(ArchiveError, match=r"exactly one of .* it holds b\.tab, a\.tab, c/a\.txt"):
        read(path)


def test_messages_name_the_archive_and_the_member(tmp_path: Path) -> None:
    with open_members(write(tmp_path, zipped([("x.tab", TABLE)]))) as members:
        assert next(members)[0] == f"{tmp_path / 't.zip'}: x.tab"


# What doesn't


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../x.tab", "leads out of the archive"),
        ("deep/../../x.tab", "leads out of the archive"),
        ("/etc/x.tab", "absolute name"),
        ("C:x.tab", "absolute name"),
        ("deep\\x.tab", "backslash"),
        ("..\\x.tab", "backslash"),
        ("\\\\host\\x.tab", "backslash"),
        ("../evil.sh", "leads out of the archive"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, words: str) -> None:
    data = zipped([("x.tab", TABLE), (name, TABLE)])
    with pytest.raises(ArchiveError, match=rf"t\.zip: the archive's member .*{words}"):
        read(write(tmp_path, data))


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    data = zipped([("xQ.tab", TABLE)]).replace(b"xQ.tab", b"x\0.tab")
    with pytest.raises(ArchiveError, match="NUL"):
        read(write(tmp_path, data))


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o120777, "is a link"), (0o010644, "no ordinary"), (0o020644, "no ordinary")],
)
def test_links_and_devices_are_refused(tmp_path: Path, mode: int, words: str) -> None:
    data = zip_of(with_mode(0o100644), with_mode(mode, "other"))
    with pytest.raises(ArchiveError, match=rf"'other' .*{words}"):
        read(write(tmp_path, data))
    assert read(write(tmp_path, zip_of(with_mode(0o100644)))) == [TABLE]


@pytest.mark.parametrize("twins", [("x.tab", "x.tab"), ("x.tab", "./x.tab"), ("a.md", "a.md")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_occur_twice_are_refused(tmp_path: Path, twins: Sequence[str]) -> None:
    data = zipped([("y.tab", TABLE), *((name, TABLE) for name in twins)])
    with pytest.raises(ArchiveError, match="more than once"):
        read(write(tmp_path, data), several=True)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped([("x.tab", TABLE)]))
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ArchiveError, match=r"'x\.tab' is encrypted"):
        read(write(tmp_path, bytes(data)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_cannot_be_unpacked_in_bounded_memory_are_refused(
    tmp_path: Path, method: int
) -> None:
    with pytest.raises(ArchiveError, match="isn't compressed by deflate"):
        read(write(tmp_path, zipped([("x.tab", TABLE)], method)))


@pytest.mark.parametrize("outer", ["gzip", "zip"])
@pytest.mark.parametrize("inner", ["gzip", "zip", "tar", "bzip2", "xz"])
def test_an_archive_where_the_table_should_be_is_refused(
    tmp_path: Path, outer: str, inner: str
) -> None:
    packed = {
        "gzip": gzip.compress(TABLE),
        "zip": zipped([("x.tab", TABLE)]),
        "tar": tar(),
        "bzip2": bz2.compress(TABLE),
        "xz": lzma.compress(TABLE),
    }[inner]
    data = gzip.compress(packed) if outer == "gzip" else zipped([("x.tab", packed)])
    with pytest.raises(ArchiveError, match=rf"t\.zip: a {inner} archive inside an archive"):
        read(write(tmp_path, data))


def test_a_zip_of_a_zip_holds_no_table(tmp_path: Path) -> None:
    data = zipped([("x.zip", zipped([("x.tab", TABLE)]))])
    with pytest.raises(ArchiveError, match=r"exactly one of .* it holds x\.zip"):
        read(write(tmp_path, data))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (bz2.compress(TABLE), "bzip2"),
        (bz2.compress(b""), "bzip2"),
        (lzma.compress(TABLE), "xz"),
        (tar(), "tar"),
        (b"7z\xbc\xaf\x27\x1c\0", "7-Zip"),
        (b"\x28\xb5\x2f\xfd\0", "Zstandard"),
    ],
)
def test_other_kinds_of_archive_are_refused_and_the_mending_is_named(
    tmp_path: Path, data: bytes, kind: str
) -> None:
    with pytest.raises(ArchiveError, match=rf"t\.zip: a {kind} file.*recompress it as zip or gzip"):
        read(write(tmp_path, data))


@settings(max_examples=150, deadline=None)
@given(
    place=st.integers(0, 10_000), octet=st.integers(0, 255), form=st.sampled_from(["zip", "gzip"])
)
def test_a_changed_byte_leaves_the_table_whole_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, octet: int, form: str
) -> None:
    text = TABLE * 40 + bytes(range(32, 127))
    data = bytearray(gzip.compress(text) if form == "gzip" else zipped([("x.tab", text)]))
    data[place % len(data)] = octet
    path = write(tmp_path_factory.mktemp("t"), bytes(data))
    try:
        (found,) = read(path)
    except TableFormatError as error:
        assert str(path) in str(error)
    else:
        assert found in {text, bytes(data)}  # without its magic number the file is plain


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that can't be read")
def test_an_error_of_the_disk_is_one_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.tab"
    path.symlink_to("/proc/self/mem")
    with pytest.raises(TableFormatError, match=r"t\.tab: can't be read: .*(?i:input/output error)"):
        read(path)


# Bombs


@pytest.mark.parametrize("form", ["gzip", "zip"])
def test_a_bomb_is_stopped_by_its_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    text = bytes(8 << 20)
    path = write(tmp_path, gzip.compress(text) if form == "gzip" else zipped([("x.tab", text)]))
    came = 0
    with (
        open_members(path) as members,
        pytest.raises(ArchiveError, match=r"t\.zip: .* bytes of archive .*max_ratio=200"),
    ):
        for _, stream in members:
            while piece := stream.read(1 << 16):
                came += len(piece)
    assert came < 3 << 20
    assert read(path, limits=ArchiveLimits(max_ratio=1_100)) == [text]


def test_small_archives_of_equal_lines_are_no_bombs(tmp_path: Path) -> None:
    text = TABLE * 100_000
    assert len(gzip.compress(text)) * 200 < len(text) < archives.FREE_BYTES
    assert read(write(tmp_path, gzip.compress(text))) == [text]


@pytest.mark.parametrize("form", ["gzip", "zip"])
def test_an_archive_is_stopped_by_its_size(tmp_path: Path, form: str) -> None:
    data = gzip.compress(TABLE) if form == "gzip" else zipped([("x.tab", TABLE)])
    path = write(tmp_path, data)
    assert read(path, limits=ArchiveLimits(max_bytes=len(TABLE))) == [TABLE]
    with pytest.raises(ArchiveError, match="max_bytes=7"):
        read(path, limits=ArchiveLimits(max_bytes=len(TABLE) - 1))


def test_what_counts_is_what_all_tables_come_to(tmp_path: Path) -> None:
    path = write(tmp_path, zipped([("a.tab", TABLE), ("b.tab", TABLE)]))
    assert read(path, several=True, limits=ArchiveLimits(max_bytes=16)) == [TABLE, TABLE]
    with pytest.raises(ArchiveError, match="max_bytes=15"):
        read(path, several=True, limits=ArchiveLimits(max_bytes=15))


def test_sizes_in_the_directory_are_not_believed(tmp_path: Path) -> None:
    text = bytes(1 << 20)
    data = bytearray(zipped([("x.tab", text)]))
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (100).to_bytes(4, "little")  # uncompressed size
    data[22:26] = (100).to_bytes(4, "little")
    with pytest.raises(TableFormatError, match=r"t\.zip: can't be read: Bad CRC-32"):
        read(write(tmp_path, bytes(data)))
    data[entry + 24 : entry + 28] = (1 << 31).to_bytes(4, "little")
    with pytest.raises(ArchiveError, match="max_bytes=1000"):
        read(write(tmp_path, bytes(data)), limits=ArchiveLimits(max_bytes=1_000))


def test_a_plain_file_has_no_limits(tmp_path: Path) -> None:
    assert read(write(tmp_path, TABLE), limits=ArchiveLimits(max_bytes=1)) == [TABLE]


@pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"max_ratio": 0.5}])
def test_limits_that_let_nothing_pass_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        ArchiveLimits(**limits)
