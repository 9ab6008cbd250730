"""What a sync would do: the files that a dataset lists beside those that are here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, Final, Literal

from flows.dataverse import Dataverse, DataverseConfig
from flows.dataverse_listing import Listing, RemoteFile
from flows.lake import Lake
from flows.publishing import latest

SourceName = Literal["icews", "polecat"]
Action = Literal["fetch", "replace", "present", "in the lake"]

DOIS_OF_SOURCE: Final[Mapping[str, tuple[str, ...]]] = {
    "icews": ("doi:10.7910/DVN/28075", "doi:10.7910/DVN/QI2T9A"),
    "polecat": ("doi:10.7910/DVN/AJGVIT",),
}
"""The datasets of each source: of ICEWS the yearly files, then the daily and weekly ones."""

MATCH_OF_SOURCE: Final[Mapping[str, tuple[str, ...]]] = {
    "icews": ("events.*", "*-icews-events*"),
    "polecat": ("ngecevents*",),
}
"""Which of their files are of events; others are codebooks and dictionaries."""

_DOI: Final = re.compile(r"(doi|hdl|perma):[!-~]+")


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """Which files are brought from a Dataverse, and where to.

    Attributes
    ----------
    source
        ``icews`` or ``polecat``.
    into
        The folder that they are put into.
    data
        Folder that a run writes to: what its lake has already isn't fetched.
    dois
        Datasets; those of the source if none is given.
    match
        Patterns such as ``events.2018.*``; a file's name must match one, in whichever case. Those
        of the source's event files if none is given.
    dataverse
        Which Dataverse, and with how much patience.

    Raises
    ------
    ValueError
        If there is no such source, or a DOI isn't one.

    Examples
    --------
    >>> SyncConfig(source="polecat", into=Path("raw")).datasets
    ('doi:10.7910/DVN/AJGVIT',)
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    source: SourceName
    into: Path
    data: Path = Path("data/lake")
    dois: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    dataverse: DataverseConfig = field(default_factory=DataverseConfig)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.source not in DOIS_OF_SOURCE:
            msg = f"source={self.source!r}: expected one of {', '.join(DOIS_OF_SOURCE)}"
            raise ValueError(msg)
        for doi in self.dois:
            if not _DOI.fullmatch(doi):
                msg = f"dois: {doi!r} is no identifier: expected one such as doi:10.7910/DVN/28075"
                raise ValueError(msg)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that are listed."""
        return self.dois or DOIS_OF_SOURCE[self.source]

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of which a name must match one, in lower case."""
        given = self.match or MATCH_OF_SOURCE[self.source]
        return tuple(pattern.lower() for pattern in given)


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """What is to become of a listed file, and why."""

    file: RemoteFile
    action: Action
    why: str

    @property
    def is_wanted(self) -> bool:
        """Whether it is downloaded."""
        return self.action in ("fetch", "replace")


@dataclass(frozen=True, kw_only=True)
class SyncPlan:
    """What a sync would do.

    Attributes
    ----------
    files
        The listed files that match, by name.
    restricted
        Names of matching files that can't be had without leave.
    refused
        What can't be a file here, and why.
    gone
        Matching files that are here or in the lake and no longer listed. They stay.
    n_others
        Listed files that don't match.
    """

    files: tuple[PlannedFile, ...]
    restricted: tuple[str, ...]
    refused: dict[str, str]
    gone: tuple[str, ...]
    n_others: int

    @property
    def wanted(self) -> tuple[RemoteFile, ...]:
        """The files to be downloaded."""
        return tuple(planned.file for planned in self.files if planned.is_wanted)


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """What a sync did.

    Attributes
    ----------
    into
        The folder that files were put into.
    plan
        What it set out to do.
    fetched
        Names of the files that were downloaded.
    failed
        What could not be, and why, by name.
    """

    into: Path
    plan: SyncPlan
    fetched: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)


class SyncError(Exception):
    """Some files could not be had; `result` says which, and what became of the others."""

    def __init__(self, message: str, result: SyncResult) -> None:
        super().__init__(message)
        self.result = result


