"""What the loop's numbers count, by a clock that only the test moves."""

import time

import numpy as np
import pytest

from edge_seg.apps.loop import run_loop
from edge_seg.apps.meters import Meters
from edge_seg.apps.sources import DatasetSource
from edge_seg.data import open_dataset
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.types import Frame, Result, UInt8Array

SPEC = ModelSpec("tiny", CAMVID_CLASSES, 96, 72, "nothing")


def drive(frames: int) -> DatasetSource:
    """A source of real frames."""
    return DatasetSource(open_dataset(f"drive:seed=1,size=96x72,frames={frames}"))


class Segment:
    """One label everywhere."""

    spec, runtime = SPEC, "plain"

    def __call__(self, image: UInt8Array) -> Result:
        return Result(np.zeros(image.shape[:2], np.uint8), 1.0, 2.0, 3.0)


class Clock:
    """Stands still but for `move`."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all parts of the loop."""
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


class SlowSink:
    """Takes 5 seconds for a picture."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def write(self, image: UInt8Array, frame: Frame) -> None:
        self.clock.move(5.0)


def test_the_age_ends_when_the_sinks_have_the_picture(clock: Clock) -> None:
    known: list[int] = []

    def draw(frame: Frame, result: Result, meters: Meters) -> UInt8Array:
        clock.move(2.0)
        known.append(meters.age.count)
        return frame.image

    report = run_loop(drive(1), [Segment()], draw, [SlowSink(clock), SlowSink(clock)])

    assert report.age_ms.p50 == 12_000.0
    assert (report.stages_ms["draw"].p50, report.stages_ms["sink"].p50) == (2_000.0, 10_000.0)
    assert known == [0]  # what is drawn can only be the age of the frames before


def test_a_pause_is_part_of_no_number(clock: Clock) -> None:
    """One frame in three is followed by a pause that outlasts all else, while others are on their way."""
    frames: list[int] = []

    def draw(frame: Frame, result: Result, meters: Meters) -> UInt8Array:
        clock.move(2.0)
        frames.append(frame.index)
        return frame.image

    def hold() -> bool:
        paused = len(frames) % 3 == 0
        clock.move(1e6 if paused else 0.0)
        return paused

    report = run_loop(drive(20), [Segment()], draw, [SlowSink(clock)], hold=hold)

    assert (report.frames, report.stages_ms["sink"].p99) == (20, 5_000.0)
    assert report.fps == pytest.approx(1 / 7)
    assert 7_000.0 <= report.age_ms.p50 <= report.age_ms.p99 <= 20 * 7_000.0


def test_a_frame_ages_outside_of_pauses_only() -> None:
    meters, image = Meters(SPEC, "plain"), np.zeros((1, 1, 3), np.uint8)
    meters.pause(10.0, 20.0, 3)
    meters.pause(22.0, 30.0, 4)
    meters.lose(9, 1)

    meters.finish(Frame(image, 0, 5.0), 31.0)  # 5 s before the first pause, 2 between, 1 after
    meters.finish(Frame(image, 1, 25.0), 32.0)  # came during the second
    meters.finish(Frame(image, 2, 31.0), 34.0)  # came after both

    assert meters.age.percentiles().p50 == 3_000.0
    assert meters.age.percentiles().p99 == pytest.approx(7_900.0)  # 98 parts of 8 s, 2 of 3 s
    assert meters.rate.rate() == pytest.approx(2 / 3)
    assert (meters.dropped, meters.skipped) == (2, 1)
