"""The CAMEO event ontology: codes, names, roots, quad classes and ICEWS intensities.

Source: Gerner, Schrodt and Yilmaz, "Conflict and Mediation Event Observations (CAMEO):
Event and Actor Codebook" (2012); names and intensities as ICEWS writes them.
"""

from functools import cache
from pathlib import Path
from typing import Final

import polars as pl

QUAD_CLASSES: Final = (
    "verbal_cooperation",
    "material_cooperation",
    "verbal_conflict",
    "material_conflict",
)

# Spellings that ICEWS releases are known to carry, and the code that each stands for.
_KNOWN_MISSPELLINGS: Final = {"13y": "137"}


@cache
def cameo_table() -> pl.DataFrame:
    """Return the CAMEO table, one row a code, sorted by code.

    Returns
    -------
    pl.DataFrame
        Columns ``code`` (text: ``010`` and ``10`` differ), ``name``, ``root``, ``root_name``,
        ``quad`` (one of `QUAD_CLASSES`) and ``intensity`` (-10 to 10).

    Examples
    --------
    >>> cameo_table().filter(pl.col("code") == "190").row(0)
    ('190', 'Use conventional military force', '19', 'Fight', 'material_conflict', -10.0)
    """
    types = {"intensity": pl.Float32}
    return pl.read_csv(
        Path(__file__).with_name("cameo.csv"), infer_schema=False, schema_overrides=types
    ).sort("code")


@cache
def event_code_type() -> pl.Enum:
    """Return the column type of event codes: an enumeration of every CAMEO code."""
    return pl.Enum(cameo_table()["code"])


@cache
def ambiguous_codes() -> list[str]:
    """Return the codes that may also be a longer code without its leading zero.

    Examples
    --------
    >>> ambiguous_codes()[:3]
    ['10', '11', '12']
    """
    codes = cameo_table()["code"]
    return codes.filter(("0" + codes).is_in(codes.implode())).to_list()


def resolve_event_codes(pairs: pl.DataFrame) -> pl.DataFrame:
    """Mend event codes with the help of the event's text, which ICEWS keeps one to one.

    Tried in this order: the text's own code where the code given is absent, ambiguous (``10`` may
    be ``010`` without its zero) or not in CAMEO; the code as given; a known misspelling; the code
    without trailing letters; the code with its leading zero put back.

    Parameters
    ----------
    pairs
        Columns ``code`` and ``text``, both text, either may be null.

    Returns
    -------
    pl.DataFrame
        `pairs` with ``event_code`` added: a CAMEO code, or null where nothing fits.

    Examples
    --------
    >>> pairs = pl.DataFrame(
    ...     {"code": ["13y", "10", "43", None], "text": [None, "Make statement", None, "Consult"]}
    ... )
    >>> resolve_event_codes(pairs)["event_code"].to_list()
    ['137', '010', '043', '040']
    """
    kind = event_code_type()
    code = pl.col("code").str.strip_chars()
    bare = code.str.replace(r"[A-Za-z]+$", "")
    known = code.cast(kind, strict=False)
    by_text = _text_key(pl.col("text")).replace_strict(
        *_codes_by_text(), default=None, return_dtype=kind
    )
    doubtful = known.is_null() | code.is_in(ambiguous_codes())
    return pairs.with_columns(
        event_code=pl.coalesce(
            pl.when(doubtful).then(by_text),
            known,
            code.replace_strict(_KNOWN_MISSPELLINGS, default=None, return_dtype=kind),
            bare.cast(kind, strict=False),
            ("0" + bare).cast(kind, strict=False),
        )
    )


def _text_key(text: pl.Expr) -> pl.Expr:
    """Fold the spellings of an event's text: editions differ in case and in hyphens."""
    return text.str.to_lowercase().str.replace_all("-", " ", literal=True).str.strip_chars()


@cache
def _codes_by_text() -> tuple[pl.Series, pl.Series]:
    """Return texts and the code of each; a root's name yields to a code below the root."""
    table = (
        cameo_table()
        .select("code", text=_text_key(pl.col("name")))
        .sort(pl.col("code").str.len_bytes(), descending=True, maintain_order=True)
        .unique("text", keep="first", maintain_order=True)
    )
    return table["text"], table["code"]
