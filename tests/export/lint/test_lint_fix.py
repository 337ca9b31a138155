"""The mechanical fixes of lint: the finding goes, and every output stays what it was."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from edge_seg.errors import ModelError
from edge_seg.export.lint import find_goal, lint
from edge_seg.export.lint_fix import FIXES, fix

Make = Callable[[SimpleNamespace], onnx.ModelProto]
TRT, X86 = "tensorrt", "onnxruntime-x86"


def rules_of(model: onnx.ModelProto, target: str) -> list[str]:
    return [finding.rule for finding in lint(model, find_goal(target))]


def run(model: onnx.ModelProto) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    feeds: dict[str, Any] = {}
    for value in session.get_inputs():
        shape = [2, *value.shape[1:]]
        bytes_in = rng.integers(0, 256, shape, dtype=np.uint8)
        feeds[value.name] = bytes_in if "uint8" in value.type else rng.normal(0, 2, shape).astype(np.float32)
    result: np.ndarray[Any, Any] = session.run(None, feeds)[0]
    return result


MENDED: dict[str, tuple[str, Make]] = {
    "opset": (TRT, lambda nets: nets.for_tensorrt(opset=18)),
    "ir-version": (X86, lambda nets: nets.for_cpu(ir=11)),
    "uint8-inside": (TRT, lambda nets: nets.tidy_ends(nets.UINT8_FIRST, nets.CAST_LAST)),
    "int32-bias": (TRT, lambda nets: nets.with_bias(integer=True)),
    "zero-point-missing": (TRT, lambda nets: nets.without_zero_point()),
    "int8-constant": (TRT, lambda nets: nets.stored_int8()),
    "double-quantization": (TRT, lambda nets: nets.two_quantizers(0.05)),
}


@pytest.mark.parametrize("rule", FIXES)
def test_a_fix_mends_and_changes_no_value(rule: str, tmp_path: Path, nets: SimpleNamespace) -> None:
    target, make = MENDED[rule]
    model, goal = make(nets), find_goal(target)

    assert fix(model, goal, rules_of(model, target), folder=tmp_path) == [rule]

    assert set(rules_of(model, target)) <= {"not-quantized"}
    onnx.checker.check_model(model, full_check=True)
    before = make(nets)
    before.ir_version = min(before.ir_version, 10)  # the newest that every ONNX Runtime allowed reads
    assert np.array_equal(run(model), run(before))


def test_a_redundant_pair_goes_and_another_stays(tmp_path: Path, nets: SimpleNamespace) -> None:
    redundant, other = nets.twice(0.05), nets.twice(0.1)

    assert fix(redundant, find_goal(TRT), ["double-quantization"], folder=tmp_path) == ["double-quantization"]
    assert fix(other, find_goal(TRT), ["double-quantization"], folder=tmp_path) == []

    assert [node.op_type for node in redundant.graph.node].count("QuantizeLinear") == 2
    assert np.array_equal(run(redundant), run(nets.twice(0.05)))
    assert other == nets.twice(0.1)


def test_an_opset_whose_operators_changed_stays(tmp_path: Path, nets: SimpleNamespace) -> None:
    model = nets.resize(mode="linear")
    model.opset_import[0].version = 18

    assert fix(model, find_goal(TRT), ["opset"], folder=tmp_path) == []
    assert model.opset_import[0].version == 18


def test_integers_that_are_no_labels_are_not_cast_by_way_of_float(tmp_path: Path, nets: SimpleNamespace) -> None:
    steps: list[Any] = [("Cast", ["x"], "y", {"to": TensorProto.UINT8})]
    shape: list[int | str] = ["N", 8]
    model = nets.build(steps, {}, {"x": (TensorProto.INT64, shape)}, {"y": (TensorProto.UINT8, shape)})

    assert fix(model, find_goal(TRT), rules_of(model, TRT), folder=tmp_path) == []
    assert "uint8-inside" in rules_of(model, TRT)


def test_external_weights_are_taken_in(tmp_path: Path, nets: SimpleNamespace) -> None:
    path = tmp_path / "net.onnx"
    onnx.save_model(
        nets.for_cpu(),
        path,
        save_as_external_data=True,
        location="net.bin",
        size_threshold=100,
        convert_attribute=False,
    )
    model = onnx.load_model_from_string(path.read_bytes())
    assert rules_of(model, X86) == ["external-data"]

    assert fix(model, find_goal(X86), ["external-data"], folder=tmp_path) == ["external-data"]

    assert rules_of(model, X86) == []
    assert np.array_equal(run(model), run(nets.for_cpu()))


def test_external_weights_that_are_missing_are_told(tmp_path: Path, nets: SimpleNamespace) -> None:
    with pytest.raises(ModelError, match="weights beside the model cannot be read"):
        fix(nets.external(nets.for_cpu()), find_goal(X86), ["external-data"], folder=tmp_path)


def test_graphs_with_branches_keep_their_nodes(tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        net (float[4] x, bool b) => (float[4] y)
        <float s = {0.1}, int8 z = {0}> {
            q = QuantizeLinear (x, s, z)
            d = DequantizeLinear (q, s, z)
            e = QuantizeLinear (d, s, z)
            f = DequantizeLinear (e, s, z)
            y = If (b) <then_branch = yes () => (float[4] u) { u = Relu (f) },
                        else_branch = no () => (float[4] v) { v = Relu (x) }>
        }""")
    before = list(model.graph.node)

    assert fix(model, find_goal(TRT), ["opset", "double-quantization"], folder=tmp_path) == ["opset"]
    assert list(model.graph.node) == before
