"""Write INT8 as QuantizeLinear and DequantizeLinear nodes into an FP32 graph: one set of ranges, a file per target."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_seg.calib.placement import Placement, name_nodes, place
from edge_seg.calib.thresholds import Range
from edge_seg.errors import DataError
from edge_seg.export.graph import CLIPPING, Graph, channel_axis
from edge_seg.export.target import Target
from edge_seg.export.tidy import drop_unused

LEAST_SCALE = 1e-10
"""Of a tensor or a channel that holds nothing but zero."""

MOST_BIAS = 2**30
"""In steps of int32; a channel of tiny weights and a large bias gets a coarser scale, for neither may overflow."""

Rounded = Mapping[str, NDArray[np.int8]]
"""Weights by their node's name that are rounded already, such as AdaRound's, in steps of `weight_scales`."""


@dataclass(frozen=True, slots=True)
class Steps:
    """How a tensor is quantized: value = (integer - zero_point) * scale."""

    scale: np.float32
    zero_point: np.uint8 | np.int8


def steps_for(span: Range, target: Target) -> Steps:
    """The steps that a target quantizes a tensor of this range by.

    >>> from edge_seg.export.target import find_target
    >>> steps_for((0.0, 2.55), find_target("onnxruntime-x86")).zero_point
    np.uint8(0)
    >>> steps_for((-1.0, 1.55), find_target("onnxruntime-arm")).zero_point
    np.int8(-28)
    >>> steps_for((-1.0, 1.27), find_target("tensorrt"))
    Steps(scale=np.float32(0.01), zero_point=np.int8(0))
    """
    least, most = span
    if target.minimal:
        return Steps(np.float32(max(-least, most, LEAST_SCALE) / 127), np.int8(0))
    scale = np.float32(max(most - least, LEAST_SCALE) / 255)
    zero = int(np.clip(np.round(-least / scale), 0, 255))
    return Steps(scale, np.uint8(zero) if target.activations == "uint8" else np.int8(zero - 128))


def weight_scales(
    weights: NDArray[np.float32], axis: int | None, target: Target, bias_steps: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Scales [C] of weights per output channel, which lies on `axis`, or one [] where that is None.

    Symmetric: -127 to 127, or -63 to 63 of 7 bits. `bias_steps` [C] is |bias| / scale of the input, where the bias
    becomes int32.
    """
    others = None if axis is None else tuple(other for other in range(weights.ndim) if other != axis)
    scales: NDArray[np.float64] = np.abs(weights).max(others).astype(np.float64) / most_weight(target)
    if bias_steps is not None:
        scales = np.maximum(scales, (bias_steps.max() if axis is None else bias_steps) / MOST_BIAS)
    return np.maximum(scales, LEAST_SCALE).astype(np.float32)


def most_weight(target: Target) -> int:
    """The largest integer that a weight becomes."""
    return int(2 ** (target.weight_bits - 1) - 1)


def quantize_weights(
    weights: NDArray[np.float32], scales: NDArray[np.float32], axis: int | None, target: Target
) -> NDArray[np.int8]:
    """Weights rounded to the nearest step."""
    most = most_weight(target)
    steps = weights / scales.reshape([-1 if other == axis else 1 for other in range(weights.ndim)])
    rounded: NDArray[np.int8] = np.clip(np.round(steps), -most, most).astype(np.int8)
    return rounded


def write_qdq(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    target: Target,
    *,
    exact: Mapping[str, Steps] | None = None,
    floats: frozenset[str] = frozenset(),
    rounded: Rounded | None = None,
) -> onnx.ModelProto:
    """`model` with Q/DQ pairs where `target` wants them, but for the nodes of the names `floats`.

    `exact` gives the steps of tensors that need no range.
    """
    writer = _open_writer(model, ranges, target, exact=exact or {}, floats=floats, rounded=rounded or {})
    result, found, steps = writer.model, writer.found, writer.steps
    nodes = writer.weights() + writer.pairs(value.name for value in result.graph.input)
    for node in Graph(result).nodes:
        nodes += [writer.rewired(node), *writer.pairs(node.output)]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(writer.constants)
    if not target.minimal:
        _drop_clipping(result, found, steps)
    drop_unused(result.graph)
    return result


def written_scales(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    target: Target,
    *,
    exact: Mapping[str, Steps] | None = None,
    floats: frozenset[str] = frozenset(),
) -> dict[str, NDArray[np.float32]]:
    """The scales of `weight_scales` that `write_qdq` gives weights for the same arguments, by their node's name."""
    writer = _open_writer(model, ranges, target, exact=exact or {}, floats=floats, rounded={})
    return {node.name: writer.scales(node) for node in writer.graph.nodes if node.name in writer.found.weights}


