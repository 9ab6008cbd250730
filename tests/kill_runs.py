"""Kill runs wherever a seed says, and hold what is left to the law: whole, and mended by the next.

A run is killed at a moment, before a change that it makes to a folder, or where a file reaches a
size. A reader reads what is published all the while. From the root::

    python tests/kill_runs.py --kills 50 --seed 0
    python tests/kill_runs.py --every --kills 1000    # before each change that a run makes, once
"""

import argparse
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flows.publishing import latest
from tests.faulty_runs import Fault, Kind, run_apart, run_once
from tests.kill_scene import Scene, make_scene, reading, unfinished, unmended

KILLS: tuple[Kind, ...] = ("moment", "change", "change", "size")


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A kill, and what it left.

    Attributes
    ----------
    published
        Which version of the lake was published then.
    left
        How many unfinished files and folders lay about.
    """

    fault: Fault
    place: str
    published: str
    left: int


def draw_case(scene: Scene, seed: int) -> tuple[bool, list[Fault]]:
    """Draw whether a lake is there already, and one to three kills in a row."""
    rng = np.random.default_rng(seed)
    is_there, faults = bool(rng.random() < 0.75), []
    for _ in range(1 + int(rng.binomial(2, 0.1))):
        kind = KILLS[rng.integers(len(KILLS))]
        change = int(rng.integers(1, scene.undisturbed[is_there].changes + 1))
        if kind == "moment":
            fault = Fault(kind=kind, at=float(rng.random()))
        elif kind == "change":
            fault = Fault(kind=kind, at=change)
        else:  # The last changes write nothing.
            fault = Fault(kind=kind, at=int(rng.integers(300)), since=int(0.9 * change))
        faults.append(fault)
    return is_there, faults


def kill_and_mend(
    scene: Scene,
    data: Path,
    faults: Sequence[Fault],
    *,
    is_there: bool = True,
    run: Callable[..., None] = run_once,
) -> tuple[list[Hit], list[str]]:
    """Kill runs one after another, let one run to its end, and say what is wrong.

    Parameters
    ----------
    scene
        What is there and what is to come.
    data
        A data folder that isn't there yet.
    faults
        What kills each run.
    is_there
        Whether there is a lake before, or nothing.
    run
        What is killed.

    Returns
    -------
    hits, problems
        The kills, and what is not as it should be: nothing if all is well.
    """
    if is_there:
        shutil.copytree(scene.before, data, symlinks=True)
    allowed = {scene.versions[0] if is_there else "none", scene.versions[1]}
    hits, problems = list[Hit](), list[str]()
    with reading(data) as reader:
        for fault in faults:
            takes = scene.undisturbed[is_there].seconds
            ended = run_apart(data, scene.source, fault, takes=takes, run=run)
            name = _published(data)
            if name not in allowed:
                problems.append(f"published after {ended}: {name}")
            if ended.was_killed:
                which = "new" if name == scene.versions[1] else "old"
                left = len(unfinished(data))
                hits.append(Hit(fault=fault, place=ended.place, published=which, left=left))
            elif ended.code != 0:
                problems.append(f"failed after a kill: {ended}")
        ended = run_apart(data, scene.source, run=run)
    problems += reader.faults
    problems += [f"read what never was: {name}" for name in {*reader.versions} - allowed]
    return hits, problems + unmended(scene, data, ended)


def _published(data: Path) -> str:
    folder = latest(data / "lake")
    return "none" if folder is None else folder.name


def main(arguments: list[str] | None = None) -> int:
    """Kill as many runs as is asked for; print where, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument(
        "--every", action="store_true", help="before each change from the seed's on, once"
    )
    asked = parser.parse_args(arguments)
    hits, wrong, n_cases = list[Hit](), list[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(Path(folder) / "scene")
        for name, is_there, faults in _cases(scene, asked.seed, every=asked.every):
            if len(hits) >= asked.kills:
                break
            data, n_cases = Path(folder) / "data", n_cases + 1
            found, problems = kill_and_mend(scene, data, faults, is_there=is_there)
            shutil.rmtree(data)
            hits += found
            if problems:
                wrong.append(f"{name}: {'; '.join(problems)}")
    _print_table(hits)
    print(
        f"{len(hits)} kills in {n_cases} cases, {len(wrong)} of them not mended", *wrong, sep="\n"
    )
    return int(bool(wrong))


def _cases(scene: Scene, seed: int, *, every: bool) -> Iterator[tuple[str, bool, list[Fault]]]:
    if not every:
        for n in count(seed):
            yield f"seed {n}", *draw_case(scene, n)
    changes = [
        (is_there, n)
        for is_there, ended in scene.undisturbed.items()
        for n in range(1, ended.changes + 1)
    ]
    for is_there, n in changes[seed:]:
        yield f"change {n}, lake: {is_there}", is_there, [Fault(kind="change", at=n)]


def _print_table(hits: list[Hit]) -> None:
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for hit in hits:
        groups[hit.place, hit.fault.kind, hit.published].append(hit.left)
    print(f"{'killed while':28}{'by':9}{'published':11}{'kills':>6}{'left unfinished':>17}")
    for (place, kind, published), left in sorted(groups.items()):
        span = f"{min(left)} to {max(left)}" if min(left) < max(left) else str(left[0])
        print(f"{place:28}{kind:9}{published:11}{len(left):6}{span:>17}")


if __name__ == "__main__":
    sys.exit(main())
