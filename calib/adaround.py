"""AdaRound: each weight rounded up or down so that its layer's output, not the weight, changes least.

Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, 2020. Layers go front to back. Each reads
what INT8 gives it, the layers before it rounded already and activations quantized, while its output is to be that of
FP32: the paper's asymmetric reconstruction. A layer learns from places of its output drawn by chance from all pictures,
so that memory is bounded whatever their number and size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_seg.calib.columns import Floats, Window, columns, from_matrix, to_matrix, window_of
from edge_seg.calib.input_cut import input_steps
from edge_seg.calib.learned_rounding import BATCH, Problem, learn_rounding
from edge_seg.calib.placement import name_nodes
from edge_seg.calib.qdq import most_weight, written_scales
from edge_seg.calib.quantize import to_int8
from edge_seg.calib.ranges import open_session
from edge_seg.calib.thresholds import Range
from edge_seg.errors import DataError, import_extra
from edge_seg.export.graph import Graph
from edge_seg.export.target import Target
from edge_seg.types import UInt8Array

STEPS = 500
"""Of a layer. More fit its places better and other pictures hardly: docs/quantization.md has the figures."""

MOST_PLACES = 16384
"""Of its output that a layer learns from."""

MOST_FLOATS = 2**25
"""That a layer reads there, 128 MiB: where it reads much for a place, there are fewer places."""


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A convolution that is rounded: weights [O, I / groups, kh, kw], scales and bias [O], its activation's ends."""

    name: str
    output: str
    window: Window
    weights: Floats
    scales: Floats
    bias: Floats
    clip: tuple[float, float]

    def places(self, images: int) -> int:
        """How many places of each picture's output it learns from."""
        read = int(self.weights[0].size) * self.window.groups
        return -(-max(BATCH, min(MOST_PLACES, MOST_FLOATS // read)) // images)

    def problem(self, read: Floats, wanted: Floats, most: int) -> Problem:
        """What is to be learned of columns [groups, K, n] that it reads and of its outputs [K, O]."""
        groups = self.window.groups
        scales, bias = (values.reshape(groups, 1, -1) for values in (self.scales, self.bias))
        return Problem(
            read=read,
            wanted=np.ascontiguousarray(wanted.reshape(len(wanted), groups, -1).transpose(1, 0, 2)),
            weights=to_matrix(self.weights, groups) / scales,
            scales=scales,
            bias=bias,
            clip=self.clip,
            most=most,
        )


def adaptive_rounding(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    target: Target,
    images: Sequence[UInt8Array],
    *,
    steps: int = STEPS,
    seed: int = 0,
    floats: frozenset[str] = frozenset(),
    on_layer: Callable[[], None] = lambda: None,
) -> dict[str, NDArray[np.int8]]:
    """Integers of the weights of the 2-D convolutions that are quantized for `target`, by their node's name.

    They are what `to_int8` takes as `rounded`, with the same model, ranges, target and `floats`. Each is within one
    step of the nearest integer; a layer for which learning found nothing better has the nearest ones. Other weighted
    nodes (ConvTranspose, Gemm, MatMul) are not in the result and stay rounded to nearest. `images` are uint8
    [1, H, W, 3]. The same `seed` gives the same integers on the same machine with as many threads. `on_layer` is
    called before each of `rounded_layers`. Give 40 images or more: of 10 a deep layer learns what does not hold for
    others. DataError without images, MissingExtraError without PyTorch.
    """
    import_extra("torch", "train")
    if not images:
        raise DataError("There are no images to round weights by. Give those of the calibration.")
    named = _named(model)
    layers = _find_layers(named, ranges, target, floats)
    outputs = _outputs(named, layers, images, seed) if layers else []  # ONNX Runtime takes no graph without outputs
    rounded: dict[str, NDArray[np.int8]] = {}
    for number, (layer, (places, wanted, width)) in enumerate(zip(layers, outputs, strict=True)):
        on_layer()
        quantized = to_int8(named, ranges, target, floats=floats, rounded=rounded)
        read = _columns(quantized, layer, images, places, width)
        integers = learn_rounding(layer.problem(read, wanted, most_weight(target)), steps, seed + number)
        rounded[layer.name] = from_matrix(integers, layer.weights.shape)
    return rounded


def rounded_layers(
    model: onnx.ModelProto, ranges: Mapping[str, Range], target: Target, *, floats: frozenset[str] = frozenset()
) -> list[str]:
    """The names of the nodes whose weights `adaptive_rounding` rounds, in the graph's order."""
    return [layer.name for layer in _find_layers(_named(model), ranges, target, floats)]


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose nodes have the names that the writer gives them."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    name_nodes(result)
    return result


def _find_layers(
    model: onnx.ModelProto, ranges: Mapping[str, Range], target: Target, floats: frozenset[str]
) -> list[_Layer]:
    exact = {} if target.minimal else input_steps(model)
    scales = written_scales(model, ranges, target, exact=exact, floats=floats)
    graph = Graph(model)
    found = (_find_layer(graph, node, scales[node.name]) for node in graph.nodes if node.name in scales)
    return [layer for layer in found if layer is not None]


def _find_layer(graph: Graph, node: onnx.NodeProto, scales: Floats) -> _Layer | None:
    """A convolution with its constants; None for another operator, and where the bias is computed."""
    weights = numpy_helper.to_array(graph.constants[node.input[1]])
    window = window_of(node, weights)
    bias = _constant(graph, node, 2, np.zeros(len(weights), np.float32))
    if window is None or bias is None:
        return None
    return _Layer(node.name, node.output[0], window, weights, scales, bias, _clip(graph, node.output[0]))


def _constant(graph: Graph, node: onnx.NodeProto, place: int, default: Floats) -> Floats | None:
    """An input's value, `default` where there is no such input, None where it is no constant."""
    if len(node.input) <= place or not node.input[place]:
        return default
    tensor = graph.constants.get(node.input[place])
    return None if tensor is None else numpy_helper.to_array(tensor)


def _clip(graph: Graph, tensor: str) -> tuple[float, float]:
    """The ends between which the activation behind a tensor lets values through."""
    reader = graph.only_reader(tensor)
    if reader is not None and reader.op_type == "Relu":
        return 0.0, np.inf
    if reader is not None and reader.op_type == "Clip":
        ends = (
            _constant(graph, reader, place, np.full((), end, np.float32)) for place, end in ((1, -np.inf), (2, np.inf))
        )
        least, most = (None if end is None else float(end) for end in ends)
        if least is not None and most is not None:
            return least, most
    return -np.inf, np.inf


def _outputs(
    model: onnx.ModelProto, layers: Sequence[_Layer], images: Sequence[UInt8Array], seed: int
) -> list[tuple[NDArray[np.int64], Floats, int]]:
    """For each layer places [images, P] of its output, FP32's values [images * P, O] there, and the output's width."""
    session = open_session(model, [layer.output for layer in layers])
    rng = np.random.default_rng(seed)
    places: list[list[NDArray[np.int64]]] = [[] for _ in layers]
    values: list[list[Floats]] = [[] for _ in layers]
    widths = [0] * len(layers)
    for image in images:
        for number, (layer, output) in enumerate(zip(layers, session.run(None, {"image": image}), strict=True)):
            pixels = output.reshape(output.shape[1], -1)
            drawn = rng.integers(0, pixels.shape[1], layer.places(len(images)))
            places[number].append(drawn)
            values[number].append(pixels[:, drawn].T)
            widths[number] = output.shape[3]
    return [(np.stack(p), np.concatenate(v), w) for p, v, w in zip(places, values, widths, strict=True)]


def _columns(
    quantized: onnx.ModelProto, layer: _Layer, images: Sequence[UInt8Array], places: NDArray[np.int64], width: int
) -> Floats:
    """What a layer reads in an INT8 graph for `places` [images, P] of its output: [groups, images * P, n]."""
    tensor = next(node.input[0] for node in quantized.graph.node if node.name == layer.name)
    session = open_session(quantized, [tensor])
    read = [
        columns(session.run(None, {"image": image})[0], layer.window, drawn, width)
        for image, drawn in zip(images, places, strict=True)
    ]
    return np.concatenate(read, axis=1)
