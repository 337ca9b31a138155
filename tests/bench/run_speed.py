"""Speed of `edge-seg run` on a clip, against the bound that physics sets and against the loop most people write.

    python tests/bench/run_speed.py CLIP [--model INT8.onnx] [--fp32 FP32.onnx] [--rounds 5]

Every part runs in a process of its own, the parts of a round one after the other, so that what disturbs the machine
disturbs all alike; ratios are taken within a round. The bound is

    1 / max(infer alone, CPU time of decode + resize + infer + draw over the cores)

Infer alone is the time for a frame where as many are inferred at a time as `run` does. Other times are medians over the
frames; CPU times are of the whole process over the frames.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from edge_seg.types import Frame
from edge_seg.weights import find_model

HERE = Path(__file__).parent
CORES = len(os.sched_getaffinity(0))


def timed(work: Callable[[Any], object], items: Iterable[Any], warm_up: int = 5) -> dict[str, float]:
    """Wall and CPU milliseconds for each of `items`, which are ready before."""
    ready = list(items)
    for item in ready[:warm_up]:
        work(item)
    walls, cpu_s = [], time.process_time()
    for item in ready:
        start = time.perf_counter()
        work(item)
        walls.append((time.perf_counter() - start) * 1e3)
    return {"wall_ms": statistics.median(walls), "cpu_ms": (time.process_time() - cpu_s) * 1e3 / len(ready)}


def frames_of(clip: Path) -> list[Frame]:
    """All frames of a film."""
    from edge_seg.apps.sources import open_source

    with open_source(str(clip)) as source:
        return list(source)


def part_decode(clip: Path, model: str) -> dict[str, float]:
    """Decoding to BGR alone."""
    from edge_seg.apps.sources import open_source

    start, cpu_s = time.perf_counter(), time.process_time()
    with open_source(str(clip)) as source:
        count = sum(1 for _ in source)
    wall_ms = (time.perf_counter() - start) * 1e3 / count
    return {"wall_ms": wall_ms, "cpu_ms": (time.process_time() - cpu_s) * 1e3 / count}


def part_resize(clip: Path, model: str) -> dict[str, float]:
    """Resizing alone: the picture to the model, the labels back."""
    import cv2

    from edge_seg.runners.base import open_runner

    cv2.setNumThreads(1)
    with open_runner(model) as runner:
        size = runner.spec.width, runner.spec.height

    def work(frame: Frame) -> None:
        small = cv2.resize(frame.image, size)
        cv2.resize(small[..., 0], frame.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)

    return timed(work, frames_of(clip))


def part_infer(clip: Path, model: str) -> dict[str, float]:
    """Inference alone, by as many segmenters at a time as `run` has, on pictures of the model's size."""
    import cv2

    from edge_seg.segmenter import open_segmenters

    with open_segmenters(model) as segments, ThreadPoolExecutor(len(segments)) as pool:
        size = segments[0].spec.width, segments[0].spec.height
        ready = [cv2.resize(frame.image, size) for frame in frames_of(clip)]
        start, cpu_s = time.perf_counter(), time.process_time()
        shares = [pool.submit(list, map(segment, ready[i :: len(segments)])) for i, segment in enumerate(segments)]
        done = sum(len(share.result()) for share in shares)
        wall_ms = (time.perf_counter() - start) * 1e3 / done
        return {"wall_ms": wall_ms, "cpu_ms": (time.process_time() - cpu_s) * 1e3 / done}


def part_draw(clip: Path, model: str) -> dict[str, float]:
    """Overlay and head-up display alone, on the model's own labels."""
    from edge_seg.apps.controls import Controls
    from edge_seg.apps.hud import Hud
    from edge_seg.apps.meters import Meters
    from edge_seg.apps.overlay import Overlay
    from edge_seg.apps.view import View
    from edge_seg.segmenter import open_segmenter

    with open_segmenter(model) as segment:
        ready = [(frame, segment(frame.image)) for frame in frames_of(clip)[:60]]
    view = View(Overlay(segment.spec), Hud(), Controls())
    meters = Meters(segment.spec, segment.runtime)
    return timed(lambda pair: view.draw(pair[0], pair[1], meters), ready)


