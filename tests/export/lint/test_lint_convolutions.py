"""What lint says of float convolutions, against the graph that ONNX Runtime makes of the file."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from edge_seg.export.lint import find_goal, lint


def fused_convolutions(model: onnx.ModelProto, path: Path) -> int:
    """How many convolutions ONNX Runtime runs in INT8, by the graph that it writes after its optimisations."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4  # it warns that such a file is for this machine alone
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node].count("QLinearConv")


@pytest.mark.parametrize(
    "make",
    [
        lambda nets: nets.for_cpu(),
        lambda nets: nets.for_cpu(out_zero=10),
        lambda nets: nets.for_cpu(kind=np.int8),
        lambda nets: nets.for_cpu(kind=np.int8, out_zero=-128),
        lambda nets: nets.clipped(6 / 255),
        lambda nets: nets.clipped(0.1),
        lambda nets: nets.for_tensorrt(),
        lambda nets: nets.float_weights(),
        lambda nets: nets.stored_int8(),
        lambda nets: nets.for_cpu(kind=np.int16, opset=21, ir=10),
        lambda nets: nets.of_type(TensorProto.INT16),
    ],
)
def test_onnx_runtime_runs_in_float_what_lint_says(
    make: Callable[[SimpleNamespace], onnx.ModelProto], tmp_path: Path, nets: SimpleNamespace
) -> None:
    model = make(nets)
    in_float = "float-convolution" in [finding.rule for finding in lint(model, find_goal("onnxruntime-x86"))]

    assert fused_convolutions(model, tmp_path / "optimised.onnx") == (0 if in_float else 1)
