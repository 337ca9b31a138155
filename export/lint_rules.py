"""Rules of all targets, and those of the CPU dialects: each gives the places where a graph breaks it.

A rule takes the graph and the goal and yields `Hit`s; export/lint.py says how bad that is and what to do. Measured
claims stand in docs/quantization.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from edge_seg.export import tensorrt_support
from edge_seg.export.graph import (
    QUANTIZERS,
    WEIGHTED,
    Array,
    Graph,
    QuantParams,
    activations,
    channel_axis,
    dequantized_constant,
    in_tail,
    is_constant,
    name_of,
    opset_of,
    params_of,
    spread,
    type_name,
    walk,
    weight_source,
)
from edge_seg.export.target import Target
from edge_seg.runners.contract import OPSETS

ORT_MOST_OPSET, ORT_MOST_IR = 22, 10
"""Of ONNX Runtime 1.22, the oldest that pyproject.toml allows; it says both itself when it refuses a file."""

REDUCED_MOST = 64
"""255 * 64 * 2 < 2^15: sums of two products of uint8 and such weights do not saturate without VNNI."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A target, and for TensorRT its version, such as '8.5'."""

    target: Target
    tensorrt: str = ""

    @property
    def most_opset(self) -> int:
        """The newest opset that the run-time reads."""
        if self.target.runtime == "openvino":
            return OPSETS[-1]  # it reads newer ones, but no deployable graph has them
        return tensorrt_support.MOST_OPSET[self.tensorrt] if self.tensorrt else ORT_MOST_OPSET

    @property
    def runtime(self) -> str:
        """The run-time as people write it.

        >>> from edge_seg.export.target import find_target
        >>> Goal(find_target("tensorrt"), "10.3").runtime, Goal(find_target("onnxruntime-arm")).runtime
        ('TensorRT 10.3', 'ONNX Runtime')
        """
        if self.tensorrt:
            return f"TensorRT {self.tensorrt}"
        return "OpenVINO" if self.target.runtime == "openvino" else "ONNX Runtime"

    @property
    def label(self) -> str:
        """The target, and for TensorRT the version."""
        return self.runtime if self.tensorrt else self.target.name


@dataclass(frozen=True, slots=True)
class Hit:
    """A place that breaks a rule, and how; `share` of the multiplications of all convolutions, where it matters."""

    where: str
    found: str
    share: float | None = None


