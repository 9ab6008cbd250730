"""The configuration of a run: one file, overridden by the command line, checked as a whole."""

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from features.adapters import IngestConfig, adapter_of
from features.aggregate import Entity, Step
from features.column_map import ColumnMapError, read_column_map
from features.split import SplitConfig
from features.transforms import TransformConfig
from features.vocabulary import LIST_FIELDS, Block, VocabularyConfig
from features.windows import WindowConfig
from flows.execution import ExecutionConfig
from flows.scoring_config import KINDS_OF_EVENT, ScoringConfig
from models import AutoencoderConfig, CalibrationConfig, MahalanobisConfig, TrainingConfig

EVENT_WINDOWS: Final = WindowConfig(min_step_events=0, min_window_events=8)
EVENT_VOCABULARY: Final = VocabularyConfig(
    blocks=("event_type", "root", "quad", "intensity", "log_volume")
)
EVENT_TRANSFORM: Final = TransformConfig(min_scale=1.0)
EVENT_AUTOENCODER: Final = AutoencoderConfig(embedding_size=64)
EVENT_TRAINING: Final = TrainingConfig(
    loss="huber", learning_rate=1e-2, input_dropout=0.2, hidden_newest=0.5
)
"""What proved best on events (LOG.md); the library's own defaults suit small, clean data."""


class ConfigError(ValueError):
    """A configuration that can't be used; the message says where and why."""


def default_vocabulary(ingest: IngestConfig) -> VocabularyConfig:
    """Return the features that suit a source, of its ontology.

    Events of a table whose codes are of no ontology have an intensity only if it has a column.

    Examples
    --------
    >>> default_vocabulary(IngestConfig(format="gdelt")) == EVENT_VOCABULARY
    True
    """
    source, column_map = adapter_of(ingest), ingest.column_map
    blocks = cast("tuple[Block, ...]", source.blocks)
    if column_map is not None and column_map.intensity is not None and "intensity" not in blocks:
        blocks = (*blocks, "intensity")
    return replace(EVENT_VOCABULARY, blocks=blocks, ontology=source.ontology)


def _over(
    defaults: AutoencoderConfig | TrainingConfig | TransformConfig | WindowConfig,
) -> BeforeValidator:
    """Fill in these defaults, not the library's, where a section is given in part."""
    return BeforeValidator(
        lambda given: asdict(defaults) | given if isinstance(given, dict) else given
    )


