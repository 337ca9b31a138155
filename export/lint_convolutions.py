"""Rules of what keeps a convolution or a matrix product in float, and of what had better be."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge_seg.export.graph import (
    CLIPPING,
    CONVOLUTIONS,
    Graph,
    dequantized_constant,
    in_tail,
    is_constant,
    multiplications,
    name_of,
    params_of,
    type_name,
    weight_source,
)
from edge_seg.export.lint_rules import Goal, Hit, is_symmetric
from edge_seg.export.tensorrt_floats import FEWEST_CHANNELS, gates, is_wide

INTEGERS = (TensorProto.UINT8, TensorProto.INT8)
CLOSE = 1e-6
"""Of float32 arithmetic: 255 * float32(6 / 255) is 6 but for this."""


def float_convolution(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Input and weights of every convolution are quantized; for ONNX Runtime its output, too.

    In TensorRT's dialect those of few channels and those of gates are in float on purpose. OpenVINO reads it, too.
    """
    convolutions = [node for node in graph.of(*CONVOLUTIONS) if not in_tail(node)]
    total = sum(multiplications(graph, node) for node in convolutions)
    for node, found in _in_float(graph, goal, convolutions):
        yield Hit(name_of(node), found, multiplications(graph, node) / total if total else None)


def float_matrix_product(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """The same of Gemm and MatMul with weights, but that ONNX Runtime wants no Q at their output.

    Products of two activations, as attention has them, are in float on purpose.
    """
    products = [node for node in graph.of("Gemm", "MatMul") if is_constant(graph, weight_source(graph, node))]
    for node, found in _in_float(graph, goal, [node for node in products if not in_tail(node)]):
        yield Hit(name_of(node), found)


def _in_float(graph: Graph, goal: Goal, nodes: list[onnx.NodeProto]) -> Iterator[tuple[onnx.NodeProto, str]]:
    """Those of the weighted `nodes` of a quantized graph that are in float and not on purpose, and why."""
    sparing = bool(goal.tensorrt) or (goal.target.runtime == "openvino" and is_symmetric(graph))
    gated = gates(graph) if sparing else frozenset()
    for node in nodes if graph.is_quantized() else []:
        found = _what_is_float(graph, node, goal)
        if found and not (sparing and (node.output[0] in gated or not is_wide(graph, node))):
            yield node, found


def _what_is_float(graph: Graph, node: onnx.NodeProto, goal: Goal) -> str:
    """The side of a weighted node that keeps it in float, and its type there; empty where none does."""
    sides = {
        "input": graph.made_by("DequantizeLinear", node.input[0]),
        "weights": dequantized_constant(graph, node.input[1]),
    }
    types = {name: _type_in_float(graph, dequantize, goal) for name, dequantize in sides.items()}
    floats: dict[str, list[str]] = {}
    for name, kind in types.items():
        if kind:
            floats.setdefault(kind, []).append(name)
    if floats:
        return " and ".join(f"{kind} {' and '.join(names)}" for kind, names in floats.items())
    free = node.op_type not in CONVOLUTIONS and not _is_clipped_inside(graph, node.output[0])
    return "" if free or goal.target.runtime != "onnxruntime" else _what_is_float_behind(graph, node.output[0])


def _type_in_float(graph: Graph, quantizer: onnx.NodeProto | None, goal: Goal) -> str:
    """The type of what is not in 8 bits, such as int16, which is computed in float; empty where it is or may be."""
    if quantizer is None:
        return "float"
    kind = params_of(graph, quantizer).type
    float8 = bool(goal.tensorrt) and kind == TensorProto.FLOAT8E4M3FN  # what reads it multiplies in it
    return "" if float8 or kind in (*INTEGERS, TensorProto.UNDEFINED) else type_name(kind)


def _is_clipped_inside(graph: Graph, tensor: str) -> bool:
    """Whether a Relu or Clip alone reads a tensor, and gives no output of the graph."""
    reader = graph.only_reader(tensor)
    return reader is not None and reader.op_type in CLIPPING and graph.outputs.isdisjoint(reader.output)


def _what_is_float_behind(graph: Graph, tensor: str) -> str:
    """ONNX Runtime wants a Q behind a convolution, and drops a Relu or Clip between them where Q clips as much.

    It multiplies matrices in INT8 without a Q behind them, but not with a Relu or Clip there that it does not drop.
    """
    readers = graph.readers_of(tensor)
    between = readers[0] if len(readers) == 1 and readers[0].op_type in CLIPPING else None
    if between is not None and tensor not in graph.outputs:
        tensor = between.output[0]
        readers = graph.readers_of(tensor)
    if tensor in graph.outputs or [reader.op_type for reader in readers] != ["QuantizeLinear"]:
        return "float output"
    kind = params_of(graph, readers[0]).type
    if kind not in (*INTEGERS, TensorProto.UNDEFINED):
        return f"{type_name(kind)} output"
    if between is not None and not _clips_as_much(graph, readers[0], between):
        return f"a {between.op_type} before its Q, which Q does not replace"
    return ""


def _clips_as_much(graph: Graph, quantize: onnx.NodeProto, activation: onnx.NodeProto) -> bool:
    """True where what Q can hold lies within what a Relu or Clip lets through."""
    params = params_of(graph, quantize)
    kind = helper.tensor_dtype_to_np_dtype(params.type) if params.type in INTEGERS else None
    if kind is None or params.scale is None or params.zero_point is None or params.scale.size != 1:
        return False
    limits = np.array([np.iinfo(kind).min, np.iinfo(kind).max], np.float64)
    held = (limits - float(params.zero_point.item())) * float(params.scale.item())
    low, high = (0.0, np.inf) if activation.op_type == "Relu" else _clip_limits(graph, activation)
    return bool(low <= held[0] and held[1] <= high * (1 + CLOSE))


def _clip_limits(graph: Graph, node: onnx.NodeProto) -> tuple[float, float]:
    """What a Clip lets through; nothing where that is no constant."""
    given = [graph.value(name) if name else None for name in (*node.input[1:3], "", "")[:2]]
    missing = [bool(name) and value is None for name, value in zip(node.input[1:3], given, strict=False)]
    if any(missing):
        return np.inf, -np.inf
    low, high = given
    return -np.inf if low is None else float(low.item()), np.inf if high is None else float(high.item())


def small_convolution(graph: Graph, goal: Goal) -> Iterator[Hit]:
    """Convolutions of few channels stay in float."""
    for node in graph.of(*CONVOLUTIONS):
        quantized = graph.made_by("DequantizeLinear", node.input[0]) and dequantized_constant(graph, node.input[1])
        if quantized and not is_wide(graph, node) and not in_tail(node):
            yield Hit(name_of(node), f"a quantized convolution of fewer than {FEWEST_CHANNELS} channels on a side")
