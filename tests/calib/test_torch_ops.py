"""ONNX operators in PyTorch: the numbers that ONNX Runtime gives, and a gradient that goes through the rounding."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from edge_seg.calib.torch_graph import TorchGraph
from edge_seg.calib.torch_ops import OPERATORS, quantize_linear
from edge_seg.errors import ModelError

X = "float[2, 4, 7, 9] x"
HALF_PIXEL = 'mode = "linear", coordinate_transformation_mode = "half_pixel"'

# Each line of an operator: its nodes from x to y, and the constants that they read.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("y = Add (x, w)", {"w": "4,1,1"}),
    ("y = Sub (w, x)", {"w": "4,1,1"}),
    ("y = Mul (x, w)", {"w": "1"}),
    ("y = Div (x, w)", {"w": "4,1,1"}),
    ("s = Mul (x, x) r = Sqrt (s) y = Pow (r, w)", {"w": "1"}),
    ("y = Erf (x)", {}),
    ("y = Relu (x)", {}),
    ("y = Sigmoid (x)", {}),
    ("y = HardSigmoid <alpha = 0.25> (x)", {}),
    ("y = HardSwish (x)", {}),
    ("y = Clip (x, low, high)", {"low": np.float32(0), "high": np.float32(0.5)}),
    ("y = Clip (x, , high)", {"high": np.float32(0.5)}),
    ("y = Clip (x)", {}),
    ("y = Softmax <axis = 1> (x)", {}),
    ("y = Softmax (x)", {}),
    ("y = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w, b)", {"w": "6,4,3,3", "b": "6"}),
    ("y = Conv <group = 2, dilations = [2, 1], pads = [0, 1, 1, 2]> (x, w)", {"w": "6,2,3,3"}),
    ("y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]> (x, w, b)", {
        "w": "4,3,3,3", "b": "3"
    }),
    ("y = MatMul (x, w)", {"w": "9,5"}),
    ("y = BatchNormalization <epsilon = 0.01> (x, g, b, m, v)", {
        "g": "4", "b": "4", "m": "4", "v": np.float32([1, 2, 3, 4])
    }),
    ("y = InstanceNormalization (x, g, b)", {"g": "4", "b": "4"}),
    ("y = LayerNormalization <axis = -1> (x, g, b)", {"g": "9", "b": "9"}),
    ("y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1> (x)", {}),
    ("y = MaxPool <kernel_shape = [2, 2], pads = [0, 0, 1, 1]> (x)", {}),
    ("y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)", {}),
    ("y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x)", {}),
    ("y = GlobalAveragePool (x)", {}),
    ("y = ReduceMean <axes = [2, 3], keepdims = 0> (x)", {}),
    ("y = ReduceMean (x)", {}),
    (f"y = Resize <{HALF_PIXEL}> (x, , s)", {"s": np.float32([1, 1, 2.5, 2])}),
    (f"y = Resize <{HALF_PIXEL}> (x, , , n)", {"n": np.int64([2, 4, 13, 5])}),
    ('y = Resize <mode = "linear", coordinate_transformation_mode = "align_corners"> (x, , , n)', {
        "n": np.int64([2, 4, 13, 18])
    }),
    ('y = Resize <coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , s)', {
        "s": np.float32([1, 1, 2, 3])
    }),
    ("r = Relu (x) y = Concat <axis = 1> (x, r)", {}),
    ("y = Transpose <perm = [0, 2, 3, 1]> (x)", {}),
    ("y = Transpose (x)", {}),
    ("y = Reshape (x, n)", {"n": np.int64([0, 0, -1])}),
    ("u = Unsqueeze (x, a) y = Squeeze (u, a)", {"a": np.int64([-1, 1])}),
    ("m = ReduceMean (x) y = Squeeze (m)", {}),
    ("y = Slice (x, b, e, a)", {"b": np.int64([1, 2]), "e": np.int64([-1, 100]), "a": np.int64([2, 3])}),
    ("y = Slice (x, b, e, a, s)", {"b": np.int64([0]), "e": np.int64([9]), "a": np.int64([3]), "s": np.int64([2])}),
    ("y = Slice (x, b, e)", {"b": np.int64([0, 1]), "e": np.int64([1, 3])}),
    ("y = Gather <axis = 1> (x, i)", {"i": np.int64([[2, -1], [0, 0]])}),
    ("n = Shape (x) y = Reshape (x, n)", {}),
    ("y = Identity (x)", {}),
    ("y = Pad (x, p, one)", {"p": np.int64([0, 0, 1, 2, 0, 1, 3, 0]), "one": np.float32(1)}),
    ("y = Pad (x, p)", {"p": np.int64([0, 0, 0, -1, 0, 0, 2, 0])}),
    ("c = Constant <value = float {2.0}> () y = Mul (x, c)", {}),
    ("c = Constant <value_float = 2.0> () y = Mul (x, c)", {}),
    ("m = ArgMax <axis = 1, keepdims = 0> (x) y = Cast <to = 1> (m)", {}),
    ("q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)", {"s": np.float32(0.01), "z": np.uint8(100)}),
    ("q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)", {"s": np.float32(0.02), "z": np.int8(0)}),
    ("q = QuantizeLinear (x, s) y = DequantizeLinear (q, s)", {"s": np.float32(0.25)}),
    ("v = DequantizeLinear <axis = 0> (q, s, z) y = Conv (x, v)", {
        "q": np.arange(-12, 12, dtype=np.int8).reshape(6, 4, 1, 1), "s": np.float32([1, 2, 3, 4, 5, 6]) / 8,
        "z": np.zeros(6, np.int8),
    }),
]  # fmt: skip


def graph_of(nodes: str, constants: dict[str, Any], output: str = "float y") -> onnx.ModelProto:
    """Nodes from `x` to `y`; a constant in text is a shape of numbers by chance."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> net ({X}) => ({output}) {{ {nodes} }}'
    model = onnx.parser.parse_model(text)
    chance = np.random.default_rng(len(nodes))
    for name, value in constants.items():
        if isinstance(value, str):
            value = chance.normal(1, 0.5, [int(n) for n in value.split(",")]).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize(("nodes", "constants"), CASES)
