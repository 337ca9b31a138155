"""Intervals by resampling: they cover the difference where there is one, and nothing where there is none."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_seg.bootstrap import class_iou, compare_sessions, hits_and_unions, median_error, miou_interval

SessionLogs = NDArray[np.float64]


def test_miou_of_all_pictures_lies_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(0, 50, (40, 3, 3)) + 200 * np.eye(3, dtype=np.int64)
    after = before.copy()
    after[:, 0, 0] -= 60  # pixels of the first class that are lost to the second
    after[:, 0, 1] += 60
    first, second = hits_and_unions(before), hits_and_unions(after)

    low, high = miou_interval(first, second)

    difference = class_iou(second.sum(0)).mean() - class_iou(first.sum(0)).mean()
    assert low < difference < high < 0


def test_a_class_that_never_occurs_is_left_out() -> None:
    matrices = np.zeros((5, 2, 2), np.int64)
    matrices[:, 0, 0] = 7

    assert miou_interval(hits_and_unions(matrices), hits_and_unions(matrices)) == (0, 0)


def test_a_median_is_as_uncertain_as_its_values_and_less_so_with_more_of_them() -> None:
    rng = np.random.default_rng(1)
    few, many = rng.normal(10, 0.3, 9), rng.normal(10, 0.3, 900)

    assert 0.005 < median_error(few.tolist()) < 0.03
    assert median_error(many.tolist()) < median_error(few.tolist()) / 3


def sessions(changes: list[float], *, count: int = 1, noise: float = 0.0) -> tuple[SessionLogs, SessionLogs]:
    """Logarithms of rows before and after, in `count` sessions a side; each drifts as a whole, its rows by `noise`."""
    rng = np.random.default_rng(2)
    sides = [
        np.asarray(moved)[:, None] + rng.normal(0, 0.1, (1, count)) + rng.normal(0, noise, (len(moved), count))
        for moved in ([0.0] * len(changes), changes)
    ]
    return sides[0], sides[1]


def test_what_all_rows_change_by_is_taken_out() -> None:
    first, second = sessions([0.0, 0.0, 0.0, 0.3])

    found = compare_sessions(first, second, usual=0.04, drift=0.03, errors=np.zeros(4))

    assert found.common == pytest.approx((second - first)[0, 0])
    assert found.rows == pytest.approx([0, 0, 0, 0.3])
    assert found.widths[0] < 0.3


def test_two_rows_do_not_tell_a_common_change_from_their_own() -> None:
    first, second = sessions([0.0, 0.0])

    found = compare_sessions(first, second, usual=0.04, drift=0.03, errors=np.zeros(2))

    assert found.common == 0
    assert found.rows == pytest.approx((second - first)[:, 0])


@pytest.mark.parametrize("count", [1, 3])
def test_rows_that_differ_more_between_sessions_have_wider_intervals(count: int) -> None:
    quiet, noisy = (
        compare_sessions(*sessions([0.0] * 12, count=count, noise=noise), usual=0.04, drift=0.03, errors=np.zeros(12))
        for noise in (0.005, 0.1)
    )

    assert quiet.widths[0] < noisy.widths[0] / 1.3


def test_several_sessions_narrow_the_interval_and_an_error_within_them_widens_it() -> None:
    errors = np.array([0.0] * 7 + [0.2])
    one, three = (
        compare_sessions(*sessions([0.0] * 8, count=count, noise=0.04), usual=0.04, drift=0.03, errors=errors)
        for count in (1, 3)
    )

    assert three.widths[0] < one.widths[0]
    assert three.widths[7] > 2 * 0.2 > three.widths[0]


def test_a_session_that_lacks_a_row_still_counts_for_the_others() -> None:
    first, second = sessions([0.0, 0.0, 0.0, 0.3], count=2)
    first[3, 0] = np.nan

    found = compare_sessions(first, second, usual=0.04, drift=0.03, errors=np.zeros(4))

    assert np.isfinite(found.rows).all() and np.isfinite(found.widths).all()
    assert found.widths[3] > found.widths[0]
