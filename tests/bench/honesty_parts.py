"""The measurements of `tests/bench/profile_honesty.py`, each as what JSON holds."""

import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from compare_spread import numbers_of
from docs_parts import run_edge_seg

from edge_seg.apps.meters import Meters
from edge_seg.apps.profile import rounds as profile_rounds
from edge_seg.apps.profile.combinations import combine, describe
from edge_seg.apps.profile.rounds import time_rows
from edge_seg.apps.profile.rows import Row
from edge_seg.apps.profile.store import read_profile
from edge_seg.runners import open_runner
from edge_seg.runners.timed import TimedProcess, timed_process
from edge_seg.types import Frame, Result
from edge_seg.weights import find_model

MODELS = ("edge-seg-n", "edge-seg-s", "edge-seg-n-fp32", "edge-seg-s-fp32")
RUNTIMES = ("onnxruntime", "openvino")
PROFILES = 3
ROUND_S = 0.5
PROGRAM = str(Path(__file__).with_name("profile_honesty.py"))
BESIDE, BARE = (PROGRAM, "--beside"), (PROGRAM, "--bare")
"""Programs of a timed process: ours with the priority that every process has, and a bare loop."""
BUSY = "while True: pass"
BUSY_NOW_AND_THEN = (
    "import time\nwhile True:\n  end = time.monotonic() + 5\n  while time.monotonic() < end: pass\n  time.sleep(5)"
)
NEIGHBOURS = {"one core, 5 s on, 5 s off": BUSY_NOW_AND_THEN, "one core, all the time": BUSY}

Found = dict[str, Any]


def repeat_folders(out: Path) -> list[Path]:
    """Where the profiles of `repeat` lie."""
    return [out / f"repeat-{number}" for number in range(1, PROFILES + 1)]


def repeat(rounds: int, out: Path) -> Found:
    """p50, p95 and FPS of three profiles of the same files; those that `out` holds already are not made again."""
    folders = repeat_folders(out)
    for folder in folders:
        words = ["--runtimes", ",".join(RUNTIMES), "--rounds", str(rounds), "--out", str(folder)]
        run_edge_seg("profile", *MODELS, *words)
    profiles = [read_profile(folder / "profile.json") for folder in folders]
    reasons = [{row.label: row.disturbed for row in one.rows if row.disturbed is not None} for one in profiles]
    return {"numbers": numbers_of(profiles), "disturbed": reasons}


def neighbour(rounds: int, out: Path) -> Found:
    """p50 by row, quiet and beside a neighbour, by how the rows are timed."""
    rows = rows_to_time()
    quiet = p50s(rows, rounds)
    found = [{"neighbour": "none", "how": "in turns", "p50_ms": p50s(rows, rounds)}]
    for name, code in NEIGHBOURS.items():
        with busy_core(code):
            for priority, timed in (("before", nullcontext()), ("beside", beside_others())):
                with timed:
                    for how, times in (("in turns", p50s), ("one after the other", in_blocks)):
                        told = f"{how}, {priority} other processes"
                        found.append({"neighbour": name, "how": told, "p50_ms": times(rows, rounds)})
    return {"quiet_p50_ms": quiet, "beside": found}


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


def deviations(quiet: dict[str, float], other: dict[str, float]) -> list[float]:
    """How far the ratio of each two rows that were timed both times is off the quiet one.

    >>> deviations({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 4.0})
    [0.5]
    """
    timed = [label for label in quiet if label in other]
    return [abs(other[a] / other[b] / (quiet[a] / quiet[b]) - 1) for a, b in itertools.combinations(timed, 2)]


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
def busy_core(code: str) -> Iterator[None]:
    """A process that keeps a core busy."""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            yield
        finally:
            process.kill()


def bare(rounds: int, out: Path) -> Found:
    """Our p50 beside what the run-times' own tools and a bare loop say, in turns, all of the same priority."""
    found = []
    for model in MODELS:
        path = find_model(model)
        with (
            timed_process(path, "onnxruntime", program=BESIDE) as ours,
            timed_process(path, "bare", program=BARE) as theirs,
        ):
            found.append(
                in_turns(model, "bare InferenceSession", rounds, partial(p50_of, ours), partial(p50_of, theirs))
            )
        with timed_process(path, "openvino", program=BESIDE) as ours:
            found.append(in_turns(model, "benchmark_app", rounds, partial(p50_of, ours), partial(benchmark_app, path)))
    return {"pairs": found}


def p50_of(process: TimedProcess) -> float:
    """Median milliseconds of a second."""
    return statistics.median(process.round(1.0).times_ms)


def in_turns(model: str, against: str, rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Found:
    """What two that take turns say in each round, in milliseconds; every second round begins with the other."""
    found: dict[str, list[float]] = {"ours_ms": [], "theirs_ms": []}
    for turn in range(rounds):
        both = [("ours_ms", ours), ("theirs_ms", theirs)]
        for key, measure in both if turn % 2 == 0 else reversed(both):
            found[key].append(measure())
    return {"model": model, "against": against, **found}


def serve_bare(path: str) -> None:
    """The loop that everybody writes, around ONNX Runtime with its defaults, answering as our timed process does."""
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


def overhead(frames: int, out: Path) -> Found:
    """Milliseconds that the run loop's meters take of a frame, truth left out, and the fastest net's frame."""
    with open_runner("edge-seg-n") as runner:
        image = np.zeros((1, runner.spec.height, runner.spec.width, 3), np.uint8)
        times_ms = []
        for _ in range(100):
            start = time.perf_counter()
            labels = runner.infer(image)
            times_ms.append((time.perf_counter() - start) * 1e3)
        meters = Meters(runner.spec, runner.runtime)
    result, taken = Result(labels[0], 1.0, 1.0, 1.0), []
    for number in range(frames):
        frame = Frame(image[0], number, time.perf_counter())
        start = time.perf_counter()
        meters.finish(frame, start)
        meters.add(result, 1.0, 1.0, 1.0)
        taken.append((time.perf_counter() - start) * 1e3)
    return {"infer_ms": statistics.median(times_ms), "meters_ms": statistics.median(taken)}


def load_average() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]
