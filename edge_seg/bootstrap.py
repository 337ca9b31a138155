"""Intervals of a difference by resampling (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
BLOCK = 500
"""Resamples at a time: all at once would take gigabytes of a large set."""
INTERVAL = (2.5, 97.5)
"""Percentiles: 95 % of the resampled values lie between them."""


def hits_and_unions(matrices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels right, and pixels in truth or labels, by class [..., C, 2] of confusion matrices [..., C, C].

    >>> hits_and_unions(np.array([[1, 1], [0, 1]])).tolist()
    [[1, 2], [1, 2]]
    """
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    return np.stack((hits, matrices.sum(-1) + matrices.sum(-2) - hits), axis=-1)


def class_iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """IoU by class [..., C] of `hits_and_unions` [..., C, 2]; NaN for a class that occurs nowhere.

    >>> class_iou(np.array([[1, 2], [0, 0]])).tolist()
    [0.5, nan]
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(counts[..., 0] / counts[..., 1])


def miou_interval(first: NDArray[np.int64], second: NDArray[np.int64], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of mIoU(second) - mIoU(first) over sets of as many pictures, drawn with replacement.

    Both are `hits_and_unions` of the same pictures [pictures, C, 2], judged on the same drawn ones (chapter 13).
    Neighbours of a drive look alike, so that other drives would spread further than the interval says. Pictures without
    a pixel that counts are left out.

    >>> same = np.ones((3, 2, 2), np.int64)
    >>> miou_interval(same, same)
    (0.0, 0.0)
    """
    counted = first[..., 1].any(-1) & second[..., 1].any(-1)
    first, second = first[counted], second[counted]
    if not len(first):
        return 0.0, 0.0
    rng, pictures, differences = np.random.default_rng(seed), len(first), []
    for _ in range(RESAMPLES // BLOCK):
        drawn = rng.multinomial(pictures, np.full(pictures, 1 / pictures), BLOCK)
        before, after = (_resampled_miou(counts, drawn) for counts in (first, second))
        differences.append(after - before)
    return _interval(np.concatenate(differences))


def _resampled_miou(counts: NDArray[np.int64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    # Whole numbers below 2^53, so exact in float64, whose product is many times faster.
    sums = (drawn.astype(np.float64) @ counts.reshape(len(counts), -1).astype(np.float64)).reshape(
        -1, *counts.shape[1:]
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean(sums[..., 0] / sums[..., 1], axis=-1))


def ratio_interval(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of median(second) / median(first) of two measurements, each value drawn with replacement.

    >>> ratio_interval([2.0, 2.0], [3.0, 3.0, 3.0])
    (1.5, 1.5)
    """
    rng = np.random.default_rng(seed)
    before, after = (_resampled_medians(values, rng) for values in (first, second))
    return _interval(after / before)


def _resampled_medians(values: Sequence[float], rng: np.random.Generator) -> NDArray[Any]:
    return np.asarray(np.median(rng.choice(np.asarray(values), (RESAMPLES, len(values))), axis=1))


def _interval(values: NDArray[Any]) -> tuple[float, float]:
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)