def opset(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """The opset is one that the run-time reads, and not below 13, where Q/DQ per channel begins."""
    if not tensorrt_support.FIRST_OPSET <= graph.opset <= goal.most_opset:
        yield Hit("the file", f"opset {graph.opset}")


def ir_version(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """ONNX Runtime reads the file's ir_version."""
    if graph.model.ir_version > ORT_MOST_IR:
        yield Hit("the file", f"ir_version {graph.model.ir_version}")


def operator(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Every operator is one that ONNX has in this opset and that the run-time has."""
    functions = {(function.domain, function.name) for function in graph.model.functions}
    for body, opset_inside, prefix in _bodies(graph.model):
        for node in walk(body):
            if node.domain not in ("", "ai.onnx"):
                if not _extension_is_known(node, functions, goal):
                    yield Hit(prefix + name_of(node), f"{node.domain}.{node.op_type}")
            elif not onnx.defs.has(node.op_type, opset_inside) or _is_lacking(node, goal):
                yield Hit(prefix + name_of(node), node.op_type)


def _bodies(model: onnx.ModelProto) -> Iterator[tuple[onnx.GraphProto | onnx.FunctionProto, int, str]]:
    """The main graph and each function that is called, with its own opset and what its nodes' names begin with."""
    functions = {(function.domain, function.name): function for function in model.functions}
    yield model.graph, opset_of(model), ""
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph]
    while waiting:
        for node in walk(waiting.pop()):
            called = functions.pop((node.domain, node.op_type), None)
            if called is not None:
                yield called, opset_of(called), f"{called.name}/"
                waiting.append(called)


def _is_lacking(node: onnx.NodeProto, goal: Goal) -> bool:
    return bool(goal.tensorrt) and tensorrt_support.lacks_operator(node.op_type, goal.tensorrt)


def _extension_is_known(node: onnx.NodeProto, functions: set[tuple[str, str]], goal: Goal) -> bool:
    if (node.domain, node.op_type) in functions:  # the file brings it along; TensorRT reads that from 9.0 on
        return not goal.tensorrt or tensorrt_support.version_of(goal.tensorrt) >= (9, 0)
    return not goal.tensorrt and node.domain in ("com.microsoft", "ai.onnx.ml")


def external_data(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """All weights are within the file."""
    for tensor in graph.model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            location = next((e.value for e in tensor.external_data if e.key == "location"), "nowhere")
            yield Hit(tensor.name, f"its values are in {location}")


def dynamic_size(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Only the first dimension of an input, N, is free."""
    for value in graph.model.graph.input:
        if value.name in graph.constants:
            continue  # before ir_version 4 initializers were listed as inputs
        sizes = graph.shapes[value.name]
        if not value.type.tensor_type.HasField("shape") or None in sizes[1:]:
            yield Hit(value.name, f"shape [{', '.join('?' if size is None else str(size) for size in sizes)}]")


def not_quantized(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """The graph holds Q/DQ nodes."""
    if not graph.is_quantized():
        yield Hit("the file", "no QuantizeLinear and no DequantizeLinear")


def scale(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Scales are finite and above 0."""
    for node in graph.of(*QUANTIZERS):
        values = params_of(graph, node).scale
        if values is not None and not (np.isfinite(values.astype(np.float64)) & (values.astype(np.float64) > 0)).all():
            yield Hit(name_of(node), "a scale that is 0, negative, infinite or NaN")


def fp16_scale(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """FP16 scales stand in opset 19 or newer, and TensorRT reads them from 10 on."""
    too_old = bool(goal.tensorrt) and tensorrt_support.version_of(goal.tensorrt) < (10, 0)
    for node in graph.of(*QUANTIZERS):
        half = graph.types.get(node.input[1]) == TensorProto.FLOAT16
        if half and (graph.opset < 19 or too_old):
            yield Hit(name_of(node), f"an FP16 scale in opset {graph.opset}")


def double_quantization(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """A tensor is rounded once: no Q -> DQ -> Q, and no two Q of one tensor."""
    for node in graph.of("QuantizeLinear"):
        dequantize = graph.made_by("DequantizeLinear", node.input[0])
        if dequantize is not None and graph.made_by("QuantizeLinear", dequantize.input[0]) is not None:
            same = params_of(graph, node).equals(params_of(graph, dequantize))
            yield Hit(name_of(node), f"Q -> DQ -> Q with {'equal' if same else 'other'} parameters")
    for tensor, readers in graph.readers.items():
        quantizers = [node for node, place in readers if node.op_type == "QuantizeLinear" and place == 0]
        if len(quantizers) > 1 and not is_constant(graph, tensor):
            first, *others = (params_of(graph, node) for node in quantizers)
            same = all(first.equals(other) for other in others)
            yield Hit(tensor, f"several Q of one tensor with {'equal' if same else 'other'} parameters")


def eight_bit_weights(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Weights of 7 bits, where sums of two products saturate at 2^15."""
    for node, params in weight_params(graph) if goal.target.weight_bits < 8 else ():
        values = quantized_weights(graph, node, params)
        if values is not None and np.abs(values.astype(np.int64)).max(initial=0) > REDUCED_MOST:
            yield Hit(name_of(node), "weights of 8 bits")


def quantized_weights(graph: Graph, node: onnx.NodeProto, params: QuantParams) -> Array | None:
    """A node's weights as they are stored or as its QuantizeLinear rounds them; None where that is not known."""
    values = graph.value(weight_source(graph, node))
    if values is None or not np.issubdtype(values.dtype, np.floating):
        return values
    spread_out = spread(params, values)
    if spread_out is None:
        return None
    rounded: Array = np.round(values.astype(np.float64) / spread_out[0]) + spread_out[1]
    return rounded


def weight_params(graph: Graph) -> Iterator[tuple[onnx.NodeProto, QuantParams]]:
    """The weighted nodes with quantized weights, and those weights' parameters."""
    for node in graph.of(*WEIGHTED):
        dequantize = dequantized_constant(graph, node.input[1])
        if dequantize is not None and not in_tail(node):
            yield node, params_of(graph, dequantize)


def int8_activations(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Activations are uint8. An int8 that a DequantizeLinear is turned into is none: the camera's bytes less 128."""
    yield from _activations_of(graph, TensorProto.INT8)


def uint8_activations(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Activations are int8. The camera's bytes, which are turned into it at once, are none."""
    yield from _activations_of(graph, TensorProto.UINT8)


def _activations_of(graph: Graph, kind: int) -> Iterator[Hit]:
    for node in activations(graph):
        if params_of(graph, node).type == kind and not _is_converted(graph, node):
            yield Hit(node.input[0], f"{type_name(kind)} activations")


def is_symmetric(graph: Graph) -> bool:
    """True for a file in TensorRT's dialect: each activation that has a Q is int8 with zero point 0."""
    found = [params_of(graph, node) for node in activations(graph) if node.op_type == "QuantizeLinear"]
    zeros = [one.type == TensorProto.INT8 and one.zero_point is not None and not one.zero_point.any() for one in found]
    return bool(zeros) and all(zeros)


def _is_converted(graph: Graph, node: onnx.NodeProto) -> bool:
    """True for a Q behind a DQ, a DQ behind a Q, and a DQ that every reader turns into another type."""
    source, readers = node.input[0], graph.readers_of(node.output[0])
    if node.op_type == "DequantizeLinear":
        behind = [reader for one in readers for reader in _readers_behind(graph, one)]
        return graph.made_by("QuantizeLinear", source) is not None or {r.op_type for r in behind} == {"QuantizeLinear"}
    before = graph.maker.get(source)
    if before is not None and _adds_ones(graph, before):
        source = before.input[0]
    return graph.made_by("DequantizeLinear", source) is not None


def _readers_behind(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    return graph.readers_of(node.output[0]) if _adds_ones(graph, node) else [node]


def _adds_ones(graph: Graph, node: onnx.NodeProto) -> bool:
    """True for the Pad of the camera's bytes with which an adopted net begins (export/adopt_input.py)."""
    camera = graph.made_by("DequantizeLinear", node.input[0]) if node.op_type == "Pad" else None
    return camera is not None and graph.made_by("QuantizeLinear", camera.input[0]) is None


def per_tensor_weights(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Weights have a scale for each output channel; a transposed convolution's for TensorRT have one."""
    for node, params in weight_params(graph):
        sizes = graph.shapes.get(weight_source(graph, node), ())
        axis = channel_axis(node, len(sizes))
        several = axis is not None and axis < len(sizes) and sizes[axis] != 1
        if several and params.scale is not None and params.scale.size == 1:
            yield Hit(name_of(node), "one scale for all weights")
