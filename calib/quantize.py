"""Static INT8: ranges of pictures observed once, and a file written for a target."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import TensorProto

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
from edge_seg.export.graph import check_inside
from edge_seg.export.target import Target, find_target, target_here, targets_of
from edge_seg.export.tensorrt_floats import FEWEST_CHANNELS
from edge_seg.export.to_fp16 import to_fp16
from edge_seg.files import write_whole
from edge_seg.runners.contract import check_contract, load_onnx, write_spec
from edge_seg.spec import ModelSpec
from edge_seg.types import Dataset
from edge_seg.weights import fp32_name

QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
"""Operators that only a quantized graph has, beside those whose names begin with QLinear."""

SHORT_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


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

    DataError and ModelError as `int8_graph`.
    """
    quantized = int8_graph(open_fp32(model_path), ranges, rung)
    write_whole(out, quantized.SerializeToString())
    return check_contract(quantized, out.name)


def int8_graph(model: onnx.ModelProto, ranges: Ranges, rung: Rung) -> onnx.ModelProto:
    """The INT8 graph of an FP32 one of `open_fp32`, its ranges and a rung.

    DataError for a rung that cannot be written without its pictures; ModelError where nothing would be in 8 bits.
    """
    check_replayable(rung)
    graph, target = float_graph(model, rung), find_target(rung.target)
    chosen = ranges_of(ranges, rung)
    quantized = to_int8(graph, chosen, target, floats=frozenset(rung.floats))
    check_int8(quantized, target)
    if rung.float_type == "fp16":  # by the widest ranges: those that a training kept may be of one method alone
        widest = {name: found.get("min-max", chosen[name]) for name, found in ranges.tensors.items()}
        quantized = to_fp16(quantized, widest)
    return quantized


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


def choose_target(
    model: onnx.ModelProto, ranges: Ranges, rung: Rung, *, on_skipped: Callable[[str], None] = lambda note: None
) -> str:
    """The dialect of a rung's target; where its name leaves the choice, the one whose INT8 file is faster here.

    `on_skipped` is told of a dialect that cannot be written for this model; ModelError where none can.
    """
    targets, runtime = targets_of(rung.target)
    if len(targets) == 1:
        return targets[0].name
    with TemporaryDirectory() as folder:
        rungs = [dataclasses.replace(rung, target=target.name) for target in targets]
        paths = _write_each(model, ranges, rungs, Path(folder), on_skipped)
        best, *others = paths
        for target in others:
            pair = compare_speed(*((paths[one], runtime) for one in (best, target)))
            best = target if pair.speedup > CLEARLY_FASTER else best
    return best


def _write_each(
    model: onnx.ModelProto,
    ranges: Ranges,
    rungs: Sequence[Rung],
    folder: Path,
    on_skipped: Callable[[str], None],
) -> dict[str, Path]:
    """The INT8 files of the rungs that can be written, by their targets, in order; ModelError where none can."""
    paths, notes = {}, []
    for rung in rungs:
        target = find_target(rung.target)
        try:
            graph = to_int8(model, ranges_of(ranges, rung), target, floats=frozenset(rung.floats))
            check_int8(graph, target)
        except ModelError as error:
            notes.append(f"{target.name}: {error}")
            continue
        paths[target.name] = folder / f"{target.name}.onnx"
        paths[target.name].write_bytes(graph.SerializeToString())
    if not paths:
        raise ModelError("\n".join(notes))
    for note in notes:
        on_skipped(note)
    return paths


def check_int8(graph: onnx.ModelProto, target: Target) -> None:
    """ModelError where a graph that was written for `target` has nothing in 8 bits."""
    if any(node.op_type == "QuantizeLinear" for node in graph.graph.node):
        return
    narrow = f" It takes convolutions of {FEWEST_CHANNELS} channels and more." if target.minimal else ""
    raise ModelError(
        f"Nothing in the file would be INT8: the model has no layer that {target.name} quantizes, or all of them are "
        f"left in float.{narrow} Choose another --target."
    )


def open_fp32(path: Path) -> onnx.ModelProto:
    """The model at `path`.

    ModelError where it keeps another contract, has weights in another file, is quantized already or not of FP32.
    """
    model = load_onnx(path)
    check_contract(model, str(path))
    check_inside(model, f"{path} --target auto")
    other = fp32_name(path)
    advice = f"Give the FP32 file{'' if other is None else f', {other}'}."
    for node in model.graph.node:
        if node.op_type in QUANTIZED or node.op_type.startswith("QLinear"):
            raise ModelError(f"{path} has a {node.op_type}: it is quantized already. {advice}")
    for name, kind in _constant_types(model):
        if kind in SHORT_FLOATS:
            raise ModelError(
                f"{path} is no FP32 model: {name} holds {TensorProto.DataType.Name(kind)}. {advice} FP16 beside INT8, "
                "for TensorRT, is made of it: --target tensorrt --float fp16"
            )
    return model


def _constant_types(model: onnx.ModelProto) -> Iterator[tuple[str, int]]:
    """Names and types of what a graph holds as initializers and in Constant nodes."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor.data_type
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], a.t.data_type) for a in node.attribute if a.HasField("t"))


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
            f"The model has opset {opset}; files for {target.name} are written up to {target.most_opset}. Export it "
            "anew: edge-seg export, or edge-seg adopt."
        )
