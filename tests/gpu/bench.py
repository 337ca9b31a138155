"""TensorRT engines of the bundled nets on a GPU: accuracy, agreement, latency, the pipelined loop, against PyTorch.

    python tests/gpu/prepare.py --data camvid:CamVid --out runs/gpu           # on any machine, first
    python tests/gpu/bench.py --files runs/gpu --data camvid:CamVid/test --out runs/gpu/rows --torch /usr/bin/python3

Runs under the Python that has TensorRT and pycuda; --torch names one that has PyTorch and CUDA (it may be the same),
without which nothing is compared. Each row is a file in --out, and is not measured again; timings of tactics are kept
there too. Prints the tables for docs/tensorrt.md of all rows that are there.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge_seg.apps.engine_calibration import by_cache, by_pictures
from edge_seg.data import open_dataset
from edge_seg.evaluate import evaluate
from edge_seg.export.build_engine import build_engine
from edge_seg.export.calibrated import Calibration
from edge_seg.export.to_engine import BuildOptions
from edge_seg.files import write_whole
from edge_seg.metrics import LatencyStats
from edge_seg.runners.tensorrt_api import has, import_tensorrt
from edge_seg.runners.timed import TimedProcess
from edge_seg.runners.trt_runner import TrtRunner
from edge_seg.segmenter import Segmenter

BATCHES = (1, 8, 32)
CALLS = 200
ROUNDS, ROUND_S = 9, 0.5
TORCH_WAYS = ("eager-fp32", "compile-fp16", "graph-fp16")


class Way(NamedTuple):
    """A way to an engine: the kind of file, the precision asked for, and what calibrates it."""

    file: str
    precision: str
    calibration: str = ""


WAYS = {
    "FP32": Way("fp32", "fp32"),
    "FP16": Way("fp32", "fp16"),
    "INT8, Q/DQ": Way("qdq", "int8"),
    "INT8, Q/DQ, rest in FP16": Way("qdq", "best"),
    "INT8, entropy calibrator": Way("fp32", "best", "entropy"),
    "INT8, min-max calibrator": Way("fp32", "best", "min-max"),
    "INT8, our ranges as a cache": Way("fp32", "best", "cache"),
}


def main() -> None:
    """Measure what is missing; print the tables."""
    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for net in options.nets.split(","):
        for name, way in WAYS.items():
            rows.append(kept_row(options.out / f"{net}.{plain(name)}.row", net, name, way, options))
    print_tables(rows)


def kept_row(path: Path, net: str, name: str, way: Way, options: argparse.Namespace) -> dict[str, Any]:
    """The row in a file, or measured now and kept, but for one with an error, which is tried again next time."""
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_text())
        return known
    row = measure(net, name, way, options)
    if "error" not in row:
        write_whole(path, json.dumps(row, indent=1).encode())
    return row


def plain(name: str) -> str:
    """A way's name as part of a file's.

    >>> plain("INT8, Q/DQ, rest in FP16")
    'INT8-QDQ-rest-in-FP16'
    """
    return name.replace(",", "").replace("/", "").replace(" ", "-")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, required=True, help="what prepare.py wrote")
    parser.add_argument("--data", required=True, help="labelled set to judge on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nets", default="edge-seg-n,edge-seg-s")
    parser.add_argument("--torch", help="a Python with PyTorch and CUDA")
    parser.add_argument("--tactic-sources", default="", help="TensorRT's names, where some libraries are missing")
    return parser.parse_args()


def measure(net: str, name: str, way: Way, options: argparse.Namespace) -> dict[str, Any]:
    """One row: an engine for each batch, built and timed; the first one is judged. An error is a row too."""
    source = options.files / f"{net}.{way.file}.onnx"
    row: dict[str, Any] = {"net": net, "way": name, "batches": {}}
    try:
        for batch in BATCHES:
            engine = options.out / f"{net}.{plain(name)}.{batch}.engine"
            start = time.perf_counter()
            built = build_engine(
                source, engine, _options(way, batch, options), calibration=_calibration(way, source, options)
            )
            row["batches"][str(batch)] = {"build_s": time.perf_counter() - start} | time_engine(engine, batch)
            if batch == BATCHES[0]:
                row |= {"tensorrt": built.tensorrt, "gpu": built.gpu, "engine_mb": engine.stat().st_size / 1e6}
                row |= judge(engine, source, options.data) | {"pipelined_fps": pipelined_fps(engine)}
                ways = TORCH_WAYS if options.torch else ()
                row["against"] = {torch: compare(engine, net, torch, options.torch) for torch in ways}
    except Exception as error:  # the other rows are worth having
        row["error"] = f"{type(error).__name__}: {error}"
    return row


def _options(way: Way, batch: int, options: argparse.Namespace) -> BuildOptions:
    """From TensorRT 10 on the file's types hold, but with a calibrator, and FP16 is another file."""
    sources = tuple(filter(None, options.tactic_sources.split(",")))
    typed = has(import_tensorrt(), "strong typing") and not way.calibration
    precision = "best" if typed and way.precision in ("fp32", "int8") else way.precision
    return BuildOptions(precision, timing_cache=options.out / "timings", batch=(batch,) * 3, tactic_sources=sources)


