"""What stays in float for TensorRT: the writer of INT8 files leaves it so, and lint asks for nothing else."""

import onnx

from edge_seg.export.graph import LAYOUT, Graph, attribute_of, options_of, weight_source

FEWEST_CHANNELS = 16
"""TensorRT's INT8 convolutions of fewer gain nothing over float ones (NVIDIA modelopt leaves them out too)."""

WHOLE_PICTURE = ("GlobalAveragePool", "GlobalMaxPool")
ROWS_AND_COLUMNS = {2, 3}
"""Axes of [N, C, H, W] over which a ReduceMean is a GlobalAveragePool: newer exporters write it so."""


def is_wide(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a weighted node takes and gives FEWEST_CHANNELS at least, all its groups together.

    So a depthwise convolution of 32 channels is wide; and what has no constant weights is taken for wide.
    """
    weights = graph.constants.get(weight_source(graph, node))
    if weights is None or len(weights.dims) < 2:
        return True
    outer, inner = weights.dims[-2:] if node.op_type == "MatMul" else weights.dims[:2]
    groups = attribute_of(node, "group", 1)
    taken, given = (outer, inner * groups) if node.op_type == "ConvTranspose" else (inner * groups, outer)
    return bool(min(taken, given) >= FEWEST_CHANNELS)


def gates(graph: Graph) -> frozenset[str]:
    """The tensors from the mean of a whole picture to a factor of another tensor, as in squeeze-and-excitation.

    Of Hu et al., 2018: x * sigmoid(conv(relu(conv(mean(x))))). Q and DQ nodes may stand in between.
    """
    means, constants = _means(graph)
    others = means | constants
    found: set[str] = set()
    waiting = [name for node in graph.of("Mul") if not others.issuperset(node.input) for name in node.input]
    while waiting:
        name = waiting.pop()
        if name in means and name not in found:
            found.add(name)
            waiting += graph.maker[name].input
    return frozenset(found)


def _means(graph: Graph) -> tuple[set[str], set[str]]:
    """The tensors computed from means of whole pictures alone, and those computed from constants alone."""
    means, constants = set[str](), {"", *graph.constants}
    for node in graph.nodes:
        data = node.input[:1] if node.op_type in LAYOUT else node.input  # the new shape may be computed
        if constants.issuperset(node.input):
            constants.update(node.output)
        elif _is_mean(graph, node) or means.issuperset(name for name in data if name not in constants):
            means.update(node.output)
    return means, constants


def _is_mean(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type != "ReduceMean":
        return node.op_type in WHOLE_PICTURE
    given = graph.value(node.input[1]) if len(node.input) > 1 else options_of(node).get("axes")
    return given is not None and {int(axis) % 4 for axis in given} == ROWS_AND_COLUMNS
