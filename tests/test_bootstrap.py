"""Intervals by resampling: they cover the difference where there is one, and nothing where there is none."""

import numpy as np
import pytest

from edge_seg.bootstrap import class_iou, hits_and_unions, miou_interval, ratio_interval


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


def test_a_ratio_beyond_the_noise_excludes_one_and_one_within_does_not() -> None:
    rng = np.random.default_rng(1)
    quiet, slower, noisy = rng.normal(10, 0.1, 9), rng.normal(11, 0.1, 9), rng.normal(10.2, 2, 9)

    assert ratio_interval(quiet, slower)[0] > 1.05
    low, high = ratio_interval(quiet, noisy)
    assert low < 1 < high
    assert ratio_interval([3.0], [6.0]) == pytest.approx((2, 2))
