"""The Runner protocol and the choice of a run-time."""

import importlib
import importlib.util
import platform
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.runners.cpu import lacks_vnni
from edge_seg.runners.engine_file import SUFFIX, read_sidecar
from edge_seg.spec import ModelSpec
from edge_seg.types import UInt8Array
from edge_seg.weights import find_model


class Runner(Protocol):
    """A model on a run-time; a context manager that frees the run-time's memory.

    `infer` takes images uint8 [N, H, W, 3] BGR of the spec's size and returns labels uint8 [N, H, W] in memory that is
    the caller's to keep, with all work of the device done. One thread at a time may call it.
    """

    spec: ModelSpec
    runtime: str

    def infer(self, images: UInt8Array) -> UInt8Array: ...

    def __enter__(self) -> "Runner": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def _open_torch(path: Path, threads: int) -> Runner:
    from edge_seg.runners.torch_runner import TorchRunner

    return TorchRunner(path, threads)


def _open_onnxruntime(path: Path, threads: int) -> Runner:
    from edge_seg.runners.ort_runner import OrtRunner

    return OrtRunner(path, threads)


def _open_onnxruntime_cuda(path: Path, threads: int) -> Runner:
    from edge_seg.runners.ort_runner import CUDA, OrtRunner

    return OrtRunner(path, threads, provider=CUDA, runtime="onnxruntime-cuda")


def _open_onnxruntime_tensorrt(path: Path, threads: int) -> Runner:
    from edge_seg.runners.ort_runner import TENSORRT, OrtRunner

    return OrtRunner(path, threads, provider=TENSORRT, runtime="onnxruntime-tensorrt")


def _open_openvino(path: Path, threads: int) -> Runner:
    from edge_seg.runners.openvino_runner import OpenVinoRunner

    return OpenVinoRunner(path, threads, floats="f32")


def _open_openvino_bf16(path: Path, threads: int) -> Runner:
    from edge_seg.runners.openvino_runner import OpenVinoRunner

    return OpenVinoRunner(path, threads, floats="bf16")


def _open_tensorrt(path: Path, threads: int) -> Runner:
    from edge_seg.runners.trt_runner import TrtRunner

    return TrtRunner(path, threads)


class Runtime(NamedTuple):
    """A run-time: suffix of the artefact it takes, package it needs, what to type where that is missing, and opener.

    `several` runners do more in a second than one: on a CPU each with few threads, on a GPU one's copies beside the
    other's layers. `pairs_in_int16` where it always adds two products of bytes in 16 bits on an x86 CPU without VNNI
    (runners.saturation); `on_gpu` where it needs a GPU that most machines have not. `note` follows
    the line of pip where the package is missing.
    """

    suffix: str
    package: str
    pip: str
    open: Callable[[Path, int], Runner]
    several: int = 1
    pairs_in_int16: bool = False
    on_gpu: bool = False
    note: str = ""


RUNTIMES = {
    "torch": Runtime(".pt", "torch", "edge-seg[train]", _open_torch),
    "onnxruntime": Runtime(".onnx", "onnxruntime", "onnxruntime", _open_onnxruntime, several=4),
    "openvino": Runtime(".onnx", "openvino", "openvino", _open_openvino, several=4, pairs_in_int16=True),
    "openvino-bf16": Runtime(".onnx", "openvino", "openvino", _open_openvino_bf16, several=4, pairs_in_int16=True),
    "onnxruntime-cuda": Runtime(".onnx", "onnxruntime", "onnxruntime-gpu", _open_onnxruntime_cuda, on_gpu=True),
    "onnxruntime-tensorrt": Runtime(".onnx", "onnxruntime", "onnxruntime-gpu", _open_onnxruntime_tensorrt, on_gpu=True),
    "tensorrt": Runtime(
        *(SUFFIX, "tensorrt", "edge-seg[tensorrt]", _open_tensorrt),
        several=2,
        on_gpu=True,
        note=". A Jetson has its own: python3 -m venv --system-site-packages",
    ),
}
"""The run-times by name."""


def open_runner(model: str | Path, runtime: str = "auto", *, threads: int = 0) -> Runner:
    """Open a bundled name or an artefact's path on a run-time; `threads` 0 leaves their number to the run-time.

    ModelError for an artefact that is missing, damaged, not for that run-time or computed wrongly by it on this CPU,
    MissingExtraError where the run-time is not installed.
    """
    path, chosen = choose_runtime(model, runtime)
    if chosen.pairs_in_int16:
        check_vnni(path)
    return chosen.open(path, threads)


def check_vnni(path: Path) -> None:
    """ModelError for a file of 8-bit weights on an x86 CPU without VNNI: OpenVINO would compute it wrongly."""
    if lacks_vnni() and path.suffix == ".onnx":
        from edge_seg.runners.saturation import check_sums

        check_sums(path)


def choose_runtime(model: str | Path, runtime: str = "auto") -> tuple[Path, Runtime]:
    """The artefact's path and its run-time, without opening either; errors as `open_runner`."""
    path = find_model(str(model))
    name = best_runtime(path) if runtime == "auto" else runtime
    if name not in RUNTIMES:
        raise ModelError(f"Unknown run-time {name!r}. Choose auto, {', '.join(RUNTIMES)}.")
    chosen = RUNTIMES[name]
    if path.suffix != chosen.suffix:
        other = f"edge-seg build {path}" if chosen.suffix == SUFFIX and path.suffix == ".onnx" else "--runtime auto"
        raise ModelError(f"The run-time {name} takes {chosen.suffix} files; {path.name} is none. Try {other}.")
    if importlib.util.find_spec(chosen.package) is None:
        raise MissingExtraError(f"The run-time {name} is not installed. Type: pip install '{chosen.pip}'{chosen.note}")
    return path, chosen


def best_runtime(path: Path) -> str:
    """What `auto` is: for ONNX, OpenVINO on x86-64, ONNX Runtime elsewhere; for other files the one that takes them.

    A file that OpenVINO would compute wrongly on this CPU goes to ONNX Runtime too. ModelError for one of no such kind.
    """
    alone = {".pt": "torch", SUFFIX: "tensorrt"}
    if path.suffix in alone:
        return alone[path.suffix]  # installed or not
    if path.suffix != ".onnx":
        raise ModelError(f"No run-time takes {path.name}: expected .onnx, {SUFFIX} or .pt.")
    intel = platform.machine() in ("x86_64", "AMD64") and importlib.util.find_spec("openvino") is not None
    if intel and lacks_vnni():
        from edge_seg.runners.saturation import first_saturating

        intel = first_saturating(path) is None
    return "openvino" if intel else "onnxruntime"


def read_spec(path: Path) -> ModelSpec:
    """The spec inside an artefact; ModelError where it is damaged or keeps another contract."""
    return SPEC_READERS[path.suffix](path)


def _read_checkpoint_spec(path: Path) -> ModelSpec:
    from edge_seg.checkpoint import read_checkpoint

    return read_checkpoint(path)[1]


def _read_onnx_spec(path: Path) -> ModelSpec:
    from edge_seg.runners.contract import read_onnx_spec

    return read_onnx_spec(path)


def _read_engine_spec(path: Path) -> ModelSpec:
    return read_sidecar(path).spec


SPEC_READERS = {".pt": _read_checkpoint_spec, ".onnx": _read_onnx_spec, SUFFIX: _read_engine_spec}
"""How the spec is read, by the artefact's suffix."""
