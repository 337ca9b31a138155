"""Data sets of one's own, in each of their forms, and what is wrong with them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_seg.data import open_dataset
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


def test_a_folder_in_colours(coloured: Path) -> None:
    dataset = open_dataset(f"folder:{coloured}")
    frame = dataset[0]

    assert (dataset.name, dataset.class_names, len(dataset)) == ("mine", ("road", "car"), 1)
    assert dataset.classes[1].rgb == (64, 0, 128)
    assert frame.image.shape == (4, 6, 3)
    assert frame.truth is not None and frame.truth[0].tolist() == [0, 0, VOID, VOID, 1, 1]


def test_a_folder_of_indices_may_share_its_table_with_other_splits(coloured: Path) -> None:
    (coloured / "classes.csv").rename(coloured.parent / "classes.csv")
    write(coloured / "labels" / "a.png", np.array([[0, 2, 2, VOID, 0, 1]] * 4, np.uint8))

    frame = open_dataset(f"folder:{coloured}")[0]

    assert frame.truth is not None and frame.truth[2].tolist() == [0, 1, 1, VOID, 0, VOID]


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (["void,0,0,0", "road,1,1,1", "car,2,2,2", "tree,3,3,3"], [VOID, 0, 1, 2]),
        (["road,1,1,1", "car,2,2,2", "tree,3,3,3", "void,0,0,0"], [0, 1, 2, VOID]),
        (["road,1,1,1", "ignore,0,0,0", "car,2,2,2", "Void,9,9,9"], [0, VOID, 1, VOID]),
        (["road,1,1,1", "car,2,2,2", "tree,3,3,3", "sky,4,4,4"], [0, 1, 2, 3]),
    ],
    ids=["void first", "void last", "two of void", "no void"],
)
def test_a_number_is_that_of_the_tables_row(coloured: Path, rows: list[str], labels: list[int]) -> None:
    (coloured / "classes.csv").write_text("name,r,g,b\n" + "\n".join(rows))
    write(coloured / "labels" / "a.png", np.array([[0, 1, 2, 3, VOID, VOID]] * 4, np.uint8))
    truth = open_dataset(f"folder:{coloured}")[0].truth

    assert truth is not None and truth[0].tolist() == [*labels, VOID, VOID]


def test_a_table_of_more_rows_than_a_byte_counts(coloured: Path) -> None:
    """255 classes below a void row: the last one's number would be 255, which is void in every file."""
    (coloured / "classes.csv").write_text("void,0,0,0\n" + "".join(f"c{n},{n},1,1\n" for n in range(255)))
    write(coloured / "labels" / "a.png", np.array([[0, 1, 253, 254, VOID, VOID]] * 4, np.uint8))
    truth = open_dataset(f"folder:{coloured}")[0].truth

    assert truth is not None and truth[0].tolist() == [VOID, 0, 252, 253, VOID, VOID]


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
    write(root / "labels" / "a.png", np.full((4, 6), 3, np.uint8))


def _no_table(root: Path) -> None:
    (root / "classes.csv").unlink()


def _bad_line(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + "tree 1 2\n")


def _big_number(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + "tree,1,2,256\n")


def _colour_twice(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + "lorry,64,0,128\n")


def _alpha(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + "tree,1,2,3,255\n")


def _row_number(root: Path) -> None:
    (root / "classes.csv").write_text("row,name,r,g,b\n0,road,128,64,128\n1,car,64,0,128\n")


def _no_name(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + '"",1,2,3\n')


def _void_after_its_colour(root: Path) -> None:
    (root / "classes.csv").write_text(TABLE + "ignore,64,0,128\n")


def _void_before_its_colour(root: Path) -> None:
    (root / "classes.csv").write_text("road,128,64,128\nignore,64,0,128\ncar,64,0,128\n")


def _bad_first_number(root: Path) -> None:
    (root / "classes.csv").write_text("other,0,0,300\nroad,128,64,128\ncar,64,0,128\n")


def _first_number_missing(root: Path) -> None:
    (root / "classes.csv").write_text("# mine\n\nother,0,0\nroad,128,64,128\ncar,64,0,128\n")


def _labels_alone(root: Path) -> None:
    write(root / "labels" / "b.png", np.zeros((4, 6), np.uint8))


