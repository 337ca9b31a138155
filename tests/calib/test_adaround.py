"""Learned rounding: a smaller error of the layers' outputs, integers that the writer takes."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edge_seg.calib.adaround import adaptive_rounding, rounded_layers
from edge_seg.calib.columns import columns, from_matrix, to_matrix, window_of
from edge_seg.calib.input_cut import input_steps
from edge_seg.calib.learned_rounding import Problem, learn_rounding
from edge_seg.calib.qdq import quantize_weights, written_scales
from edge_seg.calib.quantize import to_int8
from edge_seg.calib.ranges import Ranges, observe, open_session
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, MissingExtraError
from edge_seg.export.target import Target, find_target
from edge_seg.runners.contract import read_onnx_spec, write_spec
from edge_seg.runners.ort_runner import untimed_options
from edge_seg.spec import ModelSpec

pytest.importorskip("torch")

IMAGES = [frame.image[None] for frame in Drive(5, 96, 72, 10)]
COARSE = dataclasses.replace(find_target("onnxruntime-x86"), weight_bits=4)
TARGETS = [find_target(name) for name in ("x86-novnni", "tensorrt")]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> onnx.ModelProto:
    return onnx.load(tiny_model)


@pytest.fixture(scope="module")
def ranges(model: onnx.ModelProto) -> Ranges:
    return observe(model, iter(IMAGES))


def problem(groups: int = 1, clip: tuple[float, float] = (0.0, np.inf)) -> Problem:
    """A layer whose inputs are alike in pairs, so that rounding errors can cancel each other."""
    rng = np.random.default_rng(7)
    base = rng.normal(size=(groups, 600, 8)).astype(np.float32)
    read = np.concatenate([base, base + 0.1 * rng.normal(size=base.shape).astype(np.float32)], axis=2)
    weights = rng.normal(0, 3, (groups, 16, 6)).astype(np.float32)
    scales = rng.uniform(0.05, 0.2, (groups, 1, 6)).astype(np.float32)
    bias = rng.normal(size=(groups, 1, 6)).astype(np.float32)
    return Problem(read, read @ (weights * scales) + bias, weights, scales, bias, clip, 7)


@pytest.mark.parametrize(("groups", "clip"), [(1, (0.0, np.inf)), (3, (-np.inf, np.inf)), (1, (0.0, 2.0))])
def test_learned_rounding_has_a_smaller_error_within_one_step(groups: int, clip: tuple[float, float]) -> None:
    layer = problem(groups, clip)

    found = learn_rounding(layer, 300, seed=0)

    assert layer.error(found) < 0.7 * layer.error(layer.nearest)
    assert found.dtype == np.int8
    assert np.abs(found.astype(int) - layer.nearest).max() == 1
    assert np.abs(found.astype(int)).max() <= 7


def test_the_error_is_that_of_the_output_behind_the_activation() -> None:
    layer = problem(clip=(0.0, 1.0))
    found = np.clip(layer.read[0] @ (layer.nearest[0] * layer.scales[0]) + layer.bias[0], 0, 1)

    assert layer.error(layer.nearest) == pytest.approx(np.square(found - np.clip(layer.wanted[0], 0, 1)).mean())


def test_where_nothing_is_learned_weights_are_the_nearest() -> None:
    layer = problem()

    assert (learn_rounding(layer, 0, seed=0) == layer.nearest).all()
    exact = dataclasses.replace(layer, weights=np.round(layer.weights))
    assert (learn_rounding(exact, 300, seed=0) == exact.nearest).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pads": [1, 0, 2, 1], "strides": [2, 1]},
        {"pads": [2, 2, 2, 2], "dilations": [2, 2], "strides": [2, 2]},
        {"group": 2, "pads": [1, 1, 1, 1]},
        {"group": 4, "strides": [1, 3]},
    ],
    ids=str,
)
def test_columns_times_the_matrix_are_the_convolution(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    groups = options.get("group", 1)
    weights = rng.normal(size=(8, 4 // groups, 3, 3)).astype(np.float32)
    values = rng.normal(size=(1, 4, 9, 11)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **options)
    output = convolve(node, weights, values)
    places = np.arange(output.shape[2] * output.shape[3])

    window = window_of(node, weights)
    assert window is not None
    product = columns(values, window, places, output.shape[3]) @ to_matrix(weights, groups)

    found = np.moveaxis(product, 1, 2).reshape(output.shape)
    assert found == pytest.approx(output, abs=1e-5)
    integers = np.round(3 * weights).astype(np.float32)
    matrix = to_matrix(integers, groups).astype(np.int8)
    assert (from_matrix(matrix, weights.shape) == integers).all()


def convolve(node: onnx.NodeProto, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), untimed_options(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": values})[0])


def test_a_window_that_is_not_known() -> None:
    weights = np.zeros((2, 2, 3, 3), np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER"), helper.make_node("MatMul", "xw", "y")]

    assert [window_of(node, weights) for node in nodes] == [None, None]
    assert window_of(helper.make_node("Conv", ["x", "w"], ["y"]), weights[:, :, 0]) is None


def first_error(model: onnx.ModelProto, quantized: onnx.ModelProto) -> float:
    """Mean squared error of the first layer's output, behind its ReLU, over all of the calibration pictures."""
    name = next(node.output[0] for node in model.graph.node if node.op_type == "Conv")
    sessions = [open_session(one, [name]) for one in (model, quantized)]
    pairs = ([np.maximum(s.run(None, {"image": image})[0], 0) for s in sessions] for image in IMAGES)
    return float(np.mean([np.square(one - other).mean() for one, other in pairs]))


