"""Layers of two models side by side: against a plain run, and faults put into one layer that must be found there."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edge_seg.data.drive import Drive
from edge_seg.export.divergence import LayerParity, compare_layers
from edge_seg.export.verify import LAYER_IMAGES, verify
from edge_seg.runners.contract import read_onnx_spec, write_spec
from edge_seg.spec import ModelSpec

DRIVE = Drive(5, 96, 72, 6)
ORT = ("onnxruntime", "onnxruntime")
IMAGES = [frame.image[None] for frame in DRIVE]


def set_weights(model: onnx.ModelProto, layer: str, factor: float) -> None:
    """Multiply the weights of a node by a factor, quantized ones too."""
    makers = {name: node for node in model.graph.node for name in node.output}
    tensor = next(node for node in model.graph.node if layer in (node.name, node.output[0])).input[1]
    if tensor in makers:
        tensor = makers[tensor].input[0]
    stored = next(t for t in model.graph.initializer if t.name == tensor)
    values = numpy_helper.to_array(stored)
    stored.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), tensor))


def rename(model: onnx.ModelProto) -> None:
    """Give every tensor a number for a name and every node none, as some exporters do."""
    names = {"image": "image", "labels": "labels", "": ""}
    for values in [[t.name for t in model.graph.initializer], *(node.output for node in model.graph.node)]:
        for name in values:
            names.setdefault(name, str(len(names)))
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.name = ""
        for field in (node.input, node.output):
            field[:] = [names[name] for name in field]
    del model.graph.value_info[:]


def test_layers_of_int8_are_found_by_name_and_as_far_apart_as_a_plain_run_says(
    tiny_model: Path, tiny_int8_model: Path
) -> None:
    pytest.importorskip("torch")  # without it the tiny net quantizes no layer's output
    layers = compare_layers(tiny_model, tiny_int8_model, IMAGES[:2])

    convolutions = [node.name for node in onnx.load(tiny_model).graph.node if node.op_type == "Conv"]
    assert [layer.name for layer in layers] == [layer.name_b for layer in layers] == convolutions
    assert {layer.matched for layer in layers} == {"name"}
    made = {name for node in onnx.load(tiny_int8_model).graph.node for name in node.output}
    alive = [layer for layer in layers if math.isfinite(layer.sqnr_db)]  # an untrained residual branch ends in zeros
    for layer in (alive[0], alive[len(alive) // 2]):
        tensor = reached(tiny_model, layer.name, made)
        exact = plain_values(tiny_model, tensor)
        noise = exact - plain_values(tiny_int8_model, DEQUANTIZED.format(tensor))
        # The plain run computes in float what the integer kernels round.
        assert layer.sqnr_db == pytest.approx(10 * np.log10((exact**2).sum() / (noise**2).sum()), abs=0.3)


DEQUANTIZED = "{}_DequantizeLinear_Output"
"""What the INT8 graph makes of a tensor that is quantized, whether or not the ReLU that made it is still there."""


def reached(path: Path, layer: str, made: set[str]) -> str:
    """The tensor behind a layer of the FP32 graph that the INT8 graph dequantizes: its ReLU's output or its own."""
    graph = onnx.load(path).graph
    output = next(node for node in graph.node if node.name == layer).output[0]
    behind = [name for node in graph.node if output in (*node.input, *node.output) for name in node.output]
    return next(name for name in behind if DEQUANTIZED.format(name) in made)


def plain_values(path: Path, tensor: str) -> np.ndarray:
    """The values of a tensor over two images, computed operator by operator."""
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image})[1] for image in IMAGES[:2]]).astype(np.float64)


def test_the_layer_with_the_fault_is_the_first_that_diverges(
    tiny_model: Path, tiny_int8_model: Path, changed: Callable[..., Path]
) -> None:
    sound = verify(str(tiny_model), str(tiny_int8_model), DRIVE)
    assert sound.layers is not None
    fault = len(sound.layers) // 2
    threshold = min(layer.sqnr_db for layer in sound.layers) - 1
    bad = changed(tiny_int8_model, lambda model: set_weights(model, sound.layers[fault].name, 0))

    found = verify(str(tiny_model), str(bad), DRIVE, threshold_db=threshold)

    assert verify(str(tiny_model), str(tiny_int8_model), DRIVE, threshold_db=threshold).first_divergent is None
    assert found.first_divergent is not None
    assert found.first_divergent.name == sound.layers[fault].name
    assert found.first_divergent.sqnr_db < threshold
    assert found.parity.agreement < sound.parity.agreement
    assert found.to_dict()["first_divergent"] == sound.layers[fault].name


def test_the_layers_are_compared_on_the_images_that_agree_least(tiny_model: Path, tiny_int8_model: Path) -> None:
    found = verify(str(tiny_model), str(tiny_int8_model), DRIVE, images=LAYER_IMAGES + 1)

    assert [image.index for image in found.parity.images] == [0, 1, 2, 4, 5]
    least = sorted(found.parity.images, key=lambda image: image.agreement)[:LAYER_IMAGES]
    assert found.layers == tuple(compare_layers(tiny_model, tiny_int8_model, [IMAGES[i.index] for i in least]))


