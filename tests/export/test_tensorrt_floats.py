"""What stays in float for TensorRT: convolutions of few channels, and gates in the forms that nets have."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.export.graph import Graph
from edge_seg.export.tensorrt_floats import gates, is_wide


def graph_of(body: str, **weights: tuple[int, ...]) -> Graph:
    """x [N, 16, 8, 8] through `body` to y, with weights of the shapes given."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 16, 8, 8] x) => (float[] y) {{ {body} }}"""
    )
    constants = {name: np.ones(shape, np.float32) for name, shape in {"w": (16, 16, 1, 1), **weights}.items()}
    constants |= {"six": np.float32(6), "scale": np.float32(0.1)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return Graph(model)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "m = GlobalAveragePool(x) a = Conv(m, w) r = Relu(a) b = Conv(r, w) g = HardSigmoid(b) y = Mul(x, g)",
            "marbg",
        ),
        ("m = ReduceMean<axes = [-2, -1]>(x) a = Conv(m, w) g = Sigmoid(a) y = Mul(g, x)", "mag"),
        ("m = GlobalAveragePool(x) a = Conv(m, w) s = Sigmoid(a) t = Mul(a, s) y = Mul(t, x)", "mast"),
        ("m = GlobalAveragePool(x) a = Conv(m, w) c = Clip(a) g = Div(c, six) y = Mul(g, x)", "macg"),
        ("m = GlobalAveragePool(x) f = Flatten(m) n = Shape(x) g = Reshape(f, n) y = Mul(g, x)", "mfg"),
    ],
    ids=["squeeze and excitation", "ReduceMean", "SiLU within", "hard sigmoid in parts", "reshaped"],
)
def test_a_gate_reaches_from_the_mean_of_a_picture_to_a_factor(body: str, expected: str) -> None:
    assert gates(graph_of(body)) == set(expected)


@pytest.mark.parametrize(
    "body",
    [
        "m = GlobalAveragePool(x) a = Conv(m, w) s = Sigmoid(a) y = Mul(a, s)",
        "m = GlobalAveragePool(x) y = Mul(m, six)",
        "m = GlobalAveragePool(x) a = Conv(m, w) b = Add(a, x) y = Mul(b, x)",
        "m = ReduceMean<axes = [1]>(x) a = Sigmoid(m) y = Mul(a, x)",
        "a = Conv(x, w) s = Sigmoid(a) y = Mul(a, s)",
    ],
    ids=["no other factor", "a constant", "not the mean alone", "a mean of channels", "SiLU"],
)
def test_what_only_looks_alike_is_no_gate(body: str) -> None:
    assert gates(graph_of(body)) == set()


def test_a_gate_is_known_behind_quantizers() -> None:
    graph = graph_of(
        """z = Constant<value = int8 {0}>() q = QuantizeLinear(w, scale, z) d = DequantizeLinear(q, scale, z)
        m = GlobalAveragePool(x) e = QuantizeLinear(m, scale, z) f = DequantizeLinear(e, scale, z)
        a = Conv(f, d) g = Sigmoid(a) y = Mul(x, g)"""
    )

    assert gates(graph) == set("mefag")


@pytest.mark.parametrize(
    ("operator", "weights", "groups", "wide"),
    [
        ("Conv", (32, 1, 3, 3), 32, True),
        ("Conv", (8, 1, 3, 3), 8, False),
        ("Conv", (16, 15, 1, 1), 1, False),
        ("Conv", (15, 16, 1, 1), 1, False),
        ("ConvTranspose", (16, 1, 2, 2), 16, True),
        ("ConvTranspose", (32, 2, 2, 2), 4, False),
        ("MatMul", (2, 16, 32), 1, True),
        ("MatMul", (32, 16, 15), 1, False),
    ],
)
def test_channels_are_counted_over_all_groups(
    operator: str, weights: tuple[int, ...], groups: int, *, wide: bool
) -> None:
    graph = graph_of(f"y = {operator}<group = {groups}>(x, v)", v=weights)

    assert is_wide(graph, graph.nodes[0]) is wide
