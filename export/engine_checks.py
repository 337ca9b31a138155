"""What cannot be built is refused before TensorRT is asked: on this GPU, by this version, of this file."""

from typing import Any

import onnx

from edge_seg.errors import ModelError
from edge_seg.runners.tensorrt_api import has

PRECISIONS = ("fp32", "fp16", "int8", "best")


def check_calibrator(trt: Any, precision: str | None, model: onnx.ModelProto) -> None:  # noqa: ANN401
    """ModelError where a calibrator is of no use for a model, or this TensorRT has none."""
    if not has(trt, "calibrators"):
        raise ModelError(
            f"TensorRT {trt.__version__} has no calibrators any more. Write Q/DQ nodes instead: "
            "edge-seg quantize MODEL --target tensorrt"
        )
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ModelError("The file has Q/DQ nodes already, which say how to round. Leave --calib implicit out.")
    if precision in ("fp32", "fp16"):
        raise ModelError(f"--precision {precision} has no INT8 to calibrate. Take int8 or best, or leave --calib out.")


def check_precision(trt: Any, builder: Any, precision: str | None, *, short: bool) -> None:  # noqa: ANN401
    """ModelError where no such engine comes of the file, or the GPU lacks INT8; `short` where the network has it."""
    if precision not in (None, *PRECISIONS):
        raise ModelError(f"No precision {precision!r}. Choose {', '.join(PRECISIONS)}.")
    if precision == "int8" and not short:
        raise ModelError(
            "The file has no Q/DQ nodes, and nothing calibrates it: nothing says how to round. Quantize it first: "
            "edge-seg quantize MODEL --target tensorrt"
        )
    if short and has(trt, "fast INT8") and not builder.platform_has_fast_int8:
        raise ModelError(
            "This GPU does not compute in INT8 (Nano's sm_53 and TX2's sm_62 do not). Build the FP32 file with "
            "--precision fp16."
        )


def check_dla(builder: Any, core: int, *, by_file: bool) -> None:  # noqa: ANN401
    """ModelError where there is no such deep learning accelerator, or it would take no layer.

    `by_file`: the file says what is in INT8, by its types or by Q/DQ nodes, and no DLA takes it from there.
    """
    if core >= builder.num_DLA_cores:
        cores = builder.num_DLA_cores
        raise ModelError(f"--dla {core}: this machine has {cores} DLA cores. Leave --dla out to take the GPU.")
    if by_file:
        raise ModelError(
            "A DLA computes in INT8 and FP16 alone, and takes INT8 from a calibrator: build the FP32 file with --calib "
            "implicit. Else all layers would run on the GPU."
        )
