"""An ONNX graph as all stages look at it: who makes and who reads a tensor, its constant value, type and shape."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_seg.errors import ModelError
from edge_seg.runners.contract import EXACT_PREFIX

Array = NDArray[Any]
"""Constants, of whatever type the file has them in."""

CONVOLUTIONS = ("Conv", "ConvTranspose")
WEIGHTED = frozenset({*CONVOLUTIONS, "Gemm", "MatMul"})
"""Operators whose second input can be weights."""

CLIPPING = frozenset({"Relu", "Clip"})
"""Operators that the QuantizeLinear behind them does by itself, if its range begins where they clip."""

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
LAYOUT = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
"""Operators that move values and compute none."""


class Graph:
    """The tables of a model's main graph by tensor name, as it is when they are made.

    Making them is cheap and does not fail. `readers` has each place at which a tensor is read; `constants` holds the
    initializers, those in another file too, and what Constant nodes give.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.opset = opset_of(model)
        self.nodes = list(model.graph.node)
        self.maker = {name: node for node in self.nodes for name in node.output if name}
        self.outputs = frozenset(value.name for value in model.graph.output)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants |= {name: a.t for name in node.output for a in node.attribute if a.name == "value"}
            for place, name in enumerate(node.input):
                self.readers.setdefault(name, []).append((node, place))

    def of(self, *operators: str) -> list[onnx.NodeProto]:
        """Nodes of these operators, in order."""
        return [node for node in self.nodes if node.op_type in operators]

    def made_by(self, operator: str, tensor: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, if it is of this operator."""
        node = self.maker.get(tensor)
        return node if node is not None and node.op_type == operator else None

    def readers_of(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor, each once."""
        return list({id(node): node for node, _ in self.readers.get(tensor, [])}.values())

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The node that alone reads a tensor, at one place."""
        readers = self.readers.get(tensor, [])
        return readers[0][0] if len(readers) == 1 and tensor not in self.outputs else None

    def has_weights(self, node: onnx.NodeProto) -> bool:
        """Whether a node is a weighted operator with constant weights: attention's products are not."""
        return node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in self.constants

    def is_quantized(self) -> bool:
        """True where the graph holds QuantizeLinear or DequantizeLinear."""
        return bool(self.of(*QUANTIZERS))

    def value(self, tensor: str) -> Array | None:
        """The value of a constant; None for what is none or lies in another file, ModelError where it is damaged."""
        found = self.constants.get(tensor)
        if found is None or found.data_location == TensorProto.EXTERNAL:
            return None
        try:
            return numpy_helper.to_array(found)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"The constant {tensor} cannot be read ({error}). Export the model again.") from None

    @cached_property
    def types(self) -> dict[str, int]:
        """ONNX's types of the tensors where they can be inferred; ModelError for a graph that contradicts itself."""
        found = {value.name: value.type.tensor_type.elem_type for value in self._inferred}
        return found | {tensor.name: tensor.data_type for tensor in self.model.graph.initializer}

    @cached_property
    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """The tensors' sizes, None where one is not known; errors as `types`."""
        found = {value.name: _sizes(value) for value in self._inferred}
        return found | {tensor.name: tuple(tensor.dims) for tensor in self.model.graph.initializer}

    @cached_property
    def _inferred(self) -> list[onnx.ValueInfoProto]:
        try:
            graph = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        except (onnx.shape_inference.InferenceError, ValueError) as error:
            raise ModelError(f"The graph's shapes cannot be inferred ({error}). Export the model again.") from None
        return [*graph.input, *graph.value_info, *graph.output]


@dataclass(frozen=True, slots=True)
class QuantParams:
    """Scale, zero point (zeros where the node has none), ONNX type and axis of a Q or DQ; None is not a constant."""

    scale: Array | None
    zero_point: Array | None
    type: int
    axis: int

    def equals(self, other: "QuantParams") -> bool:
        """True where both are known and give the same numbers."""
        if self.scale is None or other.scale is None or self.zero_point is None or other.zero_point is None:
            return False
        same_axis = self.axis == other.axis or self.scale.size == 1
        same_scale = np.array_equal(self.scale.ravel(), other.scale.ravel())
        same_zero_point = np.array_equal(self.zero_point.ravel(), other.zero_point.ravel())
        return self.type == other.type and same_axis and same_scale and same_zero_point


def read_graph(model: onnx.ModelProto) -> Graph:
    """The tables of a model that may be damaged, with types and shapes, before any rule counts on them.

    ModelError where a node lacks inputs or outputs, or a constant cannot be read.
    """
    _check_nodes(model)
    graph = Graph(model)
    _ = graph.types, graph.shapes  # now: what reads them may have changed the model
    for name in graph.constants:
        graph.value(name)
    return graph


