"""The experiments that are run: the published ones, the goals and the sweep, a setting a run."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, Literal, get_args

from models import AutoencoderConfig
from models.architecture import DecoderKind

Data = Literal["sequence", "ramp"]
Scaling = Literal["raw", "min-max", "by variable", "one deviation", "over all"]
Loss = Literal["mse", "l1", "mse, broadcast"]
Study = Literal["published", "goals", "sweep"]

SCALINGS: Final[tuple[Scaling, ...]] = get_args(Scaling)
DECODERS: Final[tuple[DecoderKind, ...]] = get_args(DecoderKind)


@dataclass(frozen=True, kw_only=True)
class ExperimentsConfig:
    """What is run, and where it is written.

    Attributes
    ----------
    data
        Folder for everything that is written.
    seeds, sweep_seeds
        Runs of each goal, whose median counts, and of each cell of the sweep.
    steps, ramp_steps, sweep_steps
        Steps of each of the library's runs: on the sequence, on the ramp and in the sweep.
    sweep_hidden
        Hidden sizes of the sweep.
    published_steps, published_ramp_steps
        Steps of the published recipes at most; 60,000 on the ramp take minutes.

    Raises
    ------
    ValueError
        If a number is under 1.
    """

    data: Path = Path("data/lake")
    seeds: int = 5
    sweep_seeds: int = 1
    steps: int = 300
    ramp_steps: int = 500
    sweep_steps: int = 300
    sweep_hidden: tuple[int, ...] = (5, 10, 32, 100)
    published_steps: int = 1000
    published_ramp_steps: int = 60_000

    def __post_init__(self) -> None:
        """Refuse numbers under 1."""
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                msg = f"{name}={value}: expected at least 1"
                raise ValueError(msg)

    @classmethod
    def quick(cls, *, data: Path, seeds: int = 5) -> "ExperimentsConfig":
        """Return what takes a minute or two: the same goals, less of the ramp and of the sweep."""
        return cls(
            data=data,
            seeds=seeds,
            sweep_steps=60,
            sweep_hidden=(10, 100),
            published_ramp_steps=2_000,
        )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One run.

    Attributes
    ----------
    study
        What it is part of.
    data
        What is to be rebuilt.
    hidden
        Size of the encoder's state.
    steps
        At most so many.
    is_differenced
        Whether the model sees, and rebuilds, the first row and then changes.
    scaling
        What is done to the values before that: nothing; to 0...1 by variable; mean 0 and standard
        deviation 1 by variable; each variable's mean but one deviation over all; or one mean and
        one deviation over all, which leaves the variables their levels.
    decoder, loss, seed
        Of the model and its training.
    """

    study: Study
    data: Data
    hidden: int
    steps: int
    is_differenced: bool = False
    scaling: Scaling = "by variable"
    decoder: DecoderKind = "closed_loop"
    loss: Loss = "mse"
    seed: int = 0

    @property
    def is_published(self) -> bool:
        """Whether the recipe is the published one, not this library's."""
        return self.study == "published"


def published_grid(config: ExperimentsConfig) -> list[Setting]:
    """Return the published runs: hidden size by differencing, and the ramp's."""
    steps, most = config.published_steps, config.published_ramp_steps

    def ramp(n_steps: int, decoder: DecoderKind, loss: Loss) -> Setting:
        return Setting(
            study="published", data="ramp", hidden=20, steps=min(n_steps, most), scaling="raw",
            decoder=decoder, loss=loss,
        )  # fmt: skip

    return [
        Setting(
            study="published", data="sequence", hidden=hidden, steps=steps, scaling="raw",
            is_differenced=is_differenced,
        )
        for hidden, is_differenced in product((5, 100), (False, True))
    ] + [
        ramp(2_000, "repeat_vector_wide", "mse, broadcast"),
        ramp(60_000, "repeat_vector_wide", "mse"),
        ramp(10_645, "repeat_vector_wide", "l1"),
        ramp(2_000, "repeat_vector", "mse"),
    ]  # fmt: skip


def goal_grid(config: ExperimentsConfig) -> list[Setting]:
    """Return the library's runs at its defaults: the sequence by hidden size, and the ramp."""
    default = AutoencoderConfig().latent_size
    return [
        Setting(
            study="goals", data="sequence", hidden=hidden, steps=config.steps,
            is_differenced=is_differenced, seed=seed,
        )
        for hidden, is_differenced, seed in product(
            (5, 10, 100), (False, True), range(config.seeds)
        )
    ] + [
        Setting(study="goals", data="ramp", hidden=hidden, steps=config.ramp_steps, seed=seed)
        for hidden, seed in product((20, default), range(config.seeds))
    ]  # fmt: skip


def sweep_grid(config: ExperimentsConfig) -> list[Setting]:
    """Return every decoder with every scaling, differenced and not, at every hidden size."""
    cells = product(
        DECODERS, (False, True), SCALINGS, config.sweep_hidden, range(config.sweep_seeds)
    )
    return [
        Setting(
            study="sweep", data="sequence", hidden=hidden, steps=config.sweep_steps,
            is_differenced=is_differenced, scaling=scaling, decoder=decoder, seed=seed,
        )
        for decoder, is_differenced, scaling, hidden, seed in cells
    ]  # fmt: skip
