"""Every rule of lint has a graph that trips it and one that does not."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edge_seg.errors import ModelError
from edge_seg.export.graph import multiplications, read_graph
from edge_seg.export.lint import RULES, SEVERITIES, find_goal, lint
from edge_seg.export.lint_fix import FIXES
from edge_seg.export.target import TARGETS
from edge_seg.export.tensorrt_support import MOST_OPSET

Make = Callable[[SimpleNamespace], onnx.ModelProto]
TRT, X86, NOVNNI, ARM = "tensorrt", "onnxruntime-x86", "x86-novnni", "onnxruntime-arm"


def clean(nets: SimpleNamespace) -> onnx.ModelProto:
    model: onnx.ModelProto = nets.for_tensorrt()
    return model


CASES: dict[tuple[str, str], tuple[Make, Make]] = {
    ("opset", TRT): (lambda nets: nets.for_tensorrt(opset=18), clean),
    ("opset", X86): (lambda nets: nets.for_cpu(opset=12), lambda nets: nets.for_cpu(opset=22, ir=10)),
    ("ir-version", X86): (lambda nets: nets.for_cpu(ir=11), lambda nets: nets.for_cpu(ir=10)),
    ("operator", TRT): (lambda nets: nets.one("BitShift", inputs=2), lambda nets: nets.one("Relu")),
    ("external-data", X86): (lambda nets: nets.external(nets.for_cpu()), lambda nets: nets.for_cpu()),
    ("dynamic-size", TRT): (lambda nets: nets.free_height(), clean),
    ("scale", TRT): (
        lambda nets: nets.for_tensorrt(s=np.float32(0)),
        lambda nets: nets.for_tensorrt(s=np.float32(1e-9)),
    ),
    ("fp16-scale", TRT): (lambda nets: nets.for_tensorrt(s=np.float16(0.05)), clean),
    ("eight-bit-weights", NOVNNI): (
        lambda nets: nets.for_cpu(),
        lambda nets: nets.for_cpu(weights=(nets.INT8_WEIGHTS // 2).astype(np.int8)),
    ),
    ("uint8-activations", TRT): (lambda nets: nets.for_tensorrt(z=np.uint8(0)), clean),
    ("uint8-activations", ARM): (lambda nets: nets.for_cpu(), lambda nets: nets.for_cpu(kind=np.int8)),
    ("activation-zero-point", TRT): (lambda nets: nets.for_tensorrt(z=np.int8(3)), clean),
    ("quantized-type", TRT): (
        lambda nets: nets.of_type(TensorProto.INT16),
        lambda nets: nets.of_type(TensorProto.INT8),
    ),
    ("per-channel-activations", TRT): (
        lambda nets: nets.for_tensorrt(s=nets.SCALES, z=np.zeros(nets.CHANNELS, np.int8)),
        clean,
    ),
    ("weight-zero-point", TRT): (
        lambda nets: nets.for_tensorrt(wz=np.ones(nets.CHANNELS, np.int8)),
        clean,
    ),
    ("weight-axis", TRT): (lambda nets: nets.weight_axis(1), lambda nets: nets.weight_axis(-4)),
    ("zero-point-missing", TRT): (lambda nets: nets.without_zero_point(), clean),
    ("int32-bias", TRT): (lambda nets: nets.with_bias(integer=True), lambda nets: nets.with_bias(integer=False)),
    ("int8-constant", TRT): (lambda nets: nets.stored_int8(), clean),
    ("uint8-inside", TRT): (
        lambda nets: nets.tidy_ends(nets.UINT8_FIRST, nets.CAST_LAST),
        lambda nets: nets.tidy_ends(nets.FLOAT_FIRST, nets.BY_WAY_OF_FLOAT),
    ),
    ("integer-argmax", TRT): (
        lambda nets: nets.argmax_of(TensorProto.INT32),
        lambda nets: nets.argmax_of(TensorProto.FLOAT16),
    ),
    ("resize-mode", TRT): (lambda nets: nets.resize(mode="cubic"), lambda nets: nets.resize(mode="linear")),
    ("integer-tail", TRT): (lambda nets: nets.named("tail/"), lambda nets: nets.named("tailor/")),
    ("float-convolution", TRT): (lambda nets: nets.float_weights(), clean),
    ("float-matrix-product", X86): (
        lambda nets: nets.behind([("MatMul", ["c", "k"], "y", {})], {"k": np.ones((8, 8), np.float32)}),
        lambda nets: nets.behind([("MatMul", ["c", "c"], "y", {})]),  # attention's
    ),
    ("not-quantized", TRT): (lambda nets: nets.one("Relu"), clean),
    ("int8-activations", X86): (lambda nets: nets.for_cpu(kind=np.int8), lambda nets: nets.for_cpu()),
    ("concat-scales", TRT): (lambda nets: nets.concat(0.1), lambda nets: nets.concat(0.05)),
    ("residual-branch", TRT): (
        lambda nets: nets.residual(branch=True, identity=True),
        lambda nets: nets.residual(branch=False, identity=True),
    ),
    ("quantized-in-vain", TRT): (lambda nets: nets.gated("Sigmoid"), lambda nets: nets.gated("Relu")),
    ("small-convolution", TRT): (lambda nets: nets.small(15), lambda nets: nets.depthwise()),
    ("double-quantization", TRT): (lambda nets: nets.twice(0.1), clean),
    ("per-tensor-weights", TRT): (
        lambda nets: nets.for_tensorrt(ws=nets.SCALES[0], wz=np.int8(0)),
        clean,
    ),
}
"""A graph that trips the rule on the target, and one like it that does not."""


def rules_of(model: onnx.ModelProto, target: str, version: str | None = None) -> list[str]:
    return [finding.rule for finding in lint(model, find_goal(target, tensorrt=version))]


@pytest.mark.parametrize(("rule", "target"), CASES, ids=lambda value: value)
def test_a_rule_finds_what_breaks_it_and_no_more(rule: str, target: str, nets: SimpleNamespace) -> None:
    bad, good = CASES[rule, target]

    assert rule in rules_of(bad(nets), target)
    assert rule not in rules_of(good(nets), target)


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _ in CASES}
    assert {rule.severity for rule in RULES} == set(SEVERITIES)
    assert set(FIXES) <= {rule.name for rule in RULES}


def test_clean_graphs_have_no_finding(nets: SimpleNamespace) -> None:
    assert rules_of(nets.for_tensorrt(), TRT) == []
    assert rules_of(nets.for_cpu(), X86) == []
    assert rules_of(nets.for_cpu(kind=np.int8), ARM) == []


@pytest.mark.parametrize("version", MOST_OPSET)
def test_what_the_oldest_tensorrt_reads_the_later_ones_read(version: str, nets: SimpleNamespace) -> None:
    assert rules_of(nets.for_tensorrt(), TRT, version) == []
    assert rules_of(nets.residual(branch=False, identity=True), TRT, version) == []


@pytest.mark.parametrize(
    ("make", "rule", "first"),
    [
        (lambda nets: nets.for_tensorrt(opset=20, ir=9), "opset", "10.3"),
        (lambda nets: nets.for_tensorrt(opset=24, ir=10), "opset", "10.16"),
        (lambda nets: nets.one("LayerNormalization", inputs=2), "operator", "8.6"),
        (lambda nets: nets.one("Hardmax"), "operator", "10.3"),
        (lambda nets: nets.argmax_of(TensorProto.INT32), "integer-argmax", "8.6"),
        (lambda nets: nets.for_tensorrt(opset=19, ir=9, s=np.float16(0.05)), "fp16-scale", "10.3"),
        (lambda nets: nets.without_zero_point(), "zero-point-missing", "10.3"),
        (lambda nets: nets.stored_int8(), "int8-constant", "10.3"),
        (lambda nets: nets.of_type(TensorProto.FLOAT8E4M3FN), "quantized-type", "10.3"),
        (lambda nets: nets.of_type(TensorProto.INT4, nets.WEIGHTS_ALONE), "quantized-type", "10.3"),
    ],
)
def test_rules_follow_the_version(make: Make, rule: str, first: str, nets: SimpleNamespace) -> None:
    versions = list(MOST_OPSET)
    refusing = [version for version in versions if rule in rules_of(make(nets), TRT, version)]

    assert refusing == versions[: versions.index(first)]


def test_tensorrt_multiplies_in_float8_and_not_in_int4(nets: SimpleNamespace) -> None:
    assert "float-convolution" not in rules_of(nets.of_type(TensorProto.FLOAT8E4M3FN), TRT, "10.3")
    assert "float-convolution" in rules_of(nets.of_type(TensorProto.INT4, nets.WEIGHTS_ALONE), TRT, "10.3")
    assert "quantized-type" in rules_of(nets.of_type(TensorProto.INT4), TRT, "10.3")  # no activation is of int4


@pytest.mark.parametrize(
    ("make", "rule", "found"),
    [
        (
            lambda nets: nets.tidy_ends(nets.UINT8_FIRST, nets.BY_WAY_OF_FLOAT),
            "uint8-inside",
            "Transpose makes uint8 inside the graph",
        ),
        (lambda nets: nets.tidy_ends(nets.FLOAT_FIRST, nets.CAST_LAST), "uint8-inside", "a Cast from int64 to uint8"),
        (lambda nets: nets.resize(mode="linear", antialias=1), "resize-mode", "antialiasing"),
        (lambda nets: nets.transposed(nets.CHANNELS), "weight-axis", "16 scales of a ConvTranspose"),
        (lambda nets: nets.concat(0.05, both=False), "concat-scales", "1 of 2 inputs quantized"),
        (
            lambda nets: nets.residual(branch=True, identity=False),
            "residual-branch",
            "the output of its convolution is quantized",
        ),
        (lambda nets: nets.last_resize(quantized=True), "quantized-in-vain", "Q -> DQ before Resize"),
        (lambda nets: nets.two_quantizers(0.1), "double-quantization", "several Q of one tensor with other parameters"),
        (lambda nets: nets.twice(0.05), "double-quantization", "Q -> DQ -> Q with equal parameters"),
        (lambda nets: nets.of_type(TensorProto.UINT16), "quantized-type", "uint16 quantized"),
        (lambda nets: nets.of_type(TensorProto.INT16), "float-convolution", "int16 input and weights"),
        (lambda nets: nets.for_tensorrt(wz=np.zeros(nets.CHANNELS, np.uint8)), "weight-zero-point", "uint8 weights"),
        (lambda nets: nets.for_tensorrt(s=np.float32(np.nan)), "scale", "a scale that is 0, negative, infinite or NaN"),
        (lambda nets: nets.free_height(), "dynamic-size", "shape [?, 16, ?, 8]"),
        (lambda nets: nets.external(nets.for_tensorrt()), "external-data", "its values are in weights.bin"),
    ],
)
def test_a_finding_says_what_was_found(make: Make, rule: str, found: str, nets: SimpleNamespace) -> None:
    findings = {finding.rule: finding for finding in lint(make(nets), find_goal(TRT))}

    assert findings[rule].found == found
    assert findings[rule].expected
    assert findings[rule].fix


def test_rules_let_pass_what_only_looks_alike(nets: SimpleNamespace) -> None:
    assert "weight-axis" not in rules_of(nets.transposed(1), TRT)
    assert "quantized-in-vain" not in rules_of(nets.last_resize(quantized=False), TRT)
    assert "float-convolution" not in rules_of(nets.named("tail/"), X86)
    # A small convolution is in float on purpose.
    steps, constants = nets.tensorrt_parts(w=nets.WEIGHTS[:, :4])
    model = nets.build([*steps[:2], ("Conv", ["d", "w"], "y", nets.PADS)], constants, {"x": (1, ["N", 4, 8, 8])})
    assert rules_of(model, TRT) == []
    # So is the convolution of a gate, where TensorRT multiplies.
    assert rules_of(nets.squeezed(), TRT) == []
    assert "float-convolution" in rules_of(nets.squeezed(), X86)


def test_bytes_in_the_midst_of_a_graph_are_no_camera(nets: SimpleNamespace) -> None:
    """Only behind a Pad of bytes that came in as bytes is a Q of int8 exact."""
    steps, constants = nets.cpu_parts(kind=np.int8)
    pad: list[Any] = [("Pad", ["b", "none"], "p", {}), *nets.q_dq("p", "d")]
    camera: list[Any] = [("DequantizeLinear", ["x", "s", "m"], "b", {}), *pad]
    inner: list[Any] = [*nets.q_dq("x", "b", zero="m"), *pad]
    constants |= {"m": np.uint8(128), "none": np.zeros(8, np.int64)}
    bytes_in = {"x": (TensorProto.UINT8, ["N", nets.CHANNELS, 8, 8])}

    def places(first: list[Any], inputs: Any) -> set[str]:  # noqa: ANN401
        found = lint(nets.build([*first, *steps[2:]], constants, inputs), find_goal(X86))
        return {place for finding in found if finding.rule == "int8-activations" for place in finding.where}

    assert places(camera, bytes_in) == {"r"}
    assert places(inner, None) == {"p", "r"}


def test_the_worst_comes_first_and_places_are_gathered(nets: SimpleNamespace) -> None:
    extra: list[Any] = [("Conv", ["c", "w"], "c2", nets.PADS), ("Conv", ["c2", "w"], "y", nets.PADS)]
    model = nets.behind([*extra])
    model.opset_import[0].version = 18

    findings = lint(model, find_goal(TRT))

    assert [(finding.severity, finding.rule) for finding in findings] == [
        ("refused", "opset"),
        ("float", "float-convolution"),
    ]
    assert findings[1].where == ("c2", "y")
    assert findings[1].found == "float input and weights"
    assert findings[1].share == pytest.approx(2 / 3)
    assert findings[1].to_dict()["count"] == 2


def test_multiplications_are_counted_for_one_picture(nets: SimpleNamespace) -> None:
    graph = read_graph(nets.for_tensorrt())
    upwards = read_graph(nets.transposed(1))
    unknown = read_graph(nets.free_height())

    assert multiplications(graph, graph.of("Conv")[0]) == 16 * 16 * 9 * 8 * 8
    assert multiplications(upwards, upwards.of("ConvTranspose")[0]) == 16 * 16 * 9 * 8 * 8
    assert multiplications(unknown, unknown.of("Conv")[0]) == 0
    assert [
        finding.share for finding in lint(nets.free_height(), find_goal(X86)) if finding.rule == "float-convolution"
    ] == [None]


def truncate(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].raw_data = b"abc"


def drop_inputs(model: onnx.ModelProto) -> None:
    del model.graph.node[-1].input[1:]


def forget_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].domain = "unheard.of"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "The constant w cannot be read"),
        (drop_inputs, r"The node y \(Conv\) has 1 inputs and 1 outputs; expected 2 and 1 at least"),
        (forget_opset, "shapes cannot be inferred"),
    ],
)
def test_damaged_graphs_are_told(damage: Callable[[onnx.ModelProto], None], said: str, nets: SimpleNamespace) -> None:
    model = nets.for_tensorrt()
    damage(model)

    with pytest.raises(ModelError, match=said):
        lint(model, find_goal(TRT))


def test_the_models_of_this_project(tiny_model: Path, eight_bit_model: Path) -> None:
    pytest.importorskip("torch")  # without it the tiny net is too narrow for TensorRT's INT8
    fp32, int8 = onnx.load(tiny_model), onnx.load(eight_bit_model)

    for target in TARGETS:
        expected = ["uint8-inside", "uint8-inside", "not-quantized"] if target == TRT else ["not-quantized"]
        assert rules_of(fp32, target) == expected
    assert rules_of(int8, X86) == []
    assert set(rules_of(int8, NOVNNI)) == {"eight-bit-weights"}
    assert {"uint8-activations", "int32-bias", "uint8-inside", "integer-tail"} <= set(rules_of(int8, TRT))
