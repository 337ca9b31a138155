"""Cityscapes in its official layout: `leftImg8bit/SPLIT/CITY` and `gtFine/SPLIT/CITY`, with the 19 classes that count.

Cordts et al., The Cityscapes Dataset (2016). The label files (`_gtFine_labelIds.png`) hold the official ids 0..33; the
labels here are the official train ids, VOID for what the benchmark leaves out.
"""

from pathlib import Path

import numpy as np

from edge_seg.data.images import IMAGE_SUFFIXES, read_labels
from edge_seg.data.pairs import PairedImages, check_one_to_one, need_folder, need_labels, need_pairs
from edge_seg.errors import DataError
from edge_seg.files import list_folder
from edge_seg.types import VOID, SegClass, UInt8Array

SPLITS = ("train", "val", "test")
EXAMPLE = "cityscapes:Cityscapes/val"
IMAGE_END, LABEL_END = "_leftImg8bit", "_gtFine_labelIds.png"
OFFICIAL_IDS = 34
LICENCE = "Trained on Cityscapes: for non-commercial use, see its licence"

CITYSCAPES_CLASSES = (
    SegClass("road", (128, 64, 128)),
    SegClass("sidewalk", (244, 35, 232)),
    SegClass("building", (70, 70, 70)),
    SegClass("wall", (102, 102, 156)),
    SegClass("fence", (190, 153, 153)),
    SegClass("pole", (153, 153, 153)),
    SegClass("traffic light", (250, 170, 30)),
    SegClass("traffic sign", (220, 220, 0)),
    SegClass("vegetation", (107, 142, 35)),
    SegClass("terrain", (152, 251, 152)),
    SegClass("sky", (70, 130, 180)),
    SegClass("person", (220, 20, 60)),
    SegClass("rider", (255, 0, 0)),
    SegClass("car", (0, 0, 142)),
    SegClass("truck", (0, 0, 70)),
    SegClass("bus", (0, 60, 100)),
    SegClass("train", (0, 80, 100)),
    SegClass("motorcycle", (0, 0, 230)),
    SegClass("bicycle", (119, 11, 32)),
)
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The official id of each class."""

_BY_ID = np.full(256, VOID, np.uint8)
_BY_ID[list(LABEL_IDS)] = range(len(LABEL_IDS))


def open_cityscapes(location: str) -> PairedImages:
    """Open `PATH/SPLIT`.

    DataError where PATH does not hold the official layout, and for an image without labels or labels without an image.
    """
    path = Path(location)
    if path.name not in SPLITS:
        raise DataError(f"cityscapes:{location} names no split. Type for example: {EXAMPLE}")
    images = need_folder(path.parent / "leftImg8bit" / path.name, EXAMPLE)
    labels = need_folder(path.parent / "gtFine" / path.name, EXAMPLE)
    found = [file for file in _files_of_cities(images) if file.suffix.lower() in IMAGE_SUFFIXES]
    pairs = [(image, need_labels(image, _labels_of(image, labels))) for image in found]
    kept = [file for file in _files_of_cities(labels) if file.name.endswith(LABEL_END)]
    check_one_to_one(images, labels, need_pairs(pairs, str(images)), kept)
    return PairedImages(f"Cityscapes {path.name}", CITYSCAPES_CLASSES, pairs, _read_truth, LICENCE)


def _files_of_cities(folder: Path) -> list[Path]:
    cities = [city for city in list_folder(folder, DataError) if city.is_dir()]
    return [file for city in cities for file in list_folder(city, DataError)]


def _labels_of(image: Path, labels: Path) -> Path:
    return labels / image.parent.name / f"{image.stem.removesuffix(IMAGE_END)}{LABEL_END}"


def _read_truth(path: Path) -> UInt8Array:
    # The file's 255 (from id -1, a licence plate) is void, and so are the ids without a class.
    truth: UInt8Array = _BY_ID[read_labels(path, classes=OFFICIAL_IDS)]
    return truth
