"""Scores of a set against definitions written anew: which is truth and which are labels, and how near is near."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_seg.data import open_dataset
from edge_seg.evaluate import evaluate
from edge_seg.segmenter import Segmenter
from edge_seg.spec import ModelSpec
from edge_seg.types import VOID, SegClass, UInt8Array

HEIGHT, WIDTH = 234, 312
"""A diagonal of 390 pixels, of which 0.75 % are 2.925: two pixels aslant are met, three straight ones are not."""
REACH_PX = 2.925
CLASSES = (SegClass("left", (9, 0, 0)), SegClass("middle", (0, 9, 0)), SegClass("right", (0, 0, 9)))


def blobs(seed: int) -> UInt8Array:
    """Three classes of unequal shares, in blobs."""
    values = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH)), (0, 0), 9.0)
    return np.digitize(values, np.quantile(values, (0.5, 0.8))).astype(np.uint8)


def outline(labels: UInt8Array, label: int) -> NDArray[np.int64]:
    """Places [K, 2] of a label beside one of another label, void being none."""
    around = np.pad(labels, 1, constant_values=VOID)
    beside = around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]
    return np.argwhere((labels == label) & np.any([(side != label) & (side != VOID) for side in beside], axis=0))


def boundary_f1(labels: UInt8Array, truth: UInt8Array, reach_px: float) -> float:
    """The mean over the classes of one picture, from the distances of all pairs of pixels."""
    known, values = np.where(truth == VOID, VOID, labels).astype(np.uint8), []
    for label in range(len(CLASSES)):
        found, wanted = outline(known, label), outline(truth, label)
        away = np.sqrt(((found[:, None] - wanted[None]) ** 2).sum(-1))
        precision, recall = (float((away.min(axis) <= reach_px).mean()) for axis in (1, 0))
        values.append(2 * precision * recall / (precision + recall))
    return sum(values) / len(values)


def shares(pairs: list[tuple[UInt8Array, UInt8Array]]) -> tuple[float, float]:
    """Dice and class average over all pixels of the set that have a truth."""
    labels, truth = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    labels, truth = labels[truth != VOID], truth[truth != VOID]
    both = np.array([((labels == label) & (truth == label)).sum() for label in range(len(CLASSES))])
    found, wanted = np.bincount(labels), np.bincount(truth)
    return float((2 * both / (found + wanted)).mean()), float((both / wanted).mean())


class Answers:
    """A runner that knows its labels by the first pixel of a picture."""

    spec = ModelSpec("answers", CLASSES, WIDTH, HEIGHT, "nothing")
    runtime = "none"

    def __init__(self, labels: list[UInt8Array]) -> None:
        self.labels = labels

    def infer(self, images: UInt8Array) -> UInt8Array:
        return self.labels[int(images[0, 0, 0, 0])][None]


@pytest.fixture
def pairs() -> list[tuple[UInt8Array, UInt8Array]]:
    """Labels and truth of two pictures: one moved by about the tolerance, one mostly another; void in the truths."""
    first, second = blobs(1), blobs(2)
    moved = np.where(np.arange(HEIGHT)[:, None] < 120, np.roll(first, (2, 2), (0, 1)), np.roll(first, 3, 1))
    other = np.where(np.arange(WIDTH) < 200, np.roll(second, 1, 0), blobs(3))
    for truth in (first, second):
        truth[150:190] = VOID
    return [(moved.astype(np.uint8), first), (other.astype(np.uint8), second)]


def test_scores_are_those_of_labels_against_truth(pairs: list[tuple[UInt8Array, UInt8Array]], tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number, (_, truth) in enumerate(pairs):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), np.full((HEIGHT, WIDTH, 3), number, np.uint8))
        cv2.imwrite(str(tmp_path / "labels" / f"{number}.png"), truth)
    (tmp_path / "classes.csv").write_text("".join(f"{c.name},{','.join(map(str, c.rgb))}\n" for c in CLASSES))

    answers = Segmenter(Answers([labels for labels, _ in pairs]))  # type: ignore[arg-type]
    scores = evaluate(answers, open_dataset(f"folder:{tmp_path}"))

    by_picture = [boundary_f1(labels, truth, REACH_PX) for labels, truth in pairs]
    dice, recall = shares(pairs)
    assert scores.boundary_f1 == pytest.approx(sum(by_picture) / 2, abs=1e-9)
    assert scores.dice == pytest.approx(dice, abs=1e-9)
    assert scores.class_accuracy == pytest.approx(recall, abs=1e-9)


def test_the_pictures_tell_the_tolerance_and_the_sides_apart(pairs: list[tuple[UInt8Array, UInt8Array]]) -> None:
    """What makes the test above one."""
    labels, truth = pairs[0]
    at = {reach: boundary_f1(labels, truth, reach) for reach in (2.8, REACH_PX, 3.0)}

    assert at[2.8] + 0.05 < at[REACH_PX] < at[3.0] - 0.05
    assert abs(boundary_f1(truth, labels, REACH_PX) - at[REACH_PX]) > 1e-3
