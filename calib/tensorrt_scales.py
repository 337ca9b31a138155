"""From ranges to the scales of a calibration cache and back, and the ONNX file that the cache belongs to.

The parser of TensorRT names a network's tensors as ONNX names the outputs of its nodes, so a cache fits the graph that
TensorRT is given and no other. A tensor without a line is no error: TensorRT warns ("Missing scale and zero-point for
tensor") and computes the layers beside it in float.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from edge_seg.calib.placement import POOLS, SAME_SCALE
from edge_seg.calib.qdq import steps_for
from edge_seg.calib.quantize import open_fp32
from edge_seg.calib.ranges import Ranges, float_tensors, hash_of, read_ranges
from edge_seg.calib.tensorrt_cache import Cache, Version
from edge_seg.calib.thresholds import Range
from edge_seg.errors import DataError, ModelError
from edge_seg.export.float_ends import use_float_ends
from edge_seg.export.graph import LAYOUT, Graph, text_of
from edge_seg.export.lint import find_goal, lint
from edge_seg.export.target import find_target
from edge_seg.files import write_together
from edge_seg.spec import ModelSpec

METHODS = {
    "EntropyCalibration2": "entropy",
    "EntropyCalibration": "entropy",
    "MinMaxCalibration": "min-max",
    "LegacyCalibration": "percentile",
}
"""Our method of the kind of TensorRT's algorithm."""

ONE_SCALE = frozenset({"MaxPool", "AveragePool", "Concat"})
"""Pooling must have one range on both sides, and a Concat that has is not requantized (trtexec's sampleEngines.cpp).

GlobalAveragePool is none of them: the parser makes a reduction of it.
"""

CARRYING = SAME_SCALE | POOLS | {"Concat", "Relu", "Cast", *LAYOUT}
"""Operators that give nothing beyond what they take and zero."""

NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax"})

OWN_NAMES = re.compile(r"\(Unnamed |ONNXTRT_")
"""How TensorRT and its parser begin the names of tensors that are not in the ONNX graph."""

SHOWN = 3
"""Names that a message gives."""


def write_cache(
    model_path: Path,
    ranges_path: Path,
    out: Path,
    *,
    version: Version,
    algorithm: str,
    method: str = "min-max",
    onnx_out: Path | None = None,
) -> Cache:
    """Write the cache of an FP32 ONNX from its ranges by `method`, and to `onnx_out` the graph that it belongs to.

    ModelError for a model that TensorRT refuses or that is no FP32 file under the contract, DataError for ranges of
    another one.
    """
    model = open_fp32(model_path)
    symmetric = "mse-symmetric" if method == "mse" else method  # int8 levels lie evenly on both sides of zero
    spans = read_ranges(ranges_path, model).chosen(symmetric)
    graph = to_tensorrt(model, version)
    cache = make_cache(graph, spans, version, algorithm)
    beside = {} if onnx_out is None else {onnx_out: graph.SerializeToString()}
    write_together({out: cache.to_text().encode()} | beside)
    return cache


def to_tensorrt(model: onnx.ModelProto, version: Version) -> onnx.ModelProto:
    """The FP32 graph with the ends that TensorRT takes, under the same contract; the tensors between keep their names.

    ModelError where this TensorRT refuses it.
    """
    result = _with_ends(model)
    for finding in lint(result, find_goal("tensorrt", None, version.parser)):
        if finding.severity == "refused":
            raise ModelError(
                f"TensorRT {version.parser} refuses this graph at {some(finding.where)}: {finding.found}; expected "
                f"{finding.expected}. See how: edge-seg lint MODEL --target tensorrt --tensorrt {version.parser}"
            )
    return result


