"""Manifests of calibration sets: what they say, where their pictures are found, and that a change is noticed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_seg.calib.images import pick_images, plan_images
from edge_seg.calib.manifest import Manifest, Picture, manifest_hash, manifest_images, read_manifest, write_manifest
from edge_seg.errors import DataError, SinkError
from edge_seg.resize import resize_image
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.types import UInt8Array

SPEC = ModelSpec("tiny", CAMVID_CLASSES, 96, 72, "nothing")


def patches(number: int, width: int = 128, height: int = 96) -> UInt8Array:
    """A picture of 8x6 coloured patches, another one for each number."""
    cells = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def write_pictures(folder: Path, count: int = 9) -> Path:
    """A folder of pictures 0.png, 1.png and so on."""
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), patches(number))
    return folder


@pytest.fixture
def picked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sets/calib.json with 9 pictures of shots/, picked from the folder that holds both."""
    write_pictures(tmp_path / "shots")
    (tmp_path / "sets").mkdir()
    monkeypatch.chdir(tmp_path)
    write_manifest(Path("sets/calib.json"), pick_images(plan_images(["shots"], 9)).manifest)
    return tmp_path / "sets/calib.json"


def test_what_is_written_is_read(picked: Path) -> None:
    manifest = read_manifest(picked)
    content = json.loads(picked.read_text())

    assert [picture.name for picture in manifest.pictures] == [f"{n}.png" for n in range(9)]
    assert [(p.index, p.width, p.height) for p in manifest.pictures] == [(n, 128, 96) for n in range(9)]
    assert manifest.seed == 1
    assert (content["version"], content["hash"]) == (1, manifest_hash(manifest))
    assert len({picture.sha256 for picture in manifest.pictures}) == 9


def test_the_pictures_come_in_order_at_the_models_size(picked: Path) -> None:
    images = list(manifest_images(read_manifest(picked), SPEC))

    assert [image.shape for image in images] == [(1, 72, 96, 3)] * 9
    for number, image in enumerate(images):
        assert np.array_equal(image[0], resize_image(patches(number), 96, 72))


