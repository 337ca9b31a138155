"""A graph cut into layers: each weighted operator with what follows it, up to the next one."""

from collections.abc import Collection
from dataclasses import dataclass

import onnx

from edge_seg.calib.placement import place
from edge_seg.export.graph import Graph
from edge_seg.export.target import Target


@dataclass(frozen=True, slots=True)
class Layer:
    """A weighted operator's name, and the nodes that are quantized with it, itself mostly among them."""

    name: str
    nodes: tuple[str, ...]


def layers_of(model: onnx.ModelProto, target: Target, known: Collection[str]) -> list[Layer]:
    """The layers that `target` quantizes in an FP32 graph whose tensors `known` have ranges, in the graph's order.

    Each quantized node is of one layer, so that together the layers are all of the INT8 file. A weighted operator
    (Conv, ConvTranspose, Gemm, MatMul of constant weights) begins one. A node without weights (Relu, Add, Resize,
    Concat, a pool) is of the layer of its inputs that begins last in the graph: a residual Add belongs to the later of
    its two convolutions, an up-sampling to the convolution before it. To leave the convolution alone in float would
    quantize the Relu's input instead, which the INT8 file never does. What `target` leaves in float is of no layer.
    The graph's nodes have names of their own: see `placement.name_nodes`.
    """
    graph = Graph(model)
    found = place(model, target, frozenset(known), frozenset())
    quantized = {name for name, _ in found.edges} | found.weights
    begun: list[tuple[str, list[str]]] = []
    owner: dict[str, int] = {}
    for node in graph.nodes:
        if graph.has_weights(node):
            begun.append((node.name, []))
            number = len(begun) - 1
        else:
            number = max((owner[name] for name in node.input if name in owner), default=-1)
        owner |= dict.fromkeys(node.output, number)
        if number >= 0 and (node.name in quantized or found.tensors & set(node.output)):
            begun[number][1].append(node.name)
    return [Layer(name, tuple(nodes)) for name, nodes in begun if nodes]
