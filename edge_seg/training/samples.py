"""Training samples: labelled frames kept in memory, and fresh drive frames, augmented."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from edge_seg.data.drive import Drive
from edge_seg.recipe import Samples
from edge_seg.resize import resize_image, resize_labels
from edge_seg.training.augment import View, plan_view, take_view
from edge_seg.types import VOID, Frame, UInt8Array
from edge_seg.types import Dataset as LabelledFrames

FIRST_DRIVE_SEED = 10**9
"""Training streets start here, beyond the seeds that `drive:` takes, so no named drive is one of the training."""
DRIVE_SEEDS = 10**9
DRIVE_FRAMES = 1000


class EpochSampler(Sampler[int]):
    """Sample keys of one epoch in random order: key = epoch * size + index, so that a key alone fixes a sample.

    Of `processes` that train together, process `rank` takes every `processes`-th key. An epoch ends with its last whole
    batch; `batch` counts the samples of all processes.
    """

    def __init__(self, size: int, seed: int, batch: int = 1, *, rank: int = 0, processes: int = 1) -> None:
        self.size, self.seed, self.batch = size, seed, batch
        self.rank, self.processes = rank, processes
        self.steps = size // batch
        self.epoch = self.steps_done = 0

    def go_on_from(self, step: int) -> None:
        """Begin the next epoch at this step of the whole training."""
        self.epoch, self.steps_done = divmod(step, self.steps)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each, but with worker processes too late for the first."""
        if epoch != self.epoch:
            self.epoch, self.steps_done = epoch, 0

    def __len__(self) -> int:
        return self.steps * self.batch // self.processes

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        left = order[self.steps_done * self.batch : self.steps * self.batch]
        return iter((self.epoch * self.size + left[self.rank :: self.processes]).tolist())


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One sample before any pixel of it is made: a picture by its index or, freshly rendered, itself, and its view.

    Where another is `pasted`, what shows `classes` there covers what is here.
    """

    picture: int | tuple[Tensor, Tensor]
    view: View
    pasted: "Drawn | None" = None
    classes: tuple[int, ...] = ()


class Pictures:
    """Labelled pictures in memory, bytes on a CPU or a GPU: images [K, 3, H, W] BGR and truths [K, H, W]."""

    def __init__(self, frames: Sequence[Frame] | LabelledFrames, size: tuple[int, int]) -> None:
        """Read `frames` one after the other, each made `size` (width, height): no more than one is held twice."""
        width, height = size
        self.images = torch.empty(len(frames), 3, height, width, dtype=torch.uint8)
        self.truths = torch.empty(len(frames), height, width, dtype=torch.uint8)
        for index, frame in enumerate(frames):
            self.images[index], self.truths[index] = _tensors(at_size(frame, width, height))

    def to(self, device: torch.device) -> "Pictures":
        """Move all pictures to a device."""
        self.images, self.truths = self.images.to(device), self.truths.to(device)
        return self

    def batch(self, drawn: Sequence[Drawn]) -> tuple[Tensor, Tensor]:
        """The samples as images uint8 [N, 3, H, W] and truths uint8 [N, H, W], made where the pictures are."""
        views = [self._view(sample) for sample in drawn]
        return torch.stack([image for image, _ in views]), torch.stack([truth for _, truth in views])

    def _view(self, sample: Drawn) -> tuple[Tensor, Tensor]:
        image, truth = take_view(*self._pixels(sample.picture), sample.view)
        if sample.pasted is None:
            return image, truth
        other, labels = self._view(sample.pasted)
        above = torch.isin(labels, torch.tensor(sample.classes, dtype=torch.uint8, device=labels.device))
        return torch.where(above, other, image), torch.where(above, labels, truth)

    def _pixels(self, picture: int | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if isinstance(picture, int):
            return self.images[picture], self.truths[picture]
        image, truth = picture
        return image.to(self.images.device), truth.to(self.images.device)


class TrainingSet(Dataset[Drawn]):
    """Samples by the keys of `EpochSampler`: pictures with a random view each.

    Indices below len(truths) are the pictures with these labels, the `drive_count` above them are drive frames, each
    from a street picked anew in every epoch.
    """

    def __init__(
        self, truths: Sequence[UInt8Array], samples: Samples, *, drive_count: int, size: tuple[int, int], seed: int
    ) -> None:
        self.truths, self.samples, self.drive_count, self.seed = truths, samples, drive_count, seed
        self.width, self.height = size
        seen = truths or [self._drive_truth(key) for key in range(64)]
        self.pixels, self.where_present = count_pixels(seen)
        self.rare = rarer_than_average(self.pixels)

    def __len__(self) -> int:
        return len(self.truths) + self.drive_count

    def __getitem__(self, key: int) -> Drawn:
        epoch, index = divmod(key, len(self))
        rng = np.random.default_rng([self.seed, epoch, index])
        sample, _ = self._draw(index, rng)
        if rng.random() < self.samples.mix:
            other, truth = self._draw(int(rng.integers(len(self))), rng)
            sample = replace(sample, pasted=other, classes=half_of_classes(truth, rng))
        return sample

    def _draw(self, index: int, rng: np.random.Generator) -> tuple[Drawn, UInt8Array]:
        """A sample of a picture or of a drive frame, and the labels of all of it."""
        if index < len(self.truths):
            truth = self.truths[index]
            return Drawn(index, plan_view(truth, rng, self.samples, self.rare)), truth
        frame = self._drive_frame(rng)
        assert frame.truth is not None
        return Drawn(_tensors(frame), plan_view(frame.truth, rng, self.samples, self.rare)), frame.truth

    def _drive_truth(self, key: int) -> UInt8Array:
        truth = self._drive_frame(np.random.default_rng([self.seed, key])).truth
        assert truth is not None
        return truth

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
        return _tensors(at_size(self.dataset[index], *self.size))


def _tensors(frame: Frame) -> tuple[Tensor, Tensor]:
    """Image uint8 [3, H, W] and truth uint8 [H, W] of a labelled frame."""
    assert frame.truth is not None
    return torch.from_numpy(frame.image.transpose(2, 0, 1).copy()), torch.from_numpy(frame.truth)


def at_size(frame: Frame, width: int, height: int) -> Frame:
    """The frame at width x height, its labels by the nearest."""
    if frame.truth is None or frame.truth.shape == (height, width):
        return frame
    truth = resize_labels(frame.truth, width, height)
    return replace(frame, image=resize_image(frame.image, width, height), truth=truth)


def half_of_classes(truth: UInt8Array, rng: np.random.Generator) -> tuple[int, ...]:
    """Half of the classes that labels show, rounded up: ClassMix's choice (Olsson et al., 2021).

    >>> len(half_of_classes(np.array([[0, 0, 4, 7, 255]], np.uint8), np.random.default_rng(1)))
    2
    """
    there = np.flatnonzero(np.bincount(truth.ravel(), minlength=256)[:VOID])
    return tuple(rng.permutation(there)[: (len(there) + 1) // 2].tolist())


def count_pixels(truths: Sequence[UInt8Array]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of each label [255] over label pictures, and pixels of the pictures that show it [255], void left out.

    >>> pixels, where_present = count_pixels([np.array([[0, 1, 255]], np.uint8), np.array([[0, 0]], np.uint8)])
    >>> pixels[:3].tolist(), where_present[:3].tolist()
    ([3, 1, 0], [4, 2, 0])
    """
    pixels, where_present = np.zeros(VOID, np.int64), np.zeros(VOID, np.int64)
    for truth in truths:
        counts = np.bincount(truth.ravel(), minlength=VOID + 1)[:VOID]
        pixels += counts
        where_present += (counts > 0) * counts.sum()
    return pixels, where_present


def rarer_than_average(pixels: NDArray[np.int64]) -> tuple[int, ...]:
    """Classes that occur, but on fewer pixels than the classes do on average.

    >>> rarer_than_average(np.array([80, 15, 5, 0]))
    (1, 2)
    """
    seen = pixels > 0
    average = pixels.sum() / max(1, seen.sum())
    return tuple(int(label) for label in np.flatnonzero(seen & (pixels < average)))
