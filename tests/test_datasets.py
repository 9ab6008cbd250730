"""Laws of the data dictionary: it is what readers of the Parquet find, name by name."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.vocabulary import Vocabulary
from flows.datasets import DATASETS, LAKE, SCHEMA_VERSION, Column, as_markdown, updated_dictionary
from flows.ledger import LEDGER
from tests.icews_files import WholeRun

DICTIONARY = Path(__file__).parent.parent / "data" / "README.md"


def words(kind: pa.DataType) -> str:
    """Return a type in the dictionary's words."""
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list<{words(kind.value_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{words(kind.value_type)}>"
    if pa.types.is_dictionary(kind):
        return f"dictionary<{words(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {words(field.type)}' for field in kind)}>"
    return "date32" if pa.types.is_date32(kind) else str(kind).replace("large_string", "string")


def found(path: Path) -> list[tuple[str, str]]:
    return [(field.name, words(field.type)) for field in pq.read_schema(path)]


def expected(columns: tuple[Column, ...]) -> list[tuple[str, str]]:
    return [(column.name, column.type) for column in columns]


@pytest.mark.parametrize("name", ["embeddings", "analogues", "window_errors", "step_errors"])
def test_published_columns_and_types_are_those_of_the_dictionary(
    whole: WholeRun, name: str
) -> None:
    paths = list((whole.result.publication.latest / name).glob("*.parquet"))
    assert paths
    for path in paths:
        assert found(path) == expected(DATASETS[name])


def test_proportions_are_the_fixed_columns_and_then_a_column_a_feature(whole: WholeRun) -> None:
    *fixed, feature = expected(DATASETS["proportions"])
    vocabulary = whole.result.features.vocabulary()
    for path in (whole.result.publication.latest / "proportions").glob("*.parquet"):
        assert found(path) == [*fixed, *((name, feature[1]) for name in vocabulary.names)]
    named = re.findall(r"`(\w+)`", feature[0])
    assert named
    assert set(named) <= set(vocabulary.names)


def test_every_published_file_is_in_the_dictionary(whole: WholeRun) -> None:
    published = {path.name for path in whole.result.publication.latest.iterdir()}
    beside = {"vocabulary.json", "regimes.json", "calibration.json", "baselines.json"}
    beside |= {"state.json", "scorer"}
    assert published == set(DATASETS) | beside
    page = DICTIONARY.read_text()
    for name in beside:
        assert f"`{name}`" in page


def test_the_published_vocabulary_is_that_of_the_columns(whole: WholeRun) -> None:
    path = whole.result.publication.latest / "vocabulary.json"
    assert Vocabulary.from_json(path.read_text()) == whole.result.features.vocabulary()


@pytest.mark.parametrize("kind", list(LAKE))
def test_columns_of_the_lake_are_those_of_the_dictionary(whole: WholeRun, kind: str) -> None:
    lake = whole.result.ingested.lake
    paths = [lake / LEDGER] if kind == "files" else list((lake / kind).rglob("*.parquet"))
    assert paths
    for path in paths:
        assert found(path) == expected(LAKE[kind]), path


def test_every_column_has_a_meaning_and_a_name_of_its_own() -> None:
    for columns in (DATASETS | LAKE).values():
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
        assert all(column.meaning for column in columns)


def test_the_dictionary_as_markdown_has_every_column_in_a_row() -> None:
    text = as_markdown(DATASETS | LAKE)
    for name, columns in (DATASETS | LAKE).items():
        assert f"### {name}\n" in text
        for column in columns:
            assert f"| {column.name} | `{column.type}` | {column.meaning} |\n" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {4}


def test_the_dictionary_in_the_repository_is_that_of_the_code() -> None:
    page = DICTIONARY.read_text()
    assert updated_dictionary(page) == page, "run `make dictionary`"


def test_the_dictionary_says_which_version_of_the_schema_it_is_of() -> None:
    assert f"schema version {SCHEMA_VERSION}" in DICTIONARY.read_text()


def test_a_dictionary_that_has_fallen_behind_is_mended_and_the_rest_left_alone() -> None:
    page = DICTIONARY.read_text()
    stale = page.replace("| entity |", "| gone |").replace(": the exposure", "")
    assert stale != page
    assert updated_dictionary(stale) == page


def test_a_page_without_the_places_for_the_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="published"):
        updated_dictionary("# Data dictionary")
