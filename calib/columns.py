"""A convolution as a product of matrices: what it reads for some places of its output, times its weights."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """What a 2-D convolution reads for a place of its output: all by axis, pads as (first, last)."""

    groups: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]


def window_of(node: onnx.NodeProto, weights: Floats) -> Window | None:
    """The window of a convolution; None where it is not of two dimensions, or pads by itself (auto_pad)."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type != "Conv" or weights.ndim != 4 or found.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    top, left, bottom, right = found.get("pads", (0, 0, 0, 0))
    return Window(
        groups=int(found.get("group", 1)),
        kernel=(weights.shape[2], weights.shape[3]),
        strides=tuple(found.get("strides", (1, 1))),
        dilations=tuple(found.get("dilations", (1, 1))),
        pads=((top, bottom), (left, right)),
    )


def columns(values: Floats, window: Window, places: NDArray[np.int64], width: int) -> Floats:
    """What a convolution reads of `values` [1, C, H, W] for K places: [groups, K, C / groups * kernel].

    `places` [K] count the output's pixels row by row, `width` to a row.

    >>> window = Window(1, (1, 2), (1, 1), (1, 1), ((0, 0), (1, 0)))
    >>> columns(np.arange(1, 7, dtype=np.float32).reshape(1, 1, 2, 3), window, np.array([0, 5]), 3).tolist()
    [[[0.0, 1.0], [5.0, 6.0]]]
    """
    padded = np.pad(values[0], ((0, 0), *window.pads))
    rows, cols = (
        place[:, None] * stride + np.arange(size) * dilation
        for place, stride, size, dilation in zip(
            np.divmod(places, width), window.strides, window.kernel, window.dilations, strict=True
        )
    )
    read = padded[:, rows[:, :, None], cols[:, None, :]]
    grouped = read.reshape(window.groups, -1, *read.shape[1:])
    return np.ascontiguousarray(np.moveaxis(grouped, 2, 1).reshape(window.groups, len(places), -1))


def to_matrix(weights: NDArray[np.float32], groups: int) -> Floats:
    """A convolution's weights [O, I / groups, kh, kw] as [groups, I / groups * kh * kw, O / groups].

    `columns` times it is the output [groups, K, O / groups] but for the bias.
    """
    return weights.reshape(groups, len(weights) // groups, -1).transpose(0, 2, 1)


def from_matrix(matrix: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """The weights whose `to_matrix` is `matrix`."""
    return np.ascontiguousarray(matrix.transpose(0, 2, 1)).reshape(shape)
