"""Data sets of one's own: a folder with `images/` and `labels/`, classes in a table or a mask of one object."""

import os
from pathlib import Path

from edge_seg.data.class_table import ClassTable, read_class_table
from edge_seg.data.images import read_labels
from edge_seg.data.pairs import PairedImages, need_folder, need_pairs, pair_by_stem
from edge_seg.errors import DataError, LabelError
from edge_seg.types import VOID, SegClass, UInt8Array

TABLE = "classes.csv"
MASK_CLASSES = (SegClass("background", (64, 64, 64)), SegClass("object", (0, 160, 255)))


def open_folder(location: str) -> PairedImages:
    """Open PATH with `images/`, `labels/` and `classes.csv`, the table also one folder above, where splits share it.

    Label files hold the table's colours, or the numbers of its rows from 0, those of void rows too. DataError where
    something of it is missing.
    """
    root, pairs = _pairs("folder", location)
    table = _need_table(root)
    return PairedImages(root.name, table.classes, pairs, table.read_truth)


def open_masks(location: str) -> PairedImages:
    """Open PATH with `images/` and `labels/`, whose pictures hold 0 for background and 1 or 255 for the object."""
    root, pairs = _pairs("mask", location)
    return PairedImages(root.name, MASK_CLASSES, pairs, _read_mask)


def _pairs(scheme: str, location: str) -> tuple[Path, list[tuple[Path, Path]]]:
    root = need_folder(Path(location), f"{scheme}:PATH, where PATH holds images/ and labels/")
    images, labels = (need_folder(root / name, f"mkdir {root / name}") for name in ("images", "labels"))
    return root, need_pairs(pair_by_stem(images, labels), str(images))


def find_table(root: Path) -> ClassTable | None:
    """The class table of a folder, in it or one above, or None."""
    above = Path(os.path.abspath(root)).parent
    found = [path for path in (root / TABLE, above / TABLE) if os.path.isfile(path)]
    return read_class_table(found[0]) if found else None


def _need_table(root: Path) -> ClassTable:
    table = find_table(root)
    if table is None:
        raise DataError(
            f"{root} has no {TABLE}, nor has the folder above. Write a line for each class: name,red,green,blue"
        )
    return table


def _read_mask(path: Path) -> UInt8Array:
    labels = read_labels(path, classes=VOID)
    objects = labels == VOID
    labels[objects] = 1
    if labels.max(initial=0) > 1:
        raise LabelError(
            f"{path} holds {int(labels.max())}; a mask holds 0 for background and 1 or 255 for the object."
        )
    return labels
