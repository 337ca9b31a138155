"""Data sets of image files with a label file each."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_seg.data.images import IMAGE_SUFFIXES, LABEL_SUFFIXES, check_label_size, label_paths, read_image
from edge_seg.errors import DataError, LabelError
from edge_seg.files import check_path, list_folder
from edge_seg.types import Frame, SegClass, UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class PairedImages:
    """Frames with image uint8 [H, W, 3] BGR and truth uint8 [H, W], read when they are asked for.

    `read_truth` turns a label file into labels of `classes`, VOID where the file has none; DataError from it, or for
    labels of another size than the image.
    """

    name: str
    classes: tuple[SegClass, ...]
    pairs: list[tuple[Path, Path]]
    read_truth: Callable[[Path], UInt8Array]
    licence: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names in label order."""
        return tuple(c.name for c in self.classes)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Frame:
        image_path, labels_path = self.pairs[index]
        image, truth = read_image(image_path), self.read_truth(labels_path)
        check_label_size(labels_path, truth, image)
        return Frame(image, index, time.perf_counter(), truth, image_path.stem)

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))


def pair_by_stem(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Each image of a folder with the label file of its stem in another.

    DataError for an image without labels, labels without an image, and images that would share labels.
    """
    found = [p for p in list_folder(images, DataError) if p.suffix.lower() in IMAGE_SUFFIXES]
    pairs = list(zip(found, label_paths(found, labels), strict=True))
    if pairs:  # a folder without any image is the caller's to tell
        kept = [p for p in list_folder(labels, DataError) if p.suffix.lower() in LABEL_SUFFIXES]
        check_one_to_one(images, labels, pairs, kept)
    return pairs


def check_one_to_one(images: Path, labels: Path, pairs: list[tuple[Path, Path]], kept: list[Path]) -> None:
    """DataError for two images with one label file, LabelError for one of the label files `kept` that no image has.

    Label files count by folder and stem. `images` and `labels` are the folders that the message tells.
    """
    by_labels = {_without_suffix(path): image for image, path in pairs}  # the last one stays
    for image, path in pairs:
        other = by_labels[_without_suffix(path)]
        if image != other:
            raise DataError(
                f"{image.parent} holds {image.name} and {other.name}, which would share their labels. "
                "Rename or remove one of them."
            )
    alone = [path for path in kept if _without_suffix(path) not in by_labels]
    if alone:
        raise LabelError(
            f"{images} lacks the images of {len(alone)} of {len(kept)} label files in {labels}, the first "
            f"{alone[0].name}. Add its image ({', '.join(IMAGE_SUFFIXES)}), or remove the label file."
        )


def _without_suffix(path: Path) -> tuple[Path, str]:
    return path.parent, path.stem


def need_folder(folder: Path, example: str) -> Path:
    """The folder, or DataError with what to type."""
    if not check_path(folder, DataError).is_dir():
        raise DataError(f"{folder} is not a folder. Type for example: {example}")
    return folder


def need_labels(image: Path, labels: Path) -> Path:
    """The label file of an image, or LabelError where it is missing."""
    if not labels.is_file():
        raise LabelError(f"{image} has no labels: {labels} is missing.")
    return labels


def need_pairs(pairs: list[tuple[Path, Path]], what: str) -> list[tuple[Path, Path]]:
    """The pairs, or DataError where there is none."""
    if not pairs:
        raise DataError(f"{what} is empty. Expected files ending in {', '.join(IMAGE_SUFFIXES)}.")
    return pairs
