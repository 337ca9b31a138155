"""Equalised graphs: the same function, alike ranges, and less lost in INT8."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edge_seg.calib.equalisation import DEAD, by_input_channel, equalise, find_pairs
from edge_seg.calib.placement import Graph
from edge_seg.calib.quantize import to_int8
from edge_seg.calib.ranges import hash_of, observe
from edge_seg.data.drive import Drive
from edge_seg.export.target import find_target
from edge_seg.runners.ort_runner import untimed_options
from edge_seg.weights import find_model

IMAGES = [frame.image[None] for frame in Drive(6, 96, 72, 6)]
X86 = find_target("onnxruntime-x86")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> onnx.ModelProto:
    return onnx.load(tiny_model)


def run(model: onnx.ModelProto, name: str, value: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), untimed_options(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {name: value})[0])


def labels(model: onnx.ModelProto, images: list[np.ndarray]) -> np.ndarray:
    return np.stack([run(model, "image", image) for image in images])


def net(body: str, groups: int = 1, shape: str = "8, 8, 12") -> onnx.ModelProto:
    """x [1, 8, 8, 12] through `body` to y, with weights a, c [8, 8, 3, 3] and b [8, 8 / groups, 3, 3], and biases."""
    rng = np.random.default_rng(3)
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 8, 8, 12] x) => (float[N, {shape}] y) {{ {body} }}"""
    )
    uneven = np.logspace(-2, 2, 8).reshape(-1, 1, 1, 1)
    values = {
        "a": rng.normal(size=(8, 8, 3, 3)) * uneven,
        "ab": rng.normal(size=8),
        "b": rng.normal(size=(8, 8 // groups, 3, 3)),
        "bb": rng.normal(size=8),
        "c": rng.normal(size=(8, 8, 3, 3)) / uneven.reshape(1, -1, 1, 1),
        "zero": np.zeros(()),
        "six": np.full((), 6.0),
    }
    model.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), k) for k, v in values.items())
    return model


PADS = "pads = [1, 1, 1, 1]"
PAIRS = {
    "relu": (f"p = Conv<{PADS}>(x, a, ab) r = Relu(p) y = Conv<{PADS}>(r, b, bb)", 1, 1),
    "nothing between, no bias": (f"p = Conv<{PADS}>(x, a) y = Conv<{PADS}>(p, b)", 1, 1),
    "depthwise": (
        f"p = Conv<{PADS}>(x, a, ab) r = Relu(p) d = Conv<{PADS}, group = 8>(r, b, bb) s = Relu(d) "
        f"y = Conv<{PADS}>(s, c, ab2)",
        8,
        2,
    ),
    "two groups": (f"p = Conv<{PADS}>(x, a, ab) r = Relu(p) y = Conv<{PADS}, group = 2>(r, b, bb)", 2, 1),
}
LEFT = {
    "relu6": f"p = Conv<{PADS}>(x, a, ab) r = Clip(p, zero, six) y = Conv<{PADS}>(r, b, bb)",
    "another reader": f"p = Conv<{PADS}>(x, a, ab) r = Relu(p) q = Conv<{PADS}>(r, b, bb) y = Add(q, r)",
    "an output between": f"p = Conv<{PADS}>(x, a, ab) y = Relu(p) q = Conv<{PADS}>(y, b, bb)",
    "shared weights": f"p = Conv<{PADS}>(x, a, ab) r = Relu(p) y = Conv<{PADS}>(r, a, bb)",
    "shared bias": f"p = Conv<{PADS}>(x, a, ab) r = Relu(p) y = Conv<{PADS}>(r, b, ab)",
    "computed weights": f"w = Neg(b) p = Conv<{PADS}>(x, a, ab) r = Relu(p) y = Conv<{PADS}>(r, w, bb)",
    "weights from the tensor": f"p = Conv<{PADS}>(x, a, ab) y = Conv<{PADS}>(x, p)",
    "a sum": f"p = Conv<{PADS}>(x, a, ab) r = Relu(p) y = Add(r, x)",
}


def built(name: str) -> onnx.ModelProto:
    body, groups, _ = PAIRS[name]
    model = net(body, groups)
    model.graph.initializer.append(numpy_helper.from_array(np.arange(8, dtype=np.float32), "ab2"))
    return model


