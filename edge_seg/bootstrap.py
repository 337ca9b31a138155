"""Intervals of a difference: by resampling (Efron and Tibshirani, An Introduction to the Bootstrap, 1993), and between
sessions of measurements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
BLOCK = 500
"""Resamples at a time: all at once would take gigabytes of a large set."""
INTERVAL = (2.5, 97.5)
"""Percentiles: 95 % of the resampled values lie between them."""
LEAST_ROWS = 3
"""Rows that it takes to tell a drift of all of them from one's own."""
USUAL_FREEDOM = 14
"""What is usual comes from eight rows of three sessions, less a mean of each row and the drift of two sessions."""
MIDDLE_HALF = 1.349
"""The middle half of normal values is so many standard deviations wide."""
MIDDLE_WORTH = 0.37
"""The width of the middle half tells a variance as exactly as this share of the values would by their squares."""


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


def median_error(values: Sequence[float], *, seed: int = 0) -> float:
    """The standard error of the logarithm of a median: by how much it spreads over values drawn with replacement.

    >>> round(median_error([1.0, 1.0, 1.0]), 3)
    0.0
    """
    # A tenth of what an interval takes: there is no tail to be drawn.
    drawn = np.random.default_rng(seed).choice(np.asarray(values), (RESAMPLES // 10, len(values)))
    return float(np.log(np.median(drawn, axis=1)).std())


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What rows changed by from the first sessions to the second, as logarithms of ratios.

    `common` is what all changed by alike, `rows` what each did beyond that, and `widths` half of its 95 % interval,
    which holds for all rows at once: of more rows, each has a wider one.
    """

    common: float
    rows: NDArray[np.float64]
    widths: NDArray[np.float64]


def compare_sessions(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    usual: float,
    drift: float,
    errors: NDArray[np.float64],
) -> SessionChange:
    """Compare logarithms of measurements [rows, sessions]; NaN where a session did not measure a row.

    Sessions of the same differ by a drift of all rows, taken out as their median where there are LEAST_ROWS, and by a
    drift of each row of its own. How wide that spreads is told by sessions of one side against each other, and by the
    middle half of the rows' changes; what is `usual` counts beside them as USUAL_FREEDOM degrees of freedom (Smyth,
    Statistical Applications in Genetics and Molecular Biology 3(1), 2004), with the usual `drift` of all rows where
    that cannot be told. `errors` [rows], the standard errors of the
    changes within their sessions, count where they are larger.
    """
    changes = np.nanmean(second, axis=1) - np.nanmean(first, axis=1)
    counts = [np.isfinite(side).sum(axis=1) for side in (first, second)]
    many = len(changes) >= LEAST_ROWS
    common = float(np.median(changes)) if many else 0.0
    scatters = zip(session_scatter(first), session_scatter(second), strict=True)
    squares, freedom = (sum(pair) for pair in scatters)
    if many:
        low, high = np.percentile((changes - common) / np.sqrt(1 / counts[0] + 1 / counts[1]), (25, 75))
        worth = MIDDLE_WORTH * (len(changes) - 1)
        squares, freedom = squares + worth * ((high - low) / MIDDLE_HALF) ** 2, freedom + worth
    prior = usual**2 + (0.0 if many else drift**2)
    variance = (USUAL_FREEDOM * prior + squares) / (USUAL_FREEDOM + freedom)
    # A row that is far off in one session is far off in their mean too: the side with fewer sessions counts for both.
    spread = np.sqrt(2 * variance / np.minimum(*counts))
    chance = 1 - 0.025 / len(changes)  # Bonferroni
    widths = student_quantile(chance, USUAL_FREEDOM + freedom) * np.maximum(spread, errors)
    return SessionChange(common, changes - common, widths)


def session_scatter(logs: NDArray[np.float64]) -> tuple[float, float]:
    """How rows [rows, sessions] differ from session to session: the sum of squares, and its degrees of freedom.

    `logs` are logarithms, NaN where a session did not measure a row. With LEAST_ROWS the drift that all rows share is
    taken out.

    >>> session_scatter(np.log([[1.0, 1.1], [2.0, 2.2], [3.0, 3.3]]))[1]
    2.0
    """
    logs = logs[:, np.isfinite(logs).any(axis=0)]
    rest = logs - np.nanmean(logs, axis=1, keepdims=True)
    freedom = float(np.isfinite(logs).sum()) - len(logs)
    if len(logs) >= LEAST_ROWS:
        rest = rest - np.nanmedian(rest, axis=0)
        freedom -= logs.shape[1] - 1
    return float(np.nansum(rest**2)), max(freedom, 0.0)


def student_quantile(probability: float, freedom: float) -> float:
    """The value that Student's t stays below with this probability; within 1 % from ten degrees of freedom on.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, 26.7.5.

    >>> round(student_quantile(0.975, 20), 2), round(student_quantile(0.999, 20), 2)
    (2.09, 3.55)
    """
    z = NormalDist().inv_cdf(probability)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _interval(values: NDArray[Any]) -> tuple[float, float]:
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)
