"""The integer tail (calib.integer_tail) as OpenVINO computes it fastest: the same whole numbers, pixel by pixel.

In the file the maximum over the classes is taken plane by plane, as ONNX Runtime's convolutions leave them. Those of
OpenVINO leave all channels of a pixel together: made into planes first, which is a copy of all values at full size in
float32, they cost more time than the convolution. So the axes change places before the file is compiled, and the two
Transposes of bytes behind become one.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_seg.runners.contract import EXACT_PREFIX

PARTS = {"packed": "Conv", "by_class": "Reshape", "best": "ReduceMax", "planes": "Reshape", "pixels": "Transpose"}
"""The tail's nodes that are changed or left out, and their operators."""


def lay_tail_by_pixels(model: onnx.ModelProto) -> bool:
    """Change the tail of a file that `calib.integer_tail` wrote; False, and nothing changed, where there is none."""
    graph = model.graph
    nodes = {node.name.removeprefix(EXACT_PREFIX): node for node in graph.node if node.name.startswith(EXACT_PREFIX)}
    if any(name not in nodes or nodes[name].op_type != operator for name, operator in PARTS.items()):
        return False
    constants = {tensor.name: tensor for tensor in graph.initializer}
    split, sub_pixels = (constants[nodes[name].input[1]] for name in ("by_class", "planes"))
    classes = int(numpy_helper.to_array(split)[1])
    _, factors, height, width = (int(size) for size in numpy_helper.to_array(sub_pixels))

    last = f"{EXACT_PREFIX}channels_last"
    transpose = helper.make_node("Transpose", [nodes["packed"].output[0]], [last], last, perm=[0, 2, 3, 1])
    graph.node.insert(list(graph.node).index(nodes["by_class"]), transpose)
    nodes["by_class"].input[0] = last
    split.CopyFrom(numpy_helper.from_array(np.array([0, height * width, classes, factors]), split.name))
    _set_axis(nodes["best"], constants, 2)
    for reader in graph.node:
        if nodes["pixels"].output[0] in reader.input:
            reader.input[0] = nodes["planes"].input[0]
    for name in ("planes", "pixels"):
        graph.node.remove(nodes[name])
    graph.initializer.remove(sub_pixels)
    del graph.value_info[:]  # shapes of what was
    return True


def _set_axis(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], axis: int) -> None:
    """Let a ReduceMax go over another axis: an input from opset 18 on, an attribute before."""
    if len(node.input) > 1:
        tensor = constants[node.input[1]]
        tensor.CopyFrom(numpy_helper.from_array(np.array([axis]), tensor.name))
        return
    found = next(attribute for attribute in node.attribute if attribute.name == "axes")
    found.ints[:] = [axis]
