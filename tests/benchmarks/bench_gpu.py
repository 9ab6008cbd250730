"""On a GPU: the decoder without a loop against the loop, against bare cuDNN, and where time goes.

Needs torch with CUDA, numpy and scikit-learn only. All sides run in one process, alternating,
after a warm-up; medians are printed, with ratios and the rate of arithmetic.

    python tests/benchmarks/bench_gpu.py
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[2]))

from models import AutoencoderConfig, LSTMAutoencoder, TrainingConfig
from models.epochs import EpochRunner
from models.processes import join_processes
from models.windowing import CubeOnHost, SlabbedCube

Step = Callable[[], None]


def main() -> None:
    """Measure every side and print a table."""
    options = arguments()
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU: nothing to measure")
    torch.manual_seed(0)
    x = torch.randn(options.batch, options.length, options.features, device="cuda")
    sides = {
        "closed loop, folded": autoencoder_step(x, options.hidden, "folded"),
        "closed loop, folded, CUDA graph": graphed(autoencoder_step(x, options.hidden, "folded")),
        "closed loop, a cell a step": autoencoder_step(x, options.hidden, "looped"),
        "repeat vector": autoencoder_step(x, options.hidden, "repeat_vector"),
        "bare cuDNN LSTM, encoder's and decoder's sizes": bare_step(x, options.hidden),
    }
    print(torch.cuda.get_device_name(), "torch", torch.__version__, vars(options))
    for precision in ("float32", "bfloat16"):
        report(precision, measure(sides, precision, options.rounds), options)
    print(f"product's own training: {product_rate(options):,.0f} windows a second")
    print(where_time_goes(sides["closed loop, folded"]))


def arguments() -> argparse.Namespace:
    """Read the sizes of the work."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in {
        "batch": 256,
        "length": 104,
        "features": 274,
        "hidden": 300,
        "rounds": 20,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def autoencoder_step(x: Tensor, hidden: int, kind: str) -> Step:
    """Return a step of training: forward, backward, clipped, Adam."""
    decoder = "repeat_vector" if kind == "repeat_vector" else "closed_loop"
    config = AutoencoderConfig(latent_size=hidden, decoder=decoder)
    model = LSTMAutoencoder(x.shape[2], config).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, capturable=True)
    forward = looped(model) if kind == "looped" else model

    def step() -> None:
        loss = nn.functional.mse_loss(forward(x).float(), x)
        optimizer.zero_grad(set_to_none=False)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()

    return step


def looped(model: LSTMAutoencoder) -> Callable[[Tensor], Tensor]:
    """Return the same function with a cell called at every step and fed with its projection."""

    def forward(x: Tensor) -> Tensor:
        h, c = model.encoder(x).chunk(2, dim=1)
        cell, output = model.decoder.cells[0], model.decoder.output
        steps = [output(h)]
        for _ in range(x.shape[1] - 1):
            h, c = cell(steps[-1], (h, c))
            steps.append(output(h))
        return torch.stack(steps[::-1], dim=1)

    return forward


def bare_step(x: Tensor, hidden: int) -> Step:
    """Return forward and backward of two bare LSTMs: no projection, loss or optimiser."""
    encoder = nn.LSTM(x.shape[2], hidden, batch_first=True).cuda()
    decoder = nn.LSTM(1, hidden, batch_first=True).cuda()
    zeros = x.new_zeros(len(x), x.shape[1] - 1, 1)

    def step() -> None:
        state = encoder(x)[1]
        torch.autograd.backward(decoder(zeros, state)[0].float().sum())

    return step


def graphed(step: Step) -> Step:
    """Return the step captured as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(sides: dict[str, Step], precision: str, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of a step of every side, the sides taking turns.

    A graph keeps the precision that it was captured in, float32.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    enabled = precision == "bfloat16"
    for turn in range(rounds + 3):
        for name, step in sides.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=enabled):
                start.record()
                step()
                end.record()
            torch.cuda.synchronize()
            if turn >= 3:
                times[name].append(start.elapsed_time(end))
    return {name: statistics.median(values) for name, values in times.items()}


def report(precision: str, medians: dict[str, float], options: argparse.Namespace) -> None:
    """Print milliseconds, windows a second, ratios and TFLOP/s."""
    ours = medians["closed loop, folded"]
    flop = flop_a_step(options)
    print(f"\n{precision}: side | ms a step | windows/s | ratio to ours | TFLOP/s")
    for name, milliseconds in medians.items():
        rate = 1e3 * options.batch / milliseconds
        print(
            f"{name} | {milliseconds:.2f} | {rate:,.0f} | {milliseconds / ours:.2f} | "
            f"{flop / milliseconds / 1e9:.1f}"
        )


def flop_a_step(options: argparse.Namespace) -> float:
    """Return the multiplications and additions of the folded step, backward twice the forward."""
    hidden, features = options.hidden, options.features
    encoder = 4 * hidden * (features + hidden)
    decoder = 4 * hidden * hidden + hidden * features
    return 3 * 2 * options.batch * options.length * (encoder + decoder)


def product_rate(options: argparse.Namespace) -> float:
    """Return the windows a second of the training that users get, gathering included."""
    cube = np.random.default_rng(0).normal(size=(64, 1000, options.features)).astype(np.float32)
    starts = range(1000 - options.length)
    windows = np.array([(entity, start) for entity in range(64) for start in starts])
    host = CubeOnHost(values=cube, observed=np.ones((64, 1000), bool), length=options.length)
    together = join_processes("cuda")
    config = TrainingConfig(batch_size=options.batch, device="cuda")
    model = LSTMAutoencoder(options.features, AutoencoderConfig(latent_size=options.hidden))
    slabs = SlabbedCube(host, device=together.device)
    runner = EpochRunner(model, slabs, windows, windows[:64], config, together)
    return [runner.run_epoch().windows_per_second for _ in range(3)][-1]


def where_time_goes(step: Step) -> str:
    """Return the kernels of a step by their time on the GPU."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        step()
        torch.cuda.synchronize()
    table: str = profiled.key_averages().table(sort_by="self_cuda_time_total", row_limit=15)
    return table


if __name__ == "__main__":
    main()
