"""The writer: what each target gets, and that it computes what the FP32 graph does."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.calib.images import calibration_images
from edge_seg.calib.qdq import Steps, channel_axis, quantize_weights, steps_for, weight_scales, write_qdq
from edge_seg.calib.quantize import to_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.data.drive import Drive
from edge_seg.export.target import TARGETS, Target, find_target
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.runners.cpu import lacks_vnni
from edge_seg.runners.ort_runner import untimed_options
from edge_seg.weights import find_model

pytest.importorskip("torch")  # without it the model is one of three convolutions

DRIVE = Drive(5, 96, 72, 16)
IMAGES = np.stack([frame.image for frame in Drive(6, 96, 72, 4)])
X86, TENSORRT = find_target("onnxruntime-x86"), find_target("tensorrt")
FULL = [target for target in TARGETS.values() if not target.minimal]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> onnx.ModelProto:
    return onnx.load(tiny_model)


@pytest.fixture(scope="module")
def ranges(model: onnx.ModelProto, tiny_model: Path) -> Ranges:
    return observe(model, calibration_images(DRIVE, read_onnx_spec(tiny_model), 16))


@pytest.fixture(scope="module")
def written(model: onnx.ModelProto, ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for each target."""
    folder = tmp_path_factory.mktemp("written")
    for name, target in TARGETS.items():
        (folder / f"{name}.onnx").write_bytes(to_int8(model, ranges.chosen("min-max"), target).SerializeToString())
    return {name: folder / f"{name}.onnx" for name in TARGETS}


class Written:
    """A written graph by its names."""

    def __init__(self, path: Path) -> None:
        self.model = onnx.load(path)
        self.nodes = list(self.model.graph.node)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.values = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}

    def of(self, *operators: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if node.op_type in operators]

    def is_dequantized(self, name: str) -> bool:
        return name in self.maker and self.maker[name].op_type == "DequantizeLinear"


