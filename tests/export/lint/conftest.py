"""Tiny graphs for lint: clean ones, and ones with a single thing that a target minds."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Step = tuple[str, list[str], str, dict[str, Any]]
Types = dict[str, tuple[int, list[int | str]]]

CHANNELS = 16
PICTURE: tuple[int, list[int | str]] = (TensorProto.FLOAT, ["N", CHANNELS, 8, 8])
WEIGHTS = np.random.default_rng(0).normal(0, 0.2, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
SCALES = (np.abs(WEIGHTS).max(axis=(1, 2, 3)) / 127).astype(np.float32)
INT8_WEIGHTS = np.round(WEIGHTS / SCALES.reshape(-1, 1, 1, 1)).astype(np.int8)
WEIGHTS_ALONE = slice(2, 4)
PADS = {"pads": [1, 1, 1, 1]}


def build(
    steps: list[Step],
    constants: dict[str, Any],
    inputs: Types | None = None,
    outputs: Types | None = None,
    *,
    opset: int = 17,
    ir: int = 8,
    names: str = "",
) -> onnx.ModelProto:
    """A model of nodes (operator, inputs, output, attributes)."""
    infos = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in (values or default).items()]
        for values, default in ((inputs, {"x": PICTURE}), (outputs, {"y": PICTURE}))
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, names_in, [out], f"{names}{out}", **options) for kind, names_in, out, options in steps],
        "net",
        *infos,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def tensorrt_parts(**changes: Any) -> tuple[list[Step], dict[str, Any]]:  # noqa: ANN401
    """x -> Q -> DQ -> Conv -> y with weights in float, Q and DQ, all as TensorRT 8.5 reads it."""
    constants = {
        "s": np.float32(0.05),
        "z": np.int8(0),
        "w": WEIGHTS,
        "ws": SCALES,
        "wz": np.zeros(CHANNELS, np.int8),
        **changes,
    }
    steps: list[Step] = [
        ("QuantizeLinear", ["x", "s", "z"], "q", {}),
        ("DequantizeLinear", ["q", "s", "z"], "d", {}),
        ("QuantizeLinear", ["w", "ws", "wz"], "wq", {"axis": 0}),
        ("DequantizeLinear", ["wq", "ws", "wz"], "wd", {"axis": 0}),
        ("Conv", ["d", "wd"], "y", PADS),
    ]
    return steps, constants


def for_tensorrt(opset: int = 17, ir: int = 8, **changes: Any) -> onnx.ModelProto:  # noqa: ANN401
    return build(*tensorrt_parts(**changes), opset=opset, ir=ir)


def cpu_parts(
    weights: Any = INT8_WEIGHTS,  # noqa: ANN401
    kind: type = np.uint8,
    out_zero: int | None = None,
) -> tuple[list[Step], dict[str, Any]]:
    """x -> Q -> DQ -> Conv -> Relu -> Q -> DQ -> y as ONNX Runtime runs it in INT8 on x86."""
    constants = {
        "s": np.float32(0.05),
        "z": kind(100),
        "w": weights,
        "ws": SCALES,
        "wz": np.zeros(CHANNELS, np.int8),
        "os": np.float32(0.1),
        "oz": kind(np.iinfo(kind).min if out_zero is None else out_zero),
    }
    steps: list[Step] = [
        ("QuantizeLinear", ["x", "s", "z"], "q", {}),
        ("DequantizeLinear", ["q", "s", "z"], "d", {}),
        ("DequantizeLinear", ["w", "ws", "wz"], "wd", {"axis": 0}),
        ("Conv", ["d", "wd"], "c", PADS),
        ("Relu", ["c"], "r", {}),
        ("QuantizeLinear", ["r", "os", "oz"], "oq", {}),
        ("DequantizeLinear", ["oq", "os", "oz"], "y", {}),
    ]
    return steps, constants


def for_cpu(**changes: Any) -> onnx.ModelProto:  # noqa: ANN401
    opset, ir = changes.pop("opset", 17), changes.pop("ir", 8)
    return build(*cpu_parts(**changes), opset=opset, ir=ir)


def clipped(scale: float) -> onnx.ModelProto:
    """The CPU graph with Clip(0, 6) in place of Relu, and the scale of its output."""
    steps, constants = cpu_parts()
    steps[4] = ("Clip", ["c", "low", "high"], "r", {})
    limits = {"low": np.float32(0), "high": np.float32(6), "os": np.float32(scale)}
    return build(steps, {**constants, **limits})


def one(operator: str, inputs: int = 1) -> onnx.ModelProto:
    """A graph of one operator on a picture."""
    return build([(operator, ["x"] * inputs, "y", {})], {})


def behind(extra: list[Step], constants: dict[str, Any] | None = None, output: str = "y") -> onnx.ModelProto:
    """The clean TensorRT graph with more nodes behind its convolution, whose output is then `c`."""
    steps, known = tensorrt_parts()
    steps[-1] = ("Conv", ["d", "wd"], "c", PADS)
    return build([*steps, *extra], {**known, **(constants or {})}, outputs={output: PICTURE})


def q_dq(source: str, name: str, scale: str = "s", zero: str = "z") -> list[Step]:
    """A tensor's Q and DQ, whose output is `name`."""
    return [
        ("QuantizeLinear", [source, scale, zero], f"{name}_q", {}),
        ("DequantizeLinear", [f"{name}_q", scale, zero], name, {}),
    ]


