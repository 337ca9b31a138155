"""A foreign ONNX file: read whole, checked, and brought to an opset of deployable graphs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, inliner, version_converter
from onnx.checker import ValidationError

from edge_seg.errors import ModelError
from edge_seg.export.graph import opset_of
from edge_seg.runners.contract import OPSETS, load_onnx
from edge_seg.spec import MAX_SIDE_PX

LARGEST_BYTES = 2**31 - 1
"""Protobuf writes no longer file."""

DYNAMIC = {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
"""Operators of a file whose scales follow from each picture: what `quantize_dynamic` of ONNX Runtime writes."""

OPSET = 17
"""What newer graphs are brought back to where it can be done: the newest that TensorRT 8.5's parser reads."""

IR_VERSION = 8
"""The one that goes with opset 17."""

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True, slots=True)
class PictureInput:
    """The only input of a foreign net: name, element type, the batch that it is fixed to (1 where free), and size."""

    name: str
    elem_type: int
    batch: int
    width: int
    height: int
    channels_last: bool

    @property
    def dtype(self) -> type[np.float32] | type[np.float16]:
        """The element type in NumPy."""
        return np.float32 if self.elem_type == TensorProto.FLOAT else np.float16

    @property
    def shape(self) -> list[int]:
        """The input's sizes."""
        sides = [self.height, self.width]
        return [self.batch, *sides, 3] if self.channels_last else [self.batch, 3, *sides]


def read_foreign(path: Path) -> onnx.ModelProto:
    """The model of a file with its external weights inside, as it was exported but for functions, which are unfolded.

    ModelError for what is no ONNX, for more than 2 GiB, and for operators that not every run-time has.
    """
    _check_bytes([path], path)
    model = load_onnx(path)
    _load_weights(model, path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _check_operators(model.graph, path)
    return model


def _check_bytes(files: list[Path], path: Path) -> None:
    """ModelError where the files together are more than one graph may hold."""
    total = sum(file.stat().st_size for file in files if file.is_file())
    if total > LARGEST_BYTES:
        raise ModelError(
            f"{path} with its weights has {total / 2**30:.1f} GiB; a deployable file holds them all, and 2 GiB at "
            "most. Export a smaller net, or its weights in float16."
        )


def _load_weights(model: onnx.ModelProto, path: Path) -> None:
    """Read the tensors that lie in other files; ModelError where those are missing or cut short."""
    outside = [tensor for tensor in model.graph.initializer if external_data_helper.uses_external_data(tensor)]
    names = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    _check_bytes([path, *(path.parent / name for name in names)], path)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, ValidationError) as error:
        raise ModelError(
            f"The weights of {path.name}, which lie in {', '.join(sorted(names))}, cannot be read ({error}). Put the "
            "files beside it under the names that they were exported with."
        ) from None


def _check_operators(graph: onnx.GraphProto, path: Path) -> None:
    """ModelError for operators outside the ONNX standard, for scales found while running, for branches and loops."""
    strange = sorted({f"{node.domain}.{node.op_type}" for node in graph.node if node.domain not in ("", "ai.onnx")})
    if strange:
        raise ModelError(
            f"{path} has operators that are not of the ONNX standard: {', '.join(strange)}. Give the file as it was "
            "exported, before a run-time optimised it."
        )
    dynamic = sorted({node.op_type for node in graph.node} & DYNAMIC)
    if dynamic:
        raise ModelError(
            f"{path} was quantized so that it finds its scales while it runs ({', '.join(dynamic)}). Give the FP32 "
            "file that it was made from."
        )
    nested = sorted({node.op_type for node in graph.node if any(a.HasField("g") or a.graphs for a in node.attribute)})
    if nested:
        raise ModelError(
            f"{path} has graphs inside {', '.join(nested)}, which quantizers do not see. Export it by tracing, "
            "with height and width fixed."
        )


