"""FP16 files for TensorRT 10: types, opset, agreement, and what cannot be written so."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edge_seg.calib.images import calibration_images
from edge_seg.calib.quantize import open_fp32, write_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.calib.rung import Rung
from edge_seg.data.drive import Drive
from edge_seg.errors import ModelError
from edge_seg.export.graph import read_graph
from edge_seg.export.lint import find_goal, lint
from edge_seg.export.target import find_target
from edge_seg.export.to_fp16 import to_fp16
from edge_seg.runners import open_runner
from edge_seg.runners.contract import read_onnx_spec, write_spec
from edge_seg.spec import CAMVID_CLASSES, ModelSpec

IMAGES = np.stack([frame.image for frame in Drive(6, 96, 72, 6)])
TENSORRT = find_target("tensorrt")


@pytest.fixture(scope="module")
def ranges(tiny_model: Path) -> Ranges:
    return observe(open_fp32(tiny_model), calibration_images(Drive(5, 96, 72, 12), read_onnx_spec(tiny_model), 12))


@pytest.fixture(scope="module")
def files(tiny_model: Path, ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """INT8 for TensorRT with FP32 and with FP16 beside it, and plain FP16."""
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    folder = tmp_path_factory.mktemp("fp16")
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", "fp16", "plain")}
    for floats in ("fp32", "fp16"):
        write_int8(tiny_model, paths[floats], ranges, Rung("tensorrt", float_type=floats))
    onnx.save_model(to_fp16(onnx.load(tiny_model)), paths["plain"])
    return paths


@pytest.mark.parametrize("name", ["fp16", "plain"])
def test_every_float_is_fp16_but_what_onnx_wants_in_fp32(files: dict[str, Path], name: str) -> None:
    model = onnx.load(files[name])
    onnx.checker.check_model(model, full_check=True)
    graph = read_graph(model)

    assert (graph.opset, model.ir_version) == (19, 9)
    resize_scales = {node.input[2] for node in graph.of("Resize")}
    assert resize_scales
    floats = {name for name, kind in graph.types.items() if kind == TensorProto.FLOAT}
    assert floats == resize_scales
    scales = [graph.types[node.input[1]] for node in graph.of("QuantizeLinear", "DequantizeLinear")]
    assert set(scales) == ({TensorProto.FLOAT16} if name == "fp16" else set())


@pytest.mark.parametrize("name", ["fp16", "plain"])
def test_bytes_are_at_the_ends_alone_and_cast_from_and_to_fp16(files: dict[str, Path], name: str) -> None:
    graph = read_graph(onnx.load(files[name]))

    first = graph.readers_of("image")
    last = graph.maker["labels"]
    assert [(node.op_type, graph.types[node.output[0]]) for node in first] == [("Cast", TensorProto.FLOAT16)]
    assert (last.op_type, graph.types[last.input[0]]) == ("Cast", TensorProto.FLOAT16)
    assert graph.maker[last.input[0]].op_type == "Cast"  # of ArgMax's integers


def test_int8_weights_and_nodes_are_those_of_the_fp32_file(files: dict[str, Path]) -> None:
    before, after = (read_graph(onnx.load(files[name])) for name in ("fp32", "fp16"))

    assert [node.op_type for node in before.nodes] == [node.op_type for node in after.nodes]
    scales = {t for node in before.of("QuantizeLinear", "DequantizeLinear") for t in node.input[1:2]}
    for name in before.constants.keys() & after.constants.keys():  # others: `test_small_steps_of_weights...`
        values, halves = before.value(name), after.value(name)
        assert values is not None and halves is not None
        if values.dtype == np.int8:
            assert np.array_equal(halves, values)
        if name in scales:
            assert halves == pytest.approx(values, rel=2**-11)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_labels_are_nearly_those_of_fp32_scales(
    files: dict[str, Path], tiny_model: Path, runtime: str, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip(runtime)
    if runtime == "openvino":
        request.getfixturevalue("vnni")
    labels = {}
    for name, path in {**files, "model": tiny_model}.items():
        try:
            with open_runner(path, runtime) as runner:
                labels[name] = runner.infer(IMAGES)
        except ModelError as error:  # of OpenVINO 2025.0, which reads no FP16 scales
            if name != "fp16" or "scale input: f16" not in str(error):
                raise
            pytest.skip("this OpenVINO reads no FP16 scales")

    assert len(np.unique(labels["model"])) > 1
    assert (labels["fp16"] == labels["fp32"]).mean() > 0.97
    assert (labels["plain"] == labels["model"]).mean() > 0.995


def test_specs_say_what_the_files_are(files: dict[str, Path], tiny_model: Path) -> None:
    specs = {name: read_onnx_spec(path) for name, path in files.items()}

    assert {name: spec.precision for name, spec in specs.items()} == {"fp32": "INT8", "fp16": "INT8", "plain": "FP16"}
    assert read_onnx_spec(tiny_model).scores
    assert all(spec.scores == {} for spec in specs.values())


@pytest.mark.parametrize("version", ["10.3", "10.13", "10.16", "11.4"])
def test_lint_has_no_complaint_from_tensorrt_10_on(files: dict[str, Path], version: str) -> None:
    assert lint(onnx.load(files["fp16"]), find_goal("tensorrt", tensorrt=version)) == []
    plain = lint(onnx.load(files["plain"]), find_goal("tensorrt", tensorrt=version))
    assert {finding.rule for finding in plain} == {"not-quantized"}


def test_lint_refuses_it_before_tensorrt_10(files: dict[str, Path]) -> None:
    rules = {finding.rule for finding in lint(onnx.load(files["fp16"]), find_goal("tensorrt", tensorrt="8.6"))}

    assert {"opset", "fp16-scale"} <= rules


def test_the_model_given_stays_as_it_is(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)

    to_fp16(model)

    assert model == onnx.load(tiny_model)


SPEC = ModelSpec("net", CAMVID_CLASSES, 8, 6, "nothing")


def contract_graph(body: str, constants: dict[str, Any], *, opset: int = 17) -> onnx.ModelProto:
    """A graph of the contract at 8x6: `body` makes y from x, both float [N, 3, 6, 8]."""
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
        net (uint8[N, 6, 8, 3] image) => (uint8[N, 6, 8] labels) {{
            t = Transpose<perm = [0, 3, 1, 2]>(image)
            x = Cast<to = 1>(t)
            {body}
            best = ArgMax<axis = 1, keepdims = 0>(y)
            labels = Cast<to = 2>(best)
        }}"""
    model: onnx.ModelProto = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    write_spec(model, SPEC)
    return model


