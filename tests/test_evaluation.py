"""Laws of comparing scores with dated events: what is planted is found, and chance is not."""

from argparse import Namespace
from dataclasses import replace
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from features.dated_events import DatedEvents, read_dated_events
from features.sample import CRISES
from features.score_series import score_series
from flows.evaluation import EVENTS, SCORES, TABLE, evaluate, print_evaluation, report
from flows.evaluation_config import (
    COLUMNS,
    EvaluationConfig,
    chosen_columns,
    read_events,
    read_scores,
)
from flows.evaluation_scores import VOLUME, evaluate_scores, frame_of_steps, series_of
from flows.evaluation_table import (
    OUTCOME_TITLES,
    as_markdown,
    lift_at,
    not_scored,
    outcome_frame,
    outcome_rows,
    recall_cells,
    recall_frame,
    recall_titles,
)
from tests.icews_files import WholeRun
from tests.naive_recall import assert_same, figures, load_script, script_figures

ENTITIES = ("MALI", "Chad", "Peru", "Oz", "Elsewhere")
STARTS = np.datetime64("2010-01-04", "D") + 7 * np.arange(200)
HOSTILE = "[red]x[/red] | :boom: \\[b]"
LISTED = (
    "id,country,start,end,kind,label,core\n"
    "1,Mali,2011-03-21,2011-03-29,coup,Army,1\n"
    "2,Chad,2012-02-02,2012-02-05,war,,0\n"
    f'3,Peru,2013-05-05,2013-05-06,war,"{HOSTILE}",1\n'
    "4,Nowhere,2012-02-02,,war,,1\n"
    "5,Oz,2031-02-02,,coup,,0\n"
    "6,Mali,2011-03-21,2011-04-29,coup,again,1\n"
)


