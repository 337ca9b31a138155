"""The run loop, with plain stand-ins for sources and segmenters."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from edge_seg.apps import loop
from edge_seg.apps.loop import run_loop
from edge_seg.apps.meters import Meters
from edge_seg.errors import DataError
from edge_seg.metrics import ConfusionMatrix
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.types import Frame, Result, UInt8Array

SPEC = ModelSpec("tiny", CAMVID_CLASSES[:3], 8, 6, "nothing")


class Frames:
    """A source of `count` frames of brightness n, with truth where wanted."""

    name, skipped = "frames", 0
    fps: float | None = None
    length: int | None = None
    class_names: tuple[str, ...] | None = None

    def __init__(self, count: int, *, live: bool = False, truth: bool = False, time_s: float | None = None) -> None:
        self.count, self.live, self.truth, self.time_s = count, live, truth, time_s
        self.given = 0
        self.finished = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            self.given += 1
            truth = np.full((6, 8), index % 3, np.uint8) if self.truth else None
            image = np.full((6, 8, 3), index % 256, np.uint8)
            yield Frame(image, index, time.perf_counter(), truth, str(index), self.time_s and index * self.time_s)
        self.finished.set()


class Segment:
    """Gives brightness modulo 3 as the label, after `before` was called."""

    spec, runtime = SPEC, "plain"

    def __init__(self, before: Callable[[int], object] = lambda index: None) -> None:
        self.before = before

    def __call__(self, image: UInt8Array) -> Result:
        self.before(int(image[0, 0, 0]))
        return Result(image[..., 0] % 3, 1.0, 2.0, 3.0)


class Kept:
    """A sink that keeps the frames' numbers."""

    def __init__(self, before: Callable[[int], object] = lambda index: None) -> None:
        self.indices: list[int] = []
        self.before = before

    def write(self, image: UInt8Array, frame: Frame) -> None:
        self.before(frame.index)
        self.indices.append(frame.index)


def draw(frame: Frame, result: Result, meters: Meters) -> UInt8Array:
    """The frame's own picture."""
    return frame.image


def fail_at(wanted: int) -> Callable[[int], object]:
    """A function that raises at one frame."""

    def act(index: int) -> None:
        if index == wanted:
            raise DataError(f"broken at {index}")

    return act


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Whatever happens in a test, the loop's threads end."""
    yield
    assert not [t.name for t in threading.enumerate() if t.name in ("capture", "infer")]


def test_a_file_gives_every_frame_in_order() -> None:
    sink = Kept()

    report = run_loop(Frames(200), [Segment()], draw, [sink])

    assert sink.indices == list(range(200))
    assert (report.frames, report.dropped, report.skipped) == (200, 0, 0)


def test_stages_are_what_the_segmenter_says() -> None:
    report = run_loop(Frames(5), [Segment()], draw, [])

    assert list(report.stages_ms) == ["capture", "pre", "infer", "post", "draw", "sink"]
    assert [report.stages_ms[name].p50 for name in ("pre", "infer", "post")] == [1.0, 2.0, 3.0]
    assert report.age_ms.p50 > 0


def test_a_live_source_gives_its_newest_frame_and_counts_the_others() -> None:
    source, sink = Frames(50, live=True), Kept()
    segment = Segment(lambda index: source.finished.wait())  # the first frame takes until the source is done

    report = run_loop(source, [segment], draw, [sink])

    assert sink.indices[-1] == 49
    assert len(sink.indices) == report.frames <= 2  # one at work when the others came, and the newest of those
    assert report.frames + report.dropped == 50


@pytest.mark.parametrize("live", [False, True])
def test_stops_after_so_many_frames(live: bool) -> None:
    source, sink = Frames(10**9, live=live), Kept()

    report = run_loop(source, [Segment()], draw, [sink], frames=7)

    assert report.frames == len(sink.indices) == 7
    assert live or source.given == 7


def test_fewer_frames_than_wanted_are_no_error() -> None:
    assert run_loop(Frames(3), [Segment()], draw, [], frames=7).frames == 3


@pytest.mark.parametrize("count", [1, 3])
def test_stops_when_asked(count: int) -> None:
    sink = Kept()
    segments = [Segment() for _ in range(count)]

    report = run_loop(Frames(10**9), segments, draw, [sink], should_stop=lambda: len(sink.indices) >= 4)

    assert report.frames == 4


def test_stops_when_asked_while_inference_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LEAVE_S", 0.0)
    hangs, source = threading.Event(), Frames(2)
    started: list[int] = []

    def wait_at_one(index: int) -> None:
        if index == 1:
            hangs.wait()

    report = run_loop(
        source, [Segment(wait_at_one)], draw, [], should_stop=lambda: bool(started), on_frame=lambda: started.append(1)
    )
    hangs.set()
    for thread in threading.enumerate():
        if thread.name == "infer":
            thread.join()

    assert report.frames == 1


