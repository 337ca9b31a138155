"""From the camera's bytes to the pictures that a foreign net was trained on.

Every adopted graph starts as our own nets do, `image -> Transpose -> Cast -> Sub 128 -> Div 64`. This is
x = (byte - 128) / 64, alike for all channels, so that an INT8 file takes the bytes as they are. What the net wants,
(byte / 255 - mean) / std, is gain * (x - middle) for each channel, and goes with the order of the channels into the
weights of the first convolution.

That convolution pads with zeros, which stand for the mean: for x = middle, another number in each channel, which no Pad
can write. So the picture gets a fourth plane of ones. It is 1 inside and 0 in the padding, and its weights are
-gain * middle, summed over the channels: then the padding is exact, and the bias stays as it was.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_seg.errors import ModelError
from edge_seg.export.adopt_graph import PREFIX, TO_PIXELS, TO_PLANES, Nodes
from edge_seg.export.adopt_read import PictureInput
from edge_seg.export.graph import Graph, options_of
from edge_seg.export.tidy import read_instead
from edge_seg.spec import INPUT_MIDDLE, INPUT_SCALE
from edge_seg.types import UInt8Array

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """How a net wants its pictures: (value - mean) / std of each channel, in the order in which it takes the channels.

    `white` is the value of white: 1 where mean and std are in 0..1, as ImageNet's are given, 255 where in bytes.
    `rgb` is the order red, green, blue; else it is blue, green, red.
    """

    mean: Triple
    std: Triple
    rgb: bool = True
    white: int = 1

    def check(self) -> None:
        """ModelError for numbers that no picture was normalised with.

        >>> Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).check()
        >>> Normalisation((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)).check()
        Traceback (most recent call last):
        ...
        edge_seg.errors.ModelError: The mean (123.7, 116.3, 103.5) is not within 0..1. Are they bytes? Add --white 255.
        """
        advice = "Are they bytes? Add --white 255." if self.white == 1 else "Are they in 0..1? Leave --white out."
        if not all(0 <= value <= self.white for value in self.mean):
            raise ModelError(f"The mean {self.mean} is not within 0..{self.white}. {advice}")
        least = self.white / 255  # with which a net takes the bytes themselves
        if not all(least * 0.999 <= value <= self.white for value in self.std):
            raise ModelError(f"The standard deviation {self.std} is not within {least:.3g}..{self.white}. {advice}")

    def apply(self, image: UInt8Array) -> NDArray[np.float32]:
        """The picture [H, W, 3] as the net takes it, from BGR bytes: what the adopted graph has to equal."""
        ordered = image[:, :, ::-1] if self.rgb else image
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        normalised: NDArray[np.float32] = (ordered.astype(np.float32) * np.float32(self.white / 255) - mean) / std
        return normalised

    def of_scaled(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gain and middle [3] of each channel, with which the net wants gain * (x - middle), x = (byte - 128) / 64."""
        mean, std = (np.array(values) * 255 / self.white for values in (self.mean, self.std))
        return INPUT_SCALE / std, (mean - INPUT_MIDDLE) / INPUT_SCALE


def attach_image(model: onnx.ModelProto, picture: PictureInput, normalisation: Normalisation, *, fold: bool) -> str:
    """Put `image: uint8 [N, H, W, 3]` BGR before the net, and say in words how it is normalised.

    `fold` leaves the plane of ones out: faster, and equal but for the border, where the padding then stands for grey.
    """
    graph, entry = model.graph, picture.name
    if picture.channels_last:
        entry = _skip_transpose(model, entry)
    nodes = Nodes(Graph(model))
    first = _first_convolution(nodes.graph, entry)
    scaled = _scale_bytes(nodes)
    if first is None:
        how = "in a 1x1 convolution of its own"
        _add_convolution(nodes, scaled, normalisation, entry=entry, elem_type=picture.elem_type)
    else:
        how = _fold(nodes, first, scaled, normalisation, exact=not fold)
        read_instead(graph, {entry: scaled})  # what is left reads its sizes alone, which are the same
    for place, node in enumerate(nodes.made):
        graph.node.insert(place, node)
    del graph.input[:]
    sizes: list[str | int | None] = ["N", picture.height, picture.width, 3]
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, sizes))
    return how


