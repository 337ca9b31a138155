"""Sources by URI."""

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_seg.apps.sources import is_images, open_pictures, open_source
from edge_seg.errors import DataError, SourceError
from edge_seg.spec import CAMVID_CLASSES
from edge_seg.types import VOID, UInt8Array

PlugIn = Callable[..., Any]
"""What the fixture `camera` is: it gives the capture that it plugs in."""


def test_a_camera_gives_frames_until_it_stops(camera: PlugIn) -> None:
    capture = camera(3)

    with open_source("camera:2") as source:
        frames = list(source)

    assert (source.name, source.live, source.fps, source.length) == ("camera 2", True, 30.0, None)
    assert [(f.index, int(f.image[0, 0, 0])) for f in frames] == [(0, 2), (1, 1), (2, 0)]
    assert frames[0].captured_s < frames[2].captured_s
    assert capture.released


def test_a_camera_that_does_not_open_lists_those_found(camera: PlugIn, monkeypatch: pytest.MonkeyPatch) -> None:
    camera(0, opens=False)
    monkeypatch.setattr(glob, "glob", lambda pattern: ["/dev/video4", "/dev/video2"])

    with (
        pytest.raises(SourceError, match=r"Camera 0 does not open.*/dev/video2, /dev/video4.*--source drive:seed=1"),
        open_source("camera:0"),
    ):
        pass


def test_a_camera_without_pictures_is_an_error(camera: PlugIn) -> None:
    capture = camera(0)

    with pytest.raises(SourceError, match="Camera 1 opens but gives no picture"), open_source("camera:1") as source:
        list(source)
    assert capture.released


def test_a_film_gives_its_frames(clip: Path) -> None:
    with open_source(str(clip)) as source:
        frames = list(source)

    assert (source.name, source.live, source.fps, source.length, source.skipped) == ("clip.mp4", False, 25.0, 12, 0)
    assert [f.index for f in frames] == list(range(12))
    assert [f.time_s for f in frames] == pytest.approx([n / 25 for n in range(12)])


def test_a_drive_gives_frames_with_truth_and_times() -> None:
    with open_source("drive:seed=3,size=96x72,frames=3") as source:
        frames = list(source)

    assert (source.fps, source.length) == (25.0, 3)
    assert source.class_names == tuple(c.name for c in CAMVID_CLASSES)
    assert [f.time_s for f in frames] == [0, 0.04, 0.08]
    assert all(f.truth is not None and f.truth.shape == (72, 96) for f in frames)