@pytest.fixture
def events_path(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(LISTED)
    return path


@pytest.fixture
def events(events_path: Path) -> DatedEvents:
    return read_dated_events(events_path)


def arrays(seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return scores `(E, S)`: one that peaks at the events, noise, one of volume, and volume."""
    generator = np.random.default_rng(seed)
    shape = (len(ENTITIES), len(STARTS))
    n_events = generator.poisson(40, shape)
    planted = generator.normal(size=shape)
    for entity, day in (("MALI", "2011-03-21"), ("Chad", "2012-02-02"), ("Peru", "2013-05-05")):
        step = np.searchsorted(STARTS, np.datetime64(day), side="right") - 1
        planted[ENTITIES.index(entity), step] = 9
    scores = {"score": planted, "noise": generator.normal(size=shape), "busy": n_events**2.0}
    scores["noise"][3, ::2] = np.nan
    return scores, n_events


def frame(seed: int = 0) -> pl.DataFrame:
    scores, n_events = arrays(seed)
    table = frame_of_steps(ENTITIES, STARTS, STARTS + 6, scores, n_events=n_events)
    held_out = pl.col("step_start") >= date(2013, 1, 1)
    return table.with_columns(
        part=pl.when(held_out).then(pl.lit("held_out")).otherwise(pl.lit("training"))
    )


def asked(tmp_path: Path, events: Path, **settings: Any) -> EvaluationConfig:
    """Return a configuration for the generated scores as they lie in a file."""
    path = tmp_path / "scores.parquet"
    if not path.exists():
        frame().write_parquet(path)
    return EvaluationConfig(events=events, data=tmp_path / "data", scores=path, **settings)


def test_what_is_planted_is_found_and_noise_is_not(events: DatedEvents) -> None:
    planted, noise, busy, volume = evaluate_scores(
        frame(), ["score", "noise", "busy", VOLUME], events
    )
    assert [top.recall for top in planted.plain.tops] == [1, 1, 1]
    assert planted.plain.tops[1].p_value < 0.01
    assert planted.matched is not None
    assert [top.recall for top in planted.matched.tops] == [1, 1, 1]
    assert noise.plain.tops[0].recall < 1
    assert noise.plain.tops[0].p_value > 0.05
    for row in (busy, volume):
        assert row.matched is not None
        assert [top.recall for top in row.matched.tops] == [0, 0, 0]
        assert row.correlation == pytest.approx(1)
    assert abs(planted.correlation or 9) < 0.2
    assert planted.plain.n_scored == 3
    assert dict(planted.plain.not_scored) == {"no_such_entity": 1, "outside_series": 1}


def test_scores_of_a_cube_and_of_a_table_are_the_same_whatever_the_order(
    events: DatedEvents, tmp_path: Path
) -> None:
    scores, n_events = arrays()
    table = frame_of_steps(ENTITIES, STARTS, STARTS + 6, scores, n_events=n_events)
    by_hand = pl.DataFrame(
        [
            {
                "entity": entity,
                "step_start": start.item(),
                "step_end": start.item() + timedelta(days=6),
                **{
                    name: None if np.isnan(values[e, s]) else float(values[e, s])
                    for name, values in scores.items()
                },
                "n_events": int(n_events[e, s]),
            }
            for e, entity in enumerate(ENTITIES)
            for s, start in enumerate(STARTS)
        ]
    )
    assert table.equals(by_hand)
    shuffled = by_hand.sample(fraction=1, shuffle=True, seed=1)
    shuffled.write_parquet(tmp_path / "a.parquet")
    read = pl.read_parquet(tmp_path / "a.parquet")
    columns = ["score", "noise"]
    wanted = recall_frame(evaluate_scores(table, columns, events))
    assert recall_frame(evaluate_scores(read, columns, events)).equals(wanted)


def test_columns_do_not_depend_on_each_other(events: DatedEvents) -> None:
    together = recall_frame(evaluate_scores(frame(), ["score", "noise"], events, seed=3))
    alone = recall_frame(evaluate_scores(frame(), ["noise"], events, seed=3))
    assert alone.equals(together.tail(1))


def test_without_the_number_of_events_nothing_is_matched(events: DatedEvents) -> None:
    (row,) = evaluate_scores(frame().drop(VOLUME), ["score"], events)
    assert row.matched is row.correlation is None
    cells = recall_cells(row, (1, 2, 5))
    assert len(cells) == len(recall_titles((1, 2, 5)))
    assert set(cells[11:]) == {"–"}
    assert "matched_recall_1" not in recall_frame([row]).columns


def test_arrays_that_do_not_fit_are_refused() -> None:
    scores, n_events = arrays()
    with pytest.raises(ValueError, match=r"score has shape \(5, 200\) and there are 4 entities"):
        frame_of_steps(ENTITIES[1:], STARTS, STARTS + 6, scores)
    with pytest.raises(ValueError, match="n_events has shape"):
        frame_of_steps(ENTITIES, STARTS, STARTS + 6, scores, n_events=n_events[:, 1:])
    with pytest.raises(ValueError, match="200 starts and 199 ends"):
        frame_of_steps(ENTITIES, STARTS, STARTS[1:], scores)


def test_no_entity_in_common_shows_names_of_both_sides(events: DatedEvents) -> None:
    table = frame().filter(pl.col("entity") == "Elsewhere")
    with pytest.raises(ValueError, match=r"scored are Elsewhere, and events are of Chad, Mali, .*"):
        evaluate_scores(table, ["score"], events)


def test_a_row_has_every_figure_of_the_recall(events: DatedEvents) -> None:
    rows = evaluate_scores(frame(), ["score", "noise"], events)
    flat = recall_frame(rows)
    assert flat["score"].to_list() == ["score", "noise"]
    for row, figure in zip(rows, flat.iter_rows(named=True), strict=True):
        for prefix, recall in (("", row.plain), ("matched_", row.matched)):
            assert recall is not None
            assert figure[f"{prefix}n_scored"] == recall.n_scored
            assert recall.mean_percentile is not None
            assert figure[f"{prefix}mean_percentile"] == recall.mean_percentile.value
            for top in recall.tops:
                assert figure[f"{prefix}recall_{top.top:g}"] == top.recall
                assert figure[f"{prefix}chance_{top.top:g}"] == top.chance
                assert figure[f"{prefix}lift_{top.top:g}"] == top.lift
                assert top.lift_interval is not None
                assert figure[f"{prefix}lift_low_{top.top:g}"] == top.lift_interval[0]
                assert figure[f"{prefix}lift_high_{top.top:g}"] == top.lift_interval[1]
                assert figure[f"{prefix}p_{top.top:g}"] == top.p_value
                assert figure[f"{prefix}placebo_{top.top:g}"] == top.placebo


def test_what_became_of_each_event_is_told(events: DatedEvents) -> None:
    (row,) = evaluate_scores(frame(), ["score"], events)
    table = outcome_frame(row.plain)
    assert table.select("entity", "start", "status", "hit_1").rows() == [
        ("Mali", date(2011, 3, 21), "scored", True),
        ("Chad", date(2012, 2, 2), "scored", True),
        ("Nowhere", date(2012, 2, 2), "no_such_entity", None),
        ("Peru", date(2013, 5, 5), "scored", True),
        ("Oz", date(2031, 2, 2), "outside_series", None),
    ]
    assert table["first_hit"].to_list()[:2] == [date(2011, 3, 21), date(2012, 1, 30)]
    assert [cells[0] for cells in outcome_rows(row.plain)] == ["Mali", "Chad", "Peru"]
    assert [cells[-1] for cells in outcome_rows(row.plain)] == ["1 %"] * 3
    assert [cells[2] for cells in outcome_rows(row.plain)] == ["Army", "war", HOSTILE]
    assert not_scored(row.plain) == "3 of 5 events scored, 1 no such entity, 1 outside series"


def test_the_smallest_top_that_an_event_is_in_is_shown(events: DatedEvents) -> None:
    table = frame()
    behind = pl.when(pl.col("entity") == "MALI", pl.col("score") == 9).then(2.0)
    table = table.with_columns(score=behind.otherwise("score"))
    (row,) = evaluate_scores(table, ["score"], events, tops=(50, 20, 5, 1))
    mali, chad, _ = outcome_rows(row.plain)
    assert (mali[-1], chad[-1]) == ("5 %", "1 %")
    never = table.with_columns(score=-pl.col("score"))
    (row,) = evaluate_scores(never, ["score"], events)
    assert outcome_rows(row.plain)[1][-2:] == ("–", "no")


@pytest.mark.parametrize(("tops", "at"), [((1, 2, 5), 2), ((1, 5), 1), ((2.0, 1), 2), ((5,), 5)])
def test_the_lift_is_shown_at_2_per_cent_if_that_is_asked_for(
    tops: tuple[float, ...], at: float, events: DatedEvents
) -> None:
    assert lift_at(tops) == at
    titles = recall_titles(tops)
    assert f"lift @{at} %" in titles
    (row,) = evaluate_scores(frame(), ["score"], events, tops=tops)
    cells = dict(zip(titles, recall_cells(row, tops), strict=True))
    (top,) = (one for one in row.plain.tops if one.top == at)
    assert cells[f"lift @{at} %"] == f"{top.lift:.1f}"
    assert cells["p"] == f"{top.p_value:.3f}"


def test_markdown_has_a_line_a_row_whatever_the_cells_hold() -> None:
    text = as_markdown(("a", "b"), [("x|y\nz", HOSTILE), ("", "1")])
    lines = text.split("\n")
    assert len(lines) == 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}


def test_a_generated_file_agrees_with_the_script(tmp_path: Path) -> None:
    """As it is published: parts of time, events behind each step, and steps without a score."""
    script = load_script()
    generator, lines = np.random.default_rng(4), ["id,country,start,end,kind,label,core"]
    for number in range(40):
        start = (STARTS[0] + int(generator.integers(-20, 1500))).item()
        name = str(generator.choice(["Mali", "Chad", "Peru", "Oz"]))
        end = start + timedelta(days=int(generator.integers(0, 30)))
        kind = str(generator.choice(["war", "coup"]))
        lines.append(f"{number},{name},{start},{end},{kind},text,{number % 2}")
    path = tmp_path / "events.csv"
    header, *rest = lines
    path.write_text("\n".join([f"{header},country_raw,iso3", *(f"{x},," for x in rest)]) + "\n")
    config = asked(tmp_path, path, since=date(2010, 3, 1), core=True, columns=("noise",))
    config = replace(config, until=date(2013, 9, 29))
    scores, events = read_scores(config), read_events(config)
    (ours, _) = evaluate_scores(scores, chosen_columns(scores, config), events, seed=5)

    options = dict.fromkeys(("entity_col", "start_col", "end_col", "step_days", "window_days"))
    options |= {"score_col": "noise", "volume_col": "n_events", "last_step": False}
    arguments = Namespace(**options, end_exclusive=False, lower=False)
    table, _ = script.intervals(script.read_scores(str(config.scores)), arguments)
    table = table[(table["a"] >= "2010-03-01") & (table["b"] <= "2013-09-30")]
    crises = script.load_crises([str(path)], core=True)
    assert ours.plain.n_scored > 10
    assert_same(figures(ours.plain), script_figures(*script.evaluate(table, crises, seed=5)))
    matched, correlation = script.volume_matched(table.dropna(subset=["events"]))
    assert ours.matched is not None
    theirs = script_figures(*script.evaluate(matched, crises, seed=5))
    assert_same(figures(ours.matched), theirs)
    assert ours.correlation == pytest.approx(correlation)


def test_rows_are_chosen_by_part_and_days(tmp_path: Path, events_path: Path) -> None:
    everything = read_scores(asked(tmp_path, events_path))
    assert everything.equals(frame())
    held_out = read_scores(asked(tmp_path, events_path, part="held_out"))
    assert held_out["part"].unique().to_list() == ["held_out"]
    some = asked(tmp_path, events_path, since=date(2011, 1, 3), until=date(2011, 1, 16))
    rows = read_scores(some)
    assert rows["step_start"].unique().sort().to_list() == [date(2011, 1, 3), date(2011, 1, 10)]
    later = replace(some, since=date(2011, 1, 4), until=date(2011, 1, 15))
    with pytest.raises(ValueError, match=r"no row of .* from 2011-01-04 to 2011-01-15"):
        read_scores(later)


def test_a_day_that_is_first_and_last_keeps_what_lies_in_it(
    tmp_path: Path, events_path: Path
) -> None:
    day = date(2011, 1, 3)
    table = frame().with_columns(step_end=pl.col("step_start"))
    path = tmp_path / "days.parquet"
    table.write_parquet(path)
    config = EvaluationConfig(events=events_path, scores=path, since=day, until=day)
    assert read_scores(config)["step_start"].unique().to_list() == [day]


def test_windows_are_chosen_by_their_own_days(tmp_path: Path, events_path: Path) -> None:
    path = tmp_path / "windows.parquet"
    names = {"step_start": "window_start", "step_end": "window_end"}
    frame().rename(names).write_parquet(path)
    config = EvaluationConfig(events=events_path, scores=path, since=date(2012, 1, 1))
    assert read_scores(config)["window_start"].min() == date(2012, 1, 2)


def test_events_are_chosen_by_core_and_kind(tmp_path: Path, events_path: Path) -> None:
    def ids(**settings: Any) -> set[str]:
        return set(read_events(asked(tmp_path, events_path, **settings)).table["id"])

    assert ids() == {"1", "2", "3", "4", "5"}
    assert ids(core=True) == {"1", "3", "4"}
    assert ids(kinds=("coup",)) == {"1", "5"}
    assert ids(kinds=("coup",), core=True) == {"1"}
    with pytest.raises(
        ValueError, match=r"no event with core=False and kinds \('flood',\).*coup, war"
    ):
        ids(kinds=("flood",))


def test_the_usual_columns_are_those_that_are_there_and_hold_something(
    tmp_path: Path, events_path: Path
) -> None:
    config = asked(tmp_path, events_path)
    table = frame().with_columns(
        loudness=pl.lit(None, pl.Float32), surge=pl.lit(1.0), nowcast_surge=pl.lit(2.0)
    )
    assert chosen_columns(table, config) == ("score", "surge", "nowcast_surge", VOLUME)
    assert chosen_columns(table.drop(VOLUME), config) == ("score", "surge", "nowcast_surge")
    named = replace(config, columns=("noise",))
    assert chosen_columns(table, named) == ("noise", VOLUME)
    assert chosen_columns(table, replace(config, columns=(VOLUME, "noise"))) == (VOLUME, "noise")
    with pytest.raises(ValueError, match=r"no column error; there are score, noise, busy"):
        chosen_columns(table, replace(config, columns=("error",)))
    with pytest.raises(ValueError, match="hold nothing in loudness"):
        chosen_columns(table, replace(config, columns=("loudness",)))
    with pytest.raises(ValueError, match="name some of noise, busy, n_events"):
        chosen_columns(frame().drop("score"), config)


def test_what_is_not_there_is_named(tmp_path: Path, events_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file of events at .*gone\.csv"):
        read_events(EvaluationConfig(events=tmp_path / "gone.csv"))
    config = EvaluationConfig(events=events_path, data=tmp_path / "data")
    with pytest.raises(FileNotFoundError, match=r"country-week.*are none; give one of these names"):
        read_scores(config)
    (tmp_path / "data" / "published" / "world-day").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="are world-day; give one"):
        read_scores(config)
    with pytest.raises(FileNotFoundError, match="expected a Parquet file, or a folder"):
        read_scores(replace(config, scores=tmp_path / "gone.parquet"))
    frame().drop("part").write_parquet(tmp_path / "plain.parquet")
    with pytest.raises(ValueError, match="no column part; there are entity"):
        read_scores(replace(config, scores=tmp_path / "plain.parquet", part="held_out"))
    frame().drop("entity").write_parquet(tmp_path / "nobody.parquet")
    with pytest.raises(ValueError, match="no column entity"):
        read_scores(replace(config, scores=tmp_path / "nobody.parquet"))
    frame().drop("step_start", "step_end").write_parquet(tmp_path / "never.parquet")
    with pytest.raises(ValueError, match="no column window_start"):
        read_scores(replace(config, scores=tmp_path / "never.parquet", since=date(2012, 1, 1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"part": "test"}, "part='test': expected one of all, training"),
        ({"since": date(2012, 1, 2), "until": date(2012, 1, 1)}, "comes before since"),
        ({"tops": ()}, "expected per cents"),
        ({"tops": (0, 5)}, "expected per cents"),
        ({"repetitions": 0}, "repetitions=0: expected at least 1"),
        ({"after_days": -1}, "after_days=-1: expected at least 0"),
        ({"min_rows": 0}, "min_rows=0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(events=Path("events.csv"), **settings)


def test_series_are_named_as_the_events_name_them(events: DatedEvents) -> None:
    series = series_of(score_series(frame(), "score"), events)
    assert [one.name for one in series] == ["Chad", "Elsewhere", "Mali", "Oz", "Peru"]


# What follows is asked of the flow, and of what a whole run published.


def test_an_evaluation_is_written_as_a_whole(
    prefect: None, tmp_path: Path, events_path: Path
) -> None:
    config = asked(tmp_path, events_path, columns=("score", "noise"), repetitions=50)
    result = evaluate(config)
    assert result.folder.parent == config.data / "evaluations"
    assert (result.folder.parent / "latest").resolve() == result.folder.resolve()
    assert sorted(path.name for path in result.folder.iterdir()) == [EVENTS, SCORES, TABLE]
    scores = pl.read_parquet(result.folder / SCORES)
    assert scores.equals(recall_frame(result.rows))
    assert scores["score"].to_list() == ["score", "noise", VOLUME]
    written = pl.read_parquet(result.folder / EVENTS)
    assert written.equals(outcome_frame(result.rows[0].plain))
    text = (result.folder / TABLE).read_text()
    assert text == report(result, config)
    assert "3 of 5 events scored, 1 no such entity, 1 outside series" in text
    assert "1 events repeat another of the same entity and start, in rows 7" in text
    for row in result.rows:
        assert f"| {' | '.join(recall_cells(row, config.tops))} |" in text.splitlines()


def test_what_is_printed_is_what_was_found_names_as_they_are(
    prefect: None, tmp_path: Path, events_path: Path
) -> None:
    result = evaluate(asked(tmp_path, events_path, columns=("score", "noise"), repetitions=50))
    file = StringIO()
    print_evaluation(result, Console(file=file, width=300, force_terminal=False))
    text = file.getvalue()
    lines = [line.split() for line in text.splitlines()]
    for row in result.rows:
        cells = recall_cells(row, result.tops)
        n_block = (len(cells) - 2) // 2
        for block in (cells[2 : 2 + n_block], cells[2 + n_block :]):
            assert [*cells[:2], *block] in lines
    assert f" {HOSTILE} " in text
    assert all(title in text for title in OUTCOME_TITLES)
    assert str(result.folder) in text
    assert "3 of 5 events scored" in text


def test_events_that_none_can_be_judged_are_told_why(
    prefect: None, tmp_path: Path, events_path: Path
) -> None:
    config = asked(tmp_path, events_path, min_rows=999)
    with pytest.raises(ValueError, match=r"no event can be judged: 0 of 5.*200 on average.*999"):
        evaluate(config)
    assert not (config.data / "evaluations").exists()


def test_planted_crises_are_found_in_what_was_published(whole: WholeRun, tmp_path: Path) -> None:
    path = tmp_path / "crises.csv"
    rows = [{"country": one.country, "start": one.start, "end": one.end} for one in CRISES]
    pl.DataFrame(rows).write_csv(path)
    config = EvaluationConfig(events=path, data=whole.config.data, name=whole.config.name)
    scores, events = read_scores(config), read_events(config)
    columns = chosen_columns(scores, config)
    assert columns == (*COLUMNS, VOLUME)
    found = {row.column: row for row in evaluate_scores(scores, columns, events)}
    assert found["score"].plain.n_scored == len(CRISES)
    assert found["score"].plain.tops[1].recall >= 0.85
    assert found["strangeness"].plain.tops[1].recall >= 0.85
    matched = found["strangeness"].matched
    assert matched is not None
    assert matched.tops[1].p_value < 0.02
    volume = found[VOLUME].matched
    assert volume is not None
    assert volume.tops[1].recall == 0
    held_out = replace(config, part="held_out", min_rows=20)
    (row,) = evaluate_scores(read_scores(held_out), ["score"], events, min_rows=20)
    assert row.plain.n_scored == 4
    assert row.plain.tops[2].recall == 1