def _labels_shared(root: Path) -> None:
    write(root / "images" / "a.png", image())


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
        (_other_index, r"a\.png holds the values \[3\]; expected 0 to 2, or 255 for void"),
        (
            _no_table,
            r"mine has no classes\.csv, nor has the folder above\. Write a line for each class: name,r",
        ),
        (_bad_line, r"classes\.csv, line 5: expected a name and three numbers from 0 to 255, found 'tree 1 2'"),
        (_big_number, r"classes\.csv, line 5: expected a name and three numbers"),
        (_alpha, r"classes\.csv, line 5: expected a name and three numbers .*, found 'tree,1,2,3,255'\. A name that"),
        (_row_number, r"classes\.csv, line 2: expected a name and three numbers .*, found '0,road,128,64,128'"),
        (_no_name, r"classes\.csv, line 5: expected a name and three numbers .*, found '\"\",1,2,3'"),
        (_void_after_its_colour, r"line 5: the name or the colour of 'ignore,64,0,128' was given before"),
        (_void_before_its_colour, r"line 3: the name or the colour of 'car,64,0,128' was given before"),
        (_colour_twice, r"line 5: the name or the colour of 'lorry,64,0,128' was given before"),
        (_bad_first_number, r"classes\.csv, line 1: expected a name and three numbers .*, found 'other,0,0,300'"),
        (_first_number_missing, r"classes\.csv, line 3: expected a name and three numbers .*, found 'other,0,0'"),
        (_labels_alone, r"lacks the images of 1 of 2 label files in .*labels, the first b\.png\. Add its image"),
        (_labels_shared, r"images holds a\.jpg and a\.png, which would share their labels\. Rename or remove one"),
        (_nothing, r"classes\.csv names 0 classes; 1 to 255 are possible"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(coloured: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(coloured)

    with pytest.raises(DataError, match=message):
        list(open_dataset(f"folder:{coloured}"))


@pytest.mark.parametrize(
    "line",
    [
        "tree,1,2,3,255", "255,1,2,3,tree", "4,tree,1,2,3", "1,2,3,tree,4", "1,2,3,4", "1 2 3 4", "tree 1 2 3 255",
        "4 tree 1 2 3 255", "255 1 2 3 tree", "tree\t1\t2\t3\t4", "tree; wet;1;2;3", "'' 1 2 3", "tree, wet,1,2,3",
    ],
)  # fmt: skip
def test_a_line_of_more_than_a_name_and_a_colour_is_refused(tmp_path: Path, line: str) -> None:
    """One of the numbers would be taken into the name, and the others for another colour."""
    (tmp_path / "classes.csv").write_text(f"road,128,64,128\n{line}\n")

    with pytest.raises(DataError, match=r"classes\.csv, line 2: expected a name and three numbers from 0 to 255"):
        read_class_table(tmp_path / "classes.csv")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('"tree, wet",1,2,3', "tree, wet"),
        ("1;2;3;'tree; wet'", "tree; wet"),
        ('"lane 1" 1 2 3', "lane 1"),
        ("lane 1,1,2,3", "lane 1"),
        ("lane 1\t1 2 3", "lane 1"),
        ("1 2 3\t\t2 lanes", "2 lanes"),
        ("1 2 3 lane 1", "lane 1"),
        ("2 lanes 1 2 3", "2 lanes"),
        ('"7",1,2,3', "7"),
        ("Route66,1,2,3", "Route66"),
    ],
)
def test_names_may_hold_marks_in_quotes_and_numbers_where_it_is_clear(tmp_path: Path, line: str, name: str) -> None:
    (tmp_path / "classes.csv").write_text(f"road,128,64,128\n{line}\n")

    found = read_class_table(tmp_path / "classes.csv").classes[1]
    assert (found.name, found.rgb) == (name, (1, 2, 3))


def test_a_palette_counts_as_its_colours(coloured: Path, make_png: Callable[..., bytes]) -> None:
    numbers = np.array([[0, 0, 1, 1, 1, 0]] * 4, np.uint8)
    (coloured / "labels" / "a.png").write_bytes(make_png(numbers, 1, bytes([64, 0, 128, 128, 64, 128])))
    truth = open_dataset(f"folder:{coloured}")[0].truth

    assert truth is not None and truth[3].tolist() == [1, 1, 0, 0, 0, 1]

    (coloured / "labels" / "a.png").write_bytes(make_png(numbers, 8, bytes([0, 0, 0, 128, 0, 0])))
    with pytest.raises(
        DataError, match=r"colour \(128, 0, 0\) at column 2, .* It is a palette picture: give the palette's colours in"
    ):
        list(open_dataset(f"folder:{coloured}"))


@pytest.mark.parametrize("bits", [1, 4])
def test_label_pngs_of_few_bits_hold_the_tables_rows(coloured: Path, make_png: Callable[..., bytes], bits: int) -> None:
    (coloured / "labels" / "a.png").write_bytes(make_png(np.array([[0, 1, 1, 0, 0, 0]] * 4, np.uint8), bits))
    (coloured / "classes.csv").write_text("road,128,64,128\ncar,64,0,128\n")

    for scheme in ("folder", "mask"):
        truth = open_dataset(f"{scheme}:{coloured}")[0].truth
        assert truth is not None and truth[3].tolist() == [0, 1, 1, 0, 0, 0]


def test_a_mask_of_many_values_is_told(coloured: Path) -> None:
    write(coloured / "labels" / "a.png", np.full((4, 6), 7, np.uint8))

    with pytest.raises(DataError, match=r"a\.png holds 7; a mask holds 0 for background and 1 or 255 for the object"):
        list(open_dataset(f"mask:{coloured}"))


def test_the_example_table_has_msrcs_classes() -> None:
    """MSRC's colours count the classes in the bits of red, green and blue, as VOC's do: horse is 5, boat 25."""
    table = read_class_table(MSRC)
    numbers = [n for n in range(26) if n not in (0, 19, 20)]  # void, and two numbers of no class
    colours = [tuple(64 * (n >> 3 + i & 1) + 128 * (n >> i & 1) for i in range(3)) for n in numbers]

    assert [c.rgb for c in table.classes] == colours
    assert [(c.name, c.rgb) for c in table.classes[-2:]] == [("body", (64, 64, 0)), ("boat", (192, 64, 0))]
    assert table.void_rgb == ((0, 0, 0),)