def failing(place: str) -> dict[str, Any]:
    """The loop's arguments, one of which raises at frame 5."""
    source, sink = Frames(10**9), Kept()
    arguments: dict[str, Any] = {"source": source, "segments": [Segment(), Segment()], "draw": draw, "sinks": [sink]}
    if place == "source":

        class Broken(Frames):
            def __iter__(self) -> Iterator[Frame]:
                for frame in super().__iter__():
                    fail_at(5)(frame.index)
                    yield frame

        arguments["source"] = Broken(10**9)
    elif place == "segment":
        arguments["segments"] = [Segment(), Segment(fail_at(5))]
    elif place == "draw":
        arguments["draw"] = lambda frame, result, meters: fail_at(5)(frame.index) or frame.image
    else:
        arguments["sinks"] = [Kept(fail_at(5))]
    return arguments


@pytest.mark.parametrize("place", ["source", "segment", "draw", "sink"])
def test_an_error_anywhere_reaches_the_caller_and_ends_all_threads(place: str) -> None:
    with pytest.raises(DataError, match="broken at 5"):
        run_loop(**failing(place))


def test_an_error_reaches_the_caller_though_both_queues_are_full() -> None:
    """The sink waits until the source, two full queues away, has failed."""
    failed = threading.Event()

    class Broken(Frames):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            failed.set()
            raise DataError("broken at the end")

    with pytest.raises(DataError, match="broken at the end"):
        run_loop(Broken(4), [Segment()], draw, [Kept(lambda index: failed.wait())])


def test_segmenters_work_at_a_time_and_frames_keep_their_order() -> None:
    """Either segmenter waits until the other is at work too: one after the other, they would wait for ever."""
    together = threading.Barrier(2)
    segments = [Segment(lambda index: together.wait(30)) for _ in range(2)]
    sink = Kept()

    report = run_loop(Frames(40), segments, draw, [sink])

    assert report.frames == 40
    assert sink.indices == list(range(40))


def test_the_truth_is_counted_as_the_confusion_matrix_counts() -> None:
    report = run_loop(Frames(8, truth=True), [Segment(lambda index: None)], draw, [])
    matrix = ConfusionMatrix(3)
    for frame in Frames(8, truth=True):
        assert frame.truth is not None
        matrix.update(frame.image[..., 0] % 3, frame.truth)

    assert report.miou_truth == matrix.miou() == 1.0
    assert report.class_iou == dict.fromkeys(SPEC.class_names, 1.0)


def test_without_truth_there_is_no_iou() -> None:
    report = run_loop(Frames(3), [Segment()], draw, [])

    assert report.miou_truth is None and report.class_iou is None
    assert set(report.to_dict()) == {
        "model", "runtime", "precision", "frames", "dropped", "fps", "age_ms", "stages_ms",
    }  # fmt: skip


def test_what_is_not_known_is_null_in_json() -> None:
    source = Frames(2, truth=True)

    report = run_loop(source, [Segment()], draw, []).to_dict()

    assert report["class_iou"] == {"Sky": 1.0, "Building": 1.0, "Pole": None}
    nothing = run_loop(Frames(0), [Segment()], draw, []).to_dict()
    assert nothing["age_ms"] == {"p50": None, "p95": None, "p99": None}


def test_frames_wait_for_their_time_and_age_from_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that only waiting moves: each frame comes exactly at its time."""
    now = [100.0]
    waits: list[float | None] = []

    class Clock(threading.Event):
        """Waiting moves it."""

        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            now[0] += timeout or 0.0
            return False

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    items = [loop.Captured(frame, 1.0) for frame in Frames(4, time_s=0.5)]

    paced = list(loop._pace(iter(items), Clock()))

    assert [item.frame.captured_s for item in paced] == [100.0, 100.5, 101.0, 101.5]
    assert waits == [0.0, 0.5, 0.5, 0.5]


def test_a_late_player_does_not_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Clock(threading.Event):
        """Waiting moves it."""

        def wait(self, timeout: float | None = None) -> bool:
            now[0] += timeout or 0.0
            return False

    def late_after_the_second() -> Iterator[loop.Captured]:
        for frame in Frames(4, time_s=0.5):
            now[0] += 7.0 if frame.index == 2 else 0.0  # a pause
            yield loop.Captured(frame, 1.0)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    paced = list(loop._pace(late_after_the_second(), Clock()))

    assert [item.frame.captured_s for item in paced] == [0.0, 0.5, 7.5, 8.0]


def test_a_paced_run_gives_every_frame() -> None:
    sink = Kept()

    run_loop(Frames(5, time_s=0.001), [Segment()], draw, [sink], paced=True)

    assert sink.indices == [0, 1, 2, 3, 4]
