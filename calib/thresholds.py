"""Ranges out of a histogram: where to clip a tensor that is given 256 levels."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_seg.calib.histogram import SIDE_BINS, Histogram

Range = tuple[float, float]
"""Least and greatest value that a quantized tensor can hold; zero is always among them."""

LEVELS = 256
PERCENTILE = 99.99
"""Of the values, that stay inside; half of the rest on either side."""
KL_STEP = 16
"""Bins between two thresholds that `entropy` tries."""
MSE_SHARES = tuple(0.93**step for step in range(64))
"""Of each end, that `mse` tries: down to a hundredth."""


def with_zero(least: float, most: float) -> Range:
    """The range with zero in it, so that zero padding and ReLU are exact.

    >>> with_zero(0.5, 2.0)
    (0.0, 2.0)
    """
    return min(least, 0.0), max(most, 0.0)


def min_max(histogram: Histogram) -> Range:
    """All of it."""
    return with_zero(histogram.least, histogram.most)


def percentile(histogram: Histogram) -> Range:
    """What holds PERCENTILE of the values, to the width of a bin."""
    outside = (100 - PERCENTILE) / 200
    shares = np.cumsum(histogram.counts) / histogram.counts.sum()
    edges = histogram.edges
    first = int(np.searchsorted(shares, outside, side="right"))
    last = int(np.searchsorted(shares, 1 - outside, side="left"))
    return _within(histogram, edges[first], edges[last + 1])


def entropy(histogram: Histogram) -> Range:
    """The threshold of least Kullback-Leibler divergence (Migacz, 8-bit Inference with TensorRT, 2017).

    Of magnitudes, with half of the levels, where both signs occur. Zero, which every range holds exactly, counts no
    more than its neighbour: spread over the bins of the first level, as if it were like others, the many zeros of
    a ReLU would ask for ever smaller thresholds.
    """
    lower, upper = histogram.counts[:SIDE_BINS][::-1], histogram.counts[SIDE_BINS:]
    two_sided = histogram.least < 0 < histogram.most
    magnitudes = (lower + upper).astype(np.float64)
    levels = LEVELS // 2 if two_sided else LEVELS
    used = int(np.flatnonzero(magnitudes)[-1]) + 1
    magnitudes[0] = min(magnitudes[:2])
    stops = [*range(levels, used, KL_STEP), max(used, levels)]
    best = min(stops, key=lambda stop: _divergence(magnitudes, stop, levels))
    threshold = best * histogram.width
    return _within(histogram, -threshold, threshold)


def _divergence(counts: NDArray[np.float64], stop: int, levels: int) -> float:
    """KL(P || Q): P the counts below `stop` with all above in its last bin, Q those below in `levels` steps."""
    inside = counts[:stop]
    if not inside.any():  # all would be clipped
        return np.inf
    p = inside.copy()
    p[-1] += counts[stop:].sum()
    step = np.minimum(np.arange(stop) * levels // stop, levels - 1)
    filled = inside > 0
    sums = np.bincount(step, inside, levels)
    shares = np.bincount(step, filled, levels)
    q = np.where(filled, (sums / np.maximum(shares, 1))[step], 0.0)
    held = p > 0
    if not q[held].all():  # the clipped values alone fill a bin that holds nothing
        q[-1] = q[-1] or 1e-3
    p, q = p[held] / p.sum(), q[held] / q.sum()
    return float((p * np.log(p / q)).sum())


def mse(histogram: Histogram) -> Range:
    """The range of least mean squared error of rounding and clipping to 256 levels; each end on its own, twice."""
    span = bottom, top = min_max(histogram)
    for _ in range(2):
        span = _best([(span[0], end) for end in _fractions(top)], histogram, LEVELS)
        span = _best([(end, span[1]) for end in _fractions(bottom)], histogram, LEVELS)
    return span


def mse_symmetric(histogram: Histogram) -> Range:
    """The same of ranges (-t, t) of 255 levels, for int8 with zero point 0."""
    top = max(abs(end) for end in min_max(histogram))
    return _best([(-end, end) for end in _fractions(top)], histogram, LEVELS - 1)


def _fractions(end: float) -> list[float]:
    return [end * share for share in MSE_SHARES]


def _best(spans: list[Range], histogram: Histogram, levels: int) -> Range:
    centres, weights = _centres(histogram)
    return min(spans, key=lambda span: squared_error(centres, weights, span, levels))


def squared_error(centres: NDArray[np.float64], weights: NDArray[np.float64], span: Range, levels: int) -> float:
    """Mean squared error of values `centres` that occur `weights` times when quantized to `levels` over `span`.

    >>> squared_error(np.array([0.0, 3.0]), np.array([1.0, 1.0]), (0.0, 2.0), 3)
    0.5
    """
    least, most = span
    if most == least:
        return float(np.average(np.square(centres - least), weights=weights))
    scale = (most - least) / (levels - 1)
    zero = np.round(-least / scale)
    steps = np.clip(np.round(centres / scale) + zero, 0, levels - 1) - zero
    return float(np.average(np.square(steps * scale - centres), weights=weights))


def least_error(histogram: Histogram, spans: Mapping[str, Range], *, symmetric: bool) -> str:
    """The name of the span of least mean squared error; `symmetric` levels lie on both sides of zero alike."""
    centres, weights = _centres(histogram)

    def error(name: str) -> float:
        least, most = spans[name]
        end = max(-least, most)
        span, levels = ((-end, end), LEVELS - 1) if symmetric else ((least, most), LEVELS)
        return squared_error(centres, weights, span, levels)

    return min(spans, key=error)


def _centres(histogram: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles of the bins that hold something, and their counts; that of zero's own bin is zero itself."""
    middles = histogram.edges[:-1] + histogram.width / 2
    middles[SIDE_BINS] = 0.0  # most of what a ReLU gives is zero
    held = histogram.counts > 0
    return middles[held], histogram.counts[held].astype(np.float64)


def _within(histogram: Histogram, least: float, most: float) -> Range:
    return with_zero(max(float(least), histogram.least), min(float(most), histogram.most))


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "min-max": min_max,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
    "mse-symmetric": mse_symmetric,
}
"""By name; `moving-average`, which depends on the order of the pictures, is observed beside (calib.ranges)."""
