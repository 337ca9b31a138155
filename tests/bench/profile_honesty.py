"""Whether `edge-seg profile` can be believed: repeated, beside a busy neighbour, and against bare loops.

    python tests/bench/profile_honesty.py repeat          # the same rows timed twice, and a third time
    python tests/bench/profile_honesty.py neighbour       # ratios between rows, quiet and beside a busy core
    python tests/bench/profile_honesty.py bare            # against a bare ONNX Runtime loop and benchmark_app
    python tests/bench/profile_honesty.py overhead        # what measuring costs a frame of the run loop

The machine has to be quiet but for what the benchmark itself starts. Prints Markdown.
"""

import argparse
import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from edge_seg.apps.meters import Meters
from edge_seg.apps.profile import rounds as profile_rounds
from edge_seg.apps.profile.combinations import combine, describe
from edge_seg.apps.profile.rounds import time_rows
from edge_seg.apps.profile.rows import Row
from edge_seg.runners import open_runner, timed
from edge_seg.runners.timed import TimedProcess, timed_process
from edge_seg.types import Frame, Result
from edge_seg.weights import find_model

MODELS = ("edge-seg-n", "edge-seg-s", "edge-seg-n-fp32", "edge-seg-s-fp32")
RUNTIMES = ("onnxruntime", "openvino")
ROUND_S = 0.5
BESIDE = (__file__, "--beside")
"""The program of a timed process that keeps the priority which every process has."""
CLOSE = 0.05


def main() -> None:
    """Print what one part finds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("repeat", "neighbour", "bare", "overhead"))
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores\n")
    {"repeat": repeat, "neighbour": neighbour, "bare": bare, "overhead": lambda rounds: overhead()}[options.part](
        options.rounds
    )


def rows_to_time() -> list[Row]:
    """Four files on two run-times."""
    artefacts = [(model, find_model(model)) for model in MODELS]
    return [describe(row) for row in combine(artefacts, RUNTIMES, batches=[1], threads=[0])]


def p50s(rows: Sequence[Row], rounds: int) -> dict[str, float]:
    """Label -> p50 in milliseconds, all rows in turns."""
    found = {row.label: row.latency_ms for row in time_rows(rows, rounds=rounds, seconds=ROUND_S)}
    return {row.label: latency.p50 for row in rows if (latency := found[row.label]) is not None}


def in_blocks(rows: Sequence[Row], rounds: int) -> dict[str, float]:
    """The same, one row after the other, as most benchmarks do it."""
    return {label: ms for row in rows for label, ms in p50s([row], rounds).items()}


def repeat(rounds: int) -> None:
    """p50 of three profiles of the same files."""
    rows = rows_to_time()
    found = [p50s(rows, rounds) for _ in range(3)]
    print("| row | p50 ms | again | again | largest / smallest |\n|---|---|---|---|---|")
    spread = {}
    for label in found[0]:
        values = [one[label] for one in found]
        spread[label] = max(values) / min(values)
        print(f"| {label} | {' | '.join(f'{v:.2f}' for v in values)} | {spread[label]:.3f} |")
    close = sum(value <= 1 + CLOSE for value in spread.values())
    print(f"\n{close} of {len(spread)} rows within {CLOSE:.0%} over all three.")


def neighbour(rounds: int) -> None:
    """How far ratios between rows move beside a neighbour that keeps one core busy, by how the rows are timed."""
    rows = rows_to_time()
    quiet = p50s(rows, rounds)
    print("| neighbour | rows | ratios within 5 % of the quiet ones | median, largest deviation |\n|---|---|---|---|")

    def tell(name: str, how: str, found: dict[str, float]) -> None:
        off = [abs(found[a] / found[b] / (quiet[a] / quiet[b]) - 1) for a, b in itertools.combinations(quiet, 2)]
        close = sum(value <= CLOSE for value in off)
        print(f"| {name} | {how} | {close} of {len(off)} | {statistics.median(off):.1%}, {max(off):.1%} |", flush=True)

    tell("none", "in turns", p50s(rows, rounds))
    for name, busy in (("one core, all the time", busy_core), ("one core, 5 s on, 5 s off", busy_now_and_then)):
        with busy():
            tell(name, "in turns, before other processes", p50s(rows, rounds))
            tell(name, "one after the other, before other processes", in_blocks(rows, rounds))
            with beside_others():
                tell(name, "in turns, beside other processes", p50s(rows, rounds))
                tell(name, "one after the other, beside other processes", in_blocks(rows, rounds))


@contextmanager
def beside_others() -> Iterator[None]:
    """Artefacts are timed with the priority that every process has."""
    usual = profile_rounds.timed_process
    profile_rounds.timed_process = partial(usual, program=BESIDE)
    try:
        yield
    finally:
        profile_rounds.timed_process = usual


@contextmanager
def busy_core(code: str = "while True: pass") -> Iterator[None]:
    """A process that keeps a core busy."""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            yield
        finally:
            process.kill()


def busy_now_and_then() -> AbstractContextManager[None]:
    """A process that keeps a core busy for five seconds of ten."""
    return busy_core(
        "import time\nwhile True:\n  end = time.monotonic() + 5\n  while time.monotonic() < end: pass\n  time.sleep(5)"
    )


def bare(rounds: int) -> None:
    """Our p50 against what the run-times' own tools and a bare loop say, in turns, all of the same priority."""
    print("| file | against | ours, p50 ms | theirs | ours / theirs, median of rounds |\n|---|---|---|---|---|")
    for model in MODELS:
        path = find_model(model)
        with timed_process(path, "onnxruntime", program=BESIDE) as ours, bare_session(path) as theirs:
            print_ratio(model, "bare InferenceSession", rounds, lambda: p50_of(ours), lambda: p50_of(theirs))
        with timed_process(path, "openvino", program=BESIDE) as ours:
            print_ratio(model, "benchmark_app", rounds, lambda: p50_of(ours), partial(benchmark_app, path))


