"""Frames per second of the street drive at 480x360 on one core: python tests/bench/drive_fps.py [SEED ...]"""

import os
import sys
import time

import cv2
import numpy as np

from edge_seg.data.drive import Drive

FRAMES, WARM_UP = 300, 30


def frame_times_ms(drive: Drive) -> list[float]:
    """The time that each frame after the warm-up takes."""
    times = []
    for index in range(WARM_UP + FRAMES):
        start = time.perf_counter()
        drive[index]
        times.append(1000 * (time.perf_counter() - start))
    return times[WARM_UP:]


def spread(times_ms: list[float]) -> str:
    """The times in a few words."""
    low, median, high, top = np.percentile(times_ms, (0, 50, 95, 99))
    return f"ms: min {low:.1f}, median {median:.1f}, p95 {high:.1f}, p99 {top:.1f}"


def main() -> None:
    """Print a line per seed, and one for the first frame of new seeds."""
    cv2.setNumThreads(1)
    load = os.getloadavg()[0]
    print(f"numpy {np.__version__}, opencv {cv2.__version__}, load average {load:.2f} of {os.cpu_count()} cores")
    for seed in map(int, sys.argv[1:] or ("1", "2", "3")):
        times = frame_times_ms(Drive(seed))
        print(f"seed {seed}: {1000 * FRAMES / sum(times):.0f} frames/s; {spread(times)}")
    starts = []
    for seed in range(1000, 1060):
        start = time.perf_counter()
        Drive(seed)[0]
        starts.append(1000 * (time.perf_counter() - start))
    print(f"a new seed's first frame: {spread(starts[20:])}")


if __name__ == "__main__":
    main()
