"""Static INT8: ranges of pictures observed once, and a file written for a target."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from edge_seg.calib.equalisation import equalise
from edge_seg.calib.images import calibration_images, pick_indices
from edge_seg.calib.input_cut import cut_input, input_steps
from edge_seg.calib.integer_tail import use_integer_tail
from edge_seg.calib.qdq import Rounded, write_qdq
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.calib.rung import Rung
from edge_seg.calib.speed import CLEARLY_FASTER, compare_speed
from edge_seg.calib.thresholds import Range
from edge_seg.errors import DataError, ModelError
from edge_seg.export.float_ends import use_float_ends
from edge_seg.export.target import Target, find_target, target_here, targets_of
from edge_seg.export.to_fp16 import to_fp16
from edge_seg.files import write_whole
from edge_seg.runners.contract import check_contract, load_onnx, write_spec
from edge_seg.spec import ModelSpec
from edge_seg.types import Dataset
from edge_seg.weights import fp32_name


def quantize(
    model_path: Path,
    out: Path,
    dataset: Dataset,
    *,
    images: int = 120,
    rung: Rung | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> ModelSpec:
    """Write the INT8 file of an FP32 ONNX to `out`, with ranges from pictures of `dataset`; return its spec.

    ModelError for a model that keeps another contract or is quantized already, DataError for too few pictures.
    `on_image` is called before each picture; without a rung the file is one for this machine.
    """
    rung = rung or Rung(target_here().name)
    model = open_fp32(model_path)
    pick_indices(len(dataset), images)  # fails before any work
    pictures = calibration_images(dataset, check_contract(model, str(model_path)), images)
    ranges = observe(float_graph(model, rung), pictures, on_image=on_image)
    return write_int8(model_path, out, ranges, rung)


def write_int8(model_path: Path, out: Path, ranges: Ranges, rung: Rung) -> ModelSpec:
    """Write the INT8 file of an FP32 ONNX, its ranges and a rung to `out`, without any data; return its spec.

    DataError for a rung that cannot be written without its pictures.
    """
    check_replayable(rung)
    graph = float_graph(open_fp32(model_path), rung)
    quantized = to_int8(graph, ranges_of(ranges, rung), find_target(rung.target), floats=frozenset(rung.floats))
    if rung.float_type == "fp16":
        quantized = to_fp16(quantized, ranges.chosen("min-max"))
    write_whole(out, quantized.SerializeToString())
    return check_contract(quantized, out.name)


def check_replayable(rung: Rung) -> None:
    """DataError for a rung that cannot be written from ranges alone."""
    if rung.corrected or rung.adaptive:
        raise DataError(
            "Corrected biases and AdaRound depend on the pictures, not on the ranges alone. Choose them again with "
            "--data and a gate: edge-seg quantize MODEL --data ... --max-drop 0.003"
        )


def float_graph(model: onnx.ModelProto, rung: Rung) -> onnx.ModelProto:
    """The FP32 graph that a rung quantizes, and that its ranges are of."""
    return equalise(model)[0] if rung.equalised else model


def ranges_of(ranges: Ranges, rung: Rung) -> dict[str, Range]:
    """Each tensor's range by the method that a rung has for it; DataError where the ranges have none by that."""
    target = find_target(rung.target)
    if unknown := sorted(rung.methods.keys() - ranges.tensors.keys()):
        raise DataError(f"There is no tensor {unknown[0]!r} to choose a method for. Take the name out of the rung.")
    others = {tensor: method_for(target, method) for tensor, method in rung.methods.items()}
    return ranges.chosen(method_for(target, rung.method), others)


def method_for(target: Target, method: str) -> str:
    """The method by the name that ranges have it under for a target, whose levels may lie on both sides of zero alike.

    >>> method_for(find_target("tensorrt"), "mse")
    'mse-symmetric'
    """
    return "mse-symmetric" if method == "mse" and target.minimal else method


def choose_target(model: onnx.ModelProto, ranges: Ranges, name: str) -> str:
    """The dialect of a target's name; where it leaves the choice, the one whose INT8 file is faster here."""
    (best, *others), runtime = targets_of(name)
    if not others:
        return best.name
    with TemporaryDirectory() as folder:
        for target in (best, *others):
            graph = to_int8(model, ranges_of(ranges, Rung(target.name)), target)
            Path(folder, f"{target.name}.onnx").write_bytes(graph.SerializeToString())
        for target in others:
            pair = compare_speed(*((Path(folder, f"{one.name}.onnx"), runtime) for one in (best, target)))
            best = target if pair.speedup > CLEARLY_FASTER else best
    return best.name


def open_fp32(path: Path) -> onnx.ModelProto:
    """The model at `path`; ModelError where it keeps another contract or is quantized already."""
    model = load_onnx(path)
    check_contract(model, str(path))
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        other = fp32_name(path)
        raise ModelError(f"{path} is quantized already. Give the FP32 file{'' if other is None else f', {other}'}.")
    return model


def to_int8(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    target: Target,
    *,
    floats: frozenset[str] = frozenset(),
    rounded: Rounded | None = None,
) -> onnx.ModelProto:
    """The INT8 graph of an FP32 one for `target`, under the same contract, with the spec inside.

    Nodes of the names `floats` stay in float. A CPU's file takes the camera's bytes as they are and ends in integers.
    """
    spec = dataclasses.replace(check_contract(model, "the model"), precision="INT8", scores={})
    _check_opset(model, target)
    exact = {} if target.minimal else input_steps(model)
    result = write_qdq(model, ranges, target, exact=exact, floats=floats, rounded=rounded)
    if exact:
        cut_input(result)
    if target.integer_tail:
        use_integer_tail(result)
    if target.minimal:
        use_float_ends(result)
    write_spec(result, spec)
    check_contract(result, "the INT8 graph")
    return result


def _check_opset(model: onnx.ModelProto, target: Target) -> None:
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset > target.most_opset:
        raise ModelError(
            f"The model has opset {opset}; {target.name} reads {target.most_opset} at most. Export it anew: edge-seg "
            "export, or edge-seg adopt."
        )