def test_an_operator_gives_what_onnx_runtime_gives(nodes: str, constants: dict[str, Any]) -> None:
    model = graph_of(nodes, constants)
    x = np.random.default_rng(1).normal(0, 1, (2, 4, 7, 9)).astype(np.float32)

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x})[0]
    (found,) = TorchGraph(model, ["y"])({"x": torch.from_numpy(x)})

    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=2e-5)


def test_every_operator_is_tried() -> None:
    tried = {node.op_type for nodes, constants in CASES for node in graph_of(nodes, constants).graph.node}
    assert set(OPERATORS) <= tried


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ("y = Einsum <equation = 'i'> (x)".replace("'", '"'), {}, r"Node .*is a Einsum, .*Known are Add, ArgMax"),
        ('y = Resize <mode = "cubic"> (x, , s)', {"s": np.float32([1, 1, 2, 2])}, r"Node n: Resize cubic, half_pixel"),
        ('y = Conv <auto_pad = "SAME_UPPER"> (x, w)', {"w": "4,4,3,3"}, "auto_pad SAME_UPPER is not supported"),
        ("y = AveragePool <kernel_shape = [2, 2], pads = [0, 0, 1, 1]> (x)", {}, "AveragePool with uneven pads"),
        ("y = ConvTranspose <pads = [0, 0, 1, 1]> (x, w)", {"w": "4,4,3,3"}, "ConvTranspose with uneven pads"),
        ('y = Pad <mode = "reflect"> (x, p)', {"p": np.int64([0] * 8)}, "Node n: Pad reflect is not supported"),
        ("y = Pad (x, p, , a)", {"p": np.int64([1, 1]), "a": np.int64([2])}, "Pad constant with axes is not supported"),
        ("y = Reshape <allowzero = 1> (x, n)", {"n": np.int64([-1])}, "Reshape with allowzero"),
        (
            "y = Slice (x, b, e, a, s)",
            {"b": np.int64([-1]), "e": np.int64([-9]), "a": np.int64([3]), "s": np.int64([-1])},
            "Slice backwards",
        ),
        ("h = Cast <to = 11> (x) y = Cast <to = 1> (h)", {}, "Cast to DOUBLE is not supported"),
        (
            "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)",
            {"s": np.float32([1, 1, 1, 1]), "z": np.int8([0, 0, 0, 0])},
            "QuantizeLinear with a scale for each channel",
        ),
    ],
)
def test_what_is_not_supported_is_named(nodes: str, constants: dict[str, Any], message: str) -> None:
    model = graph_of(nodes, constants)
    for node in model.graph.node:
        node.name = "n"
    with pytest.raises(ModelError, match=message):
        TorchGraph(model, ["y"])({"x": torch.zeros(2, 4, 7, 9)})


def test_the_gradient_goes_through_the_rounding_and_ends_where_values_are_clipped() -> None:
    x = torch.tensor([-1.0, 0.1, 0.26, 2.0, 63.7, 70.0], requires_grad=True)
    steps = quantize_linear([x, torch.tensor(0.25), torch.tensor(0, dtype=torch.uint8)], {})

    assert steps.tolist() == [0, 0, 1, 8, 255, 255]
    steps.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 4, 4, 4, 4, 0]


def test_what_is_given_stands_in_for_what_the_graph_computes() -> None:
    model = graph_of("r = Relu (x) y = Mul (r, w)", {"w": np.float32(3)})
    graph = TorchGraph(model, ["y", "r"])

    y, r = graph({"x": torch.zeros(2, 4, 7, 9), "r": torch.ones(2), "w": torch.tensor(5.0)})
    assert (y.tolist(), r.tolist()) == ([5, 5], [1, 1])
