"""TensorRT engines on pycuda."""

from pathlib import Path
from types import TracebackType
from typing import Any

from edge_seg.errors import ModelError
from edge_seg.runners.contract import check_images
from edge_seg.runners.cuda import Buffer, Device
from edge_seg.runners.engine_file import Sidecar, read_engine
from edge_seg.runners.tensorrt_api import has, import_tensorrt
from edge_seg.types import UInt8Array

TENSORS = ("image", "labels")
"""The contract's tensors by name, in the order of `image in, labels out`."""


class TrtRunner:
    """An engine with its sidecar, on the first CUDA device.

    Each runner has its own stream and buffers: two of them, each on a thread, overlap the copies of one picture with
    the layers of the other. ModelError for an engine that is damaged or was built for another TensorRT or GPU.
    """

    runtime = "tensorrt"

    def __init__(self, path: Path, threads: int = 0) -> None:
        content, sidecar = read_engine(path)
        trt = import_tensorrt()
        self._device = Device()
        check_fit(path, sidecar, tensorrt=trt.__version__, sm=self._device.sm)
        self.spec, self._most = sidecar.spec, sidecar.fingerprint.batch[2]
        self._least = sidecar.fingerprint.batch[0]
        with self._device.current():
            self._logger = trt.Logger(trt.Logger.ERROR)
            self._engine = load_engine(trt, self._logger, content, path)
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise ModelError(f"The GPU has no memory left for {path.name}. Close what else uses it.")
            self._stream = self._device.stream()
            height, width = self.spec.height, self.spec.width
            self._image = self._device.buffer((self._most, height, width, 3))
            self._labels = self._device.buffer((self._most, height, width))
            for name, buffer in zip(TENSORS, (self._image, self._labels), strict=True):
                self._context.set_tensor_address(name, buffer.address)

    def infer(self, images: UInt8Array) -> UInt8Array:
        """Labels uint8 [N, H, W] of images uint8 [N, H, W, 3] BGR; ModelError for a batch that is not in the engine."""
        check_images(images, self.spec)
        count = len(images)
        if not self._least <= count <= self._most:
            raise ModelError(
                f"The engine takes {self._least} to {self._most} pictures at a time, not {count}. Build one that does: "
                f"edge-seg build MODEL.onnx --batch 1,{count},{count}"
            )
        with self._device.current():
            self._image.host[:count] = images
            self._copy_in(self._image, count)
            self._context.set_input_shape("image", images.shape)
            if not self._context.execute_async_v3(self._stream.handle):
                raise ModelError("TensorRT could not run the engine; what it said stands above.")
            self._copy_out(self._labels, count)
            self._stream.synchronize()
            labels: UInt8Array = self._labels.host[:count].copy()  # the next pictures' labels go to the same memory
        return labels

    def _copy_in(self, buffer: Buffer, count: int) -> None:
        if buffer.memory is not None:
            self._device.cuda.memcpy_htod_async(buffer.address, buffer.host[:count], self._stream)

    def _copy_out(self, buffer: Buffer, count: int) -> None:
        if buffer.memory is not None:
            self._device.cuda.memcpy_dtoh_async(buffer.host[:count], buffer.address, self._stream)

    def __enter__(self) -> "TrtRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._device.current():  # TensorRT frees its memory in the context that it took it in, and in this order
            self._stream.synchronize()
            del self._context
            del self._engine
            del self._image, self._labels, self._stream


def check_fit(path: Path, sidecar: Sidecar, *, tensorrt: str, sm: str) -> None:
    """ModelError where the engine was built for another TensorRT or another GPU architecture than this machine's.

    A version compatible engine runs on the next generation too (8 on 10, 10 on 11); TensorRT itself judges that.
    """
    built = sidecar.fingerprint
    other_version = built.tensorrt != tensorrt and "version-compatible" not in built.flags
    if other_version or built.sm != sm:
        raise ModelError(
            f"{path.name} was built for TensorRT {built.tensorrt} on {built.gpu} (sm {built.sm}); here is TensorRT "
            f"{tensorrt} on sm {sm}. Build it here: edge-seg build MODEL.onnx --out {path}"
        )


def load_engine(trt: Any, logger: Any, content: bytes, path: Path) -> Any:  # noqa: ANN401
    """The engine of a plan, within a context; ModelError where TensorRT refuses it."""
    runtime = trt.Runtime(logger)
    if has(trt, "version compatible"):
        runtime.engine_host_code_allowed = True  # the hash in the sidecar is that of the build
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise ModelError(
            f"TensorRT cannot load {path}; what it said stands above. Build it again: edge-seg build MODEL.onnx"
        )
    return engine
