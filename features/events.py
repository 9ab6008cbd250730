"""Canonical events: one typed row an event, whatever edition it came in."""

from datetime import date
from typing import Final, Literal

import polars as pl

from features.cameo import cameo_table, event_code_type, resolve_event_codes

EventColumns = Literal["core", "all"]

CORE_COLUMNS: Final = (
    "source_country",
    "target_country",
    "country",
    "source_sectors",
    "target_sectors",
)
"""Columns kept as they are in every lake, beside identity, date, code and intensity."""

FURTHER_COLUMNS: Final = (
    "source_name",
    "target_name",
    "story_id",
    "sentence_number",
    "publisher",
    "city",
    "district",
    "province",
    "latitude",
    "longitude",
)
"""Columns kept too where asked for: nothing is computed from them."""

EARLIEST: Final = date(1900, 1, 1)
_DATE_FORMATS: Final = ("%Y-%m-%d", "%Y%m%d", "%m/%d/%Y")
_TRIMMED: Final = ("source_country", "target_country", "country", "city")


def raw_columns(columns: EventColumns) -> list[str]:
    """Return the columns to read from a raw file, in order."""
    kept = CORE_COLUMNS + (FURTHER_COLUMNS if columns == "all" else ())
    return ["event_id", "event_date", "cameo_code", "event_text", "intensity", *kept]


def canonical_events(raw: pl.DataFrame, *, last_plausible: date) -> pl.DataFrame:
    """Type raw rows, mend what can be mended and say of each other row why it can't be used.

    Parameters
    ----------
    raw
        Rows with the columns of `raw_columns`, from `features.icews.read_block`.
    last_plausible
        The latest date that an event of this file can have.

    Returns
    -------
    pl.DataFrame
        As many rows, in the same order: ``event_id``, ``event_date`` (Date), ``event_code`` (an
        Enum of CAMEO codes), ``intensity`` (-10 to 10; the code's own where the file's is absent
        or out of range), the kept columns, ``mended`` (the code was) and ``reason`` (null in a
        row that is accepted).

    Examples
    --------
    >>> raw = pl.DataFrame(
    ...     {
    ...         "event_id": ["1", "2"], "event_date": ["10/4/2018", "2018-02-30"],
    ...         "cameo_code": ["190", "010"], "event_text": [None, None],
    ...         "intensity": [None, 0.0], "country": ["Mali ", None],
    ...     },
    ...     schema_overrides={"intensity": pl.Float32},
    ... )
    >>> canonical_events(raw, last_plausible=date(2018, 12, 31)).select(
    ...     "event_date", "intensity", "country", "reason"
    ... ).rows()
    [(datetime.date(2018, 10, 4), -10.0, 'Mali', None), (None, 0.0, None, 'unreadable date')]
    """
    kept = [name for name in (*CORE_COLUMNS, *FURTHER_COLUMNS) if name in raw.columns]
    codes = _event_codes(raw)
    typed = raw.select(
        _stripped(raw["event_id"]),
        parse_dates(raw["event_date"]).alias("event_date"),
        codes["event_code"],
        _intensity(raw["intensity"], codes["event_code"]),
        *(_stripped(raw[name]) if name in _TRIMMED else raw[name] for name in kept),
        codes["mended"],
    )
    return typed.with_columns(_reason(typed, raw["event_date"], last_plausible))


def _stripped(text: pl.Series) -> pl.Series:
    """Take the spaces off both ends; what is nothing but spaces is absent."""
    bare = text.str.strip_chars()
    empty = bare == ""
    return bare.set(empty, None) if empty.any() else bare


def parse_dates(text: pl.Series) -> pl.Series:
    """Parse dates written ``YYYY-MM-DD``, ``YYYYMMDD`` or ``M/D/YYYY``; others become null.

    Examples
    --------
    >>> parse_dates(pl.Series(["2018-10-04", "20181004", "10/4/2018", "soon"])).to_list()[1:]
    [datetime.date(2018, 10, 4), datetime.date(2018, 10, 4), None]
    """
    days = text.str.to_date(_DATE_FORMATS[0], strict=False)
    if days.null_count() == text.null_count():
        return days
    trimmed = text.str.strip_chars()
    forms = [trimmed.str.to_date(form, strict=False) for form in _DATE_FORMATS]
    return pl.select(pl.coalesce(forms)).to_series()


def _event_codes(raw: pl.DataFrame) -> pl.DataFrame:
    """Return ``event_code`` and ``mended``; only doubtful rows take the way over the text."""
    code, text = raw["cameo_code"], raw["event_text"]
    known = code.cast(event_code_type(), strict=False).alias("event_code")
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


def _intensity(given: pl.Series, codes: pl.Series) -> pl.Series:
    """Take the file's intensity, or else the code's own: it is a function of the code."""
    usable = given.is_between(-10, 10).fill_null(value=False)
    if usable.all():
        return given
    own = cameo_table()["intensity"].gather(codes.to_physical())
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
