"""Dated events as a user lists them in a CSV file, and whose they are among scored entities."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.country_names import name_key
from features.tables import TableFormatError

OPTIONAL_TEXT: Final = ("kind", "label", "region", "core")
"""Columns that are kept as they are, null where they are missing."""

ALIAS_COLUMNS: Final = ("country_raw", "iso3", "aliases")
"""Columns with other names of the event's entity; several in one field are parted by ``|``."""

_KNOWN: Final = frozenset(
    {"entity", "country", "start", "end", "id", *OPTIONAL_TEXT, *ALIAS_COLUMNS}
)
_DAY: Final = r"^(\d{4}-\d{1,2}-\d{1,2})(?:[T ]\d.*)?$"  # the time of day is left out
_SHOWN: Final = 5  # rows that a message names at most


@dataclass(frozen=True, kw_only=True, eq=False)
class DatedEvents:
    """Events that have passed the checks.

    Attributes
    ----------
    table
        ``row`` (in the file, whose header is row 1), ``id`` (the row's number if the file has
        none), ``entity`` (one spelling for each), ``start``, ``end`` (first and last day), and
        the columns of `OPTIONAL_TEXT`; sorted by start and entity.
    aliases
        Entity by the key of each other name that the file has for it.
    repeated
        Rows left out because an earlier one has the same entity and start.
    """

    table: pl.DataFrame
    aliases: Mapping[str, str]
    repeated: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EntityMatch:
    """Which scored entities are which entities of events.

    Attributes
    ----------
    names
        Entity of the events by scored entity; those that no event names are not in it. Several
        scored entities may be one.
    absent
        Entities of events that are not scored.
    """

    names: Mapping[str, str]
    absent: tuple[str, ...]


def read_dated_events(path: Path) -> DatedEvents:
    r"""Read a CSV file of dated events.

    It has a column ``country`` or ``entity`` (which is taken if there are both) and ``start``;
    ``end`` is the start where it is missing. Dates are ISO. The columns ``id``, those of
    `OPTIONAL_TEXT` and of `ALIAS_COLUMNS` may be there, and any others, which are ignored.
    Commas, semicolons or tabs part the fields. Empty lines are left out. An entity's own name
    goes before the same name as another's alias.

    Raises
    ------
    TableFormatError
        If columns are missing, a field is empty or no date, an event ends before it starts, one
        other name stands for two entities, or there is no event; the message names the rows.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "events.csv"
    >>> _ = path.write_text("country,start,kind\nMali,2012-03-21,coup\n", encoding="utf-8")
    >>> read_dated_events(path).table.select("row", "entity", "end", "kind").row(0)
    (2, 'Mali', datetime.date(2012, 3, 21), 'coup')
    """
    text = _read_text(path)
    events = _with_one_spelling(_with_dates(text, path))
    is_first = pl.struct("entity", "start").is_first_distinct()
    kept = events.filter(is_first)
    optional = [
        (pl.col(name) if name in events.columns else pl.lit(None, pl.String)).alias(name)
        for name in OPTIONAL_TEXT
    ]
    row_number = pl.col("row").cast(pl.String)
    identity = pl.coalesce("id", row_number) if "id" in events.columns else row_number.alias("id")
    return DatedEvents(
        table=kept.select("row", identity, "entity", "start", "end", *optional).sort(
            "start", "entity"
        ),
        aliases=_aliases(events, path),
        repeated=tuple(events.filter(~is_first)["row"].to_list()),
    )


def match_entities(entities: Iterable[str], events: DatedEvents) -> EntityMatch:
    """Find the entity of events that each scored entity is, by its name or another one.

    Examples
    --------
    >>> table = pl.DataFrame({"entity": ["Türkiye", "Mali", "Chad"]})
    >>> events = DatedEvents(table=table, aliases={"mli": "Mali"}, repeated=())
    >>> match_entities(["TURKEY", "MLI", "Peru"], events)
    EntityMatch(names={'TURKEY': 'Türkiye', 'MLI': 'Mali'}, absent=('Chad',))
    """
    listed = events.table["entity"].unique(maintain_order=True).to_list()
    by_key = {**events.aliases, **{name_key(entity): entity for entity in listed}}
    found = {entity: by_key.get(name_key(entity)) for entity in entities}
    names = {entity: name for entity, name in found.items() if name is not None}
    matched = set(names.values())
    return EntityMatch(
        names=names, absent=tuple(entity for entity in listed if entity not in matched)
    )


