"""The `tensorrt` package: imported when it is asked for, and what its versions have and have not.

Our code for TensorRT names its objects alike everywhere (`trt`, `builder`, `config`, `network`, `parser`, `engine`,
`context` and so on), so that a test can collect every attribute that it touches and look it up in the bindings of each
generation, 8.5 to 11. What not all of them have stands in OPTIONAL, and is touched only behind `has`.
"""

import importlib
from types import ModuleType
from typing import Any

from edge_seg.errors import MissingExtraError

OPTIONAL: dict[str, tuple[str, ...]] = {
    "calibrators": (
        "IInt8EntropyCalibrator2",
        "IInt8MinMaxCalibrator",
        "IBuilderConfig.int8_calibrator",
        "IBuilderConfig.set_calibration_profile",
    ),
    "precision flags": ("BuilderFlag.INT8", "BuilderFlag.FP16"),
    "fast INT8": ("Builder.platform_has_fast_int8",),
    "explicit batch": ("NetworkDefinitionCreationFlag.EXPLICIT_BATCH",),
    "strong typing": ("NetworkDefinitionCreationFlag.STRONGLY_TYPED",),
    "version compatible": ("BuilderFlag.VERSION_COMPATIBLE", "Runtime.engine_host_code_allowed"),
    "tactic memory": ("MemoryPoolType.TACTIC_DRAM",),
    "progress": ("IProgressMonitor", "IBuilderConfig.progress_monitor"),
    "node names in errors": ("ParserError.node_name", "ParserError.node_operator"),
    "memory of 64 bits": ("ICudaEngine.device_memory_size_v2",),
    "memory of 32 bits": ("ICudaEngine.device_memory_size",),
}
"""What some versions lack, by name, with the attributes that stand for it.

8.5 has no version compatible engines and no pool for tactics; calibrators, precision flags, the explicit batch and the
old memory size are gone from 11; the other ones came between 8.6 and 10.3.
"""


def import_tensorrt() -> ModuleType:
    """The `tensorrt` package; MissingExtraError where it is not installed, or its libraries do not load."""
    try:
        return importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":
            raise
        raise MissingExtraError(
            "TensorRT is not installed. On a Jetson it comes with JetPack, for the system's Python: make the "
            "environment with python3 -m venv --system-site-packages. Elsewhere type: pip install tensorrt"
        ) from None
    except (ImportError, OSError) as error:
        raise MissingExtraError(
            f"TensorRT is installed, but does not load: {error}. Its libraries must be of the same version, and on the "
            "loader's path."
        ) from None


def has(trt: Any, feature: str) -> bool:  # noqa: ANN401
    """Whether this TensorRT has all attributes of a feature in OPTIONAL."""
    return all(_has_attribute(trt, dotted) for dotted in OPTIONAL[feature])


def _has_attribute(found: Any, dotted: str) -> bool:  # noqa: ANN401
    for name in dotted.split("."):
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True
