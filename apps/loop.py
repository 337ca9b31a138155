"""The run loop: capture and inference on threads of their own, drawing and writing on the caller's.

Drawing stays with the caller because windows want the main thread. A file's frames wait for each other; of a live
source only the newest frame is kept. An exception on a thread reaches the caller through the channel it writes to.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

from edge_seg.apps.channel import POLL_S, Channel, EndedError, Turns
from edge_seg.apps.meters import Meters, RunReport
from edge_seg.apps.sinks import Sink
from edge_seg.apps.sources import Source
from edge_seg.spec import ModelSpec
from edge_seg.types import Frame, Result, UInt8Array

Item = TypeVar("Item")

_log = logging.getLogger(__name__)

LEAVE_S = 12.0
"""A thread that takes longer to end hangs: OpenCV gives up a silent camera after 10 seconds."""
LATE_S = 0.25
"""A player that is later than this, after a pause or a slow frame, goes on from there and does not hurry."""


class Segment(Protocol):
    """What the loop needs of a Segmenter."""

    spec: ModelSpec
    runtime: str

    def __call__(self, image: UInt8Array) -> Result: ...


Draw = Callable[[Frame, Result, Meters], UInt8Array]
"""Makes the picture that the sinks get."""


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A frame, and how long the source took for it."""

    frame: Frame
    capture_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """A captured frame with its labels."""

    captured: Captured
    result: Result


def run_loop(
    source: Source,
    segments: Sequence[Segment],
    draw: Draw,
    sinks: Sequence[Sink],
    *,
    frames: int | None = None,
    paced: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    on_frame: Callable[[], None] = lambda: None,
    hold: Callable[[], bool] = lambda: False,
) -> RunReport:
    """Take the source's frames, or the first `frames` of them, through segmentation and drawing into the sinks.

    As many frames are segmented at a time as there are `segments`, all of one model; the order of frames stays. More
    than one make more frames a second, and each frame older: not for a live source, nor for a paced one.

    `paced` gives frames that carry a time at that time. `should_stop` is asked between frames; `on_frame` is told of
    each. `hold` is called after each and may keep the run waiting; True says that it did, and that time is no part of
    any number. What a thread raises is raised here.
    """
    meters = Meters(segments[0].spec, segments[0].runtime)
    with _workers(source, segments, frames, paced=paced) as (captured, segmented):
        while not should_stop() and (frames is None or meters.rate.count < frames):
            try:
                item = segmented.get(POLL_S)
            except EndedError:
                break
            if item is not None:
                meters.lose(captured.dropped, source.skipped)
                _finish(item, draw, sinks, meters)
                on_frame()
                _hold(hold, meters, captured)
    meters.lose(captured.dropped, source.skipped)
    return meters.report()


def _finish(item: Segmented, draw: Draw, sinks: Sequence[Sink], meters: Meters) -> None:
    """Draw and write one frame; its truth is counted after that, off the way to the screen."""
    frame, result = item.captured.frame, item.result
    start = time.perf_counter()
    picture = draw(frame, result, meters)
    drawn = time.perf_counter()
    for sink in sinks:
        sink.write(picture, frame)
    end = time.perf_counter()
    meters.finish(frame, end)
    meters.add(result, item.captured.capture_ms, (drawn - start) * 1e3, (end - drawn) * 1e3)
    meters.score(result, frame)


def _hold(hold: Callable[[], bool], meters: Meters, captured: Turns[Captured]) -> None:
    start, dropped = time.perf_counter(), captured.dropped
    if hold():
        meters.pause(start, time.perf_counter(), captured.dropped - dropped)


@contextmanager
def _workers(
    source: Source, segments: Sequence[Segment], frames: int | None, *, paced: bool
) -> Iterator[tuple[Turns[Captured], Turns[Segmented]]]:
    """Capture and inference at work, each segmenter with a channel to it and one from it; leaving ends all of them."""
    capacity = 1 if source.live or len(segments) > 1 else 2
    captured = Turns([Channel[Captured](capacity, newest=source.live) for _ in segments])
    segmented = Turns([Channel[Segmented](capacity) for _ in segments])
    leaving = threading.Event()

    def capture() -> Iterator[Captured]:
        # A live source runs on until the caller has its frames, since some are dropped.
        wanted = _timed(source) if source.live else islice(_timed(source), frames)
        return _pace(wanted, leaving) if paced else wanted

    threads = [_start("capture", capture, captured, captured)]
    for segment, before, after in zip(segments, captured.channels, segmented.channels, strict=True):
        threads.append(_start("infer", partial(_infer, segment, before), after, segmented))
    try:
        yield captured, segmented
    finally:
        leaving.set()
        captured.cancel()
        segmented.cancel()
        for thread in threads:  # all are awake now
            thread.join(LEAVE_S)
            if thread.is_alive():
                _log.warning("The %s thread of %s hangs.", thread.name, source.name)


def _start(
    name: str, items: Callable[[], Iterator[Item]], channel: Channel[Item] | Turns[Item], group: Turns[Item]
) -> threading.Thread:
    # A daemon: one that hangs does not keep the program from ending.
    thread = threading.Thread(target=_feed, args=(items, channel, group), name=name, daemon=True)
    thread.start()
    return thread


def _feed(items: Callable[[], Iterator[Item]], channel: Channel[Item] | Turns[Item], group: Turns[Item]) -> None:
    """Put items into a channel until either ends; an exception ends the whole group and travels through it."""
    try:
        for item in items():
            if not channel.put(item):
                return
        channel.close()
    except BaseException as error:  # raised again by the reader
        group.close(error)


def _infer(segment: Segment, items: Iterable[Captured]) -> Iterator[Segmented]:
    return (Segmented(item, segment(item.frame.image)) for item in items)


def _timed(source: Source) -> Iterator[Captured]:
    start = time.perf_counter()
    for frame in source:
        yield Captured(frame, (time.perf_counter() - start) * 1e3)
        start = time.perf_counter()


def _pace(items: Iterator[Captured], leaving: threading.Event) -> Iterator[Captured]:
    """Hold each frame until its time has come; its age counts from then."""
    start_s: float | None = None
    for item in items:
        time_s, now_s = item.frame.time_s, time.perf_counter()
        if time_s is not None:
            if start_s is None or now_s - (start_s + time_s) > LATE_S:
                start_s = now_s - time_s
            leaving.wait(max(0.0, start_s + time_s - now_s))
            item = replace(item, frame=replace(item.frame, captured_s=time.perf_counter()))
        yield item
