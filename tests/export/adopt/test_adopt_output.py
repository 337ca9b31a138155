"""Heads of foreign nets: logits, one sigmoid, labels; at any stride and in any layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
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


def test_logits_at_a_stride(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net()

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options())

    expected = [bilinear(logits).argmax(0) for logits in by_hand(net)]
    assert len(np.unique(expected)) > 2
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999
    assert (adopted.head, adopted.output, adopted.agreement > 0.999) == ("logits", "logits", True)
    assert adopted.classes_seen > 2


@pytest.mark.parametrize(
    "end",
    [
        "",
        "out = Softmax <axis = 1> (full)",
        "out = Transpose <perm = [0, 2, 3, 1]> (full)",
        "pixels = Transpose <perm = [0, 2, 3, 1]> (full) out = Softmax (pixels)",
        "out = Softmax <axis = 2> (full)",
    ],
    ids=["logits", "softmax", "channels last", "softmax of the last", "softmax of rows"],
)
def test_logits_at_full_size(
    end: str, write_net: Writer, by_hand: Runs, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net(end, sized=True, x="float[n, 3, h, w]")

    adopt(net, tmp_path / "ours.onnx", adopt_options(size=(50, 36)))

    expected = [logits.argmax(2 if logits.shape[2] == 5 else 0) for logits in by_hand(net)]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999
    operators = [node.op_type for node in onnx.load(tmp_path / "ours.onnx").graph.node]
    assert ("Softmax" in operators) == ("axis = 2" in end)  # over the classes it changes no label
    assert not {"Shape", "Slice", "Concat"} & set(operators)


def test_channels_last_at_a_stride(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net("out = Transpose <perm = [0, 2, 3, 1]> (logits)")

    adopt(net, tmp_path / "ours.onnx", adopt_options())

    expected = [bilinear(logits.transpose(2, 0, 1)).argmax(0) for logits in by_hand(net)]
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize(
    "end",
    ["out = Identity (LOGITS)", "out = Squeeze (LOGITS, axis)", "out = Transpose <perm = [0, 2, 3, 1]> (LOGITS)"],
    ids=["planes", "no channel", "channels last"],
)
def test_one_logit_is_compared_with_the_thresholds(
    end: str,
    sized: bool,
    write_net: Writer,
    by_hand: Runs,
    bilinear: Resize,
    agreement: Share,
    adopt_options: Options,
    tmp_path: Path,
) -> None:
    net = write_net(end.replace("LOGITS", "full" if sized else "logits"), sized=sized, channels=1, axis=[1])

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options(2, threshold=0.75))

    shape = (1, 36, 50) if sized else (1, 9, 13)
    expected = [1 / (1 + np.exp(-bilinear(logit.reshape(shape))[0])) > 0.75 for logit in by_hand(net)]
    assert 0.02 < np.mean(expected) < 0.98
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999
    assert adopted.head == "logit"


@pytest.mark.parametrize(
    "then", ["", 'wide = Resize <mode = "linear"> (out, , twice)'], ids=["last", "then up-sampled"]
)
def test_a_sigmoid_at_the_end_is_seen(
    then: str,
    write_net: Writer,
    by_hand: Runs,
    bilinear: Resize,
    agreement: Share,
    adopt_options: Options,
    tmp_path: Path,
) -> None:
    net = write_net(f"out = Sigmoid (logits) {then}", channels=1, twice=np.array([1, 1, 2, 2], np.float32))

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options(2, threshold=0.75))

    expected = [bilinear(probability)[0] > 0.75 for probability in by_hand(net)]
    assert 0.02 < np.mean(expected) < 0.98
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999
    assert adopted.head == "probability"


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("sized", [False, True])
def test_labels_are_taken_as_they_are(
    kind: str,
    keepdims: int,
    sized: bool,
    write_net: Writer,
    by_hand: Runs,
    agreement: Share,
    adopt_options: Options,
    tmp_path: Path,
) -> None:
    best = f"best = ArgMax <axis = 1, keepdims = {keepdims}> ({'full' if sized else 'logits'})"
    cast = f"out = Cast <to = {TensorProto.DataType.Value(kind.upper())}> (best)"
    net = write_net(f"{best} {cast}", sized=sized, out=f"{kind}[]")

    adopted = adopt(net, tmp_path / "ours.onnx", adopt_options())

    found = [labels.squeeze() for labels in by_hand(net)]
    rows, columns = ((np.arange(n) * 2 + 1) * short // (2 * n) for n, short in ((36, 9), (50, 13)))
    expected = found if sized else [labels[np.ix_(rows, columns)] for labels in found]
    assert len(np.unique(expected)) > 2
    assert agreement(tmp_path / "ours.onnx", expected) > 0.999
    assert adopted.head == "labels"


def test_an_output_is_chosen_and_the_others_go(
    write_net: Writer, by_hand: Runs, bilinear: Resize, agreement: Share, adopt_options: Options, tmp_path: Path
) -> None:
    net = write_net("aux = Neg (logits)")
    model = onnx.load(net)
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 5, "h", "w"]))
    onnx.save_model(model, net)

    first = adopt(net, tmp_path / "first.onnx", adopt_options())
    second = adopt(net, tmp_path / "second.onnx", adopt_options(output="logits"))

    assert (first.output, second.output) == ("aux", "logits")
    negative = [bilinear(logits).argmax(0) for logits in by_hand(net)]
    positive = [bilinear(-logits).argmax(0) for logits in by_hand(net)]
    assert agreement(tmp_path / "first.onnx", negative) > 0.999
    assert agreement(tmp_path / "second.onnx", positive) > 0.999
    assert "Neg" not in [node.op_type for node in onnx.load(tmp_path / "second.onnx").graph.node]
    with pytest.raises(ModelError, match=r"has no output 'main'\. Choose one of: aux, logits"):
        adopt(net, tmp_path / "third.onnx", adopt_options(output="main"))


@pytest.mark.parametrize(
    ("end", "net", "message"),
    [
        ("out = Flatten (logits)", {}, r"output 'out' is float32 \[2, 585\]"),
        ("out = GlobalMaxPool (logits)", {}, r"output 'out' is float32 \[2, 5, 1, 1\]; expected \[N, 5, h, w\]"),
        ("", {"channels": 1}, "One channel parts two classes"),
        ("", {"channels": 6}, r"is float32 \[2, 6, 9, 13\]; expected \[N, 5, h, w\] for the 5 classes of classes\.csv"),
        (
            "best = ArgMax <axis = 1> (logits) out = Mul (best, many)",
            {"out": "int64[]", "many": 90},
            r"holds labels from \d+ to \d+; classes\.csv names 5 classes",
        ),
    ],
)
def test_outputs_of_another_kind_are_refused(
    end: str, net: dict[str, Any], message: str, write_net: Writer, adopt_options: Options, tmp_path: Path
) -> None:
    path = write_net(end, **net)

    with pytest.raises(ModelError, match=message):
        adopt(path, tmp_path / "ours.onnx", adopt_options())
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
