"""Laws of the published tables: keys, empty steps, and errors that a naive formula agrees with."""

import json
import tomllib
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

from features.cube import Cube
from features.preparation import Prepared, prepare
from features.split import SplitConfig
from features.transforms import TransformConfig
from features.vocabulary import Feature, Vocabulary, VocabularyConfig
from features.windows import WindowConfig
from flows.datasets import DATASETS, SCHEMA_VERSION
from flows.learning import LearningData
from flows.products import (
    TOP_FEATURES,
    Errors,
    embeddings_table,
    judge_errors,
    proportions_table,
    step_errors_table,
    window_errors_table,
)
from flows.publish import write_parquet
from models import Scores
from models.residuals import PSEUDO_EVENTS
from tests.icews_files import WholeRun

N_STEPS = 12
EMPTY = (0, 3)
FEW = (1, 4)
UNCOVERED = (1, 11)
VOCABULARY = Vocabulary(
    features=(
        Feature(name="quad_a", block="quad", category="a", label="A"),
        Feature(name="quad_b", block="quad", category="b", label="B"),
        Feature(name="log_volume", block="log_volume", category="log_volume", label="Volume"),
    ),
    config=VocabularyConfig(blocks=("quad", "log_volume")),
)


def small_cube() -> Cube:
    generator = np.random.default_rng(0)
    exposure = generator.integers(10, 90, (2, N_STEPS))
    exposure[EMPTY], exposure[FEW] = 0, 2
    share = generator.random((2, N_STEPS))
    values = np.stack([share, 1 - share, np.log1p(exposure)], axis=-1).astype(np.float32)
    values[EMPTY] = np.nan
    start = np.datetime64("2018-01-01")
    return Cube(
        values=values,
        exposure=exposure,
        entities=("A", "B"),
        steps=start + 7 * np.arange(N_STEPS).astype("timedelta64[D]"),
        features=VOCABULARY.names,
        step="week",
    )


def scored(*, difference: bool = False) -> tuple[Cube, Prepared, Scores]:
    """Return a cube, and scores of a model that is off by known amounts."""
    cube = small_cube()
    prepared = prepare(
        cube,
        windows=WindowConfig(length=2, min_step_events=5, min_window_events=1),
        split=SplitConfig(validation=0.25, held_out=0.25, gap=0),
        transform=TransformConfig(difference=difference),
    )
    kept = prepared.windows.index.tolist().index([1, N_STEPS - 2])
    prepared = Prepared(
        **vars(prepared)
        | {
            "windows": prepared.windows.where(np.arange(len(prepared.windows)) != kept),
            "parts": np.delete(prepared.parts, kept),
        }
    )
    coverage = np.zeros(cube.exposure.shape, np.int32)
    for entity, first in prepared.windows.index:
        coverage[entity, first : first + 2] += 1
    off = np.random.default_rng(1).normal(size=cube.values.shape).astype(np.float32)
    off[coverage == 0] = np.nan
    n = len(prepared.windows)
    squared = np.where(prepared.observed[..., None], off**2, np.nan).astype(np.float32)
    return (
        cube,
        prepared,
        Scores(
            embeddings=np.arange(3 * n, dtype=np.float32).reshape(n, 3),
            window_error=np.arange(n, dtype=np.float32),
            step_feature_error=squared,
            step_reconstruction=prepared.values + off,
            coverage=coverage,
        ),
    )


def learning(cube: Cube, prepared: Prepared, target: Any = None) -> LearningData:
    return LearningData(cube=cube, prepared=prepared, target=target, share_groups=None)


def judged(*, difference: bool = False) -> tuple[Cube, Prepared, Scores, Errors]:
    cube, prepared, scores = scored(difference=difference)
    return cube, prepared, scores, judge_errors(learning(cube, prepared), scores, VOCABULARY)


def frame(table: pa.Table) -> pl.DataFrame:
    converted = pl.from_arrow(table)
    assert isinstance(converted, pl.DataFrame)
    return converted


