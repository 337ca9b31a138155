"""Models that no ranges can be told of: `calib observe` and `quantize` say why, and write nothing."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.errors import ModelError

DATA = "drive:frames=8,size=96x72"


@pytest.fixture(params=["nan", "opset", "operator", "height"])
def broken(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> tuple[str, str]:
    """A model that no ranges can be told of, and what is said of it."""
    model = onnx.load(tiny_model)
    if request.param == "nan":
        weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
        weights.CopyFrom(numpy_helper.from_array(np.full(weights.dims, np.nan, np.float32), weights.name))
    elif request.param == "opset":
        model.opset_import[0].version = 12
    elif request.param == "operator":
        convolution = next(node for node in model.graph.node if node.op_type == "Conv")
        convolution.op_type, convolution.domain = "Convolve", "com.example"
        model.opset_import.append(helper.make_opsetid("com.example", 1))
    else:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    onnx.save(model, tmp_path / "broken.onnx")
    messages = {
        "nan": "holds values that are no numbers",
        "opset": "opset 12",
        "operator": "ONNX Runtime cannot run the FP32 graph.*com.example",
        "height": "keeps another contract.*height",
    }
    return "broken.onnx", messages[request.param]


@pytest.mark.parametrize("command", ["calib observe", "quantize"])
def test_of_a_broken_model_nothing_is_written(
    command: str, broken: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = "ranges.json" if command == "calib observe" else "int8.onnx"

    with pytest.raises(ModelError, match=f"(?s){broken[1]}"):
        words = [*command.split(), broken[0], "--data", DATA, "--out", out]
        CliRunner().invoke(app, words, catch_exceptions=False)

    assert [path.name for path in tmp_path.iterdir()] == [broken[0]]


def test_a_part_of_the_model_that_does_nothing_is_told(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")  # without it the model has no branch
    model = onnx.load(tiny_model)
    readers = {name: [n for n in model.graph.node if name in n.input] for n in model.graph.node for name in n.output}
    convolution, relu = next(
        (node, readers[node.output[0]][0])
        for node in model.graph.node
        if [reader.op_type for reader in readers.get(node.output[0], [])] == ["Relu"]
        and len(readers.get(node.input[0], [])) == 2  # a branch beside a residual sum's other side
    )
    dims = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    for place, value in ((1, 0), (2, -1)):  # in tensors of their own: others may share the old ones
        values = np.full(dims[convolution.input[place]], value, np.float32)
        convolution.input[place] = f"dead_{place}"
        model.graph.initializer.append(numpy_helper.from_array(values, convolution.input[place]))
    onnx.save(model, tmp_path / "dead.onnx")

    for path in (tmp_path / "dead.onnx", tiny_model):
        words = ["calib", "observe", str(path), "--data", DATA, "--out", str(tmp_path / f"{path.stem}.json")]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0
        assert (f"zero on every calibration image ({relu.output[0]}" in done.stderr) == (path != tiny_model)
