"""Quantization-aware training: the INT8 graph that the writer would write, run in PyTorch with float weights behind it.

`write_qdq` places Q/DQ nodes into the FP32 graph; that very graph is what trains, QuantizeLinear by QuantizeLinear, so
placement, shared scales and dropped ReLUs are the file's by construction. Weights and biases are parameters: before
each pass the writer's own functions round them, and gradients go straight through the rounding (Bengio et al., 2013).
The scales of weights follow the weights; the ranges of activations stay as calibrated (Wu et al., Integer Quantization
for Deep Learning Inference, 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from edge_seg.calib.input_cut import input_steps
from edge_seg.calib.placement import name_nodes
from edge_seg.calib.qdq import quantize_weights, weight_scales, write_qdq
from edge_seg.calib.thresholds import Range
from edge_seg.calib.torch_graph import TorchGraph
from edge_seg.calib.torch_ops import StraightThrough
from edge_seg.errors import ModelError
from edge_seg.export.graph import WEIGHTED, Graph, channel_axis
from edge_seg.export.target import Target
from edge_seg.models.net import TrainableNet
from edge_seg.runners.contract import check_contract
from edge_seg.spec import INPUT_MIDDLE, INPUT_SCALE

Weights = Mapping[str, Tensor]
"""By their names in the graph."""


class GraphNet(TrainableNet):
    """Normalised images [N, 3, H, W] to logits [N, C, h, w] through a deployable graph as it is, or `written` from it.

    Weights and biases of its convolutions and matrix products are parameters, one for all nodes that share it (see
    `untied`); all other constants stay. It has no auxiliary heads; its features are the logits themselves.
    """

    def __init__(self, model: onnx.ModelProto, written: onnx.ModelProto | None = None) -> None:
        super().__init__()
        self.classes = len(check_contract(model, "the model").classes)
        self.graph = TorchGraph(written or model, [logits_of(written or model)])
        arrays = weights_of(model)
        self.names = list(arrays)
        self.weights = nn.ParameterList(nn.Parameter(torch.from_numpy(np.array(array))) for array in arrays.values())

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The logits alone."""
        image = (x * INPUT_SCALE + INPUT_MIDDLE).permute(0, 2, 3, 1)  # the camera's bytes again, without any rounding
        weights = dict(zip(self.names, self.weights, strict=True))
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # its 11 bits would not hold the whole numbers
            return tuple(self.graph({"image": image} | self.rounded(weights)))

    def heads(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The logits."""
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, C, h, w]."""
        return self.features(x)[0]

    def rounded(self, weights: Weights) -> dict[str, Tensor]:
        """What the graph reads in place of its own weights: here, the parameters as they are."""
        return dict(weights)

    def write_weights(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The FP32 graph `model` with these weights."""
        result = onnx.ModelProto()
        result.CopyFrom(model)
        found = {name: _array(value) for name, value in zip(self.names, self.weights, strict=True)}
        for tensor in result.graph.initializer:
            if tensor.name in found:
                tensor.CopyFrom(numpy_helper.from_array(found[tensor.name], tensor.name))
        return result


class QuantizedNet(GraphNet):
    """The same as the INT8 file for `target` computes it; errors as `write_qdq`'s and TorchGraph's."""

    def __init__(self, model: onnx.ModelProto, ranges: Mapping[str, Range], target: Target) -> None:
        named = onnx.ModelProto()
        named.CopyFrom(model)
        name_nodes(named)
        written = write_qdq(named, ranges, target, exact={} if target.minimal else input_steps(named))
        super().__init__(named, written)
        self.target = target
        self.layers = find_layers(named, written)

    def rounded(self, weights: Weights) -> dict[str, Tensor]:
        """Whole numbers and scales where the file has them, by the names in the written graph; floats elsewhere."""
        found = dict(weights)
        for layer in self.layers:
            found |= layer.rounded(weights, self.target)
        return found


@dataclass(frozen=True, slots=True)
class Layer:
    """A weighted node in 8 bits: names of weight and bias in the FP32 graph, and of their whole numbers and scales.

    `bias` is None where there is none, and where the file keeps it in float. `scale` is the input's.
    """

    weight: str
    weight_as: tuple[str, str]
    axis: int | None
    bias: str | None = None
    bias_as: tuple[str, str] = ("", "")
    scale: float = 0.0

    def rounded(self, weights: Weights, target: Target) -> dict[str, Tensor]:
        """Weight and bias as the writer rounds them."""
        values = _array(weights[self.weight])
        bias = None if self.bias is None else _array(weights[self.bias])
        scales = weight_scales(
            values, self.axis, target, None if bias is None else np.abs(bias) / np.float64(self.scale)
        )
        integers = quantize_weights(values, scales, self.axis, target)
        along = [-1 if place == self.axis else 1 for place in range(values.ndim)]
        found = _straight(weights[self.weight], integers, scales, self.weight_as, along)
        if self.bias is not None and bias is not None:
            steps = np.float32(self.scale) * scales
            integers = np.round(bias / steps.astype(np.float64))
            found |= _straight(weights[self.bias], integers, steps, self.bias_as, [-1])
        return found


def _straight(
    value: Tensor, integers: NDArray[Any], scales: NDArray[np.float32], names: tuple[str, str], along: list[int]
) -> dict[str, Tensor]:
    """Whole numbers, held in float32, through which the gradient of `value` goes straight, and their scales."""
    steps = torch.from_numpy(np.asarray(scales)).to(value.device)  # a single one is no array
    whole = torch.from_numpy(integers.astype(np.float32)).to(value.device)
    inside = torch.ones((), device=value.device)
    rounded = StraightThrough.apply(value / steps.reshape(along), whole, inside)
    return dict(zip(names, (rounded, steps), strict=True))


def _array(value: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.ascontiguousarray(value.detach().cpu().numpy())
    return array


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """Weights and biases of a graph's weighted nodes, in their order; ModelError where it has none."""
    graph = Graph(model)
    names = [name for node in graph.nodes if node.op_type in WEIGHTED for name in node.input[1:]]
    found = {name: numpy_helper.to_array(graph.constants[name]) for name in names if name in graph.constants}
    if not found:
        raise ModelError("The graph has no weights that could be trained. Give the FP32 file of a net.")
    return found


def untied(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with weights and a bias of its own for each weighted node.

    PyTorch's exporter writes equal ones once, as biases that are all zero, which training would keep equal for ever.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = Graph(result)
    taken: set[str] = set()
    for index, node in enumerate(graph.nodes):
        for place, name in enumerate(node.input):
            if node.op_type not in WEIGHTED or name not in graph.constants:
                continue
            if name in taken:
                node.input[place] = f"{name}/{index}"
                result.graph.initializer.add().CopyFrom(graph.constants[name])
                result.graph.initializer[-1].name = node.input[place]
            taken.add(name)
    return result


def find_layers(model: onnx.ModelProto, written: onnx.ModelProto) -> list[Layer]:
    """The weighted nodes of an FP32 graph whose weights are in 8 bits in the graph `written` from it."""
    before = {node.name: node for node in model.graph.node}
    graph = Graph(written)
    layers = []
    for node in graph.nodes:
        if node.op_type not in WEIGHTED:
            continue
        data, weight, bias = (graph.maker.get(name) for name in [*node.input, ""][:3])
        if _is_dequantized(graph, weight):
            assert data is not None and weight is not None  # quantized weights have a quantized input
            scale = float(numpy_helper.to_array(graph.constants[data.input[1]]))
            axis = channel_axis(node, len(graph.constants[weight.input[0]].dims))
            layer = before[node.name].input[1], _pair(weight), axis
            own = () if bias is None else (before[node.name].input[2], _pair(bias), scale)
            layers.append(Layer(*layer, *own))
    return layers


def _is_dequantized(graph: Graph, maker: onnx.NodeProto | None) -> bool:
    return maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in graph.constants


def _pair(dequantize: onnx.NodeProto) -> tuple[str, str]:
    return dequantize.input[0], dequantize.input[1]


def logits_of(model: onnx.ModelProto) -> str:
    """The tensor that ArgMax chooses from, before its up-sampling; ModelError where the graph chooses otherwise."""
    graph = Graph(model)
    node = next((node for node in graph.nodes if node.op_type == "ArgMax"), None)
    if node is None:
        raise ModelError("The graph ends without an ArgMax over logits, so there is nothing for a loss to read.")
    above = graph.maker.get(node.input[0])
    return str(above.input[0] if above is not None and above.op_type == "Resize" else node.input[0])
