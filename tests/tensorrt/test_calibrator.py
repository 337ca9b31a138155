"""What a calibrator holds on a fake GPU, and when it is given up."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from edge_seg.calib.trt_calibrator import calibrator_by_pictures
from edge_seg.runners.cuda import open_device

Gpu = Callable[..., tuple[Any, Any]]


@contextmanager
def collected_by_hand() -> Iterator[None]:
    """Rings of objects stay while the block runs."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def unreadable() -> Iterator[Any]:
    """Pictures of a disk that is gone."""
    yield from ()
    raise OSError("a disk that is gone")


@pytest.mark.parametrize("readable", [True, False])
def test_a_calibrators_memory_goes_with_it(readable: bool, gpu: Gpu) -> None:
    """At once, in the device's context, and not whenever Python collects rings of objects."""
    trt, cuda = gpu("8.6.1")
    device, errors, shape = open_device(), list[BaseException](), (1, 2, 2, 3)
    batches = iter([np.zeros(shape, np.uint8)]) if readable else unreadable()
    with collected_by_hand(), device.current():
        calibrator = calibrator_by_pictures(
            trt, "entropy", batches, device, shape=shape, on_cache=lambda cache: None, on_error=errors.append
        )
        shown = calibrator.get_batch(["image"])
        memory = cuda.locked[-1]
        assert memory() is not None
        del calibrator
        errors.clear()

        assert memory() is None
    assert (shown is not None) is readable
