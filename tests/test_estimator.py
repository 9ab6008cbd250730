"""Laws of the estimator: scikit-learn's manners, over the same code as `train` and `score`."""

import dataclasses
import inspect
import io
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from models.architecture import AutoencoderConfig
from models.errors import CheckpointError, ShapeError
from models.estimator import WindowAutoencoder
from models.scoring import score
from models.training import train
from models.training_config import TrainingConfig

LENGTH, N_FEATURES = 6, 3


def waves(n_windows: int = 24, seed: int = 0) -> np.ndarray:
    """Windows `(N, 6, 3)` of waves far from 0 and of unequal size, with some noise."""
    generator = np.random.default_rng(seed)
    steps = np.arange(n_windows)[:, None, None] + np.arange(LENGTH)[:, None]
    series = np.sin(steps / np.array([1.5, 2.5, 4.0])) * [0.1, 1.0, 30.0] + [5.0, -2.0, 800.0]
    return series + 0.01 * generator.normal(size=series.shape) * [0.1, 1.0, 30.0]


def proportions(n_windows: int = 12, seed: int = 0) -> np.ndarray:
    """Windows `(N, 6, 3)` of two shares of one whole and a value."""
    first = np.random.default_rng(seed).random((n_windows, LENGTH))
    return np.stack([first, 1 - first, 10 * first + 3], axis=2)


def estimator(**options: Any) -> WindowAutoencoder:
    small = {"latent_size": 4, "epochs": 2, "batch_size": 8, "device": "cpu"}
    return WindowAutoencoder(**(small | options))


@pytest.fixture(scope="module")
def fitted() -> WindowAutoencoder:
    return estimator(epochs=4).fit(waves())


def with_gaps(windows: np.ndarray, share: float = 0.2, seed: int = 1) -> np.ndarray:
    gaps = np.random.default_rng(seed).random(windows.shape) < share
    return np.where(gaps, np.nan, windows)


# Parameters


def test_the_parameters_are_those_of_both_configurations_and_so_are_their_defaults() -> None:
    parameters = inspect.signature(WindowAutoencoder).parameters
    configured = {
        field.name: field.default
        for config in (AutoencoderConfig, TrainingConfig)
        for field in dataclasses.fields(config)
    }
    configured["random_state"] = configured.pop("seed")
    own = {
        "share_groups": None,
        "standardise": True,
        "difference": False,
        "validation_share": 0.1,
        "verbose": False,
        "resume": None,
    }
    expected = configured | own | {"bottleneck": "hidden"}
    assert {name: one.default for name, one in parameters.items()} == expected
    assert {one.kind for one in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_each_parameter_reaches_its_configuration() -> None:
    architecture = {
        "decoder": "teacher_forcing",
        "latent_size": 3,
        "hidden_sizes": (5, 4),
        "bidirectional": True,
        "embedding_size": 2,
        "bottleneck": "hidden",
        "direction": "forward",
        "dropout": 0.2,
    }
    training = {
        "loss": "huber",
        "reduction": "sum",
        "exposure_power": 0.5,
        "epochs": 1,
        "batch_size": 5,
        "optimizer": "nadam",
        "learning_rate": 0.003,
        "schedule": "cosine",
        "weight_decay": 0.1,
        "gradient_clip": 0.5,
        "mix_epochs": 3,
        "patience": 2,
        "min_delta": 0.01,
        "input_dropout": 0.1,
        "hidden_newest": 0.2,
        "device": "cpu",
        "precision": "float32",
        "slab_bytes": 10_000,
    }
    got = WindowAutoencoder(**architecture, **training, random_state=7)
    trained = got.fit(waves(), exposure=np.full((24, LENGTH), 3)).trained_
    assert trained.autoencoder == AutoencoderConfig(**architecture)
    assert trained.training == TrainingConfig(**training, seed=7)


def test_parameters_are_stored_as_they_are_and_checked_by_fit() -> None:
    sizes = [4, -1]
    wrong = estimator(hidden_sizes=sizes, patience=0)
    assert wrong.hidden_sizes is sizes
    assert wrong.get_params()["patience"] == 0
    with pytest.raises(ValueError, match="hidden_sizes"):
        wrong.fit(waves())
    with pytest.raises(ValueError, match="patience"):
        wrong.set_params(hidden_sizes=None).fit(waves())
    with pytest.raises(ValueError, match=r"validation_share is 1\.0"):
        estimator(validation_share=1.0).fit(waves())


def test_a_clone_has_the_parameters_and_nothing_learnt(fitted: WindowAutoencoder) -> None:
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "model_")
    assert np.array_equal(copied.fit(waves()).transform(waves()), fitted.transform(waves()))


