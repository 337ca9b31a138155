"""What the profilers of all run-times have in common: what kinds of layers do, precisions, and how often to call."""

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edge_seg.apps.profile.rows import Layer

WARM_UP = 3
"""Calls before the ones that count: memory is asked for, and caches are filled."""

MATRIX_PRODUCTS = ("MatMul", "Gemm", "FullyConnected", "MatrixMultiply", "gemm")
"""Parts of the kinds of matrix products, whatever stands before and behind."""

_TYPE = {"Cast", "Convert"}
_ORDER = {"Transpose", "Shuffle", "Reorder", "ReorderInput", "ReorderOutput", "DepthToSpace", "SpaceToDepth"}
_SHAPE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "NoOp"}
_PLACE = {"Concat", "Concatenation", "Pad", "Slice", "StridedSlice", "Split", "Gather", "Expand", "Broadcast", "Tile"}
REFORMATS = frozenset({"Reformat"} | _TYPE | _ORDER | _SHAPE | _PLACE)
"""Kinds that move bytes or change their type and compute nothing: the words of ONNX, OpenVINO and TensorRT."""

QUANTIZES = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "FakeQuantize"})

_PRECISIONS = {
    "int8": ("i8", "u8", "int8", "uint8", "int8_t", "uint8_t"),
    "bf16": ("bf16", "bfloat16"),
    "f16": ("f16", "fp16", "float16", "half"),
    "f32": ("f32", "fp32", "float", "float32"),
}
FLOATS = ("bf16", "f16", "f32")


class Timed(NamedTuple):
    """A layer, whose `ms` is that of an undisturbed call, and its time in its fastest call."""

    layer: Layer
    least_ms: float


def role_of(kind: str) -> str:
    """`quantize`, `reformat` or `compute`, by the run-time's word for an operation.

    >>> [role_of(kind) for kind in ("QLinearConv", "ReorderOutput", "DequantizeLinear")]
    ['compute', 'reformat', 'quantize']
    """
    if kind in QUANTIZES:
        return "quantize"
    return "reformat" if kind in REFORMATS else "compute"


def precision_of(word: str) -> str:
    """`int8` (with or without sign), `bf16`, `f16`, `f32`, or the run-time's own word for another type.

    >>> [precision_of(word) for word in ("uint8", "I8", "FP32", "int64")]
    ['int8', 'int8', 'f32', 'int64']
    """
    return next((name for name, words in _PRECISIONS.items() if word.lower() in words), word.lower())


def is_convolution(kind: str) -> bool:
    """True for convolutions, transposed and grouped ones too.

    >>> is_convolution("QLinearConv"), is_convolution("GroupConvolution"), is_convolution("Convert")
    (True, True, False)
    """
    return "Conv" in kind and kind != "Convert"


def is_matrix_product(kind: str) -> bool:
    """True for matrix products.

    >>> is_matrix_product("QLinearMatMul"), is_matrix_product("Mul")
    (True, False)
    """
    return any(part in kind for part in MATRIX_PRODUCTS)


def is_weighted(kind: str) -> bool:
    """True for what multiplies by weights: convolutions and matrix products."""
    return is_convolution(kind) or is_matrix_product(kind)


def computed_in(kind: str, taken: str, given: str) -> str:
    """The precision in which a layer computed, by those that it takes and gives.

    A layer that only begins with bytes, such as the camera's normalisation, computes in the floats that it gives.
    Convolutions of bytes may give floats.

    >>> computed_in("Convolution", "int8", "f32"), computed_in("Subgraph", "int8", "f32")
    ('int8', 'f32')
    """
    return given if taken == "int8" and given in FLOATS and not is_weighted(kind) else taken


def undisturbed(times: Sequence[float]) -> float:
    """The median of the quicker half of a layer's times.

    On a busy machine a layer waits for a core in some calls, a long one in most of them: the median of all would be of
    the waiting. On a quiet one the two hardly differ.

    >>> undisturbed([1.1, 50.0, 1.0, 60.0, 50.0, 1.2])
    1.1
    """
    return statistics.median(sorted(times)[: (len(times) + 1) // 2])


def turns(least: int, most: int, limit_s: float) -> Iterator[int]:
    """Numbers from 0: `least` of them, and up to `most` while `limit_s` is not over.

    >>> list(turns(2, 5, 0.0))
    [0, 1]
    """
    end_s = time.perf_counter() + limit_s
    for turn in range(most):
        if turn >= least and time.perf_counter() > end_s:
            return
        yield turn
