"""Pictures and labels at another size, in one way wherever a net sees them."""

import cv2
import numpy as np

from edge_seg.types import UInt8Array


def resize_image(image: UInt8Array, width: int, height: int) -> UInt8Array:
    """The picture [H, W, 3] at width x height pixels, as every net gets it."""
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    # Above a factor of two, bilinear sampling skips pixels and thin poles flicker; averaging the area does not.
    shrinks = image.shape[1] > 2 * width or image.shape[0] > 2 * height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)  # type: ignore[return-value]


def resize_labels(labels: UInt8Array, width: int, height: int) -> UInt8Array:
    """Labels [H, W] at width x height pixels, each the nearest one's."""
    if labels.shape == (height, width):
        return labels
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)  # type: ignore[return-value]
