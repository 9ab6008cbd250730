"""Laws of training: reproducible, complete epochs, and the best weights returned."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.architecture import AutoencoderConfig
from models.autoencoder import LSTMAutoencoder
from models.early_stopping import BestModel
from models.errors import NonFiniteLossError, ShapeError
from models.training import train
from models.training_config import BatchReport, EpochReport, TrainedModel, TrainingConfig
from models.windowing import Batch, WindowedCube
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


def fit(
    autoencoder: AutoencoderConfig = SMALL,
    *,
    exposure: np.ndarray | None = None,
    resume: Path | None = None,
    **options: Any,
) -> TrainedModel:
    cube, observed = panel()
    config = {"device": "cpu", "epochs": 4, "batch_size": 8} | options
    return train(
        cube,
        observed,
        rows(0, 21),
        rows(28, 35),
        length=LENGTH,
        exposure=exposure,
        autoencoder=autoencoder,
        training=TrainingConfig(**config),
        resume=resume,
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


WHAT_IS_LEFT_OUT = pytest.mark.parametrize("option", ["input_dropout", "hidden_newest"])


@WHAT_IS_LEFT_OUT
def test_what_is_left_out_of_the_input_is_drawn_by_the_seed(option: str) -> None:
    one, same = fit(seed=3, **{option: 0.3}), fit(seed=3, **{option: 0.3})
    assert losses(one) == losses(same)
    assert losses(one) != losses(fit(seed=3))


@WHAT_IS_LEFT_OUT
def test_nothing_is_left_out_of_the_input_in_validation(option: str) -> None:
    trained = fit(**{option: 0.5})
    assert naive_validation_loss(trained) == pytest.approx(trained.best_validation_loss, rel=1e-5)


def test_of_a_share_of_the_windows_the_newest_step_is_hidden_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.Tensor] = []
    forward = LSTMAutoencoder.forward

    def recorded(self: LSTMAutoencoder, x: torch.Tensor, **options: Any) -> torch.Tensor:
        if self.training:
            seen.append(x)
        return forward(self, x, **options)

    monkeypatch.setattr(LSTMAutoencoder, "forward", recorded)
    fit(epochs=20, patience=20, hidden_newest=0.3)
    cube, observed = panel()
    whole = {naive.window(cube, row, LENGTH)[:-1].tobytes(): row for row in rows(0, 21)}
    n_hidden, of_epoch, n_known = 0, [0] * 20, 0
    windows = torch.cat(seen).numpy()
    assert len(windows) == 20 * len(rows(0, 21))
    for place, window in enumerate(windows):
        entity, start = whole[window[:-1].tobytes()]
        newest = start + LENGTH - 1
        if not observed[entity, newest]:
            continue
        is_hidden = not window[-1].any()
        assert is_hidden or np.array_equal(window[-1], cube[entity, newest])
        n_known, n_hidden = n_known + 1, n_hidden + is_hidden
        of_epoch[place // len(rows(0, 21))] += is_hidden
    assert n_hidden / n_known == pytest.approx(0.3, abs=0.05)
    assert len(set(of_epoch)) > 3


STACK = AutoencoderConfig(hidden_sizes=(4, 3), latent_size=3, dropout=0.5)


def test_training_leaves_the_global_generator_alone_and_does_not_depend_on_it() -> None:
    first = fit(STACK, epochs=1, input_dropout=0.2, hidden_newest=0.5)
    torch.rand(1)
    before = torch.random.get_rng_state()
    second = fit(STACK, epochs=1, input_dropout=0.2, hidden_newest=0.5)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert losses(first) == losses(second)


@pytest.mark.parametrize("slab_bytes", [1, 10**9])
def test_slabs_of_entities_are_all_trained_on(slab_bytes: int) -> None:
    trained = fit(slab_bytes=slab_bytes)
    assert trained.history[-1].training_loss < trained.history[0].training_loss
    assert losses(trained) == losses(fit(slab_bytes=slab_bytes))
    if slab_bytes > 1:
        assert losses(trained) == losses(fit())
    still = [fit(slab_bytes=size, epochs=1, learning_rate=1e-30) for size in (slab_bytes, None)]
    assert losses(still[0])[0] == pytest.approx(losses(still[1])[0], rel=1e-6)


def test_the_weight_of_a_step_is_the_power_of_its_exposure() -> None:
    _, observed = panel()
    exposure = np.random.default_rng(1).integers(1, 99, size=observed.shape)
    trained = fit(exposure=exposure, exposure_power=0.5, epochs=1, learning_rate=1e-30)
    cube, _ = panel()
    x, mask, events = (
        np.stack([naive.window(array, row, LENGTH) for row in rows(0, 21)])
        for array in (cube, observed, exposure)
    )
    with torch.no_grad():
        output = trained.model(torch.tensor(x)).numpy()
    total, weight = naive.loss_and_weight(output, x, mask, np.sqrt(events))
    assert trained.history[0].training_loss == pytest.approx(total / weight, rel=1e-5)
    even = fit(exposure=np.full(observed.shape, 7), exposure_power=1.0)
    assert losses(even) == losses(fit())


def test_an_exposure_that_is_needed_and_missing_is_asked_for() -> None:
    with pytest.raises(ValueError, match="pass exposure="):
        fit(exposure_power=1.0)
    with pytest.raises(ValueError, match="pass exposure="):
        fit(loss="multinomial")


def test_windows_without_any_exposure_are_named() -> None:
    _, observed = panel()
    exposure = np.ones(observed.shape)
    exposure[:, 28:] = 0
    with pytest.raises(ValueError, match="no validation window"):
        fit(exposure=exposure, exposure_power=1.0)


def shares(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts of three types that swing, `(2, 40, 3)`, and their sums."""
    generator = np.random.default_rng(seed)
    angles = np.arange(40)[None, :, None] / 3 + np.arange(3) * 2 + np.arange(2)[:, None, None]
    likelihood = np.exp(np.sin(angles))
    likelihood /= likelihood.sum(-1, keepdims=True)
    exposure = generator.integers(20, 200, size=(2, 40))
    counts = generator.multinomial(exposure, likelihood)
    return (counts / exposure[..., None]).astype(np.float32), exposure


