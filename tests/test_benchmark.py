"""Laws of the benchmark: planted anomalies are found, and nothing of test leaks into it."""

import logging
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flows import benchmark as flow
from flows.benchmark_data import BenchmarkConfig, LabelledCube, read_labelled_cube
from flows.benchmark_runs import COMBINED, DISTANCE, NEWEST, OURS, Finding, evaluate, score_steps
from flows.benchmark_table import (
    METRICS,
    TITLES,
    cells,
    draw_vus,
    medians,
    over_files,
    report,
    rows_frame,
)
from models import AutoencoderConfig, TrainedModel, TrainingConfig, nowcast, score, train
from models.baseline_scorers import BASELINES
from models.detection_metrics import Alarms, Detection, detect
from tests import naive_step_scores as naive

SCORERS = [*OURS, *BASELINES]
QUICK = TrainingConfig(
    loss="huber", epochs=8, batch_size=32, input_dropout=0.2, hidden_newest=0.5, device="cpu"
)
UNITS = np.array([1.0, 50.0, 0.01])
TRAIN, TEST = 300, 150


def series(seed: int = 0, n_entities: int = 1) -> dict[str, np.ndarray]:
    """Three noisy cycles in units of their own; in test, one of them leaves its cycle at times."""
    generator = np.random.default_rng(seed)
    steps = np.arange(TRAIN + TEST)[None, :, None]
    phase = generator.uniform(0, 6, size=(n_entities, 1, 3))
    values = np.sin(2 * np.pi * steps / 12 + phase)
    values += 0.1 * generator.normal(size=values.shape)
    labels = np.zeros((n_entities, TEST), bool)
    for number, start in enumerate(range(25, TEST - 10, 35)):
        labels[:, start : start + 4] = True
        values[:, TRAIN + start : TRAIN + start + 4, number % 3] += 2.5
    values = values * UNITS + [0, 1000, 3]
    return {"train": values[:, :TRAIN], "test": values[:, TRAIN:], "labels": labels}


def write(file: Path, arrays: dict[str, np.ndarray] | None = None, **changed: np.ndarray) -> Path:
    np.savez(file, **(series() if arrays is None else arrays) | changed)
    return file


def config_of(*files: Path, **given_: Any) -> BenchmarkConfig:
    fields: dict[str, Any] = {"length": 10, "seeds": 1, "max_window": 4, "training": QUICK}
    return BenchmarkConfig(files=files, **fields | given_)


def cube_of(folder: Path, *, length: int = 10, **changed: np.ndarray) -> LabelledCube:
    file = write(folder / "series.npz", **changed)
    return read_labelled_cube(file, config_of(file, length=length))


