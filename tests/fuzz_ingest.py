"""Spoil raw files in every way, and hold each to the law: lines = valid + rejected, or a refusal.

Each mutant is made from a sound file by one to three mutations of its text and a packing, or by
one of its archive, all drawn from the seed and the mutant's number. It is staged with small blocks
and a low limit on the length of lines. Its account is compared with lines counted slowly and
independently; lines that no mutation has touched must be accepted still. From the root::

    python tests/fuzz_ingest.py --mutants 10000 --seed 0 [--source DIR]
    python tests/fuzz_ingest.py --seed 0 --only 1234 --keep DIR    # one again, its files kept
"""

import argparse
import io
import resource
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features import ingest, lines, tables
from features.ingest import StagedFile, read_staged, stage_file
from features.tables import TableFormatError
from tests import fuzz_bases, fuzz_mutations, naive_tables
from tests.fuzz_bases import Base
from tests.fuzz_mutations import ARCHIVE_MUTATIONS, TEXT_MUTATIONS, Mutation

LINE_BYTES = 100_000
BLOCK_SIZES = (2_000, 10_000, 8 << 20)
KEPT = 2_000


@dataclass(frozen=True)
class Mutant:
    """A spoilt file and how it came about."""

    base: Base
    mutations: tuple[str, ...]
    data: bytes
    block_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: an account, or the words of the refusal."""

    account: StagedFile | None
    refusal: str = ""


def make_mutant(seed: int, number: int, source: Path = fuzz_bases.SAMPLE) -> Mutant:
    """Make the mutant that has this number under this seed."""
    rng = np.random.default_rng([seed, number])
    if number % 40 == 39:
        return _parquet_mutant(rng, source)
    base = fuzz_bases.BASES[int(rng.integers(len(fuzz_bases.BASES)))](rng, source)
    every = TEXT_MUTATIONS + ARCHIVE_MUTATIONS
    first = every[number % len(every)]
    chosen: list[Mutation] = [first]
    if first in TEXT_MUTATIONS:
        further = rng.integers(0, len(TEXT_MUTATIONS), int(rng.integers(0, 3)))
        chosen += [TEXT_MUTATIONS[int(i)] for i in further]
    data = base.data
    for mutation in chosen:
        data = mutation(data, rng)
    if first in TEXT_MUTATIONS:
        in_two = base.layout == "polecat" and rng.random() < 0.3
        data = fuzz_bases.in_two(data) if in_two else fuzz_mutations.pack(data, rng)
    names = tuple(mutation.__name__ for mutation in chosen)
    return Mutant(base, names, data, int(rng.choice(BLOCK_SIZES)))


def _parquet_mutant(rng: np.random.Generator, source: Path) -> Mutant:
    base = fuzz_bases.parquet(rng, source)
    spoil = [
        fuzz_mutations.bit_flips,
        fuzz_mutations.truncation,
        fuzz_mutations.deletions,
        fuzz_mutations.rubbish,
    ][int(rng.integers(4))]
    data = base.data if rng.random() < 0.1 else spoil(base.data, rng)
    return Mutant(base, ("parquet_damage",), data, BLOCK_SIZES[-1])


def stage(mutant: Mutant, folder: Path) -> Outcome:
    """Stage a mutant in `folder` and hold its account to the law.

    Raises
    ------
    AssertionError
        If the account isn't that of the file.
    Exception
        Whatever `stage_file` raises but a refusal of the whole file.
    """
    path, staged = folder / mutant.base.name, folder / "staged"
    path.write_bytes(mutant.data)
    with (
        mock.patch.object(tables, "BLOCK_BYTES", mutant.block_bytes),
        mock.patch.object(tables, "LINE_BYTES", LINE_BYTES),
        mock.patch.object(lines, "LINE_BYTES", LINE_BYTES),
        mock.patch.object(ingest, "_ROWS_STAGED_AT_ONCE", 50),
    ):
        try:
            account = stage_file(path, staged, config=mutant.base.config)
        except TableFormatError as error:
            assert str(path) in str(error), f"the refusal doesn't name the file: {error}"
            return Outcome(None, str(error))
    check(mutant, account, staged)
    return Outcome(account)


def check(mutant: Mutant, account: StagedFile, staged: Path) -> None:
    """Compare an account with lines counted independently, and with what was staged."""
    rows = read_staged(staged)
    rejected = pl.read_parquet(staged / "rejected.parquet")
    numbers, untouched = _line_numbers(mutant)
    assert account.lines == len(numbers), f"{account.lines} lines, there are {len(numbers)}"
    assert account.lines == account.valid + sum(account.rejected.values())
    assert rows.height == account.valid, f"{rows.height} staged rows, {account.valid} valid"
    by_reason = dict(rejected["reason"].value_counts().iter_rows()) if rejected.height else {}
    assert by_reason == account.rejected
    got = (rows["line"].to_list() if rows.height else []) + rejected["line"].to_list()
    assert sorted(got) == numbers, "lines are missing or there twice"
    assert rejected["line"].is_sorted()
    assert not rejected["text"].has_nulls()
    assert int(rejected["text"].str.len_chars().max() or 0) <= KEPT  # type: ignore[arg-type]
    if rows.height:
        key = rows.select("event_id", "event_date", "event_code", "intensity")
        assert sum(key.null_count().row(0)) == 0, "a valid row lacks its key, code or intensity"
    taken = set(rows["line"].to_list() if rows.height else [])
    lost = {number: line for number, line in untouched.items() if number not in taken}
    if lost:
        sound = _sound_lines(mutant.base)
        wrong = [number for number, line in lost.items() if line in sound]
        assert not wrong, f"untouched lines are rejected: {wrong[:5]}"


def _line_numbers(mutant: Mutant) -> tuple[list[int], dict[int, bytes]]:
    """Return the numbers of a mutant's data lines, and those that no mutation has touched."""
    base = mutant.base
    if mutant.data.startswith(b"PAR1"):
        n_rows = pq.read_metadata(io.BytesIO(mutant.data)).num_rows
        return list(range(1, n_rows + 1)), {}
    packed = naive_tables.unpacked(mutant.data)
    found = naive_tables.data_lines(packed, has_header=base.has_header, longest=LINE_BYTES)
    header, *lines_of_base = base.data.split(b"\n")
    good = {line for line in lines_of_base if line}
    firsts = [table.split(b"\n")[0].removesuffix(b"\r") for table in packed]
    if base.has_header:
        same = all(first == header for first in firsts) and b"\t" in header
    else:
        good.add(header)
        same = all(first.count(b"\t") == header.count(b"\t") for first in firsts)
    if not same:
        return [line.number for line in found], {}
    untouched = {
        line.number: line.data.removesuffix(b"\r")
        for line in found
        if line.data is not None and line.data.removesuffix(b"\r") in good
    }
    return [line.number for line in found], untouched


