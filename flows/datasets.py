"""The datasets that Foreshock publishes: their columns, types, units and meaning."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Column:
    """A column of a published dataset.

    Attributes
    ----------
    name, type
        As Parquet readers show them; a type in Arrow's words.
    meaning
        What it says, with its unit, and when it is null.
    """

    name: str
    type: str
    meaning: str


SCHEMA_VERSION: Final = 1

_ENTITY = Column("entity", "string", "name of the country, pair of countries or `World`")
_STEP = (
    _ENTITY,
    Column("step_start", "date32", "first day of the step"),
    Column("step_end", "date32", "last day of the step"),
    Column("n_events", "int64", "events in the step: the exposure; 0 in an empty one"),
)
_PART = Column(
    "part",
    "string",
    "`training`, `validation` or `held_out`; `between` if it lies across a boundary",
)
_WINDOW = (
    _ENTITY,
    Column("window_start", "date32", "first day of the window's first step"),
    Column("window_end", "date32", "last day of the window's last step"),
    Column("n_events", "int64", "events in the window: the exposure"),
    _PART,
)

DATASETS: Final[dict[str, tuple[Column, ...]]] = {
    "proportions": (
        *_STEP,
        Column(
            "one column a feature, such as `event_type_190`, `quad_material_conflict`, `intensity`",
            "float",
            "share of the step's events, 0 to 1 (`intensity`: mean intensity, from -10…10 scaled "
            "to 0…1); null in an empty step",
        ),
    ),
    "embeddings": (
        *_WINDOW,
        Column("embedding", "fixed_size_list<float>", "the encoder's final hidden state"),
    ),
    "window_errors": (
        *_WINDOW,
        Column(
            "error",
            "float",
            "mean of the `error` (see `step_errors`) of the window's observed steps",
        ),
        Column(
            "squared_error",
            "float",
            "mean squared error of this window's reconstruction over its observed steps and all "
            "features, in the model's units (1 is the entity's usual variation)",
        ),
    ),
    "step_errors": (
        *_STEP,
        _PART,
        Column("n_windows", "int32", "windows that cover the step"),
        Column(
            "error",
            "float",
            "squared error of the step in units of sampling noise (squared Pearson residual, mean "
            "over features): comparable between quiet and loud steps, and what to rank by; null in "
            "a step that has too few events or that no window covers",
        ),
        Column(
            "squared_error",
            "float",
            "mean squared error in the model's units, over features and the windows that cover "
            "the step: what training makes small; not comparable between quiet and loud steps",
        ),
        Column(
            "top_features",
            "list<struct<feature: string, label: string, observed: float, expected: float, "
            "share: float>>",
            "the features with the largest part in the error: as observed and as reconstructed, in "
            "the units of `proportions`, and the share of the error; null where `error` is",
        ),
    ),
}

_EVENT = (
    Column("event_id", "string", "as in the source; not unique by itself"),
    Column("event_date", "date32", "day of the event; the key is (event_id, event_date)"),
    Column("event_code", "dictionary<string>", "CAMEO code, text: `010` and `10` differ"),
    Column("intensity", "float", "-10 (conflict) to 10 (cooperation); the code's own if absent"),
    Column("source_country", "string", "country of who acted; null if absent"),
    Column("target_country", "string", "country of whom it was done to; null if absent"),
    Column("country", "string", "country where it happened; null if absent"),
    Column("source_sectors", "string", "sectors of who acted, comma-separated; null if absent"),
    Column("target_sectors", "string", "sectors of whom it was done to; null if absent"),
    Column("file", "string", "the raw file that the row comes from"),
    Column("line", "uint32", "its line there; the header is line 1"),
)

LAKE: Final[dict[str, tuple[Column, ...]]] = {
    "events": _EVENT,
    "duplicates": (
        *_EVENT,
        Column(
            "reason",
            "string",
            "`repeated in file`, `repeated across files`, or `superseded` by a yearly file",
        ),
    ),
    "rejected": (
        Column("file", "string", "the raw file"),
        Column("line", "uint32", "line number; the header is line 1"),
        Column("reason", "string", "why the line is no event"),
        Column("text", "string", "the line itself, its first 2,000 characters"),
    ),
}


def as_markdown(datasets: dict[str, tuple[Column, ...]]) -> str:
    """Write datasets as the tables of the data dictionary."""
    parts = []
    for name, columns in datasets.items():
        rows = [f"| {column.name} | `{column.type}` | {column.meaning} |" for column in columns]
        parts.append(
            "\n".join([f"### {name}", "", "| column | type | meaning |", "|---|---|---|", *rows])
        )
    return "\n\n".join(parts) + "\n"


def updated_dictionary(page: str) -> str:
    """Return the data dictionary's page with its tables written anew from the schemas here.

    The tables of each kind lie between two comments that name it.
    """
    for kind, datasets in {"published": DATASETS, "lake": LAKE}.items():
        begin, end = f"<!-- {kind}: written by `make dictionary` -->", f"<!-- end of {kind} -->"
        tables = f"{begin}\n\n{as_markdown(datasets)}\n{end}"
        between = re.escape(begin) + ".*?" + re.escape(end)
        parts = re.split(between, page, flags=re.DOTALL)
        if len(parts) != 2:
            msg = f"expected {begin} and {end} once each in the page; found {len(parts) - 1}"
            raise ValueError(msg)
        page = tables.join(parts)
    return page


if __name__ == "__main__":
    dictionary = Path("data/README.md")
    dictionary.write_text(updated_dictionary(dictionary.read_text()))
