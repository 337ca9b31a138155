"""Make an exported graph plain: constant resize scales, no shape arithmetic, no aliases."""

import numpy as np
import onnx
from onnx import numpy_helper


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation with every up-sampling by constant scales and nothing that no output needs.

    PyTorch writes `interpolate(size=...)` as sizes computed from Shape, which keeps quantizers and TensorRT from seeing
    that height and width are fixed.
    """
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for node in list(model.graph.node):
        if node.op_type == "Resize":
            _use_scales(model.graph, node)
    _drop_aliases(model.graph)
    drop_unused(model.graph)
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _use_scales(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Replace a Resize's sizes by scales; both shapes are known but for N."""
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    source, target = shapes[node.input[0]][2:], shapes[node.output[0]][2:]
    name = f"{node.output[0]}_scales"
    scales = np.array([1, 1, *(_scale(s, t) for s, t in zip(source, target, strict=True))], np.float32)
    graph.initializer.append(numpy_helper.from_array(scales, name))
    data = node.input[0]
    del node.input[:]
    node.input.extend([data, "", name])


def _scale(source: int, target: int) -> np.float32:
    """The least float32 by which floor(source * scale) is target: 23 / 12 rounds down, and 22 rows would come out.

    >>> int(12 * float(np.float32(23 / 12))), int(12 * float(_scale(12, 23))), float(_scale(90, 360))
    (22, 23, 4.0)
    """
    scale = np.float32(target / source)
    return scale if source * float(scale) >= target else np.nextafter(scale, np.float32(np.inf))


def _drop_aliases(graph: onnx.GraphProto) -> None:
    """Remove Identity nodes: what read their output reads their input."""
    names = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    kept = [node for node in graph.node if node.op_type != "Identity"]
    for node in kept:
        inputs = [names.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(inputs)
    del graph.node[:]
    graph.node.extend(kept)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes, initializers and shapes of tensors that no output needs."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    shapes = [value for value in graph.value_info if value.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.value_info.extend(shapes)
    graph.node.extend(reversed(kept))
    graph.initializer.extend(initializers)
