"""A TensorRT and a CUDA without a GPU, for the logic around them: order of calls, buffers, errors, contexts.

Nothing here measures anything. An "engine" is the ONNX file it was built of, and ONNX Runtime computes its labels; CUDA
memory is NumPy's. The fake bites where the real ones would misbehave without a word: calls outside of the CUDA context,
a default stream, addresses or shapes that were not set, labels that are read before the stream was waited for.
Its names are checked against the real bindings.
"""

import json
import threading
from enum import IntEnum
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from edge_seg.runners.tensorrt_api import OPTIONAL


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
        self.devices, self.sm, self.integrated, self.left = devices, sm, integrated, mb * 1_000_000
        self.thread = threading.local()
        self.memory: dict[int, np.ndarray[Any, Any]] = {}
        self.streams: dict[int, Stream] = {}
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

    def Stream(self) -> "Stream":
        self.inside()
        stream = Stream(self, 77 + len(self.streams))
        self.streams[stream.handle] = stream
        return stream

    def pagelocked_empty(self, shape: Any, dtype: Any, mem_flags: int = 0) -> Any:  # noqa: ANN401
        self.inside()
        array = np.full(shape, 99, dtype).view(PageLocked)
        array.address = self.place(np.asarray(array)) if mem_flags else 0
        return array

    def mem_alloc(self, size: int) -> int:
        self.inside()
        if size > self.left:
            raise self.MemoryError("out of memory")
        self.left -= size
        return self.place(np.full(size, 98, np.uint8))

    def place(self, array: Any) -> int:  # noqa: ANN401
        """A made-up address of memory."""
        address = 4096 * (len(self.memory) + 1)
        self.memory[address] = array.reshape(-1)
        return address

    def memcpy_htod_async(self, address: int, host: Any, stream: Any) -> None:  # noqa: ANN401
        self.inside()
        assert isinstance(host.base, PageLocked) or isinstance(host, PageLocked), "a pageable copy is not asynchronous"
        stream.pending.append(
            lambda: self.memory[address].__setitem__(slice(host.nbytes), np.asarray(host).reshape(-1))
        )

    def memcpy_htod(self, address: int, host: Any) -> None:  # noqa: ANN401
        self.inside()
        self.memory[address][: host.nbytes] = np.asarray(host).reshape(-1)

    def memcpy_dtoh_async(self, host: Any, address: int, stream: Any) -> None:  # noqa: ANN401
        self.inside()
        target = np.asarray(host).reshape(-1)
        stream.pending.append(lambda: target.__setitem__(slice(None), self.memory[address][: target.size]))


class Stream:
    """Work that is done when it is waited for."""

    def __init__(self, cuda: Cuda, handle: int) -> None:
        self.cuda, self.handle = cuda, handle
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
        cuda: Cuda = Runtime.cuda  # type: ignore[attr-defined]
        cuda.inside()
        if plan.startswith(b"not"):
            self.logger.log("ILogger.Severity.ERROR", "Magic tag does not match")
            return None
        return ICudaEngine(plan, cuda)


class ILogger:
    """TensorRT's, to derive from."""

    def log(self, severity: Any, msg: str) -> None:  # noqa: ANN401
        raise NotImplementedError


class IProgressMonitor:
    """TensorRT's, to derive from."""


class Calibrator:
    """Both of TensorRT's calibrators, to derive from."""


class INetworkDefinition:
    """What a parser fills."""

    def __init__(self, flags: int) -> None:
        self.flags, self.content = flags, b""


class ParserError:
    """One error of the parser."""

    def node(self) -> int:
        return 3

    def node_name(self) -> str:
        return "/head/Conv"

    def node_operator(self) -> str:
        return "Conv"

    def desc(self) -> str:
        return "No importer registered for op"


class OnnxParser:
    """Takes every file of which `_refuse` is not set."""

    _refuse = False

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:  # noqa: ANN401
        self.network, self.num_errors = network, 0

    def parse(self, content: bytes) -> bool:
        refuse = self._refuse or has_bytes_inside(onnx.load_model_from_string(content))
        self.network.content, self.num_errors = content, int(refuse)
        return not refuse

    def get_error(self, index: int) -> ParserError:
        return ParserError()


def has_bytes_inside(model: onnx.ModelProto) -> bool:
    """UINT8 anywhere but between an input or output and a Cast: no TensorRT takes that."""
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    ends = [node for node in model.graph.node if "image" in node.input]
    return onnx.TensorProto.UINT8 in kinds.values() or any(node.op_type != "Cast" for node in ends)


