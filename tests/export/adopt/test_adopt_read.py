"""Foreign files: opsets, weights in other files, and what is refused before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_seg.errors import ModelError
from edge_seg.export.adopt import AdoptOptions, adopt

Writer = Callable[..., Path]
Runs = Callable[..., list[NDArray[Any]]]
Share = Callable[..., float]
Resize = Callable[[NDArray[Any]], NDArray[Any]]
Options = Callable[..., AdoptOptions]

UP = 'full = Resize <mode = "linear"> (logits, none, none, sizes)'
SIZES = {"none": np.zeros(0, np.float32), "sizes": [1, 5, 36, 50]}


@pytest.mark.parametrize(("opset", "written"), [(11, 13), (13, 13), (18, 17), (21, 17)])
def test_opsets(
    opset: int, written: int, write_net: Writer, by_hand: Runs, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net(UP, x="float[1, 3, 36, 50]", opset=opset, **SIZES)

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options())

    assert agreement(tmp_path / "ours.onnx", [logits.argmax(0) for logits in by_hand(net)]) > 0.999
    assert adopted.opset == written
    assert onnx.load(tmp_path / "ours.onnx").ir_version == 8


def test_an_opset_that_cannot_go_back_stays(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net("out = Gelu (logits)", opset=20)

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options())

    assert agreement(tmp_path / "ours.onnx", [bilinear(logits).argmax(0) for logits in by_hand(net)]) > 0.999
    assert (adopted.opset, onnx.load(tmp_path / "ours.onnx").ir_version) == (20, 9)


def test_an_attribute_of_a_newer_opset_that_says_its_default_is_dropped(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net(
        "mean = ReduceMean <keepdims = 1, noop_with_empty_axes = 0> (logits, sides) out = Sub (logits, mean)",
        opset=18,
        sides=[2, 3],
    )

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options())

    assert adopted.opset == 17
    assert agreement(tmp_path / "ours.onnx", [bilinear(logits).argmax(0) for logits in by_hand(net)]) > 0.999


def test_an_opset_that_no_runner_takes_is_refused(write_net: Writer, adopt_options: Options, tmp_path: Path) -> None:
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24):
        pytest.skip("this ONNX Runtime does not read opset 24 itself, and says so first")
    net = write_net("out = Gelu (logits)", opset=24)

    with pytest.raises(
        ModelError, match=r"has opset 24 and cannot be brought to 17 .* Export it with opset_version=17"
    ):
        adopt(net, tmp_path / "ours.onnx", adopt_options())
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_functions_are_unfolded(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net()
    model = onnx.load(net)
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("of.mine", "Clamp", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("of.mine", 1))
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type, relu.domain = "Clamp", "of.mine"
    onnx.save_model(model, net)

    adopt(net, tmp_path / "ours.onnx", adopt_options())

    assert agreement(tmp_path / "ours.onnx", [bilinear(logits).argmax(0) for logits in by_hand(net)]) > 0.999
    assert [entry.domain for entry in onnx.load(tmp_path / "ours.onnx").opset_import] == [""]


def with_weights_beside(net: Path, name: str) -> Path:
    """The net with its weights in a file of their own."""
    path = net.with_name(f"{name}.onnx")
    onnx.save_model(onnx.load(net), path, save_as_external_data=True, location=f"{name}.data", size_threshold=0)
    return path


def test_weights_in_a_file_beside(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net()
    two = with_weights_beside(net, "two")

    adopt(two, tmp_path / "ours.onnx", adopt_options())

    assert agreement(tmp_path / "ours.onnx", [bilinear(logits).argmax(0) for logits in by_hand(net)]) > 0.999
    (tmp_path / "two.data").unlink()
    with pytest.raises(ModelError, match=r"weights of two\.onnx, which lie in two\.data, cannot be read"):
        adopt(two, tmp_path / "ours.onnx", adopt_options())


def test_more_than_a_file_holds_is_refused(write_net: Writer, adopt_options: Options, tmp_path: Path) -> None:
    path = with_weights_beside(write_net(), "big")
    with (tmp_path / "big.data").open("r+b") as file:
        file.truncate(2**31)  # sparse: takes no room

    with pytest.raises(ModelError, match=r"big\.onnx with its weights has 2\.0 GiB.*2 GiB at most"):
        adopt(path, tmp_path / "ours.onnx", adopt_options())


def test_what_is_no_onnx_is_refused(adopt_options: Options, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_text("no graph")

    with pytest.raises(ModelError, match=r"net\.onnx is no ONNX model"):
        adopt(tmp_path / "net.onnx", tmp_path / "ours.onnx", adopt_options())


def use_operator_of_a_runtime(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.microsoft"


def quantize_while_running(model: onnx.ModelProto) -> None:
    outputs = ["bytes", "scale", "zero"]
    model.graph.node.insert(0, helper.make_node("DynamicQuantizeLinear", [model.graph.input[0].name], outputs))


def use_branch(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=model.graph, else_branch=model.graph))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (quantize_while_running, r"finds its scales while it runs \(DynamicQuantizeLinear\)\. Give the FP32 file"),
        (use_operator_of_a_runtime, r"not of the ONNX standard: com\.microsoft\.Relu.*before a run-time optimised it"),
        (use_branch, r"has graphs inside If.*Export it by tracing"),
    ],
)
def test_graphs_of_another_kind_are_refused(
    change: Callable[[onnx.ModelProto], None], message: str, write_net: Writer, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net()
    model = onnx.load(net)
    change(model)
    onnx.save_model(model, net)

    with pytest.raises(ModelError, match=message):
        adopt(net, tmp_path / "ours.onnx", adopt_options())
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_what_the_exporter_noted_is_forgotten(write_net: Writer, adopt_options: Options, tmp_path: Path) -> None:
    net = write_net()
    model = onnx.load(net)
    model.graph.node[0].doc_string = "/home/someone/net.py(12)"
    helper.set_model_props(model, {"author": "someone"})
    model.graph.initializer.append(helper.make_tensor("left_over", TensorProto.FLOAT, [1], [1.0]))
    onnx.save_model(model, net)

    adopt(net, tmp_path / "ours.onnx", adopt_options())

    found = onnx.load(tmp_path / "ours.onnx")
    assert b"/home/someone" not in found.SerializeToString()
    assert {entry.key for entry in found.metadata_props} == {"author", "edge_seg.spec"}
    assert "net/left_over" not in [tensor.name for tensor in found.graph.initializer]
