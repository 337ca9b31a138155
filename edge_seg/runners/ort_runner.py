"""ONNX Runtime, on the CPU or by one of its providers for GPUs."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import TracebackType

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.runners.contract import check_images, read_onnx_spec
from edge_seg.runners.cpu import lacks_vnni
from edge_seg.types import UInt8Array

ORT_ERRORS = tuple(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""Every exception that ONNX Runtime raises: they have no common base of their own."""

# A thread that spins from one layer to the next answers sooner; one that spins on after the picture takes the cores
# from capture and drawing. Before 1.26 ONNX Runtime's threads spin for milliseconds or not at all.
_BOUNDED_SPIN = tuple(int(part) for part in ort.__version__.split(".")[:2]) >= (1, 26)
_SPINNING = ("spin_duration_us", "200") if _BOUNDED_SPIN else ("allow_spinning", "0")

EXACT = ("session.x64quantprecision", "1")
"""The setting by which int8 weights beyond 64 are taken as uint8, whose sums no x86 CPU saturates (runners.saturation).

Other files run as without it. With VNNI it would only slow down."""


def session_options(threads: int) -> ort.SessionOptions:
    """The options that every session here is run with, timed or not."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry(f"session.intra_op.{_SPINNING[0]}", _SPINNING[1])
    if lacks_vnni():
        options.add_session_config_entry(*EXACT)
    return options


def untimed_options() -> ort.SessionOptions:
    """The options of a session that looks at tensors: its threads never spin, its sums are exact on every CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if lacks_vnni():
        options.add_session_config_entry(*EXACT)
    return options


CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
FALLBACKS = {CUDA: (CPU,), TENSORRT: (CUDA, CPU)}


def open_session(
    model: Path | bytes, options: ort.SessionOptions, name: str, *, provider: str = CPU
) -> ort.InferenceSession:
    """A session of one provider; another GPU provider, then the CPU's, takes what that cannot.

    ModelError, which calls the model `name`, where ONNX Runtime cannot load it.
    """
    try:
        return ort.InferenceSession(model, options, providers=[provider, *FALLBACKS.get(provider, ())])
    except ORT_ERRORS as error:
        raise ModelError(f"ONNX Runtime {ort.__version__} cannot load {name}: {error}") from None


def check_provider(provider: str) -> None:
    """MissingExtraError where the installed onnxruntime has no such provider, and where two are installed."""
    packages = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(packages) == 2:
        raise MissingExtraError(
            "Both onnxruntime and onnxruntime-gpu are installed, and each writes over the other's files. Type: "
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        )
    if provider not in ort.get_available_providers():
        raise MissingExtraError(
            f"The onnxruntime that is installed has no {provider}. Type: pip uninstall -y onnxruntime && pip install "
            "onnxruntime-gpu"
        )


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


class OrtRunner:
    """A deployable ONNX file on ONNX Runtime: on the CPU, or by another `provider`, whose run-time has its own name."""

    def __init__(self, path: Path, threads: int = 0, *, provider: str = CPU, runtime: str = "onnxruntime") -> None:
        self.runtime = runtime
        self.spec = read_onnx_spec(path)
        if provider != CPU:
            check_provider(provider)
        self._session = open_session(path, session_options(threads), path.name, provider=provider)
        if self._session.get_providers()[0] != provider:  # it goes on without one whose libraries do not load
            raise ModelError(
                f"ONNX Runtime could not start {provider}; what it said stands above. CUDA, cuDNN and TensorRT must be "
                "those that the installed onnxruntime-gpu was built with."
            )

    def infer(self, images: UInt8Array) -> UInt8Array:
        """Labels uint8 [N, H, W] of images uint8 [N, H, W, 3] BGR."""
        check_images(images, self.spec)
        labels: UInt8Array = self._session.run(["labels"], {"image": images})[0]
        return labels

    def __enter__(self) -> "OrtRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._session