def _open_writer(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    target: Target,
    *,
    exact: Mapping[str, Steps],
    floats: frozenset[str],
    rounded: Rounded,
) -> "_Writer":
    """The writer of a copy of `model` whose nodes have names."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    name_nodes(result)
    if unknown := sorted(floats - {node.name for node in result.graph.node}):
        raise DataError(
            f"The graph has no node {unknown[0]!r} to leave in float. List them: edge-seg calib sensitivity"
        )
    found = place(result, target, frozenset(ranges) | frozenset(exact), floats)
    steps = _steps_of_tensors(found, ranges, target) | dict(exact)
    return _Writer(result, found, steps, target, rounded)


def _steps_of_tensors(found: Placement, ranges: Mapping[str, Range], target: Target) -> dict[str, Steps]:
    """Steps of each tensor; those of a group are of the range that holds all of theirs."""
    spans = dict(ranges)
    for group in found.groups:
        members = [ranges[name] for name in group if name in ranges]
        span = min(least for least, _ in members), max(most for _, most in members)
        spans |= dict.fromkeys(group, span)
    return {name: steps_for(span, target) for name, span in spans.items()}


class _Writer:
    """Q/DQ nodes and their constants, made as they are asked for."""

    def __init__(
        self, model: onnx.ModelProto, found: Placement, steps: Mapping[str, Steps], target: Target, rounded: Rounded
    ) -> None:
        self.model, self.graph = model, Graph(model)
        self.found, self.steps, self.target, self.rounded = found, steps, target, rounded
        by_name = {node.name: node for node in self.graph.nodes}
        self.read_by_edge = {by_name[name].input[index] for name, index in found.edges}
        self.constants: list[onnx.TensorProto] = []

    def rewired(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The node, reading dequantized tensors where it should."""
        for index, name in enumerate(node.input):
            if (node.name, index) in self.found.edges or name in self.found.tensors:
                node.input[index] = _dequantized(name)
        if node.name in self.found.weights:
            node.input[1] = _dequantized(f"{node.name}/weight")
            if self._has_integer_bias(node):
                node.input[2] = _dequantized(f"{node.name}/bias")
        return node

    def pairs(self, names: Iterable[str]) -> list[onnx.NodeProto]:
        """The Q/DQ pairs of those of the tensors `names` that are quantized."""
        quantized = [name for name in names if name in self.found.tensors or name in self.read_by_edge]
        return [node for name in quantized for node in self._pair(name)]

    def _pair(self, name: str) -> list[onnx.NodeProto]:
        steps = self.steps[name]
        parts = [
            name,
            self._constant(f"{name}_scale", steps.scale),
            self._constant(f"{name}_zero_point", steps.zero_point),
        ]
        quantized = f"{name}_QuantizeLinear_Output"
        return [
            helper.make_node("QuantizeLinear", parts, [quantized], f"{name}_QuantizeLinear"),
            helper.make_node(
                "DequantizeLinear", [quantized, *parts[1:]], [_dequantized(name)], f"{name}_DequantizeLinear"
            ),
        ]

    def weights(self) -> list[onnx.NodeProto]:
        """DequantizeLinear of all weights, and of the biases where they are integers too."""
        return [new for node in self.graph.nodes if node.name in self.found.weights for new in self._weights(node)]

    def _weights(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        values = numpy_helper.to_array(self.graph.constants[node.input[1]])
        axis = channel_axis(node, values.ndim)
        bias, scale, scales = self._bias(node), self.steps[node.input[0]].scale, self.scales(node)
        integers = self.rounded.get(node.name, quantize_weights(values, scales, axis, self.target))
        nodes = [self._dequantize(f"{node.name}/weight", integers, scales, axis)]
        if bias is not None:
            steps = np.float32(scale) * scales
            integers = np.round(bias / steps.astype(np.float64)).astype(np.int32)
            nodes.append(self._dequantize(f"{node.name}/bias", integers, steps, None if axis is None else 0))
        return nodes

    def scales(self, node: onnx.NodeProto) -> NDArray[np.float32]:
        """The scales of a node's weights."""
        values = numpy_helper.to_array(self.graph.constants[node.input[1]])
        bias, scale = self._bias(node), np.float64(self.steps[node.input[0]].scale)
        steps, axis = None if bias is None else np.abs(bias) / scale, channel_axis(node, values.ndim)
        return weight_scales(values, axis, self.target, steps)

    def _bias(self, node: onnx.NodeProto) -> NDArray[np.float32] | None:
        """A node's bias, where it becomes an integer."""
        return numpy_helper.to_array(self.graph.constants[node.input[2]]) if self._has_integer_bias(node) else None

    def _has_integer_bias(self, node: onnx.NodeProto) -> bool:
        return not self.target.minimal and len(node.input) > 2 and node.input[2] in self.graph.constants

    def _dequantize(
        self, name: str, integers: NDArray[np.int8] | NDArray[np.int32], scales: NDArray[np.float32], axis: int | None
    ) -> onnx.NodeProto:
        inputs = [
            self._constant(f"{name}_quantized", integers),
            self._constant(f"{name}_scale", scales),
            self._constant(f"{name}_zero_point", np.zeros(scales.shape, integers.dtype)),
        ]
        node = helper.make_node("DequantizeLinear", inputs, [_dequantized(name)], f"{name}_DequantizeLinear")
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        return node

    def _constant(self, name: str, value: object) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _dequantized(name: str) -> str:
    return f"{name}_DequantizeLinear_Output"


def _drop_clipping(model: onnx.ModelProto, found: Placement, steps: Mapping[str, Steps]) -> None:
    """Remove each ReLU and ReLU6 whose QuantizeLinear has its zero at the lowest level, and so clips by itself."""
    graph = Graph(model)
    for node in graph.nodes:
        name = node.output[0]
        if node.op_type in CLIPPING and name in found.tensors and _clips_at_zero(graph, node):
            zero = steps[name].zero_point
            if int(zero) == np.iinfo(zero.dtype).min:
                for reader, index in graph.readers[name]:
                    reader.input[index] = node.input[0]
                model.graph.node.remove(node)


def _clips_at_zero(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "Relu":
        return True
    least = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
    return least is not None and not numpy_helper.to_array(least).any()