def test_numbers_and_lists_of_numpy_are_as_good_as_pythons(tmp_path: Path) -> None:
    """A grid holds numpy's numbers, and a state on disk is described in JSON."""
    sizes = np.array([5, 4])
    got = estimator(latent_size=np.int64(4), hidden_sizes=sizes, random_state=np.int64(3))
    got.set_params(resume=tmp_path / "state.pt", learning_rate=np.float32(0.25)).fit(waves())
    assert got.trained_.autoencoder.hidden_sizes == (5, 4)
    assert type(got.trained_.autoencoder.latent_size) is int
    assert type(got.trained_.training.learning_rate) is float


# Fit


@pytest.mark.parametrize("difference", [False, True])
def test_it_is_train_and_score_on_standardised_windows(difference: bool) -> None:
    windows = with_gaps(waves())
    got = estimator(difference=difference, validation_share=0.25).fit(windows)
    observed = ~np.isnan(windows).any(axis=2)
    seen = windows[:18][observed[:18]]
    np.testing.assert_allclose(got.mean_, seen.mean(axis=0))
    np.testing.assert_allclose(got.scale_, seen.std(axis=0))
    cube = (windows - got.mean_) / got.scale_
    if difference:
        cube[:, 1:] = cube[:, 1:] - cube[:, :-1]
        observed = ~np.isnan(cube).any(axis=2)
    cube = np.where(observed[..., None], cube, 0).astype(np.float32)
    rows = np.array([[window, 0] for window in range(24)])
    trained = train(
        cube,
        observed,
        rows[:18],
        rows[18:],
        length=LENGTH,
        autoencoder=AutoencoderConfig(latent_size=4, bottleneck="hidden"),
        training=TrainingConfig(epochs=2, batch_size=8, device="cpu"),
    )
    losses = [(report.training_loss, report.validation_loss) for report in trained.history]
    assert [(one.training_loss, one.validation_loss) for one in got.history_] == losses
    scores = score(trained.model, cube, observed, rows, length=LENGTH, device="cpu")
    np.testing.assert_allclose(got.transform(windows), scores.embeddings, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.score_samples(windows), -scores.window_error, rtol=1e-5)


def test_what_it_knows_after_fit(fitted: WindowAutoencoder) -> None:
    assert fitted.n_features_in_ == N_FEATURES
    assert fitted.length_ == LENGTH
    assert fitted.mean_.shape == fitted.scale_.shape == (N_FEATURES,)
    assert fitted.n_iter_ == len(fitted.history_) == 4
    assert fitted.trained_.model is fitted.model_
    assert not fitted.model_.training
    names = fitted.get_feature_names_out()
    assert names.tolist() == [f"windowautoencoder{number}" for number in range(4)]


def test_the_last_windows_are_the_validation_set() -> None:
    one, other = waves(), waves()
    other[-2:] += 5.0  # of 24 windows a tenth is two
    fits = [estimator(epochs=1, learning_rate=1e-30).fit(windows) for windows in (one, other)]
    losses = [fit.history_[0] for fit in fits]
    assert losses[0].training_loss == losses[1].training_loss
    assert losses[0].validation_loss < losses[1].validation_loss
    assert np.array_equal(fits[0].mean_, fits[1].mean_)


