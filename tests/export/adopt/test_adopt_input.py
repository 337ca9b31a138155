"""The first nodes of adopted nets: the camera's bytes, mean and deviation, the border, layouts and element types."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edge_seg.calib.input_cut import find_input_chain
from edge_seg.errors import ModelError
from edge_seg.export.adopt import AdoptOptions, adopt
from edge_seg.export.adopt_input import Normalisation

Writer = Callable[..., Path]
Runs = Callable[..., list[NDArray[Any]]]
Share = Callable[..., float]
Resize = Callable[[NDArray[Any]], NDArray[Any]]
Options = Callable[..., AdoptOptions]

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GREY = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
BLACK = Normalisation((0, 0, 0), (0.2, 0.2, 0.2))
ONES = "in the first convolution, a plane of ones for its padding"


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("rgb", [True, False])
@pytest.mark.parametrize("padding", ["pads = [1, 1, 1, 1]", 'auto_pad = "SAME_UPPER"', "pads = [0, 0, 0, 0]"])
def test_the_first_convolution_takes_the_cameras_bytes(
    rgb: bool,
    padding: str,
    write_net: Writer,
    by_hand: Runs,
    bilinear: Resize,
    agreement: Share,
    adopt_options: Options,
    tmp_path: Path,
) -> None:
    net = write_net(padding=padding)

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options(normalisation=dataclasses.replace(IMAGENET, rgb=rgb)))

    expected = [bilinear(logits).argmax(0) for logits in by_hand(net, rgb=rgb)]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999
    assert adopted.normalised == ("in the first convolution" if "0, 0" in padding else ONES)
    assert operators(tmp_path / "ours.onnx").count("Conv") == 2


def test_means_in_bytes_are_the_same(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net()
    of_bytes = Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), white=255)

    adopt(net, tmp_path / "ours.onnx", adopt_options(normalisation=of_bytes))

    expected = [bilinear(logits).argmax(0) for logits in by_hand(net)]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999


@pytest.mark.parametrize(
    ("fold", "planes", "normalised"), [(False, 4, ONES), (True, 3, "in the first convolution, its padding grey")]
)
def test_the_graph_starts_as_ours_do(
    fold: bool, planes: int, normalised: str, write_net: Writer, adopt_options: Options, tmp_path: Path
) -> None:
    adopted = adopt(write_net(sized=True), tmp_path / "ours.onnx", adopt_options(fold=fold, normalisation=GREY))

    model = onnx.load(tmp_path / "ours.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert find_input_chain(model)[-1].output[0] == "adopt/scaled"
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    assert next(list(t.dims) for t in model.graph.initializer if t.name == first.input[1]) == [8, planes, 3, 3]
    assert adopted.normalised == normalised


def test_where_the_border_matters_fold_is_refused(write_net: Writer, adopt_options: Options, tmp_path: Path) -> None:
    net = write_net()

    adopt(net, tmp_path / "exact.onnx", adopt_options(normalisation=BLACK))
    with pytest.raises(
        ModelError, match=r"agrees with the original on \d\d\.\d+%.* nothing written\. Leave --fold out"
    ):
        adopt(net, tmp_path / "folded.onnx", adopt_options(normalisation=BLACK, fold=True))
    assert not (tmp_path / "folded.onnx").exists()


@pytest.mark.parametrize(
    ("before", "entry", "transposes", "normalised"),
    [
        ("planes = Transpose <perm = [0, 3, 1, 2]> (x)", "planes", 1, ONES),
        (
            "a = Transpose <perm = [0, 3, 1, 2]> (x) b = Transpose <perm = [0, 3, 1, 2]> (x) c = Add (a, b)",
            "c",
            1,
            None,
        ),
        ("less = Mul (x, half) planes = Transpose <perm = [0, 3, 1, 2]> (less)", "planes", 3, None),
    ],
    ids=["its own Transpose", "two of them", "read before"],
)
def test_channels_last(
    before: str,
    entry: str,
    transposes: int,
    normalised: str | None,
    write_net: Writer,
    by_hand: Runs,
    bilinear: Resize,
    agreement: Share,
    adopt_options: Options,
    tmp_path: Path,
) -> None:
    net = write_net(before=before, entry=entry, x="float[n, 36, 50, 3]", half=np.float32(0.5))

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options(layout="nhwc"))

    expected = [bilinear(logits).argmax(0) for logits in by_hand(net, channels_last=True)]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999
    assert adopted.normalised == (normalised or "in a 1x1 convolution of its own")
    assert operators(tmp_path / "ours.onnx").count("Transpose") == transposes


def test_a_picture_that_more_than_a_convolution_reads(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net(before="double = Add (x, x)", entry="double")

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options())

    expected = [bilinear(logits).argmax(0) for logits in by_hand(net)]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999
    assert adopted.normalised == "in a 1x1 convolution of its own"


def test_a_float16_net(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    single = write_net(name="single.onnx")
    halves = {t.name: onnx.numpy_helper.to_array(t).astype(np.float16) for t in onnx.load(single).graph.initializer}
    net = write_net(x="float16[n, 3, 36, 50]", out="float16[]", **halves)

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options())

    expected = [bilinear(logits).argmax(0) for logits in by_hand(single)]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.98  # the original itself rounds
    assert (adopted.spec.precision, adopted.agreement > 0.999) == ("FP16", True)


def test_a_quantized_net(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    q, dq = "QuantizeLinear (x, scale, zero_point)", "DequantizeLinear (levels, scale, zero_point)"
    scales = {"scale": np.float32(0.02), "zero_point": np.int8(0)}
    net = write_net(before=f"levels = {q} rough = {dq}", entry="rough", opset=19, **scales)

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options())

    expected = [bilinear(logits).argmax(0) for logits in by_hand(net)]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.99  # a value half-way between two levels goes either way
    assert adopted.spec.precision == "INT8"


@pytest.mark.parametrize(
    ("normalisation", "message"),
    [
        (Normalisation((123, 117, 104), (58, 57, 57)), r"The mean .* not within 0\.\.1\. .*--white 255"),
        (Normalisation((300, 117, 104), (58, 57, 57), white=255), r"not within 0\.\.255"),
        (Normalisation((0.5, 0.5, 0.5), (0, 1, 1)), "standard deviation .* is not within"),
        (Normalisation((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), white=255), "Leave --white out"),
        (Normalisation((0.5, 0.5, float("nan")), (0.2, 0.2, 0.2)), "The mean"),
    ],
)
def test_numbers_of_no_picture_are_refused(normalisation: Normalisation, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        normalisation.check()


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        ({"x": "float[n, 3, h, w]"}, {}, r"leaves height or width open.* Type --size 480x360"),
        ({}, {"size": (96, 64)}, "takes 50x36; --size 96x64 would need another export"),
        ({"x": "float[n, 3, 36, 9000]"}, {}, r"takes 9000x36; sides of 1 to 8192 pixels"),
        (
            {},
            {"layout": "nhwc"},
            r"'x' of .* is float \[batch, 3, 36, 50\]; expected float \[N, H, W, 3\]\. Type --layout nchw",
        ),
        ({"x": "float[n, 36, 50, 3]"}, {}, r"is float \[n, 36, 50, 3\].* Type --layout nhwc"),
        ({"x": "float[n, 4, 36, 50]"}, {}, r"is float \[n, 4, 36, 50\].* Export the net with float pictures"),
        ({"x": "int64[n, 3, 36, 50]"}, {}, r"'x' of .* is int64 \[n, 3, 36, 50\]"),
        ({"x": "float[n, 3, 36, 50] x, float[1] y"}, {}, r"has 2 inputs \(x, y\); expected one"),
        ({"stem": np.zeros((8, 4, 3, 3), np.float32)}, {}, "cannot run the file as it is"),
    ],
)
def test_inputs_of_another_kind_are_refused(
    net: dict[str, Any],
    options: dict[str, Any],
    message: str,
    write_net: Writer,
    adopt_options: Options,
    tmp_path: Path,
) -> None:
    path = write_net(**net)

    with pytest.raises(ModelError, match=message):
        adopt(path, tmp_path / "ours.onnx", adopt_options(**options))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
