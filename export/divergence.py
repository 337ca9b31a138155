"""The layers of two ONNX files side by side: how far each one's output in B is from that in A.

A layer is a weighted operator with the ReLU or Clip behind it, since a quantizer may put that into the QuantizeLinear
of the layer's output. Its value is what the next layers read: dequantized where it is quantized. Both graphs run in
ONNX Runtime with these values as outputs, all other optimisation left on, so that an INT8 file computes with integer
kernels here too.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from edge_seg.export.graph import CLIPPING, QUANTIZERS, WEIGHTED, Graph, in_tail, name_of, weight_source
from edge_seg.runners import open_runner
from edge_seg.runners.contract import load_onnx
from edge_seg.runners.ort_runner import untimed_options
from edge_seg.types import UInt8Array

THRESHOLD_DB = 10.0
"""Below it a layer diverges: the difference has more than a tenth of the signal's power, a third of its amplitude.
The layers of the bundled edge-seg-s stand at 20 to 31 dB, INT8 against FP32."""

_PREFIX = "verify/"


@dataclass(frozen=True, slots=True)
class LayerParity:
    """A layer of A, its counterpart in B, how they were matched ("name" or "order"), and the SQNR.

    `sqnr_db` is 10 log10(sum of A squared / sum of (A - B) squared): infinity where both are equal bit for bit, NaN
    where a value is not finite or the shapes differ.
    """

    name: str
    name_b: str
    matched: str
    sqnr_db: float

    def diverges(self, threshold_db: float) -> bool:
        """True below the threshold, and for NaN."""
        return not self.sqnr_db >= threshold_db

    def to_dict(self, threshold_db: float) -> dict[str, Any]:
        """The keys of a layer in `verify --json`; JSON has no infinity and no NaN, and gets None for them."""
        sqnr_db = self.sqnr_db if math.isfinite(self.sqnr_db) else None
        diverges = self.diverges(threshold_db)
        return {"name": self.name, "b": self.name_b, "matched": self.matched, "sqnr_db": sqnr_db, "diverges": diverges}


@dataclass(frozen=True, slots=True)
class Layer:
    """A weighted operator: name, shape of its weights, and its output's names before and after the activation."""

    name: str
    weights: tuple[int, ...]
    tensors: tuple[str, ...]


def find_layers(graph: Graph) -> list[Layer]:
    """The weighted operators in the graph's order, but those of an integer tail, which hold packed numbers."""
    found = []
    for node in graph.of(*WEIGHTED):
        constant = graph.constants.get(weight_source(graph, node))
        if constant is not None and constant.dims and not in_tail(node):
            found.append(Layer(name_of(node), tuple(constant.dims), _outputs(graph, node.output[0])))
    return found


def _outputs(graph: Graph, tensor: str) -> tuple[str, ...]:
    """A tensor and, as long as an activation is all that reads it, the activation's output."""
    readers = list(_computing_readers(graph, tensor))
    if len(readers) != 1 or readers[0].op_type not in CLIPPING:
        return (tensor,)
    return (tensor, *_outputs(graph, readers[0].output[0]))


def _computing_readers(graph: Graph, tensor: str) -> Iterator[onnx.NodeProto]:
    """What reads a tensor, also behind its quantization."""
    for node in graph.readers_of(tensor):
        if node.op_type in QUANTIZERS:
            yield from _computing_readers(graph, node.output[0])
        else:
            yield node


