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

from edge_seg.export.graph import Graph, options_of
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
    graph = Graph(model)
    chain = _find_tail(graph)
    if chain is None:
        return False
    quantize, resize, cast = chain
    factor = _even_factor(graph, resize)
    if factor not in FACTORS:
        return False
    classes, height, width = (size or 0 for size in graph.shapes[resize.input[0]][1:])
    base = 1 << (classes - 1).bit_length()
    model.graph.node.remove(cast)
    constants = _constants((classes, height, width), factor, base) | {"zero": _lowest(graph, quantize.input[2])}
    _append_tail(model.graph, quantize.output[0], constants, classes=classes, opset=graph.opset)
    drop_unused(model.graph)
    return True


def _find_tail(graph: Graph) -> tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto] | None:
    """The tail's QuantizeLinear, Resize and Cast, from the output upwards."""
    chain, tensor = [], "labels"
    for operator in ("Cast", "ArgMax", "Resize", "DequantizeLinear", "QuantizeLinear"):
        node = graph.made_by(operator, tensor)
        if node is None:
            return None
        chain.append(node)
        tensor = node.input[0]
    return chain[4], chain[2], chain[0]


def _even_factor(graph: Graph, resize: onnx.NodeProto) -> int:
    """The even whole factor of a bilinear half-pixel Resize, else 0."""
    options = options_of(resize)
    scales = graph.value(resize.input[2])
    centres = options.get("coordinate_transformation_mode") in (b"half_pixel", b"pytorch_half_pixel")
    if scales is None or len(scales) != 4 or options.get("mode") != b"linear" or not centres:
        return 0
    return int(scales[2]) if scales[2] == scales[3] and scales[2] % 2 == 0 else 0


def _lowest(graph: Graph, zero_point: str) -> Any:  # noqa: ANN401
    """The lowest integer of the logits' type, uint8 or int8, in that type: from it on the levels count up from zero."""
    dtype = helper.tensor_dtype_to_np_dtype(graph.constants[zero_point].data_type)
    return dtype.type(np.iinfo(dtype).min)


def _append_tail(graph: onnx.GraphProto, logits: str, constants: dict[str, Any], *, classes: int, opset: int) -> None:
    """Nodes from quantized logits [N, C, h, w] to labels uint8 [N, h * factor, w * factor]."""
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"{EXACT_PREFIX}{name}") for name, value in constants.items()
    )
    steps = _steps(logits, classes=classes, opset=opset)
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
        "filters": _filters(classes, factor),
        "filter_scales": np.ones(filters, np.float32),
        "filter_zeros": np.zeros(filters, np.int8),
        "ranks": np.repeat(np.arange(classes)[::-1], factor**2).astype(np.float32),
        "class_axis": np.array([1]),
        "split": np.array([0, classes, factor**2 * height * width]),
        "base": np.float32(base),
        "inverse_base": np.float32(1 / base),
        "last": np.float32(classes - 1),
        "by_sub_pixel": np.array([0, factor**2, height, width]),
        "by_row": np.array([0, height, width, factor, factor]),
        "full": np.array([0, height * factor, width * factor]),
    }


def _steps(logits: str, *, classes: int, opset: int) -> list[tuple[str, list[str], str, dict[str, Any]]]:
    """Operator, inputs, output and attributes of each node; rank is best mod base, which ONNX's Mod computes slowly.

    The maximum over classes is taken as a convolution leaves them, plane by plane: only bytes are moved about.
    """
    axes = ["class_axis"] if opset >= 18 else []  # an attribute before
    return [
        ("Pad", [logits, "pads"], "padded", {"mode": "edge"}),
        ("DequantizeLinear", ["padded", "scale", "zero"], "levels", {}),
        ("DequantizeLinear", ["filters", "filter_scales", "filter_zeros"], "weights", {"axis": 0}),
        ("Conv", ["levels", "weights", "ranks"], "packed", {"group": classes, "kernel_shape": [3, 3]}),
        ("Reshape", ["packed", "split"], "by_class", {}),
        ("ReduceMax", ["by_class", *axes], "best", {"keepdims": 0} | ({} if axes else {"axes": [1]})),
        ("Mul", ["best", "inverse_base"], "ratio", {}),
        ("Floor", ["ratio"], "value", {}),
        ("Mul", ["value", "base"], "multiple", {}),
        ("Sub", ["best", "multiple"], "rank", {}),
        ("Sub", ["last", "rank"], "class", {}),
        ("Cast", ["class"], "bytes", {"to": onnx.TensorProto.UINT8}),
        ("Reshape", ["bytes", "by_sub_pixel"], "planes", {}),
        ("Transpose", ["planes"], "pixels", {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["pixels", "by_row"], "blocks", {}),
        ("Transpose", ["blocks"], "rows", {"perm": [0, 1, 3, 2, 4]}),
        ("Reshape", ["rows", "full"], "labels", {}),
    ]


def _filters(classes: int, factor: int) -> NDArray[np.int8]:
    """Filters int8 [classes * factor^2, 1, 3, 3]: every class on its own, sub-pixels row by row."""
    taps = bilinear_taps(factor)
    kernels = np.einsum("ai,bj->abij", taps, taps).reshape(factor**2, 1, 3, 3)
    return np.tile(kernels, (classes, 1, 1, 1))
