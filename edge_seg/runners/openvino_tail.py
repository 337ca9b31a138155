"""The integer tail (calib.integer_tail) in the order that suits OpenVINO: the same whole numbers, pixel by pixel.

In the file the maximum over the classes is taken plane by plane, as ONNX Runtime's convolutions leave them. Those of
OpenVINO leave all channels of a pixel together, and making planes of them copies every value at full size in float32.
So the axes change places before the file is compiled, and the two Transposes of bytes behind become one. Height and
width are one axis there: with both, the maximum is slower than over planes.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_seg.runners.contract import EXACT_PREFIX

PARTS = {
    "packed": "Conv",
    "by_class": "Reshape",
    "best": "ReduceMax",
    "planes": "Reshape",
    "pixels": "Transpose",
    "blocks": "Reshape",
}
"""The tail's nodes that are changed, left out or connected anew, and their operators."""


def lay_tail_by_pixels(model: onnx.ModelProto) -> bool:
    """Change the tail of a file that `calib.integer_tail` wrote; False, and nothing changed, where there is none.

    Tails that another tool has altered are none, so that the file runs as it is.
    """
    graph = model.graph
    nodes = {node.name.removeprefix(EXACT_PREFIX): node for node in graph.node if node.name.startswith(EXACT_PREFIX)}
    sizes = _sizes(nodes, {tensor.name: tensor for tensor in graph.initializer})
    if sizes is None:
        return False
    channels_last, pixels, axis = (f"{EXACT_PREFIX}{name}" for name in ("channels_last", "by_pixel", "pixel_axis"))
    transpose = helper.make_node("Transpose", [nodes["packed"].output[0]], [channels_last], channels_last)
    transpose.attribute.append(helper.make_attribute("perm", [0, 2, 3, 1]))
    graph.node.insert(list(graph.node).index(nodes["by_class"]), transpose)
    graph.initializer.append(numpy_helper.from_array(sizes, pixels))
    nodes["by_class"].input[:] = [channels_last, pixels]
    if len(nodes["best"].input) > 1:  # an attribute before opset 18
        graph.initializer.append(numpy_helper.from_array(np.array([2]), axis))
        nodes["best"].input[1] = axis
    else:
        next(found for found in nodes["best"].attribute if found.name == "axes").ints[:] = [2]
    nodes["blocks"].input[0] = nodes["planes"].input[0]
    for name in ("planes", "pixels"):
        graph.node.remove(nodes[name])
    del graph.value_info[:]  # shapes of what was
    return True


def _sizes(nodes: Mapping[str, onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]) -> NDArray[np.int64] | None:
    """The sizes [0, pixels, classes, sub-pixels] of what the maximum is taken of; None where the tail is not ours."""
    if any(name not in nodes or nodes[name].op_type != operator for name, operator in PARTS.items()):
        return None
    found = [constants.get(nodes[name].input[1]) for name in ("by_class", "planes")]
    by_class, planes = (None if tensor is None else numpy_helper.to_array(tensor) for tensor in found)
    if by_class is None or planes is None or (by_class.size, planes.size) != (3, 4):
        return None
    return np.array([0, planes[2] * planes[3], by_class[1], planes[1]])
