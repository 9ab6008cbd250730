"""Laws of digests: the same on every machine, and different for what differs."""

import hashlib
from datetime import date
from pathlib import Path

from features.ingest import IngestConfig
from features.split import SplitConfig
from flows.config import RunConfig
from flows.digests import LENGTH, digest_of, digest_of_file


def test_digests_are_the_same_on_every_machine_and_day() -> None:
    assert digest_of() == "4f53cda18c2baa0c"
    assert digest_of("a", 1, [2.5, None], {"b": date(2018, 10, 1)}) == "5a2845fb82cef948"
    assert digest_of(IngestConfig(), Path("raw"), "Côte") == "41150e8e78f8e88a"


def test_the_order_of_keys_is_irrelevant_and_that_of_parts_is_not() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of("a", "b") != digest_of("b", "a")
    assert digest_of(["a", "b"]) != digest_of(["b", "a"])


def test_parts_do_not_run_together() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of("a", "b") != digest_of(["a", "b"])
    assert digest_of("1") != digest_of(1)
    assert digest_of(None) != digest_of("")
    assert len(digest_of("a")) == LENGTH


def test_any_value_of_a_configuration_changes_its_digest() -> None:
    config = RunConfig.load(None, {"source": ["raw"]})
    same = RunConfig.load(None, {"source": ["raw"], "training.epochs": config.training.epochs})
    other = RunConfig.load(None, {"source": ["raw"], "training.epochs": 1})
    assert digest_of(config) == digest_of(same) != digest_of(other)
    assert digest_of(SplitConfig()) != digest_of(SplitConfig(gap=0))


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 100_000)
    assert digest_of_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
