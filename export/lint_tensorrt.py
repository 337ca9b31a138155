"""Rules of TensorRT. Sources: export/tensorrt_support.py, and NVIDIA's guide to the placement of Q/DQ nodes."""

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from edge_seg.export.graph import (
    CONVOLUTIONS,
    QUANTIZERS,
    Graph,
    activations,
    attribute_of,
    channel_axis,
    in_tail,
    is_constant,
    name_of,
    params_of,
    text_of,
    type_name,
    weight_source,
)
from edge_seg.export.lint_rules import Goal, Hit, weight_params
from edge_seg.export.tensorrt_support import reads_quantized, version_of

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
OTHER_RULES = (TensorProto.UINT8, TensorProto.INT32)
"""Types of Q and DQ that rules of their own tell of."""

IN_FLOAT = (
    *("ArgMax", "ArgMin", "Erf", "Exp", "InstanceNormalization", "LayerNormalization", "GroupNormalization"),
    *("Pow", "Sigmoid", "Softmax", "Sqrt", "TopK"),
)
"""What TensorRT computes in float, whatever stands before it: attention cores, SE gates, labels."""


def activation_zero_point(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """int8 activations have zero point 0; uint8 ones are another rule's."""
    for node in activations(graph):
        params = params_of(graph, node)
        signed = params.type == TensorProto.INT8 and node.op_type == "QuantizeLinear"
        if signed and params.zero_point is not None and params.zero_point.any():
            yield Hit(node.input[0], "a zero point other than 0")


def weight_zero_point(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Weights are of a signed type, with zero point 0."""
    for node, params in weight_params(graph):
        if params.type == TensorProto.UINT8:
            yield Hit(name_of(node), f"{type_name(params.type)} weights")
        elif params.zero_point is not None and params.zero_point.any():
            yield Hit(name_of(node), "a zero point other than 0")


def quantized_type(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Q and DQ are of int8, or of a shorter type that this version has; uint8 and int32 are other rules'."""
    of_activations = {name_of(node) for node in activations(graph)}
    for node in graph.of(*QUANTIZERS):
        kind = params_of(graph, node).type
        if kind == TensorProto.INT4 and name_of(node) in of_activations:
            yield Hit(name_of(node), "int4 activations")
        elif kind not in (*OTHER_RULES, TensorProto.UNDEFINED) and not reads_quantized(kind, goal.tensorrt):
            yield Hit(name_of(node), f"{type_name(kind)} quantized")


def per_channel_activations(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """An activation has one scale."""
    for node in activations(graph):
        values = params_of(graph, node).scale
        if node.op_type == "QuantizeLinear" and values is not None and values.size > 1:
            yield Hit(node.input[0], f"{values.size} scales")


def weight_axis(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Scales of weights run along the output channels; a transposed convolution has one scale."""
    for node, params in weight_params(graph):
        if params.scale is None or params.scale.size == 1:
            continue
        rank = len(graph.shapes[weight_source(graph, node)])
        axis = channel_axis(node, rank)
        if axis is None:
            yield Hit(name_of(node), f"{params.scale.size} scales of a {node.op_type}")
        elif params.axis not in (axis, axis - rank):
            yield Hit(name_of(node), f"scales along axis {params.axis}")


def zero_point_missing(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Before 10 the parser asks for all three inputs of a Q or DQ."""
    for node in graph.of(*QUANTIZERS):
        if len([name for name in node.input if name]) < 3 and version_of(goal.tensorrt) < (10, 0):
            yield Hit(name_of(node), f"a {node.op_type} without zero point")


def int32_bias(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """TensorRT dequantizes no int32, which ONNX Runtime's quantizer writes biases in."""
    for node in graph.of("DequantizeLinear"):
        if params_of(graph, node).type == TensorProto.INT32:
            yield Hit(node.output[0], "an int32 tensor dequantized")


def int8_constant(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Before 10 weights are stored in float, with a Q and a DQ behind them."""
    for node in graph.of("DequantizeLinear"):
        stored = is_constant(graph, node.input[0]) and params_of(graph, node).type == TensorProto.INT8
        if stored and version_of(goal.tensorrt) < (10, 0):
            yield Hit(node.input[0], "weights stored as int8")


def uint8_inside(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """uint8 stands at the graph's ends alone, and is cast from and to float there."""
    outputs = graph.outputs
    for node in graph.nodes:
        kinds = [graph.types.get(name) for name in node.output]
        if node.op_type in ("Constant", "QuantizeLinear", "DequantizeLinear") or in_tail(node):
            continue  # quantized tensors and the integer tail are other rules'
        if TensorProto.UINT8 in kinds and not outputs.issuperset(node.output):
            yield Hit(name_of(node), f"{node.op_type} makes uint8 inside the graph")
        elif node.op_type == "Cast":
            source, made = graph.types.get(node.input[0]), attribute_of(node, "to", 0)
            if (source == TensorProto.UINT8 and made not in FLOATS) or (
                made == TensorProto.UINT8 and source not in FLOATS
            ):
                yield Hit(name_of(node), f"a Cast from {type_name(source or 0)} to {type_name(made)}")


def integer_argmax(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Before 8.6 ArgMax takes floats alone."""
    for node in graph.of("ArgMax", "ArgMin"):
        kind = graph.types.get(node.input[0], TensorProto.FLOAT)
        if kind not in FLOATS and version_of(goal.tensorrt) < (8, 6):
            yield Hit(name_of(node), f"{node.op_type} of {type_name(kind)}")


def resize_mode(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Resize is nearest or linear, without antialiasing."""
    for node in graph.of("Resize"):
        mode = text_of(node, "mode", "nearest")
        if mode not in ("nearest", "linear"):
            yield Hit(name_of(node), f"mode {mode}")
        elif attribute_of(node, "antialias", 0):
            yield Hit(name_of(node), "antialiasing")


def integer_tail(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """The tail of whole numbers is for CPUs."""
    tail = [node for node in graph.nodes if in_tail(node)]
    if tail:
        yield Hit(name_of(tail[0]), f"up-sampling and argmax in whole numbers ({len(tail)} nodes)")


def concat_scales(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """The inputs of a Concat share one scale."""
    for node in graph.of("Concat"):
        makers = [graph.made_by("DequantizeLinear", name) for name in node.input]
        known = [params_of(graph, maker) for maker in makers if maker is not None]
        if known and not all(known[0].equals(other) for other in known[1:]):
            yield Hit(name_of(node), "inputs of several scales")
        elif known and len(known) < len(makers):
            yield Hit(name_of(node), f"{len(known)} of {len(makers)} inputs quantized")


def residual_branch(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Of a residual Add the identity is quantized, not the convolution's branch: that would keep them from fusing."""
    for node in graph.of("Add"):
        branches = [_quantized_convolution(graph, name) for name in node.input]
        floats = [_is_fusible(graph, name) for name in node.input]
        if any(branches) and not any(floats):
            yield Hit(name_of(node), "the output of its convolution is quantized")


def _quantized_convolution(graph: Graph, tensor: str) -> bool:
    """True for Conv -> Q -> DQ -> `tensor` that nothing else reads."""
    dequantize = graph.made_by("DequantizeLinear", tensor)
    quantize = graph.made_by("QuantizeLinear", dequantize.input[0]) if dequantize is not None else None
    if quantize is None or len(graph.readers_of(tensor)) > 1 or len(graph.readers_of(quantize.output[0])) > 1:
        return False
    return _is_fusible(graph, quantize.input[0])


def _is_fusible(graph: Graph, tensor: str) -> bool:
    """True for the output of a convolution that has one reader."""
    maker = graph.maker.get(tensor)
    return maker is not None and maker.op_type in CONVOLUTIONS and len(graph.readers_of(tensor)) == 1


def quantized_in_vain(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """No Q -> DQ before what is computed in float anyway: the head's last Resize, ArgMax, attention, gates."""
    for node in activations(graph):
        if node.op_type == "DequantizeLinear":
            readers = graph.readers_of(node.output[0])
            if readers and all(_is_in_float(graph, reader) for reader in readers):
                yield Hit(node.output[0], f"Q -> DQ before {', '.join(sorted({r.op_type for r in readers}))}")


def _is_in_float(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "Resize":
        behind = graph.readers_of(node.output[0])
        return node.output[0] in graph.outputs or all(reader.op_type in ("ArgMax", "ArgMin") for reader in behind)
    return node.op_type in IN_FLOAT
