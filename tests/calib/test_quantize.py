"""The INT8 files: what is in them, and that their labels are those of the FP32 file."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_seg.calib.images import pick_indices
from edge_seg.calib.input_cut import cut_input
from edge_seg.calib.placement import name_nodes
from edge_seg.calib.quantize import choose_target, open_fp32, quantize, write_int8
from edge_seg.calib.ranges import observe
from edge_seg.calib.rung import Rung
from edge_seg.calib.speed import Speed
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, ModelError
from edge_seg.export.graph import Graph
from edge_seg.export.target import TARGETS
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec

IMAGES = np.stack([frame.image for frame in Drive(5, 96, 72, 4)])


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_int8_labels_are_nearly_those_of_fp32(tiny_model: Path, tiny_int8_model: Path) -> None:
    with open_runner(tiny_model, "onnxruntime") as fp32, open_runner(tiny_int8_model, "onnxruntime") as int8:
        assert (fp32.infer(IMAGES) == int8.infer(IMAGES)).mean() > 0.9
    assert read_onnx_spec(tiny_int8_model).precision == "INT8"
    assert read_onnx_spec(tiny_int8_model).scores == {}


def test_every_convolution_reads_quantized_tensors(tiny_int8_model: Path) -> None:
    pytest.importorskip("torch")  # without it the model is one of three convolutions
    model = onnx.load(tiny_int8_model)
    makers = {node.output[0]: node for node in model.graph.node}
    values = initializers(model)

    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 20
    for node in convolutions:
        data, weights = (makers[name] for name in node.input[:2])
        assert data.op_type == weights.op_type == "DequantizeLinear"
        scales, zero_points = (values[name] for name in weights.input[1:3])
        assert values[weights.input[0]].dtype == np.int8
        assert scales.shape == zero_points.shape == (values[weights.input[0]].shape[0],)
        assert not zero_points.any()


def test_the_cameras_bytes_are_taken_exactly(tiny_int8_model: Path) -> None:
    model = onnx.load(tiny_int8_model)
    values = initializers(model)
    chain, tensor = [], "image"
    for _ in range(5):
        chain.append(next(node for node in model.graph.node if tensor in node.input))
        tensor = chain[-1].output[0]
    bytes_in, quantized = chain[1:3]

    operators = ["Transpose", "DequantizeLinear", "QuantizeLinear", "DequantizeLinear", "Conv"]
    assert [node.op_type for node in chain] == operators
    scale, middle = (values[name] for name in bytes_in.input[1:])
    assert (float(scale), int(middle), middle.dtype) == (1 / 64, 128, np.uint8)
    scale, zero = (values[name] for name in quantized.input[1:])
    assert (float(scale), int(zero), zero.dtype) == (1 / 64, 0, np.int8)


def test_nothing_but_bytes_at_full_size(tiny_int8_model: Path) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(tiny_int8_model), data_prop=True)
    shapes = {v.name: v.type.tensor_type for v in model.graph.value_info}

    assert not {"ArgMax", "Cast", "Sub", "Div"} & {
        n.op_type for n in model.graph.node if not n.name.startswith("tail/")
    }
    full = [t for t in shapes.values() if {72, 96} <= {d.dim_value for d in t.shape.dim} and len(t.shape.dim) == 3]
    assert all(t.elem_type == onnx.TensorProto.UINT8 for t in full)


def test_calibration_images_are_spread_over_the_set() -> None:
    assert pick_indices(367, 9)[::4] == [0, 183, 366]
    assert pick_indices(9, 120) == list(range(9))
    with pytest.raises(DataError, match=r"7 calibration images are too few; give at least 8"):
        pick_indices(7, 120)
    with pytest.raises(DataError, match=r"3 calibration images are too few"):
        pick_indices(300, 3)


def test_each_picture_is_told(tiny_model: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    quantize(tiny_model, tmp_path / "out.onnx", Drive(1, 96, 72, 10), images=9, on_image=lambda: calls.append(1))

    assert len(calls) == 9


def test_a_quantized_file_is_refused(tiny_int8_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"quantized already. Give the FP32 file"):
        quantize(tiny_int8_model, tmp_path / "twice.onnx", Drive(1, 96, 72, 10))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "operator",
    [
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "MatMulInteger",
        "QLinearConv",
        "QLinearGlobalAveragePool",
    ],
)
def test_whatever_is_quantized_is_refused(operator: str, tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    model.graph.node.append(helper.make_node(operator, ["image"], ["more"]))
    onnx.save(model, tmp_path / "other.onnx")

    with pytest.raises(ModelError, match=f"has a {operator}: it is quantized already. Give the FP32 file"):
        open_fp32(tmp_path / "other.onnx")


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("in_node", [False, True])
def test_shorter_floats_are_refused(kind: str, in_node: bool, tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    half = helper.make_tensor("half", getattr(onnx.TensorProto, kind), [1], [1.0])
    if in_node:
        model.graph.node.append(helper.make_node("Constant", [], ["half"], value=half))
    else:
        model.graph.initializer.append(half)
    onnx.save(model, tmp_path / "other.onnx")

    with pytest.raises(ModelError, match=rf"is no FP32 model: half holds {kind}\. Give the FP32 file.*--float fp16"):
        open_fp32(tmp_path / "other.onnx")


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_without_anything_in_int8_is_not_written(target: str, tiny_model: Path, tmp_path: Path) -> None:
    model = open_fp32(tiny_model)
    name_nodes(model)
    ranges = observe(model, (image[None] for image in IMAGES))
    onnx.save(model, tmp_path / "named.onnx")
    rung = Rung(target, floats=tuple(node.name for node in model.graph.node))

    with pytest.raises(ModelError, match=f"Nothing in the file would be INT8: the model has no layer that {target} "):
        write_int8(tmp_path / "named.onnx", tmp_path / "out.onnx", ranges, rung)
    assert not (tmp_path / "out.onnx").exists()


def test_of_the_two_dialects_one_that_cannot_be_written_is_skipped(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_fp32(tiny_model)
    ranges = observe(model, (image[None] for image in IMAGES))
    model.opset_import[0].version = 21
    several = (TARGETS["tensorrt"], TARGETS["onnxruntime-x86"])
    monkeypatch.setattr("edge_seg.calib.quantize.targets_of", lambda name: (several, "onnxruntime"))
    notes: list[str] = []

    assert choose_target(model, ranges, Rung("openvino"), on_skipped=notes.append) == "onnxruntime-x86"
    assert len(notes) == 1 and notes[0].startswith("tensorrt: The model has opset 21; files for tensorrt are written")

    model.opset_import[0].version = 22
    with pytest.raises(ModelError, match=r"(?s)tensorrt: The model has opset 22.*onnxruntime-x86: The model has"):
        choose_target(model, ranges, Rung("openvino"))


@pytest.mark.parametrize(
    ("speedup", "chosen"), [(1.5, "tensorrt"), (1.02, "onnxruntime-x86"), (0.5, "onnxruntime-x86")]
)
def test_of_the_two_dialects_the_second_is_taken_where_it_is_clearly_faster(
    speedup: float, chosen: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    model = open_fp32(tiny_model)
    ranges = observe(model, (image[None] for image in IMAGES))
    several = (TARGETS["onnxruntime-x86"], TARGETS["tensorrt"])
    compared: list[tuple[str, str]] = []

    def time(first: tuple[Path, str], second: tuple[Path, str]) -> Speed:
        compared.append((first[0].stem, second[0].stem))
        return Speed(1.0, 1.0 / speedup, speedup, speedup, speedup)

    monkeypatch.setattr("edge_seg.calib.quantize.targets_of", lambda name: (several, "onnxruntime"))
    monkeypatch.setattr("edge_seg.calib.quantize.compare_speed", time)

    assert choose_target(model, ranges, Rung("openvino")) == chosen
    assert compared == [("onnxruntime-x86", "tensorrt")]


def test_another_input_chain_is_refused(tiny_int8_model: Path) -> None:
    with pytest.raises(ModelError, match=r"Expected the input to go through Transpose -> Cast -> Sub -> Div"):
        cut_input(onnx.load(tiny_int8_model))


def test_another_normalisation_is_told(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    divide = next(node for node in model.graph.node if node.op_type == "Div")
    constant = Graph(model).constants[divide.input[1]]
    constant.CopyFrom(numpy_helper.from_array(np.float32(58).reshape(constant.dims), constant.name))

    with pytest.raises(ModelError, match=r"Expected \(byte - 128\) / 64 as input"):
        cut_input(model)
