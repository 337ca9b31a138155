"""What became worse between two profiles, and what is only noise."""

from dataclasses import replace

import numpy as np
import pytest

from edge_seg.apps.profile.compare import Change, compare_profiles
from edge_seg.apps.profile.rows import Accuracy, Latency, Profile, Row
from edge_seg.bootstrap import class_iou
from edge_seg.errors import DataError


def row_of(p50: float, *, spread: float = 0.01, lost: int = 0, images: int = 30) -> Row:
    """A row whose rounds spread around p50, and whose first class lost so many pixels of 1,000 in each image."""
    rng = np.random.default_rng(0)
    hits = rng.integers(700, 900, (images, 2)) - np.array([lost, 0])
    counts = np.stack((hits, np.full((images, 2), 1000)), axis=-1)
    iou = class_iou(counts.sum(0)).tolist()
    accuracy = Accuracy(
        "set", images, sum(iou) / 2, dict(zip(("Sky", "Car"), iou, strict=True)), tuple(map(pairs, counts.tolist()))
    )
    rounds = tuple(rng.normal(p50, spread * p50, 9).tolist())
    return Row("net", "net.onnx", "openvino", accuracy=accuracy, latency_ms=Latency(p50, p50, p50, p50, rounds))


def pairs(image: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((hits, union) for hits, union in image)


def changes(old: Row, new: Row) -> dict[str, Change]:
    one, other = (Profile("", {}, (row,)) for row in (old, new))
    return {change.what: change for change in compare_profiles(one, other)}


def test_the_same_twice_is_no_change() -> None:
    found = changes(row_of(10), row_of(10))

    assert (found["p50 ms"].change, found["mIoU"].change) == (1, 0)
    assert not any(change.worse for change in found.values())


@pytest.mark.parametrize(
    ("p50", "spread", "worse"), [(11.0, 0.01, True), (10.3, 0.001, False), (12.0, 0.9, False), (8.0, 0.01, False)]
)
def test_slower_is_beyond_the_noise_and_beyond_what_two_runs_differ_by(p50: float, spread: float, worse: bool) -> None:
    assert changes(row_of(10, spread=spread), row_of(p50, spread=spread))["p50 ms"].worse is worse


@pytest.mark.parametrize(("lost", "worse"), [(20, True), (1, False), (-20, False)])
def test_less_accurate_is_beyond_the_interval_and_matters(lost: int, worse: bool) -> None:
    change = changes(row_of(10), row_of(10, lost=lost))["mIoU"]

    assert change.worse is worse
    assert change.low is not None and change.high is not None and change.change is not None
    assert change.low <= change.change <= change.high


def test_a_combination_that_fails_now_is_worse() -> None:
    found = changes(row_of(10), Row("net", "net.onnx", "openvino", error="It crashed."))

    assert found["It crashed."].worse


def test_a_number_that_is_there_no_more_is_worse() -> None:
    found = changes(row_of(10), replace(row_of(10), accuracy=None, latency_ms=None))

    assert [(change.what, change.new, change.worse) for change in found.values()] == [
        ("p50 ms", None, True),
        ("mIoU", None, True),
    ]


def test_a_combination_that_was_not_asked_for_is_told() -> None:
    old, new = Profile("", {}, (row_of(10), replace(row_of(10), threads=3))), Profile("", {}, (row_of(10),))

    last = compare_profiles(old, new)[-1]

    assert (last.label, last.what, last.worse) == ("net, openvino, 3 threads", "not in the new profile", False)


def test_files_of_one_name_in_other_folders_are_the_same_model() -> None:
    old, new = (replace(row_of(10), model=f"{folder}/net.onnx", path=f"{folder}/net.onnx") for folder in ("a", "b"))

    assert changes(old, new)["p50 ms"].change == 1


def test_a_disturbed_time_says_so() -> None:
    found = changes(row_of(10), replace(row_of(12), disturbed="other work took 1.0 cores"))

    assert (found["p50 ms"].worse, found["p50 ms"].disturbed) == (True, "other work took 1.0 cores")


def test_profiles_of_other_data_or_other_models_are_told() -> None:
    old, other = row_of(10), row_of(10, images=29)

    with pytest.raises(DataError, match=r"was judged on set, 30 images, and then on set, 29, .* no comparison"):
        changes(old, other)
    with pytest.raises(DataError, match="The profiles have another machine: one, and then None"):
        compare_profiles(Profile("", {}, (old,), settings={"machine": "one"}), Profile("", {}, (old,)))
    assert old.latency_ms is not None
    few = replace(old, latency_ms=replace(old.latency_ms, rounds=(1.0, 2.0)))
    with pytest.raises(DataError, match="was timed in 2 rounds, too few to tell"):
        changes(few, few)
    with pytest.raises(DataError, match="share no combination"):
        changes(old, replace(old, threads=3))
