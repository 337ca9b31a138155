"""Nets of others, adopted and then quantized: every kind of entry, every target."""

import warnings
from collections.abc import Callable, Mapping, Sequence
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
from edge_seg.export.lint_rules import Goal
from edge_seg.export.target import TARGETS
from edge_seg.runners import open_runner
from edge_seg.spec import CAMVID_CLASSES
from edge_seg.types import SegClass, UInt8Array

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
IMAGES = np.stack([frame.image for frame in Drive(3, 64, 48, 4)])
Net = Callable[..., Path]


@pytest.fixture
def write_net(tmp_path: Path) -> Net:
    """A function that writes a foreign net of RGB pictures: a convolution at stride 2 and one of 1x1, then logits.

    The one of 1x1 has `groups`.
    """

    def write(pads: int, entry: str = "Identity", *, in_nodes: bool = False, groups: int = 1) -> Path:
        rng = np.random.default_rng(5)
        weights: Mapping[str, NDArray[np.float32]] = {
            "stem": rng.normal(0, 0.2, (16, 3, 4, 4)).astype(np.float32),
            "bias": rng.normal(0, 0.3, 16).astype(np.float32),
            "body": rng.normal(0, 0.3, (16, 16 // groups, 1, 1)).astype(np.float32),
            "head": rng.normal(0, 0.4, (5, 16, 1, 1)).astype(np.float32),
        }
        nodes = [
            helper.make_node(entry, ["x"], ["entry"]),
            helper.make_node("Conv", ["entry", "stem", "bias"], ["edges"], strides=[2, 2], pads=[pads] * 4),
            helper.make_node("Relu", ["edges"], ["features"]),
            helper.make_node("Conv", ["features", "body"], ["mixed"], group=groups),
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


def adopted(
    net: Path, classes: tuple[SegClass, ...] = CAMVID_CLASSES[:5], images: Sequence[UInt8Array] = IMAGES
) -> tuple[Path, Ranges]:
    """The adopted file of a net, and its ranges."""
    out = net.with_name("ours.onnx")
    adopt(net, out, AdoptOptions(ClassTable(Path("c.csv"), classes), IMAGENET))
    return out, observe(open_fp32(out), (image[None] for image in images))


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


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("pads", "groups"), [(1, 1), (0, 16)], ids=["plane of ones", "depthwise"])
def test_lint_has_no_complaint_of_what_is_written(target: str, pads: int, groups: int, write_net: Net) -> None:
    model, ranges = adopted(write_net(pads, groups=groups))
    out = model.with_suffix(".int8.onnx")

    write_int8(model, out, ranges, Rung(target))

    assert lint(onnx.load(out), goal_of(target)) == []


def goal_of(target: str) -> Goal:
    """The goal of a target; for TensorRT the oldest that reads weights stored as int8."""
    return find_goal(target, tensorrt="10.3" if target == "tensorrt" else None)


@pytest.fixture(scope="module")
def lraspp(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ranges]:
    """torchvision's LR-ASPP with MobileNetV3, weights of chance, adopted at 96x72, and its ranges."""
    torch, segmentation = pytest.importorskip("torch"), pytest.importorskip("torchvision.models.segmentation")
    torch.manual_seed(0)
    net = segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=11).eval()
    path = tmp_path_factory.mktemp("lraspp") / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            net,
            (torch.zeros(2, 3, 72, 96),),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )
    return adopted(path, CAMVID_CLASSES, [frame.image for frame in Drive(3, 96, 72, 8)])


@pytest.mark.parametrize("target", TARGETS)
def test_a_net_of_torchvision_is_written_for_every_target(target: str, lraspp: tuple[Path, Ranges]) -> None:
    model, ranges = lraspp
    out = model.with_name(f"{target}.onnx")

    write_int8(model, out, ranges, Rung(target))

    assert lint(onnx.load(out), goal_of(target)) == []
    with open_runner(out, "onnxruntime") as runner:
        assert runner.infer(np.zeros((1, 72, 96, 3), np.uint8)).shape == (1, 72, 96)


def test_gates_of_a_net_of_torchvision_stay_in_float_for_tensorrt(lraspp: tuple[Path, Ranges]) -> None:
    model, ranges = lraspp
    out = model.with_name("gates.onnx")

    write_int8(model, out, ranges, Rung("tensorrt"))

    nodes = {node.output[0]: node for node in onnx.load(out).graph.node}
    ends = [node for node in nodes.values() if node.op_type in ("Sigmoid", "HardSigmoid")]
    before = [nodes[name] for name in above(nodes, [node.input[0] for node in ends])]
    assert len(ends) == 9
    assert [node.op_type for node in before].count("Conv") == 17  # two in each of eight blocks, and the head's
    assert {node.op_type for node in before} == {"Conv", "Relu", "GlobalAveragePool"}
    assert any(node.op_type == "Conv" and "Dequantize" in node.input[1] for node in nodes.values())


def above(nodes: dict[str, onnx.NodeProto], tensors: list[str]) -> set[str]:
    """The tensors and what they are made of, up to the means of the picture."""
    found: set[str] = set()
    while tensors:
        name = tensors.pop()
        if name in nodes and name not in found:
            found.add(name)
            tensors += [] if nodes[name].op_type == "GlobalAveragePool" else nodes[name].input
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_an_adopted_net_with_padding_can_be_fine_tuned(target: str, write_net: Net) -> None:
    """Its plane of ones is a Pad, which trains as the file computes it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")
    from edge_seg.calib.fine_tune import check_runs_alike
    from edge_seg.calib.qat import QuantizedNet
    from edge_seg.models.deploy import normalise

    path, ranges = adopted(write_net(1))
    model = open_fp32(path)
    assert any(node.op_type == "Pad" for node in model.graph.node)
    check_runs_alike(path, model)

    net = QuantizedNet(model, ranges.chosen("min-max"), TARGETS[target])
    logits = net(normalise(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)))
    logits.square().mean().backward()

    assert all(weight.grad is not None and weight.grad.any() for weight in net.weights)
    write_int8(path, path.with_name("int8.onnx"), ranges, Rung(target))
    full = torch.nn.functional.interpolate(logits, size=IMAGES.shape[1:3], mode="bilinear")
    with open_runner(path.with_name("int8.onnx"), "onnxruntime") as runner:
        assert (runner.infer(IMAGES) == full.argmax(1).numpy()).mean() > 0.98