@pytest.mark.parametrize(("n_windows", "share"), [(24, 0.0), (9, 0.5), (1, 0.1)])
def test_without_windows_to_spare_those_of_training_validate(n_windows: int, share: float) -> None:
    windows = waves(n_windows)
    got = estimator(validation_share=share, epochs=1, learning_rate=1e-30).fit(windows)
    report = got.history_[0]
    assert report.training_loss == pytest.approx(report.validation_loss, rel=1e-5)
    np.testing.assert_allclose(got.mean_, windows.reshape(-1, N_FEATURES).mean(axis=0))


def test_ten_windows_and_a_share_near_one_leave_one_to_train_on() -> None:
    assert np.array_equal(
        estimator(validation_share=0.99, epochs=1).fit(waves(10)).mean_,
        waves(10)[0].mean(axis=0),
    )


def test_the_same_random_state_gives_the_same_model_and_none_another_each_time() -> None:
    one, same, other = (
        estimator(random_state=seed).fit(waves()).transform(waves()) for seed in (3, 3, 4)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    drawn = estimator(random_state=None)
    first = drawn.fit(waves()).transform(waves())
    assert not np.array_equal(first, drawn.fit(waves()).transform(waves()))
    assert drawn.random_state is None


def test_a_feature_that_does_not_vary_is_only_centred() -> None:
    windows = waves()
    windows[..., 1] = 0.1 + np.resize([0.0, 2e-17], windows.shape[:2])  # rounding, no variation
    got = estimator().fit(windows)
    assert got.scale_[1] == 1
    assert np.isfinite(got.score_samples(windows)).all()


def test_without_standardising_windows_are_seen_as_they_are() -> None:
    got = estimator(standardise=False).fit(waves() / 100)
    assert got.mean_.tolist() == [0, 0, 0]
    assert got.scale_.tolist() == [1, 1, 1]


def test_a_level_great_beside_the_variation_is_no_matter() -> None:
    windows = waves()
    near, far = estimator().fit(windows), estimator().fit(windows + 1e7)
    np.testing.assert_allclose(
        far.score_samples(windows + 1e7), near.score_samples(windows), rtol=1e-3
    )
    np.testing.assert_allclose(
        far.reconstruct(windows + 1e7) - 1e7, near.reconstruct(windows), atol=0.01
    )


def test_it_learns_and_finds_the_window_that_is_unlike_the_others() -> None:
    windows = waves(300)
    got = estimator(latent_size=8, epochs=20, batch_size=32).fit(windows)
    assert np.square((got.reconstruct(windows) - windows) / got.scale_).mean() < 0.1
    windows[30] = windows[30, [3, 0, 5, 2, 4, 1]]
    assert got.score_samples(windows).argmin() == 30


def test_verbose_shows_progress_and_nothing_is_shown_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    estimator().fit(waves())
    assert capsys.readouterr() == ("", "")
    estimator(verbose=True).fit(waves())
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[1].startswith("epoch 2 of at most 2: loss 0.")


def test_a_fit_goes_on_from_where_it_was_stopped(tmp_path: Path) -> None:
    whole = estimator(epochs=3).fit(waves())
    parts = estimator(epochs=2, resume=tmp_path / "state.pt").fit(waves())
    parts.set_params(epochs=3).fit(waves())
    assert parts.n_iter_ == 3
    assert np.array_equal(parts.transform(waves()), whole.transform(waves()))
    with pytest.raises(CheckpointError, match="other data"):
        parts.fit(waves(seed=1))
    with pytest.raises(ValueError, match="random_state is None"):
        parts.set_params(random_state=None).fit(waves())


def test_a_fit_that_fails_leaves_what_was_learnt_before() -> None:
    got = estimator().fit(waves())
    before = got.reconstruct(waves())
    with pytest.raises(ValueError, match="no exposure is"):
        got.set_params(exposure_power=1.0).fit(waves()[..., :2] * 7)
    assert np.array_equal(got.reconstruct(waves()), before)


# Embeddings, reconstructions and scores


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"difference": True},
        {"standardise": False},
        {"hidden_sizes": (6, 4)},
        {"hidden_sizes": (5,), "bidirectional": True},
        {"decoder": "repeat_vector"},
        {"decoder": "repeat_vector_wide"},
        {"decoder": "scheduled_mix", "mix_epochs": 1},
    ],
    ids=str,
)
def test_embeddings_decode_to_the_reconstruction(options: dict[str, Any]) -> None:
    windows = with_gaps(waves())
    got = estimator(**options).fit(windows)
    embeddings, expected = got.transform(windows), got.reconstruct(windows)
    assert embeddings.shape == (24, 4)
    assert embeddings.dtype == np.float32
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(
        got.inverse_transform(embeddings), expected, rtol=1e-6, atol=1e-6 * got.scale_.max()
    )
    assert np.array_equal(got.fit_transform(windows), embeddings)


