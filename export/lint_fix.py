"""What the fix of a finding does to a graph, where it is mechanical: each leaves every label as it was.

Not here, since they change numbers: zero points to 0, and one scale for the inputs of a Concat. Both quantize anew.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_seg.errors import ModelError
from edge_seg.export.float_ends import cast_ends
from edge_seg.export.graph import (
    QUANTIZERS,
    Array,
    Graph,
    attribute_of,
    opset_of,
    params_of,
    read_graph,
    spread,
    walk,
)
from edge_seg.export.lint_rules import Goal
from edge_seg.export.tidy import drop_unused, read_instead


def fix(model: onnx.ModelProto, goal: Goal, rules: list[str], *, folder: Path) -> list[str]:
    """Mend in place what the named rules found, as far as that is mechanical; the rules that changed something.

    `folder` is the model's, for weights that lie in files beside it: ModelError where those cannot be read.
    """
    done = []
    for name in rules:
        if name == "external-data":
            _embed(model, folder)
            done.append(name)
    for name, mend in FIXES.items():
        before = model.SerializeToString(deterministic=True)
        if name in rules and not (name in REWIRING and _has_subgraphs(model)):
            mend(model, goal)
        if model.SerializeToString(deterministic=True) != before:
            done.append(name)
            _describe_anew(model)
    return done


def _has_subgraphs(model: onnx.ModelProto) -> bool:
    """True for If and Loop, whose bodies may read any tensor of the main graph."""
    return sum(1 for _ in walk(model.graph)) > len(model.graph.node)


def _describe_anew(model: onnx.ModelProto) -> None:
    """Drop what is no longer read, and infer types and shapes again."""
    if _has_subgraphs(model):
        return
    drop_unused(model.graph)
    del model.graph.value_info[:]
    model.CopyFrom(onnx.shape_inference.infer_shapes(model, data_prop=True))


def _embed(model: onnx.ModelProto, folder: Path) -> None:
    """Take weights from files beside the model into it."""
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"The weights beside the model cannot be read ({error}). Copy their file there.") from None


def lower_opset(model: onnx.ModelProto, goal: Goal) -> None:
    """Write the newest opset of the run-time, if all operators of the graph are the same in it."""
    found, wanted = opset_of(model), goal.most_opset
    known = found <= onnx.defs.onnx_opset_version() and not model.functions
    nodes = [node for node in walk(model.graph) if node.domain in ("", "ai.onnx")]
    if known and wanted < found and all(_is_same_operator(node.op_type, found, wanted) for node in nodes):
        for entry in model.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = wanted


def _is_same_operator(operator: str, one: int, other: int) -> bool:
    """True where an operator's definition is the same in both opsets.

    >>> _is_same_operator("Conv", 18, 17), _is_same_operator("Resize", 18, 17)
    (True, False)
    """
    if not (onnx.defs.has(operator, one) and onnx.defs.has(operator, other)):
        return False
    since = [onnx.defs.get_schema(operator, version).since_version for version in (one, other)]
    return since[0] == since[1]


def lower_ir_version(model: onnx.ModelProto, goal: Goal) -> None:
    """Write the ir_version that came with the opset."""
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)


def move_casts(model: onnx.ModelProto, goal: Goal) -> None:
    """Cast the camera's bytes to float at once, and labels to uint8 by way of float."""
    cast_ends(model)


def fold_biases(model: onnx.ModelProto, goal: Goal) -> None:
    """Store int32 constants as the floats that their DequantizeLinear gives."""
    graph = read_graph(model)
    for node in graph.of("DequantizeLinear"):
        values = _dequantized(graph, node)
        if values is not None and params_of(graph, node).type == TensorProto.INT32:
            model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            model.graph.node.remove(node)


def quantize_constants(model: onnx.ModelProto, goal: Goal) -> None:
    """Store int8 constants as floats, with a QuantizeLinear that gives the same int8."""
    graph = read_graph(model)
    for node in graph.of("DequantizeLinear"):
        values = _dequantized(graph, node)
        if values is None or params_of(graph, node).type != TensorProto.INT8 or len(node.input) < 3:
            continue
        stored, quantized = f"{node.output[0]}/float", f"{node.output[0]}/quantized"
        inputs, axis = [stored, *node.input[1:]], attribute_of(node, "axis", 1)
        quantize = helper.make_node("QuantizeLinear", inputs, [quantized], quantized, axis=axis)
        model.graph.initializer.append(numpy_helper.from_array(values, stored))
        model.graph.node.insert(list(model.graph.node).index(node), quantize)
        node.input[0] = quantized


def _dequantized(graph: Graph, node: onnx.NodeProto) -> Array | None:
    """The floats that a DequantizeLinear gives from a constant, computed as run-times do; None where it has none."""
    values = graph.value(node.input[0])
    spread_out = None if values is None else spread(params_of(graph, node), values)
    if values is None or spread_out is None:
        return None
    scales, zeros = spread_out
    return np.asarray((values.astype(np.int64) - zeros.astype(np.int64)).astype(scales.dtype) * scales)


def add_zero_points(model: onnx.ModelProto, goal: Goal) -> None:
    """Give the Q and DQ of int8 the zero point 0 that ONNX takes where none is given."""
    graph = read_graph(model)
    for node in graph.of(*QUANTIZERS):
        params = params_of(graph, node)
        missing = len([name for name in node.input if name]) < 3
        if missing and params.type == TensorProto.INT8 and params.scale is not None:
            name = f"{node.output[0]}/zero_point"
            model.graph.initializer.append(numpy_helper.from_array(np.zeros(params.scale.shape, np.int8), name))
            inputs = [*node.input[:2], name]
            del node.input[:]
            node.input.extend(inputs)


def drop_double_quantization(model: onnx.ModelProto, goal: Goal) -> None:
    """Remove the second Q of Q -> DQ -> Q, and all but one Q of a tensor, where the parameters are equal."""
    graph = read_graph(model)
    kept: dict[str, list[onnx.NodeProto]] = {}
    renamed: dict[str, str] = {}
    for node in graph.of("QuantizeLinear"):
        source = next((one.output[0] for one in kept.get(node.input[0], []) if _is_equal(graph, one, node)), None)
        dequantize = graph.made_by("DequantizeLinear", node.input[0])
        if dequantize is not None and graph.made_by("QuantizeLinear", dequantize.input[0]) is not None:
            source = dequantize.input[0] if _is_equal(graph, dequantize, node) else source
        if source is None or node.output[0] in graph.outputs:
            kept.setdefault(node.input[0], []).append(node)
        else:
            renamed[node.output[0]] = source
    read_instead(model.graph, renamed)


def _is_equal(graph: Graph, one: onnx.NodeProto, other: onnx.NodeProto) -> bool:
    return params_of(graph, one).equals(params_of(graph, other))


FIXES: dict[str, Callable[[onnx.ModelProto, Goal], None]] = {
    "opset": lower_opset,
    "ir-version": lower_ir_version,
    "uint8-inside": move_casts,
    "int32-bias": fold_biases,
    "zero-point-missing": add_zero_points,
    "int8-constant": quantize_constants,
    "double-quantization": drop_double_quantization,
}
"""What mends a rule's findings, in the order in which they can be mended; external data is taken in before."""

REWIRING = tuple(FIXES)[2:]
"""Those that move nodes, and stay away from graphs with If and Loop."""
