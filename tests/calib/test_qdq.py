"""The writer: what each target gets, and that it computes what the FP32 graph does."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.calib.images import calibration_images
from edge_seg.calib.qdq import quantize_weights, weight_scales
from edge_seg.calib.quantize import to_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.data.drive import Drive
from edge_seg.export.target import TARGETS, Target, find_target
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.runners.cpu import lacks_vnni
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
