"""Frames a second end to end: the loop of `edge-seg run --headless`, without truth, in a process of its own."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from edge_seg.apps.controls import Controls
from edge_seg.apps.hud import Hud
from edge_seg.apps.loop import run_loop
from edge_seg.apps.overlay import Overlay
from edge_seg.apps.profile.child import ask_child
from edge_seg.apps.profile.from_json import from_json
from edge_seg.apps.profile.rows import LoopSpeed, Row
from edge_seg.apps.sources import open_pictures
from edge_seg.apps.view import View
from edge_seg.devices.watch import Watch, told
from edge_seg.errors import EdgeSegError, SourceError
from edge_seg.malloc import share_memory_between_threads
from edge_seg.segmenter import open_segmenters

LEAST_FRAMES = 2
"""A rate takes two."""
LEAST_WATCHED_S = 0.5
"""Of a shorter loop the machine's counters, which have hundredths of a second, do not tell what others took."""


def run_loop_of(row: Row, source: str, frames: int) -> LoopSpeed:
    """The speed over the first frames of a source; ModelError with what the process said where there is none."""
    words = (row.path, row.runtime, str(row.threads), source, str(frames))
    return from_json(LoopSpeed, ask_child("edge_seg.apps.profile.in_loop", *words))


def measure_loop(path: Path, runtime: str, source: str, *, threads: int, frames: int) -> LoopSpeed:
    """The same, in this process, which is watched while the loop runs; SourceError for less than LEAST_FRAMES."""
    share_memory_between_threads()
    with open_pictures(source) as pictures:
        most = 1 if pictures.live else min(frames, pictures.length or frames)
        with open_segmenters(path, runtime, most=most, threads=threads) as segments:
            view = View(Overlay(segments[0].spec), Hud(), Controls())
            # The parent is ours too: it waits for this process, and may draw a progress bar.
            with Watch(pids=(os.getpid(), os.getppid())) as watch:
                report = run_loop(pictures, segments, view.draw, [], frames=frames)
    if report.frames < LEAST_FRAMES:
        raise SourceError(
            f"{pictures.name} gave {report.frames} of the {LEAST_FRAMES} frames that a rate takes "
            f"({report.skipped} could not be read). Give another --source."
        )
    disturbed = told(watch) if watch.seconds >= LEAST_WATCHED_S else None
    return LoopSpeed(source, report.fps, report.age_ms, report.stages_ms, disturbed)


def _main(arguments: Sequence[str]) -> None:
    path, runtime, threads, source, frames = arguments
    try:
        found = measure_loop(Path(path), runtime, source, threads=int(threads), frames=int(frames))
    except EdgeSegError as error:
        sys.exit(f"edge-seg: {' '.join(str(error).split())}")
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    _main(sys.argv[1:])