def make_plan(config: SyncConfig, dataverse: Dataverse) -> SyncPlan:
    """List the datasets and compare them with what is here. Nothing is written.

    Raises
    ------
    flows.patience.TransferError
        If a dataset can't be listed.
    flows.dataverse_listing.ListingError
        If a list isn't in the form that is known.
    """
    listings = [dataverse.list_files(doi) for doi in config.datasets]
    return plan_sync(listings, config.into, known_files(config.data), config.patterns)


def known_files(data: Path) -> dict[str, str]:
    """Return the MD5, by name, of the files that the lake has read."""
    folder = latest(data / "lake")
    if folder is None:
        return {}
    records = Lake.read(folder).files.items()
    return {name: record.md5 for name, record in records if record.md5 and record.is_read}


def plan_sync(
    listings: Sequence[Listing], into: Path, known: Mapping[str, str], patterns: Sequence[str]
) -> SyncPlan:
    """Compare what is listed with what is here. Nothing is written.

    Parameters
    ----------
    listings
        Of every dataset.
    into
        The folder that files are put into; it need not exist.
    known
        MD5 by name of the files that the lake has. One of them that isn't in the folder is
        fetched only where other bytes are listed under its name, or where that can't be told.
    patterns
        In lower case; a name must match one.

    Examples
    --------
    >>> from flows.dataverse_listing import Checksum
    >>> md5 = Checksum(kind="md5", value="0c" * 16)
    >>> file = RemoteFile(
    ...     id=1, name="events.tab", size=3, checksum=md5, is_original=False, doi="doi:10.1/A"
    ... )
    >>> listing = Listing(doi="doi:10.1/A", files=(file,))
    >>> plan_sync([listing], Path("nowhere"), {"events.tab": "0c" * 16}, ["*"]).files[0].action
    'in the lake'
    """
    listed = [file for listing in listings for file in listing.files]
    files, twins = _one_a_name(file for file in listed if _matches(file.name, patterns))
    names = [file.name for file in listed]
    closed = [name for listing in listings for name in listing.restricted]
    restricted = {name for name in closed if _matches(name, patterns)} - files.keys()
    here = {path.name for path in into.iterdir() if path.is_file()} if into.is_dir() else set()
    ours = {name for name in here | known.keys() if _matches(name, patterns)}
    refused = {name: why for listing in listings for name, why in listing.refused.items()}
    return SyncPlan(
        files=tuple(_planned(files[name], into, known.get(name)) for name in sorted(files)),
        restricted=tuple(sorted(restricted)),
        refused=refused | twins,
        gone=tuple(sorted(ours - files.keys() - twins.keys() - restricted)),
        n_others=sum(not _matches(name, patterns) for name in [*closed, *names]),
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a name matches; hidden ones, such as parts of files, never do."""
    matches = any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
    return matches and not name.startswith(".")


def _one_a_name(files: Iterable[RemoteFile]) -> tuple[dict[str, RemoteFile], dict[str, str]]:
    """Return files by name, and apart the names that several different files have."""
    found: dict[str, RemoteFile] = {}
    twins: dict[str, str] = {}
    for file in files:
        first = found.setdefault(file.name, file)
        if first.id != file.id and (first.checksum is None or first.checksum != file.checksum):
            both = f"{first.doi} (file {first.id}) and {file.doi} (file {file.id})"
            twins[file.name] = f"different files have this name: in {both}"
    return {name: file for name, file in found.items() if name not in twins}, twins


def _planned(file: RemoteFile, into: Path, md5_in_lake: str | None) -> PlannedFile:
    path = into / file.name
    if path.is_file():
        fault = file.fault_of(path)
        if fault is None:
            return PlannedFile(file=file, action="present", why=f"proved by {file.proof}")
        return PlannedFile(file=file, action="replace", why=fault)
    if md5_in_lake is None:
        return PlannedFile(file=file, action="fetch", why=f"to be proved by {file.proof}")
    if file.checksum is None or file.checksum.kind != "md5":
        why = "the lake has a file of that name; whether it is the same can't be told"
        return PlannedFile(file=file, action="fetch", why=why)
    if file.checksum.value == md5_in_lake.lower():
        return PlannedFile(file=file, action="in the lake", why="proved by md5")
    return PlannedFile(file=file, action="replace", why="the lake has other bytes of that name")
