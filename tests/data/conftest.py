"""Small label files and folders that several tests share."""

import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_seg.types import UInt8Array

TABLE = "name,r,g,b\nroad,128,64,128\nvoid,0,0,0\ncar,64,0,128\n"


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    """A folder with one picture, labelled in the colours of a table: road, void, car from left to right."""
    root = tmp_path / "mine"
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    rgb = np.repeat(np.array([[(128, 64, 128), (0, 0, 0), (64, 0, 128)]], np.uint8), 4, axis=0).repeat(2, axis=1)
    image = np.random.default_rng(0).integers(0, 256, rgb.shape, dtype=np.uint8)
    cv2.imwrite(str(root / "images" / "a.jpg"), image)
    cv2.imwrite(str(root / "labels" / "a.png"), rgb[..., ::-1])
    (root / "classes.csv").write_text(TABLE)
    return root


@pytest.fixture
def make_png() -> Callable[..., bytes]:
    """Makes the content of a PNG from numbers [H, W], so many bits each; grey, or with a palette of RGB bytes.

    Written by hand, since OpenCV writes neither palettes nor pictures of 2 and 4 bits.
    """

    def make(numbers: UInt8Array, bits: int, palette: bytes = b"") -> bytes:
        height, width = numbers.shape
        header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, 3 if palette else 0, 0, 0, 0])
        spread = (numbers[:, :, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8)  # from the highest bit
        lines = b"".join(b"\0" + np.packbits(line).tobytes() for line in spread)
        chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
        kept = [(kind, content) for kind, content in chunks if kind != b"PLTE" or content]
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in kept)

    return make


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
