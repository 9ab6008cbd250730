"""Laws of the configuration: one place, checked as a whole, and written out as it was read."""

import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from features.column_map import ColumnMap
from features.vocabulary import Block, VocabularyConfig
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
    *("scoring", "calibration", "mahalanobis", "execution"),
)
MAP = {"date": "day", "code": "kind", "country": "where"}


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


def features_of(**given_: Any) -> VocabularyConfig:
    """Return the vocabulary section of a configuration with these keys."""
    keys = {key.replace("__", "."): value for key, value in given_.items()}
    return RunConfig.load(None, {"source": ["raw"]} | keys).vocabulary


def test_features_are_those_that_suit_the_source_where_nothing_is_said() -> None:
    assert features_of(ingest__format="icews") == EVENT_VOCABULARY
    assert features_of(ingest__format="gdelt") == EVENT_VOCABULARY
    blocks: tuple[Block, ...] = ("event_type", "root", "quad", "intensity", "context", "log_volume")
    polecat = features_of(ingest__format="polecat")
    assert polecat == VocabularyConfig(blocks=blocks, ontology="plover")
    fewer = features_of(ingest__format="polecat", vocabulary__min_events=3)
    assert fewer == replace(polecat, min_events=3)
    alone = features_of(ingest__format="polecat", vocabulary__blocks=["root"])
    assert alone == replace(polecat, blocks=("root",))


@pytest.mark.parametrize(
    ("column_map", "blocks"),
    [
        ({"ontology": "none"}, {"event_type", "log_volume"}),
        ({"ontology": "none", "intensity": "score"}, {"event_type", "intensity", "log_volume"}),
        ({"ontology": "plover"}, {"event_type", "root", "quad", "intensity", "log_volume"}),
        (
            {"ontology": "cameo", "intensity": "score"},
            {"event_type", "root", "quad", "intensity", "log_volume"},
        ),
    ],
)
def test_a_table_has_the_features_that_its_columns_tell(
    column_map: dict[str, str], blocks: set[str]
) -> None:
    got = features_of(ingest__format="table", ingest__column_map=MAP | column_map)
    assert set(got.blocks) == blocks
    assert got.ontology == column_map["ontology"]
    assert got.min_events == EVENT_VOCABULARY.min_events


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"ingest__format": "polecat", "vocabulary__ontology": "cameo"},
            r"ontology='cameo' is not that of the source, which is 'plover'.*ingest\.format",
        ),
        ({"vocabulary__ontology": "none", "vocabulary__blocks": ["event_type"]}, "'cameo'"),
        (
            {
                "ingest__format": "table",
                "ingest__column_map": MAP | {"ontology": "none"},
                "vocabulary__ontology": "plover",
            },
            r"which is 'none'.*ingest\.column_map\.ontology",
        ),
        (
            {"vocabulary__blocks": ["event_type", "context"]},
            r"\(icews\) have no context; leave out",
        ),
        (
            {
                "ingest__format": "table",
                "ingest__column_map": MAP | {"ontology": "none"},
                "vocabulary__blocks": ["event_type", "intensity"],
            },
            r"\(table\) have no intensity",
        ),
        (
            {
                "ingest__format": "table",
                "ingest__column_map": MAP | {"ontology": "none"},
                "vocabulary__blocks": ["event_type", "quad"],
            },
            "no quad with ontology='none'",
        ),
    ],
)
def test_features_that_the_source_does_not_have_are_refused_before_any_work(
    keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        features_of(**keys)


def test_an_error_of_the_source_is_told_alone() -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig.load(None, {"source": ["raw"], "ingest.format": "acled"})
    lines = str(error.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["ingest.format"]


# The column map


def write_map(folder: Path, text: str = "") -> Path:
    path = folder / "acled.toml"
    path.write_text('date = "day"\ncode = "kind"\nontology = "none"\n' + text)
    return path


def test_a_column_map_is_read_from_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    write_map(tmp_path / "maps", 'country = "where"\nmissing = ["", "?"]')
    text = 'source = ["raw"]\n[ingest]\nformat = "table"\ncolumn_map = "maps/acled.toml"'
    wanted = ColumnMap(date="day", code="kind", ontology="none", country="where", missing=("", "?"))
    assert load(text, tmp_path).ingest.column_map == wanted
    over = {"ingest__column_map.country": "place"}
    assert load(text, tmp_path, **over).ingest.column_map == replace(wanted, country="place")


def test_a_column_map_of_an_override_is_read_from_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_map(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    wanted = ColumnMap(date="day", code="kind", ontology="none")
    for given_ in ("acled.toml", str(tmp_path / "acled.toml"), Path("acled.toml")):
        over = {"ingest__format": "table", "ingest__column_map": given_}
        config = load('source = ["raw"]', tmp_path / "elsewhere", **over)
        assert config.ingest.column_map == wanted
        further = load(
            'source = ["raw"]', tmp_path / "elsewhere", **over, **{"ingest__column_map.id": "key"}
        )
        assert further.ingest.column_map == replace(wanted, id="key")


def test_a_column_map_may_be_given_in_place(tmp_path: Path) -> None:
    text = 'source = ["raw"]\n[ingest]\nformat = "table"\n[ingest.column_map]\n'
    text += 'date = "day"\ncode = "kind"\ncountry = "where"'
    config = load(text, tmp_path)
    assert config.ingest.column_map == ColumnMap(**MAP)
    assert config.vocabulary.ontology == "cameo"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"column map .*acled\.toml can't be read"),
        ("date = ", r"column map .*acled\.toml can't be read"),
        ('date = "a"\ncode = "b"\nfoo = 1', r"acled\.toml: no such key: .*foo"),
        ('date = "a"', r"acled\.toml: missing: .*code"),
        ('date = "a"\ncode = "b"\nontology = "icews"', r"acled\.toml: ontology='icews'"),
    ],
)
def test_a_column_map_that_is_wrong_is_named(
    text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "acled.toml").write_text(text)
    run = 'source = ["raw"]\n[ingest]\nformat = "table"\ncolumn_map = "acled.toml"'
    with pytest.raises(ConfigError, match=message):
        load(run, tmp_path)


