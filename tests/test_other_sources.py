"""Laws of the whole pipeline on other sources than ICEWS: read, trained, scored and updated."""

from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from features.ontology import ontology
from flows.lake import Lake
from flows.partitions import scan_table
from flows.pipeline import run
from flows.update import update
from tests.icews_files import small_config
from tests.source_files import CONFIGS, source_file

pytestmark = pytest.mark.usefixtures("prefect")

LATER = {"polecat_yearly": "polecat", "gdelt_61": "gdelt_58", "table_parquet": "table_csv"}
"""For each layout, another of its source in which further events come."""


@pytest.mark.parametrize("layout", list(LATER))
def test_a_source_goes_through_the_whole_pipeline(layout: str, tmp_path: Path) -> None:
    first = source_file(layout, n_events=1500, seed=1)
    first.write(tmp_path / "raw")
    source = layout.split("_", maxsplit=1)[0]
    chosen: dict[str, object] = {"ingest.format": source}
    if (column_map := CONFIGS[source].column_map) is not None:
        chosen["ingest.column_map"] = asdict(column_map)
    config = small_config(
        tmp_path / "raw", tmp_path / "data", step="day", **chosen, **{"windows.length": 3}
    )
    result = run(config)
    lake = Lake.read(result.ingested.lake)
    (record,) = lake.files.values()
    assert (record.accepted, record.rejected) == (1500, 0)
    assert lake.config == CONFIGS[source]
    vocabulary = result.features.vocabulary()
    assert vocabulary.config.blocks == config.vocabulary.blocks
    kinds = ontology(vocabulary.config.ontology)
    codes = {f.category for f in vocabulary.features if f.block == "event_type"} - {"other"}
    assert codes
    assert not kinds.has_codes or codes <= set(kinds.table["code"])
    scores = scan_table(result.publication.folder, "step_errors").drop_nulls("score").collect()
    assert scores["entity"].n_unique() == 3
    assert scores["score"].is_finite().all()

    more = source_file(LATER[layout], n_events=40, seed=2)
    more.write(tmp_path / "raw")
    updated = update(config)
    assert updated.ingested.added == (more.name,)
    assert updated.ingested.errors == ()
    after = Lake.read(updated.ingested.lake).files
    assert sum(file.staged.lines for file in after.values()) == 1540
    events = pl.scan_parquet(updated.ingested.lake / "events" / "**" / "*.parquet")
    accepted = sum(file.accepted for file in after.values())
    assert events.select(pl.len()).collect().item() == accepted
