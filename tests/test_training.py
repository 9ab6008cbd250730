"""Laws of training: reproducible, complete epochs, and the best weights returned."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from models.autoencoder import AutoencoderConfig
from models.early_stopping import BestModel
from models.errors import NonFiniteLossError, ShapeError
from models.training import EpochReport, TrainedModel, TrainingConfig, train
from models.windowing import WindowedCube
from tests import naive

LENGTH = 6
SMALL = AutoencoderConfig(latent_size=5)


def panel(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A cube `(2, 40, 3)` of waves and noise, a tenth of its steps masked."""
    generator = np.random.default_rng(seed)
    waves = np.sin(np.arange(40)[None, :, None] / [1.5, 2.5, 4.0])
    cube = (waves + 0.1 * generator.normal(size=(2, 40, 3))).astype(np.float32)
    observed = generator.random((2, 40)) > 0.1
    return cube * observed[..., None], observed


def rows(first: int, last: int) -> np.ndarray:
    return np.array([(entity, start) for entity in range(2) for start in range(first, last)])


def fit(**options: float | str) -> TrainedModel:
    cube, observed = panel()
    plain = {"loss": "mse", "input_dropout": 0.0, "device": "cpu"}
    config = plain | {"epochs": 4, "batch_size": 8} | options
    return train(
        cube,
        observed,
        rows(0, 21),
        rows(28, 35),
        length=LENGTH,
        autoencoder=SMALL,
        training=TrainingConfig(**config),
    )


def losses(trained: TrainedModel) -> list[tuple[float, float]]:
    return [(report.training_loss, report.validation_loss) for report in trained.history]


def naive_validation_loss(trained: TrainedModel, kind: str = "mse") -> float:
    cube, observed = panel()
    x = np.stack([naive.window(cube, row, LENGTH) for row in rows(28, 35)])
    mask = np.stack([naive.window(observed, row, LENGTH) for row in rows(28, 35)])
    with torch.no_grad():
        output = trained.model(torch.tensor(x)).numpy()
    return naive.masked_loss(output, x, mask, kind)


def test_the_same_seed_gives_the_same_losses_bit_for_bit() -> None:
    one, same, other = fit(seed=3), fit(seed=3), fit(seed=4)
    assert losses(one) == losses(same)
    assert losses(one) != losses(other)
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, same.model.state_dict()[name])


def test_values_left_out_of_the_input_are_drawn_by_the_seed() -> None:
    one, same = fit(seed=3, input_dropout=0.3), fit(seed=3, input_dropout=0.3)
    assert losses(one) == losses(same)
    assert losses(one) != losses(fit(seed=3))


def test_nothing_is_left_out_of_the_input_in_validation() -> None:
    trained = fit(input_dropout=0.5)
    assert naive_validation_loss(trained) == pytest.approx(trained.best_validation_loss, rel=1e-5)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    fit(epochs=1, input_dropout=0.2)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("loss", ["mse", "huber", "l1"])
def test_the_returned_weights_have_the_best_loss_of_the_history(loss: str) -> None:
    # A learning rate so large that the last epoch is not the best.
    trained = fit(loss=loss, epochs=12, learning_rate=0.3, min_delta=0.0)
    history = [report.validation_loss for report in trained.history]
    assert trained.best_validation_loss == min(history)
    assert trained.best_epoch < len(history)
    assert naive_validation_loss(trained, loss) == pytest.approx(min(history), rel=1e-5)


def test_is_best_marks_each_new_minimum() -> None:
    history = fit(epochs=10, learning_rate=0.1).history
    seen = math.inf
    for report in history:
        assert report.is_best == (report.validation_loss < seen)
        seen = min(seen, report.validation_loss)


def test_weights_are_copied_when_the_loss_falls_and_not_shared() -> None:
    model, best = torch.nn.Linear(1, 1), BestModel(patience=2, min_delta=0.1)
    assert best.update(1, 1.0, model)
    kept = best.state["weight"].clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    assert torch.equal(best.state["weight"], kept)
    assert best.update(2, 0.95, model)  # kept, but too small a fall to count against patience
    assert not best.exhausted(2)
    assert best.exhausted(3)
    assert not best.update(3, math.nan, model)


