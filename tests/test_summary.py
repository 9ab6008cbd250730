"""Laws of the summary: it says what the run came to, whatever the names in it look like."""

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from rich.console import Console

from flows.datasets import DATASETS
from flows.lake import Lake
from flows.record import RunResult
from flows.summary import ROWS_SHOWN, print_summary, summary_text
from models import checkpoint
from tests.icews_files import WholeRun, bring, write_file

HOSTILE = "[red]x[/red] [/] :boom: \\[b]"


def text_of(result: RunResult, *, width: int = 500) -> str:
    file = StringIO()
    print_summary(result, Console(file=file, width=width, force_terminal=False))
    return file.getvalue()


def lines_with(text: str, start: str) -> list[list[str]]:
    lines = [line.split() for line in text.splitlines()]
    return [line for line in lines if " ".join(line).startswith(start)]


def test_the_summary_has_the_counts_of_the_lake(whole: WholeRun) -> None:
    records = Lake.read(whole.result.ingested.lake).files.values()
    counts = (
        len(records),
        sum(record.staged.lines for record in records),
        sum(record.accepted for record in records),
        sum(record.rejected for record in records),
        sum(sum(record.duplicates.values()) for record in records),
    )
    words = [f"{count:,}" for count in counts]
    text = text_of(whole.result)
    assert lines_with(text, "in this run") == [["in", "this", "run", *words]]
    assert lines_with(text, "in the lake") == [["in", "the", "lake", *words]]
    again = text_of(replace(whole.result, ingested=replace(whole.result.ingested, added=())))
    assert lines_with(again, "in this run") == [["in", "this", "run", *"00000"]]
    assert lines_with(again, "in the lake") == [["in", "the", "lake", *words]]


def test_the_summary_has_the_verdict_and_every_comparison(whole: WholeRun) -> None:
    diagnosis = checkpoint.load(whole.result.model.folder).diagnosis
    assert diagnosis is not None
    text = text_of(whole.result)
    assert diagnosis.sentence in text
    assert whole.result.model.model_id in text
    for name, error, ratio in diagnosis.rows():
        wanted = [*name.split(), f"{error:.4f}", f"{ratio:.3f}"]
        assert lines_with(text, name).count(wanted) == 1


def test_the_summary_has_every_scorer_those_first_that_find_most(whole: WholeRun) -> None:
    rows = json.loads((whole.result.publication.latest / "baselines.json").read_text())
    found = {(row["scorer"], row["anomalies"]): f"{row['average_precision']:.2f}" for row in rows}
    text = text_of(whole.result)
    lines = text[text.index("Anomalies injected") : text.index("Written")].splitlines()
    kinds, shown = lines[1].split(), []
    assert kinds[0] == "all"
    for scorer in {name for name, _ in found}:
        cells = [found.get((scorer, kind), "–") for kind in kinds]
        (line,) = (line for line in lines if line.split() == [*scorer.split(), *cells])
        shown.append((lines.index(line), -float(found[scorer, "all"])))
    assert len(shown) > 10
    by_place = [figure for _, figure in sorted(shown)]
    assert by_place == sorted(by_place)


def test_a_run_into_which_nothing_could_be_injected_says_so(
    whole: WholeRun, tmp_path: Path
) -> None:
    published = tmp_path / "published"
    shutil.copytree(whole.result.publication.folder, published)
    (published / "baselines.json").write_text("[]")
    publication = replace(whole.result.publication, folder=published, latest=published)
    text = text_of(replace(whole.result, publication=publication))
    assert "no anomalies were injected" in text


def test_the_summary_has_the_steps_that_stand_out_in_order(whole: WholeRun) -> None:
    steps = pl.read_parquet(whole.result.publication.latest / "step_errors")
    text = text_of(whole.result)
    places = []
    for row in steps.drop_nulls("score").top_k(ROWS_SHOWN, by="score").iter_rows(named=True):
        (line,) = (
            line
            for line in text.splitlines()
            if row["entity"] in line and str(row["step_start"]) in line
        )
        assert f"{row['score']:.1f}" in line.split()
        assert f"{row['p_value']:.1g}" in line.split()
        assert f"{row['strangeness']:.1f}" in line.split()
        first = row["drivers"][0]
        assert f"{first['label']}: {first['events']:,} events, " in line
        assert line.rstrip().endswith(f" {first['expected_events']:.1f} expected")
        places.append(text.index(line))
    assert places == sorted(places)


def test_the_summary_says_what_is_written_and_where(whole: WholeRun) -> None:
    text = text_of(whole.result)
    assert str(whole.result.publication.latest) in text
    assert str(whole.result.record) in text
    for name in DATASETS:
        files = list((whole.result.publication.latest / name).iterdir())
        rows = f"{sum(pq.read_metadata(path).num_rows for path in files):,}"
        size = f"{sum(path.stat().st_size for path in files) // 1024:,}"
        assert lines_with(text, f"{name}/*.parquet") == [[f"{name}/*.parquet", rows, size]]


def test_a_step_without_drivers_is_told_so(whole: WholeRun, tmp_path: Path) -> None:
    published = tmp_path / "published"
    shutil.copytree(whole.result.publication.folder, published)
    for path in (published / "step_errors").iterdir():
        table = pl.read_parquet(path).with_columns(drivers=pl.col("drivers").list.head(0))
        table.write_parquet(path)
    publication = replace(whole.result.publication, folder=published, latest=published)
    text = text_of(replace(whole.result, publication=publication))
    assert text.count("no kind of event is more frequent than expected") == ROWS_SHOWN


def test_what_was_there_already_is_called_so(whole: WholeRun) -> None:
    result = whole.result
    kept = replace(
        result,
        model=replace(result.model, reused=True),
        publication=replace(result.publication, reused=True),
    )
    first, second = text_of(result), text_of(kept)
    assert "(trained; " in first
    assert "Written (new) to" in first
    assert "(kept; " in second
    assert "Written (nothing new) to" in second


def test_hostile_names_are_printed_as_they_are(whole: WholeRun, tmp_path: Path) -> None:
    bad = tmp_path / f"{HOSTILE.replace('/', '')}.csv"
    bad.write_text(f"{HOSTILE}\tb\n1\t2\n")
    good = write_file(tmp_path / "good.tab", [("1", "2018-01-01")])
    published = tmp_path / "published"
    shutil.copytree(whole.result.publication.folder, published)
    errors = pl.read_parquet(published / "step_errors")
    shutil.rmtree(published / "step_errors")
    (published / "step_errors").mkdir()
    named = errors.with_columns(
        entity=pl.lit(HOSTILE),
        drivers=pl.col("drivers").list.eval(
            pl.element().struct.with_fields(label=pl.lit(f"label {HOSTILE}"))
        ),
    )
    named.write_parquet(published / "step_errors" / "2018.parquet")
    result = replace(
        whole.result,
        ingested=bring(tmp_path / HOSTILE, bad, good),
        publication=replace(whole.result.publication, folder=published, latest=published),
        record=Path(HOSTILE),
    )
    text = text_of(result)
    assert text.count(f" {HOSTILE} ") >= ROWS_SHOWN
    assert text.count(f"label {HOSTILE}: ") == ROWS_SHOWN
    (left_out,) = (line for line in text.splitlines() if "left out" in line)
    assert bad.name in left_out
    assert f"{HOSTILE!r}" in left_out
    assert f"run record: {HOSTILE}" in text


def test_the_text_for_the_ui_has_no_colour_codes_and_fits_a_page(whole: WholeRun) -> None:
    text = summary_text(whole.result)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert "Steps that stand out" in text
