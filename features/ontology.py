"""Event ontologies: which codes there are, what each means, and where it belongs.

Sources: for CAMEO see `features.cameo`. PLOVER's types, quad classes and scores: Open Event Data
Alliance, "PLOVER: Political Language Ontology for Verifiable Event Records", version 0.8 (2021);
its modes: the same, with the changes of the coder that makes POLECAT (Halterman et al., "PLOVER
and POLECAT: A New Political Event Ontology and Dataset", 2023).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, get_args

import polars as pl

from features.cameo import cameo_table, event_code_type

OntologyName = Literal["cameo", "plover", "none"]
"""Whose codes events have.

``cameo``: those of ICEWS and GDELT, such as ``190``. ``plover``: those of POLECAT, ``TYPE`` or
``TYPE:mode``, such as ``ASSAULT`` and ``ASSAULT:aerial``. ``none``: any text, of which nothing
else is known.
"""

MODE_SEPARATOR: Final = ":"
_SCHEMA: Final = {
    "code": pl.String,
    "name": pl.String,
    "root": pl.String,
    "root_name": pl.String,
    "quad": pl.String,
    "intensity": pl.Float32,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Ontology:
    """The codes that events can have.

    Attributes
    ----------
    name
        Which one.
    table
        One row a code, sorted by code: ``code``, ``name`` (in words), ``root`` (a code that has a
        row of its own), ``root_name``, ``quad`` (one of `features.cameo.QUAD_CLASSES`) and
        ``intensity`` (float32, -10 to 10). Empty if nothing is known of the codes.
    code_type
        Column type of event codes: an enumeration of the table's, or text if that is empty.
    """

    name: OntologyName
    table: pl.DataFrame
    code_type: pl.DataType

    @property
    def has_codes(self) -> bool:
        """Whether codes have a meaning, and so a root, a quad class and an intensity."""
        return not self.table.is_empty()

    @property
    def roots(self) -> pl.DataFrame:
        """The rows of the table whose code is a root, sorted by code."""
        return self.table.filter(pl.col("code") == pl.col("root"))


@cache
def ontology(name: OntologyName) -> Ontology:
    """Return an ontology by its name.

    The intensity of a PLOVER code is its type's score in the codebook, whatever the mode: the
    codebook has no scores of modes. ``REQUEST`` has that of ``DEMAND``, as the type was called
    before requests were coded with demands. POLECAT's rows carry intensities of their own, which
    depend on the mode; the table's is for rows that have none.

    Parameters
    ----------
    name
        One of `OntologyName`.

    Raises
    ------
    ValueError
        If there is none of this name.

    Examples
    --------
    >>> ontology("plover").table.filter(code="ASSAULT:aerial").select("name", "root").row(0)
    ('Attack from aircraft', 'ASSAULT')
    >>> ontology("cameo").roots["code"].to_list()[:3], ontology("none").roots.height
    (['01', '02', '03'], 0)
    >>> ontology("none").code_type
    String
    """
    if name == "cameo":
        return Ontology(name=name, table=cameo_table(), code_type=event_code_type())
    if name == "plover":
        table = _read_plover()
        return Ontology(name=name, table=table, code_type=pl.Enum(table["code"]))
    if name == "none":
        return Ontology(name=name, table=pl.DataFrame(schema=_SCHEMA), code_type=pl.String())
    msg = f"ontology={name!r} is unknown: expected one of {', '.join(get_args(OntologyName))}"
    raise ValueError(msg)


def _read_plover() -> pl.DataFrame:
    types = {"intensity": pl.Float32}
    return pl.read_csv(
        Path(__file__).with_name("plover.csv"), infer_schema=False, schema_overrides=types
    ).sort("code")
