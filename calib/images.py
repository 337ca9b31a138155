"""The calibration set."""

from collections.abc import Iterator

import numpy as np

from edge_seg.errors import DataError
from edge_seg.resize import resize_image
from edge_seg.spec import ModelSpec
from edge_seg.types import Dataset, UInt8Array

FEWEST_IMAGES = 8
"""Ranges of fewer pictures are those of a scene, not of a domain."""


def pick_indices(available: int, wanted: int) -> list[int]:
    """Indices of `wanted` pictures spread evenly over `available`: neighbours in a drive look alike.

    >>> pick_indices(22, 8)
    [0, 3, 6, 9, 12, 15, 18, 21]
    """
    images = min(available, wanted)
    if images < FEWEST_IMAGES:
        raise DataError(f"{images} calibration images are too few; give at least {FEWEST_IMAGES}, better 100.")
    return [int(i) for i in np.linspace(0, available - 1, images).round()]


def calibration_images(dataset: Dataset, spec: ModelSpec, wanted: int) -> Iterator[UInt8Array]:
    """Pictures uint8 [1, H, W, 3] BGR at the model's size, chosen by `pick_indices`."""
    for index in pick_indices(len(dataset), wanted):
        yield resize_image(dataset[index].image, spec.width, spec.height)[None]
