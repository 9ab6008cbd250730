"""The sources that can be ingested, and which of them a configuration asks for."""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from features.column_map import ColumnMap
from features.events import ACTOR_NAMES, Adapter, EventColumns, FileName
from features.gdelt import GDELT
from features.icews import ICEWS
from features.mapped_tables import table_adapter
from features.polecat import POLECAT

__all__ = ["ADAPTERS", "Adapter", "FileName", "IngestConfig", "SourceFormat", "adapter_of"]

SourceFormat = Literal["icews", "polecat", "gdelt", "table"]
"""Where files are from; ``table`` is any table with a `features.column_map.ColumnMap`."""

ADAPTERS: Final[dict[str, Adapter]] = {source.name: source for source in (ICEWS, POLECAT, GDELT)}


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """What the files are, and what is kept of each event.

    Attributes
    ----------
    columns
        ``core``: identity, date, code, intensity, countries and sectors. ``all``: actors, story,
        publisher and place too, at about twice the time and space.
    format
        The source that all files are of.
    column_map
        Which columns of a ``table`` are what.
    one_report_a_day
        Count once what is reported more than once: of the events of a day with the same source,
        target and code the first only. The names of source and target are kept for it.

    Raises
    ------
    ValueError
        If `format` is unknown, or it doesn't go with `column_map`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    columns: EventColumns = "core"
    format: SourceFormat = "icews"
    column_map: ColumnMap | None = None
    one_report_a_day: bool = False

    def __post_init__(self) -> None:
        known = (*ADAPTERS, "table")
        if self.format not in known:
            msg = f"format={self.format!r} is unknown: expected one of {', '.join(known)}"
            raise ValueError(msg)
        if self.columns not in ("core", "all"):
            msg = f"columns={self.columns!r} is unknown: expected 'core' or 'all'"
            raise ValueError(msg)
        if (self.format == "table") != (self.column_map is not None):
            msg = (
                "a table has no known columns: format='table' needs a column_map that says which "
                "are what"
                if self.column_map is None
                else f"column_map is for format='table'; this is {self.format!r}, whose columns "
                "are known"
            )
            raise ValueError(msg)
        if self.one_report_a_day and self.column_map is not None:
            unmapped = [name for name in ACTOR_NAMES if not getattr(self.column_map, name)]
            if unmapped:
                msg = (
                    f"one_report_a_day needs {' and '.join(unmapped)} in the column map: reports "
                    "are of one event if these, code and day are the same"
                )
                raise ValueError(msg)


def adapter_of(config: IngestConfig) -> Adapter:
    """Return the adapter of the source that a configuration asks for.

    Examples
    --------
    >>> adapter_of(IngestConfig(format="gdelt")).ontology
    'cameo'
    """
    if config.column_map is not None:
        return table_adapter(config.column_map)
    return ADAPTERS[config.format]
