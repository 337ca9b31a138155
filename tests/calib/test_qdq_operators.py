"""The writer on graphs of other operators, and its arithmetic: steps, rounded weights, biases."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.calib.qdq import Steps, quantize_weights, steps_for, weight_scales, write_qdq
from edge_seg.export.graph import channel_axis
from edge_seg.export.lint import find_goal, lint
from edge_seg.export.target import TARGETS, Target, find_target
from edge_seg.runners.ort_runner import untimed_options

X86, TENSORRT = find_target("onnxruntime-x86"), find_target("tensorrt")


def test_integers_and_scales_give_back_the_numbers() -> None:
    rng = np.random.default_rng(1)
    values = (
        rng.normal(size=(6, 3, 3, 3)).astype(np.float32) * np.logspace(-3, 1, 6, dtype=np.float32)[:, None, None, None]
    )

    scales = weight_scales(values, 0, X86)
    integers = quantize_weights(values, scales, 0, X86)

    error = np.abs(integers * scales.reshape(-1, 1, 1, 1) - values)
    assert (error <= scales.reshape(-1, 1, 1, 1) * 0.5001).all()
    assert (np.abs(integers.astype(int)).reshape(6, -1).max(1) == 127).all()


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
@pytest.mark.parametrize("span", [(0.0, 6.0), (-1.0, 3.0), (-2.0, 0.0), (0.0, 0.0)])
def test_a_range_fits_into_its_steps_and_zero_is_exact(target: Target, span: tuple[float, float]) -> None:
    steps = steps_for(span, target)
    lowest, highest = np.iinfo(steps.zero_point.dtype).min, np.iinfo(steps.zero_point.dtype).max
    ends = [(end - int(steps.zero_point)) * float(steps.scale) for end in (lowest, highest)]

    assert ends[0] <= span[0] + float(steps.scale) and span[1] - float(steps.scale) <= ends[1]
    assert lowest <= int(steps.zero_point) <= highest
    assert steps.scale > 0


def tiny_graph(body: str, shape: str = "8, 12") -> onnx.ModelProto:
    """x [1, 16, 8, 12] through `body` to y, with weights w [16, 16, 1, 1] and b [16]."""
    rng = np.random.default_rng(3)
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 16, 8, 12] x) => (float[N, 16, {shape}] y) {{ {body} }}"""
    )
    weights = {
        "w": rng.normal(size=(16, 16, 1, 1)),
        "b": rng.normal(size=16),
        "zero": np.zeros(()),
        "six": np.full((), 6),
    }
    model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items())
    return model


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), untimed_options(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


POOL = "<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>"
BODIES = {
    "relu6": "c = Conv(x, w, b) y = Clip(c, zero, six)",
    "concat": "c = Conv(x, w, b) r = Relu(c) k = Concat<axis = 2>(r, x) y = Conv<strides = [2, 1]>(k, w, b)",
    "pools": f"m = MaxPool{POOL}(x) a = AveragePool{POOL}(m) y = Conv(a, w, b)",
    "transposed": "c = ConvTranspose(x, w, b) y = Relu(c)",
    "gate": "g = GlobalAveragePool(x) c = Conv(g, w, b) h = Sigmoid(c) m = Mul(x, h) y = Conv(m, w, b)",
    "attention": "c = Conv(x, w, b) h = Sigmoid(c) m = Mul(x, h) y = Conv(m, w, b)",
    "shared weights": "c = Conv(x, w, b) r = Relu(c) y = Conv(r, w, b)",
    "unnamed residual": "c = Conv(x, w, b) r = Relu(c) d = Conv(r, w) a = Add(d, x) y = Relu(a)",
}


@pytest.mark.parametrize("target", [X86, TENSORRT, find_target("onnxruntime-arm")], ids=lambda target: target.name)
@pytest.mark.parametrize("body", BODIES)
def test_other_operators_are_written_soundly(body: str, target: Target) -> None:
    model = tiny_graph(BODIES[body])
    x = np.random.default_rng(4).normal(size=(2, 16, 8, 12)).astype(np.float32)
    values = everything(model, x)
    spans = {name: (min(0.0, float(v.min())), max(0.0, float(v.max()))) for name, v in values.items()}

    quantized = write_qdq(model, spans, target)

    onnx.checker.check_model(quantized, full_check=True)
    assert any(node.op_type == "QuantizeLinear" for node in quantized.graph.node)
    found, expected = run(quantized, x), values["y"]
    noise = np.square(found - expected).mean() / np.square(expected).mean()
    assert noise < 10 ** (-25 / 10)  # 25 dB: a wrong scale or a lost clip costs more


def everything(model: onnx.ModelProto, x: np.ndarray) -> dict[str, np.ndarray]:
    """All tensors of a graph by name, x among them."""
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    there = {value.name for value in model.graph.output}
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in there
    )
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), untimed_options(), providers=["CPUExecutionProvider"]
    )
    return {"x": x, **dict(zip(names, session.run(names, {"x": x}), strict=True))}


