"""What the benchmark compares: each side reads `tsv` and may write into the folder `out`."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from features.aggregate import Counts
    from features.ingest import StagedFile

STAGES = "stages.json"
"""Where a side may leave figures by stage, in `out`: measure to stage to value."""


def run_foreshock(tsv: Path, out: Path) -> None:
    """Go from the raw file to proportions, as the flows ingest and aggregate do."""
    from features.aggregate import merge_counts
    from features.cube import build_cube
    from features.ingest import stage_file
    from features.vocabulary import Vocabulary

    clock = StageClock()
    account = stage_file(tsv, out / "staged")
    clock.charge("stage, rest")
    _resolve_months(account, out)
    clock.charge("resolve")
    counts = merge_counts(_count_months(account, out))
    clock.charge("count")
    cube = build_cube(counts, Vocabulary.fit(counts), step="week")
    cube.proportions().write_parquet(out / "proportions.parquet")
    clock.charge("encode")
    clock.save(out)


def _resolve_months(account: "StagedFile", out: Path) -> None:
    from features.ingest import IngestConfig
    from flows.lake import Lake, resolve_month

    for month in account.months:
        resolve_month(
            month,
            previous=Lake(folder=None, config=IngestConfig()),
            replaced=[],
            staged=[out / "staged"],
            accounts=[account],
            target=out / "lake",
        )


def _count_months(account: "StagedFile", out: Path) -> "list[Counts]":
    import polars as pl

    from features.aggregate import count_events
    from flows.lake import month_file

    files = [month_file(out / "lake", "events", month) for month in account.months]
    return [count_events(pl.scan_parquet(file), entity="country", step="week") for file in files]


class StageClock:
    """CPU seconds by stage, and peak memory up to its end.

    `charge` books what was used since the one before to a stage. What staging is made
    of is booked to its parts; importing and starting up are `start`.
    """

    def __init__(self) -> None:
        from features import ingest, tables

        self.seconds: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}
        self._booked = 0.0
        for name, module, function in (
            ("check lines", tables, "_checked"),
            ("parse", ingest, "read_block"),
            ("canonical", ingest, "canonical_events"),
            ("write staged", ingest, "_write_staged"),
        ):
            setattr(module, function, self._timed(name, getattr(module, function)))
        self.charge("start")

    def charge(self, stage: str) -> None:
        """Book the CPU time not booked so far to a stage."""
        used = _cpu_seconds()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + used - self._booked
        self._booked = used
        self.peak_mb[stage] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            self.charge("stage, rest")
            result = function(*arguments, **options)
            self.charge(name)
            return result

        return timed

    def save(self, out: Path) -> None:
        """Leave the figures for the process that measures."""
        (out / STAGES).write_text(
            json.dumps({"CPU s": self.seconds, "peak MB so far": self.peak_mb}), encoding="utf-8"
        )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_duckdb(tsv: Path, out: Path) -> None:
    """Count by (country, week, code), the columns typed, nothing inferred."""
    import duckdb

    names = tsv.open(encoding="utf-8").readline().rstrip("\n").split("\t")
    types = {name: "DATE" if name == "Event Date" else "VARCHAR" for name in names}
    duckdb.execute(
        f"""
        COPY (
            SELECT "Country", date_trunc('week', "Event Date") AS week, "CAMEO Code", count(*) AS n
            FROM read_csv(
                '{tsv}', delim = '\t', quote = '', escape = '', header = true,
                auto_detect = false, columns = {types}
            )
            GROUP BY ALL
        ) TO '{out / "counts.parquet"}'
        """
    )


def run_pandas(tsv: Path, out: Path) -> None:
    """Average one-hot codes by (country, week)."""
    import pandas as pd  # type: ignore[import-untyped]

    needed = ["Event Date", "CAMEO Code", "Country"]
    events = pd.read_csv(
        tsv, sep="\t", quoting=3, usecols=needed, dtype={"CAMEO Code": str, "Country": str}
    )
    week = pd.to_datetime(events["Event Date"]).dt.to_period("W").dt.start_time
    dummies = pd.get_dummies(events["CAMEO Code"])
    dummies.groupby([events["Country"], week]).mean().to_parquet(out / "means.parquet")


SIDES: dict[str, Callable[[Path, Path], None]] = {
    "foreshock": run_foreshock,
    "duckdb": run_duckdb,
    "pandas": run_pandas,
}