@pytest.mark.parametrize("difference", [False, True])
@pytest.mark.parametrize("cell", [(0, 0), (0, 4), (1, 6), (1, 10)])
def test_an_error_is_the_naive_formula_s(cell: tuple[int, int], difference: bool) -> None:
    cube, prepared, scores, errors = judged(difference=difference)
    n = int(cube.exposure[cell])
    residuals = []
    for i, feature in enumerate(VOCABULARY.features):
        scale = float(prepared.standardiser.scale[cell[0], i])
        off = float(scores.step_reconstruction[cell][i] - prepared.values[cell][i])
        observed = float(cube.values[cell][i])
        expected = observed + off * scale
        if feature.block == "log_volume":
            variance = 1.0
        else:
            expected = min(max(expected, 0.0), 1.0)
            variance = expected * (1 - expected)
        residuals.append(n * (observed - expected) ** 2 / (variance + PSEUDO_EVENTS / n))
        assert errors.expected[cell][i] == pytest.approx(expected, abs=1e-5)
    assert errors.feature[cell] == pytest.approx(residuals, rel=1e-3)
    assert errors.step[cell] == pytest.approx(sum(residuals) / len(residuals), rel=1e-3)


def test_a_model_of_shares_rebuilds_the_units_of_the_cube() -> None:
    cube, prepared, scores, errors = judged()
    target = np.where(prepared.observed[..., None], cube.values, np.float32(0))
    shares = Scores(**vars(scores) | {"step_reconstruction": errors.expected})
    again = judge_errors(learning(cube, prepared, target), shares, VOCABULARY)
    np.testing.assert_array_equal(again.expected, errors.expected)
    np.testing.assert_array_equal(again.step, errors.step)


def test_a_perfect_reconstruction_has_no_error() -> None:
    cube, prepared, scores = scored()
    perfect = Scores(**vars(scores) | {"step_reconstruction": prepared.values})
    errors = judge_errors(learning(cube, prepared), perfect, VOCABULARY)
    known = ~np.isnan(errors.step)
    assert known.any()
    assert errors.step[known] == pytest.approx(0)
    top = frame(step_errors_table(cube, prepared, perfect, errors, VOCABULARY))["top_features"]
    shares = top.drop_nulls().explode().struct.field("share")
    assert shares.is_finite().all()


def test_every_entity_and_step_has_one_row_empty_ones_too() -> None:
    cube, prepared, scores, errors = judged()
    for table in (
        proportions_table(cube),
        step_errors_table(cube, prepared, scores, errors, VOCABULARY),
    ):
        rows = frame(table)
        assert rows.height == 2 * N_STEPS
        assert not rows.select("entity", "step_start").is_duplicated().any()
        assert rows["n_events"].to_list() == cube.exposure.reshape(-1).tolist()


def test_steps_that_cannot_be_judged_have_null_and_never_nan() -> None:
    cube, prepared, scores, errors = judged()
    rows = frame(step_errors_table(cube, prepared, scores, errors, VOCABULARY))
    for cell in (EMPTY, FEW, UNCOVERED):
        row = rows.row(cell[0] * N_STEPS + cell[1], named=True)
        assert row["error"] is row["squared_error"] is row["top_features"] is None, cell
    assert rows["error"].null_count() == rows["top_features"].null_count() == 3
    assert not rows["error"].is_nan().any()
    assert rows.row(EMPTY[1], named=True)["n_events"] == 0
    assert rows.row(N_STEPS + UNCOVERED[1], named=True)["n_windows"] == 0
    proportions = frame(proportions_table(cube))
    assert proportions.row(EMPTY[1])[4:] == (None, None, None)
    assert sum(proportions.null_count().row(0)) == 3


def test_a_window_s_error_is_the_mean_of_its_observed_steps() -> None:
    cube, prepared, scores, errors = judged()
    rows = frame(window_errors_table(cube, prepared, scores, errors))
    assert rows.height == len(prepared.windows)
    for row, (entity, first) in zip(
        rows.iter_rows(named=True), prepared.windows.index.tolist(), strict=True
    ):
        steps = [
            errors.step[entity, step]
            for step in (first, first + 1)
            if prepared.observed[entity, step]
        ]
        assert row["error"] == pytest.approx(sum(steps) / len(steps), rel=1e-6)
        assert row["entity"] == cube.entities[entity]
        assert row["window_start"] == cube.steps[first].item()
        assert (row["window_end"] - row["window_start"]).days == 13
        assert row["n_events"] == cube.exposure[entity, first : first + 2].sum()
    assert rows["squared_error"].to_list() == scores.window_error.tolist()


