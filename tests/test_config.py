"""Laws of the configuration: one place, checked as a whole, and written out as it was read."""

import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.config import (
    EVENT_AUTOENCODER,
    EVENT_TRAINING,
    EVENT_VOCABULARY,
    EVENT_WINDOWS,
    ConfigError,
    RunConfig,
)

SECTIONS = (
    *("ingest", "vocabulary", "windows", "split", "transform", "autoencoder", "training"),
    *("scoring", "calibration", "mahalanobis"),
)


def load(text: str, folder: Path, **overrides: Any) -> RunConfig:
    path = folder / "run.toml"
    path.write_text(text)
    return RunConfig.load(path, {key.replace("__", "."): v for key, v in overrides.items()})


def test_what_is_not_said_is_the_default(tmp_path: Path) -> None:
    config = load('source = ["raw"]\n[training]\nepochs = 7', tmp_path)
    assert config.training.epochs == 7
    assert config == RunConfig.load(None, {"source": ["raw"], "training.epochs": 7})
    assert config.windows == RunConfig.load(None, {"source": ["raw"]}).windows


def test_a_model_is_as_proved_best_on_events_where_nothing_is_said(tmp_path: Path) -> None:
    default = RunConfig.load(None, {"source": ["raw"]})
    assert default.training == EVENT_TRAINING
    assert default.autoencoder == EVENT_AUTOENCODER
    wider = RunConfig.load(None, {"source": ["raw"], "autoencoder.latent_size": 99}).autoencoder
    assert wider == replace(EVENT_AUTOENCODER, latent_size=99)
    assert load('source = ["raw"]\n[training]\nepochs = 7', tmp_path).training == replace(
        EVENT_TRAINING, epochs=7
    )
    plain = RunConfig.load(None, {"source": ["raw"], "training.input_dropout": 0.0}).training
    assert plain == replace(EVENT_TRAINING, input_dropout=0.0)


def test_steps_are_as_proved_best_on_events_where_nothing_is_said(tmp_path: Path) -> None:
    default = RunConfig.load(None, {"source": ["raw"]})
    assert default.windows == EVENT_WINDOWS
    assert default.vocabulary == EVENT_VOCABULARY
    config = load('source = ["raw"]\n[windows]\nlength = 5\n[vocabulary]\nmin_events = 3', tmp_path)
    assert config.windows == replace(EVENT_WINDOWS, length=5)
    assert config.vocabulary == replace(EVENT_VOCABULARY, min_events=3)


def test_blocks_that_count_no_kind_of_event_are_refused_before_any_work() -> None:
    blocks = ["intensity", "log_volume", "source_sector"]
    with pytest.raises(ConfigError, match=r"vocabulary: .*add event_type, root, quad"):
        RunConfig.load(None, {"source": ["raw"], "vocabulary.blocks": blocks})
    for kind in ("event_type", "root", "quad"):
        RunConfig.load(None, {"source": ["raw"], "vocabulary.blocks": [*blocks, kind]})


def test_overrides_win_over_the_file_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    text = 'source = ["raw"]\nstep = "day"\n[training]\nepochs = 7\npatience = 3'
    config = load(text, tmp_path, training__epochs=9, entity="world")
    assert (config.training.epochs, config.training.patience) == (9, 3)
    assert (config.entity, config.step) == ("world", "day")


def test_a_configuration_cannot_be_changed() -> None:
    config = RunConfig.load(None, {"source": ["raw"]})
    with pytest.raises(ValueError, match="frozen"):
        config.step = "day"