def tidy_ends(first: list[Step], last: list[Step]) -> onnx.ModelProto:
    """uint8 [N, 8, 8, 4] -> first -> `planes` -> ArgMax -> `best` -> last -> uint8 labels."""
    argmax: Step = ("ArgMax", ["planes"], "best", {"axis": 1, "keepdims": 0})
    image: Types = {"image": (TensorProto.UINT8, ["N", 8, 8, 4])}
    return build([*first, argmax, *last], {}, image, {"labels": (TensorProto.UINT8, ["N", 8, 8])})


NHWC = {"perm": [0, 3, 1, 2]}
UINT8_FIRST: list[Step] = [
    ("Transpose", ["image"], "bytes", NHWC),
    ("Cast", ["bytes"], "planes", {"to": TensorProto.FLOAT}),
]
FLOAT_FIRST: list[Step] = [
    ("Cast", ["image"], "floats", {"to": TensorProto.FLOAT}),
    ("Transpose", ["floats"], "planes", NHWC),
]
CAST_LAST: list[Step] = [("Cast", ["best"], "labels", {"to": TensorProto.UINT8})]
BY_WAY_OF_FLOAT: list[Step] = [
    ("Cast", ["best"], "best_float", {"to": TensorProto.FLOAT}),
    ("Cast", ["best_float"], "labels", {"to": TensorProto.UINT8}),
]


def argmax_of(kind: int) -> onnx.ModelProto:
    shape: list[int | str] = ["N", 4, 8, 8]
    steps: list[Step] = [
        ("Cast", ["x"], "c", {"to": kind}),
        ("ArgMax", ["c"], "y", {"axis": 1, "keepdims": 1}),
    ]
    return build(steps, {}, {"x": (TensorProto.FLOAT, shape)}, {"y": (TensorProto.INT64, ["N", 1, 8, 8])})


def resize(**options: Any) -> onnx.ModelProto:  # noqa: ANN401
    steps: list[Step] = [("Resize", ["x", "", "factors"], "y", options)]
    return build(steps, {"factors": np.array([1, 1, 2, 2], np.float32)}, outputs={"y": (1, ["N", CHANNELS, 16, 16])})


def named(prefix: str) -> onnx.ModelProto:
    return build(*tensorrt_parts(), names=prefix)


def small(channels: int) -> onnx.ModelProto:
    """The clean graph with a convolution from `channels` to 16."""
    steps, constants = tensorrt_parts()
    return build(steps, {**constants, "w": WEIGHTS[:, :channels]}, {"x": (1, ["N", channels, 8, 8])})


def depthwise() -> onnx.ModelProto:
    """The clean graph with a group for each channel: 16 of them, which TensorRT runs in INT8."""
    steps, constants = tensorrt_parts(w=WEIGHTS[:, :1])
    steps[-1] = ("Conv", ["d", "wd"], "y", {**PADS, "group": CHANNELS})
    return build(steps, constants)


def squeezed() -> onnx.ModelProto:
    """The clean graph, its output multiplied by the gate of its mean, which a convolution in float makes."""
    steps: list[Step] = [
        ("GlobalAveragePool", ["c"], "m", {}),
        ("Conv", ["m", "w1"], "a", {}),
        ("Sigmoid", ["a"], "g", {}),
        ("Mul", ["c", "g"], "y", {}),
    ]
    return behind(steps, {"w1": WEIGHTS[:, :, :1, :1]})


def transposed(scales: int) -> onnx.ModelProto:
    steps, constants = tensorrt_parts(ws=SCALES[:scales].squeeze(), wz=np.zeros(scales, np.int8).squeeze())
    steps[-1] = ("ConvTranspose", ["d", "wd"], "y", PADS)
    return build(steps, constants)


def concat(scale: float, *, both: bool = True) -> onnx.ModelProto:
    steps: list[Step] = [*q_dq("x", "a")]
    steps += q_dq("v", "b", "s2") if both else []
    steps += [("Concat", ["a", "b" if both else "v"], "y", {"axis": 1})]
    constants = {"s": np.float32(0.05), "z": np.int8(0), "s2": np.float32(scale)}
    return build(steps, constants, {"x": PICTURE, "v": PICTURE}, {"y": (1, ["N", 2 * CHANNELS, 8, 8])})


