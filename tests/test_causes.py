"""Causes: each rule at its threshold, and failures planted in training that are to be named."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.causes import REACHED_SHARE, Evidence, find_causes
from models.diagnosis import Diagnosis, diagnose
from models.training import train
from models.training_config import EpochReport, TrainingConfig
from tests import naive

LENGTH = 8
TRAINING = np.array([(entity, start) for entity in range(3) for start in range(200)])
HELD_OUT = np.array([(entity, start) for entity in range(3) for start in range(210, 290)])
OBSERVED = np.ones((3, 300), bool)

INNOCENT = Evidence(
    input_spread=1.0,
    greatest_input_spread=1.5,
    input_level=0.1,
    narrowest_is_latent=True,
    components=(2, 4, 8, 16),
    components_left=(0.7, 0.6, 0.5, 0.4),
    biases_moved=0.8,
    validation_fall=0.001,
    training_share=0.2,
    probe_gain=0.1,
    out_of_bounds=None,
)
SMALL_MODEL = AutoencoderConfig(latent_size=4)
PLANTED = {"loss_does_not_reach_steps", "too_small", "unscaled_input", "undertrained"}


def named(
    *, model: float = 0.9, last_value: float = 1.2, training: float = 0.88, **changes: Any
) -> list[str]:
    evidence = dataclasses.replace(INNOCENT, **changes)
    found = find_causes(evidence, model=model, last_value=last_value, training=training)
    return [cause.name for cause in found]


def test_the_innocent_have_none() -> None:
    assert named() == []
    assert named(validation_fall=None, training_share=None, probe_gain=None) == []


BAD = {"model": 3.0, "training": 3.0}
SMALL = {"components_left": (0.875, 0.75, 0.5, 0.4)}


@pytest.mark.parametrize(
    ("cause", "guilty", "innocent"),
    [
        ("unscaled_input", {"input_spread": 0.099}, {"input_spread": 0.1}),
        ("unscaled_input", {"greatest_input_spread": 10.1}, {"greatest_input_spread": 10.0}),
        ("unscaled_input", {"input_level": 10.1}, {"input_level": 10.0}),
        ("output_bounded", {"out_of_bounds": 0.06}, {"out_of_bounds": 0.05}),
        ("overshot", {"biases_moved": 6.1}, {"biases_moved": 6.0}),
        ("undertrained", {"biases_moved": 0.049}, {"biases_moved": 0.05}),
        ("undertrained", {"validation_fall": 0.021}, {"validation_fall": 0.02}),
        ("too_small", SMALL, {"components_left": (0.84, 0.7, 0.5, 0.4)}),
        ("too_small", SMALL, {"components": (2, 4), "components_left": (0.875, 0.75)}),
        (
            "too_small",
            {"components_left": (0.98, 0.96, 0.9, 0.87)},
            {"components_left": (0.98, 0.96, 0.9, 0.89)},
        ),
        ("level_dominates", {"last_value": 0.45}, {"last_value": 0.46}),
        ("level_dominates", BAD | {"last_value": 0.5}, BAD | {"last_value": 0.51}),
        ("overfitted", {"training": 0.79}, {"training": 0.81}),
        ("loss_does_not_reach_steps", {"probe_gain": 0.125}, {"probe_gain": 0.124}),
    ],
)
def test_each_rule_turns_at_its_threshold(
    cause: str, guilty: dict[str, Any], innocent: dict[str, Any]
) -> None:
    assert named(**guilty) == [cause]
    assert named(**innocent) == []


def test_a_model_that_is_hardly_trained_can_t_blame_its_loss() -> None:
    assert named(probe_gain=0.9, biases_moved=0.001) == ["undertrained"]
    assert named(probe_gain=0.9, validation_fall=0.03) == ["undertrained"]


def test_what_may_follow_from_long_steps_is_not_named() -> None:
    changes = {"biases_moved": 9.0, "probe_gain": 0.9, "validation_fall": 0.5, "training": 0.1}
    assert named(**changes, **SMALL) == ["overshot", "too_small"]


def test_with_unscaled_input_nothing_that_may_follow_from_it_is_named() -> None:
    everything = SMALL | {"biases_moved": 0.0, "last_value": 0.1, "training": 0.1}
    assert named(input_level=99.0, out_of_bounds=1.0, **everything) == [
        "unscaled_input",
        "output_bounded",
    ]
    assert named(**everything) == ["undertrained", "too_small", "level_dominates", "overfitted"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_spread": 0.001}, "deviations are 0.001 in the median .* Standardise the data"),
        ({"out_of_bounds": 0.32}, "but 32% of the observed values lie outside. Scale the data"),
        ({"biases_moved": 0.0003}, "by only 0.0003 of a weight's size. Raise learning_rate"),
        ({"biases_moved": 12.3}, "moved .* by 12 times a weight's size. Lower learning_rate"),
        ({"validation_fall": 0.123}, "fell by 12.3% in the last quarter .* Raise epochs"),
        (SMALL, "PCA with 2 components leaves 0.88 .* with 8 only 0.50. Raise latent_size, now"),
        (SMALL | {"narrowest_is_latent": False}, "Raise hidden_sizes, now 2, to about 8"),
        (SMALL | {"components": (1, 2, 4, 8)}, "PCA with 1 component leaves"),
        (
            {"training_share": -0.01, "probe_gain": 0.5},
            "explains 0% of what .* add 50% held out.* broadcast between output and target",
        ),
    ],
)
def test_sentences_say_what_was_measured_and_what_to_change(
    changes: dict[str, Any], words: str
) -> None:
    evidence = dataclasses.replace(INNOCENT, **changes)
    (cause,) = find_causes(evidence, model=0.9, last_value=1.2, training=0.9)
    assert re.search(words, cause.sentence)


def waves(
    n_waves: int, n_features: int, *, seed: int = 0, rates: tuple[float, float] = (1.0, 2.5)
) -> np.ndarray:
    """Return standardised mixtures of waves `(3, 300, F)` that differ in phase by entity."""
    generator = np.random.default_rng(seed)
    rate = generator.uniform(*rates, size=n_waves)
    phases = generator.uniform(0, 6, size=(3, 1, n_waves))
    mixed = np.sin(np.arange(300)[:, None] * rate + phases)
    cube = mixed @ generator.normal(size=(n_waves, n_features))
    cube += 0.1 * generator.normal(size=cube.shape)
    standardised = (cube - cube.mean(axis=(0, 1))) / cube.std(axis=(0, 1))
    return standardised.astype(np.float32)


def trained_diagnosis(
    cube: np.ndarray, autoencoder: AutoencoderConfig, **training: Any
) -> Diagnosis:
    config = TrainingConfig(device="cpu", **training)
    trained = train(
        cube,
        OBSERVED,
        TRAINING,
        HELD_OUT,
        length=LENGTH,
        autoencoder=autoencoder,
        training=config,
    )
    return diagnose(
        trained.model,
        cube,
        OBSERVED,
        TRAINING,
        HELD_OUT,
        length=LENGTH,
        history=trained.history,
        training=config,
    )


def planted(diagnosis: Diagnosis) -> set[str]:
    return {cause.name for cause in diagnosis.causes} & PLANTED


def broadcast_of_one_window(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compare each step `(T, 1, F)` with all steps `(T, F)` of its window."""
    return (output[0][:, None] - target[0]).square().mean()


