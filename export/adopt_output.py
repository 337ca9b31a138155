"""From what a foreign net gives to labels: which kind it is, and the nodes that finish it."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_seg.data.class_table import ClassTable
from edge_seg.errors import ModelError
from edge_seg.export.adopt_graph import TO_PLANES, Nodes
from edge_seg.export.graph import Graph, attribute_of
from edge_seg.export.tidy import resize_scale
from edge_seg.resize import resize_labels
from edge_seg.types import UInt8Array

Size = tuple[int, int]
"""Width and height in pixels, in this order."""

HALF = 0.5
"""The probability above which a pixel is of class 1, where none is given."""

LINEAR = ("Resize", "Transpose", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Cast", "Slice")
"""Operators that leave a probability one, or a mean of some."""


@dataclass(frozen=True, slots=True)
class Head:
    """What an output holds, and where.

    `kind` is "logits" (one value for each class; probabilities too, since only the largest matters), "logit" or
    "probability" (one value, of class 1 against class 0) or "labels". `axis` is that of the channels in the batch's
    array, None where it has none; `height` and `width` are the output's own; `half` says that it is float16.
    """

    tensor: str
    kind: str
    axis: int | None
    height: int
    width: int
    threshold: float = HALF
    half: bool = False

    def limit(self) -> float:
        """The value above which a pixel is of class 1.

        >>> Head("out", "probability", 1, 2, 2, threshold=0.75).limit()
        0.75
        >>> round(Head("out", "logit", 1, 2, 2, threshold=0.75).limit(), 4)
        1.0986
        """
        return self.threshold if self.kind == "probability" else math.log(self.threshold / (1 - self.threshold))


def find_head(
    model: onnx.ModelProto, tensor: str, found: NDArray[Any], table: ClassTable, *, size: Size, threshold: float | None
) -> Head:
    """What the array `found`, that the net gave for a picture of `size` (width, height), holds.

    ModelError unless it is [N, C, h, w] or [N, h, w, C] with a channel for each class, or with one channel (whose axis
    may be missing) of whole numbers or, for two classes, of a sigmoid; and for a `threshold` without such a sigmoid.
    """
    classes, shape = len(table.classes), found.shape
    whole = found.dtype.kind in "iub"
    wanted = (1,) if whole else {1: (), 2: (2, 1)}.get(classes, (classes,))
    places: dict[int, dict[int | None, tuple[int, ...]]] = {3: {None: shape[1:]}, 4: {1: shape[2:], 3: shape[1:3]}}
    for axis, (height, width) in places.get(len(shape), {}).items():
        channels = 1 if axis is None else shape[axis]
        if channels in wanted and _same_aspect((width, height), size):
            one = "probability" if _is_probability(Graph(model), tensor) else "logit"
            kind = "labels" if whole else "logits" if channels > 1 else one
            _check_threshold(threshold, tensor, kind)
            return Head(tensor, kind, axis, height, width, threshold or HALF, half=found.dtype == np.float16)
    raise ModelError(_other_output(tensor, found, table, size))


def _check_threshold(threshold: float | None, tensor: str, kind: str) -> None:
    if threshold is not None and kind in ("logits", "labels"):
        raise ModelError(
            f"The threshold {threshold} is for one sigmoid of two classes, and the output {tensor!r} holds {kind}. "
            "Leave --threshold out."
        )


def _same_aspect(own: Size, size: Size) -> bool:
    """True for an output in about the picture's proportions: strides round, and 45 rows become 2 at a stride of 32."""
    return 0.8 <= (size[0] / own[0]) / (size[1] / own[1]) <= 1.25


def _is_probability(graph: Graph, tensor: str) -> bool:
    """True where a tensor of one channel comes out of a sigmoid or softmax with no other arithmetic behind it."""
    node = graph.maker.get(tensor)
    while node is not None and node.op_type in LINEAR:
        node = graph.maker.get(node.input[0])
    return node is not None and node.op_type in ("Sigmoid", "HardSigmoid", "Softmax")


