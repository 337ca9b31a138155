"""OpenVINO on the CPU."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import openvino as ov

from edge_seg.errors import ModelError
from edge_seg.runners.contract import check_images, load_onnx, needs_exact_float32, read_onnx_spec
from edge_seg.runners.openvino_tail import lay_tail_by_pixels
from edge_seg.types import UInt8Array


@functools.cache
def _core() -> ov.Core:
    # Freed, a Core's CPU plug-in frees a signal stack that it gave the thread which opened it. Freed on another thread,
    # as a garbage collection may choose, it leaves that thread a stack that is gone: the next Ctrl-C ends the process.
    return ov.Core()


def cpu_config(threads: int, floats: str) -> dict[str, str]:
    """The settings that every graph here is compiled with, timed or not; `floats` as OpenVinoRunner has it."""
    # Threads bound to cores would wait there for capture, drawing or another runner's threads.
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": floats, "ENABLE_CPU_PINNING": "NO"}
    return config | ({"INFERENCE_NUM_THREADS": str(threads)} if threads else {})


def compile_graph(path: Path, shape: Sequence[int], config: Mapping[str, str]) -> ov.CompiledModel:
    """The graph of one input compiled for inputs of `shape`; ModelError where OpenVINO cannot load it."""
    try:
        model = _core().read_model(_as_compiled(path))
        model.reshape(list(shape))
        return _core().compile_model(model, "CPU", dict(config))
    except RuntimeError as error:
        raise ModelError(f"OpenVINO {ov.__version__} cannot load {path.name}: {error}") from None


def _as_compiled(path: Path) -> Path | bytes:
    """The file itself, or one with an integer tail in the order that suits OpenVINO, which gives the same labels."""
    model = load_onnx(path)
    return model.SerializeToString() if lay_tail_by_pixels(model) else path


class OpenVinoRunner:
    """A deployable ONNX file on OpenVINO's CPU plug-in, compiled for each batch size as it comes.

    `floats` is the type that the graph's float operators run in, "f32" or "bf16": left alone, OpenVINO takes BF16 on
    CPUs with AMX, and a measurement would not say so.
    """

    def __init__(self, path: Path, threads: int = 0, *, floats: str = "f32") -> None:
        self.spec = read_onnx_spec(path)
        if floats != "f32" and needs_exact_float32(path):
            raise ModelError(
                f"{path.name} keeps its labels in whole numbers that need float32, and has hardly any other float work "
                "to speed up. Type --runtime openvino."
            )
        self.runtime = "openvino" if floats == "f32" else f"openvino-{floats}"
        self._path = path
        self._config = cpu_config(threads, floats)
        self._requests: dict[int, ov.InferRequest] = {}
        # The first inference of a process, on one thread: two at once can wait for each other for ever, one for the GIL
        # and one for what pybind11 sets up on first use.
        self.infer(np.zeros((1, self.spec.height, self.spec.width, 3), np.uint8))

    def _request(self, batch: int) -> ov.InferRequest:
        if batch not in self._requests:
            compiled = compile_graph(self._path, [batch, self.spec.height, self.spec.width, 3], self._config)
            self._requests[batch] = compiled.create_infer_request()
        return self._requests[batch]

    def infer(self, images: UInt8Array) -> UInt8Array:
        """Labels uint8 [N, H, W] of images uint8 [N, H, W, 3] BGR."""
        check_images(images, self.spec)
        request = self._request(len(images))
        # Set as a tensor: `infer([images])` takes longer to find out what it was given. The name keeps the memory that
        # the tensor points to.
        whole = np.ascontiguousarray(images)
        request.set_input_tensor(ov.Tensor(whole, shared_memory=True))
        request.infer(share_outputs=True)
        # The request writes the next labels into the same memory.
        labels: UInt8Array = request.get_output_tensor().data.copy()
        return labels

    def __enter__(self) -> "OpenVinoRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._requests
