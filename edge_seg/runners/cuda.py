"""A CUDA device by pycuda: its primary context, which PyTorch and TensorRT share, and memory to copy through.

`pycuda.autoinit` would make a context of its own beside the primary one. Here that one is retained, once for the whole
process, and pushed for the length of each call, so that a runner can be made on one thread and used on another.
"""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.runners.driver import advice
from edge_seg.types import UInt8Array

LESS_MEMORY = "Close what else uses the GPU, or build the engine for fewer pictures at a time: edge-seg build --batch 1"

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING, for which pycuda has no name.

Of a stream without it a graph cannot be recorded beside other work: whoever uses the default stream meanwhile, on any
thread, fails with error 906 (CUDA_ERROR_STREAM_CAPTURE_IMPLICIT), since that stream would have to wait for this one.
"""

MEMINFO = Path("/proc/meminfo")

NEEDS_GPU = "TensorRT engines need an NVIDIA GPU and its driver (nvidia-smi tells)."


class Device:
    """The first CUDA device; `open_device` gives the one of this process."""

    def __init__(self, cuda: Any) -> None:  # noqa: ANN401
        self.cuda = cuda
        cuda.init()
        self._device = cuda.Device(0)
        self._context = self._device.retain_primary_context()

    @property
    def name(self) -> str:
        """The GPU's name, such as NVIDIA H200."""
        return str(self._device.name())

    @property
    def sm(self) -> str:
        """The compute capability, such as 8.7."""
        major, minor = self._device.compute_capability()
        return f"{major}.{minor}"

    @property
    def driver(self) -> str:
        """The CUDA version that the driver goes up to, such as 12.6."""
        return _goes_to(self.cuda)

    @property
    def shares_memory(self) -> bool:
        """True where CPU and GPU have the same memory, as on a Jetson: nothing goes from one to the other then."""
        return bool(self._device.get_attribute(self.cuda.device_attribute.INTEGRATED))

    def free_memory(self) -> int:
        """Bytes on the GPU that nobody has taken yet, within `current`.

        Where CPU and GPU share their memory, what Linux would give up for them counts too, such as copies of files.
        """
        free = int(self.cuda.mem_get_info()[0])
        return max(free, _available(MEMINFO)) if self.shares_memory else free

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context that of this thread while the block runs."""
        self._context.push()
        try:
            yield
        finally:
            self.cuda.Context.pop()

    def stream(self) -> Any:  # noqa: ANN401
        """A new stream that neither waits for the default one nor holds it up. ModelError where memory is out."""
        with self.memory_of("a stream"):
            return self.cuda.Stream(NON_BLOCKING)

    def buffer(self, shape: tuple[int, ...]) -> "Buffer":
        """Page-locked bytes and their place on the device, within `current`; ModelError where memory is out."""
        with self.memory_of(f"{np.prod(shape) / 1e6:.1f} MB on the GPU and as many page-locked ones"):
            if self.shares_memory:
                flags = self.cuda.host_alloc_flags.DEVICEMAP
                host = self.cuda.pagelocked_empty(shape, np.uint8, mem_flags=flags)
                return Buffer(host, None, int(host.base.get_device_pointer()))
            host = self.cuda.pagelocked_empty(shape, np.uint8)
            memory = self.cuda.mem_alloc(host.nbytes)
            return Buffer(host, memory, int(memory))

    @contextmanager
    def memory_of(self, what: str) -> Iterator[None]:
        """ModelError, which says what it was for, where memory runs out in the block."""
        try:
            yield
        except self.cuda.MemoryError as error:
            raise ModelError(f"No memory is left for {what} ({error}). {LESS_MEMORY}") from None


class Buffer(NamedTuple):
    """Page-locked bytes uint8 of the CPU, the device's memory (None where both share it), and its address there."""

    host: UInt8Array
    memory: Any
    address: int


def open_device() -> Device:
    """This process's CUDA device. ModelError where there is none or its driver fails; MissingExtraError without pycuda.

    One for all: pycuda leaves an entry on the driver's stack of contexts for each that is given up.
    """
    try:
        import pycuda.driver as cuda  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"TensorRT engines need pycuda, which is not whole here ({error}). It is compiled on the machine, with "
            "CUDA's headers. Type: pip install pycuda"
        ) from None
    except ImportError as error:  # of libcuda, which comes with the driver
        raise _no_device(error) from None
    try:
        return _device_of(cuda)
    except cuda.Error as error:
        raise _no_device(error, goes_to=_goes_to(cuda)) from None


@functools.cache
def _device_of(cuda: Any) -> Device:  # noqa: ANN401
    return Device(cuda)


def _goes_to(cuda: Any) -> str:  # noqa: ANN401
    """The CUDA version that the driver goes up to; told also where it does not start, "" where even that fails."""
    try:
        version = int(cuda.get_driver_version())
    except cuda.Error:  # of the library that is there to compile against
        return ""
    return f"{version // 1000}.{version % 1000 // 10}"


def _available(meminfo: Path) -> int:
    """Bytes that new programs could have; 0 where the system does not tell."""
    told = re.search(r"^MemAvailable: +(\d+) kB$", meminfo.read_text() if meminfo.is_file() else "", re.MULTILINE)
    return int(told[1]) * 1024 if told else 0


def _no_device(error: Exception, *, goes_to: str = "") -> ModelError:
    known = advice(str(error), goes_to=goes_to)
    return ModelError(
        f"No CUDA device can be used: {error}. {known or NEEDS_GPU} "
        "Without one: edge-seg run --runtime openvino, or onnxruntime"
    )
