"""An engine whose INT8 comes from a calibrator of TensorRT: of a cache, or of pictures, shown as bytes or as floats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_seg.errors import ModelError
from edge_seg.export.build_log import Watch
from edge_seg.export.to_engine import Implicit, NotBuiltError, Plan
from edge_seg.runners.cuda import Device


@dataclass(frozen=True, slots=True)
class Calibration:
    """How an engine is calibrated: `make` gives TensorRT's calibrator, `key` is a hash of what it learns from.

    `make` is given the package, the device, within whose context it is called, what to tell of an error, since TensorRT
    takes one for the end of the pictures, and whether to show pictures as floats. What one calibrator has learned the
    next one answers from. `batch` is how many pictures are shown at a time.
    """

    make: Callable[[Any, Device, Callable[[BaseException], None], bool], Any]
    key: str
    batch: int


def build_calibrated(
    make: Callable[[bool], Any],
    build: Callable[[Implicit], Plan],
    *,
    batch: int,
    watch: Watch,
    tell: Callable[[str], None],
) -> Plan:
    """The plan that `build` makes by a calibrator of `make`, which is asked for one of bytes (False) or floats (True).

    Where TensorRT learns nothing from pictures in bytes, whether it says so or not, it is shown the float-input twin of
    the model, and the model takes that cache. ModelError where it learns nothing from that either.
    """
    calibrator = make(False)
    try:
        plan = build(Implicit(calibrator, batch))
    except NotBuiltError:
        if calibrator.has_cache:
            raise
    else:
        if calibrator.has_cache or watch.ended:
            return plan
    tell("TensorRT has learned nothing from pictures in bytes: showing them as floats to a twin of the model.")
    calibrator = make(True)
    plan = build(Implicit(calibrator, batch, floats=True))
    if watch.ended:
        return plan
    if not calibrator.has_cache:
        raise ModelError(
            "TensorRT has built an engine, but has asked for no pictures: it would have no INT8. Write Q/DQ nodes "
            "instead: edge-seg quantize MODEL --target tensorrt"
        )
    return build(Implicit(make(False), batch))
