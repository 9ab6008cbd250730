"""Laws of the published tables: keys, empty steps, and scores as they were judged."""

import json
import tomllib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.split import PARTS
from flows.datasets import DATASETS, SCHEMA_VERSION
from flows.judging import Judgement, judge_steps
from flows.learning import LearningData
from flows.partitions import write_parquet
from flows.products import (
    analogues_table,
    embeddings_table,
    step_errors_table,
    window_errors_table,
)
from flows.proportions import proportions_table
from models import Analogues, Calibration, Regimes, Scores, nearest_analogues
from tests.icews_files import WholeRun
from tests.naive_judging import (
    LENGTH,
    N_STEPS,
    config_of,
    cube_of,
    invented_counts,
    invented_scores,
    learning,
    vocabulary_of,
)

EMPTY = (0, 3)
FEW = (1, 40)
UNCOVERED = (2, N_STEPS - 1)
ALARM_RATE = 0.05
OF_STEPS = ("score", "p_value", "q_value", "loudness", "strangeness", "expected_events")
OF_EXPECTATIONS = ("squared_error", "surge", "deviance", "mahalanobis")


def judged(**settings: Any) -> tuple[LearningData, Scores, Judgement]:
    """Judge steps of which one is empty, one has few events and one lies in no window."""
    counts = invented_counts()
    counts[EMPTY], counts[FEW] = 0, [1, 0, 0, 0]
    config = config_of(
        transform__representation="proportion", windows__min_step_events=5, **settings
    )
    data = learning(cube_of(counts), config)
    windows = data.prepared.windows.index
    kept = ~(windows == [UNCOVERED[0], N_STEPS - LENGTH]).all(axis=1)
    prepared = replace(
        data.prepared, windows=data.prepared.windows.where(kept), parts=data.prepared.parts[kept]
    )
    data = replace(data, prepared=prepared)
    scores, newest = invented_scores(data)
    return data, scores, judge_steps(data, scores, newest, config)


def step_table(data: LearningData, scores: Scores, judgement: Judgement) -> pl.DataFrame:
    table = step_errors_table(
        data.cube,
        data.prepared,
        scores.coverage,
        judgement,
        vocabulary_of(data.cube),
        alarm_rate=ALARM_RATE,
    )
    return frame(table)


def frame(table: pa.Table) -> pl.DataFrame:
    converted = pl.from_arrow(table)
    assert isinstance(converted, pl.DataFrame)
    return converted


def arrays_of(judgement: Judgement) -> dict[str, np.ndarray]:
    """Return every array of steps by the name of its column."""
    arrays = {name: getattr(judgement, name) for name in OF_STEPS}
    for name in OF_EXPECTATIONS:
        arrays[name] = getattr(judgement.combined, name)
        arrays[f"nowcast_{name}"] = getattr(judgement.newest, name)
    return arrays | {"volume_share": judgement.drivers.volume_share}


def test_every_entity_and_step_has_one_row_empty_ones_too() -> None:
    data, scores, judgement = judged()
    for rows in (frame(proportions_table(data.cube)), step_table(data, scores, judgement)):
        assert rows.height == 3 * N_STEPS
        assert not rows.select("entity", "step_start").is_duplicated().any()
        assert rows["n_events"].to_list() == data.cube.exposure.reshape(-1).tolist()
        assert ((rows["step_end"] - rows["step_start"]).dt.total_days() == 6).all()


def test_columns_hold_what_was_judged_and_null_where_nothing_was() -> None:
    data, scores, judgement = judged()
    rows = step_table(data, scores, judgement)
    for name, values in arrays_of(judgement).items():
        assert rows[name].is_null().to_list() == np.isnan(values).reshape(-1).tolist(), name
        assert not rows[name].is_nan().any(), name
        known = values.reshape(-1)[~np.isnan(values).reshape(-1)]
        np.testing.assert_array_equal(rows[name].drop_nulls(), known, err_msg=name)
    assert rows["n_windows"].to_list() == scores.coverage.reshape(-1).tolist()


