"""Views: what moves, what stays, and what lies outside."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge_seg.data.drive import Drive
from edge_seg.recipe import Samples
from edge_seg.training.augment import View, plan_view, take_view
from edge_seg.types import VOID, UInt8Array

FRAME = Drive(1, 96, 72, 4)[0]
PLAIN = np.hstack([np.eye(3), np.zeros((3, 1))]).astype(np.float32)
WHOLE = View((0.0, 0.0, 72.0, 96.0), False, PLAIN, None)


def seen(image: UInt8Array, truth: UInt8Array, view: View) -> tuple[UInt8Array, UInt8Array]:
    """The view of an image [H, W, 3] as arrays."""
    pixels, labels = take_view(torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(truth), view)
    return pixels.numpy().transpose(1, 2, 0), labels.numpy()


def frame_view(view: View) -> tuple[UInt8Array, UInt8Array]:
    """The view of a drive frame."""
    assert FRAME.truth is not None
    return seen(FRAME.image, FRAME.truth, view)


def test_the_whole_picture_is_seen_as_it_is() -> None:
    image, truth = frame_view(WHOLE)

    assert (image == FRAME.image).all()
    assert (truth == FRAME.truth).all()


def test_a_mirrored_view_is_the_picture_mirrored() -> None:
    image, truth = frame_view(replace(WHOLE, mirrored=True))

    assert FRAME.truth is not None
    assert (image == FRAME.image[:, ::-1]).all()
    assert (truth == FRAME.truth[:, ::-1]).all()


def test_a_box_is_enlarged_as_opencv_does_it() -> None:
    image, truth = frame_view(replace(WHOLE, box=(20.0, 30.0, 36.0, 48.0)))

    assert FRAME.truth is not None
    expected = cv2.resize(FRAME.image[20:56, 30:78], (96, 72), interpolation=cv2.INTER_LINEAR)
    assert np.abs(image.astype(int) - expected).max() <= 1
    assert (truth == FRAME.truth[20:56, 30:78].repeat(2, 0).repeat(2, 1)).all()


def test_a_smaller_picture_lies_where_the_box_says_in_grey_and_void() -> None:
    image, truth = frame_view(replace(WHOLE, box=(-36.0, -24.0, 144.0, 192.0)))

    inside = np.zeros((72, 96), bool)
    inside[18:54, 12:60] = True
    assert (truth[~inside] == VOID).all()
    assert (truth[inside] != VOID).all()
    assert (image[~inside] == 128).all()


def test_outside_a_smaller_picture_lies_its_mirror_image() -> None:
    image, truth = frame_view(replace(WHOLE, box=(-36.0, -24.0, 144.0, 192.0), outside="mirror"))

    assert (truth != VOID).all()
    assert (image[18 - 1 - np.arange(18)] == image[18 : 18 + 18]).all()
    assert (truth[:, 60:96] == truth[:, 59:23:-1]).all()


def test_colours_are_mapped_and_saturate() -> None:
    darker = np.hstack([np.eye(3), np.full((3, 1), -300)]).astype(np.float32)
    swapped = np.hstack([np.eye(3)[::-1], np.zeros((3, 1))]).astype(np.float32)

    assert not frame_view(replace(WHOLE, colours=darker))[0].any()
    assert (frame_view(replace(WHOLE, colours=swapped))[0] == FRAME.image[:, :, ::-1]).all()


def test_what_lies_outside_keeps_its_grey_whatever_the_colours() -> None:
    darker = np.hstack([np.eye(3), np.full((3, 1), -50)]).astype(np.float32)
    image, truth = frame_view(replace(WHOLE, box=(-72.0, -96.0, 216.0, 288.0), colours=darker))

    assert (image[truth == VOID] == 128).all()


def test_an_even_bend_shifts_the_picture() -> None:
    shift = np.zeros((2, 3, 3), np.float32)
    shift[0] = 8
    image, truth = frame_view(replace(WHOLE, bend=shift))

    assert FRAME.truth is not None
    assert (truth[:, :88] == FRAME.truth[:, 8:]).all()
    assert (truth[:, 88:] == VOID).all()
    assert np.abs(image[:, :88].astype(int) - FRAME.image[:, 8:]).max() <= 1


@pytest.mark.parametrize("outside", ["void", "mirror"])
def test_labels_move_with_their_pixels(outside: str) -> None:
    image = np.zeros((72, 96, 3), np.uint8)
    truth = np.zeros((72, 96), np.uint8)
    image[20:50, 10:60], truth[20:50, 10:60] = 255, 1
    samples = Samples(elastic=0.5, outside=outside)

    for seed in range(40):
        view, labels = seen(image, truth, plan_view(truth, np.random.default_rng(seed), samples))
        marked, rest = view[labels == 1], view[labels == 0]
        assert not marked.size or not rest.size or marked.mean() > rest.mean() + 60


def test_crops_are_placed_on_rare_classes() -> None:
    truth = np.zeros((72, 96), np.uint8)
    truth[3:5, 90:92] = 7
    image = np.zeros((72, 96, 3), np.uint8)

    def share_with_it(rare: float) -> float:
        samples = Samples(scale_least=2.0, scale_most=2.5, rare=rare)
        views = [plan_view(truth, np.random.default_rng(seed), samples, rare=(5, 7)) for seed in range(60)]
        return float(np.mean([(seen(image, truth, view)[1] == 7).any() for view in views]))

    assert share_with_it(0.0) < 0.3
    assert share_with_it(1.0) > 0.9  # all but those whose pixel lies on the very edge of the crop


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 2.5, 10.0])
def test_views_of_every_scale_have_the_pictures_size(scale: float) -> None:
    samples = Samples(scale_least=scale, scale_most=scale, stretch=1.0)
    assert FRAME.truth is not None

    for seed in range(20):
        image, truth = frame_view(plan_view(FRAME.truth, np.random.default_rng(seed), samples))
        assert (image.shape, truth.shape) == ((72, 96, 3), (72, 96))