def opset_of(model: onnx.ModelProto | onnx.FunctionProto) -> int:
    """The opset of ONNX's own operators, 0 where there is none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _check_nodes(model: onnx.ModelProto) -> None:
    """ModelError for a node of fewer inputs or outputs than ONNX asks for: rules count on those."""
    opset = opset_of(model)
    for node in walk(model.graph):
        if node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, opset):
            schema = onnx.defs.get_schema(node.op_type, opset)
            if len(node.input) < schema.min_input or len(node.output) < schema.min_output:
                raise ModelError(
                    f"The node {name_of(node)} ({node.op_type}) has {len(node.input)} inputs and {len(node.output)} "
                    f"outputs; expected {schema.min_input} and {schema.min_output} at least. Export the model again."
                )


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(d.dim_value if d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim)


def walk(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those within If and Loop too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from walk(inner)


def check_inside(model: onnx.ModelProto, given: str) -> None:
    """ModelError where the values of a constant are in another file: no hash of the graph tells of a change there.

    `given` is what the advice gives to `edge-seg lint`: the model and a target.
    """
    attributes = (attribute.t for node in walk(model.graph) for attribute in node.attribute)
    for tensor in (*model.graph.initializer, *attributes):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise ModelError(
                f"The values of {tensor.name} are in another file. Take them in: edge-seg lint {given} --fix"
            )


def options_of(node: onnx.NodeProto) -> dict[str, Any]:
    """All attributes by name; texts are bytes."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def attribute_of(node: onnx.NodeProto, name: str, default: int) -> int:
    """A whole-number attribute."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def text_of(node: onnx.NodeProto, name: str, default: str) -> str:
    """A text attribute."""
    return next((a.s.decode(errors="replace") for a in node.attribute if a.name == name), default)


def type_name(kind: int) -> str:
    """ONNX's name of a tensor type in lower case.

    >>> type_name(2)
    'uint8'
    """
    return str(TensorProto.DataType.Name(kind)).lower()


def name_of(node: onnx.NodeProto) -> str:
    """The node's name, or its first output's where it has none."""
    return node.name or next(iter(node.output), node.op_type)


def params_of(graph: Graph, node: onnx.NodeProto) -> QuantParams:
    """The parameters of a QuantizeLinear or DequantizeLinear."""
    scale = graph.value(node.input[1])
    if len(node.input) > 2 and node.input[2]:
        zero_point, kind = graph.value(node.input[2]), graph.types.get(node.input[2], 0)
    else:
        zero_point = None if scale is None else np.zeros_like(scale)
        made = attribute_of(node, "output_dtype", 0) or TensorProto.UINT8  # ONNX's default
        kind = made if node.op_type == "QuantizeLinear" else graph.types.get(node.input[0], 0)
    return QuantParams(scale, zero_point, kind, attribute_of(node, "axis", 1))


def spread(params: QuantParams, values: Array) -> tuple[Array, Array] | None:
    """Scale and zero point in the shape that goes with `values`; None where one is not known or does not fit."""
    scale, zero_point = params.scale, params.zero_point
    if scale is None or zero_point is None or scale.size != zero_point.size:
        return None
    shape = [1] * values.ndim
    if scale.size > 1:
        if not -values.ndim <= params.axis < values.ndim or values.shape[params.axis] != scale.size:
            return None
        shape[params.axis] = -1
    return scale.reshape(shape), zero_point.reshape(shape)


def dequantized_constant(graph: Graph, tensor: str) -> onnx.NodeProto | None:
    """The DequantizeLinear that gives `tensor` from a constant, directly or by a QuantizeLinear; else None."""
    node = graph.made_by("DequantizeLinear", tensor)
    if node is None:
        return None
    quantize = graph.made_by("QuantizeLinear", node.input[0])
    source = node.input[0] if quantize is None else quantize.input[0]
    return node if is_constant(graph, source) else None


def is_constant(graph: Graph, tensor: str) -> bool:
    """True for an initializer, in this file or another, and for a Constant node's output."""
    return tensor in graph.constants or graph.made_by("Constant", tensor) is not None


def activations(graph: Graph) -> list[onnx.NodeProto]:
    """The Q and DQ nodes of tensors that are no constants, but for those of the integer tail."""
    pairs = graph.of(*QUANTIZERS)
    return [node for node in pairs if not _is_of_constant(graph, node) and not in_tail(node)]


def _is_of_constant(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "DequantizeLinear":
        return dequantized_constant(graph, node.output[0]) is not None
    return is_constant(graph, node.input[0])


def in_tail(node: onnx.NodeProto) -> bool:
    """True for a node of the integer tail (edge_seg.calib.integer_tail)."""
    return node.name.startswith(EXACT_PREFIX)


def multiplications(graph: Graph, node: onnx.NodeProto) -> int:
    """Multiply-accumulates of a convolution for one picture; 0 where a size is not known."""
    weights = graph.shapes.get(weight_source(graph, node), ())
    counted = graph.shapes.get(node.output[0] if node.op_type == "Conv" else node.input[0], ())
    sizes = [*weights[1:], *counted[1:]]  # [channels a side, kernel ...] and [channels of the other side, H, W]
    return 0 if len(sizes) < 4 or None in sizes else math.prod(size or 0 for size in sizes)


def weight_source(graph: Graph, node: onnx.NodeProto) -> str:
    """The tensor behind a weighted operator's weights: through what quantizes and casts them."""
    tensor = str(node.input[1])
    for _ in graph.nodes:  # not for ever: a damaged graph may lead back
        maker = graph.maker.get(tensor)
        if maker is None or maker.op_type not in (*QUANTIZERS, "Cast"):
            break
        tensor = str(maker.input[0])
    return tensor


def channel_axis(node: onnx.NodeProto, rank: int) -> int | None:
    """The axis of a weighted node's weights, which have `rank` axes, that is its output channel.

    None for a ConvTranspose, which has one scale: TensorRT takes no other, and its groups share the axis. Also for a
    MatMul by a vector, which has one channel; weights [..., K, N] of a MatMul have theirs along the last axis.
    """
    if node.op_type in ("ConvTranspose", "MatMul"):
        return rank - 1 if node.op_type == "MatMul" and rank > 1 else None
    return 0 if node.op_type == "Conv" or attribute_of(node, "transB", 0) else 1