def test_steps_that_cannot_be_judged_have_null_and_never_nan() -> None:
    data, scores, judgement = judged()
    rows = step_table(data, scores, judgement)
    for cell in (EMPTY, FEW, UNCOVERED):
        row = rows.row(cell[0] * N_STEPS + cell[1], named=True)
        said = set(row) - {"entity", "step_start", "step_end", "n_events", "part", "n_windows"}
        assert {name: row[name] for name in said} == dict.fromkeys(said), cell
    for name in ("score", "is_alarm", "drivers", "volume_share"):
        assert rows[name].null_count() == 3, name
    assert rows.row(EMPTY[1], named=True)["n_events"] == 0
    assert rows.row(UNCOVERED[0] * N_STEPS + UNCOVERED[1], named=True)["n_windows"] == 0
    proportions = frame(proportions_table(data.cube))
    assert set(proportions.row(EMPTY[1])[4:]) == {None}
    assert sum(proportions.null_count().row(0)) == len(data.cube.features)


def test_an_alarm_is_a_p_value_of_at_most_the_rate() -> None:
    rows = step_table(*judged()).drop_nulls("score")
    assert (rows["is_alarm"] == (rows["p_value"] <= ALARM_RATE)).all()
    assert 0 < rows["is_alarm"].sum() < rows.height / 4
    assert (rows["q_value"] >= rows["p_value"]).all()


def test_a_window_s_scores_are_means_of_its_steps_and_of_its_newest_step() -> None:
    data, scores, judgement = judged()
    cube, prepared = data.cube, data.prepared
    rows = frame(window_errors_table(cube, prepared, scores, judgement))
    assert rows.height == len(prepared.windows)
    arrays = arrays_of(judgement)
    for row, (entity, first) in zip(
        rows.iter_rows(named=True), prepared.windows.index.tolist(), strict=True
    ):
        steps = range(first, first + LENGTH)
        for name in ("score", "strangeness", "surge", "deviance", "mahalanobis"):
            values = [float(arrays[name][entity, step]) for step in steps]
            known = [value for value in values if not np.isnan(value)]
            assert row[name] == pytest.approx(sum(known) / len(known), rel=1e-5), name
        newest = judgement.score[entity, first + LENGTH - 1]
        assert row["newest_score"] == (None if np.isnan(newest) else newest)
        assert row["entity"] == cube.entities[entity]
        assert row["window_start"] == cube.steps[first].item()
        assert (row["window_end"] - row["window_start"]).days == 7 * LENGTH - 1
        assert row["n_events"] == cube.exposure[entity, first : first + LENGTH].sum()
    assert rows["squared_error"].to_list() == scores.window_error.tolist()
    assert rows["newest_score"].null_count() > 0


@pytest.mark.parametrize("drivers", [1, 2, 9])
def test_drivers_are_sorted_shares_of_the_score_with_the_counts_behind(drivers: int) -> None:
    data, scores, judgement = judged(scoring__drivers=drivers)
    cube, kinds = data.cube, [0, 1, 2, 3]
    rows = step_table(data, scores, judgement)
    labels = {one.name: one.label for one in vocabulary_of(cube).features}
    n_named = 0
    for position, entries in enumerate(rows["drivers"].to_list()):
        if entries is None:
            continue
        cell = divmod(position, N_STEPS)
        shares = [entry["share"] for entry in entries]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) <= min(drivers, 4)
        assert all(0 < share <= 1 + 1e-6 for share in shares)
        assert sum(shares) <= 1 + 1e-5
        if drivers >= 4 and shares:
            assert sum(shares) == pytest.approx(1, abs=1e-5)
        for entry in entries:
            f = cube.features.index(entry["feature"])
            assert f in kinds
            assert entry["label"] == labels[entry["feature"]]
            assert entry["proportion"] == pytest.approx(float(cube.values[cell][f]), abs=1e-6)
            assert entry["events"] == round(float(cube.values[cell][f]) * cube.exposure[cell])
            n_named += 1
    assert n_named > 100


def test_parts_of_steps_are_those_of_the_split() -> None:
    rows = step_table(*judged())
    one = ["training"] * 39 + ["between"] + ["validation"] * 19 + ["between"] + ["held_out"] * 20
    assert rows["part"].to_list() == 3 * one


