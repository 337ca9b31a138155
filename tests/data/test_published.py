"""CamVid as its authors give it and Cityscapes, made small, and what is wrong with them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_seg.data import open_dataset
from edge_seg.errors import DataError
from edge_seg.types import VOID, UInt8Array


def write(path: Path, picture: UInt8Array) -> None:
    """Write a picture, RGB where it has three channels, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture)


def image(height: int = 4, width: int = 6) -> UInt8Array:
    """A picture of noise."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("split", ["", "test"])
def test_camvids_own_colours(tmp_path: Path, split: str) -> None:
    images, labels = (split, f"{split}_labels") if split else ("701_StillsRaw_full", "LabeledApproved_full")
    write(tmp_path / images / "0001TP_1.png", image())
    write(tmp_path / labels / "0001TP_1_L.png", np.full((4, 6, 3), (192, 128, 64), np.uint8))
    if split:
        (tmp_path / "class_dict.csv").write_text("name,r,g,b\nAnimal,64,128,64\nChild,192,128,64\nVoid,0,0,0\n")
    else:
        (tmp_path / "label_colors.txt").write_text("64 128 64\tAnimal\n192 128 64\t\tChild\n0 0 0\t\tVoid\n")

    dataset = open_dataset(f"camvid32:{tmp_path}/{split}".rstrip("/"))

    assert dataset.class_names == ("Animal", "Child")
    assert dataset[0].truth is not None and (dataset[0].truth == 1).all()
    assert "non-commercial" in dataset.licence


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("label_colors.txt", r"has no table of colours: neither label_colors\.txt nor class_dict\.csv"),
        ("LabeledApproved_full/a_L.png", r"a\.png has no labels: .*a_L\.png is missing"),
    ],
)
def test_what_camvids_own_layout_lacks_is_told(tmp_path: Path, missing: str, message: str) -> None:
    write(tmp_path / "701_StillsRaw_full" / "a.png", image())
    write(tmp_path / "LabeledApproved_full" / "a_L.png", np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "label_colors.txt").write_text("64 128 64\tAnimal\n0 0 0\tVoid\n")
    (tmp_path / missing).unlink()

    with pytest.raises(DataError, match=message):
        open_dataset(f"camvid32:{tmp_path}")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            "LabeledApproved_full/b_L.png",
            r"lacks the images of 1 of 2 label files in .*LabeledApproved_full, the first b_L\.png\. Add its image",
        ),
        ("701_StillsRaw_full/a.jpg", r"holds a\.jpg and a\.png, which would share their labels\. Rename or remove"),
    ],
)
def test_camvids_own_images_and_labels_go_one_to_one(tmp_path: Path, extra: str, message: str) -> None:
    write(tmp_path / "701_StillsRaw_full" / "a.png", image())
    write(tmp_path / "LabeledApproved_full" / "a_L.png", np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "label_colors.txt").write_text("64 128 64\tAnimal\n0 0 0\tVoid\n")
    (tmp_path / "LabeledApproved_full" / "notes.png").touch()  # no label file by its name
    assert len(open_dataset(f"camvid32:{tmp_path}")) == 1
    write(tmp_path / extra, np.zeros((4, 6, 3), np.uint8))

    with pytest.raises(DataError, match=message):
        open_dataset(f"camvid32:{tmp_path}")


def write_cityscapes(root: Path, ids: UInt8Array) -> None:
    """One picture of one city in the official layout."""
    write(root / "leftImg8bit" / "val" / "ulm" / "ulm_0_1_leftImg8bit.png", image(*ids.shape))
    write(root / "gtFine" / "val" / "ulm" / "ulm_0_1_gtFine_labelIds.png", ids)


OFFICIAL_CITYSCAPES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""Id and name of the classes that count, by their train ids: cityscapesscripts/helpers/labels.py."""


def test_cityscapes_ids_become_train_ids(tmp_path: Path) -> None:
    """A file holds id -1, a licence plate, as 255."""
    write_cityscapes(tmp_path, np.array([[*range(34), 255]], np.uint8))

    dataset = open_dataset(f"cityscapes:{tmp_path}/val")
    truth = dataset[0].truth

    assert dataset.class_names == tuple(OFFICIAL_CITYSCAPES.values())
    assert len({c.rgb for c in dataset.classes}) == 19
    assert truth is not None
    train_ids = dict(zip(OFFICIAL_CITYSCAPES, range(19), strict=True))
    assert truth[0].tolist() == [*(train_ids.get(official, VOID) for official in range(34)), VOID]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("{}", r"names no split\. Type for example: cityscapes:Cityscapes/val"),
        ("{}/train", r"leftImg8bit/train is not a folder"),
        ("{}/val", r"ulm_0_1_leftImg8bit\.png has no labels: .*ulm_0_1_gtFine_labelIds\.png is missing"),
    ],
)
def test_what_cityscapes_layout_lacks_is_told(tmp_path: Path, location: str, message: str) -> None:
    write_cityscapes(tmp_path, np.zeros((4, 6), np.uint8))
    (tmp_path / "gtFine" / "val" / "ulm" / "ulm_0_1_gtFine_labelIds.png").unlink()

    with pytest.raises(DataError, match=message):
        open_dataset("cityscapes:" + location.format(tmp_path))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            "gtFine/val/bonn/bonn_0_1_gtFine_labelIds.png",
            r"val lacks the images of 1 of 2 label files in .*val, the first bonn_0_1_gtFine_labelIds\.png\. Add its",
        ),
        (
            "leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.jpg",
            r"ulm holds ulm_0_1_leftImg8bit\.jpg and ulm_0_1_leftImg8bit\.png, which would share their labels",
        ),
    ],
)
def test_cityscapes_images_and_labels_go_one_to_one(tmp_path: Path, extra: str, message: str) -> None:
    write_cityscapes(tmp_path, np.zeros((4, 6), np.uint8))
    (tmp_path / "gtFine" / "val" / "ulm" / "ulm_0_1_gtFine_color.png").touch()  # lies there too, and is none
    assert len(open_dataset(f"cityscapes:{tmp_path}/val")) == 1
    write(tmp_path / extra, np.zeros((4, 6), np.uint8))

    with pytest.raises(DataError, match=message):
        open_dataset(f"cityscapes:{tmp_path}/val")