def _sound_lines(base: Base) -> set[bytes]:
    """Return the lines of a sound file that are accepted."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / base.name
        path.write_bytes(base.data)
        stage_file(path, Path(name) / "staged", config=base.config)
        text = pl.read_parquet(Path(name) / "staged" / "rejected.parquet")["text"]
    return set(base.data.split(b"\n")) - {line.encode() for line in text}


def run(numbers: Sequence[int], *, seed: int, source: Path, keep: Path | None = None) -> int:
    """Stage mutants, print the table of outcomes and the failures; return how many failed."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    failures = []
    for number in numbers:
        mutant = make_mutant(seed, number, source)
        row = table[mutant.mutations[0]]
        row["mutants"] += 1
        with tempfile.TemporaryDirectory() as name:
            folder = keep or Path(name)
            try:
                outcome = stage(mutant, folder)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                row["failed"] += 1
                failures.append((number, mutant, traceback.format_exc()))
                continue
        if keep:
            print(mutant.base.layout, mutant.mutations, outcome)
        if outcome.account is None:
            row["refused"] += 1
        else:
            row["accounted"] += 1
            row["lines"] += outcome.account.lines
            row["valid"] += outcome.account.valid
            row["rejected"] += outcome.account.lines - outcome.account.valid
    _print_table(table)
    for number, mutant, trace in failures[:20]:
        print(f"\n--seed {seed} --only {number}: {mutant.base.layout}, {mutant.mutations}\n{trace}")
    return len(failures)


def _print_table(table: dict[str, Counter[str]]) -> None:
    columns = ("mutants", "refused", "accounted", "lines", "valid", "rejected", "failed")
    total: Counter[str] = sum(table.values(), Counter())
    print("| mutation | " + " | ".join(columns) + " |\n|" + "---|" * (1 + len(columns)))
    for name, row in [*sorted(table.items()), ("all", total)]:
        print(f"| {name} | " + " | ".join(f"{row[column]:,}" for column in columns) + " |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak resident memory: {peak:.0f} MB")


def main() -> int:
    """Run the harness by command; the exit code says whether any mutant failed."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--mutants", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", type=Path, default=fuzz_bases.SAMPLE)
    parser.add_argument("--only", type=int, help="one mutant, by its number")
    parser.add_argument("--keep", type=Path, help="a folder for the one mutant's files")
    asked = parser.parse_args()
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
    first = asked.first if asked.only is None else asked.only
    n = asked.mutants if asked.only is None else 1
    failed = run(range(first, first + n), seed=asked.seed, source=asked.source, keep=asked.keep)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
