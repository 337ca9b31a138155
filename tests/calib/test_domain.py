"""What is told of a calibration set."""

from dataclasses import replace

import numpy as np
import pytest

from edge_seg.calib.candidates import mirror_agreement
from edge_seg.calib.diversity import Floats
from edge_seg.calib.domain import class_warnings, fit_warnings, picture_warnings
from edge_seg.calib.manifest import Picture
from edge_seg.data.drive import Drive
from edge_seg.segmenter import open_segmenter
from edge_seg.spec import CAMVID_CLASSES, ModelSpec

SPEC = ModelSpec("net", CAMVID_CLASSES, 480, 360, "CamVid train")
PICTURE = Picture(0, 0, "first", 960, 540, "0" * 64, 0, 0.4, 0.2, 0.3)
TRAINED = "Perhaps not what net was trained on (CamVid train), or a weak model: "


def shares_of(**changes: float) -> Floats:
    """Shares of 10 pictures with all classes alike, but for those named."""
    row = np.full(11, 1 / 11, np.float32)
    for name, value in changes.items():
        row[SPEC.class_names.index(name)] = value
    return np.tile(row / row.sum(), (10, 1))


def test_nothing_is_told_of_a_good_set() -> None:
    pictures = [PICTURE] * 100

    assert picture_warnings(pictures, 100) == []
    assert class_warnings(shares_of(), SPEC) == []
    assert fit_warnings(pictures, 0.95, SPEC) == []


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [
        (50, 50, []),
        (49, 49, ["49 pictures are few. Better give 100 or more: --images 120"]),
        (60, 61, ["60 of 61 pictures: the sources hold no more that differ. Give more sources: --data URI"]),
    ],
)
def test_too_few_are_told(count: int, wanted: int, expected: list[str]) -> None:
    assert picture_warnings([PICTURE] * count, wanted) == expected


@pytest.mark.parametrize(("brightness", "said"), [(0.05, "darker than 10%"), (0.95, "brighter than 90%")])
def test_light_far_outside_is_told(brightness: float, said: str) -> None:
    odd = replace(PICTURE, brightness=brightness)

    assert picture_warnings([PICTURE] * 30 + [odd] * 30, 60) == []
    (told,) = picture_warnings([PICTURE] * 29 + [odd] * 31, 60)
    assert told == f"31 of 60 pictures are {said} of white in the mean."


def test_classes_that_no_picture_shows_are_told() -> None:
    (told,) = class_warnings(shares_of(Pole=0, Fence=0.0005), SPEC)

    assert told == "No picture shows Pole, Fence to net: their ranges are not seen."


def test_one_class_or_few_classes_are_told() -> None:
    noise = np.zeros((10, 11), np.float32)
    noise[:, :4] = (0.97, 0.01, 0.01, 0.01)

    told = class_warnings(noise, SPEC)

    assert told[1:] == [TRAINED + "7 of 11 classes never occur.", TRAINED + "97% of all pixels are Sky."]


def test_a_mask_may_be_nearly_empty() -> None:
    mask = ModelSpec("mask", CAMVID_CLASSES[:2], 480, 360, "")

    assert class_warnings(np.tile(np.array([0.97, 0.03], np.float32), (10, 1)), mask) == []


def test_stretched_pictures_are_told() -> None:
    tall = replace(PICTURE, width=540, height=960, name="phone")

    (told,) = fit_warnings([PICTURE, tall, tall], 0.95, SPEC)

    assert told == "2 pictures are stretched by more than 1.5 to net's 480x360, the first phone of 540x960."


def test_labels_that_the_mirror_changes_are_told() -> None:
    (told,) = fit_warnings([PICTURE], 0.73, replace(SPEC, dataset=""))

    assert told == (
        "Perhaps not what net was trained on, or a weak model: "
        "mirrored pictures get the mirrored labels at 73% of the pixels, expected 90% or more."
    )


def test_a_trained_net_knows_a_drive_and_not_what_is_upside_down() -> None:
    drive = [Drive(5, 480, 360, 100)[n].image for n in (0, 60)]
    with open_segmenter("edge-seg-s-drive", "onnxruntime") as segment:
        upright, turned = (
            np.mean([mirror_agreement(image, segment(image).labels, segment) for image in images])
            for images in (drive, [np.ascontiguousarray(image[::-1]) for image in drive])
        )

    assert upright > 0.9 > turned
