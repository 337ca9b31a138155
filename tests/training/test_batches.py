"""What a resumed run must find again of its data."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from edge_seg.recipe import Samples
from edge_seg.training.batches import fixed_by_data
from edge_seg.training.samples import TrainingSet
from edge_seg.types import UInt8Array

FIRST, SECOND = (np.full((72, 96), label, np.uint8) for label in (0, 1))


def fixed(*truths: UInt8Array, names: tuple[str, ...] = ("road", "rest"), drive_count: int = 0) -> dict[str, object]:
    """What is fixed by pictures with these labels and by drive frames."""
    samples = TrainingSet(truths, Samples(), drive_count=drive_count, size=(96, 72), seed=1)
    return fixed_by_data(names, samples)


def test_the_same_pictures_are_the_same_data() -> None:
    assert fixed(FIRST, SECOND) == fixed(FIRST.copy(), SECOND.copy())
    assert fixed(drive_count=3) == fixed(drive_count=3)


def test_other_data_is_told_by_what_is_other() -> None:
    changed = {
        "classes": fixed(FIRST, SECOND, names=("rest", "road")),
        "samples": fixed(FIRST, SECOND, drive_count=1),
        "labels": fixed(FIRST, FIRST),
    }

    before = fixed(FIRST, SECOND)
    for name, now in changed.items():
        assert [key for key, value in before.items() if now[key] != value] == [name]