def test_a_wrong_key_of_a_column_map_in_place_is_named() -> None:
    keys = {"ingest.format": "table", "ingest.column_map": MAP | {"colour": "red"}}
    with pytest.raises(ConfigError, match=r"ingest\.column_map\.colour: no such key"):
        RunConfig.load(None, {"source": ["raw"]} | keys)


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
        ("ingest.format", "acled"),
        ("ingest.format", "table"),
        ("ingest.column_map", 5),
        ("vocabulary.ontology", "icews"),
        ("execution.runner", "ray"),
        ("execution.workers", 0),
        ("execution.dask_address", "tcp://10.0.0.1:8786"),
        ("execution.lock_wait", -1),
        ("execution.lock_wait", float("inf")),
        ("execution.lock_wait", float("nan")),
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


def test_a_dask_cluster_is_known_by_an_address() -> None:
    keys = {"source": ["raw"], "execution.runner": "dask"}
    there = RunConfig.load(None, keys | {"execution.dask_address": "tcp://10.0.0.1:8786"})
    assert there.execution.dask_address == "tcp://10.0.0.1:8786"
    assert RunConfig.load(None, keys).execution.dask_address is None
    with pytest.raises(ConfigError, match=r"dask_address='nowhere': expected an address such as"):
        RunConfig.load(None, keys | {"execution.dask_address": "nowhere"})


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
    "ingest.one_report_a_day": st.booleans(),
    "execution.runner": st.sampled_from(["threads", "processes", "dask"]),
    "execution.workers": st.integers(1, 99),
    "execution.lock_wait": st.floats(0, 1e9),
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


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
MAPS = st.fixed_dictionaries(
    {"date": TEXTS, "code": TEXTS.map("code of {}".format)},
    optional={
        **dict.fromkeys(("country", "source_country", "target_sectors", "target_name"), TEXTS),
        "intensity": TEXTS.map("intensity {}".format),
        "sector_separator": TEXTS,
        "intensity_bounds": st.sampled_from([[0, 100], [10.0, -10.0], [-1e8, 1e-8]]),
        "missing": st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
        "yearly": st.just(r"(?P<year>\d{4})\.csv"),
        "date_format": st.sampled_from(["%d/%m/%Y", "%Y.%m.%d"]),
    },
)


@settings(max_examples=60, deadline=None)
@given(column_map=MAPS, ontology=st.sampled_from(["cameo", "plover", "none"]))
def test_what_is_written_of_a_column_map_is_read_as_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    column_map: dict[str, Any],
    ontology: str,
) -> None:
    keys = {"ingest.format": "table", "ingest.column_map": column_map | {"ontology": ontology}}
    try:
        config = RunConfig.load(None, {"source": ["raw"], "training.epochs": 3} | keys)
    except ConfigError:
        assume(condition=False)  # not each map is one that can be used
    path = tmp_path_factory.mktemp("toml") / "run.toml"
    path.write_bytes(config.to_toml().encode())
    again = RunConfig.load(path, {})
    assert again == config
    assert again.ingest.column_map == config.ingest.column_map
    assert tomllib.loads(path.read_text())["ingest"]["column_map"]["code"] == column_map["code"]


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