def _calibration(way: Way, source: Path, options: argparse.Namespace) -> Calibration | None:
    if way.calibration == "cache":
        return by_cache(source.with_name(source.name.replace("fp32.onnx", "cache")))
    if way.calibration:
        kept = options.out / f"{source.stem}.{way.calibration}.cache"
        return by_pictures(source, options.files / "calib.json", kept, way.calibration, 8)
    return None


def judge(engine: Path, source: Path, data: str) -> dict[str, Any]:
    """mIoU, and the share of pixels that ONNX Runtime labels alike, where its labels are there."""
    dataset, expected = open_dataset(data), source.with_suffix(".npz")
    same: list[float] = []
    known = np.load(expected)["labels"] if expected.is_file() else None

    def look(frame: Any, labels: Any) -> None:  # noqa: ANN401
        if known is not None:
            same.append(float((labels == known[frame.index]).mean()))

    with Segmenter(TrtRunner(engine)) as segment:
        scores = evaluate(segment, dataset, on_image=look)
    return {"miou": scores.miou, "class_iou": scores.class_iou, "agreement": statistics.fmean(same) if same else None}


class Enqueued(TrtRunner):
    """A runner whose layers can be run without the copies."""

    def enqueue_ms(self, batch: int, calls: int) -> float:
        """Milliseconds of an enqueue, of `calls` one after the other."""
        with self._device.current():
            self._context.set_input_shape("image", (batch, self.spec.height, self.spec.width, 3))
            self._stream.synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                self._context.execute_async_v3(self._stream.handle)
            self._stream.synchronize()
            return (time.perf_counter() - start) * 1e3 / calls


def time_engine(engine: Path, batch: int) -> dict[str, float]:
    """Milliseconds of an enqueue, and of a call with its copies."""
    with Enqueued(engine) as runner:
        images = np.random.default_rng(0).integers(0, 256, (batch, runner.spec.height, runner.spec.width, 3), np.uint8)
        for _ in range(20):
            runner.infer(images)
        enqueue = [runner.enqueue_ms(batch, 50) for _ in range(ROUNDS)]
        stats = LatencyStats()
        for _ in range(CALLS):
            start = time.perf_counter()
            runner.infer(images)
            stats.add((time.perf_counter() - start) * 1e3)
    return {"enqueue_p50": statistics.median(enqueue)} | asdict(stats.percentiles())


def pipelined_fps(engine: Path) -> float:
    """Pictures a second of two runners on two threads, one's copies beside the other's layers."""
    with TrtRunner(engine) as one, TrtRunner(engine) as other:
        image = np.zeros((1, one.spec.height, one.spec.width, 3), np.uint8)

        def work(runner: TrtRunner, calls: int) -> None:
            for _ in range(calls):
                runner.infer(image)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, (one, other), (CALLS, CALLS)))  # warm
            start = time.perf_counter()
            list(pool.map(work, (one, other), (10 * CALLS, 10 * CALLS)))
            return 20 * CALLS / (time.perf_counter() - start)


def compare(engine: Path, net: str, way: str, python: str) -> dict[str, float]:
    """PyTorch's milliseconds and how many times as fast the engine is, in turns, with copies, one picture at a time."""
    own = [sys.executable, "-m", "edge_seg.runners.timed", str(engine), "tensorrt", "0", "1"]
    theirs = [python, str(Path(__file__).with_name("torch_timed.py")), net, way, "1"]
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


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Markdown of all rows; one with an error says so."""
    print("| net | engine | mIoU | as on ONNX Runtime | enqueue ms, 1 / 8 / 32 at a time | infer p50 / p95 / p99 ms |")
    print("|---" * 6 + "|")
    for row in rows:
        if "error" in row:
            print(f"| {row['net']} | {row['way']} | {row['error'].splitlines()[0]} | | | |")
            continue
        enqueue = " / ".join(f"{row['batches'][str(batch)]['enqueue_p50']:.3f}" for batch in BATCHES)
        infer = " / ".join(f"{row['batches'][str(BATCHES[0])][f'p{p}']:.3f}" for p in (50, 95, 99))
        agreement = "" if row["agreement"] is None else f"{row['agreement']:.4f}"
        print(f"| {row['net']} | {row['way']} | {row['miou']:.4f} | {agreement} | {enqueue} | {infer} |")
    print("\n| net | engine | MB | built in s | pipelined, images/s | of the enqueue rate | against PyTorch |")
    print("|---" * 7 + "|")
    for row in (row for row in rows if "error" not in row):
        share = row["pipelined_fps"] * row["batches"][str(BATCHES[0])]["enqueue_p50"] / 1e3
        against = "; ".join(f"{way} {found['ratio']:.2f}" for way, found in row.get("against", {}).items())
        built_s = row["batches"][str(BATCHES[0])]["build_s"]
        sizes = f"{row['engine_mb']:.1f} | {built_s:.0f} | {row['pipelined_fps']:.0f} | {share:.2f}"
        print(f"| {row['net']} | {row['way']} | {sizes} | {against} |")


if __name__ == "__main__":
    main()
