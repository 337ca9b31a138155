"""`edge-seg adopt` from the command line."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from edge_seg.apps.cli import app
from edge_seg.errors import EdgeSegError
from edge_seg.runners.contract import read_onnx_spec

IMAGENET = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A convolution to three classes at a stride of 4, of open height and width, and the table of its classes."""
    (tmp_path / "classes.csv").write_text("name,r,g,b\nRoad,128,64,128\nCar,64,0,128\nSky,128,128,128\nvoid,0,0,0\n")
    weight = np.random.default_rng(0).normal(0, 0.3, (3, 3, 4, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["out"], "head", strides=[4, 4])],
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3, "oh", "ow"])],
        [numpy_helper.from_array(weight, "weight")],
    )
    path = tmp_path / "net.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def typed(net: Path, *options: str) -> list[str]:
    return ["adopt", str(net), "--classes", str(net.with_name("classes.csv")), *IMAGENET, *options]


def said(stderr: str) -> str:
    return " ".join(stderr.replace("│", " ").split())


def test_adopt_writes_a_file_that_the_other_commands_take(net: Path, clip: Path) -> None:
    named = ["--name", "mine", "--licence", "MIT", "--dataset", "streets"]
    result = CliRunner().invoke(app, typed(net, "--size", "96x72", *named), catch_exceptions=False)

    target = net.with_suffix(".edge.onnx")
    assert result.exit_code == 0
    assert said(result.stdout).startswith(f"{target}: mine FP32, 96x72, 3 classes output 'out': logits; mean and std: ")
    assert "labels as the original's on 100.00% of the pixels" in said(result.stdout)
    spec = read_onnx_spec(target)
    assert (spec.name, spec.licence, spec.dataset, spec.class_names) == (
        "mine",
        "MIT",
        "streets",
        ("Road", "Car", "Sky"),
    )
    run = CliRunner().invoke(app, ["run", "--model", str(target), "--source", str(clip), "--headless", "--json"])
    assert (run.exit_code, json.loads(run.stdout)["frames"]) == (0, 12)


def test_the_report_as_json(net: Path) -> None:
    out = net.with_name("ours.onnx")
    result = CliRunner().invoke(
        app, typed(net, "--size", "96x72", "--bgr", "--out", str(out), "--json"), catch_exceptions=False
    )

    report = json.loads(result.stdout)
    assert report["file"] == str(out)
    assert (report["output"], report["head"], report["opset"]) == ("out", "logits", 17)
    assert report["normalised"] == "in the first convolution"
    assert report["agreement"] > 0.999
    assert report["classes_seen"] > 1
    assert (report["spec"]["name"], report["spec"]["width"]) == ("net", 96)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_that_the_order_of_the_channels_is_not_checked_is_told(net: Path, order: str) -> None:
    result = CliRunner().invoke(app, typed(net, "--size", "96x72", f"--{order.lower()}"), catch_exceptions=False)

    text = said(result.stdout)
    assert "labels as the original's on 100.00% of the pixels" in text
    assert f"{order}, mean and std are as told: no comparison shows whether the net was trained so." in text
    assert f"edge-seg eval {net.with_suffix('.edge.onnx')} --data" in text


def test_one_class_alone_is_told(net: Path) -> None:
    model = onnx.load(net)
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 1e6, 0], np.float32), "bias"))
    model.graph.node[0].input.append("bias")
    onnx.save_model(model, net)

    result = CliRunner().invoke(app, typed(net, "--size", "96x72"), catch_exceptions=False)

    assert "Only one class occurs there" in said(result.stdout)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layout", "hwc"], "--layout hwc: expected nchw or nhwc"),
        (["--white", "100"], "--white 100: expected 1, for a mean in 0..1, or 255"),
        (["--mean", "0.5,0.5"], "--mean 0.5,0.5: expected three numbers"),
        (["--std", "a,b,c"], "--std a,b,c: expected three numbers"),
        (["--size", "big"], "--size big: expected WxH"),
        (["--size", "96x72", "--out", "net.engine"], "--out net.engine: expected a name ending in .onnx"),
    ],
)
def test_wrong_usage_is_told(net: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, typed(net, *options))

    assert result.exit_code == 2
    assert message in said(result.stderr)
    assert not net.with_suffix(".edge.onnx").exists()


def test_a_model_is_not_written_over_itself(net: Path) -> None:
    before = net.read_bytes()

    result = CliRunner().invoke(app, typed(net, "--size", "96x72", "--out", str(net)))

    assert result.exit_code == 2
    assert net.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NET"], r"leaves height or width open.* Type --size"),
        (["NOWHERE"], r"nett\.onnx is no file\. Near it: net\.onnx\."),
        (["NET", "--size", "96x72", "--classes", "nowhere.csv"], r"nowhere\.csv cannot be read"),
        (["NET", "--size", "96x72", "--std", "0"], "standard deviation .* is not within"),
    ],
)
def test_bad_input_is_told(net: Path, arguments: list[str], message: str) -> None:
    names = {"NET": str(net), "NOWHERE": str(net.with_name("nett.onnx"))}
    first, *rest = (names.get(argument, argument) for argument in arguments)

    with pytest.raises(EdgeSegError, match=message):
        CliRunner().invoke(app, [*typed(Path(first)), *rest], catch_exceptions=False)
