"""Latency of the whole contract graph by file and run-time.

Every combination runs in a process of its own, since the threads of one run-time slow the next one in the same process,
and the combinations take turns, so that a noisy machine hurts all alike:

    python tests/bench/latency.py edge-seg-s-fp32 edge-seg-s --rounds 5
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time

import numpy as np

from edge_seg.runners.contract import needs_exact_float32
from edge_seg.weights import find_model

RUNTIMES = ("onnxruntime", "openvino", "openvino-bf16")
FRAMES = 60


def measure(model: str, runtime: str, threads: int) -> list[float]:
    """Milliseconds of FRAMES inferences of one image, after ten that do not count."""
    from edge_seg.runners import open_runner

    with open_runner(model, runtime, threads=threads) as runner:
        shape = (1, runner.spec.height, runner.spec.width, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for _ in range(10):
            runner.infer(images)
        times_ms = []
        for _ in range(FRAMES):
            start = time.perf_counter()
            runner.infer(images)
            times_ms.append((time.perf_counter() - start) * 1e3)
    return times_ms


def in_process(model: str, runtime: str, threads: int) -> list[float]:
    """`measure` in a new process."""
    command = [sys.executable, __file__, model, "--child", runtime, "--threads", str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # type: ignore[no-any-return]


def print_table(times_ms: dict[tuple[str, str], list[list[float]]]) -> None:
    """A Markdown row for each combination, and its p50 as a share of the first row's, paired by round."""
    base = [float(np.median(r)) for r in next(iter(times_ms.values()))]
    print("| file | run-time | min ms | p50 | p95 | p99 | first row / this, median of rounds |")
    print("|---|---|---|---|---|---|---|")
    for (model, runtime), rounds in times_ms.items():
        values = np.concatenate(rounds)
        ratio = float(np.median([b / np.median(r) for b, r in zip(base, rounds, strict=True)]))
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        print(f"| {model} | {runtime} | {values.min():.1f} | {p50:.1f} | {p95:.1f} | {p99:.1f} | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.models[0], options.child, options.threads)))
        return
    times_ms: dict[tuple[str, str], list[list[float]]] = {
        (model, runtime): []
        for model in options.models
        for runtime in RUNTIMES
        if not (runtime == "openvino-bf16" and needs_exact_float32(find_model(model)))
    }
    for _ in range(options.rounds):
        for (model, runtime), rounds in times_ms.items():
            rounds.append(in_process(model, runtime, options.threads))
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("onnxruntime", "openvino", "numpy"))
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}\n")
    print_table(times_ms)


if __name__ == "__main__":
    main()
