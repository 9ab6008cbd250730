"""Small ICEWS files written by hand, and what a lake made of them holds."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.ingest import IngestConfig
from features.sample import COUNTRIES, SampleConfig, write_sample
from flows.config import RunConfig
from flows.lake_update import IngestResult, update_lake
from flows.record import RunResult

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
SMALL = SampleConfig(
    countries=COUNTRIES[:3], crises=(), first_year=2017, n_years=1, daily_days=5, scale=0.2
)
COLUMNS = (
    "Event ID",
    "Event Date",
    "Source Country",
    "CAMEO Code",
    "Intensity",
    "Target Country",
    "Country",
)


@dataclass(frozen=True)
class WholeRun:
    """A run of the pipeline: what it was asked and what it came to."""

    config: RunConfig
    result: RunResult


def write_file(path: Path, events: Iterable[tuple[str, str]], *, also: Iterable[str] = ()) -> Path:
    """Write a table of events, (id, date) each, and then lines as they are."""
    rows = [(id_, day, "Valmora", "042", "1.9", "Kestria", "Valmora") for id_, day in events]
    lines = ["\t".join(row) for row in (COLUMNS, *rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *also]) + "\n")
    return path


def write_small_sample(folder: Path) -> list[Path]:
    """Write a yearly file and four daily ones of three countries."""
    return write_sample(folder, SMALL)


def small_config(source: Path, data: Path, **overrides: Any) -> RunConfig:
    """Return a configuration under which a run takes seconds, and its model hardly learns."""
    quick = {"autoencoder.latent_size": 4, "training.epochs": 2, "windows.length": 4, "force": True}
    return RunConfig.load(None, {"source": [source], "data": data} | quick | overrides)


def bring(data: Path, *paths: Path, config: IngestConfig | None = None) -> IngestResult:
    """Bring files into the lake as the flow does, if there is anything new in them."""
    return update_lake(data / "lake", paths, config or IngestConfig())


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every Parquet file in a folder, by path."""
    return {
        str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*.parquet"))
    }


def accounts(lake: Path) -> dict[str, Any]:
    """Return the records of files and months as they are on disk, but for times of change."""
    files = json.loads((lake / "files.json").read_text())
    for record in files["files"].values():
        del record["mtime_ns"]
    return {"files": files, "months": json.loads((lake / "months.json").read_text())}


def in_order(lake: Path) -> str:
    """Return the accounts as text, in which the order of files and months shows."""
    return json.dumps(accounts(lake))
