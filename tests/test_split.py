"""Laws of splitting by time."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.split import PARTS, Split, SplitConfig, parts_of_steps, split_steps
from features.windows import WindowConfig, find_windows
from tests import naive

FIRST = date(2018, 1, 1)


def weeks(n: int) -> np.ndarray:
    """Return the Mondays of n weeks."""
    return np.datetime64(FIRST, "D") + 7 * np.arange(n)


def split_or_reject(n: int, config: SplitConfig) -> Split:
    """Split n weeks; a split that isn't possible isn't an example."""
    try:
        return split_steps(weeks(n), config)
    except ValueError:
        assume(condition=False)
        raise


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(8, 60),
    validation=st.floats(0.05, 0.5),
    held_out=st.floats(0.05, 0.45),
    gap=st.integers(0, 4),
    length=st.integers(1, 6),
    stride=st.integers(1, 3),
)
def test_windows_of_two_parts_share_no_step_and_are_the_gap_apart(
    *, n: int, validation: float, held_out: float, gap: int, length: int, stride: int
) -> None:
    split = split_or_reject(
        n, SplitConfig(validation=validation, held_out=held_out, gap=gap, min_steps=0)
    )
    found = find_windows(np.full((2, n), 999), WindowConfig(length=length, stride=stride))
    parts = split.parts(found)
    starts = found.index[:, 1]
    steps = [
        {int(start) + k for start in starts[parts == part] for k in range(length)}
        for part in range(3)
    ]
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        if steps[earlier] and steps[later]:
            assert min(steps[later]) - max(steps[earlier]) > gap


@settings(max_examples=100, deadline=None)
@given(bounds=st.lists(st.integers(0, 20), min_size=4, max_size=4), length=st.integers(1, 6))
def test_part_of_a_window_is_that_of_all_its_steps(bounds: list[int], length: int) -> None:
    names = ("training_end", "validation_start", "validation_end", "held_out_start")
    split = Split(**dict(zip(names, sorted(bounds), strict=True)))
    found = find_windows(np.full((1, 20), 999), WindowConfig(length=length))
    got = [PARTS[part] for part in split.parts(found)]
    assert got == [naive.part_of_window(int(s), length, split) for s in found.index[:, 1]]


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(10, 300),
    validation=st.floats(0.05, 0.4),
    held_out=st.floats(0.05, 0.4),
    gap=st.integers(0, 2),
)
def test_shares_are_kept_to_a_step(n: int, validation: float, held_out: float, gap: int) -> None:
    split = split_or_reject(
        n, SplitConfig(validation=validation, held_out=held_out, gap=gap, min_steps=0)
    )
    assert abs((n - split.held_out_start) - n * held_out) <= 0.5
    assert abs((split.held_out_start - split.validation_start) - n * validation) <= 0.5
    assert split.training_end == split.validation_start - gap > 0
    assert split.validation_end == split.held_out_start - gap > split.validation_start


def test_parts_cover_every_step_but_the_gaps() -> None:
    assert split_steps(weeks(20), SplitConfig(validation=0.2, held_out=0.25, gap=2)) == Split(
        training_end=9, validation_start=11, validation_end=13, held_out_start=15
    )


def test_a_part_starts_on_its_date() -> None:
    config = SplitConfig(
        validation_start=FIRST + timedelta(weeks=10), held_out_start=FIRST + timedelta(weeks=16)
    )
    assert split_steps(weeks(20), config) == Split(
        training_end=9, validation_start=10, validation_end=15, held_out_start=16
    )


def test_no_day_before_its_date_is_in_a_part() -> None:
    config = SplitConfig(held_out_start=FIRST + timedelta(weeks=15, days=3))
    assert split_steps(weeks(20), config).held_out_start == 16


def test_a_date_and_a_share_go_together() -> None:
    config = SplitConfig(validation=0.1, held_out_start=FIRST + timedelta(weeks=16), gap=0)
    assert split_steps(weeks(20), config) == Split(
        training_end=14, validation_start=14, validation_end=16, held_out_start=16
    )


@pytest.mark.parametrize(
    "config",
    [
        SplitConfig(gap=50),
        SplitConfig(held_out_start=FIRST + timedelta(weeks=400)),
        SplitConfig(validation_start=FIRST),
        SplitConfig(validation_start=FIRST + timedelta(weeks=19)),
        SplitConfig(validation=0.01, held_out=0.01),
    ],
)
def test_a_part_without_a_step_is_refused(config: SplitConfig) -> None:
    with pytest.raises(ValueError, match="20 steps from 2018-01-01 to 2018-05-14 can't be split"):
        split_steps(weeks(20), config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": 0.0}, "validation=0.0"),
        ({"held_out": -0.1}, "held_out=-0.1"),
        ({"validation": 0.5, "held_out": 0.5}, "leave some of the steps for training"),
        ({"gap": -1}, "gap=-1"),
        ({"validation_start": FIRST, "held_out_start": FIRST}, "must come before"),
    ],
)
def test_a_config_out_of_range_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitConfig(**changes)


@pytest.mark.parametrize(("n", "held_out"), [(35, 7), (36, 9), (39, 9), (100, 20)])
def test_parts_given_as_shares_have_a_few_steps_where_there_are_enough_in_all(
    n: int, held_out: int
) -> None:
    split = split_steps(weeks(n), SplitConfig(gap=0))
    assert n - split.held_out_start == held_out
    assert split.held_out_start - split.validation_start == max(round(0.15 * n), 9 * (n >= 36))


def test_each_step_lies_in_the_part_that_its_windows_lie_in() -> None:
    split = split_steps(weeks(60), SplitConfig(gap=2))
    found = parts_of_steps(split, 60)
    alone = find_windows(np.full((1, 60), 99), WindowConfig(length=1))
    assert found.tolist() == split.parts(alone).tolist()
