"""What lint says of the weights of MatMul and Gemm, against the graph that ONNX Runtime makes of the file."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edge_seg.export.lint import find_goal, lint

TRT, X86, NOVNNI = "tensorrt", "onnxruntime-x86", "x86-novnni"
IN_INT8 = {"QLinearMatMul", "MatMulIntegerToFloat", "QGemm"}


def product(
    nets: SimpleNamespace,
    operator: str = "MatMul",
    behind: tuple[str, ...] = (),
    *,
    axis: int = 1,
    width: int = 16,
    weights: str = "wd",
    options: dict[str, Any] | None = None,
    **changes: Any,  # noqa: ANN401
) -> onnx.ModelProto:
    """x -> Q -> DQ -> MatMul or Gemm -> operators `behind` it -> y, with int8 weights and scales along `axis`."""
    kept = nets.WEIGHTS[:, :, 0, 0][:, :width].copy()
    scales = (np.abs(kept).max(axis=1 - axis) / 127).astype(np.float32)
    stored = np.round(kept / np.expand_dims(scales, 1 - axis)).astype(np.int8)
    constants = {"s": np.float32(0.05), "z": np.int8(0), "w": stored, "ws": scales, "float": kept}
    constants |= {"wz": np.zeros(scales.shape, np.int8), "os": np.float32(0.1), "oz": np.int8(-128), **changes}
    steps: list[Any] = [
        *nets.q_dq("x", "d"),
        ("DequantizeLinear", ["w", "ws", "wz"], "wd", {"axis": axis}),
        (operator, ["d", weights], "p0", options or {}),
    ]
    for place, kind in enumerate(behind):
        parts = [f"p{place}", "os", "oz"] if kind.endswith("Linear") else [f"p{place}"]
        steps.append((kind, parts, f"p{place + 1}", {}))
    steps[-1] = (*steps[-1][:2], "y", *steps[-1][3:])
    read = {name for _, names, _, _ in steps for name in names}
    wide = (onnx.TensorProto.FLOAT, ["N", 16])
    ends = {"x": wide}, {"y": (onnx.TensorProto.FLOAT, ["N", None])}
    return nets.build(steps, {name: value for name, value in constants.items() if name in read}, *ends)  # type: ignore[no-any-return]


def rules_of(model: onnx.ModelProto, target: str, version: str | None = None) -> list[str]:
    return [finding.rule for finding in lint(model, find_goal(target, tensorrt=version))]


@pytest.mark.parametrize(
    ("rule", "target", "bad", "good"),
    [
        ("eight-bit-weights", NOVNNI, {}, {"ws": np.full(16, 1, np.float32), "w": np.full((16, 16), 64, np.int8)}),
        ("weight-zero-point", TRT, {"wz": np.ones(16, np.int8)}, {}),
        ("weight-axis", TRT, {"axis": 0}, {"axis": 0, "operator": "Gemm", "options": {"transB": 1}}),
        ("weight-axis", TRT, {"axis": 0, "operator": "Gemm"}, {"operator": "Gemm"}),
        ("per-tensor-weights", X86, {"ws": np.float32(1), "wz": np.int8(0)}, {}),
        ("float-matrix-product", TRT, {"weights": "float"}, {}),
        ("float-matrix-product", TRT, {"weights": "float"}, {"weights": "float", "width": 15}),
    ],
)
def test_weights_of_products_are_looked_at(
    rule: str, target: str, bad: dict[str, Any], good: dict[str, Any], nets: SimpleNamespace
) -> None:
    assert rule in rules_of(product(nets, **bad), target, "10.3" if target == TRT else None)
    assert rule not in rules_of(product(nets, **good), target, "10.3" if target == TRT else None)


@pytest.mark.parametrize(("axis", "batched"), [(2, True), (-1, True), (1, False)])
def test_batched_weights_of_a_product_have_scales_along_the_last_axis(
    axis: int, nets: SimpleNamespace, *, batched: bool
) -> None:
    model = product(nets, w=np.ones((2, 16, 16), np.int8), ws=np.full(16, 0.1, np.float32), axis=1)
    (node,) = (node for node in model.graph.node if "wd" in node.output)
    node.attribute[0].i = axis

    assert ("weight-axis" not in rules_of(model, TRT, "10.3")) == batched


def test_one_scale_of_batched_weights_is_told(nets: SimpleNamespace) -> None:
    model = product(nets, w=np.ones((2, 1, 16), np.int8), ws=np.float32(1), wz=np.int8(0))

    assert "per-tensor-weights" in rules_of(model, X86)


def test_a_clean_product_has_no_finding(nets: SimpleNamespace) -> None:
    assert rules_of(product(nets), TRT, "10.3") == []
    assert rules_of(product(nets, behind=Q_DQ), "onnxruntime-arm") == []


def in_int8(model: onnx.ModelProto, path: Path) -> bool:
    """Whether ONNX Runtime runs the product in INT8, by the graph that it writes after its optimisations."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4  # it warns that such a file is for this machine alone
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return not IN_INT8.isdisjoint(node.op_type for node in onnx.load(path).graph.node)


Q_DQ = ("QuantizeLinear", "DequantizeLinear")


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"behind": Q_DQ}, True),
        ({"behind": ("Neg",)}, True),
        ({"behind": ("Relu", *Q_DQ)}, True),
        ({"behind": ("Relu", *Q_DQ), "oz": np.int8(0)}, False),
        ({"behind": ("Relu",)}, True),
        ({"behind": ("Relu", "Neg")}, False),
        ({"weights": "float"}, False),
    ],
)
def test_onnx_runtime_runs_in_float_what_lint_says(
    operator: str, options: dict[str, Any], expected: bool, tmp_path: Path, nets: SimpleNamespace
) -> None:
    model = product(nets, operator, **options)

    assert in_int8(model, tmp_path / "optimised.onnx") == expected
    assert ("float-matrix-product" not in rules_of(model, X86)) == expected