def test_training_stops_when_patience_runs_out() -> None:
    trained = fit(epochs=50, patience=2, min_delta=0.9)
    assert len(trained.history) < 10


def test_every_window_is_seen_once_an_epoch_in_a_new_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[tuple[int, int]]] = []
    gather = WindowedCube.gather

    def record(self: WindowedCube, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append([tuple(row) for row in windows.tolist()])
        return gather(self, windows)

    monkeypatch.setattr(WindowedCube, "gather", record)
    fit(epochs=2, batch_size=8)
    batches_an_epoch = 6 + 2  # 42 training and 14 validation windows
    first, second = (
        [row for batch in seen[start : start + 6] for row in batch]
        for start in (0, batches_an_epoch)
    )
    assert sorted(first) == sorted(second) == [tuple(row) for row in rows(0, 21).tolist()]
    assert first != second
    assert [len(batch) for batch in seen[:6]] == [8, 8, 8, 8, 8, 2]


def test_the_loss_of_an_epoch_is_the_mean_over_values_whatever_the_batches() -> None:
    tiny = 1e-30  # so small a step that the weights stay as they were
    whole, parts = (
        fit(epochs=1, batch_size=size, learning_rate=tiny).history[0] for size in (100, 5)
    )
    assert parts.training_loss == pytest.approx(whole.training_loss, rel=1e-6)
    assert parts.validation_loss == pytest.approx(whole.validation_loss, rel=1e-6)
    trained = fit(epochs=1, batch_size=5, learning_rate=tiny)
    assert naive_validation_loss(trained) == pytest.approx(parts.validation_loss, rel=1e-5)


def test_masked_steps_teach_nothing() -> None:
    """The target of a masked step is absent: all masked but one step trains on that one."""
    cube = np.zeros((1, 4, 1), np.float32)
    cube[0, 3] = 1.0
    observed = np.array([[False, False, False, True]])
    config = TrainingConfig(
        loss="mse", input_dropout=0.0, epochs=1, learning_rate=1e-30, device="cpu"
    )
    window = np.array([[0, 0]])
    trained = train(cube, observed, window, window, length=4, autoencoder=SMALL, training=config)
    with torch.no_grad():
        last = trained.model(torch.tensor(cube))[0, 3, 0].item()
    assert trained.history[0].training_loss == pytest.approx((last - 1) ** 2, rel=1e-5)


@pytest.mark.parametrize("differenced", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_published_sequence_is_learnt_in_sixty_steps(*, differenced: bool, seed: int) -> None:
    spread = naive.SEQUENCE.std(axis=0)
    standardised = (naive.SEQUENCE - naive.SEQUENCE.mean(axis=0)) / spread
    if differenced:
        standardised[1:] = np.diff(standardised, axis=0)
    cube, window = standardised.astype(np.float32)[None], np.array([[0, 0]])
    trained = train(
        cube,
        np.ones((1, 14), dtype=bool),
        window,
        window,
        length=14,
        autoencoder=AutoencoderConfig(latent_size=100),
        training=TrainingConfig(seed=seed, input_dropout=0.0, device="cpu"),
    )
    with torch.no_grad():
        residual = (trained.model(torch.tensor(cube)).numpy() - cube) * spread
    assert np.square(residual).mean() < 1e-4


@pytest.mark.parametrize("decoder", ["closed_loop", "repeat_vector"])
def test_the_ramp_is_learnt_and_not_its_mean(decoder: str) -> None:
    ramp = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    cube = ((ramp - ramp.mean()) / ramp.std()).astype(np.float32).reshape(1, 5, 1)
    window = np.array([[0, 0]])
    trained = train(
        cube,
        np.ones((1, 5), dtype=bool),
        window,
        window,
        length=5,
        autoencoder=AutoencoderConfig(decoder=decoder, latent_size=20),
        training=TrainingConfig(epochs=300, input_dropout=0.0, device="cpu"),
    )
    with torch.no_grad():
        output = trained.model(torch.tensor(cube)).numpy()
    np.testing.assert_allclose(output * ramp.std() + ramp.mean(), ramp.reshape(1, 5, 1), atol=0.02)


def test_windows_of_one_step_can_be_learnt() -> None:
    cube, observed = panel()
    config = TrainingConfig(epochs=2, device="cpu")
    windows = (rows(0, 30), rows(30, 40))
    trained = train(cube, observed, *windows, length=1, autoencoder=SMALL, training=config)
    assert trained.history[-1].training_loss < trained.history[0].training_loss


def test_each_report_is_handed_over_as_it_comes() -> None:
    cube, observed = panel()
    reports: list[EpochReport] = []
    config = TrainingConfig(epochs=3, device="cpu")
    trained = train(
        cube,
        observed,
        rows(0, 21),
        rows(28, 35),
        length=LENGTH,
        training=config,
        on_epoch=reports.append,
    )
    assert tuple(reports) == trained.history
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert reports[0].learning_rate == config.learning_rate
    assert all(report.windows_per_second > 0 for report in reports)
    assert not trained.model.training


def test_a_loss_that_is_not_finite_names_its_epoch() -> None:
    cube, observed = panel()
    cube[0, 0], observed[0, 0] = 1e30, True
    windows = rows(0, 21), rows(28, 35)
    config = TrainingConfig(loss="mse", device="cpu")
    with pytest.raises(NonFiniteLossError, match=r"epoch 1 .*learning_rate"):
        train(cube, observed, *windows, length=LENGTH, autoencoder=SMALL, training=config)


def test_arrays_that_break_the_contract_are_refused_before_training() -> None:
    cube, observed = panel()
    with pytest.raises(ValueError, match="no validation windows"):
        train(cube, observed, rows(0, 9), rows(0, 9)[:0], length=LENGTH)
    with pytest.raises(ValueError, match="no training windows"):
        train(cube, observed, rows(0, 9)[:0], rows(0, 9), length=LENGTH)
    with pytest.raises(ValueError, match="reaches out"):
        train(cube, observed, rows(0, 9), rows(30, 39), length=LENGTH)
    with pytest.raises(ShapeError, match="float64"):
        train(cube.astype(float), observed, rows(0, 9), rows(20, 29), length=LENGTH)
    cube[1, 2, 0] = np.inf
    with pytest.raises(ValueError, match="entity 1, step 2, feature 0"):
        train(cube, observed, rows(0, 9), rows(20, 29), length=LENGTH)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "mae"},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"gradient_clip": -1.0},
        {"patience": 0},
        {"min_delta": 1.0},
        {"input_dropout": 1.0},
        {"input_dropout": -0.1},
        {"seed": -1},
        {"device": "tpu"},
    ],
)
def test_values_outside_their_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TrainingConfig(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_absent_is_an_error_and_auto_does_without() -> None:
    with pytest.raises(ValueError, match="torch sees no GPU"):
        fit(device="cuda")
    assert losses(fit(epochs=1, device="auto")) == losses(fit(epochs=1, device="cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("decoder", ["closed_loop", "repeat_vector"])
def test_a_gpu_trains_without_a_warning_and_hands_the_model_back_on_the_cpu(decoder: str) -> None:
    cube, observed = panel()
    trained = train(
        cube,
        observed,
        rows(0, 21),
        rows(28, 35),
        length=LENGTH,
        autoencoder=AutoencoderConfig(decoder=decoder, latent_size=5),
        training=TrainingConfig(epochs=4, device="cuda"),
    )
    assert trained.history[-1].training_loss < trained.history[0].training_loss
    assert {parameter.device.type for parameter in trained.model.parameters()} == {"cpu"}
