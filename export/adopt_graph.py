"""What a foreign graph needs before it takes any batch, and nodes of our own in it."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_seg.export.graph import Graph

PREFIX = "adopt/"
"""What our own tensors begin with, unless the contract names them; the net's begin with another (`export.adopt`)."""

CONTRACT = ("image", "labels")
"""Names that the contract gives."""

TO_PLANES = [0, 3, 1, 2]
TO_PIXELS = [0, 2, 3, 1]
"""Permutations of [N, H, W, C] to [N, C, H, W], and back."""


class Nodes:
    """Nodes in the making, with constants that go into the graph at once. Names without a slash are our own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made: list[onnx.NodeProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **options: Any) -> str:  # noqa: ANN401
        """Add a node and return its output's name."""
        name = output if "/" in output or output in CONTRACT else f"{PREFIX}{output}"
        self.made.append(helper.make_node(operator, inputs, [name], f"{PREFIX}{output}", **options))
        return name

    def constant(self, name: str, value: object, kind: type[np.generic] = np.float32) -> str:
        """Add a constant and return its name."""
        tensor = numpy_helper.from_array(np.array(value, kind, order="C"), f"{PREFIX}constant/{name}")
        self.graph.model.graph.initializer.append(tensor)
        return tensor.name


def fix_input(graph: onnx.GraphProto, name: str, dims: list[int]) -> None:
    """Give the input its sizes and forget all shapes that were written down for others."""
    kept = next(value for value in graph.input if value.name == name)
    for dim, size in zip(kept.type.tensor_type.shape.dim, dims, strict=True):
        dim.Clear()
        dim.dim_value = size
    del graph.input[:], graph.value_info[:]
    graph.input.append(kept)
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def free_batch(graph: Graph, batch: int) -> None:
    """Let a Reshape to constant sizes that begin with the batch take any batch.

    The first size becomes 0, "as it comes in", where the batch comes first there too, and -1, "what is left", where it
    does not and no other size is left open. Right for a batch of `batch` by construction; for others it is a guess that
    the comparison at the end of adopting tries.
    """
    for node in graph.of("Reshape"):
        sizes = graph.value(node.input[1])
        if sizes is None or sizes.ndim != 1 or not len(sizes) or sizes[0] != batch or 0 in sizes:
            continue
        kept = graph.shapes.get(node.input[0], ())[:1] == (batch,)
        if not kept and -1 in sizes:
            continue
        name = f"{node.output[0]}_sizes"
        freed = np.array([0 if kept else -1, *sizes[1:]], np.int64)
        graph.model.graph.initializer.append(numpy_helper.from_array(freed, name))
        node.input[1] = name
        for attribute in [a for a in node.attribute if a.name == "allowzero"]:
            node.attribute.remove(attribute)


def forget_notes(graph: onnx.GraphProto) -> None:
    """Remove what exporters note down for themselves: source lines of the machine that exported, and old shapes."""
    for part in (graph, *graph.node):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")  # newer than the IR version that the file is written in
    del graph.value_info[:]