def use_common_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model in opset 13 to 17 where ONNX's converter brings it there; never newer than it was, from 13 on.

    ModelError where it stays outside what deployable graphs may have. What the conversion changed by mistake is found
    by the comparison at the end of adopting.
    """
    opset = opset_of(model)
    if not OPSETS[0] <= opset <= OPSET:
        target = OPSETS[0] if opset < OPSETS[0] else OPSET
        try:
            model = _without_defaults(version_converter.convert_version(model, target), opset)
        except Exception as error:  # the converter is C++: a missing adapter, an assertion, or what protobuf says
            if opset not in OPSETS:
                raise ModelError(
                    f"{path} has opset {opset} and cannot be brought to {target} ({error}). Export it with "
                    f"opset_version={OPSET}."
                ) from None
    opset_now = opset_of(model)
    del model.opset_import[:]  # others of which no operator is left
    model.opset_import.append(onnx.helper.make_opsetid("", opset_now))
    model.ir_version = max(IR_VERSION, onnx.helper.find_min_ir_version_for(list(model.opset_import)))
    return model


def _without_defaults(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """A model that was in `opset`, less the attributes that its operators no longer have and that say their default.

    The converter leaves them: `noop_with_empty_axes` of ReduceMean in opset 18 is none of 17.
    """
    for node in model.graph.node:
        if not onnx.defs.has(node.op_type, opset):
            continue  # made by the converter
        before, after = (onnx.defs.get_schema(node.op_type, v).attributes for v in (opset, opset_of(model)))
        for attribute in [a for a in node.attribute if a.name in before and a.name not in after]:
            if _same_value(attribute, before[attribute.name].default_value):
                node.attribute.remove(attribute)
    return model


def _same_value(one: onnx.AttributeProto, other: onnx.AttributeProto) -> bool:
    return one.type == other.type and onnx.helper.get_attribute_value(one) == onnx.helper.get_attribute_value(other)


def find_picture(model: onnx.ModelProto, path: Path, *, layout: str, size: tuple[int, int] | None) -> PictureInput:
    """The picture that the net takes, at `size` (width, height) where the graph leaves it open.

    ModelError unless the graph has one input, float [N, 3, H, W], or [N, H, W, 3] where `layout` is "nhwc".
    """
    weights = {tensor.name for tensor in model.graph.initializer}  # old files list them as inputs too
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(f"{path} has {len(inputs)} inputs ({names}); expected one, the picture. Export the net alone.")
    tensor = inputs[0].type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    last = layout == "nhwc"
    channels = 3 if last else 1
    if tensor.elem_type not in FLOATS or len(dims) != 4 or dims[channels] not in (0, 3):
        raise ModelError(_other_input(path, inputs[0], layout))
    height, width = dims[1:3] if last else dims[2:]
    width, height = _one_size((width, height), size, path)
    return PictureInput(inputs[0].name, tensor.elem_type, max(dims[0], 1), width, height, last)


def _other_input(path: Path, value: onnx.ValueInfoProto, layout: str) -> str:
    tensor = value.type.tensor_type
    dims = [dim.dim_param or str(dim.dim_value or "?") for dim in tensor.shape.dim]
    kind = TensorProto.DataType.Name(tensor.elem_type).lower()
    other = {"nchw": "nhwc", "nhwc": "nchw"}[layout]
    shapes = {"nchw": "[N, 3, H, W]", "nhwc": "[N, H, W, 3]"}
    fits = len(dims) == 4 and dims[1 if other == "nchw" else 3] == "3"
    advice = f"Type --layout {other}." if fits else "Export the net with float pictures, normalised outside of it."
    return (
        f"The input {value.name!r} of {path} is {kind} [{', '.join(dims)}]; expected float {shapes[layout]}. {advice}"
    )


def _one_size(own: tuple[int, int], wanted: tuple[int, int] | None, path: Path) -> tuple[int, int]:
    """Width and height of the graph, with those wanted in place of what it leaves open.

    >>> _one_size((0, 0), (480, 360), Path("a.onnx"))
    (480, 360)
    """
    if wanted is None and 0 in own:
        raise ModelError(f"{path} leaves height or width open, and deployable graphs fix both. Type --size 480x360.")
    width, height = (side or asked for side, asked in zip(own, wanted or own, strict=True))
    if wanted is not None and (width, height) != wanted:
        raise ModelError(
            f"{path} takes {width}x{height}; --size {wanted[0]}x{wanted[1]} would need another export. "
            "Leave --size out."
        )
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise ModelError(f"{path} takes {width}x{height}; sides of 1 to {MAX_SIDE_PX} pixels are possible.")
    return width, height
