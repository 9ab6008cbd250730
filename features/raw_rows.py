"""Raw rows: the columns of a header by their names, and the text of a block by its columns."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from features.tables import Block, TableFormatError, recode

_NAMES_SHOWN: Final = 30


class SourceFormatError(TableFormatError):
    """A table that lacks columns without which it can't be of the source that it is taken for."""


def match_header(
    header: Sequence[str],
    *,
    names: Mapping[str, str],
    required: Sequence[tuple[str, ...]],
    source: str,
    path: object,
) -> list[str]:
    """Return the raw column that each column of `header` is, or a placeholder.

    Names are compared without regard to case, spaces and punctuation, so that ``Event ID``,
    ``event_id``, ``eventId`` and R's ``Event.ID`` are one; order and further columns don't matter.
    Of two columns that are the same raw column the first counts.

    Parameters
    ----------
    header
        Names as the file has them.
    names
        Raw columns by the names that files have for them.
    required
        Names, one of each group of which must be there.
    source, path
        For the message of the error.

    Raises
    ------
    SourceFormatError
        If a required column is missing; the message names it.

    Examples
    --------
    >>> names = {"Event ID": "event_id", "Event Date": "event_date"}
    >>> match_header(
    ...     ["event.date", "Note", "EventID"], names=names, required=[("Event ID",)],
    ...     source="ICEWS", path="a.tab",
    ... )
    ['event_date', '_unused_1', 'event_id']
    """
    by_key = {_key(name): raw for name, raw in names.items()}
    columns = placed([by_key.get(_key(name)) for name in header])
    missing = [group for group in required if not {names[name] for name in group} & set(columns)]
    if missing:
        lacking = ", ".join(" or ".join(map(repr, group)) for group in missing)
        expected = ", ".join(" or ".join(map(repr, group)) for group in required)
        msg = (
            f"{path}: not a file of {source}: its header lacks {lacking}. "
            f"Found: {listing(header)}. Expected at least: {expected}. "
            "If it is of another source, ingest.format must name that."
        )
        raise SourceFormatError(msg)
    return columns


def placed(names: Sequence[str | None]) -> list[str]:
    """Put a placeholder where there is no name, or one that was there before.

    Examples
    --------
    >>> placed(["a", None, "a"])
    ['a', '_unused_1', '_unused_2']
    """
    seen: set[str | None] = {None}
    columns = []
    for position, name in enumerate(names):
        columns.append(f"_unused_{position}" if name is None or name in seen else name)
        seen.add(name)
    return columns


def listing(names: Sequence[str]) -> str:
    """Return names for a message, the first of them if there are very many.

    Examples
    --------
    >>> listing(["a", "b"]), listing([])
    ("'a', 'b'", 'nothing')
    """
    shown = ", ".join(repr(name[:80]) for name in names[:_NAMES_SHOWN]) or "nothing"
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read_block(
    block: Block,
    columns: Sequence[str],
    wanted: Sequence[str],
    *,
    missing: Sequence[str],
    numbers: Mapping[str, type[pl.DataType]],
) -> pl.DataFrame:
    """Parse the lines of a block.

    Parameters
    ----------
    block
        From `features.tables.open_table`.
    columns
        Names of its columns, all different.
    wanted
        Columns to return, in this order; one that the file lacks comes back null.
    missing
        Spellings of absent values.
    numbers
        Columns that aren't text, with their type.

    Returns
    -------
    pl.DataFrame
        One row a line, in order; absent values are null, and so is a number that can't be read.
    """
    try:
        return _parse(block.data, columns, wanted, missing, numbers)
    except pl.exceptions.ComputeError as error:
        if "utf-8" not in str(error):
            raise
        return _parse(recode(block.data), columns, wanted, missing, numbers)


def _parse(
    data: bytes,
    columns: Sequence[str],
    wanted: Sequence[str],
    missing: Sequence[str],
    numbers: Mapping[str, type[pl.DataType]],
) -> pl.DataFrame:
    absent = [name for name in wanted if name not in columns]
    return (
        pl.scan_csv(
            data,
            separator="\t",
            has_header=False,
            quote_char=None,
            schema=dict.fromkeys(columns, pl.String),
            null_values=list(missing),
        )
        .with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
        .select(wanted)
        .with_columns(
            pl.col(name).cast(numbers[name], strict=False) for name in wanted if name in numbers
        )
        .collect()
    )


def stripped(name: str) -> pl.Expr:
    """Return the text of a column without the spaces at its ends.

    Examples
    --------
    >>> pl.DataFrame({"city": [" Gao ", None]}).select(stripped("city")).to_series().to_list()
    ['Gao', None]
    """
    return pl.col(name).str.strip_chars()


def listed(name: str, *, separator: str) -> pl.Expr:
    """Return lists in a column's text, separated by commas as lists in canonical events are.

    Examples
    --------
    >>> lists = pl.DataFrame({"sectors": ["GOV; MIL", ";", None]})
    >>> lists.select(listed("sectors", separator=";")).to_series().to_list()
    ['GOV,MIL', '', None]
    """
    comma = rf"(?:{re.escape(separator)}|,)"
    text = pl.col(name).str.replace_all(rf"\s*{comma}(?:\s|{comma})*", ",")
    return text.str.strip_chars(" ,")


def first_listed(name: str, *, separator: str) -> pl.Expr:
    """Return the first item of the lists in a column's text.

    Examples
    --------
    >>> lists = pl.DataFrame({"countries": ["MLI;NER", "; NER", None]})
    >>> lists.select(first_listed("countries", separator=";")).to_series().to_list()
    ['MLI', 'NER', None]
    """
    items = pl.col(name).str.strip_chars(f" {separator}").str.split(separator)
    return items.list.first().str.strip_chars()


def without_empty(rows: pl.DataFrame) -> pl.DataFrame:
    """Replace empty text by nulls.

    Examples
    --------
    >>> without_empty(pl.DataFrame({"city": ["Gao", ""], "n": [1, 2]})).rows()
    [('Gao', 1), (None, 2)]
    """
    texts = [column for column in rows if column.dtype == pl.String]
    empty = {column.name: column == "" for column in texts}
    return rows.with_columns(
        rows[name].set(at, None).alias(name) for name, at in empty.items() if at.any()
    )
