"""What became worse between two profiles, and what is only noise."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from edge_seg.apps.profile.compare import ALL_ROWS, SPEEDS, Change, compare_profiles
from edge_seg.apps.profile.rows import Accuracy, Latency, LoopSpeed, Profile, Row
from edge_seg.bootstrap import class_iou, session_scatter
from edge_seg.errors import DataError
from edge_seg.metrics import Percentiles

SAME_BUILD = {
    "edge-seg-n, onnxruntime": (6.00, 5.95, 5.74),
    "edge-seg-n, openvino": (6.14, 5.46, 5.20),
    "edge-seg-s, onnxruntime": (8.73, 8.79, 8.66),
    "edge-seg-s, openvino": (7.94, 7.89, 8.08),
    "edge-seg-n-fp32, onnxruntime": (13.17, 13.15, 13.82),
    "edge-seg-n-fp32, openvino": (18.82, 17.65, 18.87),
    "edge-seg-s-fp32, onnxruntime": (24.88, 23.26, 24.39),
    "edge-seg-s-fp32, openvino": (31.36, 26.40, 26.26),
}
"""p50 of three profiles of the same files on one machine: the Xeon's of which docs/profile.md tells."""
STEADY = {label for label, times in SAME_BUILD.items() if max(times) < 1.1 * min(times)}
PAIRS = list(itertools.permutations(range(3), 2))


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
    return {change.what: change for change in compare_profiles([Profile("", {}, (old,))], [Profile("", {}, (new,))])}


def profile_of(number: int, *, slow: str = "", times: float = 1.0) -> Profile:
    """A profile of SAME_BUILD, with rounds of 3 % spread; one row may be slowed down."""
    rng = np.random.default_rng(number)
    rows = []
    for label, p50s in SAME_BUILD.items():
        p50 = p50s[number] * (times if label == slow else 1.0)
        rounds = tuple((p50 * rng.normal(1, 0.03, 9)).tolist())
        model, runtime = label.split(", ")
        rows.append(Row(model, f"{model}.onnx", runtime, latency_ms=Latency(p50, p50, 1.3 * p50, p50, rounds)))
    return Profile("", {}, tuple(rows))


def worse_of(found: Sequence[Change]) -> set[str]:
    return {change.label for change in found if change.worse}


def test_the_same_twice_is_no_change() -> None:
    found = changes(row_of(10), row_of(10))

    assert (found["p50 ms"].change, found["mIoU"].change) == (1, 0)
    assert not any(change.worse for change in found.values())


@pytest.mark.parametrize(
    ("p50", "spread", "worse"), [(12.5, 0.01, True), (11.0, 0.001, False), (12.5, 0.5, False), (8.0, 0.01, False)]
)
def test_slower_is_beyond_the_noise_and_beyond_what_two_runs_differ_by(p50: float, spread: float, worse: bool) -> None:
    assert changes(row_of(10, spread=spread), row_of(p50, spread=spread))["p50 ms"].worse is worse


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_real_profiles_of_the_same_build_raise_no_alarm(old: int, new: int) -> None:
    found = compare_profiles([profile_of(old)], [profile_of(new)])

    assert not worse_of(found)
    assert [(change.label, change.what) for change in found[:2]] == [(ALL_ROWS, "p50 ms"), (ALL_ROWS, "p95 ms")]


def found_of(old: Sequence[int], new: Sequence[int], times: float) -> list[str]:
    """The rows that are found, and nothing else with them, where each alone is slowed down in the new profiles."""
    before = [profile_of(number) for number in old]
    return [
        row
        for row in SAME_BUILD
        if worse_of(compare_profiles(before, [profile_of(number, slow=row, times=times) for number in new])) == {row}
    ]


def test_what_is_usual_of_p50_is_what_profiles_of_one_build_spread_by() -> None:
    def spread(labels: Iterable[str]) -> float:
        squares, freedom = session_scatter(np.log([SAME_BUILD[label] for label in labels]))
        return math.sqrt(squares / freedom)

    usual = next(speed.usual for speed in SPEEDS if speed.what == "p50 ms")

    assert spread(STEADY) == pytest.approx(0.025, abs=5e-4)
    assert spread(SAME_BUILD) == pytest.approx(0.048, abs=5e-4)
    assert spread(STEADY) < usual < spread(SAME_BUILD)


def test_a_row_that_became_slower_is_found_between_them() -> None:
    by_quarter = [found_of([old], [new], 1.25) for old, new in PAIRS]
    far = [found_of([old], [new], 1.4) for old, new in PAIRS]

    assert all(by_quarter)
    assert sum(map(len, by_quarter)) >= 24  # half of all
    assert all(set(found) >= STEADY for found in far)


@pytest.mark.parametrize("alone", range(3))
def test_a_second_profile_of_one_side_raises_no_alarm(alone: int) -> None:
    one, two = [profile_of(alone)], [profile_of(number) for number in range(3) if number != alone]

    assert not worse_of(compare_profiles(one, two))
    assert not worse_of(compare_profiles(two, one))