def broadcast_of_a_batch(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compare each step `(B, T, 1, F)` with all of another window `(B, T, F)`, B being T."""
    return (output[:, :, None] - target).square().mean()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("decoder", ["closed_loop", "repeat_vector"])
@pytest.mark.parametrize(
    ("loss", "batch_size"), [(broadcast_of_one_window, 1), (broadcast_of_a_batch, LENGTH)]
)
def test_a_loss_that_broadcasts(loss: Any, batch_size: int, decoder: Any, seed: int) -> None:
    cube = waves(4, 8, seed=seed)
    windows = torch.tensor(np.stack([cube[e, s : s + LENGTH] for e, s in TRAINING]))
    config = AutoencoderConfig(decoder=decoder, latent_size=16)
    model = LSTMAutoencoder(8, config, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    order = torch.Generator().manual_seed(seed)
    for _ in range(200):
        batch = windows[torch.randint(len(windows), (batch_size,), generator=order)]
        optimizer.zero_grad()
        torch.autograd.backward(loss(model(batch), batch))
        optimizer.step()
    diagnosis = diagnose(model, cube, OBSERVED, TRAINING, HELD_OUT, length=LENGTH)
    assert diagnosis.verdict == "collapsed"
    assert planted(diagnosis) == {"loss_does_not_reach_steps"}
    assert "flat line" in diagnosis.sentence
    assert "broadcast" in diagnosis.sentence


@pytest.mark.parametrize(
    ("config", "option"),
    [
        (AutoencoderConfig(latent_size=2), "Raise latent_size, now 2,"),
        (AutoencoderConfig(latent_size=16, hidden_sizes=(2,)), "Raise hidden_sizes, now 2,"),
    ],
)
def test_a_tiny_bottleneck(config: AutoencoderConfig, option: str) -> None:
    diagnosis = trained_diagnosis(waves(24, 24), config, epochs=25)
    assert diagnosis.verdict in ("collapsed", "beaten_by_pca")
    assert planted(diagnosis) == {"too_small"}
    assert option in diagnosis.sentence


@pytest.mark.parametrize(("level", "spread"), [(1000, 1), (0, 1e-3), (1, 1e-3), (0, 1000)])
def test_unscaled_input(level: float, spread: float) -> None:
    cube = (level + spread * waves(4, 8)).astype(np.float32)
    diagnosis = trained_diagnosis(cube, AutoencoderConfig(latent_size=16), epochs=10)
    assert diagnosis.verdict == "collapsed"
    assert planted(diagnosis) == {"unscaled_input"}
    assert "Standardise" in diagnosis.sentence


@pytest.mark.parametrize("decoder", ["closed_loop", "repeat_vector"])
def test_a_learning_rate_of_a_millionth(decoder: Any) -> None:
    config = AutoencoderConfig(decoder=decoder, latent_size=16)
    diagnosis = trained_diagnosis(waves(4, 8), config, epochs=10, learning_rate=1e-6)
    assert diagnosis.verdict == "collapsed"
    assert planted(diagnosis) == {"undertrained"}
    assert "Raise learning_rate" in diagnosis.sentence


@pytest.mark.parametrize("decoder", ["closed_loop", "repeat_vector"])
def test_a_learning_rate_of_one(decoder: Any) -> None:
    config = AutoencoderConfig(decoder=decoder, latent_size=16)
    diagnosis = trained_diagnosis(waves(4, 8), config, epochs=10, learning_rate=1.0)
    assert diagnosis.verdict == "collapsed"
    assert [cause.name for cause in diagnosis.causes] == ["overshot"]


def test_too_few_epochs() -> None:
    config = AutoencoderConfig(latent_size=16)
    diagnosis = trained_diagnosis(waves(4, 8), config, epochs=4, learning_rate=3e-3)
    assert planted(diagnosis) == {"undertrained"}
    assert "in the last quarter of the epochs" in diagnosis.sentence


@pytest.mark.parametrize("decoder", ["closed_loop", "repeat_vector"])
def test_a_good_model_has_no_cause(decoder: Any) -> None:
    # The windows of one wave lie on a circle: a curved map needs one number for it, PCA two.
    config = AutoencoderConfig(decoder=decoder, latent_size=1, hidden_sizes=(16,))
    diagnosis = trained_diagnosis(waves(1, 8, rates=(0.5, 1.2)), config, epochs=30)
    assert diagnosis.verdict == "sound"
    assert diagnosis.causes == ()
    assert diagnosis.sentence.startswith("The model beats the mean")


def test_noise_is_not_the_fault_of_the_training() -> None:
    cube = np.random.default_rng(0).normal(size=(3, 300, 8)).astype(np.float32)
    config = AutoencoderConfig(latent_size=1, bottleneck="hidden")
    diagnosis = trained_diagnosis(cube, config, epochs=25)
    assert diagnosis.verdict == "collapsed"
    assert [cause.name for cause in diagnosis.causes] == ["too_small"]


def test_a_slow_level() -> None:
    steps = np.random.default_rng(0).normal(size=(3, 300, 4))
    cube = np.cumsum(steps, axis=1)
    cube = ((cube - cube.mean(axis=1, keepdims=True)) / cube.std(axis=1, keepdims=True)).astype(
        np.float32
    )
    diagnosis = trained_diagnosis(cube, AutoencoderConfig(latent_size=2), epochs=25)
    assert "level_dominates" in [cause.name for cause in diagnosis.causes]
    assert "Difference the data" in diagnosis.sentence


def test_windows_learnt_by_heart() -> None:
    cube = np.random.default_rng(0).normal(size=(3, 300, 8)).astype(np.float32)
    config = AutoencoderConfig(latent_size=64)
    model = LSTMAutoencoder(8, config)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    few = TRAINING[::20]
    windows = torch.tensor(np.stack([cube[e, s : s + LENGTH] for e, s in few]))
    for _ in range(150):
        optimizer.zero_grad()
        torch.autograd.backward((model(windows) - windows).square().mean())
        optimizer.step()
    diagnosis = diagnose(model, cube, OBSERVED, few, HELD_OUT, length=LENGTH)
    assert [cause.name for cause in diagnosis.causes] == ["overfitted"]


def test_a_bounded_output() -> None:
    config = AutoencoderConfig(decoder="repeat_vector_wide", latent_size=16)
    diagnosis = trained_diagnosis(waves(4, 8), config, epochs=10)
    assert diagnosis.causes[0].name == "output_bounded"
    beyond = np.abs(waves(4, 8)[:, : 199 + LENGTH]) > 1
    assert diagnosis.evidence is not None
    assert diagnosis.evidence.out_of_bounds == pytest.approx(beyond.mean(), rel=1e-6)


class TestEvidence:
    """Each measurement against an oracle."""

    @staticmethod
    def measured(cube: np.ndarray, observed: np.ndarray = OBSERVED, **options: Any) -> Evidence:
        model = options.pop("model", LSTMAutoencoder(cube.shape[2], SMALL_MODEL))
        diagnosis = diagnose(model, cube, observed, TRAINING, HELD_OUT, length=LENGTH, **options)
        assert diagnosis.evidence is not None
        return diagnosis.evidence

    def test_the_scale_is_that_of_the_observed_input(self) -> None:
        generator = np.random.default_rng(0)
        observed = generator.random((3, 300)) < 0.8
        cube = generator.normal([3.0, -50.0, 0.0, 2.0], [2.0, 4.0, 1.0, 0.0], size=(3, 300, 4))
        cube = (cube * observed[..., None]).astype(np.float32)
        got = self.measured(cube, observed, target=np.where(observed[..., None], cube / 9, 0))
        seen = cube[:, : 199 + LENGTH][observed[:, : 199 + LENGTH]]
        spread = seen.std(axis=0, dtype=float)
        assert got.input_spread == pytest.approx(np.sort(spread)[2], rel=1e-5)
        assert got.greatest_input_spread == pytest.approx(spread.max(), rel=1e-5)
        level = np.abs(seen.mean(axis=0, dtype=float)).max()
        assert got.input_level == pytest.approx(level / spread.max(), rel=1e-5)

    def test_input_that_never_varies_has_no_spread(self) -> None:
        got = self.measured(np.ones((3, 300, 8), np.float32), target=waves(4, 8))
        assert (got.input_spread, got.greatest_input_spread, got.input_level) == (0, 0, 0)

    @pytest.mark.parametrize(
        ("config", "narrowest", "is_latent"),
        [
            (AutoencoderConfig(latent_size=4), 4, True),
            (AutoencoderConfig(latent_size=4, hidden_sizes=(16, 2)), 2, False),
            (AutoencoderConfig(latent_size=3, hidden_sizes=(16,)), 3, True),
        ],
    )
    def test_capacity_is_what_pca_leaves(
        self, config: AutoencoderConfig, narrowest: int, *, is_latent: bool
    ) -> None:
        cube = waves(24, 8)
        got = self.measured(cube, model=LSTMAutoencoder(8, config))
        fitted, judged = (
            np.stack([cube[e, s : s + LENGTH].ravel() for e, s in rows]).astype(float)
            for rows in (TRAINING, HELD_OUT)
        )
        each_step = cube[:, : 199 + LENGTH].mean(axis=(0, 1), dtype=float)
        whole = ((judged - np.tile(each_step, LENGTH)) ** 2).mean()

        def left(n_components: int) -> float:
            rebuilt = naive.principal_components(fitted, judged, n_components)
            return float(((rebuilt - judged) ** 2).mean() / whole)

        sizes = [narrowest * 2**k for k in range(9) if narrowest * 2**k <= 8 * LENGTH / 4]
        assert got.narrowest_is_latent == is_latent
        assert got.components == tuple(sizes)
        assert got.components_left == pytest.approx(tuple(map(left, sizes)), rel=1e-3)

    def test_the_training_share_is_what_the_model_explains_over_what_pca_does(self) -> None:
        cube, model = waves(24, 8), LSTMAutoencoder(8, SMALL_MODEL)
        x = np.stack([cube[e, s : s + LENGTH] for e, s in TRAINING])
        with torch.no_grad():
            output = model(torch.tensor(x)).numpy()
        rows = x.reshape(len(x), -1).astype(float)
        rebuilt = naive.principal_components(rows, rows, 4).reshape(x.shape)
        mean = naive.training_mean(cube, OBSERVED, TRAINING, LENGTH)
        of_mean, of_model, of_pca = (((x - y) ** 2).mean() for y in (mean, output, rebuilt))
        got = self.measured(cube, model=model)
        expected = (of_mean - of_model) / (of_mean - of_pca)
        assert got.training_share == pytest.approx(expected, rel=1e-3)
        assert got.probe_gain is not None
        assert got.probe_gain > 0

    def test_a_model_that_explains_something_is_not_probed(self) -> None:
        config = AutoencoderConfig(latent_size=4)
        diagnosis = trained_diagnosis(waves(4, 8, rates=(0.3, 0.6)), config, epochs=10)
        assert diagnosis.evidence is not None
        assert diagnosis.evidence.training_share is not None
        assert diagnosis.evidence.training_share > REACHED_SHARE
        assert diagnosis.evidence.probe_gain is None

    @pytest.mark.parametrize("seed", [0, 7])
    def test_biases_move_whatever_the_seed_was(self, seed: int) -> None:
        model = LSTMAutoencoder(8, SMALL_MODEL, seed=seed)
        assert self.measured(waves(4, 8), model=model).biases_moved == 0
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "bias" in name:
                    parameter.add_(0.1)
        weights = torch.cat([p.flatten() for n, p in model.named_parameters() if "weight" in n])
        size = float(weights.detach().square().mean().sqrt())
        got = self.measured(waves(4, 8), model=model).biases_moved
        assert got == pytest.approx(0.1 / size, rel=0.01)

    @pytest.mark.parametrize(
        ("losses", "epochs", "fall"),
        [
            ([], 9, None),
            ([1.0], 1, None),
            ([1.0, 0.75], 2, 0.25),
            ([1.0, 0.5, 0.4, 0.3, 0.5, 0.6, 0.27, 0.9], 8, 0.1),  # two of eight epochs
            ([1.0, 0.5, 0.6, 0.7], 4, 0.0),
            ([1.0, 0.75], 9, 0.0),  # patience ended it
            ([1.0, 0.75], None, 0.25),
            ([0.0, 0.0], 2, 0.0),
        ],
    )
    def test_the_fall_is_that_of_the_last_quarter_of_all_epochs(
        self, losses: list[float], epochs: int | None, fall: float | None
    ) -> None:
        history = [
            EpochReport(
                epoch=epoch,
                training_loss=1.0,
                validation_loss=loss,
                learning_rate=0.1,
                windows_per_second=1.0,
                is_best=True,
            )
            for epoch, loss in enumerate(losses, 1)
        ]
        training = None if epochs is None else TrainingConfig(epochs=epochs)
        got = self.measured(waves(4, 8), history=history, training=training)
        assert got.validation_fall == (None if fall is None else pytest.approx(fall))
