"""One epoch of LSTM autoencoders: Foreshock beside Merlion, Numalogic and Sequitur, on the CPU.

Every side trains on all windows of the same series, with as many threads, units, windows a batch
and the same torch, each in a process of its own. The processes live as long as the benchmark
and run an epoch by turns, one at a time, so that a noisy machine slows all of them alike. The
first epochs are not counted; the table gives medians, and each side's ratio to Foreshock's closed
loop; the fastest epoch tells how much of a median is noise. Run it from the root of the
repository::

    python tests/benchmarks/bench_models.py --threads 2 --epochs 5 --json bench.json

Peers are installed into environments of their own; what can't be installed or started is left
out, and named. How each side is driven is said in `peers/`. Their models aren't the same:
`naive` computes what `ours:closed_loop` does; Merlion's decoder gets the truth in training, like
`ours:teacher_forcing`; Numalogic and Sequitur repeat the embedding at every step, like
`ours:repeat_vector`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from peer_venvs import PEERS, InstallError, interpreter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REFERENCE = "ours:closed_loop"
DECODERS = (
    "closed_loop",
    "teacher_forcing",
    "scheduled_mix",
    "repeat_vector",
    "repeat_vector_wide",
)
SIDES = (
    *(f"ours:{decoder}" for decoder in DECODERS),
    "naive",
    "merlion",
    "merlion:module",
    "numalogic",
    "sequitur",
)


class SideError(Exception):
    """A side did not start, or ended before its time."""


class Side:
    """A process that trains for an epoch whenever it is told to."""

    def __init__(self, name: str, work: dict[str, object], *, venvs: Path, logs: Path) -> None:
        self.name = name
        self.seconds: list[float] = []
        package, _, variant = name.partition(":")
        python = interpreter(package, venvs) if package in PEERS else sys.executable
        argument = json.dumps({**work, "variant": variant})
        self._log = logs / f"{package}-{variant}.log"
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [str(python), str(HERE / "peers" / f"{package}_side.py"), argument],
                env=environment(package, int(str(work["threads"]))),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.about = self._answer()

    def run_epoch(self) -> float:
        """Train for one epoch and return the seconds that it took."""
        with suppress(BrokenPipeError):  # then it has ended, and its log says why
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def end(self) -> None:
        """Let the process end: it does so when nothing more can come."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, float | int | str]:
        line = self._process.stdout.readline()
        if not line:
            self.end()
            words = self._log.read_text(encoding="utf-8").strip().splitlines()
            raise SideError(f"{self.name}: {words[-1] if words else 'it ended without a word'}")
        return json.loads(line)


def environment(package: str, threads: int) -> dict[str, str]:
    """Return a side's environment: so many threads, no GPU, and only its own packages."""
    common = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # those who wait for their turn must not spin
        "CUDA_VISIBLE_DEVICES": "",
    }
    common.pop("PYTHONPATH", None)
    return common | ({"PYTHONPATH": str(ROOT)} if package == "ours" else {})


def start(
    names: Sequence[str], work: dict[str, object], *, venvs: Path, logs: Path
) -> tuple[list[Side], dict[str, str]]:
    """Start the sides; return them, and why each of the others is left out."""
    sides, left_out = [], {}
    for name in names:
        try:
            sides.append(Side(name, work, venvs=venvs, logs=logs))
        except (InstallError, SideError) as error:
            left_out[name] = str(error)
            print(f"left out: {error}", file=sys.stderr)
    return sides, left_out


def measure(sides: Sequence[Side], warmup: int, epochs: int, sequitur_epochs: int) -> None:
    """Run epochs by turns, the first side another one each round, and keep their seconds."""
    for number in range(-warmup, epochs):
        first = number % max(len(sides), 1)
        for side in (*sides[first:], *sides[:first]):
            if side.name == "sequitur" and number >= sequitur_epochs:
                continue
            seconds = side.run_epoch()
            if number >= 0:
                side.seconds.append(seconds)
            print(f"epoch {number + 1}: {side.name} {seconds:.3f} s", file=sys.stderr)


def summarise(sides: Sequence[Side], windows: int) -> list[dict[str, float | int | str | None]]:
    """Take medians, and their ratios to the reference's where it ran."""
    medians = {side.name: statistics.median(side.seconds) for side in sides}
    return [
        {
            "side": side.name,
            **side.about,
            "epochs": len(side.seconds),
            "seconds": medians[side.name],
            "fastest": min(side.seconds),
            "windows_per_second": windows / medians[side.name],
            "ratio": medians[side.name] / medians[REFERENCE] if REFERENCE in medians else None,
        }
        for side in sides
    ]


def show(table: Sequence[dict[str, float | int | str | None]]) -> None:
    """Print a row a side, the fastest first."""
    titles = f"{'side':<26}{'parameters':>12}{'s an epoch':>12}{'fastest':>10}"
    print(f"{titles}{'windows/s':>12}{'ratio':>8}")
    for row in sorted(table, key=lambda row: row["seconds"]):
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(
            f"{row['side']:<26}{row['parameters']:>12,}{row['seconds']:>12.3f}"
            f"{row['fastest']:>10.3f}{row['windows_per_second']:>12,.0f}{ratio:>8}"
        )


def machine() -> dict[str, str | int | None]:
    """Describe what the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), metavar="SIDE")
    sizes = {"windows": 2000, "length": 14, "features": 274, "hidden": 64, "batch": 64}
    for name, size in (sizes | {"threads": 2, "warmup": 1, "epochs": 5}).items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"{size} if not given")
    parser.add_argument(
        "--sequitur-epochs", type=int, default=1, help="1 if not given; they are slow"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "foreshock-bench")
    parser.add_argument("--json", type=Path, help="file to write every epoch and the medians to")
    return parser.parse_args()


def main() -> None:
    """Measure, print and, if asked, write the figures as JSON."""
    chosen = options()
    names = ("length", "hidden", "batch", "learning_rate", "threads")
    work = {name: getattr(chosen, name) for name in names}
    with TemporaryDirectory() as folder:
        series = Path(folder) / "series.npy"
        shape = (chosen.windows + chosen.length - 1, chosen.features)
        np.save(series, np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
        work |= {"series": str(series), "epochs": chosen.warmup + chosen.epochs}
        sides, left_out = start(chosen.sides, work, venvs=chosen.venvs, logs=Path(folder))
        try:
            measure(sides, chosen.warmup, chosen.epochs, chosen.sequitur_epochs)
        finally:
            for side in sides:
                side.end()
    table = summarise(sides, chosen.windows)
    show(table)
    if chosen.json:
        report = {
            "machine": machine(),
            "options": {k: v for k, v in vars(chosen).items() if k not in ("json", "venvs")},
            "medians": table,
            "epochs": {side.name: side.seconds for side in sides},
            "left_out": left_out,
        }
        chosen.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
