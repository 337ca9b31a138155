"""Half-transparent panels with text, drawn once and laid over many pictures."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from edge_seg.types import UInt8Array

Bgr = tuple[int, int, int]

DARK: Bgr = (24, 20, 16)
TEXT: Bgr = (238, 238, 238)
DIM: Bgr = (178, 172, 166)
ACCENT: Bgr = (255, 204, 84)

OPACITY = 0.72
_FONT, _BOLD = cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A rectangle at (x, y): `ink` is added to what `keep` / 255 leaves of the picture; both uint8 [H, W, 3]."""

    x: int
    y: int
    ink: UInt8Array
    keep: UInt8Array


def lay(image: UInt8Array, layers: Iterable[Layer]) -> UInt8Array:
    """A new picture: `image` uint8 [H, W, 3] under the layers, which are cut at its edge."""
    laid = image.copy()
    for layer in layers:
        region = laid[layer.y :, layer.x :][: layer.ink.shape[0], : layer.ink.shape[1]]
        height, width = region.shape[:2]
        if region.size:
            cv2.multiply(region, layer.keep[:height, :width], dst=region, scale=1 / 255)
            cv2.add(region, layer.ink[:height, :width], dst=region)
    return laid


class Panel:
    """A dark plate of a given size in pixels to put text and boxes on."""

    def __init__(self, width: int, height: int) -> None:
        self._ink = np.zeros((height, width, 3), np.uint8)
        self._cover = np.zeros((height, width), np.uint8)

    def text(self, x: int, y: int, text: str, px: int, *, bgr: Bgr = TEXT, bold: bool = False) -> None:
        """Write with the base line at y and capitals `px` high."""
        font, scale = (_BOLD if bold else _FONT), _scale(px, bold)
        cv2.putText(self._ink, text, (x, y), font, scale, bgr, 1, cv2.LINE_AA)
        cv2.putText(self._cover, text, (x, y), font, scale, (255,), 1, cv2.LINE_AA)

    def text_right(self, x: int, y: int, text: str, px: int, *, bgr: Bgr = TEXT, bold: bool = False) -> None:
        """Write as `text`, ending at x."""
        self.text(x - text_width(text, px, bold=bold), y, text, px, bgr=bgr, bold=bold)

    def box(self, x: int, y: int, width: int, height: int, *, bgr: Bgr) -> None:
        """Fill a rectangle."""
        self._ink[y : y + height, x : x + width] = bgr
        self._cover[y : y + height, x : x + width] = 255

    def layer(self, x: int, y: int) -> Layer:
        """The panel as it is now, to lie with its upper left corner at (x, y)."""
        free = (255 - self._cover[..., None]).astype(np.float32) / 255
        ink = self._ink + free * OPACITY * np.array(DARK, np.float32)
        keep = np.repeat(free * (1 - OPACITY) * 255, 3, axis=2)
        return Layer(x, y, ink.clip(0, 255).astype(np.uint8), keep.astype(np.uint8))


def text_width(text: str, px: int, *, bold: bool = False) -> int:
    """How wide a text is in pixels where its capitals are `px` high."""
    return int(cv2.getTextSize(text, _BOLD if bold else _FONT, _scale(px, bold), 1)[0][0])


def fitting_px(text: str, px: int, width: int) -> int:
    """`px`, or what is less, so that the text is no wider than `width` pixels."""
    return max(1, min(px, int(px * width / max(1, text_width(text, px)))))


def _scale(px: int, bold: bool) -> float:
    # 21 pixels: the capitals of OpenCV's fonts at scale 1.
    return px / 21