def labels_of(model: onnx.ModelProto) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), np.uint8)
    return np.asarray(session.run(None, {"image": image})[0])


def test_limits_of_clip_beyond_fp16_change_nothing() -> None:
    model = contract_graph("y = Clip(x, low, high)", {"low": np.float32(-3.4e38), "high": np.float32(3.4e38)})

    half = to_fp16(model)

    values = [numpy_helper.to_array(tensor) for tensor in half.graph.initializer]
    assert {v.dtype for v in values} == {np.dtype(np.float16)}
    assert [float(v) for v in values] == [-65504.0, 65504.0]
    assert np.array_equal(labels_of(half), labels_of(model))


def test_constants_made_by_nodes_become_fp16() -> None:
    body = """
        one = Constant<value_float = 0.5>()
        none = ConstantOfShape(shape)
        some = ConstantOfShape<value = float[1] {0.25}>(shape)
        a = Add(x, one) b = Add(a, none) y = Mul(b, some)"""
    model = contract_graph(body, {"shape": np.array([1, 3, 1, 1], np.int64)})

    half = to_fp16(model)

    assert TensorProto.FLOAT not in read_graph(half).types.values()
    assert np.array_equal(labels_of(half), labels_of(model))


def test_scales_of_resize_may_be_read_by_others_too() -> None:
    body = """
        four = ReduceMax(scales)
        u = Resize<mode = "nearest">(x, , scales)
        p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(u)
        y = Mul(p, four)"""
    model = contract_graph(body, {"scales": np.array([1, 1, 2, 2], np.float32)})

    half = to_fp16(model)

    graph = read_graph(half)
    assert graph.types[graph.of("Resize")[0].input[2]] == TensorProto.FLOAT
    assert graph.types[graph.of("ReduceMax")[0].input[0]] == TensorProto.FLOAT16
    assert np.array_equal(labels_of(half), labels_of(model))