def residual(*, branch: bool, identity: bool) -> onnx.ModelProto:
    """Conv + x; the convolution's output is quantized, the identity is, or both."""
    extra = q_dq("c", "b") if branch else []
    add: Step = ("Add", ["b" if branch else "c", "d" if identity else "x"], "y", {})
    return behind([*extra, add])


def external(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with its weights in a file beside it that nobody wrote."""
    onnx.external_data_helper.set_external_data(model.graph.initializer[2], "weights.bin")
    model.graph.initializer[2].data_location = TensorProto.EXTERNAL
    return model


def free_height() -> onnx.ModelProto:
    free: Types = {name: (1, ["N", CHANNELS, "H", 8]) for name in "xy"}
    return build(*tensorrt_parts(), {"x": free["x"]}, {"y": free["y"]})


def without_zero_point() -> onnx.ModelProto:
    """The clean graph with two inputs on the DQ nodes."""
    steps, constants = tensorrt_parts()
    steps[1] = ("DequantizeLinear", ["q", "s"], "d", {})
    steps[3] = ("DequantizeLinear", ["wq", "ws"], "wd", {"axis": 0})
    return build(steps, constants)


def with_bias(*, integer: bool) -> onnx.ModelProto:
    steps, constants = tensorrt_parts()
    bias = np.arange(CHANNELS, dtype=np.int32) - 7
    quantized: list[Step] = [("DequantizeLinear", ["b", "bs", "bz"], "bias", {"axis": 0})]
    constants |= {"b": bias, "bs": SCALES * np.float32(0.05), "bz": np.zeros(CHANNELS, np.int32)}
    floats = {"s", "z", "w", "ws", "wz"}
    kept = constants if integer else {**{n: constants[n] for n in floats}, "bias": bias * SCALES * np.float32(0.05)}
    return build([*(quantized if integer else []), *steps[:-1], ("Conv", ["d", "wd", "bias"], "y", PADS)], kept)


def stored_int8(**changes: Any) -> onnx.ModelProto:  # noqa: ANN401
    """The clean graph with weights that are stored as int8."""
    steps, constants = tensorrt_parts(w=INT8_WEIGHTS, **changes)
    steps[2:4] = [("DequantizeLinear", ["w", "ws", "wz"], "wd", {"axis": 0})]
    return build(steps, constants)


def of_type(kind: int, places: slice = slice(4)) -> onnx.ModelProto:
    """The clean graph with Q and DQ of another type, which their attribute names, at some places of the four."""
    steps, constants = tensorrt_parts()
    told = {"QuantizeLinear": {"output_dtype": kind}, "DequantizeLinear": {}}
    steps[places] = [(name, names[:2], out, options | told[name]) for name, names, out, options in steps[places]]
    return build(steps, constants, opset=21, ir=10)


def weight_axis(axis: int) -> onnx.ModelProto:
    steps, constants = tensorrt_parts()
    steps[2:4] = [(kind, names, out, {"axis": axis}) for kind, names, out, _ in steps[2:4]]
    return build(steps, constants)


def twice(scale: float) -> onnx.ModelProto:
    """x -> Q -> DQ -> Q -> DQ -> Conv."""
    steps, constants = tensorrt_parts(s2=np.float32(scale))
    steps[-1] = ("Conv", ["d2", "wd"], "y", PADS)
    return build([*steps[:-1], *q_dq("d", "d2", "s2"), steps[-1]], constants)


def two_quantizers(scale: float) -> onnx.ModelProto:
    """x has two Q, one for the convolution and one for the Add."""
    steps, constants = tensorrt_parts(s2=np.float32(scale))
    steps[-1] = ("Conv", ["d", "wd"], "c", PADS)
    return build([*steps, *q_dq("x", "d2", "s2"), ("Add", ["c", "d2"], "y", {})], constants)


def float_weights() -> onnx.ModelProto:
    steps, constants = tensorrt_parts()
    return build([*steps[:2], ("Conv", ["d", "w"], "y", PADS)], {n: constants[n] for n in ("s", "z", "w")})


def gated(operator: str) -> onnx.ModelProto:
    return behind([*q_dq("c", "gate"), (operator, ["gate"], "y", {})])


def last_resize(*, quantized: bool) -> onnx.ModelProto:
    factors = {"factors": np.array([1, 1, 1, 1], np.float32)}
    extra = q_dq("c", "logits") if quantized else []
    return behind([*extra, ("Resize", ["logits" if quantized else "c", "", "factors"], "y", {})], factors)


@pytest.fixture(scope="session")
def nets() -> SimpleNamespace:
    """The functions and constants of this file by name."""
    return SimpleNamespace(**{name: value for name, value in globals().items() if not name.startswith("_")})
