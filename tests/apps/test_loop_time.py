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

    report = run_loop(drive(1), Segment(), draw, [SlowSink(clock), SlowSink(clock)])

    assert report.age_ms.p50 == 12_000.0
    assert (report.stages_ms["draw"].p50, report.stages_ms["sink"].p50) == (2_000.0, 10_000.0)
    assert known == [0]  # what is drawn can only be the age of the frames before
