"""Several data sets as one, and what is wrong with them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_seg.data import open_dataset
from edge_seg.data.camvid import CAMVID_LICENCE
from edge_seg.errors import DataError
from edge_seg.types import VOID

UNION = """classes = "classes.csv"
[[set]]
data = "folder:{0}"
map = {{ road = "ground" }}
[[set]]
data = "drive:seed=1,size=96x72,frames=3"
map = {{ Road = "ground", Pavement = "ground", Car = "car" }}
"""


def write_union(path: Path, *sets: str) -> str:
    """Write a union of sets, whose table is `classes.csv`, and give its URI."""
    path.write_text('classes = "classes.csv"\n' + "".join(f'[[set]]\ndata = "{data}"\n' for data in sets))
    return f"union:{path}"


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
    assert dataset.licence == ""  # the folder's is unknown, so the whole is not under that of drive frames


def test_a_union_is_under_all_the_licences_of_its_sets(tmp_path: Path, write_camvid: Callable[..., None]) -> None:
    write_camvid(tmp_path, "val")
    (tmp_path / "classes.csv").write_text("Sky,128,128,128\n")
    drives = [f"drive:seed={seed},size=96x72,frames=1" for seed in (1, 2)]

    assert open_dataset(write_union(tmp_path / "drives.toml", *drives)).licence == "Apache-2.0"
    assert open_dataset(write_union(tmp_path / "a.toml", drives[0], f"camvid:{tmp_path}/val")).licence == CAMVID_LICENCE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("road = ", "rood = "), r"both\.toml maps 'rood', but mine has no such class\. It has: road, car"),
        (('road = "ground"', 'road = "grund"'), r"maps 'grund', but its table has no such class\. It has: car, ground"),
        (('classes = "classes.csv"', ""), r"lacks classes or a set with data\. Expected a file such as"),
        (("[[set]]", "[set]"), r"both\.toml (is no TOML|lacks classes)"),
        (("data = ", "data : "), r"both\.toml is no TOML"),
        (("classes = ", f"deep = {'[' * 5000}\nclasses = "), r"both\.toml is no TOML"),
        (('map = { road = "ground" }', 'map = "road"'), r"both\.toml has the map 'road'; expected names for names"),
        (('road = "ground"', "road = 1"), r"both\.toml has the map \{'road': 1\}; expected names for names"),
        (('road = "ground"', 'road = ["ground"]'), r"both\.toml has the map \{'road': \['ground'\]\}; expected names"),
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


@pytest.mark.parametrize(("first", "last"), [("a", "a"), ("b", "b")])
def test_a_union_that_is_a_set_of_itself_is_told(tmp_path: Path, first: str, last: str) -> None:
    (tmp_path / "classes.csv").write_text("Sky,128,128,128\n")
    write_union(tmp_path / "b.toml", "drive:seed=1,size=96x72,frames=1", f"union:{tmp_path}/a.toml")
    write_union(tmp_path / "a.toml", f"union:{tmp_path}/./{first}.toml")

    with pytest.raises(DataError, match=rf"a\.toml is a set of itself, by way of .*{last}\.toml\. Remove it from the"):
        open_dataset(f"union:{tmp_path}/a.toml")


def test_a_union_may_hold_one_more_than_once(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("Sky,128,128,128\n")
    inner = write_union(tmp_path / "b.toml", "drive:seed=1,size=96x72,frames=1")

    assert len(open_dataset(write_union(tmp_path / "a.toml", inner, inner))) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_union_may_start_with_the_mark_of_utf_8(tmp_path: Path, encoding: str) -> None:
    """Some editors put it before the first line of every file."""
    (tmp_path / "classes.csv").write_text("Sky,128,128,128\n")
    text = 'classes = "classes.csv"\n[[set]]\ndata = "drive:seed=1,size=96x72,frames=2"\n'
    (tmp_path / "a.toml").write_text(text, encoding=encoding)

    assert len(open_dataset(f"union:{tmp_path}/a.toml")) == 2


def test_a_union_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'classes = "\xff"')

    with pytest.raises(DataError, match=r"a\.toml is not UTF-8 text, at byte 11\. .* Expected a file such as"):
        open_dataset(f"union:{tmp_path}/a.toml")


def test_a_union_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.toml cannot be read: .*\. Expected a file such as"):
        open_dataset(f"union:{tmp_path}/nowhere.toml")
