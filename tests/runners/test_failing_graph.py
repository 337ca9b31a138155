"""A graph that a run-time loads and then cannot compute ends with a sentence, and not with a traceback."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_seg.errors import ModelError
from edge_seg.runners import open_runner


def test_a_graph_that_fails_when_it_runs_is_told(tiny_model: Path, tmp_path: Path) -> None:
    """Its labels are those of the eighth picture of a batch, which a batch of one has not."""
    model = onnx.load(tiny_model)
    model.graph.node[-1].output[0] = "all_labels"
    model.graph.initializer.append(numpy_helper.from_array(np.array([7], np.int64), "eighth"))
    model.graph.node.append(helper.make_node("Gather", ["all_labels", "eighth"], ["labels"], axis=0))
    onnx.save(model, tmp_path / "eighth.onnx")

    with (
        open_runner(tmp_path / "eighth.onnx", "onnxruntime") as runner,
        pytest.raises(ModelError, match=r"ONNX Runtime \S+ cannot run eighth\.onnx: .*indices"),
    ):
        runner.infer(np.zeros((1, runner.spec.height, runner.spec.width, 3), np.uint8))