def test_embeddings_are_fixed_size_lists_of_float32_in_the_windows_order() -> None:
    data, scores, _ = judged()
    regimes = np.arange(len(data.prepared.windows), dtype=np.int32) % 3
    table = embeddings_table(data.cube, data.prepared, scores, regimes)
    kind = table.schema.field("embedding").type
    assert kind.value_type == pa.float32()
    assert kind.list_size == 3
    assert table["embedding"].to_pylist() == scores.embeddings.tolist()
    assert table["regime"].to_pylist() == regimes.tolist()
    parts = [PARTS[part] for part in data.prepared.parts]
    assert table["part"].to_pylist() == parts


def test_analogues_are_rows_of_the_windows_they_name_nearest_first() -> None:
    data, scores, _ = judged()
    windows, cube = data.prepared.windows, data.cube
    found = nearest_analogues(
        scores.embeddings, windows.index, length=LENGTH, n_neighbours=3, min_lag=LENGTH
    )
    table = embeddings_table(cube, data.prepared, scores, np.zeros(len(windows), np.int32))
    rows = frame(analogues_table(table, found))
    queries = np.arange(3, len(windows), 2)
    some = nearest_analogues(
        scores.embeddings,
        windows.index,
        length=LENGTH,
        n_neighbours=3,
        min_lag=LENGTH,
        queries=queries,
    )
    asked = [table.slice(i, 1).select(["entity", "window_start"]).to_pylist()[0] for i in queries]
    of_some = rows.join(pl.DataFrame(asked), on=["entity", "window_start"], maintain_order="left")
    assert frame(analogues_table(table, some, queries)).rows() == of_some.rows()
    wanted = [
        (
            cube.entities[windows.index[row, 0]],
            cube.steps[windows.index[row, 1]].item(),
            rank + 1,
            cube.entities[windows.index[position, 0]],
            cube.steps[windows.index[position, 1]].item(),
            float(found.distances[row, rank]),
        )
        for row in range(len(windows))
        for rank, position in enumerate(found.positions[row])
        if position >= 0
    ]
    names = ("entity", "window_start", "rank", "analogue_entity", "analogue_start", "distance")
    assert rows.select(names).rows() == wanted
    assert rows.select((pl.col("analogue_end") < pl.col("window_start")).all()).item()
    assert ((rows["analogue_end"] - rows["analogue_start"]).dt.total_days() == 27).all()
    assert rows.height < 3 * len(windows)  # the first windows have none


def test_windows_without_any_analogue_make_an_empty_table() -> None:
    data, scores, _ = judged()
    n = len(data.prepared.windows)
    none = Analogues(positions=np.full((n, 2), -1), distances=np.full((n, 2), np.nan, np.float32))
    windows = embeddings_table(data.cube, data.prepared, scores, np.zeros(n, np.int32))
    table = analogues_table(windows, none)
    assert table.num_rows == 0
    assert table.column_names == [column.name for column in DATASETS["analogues"]]


def test_a_table_in_parts_is_written_as_one(tmp_path: Path) -> None:
    table = proportions_table(judged()[0].cube)
    n = table.num_rows
    rows = write_parquet((table.slice(i, 7) for i in range(0, n, 7)), tmp_path / "a.parquet", {})
    assert rows == n
    assert pq.read_table(tmp_path / "a.parquet").equals(table)


def test_nested_columns_are_written_as_they_are(tmp_path: Path) -> None:
    data, scores, judgement = judged()
    table = step_errors_table(
        data.cube,
        data.prepared,
        scores.coverage,
        judgement,
        vocabulary_of(data.cube),
        alarm_rate=ALARM_RATE,
    )
    write_parquet([table], tmp_path / "a.parquet", {})
    assert pq.read_table(tmp_path / "a.parquet").equals(table)


# What follows is asked of the tables that a whole run published.


def path_of(run: WholeRun, name: str) -> Path:
    return run.result.publication.latest / name


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("proportions", "step_start"),
        ("step_errors", "step_start"),
        ("embeddings", "window_start"),
        ("window_errors", "window_start"),
        ("analogues", "window_start"),
    ],
)
def test_published_keys_are_unique_and_sorted(whole: WholeRun, name: str, key: str) -> None:
    also = ["rank"] if name == "analogues" else []
    keys = pl.read_parquet(path_of(whole, name)).select("entity", key, *also)
    assert keys.height > 1000
    assert not keys.is_duplicated().any()
    for path in path_of(whole, name).iterdir():
        part = pl.read_parquet(path).select("entity", key, *also)
        assert part.equals(part.sort("entity", key, *also))
        assert part[key].dt.year().unique().to_list() == [int(path.stem)]


