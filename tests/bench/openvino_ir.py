"""OpenVINO's own files (.xml and .bin) as artefacts, for what the peers write: the package itself reads ONNX alone.

    python tests/bench/openvino_ir.py PATH RUNTIME THREADS BATCH

answers as `python -m edge_seg.runners.timed` does, the program of `timed_process`, for an IR file too.
"""

import runpy
from pathlib import Path
from types import TracebackType

import numpy as np
import openvino as ov

from edge_seg.runners.base import RUNTIMES, Runtime
from edge_seg.runners.contract import check_images
from edge_seg.spec import parse_spec
from edge_seg.types import UInt8Array

RUNTIME = "openvino-ir"


class IrRunner:
    """An IR file of the deploy contract with a batch of one, compiled with the settings of `OpenVinoRunner`.

    Its integer tail stays in the order that the file has. Its spec lies beside it, in a file that ends in .spec.json.
    """

    runtime = RUNTIME

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.spec = parse_spec(path.with_suffix(".spec.json").read_text())
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": "NO"}
        if threads:
            config["INFERENCE_NUM_THREADS"] = str(threads)
        self._core = ov.Core()
        self._request = self._core.compile_model(self._core.read_model(path), "CPU", config).create_infer_request()

    def infer(self, images: UInt8Array) -> UInt8Array:
        """Labels uint8 [1, H, W] of images uint8 [1, H, W, 3] BGR."""
        check_images(images, self.spec)
        self._request.infer([np.ascontiguousarray(images)], share_inputs=True, share_outputs=True)
        labels: UInt8Array = self._request.get_output_tensor().data.copy()
        return labels

    def __enter__(self) -> "IrRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._request


def register() -> None:
    """Let `open_runner` take IR files, in this process."""
    RUNTIMES[RUNTIME] = Runtime(".xml", "openvino", "openvino", IrRunner)


if __name__ == "__main__":
    register()
    runpy.run_module("edge_seg.runners.timed", run_name="__main__")
