"""INT8 files on OpenVINO with the integer tail as the file has it, and pixel by pixel as our runner compiles it.

    python tests/bench/tail_order.py edge-seg-s edge-seg-n [--turns 200] [--threads 2]

Both graphs in one process, in turns; the ratio is the median over the turns. ONEDNN_MAX_CPU_ISA=AVX2_VNNI (or
AVX512_CORE_VNNI, AVX2) before the command holds OpenVINO to the instructions of another CPU.
"""

import argparse
import os
import statistics
import time

import numpy as np
import openvino as ov

from edge_seg.errors import ModelError
from edge_seg.runners.contract import load_onnx, read_onnx_spec
from edge_seg.runners.openvino_runner import cpu_config
from edge_seg.runners.openvino_tail import lay_tail_by_pixels
from edge_seg.types import UInt8Array
from edge_seg.weights import find_model


def main() -> None:
    """Time each file and print a row of Markdown for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    print(f"OpenVINO {ov.__version__}, ONEDNN_MAX_CPU_ISA={os.environ.get('ONEDNN_MAX_CPU_ISA', 'ALL')}\n")
    print("| net | as in the file, ms | by pixels, ms | times as fast | equal labels |\n|---|---|---|---|---|")
    for name in options.models:
        print(row(name, options.turns, options.threads))


def row(name: str, turns: int, threads: int) -> str:
    """Median times of both graphs, and the median of their ratios; ModelError for a file without an integer tail."""
    path = find_model(name)
    spec = read_onnx_spec(path)
    image = np.random.default_rng(1).integers(0, 256, (1, spec.height, spec.width, 3), np.uint8)
    plain, by_pixels = load_onnx(path), load_onnx(path)
    if not lay_tail_by_pixels(by_pixels):
        raise ModelError(f"{path} has no integer tail.")
    core, config = ov.Core(), cpu_config(threads, "f32")
    requests = []
    for model in (plain, by_pixels):
        graph = core.read_model(model.SerializeToString())
        graph.reshape(list(image.shape))
        requests.append(core.compile_model(graph, "CPU", config).create_infer_request())
    labels = [np.array(request.infer([image])[0]) for request in requests]
    times = [[timed(request, image) for request in requests] for _ in range(turns)][turns // 10 :]
    first, second = (statistics.median(both[side] for both in times) for side in (0, 1))
    ratio = statistics.median(one / other for one, other in times)
    return f"| {name} | {first:.2f} | {second:.2f} | {ratio:.2f} | {(labels[0] == labels[1]).mean():.2%} |"


def timed(request: ov.InferRequest, image: UInt8Array) -> float:
    """Milliseconds of one inference."""
    started = time.perf_counter()
    request.infer([image], share_inputs=True, share_outputs=True)
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
