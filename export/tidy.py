"""Make an exported graph plain: constant resize scales, no shape arithmetic, no aliases."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from edge_seg.export.graph import Graph, options_of


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation with every up-sampling by constant scales and nothing that no output needs.

    PyTorch writes `interpolate(size=...)` as sizes computed from Shape, which keeps quantizers and TensorRT from seeing
    that height and width are fixed. The model given is used up.
    """
    use_constant_scales(Graph(model))
    drop_aliases(model.graph)
    drop_unused(model.graph)
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def use_constant_scales(graph: Graph) -> None:
    """Let a Resize of pictures whose sizes are computed, or hold the batch, scale height and width by constants."""
    for node in graph.of("Resize"):
        options = options_of(node)
        source, target = (graph.shapes.get(name, ())[1:] for name in (node.input[0], node.output[0]))
        sides = [(s, t) for s, t in zip(source[1:], target[1:], strict=False) if s and t]
        if len(source) != 3 or len(sides) != 2 or None in source or source[0] != target[0] or "axes" in options:
            continue
        if options.get("coordinate_transformation_mode") == b"tf_crop_and_resize":
            continue
        if len(node.input) == 3 and node.input[2] in graph.constants:
            continue
        name = f"{node.output[0]}_scales"
        scales = np.array([1, 1, *(resize_scale(s, t) for s, t in sides)], np.float32)
        graph.model.graph.initializer.append(numpy_helper.from_array(scales, name))
        data = node.input[0]
        del node.input[:]
        node.input.extend([data, "", name])


def resize_scale(source: int, target: int) -> np.float32:
    """The least float32 by which floor(source * scale) is target: 23 / 12 rounds down, and 22 rows would come out.

    >>> int(12 * float(np.float32(23 / 12))), int(12 * float(resize_scale(12, 23))), float(resize_scale(90, 360))
    (22, 23, 4.0)
    """
    scale = np.float32(target / source)
    return scale if source * float(scale) >= target else np.nextafter(scale, np.float32(np.inf))


def drop_aliases(graph: onnx.GraphProto) -> None:
    """Remove Identity nodes, behind which exporters hide shared weights, but those that make an output."""
    outputs = {value.name for value in graph.output}
    nodes = [node for node in graph.node if node.op_type == "Identity" and node.output[0] not in outputs]
    for node in nodes:
        graph.node.remove(node)
    read_instead(graph, {node.output[0]: node.input[0] for node in nodes})


def read_instead(graph: onnx.GraphProto, others: Mapping[str, str]) -> None:
    """Let every node that reads one of the tensors `others` read what stands there for it."""
    for node in graph.node:
        for place, name in enumerate(node.input):
            while name in others:
                name = others[name]
            node.input[place] = name


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
