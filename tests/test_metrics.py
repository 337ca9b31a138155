"""The accumulators against slow, obvious references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_seg.errors import DataError
from edge_seg.metrics import ConfusionMatrix, LatencyStats, RateMeter
from edge_seg.types import VOID, UInt8Array

CLASSES = 4
TRUTH = arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1, 2, 3, VOID]))
LABELS = arrays(np.uint8, (3, 5), elements=st.integers(0, 3))


def slow_iou(pairs: list[tuple[UInt8Array, UInt8Array]], label: int) -> float | None:
    """Intersection over union by counting pixels one at a time."""
    both = either = 0
    for labels, truth in pairs:
        for ours, true in zip(labels.ravel().tolist(), truth.ravel().tolist(), strict=True):
            if true != VOID:
                both += ours == true == label
                either += label in (ours, true)
    return both / either if either else None


@given(st.lists(st.tuples(LABELS, TRUTH), min_size=1, max_size=3))
def test_class_iou_equals_the_slow_count_summed_over_the_set(pairs: list[tuple[UInt8Array, UInt8Array]]) -> None:
    matrix = ConfusionMatrix(CLASSES)
    for labels, truth in pairs:
        matrix.update(labels, truth)

    expected = [slow_iou(pairs, label) for label in range(CLASSES)]

    found = [None if np.isnan(v) else v for v in matrix.class_iou()]
    assert found == pytest.approx(expected)
    known = [v for v in expected if v is not None]
    assert matrix.miou() == pytest.approx(sum(known) / len(known) if known else float("nan"), nan_ok=True)


def test_miou_and_dice_equal_torchmetrics() -> None:
    pytest.importorskip("torchmetrics")
    import torch
    from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

    rng = np.random.default_rng(0)
    labels, truth = rng.integers(0, 11, (2, 50, 60), dtype=np.uint8), rng.integers(0, 12, (2, 50, 60), dtype=np.uint8)
    matrix = ConfusionMatrix(11)
    matrix.update(labels, np.where(truth == 11, VOID, truth).astype(np.uint8))

    guessed, true = torch.from_numpy(labels).long(), torch.from_numpy(truth).long()

    jaccard = MulticlassJaccardIndex(num_classes=12, ignore_index=11, average="none")(guessed, true)[:11]
    accuracy = MulticlassAccuracy(num_classes=12, ignore_index=11, average="micro")(guessed, true)
    dice = MulticlassF1Score(num_classes=12, ignore_index=11, average="none")(guessed, true)[:11]
    assert matrix.class_iou() == pytest.approx(jaccard.numpy(), abs=1e-6)
    assert matrix.class_dice() == pytest.approx(dice.numpy(), abs=1e-6)
    assert matrix.dice() == pytest.approx(float(dice.mean()), abs=1e-6)
    assert matrix.global_accuracy() == pytest.approx(float(accuracy), abs=1e-6)


def test_recall_and_class_average_equal_torchmetrics() -> None:
    """Also where the truth lacks a class: torchmetrics gives it 0, and leaves it out of its mean."""
    pytest.importorskip("torchmetrics")
    import torch
    from torchmetrics.classification import MulticlassAccuracy

    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, (2, 50, 60), dtype=np.uint8)
    truth = rng.choice(np.array([0, 1, 3, 4, VOID], np.uint8), (2, 50, 60), p=[0.5, 0.3, 0.1, 0.05, 0.05])
    matrix = ConfusionMatrix(5)
    matrix.update(labels, truth)

    guessed, true = torch.from_numpy(labels).long(), torch.from_numpy(truth).long()
    recall = MulticlassAccuracy(num_classes=5, ignore_index=VOID, average="none")(guessed, true)
    found = matrix.class_recall()
    assert [label for label in range(5) if np.isnan(found[label])] == [2]
    assert np.nan_to_num(found) == pytest.approx(recall.numpy(), abs=1e-6)
    assert matrix.class_accuracy() == pytest.approx(float(recall[[0, 1, 3, 4]].mean()), abs=1e-6)


def test_recall_and_accuracies_of_a_known_matrix() -> None:
    matrix = ConfusionMatrix(3)
    matrix.counts[:] = [[8, 2, 0], [1, 4, 0], [0, 0, 0]]

    assert matrix.class_recall()[:2].tolist() == [0.8, 0.8]
    assert np.isnan(matrix.class_recall()[2])
    assert matrix.class_accuracy() == pytest.approx(0.8)
    assert matrix.global_accuracy() == pytest.approx(12 / 15)


@pytest.mark.parametrize(
    ("labels", "truth", "message"),
    [
        ([[0, 1]], [[0], [1]], r"shape \(1, 2\) cannot be compared with truth of shape \(2, 1\)"),
        ([[0, 1]], [[0, 7]], r"truth holds the values \[7\]; expected 0 to 2"),
        ([[0, 9]], [[0, 1]], r"gives the labels \[9\], but the data set has 3 classes"),
    ],
)
def test_what_does_not_fit_is_refused(labels: list[list[int]], truth: list[list[int]], message: str) -> None:
    matrix = ConfusionMatrix(3)

    with pytest.raises(DataError, match=message):
        matrix.update(np.array(labels, np.uint8), np.array(truth, np.uint8))

    assert matrix.counts.sum() == 0


def test_an_empty_matrix_knows_nothing() -> None:
    matrix = ConfusionMatrix(2)

    assert np.isnan([matrix.miou(), matrix.class_accuracy(), matrix.global_accuracy()]).all()


@given(st.lists(st.floats(2**-7, 2**13, width=32), min_size=1, max_size=50))
def test_percentiles_are_exact_within_the_capacity(times_ms: list[float]) -> None:
    stats = LatencyStats()
    for ms in times_ms:
        stats.add(ms)

    found = stats.percentiles()

    assert [found.p50, found.p95, found.p99] == pytest.approx(np.percentile(times_ms, (50, 95, 99)).tolist(), rel=1e-5)


def test_percentiles_of_a_long_run_stay_near_in_bounded_memory() -> None:
    stats = LatencyStats(capacity=500)
    for ms in np.random.default_rng(1).permutation(20_000):
        stats.add(float(ms))

    found = stats.percentiles()

    assert stats.count == 20_000
    assert found.p50 == pytest.approx(10_000, rel=0.1)
    assert found.p95 == pytest.approx(19_000, rel=0.05)


def test_no_times_give_no_percentiles() -> None:
    assert np.isnan(LatencyStats().percentiles().p50)


def test_thirty_samples_at_thirty_a_second_are_thirty() -> None:
    meter = RateMeter(window=10)
    for index in range(30):
        meter.tick(index / 30)

    assert meter.rate() == pytest.approx(30)
    assert meter.recent_rate() == pytest.approx(30)


def test_the_recent_rate_follows_a_change() -> None:
    meter = RateMeter(window=5)
    for second in [*range(10), *(9 + i / 10 for i in range(1, 11))]:
        meter.tick(float(second))

    assert meter.recent_rate() == pytest.approx(10)
    assert meter.rate() == pytest.approx(19 / 10)


def test_one_event_has_no_rate() -> None:
    meter = RateMeter()
    assert meter.rate() == 0
    meter.tick(1.0)

    assert meter.rate() == 0