@pytest.mark.parametrize("key", ["epochs", *(f"{section}.epoch" for section in SECTIONS)])
def test_an_unknown_key_is_named_at_every_level(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig.load(None, {"source": ["raw"], key: 5})
    assert f"  {key}: no such key (got 5)" in str(error.value).splitlines()
    *section, name = key.split(".")
    header = f"[{section[0]}]\n" if section else ""
    with pytest.raises(ConfigError) as error:
        load(f'source = ["raw"]\n{header}{name} = 5', tmp_path)
    assert f"  {key}: no such key (got 5)" in str(error.value).splitlines()
    assert "run.toml" in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", "fortnight"),
        ("entity", "planet"),
        ("source", []),
        ("source", 5),
        ("ingest.columns", "some"),
        ("vocabulary.blocks", ["event_type", "mood"]),
        ("vocabulary.min_events", 0),
        ("windows.length", "long"),
        ("split.held_out", 2.0),
        ("split.held_out_start", "soon"),
        ("transform.standardise", "twice"),
        ("autoencoder.latent_size", 0),
        ("training.epochs", 2.5),
        ("training.learning_rate", -1),
        ("training.device", "abacus"),
        ("scoring.alarm_rate", 1.0),
        ("scoring.drivers", 0),
        ("scoring.analogues", 0),
        ("scoring.regimes", [1, 3]),
        ("scoring.regimes", [4, 3]),
        ("scoring.regimes", [2, 3, 4]),
        ("calibration.method", "guess"),
        ("calibration.tail", 0.0),
        ("mahalanobis.steps_a_feature", 0.0),
        ("mahalanobis.max_rows", 0),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig.load(None, {"source": ["raw"], key: value})
    message = str(error.value)
    assert message.startswith("the configuration is wrong:\n  ")
    assert key.split(".", maxsplit=1)[0] in message
    assert key.rsplit(".", maxsplit=1)[-1] in message


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig.load(None, {"step": "hour", "training.epoch": 1, "windows.size": 2})
    for key in ("source", "step", "training.epoch", "windows.size"):
        assert f"\n  {key}: " in str(error.value)


def test_a_section_is_not_a_value_nor_a_value_a_section() -> None:
    with pytest.raises(ConfigError, match="training"):
        RunConfig.load(None, {"source": ["raw"], "training": 5})
    with pytest.raises(ConfigError, match=r"step\.size: step is a value, not a section"):
        RunConfig.load(None, {"source": ["raw"], "step": "day", "step.size": 5})


@pytest.mark.parametrize("content", [b"source = [", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"configuration .*run\.toml can't be read: "):
        RunConfig.load(path, {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(ConfigError, match=f"configuration {path} can't be read"):
            RunConfig.load(path, {})


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "data": NAMES,
    "entity": st.sampled_from(["country", "world", "directed_dyad"]),
    "step": st.sampled_from(["day", "week", "month"]),
    "ingest.columns": st.sampled_from(["core", "all"]),
    "vocabulary.blocks": st.lists(st.sampled_from(["quad", "root", "log_volume"])).map(
        lambda blocks: list(dict.fromkeys([*blocks, "quad"]))
    ),
    "scoring.alarm_rate": st.floats(1e-9, 0.999),
    "scoring.regimes": st.tuples(st.integers(2, 5), st.integers(5, 50)).map(list),
    "calibration.method": st.sampled_from(["conformal", "peaks_over_threshold"]),
    "mahalanobis.steps_a_feature": st.floats(1e-3, 1e3),
    "windows.stride": st.integers(1, 9),
    "split.held_out_start": st.dates(date(2017, 1, 1), date(2019, 1, 1)),
    "split.held_out": st.floats(0.01, 0.5),
    "transform.difference": st.booleans(),
    "transform.min_scale": st.floats(1e-9, 1e9),
    "training.learning_rate": st.floats(1e-12, 1e12),
    "training.seed": st.integers(0, 2**63 - 1),
}


@settings(max_examples=60, deadline=None)
@given(overrides=st.fixed_dictionaries({"source": st.lists(NAMES, min_size=1)}, optional=VALUES))
@example(overrides={"source": ['\x7f " \\ \n\té']})
def test_what_is_written_as_toml_is_read_as_the_same(
    tmp_path_factory: pytest.TempPathFactory, overrides: dict[str, Any]
) -> None:
    config = RunConfig.load(None, overrides)
    path = tmp_path_factory.mktemp("toml") / "run.toml"
    path.write_bytes(config.to_toml().encode())
    assert RunConfig.load(path, {}) == config


def test_the_whole_configuration_is_written_defaults_included() -> None:
    config = RunConfig.load(None, {"source": ["raw"]})
    written = tomllib.loads(config.to_toml())
    assert {key for key, value in written.items() if isinstance(value, dict)} == set(SECTIONS)
    known = config.model_dump(mode="json", exclude_none=True)
    assert written == known


def test_folders_can_be_left_out_of_what_is_written() -> None:
    config = RunConfig.load(None, {"source": ["raw"], "data": "elsewhere"})
    written = config.to_toml(without=("source", "data"))
    assert "raw" not in written
    assert "elsewhere" not in written
    assert tomllib.loads(written).keys() == tomllib.loads(config.to_toml()).keys() - {
        "source",
        "data",
    }


def test_the_name_has_no_underscores() -> None:
    config = RunConfig.load(None, {"source": ["raw"], "entity": "directed_dyad", "step": "day"})
    assert config.name == "directed-dyad-day"
