"""The scales of TensorRT's calibration caches, the graph that they belong to, and ranges out of them."""

import os
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.calib.qdq import LEAST_SCALE
from edge_seg.calib.quantize import write_int8
from edge_seg.calib.ranges import Ranges, float_tensors, hash_of, observe, parse_ranges, write_ranges
from edge_seg.calib.rung import Rung
from edge_seg.calib.tensorrt_cache import Cache, Version, find_algorithm, parse_cache, read_cache
from edge_seg.calib.tensorrt_scales import make_cache, ranges_of, to_tensorrt, without_range, write_cache
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, ModelError, SinkError
from edge_seg.export.lint import find_goal, lint
from edge_seg.runners import open_runner
from edge_seg.runners.contract import load_onnx

ENTROPY2 = "EntropyCalibration2"
V853 = Version(8, 5, 3)
IMAGES = np.stack([frame.image for frame in Drive(5, 96, 72, 4)])

SMALL = """<ir_version: 8, opset_import: ["" : 17]>
    small (uint8[N, 8, 8, 3] image) => (uint8[N, 8, 8] labels)
    <float middle = {128.0}, float[4, 3, 1, 1] w, float[2, 4, 1, 1] head, float[4] twice = {1.0, 1.0, 2.0, 2.0}> {
        planes = Transpose<perm = [0, 3, 1, 2]>(image)
        floats = Cast<to = 1>(planes)
        centred = Sub(floats, middle)
        edges = Conv(centred, w)
        features = Relu(edges)
        pooled = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(features)
        mean = GlobalAveragePool(pooled)
        spread = Resize<mode = "linear">(pooled, , twice)
        sharp = Resize<mode = "cubic">(pooled, , twice)
        both = Concat<axis = 1>(spread, sharp)
        gated = Mul(features, mean)
        "onnx::logits_1" = Conv(gated, head)
        best = ArgMax<axis = 1, keepdims = 0>("onnx::logits_1")
        labels = Cast<to = 2>(best)
    }"""

REAL = """TRT-8503-EntropyCalibration2
image: 7f800000
(Unnamed Layer* 2) [Constant]_output: 3f810204
(Unnamed Layer* 3) [Shuffle]_output: 3f810204
ONNXTRT_Broadcast_3_output: 3f810204
middle_output: 3f810204
image/float: 40010204
floats: 40010204
centred: 3f810204
edges: 3d895e44
features: 3d65992f
pooled: 3D65992F
gated: 3c60dd38
best: 3c010204
"""
"""As TensorRT writes it: infinity where it found no scale, and names of its own for constants and broadcasts."""


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    """A graph with poolings, a Concat and a tensor with colons in its name."""
    model = onnx.parser.parse_model(SMALL.replace('"onnx::logits_1"', "logits"))
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = "onnx::logits_1" if name == "logits" else name
    return model


@pytest.fixture(scope="module")
def tiny_ranges(tiny_model: Path) -> Ranges:
    return observe(load_onnx(tiny_model), (frame.image[None] for frame in Drive(5, 96, 72, 4)), pictures="drive")


def test_known_scales_have_the_bits_that_struct_gives(small: onnx.ModelProto) -> None:
    ranges = {"centred": (-128.0, 127.0), "edges": (-1.0, 0.5), "features": (0.0, 254.0)}

    text = make_cache(small, ranges, V853, ENTROPY2).to_text()

    assert text.split("\n")[:3] == ["TRT-8503-EntropyCalibration2", "centred: 3f810204", "edges: 3c010204"]
    assert "features: 40000000\n" in text
    assert struct.unpack("!f", bytes.fromhex("3f810204"))[0] == pytest.approx(128 / 127, rel=1e-7)


def test_ranges_give_the_cache_that_they_came_from(tiny_model: Path, tiny_ranges: Ranges) -> None:
    model = load_onnx(tiny_model)
    graph = to_tensorrt(model, V853)
    cache = make_cache(graph, tiny_ranges.chosen("entropy"), V853, ENTROPY2)

    back = ranges_of(parse_cache(cache.to_text(), "x"), model)
    kept = parse_ranges(back.to_json(), "x")

    assert without_range(back, model) == []
    assert back.model == hash_of(model)
    assert (back.pictures, back.images) == (cache.header, 0)
    for method in ("min-max", "entropy"):
        assert make_cache(graph, kept.chosen(method), V853, ENTROPY2) == cache