def test_labels_of_the_bundled_net_are_nearly_those_of_fp32(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = onnx.load(find_model("edge-seg-s-fp32"))
    ranges = observe(model, (frame.image[None] for frame in Drive(5, frames=8)))
    images = np.stack([frame.image for frame in Drive(6, frames=2)])
    with open_runner("edge-seg-s-fp32", "openvino") as fp32:
        expected = fp32.infer(images)

    for name, target in TARGETS.items():
        (tmp_path / name).with_suffix(".onnx").write_bytes(
            to_int8(model, ranges.chosen("min-max"), target).SerializeToString()
        )
        refused = target.weight_bits == 8 and lacks_vnni()  # by OpenVINO: tests/runners/test_cpu.py
        for runtime in ("onnxruntime",) if refused else ("onnxruntime", "openvino"):
            with open_runner((tmp_path / name).with_suffix(".onnx"), runtime) as int8:
                assert (int8.infer(images) == expected).mean() > 0.985, (name, runtime)


@pytest.mark.parametrize("name", TARGETS)
def test_files_keep_the_contract_and_are_valid(name: str, written: dict[str, Path], tiny_model: Path) -> None:
    onnx.checker.check_model(onnx.load(written[name]), full_check=True)

    spec = read_onnx_spec(written[name])
    assert (spec.precision, spec.scores, spec.name) == ("INT8", {}, read_onnx_spec(tiny_model).name)


@pytest.mark.parametrize("target", FULL, ids=lambda target: target.name)
def test_cpus_get_every_operator_of_the_net_in_integers(target: Target, written: dict[str, Path]) -> None:
    graph = Written(written[target.name])

    for node in graph.of("Conv", "Add", "Resize"):
        data = node.input[:1] if node.op_type == "Resize" else node.input
        if not node.name.startswith("tail/"):
            assert all(graph.is_dequantized(name) for name in data)
    assert not graph.of("Relu", "ArgMax")
    wanted = {"uint8": np.uint8, "int8": np.int8}[target.activations]
    types = {graph.values[node.input[2]].dtype for node in graph.of("QuantizeLinear")[1:]}  # the first is the input's
    assert types == {np.dtype(wanted)}


def test_an_up_sampled_tensor_keeps_its_scale(written: dict[str, Path]) -> None:
    """Else ONNX Runtime up-samples in float."""
    graph = Written(written["onnxruntime-x86"])
    resizes = graph.of("Resize")

    assert resizes
    for node in resizes:
        before = graph.maker[node.input[0]]
        after = next(n for n in graph.of("QuantizeLinear") if n.input[0] == node.output[0])
        for place in (1, 2):
            assert graph.values[before.input[place]] == graph.values[after.input[place]]


def test_seven_bits_stay_within_63(written: dict[str, Path]) -> None:
    def largest(name: str) -> int:
        graph = Written(written[name])
        return max(int(np.abs(v.astype(int)).max()) for n, v in graph.values.items() if n.endswith("/weight_quantized"))

    assert (largest("x86-novnni"), largest("onnxruntime-x86")) == (63, 127)


def test_no_pair_of_seven_bit_products_saturates() -> None:
    """x86 without VNNI adds two products of uint8 and int8 in int16: 2 * 255 * 63 fits, 2 * 255 * 127 does not."""

    def saturating(activations: np.ndarray, weights: np.ndarray) -> int:
        products = activations.astype(np.int32) * weights.astype(np.int32)
        pairs = np.clip(products.reshape(-1, 2).sum(1), -(2**15), 2**15 - 1)
        return int(pairs.sum())

    floats = np.full((1, 32), 0.7, np.float32)
    bytes_in = np.full(32, 255, np.uint8)
    exact = {}
    for name in ("x86-novnni", "onnxruntime-x86"):
        target = find_target(name)
        weights = quantize_weights(floats, weight_scales(floats, 0, target), 0, target)[0]
        exact[name] = saturating(bytes_in, weights) == int(bytes_in.astype(int) @ weights.astype(int))
    assert exact == {"x86-novnni": True, "onnxruntime-x86": False}


def test_tensorrt_gets_symmetric_int8_and_no_more_than_it_wants(written: dict[str, Path]) -> None:
    graph = Written(written["tensorrt"])

    for node in graph.of("QuantizeLinear", "DequantizeLinear"):
        assert graph.values[node.input[2]].dtype == np.int8
        assert not graph.values[node.input[2]].any()
    quantized = [node.input[0] for node in graph.of("QuantizeLinear")]
    assert len(quantized) == len(set(quantized))
    wide = [n for n in graph.of("Conv") if graph.is_dequantized(n.input[1])]
    narrow = [n for n in graph.of("Conv") if n not in wide]
    assert wide
    assert all(graph.is_dequantized(node.input[0]) for node in wide)
    assert all(min(graph.values[node.input[1]].shape[:2]) < 16 for node in narrow)
    for node in graph.of("Add"):
        assert sum(graph.is_dequantized(name) for name in node.input) <= 1
    assert any(graph.is_dequantized(name) for node in graph.of("Add") for name in node.input)
    head = next(node for node in graph.of("Resize") if graph.of("ArgMax")[0].input[0] == node.output[0])
    assert not graph.is_dequantized(head.input[0])


def test_tensorrt_sees_bytes_at_the_two_ends_alone(written: dict[str, Path]) -> None:
    graph = Written(written["tensorrt"])
    inferred = onnx.shape_inference.infer_shapes(graph.model, data_prop=True).graph
    operators = []
    tensor = "labels"
    for _ in range(3):
        operators.append(graph.maker[tensor].op_type)
        tensor = graph.maker[tensor].input[0]

    first = next(node for node in graph.nodes if "image" in node.input)
    assert (first.op_type, first.attribute[0].i) == ("Cast", onnx.TensorProto.FLOAT)
    assert operators == ["Cast", "Cast", "ArgMax"]
    inside = [v.type.tensor_type.elem_type for v in inferred.value_info]
    assert inside and onnx.TensorProto.UINT8 not in inside


@pytest.mark.parametrize("name", TARGETS)
def test_nodes_can_be_left_in_float(name: str, model: onnx.ModelProto, ranges: Ranges) -> None:
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    chosen = convolutions[len(convolutions) // 2]

    graph = to_int8(model, ranges.chosen("min-max"), TARGETS[name], floats=frozenset({chosen.name}))

    node = next(node for node in graph.graph.node if node.name == chosen.name)
    assert list(node.input[1:]) == list(chosen.input[1:])
    others = [n for n in graph.graph.node if n.op_type == "Conv" and n.name != chosen.name]
    assert any(n.input[1].endswith("/weight_DequantizeLinear_Output") for n in others)


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


def test_axes_of_weights() -> None:
    def node(kind: str, **attributes: int) -> onnx.NodeProto:
        return onnx.helper.make_node(kind, ["x", "w"], ["y"], **attributes)

    assert [channel_axis(n) for n in (node("Conv"), node("Gemm"), node("Gemm", transB=1), node("MatMul"))] == [
        0,
        1,
        0,
        1,
    ]
    assert channel_axis(node("ConvTranspose")) is None


def test_given_steps_are_taken_for_a_range() -> None:
    model = tiny_graph("y = Conv(x, w, b)")
    steps = Steps(np.float32(0.5), np.int8(0))

    quantized = write_qdq(model, {"y": (-9.0, 9.0)}, X86, exact={"x": steps})

    assert float(numpy_helper.to_array(next(t for t in quantized.graph.initializer if t.name == "x_scale"))) == 0.5
