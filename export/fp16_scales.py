"""Scales of Q/DQ nodes that FP16 can hold as normal numbers.

Below 2^-14 FP16 has fewer bits, and the reciprocal, by which a QuantizeLinear multiplies, soon overflows. A channel of
weights that are all below 127 * 2^-14 = 0.0078 has such a scale. Its weights are rounded again, in steps of 2^-14: each
is then off by 2^-15 at most.
"""

from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from edge_seg.errors import ModelError
from edge_seg.export.graph import (
    Array,
    Graph,
    QuantParams,
    dequantized_constant,
    is_constant,
    params_of,
    read_graph,
    spread,
)

LEAST = 2.0**-14
"""The least normal FP16 number."""

NOTHING = 1e-10
"""The scale of a tensor that holds nothing but zero, or less (calib.qdq.LEAST_SCALE): any scale does for it."""


def fit_scales(model: onnx.ModelProto) -> bool:
    """Raise scales below 2^-14 to it in place; False for a graph without Q/DQ nodes.

    ModelError for an activation with such a scale, unless it holds nothing but zero: its values would be lost.
    """
    graph = read_graph(model)
    made: dict[str, Array] = {}
    for node in graph.of("QuantizeLinear", "DequantizeLinear"):
        params = params_of(graph, node)
        if params.scale is None:
            raise ModelError(f"The scale of {node.input[0]} is no constant. Quantize the FP32 model: edge-seg quantize")
        if (params.scale < LEAST).any():
            _fit(graph, node, params, made)
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in made.items())
    return graph.is_quantized()


def _fit(graph: Graph, node: onnx.NodeProto, params: QuantParams, made: dict[str, Array]) -> None:
    """Give a node a larger scale, and round stored weights in its steps; `made` takes the new constants."""
    scales = params.scale
    assert scales is not None
    if not _is_weight(graph, node) and (scales > NOTHING).any():
        raise ModelError(
            f"The scale of {node.input[0]} is {scales.min():g}; FP16 scales below {LEAST:g} lose bits. "
            "Keep --float fp32."
        )
    fitted = np.maximum(scales, np.float32(LEAST))
    stored = graph.value(node.input[0])
    if node.op_type == "DequantizeLinear" and stored is not None:
        ratios = spread(replace(params, scale=scales.astype(np.float64) / fitted), stored)
        if ratios is None:
            raise ModelError(f"The scales of {node.input[0]} do not fit its shape. Quantize the FP32 model again.")
        node.input[0] = _add(made, node.input[0], _rounded_again(stored, *ratios))
    node.input[1] = _add(made, node.input[1], fitted)


def _is_weight(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type == "QuantizeLinear":
        return is_constant(graph, node.input[0])
    return dequantized_constant(graph, node.output[0]) is not None


def _rounded_again(stored: Array, ratio: Array, zero: Array) -> Array:
    """Integers of the same values in steps that are 1 / ratio times as large."""
    rounded: Array = (np.round((stored.astype(np.int64) - zero) * ratio) + zero).astype(stored.dtype)
    return rounded


def _add(made: dict[str, Array], old: str, values: Array) -> str:
    """The name of a new constant in place of `old`, whose other readers may want it as it was."""
    name = f"{old}/fp16"
    made[name] = values
    return name
