"""CUDA without a GPU: its contexts, streams and memory bite where the real ones would misbehave without a word."""

import threading
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np


class Cuda:
    """What `edge_seg.runners.cuda` touches of pycuda.driver."""

    class Error(Exception):
        """pycuda's own."""

    class MemoryError(Error):
        """Where memory is out."""

    class host_alloc_flags:
        """Flags."""

        DEVICEMAP = 2

    class device_attribute:
        """Attributes."""

        INTEGRATED = 18

    def __init__(
        self, *, devices: int = 1, sm: tuple[int, int] = (9, 0), integrated: bool = False, mb: int = 100
    ) -> None:
        self.devices, self.sm, self.integrated = devices, sm, integrated
        self.mb, self.left = mb, mb * 1_000_000
        self.thread = threading.local()
        self.memory: dict[int, np.ndarray[Any, Any]] = {}
        self.streams: dict[int, Stream] = {}
        self.locked: list[weakref.ref[Any]] = []
        self.Context = SimpleNamespace(pop=self.pop)

    @property
    def depth(self) -> int:
        """How many contexts are on this thread's stack."""
        return getattr(self.thread, "depth", 0)

    def init(self) -> None:
        if not self.devices:
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    def Device(self, number: int) -> Any:  # noqa: ANN401
        assert number == 0
        context = SimpleNamespace(push=self.push)
        return SimpleNamespace(
            name=lambda: "Fake GPU",
            compute_capability=lambda: self.sm,
            get_attribute=lambda attribute: int(attribute == 18 and self.integrated),
            retain_primary_context=lambda: context,
        )

    def get_driver_version(self) -> int:
        return 12060

    def push(self) -> None:
        self.thread.depth = self.depth + 1

    def pop(self) -> None:
        self.thread.depth = self.depth - 1
        assert self.depth >= 0

    def inside(self) -> None:
        """Bites outside of a context."""
        assert self.depth > 0, "invalid device context"

    def Stream(self, flags: int = 0) -> "Stream":
        self.inside()
        stream = Stream(self, 77 + len(self.streams), blocking=not flags & 1)
        self.streams[stream.handle] = stream
        return stream

    def pagelocked_empty(self, shape: Any, dtype: Any, mem_flags: int = 0) -> Any:  # noqa: ANN401
        self.inside()
        array = np.full(shape, 99, dtype).view(PageLocked)
        array.address = self.place(np.asarray(array)) if mem_flags else 0
        self.locked.append(weakref.ref(array))
        return array

    def check_locked(self, host: Any) -> None:  # noqa: ANN401
        """Bites where bytes of the CPU lie elsewhere, also where they are a copy of page-locked ones."""
        known = (array() for array in self.locked)
        found = any(array is not None and np.may_share_memory(host, array) for array in known)
        assert found, "a pageable copy is not asynchronous"

    def mem_alloc(self, size: int) -> int:
        self.inside()
        if size > self.left:
            raise self.MemoryError("out of memory")
        self.left -= size
        return self.place(np.full(size, 98, np.uint8))

    def mem_get_info(self) -> tuple[int, int]:
        self.inside()
        return self.left, self.mb * 1_000_000

    def place(self, array: Any) -> int:  # noqa: ANN401
        """A made-up address of memory."""
        address = 4096 * (len(self.memory) + 1)
        self.memory[address] = array.reshape(-1)
        return address

    def memcpy_htod_async(self, address: int, host: Any, stream: Any) -> None:  # noqa: ANN401
        self.inside()
        self.check_locked(host)
        stream.pending.append(
            lambda: self.memory[address].__setitem__(slice(host.nbytes), np.asarray(host).reshape(-1))
        )

    def memcpy_htod(self, address: int, host: Any) -> None:  # noqa: ANN401
        self.inside()
        self.memory[address][: host.nbytes] = np.asarray(host).reshape(-1)

    def memcpy_dtoh_async(self, host: Any, address: int, stream: Any) -> None:  # noqa: ANN401
        self.inside()
        self.check_locked(host)
        target = np.asarray(host).reshape(-1)
        stream.pending.append(lambda: target.__setitem__(slice(None), self.memory[address][: target.size]))


class Stream:
    """Work that is done when it is waited for; a `blocking` one waits for the default stream, and that for it."""

    def __init__(self, cuda: Cuda, handle: int, *, blocking: bool) -> None:
        self.cuda, self.handle, self.blocking = cuda, handle, blocking
        self.pending: list[Any] = []

    def synchronize(self) -> None:
        self.cuda.inside()
        for work in self.pending:
            work()
        self.pending.clear()


class PageLocked(np.ndarray):  # type: ignore[type-arg]
    """An array that knows its address on the device."""

    address = 0

    @property
    def base(self) -> Any:  # type: ignore[override]  # noqa: ANN401
        found = super().base
        return SimpleNamespace(get_device_pointer=lambda: self.address) if self.address else found
