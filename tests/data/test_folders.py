"""Data sets of one's own, in each of their forms, and what is wrong with them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_seg.data import open_dataset
from edge_seg.data.cityscapes import CITYSCAPES_CLASSES, LABEL_IDS
from edge_seg.data.class_table import read_class_table
from edge_seg.errors import DataError
from edge_seg.types import VOID, UInt8Array

MSRC = Path(__file__).parents[2] / "docs" / "examples" / "msrc.csv"
TABLE = "name,r,g,b\nroad,128,64,128\nvoid,0,0,0\ncar,64,0,128\n"


def write(path: Path, picture: UInt8Array) -> None:
    """Write a picture, RGB where it has three channels, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture)


def image(height: int = 4, width: int = 6) -> UInt8Array:
    """A picture of noise."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    """A folder with one picture, labelled in the colours of a table: road, void, car from left to right."""
    labels = np.repeat(np.array([[(128, 64, 128), (0, 0, 0), (64, 0, 128)]], np.uint8), 4, axis=0).repeat(2, axis=1)
    write(tmp_path / "mine" / "images" / "a.jpg", image())
    write(tmp_path / "mine" / "labels" / "a.png", labels)
    (tmp_path / "mine" / "classes.csv").write_text(TABLE)
    return tmp_path / "mine"


def test_a_folder_in_colours(coloured: Path) -> None:
    dataset = open_dataset(f"folder:{coloured}")
    frame = dataset[0]

    assert (dataset.name, dataset.class_names, len(dataset)) == ("mine", ("road", "car"), 1)
    assert dataset.classes[1].rgb == (64, 0, 128)
    assert frame.image.shape == (4, 6, 3)
    assert frame.truth is not None and frame.truth[0].tolist() == [0, 0, VOID, VOID, 1, 1]


def test_a_folder_of_indices_may_share_its_table_with_other_splits(coloured: Path) -> None:
    (coloured / "classes.csv").rename(coloured.parent / "classes.csv")
    write(coloured / "labels" / "a.png", np.array([[0, 1, 1, VOID, 0, 0]] * 4, np.uint8))

    frame = open_dataset(f"folder:{coloured}")[0]

    assert frame.truth is not None and frame.truth[2].tolist() == [0, 1, 1, VOID, 0, 0]


def test_masks_hold_one_object(coloured: Path) -> None:
    for top in (1, 255):
        write(coloured / "labels" / "a.png", np.array([[0, top, top, 0, 0, 0]] * 4, np.uint8))
        dataset = open_dataset(f"mask:{coloured}")

        assert dataset.class_names == ("background", "object")
        assert dataset[0].truth is not None and dataset[0].truth[3].tolist() == [0, 1, 1, 0, 0, 0]


def _no_images(root: Path) -> None:
    (root / "images" / "a.jpg").unlink()


def _no_labels(root: Path) -> None:
    (root / "labels" / "a.png").unlink()


def _no_folder(root: Path) -> None:
    _no_labels(root)
    (root / "labels").rmdir()


def _other_size(root: Path) -> None:
    write(root / "labels" / "a.png", np.zeros((5, 6), np.uint8))


def _other_colour(root: Path) -> None:
    labels = np.full((4, 6, 3), (128, 64, 128), np.uint8)
    labels[2, 3] = labels[3, 3] = (1, 2, 3)
    write(root / "labels" / "a.png", labels)


def _other_index(root: Path) -> None:
    write(root / "labels" / "a.png", np.full((4, 6), 2, np.uint8))


def _no_table(root: Path) -> None:
    (root / "classes.csv").unlink()


def _bad_line(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + "tree 1 2\n")


def _big_number(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + "tree,1,2,256\n")


def _colour_twice(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + "lorry,64,0,128\n")


def _nothing(root: Path) -> None:
    (root / "classes.csv").write_text("name,r,g,b\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_images, r"images is empty\. Expected files ending in \.png"),
        (_no_labels, r"labels lacks the labels of 1 of 1 images, the first a"),
        (_no_folder, r"labels is not a folder\. Type for example: mkdir "),
        (_other_size, r"a\.png is 6x5, but its image is 6x4"),
        (
            _other_colour,
            r"a\.png holds the colour \(1, 2, 3\) at column 3, row 2 \(2 pixels .* not name",
        ),
        (_other_index, r"a\.png holds the values \[2\]; expected 0 to 1, or 255 for void"),
        (
            _no_table,
            r"mine has no classes\.csv, nor has the folder above\. Write a line for each class: name,r",
        ),
        (_bad_line, r"classes\.csv, line 5: expected a name and three numbers from 0 to 255, found 'tree 1 2'"),
        (_big_number, r"classes\.csv, line 5: expected a name and three numbers"),
        (_colour_twice, r"line 5: the name or the colour of 'lorry,64,0,128' was given before"),
        (_nothing, r"classes\.csv names 0 classes; 1 to 255 are possible"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(coloured: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(coloured)

    with pytest.raises(DataError, match=message):
        list(open_dataset(f"folder:{coloured}"))


def test_a_mask_of_many_values_is_told(coloured: Path) -> None:
    write(coloured / "labels" / "a.png", np.full((4, 6), 7, np.uint8))

    with pytest.raises(DataError, match=r"a\.png holds 7; a mask holds 0 for background and 1 or 255 for the object"):
        list(open_dataset(f"mask:{coloured}"))


def test_the_example_table_has_msrcs_classes() -> None:
    table = read_class_table(MSRC)

    assert len(table.classes) == 23
    assert table.void_rgb == ((0, 0, 0),)


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


def write_cityscapes(root: Path, ids: UInt8Array) -> None:
    """One picture of one city in the official layout."""
    write(root / "leftImg8bit" / "val" / "ulm" / "ulm_0_1_leftImg8bit.png", image(*ids.shape))
    write(root / "gtFine" / "val" / "ulm" / "ulm_0_1_gtFine_labelIds.png", ids)


def test_cityscapes_ids_become_train_ids(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, np.array([[*range(34), VOID]], np.uint8))

    dataset = open_dataset(f"cityscapes:{tmp_path}/val")
    truth = dataset[0].truth

    assert truth is not None and dataset.class_names[:2] == ("road", "sidewalk")
    assert len(dataset.classes) == len({c.rgb for c in CITYSCAPES_CLASSES}) == 19
    assert [int(i) for i in np.flatnonzero(truth[0] != VOID)] == list(LABEL_IDS)
    assert truth[0][list(LABEL_IDS)].tolist() == list(range(19))


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


UNION = """classes = "classes.csv"
[[set]]
data = "folder:{0}"
map = {{ road = "ground" }}
[[set]]
data = "drive:seed=1,size=96x72,frames=3"
map = {{ Road = "ground", Pavement = "ground", Car = "car" }}
"""


def test_a_union_maps_classes_by_name_or_as_it_says(coloured: Path) -> None:
    (coloured.parent / "classes.csv").write_text("car,64,0,128\nground,128,64,128\n")
    (coloured.parent / "both.toml").write_text(UNION.format(coloured))

    dataset = open_dataset(f"union:{coloured.parent}/both.toml")
    frames = list(dataset)
    drive = open_dataset("drive:seed=1,size=96x72,frames=3")[0].truth

    assert (dataset.name, dataset.class_names, len(frames)) == ("both", ("car", "ground"), 4)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert frames[0].truth is not None and frames[0].truth[0].tolist() == [1, 1, VOID, VOID, 0, 0]
    assert drive is not None and frames[1].truth is not None
    assert np.array_equal(frames[1].truth == 1, np.isin(drive, (3, 4)))
    assert np.array_equal(frames[1].truth == 0, drive == 8)
    assert dataset.licence == "Apache-2.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("road = ", "rood = "), r"both\.toml maps 'rood', but mine has no such class\. It has: road, car"),
        (('road = "ground"', 'road = "grund"'), r"maps 'grund', but its table has no such class\. It has: car, ground"),
        (('classes = "classes.csv"', ""), r"lacks classes or a set with data\. Expected a file such as"),
        (("[[set]]", "[set]"), r"both\.toml (is no TOML|lacks classes)"),
        (("data = ", "data : "), r"both\.toml is no TOML"),
    ],
)
def test_what_is_wrong_with_a_union_is_told(coloured: Path, change: tuple[str, str], message: str) -> None:
    (coloured.parent / "classes.csv").write_text("car,64,0,128\nground,128,64,128\n")
    (coloured.parent / "both.toml").write_text(UNION.format(coloured).replace(*change))

    with pytest.raises(DataError, match=message):
        open_dataset(f"union:{coloured.parent}/both.toml")


def test_a_set_of_which_a_union_leaves_nothing_is_told(coloured: Path) -> None:
    (coloured.parent / "trees.csv").write_text("tree,128,128,0\n")
    (coloured.parent / "trees.toml").write_text(f'classes = "trees.csv"\n[[set]]\ndata = "folder:{coloured}"\n')

    with pytest.raises(DataError, match=r"trees\.toml leaves no class of mine\. Map some: road, car"):
        open_dataset(f"union:{coloured.parent}/trees.toml")


def test_a_union_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.toml cannot be read: .*\. Expected a file such as"):
        open_dataset(f"union:{tmp_path}/nowhere.toml")