@pytest.mark.parametrize("decoder", ["closed_loop", "repeat_vector"])
def test_the_multinomial_loss_learns_shares(decoder: str) -> None:
    target, exposure = shares()
    scale = target.std(axis=(0, 1))
    cube = ((target - target.mean(axis=(0, 1))) / scale).astype(np.float32)
    trained = train(
        cube,
        np.ones((2, 40), dtype=bool),
        rows(0, 21),
        rows(28, 35),
        length=LENGTH,
        target=target,
        exposure=exposure,
        autoencoder=AutoencoderConfig(decoder=decoder, latent_size=8),
        training=TrainingConfig(loss="multinomial", epochs=60, device="cpu"),
    )
    assert trained.model.share_groups == (3,)
    x = torch.tensor(np.stack([naive.window(cube, row, LENGTH) for row in rows(28, 35)]))
    truth = np.stack([naive.window(target, row, LENGTH) for row in rows(28, 35)])
    with torch.no_grad():
        expected = trained.model.encode_and_reconstruct(x)[1].numpy()
    np.testing.assert_allclose(expected.sum(-1), 1, rtol=1e-5)
    error = np.square(expected - truth).mean()
    assert error < 0.3 * np.square(truth - target.mean(axis=(0, 1))).mean()


def test_targets_that_are_no_shares_and_groups_without_their_loss_are_refused() -> None:
    cube, observed = panel()
    exposure = np.ones(observed.shape)
    with pytest.raises(ValueError, match="shares of one whole"):
        fit(loss="multinomial", exposure=exposure)
    with pytest.raises(ValueError, match="belong to the loss 'multinomial'"):
        train(cube, observed, rows(0, 9), rows(20, 29), length=LENGTH, share_groups=(3,))
    forced = AutoencoderConfig(decoder="teacher_forcing")
    with pytest.raises(ValueError, match="'teacher_forcing' can't give them"):
        fit(forced, loss="multinomial", exposure=exposure)


