"""What a Dataverse dataset lists: its files, their sizes and checksums, under names that are safe.

The listing is the JSON of Dataverse's native API, ``/api/datasets/:persistentId/``. A tabular file
that Dataverse ingested is listed as the ``.tab`` derived from it, with that one's size and MD5;
what is wanted is the original, of which only name and size are listed.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import hexdigits
from typing import Any, Final

_LONGEST_NAME: Final = 200
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_DIGITS_OF_CHECKSUM: Final = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


class ListingError(ValueError):
    """A dataset lists nothing, or not in the form that is known."""


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """A digest in lower-case hexadecimal digits, and its kind, such as ``md5``."""

    kind: str
    value: str


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file as it can be downloaded.

    Attributes
    ----------
    id
        Dataverse's number for these bytes: a replaced file has another.
    name
        The name that it gets here.
    size
        In bytes; None where it isn't listed.
    checksum
        Of the bytes that are downloaded; None for an ingested original, whose size alone is
        listed.
    is_original
        Whether it is the original of an ingested tabular file, which must be asked for.
    doi
        The dataset that it belongs to.
    """

    id: int
    name: str
    size: int | None
    checksum: Checksum | None
    is_original: bool
    doi: str

    @property
    def proof(self) -> str:
        """What tells the right bytes from others, in words."""
        if self.checksum is not None:
            return self.checksum.kind
        return "nothing: neither checksum nor size is listed" if self.size is None else "size alone"

    def fault_of(self, path: Path) -> str | None:
        """Say how a local file differs from this one; None if it doesn't.

        Examples
        --------
        >>> import tempfile
        >>> file = RemoteFile(
        ...     id=1, name="a.tab", size=3, checksum=None, is_original=True, doi="doi:10.1/A"
        ... )
        >>> path = Path(tempfile.mkdtemp()) / "a.tab"
        >>> _ = path.write_bytes(b"four")
        >>> file.fault_of(path)
        'it has 4 bytes in place of 3'
        """
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"it has {size} bytes in place of {self.size}"
        if self.checksum is None:
            return None
        kind = self.checksum.kind
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False))
        if found.hexdigest() != self.checksum.value:
            return f"its {kind} is {found.hexdigest()} in place of {self.checksum.value}"
        return None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a dataset.

    Attributes
    ----------
    files
        Those that can be downloaded.
    restricted
        Names of those that can't be without the depositor's leave.
    refused
        Names that no file may have here, as they would be written in Python, and why.
    """

    doi: str
    files: tuple[RemoteFile, ...]
    restricted: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def read_listing(content: object, doi: str) -> Listing:
    """Read what the native API says of a dataset.

    Parameters
    ----------
    content
        The parsed JSON.
    doi
        The dataset that was asked for.

    Raises
    ------
    ListingError
        If there are no files or keys are missing; the message says what was found instead.

    Examples
    --------
    >>> file = {"id": 7, "filename": "events.2018.tab", "filesize": 10, "md5": "0C" * 16}
    >>> version = {"files": [{"restricted": False, "dataFile": file}]}
    >>> read_listing({"status": "OK", "data": {"latestVersion": version}}, "doi:10.1/A").files[0]
    ... # doctest: +NORMALIZE_WHITESPACE
    RemoteFile(id=7, name='events.2018.tab', size=10,
        checksum=Checksum(kind='md5', value='0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c'),
        is_original=False, doi='doi:10.1/A')
    """
    entries = _entries(content, doi)
    files, restricted, refused = [], [], {}
    for position, entry in enumerate(entries):
        where = f"{doi}: file {position + 1} of {len(entries)}"
        data = _get(entry, "dataFile", dict, where)
        is_original = "originalFileFormat" in data
        listed = _get(data, "filename", str, where)
        name = data.get("originalFileName", listed) if is_original else listed
        fault = fault_of_name(name)
        if fault is not None:
            refused[ascii(name)[: _LONGEST_NAME + 2]] = fault
        elif entry.get("restricted") or data.get("restricted"):
            restricted.append(name)
        else:
            files.append(
                RemoteFile(
                    id=_get(data, "id", int, where),
                    name=name,
                    size=_size(data, where, is_original=is_original),
                    checksum=None if is_original else _checksum(data, where),
                    is_original=is_original,
                    doi=doi,
                )
            )
    return Listing(doi=doi, files=tuple(files), restricted=tuple(restricted), refused=refused)


def fault_of_name(name: object) -> str | None:
    """Say why a listed name can't be a file's name here; None if it can.

    Examples
    --------
    >>> fault_of_name("events.2018.tab"), fault_of_name("../events.tab")
    (None, 'it has a path separator')
    """
    if not isinstance(name, str) or not name.strip():
        return "it is empty"
    faults = {
        "it has a path separator": "/" in name or "\\" in name,
        "it begins with a dot": name.startswith("."),
        "it begins or ends with a space": name != name.strip(),
        "it has a control character": any(unicodedata.category(c) in _INVISIBLE for c in name),
        f"it is longer than {_LONGEST_NAME} bytes": len(name.encode(errors="replace"))
        > _LONGEST_NAME,
    }
    return next((fault for fault, is_so in faults.items() if is_so), None)


def _entries(content: object, doi: str) -> Sequence[Any]:
    where = f"the listing of {doi}"
    if isinstance(content, dict) and content.get("status") == "ERROR":
        msg = f"{where} is an error: {content.get('message')!r:.200}"
        raise ListingError(msg)
    data = _get(content, "data", dict, where)
    version = _get(data, "latestVersion", dict, f"{where}, in 'data'")
    entries: list[Any] = _get(version, "files", list, f"{where}, in 'data.latestVersion'")
    if not entries:
        msg = f"{where} has no files: check the DOI, or whether the dataset was withdrawn"
        raise ListingError(msg)
    return entries


def _get(content: object, key: str, kind: type, where: str) -> Any:
    if not isinstance(content, dict):
        msg = f"{where}: expected an object with {key!r}, got {content!r:.200}"
        raise ListingError(msg)
    value = content.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        got = f"{value!r:.100}" if key in content else f"only the keys {sorted(content)!r:.300}"
        msg = (
            f"{where}: expected {key!r} with a value of type {kind.__name__}, got {got}. "
            "Dataverse's API may have changed, or --api-base is no Dataverse"
        )
        raise ListingError(msg)
    return value


def _size(data: dict[str, Any], where: str, *, is_original: bool) -> int | None:
    if is_original:
        size = data.get("originalFileSize")
        return size if isinstance(size, int) and size >= 0 else None
    size = _get(data, "filesize", int, where)
    if size < 0:
        msg = f"{where}: expected a 'filesize' of at least 0, got {size}"
        raise ListingError(msg)
    return int(size)


def _checksum(data: dict[str, Any], where: str) -> Checksum:
    given = data.get("checksum")
    if isinstance(given, dict):
        kind = _get(given, "type", str, where).lower().replace("-", "")
        value = _get(given, "value", str, where)
    else:
        kind, value = "md5", _get(data, "md5", str, where)
    value = value.strip().lower()
    digits = _DIGITS_OF_CHECKSUM.get(kind)
    if len(value) != digits or not set(value) <= set(hexdigits):
        kinds = ", ".join(_DIGITS_OF_CHECKSUM)
        msg = f"{where}: expected a checksum ({kinds}), got {kind!r:.50} of {value!r:.200}"
        raise ListingError(msg)
    return Checksum(kind=kind, value=value)
