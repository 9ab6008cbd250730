"""Spoilt files: a mutant is refused or fully accounted for, and the harness sees when it isn't."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.ingest import StagedFile, stage_file
from features.tables import TableFormatError
from tests import fuzz_bases, fuzz_ingest, naive_tables
from tests.fuzz_bases import BASES, SAMPLE, Base
from tests.fuzz_ingest import check, make_mutant, stage
from tests.fuzz_mutations import ARCHIVE_MUTATIONS, TEXT_MUTATIONS, Mutation

SEEDS = st.integers(0, 2**32 - 1)
MAKERS = [*dict.fromkeys(BASES), fuzz_bases.parquet]


def base_of(maker: Callable[[np.random.Generator, Path], Base], seed: int = 0) -> Base:
    """Make a sound file."""
    return maker(np.random.default_rng(seed), SAMPLE)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, number=st.integers(0, 10**6))
def test_a_mutant_is_refused_or_fully_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, seed: int, number: int
) -> None:
    stage(make_mutant(seed, number), tmp_path_factory.mktemp("t"))


@pytest.mark.parametrize("mutation", TEXT_MUTATIONS + ARCHIVE_MUTATIONS, ids=lambda m: m.__name__)
@settings(max_examples=4, deadline=None)
@given(seed=SEEDS)
def test_every_mutation_is_survived(
    tmp_path_factory: pytest.TempPathFactory, mutation: Mutation, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    base = BASES[int(rng.integers(len(BASES)))](rng, SAMPLE)
    mutant = fuzz_ingest.Mutant(base, (mutation.__name__,), mutation(base.data, rng), 5_000)
    stage(mutant, tmp_path_factory.mktemp("t"))


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_sound_files_are_accepted_nearly_whole(
    tmp_path: Path, maker: Callable[[np.random.Generator, Path], Base]
) -> None:
    base = base_of(maker)
    outcome = stage(fuzz_ingest.Mutant(base, (), base.data, 5_000), tmp_path)
    assert outcome.account is not None
    assert 20 <= outcome.account.lines <= fuzz_bases.LINES
    assert outcome.account.valid >= outcome.account.lines - 3


@pytest.mark.parametrize("mutation", TEXT_MUTATIONS + ARCHIVE_MUTATIONS, ids=lambda m: m.__name__)
def test_mutations_change_the_file_and_are_the_same_for_the_same_seed(mutation: Mutation) -> None:
    base = base_of(fuzz_bases.icews)
    first, again = (
        [mutation(base.data, np.random.default_rng(seed)) for seed in range(6)] for _ in range(2)
    )
    assert first == again
    assert any(data != base.data for data in first)


def test_a_mutant_is_made_again_by_its_seed_and_number() -> None:
    for number in range(40):
        first, again = make_mutant(3, number), make_mutant(3, number)
        assert (first.mutations, first.base) == (again.mutations, again.base)
        assert first.data == again.data


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[fuzz_ingest.Mutant, StagedFile, Path]:
    """Stage a file with a few bad lines, whose account is right."""
    base = base_of(fuzz_bases.icews)
    data = base.data + b"short\n\nshort\tagain\n"
    mutant = fuzz_ingest.Mutant(base, (), data, 5_000)
    folder = tmp_path_factory.mktemp("sound")
    path = folder / base.name
    path.write_bytes(data)
    account = stage_file(path, folder / "staged", config=base.config)
    check(mutant, account, folder / "staged")
    return mutant, account, folder / "staged"


def test_the_check_sees_a_line_too_few_or_too_many(
    sound: tuple[fuzz_ingest.Mutant, StagedFile, Path],
) -> None:
    mutant, account, staged = sound
    for wrong in (
        replace(account, lines=account.lines - 1),
        replace(account, valid=account.valid + 1),
        replace(account, rejected={}),
    ):
        with pytest.raises(AssertionError):
            check(mutant, wrong, staged)


def test_the_check_sees_that_an_untouched_line_was_rejected(
    sound: tuple[fuzz_ingest.Mutant, StagedFile, Path], tmp_path: Path
) -> None:
    mutant, _, _ = sound
    lines = mutant.data.split(b"\n")
    fields = lines[5].split(b"\t")
    lines[5] = b"\t".join([fields[0], b"soon", *fields[2:]])
    path = tmp_path / mutant.base.name
    path.write_bytes(b"\n".join(lines))
    account = stage_file(path, tmp_path / "staged", config=mutant.base.config)
    with pytest.raises(AssertionError, match=r"untouched lines are rejected: \[6\]"):
        check(mutant, account, tmp_path / "staged")


def test_the_check_sees_that_rejected_rows_were_lost(
    sound: tuple[fuzz_ingest.Mutant, StagedFile, Path], tmp_path: Path
) -> None:
    mutant, account, staged = sound
    for path in staged.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rejected = pl.read_parquet(tmp_path / "rejected.parquet")
    rejected.head(-1).write_parquet(tmp_path / "rejected.parquet")
    with pytest.raises(AssertionError):
        check(mutant, account, tmp_path)


def test_a_run_prints_every_mutation_and_the_way_to_repeat_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, staged: Path, **_: object) -> StagedFile:
        raise TableFormatError("no name") if path.name.startswith("2") else KeyError("lost")

    assert fuzz_ingest.run(range(30), seed=0, source=SAMPLE) == 0
    table = capsys.readouterr().out
    assert all(f"| {m.__name__} |" in table for m in TEXT_MUTATIONS + ARCHIVE_MUTATIONS)
    assert "| all | 30 |" in table
    monkeypatch.setattr(fuzz_ingest, "stage_file", failing)
    assert fuzz_ingest.run(range(2), seed=0, source=SAMPLE) == 2
    assert "--seed 0 --only 1: " in capsys.readouterr().out


# The slow reader itself


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1,2\n3,4\n", 2),
        ("1,2", 1),
        ('1,"2\n3"\n4,5\n', 2),
        ('1,"2\n3,4\n', 2),
        ('1,"2"x\n3,4\n', 2),
        ('1,"2""\n"",3"\n', 1),
        ('1,"2\n3,"4\n', 2),
        ("\n\n", 2),
        ("", 0),
    ],
)
def test_records_counted_by_hand(text: str, wanted: int) -> None:
    lines = naive_tables.data_lines([b"a,b\n" + text.encode()], has_header=True)
    assert [line.number for line in lines] == list(range(2, 2 + wanted))