def test_embeddings_and_errors_are_of_the_same_windows(whole: WholeRun) -> None:
    windows = ["entity", "window_start", "window_end", "n_events", "part"]
    embeddings = pl.read_parquet(path_of(whole, "embeddings"))
    assert embeddings.select(windows).equals(
        pl.read_parquet(path_of(whole, "window_errors")).select(windows)
    )
    size = whole.config.autoencoder.latent_size
    assert embeddings.schema["embedding"] == pl.Array(pl.Float32, size)
    assert np.isfinite(embeddings["embedding"].to_numpy()).all()


def test_events_of_drivers_are_the_counts_of_proportions(whole: WholeRun) -> None:
    steps = pl.read_parquet(path_of(whole, "step_errors"))
    drivers = steps.select("entity", "step_start", "drivers").explode("drivers").drop_nulls()
    drivers = drivers.unnest("drivers")
    proportions = pl.read_parquet(path_of(whole, "proportions")).unpivot(
        index=["entity", "step_start", "step_end", "n_events"], variable_name="feature"
    )
    both = drivers.join(
        proportions, on=["entity", "step_start", "feature"], validate="m:1", how="left"
    )
    assert both.height == drivers.height > steps.height
    counted = (both["value"].fill_null(0).cast(pl.Float64) * both["n_events"]).round()
    assert (both["events"] == counted).all()
    np.testing.assert_allclose(both["proportion"], both["value"].fill_null(0), atol=1e-6)
    assert both["feature"].str.starts_with("event_type_").all()
    labels = {one.name: one.label for one in whole.result.features.vocabulary().features}
    assert (both["label"] == both["feature"].replace_strict(labels)).all()
    per_step = drivers.group_by("entity", "step_start", maintain_order=True).agg("share")["share"]
    assert per_step.list.len().max() == whole.config.scoring.drivers
    assert (per_step.list.sort(descending=True) == per_step).all()
    assert per_step.list.sum().max() <= 1 + 1e-5  # type: ignore[operator]
    assert drivers["share"].min() > 0  # type: ignore[operator]


def test_alarms_are_p_values_of_at_most_the_rate_and_q_values_are_no_lower(
    whole: WholeRun,
) -> None:
    steps = pl.read_parquet(path_of(whole, "step_errors")).drop_nulls("score")
    assert (steps["is_alarm"] == (steps["p_value"] <= whole.config.scoring.alarm_rate)).all()
    assert 0 < steps["is_alarm"].sum() < 0.05 * steps.height
    assert (steps["q_value"] >= steps["p_value"]).all()
    assert steps["p_value"].is_between(0, 1).all()
    assert steps["volume_share"].is_between(0, 1).all()


def test_expected_events_average_to_those_that_came(whole: WholeRun) -> None:
    steps = pl.read_parquet(path_of(whole, "step_errors")).filter(part="training")
    by_entity = steps.group_by("entity").agg(pl.mean("expected_events", "n_events"))
    np.testing.assert_allclose(by_entity["expected_events"], by_entity["n_events"], rtol=0.1)


def test_silent_weeks_are_scored_as_quiet(whole: WholeRun) -> None:
    steps = pl.read_parquet(path_of(whole, "step_errors"))
    silent = steps.filter(pl.col("n_events") == 0)
    assert silent.height > 3
    assert silent["score"].null_count() == 0
    assert (silent["loudness"] < 0).all()
    median = steps["nowcast_surge"].median()
    assert silent["nowcast_surge"].max() < 0.2 * median  # type: ignore[operator]
    assert not silent["is_alarm"].any()


def test_first_steps_have_a_score_but_no_nowcast(whole: WholeRun) -> None:
    steps = pl.read_parquet(path_of(whole, "step_errors")).sort("entity", "step_start")
    first = steps.group_by("entity", maintain_order=True).head(whole.config.windows.length - 1)
    assert first["score"].null_count() == 0
    names = [f"nowcast_{name}" for name in OF_EXPECTATIONS]
    assert first.select(pl.col(names).null_count()).row(0) == (first.height,) * len(names)


