"""Scales that FP16 holds: those below its least normal number are raised, and stored weights rounded again."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_seg.errors import ModelError
from edge_seg.export.fp16_scales import LEAST, fit_scales
from edge_seg.export.graph import read_graph

QDQ = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Conv(d, w)"
CONV = {"z": np.int8(0), "w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)}


def graph_of(body: str, constants: dict[str, Any]) -> onnx.ModelProto:
    """A graph that makes y from x, both float [N, 3, 6, 8]."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 3, 6, 8] x) => (float[N, 3, 6, 8] y) {{ {body} }}"""
    model: onnx.ModelProto = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return model


def test_a_graph_without_scales_is_told() -> None:
    assert not fit_scales(graph_of("y = Relu(x)", {}))


def small_steps(scales: np.ndarray, weights: np.ndarray) -> onnx.ModelProto:
    body = "wd = DequantizeLinear<axis = 0>(w, ws, wz) y = Conv(x, wd)"
    return graph_of(body, {"w": weights, "ws": scales, "wz": np.zeros(3, np.int8)})


def test_small_steps_of_weights_are_raised_and_weights_rounded_again() -> None:
    scales = np.array([0.1, LEAST / 3, 1e-10], np.float32)
    weights = np.array([[127, -5, 3], [127, -126, 1], [0, 0, 0]], np.int8).reshape(3, 3, 1, 1)
    model = small_steps(scales, weights)

    assert fit_scales(model)

    graph = read_graph(model)
    data, fitted = (graph.value(name) for name in graph.of("DequantizeLinear")[0].input[:2])
    assert fitted == pytest.approx([0.1, LEAST, LEAST])
    assert data.reshape(3, 3).tolist() == [[127, -5, 3], [42, -42, 0], [0, 0, 0]]
    lost = np.abs(data * fitted.reshape(3, 1, 1, 1) - weights * scales.reshape(3, 1, 1, 1))
    assert lost.max() <= LEAST / 2


def test_steps_of_a_tensor_of_zeros_are_raised() -> None:
    model = graph_of(QDQ, {**CONV, "s": np.float32(1e-10 / 127)})

    assert fit_scales(model)

    quantize, dequantize = read_graph(model).of("QuantizeLinear", "DequantizeLinear")
    assert quantize.input[1] == dequantize.input[1]
    assert read_graph(model).value(quantize.input[1]) == np.float32(LEAST)


def test_float_weights_behind_a_quantizer_get_the_step_alone() -> None:
    body = "q = QuantizeLinear<axis = 0>(w, ws, wz) wd = DequantizeLinear<axis = 0>(q, ws, wz) y = Conv(x, wd)"
    scales = np.array([0.1, LEAST / 3, 0.1], np.float32)
    model = graph_of(body, {"w": CONV["w"], "ws": scales, "wz": np.zeros(3, np.int8)})

    assert fit_scales(model)

    graph = read_graph(model)
    assert [graph.value(node.input[1])[1] for node in graph.of("QuantizeLinear", "DequantizeLinear")] == [LEAST] * 2
    assert graph.of("QuantizeLinear")[0].input[0] == "w"


def test_scales_that_do_not_fit_their_weights_are_told() -> None:
    weights = np.ones((3, 3, 1, 1), np.int8)

    with pytest.raises(ModelError, match=r"scales of w do not fit its shape"):
        fit_scales(small_steps(np.full(2, 1e-8, np.float32), weights))
