"""The vocabulary: which features there are, in which order, frozen before anything is encoded.

One-hot columns come from here and never from the data at hand: a category that is missing from
some of the data would otherwise shift every column after it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal, Self, get_args

import polars as pl

from features.aggregate import CategoryField, Counts
from features.cameo import QUAD_CLASSES
from features.ontology import OntologyName, ontology

Block = Literal[
    "event_type",
    "quad",
    "intensity",
    "root",
    "source_sector",
    "target_sector",
    "context",
    "log_volume",
]
"""A named group of features.

``event_type``: share of each event code, rare ones together in ``other``; ``quad``: share of each
quad class; ``intensity``: mean intensity of the events that have one, scaled from -10…10 to 0…1,
½ where none has; ``root``: share of each root code of the ontology (CAMEO has 20, PLOVER 16);
``source_sector``, ``target_sector``: share of the events in which that side has the sector;
``context``: share of the events that have the context (these three are multi-hot: they don't sum
to 1); ``log_volume``: the natural logarithm of 1 + the number of events.
"""

VERSION: Final = 2
OTHER: Final = "other"
LIST_FIELDS: Final[dict[Block, CategoryField]] = {
    "source_sector": "source_sectors",
    "target_sector": "target_sectors",
    "context": "contexts",
}
"""Blocks of lists, which an event has none, one or several members of."""

_OF_ONTOLOGY: Final[tuple[Block, ...]] = ("root", "quad")
_READABLE_VERSIONS: Final = (1, VERSION)


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """Which features are made.

    Attributes
    ----------
    blocks
        In the order of the columns.
    min_events
        Categories with fewer events than this in the training period go into ``other``
        (``event_type``) or are left out (sectors and contexts).
    ontology
        Whose codes the events have; see `features.ontology.OntologyName`.

    Raises
    ------
    ValueError
        If there are no blocks, one is unknown or twice there, or needs an ontology where there is
        none, or `min_events` is below 1.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    blocks: tuple[Block, ...] = ("event_type", "quad", "intensity")
    min_events: int = 10
    ontology: OntologyName = "cameo"

    def __post_init__(self) -> None:
        unknown = set(self.blocks) - set(get_args(Block))
        if not self.blocks or unknown or len(set(self.blocks)) < len(self.blocks):
            msg = (
                f"blocks={self.blocks}: expected one or more of {', '.join(get_args(Block))}, "
                "each once"
            )
            raise ValueError(msg)
        if self.min_events < 1:
            msg = f"min_events={self.min_events}: expected at least 1"
            raise ValueError(msg)
        placeless = [block for block in self.blocks if block in _OF_ONTOLOGY]
        if placeless and not ontology(self.ontology).has_codes:
            msg = (
                f"blocks={self.blocks}: expected no {' or '.join(placeless)} with "
                f"ontology={self.ontology!r}, which says of no code where it belongs; leave it "
                "out, or say whose codes these are (cameo, plover)"
            )
            raise ValueError(msg)

    @property
    def fields(self) -> tuple[CategoryField, ...]:
        """Fields of events whose categories have to be counted."""
        lists = [LIST_FIELDS[block] for block in self.blocks if block in LIST_FIELDS]
        return ("event_code", *lists)


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature: a column of `proportions` and a channel of the cube.

    Attributes
    ----------
    name
        The column's name, such as ``event_type_190``: usable in SQL without quotes.
    block
        Its block.
    category
        What is counted: an event code, a quad class, a root, a sector, a context or ``other``.
    label
        The category in words.
    """

    name: str
    block: Block
    category: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Features in their order, with the configuration that they were fitted by.

    Examples
    --------
    >>> from datetime import date
    >>> events = pl.LazyFrame({
    ...     "event_date": [date(2018, 10, 1)] * 3, "country": ["Mali"] * 3,
    ...     "event_code": ["190", "190", "042"], "intensity": [-10.0, -10.0, 1.9],
    ... })
    >>> from features.aggregate import count_events
    >>> counts = count_events(events, entity="country", step="week")
    >>> vocabulary = Vocabulary.fit(counts, VocabularyConfig(min_events=2))
    >>> [feature.name for feature in vocabulary.features][:3]
    ['event_type_190', 'event_type_other', 'quad_verbal_cooperation']
    >>> Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    True
    """

    features: tuple[Feature, ...]
    config: VocabularyConfig

    @classmethod
    def fit(cls, counts: Counts, config: VocabularyConfig | None = None) -> Self:
        """Choose the features from counts of the training period.

        Raises
        ------
        ValueError
            If there are no events, a code isn't in the ontology, or two categories would have the
            same column name.
        """
        config = config or VocabularyConfig()
        if counts.totals.is_empty():
            msg = "no events to fit the vocabulary on: the training period is empty"
            raise ValueError(msg)
        _check_codes(counts, config.ontology)
        features = tuple(
            feature for block in config.blocks for feature in _block_features(block, counts, config)
        )
        names = pl.Series([feature.name for feature in features])
        if names.is_duplicated().any():
            twice = sorted(set(names.filter(names.is_duplicated())))[0]
            alike = [feature.category for feature in features if feature.name == twice]
            msg = (
                f"the categories {alike} make the same column, {twice}: expected one each; rename "
                "all but one in the source"
            )
            raise ValueError(msg)
        return cls(features=features, config=config)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The block of each feature in order."""
        return tuple(feature.block for feature in self.features)

    @property
    def digest(self) -> str:
        """SHA-256 of the vocabulary, the same wherever it is computed."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def positions(self, block: Block) -> dict[str, int]:
        """Return the position of each category of a block."""
        return {
            feature.category: position
            for position, feature in enumerate(self.features)
            if feature.block == block
        }

    def to_json(self) -> str:
        """Write the vocabulary as JSON."""
        content = {
            "version": VERSION,
            "config": asdict(self.config),
            "features": [asdict(feature) for feature in self.features],
        }
        return json.dumps(content, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a vocabulary back.

        One of version 1 was written before there was a choice of ontologies: its codes are CAMEO's.

        Raises
        ------
        ValueError
            If it was written by another version of the format.
        """
        content: Mapping[str, Any] = json.loads(text)
        if content.get("version") not in _READABLE_VERSIONS:
            msg = f"vocabulary of version {content.get('version')!r}: expected {VERSION}; fit anew"
            raise ValueError(msg)
        config = content["config"] | {"blocks": tuple(content["config"]["blocks"])}
        return cls(
            features=tuple(Feature(**feature) for feature in content["features"]),
            config=VocabularyConfig(**config),
        )


def _block_features(block: Block, counts: Counts, config: VocabularyConfig) -> list[Feature]:
    codes = ontology(config.ontology)
    if block == "event_type":
        labels = dict(codes.table.select("code", "name").iter_rows())
        labels[OTHER] = "Any other event"
        kept = _frequent(counts, "event_code", config.min_events)
        # A code that is called "other" has no column of its own: it is one of the others.
        categories = [*(code for code in kept if _column(block, code) != _OTHER_TYPE), OTHER]
    elif block == "root":
        labels = dict(codes.roots.select("code", "name").iter_rows())
        categories = codes.roots["code"].to_list()
    elif block == "quad":
        categories = list(QUAD_CLASSES)
        labels = {quad: quad.replace("_", " ").capitalize() for quad in QUAD_CLASSES}
    elif block in LIST_FIELDS:
        categories = _frequent(counts, LIST_FIELDS[block], config.min_events)
        labels = {member: f"{block.split('_')[0].capitalize()}: {member}" for member in categories}
    else:
        label = {"intensity": "Mean intensity, 0…1", "log_volume": "Logarithm of 1 + events"}[block]
        return [Feature(name=block, block=block, category=block, label=label)]
    return [
        Feature(name=_column(block, item), block=block, category=item, label=labels.get(item, item))
        for item in categories
    ]


def _check_codes(counts: Counts, name: OntologyName) -> None:
    codes = ontology(name)
    if not codes.has_codes:
        return
    counted = counts.categories.filter(pl.col("field") == "event_code")["category"].unique()
    strange = sorted(set(counted) - set(codes.table["code"]))
    if strange:
        msg = (
            f"event codes {strange[:5]} aren't in the ontology {name!r}; choose the ontology whose "
            "codes these are, or 'none'"
        )
        raise ValueError(msg)


def _frequent(counts: Counts, field: CategoryField, min_events: int) -> list[str]:
    return (
        counts.categories.filter(pl.col("field") == field)
        .group_by("category")
        .agg(pl.col("n_events").sum())
        .filter(pl.col("n_events") >= min_events)["category"]
        .sort()
        .to_list()
    )


def _column(block: str, category: str) -> str:
    return f"{block}_{re.sub(r'[^0-9a-z]+', '_', category.lower()).strip('_')}"


_OTHER_TYPE: Final = _column("event_type", OTHER)
