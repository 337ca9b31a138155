"""Biases that make up for what INT8 adds to each channel in the mean.

Rounded weights and clipped inputs move a layer's output by amounts that differ by channel and are alike for all
pictures. Their mean over the calibration pictures goes into the bias, before the activation, where a bias acts (Nagel
et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019, section 4.2 and the appendix on
the empirical way).

Layers are corrected front to back, each with all before it corrected. All at once would count the shifts of early
layers again in each later one. On edge-seg-n it took the share of labels equal to FP32's from 0.9958 to 0.9949 in one
pass, 0.9871 in two and 0.9590 in three.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_seg.calib.ranges import open_session
from edge_seg.errors import DataError
from edge_seg.export.divergence import find_layers, match_layers
from edge_seg.export.graph import Graph
from edge_seg.export.tidy import drop_unused
from edge_seg.types import UInt8Array

Writer = Callable[[onnx.ModelProto], onnx.ModelProto]
"""What makes the INT8 graph of an FP32 one: `quantize.to_int8` with ranges, target and the rest bound."""

Means = dict[str, NDArray[np.float64]]
"""The mean of each channel [C], by the name of the tensor."""


@dataclass(frozen=True, slots=True)
class _Bias:
    """Where a layer's bias is: input `place` of the node that makes `holder`; `tensor` [.., C at `axis`, ..] lacks it.

    `tensor` is the weighted node's own output: it holds the bias too, but where that is added by a node of its own.
    """

    tensor: str
    holder: str
    place: int
    axis: int


def correct_biases(
    model: onnx.ModelProto,
    write: Writer,
    images: Sequence[UInt8Array],
    *,
    on_layer: Callable[[], None] = lambda: None,
) -> onnx.ModelProto:
    """The FP32 graph with biases for which each channel of each layer has the same mean in INT8 as in FP32 without.

    `images` are uint8 [1, H, W, 3]; `write` gives the INT8 graph of an FP32 one. The result is for `write` alone: its
    FP32 labels differ from the model's. Convolutions without a bias get one; a MatMul without an Add of a constant
    behind it is left alone. `on_layer` is called before each of `corrected_layers`. DataError without images.
    """
    if not images:
        raise DataError("There are no images to correct biases by. Give those of the calibration.")
    biases = _find_biases(model)
    wanted = channel_means(model, {bias.tensor: bias.axis for bias in biases}, images)
    shifts = {name: np.zeros_like(means) for name, means in wanted.items()}
    for bias in biases:
        on_layer()
        quantized = write(_shifted(model, biases, shifts))
        name = _stand_ins(model, quantized).get(bias.tensor)
        if name is not None:
            shifts[bias.tensor] = wanted[bias.tensor] - channel_means(quantized, {name: bias.axis}, images)[name]
    return _shifted(model, biases, shifts)


def corrected_layers(model: onnx.ModelProto) -> list[str]:
    """The outputs of the layers whose biases are corrected, in the graph's order."""
    return [bias.tensor for bias in _find_biases(model)]


def _stand_ins(model: onnx.ModelProto, quantized: onnx.ModelProto) -> dict[str, str]:
    """The outputs of an INT8 graph's layers, by those of the FP32 graph's layers."""
    pairs = match_layers(find_layers(Graph(model)), find_layers(Graph(quantized)))
    return {one.tensors[0]: other.tensors[0] for one, other, _ in pairs}


def channel_means(model: onnx.ModelProto, axes: Mapping[str, int], images: Sequence[UInt8Array]) -> Means:
    """The mean of each channel of tensors over images uint8 [1, H, W, 3]; `axes` has the channels' axis by name."""
    names = list(axes)
    if not names:  # ONNX Runtime takes no graph without outputs
        return {}
    session = open_session(model, names)
    sums: Means = {}
    for image in images:
        for name, values in zip(names, session.run(names, {"image": image}), strict=True):
            channels = np.moveaxis(values, axes[name], 0).reshape(values.shape[axes[name]], -1)
            sums[name] = sums.get(name, 0.0) + channels.mean(1, dtype=np.float64)
    return {name: total / len(images) for name, total in sums.items()}


def _find_biases(model: onnx.ModelProto) -> list[_Bias]:
    """The biases of a graph's layers, in its order, those that are to be added among them."""
    graph = Graph(model)
    found = (_find_bias(graph, graph.maker[layer.tensors[0]]) for layer in find_layers(graph))
    return [bias for bias in found if bias is not None]


def _find_bias(graph: Graph, node: onnx.NodeProto) -> _Bias | None:
    tensor = node.output[0]
    if node.op_type == "MatMul":
        add = graph.only_reader(tensor)
        if add is None or add.op_type != "Add":
            return None
        place = 1 - list(add.input).index(tensor)
        constant = graph.constants.get(add.input[place])
        return _Bias(tensor, add.output[0], place, -1) if constant is not None and len(constant.dims) == 1 else None
    scaled = any(a.name == "beta" and a.f != 1 for a in node.attribute)
    computed = any(name and name not in graph.constants for name in node.input[2:])
    return None if scaled or computed else _Bias(tensor, tensor, 2, 1)


def _shifted(model: onnx.ModelProto, biases: Sequence[_Bias], shifts: Means) -> onnx.ModelProto:
    """The graph with `shifts` added to its biases, each of which becomes a constant of its own."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = Graph(result)
    for bias in biases:
        node = graph.maker[bias.holder]
        if len(node.input) == bias.place:
            node.input.append("")
        old = graph.constants.get(node.input[bias.place])
        values = (0 if old is None else numpy_helper.to_array(old)) + shifts[bias.tensor]
        name = node.input[bias.place] = f"{bias.tensor}/bias"
        # A graph that was corrected before has a constant of this name, which no other node reads.
        tensor = graph.constants[name] if name in graph.constants else result.graph.initializer.add()
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    drop_unused(result.graph)
    return result
