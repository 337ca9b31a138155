"""Memory of the run loop over 10,000 drive frames: python tests/bench/memory_flat.py [--mp4] [--model MODEL]

Resident memory is read every 500 frames; it may grow by 1 % after the first 500. `--mp4` writes a film too, whose table
of frames the muxer keeps in memory until the end.
"""

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from edge_seg.apps.controls import Controls
from edge_seg.apps.hud import Hud
from edge_seg.apps.loop import run_loop
from edge_seg.apps.overlay import Overlay
from edge_seg.apps.sinks import Sink, open_mp4
from edge_seg.apps.sources import open_source
from edge_seg.apps.view import View
from edge_seg.malloc import share_memory_between_threads
from edge_seg.segmenter import open_segmenters

FRAMES, EVERY, ALLOWED = 10_000, 500, 0.01


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(model: str, frames: int, *, mp4: bool) -> list[float]:
    """Resident megabytes after every 500 frames."""
    found: list[float] = []
    seen = [0]

    def look() -> None:
        seen[0] += 1
        if seen[0] % EVERY == 0:
            found.append(resident_mb())
            print(f"{seen[0]:6} frames {found[-1]:8.1f} MB", flush=True)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        segments = stack.enter_context(open_segmenters(model))
        source = stack.enter_context(open_source(f"drive:seed=1,frames={frames}"))
        sinks: list[Sink] = [stack.enter_context(open_mp4(folder / "a.mp4", source.fps))] if mp4 else []
        view = View(Overlay(segments[0].spec), Hud(), Controls())
        run_loop(source, segments, view.draw, sinks, on_frame=look)
    return found


def main() -> None:
    """Print the growth; exit code 1 where it is more than allowed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="edge-seg-s")
    parser.add_argument("--mp4", action="store_true")
    options = parser.parse_args()
    share_memory_between_threads()  # as `edge-seg run` does
    found = measure(options.model, FRAMES, mp4=options.mp4)
    growth = found[-1] / found[0] - 1
    print(f"growth after the first {EVERY}: {100 * growth:.2f} % (most at {max(found):.1f} MB)")
    raise SystemExit(growth > ALLOWED)


if __name__ == "__main__":
    main()
