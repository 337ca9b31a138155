"""The `tensorrt` package: imported when it is asked for, and what its versions have and have not.

Our code for TensorRT names its objects alike everywhere (`trt`, `builder`, `config`, `network`, `parser`, `engine`,
`context` and so on), so that a test can collect every attribute that it touches and look it up in the bindings of each
generation, 8.5 to 11. What not all of them have stands in OPTIONAL, and is touched only behind `has`.
"""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, TextIO

from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.runners.driver import advice

INSTALL = (
    "On a Jetson it comes with JetPack, for the system's Python: make the environment with python3 -m venv "
    "--system-site-packages. Elsewhere type: pip install 'edge-seg[tensorrt]'"
)

OPTIONAL: dict[str, tuple[str, ...]] = {
    "calibrators": (
        "IInt8EntropyCalibrator2",
        "IInt8MinMaxCalibrator",
        "IBuilderConfig.int8_calibrator",
        "IBuilderConfig.set_calibration_profile",
    ),
    "precision flags": ("BuilderFlag.INT8", "BuilderFlag.FP16"),
    "fast INT8": ("Builder.platform_has_fast_int8",),
    "explicit batch": ("NetworkDefinitionCreationFlag.EXPLICIT_BATCH",),
    "strong typing": ("NetworkDefinitionCreationFlag.STRONGLY_TYPED",),
    "version compatible": ("BuilderFlag.VERSION_COMPATIBLE", "Runtime.engine_host_code_allowed"),
    "tactic memory": ("MemoryPoolType.TACTIC_DRAM",),
    "progress": ("IProgressMonitor", "IBuilderConfig.progress_monitor"),
    "device memory size v2": ("ICudaEngine.device_memory_size_v2",),
    "device memory size": ("ICudaEngine.device_memory_size",),
    "node names in errors": ("ParserError.node_name", "ParserError.node_operator"),
}
"""What some versions lack, by name, with the attributes that stand for it.

8.5 has no version compatible engines and no pool for tactics; calibrators, precision flags, the explicit batch and the
first count of an engine's memory are gone from 11; the other ones came between 8.6 and 10.3.
"""


def import_tensorrt() -> ModuleType:
    """The `tensorrt` package; MissingExtraError where it is not installed, or its libraries do not load."""
    try:
        return importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":
            raise _not_loading(error) from None
        raise MissingExtraError(f"TensorRT is not installed. {INSTALL}") from None
    except (ImportError, OSError) as error:
        raise _not_loading(error) from None


def _not_loading(error: Exception) -> MissingExtraError:
    return MissingExtraError(
        f"TensorRT is installed, but does not load: {error}. Its libraries must be there in the same version, on the "
        "loader's path."
    )


def has(trt: Any, feature: str) -> bool:  # noqa: ANN401
    """Whether this TensorRT has all attributes of a feature in OPTIONAL."""
    return all(_has_attribute(trt, dotted) for dotted in OPTIONAL[feature])


def _has_attribute(found: Any, dotted: str) -> bool:  # noqa: ANN401
    for name in dotted.split("."):
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


MEMORY = ("out of memory", "outofmemory", "requested amount of gpu memory")
"""Words of TensorRT and CUDA where memory has run out."""
INSUFFICIENT = "insufficient workspace"
"""Its words where the limit on a layer's memory is too low."""
CONSEQUENCES = (
    "could not find any implementation",
    "assertion engine != nullptr",
    "engine deserialization failed",
)
"""Words of errors that TensorRT adds at the end, whatever went wrong before."""
NO_CUDA = "CUDA initialization failure"
"""The begin of what TensorRT says, in some versions as a warning, where it cannot start CUDA; a number follows."""


class Log:
    """What TensorRT says: its errors are kept for a message, and all but its chatter is written to `sink`."""

    def __init__(self, sink: TextIO | None = None) -> None:
        self.errors: list[str] = []
        self._sink = sink

    def add(self, severity: str, message: str) -> None:
        """Take a line. One that comes after the sink was closed is kept alone: an error in here ends the process."""
        if severity in ("ERROR", "INTERNAL_ERROR") or NO_CUDA in message:
            self.errors.append(message)
        if self._sink is not None and not self._sink.closed and severity != "VERBOSE":
            print(severity, message, file=self._sink, flush=True)

    @property
    def memory_ran_out(self) -> bool:
        """Whether the last error that tells a cause is about memory: of others before it TensorRT has recovered.

        >>> log = Log()
        >>> for line in ("Cuda Runtime (out of memory)", "Could not find any implementation for node Conv."):
        ...     log.add("ERROR", line)
        >>> log.memory_ran_out
        True
        >>> log.add("ERROR", "Could not find any implementation for node Conv due to insufficient workspace.")
        >>> log.memory_ran_out
        False
        """
        lines = [error.lower() for error in self.errors]
        causes = [line for line in lines if INSUFFICIENT in line or not any(word in line for word in CONSEQUENCES)]
        return bool(causes) and any(word in causes[-1] for word in MEMORY)

    def told(self) -> str:
        """The errors as lines to put below a message."""
        return "".join(f"\n  {error}" for error in self.errors)


def make_logger(trt: Any, log: Log) -> Any:  # noqa: ANN401
    """A logger of TensorRT that fills `log`, and must outlive what it is given to; TensorRT's own prints to stdout."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            log.add(str(severity).rpartition(".")[2], message)

    return Logger()


def start(make: Callable[[Any], Any], logger: Any, log: Log, *, goes_to: str = "") -> Any:  # noqa: ANN401
    """A builder or a runtime, of `trt.Builder` or `trt.Runtime`; ModelError where TensorRT cannot start CUDA.

    `goes_to` is the CUDA version that the driver goes up to, for the message.
    """
    try:
        return make(logger)
    except TypeError as error:  # of the bindings, where TensorRT gives nothing
        if "nullptr" not in str(error):
            raise
        known = advice(log.told(), goes_to=goes_to) or "Look whether nvidia-smi finds the GPU and its driver."
        raise ModelError(f"TensorRT does not start.{log.told()}\n{known}") from None
