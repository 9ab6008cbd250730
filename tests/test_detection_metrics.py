"""Laws of detection metrics, and their agreement with the formulas written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detection_metrics import Alarms, alarms, average_precision, detect, vus_pr
from models.errors import ShapeError
from tests import naive_metrics

LABELS = np.array([0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0])
SCORES = np.array([1, 3, 2, 9, 4, 8, 5, 0, 6, 7, 2, 1, 3, 0, 4, 2, 5, 8, 1, 6])


@st.composite
def several(draw: st.DrawFn) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Series of labels and scores, some short, with ties, anomalies at the edges among them."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.lists(st.integers(1, 25), min_size=1, max_size=4))
    rate, levels = draw(st.sampled_from([0.05, 0.3, 0.9])), draw(st.sampled_from([2, 6, 1000]))
    labels = [generator.random(length) < rate for length in lengths]
    labels[0][draw(st.integers(0, lengths[0] - 1))] = True
    return labels, [generator.integers(0, levels, length) / levels for length in lengths]


@given(series=several(), max_window=st.integers(0, 20))
def test_vus_pr_equals_the_formulas_written_out(
    series: tuple[list[np.ndarray], list[np.ndarray]], max_window: int
) -> None:
    labels, scores = series
    got = vus_pr(labels, scores, max_window=max_window)
    assert got == pytest.approx(naive_metrics.vus_pr(labels, scores, max_window), abs=1e-12)
    assert 0 < got <= 1


@pytest.mark.parametrize(
    ("max_window", "wanted"),
    [
        (0, 0.5972222222222222),
        (1, 0.5972222222222222),
        (5, 0.811105487951807),
        (12, 0.9075612543681639),
    ],
)
def test_vus_pr_is_that_of_the_benchmark(max_window: int, wanted: float) -> None:
    # RangeAUC_volume_opt of TSB-AD 1.5, whose 250 thresholds are all there are here.
    assert vus_pr(LABELS, SCORES, max_window=max_window) == pytest.approx(wanted, abs=1e-12)


def test_vus_pr_of_three_steps_by_hand() -> None:
    # Window 2 labels the first step √½. Of window 0 and 1: the alarms are 1 and then 2 steps, the
    # second of which is the anomaly: precision ½ at recall 1.
    labels, scores = np.array([0, 1, 0, 0]), np.array([3, 2, 0, 0])
    soft = np.sqrt(0.5)
    first = min(soft / (1 + soft / 2), 1)
    both = min((1 + soft) / (1 + soft / 2), 1)
    buffered = first * soft + (both - first) * (1 + soft) / 2
    assert vus_pr(labels, scores, max_window=1) == pytest.approx(0.5)
    assert vus_pr(labels, scores, max_window=2) == pytest.approx((0.5 + 0.5 + buffered) / 3)


@given(series=several())
def test_without_a_buffer_vus_pr_is_the_range_auc_pr(
    series: tuple[list[np.ndarray], list[np.ndarray]],
) -> None:
    labels, scores = series
    plain = naive_metrics.range_auc_pr(labels, scores, 0)
    assert vus_pr(labels, scores, max_window=0) == pytest.approx(plain, abs=1e-12)
    # A buffer of one step has no room on either side.
    assert vus_pr(labels, scores, max_window=1) == pytest.approx(plain, abs=1e-12)


@given(seed=st.integers(0, 2**32 - 1), begin=st.integers(0, 29), length=st.integers(1, 30))
def test_of_one_anomaly_without_a_buffer_vus_pr_is_average_precision(
    seed: int, begin: int, length: int
) -> None:
    labels = np.zeros(30, bool)
    labels[begin : begin + length] = True
    scores = np.random.default_rng(seed).integers(0, 9, 30)
    assert vus_pr(labels, scores, max_window=0) == pytest.approx(average_precision(labels, scores))


def test_scores_without_information_have_the_mean_label() -> None:
    generator = np.random.default_rng(0)
    labels = np.zeros(20_000, bool)
    labels[np.arange(100, 20_000, 500)[:, None] + np.arange(50)] = True
    scores = generator.random(labels.size)
    found = detect(labels, scores, threshold=0.9, max_window=10)
    soft = np.mean([naive_metrics.soft_labels(labels, window).mean() for window in range(11)])
    assert found.base_rate == 0.1
    assert found.average_precision == pytest.approx(found.base_rate, abs=0.01)
    assert found.vus_pr == pytest.approx(soft, abs=0.01)
    assert found.at_threshold.precision == pytest.approx(found.base_rate, abs=0.02)
    assert found.at_threshold.recall == pytest.approx(0.1, abs=0.02)


@given(series=several(), max_window=st.integers(0, 20))
def test_scores_that_are_the_labels_find_everything(
    series: tuple[list[np.ndarray], list[np.ndarray]], max_window: int
) -> None:
    labels, _ = series
    found = detect(labels, labels, threshold=0.5, max_window=max_window)
    assert found.average_precision == found.vus_pr == pytest.approx(1)
    assert found.at_threshold == Alarms(
        precision=1, recall=1, f1=1, alarm_rate=pytest.approx(found.base_rate)
    )


@given(series=several(), max_window=st.integers(0, 9))
def test_only_the_order_of_scores_counts(
    series: tuple[list[np.ndarray], list[np.ndarray]], max_window: int
) -> None:
    labels, scores = series
    stretched = [np.exp(3 * one) - 7 for one in scores]
    assert average_precision(labels, scores) == average_precision(labels, stretched)
    assert vus_pr(labels, scores, max_window=max_window) == vus_pr(
        labels, stretched, max_window=max_window
    )


@given(series=several(), max_window=st.integers(0, 9))
def test_the_order_of_series_does_not_count(
    series: tuple[list[np.ndarray], list[np.ndarray]], max_window: int
) -> None:
    labels, scores = series
    one = detect(labels, scores, threshold=0.5, max_window=max_window)
    other = detect(labels[::-1], scores[::-1], threshold=0.5, max_window=max_window)
    assert one.vus_pr == pytest.approx(other.vus_pr, abs=1e-12)
    assert one.average_precision == pytest.approx(other.average_precision)
    assert one.base_rate == other.base_rate


def test_buffers_do_not_cross_from_one_series_into_another() -> None:
    labels, scores = np.array([0, 0, 0, 1, 0, 0, 0, 0]), np.array([0, 0, 0, 1, 3, 2, 0, 0])
    joined = vus_pr(labels, scores, max_window=4)
    halves = vus_pr([labels[:4], labels[4:]], [scores[:4], scores[4:]], max_window=4)
    assert joined > halves  # the early alarms of the second half are near nothing of their own
    assert halves == pytest.approx(vus_pr(labels, scores, max_window=0), abs=1e-12)


def test_an_array_of_series_is_the_list_of_its_rows() -> None:
    labels, scores = LABELS.reshape(2, 10), SCORES.reshape(2, 10)
    assert detect(labels, scores, threshold=4, max_window=6) == detect(
        list(labels), list(scores), threshold=4, max_window=6
    )


def test_one_alarm_does_not_make_alarms_of_the_whole_anomaly() -> None:
    labels = np.zeros(1000, bool)
    labels[300:400] = True
    scores = np.random.default_rng(1).random(1000)
    scores[350] = 2
    found = detect(labels, scores, threshold=1, max_window=10)
    assert found.at_threshold.recall == 0.01
    assert found.at_threshold.f1 == pytest.approx(2 / 101)
    assert found.average_precision < 0.2
    assert found.vus_pr < 0.2


def test_a_near_miss_counts_with_a_buffer_only_and_a_far_one_never() -> None:
    labels = np.zeros(60, bool)
    labels[30:33] = True
    near, far = np.zeros(60), np.zeros(60)
    near[34], far[50] = 1, 1
    assert vus_pr(labels, near, max_window=0) == vus_pr(labels, far, max_window=0)
    soft = np.mean([naive_metrics.soft_labels(labels, window).mean() for window in range(9)])
    assert vus_pr(labels, far, max_window=8) == pytest.approx(soft)
    assert vus_pr(labels, near, max_window=8) > 1.5 * soft


def test_figures_at_a_threshold_by_hand() -> None:
    labels, scores = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.1, 0.5, 0.2, 0.7])
    got = alarms(labels, scores, threshold=0.5)
    assert got == Alarms(
        precision=pytest.approx(1 / 3), recall=0.5, f1=pytest.approx(0.4), alarm_rate=0.6
    )
    assert detect(labels, scores, threshold=0.5, max_window=0).at_threshold == got


def test_without_an_alarm_there_is_no_precision() -> None:
    got = alarms(np.array([1, 0]), np.array([0.1, 0.2]), threshold=0.3)
    assert np.isnan(got.precision)
    assert (got.recall, got.f1, got.alarm_rate) == (0, 0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused_with_what_to_do(value: float) -> None:
    scores = SCORES.astype(float)
    scores[2] = value
    for judge in (
        lambda: average_precision(LABELS, scores),
        lambda: vus_pr(LABELS, scores, max_window=3),
        lambda: alarms(LABELS, scores, threshold=1),
    ):
        with pytest.raises(ValueError, match="1 values that are not finite, of 20; leave steps"):
            judge()


def test_labels_that_mark_nothing_or_are_no_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="mark no step"):
        average_precision(np.zeros(20), SCORES)
    with pytest.raises(ValueError, match="neither 0 nor 1, such as 2"):
        vus_pr(2 * LABELS, SCORES, max_window=3)
    with pytest.raises(ValueError, match="neither 0 nor 1, such as nan"):
        vus_pr(np.where(LABELS == 1, 1, np.nan), SCORES, max_window=3)


def test_shapes_that_do_not_fit_are_refused_and_not_broadcast() -> None:
    with pytest.raises(ShapeError, match="labels are 1 series"):
        average_precision(LABELS, SCORES[:-1])
    with pytest.raises(ShapeError, match="scores 2 of shapes"):
        vus_pr(LABELS, SCORES.reshape(2, 10), max_window=3)
    with pytest.raises(ShapeError, match=r"expected one array \(S,\)"):
        average_precision(LABELS.reshape(2, 5, 2), SCORES.reshape(2, 5, 2))
    with pytest.raises(ShapeError, match="none of them empty"):
        average_precision([LABELS, LABELS[:0]], [SCORES, SCORES[:0]])
    with pytest.raises(ShapeError, match="none of them empty"):
        average_precision([], [])


def test_a_threshold_or_window_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold is NaN"):
        detect(LABELS, SCORES, threshold=np.nan, max_window=3)
    with pytest.raises(ValueError, match="max_window is -1"):
        detect(LABELS, SCORES, threshold=1, max_window=-1)
