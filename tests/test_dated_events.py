"""Laws of reading dated events and scores, of matching their names, and of the two together."""

import os
from argparse import Namespace
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.country_names import name_key
from features.dated_events import DatedEvents, match_entities, read_dated_events
from features.score_series import ScoreSeries, score_series
from features.tables import TableFormatError
from models.crisis_outcomes import DatedEvent, EventRecall
from models.crisis_recall import evaluate_events
from models.ranked_series import EntitySeries
from models.volume_matching import volume_matched
from tests.naive_recall import assert_same, figures, load_script, script_figures

CRISES = Path(__file__).parents[2] / "shared" / "eval" / "crises_dev.csv"
WHY = f"no list of crises at {CRISES}" + (": CI has none" if os.environ.get("CI") else "")


@pytest.fixture
def csv(tmp_path: Path) -> Any:
    def written(text: str | bytes) -> Path:
        path = tmp_path / "events.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return written


def evaluated(events: DatedEvents, scores: ScoreSeries, **options: Any) -> EventRecall:
    """Compare scores with events: all that stands between files and the arrays of models."""
    return evaluate_events(as_series(events, scores), as_events(events), **options)


def as_series(events: DatedEvents, scores: ScoreSeries) -> list[EntitySeries]:
    names = match_entities([one.entity for one in scores.entities], events).names
    return [
        EntitySeries(
            name=names.get(one.entity, one.entity),
            start=one.start,
            end=one.end,
            score=one.score,
            n_events=one.n_events,
        )
        for one in scores.entities
    ]


def as_events(events: DatedEvents) -> list[DatedEvent]:
    columns = events.table.select("id", "entity", "start", "end", "kind", "label")
    return [DatedEvent(**row) for row in columns.iter_rows(named=True)]


def test_a_file_with_all_columns_is_read_as_it_stands(csv: Any) -> None:
    events = read_dated_events(
        csv(
            "id,country,country_raw,iso3,region,start,end,kind,label,core,notes\n"
            'c2,Mali,Republic of Mali,MLI,Africa,2012-03-21,2012-04-02,coup,"Army, again",1,x\n'
            "c1,Chad,Chad,TCD,Africa,2008-02-02,2008-02-05,war,,0,\n"
        )
    )
    assert events.table.rows() == [
        (3, "c1", "Chad", date(2008, 2, 2), date(2008, 2, 5), "war", None, "Africa", "0"),
        (
            2,
            "c2",
            "Mali",
            date(2012, 3, 21),
            date(2012, 4, 2),
            "coup",
            "Army, again",
            "Africa",
            "1",
        ),
    ]
    assert events.aliases == {"republic of mali": "Mali", "mli": "Mali", "tcd": "Chad"}
    assert events.repeated == ()


def test_the_least_that_a_file_needs_is_a_name_and_a_start(csv: Any) -> None:
    events = read_dated_events(csv("start,entity\n2012-03-21,Mali\n"))
    assert events.table.columns == [
        *("row", "id", "entity", "start", "end", "kind", "label", "region", "core")
    ]
    day = date(2012, 3, 21)
    assert events.table.rows() == [(2, "2", "Mali", day, day, None, None, None, None)]
    assert events.aliases == {}


def test_how_a_table_is_written_makes_no_difference(csv: Any) -> None:
    plain = "country,start,end,label\nMali,2012-03-21,2012-03-22,x\nChad,2008-02-02,,y\n"
    wanted = read_dated_events(csv(plain)).table
    for text in (
        plain.replace(",", ";"),
        plain.replace(",", "\t"),
        plain.replace("\n", "\r\n"),
        "\ufeff" + plain,
        plain.replace("country,start", "Country , START"),
        plain.replace("Mali", "  Mali "),
        plain.replace("2012-03-21", "2012-03-21 00:00:00").replace("2008-02-02", "2008-2-2"),
        plain.replace("2012-03-21", "2012-03-21T14:30:00Z"),
        plain + "\n,,,\n",
        plain.replace("country,start,end,label", "entity,start,end,label"),
    ):
        assert read_dated_events(csv(text)).table.equals(wanted), text


