"""What the benchmark compares: each side reads `tsv` and may write into the folder `out`."""

import json
import resource
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

DATASET = "published"
STAGES = "stages.json"
"""Where a side may leave figures by stage, in `out`: measure to stage to value."""


def run_foreshock(source: Path, out: Path) -> None:
    """Go from raw files to the lake, counts and proportions, as the flows do, in turn."""
    from flows.lake_update import in_turn

    clock = StageClock()

    def run_all(function: Any, items: Any, *, stage: str, weight: Any) -> list[Any]:
        done = in_turn(function, items, stage=stage, weight=weight)
        clock.charge(stage)
        return done

    make_lake(source, out, run_all)
    clock.charge("encode")
    clock.save(out)


def make_lake(source: Path, out: Path, run_all: Any, *, format_: Any = "icews") -> None:
    """Bring files into a lake, count it and write the proportions of all countries and weeks."""
    from features.aggregate import merge_counts
    from features.ingest import IngestConfig
    from features.vocabulary import Vocabulary
    from flows.counting import CountStore, months_between
    from flows.lake import Lake
    from flows.lake_update import update_lake
    from flows.proportions import StepBounds, end_of, write_year

    found = update_lake(out / "lake", [source], IngestConfig(format=format_), run_all=run_all)
    lake = Lake.read(found.lake)
    store = CountStore(root=out / "counts", entity="country", step="week", fields=("event_code",))
    store.count(lake, run_all=run_all)
    months = list(lake.months)
    first, last = (store.counts(lake, [month]) for month in (months[0], months[-1]))
    assert first is not None
    assert last is not None
    bounds = StepBounds.of([first, last])
    early = [_of_all(store.counts(lake, [month])) for month in months[: len(months) * 2 // 3]]
    vocabulary = Vocabulary.fit(merge_counts(early))
    (out / "proportions").mkdir(exist_ok=True)
    (out / "vocabulary.json").write_text(vocabulary.to_json())
    for year in bounds.years():
        own = months_between(date(year, 1, 1), end_of(date(year, 12, 31), "week"))
        counts = store.counts(lake, own)
        if counts is not None:
            write_year(counts, vocabulary, "week", year, bounds, out, {})


def _of_all(counts: Any) -> Any:
    """Add up the counts of a month over entities and steps: all that a vocabulary is fitted on."""
    import polars as pl

    from features.aggregate import Counts

    whole = {"entity": pl.lit("all"), "step_start": pl.lit(date(1970, 1, 5))}
    tables = {}
    for name in ("totals", "categories"):
        table = getattr(counts, name).with_columns(**whole)
        keys = [key for key in ("entity", "step_start", "field", "category") if key in table]
        tables[name] = table.group_by(keys).sum()
    return Counts(**tables)


class StageClock:
    """CPU seconds by stage, and peak memory up to its end.

    `charge` books what was used since the one before to a stage. What staging is made
    of is booked to its parts; importing and starting up are `start`.
    """

    def __init__(self) -> None:
        from features import ingest, tables
        from features.events import Adapter

        self.seconds: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}
        self._booked = 0.0
        for name, module, function in (
            ("count tabs", tables, "_tabs_before"),
            ("parse", Adapter, "read_block"),
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
            self.charge("reading, rest")
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


def run_duckdb_files(folder: Path, out: Path) -> None:
    """Count all files of a folder by (country, week, code)."""
    run_duckdb(sorted(folder.glob("*.tab"))[0], out, f"{folder}/*.tab")


def run_duckdb(tsv: Path, out: Path, files: str | None = None) -> None:
    """Count by (country, week, code), the columns typed, nothing inferred."""
    import duckdb

    names = tsv.open(encoding="utf-8").readline().rstrip("\n").split("\t")
    types = {name: "DATE" if name == "Event Date" else "VARCHAR" for name in names}
    duckdb.execute(
        f"""
        COPY (
            SELECT "Country", date_trunc('week', "Event Date") AS week, "CAMEO Code", count(*) AS n
            FROM read_csv(
                '{files or tsv}', delim = '\t', quote = '', escape = '', header = true,
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
