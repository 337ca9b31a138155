"""The GPU bench on the fake GPU, with little to do: its rows' processes are this program too.

    FAKE_TENSORRT=8.6.1 python tests/tensorrt/drive_bench.py WORDS...      # the bench's own words

In the environment FAKE_WAYS names the ways that there are, with semicolons between, and FAKE_FAULT a part that ends the
process as a fault in a library does, such as edge-seg-n.FP16.1.times. Where ONNX Runtime is not installed, of which the
fake's labels are, all labels are 0.
"""

import importlib.util
import os
import signal
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "gpu"))

import numpy as np
import onnx


def main() -> None:
    """Put the fake into this process, and run the bench."""
    if importlib.util.find_spec("onnxruntime") is None:
        sys.modules["onnxruntime"] = onnxruntime = ModuleType("onnxruntime")
        onnxruntime.InferenceSession = Blank  # type: ignore[attr-defined]
    install(os.environ["FAKE_TENSORRT"])
    import bench
    import gpu_timing

    bench.BATCHES = (1, 2)
    ways, part = os.environ.get("FAKE_WAYS", ";".join(bench.WAYS)), os.environ.get("FAKE_FAULT")
    bench.WAYS = {name: bench.WAYS[name] for name in ways.split(";")}
    for name, value in {"CALLS": 2, "CALLS_OF_ONE": 2, "ROUNDS": 2, "WARM_UP": 1, "WARM_UP_S": 0.0}.items():
        setattr(gpu_timing, name, value)
    gpu_timing.ENQUEUE_S = gpu_timing.LOOP_S = 0.01
    time_engine = bench.time_engine

    def time_or_die(engine: Path, batch: int) -> dict[str, Any]:
        if part == f"{engine.stem}.times":
            os.kill(os.getpid(), signal.SIGSEGV)
        return time_engine(engine, batch)

    bench.time_engine = time_or_die
    bench.main()


class Blank:
    """A session that labels all pixels 0."""

    def __init__(self, model: bytes, providers: Any = None) -> None:  # noqa: ANN401
        onnx.load_model_from_string(model)

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        return [np.zeros(feeds["image"].shape[:3], np.uint8)]


def install(version: str) -> None:
    """The fakes in the place of TensorRT and pycuda."""
    import fake

    cuda = fake.Cuda(mb=10_000)
    package = ModuleType("pycuda")
    package.__spec__ = ModuleSpec("pycuda", None)
    package.driver = cuda  # type: ignore[attr-defined]
    sys.modules |= {"tensorrt": fake.make_tensorrt(cuda, version), "pycuda": package, "pycuda.driver": cuda}
    sys.modules |= {"cuda.bindings.driver": None, "cuda.cuda": None}  # type: ignore[dict-item]


if __name__ == "__main__":
    main()
