"""CamVid's public layouts, made small."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_seg.data import open_dataset
from edge_seg.data.camvid import open_camvid
from edge_seg.errors import DataError
from edge_seg.types import VOID

WriteCamVid = Callable[..., None]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_folders_alone_are_a_data_set(write_camvid: WriteCamVid, tmp_path: Path, suffix: str) -> None:
    write_camvid(tmp_path, "test", suffix)

    dataset = open_dataset(f"camvid:{tmp_path}/test")

    assert (dataset.name, len(dataset)) == ("CamVid test", 2)
    frame = dataset[1]
    assert frame.name == "b"
    assert frame.image.shape == (6, 8, 3)
    assert frame.truth is not None
    assert frame.truth[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert frame.truth[1].tolist() == [8, 9, 10, VOID, 0, 1, 2, 3]


def test_a_list_file_sets_the_order_and_may_hold_paths_of_elsewhere(write_camvid: WriteCamVid, tmp_path: Path) -> None:
    write_camvid(tmp_path, "train")
    (tmp_path / "train.txt").write_text(
        "/SegNet/CamVid/train/b.png /SegNet/CamVid/trainannot/b.png\n\ntrain/a.png trainannot/a.png\n"
    )

    dataset = open_camvid(str(tmp_path))

    assert [frame.name for frame in dataset] == ["b", "a"]


@pytest.mark.parametrize(
    "line",
    [
        "val/wet road 1.png\tvalannot/wet road 1.png",
        "val/wet road 1.png valannot/wet road 1.png",
        "/My Data/val/wet road 1.png  /My Data/valannot/wet road 1.png ",
    ],
)
def test_listed_paths_may_hold_spaces(write_camvid: WriteCamVid, tmp_path: Path, line: str) -> None:
    write_camvid(tmp_path, "val", names=["wet road 1", "road"])
    (tmp_path / "val.txt").write_text(f"{line}\nval/road.png valannot/road.png\n")

    assert [frame.name for frame in open_camvid(f"{tmp_path}/val")] == ["wet road 1", "road"]


def test_a_line_that_can_be_parted_in_two_ways_is_told(write_camvid: WriteCamVid, tmp_path: Path) -> None:
    write_camvid(tmp_path, "val", names=["a"])
    for path in ("b valannot/a.png", "a val/b.png"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    (tmp_path / "val.txt").write_text("val/a val/b valannot/a\n")

    with pytest.raises(DataError, match=r"line 1: expected 'IMAGE LABELS', found .* write a tab between the two"):
        open_camvid(f"{tmp_path}/val")


def test_a_list_file_may_start_with_a_mark_but_must_be_utf_8(write_camvid: WriteCamVid, tmp_path: Path) -> None:
    write_camvid(tmp_path, "val")
    (tmp_path / "val.txt").write_text("val/a.png valannot/a.png\n", encoding="utf-8-sig")
    assert len(open_camvid(f"{tmp_path}/val")) == 1

    (tmp_path / "val.txt").write_bytes(b"val/stra\xdfe.png valannot/stra\xdfe.png\n")
    with pytest.raises(DataError, match=r"val\.txt is not UTF-8 text, at byte 8\. Save it as UTF-8"):
        open_camvid(f"{tmp_path}/val")


def test_a_list_file_may_name_another_image_format(write_camvid: WriteCamVid, tmp_path: Path) -> None:
    write_camvid(tmp_path, "val", ".webp")
    (tmp_path / "val.txt").write_text("val/a.png valannot/a.png\n")

    assert [frame.name for frame in open_camvid(f"{tmp_path}/val")] == ["a"]


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("val/a.png\n", "val.txt, line 1: expected 'IMAGE LABELS', found 'val/a.png'"),
        ("val/a.png valannot/a.png\nval/z.png valannot/z.png\n", "z.png is listed .* but missing"),
        (
            "val/a.png valannot/a.png\n\nval/b.png valannot/z.png\n",
            r"valannot/z.png is listed in .*val.txt, line 3, but",
        ),
        ("val/a b.png valannot/a b.png\n", "line 1: expected 'IMAGE LABELS', .* write a tab between the two"),
        ("val/a.png\tvalannot/a.png\tval/b.png\n", "line 1: expected 'IMAGE LABELS'"),
        (". .\n", "is listed in .*, line 1, but missing"),
        (f"{'x' * 300} a\0b\n", "xxx is listed in .*, line 1, but missing"),
        ("", "CamVid val in .* is empty"),
    ],
)
def test_a_bad_list_file_is_told(write_camvid: WriteCamVid, tmp_path: Path, listing: str, message: str) -> None:
    write_camvid(tmp_path, "val")
    (tmp_path / "val.txt").write_text(listing)

    with pytest.raises(DataError, match=message):
        open_camvid(f"{tmp_path}/val")


def test_missing_places_and_labels_are_told(write_camvid: WriteCamVid, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a folder. Give CamVid as camvid:PATH/SPLIT"):
        open_camvid(f"{tmp_path}/nowhere/test")
    with pytest.raises(DataError, match=r"neither test.txt nor the folders test/ and testannot/"):
        open_camvid(f"{tmp_path}/test")
    write_camvid(tmp_path, "test")
    (tmp_path / "testannot" / "b.png").unlink()
    with pytest.raises(DataError, match=r"lacks the labels of 1 of 2 images, the first b\.png"):
        open_camvid(f"{tmp_path}/test")


def as_labels(root: Path, suffix: str) -> None:
    """Give the labels of the split `test` another suffix; WebP without loss."""
    for name in ("a", "b"):
        path = root / "testannot" / f"{name}.png"
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert labels is not None
        cv2.imwrite(str(path.with_suffix(suffix)), labels, [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else [])
        path.unlink()


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".tiff", ".webp", ".BMP"])
def test_labels_may_be_in_any_format_without_loss(write_camvid: WriteCamVid, tmp_path: Path, suffix: str) -> None:
    write_camvid(tmp_path, "test")
    expected = [frame.truth for frame in open_camvid(f"{tmp_path}/test")]
    as_labels(tmp_path, suffix)

    found = [frame.truth for frame in open_camvid(f"{tmp_path}/test")]

    assert np.array_equal(found, expected)


def test_labels_in_a_format_with_loss_are_refused(write_camvid: WriteCamVid, tmp_path: Path) -> None:
    write_camvid(tmp_path, "test")
    as_labels(tmp_path, ".jpg")

    with pytest.raises(
        DataError, match=r"a\.jpg is compressed with loss, which changes labels\. Write labels as \.png"
    ):
        open_camvid(f"{tmp_path}/test")[0]


def test_labels_of_another_size_or_with_unknown_values_are_told(write_camvid: WriteCamVid, tmp_path: Path) -> None:
    write_camvid(tmp_path, "test")
    cv2.imwrite(str(tmp_path / "testannot" / "a.png"), np.zeros((3, 4), np.uint8))
    cv2.imwrite(str(tmp_path / "testannot" / "b.png"), np.full((6, 8), 40, np.uint8))
    dataset = open_camvid(f"{tmp_path}/test")

    with pytest.raises(DataError, match=r"a.png is 4x3, but its image is 8x6"):
        dataset[0]
    with pytest.raises(DataError, match=r"b.png holds the values \[40\]; expected 0 to 10, or 11 for void"):
        dataset[1]


def test_another_scheme_is_told() -> None:
    with pytest.raises(DataError, match=r"No data set 'kitti:x'. Type camvid:PATH/test or drive:seed=1"):
        open_dataset("kitti:x")
