"""Laws of the figures: whole PNGs, not blank, with every axis named."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from flows import plots
from flows.experiment_grid import ExperimentsConfig, goal_grid, published_grid, sweep_grid
from flows.experiment_runs import Outcome, run
from flows.plot_parts import by_step, median_run


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    config = ExperimentsConfig(
        seeds=2, steps=3, ramp_steps=3, sweep_steps=2, sweep_hidden=(3, 4),
        published_steps=4, published_ramp_steps=4,
    )  # fmt: skip
    settings = [*published_grid(config), *goal_grid(config), *sweep_grid(config)]
    return [run(setting) for setting in settings]


def test_every_figure_is_a_picture(outcomes: list[Outcome], tmp_path: Path) -> None:
    plots.draw_all(outcomes, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(plots.FIGURES)
    for name in plots.FIGURES:
        pixels = imread(tmp_path / name)[..., :3]
        height, width, _ = pixels.shape
        assert height >= 700, name
        assert width >= 1500, name
        assert pixels.std() > 0.05, name


@pytest.mark.parametrize("name", plots.FIGURES)
def test_every_figure_says_what_it_shows(name: str, outcomes: list[Outcome]) -> None:
    figure = plots.FIGURES[name](outcomes)
    assert len(figure.get_suptitle()) > 20
    drawn = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    assert drawn
    for axes in drawn:
        shares_x, shares_y = (
            bool(group.get_siblings(axes)[1:])
            for group in (axes.get_shared_x_axes(), axes.get_shared_y_axes())
        )
        assert axes.get_xlabel() or shares_x, name
        assert axes.get_ylabel() or shares_y, name


def test_lines_are_told_apart_by_colour_and_by_dashes() -> None:
    styles = [plots.REAL_LINE, plots.FAILED, plots.PUBLISHED, plots.LIBRARY]
    assert len({style["color"] for style in styles}) == len(styles)
    assert len({(style.get("ls"), style.get("marker")) for style in styles}) == len(styles)


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    values = np.arange(60_000.0)
    steps, shown = by_step(values)
    assert len(steps) <= 400
    assert (steps[0], steps[-1]) == (1, 60_000)
    np.testing.assert_array_equal(shown, values[steps - 1])
    np.testing.assert_array_equal(by_step(values[:5])[1], values[:5])


def test_the_run_in_the_middle_is_shown(outcomes: list[Outcome]) -> None:
    setting = outcomes[0].setting
    real = plots.REAL["sequence"]
    runs = [
        Outcome(setting=setting, levels=np.stack([real + 1] * wrong + [real]), seconds=0.0)
        for wrong in (7, 2, 4)
    ]
    assert median_run(runs).steps_to_goal == 5
    assert median_run([runs[0]]) is runs[0]
