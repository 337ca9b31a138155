"""Boundary F1 against a slow reference that looks at every pair of pixels."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_seg.boundary import BoundaryF1
from edge_seg.types import VOID, UInt8Array

PICTURES = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2]))
TRUTHS = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, VOID]))


def outline(labels: UInt8Array, label: int) -> list[tuple[int, int]]:
    """Places of a label with another label, not void, above, below, left or right."""
    height, width = labels.shape
    found = []
    for y, x in np.argwhere(labels == label).tolist():
        beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        values = [labels[v, u] for v, u in beside if 0 <= v < height and 0 <= u < width]
        if any(value not in (label, VOID) for value in values):
            found.append((y, x))
    return found


def f1(labels: UInt8Array, truth: UInt8Array, reach_px: float) -> float | None:
    """The measure of one picture, None where it has no outline."""
    values = []
    for label in range(3):
        found, wanted = outline(labels, label), outline(truth, label)
        if not found and not wanted:
            continue
        met = [any(math.dist(a, b) <= reach_px for b in wanted) for a in found]
        covered = [any(math.dist(a, b) <= reach_px for b in found) for a in wanted]
        precision, recall = sum(met) / max(1, len(met)), sum(covered) / max(1, len(covered))
        values.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return sum(values) / len(values) if values else None


@given(PICTURES, TRUTHS, st.sampled_from([0.0, 0.12, 0.3]))
def test_it_is_the_measure_of_the_paper(labels: UInt8Array, truth: UInt8Array, tolerance: float) -> None:
    measure = BoundaryF1(3, tolerance)
    measure.update(labels, truth)
    expected = f1(np.where(truth == VOID, VOID, labels).astype(np.uint8), truth, tolerance * math.hypot(6, 7))

    assert measure.mean() == pytest.approx(float("nan") if expected is None else expected, nan_ok=True)


def blobs(seed: int, *, void: bool) -> UInt8Array:
    """Three classes in blobs of a few pixels, [45, 45], with a stripe of void where that is wanted.

    Square, since torchmetrics 1.9 puts the distances of other pictures into the wrong places.
    """
    values = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(45, 45)), (0, 0), 2.5)
    labels = np.digitize(values, np.quantile(values, (0.3, 0.7))).astype(np.uint8)
    if void:
        labels[18:21] = VOID
    return labels


def torch_f1(labels: UInt8Array, truth: UInt8Array, reach_px: float) -> float:
    """The same measure by convolutions and by torchmetrics' distances, which know nothing of OpenCV's."""
    import torch
    from torchmetrics.functional.segmentation.utils import distance_transform

    cross = torch.tensor([[[[0.0, 1, 0], [1, 1, 1], [0, 1, 0]]]])

    def edge(picture: UInt8Array, label: int) -> torch.Tensor:
        inside, other = (
            torch.from_numpy(which) for which in (picture == label, (picture != label) & (picture != VOID))
        )
        beside = torch.nn.functional.conv2d(other[None, None].float(), cross, padding=1)[0, 0] > 0
        return inside & beside

    values = []
    for label in range(3):
        edges = [edge(picture, label) for picture in (np.where(truth == VOID, VOID, labels).astype(np.uint8), truth)]
        away = [distance_transform((~line).to(torch.uint8), engine="pytorch") for line in edges]
        precision, recall = (
            (there[line] <= reach_px).double().mean() for line, there in zip(edges, reversed(away), strict=True)
        )
        values.append(float(2 * precision * recall / (precision + recall)))
    return sum(values) / len(values)


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("tolerance", [0.0075, 0.03, 0.05])
def test_it_agrees_with_torchmetrics_distances(tolerance: float, void: bool) -> None:
    pytest.importorskip("torchmetrics")
    measure, expected = BoundaryF1(3, tolerance), []
    for seed in range(3):
        truth = blobs(seed, void=void)
        labels = np.roll(blobs(seed, void=False), seed + 1, axis=1)
        measure.update(labels, truth)
        expected.append(torch_f1(labels, truth, tolerance * math.hypot(45, 45)))

    assert 0.1 < measure.mean() < 1
    assert measure.mean() == pytest.approx(sum(expected) / 3, abs=1e-9)


def test_pictures_count_alike_and_those_without_an_outline_not_at_all() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 1
    far = np.roll(truth, 10, axis=1)
    measure = BoundaryF1(2)
    for labels, wanted in ((truth, truth), (far, truth), (truth * 0, truth * 0)):
        measure.update(labels, wanted)

    assert measure.mean() == pytest.approx((1 + f1(far, truth, 0.0075 * math.hypot(40, 40))) / 2)  # type: ignore[operator]


def test_nothing_has_no_measure() -> None:
    assert math.isnan(BoundaryF1(3).mean())
