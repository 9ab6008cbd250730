"""The record of a run: what each stage came to, with the configuration in full."""

import json
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from flows.aggregate import FeatureSet
from flows.config import RunConfig
from flows.lake import Lake
from flows.lake_update import IngestResult
from flows.publish import Publication
from flows.train import ModelReference
from models import checkpoint


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What each stage of a run came to.

    Attributes
    ----------
    ingested, features, model, publication
        The stages' results.
    seconds
        The whole run's, without Prefect's own start.
    record
        The file with everything about the run, its configuration included.
    """

    ingested: IngestResult
    features: FeatureSet
    model: ModelReference
    publication: Publication
    seconds: float
    record: Path


def write_record(result: RunResult, config: RunConfig, at: datetime) -> None:
    """Write a JSON file with the configuration, the stages' results, the accounts and verdict."""
    diagnosis = checkpoint.load(result.model.folder).diagnosis
    record: dict[str, Any] = {
        "started": at.isoformat(),
        "code_version": version_of("foreshock"),
        "config": config.model_dump(mode="json"),
        "result": to_jsonable_python(result),
        "diagnosis": None if diagnosis is None else diagnosis.to_dict(),
        "files": to_jsonable_python(Lake.read(result.ingested.lake).files),
    }
    result.record.parent.mkdir(parents=True, exist_ok=True)
    result.record.write_text(json.dumps(record, indent=1, ensure_ascii=False))
