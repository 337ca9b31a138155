"""What a target will refuse, run in float or run slowly, told before it is deployed there."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import onnx

from edge_seg.export import lint_rules as rules
from edge_seg.export import lint_tensorrt as tensorrt
from edge_seg.export.graph import Graph, read_graph
from edge_seg.export.lint_convolutions import float_convolution, float_matrix_product, small_convolution
from edge_seg.export.lint_rules import Goal, Hit
from edge_seg.export.target import targets_of
from edge_seg.export.tensorrt_support import find_version

SEVERITIES = ("refused", "float", "slow", "accuracy")
"""Worst first: no engine or session; INT8 that runs in float; time lost; accuracy lost for nothing."""

Check = Callable[[Graph, Goal], Iterator[Hit]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A check, how bad a hit is, and in words what was expected and how to get it; {} are fields of the goal."""

    name: str
    severity: str
    check: Check
    expected: str
    fix: str
    targets: tuple[str, ...] = ()

    def applies(self, goal: Goal) -> bool:
        """True where the rule is one of the goal's target, or of all."""
        return not self.targets or goal.target.name in self.targets


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a graph breaks a rule: all places of one kind. `share` is theirs of all convolutions' multiplications."""

    rule: str
    severity: str
    where: tuple[str, ...]
    found: str
    expected: str
    fix: str
    share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding for JSON."""
        return {**asdict(self), "where": list(self.where), "count": len(self.where)}


TRT, ARM, X86 = ("tensorrt",), ("onnxruntime-arm",), ("onnxruntime-x86", "x86-novnni")
WRITE = "Write the file for this target from the FP32 model: edge-seg quantize MODEL --target {target.name}"
KEEP_FLOAT = "Take the Q and DQ nodes out, or write the file again: edge-seg quantize MODEL --target {target.name}"

RULES = (
    Rule(
        *("opset", "refused", rules.opset),
        "opset 13 to {most_opset}, which {runtime} reads",
        "Export it again (edge-seg export writes opset 17), or name a newer version. --fix lowers the number where no "
        "operator of the graph changed in between.",
    ),
    Rule(
        *("ir-version", "refused", rules.ir_version),
        f"ir_version {rules.ORT_MOST_IR} or lower, which ONNX Runtime 1.22 reads",
        "--fix writes the one that belongs to the opset.",
        (*X86, *ARM),
    ),
    Rule(
        *("operator", "refused", rules.operator),
        "an operator that {runtime} has",
        "Replace it by simpler operators in the PyTorch model, or name a newer version.",
    ),
    Rule(
        *("external-data", "refused", rules.external_data),
        "weights within the file, which is all that edge-seg copies and compiles",
        "--fix takes them in, where the other file lies beside this one.",
    ),
    Rule(
        *("dynamic-size", "refused", rules.dynamic_size),
        "fixed sizes but for the first, N",
        "Export with a fixed height and width; another size is another file.",
    ),
    Rule(
        *("scale", "refused", rules.scale),
        "finite scales above 0",
        "Observe the ranges again: a tensor was constant or held NaN.",
    ),
    Rule(
        *("fp16-scale", "refused", rules.fp16_scale),
        "FP32 scales, or opset 19 and TensorRT 10",
        "Write the file with FP32 scales, or for opset 19.",
    ),
    Rule(
        *("eight-bit-weights", "refused", rules.eight_bit_weights),
        f"weights from -{rules.REDUCED_MOST} to {rules.REDUCED_MOST}: sums saturate without VNNI, and labels are wrong",
        WRITE,
    ),
    Rule(
        *("uint8-activations", "refused", rules.uint8_activations),
        "int8 activations with zero point 0",
        WRITE,
        TRT,
    ),
    Rule(
        *("activation-zero-point", "refused", tensorrt.activation_zero_point),
        "zero point 0",
        "Quantize symmetrically, from -max to max. Setting the number to 0 would shift the values. " + WRITE,
        TRT,
    ),
    Rule(
        *("per-channel-activations", "refused", tensorrt.per_channel_activations),
        "one scale for an activation",
        WRITE,
        TRT,
    ),
    Rule(
        *("quantized-type", "refused", tensorrt.quantized_type),
        "Q and DQ of int8; from TensorRT 10 float8e4m3fn, and int4 of weights; from 10.8 float4e2m1",
        WRITE,
        TRT,
    ),
    Rule(
        *("weight-zero-point", "refused", tensorrt.weight_zero_point),
        "int8 weights with zero point 0",
        WRITE,
        TRT,
    ),
    Rule(
        *("weight-axis", "refused", tensorrt.weight_axis),
        "scales along the output channels, axis 0 of a Conv and 1 of a MatMul, and one for a ConvTranspose",
        WRITE,
        TRT,
    ),
    Rule(
        *("zero-point-missing", "refused", tensorrt.zero_point_missing),
        "three inputs on each Q and DQ, which {runtime} asks for",
        "--fix adds zero points of 0 to int8 tensors.",
        TRT,
    ),
    Rule(
        *("int32-bias", "refused", tensorrt.int32_bias),
        "float biases: {runtime} dequantizes int8 alone",
        "--fix stores the bias in float: the product of number and scale, as it was computed.",
        TRT,
    ),
    Rule(
        *("int8-constant", "refused", tensorrt.int8_constant),
        "float weights with Q and DQ: 8.x is reported to say 'invalid weights type of Int8'",
        "--fix stores the weights in float, with a Q that gives the same int8.",
        TRT,
    ),
    Rule(
        *("uint8-inside", "refused", tensorrt.uint8_inside),
        "uint8 at input and output alone: Cast(float) first; ArgMax, Cast(float), Cast(uint8) last",
        "--fix moves the first Cast to the input and puts one to float before the last.",
        TRT,
    ),
    Rule(
        *("integer-argmax", "refused", tensorrt.integer_argmax),
        "ArgMax of floats before TensorRT 8.6",
        "Take the argmax of the float logits, or name JetPack 6.0 or newer.",
        TRT,
    ),
    Rule(
        *("resize-mode", "refused", tensorrt.resize_mode),
        "Resize nearest or linear, without antialiasing",
        "Interpolate bilinearly or by nearest neighbour in the PyTorch model.",
        TRT,
    ),
    Rule(
        *("integer-tail", "refused", tensorrt.integer_tail),
        "Resize and ArgMax in float",
        WRITE,
        TRT,
    ),
    Rule(
        *("float-convolution", "float", float_convolution),
        "Q and DQ at its input and weights; for ONNX Runtime a Q at its output, too, whose zero point behind a ReLU is "
        "the lowest number of its type",
        WRITE,
    ),
    Rule(
        *("float-matrix-product", "float", float_matrix_product),
        "Q and DQ at its input and weights; for ONNX Runtime no Relu or Clip behind it but one that a Q replaces",
        WRITE,
    ),
    Rule(
        *("not-quantized", "float", rules.not_quantized),
        "Q and DQ nodes",
        "Where INT8 is wanted: edge-seg quantize MODEL --target {target.name} --data ...",
    ),
    Rule(
        *("int8-activations", "slow", rules.int8_activations),
        "uint8 activations, of zero point 0 behind a ReLU: ONNX Runtime converts int8 on x86",
        WRITE,
        X86,
    ),
    Rule(
        *("uint8-activations", "slow", rules.uint8_activations),
        "int8 activations, for which Arm has instructions",
        WRITE,
        ARM,
    ),
    Rule(
        *("concat-scales", "slow", tensorrt.concat_scales),
        "one shared scale for all inputs of a Concat",
        "Quantize its inputs with the largest of their ranges. " + WRITE,
        TRT,
    ),
    Rule(
        *("residual-branch", "slow", tensorrt.residual_branch),
        "Q and DQ on the identity input of a residual Add alone, so that convolution and Add are one kernel",
        KEEP_FLOAT,
        TRT,
    ),
    Rule(
        *("quantized-in-vain", "slow", tensorrt.quantized_in_vain),
        "no Q and DQ before what runs in float: two reformats and a rounding for nothing",
        KEEP_FLOAT,
        TRT,
    ),
    Rule(
        *("small-convolution", "slow", small_convolution),
        "float, which is as fast there",
        KEEP_FLOAT,
        TRT,
    ),
    Rule(
        *("double-quantization", "accuracy", rules.double_quantization),
        "one Q for a tensor, shared by its readers",
        "Keep one of them. --fix removes those of equal parameters, which change nothing.",
    ),
    Rule(
        *("per-tensor-weights", "accuracy", rules.per_tensor_weights),
        "a scale for each output channel",
        WRITE,
    ),
)
"""Every rule; each has a test model that trips it and one that does not."""


def find_goal(target: str, jetpack: str | None = None, tensorrt: str | None = None) -> Goal:
    """The goal that a user names; for TensorRT the oldest version where none is named. ModelError for unknown names.

    `openvino` is a target of its own, since it runs files of more than one dialect in INT8; `auto` is this machine's.

    >>> find_goal("tensorrt", "6.1").runtime
    'TensorRT 10.3'
    >>> find_goal("openvino").label
    'openvino'
    """
    (found, *_), runtime = targets_of(target)
    if runtime == "openvino":
        return Goal(replace(found, name="openvino", runtime=runtime))
    return Goal(found, find_version(jetpack, tensorrt) if runtime == "tensorrt" else "")


def lint(model: onnx.ModelProto, goal: Goal) -> list[Finding]:
    """What stands in the way of a model on a target, worst first; ModelError for a damaged graph.

    Only the main graph is looked at, but for operators, which are looked for in If, Loop and functions too.
    """
    graph = read_graph(model)
    findings = [
        finding for rule in RULES if rule.applies(goal) for finding in _findings(rule, goal, rule.check(graph, goal))
    ]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _findings(rule: Rule, goal: Goal, hits: Iterator[Hit]) -> Iterator[Finding]:
    """One finding for the hits that say the same."""
    kinds: dict[str, list[Hit]] = {}
    for hit in hits:
        kinds.setdefault(hit.found, []).append(hit)
    values = {"target": goal.target, "runtime": goal.runtime, "most_opset": goal.most_opset}
    for found, places in kinds.items():
        where = tuple(dict.fromkeys(hit.where for hit in places))
        shares = [hit.share for hit in places if hit.share is not None]
        words = rule.expected.format(**values), rule.fix.format(**values)
        yield Finding(rule.name, rule.severity, where, found, *words, sum(shares) if shares else None)