def test_a_cache_as_tensorrt_writes_it_is_read(small: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "real.cache"
    path.write_bytes(REAL.replace("\n", "\r\n").encode())

    cache = read_cache(path)
    found = ranges_of(cache, small).tensors

    assert (cache.version, cache.algorithm, cache.unscaled) == (8503, ENTROPY2, ("image",))
    scale = struct.unpack("!f", bytes.fromhex("3d65992f"))[0]
    assert found["features"] == found["pooled"] == {"min-max": (0.0, 127 * scale), "entropy": (0.0, 127 * scale)}
    edge = 127 * struct.unpack("!f", bytes.fromhex("3d895e44"))[0]
    assert found["edges"]["entropy"] == (-edge, edge)
    assert "best" not in found


def test_tensors_without_a_line_get_a_range_only_where_it_is_certain(small: onnx.ModelProto) -> None:
    ranges = ranges_of(parse_cache(REAL, "x"), small)

    assert ranges.tensors["mean"] == ranges.tensors["spread"] == ranges.tensors["pooled"]
    assert without_range(ranges, small) == ["sharp", "both"]  # a cubic Resize overshoots
    assert ranges.tensors["gated"]["min-max"][0] < 0


@pytest.mark.parametrize(("low", "expected"), [("zero", 0.0), ("below", -1.0), ("", -1.0)])
def test_a_clip_from_zero_has_no_negative_half(low: str, expected: float) -> None:
    constants = "float six = {6.0}, float zero = {0.0}, float below = {-1.0}"
    model = onnx.parser.parse_model(
        SMALL.replace("<float middle", f"<{constants}, float middle")
        .replace("Relu(edges)", f"Clip(edges, {low}, six)")
        .replace('"onnx::logits_1"', "logits")
    )

    found = ranges_of(Cache(8503, ENTROPY2, {"features": 1 / 127}), model).tensors

    assert found["features"]["entropy"] == pytest.approx((expected, 1.0))


def test_poolings_and_concats_have_one_scale(small: onnx.ModelProto) -> None:
    widths = {"features": 3.0, "pooled": 2.5, "mean": 0.5, "spread": 2.0, "sharp": 3.5, "both": 3.25, "edges": 1.0}

    scales = make_cache(small, {name: (0.0, width) for name, width in widths.items()}, V853, ENTROPY2).scales

    assert scales["pooled"] == scales["features"] == np.float32(3.0 / 127)
    assert scales["mean"] == np.float32(0.5 / 127)  # a reduction to TensorRT
    assert scales["spread"] == scales["sharp"] == scales["both"] == np.float32(3.5 / 127)
    assert scales["edges"] == np.float32(1.0 / 127)


def test_a_tensor_of_zeros_has_a_scale_above_zero(small: onnx.ModelProto) -> None:
    cache = make_cache(small, {"features": (0.0, 0.0)}, V853, ENTROPY2)

    assert parse_cache(cache.to_text(), "x").scales["features"] == np.float32(LEAST_SCALE / 127)


def test_scales_are_those_of_the_file_for_tensorrt(tiny_model: Path, tiny_ranges: Ranges, tmp_path: Path) -> None:
    write_int8(tiny_model, tmp_path / "q.onnx", tiny_ranges, Rung("tensorrt"))
    constants = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "q.onnx").graph.initializer}

    scales = make_cache(to_tensorrt(load_onnx(tiny_model), V853), tiny_ranges.chosen("min-max"), V853, ENTROPY2).scales
    written = {name: constants[f"{name}_scale"] for name in scales if f"{name}_scale" in constants}

    assert len(written) == len([name for name in constants if name.endswith("output_0_scale")])
    assert all(scales[name] == scale for name, scale in written.items())


