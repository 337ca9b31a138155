"""What the machine does at best on a run-time: dense convolutions in FP32, BF16 and INT8, and copies of memory."""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_seg.apps.profile.layers_worker import TIMERS, ask, check_runtime
from edge_seg.apps.profile.rows import Roof
from edge_seg.calib.qdq import write_qdq
from edge_seg.export.target import target_here

CHANNELS, SIDE_PX, DEPTH = 128, 32, 4
"""Each convolution, 3x3, is of 0.15 GMAC: long enough that starting it costs little, and short enough that on a busy
machine some are left in peace. Its tensors fit the caches."""

COPIED_BYTES, PIECES, PASSES = 1 << 27, 32, 3
"""Written in a pass, and read as many: far more than the last cache of most CPUs holds, so that no piece is in one."""


def measure_roof(runtime: str, threads: int) -> Roof:
    """The roof of a run-time with that many threads, 0 for its own choice; ModelError where it tells no layers.

    Measured in a process of its own, in some seconds. `gmacs_per_s` has the precisions that really ran: where a CPU
    or a run-time computes INT8 files in floats, it has no INT8.
    """
    check_runtime(runtime)
    return Roof(**ask("roof", runtime, str(threads)))


def roof_here(runtime: str, threads: int) -> Roof:
    """The same in this process."""
    best: dict[str, float] = {}
    image = np.random.default_rng(0).random((1, CHANNELS, SIDE_PX, SIDE_PX), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "roof.onnx")
        for model in (dense_model(), int8_model()):
            path.write_bytes(model.SerializeToString())
            for layer, least_ms in TIMERS[runtime](path, image, threads):
                if layer.gmacs and least_ms:
                    best[layer.precision] = max(best.get(layer.precision, 0.0), layer.gmacs / least_ms * 1e3)
    return Roof(best, copy_speed(threads or len(os.sched_getaffinity(0))))


def dense_model() -> onnx.ModelProto:
    """DEPTH convolutions with Relu of CHANNELS to CHANNELS channels, float32 [1, CHANNELS, SIDE_PX, SIDE_PX]."""
    rng, shape = np.random.default_rng(0), [1, CHANNELS, SIDE_PX, SIDE_PX]
    nodes, constants = [], []
    for index in range(DEPTH):
        weights = rng.normal(0, 0.02, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"weights{index}"))
        taken = f"features{index}"
        nodes += [
            helper.make_node("Conv", [taken, f"weights{index}"], [f"sums{index}"], f"Conv{index}", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"sums{index}"], [f"features{index + 1}"], f"Relu{index}"),
        ]
    ends = [helper.make_tensor_value_info(f"features{index}", TensorProto.FLOAT, shape) for index in (0, DEPTH)]
    graph = helper.make_graph(nodes, "roof", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def int8_model() -> onnx.ModelProto:
    """The same in this machine's dialect of INT8, as `edge-seg quantize` writes it."""
    model = dense_model()
    tensors = [value.name for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)]
    return write_qdq(model, dict.fromkeys(tensors, (0.0, 1.0)), target_here())


def copy_speed(threads: int) -> float:
    """GB/s, read and written, of the fastest of many pieces of memory, each copied by that many threads at once."""
    read = np.ones(COPIED_BYTES, np.uint8)
    written = np.zeros_like(read)
    pairs = list(zip(np.array_split(written, PIECES), np.array_split(read, PIECES), strict=True))
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for piece, source in pairs * PASSES:
            start_s = time.perf_counter()
            # NumPy lets other threads run meanwhile.
            list(pool.map(np.copyto, np.array_split(piece, threads), np.array_split(source, threads)))
            best = max(best, 2 * piece.nbytes / (time.perf_counter() - start_s))
    return best / 1e9
