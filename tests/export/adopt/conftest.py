"""Foreign nets, written here in ONNX's text form, and what they give on ONNX's reference run-time."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from edge_seg.data.drive import Drive
from edge_seg.resize import resize_image
from edge_seg.types import UInt8Array

WIDTH, HEIGHT = 50, 36
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

BODY = """
edges = Conv <strides = [2, 2], PADDING> (ENTRY, stem, stem_bias)
features = Relu (edges)
logits = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (features, head)
"""
FULL = """
x_shape = Shape (x)
sides = Slice (x_shape, two, four)
logits_shape = Shape (logits)
batch_and_channels = Slice (logits_shape, zero, two)
sizes = Concat <axis = 0> (batch_and_channels, sides)
full = Resize <mode = "linear"> (logits, , , sizes)
"""
"""`logits` at the picture's size, as PyTorch writes interpolate(size=x.shape[-2:])."""

Outputs = list[NDArray[Any]]


@pytest.fixture(scope="session")
def pictures() -> UInt8Array:
    """Three pictures uint8 [3, 36, 50, 3] in BGR."""
    return np.stack([resize_image(frame.image, WIDTH, HEIGHT) for frame in Drive(7, 96, 72, 3)])


@pytest.fixture
def write_net(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a net with weights of chance.

    Its nodes are `before`, a convolution of `entry` at a stride of 2, `features`, `logits` [N, channels, 9, 13], with
    `sized` also `full` [N, channels, 36, 50], and `end`; the last of them is the output. More constants by name.
    """

    def write(
        end: str = "",
        *,
        x: str = "float[batch, 3, 36, 50]",
        out: str = "float[]",
        before: str = "",
        entry: str = "x",
        padding: str = "pads = [1, 1, 1, 1]",
        channels: int = 5,
        sized: bool = False,
        opset: int = 17,
        name: str = "net.onnx",
        **more: Any,  # noqa: ANN401
    ) -> Path:
        body = BODY.replace("PADDING", padding).replace("ENTRY", entry)
        nodes = before + body + (FULL if sized else "") + end
        outputs = re.findall(r"(\w+) = \w+ [<(]", nodes)
        inputs = x if " x" in x else f"{x} x"
        head = f'<ir_version: 8, opset_import: ["" : {opset}]> foreign ({inputs}) => ({out} {outputs[-1]})'
        model = parser.parse_model(f"{head} {{{nodes}}}")
        read = {tensor for node in model.graph.node for tensor in node.input}
        for key, value in {**constants(channels), **more}.items():
            if key in read:
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), key))
        onnx.save_model(model, tmp_path / name)
        return tmp_path / name

    return write


def constants(channels: int) -> dict[str, NDArray[Any]]:
    """Weights of chance for a net of `channels`, and the numbers of FULL."""
    rng = np.random.default_rng(channels)
    return {name: np.array([value]) for name, value in (("zero", 0), ("two", 2), ("four", 4))} | {
        "stem": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "stem_bias": rng.normal(0, 0.3, 8).astype(np.float32),
        "head": rng.normal(0, 0.3, (channels, 8, 3, 3)).astype(np.float32),
    }


@pytest.fixture(scope="session")
def by_hand(pictures: UInt8Array) -> Callable[..., Outputs]:
    """A function that gives a net's output for each picture, normalised with ImageNet's mean and deviation."""

    if tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 23):
        pytest.skip("ONNX's own reference: 1.16 is wrong for auto_pad and takes minutes for a Resize")

    def run(path: Path, *, rgb: bool = True, channels_last: bool = False) -> Outputs:
        net = ReferenceEvaluator(str(path))
        found = []
        for picture in pictures:
            pixels = (picture[:, :, ::-1] if rgb else picture) / 255
            values = ((pixels - MEAN) / STD).astype(np.float32)
            entry = values if channels_last else values.transpose(2, 0, 1)
            found.append(net.run(None, {"x": entry[None]})[0][0])  # type: ignore[index]
        return found

    return run


@pytest.fixture(scope="session")
def bilinear() -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A function that brings planes [C, h, w] to the picture's size, axis by axis."""

    def resize(planes: NDArray[Any]) -> NDArray[Any]:
        for axis, size in ((1, HEIGHT), (2, WIDTH)):
            length = planes.shape[axis]
            places = (np.arange(size) + 0.5) * length / size - 0.5  # of the pixels' centres; np.interp holds the border
            planes = np.apply_along_axis(
                lambda line, p=places, n=length: np.interp(p, np.arange(n), line), axis, planes
            )
        return planes

    return resize


@pytest.fixture(scope="session")
def agreement(pictures: UInt8Array) -> Callable[..., float]:
    """A function that gives the share of pixels in which a deployable file has the labels expected."""
    from edge_seg.runners import open_runner

    def share(path: Path, expected: Outputs, runtime: str = "onnxruntime") -> float:
        with open_runner(path, runtime) as runner:
            return float((runner.infer(pictures) == np.stack(expected)).mean())

    return share


@pytest.fixture(scope="session")
def adopt_options() -> Callable[..., Any]:
    """A function that gives the options of ImageNet's normalisation and `classes` classes, with changes by name."""
    from edge_seg.data.class_table import ClassTable
    from edge_seg.export.adopt import AdoptOptions
    from edge_seg.export.adopt_input import Normalisation
    from edge_seg.spec import CAMVID_CLASSES

    def options(classes: int = 5, **changes: Any) -> AdoptOptions:  # noqa: ANN401
        table = ClassTable(Path("classes.csv"), CAMVID_CLASSES[:classes])
        return AdoptOptions(**({"table": table, "normalisation": Normalisation(MEAN, STD)} | changes))

    return options
