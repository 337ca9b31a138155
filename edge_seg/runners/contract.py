"""The deploy contract as checks: what a graph takes and gives, and what a caller may pass."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from edge_seg.errors import ModelError
from edge_seg.files import write_whole
from edge_seg.spec import METADATA_KEY, ModelSpec, parse_spec
from edge_seg.types import UInt8Array

OPSETS = range(13, 24)
"""ONNX opsets of deployable graphs: per-channel Q/DQ begins with 13; what is above is not tested."""

EXACT_PREFIX = "tail/"
"""Nodes of this prefix hold whole numbers up to 2^24 in float32; a shorter float type would lose the labels in them."""


def read_onnx_spec(path: Path) -> ModelSpec:
    """The spec of a deployable ONNX file; ModelError where the file is no ONNX or keeps another contract."""
    return check_contract(load_onnx(path), str(path))


def load_onnx(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file; ModelError where it is none."""
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path} is no ONNX model ({error}). Make one: edge-seg export CHECKPOINT.pt") from None
    if not model.graph.output or not model.opset_import:
        raise ModelError(f"{path} is no ONNX model (empty graph). Make one: edge-seg export CHECKPOINT.pt")
    return model


def check_contract(model: onnx.ModelProto, name: str) -> ModelSpec:
    """The model's spec, if its input, output and opset are those of the contract; else ModelError."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise ModelError(f"{name} has opset {opset}; expected {OPSETS[0]} to {OPSETS[-1]}. Export it again.")
    found = f"{_describe(model.graph.input)} -> {_describe(model.graph.output)}"
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in metadata:
        raise ModelError(
            f"{name} carries no edge-seg spec; its graph is {found}. "
            "Make one that does: edge-seg export CHECKPOINT.pt, or of another tool's net: edge-seg adopt NET.onnx"
        )
    spec = parse_spec(metadata[METADATA_KEY])
    height, width = spec.height, spec.width
    expected = f"image: uint8 [N, {height}, {width}, 3] -> labels: uint8 [N, {height}, {width}]"
    open_sizes = _open_sizes(model.graph)
    if found != expected or open_sizes:
        advice = "\n" + _fixed_sizes_advice(open_sizes, spec) if open_sizes else ""
        raise ModelError(f"{name} keeps another contract.\n  found:    {found}\n  expected: {expected}{advice}")
    return spec


def _open_sizes(graph: onnx.GraphProto) -> list[str]:
    """The sizes of inputs and outputs that are not fixed, but for the first, N. The name of one may be a number."""
    shapes = [value.type.tensor_type.shape for value in (*graph.input, *graph.output)]
    return [_describe_size(size) for shape in shapes for size in shape.dim[1:] if not size.HasField("dim_value")]


def _fixed_sizes_advice(open_sizes: list[str], spec: ModelSpec) -> str:
    size = f"--size {spec.width}x{spec.height}"
    return (
        f"{', '.join(dict.fromkeys(open_sizes))} is dynamic; height and width must be fixed. Export it again: "
        f"edge-seg export CHECKPOINT.pt {size}, or of another tool's net: edge-seg adopt NET.onnx {size}"
    )


def write_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Put the spec into the model's metadata, in place of one that is there."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**metadata, METADATA_KEY: spec.to_json()})


def add_score(path: Path, name: str, value: float) -> None:
    """Write a measured score into the spec of the ONNX file at `path`; the graph is untouched."""
    model = load_onnx(path)
    spec = check_contract(model, path.name)
    write_spec(model, dataclasses.replace(spec, scores={**spec.scores, name: value}))
    write_whole(path, model.SerializeToString())


def needs_exact_float32(path: Path) -> bool:
    """True for a file whose labels come out of whole numbers in float32: see `calib.integer_tail`."""
    return any(node.name.startswith(EXACT_PREFIX) for node in load_onnx(path).graph.node)


def _describe(values: "onnx.protobuf.RepeatedCompositeFieldContainer[onnx.ValueInfoProto]") -> str:  # type: ignore[name-defined]
    """Name, type and shape of graph inputs or outputs, such as 'labels: uint8 [N, 360, 480]'."""
    return ", ".join(f"{value.name}: {_describe_one(value.type.tensor_type)}" for value in values)


def _describe_one(tensor: onnx.TypeProto.Tensor) -> str:
    dims = [_describe_size(size) for size in tensor.shape.dim]
    if tensor.shape.dim and tensor.shape.dim[0].dim_param:
        dims[0] = "N"  # whatever its name
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type).lower()} [{', '.join(dims)}]"


def _describe_size(size: onnx.TensorShapeProto.Dimension) -> str:
    return str(size.dim_value) if size.HasField("dim_value") else size.dim_param or "?"


def check_images(images: UInt8Array, spec: ModelSpec) -> None:
    """ModelError unless images are uint8 [N, H, W, 3] of the spec's size with N >= 1."""
    expected = (spec.height, spec.width, 3)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected or not len(images):
        raise ModelError(
            f"{spec.name} takes uint8 [N, {spec.height}, {spec.width}, 3], but was given {images.dtype} "
            f"{list(images.shape)}. Resize first, or use open_segmenter, which does."
        )
