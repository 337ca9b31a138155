"""What lint says for OpenVINO, against the types of the graph that OpenVINO makes of the file."""

import platform
from collections.abc import Callable
from types import SimpleNamespace

import onnx
import pytest

from edge_seg.export.lint import find_goal, lint

Make = Callable[[SimpleNamespace], onnx.ModelProto]


@pytest.fixture(autouse=True)
def _vnni(cpu_flags: Callable[[str], None]) -> None:
    cpu_flags("fpu avx2 avx_vnni")


def rules_of(model: onnx.ModelProto) -> list[str]:
    return [finding.rule for finding in lint(model, find_goal("openvino"))]


def convolution_type(model: onnx.ModelProto) -> str:
    """The type that OpenVINO runs the only convolution in."""
    ov = pytest.importorskip("openvino")
    graph = ov.Core().read_model(model.SerializeToString())
    graph.reshape([1, *(size.get_length() for size in list(graph.input().partial_shape)[1:])])
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    notes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    types = [n["runtimePrecision"].astype(str) for n in notes if n["layerType"].astype(str) == "Convolution"]
    (kind,) = types
    return str(kind)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="INT8 of x86")
@pytest.mark.parametrize(
    "make",
    [
        lambda nets: nets.for_tensorrt(),
        lambda nets: nets.behind([("Relu", ["c"], "y", {})]),
        lambda nets: nets.for_cpu(),
        lambda nets: nets.for_cpu(out_zero=10),
        lambda nets: nets.clipped(0.1),
        lambda nets: nets.float_weights(),
    ],
)
def test_openvino_runs_in_float_what_lint_says(make: Make, nets: SimpleNamespace) -> None:
    model = make(nets)

    assert ("float-convolution" in rules_of(model)) == (convolution_type(model) == "f32")


def test_files_of_its_dialects_have_no_finding(nets: SimpleNamespace) -> None:
    assert rules_of(nets.for_tensorrt()) == []
    assert rules_of(nets.for_cpu()) == []
    assert rules_of(nets.for_tensorrt(opset=23, ir=11)) == []


def narrow(nets: SimpleNamespace, zero: object) -> onnx.ModelProto:
    """A convolution of 4 channels in float before one in INT8, whose activations have the zero point `zero`."""
    steps, constants = nets.tensorrt_parts(v=nets.WEIGHTS[:, :4], z=zero)
    steps[0] = ("QuantizeLinear", ["n", "s", "z"], "q", {})
    first = ("Conv", ["x", "v"], "n", nets.PADS)
    model: onnx.ModelProto = nets.build([first, *steps], constants, {"x": (1, ["N", 4, 8, 8])})
    return model


def test_a_narrow_convolution_in_float_is_on_purpose_in_one_dialect_alone(nets: SimpleNamespace) -> None:
    assert rules_of(narrow(nets, nets.np.int8(0))) == []
    assert rules_of(narrow(nets, nets.np.uint8(100))) == ["float-convolution"]


def test_a_finding_names_openvino(nets: SimpleNamespace) -> None:
    goal = find_goal("openvino")
    (finding,) = lint(nets.float_weights(), goal)

    assert (goal.label, goal.runtime) == ("openvino", "OpenVINO")
    assert finding.fix.endswith("quantize MODEL --target openvino")


def test_without_vnni_weights_of_8_bits_are_refused(nets: SimpleNamespace, cpu_flags: Callable[[str], None]) -> None:
    cpu_flags("fpu avx2")

    assert rules_of(nets.for_cpu()) == ["eight-bit-weights"]
    assert rules_of(nets.for_cpu(weights=nets.INT8_WEIGHTS // nets.np.int8(2))) == []
