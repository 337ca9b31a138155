"""What the GPU bench measures of an engine: its layers alone, with copies, in the pipelined loop, against PyTorch."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edge_seg.errors import ModelError
from edge_seg.metrics import LatencyStats
from edge_seg.runners.cuda import open_device
from edge_seg.runners.timed import TimedProcess
from edge_seg.runners.trt_runner import TrtRunner

WARM_UP, CALLS = 20, 200
LOOP_S = 3.0
ROUNDS, ROUND_S = 9, 0.5
TORCH_WAYS = ("eager-fp32", "compile-fp16", "graph-fp16")


class Enqueued(TrtRunner):
    """A runner whose layers can be run without the copies, by the pictures that were shown last."""

    def enqueue(self) -> None:
        """Put the layers on the stream; ModelError where TensorRT does not take them."""
        if not self._context.execute_async_v3(self._stream.handle):
            raise ModelError(f"TensorRT could not run the engine.{self._log.told()}")

    def wait(self) -> None:
        """Until the stream is through."""
        self._stream.synchronize()

    @property
    def is_graph(self) -> bool:
        """Whether pictures of the present number are started as one CUDA graph."""
        return self._graph._launchable is not None


def time_engine(engine: Path, batch: int) -> dict[str, Any]:
    """p50, p95 and p99 in ms of an enqueue, an infer with its copies, and the loop's batches; images/s; memory.

    None of that as CUDA graphs; infer and the loop's images/s then as graphs too, where they can be recorded. The
    enqueue rate is that of enqueues one after the other with one wait at the end. Memory is what the GPU has less of
    with the runner open and warm.
    """
    free_mb = _free_mb()
    with Enqueued(engine, graphs=False) as runner:
        images = np.random.default_rng(0).integers(0, 256, (batch, runner.spec.height, runner.spec.width, 3), np.uint8)
        for _ in range(WARM_UP):
            runner.infer(images)
        found: dict[str, Any] = {"memory_mb": free_mb - _free_mb()}
        with open_device().current():
            found["enqueue"] = _percentiles(lambda: (runner.enqueue(), runner.wait()))
            found["enqueue_rate"] = batch / statistics.median(_enqueue_s(runner) for _ in range(ROUNDS))
        found["infer"] = _percentiles(lambda: runner.infer(images))
    found["loop"], found["loop_rate"] = _loop(engine, images, graphs=False)
    return found | _as_graphs(engine, images)


def _as_graphs(engine: Path, images: Any) -> dict[str, Any]:  # noqa: ANN401
    """Of infer and the loop as CUDA graphs; nothing without cuda-python, or where the engine cannot be recorded."""
    with Enqueued(engine) as runner:
        for _ in range(WARM_UP):
            runner.infer(images)
        if not runner.is_graph:
            return {}
        found = _percentiles(lambda: runner.infer(images))
    return {"graph": found, "graph_loop_rate": _loop(engine, images, graphs=True)[1]}


def _free_mb() -> float:
    device = open_device()
    with device.current():
        return float(device.cuda.mem_get_info()[0]) / 1e6


def _percentiles(call: Callable[[], object]) -> list[float]:
    """p50, p95 and p99 of CALLS calls, in ms."""
    stats = LatencyStats()
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        stats.add((time.perf_counter() - start) * 1e3)
    return list(astuple(stats.percentiles()))


def _enqueue_s(runner: Enqueued) -> float:
    """Seconds of one of 50 enqueues."""
    start = time.perf_counter()
    for _ in range(50):
        runner.enqueue()
    runner.wait()
    return (time.perf_counter() - start) / 50


def _loop(engine: Path, images: Any, *, graphs: bool) -> tuple[list[float], float]:  # noqa: ANN401
    """Two runners on two threads, one's copies beside the other's layers: ms from one batch to the next, images/s."""
    with TrtRunner(engine, graphs=graphs) as one, TrtRunner(engine, graphs=graphs) as other:

        def work(runner: TrtRunner, end_s: float) -> list[float]:
            done = []
            while not done or done[-1] < end_s:
                runner.infer(images)
                done.append(time.perf_counter())
            return done

        with ThreadPoolExecutor(2) as pool:
            for seconds in (LOOP_S / 10, LOOP_S):  # the first to get warm
                until = [time.perf_counter() + seconds] * 2
                done = sorted(second for times in pool.map(work, (one, other), until) for second in times)
    stats = LatencyStats()
    for before, after in pairwise(done):
        stats.add((after - before) * 1e3)
    rate = len(images) * (len(done) - 1) / (done[-1] - done[0])
    return list(astuple(stats.percentiles())), rate


def compare(engine: Path, net: str, way: str, python: str, batch: int) -> dict[str, float]:
    """PyTorch's milliseconds, and how many times as fast the engine is, in turns, both with copies.

    Each runs in a process of its own, PyTorch's under another Python, which gets none of TensorRT's libraries.
    """
    own = [sys.executable, "-m", "edge_seg.runners.timed", str(engine), "tensorrt", "0", str(batch)]
    theirs = [python, str(Path(__file__).with_name("torch_timed.py")), net, way, str(batch)]
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "LD_LIBRARY_PATH")}
    clean["PYTHONPATH"] = str(Path(__file__).parents[2])
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    with subprocess.Popen(own, **pipes) as ours, subprocess.Popen(theirs, env=clean, **pipes) as other:
        try:
            processes = [TimedProcess(ours, engine.name), TimedProcess(other, way)]
            rounds = [[statistics.median(one.round(ROUND_S).times_ms) for one in processes] for _ in range(ROUNDS)]
        finally:
            ours.kill()
            other.kill()
    ratios = [torch_ms / own_ms for own_ms, torch_ms in rounds]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    return {"ms": medians[0], "torch_ms": medians[1], "ratio": statistics.median(ratios), "least": min(ratios)}