def test_a_gate_stays_in_float() -> None:
    model = tiny_graph(BODIES["gate"])
    spans = dict.fromkeys(("x", "g", "c", "h", "m", "y"), (-4.0, 4.0))

    nodes = {node.op_type: node for node in write_qdq(model, spans, X86).graph.node}

    assert nodes["Sigmoid"].input[0].endswith("_DequantizeLinear_Output")  # its convolution gives 8 bits
    assert nodes["Mul"].input[1] == "h"


def test_tensorrt_gets_a_gate_in_float() -> None:
    body = "g = GlobalAveragePool(x) c = Conv(g, w, b) r = Relu(c) d = Conv(r, w, b) h = Sigmoid(d) m = Mul(x, h)"
    model = tiny_graph(f"{body} y = Conv(m, w, b)")
    spans = dict.fromkeys(("x", "g", "c", "r", "d", "h", "m", "y"), (-4.0, 4.0))

    nodes = {node.output[0]: node for node in write_qdq(model, spans, TENSORRT).graph.node}

    assert [list(nodes[name].input) for name in "gcdm"] == [["x"], ["g", "w", "b"], ["r", "w", "b"], ["x", "h"]]
    assert [node.input[0] for node in nodes.values() if node.op_type == "QuantizeLinear"] == ["m"]


@pytest.mark.parametrize(
    ("body", "factors"),
    [
        ("c = Conv(x, w, b) h = Sigmoid(c) m = Mul(x, h) y = Conv(m, w, b)", "xh"),
        ("c = Conv(x, w, b) d = Conv(x, w) m = Mul(c, d) r = Relu(m) y = Conv(r, w, b)", "cd"),
        ("c = Conv(x, w, b) h = Sigmoid(c) m = Mul(c, h) y = Conv(m, w, b)", ""),  # SiLU
        ("c = Conv(x, w, b) p = Add(c, six) h = Clip(p, zero, six) m = Mul(h, c) y = Conv(m, w, b)", ""),  # hard swish
        ("c = Conv(x, w, b) m = Mul(c, six) y = Conv(m, w, b)", ""),
        ("c = Conv(x, w, b) a = Add(c, x) h = Sigmoid(a) m = Mul(a, h) y = Conv(m, w, b)", ""),  # SiLU of a sum
        ("c = Conv(x, w, b) a = Add(c, x) h = Sigmoid(a) m = Mul(c, h) y = Conv(m, w, b)", "ch"),
        ("c = Conv(x, w, b) r = ReduceMean<axes = [1]>(c) h = Conv(x, w) m = Mul(c, h) y = Conv(m, w, b)", "ch"),
        ("c = Conv(x, w, b) h = Sigmoid(c) d = Conv(x, w) y = Mul(d, h)", ""),  # logits
    ],
)
def test_tensorrt_gets_a_product_in_8_bits(body: str, factors: str) -> None:
    """Both factors, each by one pair of Q and DQ, but where the product is an activation function or the output."""
    model = tiny_graph(body)
    spans = dict.fromkeys("xcdahpmry", (-4.0, 4.0))

    written = write_qdq(model, spans, TENSORRT)

    (product,) = (node for node in written.graph.node if node.op_type == "Mul")
    (before,) = (node for node in model.graph.node if node.op_type == "Mul")
    expected = [f"{name}_DequantizeLinear_Output" if name in factors else name for name in before.input]
    assert list(product.input) == expected
    quantized = [node.input[0] for node in written.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantized) == len(set(quantized))
    assert {finding.rule for finding in lint(written, find_goal("tensorrt", tensorrt="10.3"))} <= {"opset"}


FUNCTIONS = {
    "softsign": "p = Abs(c) q = Add(p, one) h = Reciprocal(q) m = Mul(c, h)",
    "mish": "p = Exp(c) q = Add(p, one) r = Log(q) h = Tanh(r) m = Mul(c, h)",
    "leaky": "h = LeakyRelu(c) m = Mul(c, h)",
    "largest": "h = Max(c, six) m = Mul(h, c)",
    "GELU": "p = Mul(c, six) q = Erf(c) h = Add(q, one) m = Mul(p, h)",
    "SiLU with casts": "p = Cast<to = 11>(c) q = Sigmoid(p) h = Cast<to = 1>(q) m = Mul(c, h)",
    "SiLU of an Identity": "h = Identity(c) p = Sigmoid(h) m = Mul(c, p)",
    "bounded from below": "p = Greater(c, zero) h = Where(p, c, six) m = Mul(c, h)",
    "normalisation": "p = ReduceMean<axes = [1]>(c) d = Sub(c, p) v = Mul(d, d) q = ReduceMean<axes = [1]>(v) "
    "r = Sqrt(q) h = Reciprocal(r) m = Mul(d, h)",
    "normalisation without axes": "v = Pow(c, six) p = ReduceMean<axes = [1], keepdims = 0>(v) q = Sqrt(p) "
    "r = Reciprocal(q) h = Unsqueeze(r, at) m = Mul(c, h)",
}


