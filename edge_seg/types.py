"""The values that pass between stages."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]

VOID = 255
"""Label of a pixel without truth, in every array of this package whatever the file format calls it."""


@dataclass(frozen=True, slots=True)
class SegClass:
    """A class's name and its colour, (red, green, blue) in 0..255."""

    name: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture: image uint8 [H, W, 3] in BGR, its place in the source, and truth uint8 [H, W] where there is one."""

    image: UInt8Array
    index: int
    captured_s: float
    """`time.perf_counter()` at which the picture was complete: the zero of its age."""
    truth: UInt8Array | None = None
    name: str = ""
    time_s: float | None = None
    """When the source would show it, in seconds of the source's own clock; None where it has none, as a camera."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a Segmenter makes of one image: labels uint8 [H, W] at the image's size, and its stage times."""

    labels: UInt8Array
    pre_ms: float
    infer_ms: float
    post_ms: float


class Dataset(Protocol):
    """Frames that can be asked for by index, in an order that never changes."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[SegClass, ...]:
        """The classes in label order."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Their names."""

    @property
    def licence(self) -> str:
        """What holds for weights that are trained on it."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame: ...

    def __iter__(self) -> Iterator[Frame]: ...
