"""ONNX Runtime, on the CPU or by one of its providers for GPUs."""

import functools
import logging
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import TracebackType

import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.runners.artefact_files import files_of, hash_of
from edge_seg.runners.contract import check_contract, check_images, load_onnx
from edge_seg.runners.cpu import lacks_vnni
from edge_seg.runners.engine_file import cache_folder
from edge_seg.runners.tensorrt_api import import_tensorrt
from edge_seg.types import UInt8Array

_log = logging.getLogger(__name__)

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
    model: Path | bytes,
    options: ort.SessionOptions,
    name: str,
    *,
    provider: str = CPU,
    settings: Mapping[str, str] | None = None,
) -> ort.InferenceSession:
    """A session of one provider with its `settings`; another GPU provider, then the CPU's, takes what that cannot.

    ModelError, which calls the model `name`, where ONNX Runtime cannot load it.
    """
    try:
        providers = [(provider, dict(settings or {})), *FALLBACKS.get(provider, ())]
        return ort.InferenceSession(model, options, providers=providers)
    except ORT_ERRORS as error:
        raise ModelError(f"ONNX Runtime {ort.__version__} cannot load {name}: {error}") from None


def tensorrt_settings(path: Path, model: onnx.ModelProto) -> dict[str, str]:
    """The TensorRT provider's settings for a file: engines and timings are kept, and its own types may be used.

    Each file has a folder by its hash and that of weights beside it: the provider tells engines apart by file name,
    graph, versions and GPU, not by weights. Its networks are weakly typed: without the flags the builder refuses Q/DQ
    nodes and FP16 tensors. ModelError for weights that are not there.
    """
    engines = cache_folder(f"onnxruntime-tensorrt/{ort.__version__}/{hash_of(files_of(path))[:16]}")
    short = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    half = any(weights.data_type == onnx.TensorProto.FLOAT16 for weights in model.graph.initializer)
    return {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(engines.parent),
        "trt_int8_enable": str(short),
        "trt_fp16_enable": str(half),
    }


BOTH = "Both onnxruntime and onnxruntime-gpu are installed, and each writes over the other's files. Type: "
ONE = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime"


def check_provider(provider: str) -> None:
    """MissingExtraError where the installed onnxruntime has no such provider, and where two are installed."""
    if _are_both_installed():
        raise MissingExtraError(f"{BOTH}{ONE}-gpu")
    if provider not in ort.get_available_providers():
        raise MissingExtraError(
            f"The onnxruntime that is installed has no {provider}. Type: pip uninstall -y onnxruntime && pip install "
            "onnxruntime-gpu"
        )


@functools.cache
def tell_of_both() -> None:
    """A line in the log, once, where two packages are installed: on the CPU either does, unless its files are mixed."""
    if _are_both_installed():
        _log.warning("%s%s", BOTH, ONE)


def load_libraries(provider: str) -> None:
    """Load what a provider needs of packages that pip installed, where the system's loader does not look.

    Whatever is not there, the provider may find elsewhere; where it does not, it does not start, which is told then.
    """
    preload = getattr(ort, "preload_dlls", None)  # from 1.21 on: CUDA and cuDNN
    if preload is not None:
        with redirect_stdout(sys.stderr):  # where it says what it did not find
            preload()
    if provider == TENSORRT:
        with suppress(MissingExtraError):
            import_tensorrt()


def _are_both_installed() -> bool:
    return all(_is_installed(name) for name in ("onnxruntime", "onnxruntime-gpu"))


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


class OrtRunner:
    """A deployable ONNX file on ONNX Runtime: on the CPU, or by another `provider`, whose run-time has its own name."""

    def __init__(self, path: Path, threads: int = 0, *, provider: str = CPU, runtime: str = "onnxruntime") -> None:
        self.runtime, self._name = runtime, path.name
        model = load_onnx(path)
        self.spec = check_contract(model, str(path))
        if provider == CPU:
            tell_of_both()
        else:
            check_provider(provider)
            load_libraries(provider)
        settings = tensorrt_settings(path, model) if provider == TENSORRT else None
        self._session = open_session(path, session_options(threads), path.name, provider=provider, settings=settings)
        if self._session.get_providers()[0] != provider:  # it goes on without one whose libraries do not load
            raise ModelError(
                f"ONNX Runtime could not start {provider}; what it said stands above. CUDA, cuDNN and TensorRT must be "
                "those that the installed onnxruntime-gpu was built with."
            )

    def infer(self, images: UInt8Array) -> UInt8Array:
        """Labels uint8 [N, H, W] of images uint8 [N, H, W, 3] BGR; ModelError where the graph cannot be computed."""
        check_images(images, self.spec)
        try:
            labels: UInt8Array = self._session.run(["labels"], {"image": images})[0]
        except ORT_ERRORS as error:
            raise ModelError(f"ONNX Runtime {ort.__version__} cannot run {self._name}: {error}") from None
        return labels

    def __enter__(self) -> "OrtRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._session