def test_a_relative_source_is_seen_from_the_manifest(
    picked: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert json.loads(picked.read_text())["sources"] == ["../shots"]
    shutil.copytree(picked.parents[1], elsewhere / "copy")
    shutil.rmtree(picked.parents[1] / "shots")
    monkeypatch.chdir(elsewhere)

    manifest = read_manifest(Path("copy/sets/calib.json"))

    assert manifest.sources == (str(elsewhere / "copy/shots"),)
    assert len(list(manifest_images(manifest, SPEC))) == 9


def test_the_manifests_folder_may_be_a_link(picked: Path, tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/link").symlink_to(picked.parent)
    manifest = Manifest(("shots",), read_manifest(picked).pictures, 1)
    write_manifest(Path("deep/er/link/other.json"), manifest)

    assert len(list(manifest_images(read_manifest(Path("deep/er/link/other.json")), SPEC))) == 9
    assert len(list(manifest_images(read_manifest(picked.parent / "other.json"), SPEC))) == 9


def test_an_absolute_source_stays(tmp_path: Path) -> None:
    pictures = pick_images(plan_images([str(write_pictures(tmp_path / "a"))], 9)).manifest.pictures
    sources = (str(tmp_path / "a"), f"folder:{tmp_path}", "drive:seed=1", "camvid:CamVid/train", "*.png")
    write_manifest(tmp_path / "calib.json", Manifest(sources, pictures, 1))

    written = json.loads((tmp_path / "calib.json").read_text())["sources"]

    assert written[:3] == list(sources[:3])
    assert written[3].startswith("camvid:../")
    assert read_manifest(tmp_path / "calib.json").sources[3:] == (
        f"camvid:{Path.cwd() / 'CamVid/train'}",
        str(Path.cwd() / "*.png"),
    )


def test_the_hash_is_of_the_pixels_and_not_of_the_place(picked: Path) -> None:
    manifest = read_manifest(picked)
    shutil.copytree("shots", "others")
    cv2.imwrite("others/3.png", patches(3), [cv2.IMWRITE_PNG_COMPRESSION, 0])  # other bytes, the same pixels

    same = pick_images(plan_images(["others"], 9)).manifest

    assert manifest_hash(same) == manifest_hash(manifest)
    assert manifest_hash(replace(manifest, pictures=manifest.pictures[1:])) != manifest_hash(manifest)


def change(path: Path) -> None:
    image = patches(4)
    image[0, 0, 0] ^= 1
    cv2.imwrite(str(path), image)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change, r"Calibration picture 4\.png \(number 4 of .*shots\) has other pixels .*edge-seg calib images"),
        (Path.unlink, r"picture 4\.png .* In its place is 5\.png: files were added or removed"),
        (lambda path: path.write_bytes(b"no picture"), r"picture 4\.png .* is missing or damaged. Put it back"),
        (lambda path: shutil.rmtree(path.parent), r"shots does not exist.* It is a source of the calibration set"),
    ],
)
def test_a_change_names_the_picture(picked: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(Path("shots/4.png"))

    with pytest.raises(DataError, match=message):
        list(manifest_images(read_manifest(picked), SPEC))


def test_a_source_that_became_shorter(picked: Path) -> None:
    Path("shots/8.png").unlink()
    images = manifest_images(read_manifest(picked), SPEC)

    with pytest.raises(DataError, match=r"picture 8\.png .* is missing"):
        list(images)


def test_frames_of_a_film_are_found_again(tmp_path: Path, write_clip: Callable[..., Path]) -> None:
    film = write_clip(tmp_path / "film.mp4", [patches(n) for n in range(12)])
    manifest = pick_images(plan_images([str(film), "drive:frames=9,size=96x72"], 20)).manifest
    write_manifest(tmp_path / "calib.json", manifest)

    images = list(manifest_images(read_manifest(tmp_path / "calib.json"), SPEC))

    assert len(images) == len(manifest.pictures)
    assert {picture.source for picture in manifest.pictures} == {0, 1}
    write_clip(film, [patches(n + 1) for n in range(12)])
    with pytest.raises(DataError, match=r"picture 000000 \(number 0 of .*film\.mp4\) has other pixels"):
        next(manifest_images(read_manifest(tmp_path / "calib.json"), SPEC))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "a manifest of version 2; this program reads 1"),
        ({"hash": "0" * 64}, "was edited: its pictures have another hash than it says"),
        ({"seed": "1"}, "seed is not a whole number"),
        ({"sources": [1]}, "sources, model or model_sha256 is not text"),
        ({"model": None}, "sources, model or model_sha256 is not text"),
        ({"sources": []}, r"pictures\[0\]\.source is not the number of a source"),
        ({"pictures": []}, "pictures is not 1 to 100000 of them"),
        ({"pictures": [{}]}, "is no manifest of a calibration set"),
        ({"pictures": None}, "is no manifest of a calibration set"),
    ],
)
def test_a_manifest_of_nonsense_is_told(picked: Path, change: dict[str, Any], message: str) -> None:
    content = json.loads(picked.read_text())
    picked.write_text(json.dumps(content | change))

    with pytest.raises(DataError, match=message):
        read_manifest(picked)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("index", -1, "a whole number, 0 or more"),
        ("width", 1.5, "a whole number, 0 or more"),
        ("scene", True, "a whole number, 0 or more"),
        ("brightness", 2, "a number from 0 to 1"),
        ("contrast", float("nan"), "a number from 0 to 1"),
        ("name", 3, "text"),
        ("sha256", "abc", "64 hexadecimal digits"),
        ("sha256", None, "64 hexadecimal digits"),
    ],
)
def test_a_picture_of_nonsense_is_told(picked: Path, field: str, value: object, expected: str) -> None:
    content = json.loads(picked.read_text())
    content["pictures"][2][field] = value
    picked.write_text(json.dumps(content))

    with pytest.raises(DataError, match=rf"pictures\[2\]\.{field} is not {expected}"):
        read_manifest(picked)


def test_pictures_come_once_and_in_order(picked: Path) -> None:
    content = json.loads(picked.read_text())
    for pictures in (content["pictures"][::-1], [content["pictures"][0]] * 2):
        picked.write_text(json.dumps(content | {"pictures": pictures}))
        with pytest.raises(DataError, match="pictures is not each once, in order of source and index"):
            read_manifest(picked)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "no JSON"])
def test_what_is_no_manifest_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "calib.json").write_text(text)

    with pytest.raises(DataError, match=r"calib\.json is no manifest of a calibration set .*edge-seg calib images"):
        read_manifest(tmp_path / "calib.json")


def test_a_manifest_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json cannot be read: No such file"):
        read_manifest(tmp_path / "nowhere.json")


def test_nothing_is_half_written(tmp_path: Path) -> None:
    picture = Picture(0, 0, "a", 1, 1, "0" * 64, 0, 0.5, 0.5, 0.5)
    with pytest.raises(SinkError, match="cannot be written"):
        write_manifest(tmp_path / "no/calib.json", Manifest(("a",), (picture,), 1))
    assert list(tmp_path.iterdir()) == []
