"""Scoring many windows as views: windows a second, and memory beside that of copied windows.

    python tests/benchmarks/bench_scoring.py --windows 10000000

The cube, what is returned and the process's peak are printed in MB, and what the same windows
would take if they were copied. `--slab-bytes` shows that the peak doesn't follow the cube.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from models import AutoencoderConfig, LSTMAutoencoder, score

MB = 2**20


def main() -> None:
    """Score once and print a table."""
    options = arguments()
    n_starts = options.steps - options.length + 1
    n_entities = -(-options.windows // n_starts)
    cube = np.random.default_rng(0).standard_normal(
        (n_entities, options.steps, options.features), np.float32
    )
    observed = np.ones(cube.shape[:2], bool)
    windows = np.stack(
        np.unravel_index(np.arange(options.windows), (n_entities, n_starts)), axis=1
    ).astype(np.int64)
    model = LSTMAutoencoder(options.features, AutoencoderConfig(latent_size=options.latent))
    before = peak()
    started = time.perf_counter()
    scores = score(
        model,
        cube,
        observed,
        windows,
        length=options.length,
        batch_size=options.batch,
        slab_bytes=options.slab_bytes,
    )
    seconds = time.perf_counter() - started
    returned = sum(array.nbytes for array in vars(scores).values()) / MB
    copied = options.windows * options.length * options.features * 4 / MB
    print(f"{vars(options)}\ncube {cube.shape}")
    print(f"windows a second            {options.windows / seconds:12,.0f}")
    print(f"cube and index, MB          {(cube.nbytes + windows.nbytes) / MB:12,.0f}")
    print(f"returned, MB                {returned:12,.0f}")
    print(f"peak before scoring, MB     {before:12,.0f}")
    print(f"peak, MB                    {peak():12,.0f}")
    print(f"beside what is returned, MB {peak() - before - returned:12,.0f}")
    print(f"windows if copied, MB       {copied:12,.0f}")


def arguments() -> argparse.Namespace:
    """Read the sizes of the work."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {
        "windows": 10_000_000,
        "length": 8,
        "steps": 1460,
        "features": 16,
        "latent": 16,
        "batch": 4096,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--slab-bytes", type=int, default=None)
    return parser.parse_args()


def peak() -> float:
    """Return the greatest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
