"""How often a tensor takes which value: counted in one pass, without knowing its range, in bounded memory."""

import numpy as np
from numpy.typing import NDArray

from edge_seg.errors import ModelError

SIDE_BINS = 2048
"""Bins on each side of zero."""

LEAST_EXPONENT = -100
"""Of a bin's width: its inverse is still a float32."""


class Histogram:
    """Counts of the values of one tensor in bins of 2^exponent; when a value lies beyond them, bins merge in pairs.

    A power of two divides exactly, so the counts are those that a second pass with the final width would give.
    """

    def __init__(self) -> None:
        self.exponent: int | None = None
        self.counts: NDArray[np.int64] = np.zeros(2 * SIDE_BINS, np.int64)
        self.least, self.most = np.inf, -np.inf

    @property
    def width(self) -> float:
        """Width of a bin."""
        return float(2.0 ** (self.exponent or 0))

    @property
    def edges(self) -> NDArray[np.float64]:
        """Lower edges of the bins, and the upper one of the last [2 * SIDE_BINS + 1]."""
        return np.arange(-SIDE_BINS, SIDE_BINS + 1, dtype=np.float64) * self.width

    def update(self, values: NDArray[np.float32], name: str) -> None:
        """Count the values of one picture; ModelError for one that is no number, with the tensor's `name`."""
        least, most = float(values.min()), float(values.max())
        if not np.isfinite(least) or not np.isfinite(most):
            raise ModelError(f"{name} holds values that are no numbers (NaN or infinite): the FP32 model is broken.")
        self.least, self.most = min(self.least, least), max(self.most, most)
        self._reach(max(-least, most))
        bins = np.floor(values.ravel() * np.float32(1 / self.width)).astype(np.int32) + SIDE_BINS
        self.counts += np.bincount(bins, minlength=2 * SIDE_BINS)

    def _reach(self, magnitude: float) -> None:
        """Widen the bins until `magnitude` lies within."""
        wanted = _exponent(magnitude)
        if wanted is None:
            return
        if self.exponent is None:
            # All that was counted so far is zero, which lies in the same bin whatever the width.
            self.exponent = wanted
        for _ in range(wanted - self.exponent):
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.pad(merged, SIDE_BINS // 2)
        self.exponent = max(self.exponent, wanted)


def _exponent(magnitude: float) -> int | None:
    """The least e for which magnitude < SIDE_BINS * 2^e; None for zero.

    >>> _exponent(2048.0), _exponent(2047.5), _exponent(0.0)
    (1, 0, None)
    """
    if magnitude == 0:
        return None
    return max(LEAST_EXPONENT, int(np.frexp(magnitude / SIDE_BINS)[1]))  # the number is f * 2^e, f 0.5 to 1
