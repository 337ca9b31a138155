"""Files whose labels come out wrong on x86 CPUs without VNNI.

Those multiply bytes by VPMADDUBSW: two products, each of a byte without sign and one with it, are added in 16 bits,
and what does not fit is cut off at 2^15. ONNX Runtime and OpenVINO both compute their convolutions and matrix products
so, and int8 activations too, which they shift to uint8 first. Weights up to 64 are safe: 2 * 255 * 64 < 2^15. ONNX
Runtime can be told to take such weights as uint8 instead, which it multiplies in 16 bits and adds in 32: exact, but
slower (ort_runner).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edge_seg.errors import ModelError
from edge_seg.runners.contract import load_onnx
from edge_seg.weights import fp32_name

MOST_WEIGHT = 64
"""255 * 64 * 2 = 32640 fits 16 bits, 255 * 65 * 2 does not."""

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

Nodes = Mapping[str, onnx.NodeProto]


class Constants(NamedTuple):
    """What a graph holds by name, and the folder of what of it lies outside of the file."""

    tensors: dict[str, onnx.TensorProto]
    folder: str


def first_saturating(path: Path) -> str | None:
    """The first node of the ONNX file at `path` with quantized weights beyond 64; None also for a damaged file.

    Opening a damaged one tells what is wrong with it.
    """
    try:
        return next(saturating_nodes(load_onnx(path), path.parent), None)
    except (ModelError, ValueError, OSError, onnx.checker.ValidationError):
        return None


def check_sums(path: Path) -> None:
    """ModelError, for a CPU without VNNI, where the ONNX file at `path` has quantized weights beyond 64."""
    node = first_saturating(path)
    if node is not None:
        name = fp32_name(path)
        instead = f"the FP32 file, {name}, or write" if name else "or write"
        raise ModelError(
            f"{path.name} has weights of 8 bits (first in {node}), and this CPU has no VNNI: OpenVINO adds two "
            "products in 16 bits there, where they saturate, and labels come out wrong. --runtime onnxruntime "
            f"computes it exactly, but slowly. Take that, {instead} a file with weights of 7 bits: "
            f"edge-seg quantize {name or 'FP32_MODEL'} --target x86-novnni"
        )


def saturating_nodes(model: onnx.ModelProto, folder: Path = Path()) -> Iterator[str]:
    """Names of the nodes of a Q/DQ graph that multiply 8-bit activations by int8 weights beyond 64.

    `folder` is where weights outside of the file lie.

    uint8 weights are not among them: both run-times multiply those in 16 bits and add in 32.
    """
    makers = {name: node for node in model.graph.node if node.op_type != "Constant" for name in node.output}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    made = [(node.output[0], a) for node in model.graph.node if node.op_type == "Constant" for a in node.attribute]
    tensors |= {name: attribute.t for name, attribute in made if attribute.name == "value"}
    constants = Constants(tensors, str(folder))
    for node in model.graph.node:
        quantized = node.op_type in _WEIGHTED and all(_is_dequantized(makers, name) for name in node.input[:2])
        if quantized and _largest(makers, constants, makers[node.input[1]].input[0]) > MOST_WEIGHT:
            yield node.name or node.output[0]


def _is_dequantized(makers: Nodes, tensor: str) -> bool:
    return tensor in makers and makers[tensor].op_type == "DequantizeLinear"


def _largest(makers: Nodes, constants: Constants, integers: str) -> int:
    """The largest int8 weight without its sign, stored or as a QuantizeLinear makes it; 0 for other types."""
    maker = makers.get(integers)
    parts = [integers] if maker is None else list(maker.input)
    if not all(name in constants.tensors for name in parts):
        return 0  # a product of two activations
    values = [numpy_helper.to_array(constants.tensors[name], constants.folder) for name in parts]
    if values[-1].dtype != np.int8:
        return 0
    if maker is not None and maker.op_type == "QuantizeLinear":
        axis = next((a.i for a in maker.attribute if a.name == "axis"), 1)
        values = [_quantized(*values, axis=axis)]
    return int(np.abs(values[0].astype(np.int64)).max(initial=0))


def _quantized(
    values: NDArray[np.float32], scales: NDArray[np.float32], zeros: NDArray[np.int8], *, axis: int
) -> NDArray[np.int64]:
    """Weights as a QuantizeLinear to int8 rounds them, with one scale or one for each place along `axis`."""
    shape = [1] * values.ndim
    if scales.size > 1:
        shape[axis] = -1
    steps = np.round(values / scales.reshape(shape)) + zeros.reshape(shape)
    return np.clip(steps, -128, 127).astype(np.int64)