class ITimingCache:
    """Timings as bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+"


class IBuilderConfig:
    """Settings; others than these cannot be set."""

    __slots__ = (
        "DLA_core",
        "_calibration",
        "_flags",
        "_pools",
        "_profile",
        "_sources",
        "_timings",
        "default_device_type",
        "int8_calibrator",
        "profiling_verbosity",
        "progress_monitor",
    )

    def __init__(self) -> None:
        self._flags: list[str] = []
        self._pools: dict[str, int] = {}
        for name in {"progress_monitor", "int8_calibrator"} & set(type(self).__slots__):
            setattr(self, name, None)

    def set_flag(self, flag: str) -> None:
        self._flags.append(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self._pools[pool] = size

    def set_tactic_sources(self, sources: int) -> None:
        self._sources = sources

    def create_timing_cache(self, content: bytes) -> ITimingCache | None:
        return None if content.startswith(b"damaged") else ITimingCache(content)

    def set_timing_cache(self, timings: ITimingCache, ignore_mismatch: bool) -> bool:
        self._timings = timings
        return not timings.content.startswith(b"other")

    def get_timing_cache(self) -> ITimingCache:
        return self._timings

    def add_optimization_profile(self, profile: Any) -> int:  # noqa: ANN401
        self._profile = profile
        return 0

    def set_calibration_profile(self, profile: Any) -> bool:  # noqa: ANN401
        assert profile is not self._profile, "its least and largest sizes are overwritten"
        self._calibration = profile
        return True


class IOptimizationProfile:
    """Shapes by input."""

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:  # noqa: ANN401
        self.shapes = {name: (least, best, most)}


class Builder:
    """Builds: the plan is the ONNX file."""

    platform_has_fast_int8 = True
    num_DLA_cores = 0
    _fail_with = ""
    _last: Any = None
    _shown: list[Any]

    def __init__(self, logger: Any) -> None:  # noqa: ANN401
        Runtime.cuda.inside()  # type: ignore[attr-defined]
        self.logger = logger

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        Builder._last = (network, config)
        monitor = getattr(config, "progress_monitor", None)
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            if not monitor.step_complete("Building", 0):
                return None
            monitor.phase_finish("Building")
        if self._fail_with:
            self.logger.log("ILogger.Severity.ERROR", self._fail_with)
            return None
        if getattr(config, "int8_calibrator", None) is not None:
            self._calibrate(config.int8_calibrator)
        sizes = json.dumps(config._profile.shapes["image"]).encode()
        return sizes + b"\n" + network.content

    def _calibrate(self, calibrator: Any) -> None:  # noqa: ANN401
        if calibrator.read_calibration_cache() is not None:
            return
        Builder._shown = []
        while (addresses := calibrator.get_batch(["image"])) is not None:
            Builder._shown.append(Runtime.cuda.memory[addresses[0]].copy())  # type: ignore[attr-defined]
        calibrator.write_calibration_cache(memoryview(b"TRT-100300-EntropyCalibration2"))


NAMES: dict[str, Any] = {
    "Builder": Builder,
    "IBuilderConfig": IBuilderConfig,
    "ICudaEngine": ICudaEngine,
    "IExecutionContext": IExecutionContext,
    "IInt8EntropyCalibrator2": Calibrator,
    "IInt8MinMaxCalibrator": Calibrator,
    "ILogger": ILogger,
    "INetworkDefinition": INetworkDefinition,
    "IOptimizationProfile": IOptimizationProfile,
    "IProgressMonitor": IProgressMonitor,
    "ITimingCache": ITimingCache,
    "OnnxParser": OnnxParser,
    "ParserError": ParserError,
    "Runtime": Runtime,
}

VALUES: dict[str, tuple[str, ...]] = {
    "BuilderFlag": ("INT8", "FP16", "GPU_FALLBACK", "VERSION_COMPATIBLE"),
    "MemoryPoolType": ("WORKSPACE", "TACTIC_DRAM"),
    "ProfilingVerbosity": ("DETAILED",),
    "DeviceType": ("DLA",),
}
FLAGS: dict[str, tuple[str, ...]] = {
    "NetworkDefinitionCreationFlag": ("EXPLICIT_BATCH", "STRONGLY_TYPED"),
    "TacticSource": ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"),
}


BEFORE_10 = frozenset({"strong typing", "progress", "node names in errors"})
LACKS = {
    "8.5": BEFORE_10 | {"version compatible", "tactic memory"},
    "8.6": BEFORE_10,
    "10": frozenset(),
    "11": frozenset({"calibrators", "precision flags", "fast INT8", "explicit batch"}),
}
"""The features that each generation lacks, by NVIDIA's release notes and migration guide; a test asks the bindings."""


def lacking(version: str) -> frozenset[str]:
    """What a version lacks of tensorrt_api.OPTIONAL."""
    return next(features for start, features in LACKS.items() if version.startswith(f"{start}."))


def make_tensorrt(cuda: Cuda, version: str) -> ModuleType:
    """The module `tensorrt` of a version; its classes are its own, for tests to change."""
    Runtime.cuda = cuda  # type: ignore[attr-defined]
    lost = {dotted for feature in lacking(version) for dotted in OPTIONAL[feature]}
    module = ModuleType("tensorrt")
    module.__spec__ = ModuleSpec("tensorrt", None)
    vars(module)["__version__"] = version
    for name in NAMES.keys() - lost:
        setattr(module, name, _without(NAMES[name], name, lost))
    for name, values in VALUES.items():
        setattr(module, name, SimpleNamespace(**{v: v for v in values if f"{name}.{v}" not in lost}))
    for name, values in FLAGS.items():
        setattr(module, name, IntEnum(name, {v: n for n, v in enumerate(values) if f"{name}.{v}" not in lost}))
    return module


def _without(kind: Any, name: str, lost: set[str]) -> Any:  # noqa: ANN401
    """A copy of a class without what is lost of it."""
    own = {key: value for key, value in vars(kind).items() if key not in ("__dict__", "__weakref__")}
    if "__slots__" in own:
        slots = tuple(slot for slot in own["__slots__"] if f"{name}.{slot}" not in lost)
        own = {key: value for key, value in own.items() if key not in kind.__slots__} | {"__slots__": slots}
    return type(name, kind.__bases__, {key: value for key, value in own.items() if f"{name}.{key}" not in lost})


def surface() -> dict[str, list[str]]:
    """What the fake has of TensorRT's names, by class."""
    own = {name: [n for n in vars(kind) if not n.startswith("_")] for name, kind in NAMES.items()}
    return own | {name: list(values) for name, values in (VALUES | FLAGS).items()}
