"""Augmentation of one labelled picture: every choice a function of the generator it is given."""

import cv2
import numpy as np

from edge_seg.types import VOID, UInt8Array

MID_GREY = 128
"""Colour outside the picture: zero after normalisation, as the convolutions' own padding."""


def augment(image: UInt8Array, truth: UInt8Array, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
    """Scale by 0.7 to 2, crop to the same size, mirror, and change the colours.

    image uint8 [H, W, 3] BGR, truth uint8 [H, W]; what the scaled picture does not cover is grey and VOID.
    """
    height, width = truth.shape
    matrix = _random_view(width, height, rng)
    grey = (MID_GREY, MID_GREY, MID_GREY)
    coloured = _random_colours(image, rng)
    view = cv2.warpAffine(coloured, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=grey)
    seen = cv2.warpAffine(truth, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=(VOID,))
    return view, seen  # type: ignore[return-value]


def _random_view(width: int, height: int, rng: np.random.Generator) -> cv2.typing.MatLike:
    """Affine map [2, 3] of scale, mirror and crop."""
    scale = 2.0 ** rng.uniform(-0.5, 1.0)
    stretch = 2.0 ** rng.uniform(-0.1, 0.1)
    scale_x, scale_y = scale * stretch, scale / stretch
    shift_x, shift_y = rng.random() * width * (1 - scale_x), rng.random() * height * (1 - scale_y)
    if rng.random() < 0.5:
        scale_x, shift_x = -scale_x, width - 1 - shift_x
    return np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])


def _random_colours(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Brightness, contrast, saturation and a colour cast in one affine map of the colours, saturating at 0 and 255."""
    saturation, contrast = rng.uniform(0.5, 1.5), 2.0 ** rng.uniform(-0.4, 0.4)
    grey = np.full((3, 3), 1 / 3)
    mix = (saturation * np.eye(3) + (1 - saturation) * grey) * contrast * 2.0 ** rng.uniform(-0.1, 0.1, (3, 1))
    offset = MID_GREY * (1 - contrast) + rng.uniform(-24, 24)
    return cv2.transform(image, np.hstack([mix, np.full((3, 1), offset)]))  # type: ignore[return-value]
