"""The raw files that a run is given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from features.tables import TABLE_SUFFIXES
from flows.digests import digest_of_file

_SUFFIXES: Final = (*TABLE_SUFFIXES, ".zip", ".gz", ".parquet")


class SourceError(ValueError):
    """There is nothing to ingest, or it isn't clear what."""


def find_files(source: Sequence[Path]) -> list[Path]:
    """Return the raw files in folders (and folders in them) and among paths, by name.

    Raises
    ------
    SourceError
        If a path doesn't exist, there is no file, or two files have one name: a file replaces
        the one of the same name, so it must be clear which is meant.
    """
    found: dict[str, Path] = {}
    for path in source:
        if not path.exists():
            msg = f"source {path} does not exist: expected a folder of event files, or such files"
            raise SourceError(msg)
        inside = path.rglob("*") if path.is_dir() else [path]
        for file in inside:
            if not file.is_file() or file.suffix.lower() not in _SUFFIXES:
                continue
            twin = found.setdefault(file.name, file)
            if twin != file and digest_of_file(twin) != digest_of_file(file):
                msg = (
                    f"two different files are named {file.name}: {twin} and {file}. A file "
                    "replaces the one of the same name; leave out the one that is out of date"
                )
                raise SourceError(msg)
    if not found:
        msg = f"no files to read in {', '.join(map(str, source))}: expected {', '.join(_SUFFIXES)}"
        raise SourceError(msg)
    return [found[name] for name in sorted(found)]
