"""Boundary F1: how well labels follow the outlines of the truth, which mIoU hardly sees."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_seg.types import VOID, UInt8Array

TOLERANCE = 0.0075
"""Share of the picture's diagonal within which an outline counts as met; about 4.5 pixels at 480x360."""


class BoundaryF1:
    """The boundary F1 measure (BF), summed picture by picture.

    For a class, precision is the share of its outline in the labels that lies within the tolerance of its outline in
    the truth, recall the reverse, F1 their harmonic mean. A picture's value is the mean over the classes that have an
    outline in its labels or truth, the measure the mean over the pictures. Source: Csurka et al., What is a good
    evaluation measure for semantic segmentation? (2013), section 2.2.

    >>> truth = np.repeat(np.array([[0, 0, 0, 1, 1, 1]], np.uint8), 3, axis=0)
    >>> measure = BoundaryF1(2, tolerance=0.0)
    >>> measure.update(truth, truth)
    >>> measure.update(np.roll(truth, 1, axis=1), truth)  # no outline where it should be
    >>> measure.mean()
    0.5
    """

    def __init__(self, classes: int, tolerance: float = TOLERANCE) -> None:
        self._classes = classes
        self._tolerance = tolerance
        self._sum = 0.0
        self._pictures = 0

    def update(self, labels: UInt8Array, truth: UInt8Array) -> None:
        """Add one picture: labels and truth uint8 [H, W]. What is VOID in the truth has no outline, nor makes one."""
        reach_px = self._tolerance * math.hypot(*truth.shape)
        known = np.where(truth == VOID, np.uint8(VOID), labels)
        values = [_f1(_outline(known, c), _outline(truth, c), reach_px) for c in range(self._classes)]
        present = [value for value in values if value is not None]
        if present:
            self._sum += sum(present) / len(present)
            self._pictures += 1

    def mean(self) -> float:
        """The measure over all pictures so far, NaN where none has an outline."""
        return self._sum / self._pictures if self._pictures else float("nan")


def _outline(labels: UInt8Array, label: int) -> NDArray[np.bool_]:
    """Pixels [H, W] of a label beside (above, below, left, right) one of another label."""
    inside: NDArray[np.bool_] = labels == label
    other = ~inside & (labels != VOID)
    near = np.zeros_like(inside)
    near[1:] |= other[:-1]
    near[:-1] |= other[1:]
    near[:, 1:] |= other[:, :-1]
    near[:, :-1] |= other[:, 1:]
    near &= inside
    return near


def _f1(found: NDArray[np.bool_], wanted: NDArray[np.bool_], reach_px: float) -> float | None:
    """F1 of two outlines; None where there is neither, 0 where there is one only."""
    if not (found.any() or wanted.any()):
        return None
    if not (found.any() and wanted.any()):
        return 0.0
    precision, recall = _share_near(found, wanted, reach_px), _share_near(wanted, found, reach_px)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(pixels: NDArray[np.bool_], outline: NDArray[np.bool_], reach_px: float) -> float:
    """Share of `pixels` within reach of the outline."""
    away = cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((away[pixels] <= reach_px).mean())