def compare_layers(a: Path, b: Path, images: Iterable[UInt8Array]) -> list[LayerParity]:
    """SQNR of each layer of `a` that has a counterpart in `b`, in the order of `a`, over images uint8 [1, H, W, 3].

    The values of one image are held at a time. ModelError where ONNX Runtime cannot load a file.
    """
    graphs = [_load(path) for path in (a, b)]
    pairs = match_layers(find_layers(graphs[0]), find_layers(graphs[1]))
    if not pairs:
        return []
    run_a = _open(graphs[0], [one.tensors[-1] for one, _, _ in pairs])
    run_b = _open(graphs[1], [other.tensors[-1] for _, other, _ in pairs])
    powers = np.zeros((len(pairs), 2))
    for image in images:
        powers += [_powers(value, other) for value, other in zip(run_a(image), run_b(image), strict=True)]
    return [
        LayerParity(one.name, other.name, how, sqnr_db(signal, noise))
        for (one, other, how), (signal, noise) in zip(pairs, powers.tolist(), strict=True)
    ]


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to quantization noise in decibels, of two powers; infinity without noise, NaN where one is not finite.

    >>> sqnr_db(100.0, 1.0), sqnr_db(1.0, 0.0), sqnr_db(0.0, 1.0), sqnr_db(1.0, float("inf"))
    (20.0, inf, -inf, nan)
    """
    if not math.isfinite(signal + noise):
        return math.nan
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _powers(value: NDArray[Any], other: NDArray[Any]) -> tuple[float, float]:
    """Sums of squares of a value and of its difference from the other; NaN where their shapes differ."""
    if value.shape != other.shape:
        return math.nan, math.nan
    with np.errstate(invalid="ignore", over="ignore"):  # values that are not finite show in the sums
        exact = value.astype(np.float64).ravel()
        difference = exact - other.ravel()
        return float(exact @ exact), float(difference @ difference)


def match_layers(ours: list[Layer], theirs: list[Layer]) -> list[tuple[Layer, Layer, str]]:
    """Pairs of layers whose weights have one shape, in the order of `ours`.

    First by a tensor's name that both graphs have: a quantizer that drops a ReLU gives the convolution the ReLU's
    output, so any name of a layer will do. What is left, as when another exporter gave other names, by its order.
    """
    by_name = {(name, layer.weights): layer for layer in theirs for name in layer.tensors}
    found: dict[Layer, tuple[Layer, str]] = {}
    for layer in ours:
        key = next(((name, layer.weights) for name in layer.tensors if (name, layer.weights) in by_name), None)
        if key is not None:
            found[layer] = (by_name[key], "name")
    taken = {other for other, _ in found.values()}
    rest, others = [x for x in ours if x not in found], [x for x in theirs if x not in taken]
    shapes, other_shapes = [x.weights for x in rest], [x.weights for x in others]
    blocks = difflib.SequenceMatcher(None, shapes, other_shapes, autojunk=False).get_matching_blocks()
    for start, other_start, size in blocks:
        found.update({rest[start + i]: (others[other_start + i], "order") for i in range(size)})
    return [(layer, *found[layer]) for layer in ours if layer in found]


def _load(path: Path) -> Graph:
    with open_runner(path, "onnxruntime"):  # raises, as everywhere, where ONNX Runtime cannot load the file
        return Graph(load_onnx(path))


def _open(graph: Graph, tensors: list[str]) -> Callable[[UInt8Array], list[NDArray[Any]]]:
    """A function that runs an image and gives the values of `tensors`, as the next layers read them."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    del model.graph.output[:]
    for tensor in tensors:
        name = tensor
        quantizer = next((node for node in graph.readers_of(tensor) if node.op_type == "QuantizeLinear"), None)
        if quantizer is not None:
            # Not the output of the graph's own DequantizeLinear: the layer behind that one would then run in float.
            name = f"{_PREFIX}{tensor}"
            inputs = [quantizer.output[0], *quantizer.input[1:]]
            node = helper.make_node("DequantizeLinear", inputs, [name], name, domain=quantizer.domain)
            model.graph.node.append(node)
        model.graph.output.append(onnx.ValueInfoProto(name=name))  # ONNX Runtime infers the type
    session = ort.InferenceSession(model.SerializeToString(), untimed_options(), providers=["CPUExecutionProvider"])
    return lambda image: list(session.run(None, {"image": image}))
