"""Where a histogram is clipped, against searches over the values themselves."""

import itertools
import math

import numpy as np
import pytest

from edge_seg.calib.histogram import SIDE_BINS, Histogram
from edge_seg.calib.thresholds import KL_STEP, METHODS, entropy, min_max, mse, mse_symmetric, squared_error

RNG = np.random.default_rng(1)


def counted(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.update(values.astype(np.float32), "x")
    return histogram


def test_mse_clips_where_that_costs_least() -> None:
    """Against a search over the values themselves."""
    values = np.concatenate([RNG.normal(size=50_000), [40.0, -25.0]])
    histogram, ones = counted(values), np.ones(50_002)

    found = mse(histogram)
    best = min(
        ((low, high) for low in np.linspace(-25, -1, 49) for high in np.linspace(1, 40, 79)),
        key=lambda span: squared_error(values, ones, span, 256),
    )
    error, least = (squared_error(values, ones, span, 256) for span in (found, best))
    assert error <= 1.05 * least
    assert error < 0.9 * squared_error(values, ones, min_max(histogram), 256)
    low, high = mse_symmetric(histogram)
    assert low == -high


def test_entropy_leaves_rare_values_out_and_keeps_an_even_spread() -> None:
    bulk = np.abs(RNG.normal(size=100_000))

    assert entropy(counted(np.append(bulk, 60.0)))[1] < 15
    assert entropy(counted(RNG.uniform(0, 8, 100_000)))[1] == pytest.approx(8, rel=0.03)
    low, high = entropy(counted(RNG.normal(size=100_000)))
    assert -low == pytest.approx(high, rel=0.2)


def test_entropy_of_what_a_relu_gives_is_that_of_its_positive_values() -> None:
    """Zero is a level of every range, and so no reason to clip."""
    positive = np.abs(RNG.normal(size=50_000))

    with_zeros = entropy(counted(np.concatenate([positive, np.zeros(200_000)])))[1]

    assert with_zeros == pytest.approx(entropy(counted(positive))[1], rel=0.02)
    assert with_zeros > 0.8 * positive.max()
    assert entropy(counted(np.zeros(9))) == (0, 0)


@pytest.mark.parametrize(
    "values",
    [
        np.array([0.0, 0.0, 7.0]),
        np.repeat([0.0, 6.0], [900, 100]),
        np.repeat(np.arange(5.0), 100),
        RNG.uniform(5, 7, 10_000),
        np.append(np.zeros(10_000), RNG.uniform(0.3, 1, 10_000)),
    ],
    ids=["one", "relu6", "whole numbers", "far from zero", "a gap"],
)
def test_entropy_clips_no_value_away_for_a_gap_beside_zero(values: np.ndarray) -> None:
    assert entropy(counted(values))[1] >= 0.99 * values.max()


@pytest.mark.parametrize("levels", [256, 128])
def test_entropy_is_that_of_a_search_bin_by_bin(levels: int) -> None:
    """Against Migacz's loop as it is written, in plain Python."""
    drawn = np.random.default_rng(2).laplace(size=100_000)  # its own, whatever ran before
    histogram = counted(np.append(drawn if levels == 128 else np.maximum(drawn, 0), 60.0))
    sides = histogram.counts[:SIDE_BINS][::-1] + histogram.counts[SIDE_BINS:]
    bins = [int(min(sides[:2])), *map(int, sides[1:])]
    used = max(place for place, count in enumerate(bins) if count) + 1

    stops = [*range(levels, used, KL_STEP), used]
    best = min(stops, key=lambda stop: divergence_bin_by_bin(bins, stop, levels))

    assert entropy(histogram)[1] == pytest.approx(min(best * histogram.width, histogram.most))
    assert best < used


def divergence_bin_by_bin(bins: list[int], stop: int, levels: int) -> float:
    p, q = [float(count) for count in bins[:stop]], [0.0] * stop
    if sum(p) == 0:
        return math.inf
    p[-1] += sum(bins[stop:])
    for _, group in itertools.groupby(range(stop), lambda place: place * levels // stop):
        inside = [place for place in group if bins[place]]
        for place in inside:
            q[place] = sum(bins[other] for other in inside) / len(inside)
    pairs = [(one / sum(p), (other or 1e-3) / sum(q)) for one, other in zip(p, q, strict=True) if one]
    return sum(one * math.log(one / other) for one, other in pairs)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[0.0, 1e-30], [-5.0, -4.0], [0.0, 0.0, 7.0], [-1.0, 1.0]])
def test_every_range_holds_zero_and_is_one(method: str, values: list[float]) -> None:
    least, most = METHODS[method](counted(np.array(values)))

    assert least <= 0 <= most
    assert least < most
