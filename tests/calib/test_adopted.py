"""Nets of others, adopted and then quantized: every kind of entry, every target."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_seg.calib.quantize import open_fp32, write_int8
from edge_seg.calib.ranges import Ranges, observe
from edge_seg.calib.rung import Rung
from edge_seg.data.class_table import ClassTable
from edge_seg.data.drive import Drive
from edge_seg.export.adopt import AdoptOptions, adopt
from edge_seg.export.adopt_input import Normalisation
from edge_seg.export.lint import find_goal, lint
from edge_seg.export.target import TARGETS
from edge_seg.runners import open_runner
from edge_seg.spec import CAMVID_CLASSES

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
IMAGES = np.stack([frame.image for frame in Drive(3, 64, 48, 4)])
Net = Callable[..., Path]


@pytest.fixture
def write_net(tmp_path: Path) -> Net:
    """A function that writes a foreign net of RGB pictures: a convolution at stride 2 and one of 1x1, then logits."""

    def write(pads: int, entry: str = "Identity", *, in_nodes: bool = False) -> Path:
        rng = np.random.default_rng(5)
        weights: Mapping[str, NDArray[np.float32]] = {
            "stem": rng.normal(0, 0.2, (16, 3, 4, 4)).astype(np.float32),
            "bias": rng.normal(0, 0.3, 16).astype(np.float32),
            "body": rng.normal(0, 0.3, (16, 16, 1, 1)).astype(np.float32),
            "head": rng.normal(0, 0.4, (5, 16, 1, 1)).astype(np.float32),
        }
        nodes = [
            helper.make_node(entry, ["x"], ["entry"]),
            helper.make_node("Conv", ["entry", "stem", "bias"], ["edges"], strides=[2, 2], pads=[pads] * 4),
            helper.make_node("Relu", ["edges"], ["features"]),
            helper.make_node("Conv", ["features", "body"], ["mixed"]),
            helper.make_node("Conv", ["mixed", "head"], ["logits"]),
        ]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 48, 64])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
        constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
        if in_nodes:
            nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in constants] + nodes
            constants = []
        graph = helper.make_graph(nodes, "foreign", [x], [logits], constants)
        onnx.save_model(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx"
        )
        return tmp_path / "net.onnx"

    return write


def adopted(net: Path) -> tuple[Path, Ranges]:
    """The adopted file of a net, and its ranges."""
    out = net.with_name("ours.onnx")
    adopt(net, out, AdoptOptions(ClassTable(Path("c.csv"), CAMVID_CLASSES[:5]), IMAGENET))
    return out, observe(open_fp32(out), (image[None] for image in IMAGES))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("pads", "entry"),
    [(1, "Identity"), (0, "Identity"), (1, "Neg")],
    ids=["plane of ones", "folded", "convolution of its own"],
)
def test_an_adopted_net_agrees_with_its_fp32(target: str, pads: int, entry: str, write_net: Net) -> None:
    model, ranges = adopted(write_net(pads, entry))
    out = model.with_suffix(".int8.onnx")

    write_int8(model, out, ranges, Rung(target))

    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(out).graph.node)
    with open_runner(model, "onnxruntime") as one, open_runner(out, "onnxruntime") as other:
        assert (one.infer(IMAGES) == other.infer(IMAGES)).mean() > 0.98


@pytest.mark.parametrize("pads", [0, 1])
def test_the_picture_of_an_adopted_net_is_quantized_without_loss(pads: int, write_net: Net) -> None:
    """With zero point 0 the padding of the first convolution is exact too."""
    model, ranges = adopted(write_net(pads))
    out = model.with_suffix(".int8.onnx")

    write_int8(model, out, ranges, Rung("onnxruntime-x86"))

    graph = onnx.load(out).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    assert constants[first.input[1]] == np.float32(1 / 64)
    assert constants[first.input[2]].dtype == np.int8
    assert constants[first.input[2]] == 0
    assert not {"Cast", "Sub", "Div"} & {node.op_type for node in list(graph.node)[: list(graph.node).index(first)]}


def test_weights_in_constant_nodes_are_quantized_alike(write_net: Net) -> None:
    """As other exporters than PyTorch's write them."""
    files = []
    for in_nodes in (False, True):
        model, ranges = adopted(write_net(0, in_nodes=in_nodes))
        write_int8(model, model.with_name(f"{in_nodes}.onnx"), ranges, Rung("onnxruntime-x86"))
        files.append(onnx.load(model.with_name(f"{in_nodes}.onnx")).graph)

    one, other = ([node.op_type for node in graph.node] for graph in files)
    assert one == other
    one_raw, other_raw = ([tensor.raw_data for tensor in graph.initializer] for graph in files)
    assert sorted(one_raw) == sorted(other_raw)


def test_tensorrt_takes_the_file_of_an_adopted_net(write_net: Net) -> None:
    model, ranges = adopted(write_net(1))

    write_int8(model, model.with_name("trt.onnx"), ranges, Rung("tensorrt"))

    found = lint(onnx.load(model.with_name("trt.onnx")), find_goal("tensorrt", tensorrt="10.3"))
    assert [finding.rule for finding in found if finding.severity == "refused"] == []