def write_png(path: Path, image: UInt8Array) -> None:
    """Write a picture, and its folder where that is missing."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(".png", image)[1]))


def test_camvid_gives_frames_with_truth(tmp_path: Path) -> None:
    write_png(tmp_path / "val" / "a.png", np.zeros((6, 8, 3), np.uint8))
    write_png(tmp_path / "valannot" / "a.png", np.full((6, 8), 11, np.uint8))

    with open_source(f"camvid:{tmp_path}/val") as source:
        (frame,) = source

    assert (source.fps, frame.time_s) == (None, None)
    assert frame.truth is not None and frame.truth.tolist() == [[255] * 8] * 6


def test_pictures_alone_have_neither_truth_nor_classes(tmp_path: Path) -> None:
    write_png(tmp_path / "val" / "a.png", np.full((6, 8, 3), 7, np.uint8))
    write_png(tmp_path / "valannot" / "a.png", np.full((6, 8), 99, np.uint8))  # which is no class

    with open_pictures(f"camvid:{tmp_path}/val") as source:
        (frame,) = source
    with open_pictures("drive:seed=3,size=96x72,frames=2") as drive:
        frames = list(drive)

    assert (source.name, source.length, source.class_names) == ("CamVid val", 1, None)
    assert frame.truth is None and frame.image.max() == 7
    assert [(f.truth, f.time_s) for f in frames] == [(None, 0), (None, 0.04)]


def test_pictures_alone_are_those_of_any_source(clip: Path) -> None:
    with open_pictures(str(clip)) as source:
        assert len(list(source)) == 12
    with pytest.raises(SourceError, match="Network addresses cannot be read"), open_pictures("drive://there"):
        pass


def test_a_folder_of_images_gives_frames_with_the_labels_folders_truth(tmp_path: Path) -> None:
    write_png(tmp_path / "images" / "a.png", np.zeros((6, 8, 3), np.uint8))
    (tmp_path / "images" / "b.png").write_bytes(b"damaged")
    write_png(tmp_path / "labels" / "a.png", np.full((6, 8), 2, np.uint8))
    write_png(tmp_path / "labels" / "b.png", np.full((6, 8), 2, np.uint8))

    with open_source(f"{tmp_path}/images", labels=tmp_path / "labels", classes=3) as source:
        (frame,) = source

    assert frame.truth is not None and frame.truth.max() == 2
    assert (source.class_names, source.length, source.skipped) == (None, 2, 1)


@pytest.mark.parametrize("table", ["mine/classes.csv", "classes.csv"])
def test_a_label_file_means_the_same_to_a_folder_of_images_and_to_a_data_set(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    for name, picture in (("images", np.zeros((2, 3, 3), np.uint8)), ("labels", np.array([[0, 1, 2], [255, 1, 1]]))):
        write_png(tmp_path / "mine" / name / "a.png", picture.astype(np.uint8))
    (tmp_path / table).write_text("void,0,0,0\nroad,128,64,128\ncar,64,0,128\n")
    monkeypatch.chdir(tmp_path / "mine")

    with open_source("images", labels=Path("labels"), classes=2) as source:
        (frame,) = source
    with open_source(f"folder:{tmp_path}/mine") as same:
        (expected,) = same

    assert frame.truth is not None and frame.truth.tolist() == [[VOID, 0, 1], [VOID, 0, 0]]
    assert expected.truth is not None and np.array_equal(frame.truth, expected.truth)
    assert source.class_names == same.class_names == ("road", "car")


def open_labelled(images: Path, labels: Path) -> None:
    """Read a folder of images with labels of 11 classes."""
    with open_source(str(images), labels=labels, classes=11) as source:
        list(source)


@pytest.mark.parametrize("labels", ["nowhere", "empty", "val"])
def test_labels_that_lie_beside_the_images_as_camvids_do_are_pointed_at(tmp_path: Path, labels: str) -> None:
    write_png(tmp_path / "val" / "a.png", np.arange(144, dtype=np.uint8).reshape(6, 8, 3))
    write_png(tmp_path / "valannot" / "a.png", np.full((6, 8), 11, np.uint8))
    (tmp_path / "empty").mkdir()

    found = rf"There are labels in (\S+/valannot): type --labels \1\. .* type --source camvid:{tmp_path}/val$"
    with pytest.raises(DataError, match=found):
        open_labelled(tmp_path / "val", tmp_path / labels)


def test_labels_beside_images_of_another_name_are_pointed_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png(tmp_path / "ride" / "a.png", np.zeros((6, 8, 3), np.uint8))
    write_png(tmp_path / "rideannot" / "a.png", np.zeros((6, 8), np.uint8))
    monkeypatch.chdir(tmp_path / "ride")

    with pytest.raises(DataError, match=rf"type --labels {tmp_path}/rideannot\.$"):
        open_labelled(Path("."), Path("nowhere"))


@pytest.mark.parametrize("images", ["val", "frames"])
def test_camvids_void_in_its_own_labels_points_at_its_scheme(tmp_path: Path, images: str) -> None:
    write_png(tmp_path / images / "a.png", np.zeros((6, 8, 3), np.uint8))
    write_png(tmp_path / "valannot" / "a.png", np.full((6, 8), 11, np.uint8))

    message = rf"holds the values \[11\].* in which 11 is void, type --source camvid:{tmp_path}/val$"
    with pytest.raises(DataError, match=message):
        open_labelled(tmp_path / images, tmp_path / "valannot")


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("nowhere.mp4", SourceError, "nowhere.mp4 does not exist"),
        ("camera:front", SourceError, "camera:front does not exist. Give a video file, a folder of images, camera:0"),
        ("nowhere/*.png", SourceError, r"nowhere/\*.png holds no image"),
        ("camvid:nowhere/val", DataError, "nowhere is not a folder"),
        ("drive:sped=1", DataError, "drive:sped=1 has the option 'sped=1'"),
    ],
)
def test_what_gives_no_frames_is_an_error(uri: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), open_source(uri):
        pass


@pytest.mark.parametrize("name", ["shot1.png", "ride.mp4"])
def test_a_file_that_is_missing_is_told_with_names_near_it(tmp_path: Path, name: str) -> None:
    for near in ("shot01.png", "shot2.png", "rides.mp4", "notes.txt"):
        (tmp_path / near).touch()
    expected = r"Near it: shot\d+\.png, shot\d+\.png\." if name == "shot1.png" else r"Near it: rides\.mp4\."

    with pytest.raises(SourceError, match=rf"{name} does not exist\. .*{expected}"), open_source(f"{tmp_path}/{name}"):
        pass


def test_an_image_that_is_missing_with_nothing_near_it_is_told(tmp_path: Path) -> None:
    message = r"nowhere/a\.png does not exist\. Give an image, a folder of images or a video"
    with pytest.raises(SourceError, match=message), open_source(f"{tmp_path}/nowhere/a.png"):
        pass


def test_a_network_address_is_not_repeated_since_it_may_hold_a_password() -> None:
    with (
        pytest.raises(SourceError, match="Network addresses cannot be read") as caught,
        open_source("rtsp://user:secret@camera/1"),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_only_folders_globs_and_image_files_are_images(tmp_path: Path, clip: Path) -> None:
    uris = [str(tmp_path), f"{tmp_path}/*.png", "a.JPG", str(clip), "camera:0"]

    assert [is_images(uri) for uri in uris] == [True, True, True, False, False]
