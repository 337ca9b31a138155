"""Adopted nets as a whole: batches, the spec, both run-times, nothing half written; real exports."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edge_seg.data.class_table import ClassTable
from edge_seg.errors import ModelError, SinkError
from edge_seg.export.adopt import AdoptOptions, adopt
from edge_seg.runners.contract import read_onnx_spec
from edge_seg.spec import CAMVID_CLASSES

Writer = Callable[..., Path]
Runs = Callable[..., list[NDArray[Any]]]
Share = Callable[..., float]
Resize = Callable[[NDArray[Any]], NDArray[Any]]
Options = Callable[..., AdoptOptions]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_spec_travels_along_and_both_runtimes_agree(
    runtime: str, write_net: Writer, by_hand: Runs, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    pytest.importorskip(runtime)
    net = write_net(sized=True)

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options(name="mine", dataset="somewhere", licence="MIT"))

    spec = read_onnx_spec(tmp_path / "ours.onnx")
    assert spec == adopted.spec
    assert (spec.name, spec.dataset, spec.licence, spec.precision) == ("mine", "somewhere", "MIT", "FP32")
    assert (spec.width, spec.height, spec.classes) == (50, 36, CAMVID_CLASSES[:5])
    assert agreement(tmp_path / "ours.onnx", [logits.argmax(0) for logits in by_hand(net)], runtime) > 0.999


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_that_the_export_fixed_is_freed(
    batch: int, write_net: Writer, by_hand: Runs, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    """As exporters write it: in Reshape and in the sizes of Resize."""
    sizes = {"flat": [batch, 5, -1], "back": [batch, 5, 9, 13], "whole": [batch, 5, 36, 50]}
    net = write_net(
        "rows = Reshape (logits, flat) again = Reshape <allowzero = 1> (rows, back)"
        'out = Resize <mode = "linear"> (again, , , whole)',
        x=f"float[{batch}, 3, 36, 50]",
        **sizes,
    )

    adopt(net, tmp_path / "ours.onnx", adopt_options())

    expected = [logits.argmax(0) for logits in by_hand(write_net(sized=True, name="free.onnx"))]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999


def test_a_batch_behind_heads_is_freed(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    """A Reshape that takes the batch out of its first axis, as attention does."""
    net = write_net(
        "many = Reshape (logits, heads) out = Reshape (many, together)",
        x="float[1, 3, 36, 50]",
        channels=4,
        heads=[-1, 2, 9, 13],
        together=[1, 4, 9, 13],
    )

    adopt(net, tmp_path / "ours.onnx", adopt_options(4))

    assert agreement(tmp_path / "ours.onnx", [bilinear(logits).argmax(0) for logits in by_hand(net)]) > 0.999


@pytest.mark.parametrize(
    ("end", "classes", "message"),
    [
        (
            "many = Reshape (logits, heads) out = ReduceMax <axes = [0]> (many)",
            2,
            "The batch of the net is fixed to 1",
        ),
        (
            "many = Reshape (logits, heads) shape = Shape (logits) out = Reshape (many, shape)",
            4,
            r"takes one picture at a time only \(.*free batch",
        ),
        ("most = ReduceMax <axes = [0]> (logits) out = Sub (logits, most)", 4, "mixes the pictures of a batch"),
    ],
    ids=["fixed", "fails", "mixes"],
)
def test_a_batch_that_cannot_be_freed_is_told(
    end: str, classes: int, message: str, write_net: Writer, adopt_options: Options, tmp_path: Path
) -> None:
    """The first size of the Reshape is that of 1 picture in 2 heads, which looks like no batch."""
    net = write_net(end, x="float[1, 3, 36, 50]", channels=4, heads=[2, 2, 9, 13])

    with pytest.raises(ModelError, match=f"(?s){message}"):
        adopt(net, tmp_path / "ours.onnx", adopt_options(classes))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.0}, r"threshold 1\.0 is no probability"),
        ({"threshold": 0.5}, r"threshold 0\.5 is for one sigmoid of two classes, and the output '\w+' holds logits"),
        (
            {"table": ClassTable(Path("c.csv"), CAMVID_CLASSES[:4], ((0, 0, 0),))},
            "the rows named void or unlabeled are no classes",
        ),
    ],
)
def test_options_that_do_not_fit_are_told(
    options: dict[str, Any], message: str, write_net: Writer, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net()

    with pytest.raises(ModelError, match=message):
        adopt(net, tmp_path / "ours.onnx", adopt_options(**options))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_an_output_that_cannot_be_written_is_told(write_net: Writer, adopt_options: Options, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot be written"):
        adopt(write_net(), tmp_path / "no" / "ours.onnx", adopt_options())


def test_a_file_of_our_own_needs_no_adopting(tiny_model: Path, adopt_options: Options, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'image' of .* is uint8 .* expected float"):
        adopt(tiny_model, tmp_path / "ours.onnx", adopt_options())


def test_a_graph_that_disagrees_is_not_written(
    write_net: Writer, adopt_options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_seg.runners.ort_runner import OrtRunner

    monkeypatch.setattr(OrtRunner, "infer", lambda self, images: np.full(images.shape[:3], 4, np.uint8))

    with pytest.raises(ModelError, match=r"agrees with the original on .* nothing written"):
        adopt(write_net(), tmp_path / "ours.onnx", adopt_options())
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50"])
def test_nets_of_torchvision(name: str, dynamo: bool, adopt_options: Options, tmp_path: Path) -> None:
    torch, segmentation = pytest.importorskip("torch"), pytest.importorskip("torchvision.models.segmentation")
    torch.manual_seed(0)
    net = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=11).eval()
    free = {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own
        torch.onnx.export(
            net, (torch.randn(2, 3, 64, 96),), str(tmp_path / "net.onnx"), dynamo=dynamo, input_names=["x"], **free
        )

    adopted = adopt(tmp_path / "net.onnx", tmp_path / "ours.onnx", adopt_options(11))

    assert (adopted.head, adopted.opset) == ("logits", 17)
    assert adopted.agreement > 0.999
    operators = {node.op_type for node in onnx.load(tmp_path / "ours.onnx").graph.node}
    assert not {"Shape", "Concat"} & operators if name.startswith("lraspp") else "Shape" not in operators