class RunConfig(BaseModel):
    """Everything that determines a run.

    Examples
    --------
    >>> RunConfig.load(None, {"source": ["raw"], "training.epochs": 5}).training.epochs
    5
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: tuple[Path, ...] = Field(
        description="Folders of raw event files, or such files.", min_length=1
    )
    data: Path = Field(
        default=Path("data/lake"), description="Folder for everything that is written."
    )
    entity: Entity = Field(default="country", description="Whose events are counted together.")
    step: Step = Field(default="week", description="How long a step is.")
    ingest: IngestConfig = IngestConfig()
    vocabulary: VocabularyConfig = Field(
        default_factory=lambda given: default_vocabulary(given["ingest"])
    )
    windows: Annotated[WindowConfig, _over(EVENT_WINDOWS)] = EVENT_WINDOWS
    split: SplitConfig = SplitConfig()
    transform: Annotated[TransformConfig, _over(EVENT_TRANSFORM)] = EVENT_TRANSFORM
    autoencoder: Annotated[AutoencoderConfig, _over(EVENT_AUTOENCODER)] = EVENT_AUTOENCODER
    training: Annotated[TrainingConfig, _over(EVENT_TRAINING)] = EVENT_TRAINING
    scoring: ScoringConfig = ScoringConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    mahalanobis: MahalanobisConfig = MahalanobisConfig()
    execution: ExecutionConfig = ExecutionConfig()
    force: bool = Field(
        default=False, description="Publish a model although its diagnosis says it has collapsed."
    )

    @field_validator("vocabulary", mode="before")
    @classmethod
    def _fill_in_vocabulary(cls, vocabulary: Any, info: ValidationInfo) -> Any:
        if not isinstance(vocabulary, dict) or "ingest" not in info.data:
            return vocabulary
        return asdict(default_vocabulary(info.data["ingest"])) | vocabulary

    @field_validator("vocabulary")
    @classmethod
    def _require_what_the_source_has(
        cls, vocabulary: VocabularyConfig, info: ValidationInfo
    ) -> VocabularyConfig:
        if "ingest" in info.data:
            _check_vocabulary(vocabulary, info.data["ingest"])
        return vocabulary

    @field_validator("vocabulary")
    @classmethod
    def _require_kinds_of_event(cls, vocabulary: VocabularyConfig) -> VocabularyConfig:
        if not set(vocabulary.blocks) & set(KINDS_OF_EVENT):
            msg = (
                f"blocks={vocabulary.blocks}: none of them counts events by kind, which is what "
                f"scores are made of; add {', '.join(KINDS_OF_EVENT)}"
            )
            raise ValueError(msg)
        return vocabulary

    @property
    def name(self) -> str:
        """Name of what is made, such as ``country-week``."""
        return f"{self.entity}-{self.step}".replace("_", "-")

    @classmethod
    def load(cls, path: Path | None, overrides: Mapping[str, Any]) -> Self:
        """Read a TOML file and put values over it.

        Parameters
        ----------
        path
            The file, or None.
        overrides
            Values by key; a dot leads into a section: ``training.epochs``.

        Returns
        -------
        RunConfig
            With the contents of the column map, where ``ingest.column_map`` is the path of one:
            relative to the file's folder if it is given in the file, else to where we are.

        Raises
        ------
        ConfigError
            If the file or a column map can't be read, a key is unknown or a value is wrong.
        """
        content = {} if path is None else _with_column_map(_read(path), path.parent)
        for key, value in overrides.items():
            *sections, last = key.split(".")
            table = content
            for section in sections:
                table = table.setdefault(section, {})
                if not isinstance(table, dict):
                    msg = f"{key}: {section} is a value, not a section"
                    raise ConfigError(msg)
            table[last] = value
            content = _with_column_map(content, Path())
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ConfigError(explain_errors(error, path)) from None

    def to_toml(self, *, without: Collection[str] = ()) -> str:
        """Write the configuration, defaults included, as TOML that `load` reads."""
        content = self.model_dump(mode="json", exclude_none=True, exclude=set(without))
        return "\n".join(_lines(content)) + "\n"


def _check_vocabulary(vocabulary: VocabularyConfig, ingest: IngestConfig) -> None:
    """Refuse what the source's events don't have: it would be known after hours of ingestion."""
    source, column_map = adapter_of(ingest), ingest.column_map
    if vocabulary.ontology != source.ontology:
        key = "format" if column_map is None else "column_map.ontology"
        msg = (
            f"ontology={vocabulary.ontology!r} is not that of the source, which is "
            f"{source.ontology!r}: leave it out, or set ingest.{key} to what the codes are"
        )
        raise ValueError(msg)
    lacking = [
        block
        for block in vocabulary.blocks
        if block in LIST_FIELDS and LIST_FIELDS[block] not in source.core
    ]
    if column_map is not None and column_map.intensity is None and column_map.ontology == "none":
        lacking += [block for block in vocabulary.blocks if block == "intensity"]
    if lacking:
        msg = (
            f"blocks={vocabulary.blocks}: events of the source ({ingest.format}) have no "
            f"{', '.join(lacking)}; leave out what they don't have"
        )
        raise ValueError(msg)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"configuration {path} can't be read: {error}"
        raise ConfigError(msg) from None


def _with_column_map(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Put the contents of a column map in the place of its path, relative to `folder`."""
    ingest: Any = content.get("ingest")
    given = ingest.get("column_map") if isinstance(ingest, dict) else None
    if not isinstance(given, str | Path):
        return content
    try:
        column_map = asdict(read_column_map(folder / given))
    except ColumnMapError as error:
        raise ConfigError(str(error)) from None
    values = {key: value for key, value in column_map.items() if value is not None}
    return content | {"ingest": ingest | {"column_map": values}}


def _lines(content: Mapping[str, Any], *above: str) -> list[str]:
    """Write a table and those below it, whose headers begin with the keys `above`."""
    lines = [_line(key, value) for key, value in content.items() if not isinstance(value, dict)]
    for key, value in content.items():
        if isinstance(value, dict):
            lines += ["", f"[{'.'.join((*above, key))}]", *_lines(value, *above, key)]
    return lines


def _line(key: str, value: Any) -> str:
    """Write a key and value: JSON is TOML here, but for one character that TOML has escaped."""
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{key} = {text}"


def explain_errors(error: ValidationError, path: Path | None) -> str:
    """Say what is wrong with a configuration, a line a key."""
    lines = [f"the configuration{f' of {path}' if path else ''} is wrong:"]
    for problem in error.errors():
        if problem["type"] == "default_factory_not_called":
            continue  # what a default is made from is wrong itself, which is said
        where = ".".join(str(part) for part in problem["loc"]) or "whole"
        unknown = problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}
        what = "no such key" if unknown else problem["msg"]
        given = "" if problem["type"] == "missing" else f" (got {problem['input']!r})"
        lines.append(f"  {where}: {what}{given}")
    return "\n".join(lines)