def test_top_features_are_sorted_shares_of_the_error() -> None:
    cube, prepared, scores, errors = judged()
    rows = frame(step_errors_table(cube, prepared, scores, errors, VOCABULARY))
    top = rows["top_features"]
    for position, entries in enumerate(top.to_list()):
        if entries is None:
            continue
        cell = divmod(position, N_STEPS)
        shares = [entry["share"] for entry in entries]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-5)  # of three features all are shown
        for entry in entries:
            i = VOCABULARY.names.index(entry["feature"])
            assert entry["label"] == VOCABULARY.features[i].label
            assert entry["observed"] == cube.values[cell][i]
            assert entry["expected"] == errors.expected[cell][i]
            share = errors.feature[cell][i] / errors.feature[cell].sum()
            assert entry["share"] == pytest.approx(share, rel=1e-5)


def test_top_features_are_the_same_however_many_steps_are_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cube, prepared, scores, errors = judged()
    once = step_errors_table(cube, prepared, scores, errors, VOCABULARY)
    monkeypatch.setattr("flows.products._ROWS_AT_ONCE", 5)
    assert step_errors_table(cube, prepared, scores, errors, VOCABULARY).equals(once)


def test_parts_of_steps_are_those_of_the_split() -> None:
    cube, prepared, scores, errors = judged()
    parts = frame(step_errors_table(cube, prepared, scores, errors, VOCABULARY))["part"]
    one = ["training"] * 6 + ["validation"] * 3 + ["held_out"] * 3
    assert parts.to_list() == 2 * one


def test_embeddings_are_fixed_size_lists_of_float32_in_the_windows_order() -> None:
    cube, prepared, scores, _ = judged()
    table = embeddings_table(cube, prepared, scores)
    kind = table.schema.field("embedding").type
    assert kind.value_type == pa.float32()
    assert kind.list_size == 3
    assert table["embedding"].to_pylist() == scores.embeddings.tolist()


def test_a_table_in_parts_is_written_as_one(tmp_path: Path) -> None:
    table = proportions_table(small_cube())
    rows = write_parquet((table.slice(i, 7) for i in range(0, 24, 7)), tmp_path / "a.parquet", {})
    assert rows == 24
    assert pq.read_table(tmp_path / "a.parquet").equals(table)


# What follows is asked of the tables that a whole run published.


def path_of(run: WholeRun, name: str) -> Path:
    return run.result.publication.latest / f"{name}.parquet"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("proportions", "step_start"),
        ("step_errors", "step_start"),
        ("embeddings", "window_start"),
        ("window_errors", "window_start"),
    ],
)
def test_published_keys_are_unique_and_sorted(whole: WholeRun, name: str, key: str) -> None:
    keys = pl.read_parquet(path_of(whole, name)).select("entity", key)
    assert keys.height > 1000
    assert not keys.is_duplicated().any()
    assert keys.equals(keys.sort("entity", key))


def test_embeddings_and_errors_are_of_the_same_windows(whole: WholeRun) -> None:
    windows = ["entity", "window_start", "window_end", "n_events", "part"]
    embeddings = pl.read_parquet(path_of(whole, "embeddings"))
    assert embeddings.select(windows).equals(
        pl.read_parquet(path_of(whole, "window_errors")).select(windows)
    )
    size = whole.config.autoencoder.latent_size
    assert embeddings.schema["embedding"] == pl.Array(pl.Float32, size)
    assert np.isfinite(embeddings["embedding"].to_numpy()).all()


def test_what_was_observed_is_what_proportions_say(whole: WholeRun) -> None:
    top = (
        pl.read_parquet(path_of(whole, "step_errors"))
        .drop_nulls("error")
        .explode("top_features")
        .unnest("top_features")
    )
    proportions = pl.read_parquet(path_of(whole, "proportions")).unpivot(
        index=["entity", "step_start", "step_end", "n_events"], variable_name="feature"
    )
    both = top.join(proportions, on=["entity", "step_start", "feature"], validate="m:1")
    assert both.height == top.height > 0
    assert both["observed"].equals(both["value"].alias("observed"))
    per_step = top.group_by("entity", "step_start", maintain_order=True).agg("share")["share"]
    assert per_step.list.len().unique().to_list() == [TOP_FEATURES]
    assert (per_step.list.sort(descending=True) == per_step).all()
    assert 0 < top["share"].min() <= top["share"].max() <= 1  # type: ignore[operator]