def _with_ends(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    use_float_ends(result)
    return result


def make_cache(graph: onnx.ModelProto, ranges: Mapping[str, Range], version: Version, algorithm: str) -> Cache:
    """The cache of a graph of `to_tensorrt`: a line for each float tensor that has a range.

    The picture has no line, since uint8 is no quantized type, nor has what is behind the logits: that stays in float.
    The scales are those of the Q/DQ file for TensorRT, but that those around a pooling or a Concat are alike.
    """
    target = find_target("tensorrt")
    scales = {name: steps_for(span, target).scale for name, span in ranges.items()}
    names = float_tensors(graph)
    for node in reversed(graph.graph.node):  # the Cast before the Transpose holds what the one behind it held
        if node.op_type in LAYOUT and node.input[0] in names and node.output[0] in scales:
            scales.setdefault(node.input[0], scales[node.output[0]])
    _share(graph, scales)
    return Cache(version.number, algorithm, {name: scales[name] for name in names if name in scales})


def _share(graph: onnx.ModelProto, scales: dict[str, np.float32]) -> None:
    """Give the tensors around each pooling and each Concat the largest of their scales."""
    joints = [node for node in graph.graph.node if node.op_type in ONE_SCALE]
    groups = [{*node.input, *node.output} & scales.keys() for node in joints]
    for _ in groups:  # a chain of n is alike after n rounds
        for group in filter(None, groups):
            scales.update(dict.fromkeys(group, max(scales[name] for name in group)))


def trtexec_arguments(onnx_path: Path, cache_path: Path, spec: ModelSpec, *, batch: int, fp16: bool) -> list[str]:
    """The command that builds an engine for 1 to `batch` pictures, as a list for the shell's quoting."""
    size = f"{spec.height}x{spec.width}x3"
    shapes = {"min": 1, "opt": batch, "max": batch}
    return [
        "trtexec",
        f"--onnx={onnx_path}",
        "--int8",
        *(["--fp16"] if fp16 else []),
        f"--calib={cache_path}",
        *(f"--{end}Shapes=image:{count}x{size}" for end, count in shapes.items()),
        f"--saveEngine={onnx_path.with_suffix('.engine')}",
    ]


def ranges_of(cache: Cache, model: onnx.ModelProto) -> Ranges:
    """The ranges of an FP32 graph's tensors out of a cache: -127 s to 127 s, from 0 where there is nothing negative.

    Each stands there twice: as `min-max`, which `edge-seg quantize` takes where no method is named, and as the method
    of the cache's kind. A tensor without a line has a range where its node gives nothing beyond what it takes.
    DataError for a cache of another graph.
    """
    names = float_tensors(model)
    _check_names(cache, model, names)
    scales = {name: scale for name, scale in cache.scales.items() if name in names}
    for node in _carrying(model):
        given = [scales[name] for name in _data(node) if name in scales]
        if node.output[0] in names and len(given) == len(_data(node)):
            scales.setdefault(node.output[0], max(given))
    positive = _not_negative(model)
    methods = sorted({"min-max", METHODS[cache.algorithm]})
    spans = {name: 127 * float(scales[name]) for name in names if name in scales}  # exact: the scale comes back
    tensors = {n: dict.fromkeys(methods, (0.0 if n in positive else -most, most)) for n, most in spans.items()}
    return Ranges(hash_of(model), cache.header, 0, tensors)


def without_range(ranges: Ranges, model: onnx.ModelProto) -> list[str]:
    """Float tensors of the model that have no range: they stay in float."""
    return [name for name in float_tensors(model) if name not in ranges.tensors]


def _check_names(cache: Cache, model: onnx.ModelProto, names: list[str]) -> None:
    """DataError for tensors that the model does not have, and where the cache has none of the model's."""
    nodes = (*model.graph.node, *_with_ends(model).graph.node)
    known = {name for node in nodes for name in (*node.input, *node.output)}
    known |= {f"{name}_output" for name in known}  # what TensorRT 10 calls a constant that it makes a layer of
    others = [n for n in (*cache.scales, *cache.unscaled) if n not in known and not OWN_NAMES.match(n)]
    if others:
        raise DataError(
            f"The cache is of another graph: the model has no tensor {some(others)}. Give the model that it was "
            "calibrated on."
        )
    if cache.scales.keys().isdisjoint(names):
        raise DataError("The cache has a scale for none of the model's tensors. Calibrate again.")


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _carrying(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for node in model.graph.node:
        if node.op_type in CARRYING and text_of(node, "mode", "") != "cubic":  # which overshoots
            yield node


def _data(node: onnx.NodeProto) -> list[str]:
    return list(node.input if node.op_type == "Concat" else node.input[:1])


def _not_negative(model: onnx.ModelProto) -> set[str]:
    """Names of the tensors that hold nothing negative: the QuantizeLinear behind a ReLU then does its work."""
    found = {value.name for value in model.graph.input}  # bytes
    carrying = {node.output[0] for node in _carrying(model)}
    graph = Graph(model)
    for node in model.graph.node:
        of_itself = node.op_type in NOT_NEGATIVE or _clips_from_zero(graph, node)
        if of_itself or (node.output[0] in carrying and found.issuperset(_data(node))):
            found.add(node.output[0])
    return found


def _clips_from_zero(graph: Graph, node: onnx.NodeProto) -> bool:
    """Whether a node is a ReLU6 or the like: a Clip with a least value that is known, and not below 0."""
    low = graph.value(node.input[1]) if node.op_type == "Clip" and len(node.input) > 1 else None
    return low is not None and low.item() >= 0
