"""TensorRT's calibrators, on pycuda: the second way to INT8, up to TensorRT 10."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from edge_seg.errors import ModelError
from edge_seg.runners.cuda import Device
from edge_seg.runners.tensorrt_api import has
from edge_seg.types import UInt8Array

KINDS = {"entropy": "IInt8EntropyCalibrator2", "min-max": "IInt8MinMaxCalibrator"}
"""The calibrators by our names."""


def make_calibrator(
    trt: Any,  # noqa: ANN401
    kind: str,
    *,
    batches: Iterable[UInt8Array] = (),
    device: Device | None = None,
    cache: bytes | None = None,
    on_cache: Callable[[bytes], None] = lambda cache: None,
) -> Any:  # noqa: ANN401
    """A calibrator of TensorRT that answers from a `cache`, or else shows the pictures of `batches` on `device`.

    Batches are uint8 [N, H, W, 3], all of one N; the last, where it is smaller, is left out, as TensorRT wants batches
    of one size. `on_cache` is given what TensorRT makes of the pictures. It must be made and used within the device's
    context. ModelError for an unknown kind, and where this TensorRT has no calibrators (11).
    """
    if kind not in KINDS:
        raise ModelError(f"No calibrator {kind!r}. Choose {' or '.join(KINDS)}.")
    if not has(trt, "calibrators"):
        raise ModelError(
            f"TensorRT {trt.__version__} has no calibrators any more. Write Q/DQ nodes instead: "
            "edge-seg quantize MODEL --target tensorrt"
        )
    base: Any = trt.IInt8EntropyCalibrator2 if kind == "entropy" else trt.IInt8MinMaxCalibrator
    feed = _Feed(batches, device)

    class Calibrator(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def get_batch_size(self) -> int:
            return feed.size

        def get_batch(self, names: list[str]) -> list[int] | None:
            return feed.next()

        def read_calibration_cache(self) -> bytes | None:
            return cache

        def write_calibration_cache(self, cache: Any) -> None:  # noqa: ANN401
            on_cache(bytes(cache))

    return Calibrator()


class _Feed:
    """Batches on their way to the device, one at a time."""

    def __init__(self, batches: Iterable[UInt8Array], device: Device | None) -> None:
        self._batches = iter(batches)
        self._device = device
        self._first = next(self._batches, None)
        self.size = 1 if self._first is None else len(self._first)
        self._buffer = None if self._first is None or device is None else device.buffer(self._first.shape)

    def next(self) -> list[int] | None:
        """The device's address of the next whole batch; None after the last."""
        batch, self._first = self._first, None
        batch = next(self._batches, None) if batch is None else batch
        if batch is None or len(batch) < self.size or self._buffer is None or self._device is None:
            return None
        np.copyto(self._buffer.host, batch)
        if self._buffer.memory is not None:
            self._device.cuda.memcpy_htod(self._buffer.address, self._buffer.host)
        return [self._buffer.address]
