"""A CUDA device by pycuda: its primary context, which PyTorch and TensorRT share, and memory to copy through.

`pycuda.autoinit` would make a context of its own beside the primary one. Here that one is retained, and pushed for the
length of each call, so that a runner can be made on one thread and used on another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from edge_seg.errors import MissingExtraError, ModelError
from edge_seg.types import UInt8Array


class Device:
    """The first CUDA device. ModelError where there is none or its driver fails; MissingExtraError without pycuda."""

    def __init__(self) -> None:
        try:
            import pycuda.driver as cuda  # type: ignore[import-not-found,unused-ignore]
        except ModuleNotFoundError:
            raise MissingExtraError(
                "TensorRT engines need pycuda, which is not installed. It is compiled on the machine, with CUDA's "
                "headers. Type: pip install pycuda"
            ) from None
        self.cuda: Any = cuda
        try:
            cuda.init()
            self._device = cuda.Device(0)
        except cuda.Error as error:
            raise ModelError(
                f"No CUDA device can be used: {error}. TensorRT engines need an NVIDIA GPU and its driver (nvidia-smi "
                "tells). Without one: edge-seg run --runtime openvino, or onnxruntime"
            ) from None
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
        version = self.cuda.get_driver_version()
        return f"{version // 1000}.{version % 1000 // 10}"

    @property
    def shares_memory(self) -> bool:
        """True where CPU and GPU have the same memory, as on a Jetson: nothing has to be copied then."""
        return bool(self._device.get_attribute(self.cuda.device_attribute.INTEGRATED))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context that of this thread while the block runs."""
        self._context.push()
        try:
            yield
        finally:
            self.cuda.Context.pop()

    def stream(self) -> Any:  # noqa: ANN401
        """A new stream: the default one would wait for all other ones."""
        return self.cuda.Stream()

    def buffer(self, shape: tuple[int, ...]) -> "Buffer":
        """Page-locked bytes and their place on the device, within `current`; ModelError where memory is out."""
        try:
            if self.shares_memory:
                flags = self.cuda.host_alloc_flags.DEVICEMAP
                host = self.cuda.pagelocked_empty(shape, np.uint8, mem_flags=flags)
                return Buffer(host, None, int(host.base.get_device_pointer()))
            host = self.cuda.pagelocked_empty(shape, np.uint8)
            memory = self.cuda.mem_alloc(host.nbytes)
        except self.cuda.MemoryError as error:
            raise ModelError(
                f"The GPU has no {np.prod(shape) / 1e6:.0f} MB left ({error}). Close what else uses it, or take a "
                "smaller batch."
            ) from None
        return Buffer(host, memory, int(memory))


class Buffer(NamedTuple):
    """Page-locked bytes uint8 of the CPU, the device's memory (None where both share it), and its address there."""

    host: UInt8Array
    memory: Any
    address: int