@pytest.mark.parametrize("body", FUNCTIONS.values(), ids=FUNCTIONS)
def test_tensorrt_gets_functions_of_one_tensor_in_float(body: str) -> None:
    """Activation functions and normalisations: one kernel, which 8 bits within would take apart."""
    model = tiny_graph(f"c = Conv(x, w, b) {body} y = Conv(m, w, b)")
    constants = {"one": np.ones((), np.float32), "at": np.ones(1, np.int64)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())

    written = write_qdq(model, dict.fromkeys("xcdhpqrvmy", (-4.0, 4.0)), TENSORRT)

    assert [node.input[0] for node in written.graph.node if node.op_type == "QuantizeLinear"] == ["x", "m"]


def test_a_concat_for_tensorrt_has_one_scale() -> None:
    model = tiny_graph("c = Conv(x, w, b) k = Concat<axis = 1>(c, x) y = AveragePool<kernel_shape = [1, 1]>(k)")
    spans = {"x": (-1.0, 1.0), "c": (-5.0, 2.0), "k": (-5.0, 2.0), "y": (-5.0, 2.0)}

    quantized = write_qdq(model, spans, TENSORRT)

    values = {
        t.name: float(numpy_helper.to_array(t))
        for t in quantized.graph.initializer
        if t.name.endswith("_scale") and not t.dims
    }
    assert values["c_scale"] == values["k_scale"] == pytest.approx(5 / 127)


def test_a_bias_too_large_for_its_scale_does_not_overflow() -> None:
    model = tiny_graph("y = Conv(x, w, b)")
    weights = np.full((16, 16, 1, 1), 1e-9, np.float32)
    weights[0] = 1
    bias = np.full(16, 100.0, np.float32)
    del model.graph.initializer[:]
    model.graph.initializer.extend([numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")])

    quantized = write_qdq(model, {"x": (-1.0, 1.0), "y": (0.0, 120.0)}, X86)

    found = run(quantized, np.zeros((1, 16, 8, 12), np.float32))
    assert found == pytest.approx(np.full_like(found, 100), abs=0.5)


def test_weights_rounded_elsewhere_are_taken() -> None:
    model = tiny_graph("y = Conv(x, w, b)")
    model.graph.node[0].name = "only"
    given = np.arange(256, dtype=np.int64).reshape(16, 16, 1, 1).clip(0, 127).astype(np.int8)

    quantized = write_qdq(model, {"x": (-1.0, 1.0), "y": (-9.0, 9.0)}, X86, rounded={"only": given})

    values = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    assert (values["only/weight_quantized"] == given).all()


@pytest.mark.parametrize(
    ("kind", "rank", "axis"),
    [
        ("Conv", 4, 0),
        ("Gemm", 2, 1),
        ("MatMul", 2, 1),
        ("MatMul", 3, 2),
        ("MatMul", 1, None),
        ("ConvTranspose", 4, None),
    ],
)
def test_axes_of_weights(kind: str, rank: int, axis: int | None) -> None:
    assert channel_axis(onnx.helper.make_node(kind, ["x", "w"], ["y"]), rank) == axis
    assert channel_axis(onnx.helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), 2) == 0


@pytest.mark.parametrize("target", [X86, TENSORRT], ids=lambda target: target.name)
def test_batched_weights_of_a_product_have_a_scale_for_each_column(target: Target) -> None:
    model = tiny_graph("t = Transpose<perm = [0, 2, 3, 1]>(x) m = MatMul(t, v) y = Transpose<perm = [0, 3, 1, 2]>(m)")
    weights = np.random.default_rng(5).normal(size=(8, 16, 16)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "v"))

    written = write_qdq(model, dict.fromkeys("xtmy", (-4.0, 4.0)), target)

    onnx.checker.check_model(written, full_check=True)
    (scales,) = (numpy_helper.to_array(t) for t in written.graph.initializer if t.name.endswith("/weight_scale"))
    assert scales == pytest.approx(np.abs(weights).max((0, 1)) / 127)
    assert not {"weight-axis", "per-tensor-weights"} & {found.rule for found in lint(written, find_goal(target.name))}


def test_given_steps_are_taken_for_a_range() -> None:
    model = tiny_graph("y = Conv(x, w, b)")
    steps = Steps(np.float32(0.5), np.int8(0))

    quantized = write_qdq(model, {"y": (-9.0, 9.0)}, X86, exact={"x": steps})

    assert float(numpy_helper.to_array(next(t for t in quantized.graph.initializer if t.name == "x_scale"))) == 0.5
