"""Static INT8 for CPUs: uint8 activations, int8 weights per output channel, Q/DQ around every operator of the net.

The dialect is the one that both ONNX Runtime and OpenVINO run in INT8 on x86-64: see docs/quantization.md.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from edge_seg.calib.images import calibration_images, pick_indices
from edge_seg.calib.input_cut import cut_input, input_override
from edge_seg.calib.integer_tail import use_integer_tail
from edge_seg.errors import ModelError
from edge_seg.files import write_whole
from edge_seg.runners.contract import check_contract, load_onnx, write_spec
from edge_seg.spec import ModelSpec
from edge_seg.types import Dataset, UInt8Array

QUANTIZED_OPERATORS = ["Conv", "Relu", "Add", "Resize"]


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Pictures in the shape that ONNX Runtime's calibrators pull them."""

    def __init__(self, images: Iterator[UInt8Array], on_image: Callable[[], None]) -> None:
        self.images, self.on_image = images, on_image

    def get_next(self) -> dict[str, UInt8Array] | None:
        image = next(self.images, None)
        if image is None:
            return None
        self.on_image()
        return {"image": image}


def quantize(
    model_path: Path, out: Path, dataset: Dataset, *, images: int = 120, on_image: Callable[[], None] = lambda: None
) -> ModelSpec:
    """Write the INT8 file of an FP32 ONNX to `out`, with ranges (min-max) from pictures of `dataset`; return its spec.

    ModelError for a model that keeps another contract or is quantized already, DataError for too few pictures.
    `on_image` is called before each picture.
    """
    model = load_onnx(model_path)
    spec = check_contract(model, str(model_path))
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ModelError(f"{model_path} is quantized already. Give the FP32 file.")
    pick_indices(len(dataset), images)  # fails before any work
    quantized = _quantize(model, _Images(calibration_images(dataset, spec, images), on_image))
    cut_input(quantized)
    use_integer_tail(quantized)
    int8_spec = dataclasses.replace(spec, precision="INT8", scores={})
    write_spec(quantized, int8_spec)
    check_contract(quantized, out.name)
    write_whole(out, quantized.SerializeToString())
    return int8_spec


def _quantize(model: onnx.ModelProto, images: _Images) -> onnx.ModelProto:
    tail = [node.name for node in model.graph.node if node.op_type == "Resize"][-1:]
    options = {"TensorQuantOverrides": input_override(model)}
    add_pre_process_metadata(model)  # export.tidy has done what ONNX Runtime would ask for
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            images,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTIZED_OPERATORS,
            nodes_to_exclude=tail,  # its input is quantized as the head's output; the rest is calib.integer_tail's
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=options,
        )
        return onnx.load_model(path)
