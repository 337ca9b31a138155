"""TensorRT engines on pycuda."""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_seg.errors import ModelError
from edge_seg.runners.contract import check_images
from edge_seg.runners.cuda import LESS_MEMORY, Device, open_device
from edge_seg.runners.cuda_graph import Graph, import_driver
from edge_seg.runners.engine_file import Fingerprint, read_whole_engine, this_system
from edge_seg.runners.tensorrt_api import Log, has, import_tensorrt, make_logger, start
from edge_seg.types import UInt8Array

VERSION_COMPATIBLE = "version-compatible"
"""The flag of engines that the next generation of TensorRT runs too."""

BUILD = "edge-seg build MODEL.onnx"


class TrtRunner:
    """An engine with its sidecar, on the first CUDA device.

    `infer` gives back finished labels, so that one runner has one batch at a time. Each has a stream and page-locked
    buffers of its own, and waits without Python's lock: of two runners, each on a thread, one's pictures are copied in
    and its labels out while the other's layers run. That is the double buffer of a stream of frames, as `edge-seg run`
    has it for files by `open_segmenters`; of a camera only the newest frame counts, and a second buffer would make it
    older. Batches of one size after the first are one CUDA graph where cuda-python is installed, and `graphs` is True:
    who looks at layers one by one wants none.

    ModelError for an engine that is damaged or was built for another TensorRT, GPU architecture or operating system.
    """

    runtime = "tensorrt"

    def __init__(self, path: Path, threads: int = 0, *, graphs: bool = True) -> None:
        content, sidecar = read_whole_engine(path)
        trt, self._device = import_tensorrt(), open_device()
        self.spec, built = sidecar.spec, sidecar.fingerprint
        check_fit(path, built, tensorrt=trt.__version__, sm=self._device.sm)
        self._driver = import_driver() if graphs else None
        self._log = Log()
        self._logger = make_logger(trt, self._log)
        with self._device.current():
            try:
                self._open(trt, content, path, built)
            except BaseException:
                self._free()  # in the device's context, not whenever Python gets to it
                raise

    def _open(self, trt: Any, content: bytes, path: Path, built: Fingerprint) -> None:  # noqa: ANN401
        self._engine = self._load(trt, content, path, built)
        self._least, self._most = self._check_shapes(path)
        self._count = 0
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise ModelError(f"The GPU has no memory left for {path.name}. {LESS_MEMORY}{self._log.told()}")
        self._stream = self._device.stream()
        self._graph = Graph(self._driver, self._device.cuda, self._stream)
        height, width = self.spec.height, self.spec.width
        self._image = self._device.buffer((self._most, height, width, 3))
        self._labels = self._device.buffer((self._most, height, width))
        for tensor, buffer in (("image", self._image), ("labels", self._labels)):
            if not self._context.set_tensor_address(tensor, buffer.address):
                raise ModelError(f"TensorRT does not take the memory of {tensor}.{self._log.told()}")

    @property
    def device(self) -> Device:
        """The GPU, in whose context what follows is to be used."""
        return self._device

    @property
    def engine(self) -> Any:  # noqa: ANN401
        """TensorRT's engine; who keeps it keeps TensorRT from freeing it in the device's context."""
        return self._engine

    @property
    def context(self) -> Any:  # noqa: ANN401
        """TensorRT's context of this runner; not to be kept either."""
        return self._context

    def infer(self, images: UInt8Array) -> UInt8Array:
        """Labels uint8 [N, H, W] of images uint8 [N, H, W, 3] BGR.

        ModelError for a batch that is not in the engine, and where the GPU's memory runs out.
        """
        check_images(images, self.spec)
        count = len(images)
        if not self._least <= count <= self._most:
            raise ModelError(
                f"The engine takes {self._least} to {self._most} pictures at a time, not {count}. Build one that does: "
                f"{BUILD} --batch 1,{count},{count}"
            )
        self._log.errors.clear()  # those of earlier pictures
        with self._device.current(), self._device.memory_of("this batch"):
            self._image.host[:count] = images
            if count != self._count:
                self.set_count(count)
            self._graph.run(self._enqueue)
            self._stream.synchronize()
            labels: UInt8Array = self._labels.host[:count].copy()  # the next pictures' labels go to the same memory
        return labels

    def set_count(self, count: int) -> None:
        """Set the number of pictures at a time, within the device's context; ModelError for one it does not take."""
        self._graph.forget()
        self._count = 0
        if not self._context.set_input_shape("image", (count, self.spec.height, self.spec.width, 3)):
            raise ModelError(f"TensorRT does not take {count} pictures at a time.{self._log.told()}")
        self._count = count

    def _enqueue(self) -> None:
        """Put copies and layers of the present number of pictures on the stream."""
        image, labels, copy = self._image, self._labels, self._device.cuda
        if image.memory is not None:
            copy.memcpy_htod_async(image.address, image.host[: self._count], self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            advice = f"\nThe GPU's memory ran out. {LESS_MEMORY}" if self._log.memory_ran_out else ""
            raise ModelError(f"TensorRT could not run the engine.{self._log.told()}{advice}")
        if labels.memory is not None:
            copy.memcpy_dtoh_async(labels.host[: self._count], labels.address, self._stream)

    def _load(self, trt: Any, content: bytes, path: Path, built: Fingerprint) -> Any:  # noqa: ANN401
        runtime = start(trt.Runtime, self._logger, self._log, goes_to=self._device.driver)
        if VERSION_COMPATIBLE in built.flags and has(trt, "version compatible"):
            runtime.engine_host_code_allowed = True  # such an engine brings the run-time of its own version along
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            remedy = LESS_MEMORY if self._log.memory_ran_out else f"Build it again: {BUILD}"
            raise ModelError(f"TensorRT cannot load {path}. {remedy}{self._log.told()}")
        return engine

    def _check_shapes(self, path: Path) -> tuple[int, int]:
        """The least and largest N that the engine takes; ModelError where it is not of the contract and the spec."""
        least, _, most = (tuple(shape) for shape in self._engine.get_tensor_profile_shape("image", 0))
        size = (self.spec.height, self.spec.width, 3)
        labels = tuple(self._engine.get_tensor_shape("labels"))
        if (least[1:], most[1:], labels[1:]) != (size, size, size[:2]):
            raise ModelError(
                f"{path} takes {list(most)} and gives {list(labels)}, not pictures of {self.spec.width}x"
                f"{self.spec.height}, as its sidecar says. Build it again: {BUILD}"
            )
        return int(least[0]), int(most[0])

    def _free(self) -> None:
        """Give up what there is, the users of memory before the memory, when the GPU is through with it."""
        if hasattr(self, "_stream"):
            with suppress(self._device.cuda.Error):  # of work that has failed, and was told of
                self._stream.synchronize()
        if hasattr(self, "_graph"):
            self._graph.forget()
        for name in ("_graph", "_context", "_engine", "_image", "_labels", "_stream"):
            if hasattr(self, name):
                delattr(self, name)

    def __enter__(self) -> "TrtRunner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._device.current():  # TensorRT frees its memory in the context that it took it in
            self._free()


def check_fit(path: Path, built: Fingerprint, *, tensorrt: str, sm: str) -> None:
    """ModelError where the engine was built for another TensorRT, GPU architecture or system than this machine's.

    A version compatible engine runs on the next generation too (8 on 10, 10 on 11); TensorRT itself judges that.
    """
    system = this_system()
    other_version = built.tensorrt != tensorrt and VERSION_COMPATIBLE not in built.flags
    if other_version or (built.sm, built.system) != (sm, system):
        raise ModelError(
            f"{path.name} was built for TensorRT {built.tensorrt} on {built.gpu} (sm {built.sm}), {built.system}; here "
            f"is TensorRT {tensorrt} on sm {sm}, {system}. Build it here: {BUILD} --out {path}"
        )