def test_half_of_what_crosses_is_not_decoded() -> None:
    for bottleneck in ("state", None):
        got = estimator(bottleneck=bottleneck).fit(waves())
        assert got.reconstruct(waves()).shape == waves().shape
        with pytest.raises(ValueError, match="fit with bottleneck='hidden'"):
            got.inverse_transform(got.transform(waves()))


def test_a_score_is_minus_the_mean_square_of_the_reconstructions_errors(
    fitted: WindowAutoencoder,
) -> None:
    windows = with_gaps(waves())
    errors = (fitted.reconstruct(windows) - windows) / fitted.scale_
    expected = [-np.square(one[~np.isnan(one).any(axis=1)]).mean() for one in errors]
    np.testing.assert_allclose(fitted.score_samples(windows), expected, rtol=1e-5)
    assert fitted.score(windows) == pytest.approx(np.mean(expected))


def test_a_window_without_a_step_has_no_score_and_does_not_count_in_the_mean(
    fitted: WindowAutoencoder,
) -> None:
    windows = waves(4)
    windows[1, :, 0] = np.nan  # one value is enough for its step
    scores = fitted.score_samples(windows)
    assert np.isnan(scores).tolist() == [False, True, False, False]
    assert fitted.score(windows) == pytest.approx(scores[[0, 2, 3]].mean())
    assert np.isnan(fitted.score(windows[1:2]))
    assert np.isfinite(fitted.transform(windows)).all()


def test_the_other_values_of_a_step_with_a_gap_are_not_seen(fitted: WindowAutoencoder) -> None:
    one = waves(3)
    one[1, 2, 0] = np.nan
    other = one.copy()
    other[1, 2, 1:] = 1e6
    assert np.array_equal(fitted.transform(one), fitted.transform(other))
    assert np.array_equal(fitted.score_samples(one), fitted.score_samples(other))


def test_changes_are_added_up_to_the_reconstruction_and_scored_as_changes() -> None:
    windows = waves()
    got = estimator(difference=True).fit(windows)
    seen, rebuilt = (
        (values - got.mean_) / got.scale_ for values in (windows, got.reconstruct(windows))
    )
    errors = np.diff(rebuilt - seen, axis=1, prepend=0)
    expected = -np.square(errors).mean(axis=(1, 2))
    np.testing.assert_allclose(got.score_samples(windows), expected, rtol=1e-4)


def test_changes_are_observed_between_observed_steps_only() -> None:
    got = estimator(difference=True).fit(waves())
    gap = waves(1)
    gap[0, 2] = np.nan
    moved = gap.copy()
    moved[0, 3:] += got.scale_  # the level behind the gap is not known
    assert got.score_samples(gap) == pytest.approx(got.score_samples(moved))


@settings(max_examples=15)
@given(item=st.integers(0, 23), other=st.integers(0, 23), seed=st.integers(0, 9))
def test_item_i_does_not_depend_on_item_j(
    fitted: WindowAutoencoder, item: int, other: int, seed: int
) -> None:
    windows = with_gaps(waves(), seed=seed)
    changed = windows.copy()
    changed[other] = with_gaps(waves(seed=seed + 1), seed=seed + 1)[other] * 1.5
    for call in (fitted.transform, fitted.score_samples, fitted.reconstruct):
        if item != other:
            np.testing.assert_allclose(
                call(windows)[item], call(changed)[item], rtol=1e-5, atol=1e-6
            )
        alone = call(windows[item : item + 1])[0]
        np.testing.assert_allclose(call(windows)[item], alone, rtol=1e-4, atol=1e-5)


