"""Image and label files, and folders of them."""

import glob
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from edge_seg.errors import DataError, LabelError, SourceError
from edge_seg.files import check_path, list_folder, near_names
from edge_seg.types import VOID, Frame, UInt8Array

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")
"""In the order of choice where a stem has several. JPEG is found only to be refused with the reason."""

PNG_MARK = b"\x89PNG\r\n\x1a\n"
PNG_GREY, PNG_PALETTE = 0, 3
"""Colour types of a PNG's header."""

_log = logging.getLogger(__name__)


def read_image(path: Path) -> UInt8Array:
    """The picture as uint8 [H, W, 3] in BGR; DataError where the file is missing or damaged."""
    return _decode(path, _read(path), cv2.IMREAD_COLOR)


def read_labels(path: Path, *, classes: int = VOID, void: int = VOID) -> UInt8Array:
    """A label picture as uint8 [H, W] with the file's value `void` turned into VOID.

    DataError for unknown values, for more than one channel unless all are alike, and for lossy compression. A palette
    counts as its colours: three channels.
    """
    labels = read_picture(path)
    if labels.ndim == 3 and (labels == labels[:, :, :1]).all():  # as WebP, which knows no grey, has to keep them
        labels = labels[:, :, 0].copy()
    if labels.ndim != 2 or labels.dtype != np.uint8:
        found = "a palette picture" if has_palette(path) else f"{labels.dtype} {list(labels.shape)}"
        raise LabelError(
            f"{path} is {found}; labels are 8-bit pictures of one channel. Save it as one, of the numbers "
            f"0 to {classes - 1}, and {void} for void."
        )
    labels[labels == void] = VOID
    unknown = [int(v) for v in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)) if classes <= v < VOID]
    if unknown:
        raise LabelError(f"{path} holds the values {unknown}; expected 0 to {classes - 1}, or {void} for void.")
    return labels


def read_picture(path: Path) -> UInt8Array:
    """A label file as it is, [H, W] or [H, W, 3] in BGR; DataError for lossy compression, which changes labels."""
    data = _read(path)
    if _is_lossy(data.tobytes()):
        raise DataError(f"{path} is compressed with loss, which changes labels. Write labels as .png.")
    picture, (bits, kind) = _decode(path, data, cv2.IMREAD_UNCHANGED), _png_form(data)
    if kind == PNG_GREY and 0 < bits < 8:
        picture //= 255 // (2**bits - 1)  # OpenCV spreads the values of few bits over 0 to 255, which makes 1 void
    return picture


def has_palette(path: Path) -> bool:
    """True for a PNG whose pixels are numbers of colours: OpenCV gives the colours in their place."""
    return _png_form(_read(path))[1] == PNG_PALETTE


def _png_form(data: UInt8Array) -> tuple[int, int]:
    """Bits of a sample and colour type of a PNG's content, zeros for another format."""
    known = data[:8].tobytes() == PNG_MARK and len(data) > 25
    return (int(data[24]), int(data[25])) if known else (0, 0)


def _is_lossy(data: bytes) -> bool:
    """True for the content of a JPEG, or of a WebP whose picture is in a lossy chunk."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return data[:2] == b"\xff\xd8"
    place = 12
    while place + 8 <= len(data) and data[place : place + 4] not in (b"VP8 ", b"VP8L"):
        place += 8 + (int.from_bytes(data[place + 4 : place + 8], "little") + 1) // 2 * 2  # chunks are padded to even
    return data[place : place + 4] == b"VP8 "


def _read(path: Path) -> UInt8Array:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _decode(path: Path, data: UInt8Array, mode: int) -> UInt8Array:
    try:
        image = cv2.imdecode(data, mode) if len(data) else None
    except cv2.error:  # more pixels than OpenCV allows
        image = None
    if image is None:
        raise DataError(f"{path} is damaged or no picture. Replace it, or remove it from the folder.")
    return image  # type: ignore[return-value]


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key by which numbers count as numbers.

    >>> sorted(["10.png", "9.png", "a1.png"], key=natural_key)
    ['9.png', '10.png', 'a1.png']
    """
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def is_glob(location: str) -> bool:
    """True for what may be a pattern of names.

    >>> is_glob("shots/*.png"), is_glob("shots/1.png")
    (True, False)
    """
    return any(sign in location for sign in "*?[")


def list_images(location: str) -> list[Path]:
    """The images of a folder, of a glob, or the one file, in natural order; SourceError where there is none."""
    path = check_path(location, SourceError)
    if path.is_dir():
        found = list_folder(path, SourceError)
    else:
        found = [path] if path.is_file() else [Path(name) for name in glob.glob(location, recursive=True)]
    images = [p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(p)]
    if not images and path.suffix.lower() in IMAGE_SUFFIXES and not is_glob(location) and not path.exists():
        raise SourceError(f"{location} does not exist. Give an image, a folder of images or a video.{near_names(path)}")
    if not images:
        raise SourceError(f"{location} holds no image. Expected files ending in {', '.join(IMAGE_SUFFIXES)}.")
    return sorted(images, key=lambda p: natural_key(str(p)))


class ImageFolder:
    """Frames of image files, with truth from the label files of the same stems in `labels` where that is given.

    `read_truth` turns a label file into labels uint8 [H, W]; where it is not given, values are as they are.
    A damaged image is skipped, counted in `skipped` and told in the log. Labels are not forgiven: DataError for a
    missing, damaged or unknown one, or one of another size, since a score over the rest would be another score.
    """

    def __init__(
        self, paths: list[Path], *, labels: Path | None = None, read_truth: Callable[[Path], UInt8Array] = read_labels
    ) -> None:
        self.paths = paths
        self.skipped = 0
        self._read_truth = read_truth
        self._labels = None if labels is None else label_paths(paths, labels)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        for index, path in enumerate(self.paths):
            try:
                image = read_image(path)
            except DataError as error:
                self.skipped += 1
                _log.warning("Skipped: %s", error)
                continue
            yield Frame(image, index, time.perf_counter(), self._truth(index, image), path.stem)

    def _truth(self, index: int, image: UInt8Array) -> UInt8Array | None:
        if self._labels is None:
            return None
        truth = self._read_truth(self._labels[index])
        check_label_size(self._labels[index], truth, image)
        return truth


def check_label_size(path: Path, truth: UInt8Array, image: UInt8Array) -> None:
    """DataError naming `path` unless its labels [H, W] have the size of the image [H, W, 3]."""
    if truth.shape != image.shape[:2]:
        (height, width), (image_height, image_width) = truth.shape, image.shape[:2]
        raise DataError(
            f"{path} is {width}x{height}, but its image is {image_width}x{image_height}. "
            "Labels must have the image's size."
        )


def label_paths(images: list[Path], folder: Path) -> list[Path]:
    """The label file of each image: in `folder`, of its stem; DataError where the folder or one of them is missing."""
    if not check_path(folder, DataError).is_dir():
        raise LabelError(f"{folder} is not a folder. Give the folder of the label pictures: --labels DIR")
    found = [p for p in list_folder(folder, DataError) if p.suffix.lower() in LABEL_SUFFIXES]
    found.sort(key=lambda p: LABEL_SUFFIXES.index(p.suffix.lower()), reverse=True)
    by_stem = {p.stem: p for p in found}  # the last one stays
    missing = [p for p in images if p.stem not in by_stem]
    if missing:
        raise LabelError(
            f"{folder} lacks the labels of {len(missing)} of {len(images)} images, the first {missing[0].stem}.png."
        )
    return [by_stem[p.stem] for p in images]