def test_scales_of_resize_from_a_node_stay_in_fp32() -> None:
    body = """
        scales = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>()
        u = Resize<mode = "nearest">(x, , scales)
        y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(u)"""

    half = to_fp16(contract_graph(body, {}))

    assert read_graph(half).types["scales"] == TensorProto.FLOAT
    assert labels_of(half).shape == (2, 6, 8)


def test_a_newer_opset_is_kept() -> None:
    assert read_graph(to_fp16(contract_graph("y = Relu(x)", {}, opset=20))).opset == 20


QDQ = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Conv(d, w)"
CONV = {"z": np.int8(0), "w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)}


@pytest.mark.parametrize(
    ("body", "constants", "message"),
    [
        ("y = Mul(x, big)", {"big": np.float32(1e5)}, r"constant big holds 100000, and FP16 ends at 65504"),
        (QDQ, {**CONV, "s": np.float32(1e-5)}, r"scale of x is 1e-05; FP16 scales below 6\.1.*e-05 lose bits"),
        (QDQ.replace("(x, s", "(x, t").replace("q =", "t = Abs(s) q ="), {**CONV, "s": np.float32(1)}, "no constant"),
        ("y = Add(x, w)", {"w": np.float16(1)}, "FP16 weights already"),
        ("r = Range(a, b, c) y = Add(x, r)", dict.fromkeys("abc", np.float32(8)), r"cannot be FP16 .*Range"),
        (
            "b = DequantizeLinear(i, s) y = Add(x, b)",
            {"i": np.int32(3), "s": np.float32(0.1)},
            "written for a CPU, .*--target tensorrt --float fp16",
        ),
        (
            "y = If<then_branch = t () => (float[N, 3, 6, 8] v) { v = Relu(x) }, "
            "else_branch = e () => (float[N, 3, 6, 8] o) { o = Neg(x) }>(yes)",
            {"yes": np.bool_(True)},
            "branches, loops",
        ),
    ],
    ids=["constant", "scale", "made scale", "fp16", "operator", "cpu", "branch"],
)
def test_what_fp16_does_not_hold_is_told(body: str, constants: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        to_fp16(contract_graph(body, constants))


def test_a_range_beyond_fp16_is_told(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match=r"The tensor some/Add reaches 70000, and FP16 ends at 65504"):
        to_fp16(onnx.load(tiny_model), {"fine": (-1.0, 65504.0), "some/Add": (-7e4, 1.0)})


def test_weights_in_another_file_are_told() -> None:
    model = contract_graph("y = Mul(x, big)", {"big": np.float32(2)})
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "elsewhere.bin")

    with pytest.raises(ModelError, match=r"values of big are in another file.*lint MODEL --target tensorrt --fix"):
        to_fp16(model)


def test_an_opset_that_cannot_be_raised_is_told() -> None:
    model = contract_graph("y = Relu(x)", {})
    model.graph.node[2].op_type = "Rectify"

    with pytest.raises(ModelError, match=r"opset 17 cannot be brought to 19 .* Export it with"):
        to_fp16(model)


def test_a_file_for_a_cpu_is_refused(tiny_int8_model: Path) -> None:
    with pytest.raises(ModelError, match="written for a CPU"):
        to_fp16(onnx.load(tiny_int8_model))
