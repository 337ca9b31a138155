"""TensorRT's calibrators, on pycuda: the second way to INT8, up to TensorRT 10."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from edge_seg.errors import ModelError
from edge_seg.runners.cuda import Device
from edge_seg.types import UInt8Array

KINDS = ("entropy", "min-max")
"""The calibrators by our names: IInt8EntropyCalibrator2 and IInt8MinMaxCalibrator."""

OnError = Callable[[BaseException], None]


def base_of(trt: Any, kind: str) -> Any:  # noqa: ANN401
    """The class of TensorRT that a calibrator derives from; ModelError for an unknown kind."""
    if kind not in KINDS:
        raise ModelError(f"No calibrator {kind!r}. Choose {' or '.join(KINDS)}.")
    return trt.IInt8EntropyCalibrator2 if kind == "entropy" else trt.IInt8MinMaxCalibrator


def calibrator_by_cache(trt: Any, kind: str, cache: bytes) -> Any:  # noqa: ANN401
    """A calibrator of TensorRT that answers from a cache and shows no pictures."""
    return _calibrator(base_of(trt, kind), 1, next_batch=lambda: None, cache=cache, keep=lambda cache: None)


def calibrator_by_pictures(
    trt: Any,  # noqa: ANN401
    kind: str,
    batches: Iterable[UInt8Array],
    device: Device,
    *,
    shape: tuple[int, int, int, int],
    on_cache: Callable[[bytes], None],
    on_error: OnError,
    floats: bool = False,
) -> Any:  # noqa: ANN401
    """A calibrator of TensorRT that shows the pictures of `batches` uint8 of `shape`, within the device's context.

    With `floats` it shows FP32 of the same values, to a float-input twin of the network. A last batch of fewer pictures
    is left out: TensorRT reads as many as the network has. `on_cache` is given what it makes of them. TensorRT takes an
    exception for the end of the pictures, so `on_error` is told of it, and no cache is kept.
    """
    left, failed = iter(batches), False
    # Room for FP32 also where bytes are shown: a TensorRT that reads every binding of a calibration as FP32 would read
    # beyond bytes alone, an illegal address, after which nothing works in that CUDA context any more.
    buffer = device.buffer((math.prod(shape) * np.dtype(np.float32).itemsize,))
    buffer.host.fill(0)
    kind_of_pixel = np.dtype(np.float32 if floats else np.uint8)
    pixels = buffer.host[: math.prod(shape) * kind_of_pixel.itemsize].view(kind_of_pixel).reshape(shape)

    def fail(error: BaseException) -> None:
        nonlocal failed
        failed = True  # the error itself would hold this frame, and with it the buffer
        on_error(error)

    def next_batch() -> int | None:
        try:
            batch = next(left, None)
            if batch is None or batch.shape != shape:
                return None
            np.copyto(pixels, batch)
            if buffer.memory is not None:
                device.cuda.memcpy_htod(buffer.address, buffer.host)
        except BaseException as error:
            fail(error)
            return None
        return buffer.address

    def keep(cache: bytes) -> None:
        try:
            if not failed:
                on_cache(cache)
        except BaseException as error:
            fail(error)

    return _calibrator(base_of(trt, kind), shape[0], next_batch=next_batch, cache=None, keep=keep)


def _calibrator(
    base: Any,  # noqa: ANN401
    size: int,
    *,
    next_batch: Callable[[], int | None],
    cache: bytes | None,
    keep: Callable[[bytes], None],
) -> Any:  # noqa: ANN401
    """An object of a class of TensorRT; `next_batch` gives the device's address of the next pictures.

    Its `has_cache` says whether TensorRT has what it is to learn: it was in `cache`, or it came of the pictures. What
    shows them is the object's own, and goes with it, in the device's context: its class is in a ring with itself, which
    is collected at any time.
    """

    class Calibrator(base):  # type: ignore[misc]
        def __init__(
            self, next_batch: Callable[[], int | None], keep: Callable[[bytes], None], *, has_cache: bool
        ) -> None:
            base.__init__(self)
            self._next_batch, self._keep = next_batch, keep
            self.has_cache = has_cache

        def get_batch_size(self) -> int:
            return size

        def get_batch(self, names: list[str]) -> list[int] | None:
            address = self._next_batch()
            return None if address is None else [address]

        def read_calibration_cache(self) -> bytes | None:
            return cache

        def write_calibration_cache(self, cache: Any) -> None:  # noqa: ANN401
            self._keep(bytes(cache))
            self.has_cache = True

    return Calibrator(next_batch, keep, has_cache=cache is not None)
