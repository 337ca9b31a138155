"""Our calibrators called as TensorRT calls them: by the virtual functions of C++, into the bindings, into Python.

    python tests/tensorrt/drive_calibrator.py KIND FIRST_SLOT      # with the bindings of a generation as `tensorrt`

A builder would call them so, but needs a GPU. Here the object's table of virtual functions is read with ctypes; its
order is that of NvInfer.h (IInt8Calibrator), where the interface's own functions come first from TensorRT 10 on. Prints
what came back as JSON.
"""

import ctypes
import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from fake_cuda import Cuda

from edge_seg.calib.trt_calibrator import calibrator_by_cache, calibrator_by_pictures
from edge_seg.runners.cuda import open_device

POINTER = ctypes.sizeof(ctypes.c_void_p)
HEADER = object.__basicsize__
"""Behind it pybind11 keeps the address of the C++ object."""


class Driver:
    """The five functions of a calibrator, called from C++'s side."""

    def __init__(self, calibrator: Any, first: int) -> None:  # noqa: ANN401
        self.calibrator = calibrator
        self.address = ctypes.c_void_p.from_address(id(calibrator) + HEADER).value
        assert self.address
        self.table, self.first = ctypes.c_void_p.from_address(self.address).value or 0, first

    def call(self, place: int, result: Any, *arguments: Any) -> Any:  # noqa: ANN401
        """The result of the function at a place of the table."""
        code = ctypes.c_void_p.from_address(self.table + POINTER * (self.first + place)).value
        kinds = [type(argument) for argument in arguments]
        return ctypes.PYFUNCTYPE(result, ctypes.c_void_p, *kinds)(code)(self.address, *arguments)

    def batch_size(self) -> int:
        return int(self.call(0, ctypes.c_int32))

    def batch(self, names: list[bytes]) -> int | None:
        """The device address that was filled in; None where it says that there is no more."""
        places, texts = (ctypes.c_void_p * len(names))(), (ctypes.c_char_p * len(names))(*names)
        more = self.call(1, ctypes.c_bool, places, texts, ctypes.c_int32(len(names)))
        return places[0] if more else None

    def read_cache(self) -> bytes | None:
        length = ctypes.c_size_t(0)
        place = self.call(2, ctypes.c_void_p, ctypes.pointer(length))
        return None if place is None else ctypes.string_at(place, length.value)

    def write_cache(self, content: bytes) -> None:
        self.call(3, None, ctypes.c_char_p(content), ctypes.c_size_t(len(content)))

    def algorithm(self) -> int:
        return int(self.call(4, ctypes.c_int32))


def fake_cuda() -> Any:  # noqa: ANN401
    """The fake in the place of pycuda."""
    package, cuda = ModuleType("pycuda"), Cuda()
    package.driver = cuda  # type: ignore[attr-defined]
    sys.modules |= {"pycuda": package, "pycuda.driver": cuda}
    return cuda


def unreadable() -> Iterator[Any]:
    """A batch, and then an error."""
    yield np.zeros((2, 2, 2, 3), np.uint8)
    raise OSError("a disk that is gone")


def main(kind: str, first: int) -> None:
    """Drive a calibrator through pictures and another through a cache."""
    import tensorrt as trt  # type: ignore[import-not-found,unused-ignore]

    cuda, written = fake_cuda(), list[bytes]()
    device, errors = open_device(), list[BaseException]()
    batches = [np.full((count, 2, 2, 3), value, np.uint8) for count, value in ((2, 7), (2, 9), (1, 11))]
    with device.current():
        told = {"shape": (2, 2, 2, 3), "on_cache": written.append, "on_error": errors.append}
        driver = Driver(calibrator_by_pictures(trt, kind, batches, device, **told), first)  # type: ignore[arg-type]
        found: dict[str, Any] = {"size": driver.batch_size(), "cache": driver.read_cache(), "shown": []}
        while (address := driver.batch([b"image"])) is not None:
            found["shown"].append(cuda.memory[address][: batches[0].size].tolist())
        driver.write_cache(b"TRT-1-X")
        found |= {"algorithm": driver.algorithm(), "written": [content.decode() for content in written]}
        broken = Driver(calibrator_by_pictures(trt, kind, unreadable(), device, **told), first)  # type: ignore[arg-type]
        found |= {"before": broken.batch([b"image"]) is not None, "after": broken.batch([b"image"])}
        broken.write_cache(b"TRT-1-X")
        found |= {"errors": [str(error) for error in errors], "still": len(written)}
        known = Driver(calibrator_by_cache(trt, kind, b"known"), first)
        found |= {"known": (known.read_cache() or b"").decode(), "more": known.batch([b"image"])}
    names = {int(value): name for name, value in trt.CalibrationAlgoType.__members__.items()}
    print(json.dumps(found | {"algorithm": names[found["algorithm"]]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