def test_layers_of_a_net_come_nearer_to_fp32(model: onnx.ModelProto, ranges: Ranges) -> None:
    chosen = ranges.chosen("min-max")
    names = rounded_layers(model, chosen, COARSE)
    calls: list[int] = []

    assert names == [node.name for node in model.graph.node if node.op_type == "Conv"]
    names, floats = names[:6], frozenset(names[6:])

    found = adaptive_rounding(model, chosen, COARSE, IMAGES, steps=60, floats=floats, on_layer=lambda: calls.append(1))

    assert list(found) == names
    assert len(calls) == len(names)
    plain, learned = (to_int8(model, chosen, COARSE, rounded=rounded) for rounded in (None, found))
    assert first_error(model, learned) < 0.9 * first_error(model, plain)
    values = {t.name: numpy_helper.to_array(t) for t in learned.graph.initializer}
    nearest = {t.name: numpy_helper.to_array(t) for t in plain.graph.initializer}
    for name in names:
        assert (values[f"{name}/weight_quantized"] == found[name]).all()
        assert np.abs(found[name].astype(int) - nearest[f"{name}/weight_quantized"]).max() <= 1
        assert np.abs(found[name]).max() <= 7


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_seed_gives_the_same_integers(target: Target, model: onnx.ModelProto, ranges: Ranges) -> None:
    chosen = ranges.chosen("min-max")
    convolutions = rounded_layers(model, chosen, target)
    floats = frozenset(convolutions[2:])

    def learn(seed: int) -> dict[str, np.ndarray]:
        return adaptive_rounding(model, chosen, target, IMAGES[:3], steps=20, seed=seed, floats=floats)

    first, second, other = learn(1), learn(1), learn(2)
    assert list(first) == convolutions[:2]  # what stays in float is not rounded
    assert all((first[name] == second[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


def test_scales_are_those_that_the_writer_uses(model: onnx.ModelProto, ranges: Ranges) -> None:
    """A channel of tiny weights and a large bias has a coarser scale, and its integers are in steps of that."""
    biased = onnx.ModelProto()
    biased.CopyFrom(model)
    node = next(node for node in biased.graph.node if node.op_type == "Conv")
    constants = {t.name: t for t in biased.graph.initializer}
    weights, bias = (numpy_helper.to_array(constants[name]).copy() for name in node.input[1:])
    weights[0] *= 1e-8
    bias[0] = 90
    for name, array in zip(node.input[1:], (weights, bias), strict=True):
        constants[name].CopyFrom(numpy_helper.from_array(array, name))
    chosen = ranges.chosen("min-max")

    scales = written_scales(biased, chosen, COARSE, exact=input_steps(biased))

    quantized = to_int8(biased, chosen, COARSE)
    values = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    assert all((values[f"{name}/weight_scale"] == found).all() for name, found in scales.items())
    assert scales[node.name][0] > 10 * np.abs(weights[0]).max() / 7
    floats = frozenset(set(scales) - {node.name})
    found = adaptive_rounding(biased, chosen, COARSE, IMAGES[:2], steps=5, floats=floats)[node.name]
    nearest = quantize_weights(weights, scales[node.name], 0, COARSE)
    assert np.abs(found.astype(int) - nearest).max() <= 1


CLIPPED = """<ir_version: 8, opset_import: ["" : 17]>
    net (uint8[N, 72, 96, 3] image) => (uint8[N, 72, 96] labels) {
        planes = Transpose<perm = [0, 3, 1, 2]>(image)
        floats = Cast<to = 1>(planes)
        centred = Sub(floats, middle)
        x = Div(centred, scale)
        p = Conv<strides = [4, 4]>(x, stem)
        c = Clip(p, zero, top)
        q = Conv<auto_pad = "SAME_UPPER">(c, body)
        n = Neg(bias)
        r = Conv(q, head, n)
        s = Conv(r, head)
        k = Neg(top)
        d = Clip(s, k)
        full = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">(d, , scales)
        best = ArgMax<axis = 1, keepdims = 0>(full)
        labels = Cast<to = 2>(best)
    }"""


def clipped_net(spec: ModelSpec) -> onnx.ModelProto:
    """The contract with a ReLU6, a convolution that pads by itself, one whose bias is computed, and two that fit."""
    rng = np.random.default_rng(1)
    values = {
        "middle": np.full((), 128),
        "scale": np.full((), 64),
        "stem": rng.normal(0, 0.4, (11, 3, 4, 4)),
        "zero": np.zeros(()),
        "top": np.full((), 1),
        "body": rng.normal(0, 0.4, (11, 11, 3, 3)),
        "bias": rng.normal(size=11),
        "head": rng.normal(size=(11, 11, 1, 1)),
        "scales": np.array([1, 1, 4, 4]),
    }
    model = onnx.parser.parse_model(CLIPPED)
    model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items())
    write_spec(model, spec)
    return onnx.shape_inference.infer_shapes(model)


def test_what_does_not_fit_stays_rounded_to_nearest(tiny_model: Path) -> None:
    model = clipped_net(read_onnx_spec(tiny_model))
    chosen = observe(model, iter(IMAGES)).chosen("min-max")

    names = rounded_layers(model, chosen, COARSE)
    found = adaptive_rounding(model, chosen, COARSE, IMAGES, steps=100)

    assert names == list(found) == ["Conv_4", "Conv_9"]  # the writer's names: operator and place
    graphs = [to_int8(model, chosen, COARSE, rounded=rounded) for rounded in (None, found)]
    sessions = [open_session(one, ["p"]) for one in (model, *graphs)]
    outputs = [[np.clip(s.run(None, {"image": image})[0], 0, 1) for image in IMAGES] for s in sessions]
    errors = [np.square(np.subtract(one, outputs[0])).mean() for one in outputs]
    assert errors[2] < 0.95 * errors[1]


def test_a_net_in_float_has_nothing_to_round(model: onnx.ModelProto, ranges: Ranges) -> None:
    chosen = ranges.chosen("min-max")
    floats = frozenset(rounded_layers(model, chosen, COARSE))

    assert adaptive_rounding(model, chosen, COARSE, IMAGES, floats=floats) == {}


def test_without_pictures_there_is_nothing_to_learn_from(model: onnx.ModelProto, ranges: Ranges) -> None:
    with pytest.raises(DataError, match=r"no images to round weights by"):
        adaptive_rounding(model, ranges.chosen("min-max"), COARSE, [])


def test_without_pytorch(model: onnx.ModelProto, ranges: Ranges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edge-seg\[train\]'"):
        adaptive_rounding(model, ranges.chosen("min-max"), COARSE, IMAGES)
