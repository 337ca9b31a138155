"""Calibration sets: which pictures are picked, and that it is the same ones again."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_seg.calib.candidates import share_out, spread
from edge_seg.calib.images import Plan, pick_images, plan_images
from edge_seg.calib.manifest import hash_image, manifest_hash
from edge_seg.calib.pictures import open_pictures
from edge_seg.data.drive import Drive
from edge_seg.errors import DataError, ModelError, SourceError
from edge_seg.resize import resize_image
from edge_seg.runners import open_runner
from edge_seg.types import UInt8Array

DRIVE = "drive:seed=3,frames=200,size=48x36"


def patches(number: int, width: int = 96, height: int = 72) -> UInt8Array:
    """A picture of 8x6 coloured patches, another one for each number."""
    cells = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def write_pictures(folder: Path, images: list[UInt8Array]) -> str:
    folder.mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return str(folder)


def names(plan: Plan) -> list[str]:
    return [picture.name for picture in pick_images(plan).manifest.pictures]


def test_the_same_pictures_are_picked_again() -> None:
    first, again = (pick_images(plan_images([DRIVE], 12)).manifest for _ in range(2))
    other = pick_images(plan_images([DRIVE], 12, seed=2)).manifest

    assert first == again
    assert len(first.pictures) == 12
    assert manifest_hash(other) != manifest_hash(first)


def test_a_seed_matters_where_every_picture_is_a_candidate(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "shots", [patches(n) for n in range(30)])

    picks = {tuple(names(plan_images([folder], 10, seed=seed))) for seed in range(4)}

    assert len(picks) > 1


def test_no_near_copy_is_picked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    copies = [cv2.add(patches(n % 10), rng.integers(0, 3, (72, 96, 3), dtype=np.uint8)) for n in range(40)]
    folder = write_pictures(tmp_path / "shots", [np.asarray(image, np.uint8) for image in copies])

    selection = pick_images(plan_images([folder, folder], 20))

    assert sorted(int(Path(p.name).stem) % 10 for p in selection.manifest.pictures) == list(range(10))
    assert "10 of 20 pictures: the sources hold no more that differ. Give more sources" in selection.warnings[0]


def test_a_short_scene_is_not_missed(tmp_path: Path, write_clip: Callable[..., Path]) -> None:
    drive = [frame.image for frame in Drive(3, 96, 72, 60)]
    night = [np.asarray(image // 6, np.uint8) for image in drive[30:32]]
    film = write_clip(tmp_path / "film.mp4", [*drive[:30], *night, *drive[32:]])

    pictures = pick_images(plan_images([str(film)], 8)).manifest.pictures

    assert any(picture.brightness < 0.15 for picture in pictures)
    assert len({picture.scene for picture in pictures}) == 3
    assert [picture.index for picture in pictures] == sorted(picture.index for picture in pictures)


def test_what_shows_nothing_is_left_out(tmp_path: Path) -> None:
    blank = [np.full((72, 96, 3), grey, np.uint8) for grey in (0, 90, 255)]
    folder = write_pictures(tmp_path / "shots", [*blank, *(patches(n) for n in range(9))])

    selection = pick_images(plan_images([folder], 12))

    assert selection.blank == 3
    assert [p.name for p in selection.manifest.pictures] == [f"{n}.png" for n in range(3, 12)]


def test_a_damaged_picture_is_skipped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_pictures(tmp_path / "shots", [patches(n) for n in range(10)])
    (tmp_path / "shots/4.png").write_bytes(b"damaged")

    with caplog.at_level(logging.WARNING):
        selection = pick_images(plan_images([folder], 10))

    assert selection.unreadable == 1
    assert "4.png" not in [picture.name for picture in selection.manifest.pictures]
    assert "Skipped: " in caplog.text
    assert "4.png is damaged or no picture" in caplog.text


def test_each_candidate_is_told_and_no_more_are_looked_at(write_clip: Callable[..., Path], tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", [patches(n % 40) for n in range(100)])
    plan = plan_images([str(film), "drive:frames=10000000,size=32x32"], 8)
    calls: list[int] = []

    selection = pick_images(plan, on_image=lambda: calls.append(1))

    assert len(calls) == plan.candidates == selection.candidates == 80
    assert selection.available == (100, 10_000_000)
    assert [len(places) for places in plan.places] == [40, 40]


def test_a_film_whose_container_counts_no_frames(write_clip: Callable[..., Path], tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", [patches(n) for n in range(12)])

    pictures = open_pictures(str(film))

    assert len(pictures) == 12
    shots = list(pictures.read([0, 5, 11, 30]))
    assert [(shot.index, shot.name) for shot in shots] == [(0, "000000"), (5, "000005"), (11, "000011")]
    assert all(np.abs(shot.image.astype(int) - patches(shot.index)).mean() < 30 for shot in shots)


def test_places_that_are_not_there_are_not_read(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "shots", [patches(0)])

    for uri in (folder, str(tmp_path / "shots/*.png"), str(tmp_path / "shots/0.png"), "drive:frames=1,size=96x72"):
        assert [shot.index for shot in open_pictures(uri).read([0, 1, 2])] == [0]


def test_a_model_brings_the_classes(tiny_model: Path) -> None:
    plan = plan_images([DRIVE], 8)
    selection = pick_images(plan, model=str(tiny_model))
    pictures = selection.manifest.pictures

    with open_runner(tiny_model) as runner:
        images = np.stack([resize_image(Drive(3, 48, 36, 200)[picture.index].image, 96, 72) for picture in pictures])
        labels = runner.infer(images)
    shares = np.stack([np.bincount(one.ravel(), minlength=11) / one.size for one in labels])
    shown = [int(count) for count in (shares >= 0.001).sum(axis=0)]

    assert [count for _, count in selection.classes.values()] == shown
    assert [share for share, _ in selection.classes.values()] == pytest.approx(shares.mean(axis=0), abs=1e-4)
    assert selection.manifest.model == "tiny"
    assert selection.manifest.model_sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert selection.mirrored is not None
    assert any("Perhaps not what tiny was trained on (nothing), or a weak model: " in w for w in selection.warnings)


@pytest.mark.parametrize(
    ("uris", "wanted", "message"),
    [
        (["drive:frames=100"], 7, "7 calibration images are too few; give at least 8"),
        (["drive:frames=3", "drive:frames=2"], 20, "5 calibration images are too few; give at least 8"),
        (["camera:0"], 20, "camera:0 never shows a picture again. Record it: edge-seg run --source camera:0"),
        (["nowhere"], 20, "nowhere does not exist. Type a data set such as"),
        (["camvid:nowhere"], 20, "nowhere is not a folder"),
        (["nowhere/*.png"], 20, "holds no image"),
    ],
)
def test_bad_input_is_told(uris: list[str], wanted: int, message: str) -> None:
    with pytest.raises((DataError, SourceError), match=message.replace("*", r"\*")):
        plan_images(uris, wanted)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(SourceError, match="Network addresses cannot be read") as told:
        plan_images(["rtsp://user:secret@camera"], 20)
    assert "secret" not in str(told.value)


def test_too_few_that_differ(tmp_path: Path) -> None:
    same = write_pictures(tmp_path / "same", [patches(n % 3) for n in range(20)])
    blank = write_pictures(tmp_path / "blank", [np.zeros((72, 96, 3), np.uint8)] * 20)

    with pytest.raises(DataError, match=r"3 calibration images are too few \(of 20 candidates, the others damaged"):
        pick_images(plan_images([same], 20))
    with pytest.raises(DataError, match="0 calibration images are too few"):
        pick_images(plan_images([blank], 20))


def test_no_model_of_that_name() -> None:
    with pytest.raises(ModelError, match=r"No model 'nowhere\.onnx'"):
        pick_images(plan_images([DRIVE], 8), model="nowhere.onnx")


def test_the_hash_knows_size_and_bytes() -> None:
    image = patches(1)

    assert hash_image(image) == hash_image(np.ascontiguousarray(image[:, ::-1])[:, ::-1])
    assert hash_image(image) != hash_image(image.reshape(96, 72, 3))
    assert hash_image(image) != hash_image(image[:, :, ::-1])


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [([5, 5], 100, [5, 5]), ([100, 100, 100], 30, [10, 10, 10]), ([3, 100, 2], 30, [3, 25, 2]), ([7], 0, [0])],
)
def test_candidates_are_shared_out(lengths: list[int], most: int, expected: list[int]) -> None:
    assert share_out(lengths, most) == expected


@pytest.mark.parametrize(("length", "count"), [(10, 10), (11, 10), (19, 10), (1000, 7), (3, 9), (0, 4)])
def test_each_stretch_gives_one_place(length: int, count: int) -> None:
    for seed in range(20):
        places = spread(length, count, np.random.default_rng(seed))
        assert len(set(places)) == len(places) == min(length, count)
        assert places == sorted(places)
        assert all(place * len(places) // length == rank for rank, place in enumerate(places)) or length < 2 * count
