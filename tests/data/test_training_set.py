"""Samples and augmentation: every choice a function of seed, epoch and index."""

import cv2
import numpy as np
import pytest

from edge_seg.data.augment import augment
from edge_seg.data.drive import Drive
from edge_seg.types import VOID

torch = pytest.importorskip("torch")

from edge_seg.data.training_set import EpochSampler, TrainingSet

FRAMES = [Drive(seed, 96, 72, 4)[0] for seed in range(3)]


def samples(seed: int = 1) -> TrainingSet:
    """Three given frames and two drive frames."""
    return TrainingSet(FRAMES, drive_count=2, size=(96, 72), seed=seed)


def test_a_sampler_shows_every_sample_once_an_epoch_and_in_another_order_the_next() -> None:
    sampler = EpochSampler(5, seed=1)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append([key - 5 * epoch for key in sampler])

    assert [sorted(order) for order in orders] == [[0, 1, 2, 3, 4]] * 3
    assert len({tuple(order) for order in orders}) > 1


def test_a_key_alone_fixes_a_sample() -> None:
    first, again, next_epoch, other_seed = samples()[3], samples()[3], samples()[3 + 5], samples(seed=2)[3]

    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], next_epoch[0])
    assert not torch.equal(first[0], other_seed[0])


@pytest.mark.parametrize("key", range(5))
def test_a_sample_is_bytes_of_the_asked_size(key: int) -> None:
    image, truth = samples()[key]

    assert (image.shape, image.dtype) == ((3, 72, 96), torch.uint8)
    assert (truth.shape, truth.dtype) == ((72, 96), torch.uint8)
    assert set(truth.unique().tolist()) <= {*range(11), VOID}


def test_labels_move_with_their_pixels() -> None:
    image = np.zeros((72, 96, 3), np.uint8)
    truth = np.zeros((72, 96), np.uint8)
    image[20:50, 10:60], truth[20:50, 10:60] = 255, 1

    for seed in range(20):
        view, seen = augment(image, truth, np.random.default_rng(seed))
        marked, rest = view[seen == 1], view[seen == 0]
        assert not marked.size or not rest.size or marked.mean() > rest.mean() + 60


def test_what_the_view_does_not_cover_is_void_and_zero_to_the_net() -> None:
    views = [augment(FRAMES[0].image, FRAMES[0].truth, np.random.default_rng(seed)) for seed in range(30)]
    partial = [(view, seen) for view, seen in views if (seen == VOID).mean() > 0.2]

    assert partial
    for view, seen in partial:
        void = (seen == VOID).astype(np.uint8)
        inner = cv2.erode(void, np.ones((3, 3), np.uint8)) == 1  # the seam itself is interpolated
        assert (view[inner] == 128).all()
