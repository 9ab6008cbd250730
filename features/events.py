"""Canonical events: one typed row an event, whatever source it came from.

An `Adapter` says all that is peculiar to a source; nothing outside of it depends on which it is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal, Protocol

import polars as pl

from features.cameo import resolve_event_codes
from features.ontology import OntologyName, ontology
from features.raw_rows import read_block, without_empty
from features.tables import TABLE_SUFFIXES, Block, open_table

EventColumns = Literal["core", "all"]
Edition = Literal["yearly", "daily", "other"]

CORE_COLUMNS: Final = (
    "source_country",
    "target_country",
    "country",
    "source_sectors",
    "target_sectors",
)
"""Columns kept as they are in every lake, beside identity, date, code and intensity."""

ACTOR_NAMES: Final = ("source_name", "target_name")
"""Columns that tell whether two reports have the same source and target."""

EARLIEST: Final = date(1900, 1, 1)
END_OF_TIME: Final = date(2100, 1, 1)
LATEST_REPORT: Final = timedelta(days=31)
"""No event is dated later than so long after its file was made."""

_DATE_FORMATS: Final = ("%Y-%m-%d", "%Y%m%d", "%m/%d/%Y")
_TIME_OF_DAY: Final = r"[T ]\s*\d{1,2}:\d{2}.*$"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileName:
    """What the name of a file tells.

    Attributes
    ----------
    edition
        ``yearly`` (replaces the daily files' rows of the days that it speaks for), ``daily``
        (any partial delivery: weeks and months too) or ``other`` (neither replaces nor is
        replaced).
    year
        The year of a yearly file.
    release
        When it was made: of two texts the one that sorts later is newer. Empty if not told.
    last_plausible
        No event of the file can be dated later: an event dated long after its file was made is
        a slip, and one such row would add years of empty steps.
    """

    edition: Edition = "other"
    year: int | None = None
    release: str = ""
    last_plausible: date = END_OF_TIME


def parse_dates(text: pl.Series, *, form: str | None = None) -> pl.Series:
    """Parse dates written ``YYYY-MM-DD``, ``YYYYMMDD`` or ``M/D/YYYY``; others become null.

    A time of day after the date is passed over. With `form`, such as ``%d.%m.%Y``, dates are
    written so, or ``YYYY-MM-DD`` as columns of dates are.

    Examples
    --------
    >>> parse_dates(pl.Series(["2018-10-04", "20181004", "10/4/2018 00:00", "soon"])).to_list()[1:]
    [datetime.date(2018, 10, 4), datetime.date(2018, 10, 4), None]
    """
    first = form or _DATE_FORMATS[0]
    days = text.str.to_date(first, strict=False)
    if days.null_count() == text.null_count():
        return days
    spelt = text if form else text.str.replace(_TIME_OF_DAY, "")
    trimmed = spelt.str.strip_chars()
    forms = (form, _DATE_FORMATS[0]) if form else _DATE_FORMATS
    return pl.select(
        pl.coalesce(trimmed.str.to_date(one, strict=False) for one in forms)
    ).to_series()


class MatchColumns(Protocol):
    """Gives each column of a header its name among raw columns, or a placeholder."""

    def __call__(self, header: Sequence[str], *, path: object) -> list[str]:
        """Return as many names, all different."""


OpenTable = Callable[[Path], AbstractContextManager[tuple[list[str], Iterator[Block]]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """One source: its files, their columns, and how its rows become canonical events.

    Attributes
    ----------
    name
        The source's name in configurations.
    ontology
        Whose event codes it has.
    blocks
        Vocabulary blocks that suit it.
    parse_file_name
        Tells edition, year, release and last plausible date by a file's name.
    match_columns
        Names the columns of a header; raises `features.tables.TableFormatError` if the table is of
        another source.
    event_id
        Text over raw columns. None if rows have no identity: file and line tell them apart then.
    event_date
        Text over raw columns, for `parse_dates`.
    intensity
        A number over raw columns; where it isn't from -10 to 10, the code's own is taken.
    event_codes
        From raw rows, ``event_code`` (the ontology's type, null if unknown) and ``mended``.
    code_columns
        Raw columns that `event_codes` needs.
    core, further
        Further canonical columns by name, each an expression over raw columns: those that are
        always kept (`CORE_COLUMNS` at least), and those that are kept where asked for
        (`ACTOR_NAMES` at least). Empty text comes to be null.
    numbers
        Raw columns that aren't text, with their type.
    missing
        Spellings of absent values.
    parse_dates
        Parses the text of dates; what can't be read is null.
    open
        Opens a file, giving header and blocks.
    suffixes
        Of the files, in lower case.
    """

    name: str
    ontology: OntologyName
    blocks: tuple[str, ...]
    parse_file_name: Callable[[str], FileName]
    match_columns: MatchColumns
    event_id: pl.Expr | None
    event_date: pl.Expr
    intensity: pl.Expr
    event_codes: Callable[[pl.DataFrame], pl.DataFrame]
    code_columns: tuple[str, ...]
    core: Mapping[str, pl.Expr]
    further: Mapping[str, pl.Expr]
    numbers: Mapping[str, type[pl.DataType]]
    missing: tuple[str, ...] = ("",)
    parse_dates: Callable[[pl.Series], pl.Series] = parse_dates
    open: OpenTable = open_table
    suffixes: tuple[str, ...] = (*TABLE_SUFFIXES, ".zip", ".gz")

    def kept(self, columns: EventColumns, *, names: bool = False) -> dict[str, pl.Expr]:
        """Return the canonical columns to keep; with `names`, those of the actors too."""
        if columns == "all":
            return {**self.core, **self.further}
        named = {name: self.further[name] for name in ACTOR_NAMES} if names else {}
        return {**self.core, **named}

    def raw_columns(self, kept: Mapping[str, pl.Expr]) -> list[str]:
        """Return the raw columns that canonical events with these columns are made of."""
        identity = [] if self.event_id is None else [self.event_id]
        expressions = (*identity, self.event_date, self.intensity, *kept.values())
        roots = [name for expression in expressions for name in expression.meta.root_names()]
        return list(dict.fromkeys([*roots, *self.code_columns]))

    def read_block(
        self, block: Block, columns: Sequence[str], wanted: Sequence[str]
    ) -> pl.DataFrame:
        """Parse a block; see `features.raw_rows.read_block`."""
        return read_block(block, columns, wanted, missing=self.missing, numbers=self.numbers)


def canonical_events(
    raw: pl.DataFrame,
    adapter: Adapter,
    kept: Mapping[str, pl.Expr],
    *,
    last_plausible: date,
    ids: pl.Series | None = None,
) -> pl.DataFrame:
    """Type raw rows, mend what can be mended and say of each other row why it can't be used.

    Parameters
    ----------
    raw
        Rows with the columns of `Adapter.raw_columns`, from `features.raw_rows.read_block`.
    adapter
        Of the rows' source.
    kept
        From `Adapter.kept`.
    last_plausible
        The latest date that an event of this file can have.
    ids
        Identities, for a source whose rows have none.

    Returns
    -------
    pl.DataFrame
        As many rows, in the same order: ``event_id``, ``event_date`` (Date), ``event_code`` (of
        the ontology's type), ``intensity`` (-10 to 10; the code's own where the file's is absent
        or out of range), the kept columns, ``mended`` (the code was) and ``reason`` (null in a
        row that is accepted).

    Examples
    --------
    >>> from features.icews import ICEWS
    >>> kept = {"country": ICEWS.core["country"]}
    >>> raw = pl.DataFrame(
    ...     {
    ...         "event_id": ["1", "2"], "event_date": ["10/4/2018", "2018-02-30"],
    ...         "cameo_code": ["190", "010"], "event_text": [None, None],
    ...         "intensity": [None, 0.0], "country": ["Mali ", None],
    ...     },
    ...     schema_overrides={"intensity": pl.Float32},
    ... )
    >>> canonical_events(raw, ICEWS, kept, last_plausible=date(2018, 12, 31)).select(
    ...     "event_date", "intensity", "country", "reason"
    ... ).rows()
    [(datetime.date(2018, 10, 4), -10.0, 'Mali', None), (None, 0.0, None, 'unreadable date')]
    """
    identity = ids if adapter.event_id is None else adapter.event_id.alias("event_id")
    made = without_empty(
        raw.select(
            identity,
            adapter.event_date.alias("event_date"),
            adapter.intensity.cast(pl.Float32).alias("intensity"),
            *(expression.alias(name) for name, expression in kept.items()),
        )
    )
    codes = adapter.event_codes(raw)
    typed = made.select(
        "event_id",
        adapter.parse_dates(made["event_date"]).alias("event_date"),
        codes["event_code"],
        _intensity(made["intensity"], codes["event_code"], adapter.ontology),
        *kept,
        codes["mended"],
    )
    return typed.with_columns(_reason(typed, made["event_date"], last_plausible))


def cameo_codes(raw: pl.DataFrame) -> pl.DataFrame:
    """Return ``event_code`` and ``mended`` of ``cameo_code`` and ``event_text``.

    Only doubtful rows take the way over the text.
    """
    code, text = raw["cameo_code"], raw["event_text"]
    known = code.cast(ontology("cameo").code_type, strict=False).alias("event_code")
    doubtful = known.is_null() | (code.str.len_bytes() == 2).fill_null(value=False)
    if not doubtful.any():
        return known.to_frame().with_columns(mended=pl.lit(value=False))
    pairs = pl.DataFrame({"code": code, "text": text})
    resolved = resolve_event_codes(pairs.filter(doubtful).unique())
    found = pairs.join(
        resolved, on=["code", "text"], how="left", nulls_equal=True, maintain_order="left"
    )
    return found.select(pl.coalesce("event_code", known.alias("known"))).with_columns(
        mended=pl.col("event_code").ne_missing(known)
    )


def _intensity(given: pl.Series, codes: pl.Series, of: OntologyName) -> pl.Series:
    """Take the file's intensity, or else the code's own, where codes have one."""
    usable = given.is_between(-10, 10).fill_null(value=False)
    if usable.all():
        return given
    if not ontology(of).has_codes:
        return given.set(~usable, None)
    own = ontology(of).table["intensity"].gather(codes.to_physical())
    return given.zip_with(usable, own)


def _reason(typed: pl.DataFrame, written: pl.Series, last_plausible: date) -> pl.Series:
    """Say of each row why it can't be used; `written` is the date as text."""
    day, code = typed["event_date"], typed["event_code"]
    plausible = day.is_between(EARLIEST, last_plausible)
    if plausible.all(ignore_nulls=False) and not (
        typed["event_id"].has_nulls() or code.has_nulls()
    ):
        return pl.repeat(None, typed.height, dtype=pl.String, eager=True).alias("reason")
    reason = (
        pl.when(pl.col("event_id").is_null())
        .then(pl.lit("no event id"))
        .when(written.is_null())
        .then(pl.lit("no date"))
        .when(day.is_null())
        .then(pl.lit("unreadable date"))
        .when(~plausible)
        .then(pl.lit("implausible date"))
        .when(code.is_null())
        .then(pl.lit("unknown event code"))
    )
    return typed.select(reason.alias("reason")).to_series()
