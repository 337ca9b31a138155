"""The text of TensorRT's calibration cache, which an engine with implicit INT8 is built from without pictures.

A header such as `TRT-8503-EntropyCalibration2`, then a line `tensor: 3c010204` for each tensor: the bits of a float32,
most significant first. The number is the step of int8 with zero point 0, max(|min|, |max|) / 127. So it stands in the
README of NVIDIA's sampleINT8, and so trtexec reads it (samples/common/sampleEngines.cpp of 8.5.3 and 10.3).

TensorRT skips a cache whose header does not suit it. How closely the version must agree with its own is not documented;
10 was reported to refuse a cache of 8.6 ("Calibration table does not match calibrator algorithm type"). So the user
names the version that will build.
"""

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_seg.errors import DataError, ModelError
from edge_seg.export.tensorrt_support import known_version
from edge_seg.files import check_path, read_text

ALGORITHMS = {
    "entropy2": "EntropyCalibration2",
    "entropy": "EntropyCalibration",
    "min-max": "MinMaxCalibration",
    "legacy": "LegacyCalibration",
}
"""The words of the header by our names. TensorRT takes a cache for a calibrator of the same algorithm alone."""

OF_TRTEXEC = ALGORITHMS["entropy2"]
"""Of the calibrator in trtexec, which DLA asks for too."""

HEADER = re.compile(r"TRT-(\d{4,6})-(\w+)")
VERSION = re.compile(r"\d{1,2}\.\d{1,2}(\.\d{1,2}(\.\d+)?)?")
SCALE = re.compile(r"[0-9a-fA-F]{8}")


@dataclass(frozen=True, slots=True)
class Version:
    """A TensorRT, such as 8.5.3."""

    major: int
    minor: int
    patch: int

    @property
    def number(self) -> int:
        """As headers have it, and as trtexec prints it when it starts: `[TensorRT v8503]` (NV_TENSORRT_VERSION)."""
        return self.major * (10000 if self.major >= 10 else 1000) + self.minor * 100 + self.patch

    @property
    def parser(self) -> str:
        """The newest version of export.tensorrt_support that is no newer than this one.

        >>> Version(10, 7, 0).parser
        '10.3'
        """
        return known_version(f"{self.major}.{self.minor}")


def parse_version(text: str) -> Version:
    """TensorRT's version as a user types it; ModelError for none, and for one that the cache is of no use to.

    >>> parse_version("8.5.3").number, parse_version("10.3").number, parse_version("10.3.0.26").number
    (8503, 100300, 100300)
    >>> parse_version("8.5")
    Traceback (most recent call last):
    ...
    edge_seg.errors.ModelError: TensorRT 8.5 came out several times. Give three numbers, such as 8.5.3: ...
    """
    if not VERSION.fullmatch(text):
        raise ModelError(f"{text!r} is no version of TensorRT; expected one such as 8.5.3 or 10.3.")
    major, minor, *rest = (int(number) for number in text.split("."))
    if (major, minor) < (8, 5):
        raise ModelError(f"TensorRT {text} takes no uint8 pictures; expected 8.5 or newer.")
    if major > 10:
        raise ModelError(
            f"TensorRT {text} has no calibrators any more; expected 8.5 to 10. It reads the file of: edge-seg quantize "
            "MODEL --target tensorrt"
        )
    if not rest and major < 10:
        raise ModelError(
            f"TensorRT {text} came out several times. Give three numbers, such as {text}.3: trtexec prints its own "
            f"when it starts, [TensorRT v{Version(major, minor, 3).number}]."
        )
    return Version(major, minor, rest[0] if rest else 0)


def find_algorithm(name: str) -> str:
    """An algorithm as the header has it; ModelError for an unknown name.

    >>> find_algorithm("entropy2")
    'EntropyCalibration2'
    """
    if name not in ALGORITHMS:
        raise ModelError(f"No algorithm {name!r}. Choose {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]


@dataclass(frozen=True, slots=True)
class Cache:
    """TensorRT's version as a number, the algorithm as the header has it, and scales by tensor, in the file's order.

    `unscaled` are tensors that TensorRT wrote as infinite: it found no scale for them.
    """

    version: int
    algorithm: str
    scales: dict[str, np.float32]
    unscaled: tuple[str, ...] = ()

    @property
    def header(self) -> str:
        """The first line.

        >>> Cache(8503, "EntropyCalibration2", {}).header
        'TRT-8503-EntropyCalibration2'
        """
        return f"TRT-{self.version}-{self.algorithm}"

    def to_text(self) -> str:
        """The file's text, which `parse_cache` reads back.

        >>> print(Cache(8503, "EntropyCalibration2", {"image": np.float32(1 / 127)}).to_text(), end="")
        TRT-8503-EntropyCalibration2
        image: 3c010204
        """
        lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in self.scales.items()]
        return "\n".join([self.header, *lines, ""])


def read_cache(path: Path) -> Cache:
    """A cache from a file; DataError where it is none."""
    if check_path(path, DataError).exists() and not path.is_file():  # a device may never end
        raise DataError(f"{path} is no ordinary file. Give a calibration cache.")
    return parse_cache(read_text(path, DataError), str(path))


def parse_cache(text: str, where: str) -> Cache:
    """A cache from its text; DataError names the line that is wrong.

    >>> parse_cache("TRT-8503-EntropyCalibration2\\nimage: 3c010204\\n", "my.cache").scales
    {'image': np.float32(0.007874016)}
    """
    first, *lines = text.split("\n")
    header = HEADER.fullmatch(first.strip())
    if header is None or header[2] not in ALGORITHMS.values():
        raise DataError(
            f"{where}, line 1: {first.strip()[:60]!r} heads no calibration cache; expected TRT-VERSION-ALGORITHM, such "
            f"as TRT-8503-EntropyCalibration2, with one of {', '.join(ALGORITHMS.values())}."
        )
    scales: dict[str, np.float32] = {}
    for number, line in enumerate(lines, 2):
        if line.strip():
            name, scale = _parse_line(line.strip(), f"{where}, line {number}")
            if name in scales:
                raise DataError(f"{where}, line {number}: {name} was there before. Give each tensor one line.")
            scales[name] = scale
    unscaled = tuple(name for name, scale in scales.items() if math.isinf(scale))
    finite = {name: scale for name, scale in scales.items() if math.isfinite(scale)}
    return Cache(int(header[1]), header[2], finite, unscaled)


def _parse_line(line: str, where: str) -> tuple[str, np.float32]:
    name, _, digits = (part.strip() for part in line.rpartition(":"))  # a name may hold colons: onnx::Conv_12
    if not name or not SCALE.fullmatch(digits):
        raise DataError(f"{where}: {line[:80]!r}; expected a tensor's name, a colon and 8 hexadecimal digits.")
    scale = np.float32(struct.unpack(">f", bytes.fromhex(digits))[0])
    if not scale > 0:  # so NaN is caught
        raise DataError(f"{where}: {digits} is {scale:g}, no scale for {name}; expected one above 0. Calibrate again.")
    return name, scale