def test_more_windows_than_a_batch_are_scored_in_their_order(fitted: WindowAutoencoder) -> None:
    windows = waves(24)
    many = np.tile(windows, (45, 1, 1))
    for call in (fitted.transform, fitted.score_samples, fitted.reconstruct):
        expected = np.concatenate([call(windows)] * 45)
        np.testing.assert_allclose(call(many), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 3, 11])
def test_windows_may_be_of_another_length(fitted: WindowAutoencoder, length: int) -> None:
    windows = np.resize(waves(), (5, length, N_FEATURES))
    embeddings = fitted.transform(windows)
    assert embeddings.shape == (5, 4)
    assert fitted.reconstruct(windows).shape == windows.shape
    assert fitted.score_samples(windows).shape == (5,)
    decoded = fitted.inverse_transform(embeddings, length=length)
    np.testing.assert_allclose(decoded, fitted.reconstruct(windows), rtol=1e-5)


# Proportions


def test_with_the_multinomial_loss_shares_are_reconstructed_as_shares() -> None:
    windows = proportions()
    got = estimator(loss="multinomial", share_groups=[2]).fit(
        windows, exposure=np.full(windows.shape[:2], 5)
    )
    rebuilt = got.reconstruct(windows)
    np.testing.assert_allclose(rebuilt[..., :2].sum(axis=2), 1, rtol=1e-5)
    assert (rebuilt[..., :2] >= 0).all()
    errors = (rebuilt - windows) / got.scale_
    np.testing.assert_allclose(
        got.score_samples(windows), -np.square(errors).mean(axis=(1, 2)), rtol=1e-5
    )
    decoded = got.inverse_transform(got.transform(windows))
    np.testing.assert_allclose(decoded, rebuilt, rtol=1e-6)


def test_with_the_multinomial_loss_and_no_groups_all_features_are_shares() -> None:
    shares = with_gaps(proportions()[..., :2])
    got = estimator(loss="multinomial", exposure_power=0.0, difference=True).fit(shares)
    np.testing.assert_allclose(got.reconstruct(shares).sum(axis=2), 1, rtol=1e-5)


def test_with_the_multinomial_loss_windows_must_be_proportions() -> None:
    with pytest.raises(ValueError, match="plain proportions"):
        estimator(loss="multinomial", exposure_power=0.0).fit(waves())
    with pytest.raises(ValueError, match="groups belong to the loss 'multinomial'"):
        estimator(share_groups=(2,)).fit(proportions())


def test_steps_weigh_by_their_exposure() -> None:
    windows, exposure = waves(), np.zeros((24, LENGTH))
    exposure[:, 1], exposure[:, 4] = 1, 3
    options = {"exposure_power": 1.0, "validation_share": 0.0, "epochs": 1, "learning_rate": 1e-30}
    got = estimator(**options).fit(windows, exposure=exposure)
    errors = np.square((got.reconstruct(windows) - windows) / got.scale_).mean(axis=(0, 2))
    expected = (errors[1] + 3 * errors[4]) / 4
    assert got.history_[0].training_loss == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ShapeError, match="exposure"):
        got.fit(windows, exposure=exposure[:, :2])


# What it takes


def test_lists_whole_numbers_and_either_precision_are_taken() -> None:
    windows = np.round(waves())
    expected = estimator().fit(windows).score_samples(windows)
    for form in (
        windows.tolist(),
        windows.astype(np.int64),
        windows.astype(np.float32),
        np.asfortranarray(windows),
        windows[::-1][::-1],
    ):
        np.testing.assert_allclose(estimator().fit(form).score_samples(form), expected, rtol=1e-5)


def test_windows_are_left_as_they_were() -> None:
    windows = with_gaps(waves())
    before = windows.copy()
    windows.flags.writeable = False
    got = estimator(difference=True).fit(windows)
    got.reconstruct(windows), got.score_samples(windows), got.transform(windows)
    np.testing.assert_array_equal(windows, before)


