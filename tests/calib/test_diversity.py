"""The choice of pictures: features, scenes, farthest points."""

from itertools import combinations

import numpy as np
import pytest

from edge_seg.calib.diversity import Choice, Floats, choose, describe, find_scenes, to_points
from edge_seg.calib.sequences import sequences

RNG = np.random.default_rng(0)


def far_apart(count: int) -> Floats:
    """Thumbnails none of which is a near copy of another."""
    return np.stack([np.full((6, 8), 10 * number, np.float32) for number in range(count)])


def radius(points: Floats, chosen: list[int]) -> float:
    """How far the farthest point is from its nearest chosen one."""
    return float(max(min(np.linalg.norm(point - points[c]) for c in chosen) for point in points))


@pytest.mark.parametrize("seed", range(5))
def test_farthest_points_leave_at_most_twice_the_least_radius(seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(11, 2)).astype(np.float32)
    choice = Choice(points, far_apart(11))
    choice.take(seed)

    choice.take_farthest(4, range(11))

    best = min(radius(points, list(centres)) for centres in combinations(range(11), 4))
    assert len(choice.chosen) == 4
    assert radius(points, choice.chosen) <= 2 * best + 1e-6


def test_each_next_is_the_farthest() -> None:
    points = np.array([[0], [1], [10], [7], [4]], np.float32)
    choice = Choice(points, far_apart(5))
    choice.take(0)

    choice.take_farthest(5, range(5))

    assert choice.chosen == [0, 2, 4, 3, 1]


def test_a_closed_one_is_not_taken() -> None:
    thumbnails = far_apart(3)
    thumbnails[1] = thumbnails[0] + 3
    choice = Choice(np.array([[0], [9], [1]], np.float32), thumbnails)
    for number in (0, 1, 0):
        choice.take(number)

    choice.take_farthest(3, range(3))

    assert choice.chosen == [0, 2]


def test_one_changed_cell_is_no_copy() -> None:
    thumbnails = np.zeros((2, 6, 8), np.float32)
    thumbnails[1, 5, 7] = 4  # a pedestrian who has moved changes little of the whole
    choice = Choice(np.zeros((2, 1), np.float32), thumbnails)

    choice.take_farthest(2, range(2))

    assert choice.chosen == [0, 1]


def noisy(count: int) -> list[np.ndarray]:
    return [np.asarray(RNG.integers(0, 256, (12, 16, 3)), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(count)]


def test_every_class_that_is_there_is_shown() -> None:
    looks = [describe(image) for image in noisy(40)]
    shares = np.zeros((40, 4), np.float32)
    shares[:, 0] = 1
    shares[17] = (0.997, 0.003, 0, 0)  # the only one with class 1; class 2 has too little anywhere, class 3 nothing
    shares[23] = (0.9995, 0, 0.0005, 0)

    for seed in range(5):
        assert 17 in choose(looks, [0] * 40, 8, shares=shares, seed=seed)


def test_the_most_of_each_class_is_among_half_of_the_set() -> None:
    looks = [describe(image) for image in noisy(40)]
    shares = RNG.dirichlet(np.ones(4), 40).astype(np.float32)
    most = {int(number) for number in shares.argmax(axis=0)}

    assert most <= set(choose(looks, [0] * 40, 10, shares=shares))
    assert len(choose(looks, [0] * 40, 2, shares=shares)) == 2


def test_every_scene_is_shown() -> None:
    looks = [describe(image) for image in noisy(40)]
    scenes = [0] * 20 + [1] + [2] * 19

    for seed in range(5):
        assert 20 in choose(looks, scenes, 8, seed=seed)


def test_of_too_many_scenes_some_are_shown() -> None:
    looks = [describe(image) for image in noisy(20)]

    assert len(choose(looks, list(range(20)), 8)) == 8


def test_pictures_of_one_colour_have_no_distance() -> None:
    looks = [describe(np.full((9, 12, 3), 128, np.uint8))] * 3
    shares = np.full((3, 2), 0.5, np.float32)

    assert to_points(looks, shares).shape == (3, 48 + 3 + 2)
    assert not np.ptp(to_points(looks, shares), axis=0).any()


def test_each_group_of_features_counts_alike() -> None:
    looks = [describe(image) for image in noisy(30)]
    shares = RNG.dirichlet(np.ones(11), 30).astype(np.float32)

    variance = to_points(looks, shares).var(axis=0)

    assert [float(part.sum()) for part in np.split(variance, [48, 51])] == pytest.approx([1, 1, 1], rel=1e-4)


def test_what_a_picture_looks_like() -> None:
    image = np.zeros((72, 96, 3), np.uint8)
    image[:, 48:] = (0, 0, 255)

    look = describe(image)

    assert look.brightness == pytest.approx(0.149, abs=0.002)  # half of it red, whose grey is 76 of 255
    assert look.contrast == pytest.approx(0.149, abs=0.002)
    assert look.saturation == pytest.approx(0.5, abs=0.01)
    assert look.thumbnail.tolist() == [[0] * 4 + [76] * 4] * 6


def test_scenes_end_where_the_change_is_unusual() -> None:
    still = np.zeros((30, 6, 8), np.float32)
    still[10:12] = 40  # two cuts near each other
    wild = np.cumsum(np.full((30, 6, 8), 20, np.float32), axis=0)  # a fast camera changes always
    slow = np.cumsum(np.full((30, 6, 8), 2, np.float32), axis=0)
    slow[15:] += 14 - 2

    assert find_scenes(still) == [0] * 10 + [1] * 2 + [2] * 18
    assert find_scenes(wild) == find_scenes(slow) == [0] * 30
    assert find_scenes(still[:1]) == [0]
    assert find_scenes(still[9:11]) == [0, 1]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0001TP_1", "0001TP_2", "0006R0_f1", "0006R0_f2", "0016E5_1"], [[0, 1], [2, 3], [4]]),
        (["a_b_1", "a_c_1", "a_b_2", "a_c_2"], [[0, 2], [1, 3]]),
        ([f"drive_1_{n:06d}" for n in range(5)], [[0, 1, 2], [3, 4]]),
        (["a_0_19", "a_1_19", "b_0_19", "b_1_19"], [[0, 1], [2, 3]]),  # every picture a sequence of its own
        (["1", "2", "3"], [[0, 1], [2]]),
        (["1"], [[0]]),
        ([], []),
    ],
)
def test_sequences_by_name(names: list[str], expected: list[list[int]]) -> None:
    assert sequences(names) == expected
