"""Laws of naming regimes: a regime keeps its number whatever the model's coordinates are."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.cube import Cube
from features.preparation import Prepared
from flows.regime_naming import REGIMES, fit_regimes
from flows.scoring_config import ScoringConfig
from models import Regimes
from tests.naive_judging import config_of, cube_of, invented_counts, learning

CONFIG = ScoringConfig(regimes=(3, 3))
CORNERS = np.array([[0, 0, 9], [0, 9, 0], [9, 0, 0]])


def case(n_steps: int = 80) -> tuple[Cube, Prepared]:
    data = learning(cube_of(invented_counts(n_steps=n_steps)), config_of())
    return data.cube, data.prepared


def kinds_of(prepared: Prepared) -> np.ndarray:
    """Return which of three kinds each window is, most of them the first."""
    generator = np.random.default_rng(3)
    return generator.choice(3, len(prepared.windows), p=[0.6, 0.25, 0.15])


def embedded(kinds: np.ndarray, seed: int) -> np.ndarray:
    """Return embeddings by a model of its own coordinates: turned, stretched and permuted."""
    generator = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    points = generator.permutation(CORNERS)[kinds] + generator.normal(
        scale=0.3, size=(len(kinds), 3)
    )
    return (points @ turned * generator.uniform(0.1, 10)).astype(np.float32)


def publish(
    folder: Path, cube: Cube, prepared: Prepared, embeddings: np.ndarray, regimes: Regimes
) -> Path:
    """Write what a publication leaves for the next to read."""
    (folder / "embeddings").mkdir(parents=True)
    entity, start = prepared.windows.index.T
    pl.DataFrame(
        {
            "entity": [cube.entities[e] for e in entity],
            "window_start": [cube.steps[s].item() for s in start],
            "regime": regimes.assign(embeddings),
        }
    ).write_parquet(folder / "embeddings" / "2018.parquet")
    (folder / REGIMES).write_text(json.dumps(regimes.to_dict()))
    return folder


def test_the_most_common_regime_of_a_first_publication_is_0() -> None:
    cube, prepared = case()
    kinds = kinds_of(prepared)
    embeddings = embedded(kinds, 1)
    regimes = fit_regimes(embeddings, cube, prepared, CONFIG, None)
    np.testing.assert_array_equal(regimes.assign(embeddings), kinds)
    assert regimes.n_windows.sum() == (prepared.parts == 0).sum()


@pytest.mark.parametrize("seed", range(2, 6))
def test_regimes_keep_their_numbers_in_a_publication_by_another_model(
    seed: int, tmp_path: Path
) -> None:
    cube, prepared = case()
    # Old numbers that no order of size would give.
    kinds = kinds_of(prepared)
    old_embeddings = embedded(kinds, 1)
    old = fit_regimes(old_embeddings, cube, prepared, CONFIG, None)
    renamed = Regimes(**vars(old) | {"numbers": np.array([7, 4, 2], np.int32), "next_number": 9})
    folder = publish(tmp_path / "v1", cube, prepared, old_embeddings, renamed)
    embeddings = embedded(kinds, seed)
    regimes = fit_regimes(embeddings, cube, prepared, CONFIG, folder)
    np.testing.assert_array_equal(regimes.assign(embeddings), np.array([7, 4, 2])[kinds])
    assert regimes.next_number == 9


def test_windows_and_entities_that_are_new_have_no_say(tmp_path: Path) -> None:
    cube, prepared = case()
    kinds = kinds_of(prepared)
    embeddings = embedded(kinds, 1)
    old = fit_regimes(embeddings, cube, prepared, CONFIG, None)
    renamed = Regimes(**vars(old) | {"numbers": np.array([2, 1, 0], np.int32)})
    folder = publish(tmp_path / "v1", cube, prepared, embeddings, renamed)
    table = pl.read_parquet(folder / "embeddings" / "2018.parquet")
    kept = table.filter(pl.col("entity") != "B", pl.col("window_start") > date(2018, 3, 1))
    path = folder / "embeddings" / "2018.parquet"
    kept.sample(fraction=1, shuffle=True, seed=1).write_parquet(path)
    regimes = fit_regimes(embeddings, cube, prepared, CONFIG, folder)
    np.testing.assert_array_equal(regimes.assign(embeddings), 2 - kinds)


def test_a_regime_that_no_old_one_is_like_gets_a_number_of_its_own(tmp_path: Path) -> None:
    cube, prepared = case()
    kinds = kinds_of(prepared)
    two = np.minimum(kinds, 1)
    before = embedded(two, 1)
    old = fit_regimes(before, cube, prepared, ScoringConfig(regimes=(2, 2)), None)
    folder = publish(tmp_path / "v1", cube, prepared, before, old)
    now = embedded(kinds, 2)
    numbers = fit_regimes(now, cube, prepared, CONFIG, folder).assign(now)
    assert set(numbers[kinds == 0]) == {0}
    assert {frozenset(numbers[kinds == kind].tolist()) for kind in (1, 2)} == {
        frozenset({1}),
        frozenset({2}),
    }


def test_a_publication_of_before_there_were_regimes_gives_no_numbers(tmp_path: Path) -> None:
    cube, prepared = case()
    embeddings = embedded(kinds_of(prepared), 1)
    wanted = fit_regimes(embeddings, cube, prepared, CONFIG, None)
    got = fit_regimes(embeddings, cube, prepared, CONFIG, tmp_path)
    np.testing.assert_array_equal(got.assign(embeddings), wanted.assign(embeddings))


def test_there_are_no_more_regimes_than_different_windows_can_make() -> None:
    cube, prepared = case()
    embeddings = np.zeros((len(prepared.windows), 2), np.float32)
    embeddings[::2] = 1
    embeddings[::6] = 2
    regimes = fit_regimes(embeddings, cube, prepared, ScoringConfig(regimes=(2, 10)), None)
    assert len(regimes.numbers) == 2
    with pytest.raises(ValueError, match="there are 1 different windows for 1 regimes"):
        fit_regimes(np.zeros_like(embeddings), cube, prepared, CONFIG, None)


def test_only_training_windows_are_clustered() -> None:
    cube, prepared = case()
    kinds = kinds_of(prepared)
    embeddings = embedded(kinds, 1)
    moved = embeddings.copy()
    moved[prepared.parts != 0] += 1000
    regimes, other = (fit_regimes(one, cube, prepared, CONFIG, None) for one in (embeddings, moved))
    np.testing.assert_array_equal(regimes.centres, other.centres)
