"""The cube against the mean of one-hot rows, from raw events, for every entity and step."""

from datetime import date
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.aggregate import CategoryField, Entity, Step, count_events
from features.cameo import event_code_type
from features.cube import build_cube
from features.vocabulary import Block, Vocabulary, VocabularyConfig
from tests import naive

FIELDS: tuple[CategoryField, ...] = get_args(CategoryField)
COUNTRY = st.sampled_from(["Mali", "Niger", "Iraq", None])
SECTORS = st.sampled_from([None, "Police", "Police,Media", "Media, Police,Media", "Elite"])
EVENT = st.fixed_dictionaries(
    {
        "event_date": st.dates(date(2018, 12, 20), date(2019, 2, 5)),
        "event_code": st.sampled_from(["010", "10", "042", "0841", "1823", "190"]),
        "intensity": st.sampled_from([-10.0, -0.1, 0.0, 1.9, 10.0, None]),
        "source_country": COUNTRY,
        "target_country": COUNTRY,
        "country": COUNTRY,
        "source_sectors": SECTORS,
        "target_sectors": SECTORS,
        "contexts": st.sampled_from([None, "military", "cyber,military", "election, election"]),
    }
)
BLOCKS: tuple[Block, ...] = get_args(Block)
SCHEMA = {
    "event_date": pl.Date,
    "event_code": event_code_type(),
    "intensity": pl.Float32,
} | dict.fromkeys(
    ("source_country", "target_country", "country", *FIELDS[1:]),
    pl.String,
)


def frame(rows: list[dict[str, Any]]) -> pl.LazyFrame:
    """Return events as a lake has them."""
    return pl.LazyFrame(rows, schema=SCHEMA)


@pytest.mark.parametrize("step", get_args(Step))
@pytest.mark.parametrize("entity", get_args(Entity))
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_cube_is_the_mean_of_one_hot_rows(entity: Entity, step: Step, data: st.DataObject) -> None:
    rows = data.draw(st.lists(EVENT, min_size=1, max_size=15))
    # One that every entity counts, so that there is a cube.
    rows.append(rows[0] | {"country": "Mali", "source_country": "Mali", "target_country": "Niger"})
    fitted_on = data.draw(st.lists(EVENT, min_size=1, max_size=10))  # lacks some of the codes
    config = VocabularyConfig(
        blocks=tuple(data.draw(st.lists(st.sampled_from(BLOCKS), min_size=1, unique=True))),
        min_events=data.draw(st.integers(1, 2)),
    )
    fit_counts = count_events(frame(fitted_on), entity="world", step=step, fields=FIELDS)
    vocabulary = Vocabulary.fit(fit_counts, config)
    counts = count_events(frame(rows), entity=entity, step=step, fields=config.fields)
    cube = build_cube(counts, vocabulary, step=step)
    entities, steps, values, exposure = naive.proportions(rows, vocabulary, entity, step)
    assert list(cube.entities) == entities
    assert cube.steps.tolist() == steps
    assert np.array_equal(cube.exposure, exposure)
    np.testing.assert_allclose(cube.values, values, rtol=1e-6, atol=1e-7)
