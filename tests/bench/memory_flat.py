"""Memory of the run loop over 10,000 drive frames, written as mp4: python tests/bench/memory_flat.py [MODEL]

Resident memory is read every 500 frames; it may grow by 1 % after the first 500.
"""

import os
import sys
import tempfile
from pathlib import Path

from edge_seg.apps.controls import Controls
from edge_seg.apps.hud import Hud
from edge_seg.apps.loop import run_loop
from edge_seg.apps.overlay import Overlay
from edge_seg.apps.sinks import open_mp4
from edge_seg.apps.sources import open_source
from edge_seg.apps.view import View
from edge_seg.segmenter import open_segmenters

FRAMES, EVERY, ALLOWED = 10_000, 500, 0.01


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(model: str, frames: int) -> list[float]:
    """Resident megabytes after every 500 frames."""
    found: list[float] = []
    seen = [0]

    def look() -> None:
        seen[0] += 1
        if seen[0] % EVERY == 0:
            found.append(resident_mb())
            print(f"{seen[0]:6} frames {found[-1]:8.1f} MB", flush=True)

    with (
        tempfile.TemporaryDirectory() as folder,
        open_segmenters(model) as segments,
        open_source(f"drive:seed=1,frames={frames}") as source,
        open_mp4(Path(folder) / "a.mp4", source.fps) as sink,
    ):
        view = View(Overlay(segments[0].spec), Hud(), Controls())
        run_loop(source, segments, view.draw, [sink], on_frame=look)
    return found


def main() -> None:
    """Print the growth; exit code 1 where it is more than allowed."""
    found = measure(sys.argv[1] if len(sys.argv) > 1 else "edge-seg-s", FRAMES)
    growth = found[-1] / found[0] - 1
    print(f"growth after the first {EVERY}: {100 * growth:.2f} % (most at {max(found):.1f} MB)")
    raise SystemExit(growth > ALLOWED)


if __name__ == "__main__":
    main()
