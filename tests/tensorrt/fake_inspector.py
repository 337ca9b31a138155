"""The fake's inspector and profiler: what they tell is made up, and when they tell it is as with the real ones.

Formats are told only of a context whose shapes are set, and times only of calls that are over.
"""

import json
from typing import Any

DYNAMIC = "N/A due to dynamic shapes"


def tensor(name: str, shape: list[int], kind: str) -> dict[str, Any]:
    """A tensor as TensorRT up to 10 tells it."""
    return {"Name": name, "Location": "Device", "Dimensions": shape, "Format/Datatype": kind}


LAYERS: list[dict[str, Any]] = [
    {
        "Name": "QuantizeLinear_1",
        "LayerType": "Reformat",
        "Inputs": [tensor("image", [1, 72, 96, 3], "Row major linear UInt8 format")],
        "Outputs": [tensor("x", [1, 3, 72, 96], "Channel major Int8 format where channel % 4 == 0")],
        "ParameterType": "Reformat",
        "Origin": "QDQ",
        "TacticValue": "0x0000000000000000",
    },
    {
        "Name": "/net/Conv\x1e/net/Relu",
        "LayerType": "CaskConvolution",
        "Inputs": [tensor("x", [1, 3, 72, 96], "Channel major Int8 format where channel % 4 == 0")],
        "Outputs": [tensor("y", [1, 16, 36, 48], "Row major linear FP32")],
        "ParameterType": "Convolution",
        "Weights": {"Type": "Int8", "Count": 432},
        "TacticName": "sm80_xmma_fprop_implicit_gemm_i8i8_i8i32_f32_nhwckrsc_nhwc",
        "Metadata": "[ONNX Layer: /net/Conv]\x1f[ONNX Layer: /net/Relu]",
    },
    {
        "Name": "labels [Shuffle]",
        "LayerType": "NoOp",
        "Inputs": [tensor("y", [1, 16, 36, 48], "Row major linear FP32")],
        "Outputs": [tensor("labels", [1, 72, 96], "Row major linear FP32")],
        "TacticValue": "0x0000000000000000",
    },
]


class EngineInspector:
    """Tells the layers above."""

    execution_context: Any = None

    def get_engine_information(self, format: str) -> str:
        assert format == "JSON"
        text = json.dumps({"Layers": LAYERS, "Bindings": ["image", "labels"]})
        if self.execution_context is not None and self.execution_context.shape is not None:
            return text
        return json.dumps(
            json.loads(
                text, object_hook=lambda found: found | {"Format/Datatype": DYNAMIC} if "Location" in found else found
            )
        )


class IProfiler:
    """TensorRT's, to derive from."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError


def create_engine_inspector(engine: Any) -> EngineInspector:  # noqa: ANN401
    engine.cuda.inside()
    return EngineInspector()


def report_to_profiler(context: Any) -> bool:  # noqa: ANN401
    """One millisecond for the first layer, two for the second and so on; False where nothing can be told."""
    context.cuda.inside()
    over = not any(stream.pending for stream in context.cuda.streams.values())
    if context.profiler is None or context.enqueue_emits_profile or context.shape is None or not over:
        return False
    for ms, layer in enumerate(LAYERS, 1):
        context.profiler.report_layer_time(layer["Name"], float(ms))
    return True


def add_to(names: dict[str, Any], values: dict[str, tuple[str, ...]]) -> None:
    """Add to the fake's classes and to its enums."""
    names |= {"EngineInspector": EngineInspector, "IProfiler": IProfiler}
    values["LayerInformationFormat"] = ("JSON",)
    engine, context = names["ICudaEngine"], names["IExecutionContext"]
    engine.create_engine_inspector = create_engine_inspector
    engine.profiling_verbosity = "ProfilingVerbosity.DETAILED"
    engine.device_memory_size, engine.device_memory_size_v2 = 3_000_000, 5_000_000
    context.report_to_profiler = report_to_profiler
    context.profiler, context.enqueue_emits_profile = None, True
