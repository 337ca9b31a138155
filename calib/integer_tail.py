"""The end of an INT8 graph in integers: bilinear up-sampling and argmax without a float picture per class.

Resize and ArgMax over all classes at full size cost a CPU more than half of a small net. With the logits in uint8
(one scale and zero point for all classes, which argmax does not see) both become exact integer arithmetic:

- Bilinear up-sampling by an even factor r with half-pixel centres is, for each of the r x r sub-pixels, a 3x3 filter
  over the edge-padded logits, with integer weights that sum to 4 r^2.
- A filter's result v becomes `v * base + (classes - 1 - class)`, base the next power of two above the classes: the
  maximum over the classes then carries its own class, the lowest on equal values, as ArgMax gives. All values stay
  below 2^24 and so exact in float32.

What is left at full size is one byte per pixel.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_seg.export.tidy import drop_unused
from edge_seg.runners.contract import EXACT_PREFIX

FACTORS = (2, 4, 6)
"""Even factors whose largest weight, (2 r - 1)^2, fits int8; with at most 256 classes all values stay below 2^24."""


def bilinear_taps(factor: int) -> NDArray[np.int8]:
    """Integer weights [factor, 3] of the pixels i-1, i, i+1 for each sub-pixel; every row sums to 2 * factor.

    >>> bilinear_taps(4).tolist()
    [[3, 5, 0], [1, 7, 0], [0, 7, 1], [0, 5, 3]]
    """
    offsets = 2 * np.arange(factor) + 1 - factor  # of the sub-pixel from the pixel's centre, in 1 / (2 factor) pixels
    sides = np.maximum([-offsets, offsets], 0)
    return np.stack([sides[0], 2 * factor - np.abs(offsets), sides[1]], axis=1).astype(np.int8)


def use_integer_tail(model: onnx.ModelProto) -> bool:
    """Rewrite `QuantizeLinear -> DequantizeLinear -> Resize -> ArgMax -> Cast` at the end of a Q/DQ graph.

    False, and nothing changed, where the graph ends otherwise or the factor is none of FACTORS.
    """
    chain = _find_tail(model.graph)
    if chain is None:
        return False
    quantize, resize, cast = chain
    classes, height, width = _shape(model, resize.input[0])[1:]
    factor = _even_factor(model.graph, resize)
    base = 1 << (classes - 1).bit_length()
    if factor not in FACTORS:
        return False
    model.graph.node.remove(cast)
    _append_tail(model.graph, quantize.output[0], (classes, height, width), factor, base)
    drop_unused(model.graph)
    return True


def _find_tail(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto] | None:
    """The tail's QuantizeLinear, Resize and Cast, from the output upwards."""
    makers = {node.output[0]: node for node in graph.node}
    chain, tensor = [], "labels"
    for operator in ("Cast", "ArgMax", "Resize", "DequantizeLinear", "QuantizeLinear"):
        node = makers.get(tensor)
        if node is None or node.op_type != operator:
            return None
        chain.append(node)
        tensor = node.input[0]
    return chain[4], chain[2], chain[0]


def _shape(model: onnx.ModelProto, tensor: str) -> list[int]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    info = next(value for value in inferred.value_info if value.name == tensor)
    return [dim.dim_value for dim in info.type.tensor_type.shape.dim]


def _even_factor(graph: onnx.GraphProto, resize: onnx.NodeProto) -> int:
    """The even whole factor of a bilinear half-pixel Resize, else 0."""
    attributes = {a.name: helper.get_attribute_value(a) for a in resize.attribute}
    scales = next(numpy_helper.to_array(t) for t in graph.initializer if t.name == resize.input[2])
    centres = attributes.get("coordinate_transformation_mode") in (b"half_pixel", b"pytorch_half_pixel")
    bilinear = attributes.get("mode") == b"linear" and centres and scales[2] == scales[3] and scales[2] % 2 == 0
    return int(scales[2]) if bilinear else 0


def _append_tail(graph: onnx.GraphProto, logits: str, shape: tuple[int, int, int], factor: int, base: int) -> None:
    """Nodes from quantized logits uint8 [N, C, h, w] to labels uint8 [N, h * factor, w * factor]."""
    constants = _constants(shape, factor, base)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"{EXACT_PREFIX}{name}") for name, value in constants.items()
    )
    steps = _steps(logits, classes=shape[0])
    own = {*constants, *(step[2] for step in steps)} - {"labels"}
    for operator, inputs, output, attributes in steps:
        names = [f"{EXACT_PREFIX}{name}" if name in own else name for name in [*inputs, output]]
        graph.node.append(helper.make_node(operator, names[:-1], names[-1:], f"{EXACT_PREFIX}{output}", **attributes))


def _constants(shape: tuple[int, int, int], factor: int, base: int) -> dict[str, Any]:
    classes, height, width = shape
    filters = classes * factor**2
    return {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "scale": np.float32(base),
        "zero": np.uint8(0),
        "filters": _filters(classes, factor),
        "filter_scales": np.ones(filters, np.float32),
        "filter_zeros": np.zeros(filters, np.int8),
        "ranks": np.repeat(np.arange(classes)[::-1], factor**2).astype(np.float32),
        "split": np.array([0, height, width, classes, factor**2]),
        "base": np.float32(base),
        "inverse_base": np.float32(1 / base),
        "last": np.float32(classes - 1),
        "sub_pixels": np.array([0, height, width, factor, factor]),
        "full": np.array([0, height * factor, width * factor]),
    }


def _steps(logits: str, *, classes: int) -> list[tuple[str, list[str], str, dict[str, Any]]]:
    """Operator, inputs, output and attributes of each node; rank is best mod base, which ONNX's Mod computes slowly."""
    return [
        ("Pad", [logits, "pads"], "padded", {"mode": "edge"}),
        ("DequantizeLinear", ["padded", "scale", "zero"], "levels", {}),
        ("DequantizeLinear", ["filters", "filter_scales", "filter_zeros"], "weights", {"axis": 0}),
        ("Conv", ["levels", "weights", "ranks"], "packed", {"group": classes, "kernel_shape": [3, 3]}),
        ("Transpose", ["packed"], "packed_last", {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["packed_last", "split"], "by_class", {}),
        ("ReduceMax", ["by_class"], "best", {"axes": [3], "keepdims": 0}),
        ("Mul", ["best", "inverse_base"], "ratio", {}),
        ("Floor", ["ratio"], "value", {}),
        ("Mul", ["value", "base"], "multiple", {}),
        ("Sub", ["best", "multiple"], "rank", {}),
        ("Sub", ["last", "rank"], "class", {}),
        ("Cast", ["class"], "bytes", {"to": onnx.TensorProto.UINT8}),
        ("Reshape", ["bytes", "sub_pixels"], "blocks", {}),
        ("Transpose", ["blocks"], "rows", {"perm": [0, 1, 3, 2, 4]}),
        ("Reshape", ["rows", "full"], "labels", {}),
    ]


def _filters(classes: int, factor: int) -> NDArray[np.int8]:
    """Filters int8 [classes * factor^2, 1, 3, 3]: every class on its own, sub-pixels row by row."""
    taps = bilinear_taps(factor)
    kernels = np.einsum("ai,bj->abij", taps, taps).reshape(factor**2, 1, 3, 3)
    return np.tile(kernels, (classes, 1, 1, 1))
