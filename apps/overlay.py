"""The overlay: class colours over the picture."""

import cv2
import numpy as np

from edge_seg.spec import ModelSpec
from edge_seg.types import VOID, UInt8Array

BORDER_BGR = (255, 255, 255)


class Overlay:
    """Blends the classes' colours over a picture with the weight `alpha`, and marks their borders by a thin line.

    >>> from edge_seg.spec import CAMVID_CLASSES
    >>> overlay = Overlay(ModelSpec("tiny", CAMVID_CLASSES, 96, 72, "nothing"), alpha=0.5)
    >>> overlay.draw(np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8))[0, 0].tolist()
    [64, 64, 64]
    """

    def __init__(self, spec: ModelSpec, alpha: float = 0.45, *, borders: bool = True) -> None:
        self._alpha = alpha
        self._borders = borders
        palette = spec.palette_bgr()
        palette[VOID] = BORDER_BGR if borders else (0, 0, 0)
        self._palette = palette.reshape(256, 1, 3)

    def draw(self, image: UInt8Array, labels: UInt8Array) -> UInt8Array:
        """A new picture uint8 [H, W, 3] from an image uint8 [H, W, 3] in BGR and its labels uint8 [H, W]."""
        marked = _with_borders(labels) if self._borders else labels
        colours = cv2.applyColorMap(marked, self._palette)
        return np.asarray(cv2.addWeighted(image, 1 - self._alpha, colours, self._alpha, 0, dst=colours), np.uint8)


def _with_borders(labels: UInt8Array) -> UInt8Array:
    """Labels with VOID, which no model gives, wherever the upper left neighbour has another one."""
    if min(labels.shape) < 2:  # no such neighbour, and OpenCV takes no empty array
        return labels
    marked = labels.copy()
    inner = marked[1:, 1:]
    cv2.bitwise_or(inner, cv2.compare(labels[1:, 1:], labels[:-1, :-1], cv2.CMP_NE), dst=inner)
    return marked
