"""Image and label files."""

from pathlib import Path

import cv2
import numpy as np

from edge_seg.errors import DataError
from edge_seg.types import VOID, UInt8Array

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def read_image(path: Path) -> UInt8Array:
    """The picture as uint8 [H, W, 3] in BGR; DataError where the file is missing or damaged."""
    image = _decode(path, cv2.IMREAD_COLOR)
    return image


def read_labels(path: Path, *, classes: int, void: int = VOID) -> UInt8Array:
    """A label picture as uint8 [H, W] with the file's value `void` turned into VOID; DataError for unknown values."""
    labels = _decode(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DataError(f"{path} is {labels.dtype} {list(labels.shape)}; labels are 8-bit pictures of one channel.")
    labels[labels == void] = VOID
    unknown = [int(v) for v in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)) if classes <= v < VOID]
    if unknown:
        raise DataError(f"{path} holds the values {unknown}; expected 0 to {classes - 1}, or {void} for void.")
    return labels


def _decode(path: Path, mode: int) -> UInt8Array:
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    image = cv2.imdecode(data, mode) if len(data) else None
    if image is None:
        raise DataError(f"{path} is damaged or no picture. Replace it, or remove it from the folder.")
    return image  # type: ignore[return-value]