def p50_of(process: TimedProcess) -> float:
    """Median milliseconds of a second."""
    return statistics.median(process.round(1.0).times_ms)


def print_ratio(model: str, against: str, rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
    """A row of two that take turns."""
    pairs = []
    for turn in range(rounds):
        first, second = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        found = first(), second()
        pairs.append(found if turn % 2 == 0 else found[::-1])
    one, two = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratio = statistics.median(first / second for first, second in pairs)
    print(f"| {model} | {against} | {one:.2f} | {two:.2f} | {ratio:.3f} |", flush=True)


def bare_session(path: Path) -> AbstractContextManager[TimedProcess]:
    """A process that answers as ours does, around ONNX Runtime with its defaults and nothing of ours."""
    return timed_process(path, "bare", program=(__file__, "--bare"))


def serve_bare(path: str) -> None:
    """The loop that everybody writes."""
    import json

    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    _, height, width, _ = session.get_inputs()[0].shape
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    for _ in range(5):
        session.run(None, {"image": image})
    print(json.dumps({"load_ms": 0.0}), flush=True)
    for line in sys.stdin:
        end, times_ms = time.perf_counter() + float(line), []
        while time.perf_counter() < end:
            start = time.perf_counter()
            session.run(None, {"image": image})
            times_ms.append((time.perf_counter() - start) * 1e3)
        print(json.dumps({"times_ms": times_ms, "memory_mb": 0.0}), flush=True)


def benchmark_app(path: Path) -> float:
    """The median latency in milliseconds that OpenVINO's own tool prints, FP32 kept, one request at a time."""
    words = ["benchmark_app", "-m", str(path), "-hint", "latency", "-api", "sync", "-nireq", "1", "-t", "2"]
    words += ["-shape", "[1,{1},{0},3]".format(*size_of(path)), "-infer_precision", "f32"]
    words[0] = str(Path(sys.executable).with_name("benchmark_app"))
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = re.search(r"Median:\s+([\d.]+) ms", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an artefact's pictures."""
    with open_runner(path) as runner:
        return runner.spec.width, runner.spec.height


def overhead() -> None:
    """Microseconds that the run loop's meters take of a frame, truth left out, against the fastest net's frame."""
    with open_runner("edge-seg-n") as runner:
        image = np.zeros((1, runner.spec.height, runner.spec.width, 3), np.uint8)
        times_ms = []
        for _ in range(100):
            start = time.perf_counter()
            labels = runner.infer(image)
            times_ms.append((time.perf_counter() - start) * 1e3)
        meters = Meters(runner.spec, runner.runtime)
    result, taken = Result(labels[0], 1.0, 1.0, 1.0), []
    for number in range(20_000):
        frame = Frame(image[0], number, time.perf_counter())
        start = time.perf_counter()
        meters.finish(frame, start)
        meters.add(result, 1.0, 1.0, 1.0)
        taken.append((time.perf_counter() - start) * 1e3)
    meter_ms, infer_ms = statistics.median(taken), statistics.median(times_ms)
    print("| a frame of edge-seg-n, inference alone, ms | its meters, ms | share |\n|---|---|---|")
    print(f"| {infer_ms:.2f} | {meter_ms:.4f} | {meter_ms / infer_ms:.2%} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        serve_bare(sys.argv[2])
    elif sys.argv[1:2] == ["--beside"]:
        timed.go_first = lambda: False
        timed._main(sys.argv[2:])
    else:
        main()
