"""Training samples: labelled frames kept in memory, and fresh drive frames, augmented."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from edge_seg.data.augment import augment
from edge_seg.data.drive import Drive
from edge_seg.resize import resize_image, resize_labels
from edge_seg.types import Dataset as LabelledFrames
from edge_seg.types import Frame, UInt8Array

FIRST_DRIVE_SEED = 10**9
"""Training streets start here, beyond the seeds that `drive:` takes, so no named drive is one of the training."""
DRIVE_SEEDS = 10**9
DRIVE_FRAMES = 1000


class EpochSampler(Sampler[int]):
    """Sample keys of one epoch in random order: key = epoch * size + index, so that a key alone fixes a sample."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each, but with worker processes too late for the first."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        return iter((self.epoch * self.size + order).tolist())


class TrainingSet(Dataset[tuple[Tensor, Tensor]]):
    """Augmented (image uint8 [3, H, W] BGR, truth uint8 [H, W]) by the keys of `EpochSampler`.

    Indices below len(frames) are the given frames, the `drive_count` above them are drive frames, each from a
    street picked anew in every epoch.
    """

    def __init__(self, frames: Sequence[Frame], *, drive_count: int, size: tuple[int, int], seed: int) -> None:
        self.frames, self.drive_count, self.seed = frames, drive_count, seed
        self.width, self.height = size

    def __len__(self) -> int:
        return len(self.frames) + self.drive_count

    def __getitem__(self, key: int) -> tuple[Tensor, Tensor]:
        epoch, index = divmod(key, len(self))
        rng = np.random.default_rng([self.seed, epoch, index])
        frame = self.frames[index] if index < len(self.frames) else self._drive_frame(rng)
        assert frame.truth is not None
        image, truth = augment(frame.image, frame.truth, rng)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), torch.from_numpy(truth)

    def _drive_frame(self, rng: np.random.Generator) -> Frame:
        seed = FIRST_DRIVE_SEED + int(rng.integers(DRIVE_SEEDS))
        drive = Drive(seed, self.width, self.height, DRIVE_FRAMES)
        return drive[int(rng.integers(DRIVE_FRAMES))]


class LabelledSet(Dataset[tuple[Tensor, Tensor]]):
    """A labelled data set as (image uint8 [3, H, W] BGR, truth uint8 [H, W]) tensors of one size (width, height)."""

    def __init__(self, dataset: LabelledFrames, size: tuple[int, int]) -> None:
        self.dataset, self.size = dataset, size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        frame = at_size(self.dataset[index], *self.size)
        assert frame.truth is not None
        return torch.from_numpy(frame.image.transpose(2, 0, 1).copy()), torch.from_numpy(frame.truth)


def at_size(frame: Frame, width: int, height: int) -> Frame:
    """The frame at width x height, its labels by the nearest."""
    if frame.truth is None or frame.truth.shape == (height, width):
        return frame
    truth = resize_labels(frame.truth, width, height)
    return replace(frame, image=resize_image(frame.image, width, height), truth=truth)


def count_pixels(truths: Sequence[UInt8Array], classes: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Pixels of each class [C] over label pictures, void left out.

    >>> count_pixels([np.array([[0, 1, 255]], np.uint8)], 2).tolist()
    [1, 1]
    """
    counts = np.zeros(256, np.int64)
    for truth in truths:
        counts += np.bincount(truth.ravel(), minlength=256)
    return counts[:classes]