def test_published_analogues_lie_before_the_window(whole: WholeRun) -> None:
    rows = pl.read_parquet(path_of(whole, "analogues"))
    windows = pl.read_parquet(path_of(whole, "embeddings"))
    assert (rows["analogue_end"] < rows["window_start"]).all()
    assert rows["rank"].is_between(1, whole.config.scoring.analogues).all()
    key = ["entity", "window_start"]
    by_window = rows.group_by(key, maintain_order=True).agg("rank", "distance")
    assert (by_window["rank"] == by_window["rank"].list.sort()).all()
    assert (by_window["distance"] == by_window["distance"].list.sort()).all()
    named = rows.select(entity="analogue_entity", window_start="analogue_start")
    assert named.join(windows, on=key, how="anti").height == 0
    late = windows.filter(pl.col("part") == "held_out")
    assert late.join(rows.filter(pl.col("rank") == 5), on=key, how="anti").height == 0


def test_published_regimes_are_those_of_the_embeddings(whole: WholeRun) -> None:
    folder = whole.result.publication.latest
    regimes = Regimes.from_dict(json.loads((folder / "regimes.json").read_text()))
    rows = pl.read_parquet(path_of(whole, "embeddings"))
    assigned = regimes.assign(rows["embedding"].to_numpy())
    assert rows["regime"].to_list() == assigned.tolist()
    assert set(rows["regime"].to_list()) == set(range(len(regimes.numbers)))
    training = rows.filter(part="training")["regime"].value_counts().sort("regime")["count"]
    assert training.to_list() == regimes.n_windows.tolist()


