"""A long run of the app's own loop, minute by minute: what a machine that gets warm, or a leak, does to it."""

import math
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from edge_seg.apps.controls import Controls
from edge_seg.apps.hud import Hud
from edge_seg.apps.loop import run_loop
from edge_seg.apps.meters import RunReport
from edge_seg.apps.overlay import Overlay
from edge_seg.apps.profile.rows import Minute, Soak
from edge_seg.apps.profile.verdict import soak_verdict, verdict_end
from edge_seg.apps.sources import DEFAULT_SOURCE, Source, open_pictures
from edge_seg.apps.view import View
from edge_seg.devices.clocks import read_mhz
from edge_seg.devices.load import read_resident_mb
from edge_seg.devices.power import Read
from edge_seg.devices.telemetry import open_energy
from edge_seg.devices.temperature import read_celsius
from edge_seg.devices.watch import others_cores, take_reading, throttle_events
from edge_seg.errors import SourceError
from edge_seg.malloc import share_memory_between_threads
from edge_seg.metrics import LatencyStats, RateMeter
from edge_seg.segmenter import MOST_SEGMENTERS, open_segmenters
from edge_seg.types import Frame, UInt8Array

MINUTE_S = 60.0
MOST_S = 7 * 24 * 3600.0
WARM_UP = 10
"""Frames before the first minute, since a run-time's first ones are slow. That minute counts: it is the cool one."""
SAMPLE_S = 1.0
"""Between two looks at clock and temperature, which change within a minute."""


class Endless:
    """A source of `open_pictures` that starts again when it ends; a live one just ends."""

    length: int | None = None
    class_names: tuple[str, ...] | None = None

    def __init__(self, source: Source, uri: str) -> None:
        self._source, self._uri = source, uri
        self.name, self.live, self.fps = source.name, source.live, source.fps
        self._skipped = 0

    @property
    def skipped(self) -> int:
        """Frames of all rounds that could not be read."""
        return self._skipped + self._source.skipped

    def __iter__(self) -> Iterator[Frame]:
        yield from self._round()
        while not self.live:
            self._skipped += self._source.skipped
            with open_pictures(self._uri) as self._source:
                yield from self._round()

    def _round(self) -> Iterator[Frame]:
        empty = True
        for frame in self._source:
            empty = False
            yield frame
        if empty and not self.live:  # it would be opened again for ever
            raise SourceError(f"{self.name} gives no frame ({self.skipped} skipped). Give another source.")


@contextmanager
def _open_endless(uri: str) -> Iterator[Endless]:
    with open_pictures(uri) as source:
        yield Endless(source, uri)


class Minutes:
    """A sink that keeps no picture, only when it came; with it, what the machine tells, minute by minute.

    A frame's age ends here, as it does in the report of `edge-seg run`: from the complete picture in memory to drawn.
    """

    def __init__(self, interval_s: float, joules: Read, on_minute: Callable[[Minute], None]) -> None:
        self.found: list[Minute] = []
        self._interval_s, self._joules, self._on_minute = interval_s, joules, on_minute
        self._warm_up = WARM_UP

    def write(self, image: UInt8Array, frame: Frame) -> None:
        """Count a drawn frame; the minute that it completes is told."""
        now_s = time.perf_counter()
        if self._warm_up:
            self._warm_up -= 1
            if not self._warm_up:
                self._begin(now_s)
            return
        self._rate.tick(now_s)
        self._age.add((now_s - frame.captured_s) * 1e3)
        if now_s - self._sampled_s >= SAMPLE_S:
            self._sample(now_s)
        if now_s - self._start_s >= self._interval_s:
            self.close()
            self._begin(now_s)

    def close(self) -> None:
        """Tell the minute so far, if a frame came in it."""
        if self._warm_up or self._rate.count < 2:
            return
        self._sample(time.perf_counter())
        after, joules, age = take_reading(), self._joules(), self._age.percentiles()
        watts = None
        if joules is not None and self._first_joules is not None:
            watts = (joules - self._first_joules) / (after.at_s - self._before.at_s)
        minute = Minute(
            len(self.found) + 1,
            self._rate.rate(),
            age.p50,
            age.p99,
            read_resident_mb() or 0.0,
            celsius=max(self._celsius, default=None),
            mhz=statistics.median(self._mhz) if self._mhz else None,
            watts=watts,
            throttled=throttle_events(self._before, after),
            others_cpu=others_cores(self._before, after),
        )
        self.found.append(minute)
        self._on_minute(minute)

    def _begin(self, now_s: float) -> None:
        """A minute begins with the end of a frame, so that its rate is frames by time exactly."""
        self._start_s = self._sampled_s = now_s
        self._before, self._first_joules = take_reading(), self._joules()
        self._rate, self._age = RateMeter(), LatencyStats()
        self._mhz: list[float] = []
        self._celsius: list[float] = []
        self._rate.tick(now_s)

    def _sample(self, now_s: float) -> None:
        self._sampled_s = now_s
        for value, kept in ((read_mhz(), self._mhz), (read_celsius(), self._celsius)):
            if value is not None:
                kept.append(value)


