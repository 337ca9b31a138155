"""A graph in FP16, for TensorRT from 10 on: a strongly typed network runs in the types that its file has.

So INT8 with FP16 beside it takes a file whose floats, biases and scales are FP16. QuantizeLinear and DequantizeLinear
take such scales from opset 19 on.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from edge_seg.errors import ModelError
from edge_seg.export.float_ends import use_float_ends
from edge_seg.export.fp16_scales import fit_scales
from edge_seg.export.graph import check_inside, in_tail, opset_of, walk
from edge_seg.export.tidy import drop_unused
from edge_seg.runners.contract import check_contract, write_spec

OPSET = 19
"""The first with FP16 scales; TensorRT 10 reads it."""

MOST = 65504.0
"""The largest FP16 number."""

WRITE = "Write it for TensorRT from the FP32 model: edge-seg quantize MODEL --target tensorrt"


def to_fp16(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]] | None = None) -> onnx.ModelProto:
    """The same graph with all floats in FP16 and opset 19, under the same contract; `model` stays as it is.

    It takes an FP32 graph, whose spec then says FP16, or one with Q/DQ nodes as they are written for TensorRT, which
    keep their integers. Resize's scales stay in FP32, as ONNX wants them. `ranges` are those observed, (least, most) by
    tensor, where there are any. Bytes are cast to float and labels from float at the two ends alone.

    ModelError, which names the tensor, for constants and ranges beyond 65504 and for steps of activations below
    FP16's least normal number; for files of CPU targets; and for operators that have no FP16. Limits of Clip beyond
    65504 are set to it, which changes no finite value; steps of weights: see `fp16_scales`.
    """
    spec = check_contract(model, "the model")
    _check_graph(model)
    _check_ranges(ranges or {})
    result = _raise_opset(model)
    use_float_ends(result)
    quantized = fit_scales(result)
    _own_resize_scales(result.graph)
    _convert(result.graph)
    drop_unused(result.graph)
    del result.graph.value_info[:]
    result = _checked_types(result)
    write_spec(result, dataclasses.replace(spec, precision="INT8" if quantized else "FP16", scores={}))
    check_contract(result, "the FP16 graph")
    return result


def _check_graph(model: onnx.ModelProto) -> None:
    """ModelError for graphs that this is not for."""
    graph = model.graph
    if sum(1 for _ in walk(graph)) > len(graph.node) or model.functions:
        raise ModelError("The model has branches, loops or functions. Export it by tracing: edge-seg export")
    kinds = {tensor.data_type for tensor in graph.initializer}
    if any(in_tail(node) for node in graph.node) or TensorProto.INT32 in _dequantized_kinds(graph):
        raise ModelError(f"The model is written for a CPU, with integers that FP16 does not hold. {WRITE} --float fp16")
    if TensorProto.FLOAT16 in kinds:
        raise ModelError("The model has FP16 weights already. Give the FP32 file.")
    check_inside(model, "MODEL --target tensorrt")


def _dequantized_kinds(graph: onnx.GraphProto) -> set[int]:
    """Types of the constants that DequantizeLinear nodes read."""
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {kinds.get(node.input[0], 0) for node in graph.node if node.op_type == "DequantizeLinear"}


def _check_ranges(ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, (least, most) in ranges.items():
        if max(-least, most) > MOST:
            raise ModelError(
                f"The tensor {name} reaches {max(-least, most):g}, and FP16 ends at {MOST:g}. Keep --float fp32."
            )


def _raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in opset 19, or in its own where that is newer."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if opset_of(model) < OPSET:
        try:
            result = version_converter.convert_version(result, OPSET)
        except Exception as error:  # the converter is C++: a missing adapter, an assertion, or what protobuf says
            raise ModelError(
                f"The model's opset {opset_of(model)} cannot be brought to {OPSET} ({error}). Export it with "
                f"opset_version={OPSET}."
            ) from None
    result.ir_version = max(
        result.ir_version, helper.find_min_ir_version_for(list(result.opset_import), ignore_unknown=True)
    )
    return result


def _own_resize_scales(graph: onnx.GraphProto) -> None:
    """Give each Resize scales that nothing else reads: they stay in FP32, whatever the others become."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) > 2 and node.input[2] in constants:
            name = f"{node.output[0]}/scales"
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(constants[node.input[2]]), name))
            node.input[2] = name


def _resize_scales(graph: onnx.GraphProto) -> set[str]:
    return {node.input[2] for node in graph.node if node.op_type == "Resize" and len(node.input) > 2 and node.input[2]}


def _convert(graph: onnx.GraphProto) -> None:
    """All float constants, and the types that nodes make, in FP16."""
    kept = _resize_scales(graph)
    limits = {name for node in graph.node if node.op_type == "Clip" for name in node.input[1:]}
    limits -= {name for node in graph.node for name in (node.input[:1] if node.op_type == "Clip" else node.input)}
    for tensor in graph.initializer:
        if tensor.name not in kept:
            _halve(tensor, tensor.name, is_limit=tensor.name in limits)
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] in kept:
            continue
        for name, tensor in _tensors_of(node):
            _halve(tensor, name, is_limit=name in limits)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16


def _tensors_of(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Names and values of the tensors within a node; what it says in another way becomes one."""
    if node.op_type == "ConstantOfShape" and not node.attribute:  # its default is 0 in FP32
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float32))))
    if node.op_type == "Constant" and node.attribute[0].name in ("value_float", "value_floats"):
        values = np.asarray(helper.get_attribute_value(node.attribute[0]), np.float32)
        node.attribute[0].CopyFrom(helper.make_attribute("value", numpy_helper.from_array(values)))
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            yield node.output[0], attribute.t


def _halve(tensor: onnx.TensorProto, name: str, *, is_limit: bool) -> None:
    """An FP32 tensor in FP16; others are left alone."""
    if tensor.data_type == TensorProto.FLOAT:
        values: NDArray[np.float32] = numpy_helper.to_array(tensor)
        if is_limit:
            values = np.clip(values, -MOST, MOST)
        beyond = np.abs(values[np.isfinite(values)]) > MOST
        if beyond.any():
            raise ModelError(
                f"The constant {name} holds {np.abs(values[np.isfinite(values)]).max():g}, and FP16 ends at {MOST:g}. "
                "Keep --float fp32."
            )
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _checked_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its shapes inferred; ModelError where an operator takes no FP16 or gets two types."""
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"The model has what cannot be FP16 ({error}). Keep --float fp32.") from None
