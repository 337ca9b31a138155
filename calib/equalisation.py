"""Cross-layer equalisation: the channels between two convolutions get alike ranges of weights, the function stays.

A ReLU lets a positive factor through, so a channel can be divided by s where one convolution makes it and multiplied
by s where the next one reads it. With s = sqrt(r1 / r2), r1 the largest weight that makes the channel and r2 the
largest that reads it, both become sqrt(r1 r2), and a scale for all channels wastes the fewest levels on one of them
(Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019, section 4.1).
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edge_seg.export.graph import Graph

MOST_SWEEPS = 100
"""Over all pairs; where a convolution is in two, as a depthwise one is, each undoes a part of the other's work."""

TOLERANCE = 1e-3
"""A pair whose factors are all as near to 1 is left as it is."""

DEAD = 1e-6
"""Of a tensor's largest weight: a channel of smaller ones is dead, and would bring its bias up with it."""

Pair = tuple[onnx.NodeProto, onnx.NodeProto]
"""Two convolutions, the second the only reader of what the first one makes, directly or behind a ReLU."""

_Values = dict[str, NDArray[np.float64]]


def equalise(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function with equalised weights, as a new graph, and how many pairs of convolutions were changed.

    The same graph gives the same bytes, and an equalised one is left as it is. Ranges are to be observed anew. A pair
    is left alone where the tensor between has other readers, where a ReLU6 clips it, and where weights are shared.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = Graph(result)
    pairs = find_pairs(graph)
    names = {name for first, second in pairs for name in (*first.input[1:], second.input[1])}
    values = {name: numpy_helper.to_array(graph.constants[name]).astype(np.float64) for name in names}
    changed: set[int] = set()
    for _ in range(MOST_SWEEPS):
        moved = {number for number, pair in enumerate(pairs) if _balance(values, pair)}
        changed |= moved
        if not moved:
            break
    for name in {name for number in changed for node in pairs[number] for name in node.input[1:] if name in values}:
        tensor = graph.constants[name]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        tensor.CopyFrom(numpy_helper.from_array(values[name].astype(dtype), name))
    return result, len(changed)


def find_pairs(graph: Graph) -> list[Pair]:
    """The pairs of convolutions that can be equalised, in the graph's order."""
    pairs = []
    for node in graph.nodes:
        second = _next_convolution(graph, node) if _is_free(graph, node, bias=True) else None
        if second is not None and _is_free(graph, second):
            pairs.append((node, second))
    return pairs


def _is_free(graph: Graph, node: onnx.NodeProto, *, bias: bool = False) -> bool:
    """Whether a node is a convolution with constant weights, and `bias` if asked, that no other node reads."""
    if node.op_type != "Conv":
        return False
    names = node.input[1 : 3 if bias else 2]
    return all(name in graph.constants and len(graph.readers[name]) == 1 for name in names)


def _next_convolution(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The convolution that alone reads what a node makes, directly or behind a ReLU."""
    tensor = node.output[0]
    reader = graph.only_reader(tensor)
    if reader is not None and reader.op_type == "Relu":
        tensor = reader.output[0]
        reader = graph.only_reader(tensor)
    return reader if reader is not None and reader.op_type == "Conv" and reader.input[0] == tensor else None


def _balance(values: _Values, pair: Pair) -> bool:
    """Equalise the weights of one pair in place; False, and nothing done, where they are equal to TOLERANCE."""
    first, second = pair
    weights = values[first.input[1]]
    outer = weights.reshape(len(weights), -1)  # views: what is done to them is done to `values`
    inner = by_input_channel(values[second.input[1]], _groups(second))
    factors = channel_factors(np.abs(outer).max(1), np.abs(inner).max((1, 3)).ravel())
    if np.abs(np.log(factors)).max() < TOLERANCE:
        return False
    outer /= factors[:, None]
    inner *= factors.reshape(len(inner), 1, -1, 1)
    for bias in first.input[2:]:
        values[bias] /= factors
    return True


def channel_factors(made: NDArray[np.float64], read: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each channel [C] is divided by, of the largest weights that make and that read it; 1 for a dead channel.

    >>> channel_factors(np.array([8.0, 2.0, 0.0]), np.array([2.0, 2.0, 5.0])).tolist()
    [2.0, 1.0, 1.0]
    """
    alive = (made > DEAD * made.max()) & (read > DEAD * read.max())
    ratio: NDArray[np.float64] = np.divide(made, read, out=np.ones_like(made), where=alive)
    return np.sqrt(ratio)


def by_input_channel(weights: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """A convolution's weights [O, I / groups, ...] as [groups, O / groups, I / groups, -1]: channel i = (g, :, i).

    >>> by_input_channel(np.zeros((8, 1, 3, 3)), 4).shape
    (4, 2, 1, 9)
    """
    return weights.reshape(groups, len(weights) // groups, weights.shape[1], -1)


def _groups(node: onnx.NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)
