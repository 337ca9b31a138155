"""What the GPU bench measures of an engine: its layers alone, with copies, in the pipelined loop."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edge_seg.errors import ModelError
from edge_seg.metrics import LatencyStats
from edge_seg.runners.cuda import open_device
from edge_seg.runners.trt_runner import TrtRunner

WARM_UP, WARM_UP_S = 20, 1.0
"""Calls and seconds, whichever is more: a GPU at rest takes a while to raise its clocks."""
CALLS, CALLS_OF_ONE = 200, 1000
"""Calls of a percentile; of one picture at a time more, since its 99th is of ten calls then."""
ROUNDS, ENQUEUE_S, LOOP_S = 7, 0.2, 0.5
"""Rounds of enqueues alone and then of the loop, and how long each of both takes."""
STATE = ("nvidia-smi", "--query-gpu=clocks.sm,power.limit,utilization.gpu", "--format=csv,noheader")


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
    """p50, p95 and p99 in ms of an enqueue, an infer with its copies, and the loop's batches; rates; memory.

    None of that as CUDA graphs; infer and the loop's images/s then as graphs too, where they can be recorded. Memory is
    what the GPU has less of with the runner open and warm. `before` and `after` are the machine's state.
    """
    before, free_mb = machine_state(), _free_mb()
    with Enqueued(engine, graphs=False) as runner:
        images = np.random.default_rng(0).integers(0, 256, (batch, runner.spec.height, runner.spec.width, 3), np.uint8)
        _warm_up(runner, images)
        found: dict[str, Any] = {"memory_mb": free_mb - _free_mb()}
        with open_device().current():
            found["enqueue"] = _percentiles(lambda: (runner.enqueue(), runner.wait()), batch)
        found["infer"] = _percentiles(lambda: runner.infer(images), batch)
        found |= _rounds(engine, images, runner)
    return found | _as_graphs(engine, images) | {"before": before, "after": machine_state()}


def machine_state() -> dict[str, Any]:
    """The machine's load, and clock, power limit and use of its GPUs, where nvidia-smi is there to tell."""
    found: dict[str, Any] = {"load": list(os.getloadavg())}
    with suppress(OSError, subprocess.SubprocessError):
        found["gpu"] = subprocess.run(STATE, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    return found


def _as_graphs(engine: Path, images: Any) -> dict[str, Any]:  # noqa: ANN401
    """Of infer and the loop as CUDA graphs; nothing without cuda-python, or where the engine cannot be recorded."""
    with Enqueued(engine) as runner:
        _warm_up(runner, images)
        if not runner.is_graph:
            return {}
        found = _percentiles(lambda: runner.infer(images), len(images))
    return {"graph": found} | _rounds(engine, images, None)


def _free_mb() -> float:
    device = open_device()
    with device.current():
        return float(device.cuda.mem_get_info()[0]) / 1e6


def _warm_up(runner: Enqueued, images: Any) -> None:  # noqa: ANN401
    start, calls = time.perf_counter(), 0
    while calls < WARM_UP or time.perf_counter() < start + WARM_UP_S:
        runner.infer(images)
        calls += 1


def _percentiles(call: Callable[[], object], batch: int) -> list[float]:
    """p50, p95 and p99 of the calls, in ms."""
    stats = LatencyStats()
    for _ in range(CALLS_OF_ONE if batch == 1 else CALLS):
        start = time.perf_counter()
        call()
        stats.add((time.perf_counter() - start) * 1e3)
    return list(astuple(stats.percentiles()))


def _rounds(engine: Path, images: Any, alone: Enqueued | None) -> dict[str, Any]:  # noqa: ANN401
    """Rates in images/s by turns, of enqueues `alone` and of the loop, and the loop's ms from batch to batch.

    The loop is two runners on two threads, one's copies beside the other's layers. Without `alone` they are graphs, and
    the loop's rate is all that is told.
    """
    graphs, count, stats = alone is None, len(images), LatencyStats()
    enqueue_rates, loop_rates = [], []
    with TrtRunner(engine, graphs=graphs) as one, TrtRunner(engine, graphs=graphs) as other:
        _loop((one, other), images)  # to get warm
        for _ in range(ROUNDS):
            if alone is not None:
                enqueue_rates.append(count / _enqueue_s(alone))
            done = _loop((one, other), images)
            loop_rates.append(count * (len(done) - 1) / (done[-1] - done[0]))
            for before, after in pairwise(done):
                stats.add((after - before) * 1e3)
    if graphs:
        return {"graph_loop_rate": statistics.median(loop_rates)}
    return {"loop": list(astuple(stats.percentiles())), "enqueue_rates": enqueue_rates, "loop_rates": loop_rates}


def _enqueue_s(runner: Enqueued) -> float:
    """Seconds of an enqueue, of 50 one after the other with one wait at the end, again and again for a while."""
    start, count = time.perf_counter(), 0
    with open_device().current():
        while not count or time.perf_counter() < start + ENQUEUE_S:
            for _ in range(50):
                runner.enqueue()
            runner.wait()
            count += 50
        return (time.perf_counter() - start) / count


def _loop(runners: Sequence[TrtRunner], images: Any) -> list[float]:  # noqa: ANN401
    """The times at which batches were ready, of runners on a thread each."""
    end_s = time.perf_counter() + LOOP_S

    def work(runner: TrtRunner) -> list[float]:
        done: list[float] = []
        while not done or done[-1] < end_s:
            runner.infer(images)
            done.append(time.perf_counter())
        return done

    with ThreadPoolExecutor(len(runners)) as pool:
        return sorted(second for times in pool.map(work, runners) for second in times)
