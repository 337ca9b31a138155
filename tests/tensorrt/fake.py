"""A TensorRT and a CUDA without a GPU, for the logic around them: order of calls, buffers, errors, contexts.

Nothing here measures anything. An "engine" is the ONNX file it was built of, and ONNX Runtime computes its labels; CUDA
memory is NumPy's. The fake bites where the real ones would misbehave without a word: calls outside of the CUDA context,
a default stream, addresses or shapes that were not set, labels that are read before the stream was waited for.
Its names are checked against the real bindings, and are those of a version: `make_tensorrt`.
"""

from enum import IntEnum
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import fake_inspector
from fake_builder import (
    Builder,
    Calibrator,
    IBuilderConfig,
    ILogger,
    INetworkDefinition,
    IOptimizationProfile,
    IProgressMonitor,
    ITimingCache,
    OnnxParser,
    ParserError,
)
from fake_cuda import Cuda
from fake_engine import ICudaEngine, IExecutionContext, Runtime

from edge_seg.runners.tensorrt_api import OPTIONAL

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
fake_inspector.add_to(NAMES, VALUES)


BEFORE_10 = frozenset({"strong typing", "progress", "node names in errors", "device memory size v2"})
LACKS = {
    "8.5": BEFORE_10 | {"version compatible", "tactic memory"},
    "8.6": BEFORE_10,
    "10": frozenset(),
    "11": frozenset({"calibrators", "precision flags", "fast INT8", "explicit batch", "device memory size"}),
}
"""The features that each generation lacks, by NVIDIA's release notes and migration guide; a test asks the bindings."""


def lacking(version: str) -> frozenset[str]:
    """What a version lacks of tensorrt_api.OPTIONAL."""
    return next(features for start, features in LACKS.items() if version.startswith(f"{start}."))


def make_tensorrt(cuda: Cuda, version: str) -> ModuleType:
    """The module `tensorrt` of a version; its classes are its own, for tests to change."""
    Runtime._cuda = cuda  # type: ignore[attr-defined]  # no name of TensorRT
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
