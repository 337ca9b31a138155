"""The accumulators behind every number: ConfusionMatrix for accuracy, LatencyStats and RateMeter for time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_seg.errors import DataError
from edge_seg.types import VOID, UInt8Array


class ConfusionMatrix:
    """Pixel counts of truth (rows) against labels (columns), summed over a whole set.

    A class that occurs neither in truth nor in labels has no IoU (NaN) and is left out of the means. Pixels whose truth
    is VOID are not counted. mIoU as in Everingham et al., The PASCAL VOC Challenge (2015), section 3.1.

    >>> matrix = ConfusionMatrix(2)
    >>> matrix.update(np.array([[0, 1, 1]], np.uint8), np.array([[0, 0, 1]], np.uint8))
    >>> matrix.class_iou().tolist(), matrix.miou(), round(matrix.global_accuracy(), 3)
    ([0.5, 0.5], 0.5, 0.667)
    """

    def __init__(self, classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((classes, classes), np.int64)

    def update(self, labels: UInt8Array, truth: UInt8Array) -> None:
        """Add one picture or batch: labels and truth uint8 of equal shape; DataError for another shape or class."""
        if labels.shape != truth.shape:
            raise DataError(f"Labels of shape {labels.shape} cannot be compared with truth of shape {truth.shape}.")
        classes = len(self.counts)
        # uint16 pairs: a histogram over 256 * classes bins is many times faster than comparing class by class.
        pairs = np.bincount((truth.astype(np.uint16) * 256 + labels).ravel(), minlength=65536).reshape(256, 256)
        counted = pairs[:classes, :classes]
        if counted.sum() != pairs.sum() - pairs[VOID].sum():
            raise DataError(_unknown_label(pairs, classes))
        self.counts += counted

    def class_iou(self) -> NDArray[np.float64]:
        """Intersection over union by class [C], NaN where the class never occurs."""
        return _ratio(np.diag(self.counts), self.counts.sum(0) + self.counts.sum(1) - np.diag(self.counts))

    def class_recall(self) -> NDArray[np.float64]:
        """Share of each class's true pixels that are labelled so [C], NaN where the truth never has it."""
        return _ratio(np.diag(self.counts), self.counts.sum(1))

    def class_dice(self) -> NDArray[np.float64]:
        """Dice coefficient by class [C], 2 x intersection / (truth + labels), NaN where the class never occurs."""
        return _ratio(2 * np.diag(self.counts), self.counts.sum(0) + self.counts.sum(1))

    def dice(self) -> float:
        """Mean of `class_dice` over the classes that occur."""
        return _mean(self.class_dice())

    def miou(self) -> float:
        """Mean of `class_iou` over the classes that occur."""
        return _mean(self.class_iou())

    def class_accuracy(self) -> float:
        """Mean of `class_recall`: the "class average" of the CamVid literature."""
        return _mean(self.class_recall())

    def global_accuracy(self) -> float:
        """Share of all counted pixels that are right, NaN where none was counted."""
        return float(_ratio(np.trace(self.counts), self.counts.sum()))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.divide(part, whole, dtype=np.float64)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def none_for_nan(value: float) -> float | None:
    """None for NaN, which JSON does not have: what is not defined is not known.

    >>> none_for_nan(0.5), none_for_nan(float("nan"))
    (0.5, None)
    """
    return None if math.isnan(value) else value


def _unknown_label(pairs: NDArray[np.intp], classes: int) -> str:
    truth = [int(i) for i in np.flatnonzero(pairs.sum(1)) if i >= classes and i != VOID]
    if truth:
        return f"The truth holds the values {truth}; expected 0 to {classes - 1}, or {VOID} for void."
    labels = [int(i) for i in np.flatnonzero(pairs[:VOID].sum(0)) if i >= classes]
    return (
        f"The model gives the labels {labels}, but the data set has {classes} classes. Use a model of the same classes."
    )


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The 50th, 95th and 99th percentile of a set of times, in milliseconds."""

    p50: float
    p95: float
    p99: float


class LatencyStats:
    """Times in milliseconds, kept in bounded memory: exact up to `capacity`, a uniform sample (Vitter's R) beyond."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._values = np.full(capacity, np.nan, np.float32)  # touched at once, so that a long run does not grow
        self._rng = np.random.default_rng(0)
        self.count = 0

    def add(self, ms: float) -> None:
        """Take one time in milliseconds."""
        slot = self.count if self.count < len(self._values) else int(self._rng.integers(self.count + 1))
        if slot < len(self._values):
            self._values[slot] = ms
        self.count += 1

    def percentiles(self) -> Percentiles:
        """p50, p95 and p99 in milliseconds; NaN before the first time.

        >>> stats = LatencyStats()
        >>> for ms in range(1, 102):
        ...     stats.add(ms)
        >>> stats.percentiles()
        Percentiles(p50=51.0, p95=96.0, p99=100.0)
        """
        known = self._values[: min(self.count, len(self._values))]
        if not len(known):
            return Percentiles(float("nan"), float("nan"), float("nan"))
        p50, p95, p99 = np.percentile(known, (50, 95, 99)).tolist()
        return Percentiles(p50, p95, p99)


class RateMeter:
    """Events per second as (n - 1) / span: over the whole time, and over the last `window` events.

    >>> meter = RateMeter()
    >>> for second in (0.0, 1.0, 2.0):
    ...     meter.tick(second)
    >>> meter.rate(), meter.recent_rate()
    (1.0, 1.0)
    """

    def __init__(self, window: int = 30) -> None:
        self._recent: list[float] = []
        self._window = window
        self._first_s = 0.0
        self.count = 0

    def tick(self, now_s: float) -> None:
        """Count one event at `now_s` seconds of any monotonic clock."""
        if not self.count:
            self._first_s = now_s
        self._recent = [*self._recent[-self._window :], now_s]
        self.count += 1

    def rate(self) -> float:
        """Events per second since the first one; 0 before the second."""
        return _rate([self._first_s, *self._recent[-1:]], self.count)

    def recent_rate(self) -> float:
        """Events per second over the last `window` intervals; 0 before the second event."""
        return _rate(self._recent, len(self._recent))


def _rate(times_s: Sequence[float], count: int) -> float:
    span_s = times_s[-1] - times_s[0] if count > 1 else 0.0
    return (count - 1) / span_s if span_s > 0 else 0.0
