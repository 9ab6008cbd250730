"""The configuration of a run: one file, overridden by the command line, checked as a whole."""

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from features.aggregate import Entity, Step
from features.ingest import IngestConfig
from features.split import SplitConfig
from features.transforms import TransformConfig
from features.vocabulary import VocabularyConfig
from features.windows import WindowConfig
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


def _over(
    defaults: AutoencoderConfig
    | TrainingConfig
    | TransformConfig
    | VocabularyConfig
    | WindowConfig,
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
    vocabulary: Annotated[VocabularyConfig, _over(EVENT_VOCABULARY)] = EVENT_VOCABULARY
    windows: Annotated[WindowConfig, _over(EVENT_WINDOWS)] = EVENT_WINDOWS
    split: SplitConfig = SplitConfig()
    transform: Annotated[TransformConfig, _over(EVENT_TRANSFORM)] = EVENT_TRANSFORM
    autoencoder: Annotated[AutoencoderConfig, _over(EVENT_AUTOENCODER)] = EVENT_AUTOENCODER
    training: Annotated[TrainingConfig, _over(EVENT_TRAINING)] = EVENT_TRAINING
    scoring: ScoringConfig = ScoringConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    mahalanobis: MahalanobisConfig = MahalanobisConfig()
    force: bool = Field(
        default=False, description="Publish a model although its diagnosis says it has collapsed."
    )

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

        Raises
        ------
        ConfigError
            If the file can't be read, a key is unknown or a value is wrong.
        """
        content = {} if path is None else _read(path)
        for key, value in overrides.items():
            *sections, last = key.split(".")
            table = content
            for section in sections:
                table = table.setdefault(section, {})
                if not isinstance(table, dict):
                    msg = f"{key}: {section} is a value, not a section"
                    raise ConfigError(msg)
            table[last] = value
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise ConfigError(explain_errors(error, path)) from None

    def to_toml(self, *, without: Collection[str] = ()) -> str:
        """Write the configuration, defaults included, as TOML that `load` reads."""
        content = self.model_dump(mode="json", exclude_none=True, exclude=set(without))
        plain = {key: value for key, value in content.items() if not isinstance(value, dict)}
        lines = [_line(key, value) for key, value in plain.items()]
        for key, value in content.items():
            if isinstance(value, dict):
                lines += ["", f"[{key}]", *(_line(name, item) for name, item in value.items())]
        return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"configuration {path} can't be read: {error}"
        raise ConfigError(msg) from None


def _line(key: str, value: Any) -> str:
    """Write a key and value: JSON is TOML here, but for one character that TOML has escaped."""
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"{key} = {text}"


def explain_errors(error: ValidationError, path: Path | None) -> str:
    """Say what is wrong with a configuration, a line a key."""
    lines = [f"the configuration{f' of {path}' if path else ''} is wrong:"]
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "whole"
        unknown = problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}
        what = "no such key" if unknown else problem["msg"]
        given = "" if problem["type"] == "missing" else f" (got {problem['input']!r})"
        lines.append(f"  {where}: {what}{given}")
    return "\n".join(lines)