def part_encode(clip: Path, model: str) -> dict[str, float]:
    """Encoding alone; not a part of the bound, which has no sink."""
    from edge_seg.apps.sinks import open_mp4

    with tempfile.TemporaryDirectory() as folder, open_mp4(Path(folder) / "a.mp4", None) as sink:
        return timed(lambda frame: sink.write(frame.image, frame), frames_of(clip), warm_up=0)


PARTS = {name[5:]: function for name, function in list(globals().items()) if name.startswith("part_")}


def to_naive(contract: Path, path: Path) -> None:
    """The float [1, 3, H, W] -> ArgMax model of a contract file.

    The graph is cut at the input of its first convolution, which is the normalised picture and becomes the input, and
    at the output of its ArgMax, which becomes the output; everything before and after goes.
    """
    import onnx

    model = onnx.load(contract)
    graph = model.graph
    _, height, width, _ = (d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)
    source = next(node.input[0] for node in graph.node if node.op_type == "Conv")
    target = next(node.output[0] for node in graph.node if node.op_type == "ArgMax")
    makers = {name: node for node in graph.node for name in node.output}
    wanted, kept = [target], []
    while wanted:
        name = wanted.pop()
        if name != source and name in makers and makers[name] not in kept:
            kept.append(makers[name])
            wanted += makers[name].input
    nodes = [node for node in graph.node if node in kept]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.append(onnx.helper.make_tensor_value_info(source, onnx.TensorProto.FLOAT, [1, 3, height, width]))
    graph.output.append(onnx.helper.make_tensor_value_info(target, onnx.TensorProto.INT64, [1, height, width]))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def child(*command: str) -> dict[str, Any]:
    """The last line of a Python process as JSON."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def one_round(clip: Path, model: str, naive: Path, folder: Path) -> dict[str, float]:
    """Every part once, and what follows from them."""
    run = ["-m", "edge_seg.apps", "run", "--model", model, "--source", str(clip), "--headless", "--json"]
    found: dict[str, float] = {}
    for part in PARTS:
        times = child(__file__, str(clip), "--model", model, "--part", part)
        found |= {f"{part} {key}": value for key, value in times.items()}
    found["run, no sink, FPS"] = child(*run)["fps"]
    found["run, mp4, FPS"] = child(*run, "--out", str(folder / "run.mp4"))["fps"]
    found["naive, mp4, FPS"] = child(str(HERE / "naive_loop.py"), str(clip), str(naive), str(folder / "naive.mp4"))[
        "fps"
    ]
    cpu_ms = sum(found[f"{part} cpu_ms"] for part in ("decode", "resize", "infer", "draw"))
    found["bound, FPS"] = 1e3 / max(found["infer wall_ms"], cpu_ms / CORES)
    found["run / bound"] = found["run, no sink, FPS"] / found["bound, FPS"]
    found["run / naive, mp4"] = found["run, mp4, FPS"] / found["naive, mp4, FPS"]
    return found


def versions() -> str:
    """What it ran on."""
    from importlib.metadata import version

    names = ("numpy", "opencv-python", "av", "onnxruntime", "openvino")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)


def main() -> None:
    """Print a table of minimum, median and maximum over the rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="edge-seg-s")
    parser.add_argument("--fp32", default="edge-seg-s-fp32", help="for the naive loop: a bundled name or a path")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=PARTS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.clip, options.model)))
        return
    print(f"{versions()}; {CORES} cores; load average {os.getloadavg()[0]:.2f} at the start")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        to_naive(find_model(options.fp32), folder / "naive.onnx")
        rounds = [one_round(options.clip, options.model, folder / "naive.onnx", folder) for _ in range(options.rounds)]
    print(f"{'':24}{'min':>10}{'median':>10}{'max':>10}")
    for key in rounds[0]:
        values = [found[key] for found in rounds]
        print(f"{key:24}{min(values):10.2f}{statistics.median(values):10.2f}{max(values):10.2f}")
    print(f"load average {os.getloadavg()[0]:.2f} at the end")


if __name__ == "__main__":
    main()