def test_layers_without_common_names_are_matched_by_order(tiny_model: Path, changed: Callable[..., Path]) -> None:
    layers = compare_layers(tiny_model, changed(tiny_model, rename), IMAGES[:1])

    assert len(layers) == sum(node.op_type == "Conv" for node in onnx.load(tiny_model).graph.node)
    assert {(layer.matched, layer.sqnr_db) for layer in layers} == {("order", math.inf)}
    assert all(layer.name_b.isdigit() for layer in layers)


def test_values_that_are_not_finite_diverge(tiny_model: Path, changed: Callable[..., Path]) -> None:
    last = [node.name for node in onnx.load(tiny_model).graph.node if node.op_type == "Conv"][-1]
    bad = changed(tiny_model, lambda model: set_weights(model, last, math.inf))

    layers = compare_layers(tiny_model, bad, IMAGES[:1])

    assert [layer.name for layer in layers if layer.diverges(-1000)] == [last]
    assert math.isnan(layers[-1].sqnr_db)


SIDE = """<ir_version: 8, opset_import: ["" : 17]>
    side (uint8[N, 72, 96, 3] image) => (uint8[N, 72, 96] labels)
    <float[3, 3] square = {{1, 2, 3, 4, 5, 6, 7, 8, 9}}, float[2, 3, 1, 1] kernel = {{1, 2, 3, 4, 5, 6}},
     float step = {{32}}, float low = {{0}}, float six = {{6}}> {{
        x = Cast<to = 1>(image)
        m = ReduceMax<axes = [3], keepdims = 0>(x)
        d = Div(m, step)
        labels = Cast<to = 2>(d)
        p = Transpose<perm = [0, 3, 1, 2]>(x)
        c = Conv<{conv}>(p, kernel)
        r = Clip(c, low, six)
        w = Constant<value = float[3, 2] {{1, 2, 3, 4, 5, 6}}>()
        one = MatMul(x, square)
        two = MatMul(x, w)
        t = Transpose<perm = [0, 1, 3, 2]>(x)
        attention = MatMul(x, t)
        shown = Add(r, r)
    }}"""
"""Labels by brightness, and beside them layers of several kinds: of those, only `attention` has no weights."""


def write_side(path: Path, conv: str, spec: ModelSpec) -> Path:
    model = onnx.parser.parse_model(SIDE.format(conv=conv))
    write_spec(model, spec)
    onnx.save_model(model, path)
    return path


def test_every_weighted_operator_is_a_layer(tiny_model: Path, tmp_path: Path, changed: Callable[..., Path]) -> None:
    a = write_side(tmp_path / "a.onnx", "kernel_shape = [1, 1]", read_onnx_spec(tiny_model))
    # Beyond the clipping value nothing is left of the difference.
    b = changed(a, lambda model: set_weights(model, "c", 2))

    layers = compare_layers(a, b, [np.full((1, 72, 96, 3), 200, np.uint8)])

    assert [(layer.name, layer.sqnr_db) for layer in layers] == [("c", math.inf), ("one", math.inf), ("two", math.inf)]
    dark = compare_layers(a, b, [np.full((1, 72, 96, 3), 0, np.uint8)])
    assert dark[0].to_dict(10) == {"name": "c", "b": "c", "matched": "name", "sqnr_db": None, "diverges": False}


def test_layers_of_other_shapes_diverge(tiny_model: Path, tmp_path: Path) -> None:
    spec = read_onnx_spec(tiny_model)
    a, b = (write_side(tmp_path / f"{n}.onnx", f"strides = [{n}, {n}]", spec) for n in (1, 2))

    found = verify(str(a), str(b), DRIVE, runtimes=ORT)

    assert found.parity.agreement == 1
    assert found.first_divergent is not None
    assert found.first_divergent.name == "c"
    assert found.to_dict()["layers"][0] == {
        "name": "c",
        "b": "c",
        "matched": "name",
        "sqnr_db": None,
        "diverges": True,
    }


def test_two_nets_have_no_layer_in_common(tiny_model: Path, tmp_path: Path) -> None:
    other = write_side(tmp_path / "side.onnx", "kernel_shape = [1, 1]", read_onnx_spec(tiny_model))

    found = verify(str(tiny_model), str(other), DRIVE, runtimes=ORT)

    assert found.layers is None
    assert found.first_divergent is None
    assert "No layer of A has a counterpart in B" in found.no_layers


def test_a_layer_is_judged_by_the_threshold() -> None:
    layer = LayerParity("a", "b", "order", 12.5)

    assert [layer.diverges(threshold) for threshold in (12.5, 12.6)] == [False, True]
    assert layer.to_dict(10)["sqnr_db"] == 12.5
