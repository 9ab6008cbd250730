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


SCHEMA_VERSION: Final = 3

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
        Column(
            "regime",
            "int32",
            "number of the cluster that the embedding lies in; a regime keeps its number from one "
            "run to the next",
        ),
        Column("embedding", "fixed_size_list<float>", "the encoder's final hidden state"),
    ),
    "analogues": (
        _ENTITY,
        Column("window_start", "date32", "first day of the window's first step"),
        Column("window_end", "date32", "last day of the window's last step"),
        Column("rank", "int32", "1 for the nearest analogue"),
        Column("analogue_entity", "string", "whose window it is like; may be the same entity"),
        Column("analogue_start", "date32", "first day of that window"),
        Column("analogue_end", "date32", "its last day, before `window_start`"),
        Column(
            "distance",
            "float",
            "Euclidean, of embeddings standardised by those of the training part",
        ),
    ),
    "window_errors": (
        *_WINDOW,
        Column("score", "float", "mean of the `score` (see `step_errors`) of the window's steps"),
        Column("strangeness", "float", "likewise"),
        Column("surge", "float", "likewise"),
        Column("deviance", "float", "likewise"),
        Column("mahalanobis", "float", "likewise"),
        Column(
            "squared_error",
            "float",
            "mean squared error of this window's reconstruction over its observed steps and all "
            "features, in the model's units (1 is the entity's usual variation)",
        ),
        Column("newest_score", "float", "`score` of the window's newest step: the nowcast"),
    ),
    "step_errors": (
        *_STEP,
        Column(
            "expected_events",
            "float",
            "events that the model expected; where it sees proportions, those that there were",
        ),
        _PART,
        Column("n_windows", "int32", "windows that cover the step"),
        Column(
            "score",
            "float",
            "what to rank by: how much more of each kind of event there is than the model expected "
            "from the steps before, in units of noise and as a multiple of the entity's usual; "
            "null, like all below, in a step that is masked or that no window covers",
        ),
        Column(
            "p_value",
            "double",
            "share of quiet steps with at least this score, judged by the validation part (by the "
            "training part too where that has fewer than 20 scored steps)",
        ),
        Column(
            "q_value",
            "double",
            "expected share of false alarms among the entities of this step that are at least as "
            "unusual (Benjamini and Hochberg)",
        ),
        Column("is_alarm", "bool", "whether `p_value` is at most `scoring.alarm_rate`"),
        Column(
            "loudness",
            "float",
            "how many more events than expected, in units of the entity's usual variation; "
            "negative where there are fewer; null without the block `log_volume`, and for root "
            "counts from a model of shares, which is told how many events there are",
        ),
        Column(
            "strangeness",
            "float",
            "how unusual the composition is for this many events, as a multiple of the entity's "
            "usual: what is left of `score` without the volume",
        ),
        Column(
            "squared_error",
            "float",
            "mean squared error of the reconstruction, averaged over the windows that cover the "
            "step, in the model's units",
        ),
        Column("surge", "float", "mean over features of the surplus to the power 1.5, likewise"),
        Column(
            "deviance",
            "float",
            "Poisson deviance of the counts of the finest kinds of event from those expected, "
            "likewise",
        ),
        Column(
            "mahalanobis",
            "float",
            "squared Mahalanobis distance of the errors from those of the validation part, over "
            "the number of features, likewise",
        ),
        *(
            Column(
                f"nowcast_{name}",
                "float",
                f"`{name}` by what the window that ends with the step expects of it without "
                "seeing it; null in an entity's first steps",
            )
            for name in ("squared_error", "surge", "deviance", "mahalanobis")
        ),
        Column(
            "volume_share",
            "float",
            "part of the score that so many events would have if they were composed as expected, "
            "0 to 1",
        ),
        Column(
            "drivers",
            "list<struct<feature: string, label: string, events: int32, expected_events: float, "
            "proportion: float, share: float>>",
            "the kinds of event with the largest part in the step's own surplus: how many there "
            "are, how many were expected, their proportion of the step's events, and their part",
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
            "`repeated in file`, `repeated across files`, `superseded` by a yearly file, or "
            "`another report` of an event of that day, where one report a day was asked for",
        ),
        Column("superseded_by", "string", "the yearly file that replaces the row; else null"),
    ),
    "rejected": (
        Column("file", "string", "the raw file"),
        Column("line", "uint32", "line number; the header is line 1"),
        Column("reason", "string", "why the line is no event"),
        Column("text", "string", "the line itself, its first 2,000 characters"),
    ),
    "files": (
        Column("file", "string", "name of a raw file, read or not"),
        Column("edition", "string", "`yearly`, `daily`, `other` or `unreadable`"),
        Column("release", "string", "when it was made, by its name; what sorts later is newer"),
        Column("size", "int64", "bytes"),
        Column("sha256", "string", "digest of its bytes"),
        Column("md5", "string", "likewise, as Dataverse tells it"),
        Column("lines", "int64", "data lines: accepted + rejected + duplicates"),
        Column("accepted", "int64", "rows that are events of the lake"),
        Column("rejected", "int64", "lines that are no events"),
        Column("duplicates", "int64", "rows that repeat one or are replaced"),
        Column("superseded", "int64", "of these, rows that a yearly file replaces"),
        Column("mended_codes", "int64", "valid rows whose event code had to be mended"),
        Column("first_event", "date32", "date of its earliest valid row"),
        Column("last_event", "date32", "date of its latest valid row"),
        Column("covers_first", "date32", "first day that a yearly file speaks for; else null"),
        Column("covers_last", "date32", "last day that a yearly file speaks for; else null"),
        Column("superseded_by", "list<string>", "files that replace some of its rows"),
        Column("rejected_by_reason", "list<struct<reason: string, lines: int64>>", "as said"),
        Column("duplicates_by_reason", "list<struct<reason: string, lines: int64>>", "as said"),
        Column("error", "string", "why it could not be read; null if it was"),
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