def test_three_profiles_a_side_find_every_row_that_is_slower_by_a_quarter() -> None:
    assert found_of(range(3), range(3), 1.25) == list(SAME_BUILD)


def test_what_all_rows_lost_together_is_told_as_the_machine() -> None:
    old = profile_of(0)
    slower = [replace(row, latency_ms=times_of(row, 1.3)) for row in old.rows]

    found = compare_profiles([old], [replace(old, rows=tuple(slower))])

    assert worse_of(found) == {ALL_ROWS}
    assert (found[0].label, found[0].low) == (ALL_ROWS, None)
    assert found[0].change == pytest.approx(1.3)


def times_of(row: Row, times: float) -> Latency:
    assert row.latency_ms is not None
    rounds = tuple(times * value for value in row.latency_ms.rounds)
    return replace(row.latency_ms, p50=times * row.latency_ms.p50, p95=times * row.latency_ms.p95, rounds=rounds)


@pytest.mark.parametrize(
    ("p95", "fps", "memory", "worse"),
    [
        (20.0, 50.0, 100.0, set()),
        (22.0, 47.0, 108.0, set()),
        (28.0, 50.0, 100.0, {"p95 ms"}),
        (20.0, 38.0, 100.0, {"FPS"}),
        (20.0, 50.0, 111.0, {"memory MB"}),
        (15.0, 70.0, 50.0, set()),
    ],
)
def test_the_tail_the_loop_and_the_memory_are_compared_too(
    p95: float, fps: float, memory: float, worse: set[str]
) -> None:
    def row(p95: float, fps: float, memory: float) -> Row:
        latency, nothing = row_of(10).latency_ms, Percentiles(1.0, 1.0, 1.0)
        assert latency is not None
        loop = LoopSpeed("drive", fps, nothing, {})
        return replace(row_of(10), latency_ms=replace(latency, p95=p95), loop=loop, memory_mb=memory)

    found = changes(row(20.0, 50.0, 100.0), row(p95, fps, memory))

    assert list(found) == ["p50 ms", "p95 ms", "FPS", "memory MB", "mIoU"]
    assert {change.what for change in found.values() if change.worse} == worse
    assert found["FPS"].change == pytest.approx(fps / 50)
    assert found["FPS"].low is not None and found["FPS"].high is not None
    assert found["FPS"].low < fps / 50 < found["FPS"].high
    assert (found["memory MB"].change, found["memory MB"].low) == (memory / 100, None)


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
        ("p95 ms", None, True),
        ("mIoU", None, True),
    ]


def test_a_combination_that_was_not_asked_for_is_told() -> None:
    old, new = Profile("", {}, (row_of(10), replace(row_of(10), threads=3))), Profile("", {}, (row_of(10),))

    last = compare_profiles([old], [new])[-1]

    assert (last.label, last.what, last.worse) == ("net, openvino, 3 threads", "not in the new profile", False)


def test_files_of_one_name_in_other_folders_are_the_same_model() -> None:
    old, new = (replace(row_of(10), model=f"{folder}/net.onnx", path=f"{folder}/net.onnx") for folder in ("a", "b"))

    assert changes(old, new)["p50 ms"].change == 1


def test_what_fails_in_one_of_several_new_profiles_is_worse_and_what_one_old_lacks_is_compared() -> None:
    good, bad = Profile("", {}, (row_of(10),)), Profile("", {}, (Row("net", "net.onnx", "openvino", error="Crash."),))

    assert [(one.what, one.worse) for one in compare_profiles([good], [good, bad])] == [("Crash.", True)]
    found = compare_profiles([bad, good], [good])
    assert [(one.what, one.change) for one in found] == [("p50 ms", 1), ("p95 ms", 1), ("mIoU", 0)]


def test_of_a_model_that_was_trained_anew_the_newer_row_is_compared() -> None:
    old = Profile("", {}, (row_of(10), replace(row_of(20), path="earlier.onnx")))

    assert compare_profiles([old], [Profile("", {}, (row_of(10),))])[0].old == 10


def test_a_disturbed_time_says_so() -> None:
    found = changes(row_of(10), replace(row_of(12), disturbed="other work took 1.0 cores"))

    assert found["p50 ms"].disturbed == found["p95 ms"].disturbed == "other work took 1.0 cores"


def test_profiles_of_other_data_or_other_models_are_told() -> None:
    old, other = row_of(10), row_of(10, images=29)

    with pytest.raises(DataError, match=r"was judged on set, 30 images, and then on set, 29, .* no comparison"):
        changes(old, other)
    with pytest.raises(DataError, match="The profiles differ in machine: one, and then None"):
        compare_profiles([Profile("", {}, (old,), settings={"machine": "one"})], [Profile("", {}, (old,))])
    assert old.latency_ms is not None
    few = replace(old, latency_ms=replace(old.latency_ms, rounds=(1.0, 2.0)))
    with pytest.raises(DataError, match="was timed in 2 rounds, too few to tell"):
        changes(few, few)
    with pytest.raises(DataError, match="share no combination"):
        changes(old, replace(old, threads=3))