def test_the_share_of_truth_falls_from_all_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    forward = LSTMAutoencoder.forward

    def record(self: LSTMAutoencoder, x: torch.Tensor, **options: Any) -> torch.Tensor:
        if self.training:
            seen.append(options.get("truth_share", 0.0))
        return forward(self, x, **options)

    monkeypatch.setattr(LSTMAutoencoder, "forward", record)
    mixed = AutoencoderConfig(decoder="scheduled_mix", latent_size=5)
    fit(mixed, epochs=6, mix_epochs=4, batch_size=100, patience=1, min_delta=0.9)
    assert seen == [1.0, 0.75, 0.5, 0.25, 0.0]  # patience is counted from epoch 4 on
    seen.clear()
    fit(AutoencoderConfig(decoder="teacher_forcing"), epochs=2, batch_size=100)
    assert seen == [1.0, 1.0]


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "rmsprop", "sgd"])
@pytest.mark.parametrize("schedule", ["plateau", "cosine", "constant"])
def test_every_optimiser_and_schedule_learns(optimizer: str, schedule: str) -> None:
    history = fit(
        optimizer=optimizer, schedule=schedule, weight_decay=0.01, epochs=8, patience=9
    ).history
    assert history[-1].training_loss < history[0].training_loss
    assert history[0].learning_rate == 0.02
    if schedule == "cosine":
        assert history[4].learning_rate == pytest.approx(0.01)
    if schedule == "constant":
        assert {report.learning_rate for report in history} == {0.02}


def test_the_sum_has_the_gradient_of_the_mean_times_the_values_in_a_batch() -> None:
    still = {"epochs": 1, "learning_rate": 1e-30}
    assert losses(fit(reduction="sum", **still)) == losses(fit(reduction="mean", **still))
    assert losses(fit(reduction="sum", epochs=2)) != losses(fit(reduction="mean", epochs=2))


def test_bfloat16_trains_and_weights_stay_float32() -> None:
    trained = fit(precision="bfloat16", epochs=6)
    assert trained.history[-1].training_loss < trained.history[0].training_loss
    assert {parameter.dtype for parameter in trained.model.parameters()} == {torch.float32}
    assert losses(fit(precision="auto")) == losses(fit(precision="float32"))


@pytest.mark.parametrize("loss", ["mse", "huber", "l1"])
def test_the_returned_weights_have_the_best_loss_of_the_history(loss: str) -> None:
    # Ended by patience, so that the last epoch is not the best.
    trained = fit(loss=loss, epochs=200, learning_rate=0.3, patience=2, min_delta=0.0)
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

    def record(self: WindowedCube, windows: torch.Tensor) -> Batch:
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


def test_windows_of_one_step_can_be_learnt() -> None:
    cube, observed = panel()
    config = TrainingConfig(epochs=2, device="cpu")
    windows = (rows(0, 30), rows(30, 40))
    trained = train(cube, observed, *windows, length=1, autoencoder=SMALL, training=config)
    assert trained.history[-1].training_loss < trained.history[0].training_loss


def test_batches_are_reported_while_an_epoch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    cube, observed = panel()
    reports: list[BatchReport] = []
    train(
        cube,
        observed,
        rows(0, 21),
        rows(28, 35),
        length=LENGTH,
        autoencoder=SMALL,
        training=TrainingConfig(epochs=2, batch_size=8, device="cpu"),
        on_batch=reports.append,
    )
    done = [report.windows_done for report in reports if report.epoch == 1]
    assert done == sorted(set(done))
    assert done[-1] == reports[0].n_windows == 42
    assert {report.epoch for report in reports} == {1, 2}
    assert all(report.windows_per_second > 0 and report.training_loss > 0 for report in reports)


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
        {"reduction": "median"},
        {"optimizer": "lion"},
        {"schedule": "step"},
        {"precision": "float16"},
        {"exposure_power": -1.0},
        {"weight_decay": -0.1},
        {"mix_epochs": 0},
        {"slab_bytes": 0},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"gradient_clip": -1.0},
        {"patience": 0},
        {"min_delta": 1.0},
        {"input_dropout": 1.0},
        {"input_dropout": -0.1},
        {"hidden_newest": 1.0},
        {"hidden_newest": -0.1},
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
