"""Any table of events: a column map says which of its columns are what."""

import re
import tomllib
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Final, get_args

import polars as pl

from features.events import ACTOR_NAMES, CORE_COLUMNS, parse_dates
from features.ontology import OntologyName
from features.raw_rows import listing

_COLUMNS: Final = ("id", "date", "code", "intensity", *CORE_COLUMNS, *ACTOR_NAMES)
_TEXTS: Final = (*_COLUMNS, "date_format", "sector_separator", "yearly", "daily")


class ColumnMapError(ValueError):
    """A column map that can't be used; the message says why."""


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    r"""Which columns of a table are what, by their names in its header.

    Attributes
    ----------
    date, code
        The day of an event and its event code.
    id
        With the date, what an event is known by. Without it every row of every file is an event
        of its own, and what is repeated isn't found out.
    intensity
        A number. Without it, events have the intensity of their code.
    intensity_bounds
        What is written for an intensity of -10 and of 10; what lies between is scaled.
    source_country, target_country, country
        Of the actor, of the one acted upon, and of the place.
    source_sectors, target_sectors
        Lists, separated by `sector_separator`.
    source_name, target_name
        Of the actors; see ``one_report_a_day``.
    date_format
        Such as ``%d/%m/%Y``. Without it, dates are written ``YYYY-MM-DD``, ``YYYYMMDD`` or
        ``M/D/YYYY``.
    ontology
        Whose the codes are; PLOVER's are written ``TYPE:mode``.
    missing
        Spellings of absent values.
    yearly, daily
        Regular expressions, found in the names of files that are yearly editions, with a group
        ``year``, and of those that these replace. Both may have a group ``release`` of digits,
        ``YYYYMMDD`` first, that tells when a file was made.

    Raises
    ------
    ColumnMapError
        If a value is of the wrong kind or can't be used.

    Examples
    --------
    >>> ColumnMap(date="day", code="cameo", country="where").columns
    {'date': 'day', 'code': 'cameo', 'country': 'where'}
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    date: str
    code: str
    id: str | None = None
    intensity: str | None = None
    intensity_bounds: tuple[float, float] = (-10.0, 10.0)
    source_country: str | None = None
    target_country: str | None = None
    country: str | None = None
    source_sectors: str | None = None
    target_sectors: str | None = None
    sector_separator: str = ","
    source_name: str | None = None
    target_name: str | None = None
    date_format: str | None = None
    ontology: OntologyName = "cameo"
    missing: tuple[str, ...] = ("",)
    yearly: str | None = None
    daily: str | None = None

    def __post_init__(self) -> None:
        for key in _TEXTS:
            value = getattr(self, key)
            optional = value is None and key not in {"date", "code", "sector_separator"}
            if not optional and (not isinstance(value, str) or not value):
                raise _wrong(key, value, "a text that isn't empty")
        if self.ontology not in get_args(OntologyName):
            raise _wrong("ontology", self.ontology, f"one of {', '.join(get_args(OntologyName))}")
        if not isinstance(self.missing, tuple) or not all(isinstance(m, str) for m in self.missing):
            raise _wrong("missing", self.missing, "texts")
        self._check_bounds()
        self._check_columns()
        self._check_date_format()
        self._check_patterns()

    def _check_bounds(self) -> None:
        bounds = self.intensity_bounds
        numbers = isinstance(bounds, tuple) and all(isinstance(b, int | float) for b in bounds)
        if not numbers or len(set(bounds)) != 2 or not all(abs(b) < 1e9 for b in bounds):
            raise _wrong("intensity_bounds", bounds, "two different numbers")

    def _check_columns(self) -> None:
        alone = [self.date, self.code, self.id, self.intensity]
        given = [name for name in alone if name is not None]
        if len(set(given)) < len(given):
            raise _wrong("date, code, id, intensity", alone, "a column each")

    def _check_date_format(self) -> None:
        if self.date_format is None:
            return
        day = date(2001, 12, 23)
        try:
            read = parse_dates(pl.Series([f"{day:{self.date_format}}"]), form=self.date_format)[0]
        except (pl.exceptions.PolarsError, ValueError) as error:
            raise _wrong("date_format", self.date_format, f"a format of dates: {error}") from None
        if read != day:
            raise _wrong("date_format", self.date_format, "year, month and day, such as %d/%m/%Y")

    def _check_patterns(self) -> None:
        for key in ("yearly", "daily"):
            pattern = getattr(self, key)
            if pattern is None:
                continue
            try:
                groups = set(re.compile(pattern).groupindex)
            except re.error as error:
                raise _wrong(key, pattern, f"a regular expression: {error}") from None
            if key == "yearly" and "year" not in groups:
                raise _wrong(key, pattern, r"a group that is the year, such as (?P<year>\d{4})")

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the table by what they are."""
        given = {key: getattr(self, key) for key in _COLUMNS}
        return {key: name for key, name in given.items() if name is not None}


def _wrong(key: str, value: object, expected: str) -> ColumnMapError:
    return ColumnMapError(f"{key}={value!r}: expected {expected}")


def read_column_map(path: Path) -> ColumnMap:
    """Read a column map from a TOML file, a key an attribute.

    Raises
    ------
    ColumnMapError
        If the file can't be read, a key is unknown or missing, or a value is wrong.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"column map {path} can't be read: {error}"
        raise ColumnMapError(msg) from None
    known = [field.name for field in fields(ColumnMap)]
    unknown = [key for key in content if key not in known]
    lacking = [key for key in ("date", "code") if key not in content]
    if unknown or lacking:
        what = [f"no such key: {listing(unknown)}"] if unknown else []
        what += [f"missing: {listing(lacking)}"] if lacking else []
        msg = f"column map {path}: {'; '.join(what)}. Keys are: {', '.join(known)}"
        raise ColumnMapError(msg)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
    }
    try:
        return ColumnMap(**values)
    except ColumnMapError as error:
        msg = f"column map {path}: {error}"
        raise ColumnMapError(msg) from None