def test_what_are_no_windows_is_refused_with_a_way_to_mend_it(fitted: WindowAutoencoder) -> None:
    flat, infinite, beyond = waves().reshape(24, -1), waves(), waves()
    infinite[3, 2, 1], beyond[3, 2, 1] = -np.inf, 1e60
    for call in (fitted.transform, fitted.reconstruct, fitted.score_samples, estimator().fit):
        with pytest.raises(ShapeError, match=r"\(24, 18\).*X\.reshape\(len\(X\), T, F\)"):
            call(flat)
        with pytest.raises(ShapeError, match="none of them 0"):
            call(waves()[:0])
        with pytest.raises(ShapeError, match="expected numbers"):
            call([[["a"]]])
        with pytest.raises(ValueError, match="infinity, first in window 3, step 2, feature 1"):
            call(infinite)
    for call in (fitted.transform, fitted.reconstruct, fitted.score_samples):
        with pytest.raises(ShapeError, match="2 features and the model 3"):
            call(waves()[..., :2])
        with pytest.raises(ValueError, match="beyond float32"):
            call(beyond)
    with pytest.raises(ShapeError, match=r"expected \(N, 4\)"):
        fitted.inverse_transform(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="length is 0"):
        fitted.inverse_transform(np.zeros((2, 4)), length=0)


def test_nothing_observed_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="no training window has an observed step"):
        estimator().fit(np.full((12, LENGTH, 2), np.nan))
    windows = waves()
    windows[-2:] = np.nan
    with pytest.raises(ValueError, match="no validation window"):
        estimator().fit(windows)


def test_nothing_works_before_fit() -> None:
    got = estimator()
    for call in (got.transform, got.reconstruct, got.score_samples, got.score):
        with pytest.raises(NotFittedError):
            call(waves())
    with pytest.raises(NotFittedError):
        got.inverse_transform(np.zeros((1, 4)))
    with pytest.raises(NotFittedError):
        got.get_feature_names_out()


# Among scikit-learn's tools


def test_it_stands_in_a_pipeline() -> None:
    windows = waves()
    groups = make_pipeline(estimator(), KMeans(2, n_init=1, random_state=0)).fit_predict(windows)
    assert set(groups) == {0, 1}
    turned = make_pipeline(FunctionTransformer(np.negative, np.negative), estimator())
    embeddings = turned.fit_transform(windows)
    np.testing.assert_allclose(
        turned.inverse_transform(embeddings), -turned[-1].reconstruct(-windows), rtol=1e-5
    )
    assert turned.score(windows) == turned[-1].score(-windows)


def test_its_parameters_can_be_searched() -> None:
    grid = GridSearchCV(estimator(epochs=8), {"latent_size": [1, 4]}, cv=2, error_score="raise")
    grid.fit(waves())
    assert grid.best_params_ == {"latent_size": 4}
    assert (grid.cv_results_["mean_test_score"] < 0).all()
    assert grid.transform(waves()).shape == (24, 4)
    shares = GridSearchCV(estimator(loss="multinomial"), {"latent_size": [2]}, cv=2)
    shares.fit(proportions()[..., :2], exposure=np.full((12, LENGTH), 9))
    assert np.isfinite(shares.best_score_)


def test_a_pickle_of_it_scores_alike(fitted: WindowAutoencoder) -> None:
    file = io.BytesIO()
    joblib.dump(fitted, file)
    read = joblib.load(io.BytesIO(file.getvalue()))
    assert read.get_params() == fitted.get_params()
    assert read.history_ == fitted.history_
    for name in ("transform", "reconstruct", "score_samples"):
        assert np.array_equal(getattr(read, name)(waves()), getattr(fitted, name)(waves()))


def test_embeddings_come_as_a_frame_where_one_is_asked_for() -> None:
    pytest.importorskip("pandas")
    got = estimator().set_output(transform="pandas").fit(waves())
    frame = got.transform(waves())
    assert frame.columns.tolist() == got.get_feature_names_out().tolist()
    np.testing.assert_array_equal(frame.to_numpy(), got.set_output().transform(waves()))