def by_scorer(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.scorer: finding for finding in findings}


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> LabelledCube:
    return cube_of(tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def trained(cube: LabelledCube) -> TrainedModel:
    return train(
        cube.values, cube.observed, cube.windows(0, 240), cube.windows(240, 300), length=10,
        autoencoder=cube.sized(AutoencoderConfig()), training=QUICK,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(cube: LabelledCube) -> dict[str, Finding]:
    return by_scorer(evaluate(cube, 0, config_of(cube.file)))


def test_planted_anomalies_are_found(found: dict[str, Finding]) -> None:
    assert list(found) == SCORERS
    for finding in found.values():
        assert finding.detection.base_rate == pytest.approx(16 / TEST)
        assert (finding.n_steps, finding.n_unscored) == (TEST, 0)
    for scorer in (COMBINED, NEWEST, DISTANCE, "PCA"):
        detection = found[scorer].detection
        assert detection.average_precision > 6 * detection.base_rate, scorer
        assert detection.vus_pr > 3 * found[scorer].chance_vus_pr, scorer
        assert detection.at_threshold.recall > 0.8, scorer


def test_what_is_compared_are_scores_of_test_with_a_threshold_from_validation(
    cube: LabelledCube, trained: TrainedModel, found: dict[str, Finding]
) -> None:
    before_test, test = score_steps(cube, trained)
    for scorer, finding in found.items():
        assert before_test[scorer].shape == (1, 60)
        threshold = np.quantile(before_test[scorer], 0.99)
        assert finding.threshold == pytest.approx(threshold)
        wanted = detect(cube.labels, test[scorer], threshold=threshold, max_window=4)
        assert finding.detection == wanted
        chance = detect(cube.labels, np.zeros((1, TEST)), threshold=1.0, max_window=4)
        assert finding.chance_vus_pr == pytest.approx(chance.vus_pr)


def test_the_scores_of_the_autoencoder_are_of_what_it_leaves(
    cube: LabelledCube, trained: TrainedModel
) -> None:
    before_test, test = score_steps(cube, trained)
    residuals = np.full(cube.values.shape, np.nan)
    for first, end in ((240, TRAIN), (TRAIN, TRAIN + TEST)):
        given_ = trained.model, cube.values[:, :end].copy(), cube.observed[:, :end].copy()
        windows = cube.windows(first - 9, end)
        expected = score(*given_, windows, length=10, device="cpu").step_reconstruction
        residuals[:, first:end] = (cube.values[:, :end] - expected)[:, first:]
        newest = nowcast(*given_, windows, length=10, device="cpu")[:, first:]
        got = (before_test, test)[first == TRAIN]
        squares = np.square(cube.values[:, first:end] - newest).mean(axis=2)
        np.testing.assert_allclose(got[NEWEST], squares, rtol=1e-4)
        squares = np.square(residuals[:, first:end]).mean(axis=2)
        np.testing.assert_allclose(got[COMBINED], squares, rtol=1e-4)
        distance = naive.mahalanobis(residuals[0, first:end], residuals[0, 240:TRAIN])
        np.testing.assert_allclose(got[DISTANCE][0], distance, rtol=1e-2)


def test_thresholds_do_not_change_with_test_values_or_labels(
    cube: LabelledCube, found: dict[str, Finding]
) -> None:
    values = cube.values.copy()
    values[:, TRAIN:] = np.random.default_rng(1).normal(size=(1, TEST, 3)) * 5
    observed = cube.observed.copy()
    observed[:, TRAIN : TRAIN + 8] = False
    values[~observed] = 0
    other = replace(cube, values=values, observed=observed, labels=~cube.labels)
    changed = by_scorer(evaluate(other, 0, config_of(cube.file)))
    for scorer, finding in found.items():
        assert changed[scorer].threshold == finding.threshold, scorer
        assert changed[scorer].detection != finding.detection, scorer


def test_scores_do_not_look_at_labels(cube: LabelledCube, trained: TrainedModel) -> None:
    with_others = replace(cube, labels=~cube.labels)
    for one, other in zip(
        score_steps(cube, trained), score_steps(with_others, trained), strict=True
    ):
        for scorer in SCORERS:
            np.testing.assert_array_equal(one[scorer], other[scorer])


def test_nowcasts_and_trailing_means_of_test_do_not_look_ahead(
    cube: LabelledCube, trained: TrainedModel
) -> None:
    values = cube.values.copy()
    values[:, TRAIN + 70 :] += 3
    early = np.s_[:, :70]
    one, other = (score_steps(replace(cube, values=v), trained)[1] for v in (cube.values, values))
    for scorer in (NEWEST, "training mean", "persistence", "trailing surge", "isolation forest"):
        np.testing.assert_allclose(one[scorer][early], other[scorer][early], rtol=1e-5)


def test_the_same_seed_finds_the_same_and_another_does_not(
    cube: LabelledCube, found: dict[str, Finding]
) -> None:
    config = config_of(cube.file)
    again, other = (by_scorer(evaluate(cube, seed, config)) for seed in (0, 1))
    for scorer, finding in found.items():
        assert vars(again[scorer]) == vars(finding)
        is_drawn = scorer in OURS or scorer == "isolation forest"
        is_same = other[scorer].threshold == pytest.approx(finding.threshold, rel=1e-5)
        assert is_same != is_drawn, scorer


def test_a_missing_value_leaves_its_step_out_and_is_counted(tmp_path: Path) -> None:
    test = series()["test"]
    test[0, 26:28, 1] = test[0, 80, 0] = np.nan  # two anomalous steps, and one that is not
    cube = cube_of(tmp_path, test=test)
    findings = evaluate(cube, 0, config_of(cube.file))
    for finding in findings:
        assert (finding.n_steps, finding.n_unscored) == (TEST, 3)
        assert finding.detection.base_rate == pytest.approx(14 / (TEST - 3))


def test_steps_on_both_sides_of_a_gap_are_series_of_their_own(tmp_path: Path) -> None:
    arrays = series(n_entities=2)
    arrays["test"][0, 26:28] = np.nan
    file = write(tmp_path / "gap.npz", arrays)
    config = config_of(file)
    cube = read_labelled_cube(file, config)
    finding = evaluate(cube, 0, config)[0]
    labels = [cube.labels[0, :26], cube.labels[0, 28:], cube.labels[1]]
    nothing = [np.zeros(len(one)) for one in labels]
    chance = detect(labels, nothing, threshold=1.0, max_window=4)
    assert finding.chance_vus_pr == pytest.approx(chance.vus_pr)
    assert finding.detection.base_rate == pytest.approx(chance.base_rate)


def test_values_are_standardised_by_the_steps_that_are_trained_on(cube: LabelledCube) -> None:
    assert (cube.validation_start, cube.test_start, cube.length) == (240, TRAIN, 10)
    assert cube.values.shape == (1, TRAIN + TEST, 3)
    np.testing.assert_allclose(cube.values[0, :240].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(cube.values[0, :240].std(axis=0), 1, rtol=1e-4)
    assert not np.allclose(cube.values[0].mean(axis=0), 0, atol=1e-5)


def test_what_comes_after_the_training_part_has_no_say_in_its_standardisation(
    cube: LabelledCube, tmp_path: Path
) -> None:
    arrays = series()
    arrays["train"][:, 240:] *= 2
    arrays["test"] *= 3
    np.testing.assert_array_equal(cube_of(tmp_path, **arrays).values[:, :240], cube.values[:, :240])


def test_units_make_no_difference(cube: LabelledCube, tmp_path: Path) -> None:
    arrays = series()
    changed = {name: arrays[name] * [1000, 1, 1e-3] + [7, 7, 0] for name in ("train", "test")}
    np.testing.assert_allclose(cube_of(tmp_path, **changed).values, cube.values, atol=1e-3)


def test_each_series_is_standardised_by_itself(tmp_path: Path) -> None:
    arrays = series(n_entities=2)
    for part in ("train", "test"):
        arrays[part][1] = arrays[part][1] * 3 + 5 * UNITS
    file = write(tmp_path / "two.npz", arrays)
    cube = read_labelled_cube(file, config_of(file))
    np.testing.assert_allclose(cube.values[:, :240].mean(axis=1), 0, atol=0.15)
    np.testing.assert_allclose(cube.values[:, :240].std(axis=1), 1, atol=0.3)


def test_a_feature_that_never_varies_in_training_does_not_drown_all_others(tmp_path: Path) -> None:
    arrays = series()
    arrays["train"][..., 0] = 0.1
    arrays["test"][..., 0] = np.arange(TEST) % 2 + 0.1
    cube = cube_of(tmp_path, **arrays)
    assert not cube.values[:, :240, 0].any()
    assert 1 < cube.values[..., 0].max() < 10


def test_values_beyond_all_measure_are_cut_off(tmp_path: Path) -> None:
    test = series()["test"]
    test[0, 25, :2] = 1e30, -1e30
    cube = cube_of(tmp_path, test=test)
    assert cube.values[0, TRAIN + 25, :2].tolist() == [100, -100]
    finding = evaluate(cube, 0, config_of(cube.file))[0]
    assert np.isfinite(finding.detection.vus_pr)


def test_windows_stay_within_their_part(cube: LabelledCube) -> None:
    training, validation = cube.windows(0, 240), cube.windows(240, 300)
    assert training.tolist() == [[0, start] for start in range(231)]
    assert validation.tolist() == [[0, start] for start in range(240, 291)]


def test_windows_shrink_where_train_is_short(tmp_path: Path) -> None:
    arrays = series()
    cube = cube_of(tmp_path, length=16, train=arrays["train"][:, -60:])
    assert (cube.validation_start, cube.length) == (48, 12)
    finding = evaluate(cube, 0, config_of(cube.file, length=16))[0]
    assert (finding.length, finding.latent_size) == (12, 9)


@pytest.mark.parametrize(("asked", "got"), [(64, 7), (3, 3)])
def test_an_embedding_has_a_quarter_of_the_numbers_of_a_window_at_most(
    cube: LabelledCube, asked: int, got: int
) -> None:
    sized = cube.sized(AutoencoderConfig(latent_size=asked, embedding_size=5))
    assert (sized.latent_size, sized.embedding_size) == (got, 5)


def no_npz(file: Path) -> None:
    file.write_text("nothing")


def no_labels(file: Path) -> None:
    write(file, labels=np.zeros(TEST), train=np.ones((TRAIN, 1)), test=np.ones((TEST, 1)))


def only_missing_anomalies(file: Path) -> None:
    arrays = series()
    arrays["test"][arrays["labels"]] = np.nan
    write(file, arrays)


def too_short(file: Path) -> None:
    write(file, train=series()["train"][:, :7])


def nothing_to_train_on(file: Path) -> None:
    train = series()["train"]
    train[:, :240] = np.nan
    write(file, train=train)


def little_to_validate_on(file: Path) -> None:
    train = series()["train"]
    train[:, 241:] = np.nan
    write(file, train=train)


BAD_FILES = {
    no_npz: "is no .npz file",
    no_labels: "labels mark 0 steps of test",
    only_missing_anomalies: "labels mark 16 steps of test as anomalous, and none that is observed",
    too_short: "train has 7 steps, of which the last 1 are for validation",
    nothing_to_train_on: "none of the first 240 steps of train is observed",
    little_to_validate_on: "1 steps of the validation part of train",
}


@pytest.mark.parametrize("make", BAD_FILES, ids=lambda make: make.__name__)
def test_errors_of_bad_files_name_the_file(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "bad.npz"
    make(file)
    with pytest.raises(ValueError, match=BAD_FILES[make]) as caught:
        read_labelled_cube(file, config_of(file))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"files": ()}, "expected at least one .npz file"),
        ({"files": (Path("a.npz"), Path("b/../a.npz"))}, "none twice"),
        ({"length": 1}, "length=1: expected at least 2"),
        ({"seeds": 0}, "seeds=0: expected at least 1"),
        ({"max_window": -1}, "max_window=-1: expected at least 0"),
        ({"validation_share": 1.0}, "validation_share=1.0: expected above 0 and below 1"),
        ({"threshold_quantile": 0.0}, "threshold_quantile=0.0: expected above 0"),
        ({"training": TrainingConfig(loss="multinomial")}, "no events are counted"),
        ({"training": TrainingConfig(exposure_power=0.5)}, "no events are counted"),
    ],
)
def test_configurations_out_of_range_are_refused(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BenchmarkConfig(**{"files": (Path("a.npz"),)} | given_)


def finding(
    file: str, scorer: str, seed: int, vus: float, precision: float = 0.5, chance: float = 0.2
) -> Finding:
    at_threshold = Alarms(precision=precision, recall=vus, f1=vus, alarm_rate=vus)
    detection = Detection(
        average_precision=vus, vus_pr=vus, base_rate=0.1, at_threshold=at_threshold
    )
    return Finding(
        file=Path(file), scorer=scorer, seed=seed, length=9, latent_size=3, threshold=1.0,
        detection=detection, chance_vus_pr=chance, n_steps=100, n_unscored=4,
    )  # fmt: skip


def hand_made() -> pl.DataFrame:
    return rows_frame(
        [
            *(finding("b.npz", COMBINED, seed, vus) for seed, vus in enumerate((0.2, 0.9, 0.5))),
            *(finding("b.npz", "PCA", seed, 0.6) for seed in range(3)),
            *(finding("a.npz", COMBINED, seed, vus) for seed, vus in enumerate((0.7, 0.8, 0.9))),
            *(finding("a.npz", "PCA", seed, 0.4, float("nan")) for seed in range(3)),
        ]
    )


def test_a_row_is_a_run() -> None:
    rows = hand_made()
    assert rows.height == 12
    assert rows.row(1, named=True) == {
        "file": "b.npz", "scorer": COMBINED, "seed": 1, "average_precision": 0.9, "vus_pr": 0.9,
        "precision": 0.5, "recall": 0.9, "f1": 0.9, "alarm_rate": 0.9, "threshold": 1.0,
        "base_rate": 0.1, "chance_vus_pr": 0.2, "steps": 100, "unscored_steps": 4, "length": 9,
        "latent_size": 3,
    }  # fmt: skip
    assert rows["precision"].null_count() == 3, "where there is no alarm"
    assert not rows["precision"].is_nan().any()


def test_medians_are_over_seeds_and_the_best_scorer_of_a_file_comes_first() -> None:
    table = medians(hand_made())
    names = ["file", "scorer", "vus_pr", "vus_pr_least", "vus_pr_most", "precision"]
    assert table.select(names).rows() == [
        ("b.npz", "PCA", 0.6, 0.6, 0.6, 0.5),
        ("b.npz", COMBINED, 0.5, 0.2, 0.9, 0.5),
        ("a.npz", COMBINED, 0.8, 0.7, 0.9, 0.5),
        ("a.npz", "PCA", 0.4, 0.4, 0.4, None),
    ]


def test_over_files_the_medians_are_averaged() -> None:
    table = over_files(hand_made()).select("scorer", "vus_pr", "vus_pr_least", "vus_pr_most")
    assert table["scorer"].to_list() == [COMBINED, "PCA"]
    np.testing.assert_allclose(table.drop("scorer"), [[0.65, 0.5, 0.8], [0.5, 0.4, 0.6]])


@given(seed=st.integers(0, 99))
def test_the_order_of_findings_within_a_file_is_irrelevant(seed: int) -> None:
    rows = hand_made()
    mixed = rows.sample(fraction=1, shuffle=True, seed=seed)
    assert over_files(mixed).equals(over_files(rows))


def test_cells_show_a_range_where_there_is_one() -> None:
    shown = [cells(row) for row in medians(hand_made()).iter_rows(named=True)]
    assert {len(row) for row in shown} == {len(TITLES)}
    assert shown[0][:2] == ("PCA", "0.600")
    assert shown[1][:2] == (COMBINED, "0.500 (0.200–0.900)")
    assert shown[3][TITLES.index("precision")] == "–"


def test_the_report_has_every_file_scorer_and_what_to_hold_it_against() -> None:
    config = config_of(Path("b.npz"), Path("a.npz"), seeds=3)
    text = report(hand_made(), config)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 3 * (2 + 2), "all files, and each"
    for words in (
        "All 2 files",
        "## b.npz",
        "10.0%",
        "0.200",
        "100 test steps; 4 of them",
        "99%",
        "3 seeds",
    ):
        assert words in text
    alone = report(hand_made().filter(file="a.npz"), config)
    assert "All " not in alone


def test_the_figure_has_a_bar_a_scorer_and_a_point_a_run() -> None:
    (axes,) = draw_vus(hand_made()).axes
    widths = {
        label.get_text(): bar.get_width()
        for label, bar in zip(axes.get_yticklabels(), axes.patches, strict=True)
    }
    assert widths == {"PCA": pytest.approx(0.5), COMBINED: pytest.approx(0.65)}
    points, chance = axes.lines
    assert len(points.get_xdata()) == 12
    heights = dict(zip(np.asarray(points.get_xdata()), np.asarray(points.get_ydata()), strict=True))
    assert (heights[0.4], heights[0.7]) == (0, 1)
    assert list(chance.get_xdata()) == [pytest.approx(0.2)] * 2


@pytest.fixture(scope="module")
def whole(prefect: None, tmp_path_factory: pytest.TempPathFactory) -> flow.BenchmarkResult:
    folder = tmp_path_factory.mktemp("benchmark")
    arrays = series(1, n_entities=2)
    files = write(folder / "one.npz"), write(folder / "two.npz", arrays)
    training = replace(QUICK, epochs=2)
    return flow.benchmark(config_of(*files, data=folder / "data", seeds=2, training=training))


def test_the_flow_writes_tables_and_a_figure(whole: flow.BenchmarkResult) -> None:
    assert {path.name for path in whole.folder.iterdir()} == {flow.RUNS, flow.TABLE, flow.FIGURE}
    assert whole.folder.parent.name == "benchmarks"
    assert (whole.folder.parent / "latest").resolve() == whole.folder.resolve()
    rows = pl.read_parquet(whole.folder / flow.RUNS)
    assert rows.equals(whole.rows)
    assert rows.height == 2 * len(SCORERS) * 2
    assert rows.select("file", "scorer", "seed").is_unique().all()
    metrics = rows.select(*METRICS).fill_null(0)
    assert metrics.min_horizontal().min() >= 0
    assert metrics.max_horizontal().max() <= 1
    text = (whole.folder / flow.TABLE).read_text(encoding="utf-8")
    assert all(scorer in text for scorer in SCORERS)


def test_what_is_printed_are_means_over_files_or_the_one_file(whole: flow.BenchmarkResult) -> None:
    file = StringIO()
    flow.print_benchmark(whole, Console(file=file, width=250))
    text = file.getvalue()
    for words in ("Means over 2 files", *SCORERS, *TITLES, str(whole.folder), flow.FIGURE):
        assert words in text
    name = whole.rows["file"][0]
    alone = replace(whole, rows=whole.rows.filter(file=name))
    file = StringIO()
    flow.print_benchmark(alone, Console(file=file, width=250))
    assert file.getvalue().startswith(name)
    assert "150 test steps" in file.getvalue()


def test_a_bad_file_stops_the_flow_before_anything_is_trained(
    prefect: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    monkeypatch.setattr(flow, "evaluate", lambda *_: trained.append("one") or [])
    good, bad = write(tmp_path / "good.npz"), tmp_path / "bad.npz"
    too_short(bad)
    with pytest.raises(ValueError, match=r"bad\.npz: train has 7 steps"):
        flow.benchmark(config_of(good, bad, data=tmp_path / "data"))
    assert not trained
    assert not (tmp_path / "data").exists()


def test_windows_that_are_shortened_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "get_run_logger", lambda: logging.getLogger("benchmark"))
    short = write(tmp_path / "short.npz", train=series()["train"][:, -60:])
    with caplog.at_level("WARNING"):
        flow.check_files.fn(config_of(short, length=16))
    assert "short.npz: windows have 12 steps in place of 16" in caplog.text