@pytest.mark.parametrize("name", PAIRS)
def test_the_function_stays_and_the_ranges_become_alike(name: str) -> None:
    model = built(name)
    x = np.random.default_rng(4).normal(size=(2, 8, 8, 12)).astype(np.float32)

    equalised, changed = equalise(model)

    assert changed == PAIRS[name][2]
    expected = run(model, "x", x)
    assert run(equalised, "x", x) == pytest.approx(expected, abs=2e-5 * float(np.abs(expected).max()))
    graph = Graph(equalised)
    for first, second in find_pairs(graph):
        made, read = (numpy_helper.to_array(graph.constants[node.input[1]]) for node in (first, second))
        groups = next((a.i for a in second.attribute if a.name == "group"), 1)
        most = np.abs(made.reshape(8, -1)).max(1)
        assert np.abs(by_input_channel(read, groups)).max((1, 3)).ravel() == pytest.approx(most, rel=5e-3)


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_scaled_is_left_alone(name: str) -> None:
    model = net(LEFT[name], shape="8, 8, 12" if name != "weights from the tensor" else "N, 3, 3")

    equalised, changed = equalise(model)

    assert changed == 0
    assert equalised == model


def test_channels_of_zeros_are_left_alone() -> None:
    model = built("relu")
    values = {t.name: t for t in model.graph.initializer}
    made, read = (numpy_helper.to_array(values[name]).copy() for name in ("a", "b"))
    made[0], read[:, 1], made[2] = 0, 0, made[7] * DEAD / 1e3
    values["a"].CopyFrom(numpy_helper.from_array(made, "a"))
    values["b"].CopyFrom(numpy_helper.from_array(read, "b"))

    equalised, changed = equalise(model)

    found = {t.name: numpy_helper.to_array(t) for t in equalised.graph.initializer}
    assert changed == 1
    assert (found["a"][:3] == made[:3]).all() and (found["b"][:, :3] == read[:, :3]).all()
    assert not np.array_equal(found["a"][3:], made[3:])
    x = np.random.default_rng(4).normal(size=(1, 8, 8, 12)).astype(np.float32)
    expected = run(model, "x", x)
    assert run(equalised, "x", x) == pytest.approx(expected, abs=2e-5 * float(np.abs(expected).max()))


def test_labels_of_a_real_graph_stay(model: onnx.ModelProto) -> None:
    equalised, changed = equalise(model)

    assert changed > 0
    assert (labels(equalised, IMAGES) == labels(model, IMAGES)).mean() > 0.999  # rounding moves a tie now and then
    onnx.checker.check_model(equalised, full_check=True)


def test_one_graph_gives_one_file_and_a_second_time_changes_nothing(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()

    first, _ = equalise(model)
    second, _ = equalise(model)
    again, changed = equalise(first)

    assert model.SerializeToString() == before
    assert first.SerializeToString() == second.SerializeToString()
    assert hash_of(first) != hash_of(model)
    assert (again, changed) == (first, 0)


def test_a_badly_scaled_net_loses_less_in_int8() -> None:
    """Every other channel a hundred times as large, and read a hundredth: the others get few levels of the tensor."""
    model = onnx.load(find_model("edge-seg-n-fp32"))
    calibrated, checked = ([frame.image[None] for frame in Drive(seed, frames=3)] for seed in (5, 6))
    uneven = onnx.ModelProto()
    uneven.CopyFrom(model)
    graph = Graph(uneven)
    for first, second in find_pairs(graph):
        for name, axis, factor in ((second.input[1], 1, 0.01), *((name, 0, 100) for name in first.input[1:])):
            values = np.moveaxis(numpy_helper.to_array(graph.constants[name]).copy(), axis, 0)
            values[::2] *= factor
            graph.constants[name].CopyFrom(numpy_helper.from_array(np.moveaxis(values, 0, axis), name))
    expected = labels(model, checked)
    assert (labels(uneven, checked) == expected).mean() > 0.999

    agreements = []
    for one in (uneven, equalise(uneven)[0]):
        ranges = observe(one, iter(calibrated)).chosen("min-max")
        agreements.append((labels(to_int8(one, ranges, X86), checked) == expected).mean())

    assert agreements[0] < 0.98 < 0.99 < agreements[1]
