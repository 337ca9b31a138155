"""What a fake engine is: the ONNX file that it was built of, whose labels ONNX Runtime computes."""

import json
from typing import Any

import numpy as np
import onnxruntime as ort
from fake_cuda import Cuda


class ICudaEngine:
    """An ONNX file that was built: the sizes of its profile, then the file."""

    def __init__(self, content: bytes, cuda: Cuda) -> None:
        sizes, model = content.split(b"\n", 1)
        self.shapes = json.loads(sizes)
        self.session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.cuda = cuda

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:  # noqa: ANN401
        assert (name, profile) == ("image", 0)
        return self.shapes

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *self.shapes[0][1:3]) if name == "labels" else (-1, *self.shapes[0][1:])

    def create_execution_context(self) -> Any:  # noqa: ANN401
        self.cuda.inside()
        return IExecutionContext(self, self.cuda)


class IExecutionContext:
    """Runs it."""

    def __init__(self, engine: ICudaEngine, cuda: Cuda) -> None:
        self.session, self.shapes, self.cuda = engine.session, engine.shapes, cuda
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] | None = None

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "image"
        least, _, most = self.shapes
        fits = least[0] <= shape[0] <= most[0] and list(shape[1:]) == least[1:]
        self.shape = tuple(shape) if fits else self.shape  # as TensorRT: the last one stays
        return fits

    def execute_async_v3(self, stream_handle: int) -> bool:
        self.cuda.inside()
        assert stream_handle, "the default stream"
        assert self.shape is not None and self.addresses.keys() == {"image", "labels"}
        shape, memory = self.shape, self.cuda.memory

        def run() -> None:
            image = memory[self.addresses["image"]][: int(np.prod(shape))].reshape(shape)
            labels = self.session.run(["labels"], {"image": image})[0]
            memory[self.addresses["labels"]][: labels.size] = labels.reshape(-1)

        self.cuda.streams[stream_handle].pending.append(run)
        return True


class Runtime:
    """Loads plans."""

    engine_host_code_allowed = False

    def __init__(self, logger: Any) -> None:  # noqa: ANN401
        self.logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        cuda: Cuda = Runtime._cuda  # type: ignore[attr-defined]
        cuda.inside()
        if plan.startswith(b"not"):
            self.logger.log("ILogger.Severity.ERROR", "Magic tag does not match")
            return None
        return ICudaEngine(plan, cuda)