def _other_output(tensor: str, found: NDArray[Any], table: ClassTable, size: Size) -> str:
    classes = len(table.classes)
    expected = f"[N, {classes}, h, w] for the {classes} classes of {table.path} and a picture of {size[0]}x{size[1]}"
    advice = "Give the table that the net was trained with, or another of its outputs: --output NAME."
    if found.ndim == 4 and found.dtype.kind == "f" and found.shape[1] == 1:
        advice = "One channel parts two classes: name both, the one of low values first."
    elif table.void_rgb:
        advice = (
            "Of the table, the rows named void or unlabeled are no classes: rename one that the net has a channel for."
        )
    return f"The output {tensor!r} is {found.dtype} {list(found.shape)}; expected {expected}. {advice}"


def labels_by_hand(found: NDArray[Any], head: Head, size: Size) -> UInt8Array:
    """Labels [H, W] of the first picture of the array that the net gave, without the graph that is being checked.

    The up-sampling is OpenCV's.
    """
    planes = found[:1] if head.axis is None else np.moveaxis(found[0], head.axis - 1, 0)
    if head.kind == "labels":
        return resize_labels(planes[0].astype(np.uint8), *size)
    full = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in planes.astype(np.float32)]
    labels: UInt8Array = (np.argmax(full, axis=0) if head.kind == "logits" else full[0] > head.limit()).astype(np.uint8)
    return labels


def check_labels(found: NDArray[Any], head: Head, table: ClassTable) -> None:
    """ModelError where the net itself gives labels, and some that the table does not name."""
    if head.kind == "labels" and not 0 <= int(found.min()) <= int(found.max()) < len(table.classes):
        raise ModelError(
            f"The output {head.tensor!r} holds labels from {found.min()} to {found.max()}; {table.path} names "
            f"{len(table.classes)} classes. Give the table that the net was trained with."
        )


def attach_labels(model: onnx.ModelProto, head: Head, size: Size) -> None:
    """Make `labels: uint8 [N, H, W]` of the output, up-sampled where it is smaller, and drop all other outputs."""
    nodes, tensor, axis = Nodes(Graph(model)), head.tensor, head.axis
    if head.kind == "logits" and (head.width, head.height) == size:
        tensor = _before_softmax(nodes.graph, tensor, axis)
    if head.half:
        tensor = nodes.add("Cast", [tensor], "head", to=TensorProto.FLOAT)
    if (head.width, head.height) != size:
        tensor, axis = _resize(nodes, tensor, head, size), 1
    if head.kind == "logits":
        tensor, axis = nodes.add("ArgMax", [tensor], "best", axis=axis, keepdims=0), None
    elif head.kind != "labels":
        tensor = nodes.add("Greater", [tensor, nodes.constant("limit", head.limit())], "above")
    if axis is not None:
        tensor = nodes.add("Squeeze", [tensor, nodes.constant("channel", [axis], np.int64)], "one")
    nodes.add("Cast", [tensor], "labels", to=TensorProto.UINT8)
    model.graph.node.extend(nodes.made)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", size[1], size[0]]))


def _before_softmax(graph: Graph, tensor: str, axis: int | None) -> str:
    """What a softmax over the classes at the very end reads: it has the same largest channel."""
    maker = graph.maker.get(tensor)
    if maker is None or maker.op_type not in ("Softmax", "LogSoftmax"):
        return tensor
    return maker.input[0] if attribute_of(maker, "axis", -1) in (axis, (axis or 0) - 4) else tensor


def _resize(nodes: Nodes, tensor: str, head: Head, size: Size) -> str:
    """The output at the picture's size [N, C, H, W]: values bilinear, labels nearest, centres of pixels half-way."""
    if head.axis is None:
        tensor = nodes.add("Unsqueeze", [tensor, nodes.constant("missing", [1], np.int64)], "with_channel")
    elif head.axis == 3:
        tensor = nodes.add("Transpose", [tensor], "head_planes", perm=TO_PLANES)
    if head.kind == "labels":
        tensor = nodes.add("Cast", [tensor], "label_values", to=TensorProto.FLOAT)
    scales = [1, 1, resize_scale(head.height, size[1]), resize_scale(head.width, size[0])]
    inputs = [tensor, "", nodes.constant("scales", scales)]
    mode = "nearest" if head.kind == "labels" else "linear"
    return nodes.add("Resize", inputs, "full", mode=mode, coordinate_transformation_mode="half_pixel")