def test_published_calibration_gives_the_published_p_values(whole: WholeRun) -> None:
    content = json.loads((whole.result.publication.latest / "calibration.json").read_text())
    entities = content.pop("entities")
    calibration = Calibration.from_dict(content)
    steps = pl.read_parquet(path_of(whole, "step_errors")).sort("entity", "step_start")
    assert steps["entity"].unique(maintain_order=True).to_list() == entities
    scores = steps["score"].to_numpy().reshape(len(entities), -1)
    wanted = steps["p_value"].to_numpy().reshape(len(entities), -1)
    is_reference = (steps["part"] == "validation").to_numpy().reshape(len(entities), -1)
    got = np.where(
        is_reference,
        calibration.reference_p_values(scores, is_reference),
        calibration.p_values(scores),
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_published_scores_of_windows_are_means_of_published_scores_of_steps(
    whole: WholeRun,
) -> None:
    steps = pl.read_parquet(path_of(whole, "step_errors"))
    windows = pl.read_parquet(path_of(whole, "window_errors"))
    inside = (
        windows.join(steps.select("entity", "step_start", step_score="score"), on="entity")
        .filter(pl.col("step_start").is_between("window_start", "window_end"))
        .group_by("entity", "window_start", maintain_order=True)
        .agg(
            pl.col("score", "newest_score").first(),
            pl.col("step_score").mean(),
            newest=pl.col("step_score").last(),
            len=pl.len(),
        )
    )
    assert inside.height == windows.height
    assert inside["len"].unique().to_list() == [whole.config.windows.length]
    np.testing.assert_allclose(inside["score"], inside["step_score"], rtol=1e-4)
    assert (inside["newest_score"] == inside["newest"]).all()
    covering = windows.select(
        "entity", step_start=pl.date_ranges("window_start", "window_end", "1w")
    ).explode("step_start")
    n_windows = covering.group_by("entity", "step_start").agg(n=pl.len())
    counted = steps.join(n_windows, on=["entity", "step_start"], how="left")
    assert counted["n"].fill_null(0).to_list() == counted["n_windows"].to_list()


def test_shares_of_a_step_sum_to_one(whole: WholeRun) -> None:
    names = whole.result.features.vocabulary().names
    types = [name for name in names if name.startswith("event_type_")]
    proportions = pl.read_parquet(path_of(whole, "proportions")).drop_nulls(types)
    sums = proportions.select(pl.sum_horizontal(types)).to_series()
    np.testing.assert_allclose(sums, 1, atol=1e-5)


@pytest.mark.parametrize("name", list(DATASETS))
def test_a_file_says_where_it_comes_from_but_not_on_whose_disk(whole: WholeRun, name: str) -> None:
    (metadata, *others) = (pq.read_schema(path).metadata for path in path_of(whole, name).iterdir())
    assert all(other == metadata for other in others)
    provenance = json.loads(metadata[b"foreshock"])
    assert provenance["dataset"] == name
    assert provenance["schema_version"] == SCHEMA_VERSION
    assert provenance["code_version"] == version("foreshock")
    assert provenance["model_id"] == whole.result.model.model_id
    assert provenance["vocabulary"] == whole.result.features.vocabulary().digest
    config = whole.config.model_dump(mode="json", exclude_none=True, exclude=NOT_TOLD)
    assert tomllib.loads(provenance["config"]) == config
    assert str(whole.config.data).encode() not in metadata[b"foreshock"]


NOT_TOLD = {"source", "data", "execution"}


def loudest(rows: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    return [(row["entity"], str(row["step_start"])[:10], round(row["score"], 4)) for row in rows]


def test_four_readers_find_the_same_steps(whole: WholeRun) -> None:
    path = path_of(whole, "step_errors")
    held_out = "part = 'held_out' AND score IS NOT NULL"
    query = f"SELECT * FROM '{path}/*.parquet' WHERE {held_out} ORDER BY score DESC LIMIT 9"
    by_duckdb = duckdb.sql(query).to_arrow_table().to_pylist()
    by_polars = (
        pl.scan_parquet(path).filter(pl.col("part") == "held_out").top_k(9, by="score").collect()
    )
    table = pd.read_parquet(path)
    by_pandas = table[table["part"] == "held_out"].nlargest(9, "score")
    by_pyarrow = pq.read_table(path, filters=[("part", "=", "held_out")]).sort_by(
        [("score", "descending")]
    )
    expected = loudest(by_polars.to_dicts())
    assert len(expected) == 9
    assert loudest(by_duckdb) == expected
    assert loudest(by_pandas.to_dict("records")) == expected
    assert loudest(by_pyarrow.slice(0, 9).to_pylist()) == expected
    first = by_polars["drivers"][0].to_list()
    assert len(first) == whole.config.scoring.drivers
    assert list(by_pandas["drivers"].iloc[0]) == first
    assert by_duckdb[0]["drivers"] == by_pyarrow["drivers"][0].as_py() == first


def test_four_readers_find_the_same_analogues_and_regimes(whole: WholeRun) -> None:
    for name, columns in (
        ("analogues", ["analogue_entity", "rank", "distance"]),
        ("embeddings", ["entity", "regime"]),
    ):
        path = path_of(whole, name)
        expected = pl.read_parquet(path, columns=columns).select(columns).rows()
        by_pandas = pd.read_parquet(path)[columns]
        assert list(by_pandas.itertuples(index=False, name=None)) == expected
        by_pyarrow = pq.read_table(path, columns=columns).to_pydict()
        assert list(zip(*by_pyarrow.values(), strict=True)) == expected
        query = f"SELECT {', '.join(columns)} FROM '{path}/*.parquet'"
        assert duckdb.sql(query).fetchall() == expected


def test_four_readers_find_the_same_vectors_and_nulls(whole: WholeRun) -> None:
    path = path_of(whole, "embeddings")
    expected = pl.read_parquet(path)["embedding"].to_numpy()
    assert expected.shape[1] == whole.config.autoencoder.latent_size
    by_pandas = np.stack(pd.read_parquet(path)["embedding"].to_list())
    by_pyarrow = pq.read_table(path)["embedding"].combine_chunks().flatten().to_numpy()
    query = f"SELECT embedding FROM '{path}/*.parquet'"
    by_duckdb = np.array(
        [row[0] for row in duckdb.sql(query).fetchall()],
        np.float32,
    )
    for found in (by_pandas, by_pyarrow.reshape(expected.shape), by_duckdb):
        np.testing.assert_array_equal(found, expected)
    errors = path_of(whole, "step_errors")
    nulls = pl.read_parquet(errors)["nowcast_surge"].null_count()
    assert nulls > 0
    assert pd.read_parquet(errors)["nowcast_surge"].isna().sum() == nulls
    assert pq.read_table(errors)["nowcast_surge"].null_count == nulls
    query = f"SELECT count(*) FROM '{errors}/*.parquet' WHERE nowcast_surge IS NULL"
    assert duckdb.sql(query).fetchall() == [(nulls,)]
