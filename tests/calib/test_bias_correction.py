"""Corrected biases: the means of INT8 become those of FP32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.calib.bias_correction import channel_means, correct_biases, corrected_layers
from edge_seg.calib.qdq import write_qdq
from edge_seg.calib.quantize import to_int8
from edge_seg.calib.ranges import observe
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError
from edge_seg.export.target import find_target

IMAGES = [frame.image[None] for frame in Drive(5, 96, 72, 6)]
PICTURES: list[Any] = [np.random.default_rng(n).normal(0.3, 1, (1, 8, 6, 10)).astype(np.float32) for n in range(4)]
COARSE = find_target("x86-novnni")

Write = Callable[[onnx.ModelProto], onnx.ModelProto]


def mean_errors(model: onnx.ModelProto, quantized: onnx.ModelProto) -> list[float]:
    """Mean |difference of the channels' means| of each layer that is not zero, in shares of their mean size."""
    axes = {node.output[0]: 1 for node in weighted(model)}
    wanted, found = (channel_means(one, axes, IMAGES) for one in (model, quantized))
    sizes = {name: float(np.abs(means).mean()) for name, means in wanted.items()}
    return [float(np.abs(found[n] - wanted[n]).mean() / size) for n, size in sizes.items() if size]


def weighted(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]


def test_means_of_a_coarse_net_become_those_of_fp32(tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    ranges = observe(model, iter(IMAGES)).chosen("min-max")
    calls: list[int] = []

    def write(one: onnx.ModelProto) -> onnx.ModelProto:
        return to_int8(one, ranges, COARSE)

    corrected = correct_biases(model, write, IMAGES, on_layer=lambda: calls.append(1))

    before, after = (mean_errors(model, write(one)) for one in (model, corrected))
    assert len(calls) == len(corrected_layers(model)) == len(weighted(model))
    assert min(before) > 0.001
    assert max(after) < 0.001


def net(body: str, rank: str = "8, 6, 10") -> onnx.ModelProto:
    """image [1, 8, 6, 10] through `body` to y, with weights of few channels and biases."""
    rng = np.random.default_rng(3)
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 8, 6, 10] image) => (float[N, {rank}] y) {{ x = Relu(image) {body} }}"""
    )
    values = {"w": rng.normal(size=(8, 8, 1, 1)), "m": rng.normal(size=(8, 8)), "b": rng.normal(size=8)}
    model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items())
    return model


CORRECTED = {
    "no bias": ("c = Conv(x, w) y = Relu(c)", "8, 6, 10"),
    "shared bias": ("c = Conv(x, w, b) r = Relu(c) y = Conv(r, w, b)", "8, 6, 10"),
    "transposed": ("c = ConvTranspose(x, w) y = Relu(c)", "8, 6, 10"),
    "matmul": ("t = Transpose<perm = [0, 2, 3, 1]>(x) p = MatMul(t, m) y = Add(p, b)", "6, 10, 8"),
    "matmul, bias first": ("t = Transpose<perm = [0, 2, 3, 1]>(x) p = MatMul(t, m) y = Add(b, p)", "6, 10, 8"),
    "gemm": ("g = GlobalAveragePool(x) f = Flatten(g) y = Gemm(f, m, b)", "8"),
}
LEFT = {
    "matmul alone": ("t = Transpose<perm = [0, 2, 3, 1]>(x) y = MatMul(t, m)", "6, 10, 8"),
    "a sum of two": ("t = Transpose<perm = [0, 2, 3, 1]>(x) p = MatMul(t, m) y = Add(p, t)", "6, 10, 8"),
    "half a bias": ("g = GlobalAveragePool(x) f = Flatten(g) y = Gemm<beta = 0.5>(f, m, b)", "8"),
    "a computed bias": ("n = Neg(b) y = Conv(x, w, n)", "8, 6, 10"),
}


def writer(model: onnx.ModelProto) -> Write:
    ranges = observe(model, iter(PICTURES)).chosen("min-max")
    return lambda one: write_qdq(one, ranges, COARSE)


@pytest.mark.parametrize("name", CORRECTED)
def test_each_kind_of_bias(name: str) -> None:
    model = net(*CORRECTED[name])
    write = writer(model)

    corrected = correct_biases(model, write, PICTURES)

    onnx.checker.check_model(corrected, full_check=True)
    sums = {node.output[0] for node in model.graph.node if node.op_type == "Add"}
    axes = dict.fromkeys(sums, -1) or {node.output[0]: 1 for node in weighted(model)}
    wanted = channel_means(model, axes, PICTURES)
    errors = []
    for one in (model, corrected):
        found = channel_means(write(one), axes, PICTURES)
        errors.append(max(float(np.abs(found[tensor] - wanted[tensor]).max()) for tensor in axes))
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize("name", LEFT)
def test_what_has_no_bias_to_change_is_left_alone(name: str) -> None:
    model = net(*LEFT[name])

    assert corrected_layers(model) == []
    assert [n.input for n in correct_biases(model, writer(model), PICTURES).graph.node] == [
        n.input for n in model.graph.node
    ]


def test_a_corrected_graph_can_be_corrected_again() -> None:
    model = net(*CORRECTED["shared bias"])
    write = writer(model)
    corrected = correct_biases(model, write, PICTURES)

    again = correct_biases(corrected, write, PICTURES)

    names = [t.name for t in again.graph.initializer]
    assert sorted(names) == ["c/bias", "w", "y/bias"]
    onnx.checker.check_model(again, full_check=True)
    wanted, found = (channel_means(one, {"y": 1}, PICTURES)["y"] for one in (corrected, write(again)))
    assert found == pytest.approx(wanted, abs=1e-3)


def test_a_bias_of_an_empty_name_is_none() -> None:
    model = net(*CORRECTED["no bias"])
    next(node for node in model.graph.node if node.op_type == "Conv").input.append("")

    convolution = next(n for n in correct_biases(model, writer(model), PICTURES).graph.node if n.op_type == "Conv")
    assert list(convolution.input) == ["x", "w", "c/bias"]


def test_the_model_that_was_given_stays() -> None:
    model = net(*CORRECTED["no bias"])
    before = model.SerializeToString()

    corrected = correct_biases(model, writer(model), PICTURES)

    assert model.SerializeToString() == before
    assert [len(node.input) for node in corrected.graph.node if node.op_type == "Conv"] == [3]


def test_without_pictures_there_is_nothing_to_correct_by() -> None:
    model = net(*CORRECTED["no bias"])
    with pytest.raises(DataError, match=r"no images to correct biases by"):
        correct_biases(model, lambda one: one, [])