def test_every_float_tensor_of_tensorrts_graph_has_a_line_but_the_labels(tiny_model: Path, tiny_ranges: Ranges) -> None:
    graph = to_tensorrt(load_onnx(tiny_model), V853)

    scales = make_cache(graph, tiny_ranges.chosen("min-max"), V853, ENTROPY2).scales

    without = [name for name in float_tensors(graph) if name not in scales]
    last = next(node for node in graph.graph.node if graph.graph.output[0].name in node.output)
    assert without == [last.input[0]]
    first = next(node for node in graph.graph.node if "image" in node.input)
    before = float_tensors(load_onnx(tiny_model))[0]
    assert next(iter(scales)) == first.output[0] != before
    assert scales[first.output[0]] == scales[before] == np.float32(tiny_ranges.tensors[before]["min-max"][1] / 127)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_graph_gives_the_labels_of_the_model(tiny_model: Path, tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    graph = to_tensorrt(load_onnx(tiny_model), V853)
    onnx.save_model(graph, tmp_path / "t.onnx")

    onnx.checker.check_model(graph, full_check=True)
    with open_runner(tiny_model, runtime) as before, open_runner(tmp_path / "t.onnx", runtime) as after:
        assert np.array_equal(before.infer(IMAGES), after.infer(IMAGES))
        assert after.spec == before.spec


def test_tensorrt_8_5_takes_the_graph(tiny_model: Path) -> None:
    model = load_onnx(tiny_model)
    graph = to_tensorrt(model, V853)

    assert "uint8-inside" in {finding.rule for finding in lint(model, find_goal("tensorrt", None, "8.5"))}
    assert [finding.rule for finding in lint(graph, find_goal("tensorrt", None, "8.5"))] == ["not-quantized"]
    assert (graph.opset_import[0].version, graph.ir_version) == (17, 8)
    assert set(float_tensors(model)) <= set(float_tensors(graph))


def test_a_graph_that_tensorrt_refuses_is_told(tiny_model: Path) -> None:
    model = load_onnx(tiny_model)
    model.opset_import[0].version = 18

    with pytest.raises(
        ModelError, match=r"TensorRT 8\.5 refuses this graph at the file: opset 18; expected opset 13 to"
    ):
        to_tensorrt(model, V853)
    assert to_tensorrt(model, Version(10, 4, 0)).opset_import[0].version == 18


def test_both_files_are_written_for_the_chosen_method(tiny_model: Path, tiny_ranges: Ranges, tmp_path: Path) -> None:
    write_ranges(tmp_path / "r.json", tiny_ranges)
    out, onnx_out = tmp_path / "t.cache", tmp_path / "t.onnx"

    cache = write_cache(
        *(tiny_model, tmp_path / "r.json", out),
        version=Version(10, 3, 0),
        algorithm=ENTROPY2,
        method="mse",
        onnx_out=onnx_out,
    )

    graph = load_onnx(onnx_out)
    assert read_cache(out) == cache
    assert out.read_text().startswith("TRT-100300-EntropyCalibration2\n")
    assert graph == to_tensorrt(load_onnx(tiny_model), Version(10, 3, 0))
    assert cache == make_cache(graph, tiny_ranges.chosen("mse-symmetric"), Version(10, 3, 0), ENTROPY2)


def test_of_both_files_none_is_replaced_where_one_cannot_be(
    tiny_model: Path, tiny_ranges: Ranges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ranges(tmp_path / "r.json", tiny_ranges)
    paths = out, onnx_out = tmp_path / "t.cache", tmp_path / "t.onnx"
    for path in paths:
        path.write_text("old")
    replace = os.replace

    def of_another_user(source: Path, target: Path) -> None:
        if target == out:
            raise OSError(1, "Operation not permitted")
        replace(source, target)

    monkeypatch.setattr("os.replace", of_another_user)
    with pytest.raises(SinkError, match=r"t\.cache cannot be written: Operation not permitted"):
        write_cache(tiny_model, tmp_path / "r.json", out, version=V853, algorithm=ENTROPY2, onnx_out=onnx_out)
    assert [path.read_text() for path in paths] == ["old", "old"]


def test_what_does_not_belong_together_is_refused(
    tiny_model: Path, tiny_int8_model: Path, tiny_ranges: Ranges, tmp_path: Path
) -> None:
    other = Ranges("0" * 64, tiny_ranges.pictures, tiny_ranges.images, tiny_ranges.tensors)
    write_ranges(tmp_path / "r.json", other)

    with pytest.raises(DataError, match=r"was observed on another model \(graph 000000000000, not"):
        write_cache(tiny_model, tmp_path / "r.json", tmp_path / "t.cache", version=V853, algorithm=ENTROPY2)
    with pytest.raises(ModelError, match=r"quantized already\. Give the FP32 file"):
        write_cache(tiny_int8_model, tmp_path / "r.json", tmp_path / "t.cache", version=V853, algorithm=ENTROPY2)
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_cache_of_another_graph_is_told_by_name(small: onnx.ModelProto) -> None:
    strange = {name: np.float32(1) for name in ("edges", "conv1", "pool1", "conv2", "prob")}

    with pytest.raises(DataError, match=r"of another graph: the model has no tensor conv1, pool1, conv2 and 1 more\."):
        ranges_of(Cache(8503, ENTROPY2, strange), small)
    with pytest.raises(DataError, match=r"the model has no tensor data\. Give the model"):
        ranges_of(Cache(8503, ENTROPY2, {"edges": np.float32(1)}, ("data",)), small)
    with pytest.raises(DataError, match=r"a scale for none of the model's tensors"):
        ranges_of(Cache(8503, ENTROPY2, {"best": np.float32(1)}), small)


@pytest.mark.parametrize(
    ("algorithm", "methods"),
    [
        ("entropy2", {"min-max", "entropy"}),
        ("entropy", {"min-max", "entropy"}),
        ("min-max", {"min-max"}),
        ("legacy", {"min-max", "percentile"}),
    ],
)
def test_ranges_are_found_by_the_methods_of_the_caches_kind(
    small: onnx.ModelProto, algorithm: str, methods: set[str]
) -> None:
    ranges = ranges_of(Cache(8503, find_algorithm(algorithm), {"edges": np.float32(1)}), small)

    assert ranges.tensors["edges"] == dict.fromkeys(methods, (-127.0, 127.0))
    assert ranges.tensors["features"] == dict.fromkeys(methods, (0.0, 127.0))