def soak(
    path: Path,
    runtime: str,
    *,
    source: str = DEFAULT_SOURCE,
    seconds: float,
    interval_s: float | None = None,
    threads: int = 0,
    label: str,
    on_minute: Callable[[Soak], None] = lambda so_far: None,
) -> Soak:
    """Run an artefact as `edge-seg run --headless` does, for that many seconds after the first frames.

    `source` starts again when it ends. `threads` are shared as `run` shares them. `on_minute` is given the soak so far
    after each minute, of `interval_s` seconds (see `choose_interval`). Ctrl-C, for which this is called on the main
    thread, ends early with what was measured. ModelError and SourceError as the two openers, SourceError for a source
    that gave too few frames to measure.
    """
    share_memory_between_threads()
    interval_s = interval_s or choose_interval(seconds)
    wanted = max(1, math.ceil(seconds / interval_s - 1e-9))  # 0.3 / 0.05 is a little more than 6
    controls = Controls()
    with ExitStack() as stack:
        frames = stack.enter_context(_open_endless(source))
        most = 1 if frames.live else MOST_SEGMENTERS
        segments = stack.enter_context(open_segmenters(path, runtime, most=most, threads=threads))
        empty = Soak(label, frames.name, (), "", interval_s)
        energy = stack.enter_context(open_energy())
        minutes = Minutes(interval_s, energy, lambda _: on_minute(_fill(empty, minutes, wanted)))
        stack.enter_context(controls.on_signals())
        view = View(Overlay(segments[0].spec), Hud(), controls)
        report = run_loop(
            frames, segments, view.draw, [minutes], should_stop=lambda: controls.quit or len(minutes.found) >= wanted
        )
    if not minutes.found:  # a part of a minute is better than nothing, and beside whole ones it would mislead
        minutes.close()
    if not minutes.found:
        count = f"{report.frames} frame{'' if report.frames == 1 else 's'}"
        raise SourceError(f"{frames.name} gave {count}, too few for a soak. Give it more time, or another source.")
    return _fill(empty, minutes, wanted, report if frames.live else None)


def _fill(empty: Soak, minutes: Minutes, wanted: int, live: RunReport | None = None) -> Soak:
    """The soak with its minutes so far and what they say; `live` tells what a live source lost."""
    words = soak_verdict(minutes.found, interval_s=empty.interval_s)
    dropped, frames = (None, 0) if live is None else (live.dropped, live.frames)
    end = verdict_end(len(minutes.found), wanted, dropped=dropped, frames=frames)
    return replace(empty, minutes=tuple(minutes.found), verdict=f"{words}{end}")


def choose_interval(seconds: float) -> float:
    """A minute, and a sixth of a soak that is shorter than two.

    >>> choose_interval(1800.0), choose_interval(90.0)
    (60.0, 15.0)
    """
    return MINUTE_S if seconds >= 2 * MINUTE_S else seconds / 6


def parse_seconds(text: str) -> float | None:
    """Seconds of a duration such as 90s, 30m or 1.5h; None for what is none, or is above a week.

    >>> parse_seconds("30m"), parse_seconds("1.5h"), parse_seconds("soon")
    (1800.0, 5400.0, None)
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", text, re.ASCII)
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    return seconds if 0 < seconds <= MOST_S else None