def test_an_entity_column_goes_before_a_country_column(csv: Any) -> None:
    events = read_dated_events(csv("country,entity,start\nMali,Mali - Chad,2012-03-21\n"))
    assert events.table["entity"].to_list() == ["Mali - Chad"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("country,start\n", "no events below the header"),
        ("country,begin\nMali,2012-03-21\n", "no column start; there are country, begin"),
        ("place,begin\nx,y\n", r"no column country \(or entity\) and no column start"),
        ("country,start\n,2012-03-21\n", "column entity: row 2 holds nothing; expected a name"),
        ("country,start\nMali,\n", "column start: row 2 holds nothing; expected a date"),
        (
            "country,start\nMali,2012-03-21\n\nChad,2.2.2008\n",
            "column start: row 4 holds '2.2.2008'",
        ),
        ("country,start\nMali,2012-02-30\n", "row 2 holds '2012-02-30'; expected a date such as"),
        ("country,start\nMali,12-02-03\n", "row 2 holds '12-02-03'"),
        ("country,start,end\nMali,2012-03-21,soon\n", "column end: row 2 holds 'soon'"),
        (
            "country,start,end\nMali,2012-03-21,2012-03-20\n",
            "column end: row 2 holds '2012-03-20'; expected no day before start",
        ),
        ("country,start\n" + "Mali,x\n" * 7, "row 6 holds 'x' and 2 more rows are wrong"),
        ("country,start,label\nMali,2012-03-21,a,b\n", "row 2 has 4 fields and the header 3"),
        ("country,start\nC\xf4te,2012-03-21\n".encode("latin-1"), "not in UTF-8"),
        ("country,start,Start\nMali,2012-03-21,2012-03-22\n", "'start' and 'Start' have one"),
        (
            "country,start,iso3\nMali,2012-03-21,XYZ\nChad,2012-03-21,xyz\n",
            "'xyz' is another name of both Mali and Chad",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_where_and_what_was_expected(
    csv: Any, text: str | bytes, message: str
) -> None:
    with pytest.raises(TableFormatError, match=message) as raised:
        read_dated_events(csv(text))
    assert "events.csv" in str(raised.value)


def test_an_event_that_is_listed_twice_counts_once_and_is_reported(csv: Any) -> None:
    events = read_dated_events(
        csv("country,start,kind\nMali,2012-03-21,coup\nChad,2012-03-21,\nMALI,2012-03-21,war\n")
    )
    assert events.table.select("row", "entity").rows() == [(3, "Chad"), (2, "Mali")]
    assert events.repeated == (4,)


def test_an_entity_is_spelt_as_it_stands_first(csv: Any) -> None:
    events = read_dated_events(
        csv("country,start\nMyanmar,2021-02-01\nBurma,2007-09-01\nBURMA,1988-08-08\n")
    )
    assert events.table["entity"].unique().to_list() == ["Myanmar"]


@given(
    name=st.sampled_from(["Côte d'Ivoire", "Burkina Faso", "Türkiye", "Bosnia and Herzegovina"]),
    change=st.lists(
        st.sampled_from(
            [
                str.upper,
                str.lower,
                lambda x: x.replace(" ", "_"),
                lambda x: x.replace(" ", "  "),
                lambda x: f" {x}\t",
                lambda x: x.replace("ü", "u").replace("ô", "o"),
                lambda x: x.replace("'", "\u2019"),
            ]
        )
    ),
)
def test_case_accents_spaces_and_underscores_make_no_difference(name: str, change: Any) -> None:
    changed = name
    for one in change:
        changed = one(changed)
    assert name_key(changed) == name_key(name)


def test_different_countries_stay_apart() -> None:
    names = ["Guinea", "Guinea-Bissau", "Equatorial Guinea", "Papua New Guinea", "Niger"]
    names += ["Nigeria", "North Korea", "South Korea", "Sudan", "South Sudan", "Dominica"]
    names += ["Dominican Republic", "Democratic Republic of Congo", "Republic of the Congo"]
    assert len({name_key(name) for name in names}) == len(names)


def test_every_usual_spelling_is_known_once() -> None:
    from features.country_names import _SPELLINGS

    spellings = [one for line in _SPELLINGS.strip().split("\n") for one in line.split("|")]
    assert len(spellings) == len(set(spellings)) > 100
    for line in _SPELLINGS.strip().split("\n"):
        assert {name_key(one.title()) for one in line.split("|")} == {line.split("|")[0]}


def test_names_match_either_way_round_and_what_has_no_scores_is_told(csv: Any) -> None:
    events = read_dated_events(
        csv(
            "country,start,iso3,aliases\nRussia,2018-11-25,RUS,\nBurma,2021-02-01,,Birma|MM\n"
            "Kosovo,2008-02-17,SRB,Serbia\nSerbia,2000-10-05,,\nMali,2012-03-21,,\n"
        )
    )
    scored = ["russian_federation", "RUS", "MYANMAR", "birma", "mm", "Serbia", "srb", "Peru"]
    match = match_entities(scored, events)
    assert match.names == {
        "russian_federation": "Russia",
        "RUS": "Russia",
        "MYANMAR": "Burma",
        "birma": "Burma",
        "mm": "Burma",
        "Serbia": "Serbia",  # its own name, though another entity's alias
        "srb": "Kosovo",
    }
    assert match.absent == ("Mali",)


def steps(entities: Sequence[str], n_steps: int = 4, days: int = 7, **columns: Any) -> pl.DataFrame:
    starts = [date(2018, 1, 1) + timedelta(days=days * i) for i in range(n_steps)]
    return pl.DataFrame(
        {
            "entity": [entity for entity in entities for _ in starts],
            "step_start": starts * len(entities),
            "step_end": [day + timedelta(days=days - 1) for day in starts] * len(entities),
            "error": [float(i) for i in range(n_steps * len(entities))],
        }
    ).with_columns(**columns)


def test_scores_come_by_entity_and_in_order_however_the_table_is_sorted(tmp_path: Path) -> None:
    table = steps(["Mali", "Chad", "Peru"], n_events=pl.int_range(pl.len()) * 2)
    table.write_parquet(tmp_path / "scores.parquet")
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    for scores in (table, shuffled, shuffled.lazy(), tmp_path / "scores.parquet", tmp_path):
        series = score_series(scores, "error")
        assert [one.entity for one in series.entities] == ["Chad", "Mali", "Peru"]
        chad = series.entities[0]
        assert chad.score.tolist() == [4, 5, 6, 7]
        assert chad.n_events is not None
        assert chad.n_events.tolist() == [8, 10, 12, 14]
        assert chad.start.dtype == chad.end.dtype == np.dtype("datetime64[D]")
        assert chad.start.tolist()[1] == date(2018, 1, 8)
        assert chad.end.tolist()[1] == date(2018, 1, 15)
        assert (series.n_rows, series.n_dropped) == (12, 0)


def test_rows_without_score_date_or_entity_are_dropped_and_counted() -> None:
    table = pl.concat(
        [
            steps(["Mali"]),
            steps(["Mali"], error=pl.lit(None, pl.Float64)),
            steps(["Mali"], error=pl.lit(float("nan"))),
            steps(["Mali"], step_end=pl.lit(None, pl.Date)),
            steps(["Mali"], entity=pl.lit(None, pl.String)),
            steps(["Chad"], error=pl.lit(None, pl.Float64)),
        ]
    )
    series = score_series(table, "error")
    assert (series.n_rows, series.n_dropped) == (24, 20)
    assert [(one.entity, len(one.score)) for one in series.entities] == [("Mali", 4)]
    none_left = score_series(table.filter(pl.col("entity") == "Chad"), "error")
    assert (none_left.entities, none_left.n_dropped) == ((), 4)


def test_events_behind_a_row_that_are_unknown_do_not_drop_it() -> None:
    table = steps(["Mali"], n_events=pl.Series([1, None, 3, 4]))
    (mali,) = score_series(table, "error").entities
    assert mali.n_events is not None
    assert np.isnan(mali.n_events).tolist() == [False, True, False, False]


def test_a_window_is_its_days_or_its_last_step() -> None:
    windows = steps(["Mali"]).rename({"step_start": "window_start", "step_end": "window_end"})
    windows = windows.with_columns(pl.col("window_start").dt.offset_by("-21d"))
    (whole,) = score_series(windows, "error").entities
    (last,) = score_series(windows, "error", last_step=True).entities
    assert (whole.end - whole.start).astype(int).tolist() == [28] * 4
    assert (last.end - last.start).astype(int).tolist() == [7] * 4
    assert whole.end.tolist() == last.end.tolist()


def test_a_step_without_end_lasts_until_the_next() -> None:
    with_end, without = steps(["Mali"]), steps(["Mali"]).drop("step_end")
    (first,), (second,) = (score_series(one, "error").entities for one in (with_end, without))
    assert first.end.tolist() == second.end.tolist()
    assert first.start.tolist() == second.start.tolist()


def test_dates_with_a_time_of_day_and_whole_numbers_are_taken_too() -> None:
    table = steps(["Mali"]).with_columns(
        pl.col("step_start", "step_end").cast(pl.Datetime("us")), pl.col("error").cast(pl.Int32)
    )
    (mali,) = score_series(table, "error").entities
    assert mali.start.tolist()[0] == date(2018, 1, 1)
    assert mali.score.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        (steps(["Mali"]), "score", "no column score; there are entity, step_start"),
        (steps(["Mali"]).drop("entity"), "error", "no column entity"),
        (steps(["Mali"]).drop("step_start"), "error", "expected window_start and window_end, or"),
        (steps(["Mali"], error=pl.lit("high")), "error", "column error of the scores is String"),
        (steps(["Mali"], step_start=pl.lit("2018")), "error", "step_start of the scores is String"),
        (steps(["Mali"], n_events=pl.lit("9")), "error", "n_events of the scores is String"),
        (
            steps(["Mali"], step_end=pl.col("step_start").dt.offset_by("-1d")),
            "error",
            "4 rows of the scores end before they start, the first that of Mali from 2018-01-01",
        ),
    ],
)
def test_scores_that_are_wrong_are_refused(table: pl.DataFrame, column: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_series(table, column)
    with pytest.raises(ValueError, match="expected window_end"):
        score_series(steps(["Mali"]), "error", last_step=True)


def test_an_event_of_an_entity_without_scores_is_reported(csv: Any) -> None:
    events = read_dated_events(csv("country,start\nMali,2018-05-01\nOz,2018-05-01\n"))
    scores = score_series(steps(["MALI"], n_steps=60), "error")
    recall = evaluated(events, scores)
    assert [(one.event.entity, one.status) for one in recall.outcomes] == [
        ("Mali", "scored"),
        ("Oz", "no_such_entity"),
    ]


def generated_scores(entities: Sequence[str], seed: int) -> pl.DataFrame:
    """Make weeks with gaps and ties, spelt as elsewhere, for countries with and without events."""
    generator = np.random.default_rng(seed)
    tables = []
    for i, entity in enumerate([*entities, *(f"Elsewhere {i}" for i in range(9))]):
        table = steps([entity.upper() if i % 3 else entity.replace(" ", "_")], n_steps=330)
        table = table.with_columns(pl.col("step_start", "step_end").dt.offset_by("-13y"))
        n_events = generator.poisson(generator.integers(3, 300), table.height)
        error = (generator.gamma(1, 3, table.height) + n_events / 50).round(i % 4)
        kept = generator.random(table.height) > (0.3 if i % 5 == 0 else 0.02)
        missing = generator.random(table.height) < 0.05
        tables.append(
            table.with_columns(n_events=n_events, error=np.where(missing, np.nan, error))
            .filter(pl.Series(kept))
            .head(20 if i % 11 == 0 else 330)
        )
    return pl.concat(tables).with_columns(pl.col("error").fill_nan(None))


def as_windows(scores: pl.DataFrame) -> pl.DataFrame:
    """Let each row stand for the eight weeks that end with it."""
    windows = scores.rename({"step_start": "window_start", "step_end": "window_end"})
    return windows.with_columns(pl.col("window_start").dt.offset_by("-49d"))


@pytest.mark.skipif(not CRISES.exists(), reason=WHY)
@pytest.mark.parametrize(
    ("windows", "last_step", "seed"), [(False, False, 0), (True, False, 1), (True, True, 2)]
)
def test_the_whole_way_from_files_agrees_with_the_script(
    tmp_path: Path, *, windows: bool, last_step: bool, seed: int
) -> None:
    script, events = load_script(), read_dated_events(CRISES)
    in_period = events.table.filter(pl.col("start") < date(2010, 1, 1))
    entities = in_period["entity"].unique().sort().to_list()[2:]
    scores, path = generated_scores(entities, seed), tmp_path / "scores.parquet"
    (as_windows(scores) if windows else scores).write_parquet(path)

    options = dict.fromkeys(("entity_col", "start_col", "end_col", "step_days", "window_days"))
    options |= {"score_col": "error", "volume_col": "n_events", "last_step": last_step}
    arguments = Namespace(**options, end_exclusive=False, lower=False)
    table, _ = script.intervals(script.read_scores(str(path)), arguments)
    crises = script.load_crises([str(CRISES)])
    matched_table, _ = script.volume_matched(table.dropna(subset=["events"]))

    series = as_series(events, score_series(path, "error", last_step=last_step))
    # What the script leaves out it doesn't know afterwards; here it has no rows.
    matched = [one for one in volume_matched(series).series if len(one.score)]
    for ours, theirs in ((series, table), (matched, matched_table)):
        recall = evaluate_events(ours, as_events(events), seed=seed)
        assert recall.n_scored > 50
        assert_same(figures(recall), script_figures(*script.evaluate(theirs, crises, seed=seed)))