def _skip_transpose(model: onnx.ModelProto, entry: str) -> str:
    """The tensor [N, 3, H, W] of an input [N, H, W, 3]: behind the net's own Transpose, else before one of ours."""
    graph, readers = model.graph, Graph(model).readers_of(entry)
    if readers and all(_permutation(node) == TO_PLANES for node in readers):
        planes, *others = (str(node.output[0]) for node in readers)
        for node in readers:
            graph.node.remove(node)
        read_instead(graph, dict.fromkeys(others, planes))
        return planes
    back = helper.make_node("Transpose", [f"{PREFIX}planes_in"], [entry], f"{PREFIX}back", perm=TO_PIXELS)
    graph.node.insert(0, back)
    return f"{PREFIX}planes_in"


def _permutation(node: onnx.NodeProto) -> list[int]:
    return list(options_of(node).get("perm", [])) if node.op_type == "Transpose" else []


def _first_convolution(graph: Graph, entry: str) -> onnx.NodeProto | None:
    """The one convolution that reads the picture, where nothing but it and Shape does and its weights are float32."""
    readers = graph.readers_of(entry)
    convolutions = [node for node in readers if node.op_type == "Conv"]
    if len(convolutions) != 1 or any(node.op_type not in ("Conv", "Shape") for node in readers):
        return None
    node = convolutions[0]
    known = all(name in graph.constants for name in node.input[1:] if name)
    weight = graph.value(node.input[1])
    fits = known and weight is not None and weight.dtype == np.float32 and weight.shape[1] == 3  # of 3: in one group
    return node if fits else None


def _scale_bytes(nodes: Nodes) -> str:
    """x = (byte - 128) / 64 [N, 3, H, W] out of the camera's bytes."""
    planes = nodes.add("Transpose", ["image"], "planes", perm=TO_PLANES)
    floats = nodes.add("Cast", [planes], "floats", to=TensorProto.FLOAT)
    centred = nodes.add("Sub", [floats, nodes.constant("middle", INPUT_MIDDLE)], "centred")
    return nodes.add("Div", [centred, nodes.constant("scale", INPUT_SCALE)], "scaled")


def _fold(nodes: Nodes, node: onnx.NodeProto, scaled: str, normalisation: Normalisation, *, exact: bool) -> str:
    """Let the first convolution read x in place of normalised pictures; what was done, in words."""
    given, bias = (nodes.graph.value(name) for name in (*node.input[1:], "")[:2])
    assert given is not None  # `_first_convolution` saw it
    gain, middle = (values[:, None, None] for values in normalisation.of_scaled())
    weight = given.astype(np.float64) * gain
    ones = -(weight * middle).sum(1, keepdims=True)
    if normalisation.rgb:
        weight = weight[:, ::-1]
    pads = _pads(node)
    if pads and exact:
        amounts = nodes.constant("plane", [0, 0, 0, 0, 0, 1, 0, 0], np.int64)
        node.input[0] = nodes.add("Pad", [scaled, amounts, nodes.constant("one", 1)], "with_ones")
        node.input[1] = nodes.constant("first_weight", np.concatenate([weight, ones], axis=1))
        return "in the first convolution, a plane of ones for its padding"
    shifted = ones.sum((1, 2, 3)) + (0 if bias is None else bias)
    inputs = [scaled, nodes.constant("first_weight", weight), nodes.constant("first_bias", shifted)]
    del node.input[:]
    node.input.extend(inputs)
    return "in the first convolution, its padding grey" if pads else "in the first convolution"


def _pads(node: onnx.NodeProto) -> bool:
    """True where a convolution puts zeros around its input."""
    options = options_of(node)
    return any(options.get("pads", [])) or options.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def _add_convolution(nodes: Nodes, scaled: str, normalisation: Normalisation, *, entry: str, elem_type: int) -> None:
    """Normalise by a 1x1 convolution, which puts the channels into the net's order too, into the tensor `entry`."""
    gain, middle = normalisation.of_scaled()
    order = [2, 1, 0] if normalisation.rgb else [0, 1, 2]  # of the camera's blue, green, red
    weight = np.zeros((3, 3, 1, 1))
    weight[range(3), order, 0, 0] = gain
    inputs = [scaled, nodes.constant("gain", weight), nodes.constant("offset", -gain * middle)]
    if elem_type == TensorProto.FLOAT:
        nodes.add("Conv", inputs, entry)
        return
    nodes.add("Cast", [nodes.add("Conv", inputs, "normalised")], entry, to=elem_type)