def test_published_errors_of_windows_are_means_of_published_errors_of_steps(
    whole: WholeRun,
) -> None:
    steps = pl.read_parquet(path_of(whole, "step_errors"))
    windows = pl.read_parquet(path_of(whole, "window_errors"))
    inside = (
        windows.join(steps.select("entity", "step_start", step_error="error"), on="entity")
        .filter(pl.col("step_start").is_between("window_start", "window_end"))
        .group_by("entity", "window_start", maintain_order=True)
        .agg(pl.col("error").first(), pl.col("step_error").mean(), pl.len())
    )
    assert inside.height == windows.height
    assert inside["len"].unique().to_list() == [whole.config.windows.length]
    np.testing.assert_allclose(inside["error"], inside["step_error"], rtol=1e-4)
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
    metadata = pq.read_schema(path_of(whole, name)).metadata
    provenance = json.loads(metadata[b"foreshock"])
    assert provenance["dataset"] == name
    assert provenance["schema_version"] == SCHEMA_VERSION
    assert provenance["code_version"] == version("foreshock")
    assert provenance["model_id"] == whole.result.model.model_id
    assert provenance["vocabulary"] == whole.result.features.vocabulary().digest
    config = whole.config.model_dump(mode="json", exclude_none=True, exclude={"source", "data"})
    assert tomllib.loads(provenance["config"]) == config
    assert str(whole.config.data).encode() not in metadata[b"foreshock"]


def loudest(rows: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    return [(row["entity"], str(row["step_start"])[:10], round(row["error"], 4)) for row in rows]


def test_four_readers_find_the_same_steps(whole: WholeRun) -> None:
    path = path_of(whole, "step_errors")
    held_out = "part = 'held_out' AND error IS NOT NULL"
    query = f"SELECT * FROM '{path}' WHERE {held_out} ORDER BY error DESC LIMIT 9"
    by_duckdb = duckdb.sql(query).to_arrow_table().to_pylist()
    by_polars = (
        pl.scan_parquet(path).filter(pl.col("part") == "held_out").top_k(9, by="error").collect()
    )
    table = pd.read_parquet(path)
    by_pandas = table[table["part"] == "held_out"].nlargest(9, "error")
    by_pyarrow = pq.read_table(path, filters=[("part", "=", "held_out")]).sort_by(
        [("error", "descending")]
    )
    expected = loudest(by_polars.to_dicts())
    assert len(expected) == 9
    assert loudest(by_duckdb) == expected
    assert loudest(by_pandas.to_dict("records")) == expected
    assert loudest(by_pyarrow.slice(0, 9).to_pylist()) == expected
    first = by_polars["top_features"][0].to_list()
    assert list(by_pandas["top_features"].iloc[0]) == first
    assert by_duckdb[0]["top_features"] == by_pyarrow["top_features"][0].as_py() == first


def test_four_readers_find_the_same_vectors_and_nulls(whole: WholeRun) -> None:
    path = path_of(whole, "embeddings")
    expected = pl.read_parquet(path)["embedding"].to_numpy()
    assert expected.shape[1] == whole.config.autoencoder.latent_size
    by_pandas = np.stack(pd.read_parquet(path)["embedding"].to_list())
    by_pyarrow = pq.read_table(path)["embedding"].combine_chunks().flatten().to_numpy()
    by_duckdb = np.array(
        [row[0] for row in duckdb.sql(f"SELECT embedding FROM '{path}'").fetchall()], np.float32
    )
    for found in (by_pandas, by_pyarrow.reshape(expected.shape), by_duckdb):
        np.testing.assert_array_equal(found, expected)
    errors = path_of(whole, "step_errors")
    nulls = pl.read_parquet(errors)["error"].null_count()
    assert nulls > 0
    assert pd.read_parquet(errors)["error"].isna().sum() == nulls
    assert pq.read_table(errors)["error"].null_count == nulls
    query = f"SELECT count(*) FROM '{errors}' WHERE error IS NULL"
    assert duckdb.sql(query).fetchall() == [(nulls,)]
