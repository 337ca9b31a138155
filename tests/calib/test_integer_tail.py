"""The end of the INT8 graphs: whole numbers that give the labels of bilinear up-sampling and argmax."""

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_seg.calib.integer_tail import bilinear_taps, use_integer_tail
from edge_seg.runners.openvino_tail import lay_tail_by_pixels
from edge_seg.runners.ort_runner import untimed_options


@pytest.mark.parametrize("factor", [2, 4, 6, 8])
def test_taps_are_those_of_bilinear_interpolation(factor: int) -> None:
    row = np.random.default_rng(0).integers(0, 256, 9).astype(np.float64)
    centres = (np.arange(9 * factor) + 0.5) / factor - 0.5
    expected = np.interp(centres, np.arange(9), row)

    padded = np.pad(row, 1, mode="edge")
    windows = np.stack([padded[i : i + 9] for i in range(3)], axis=1)
    found = (windows @ bilinear_taps(factor).astype(np.float64).T / (2 * factor)).ravel()

    assert found == pytest.approx(expected)


def float_tail(classes: int, factor: float) -> onnx.ModelProto:
    """Logits [N, C, 6, 8] -> Q/DQ -> bilinear Resize -> ArgMax -> labels, as the quantizer leaves it."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        tail (float[N, {classes}, 6, 8] logits) => (uint8[N, {int(6 * factor)}, {int(8 * factor)}] labels)
        <float scale = {{0.1}}, uint8 zero = {{100}}, float[4] scales = {{1.0, 1.0, {factor}, {factor}}}> {{
            q = QuantizeLinear(logits, scale, zero)
            d = DequantizeLinear(q, scale, zero)
            u = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">(d, , scales)
            a = ArgMax<axis = 1, keepdims = 0>(u)
            labels = Cast<to = 2>(a)
        }}"""
    return onnx.parser.parse_model(text)


@pytest.mark.parametrize(("classes", "factor"), [(11, 4), (2, 4), (1, 2), (16, 2), (19, 6), (250, 6)])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_integer_tail_gives_the_float_tails_labels(classes: int, factor: int, runtime: str) -> None:
    rng = np.random.default_rng(classes)
    logits = rng.normal(scale=4, size=(2, classes, 6, 8)).astype(np.float32)
    before, after = float_tail(classes, factor), float_tail(classes, factor)

    assert use_integer_tail(after)

    onnx.checker.check_model(after, full_check=True)
    expected, found = run(before, logits, "onnxruntime"), run(after, logits, runtime)
    assert found.shape == expected.shape
    # Equal but where two classes are equal to the last bit of float32, which rounds and integers do not.
    assert (found == expected).mean() > 0.995


@pytest.mark.parametrize(("classes", "factor"), [(11, 4), (1, 2), (250, 6)])
@pytest.mark.parametrize("opset", [17, 18])
def test_by_pixels_the_integer_tail_gives_the_same_labels(classes: int, factor: int, opset: int) -> None:
    logits = np.random.default_rng(classes).normal(scale=4, size=(2, classes, 6, 8)).astype(np.float32)
    model = float_tail(classes, factor)
    model.opset_import[0].version = opset
    assert not lay_tail_by_pixels(model)
    use_integer_tail(model)
    expected = run(model, logits, "onnxruntime")

    assert lay_tail_by_pixels(model)

    onnx.checker.check_model(model, full_check=True)
    for runtime in ("onnxruntime", "openvino"):
        assert np.array_equal(run(model, logits, runtime), expected)
    assert not lay_tail_by_pixels(model)


def test_a_tail_that_was_altered_is_not_laid_by_pixels() -> None:
    """Constants that are nodes, as a converter of opsets makes them."""
    model = float_tail(11, 4)
    use_integer_tail(model)
    sizes = next(tensor for tensor in model.graph.initializer if tensor.name == "tail/by_sub_pixel")
    model.graph.node.insert(0, helper.make_node("Constant", [], [sizes.name], value=sizes))
    model.graph.initializer.remove(sizes)
    before = model.SerializeToString()

    assert not lay_tail_by_pixels(model)
    assert model.SerializeToString() == before


def test_equal_logits_give_the_lowest_class() -> None:
    model = float_tail(5, 4)
    use_integer_tail(model)

    assert not run(model, np.zeros((1, 5, 6, 8), np.float32), "onnxruntime").any()


@pytest.mark.parametrize(("classes", "factor"), [(11, 3), (11, 1.5), (11, 8)])
def test_a_tail_that_would_not_be_exact_is_left_alone(classes: int, factor: float) -> None:
    model = float_tail(classes, factor)

    assert not use_integer_tail(model)
    assert model == float_tail(classes, factor)


def run(model: onnx.ModelProto, logits: np.ndarray, runtime: str) -> np.ndarray:
    if runtime == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(
            model.SerializeToString(), untimed_options(), providers=["CPUExecutionProvider"]
        )
        return np.asarray(session.run(None, {"logits": logits})[0])
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return np.asarray(compiled(logits)[0])
