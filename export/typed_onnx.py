"""The ONNX file of a precision, for strongly typed networks (TensorRT 10 and newer), which compute in its types."""

from collections.abc import Callable

import onnx

from edge_seg.errors import ModelError
from edge_seg.export.to_fp16 import to_fp16


def typed_onnx(model: onnx.ModelProto, precision: str | None, *, tell: Callable[[str], None]) -> onnx.ModelProto:
    """A model in the types that `precision` asks for; the very same one where it has them already.

    `fp16` and `best` want its floats in FP16, beside the INT8 of its Q/DQ nodes, if it has any; `fp32` and `int8` want
    them in FP32. None leaves the file's types as they are. ModelError for a file that cannot be so; `best` says what
    it lacks, and goes on without.
    """
    if precision not in ("fp16", "best"):
        if precision == "fp32" and is_fp16(model):
            raise ModelError("The file's floats are FP16, and TensorRT computes in them. Build the FP32 file.")
        return model
    if precision == "best" and not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        tell("There is no INT8 in the file. To write one with it: edge-seg quantize MODEL --target tensorrt")
    try:
        return model if is_fp16(model) else to_fp16(model)
    except ModelError as error:
        why = f"No FP16 file can be made of the model. {str(error).removesuffix(' Keep --float fp32.')}"  # of quantize
        if precision == "fp16":
            raise ModelError(f"{why} To build it in its own types, leave --precision out.") from None
        tell(f"There is no FP16 in the engine. {why}")
        return model


def is_fp16(model: onnx.ModelProto) -> bool:
    """Whether the file keeps floats in FP16."""
    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