def _read_text(path: Path) -> pl.DataFrame:
    """Return the known columns as stripped text, null where empty, with the number of the row."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    separator = max(",;\t", key=header.count)
    try:
        table = pl.read_csv(path, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        msg = (
            f"{path}: {_what_is_wrong(path, separator) or str(error).splitlines()[0]}; expected a "
            f"table in UTF-8, its columns named in row 1 and parted by {separator!r}"
        )
        raise TableFormatError(msg) from error
    table = table.select(_known_columns(table.columns, path)).with_row_index("row", offset=2)
    table = table.with_columns(pl.exclude("row").str.strip_chars().replace("", None))
    table = table.filter(~pl.all_horizontal(pl.exclude("row").is_null()))
    if table.is_empty():
        msg = f"{path}: there are no events below the header; expected one a row"
        raise TableFormatError(msg)
    return table


def _what_is_wrong(path: Path, separator: str) -> str | None:
    """Return in which row a table can't be read, if it is that."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sizes = [len(fields) for fields in csv.reader(file, delimiter=separator)]
    except UnicodeDecodeError:
        return "some letters are not in UTF-8 (save the file as CSV UTF-8)"
    for row, size in enumerate(sizes, start=1):
        if size > sizes[0]:
            return (
                f"row {row} has {size} fields and the header {sizes[0]} (a field that contains "
                f"{separator!r} needs quotes)"
            )
    return None


def _known_columns(names: Sequence[str], path: Path) -> list[pl.Expr]:
    """Return the columns that are used, under their own names, whatever the header's case."""
    used: dict[str, str] = {}
    for name in names:
        plain = name.strip().lower()
        if plain in _KNOWN and used.setdefault(plain, name) != name:
            msg = f"{path}: columns {used[plain]!r} and {name!r} have one meaning; leave one out"
            raise TableFormatError(msg)
    if "country" in used:
        country = used.pop("country")
        used.setdefault("entity", country)
    missing = [
        wanted
        for wanted, name in (("country (or entity)", "entity"), ("start", "start"))
        if name not in used
    ]
    if missing:
        msg = f"{path}: no column {' and no column '.join(missing)}; there are {', '.join(names)}"
        raise TableFormatError(msg)
    return [pl.col(name).alias(plain) for plain, name in used.items()]


def _with_dates(text: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return the events with dates in ``start`` and ``end``, every field checked."""
    end = pl.col("end") if "end" in text.columns else pl.lit(None, pl.String)
    text = text.with_columns(pl.coalesce(end, "start").alias("end"))
    for name, expected in (("entity", "a name"), ("start", "a date")):
        _refuse(text.filter(pl.col(name).is_null()), name, expected, path)
    parsed = pl.col("start", "end").str.extract(_DAY).str.to_date("%Y-%m-%d", strict=False)
    dates = text.with_columns(parsed)
    for name in ("start", "end"):
        _refuse(text.filter(dates[name].is_null()), name, "a date such as 2019-02-26", path)
    _refuse(dates.filter(pl.col("end") < pl.col("start")), "end", "no day before start", path)
    return dates


def _refuse(wrong: pl.DataFrame, column: str, expected: str, path: Path) -> None:
    """Raise an error that names the rows, if there are any, and what stands in the column."""
    if wrong.is_empty():
        return
    places = [
        f"row {row} holds {'nothing' if value is None else repr(str(value))}"
        for row, value in wrong.select("row", column).head(_SHOWN).rows()
    ]
    more = f" and {wrong.height - _SHOWN} more rows are wrong" if wrong.height > _SHOWN else ""
    msg = (
        f"{path}: column {column}: {', '.join(places)}{more}; expected {expected} (the header is "
        "row 1)"
    )
    raise TableFormatError(msg)


def _with_one_spelling(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events with each entity's name as it stands first in the file."""
    first: dict[str, str] = {}
    spelling = {
        name: first.setdefault(name_key(name), name)
        for name in events["entity"].unique(maintain_order=True).to_list()
    }
    return events.with_columns(pl.col("entity").replace(spelling))


def _aliases(events: pl.DataFrame, path: Path) -> dict[str, str]:
    """Return the entity by the key of each other name; an entity's own name is not one."""
    own = {name_key(entity) for entity in events["entity"].unique().to_list()}
    columns = [name for name in ALIAS_COLUMNS if name in events.columns]
    pairs = pl.concat(
        [pl.DataFrame(schema={"entity": pl.String, "alias": pl.String})]
        + [
            events.select("entity", pl.col(name).str.split("|").alias("alias")).explode("alias")
            for name in columns
        ]
    )
    aliases: dict[str, str] = {}
    for entity, alias in pairs.drop_nulls().unique(maintain_order=True).rows():
        key = name_key(alias)
        if key and key not in own and aliases.setdefault(key, entity) != entity:
            msg = (
                f"{path}: {alias!r} is another name of both {aliases[key]} and {entity}; expected "
                f"one entity for each name in {', '.join(columns)}"
            )
            raise TableFormatError(msg)
    return aliases
