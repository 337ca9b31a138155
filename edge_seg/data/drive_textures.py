"""Walls of a drive, made once per variant and shared by all drives: facades, fences, hedges.

Light bounds every colour here to 0..190, since the tone curve keeps what is brighter for the sky.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_seg.data.drive_paint import BUILDING, FENCE, TREE, Colour, Material, make_cutout, make_wall
from edge_seg.types import UInt8Array

FACADES = 96
FENCES = 24
HEDGES = 12
GABLES = 24
MAX_VALUE = 190
SATURATION = 0.7

WALLS: tuple[Colour, ...] = (
    (70, 85, 118), (62, 72, 96), (88, 108, 132), (96, 118, 140), (120, 134, 146), (150, 156, 160), (172, 174, 174),
    (110, 114, 116), (84, 88, 92), (58, 62, 68), (140, 150, 158), (104, 122, 138), (66, 64, 66), (150, 140, 128),
)  # fmt: skip
"""Brick, stone and render of British streets, BGR."""


def vary(rng: np.random.Generator, colour: Colour, spread: float = 5.0) -> Colour:
    """The colour with another brightness, less saturated as on a dull day, and a hue off by about `spread` percent."""
    gain, *hues = (1 + rng.normal(0, 1, 4) * (0.18, spread / 100, spread / 150, spread / 100)).tolist()
    grey = sum(colour) / 3
    dull = [(grey + SATURATION * (c - grey)) * gain * hue for c, hue in zip(colour, hues, strict=True)]
    b, g, r = (int(min(MAX_VALUE, max(4.0, c))) for c in dull)
    return b, g, r


def lit(colour: Colour, light: float) -> Colour:
    """The colour under less or more light, within 0..190.

    >>> lit((100, 50, 180), 1.2)
    (120, 60, 190)
    """
    b, g, r = (min(MAX_VALUE, int(c * light)) for c in colour)
    return b, g, r


def bounded(values: NDArray[np.float32]) -> UInt8Array:
    """The values as uint8 within 2..190."""
    return np.minimum(np.maximum(values, 2), MAX_VALUE).astype(np.uint8)


def speckle(rng: np.random.Generator, image: UInt8Array, *, fine: float = 6.0, stains: float = 0.1) -> UInt8Array:
    """The image with fine noise and slow stains, within 0..190."""
    height, width = image.shape[:2]
    slow = cv2.resize(rng.normal(1, stains, (5, 5)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, fine, (height, width)).astype(np.float32)
    rough = image.astype(np.float32) * slow[..., None] + noise[..., None]
    return bounded(rough)


def shade(image: UInt8Array, light: float) -> UInt8Array:
    """The image under less or more light."""
    return bounded(image * np.float32(light))


@lru_cache(maxsize=2 * FACADES)
def facade(variant: int, sunny: bool) -> Material:
    """A house front about 9 m wide and 9 m high, opaque."""
    rng = np.random.default_rng([71, variant])
    image = np.full((224, 224, 3), vary(rng, WALLS[variant % len(WALLS)]), np.uint8)
    _courses(rng, image)
    shop = 62 if rng.random() < 0.55 else 0
    _windows(rng, image, 224 - shop)
    if shop:
        _shop(rng, image[224 - shop :])
    else:
        _door(rng, image)
    cv2.rectangle(image, (0, 0), (223, int(rng.integers(2, 9))), vary(rng, (110, 112, 114)), -1)
    return make_wall(shade(speckle(rng, image), 1.15 if sunny else 0.72), BUILDING)


def _courses(rng: np.random.Generator, image: UInt8Array) -> None:
    """Brick courses, or bands of stone, or nothing on rendered walls."""
    pitch, depth = int(rng.choice([3, 4, 8, 16])), rng.uniform(0.0, 0.16)
    rows = np.ones((image.shape[0], 1, 1), np.float32)
    rows[::pitch] -= depth
    mottle = rng.normal(1, rng.uniform(0.01, 0.1), (image.shape[0] // 4, image.shape[1] // 4)).astype(np.float32)
    stones = cv2.resize(mottle, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    image[:] = np.clip(image * rows * stones[..., None], 0, MAX_VALUE)


def _windows(rng: np.random.Generator, image: UInt8Array, base: int) -> None:
    """Rows of windows above row `base`."""
    floors, bays = int(rng.integers(2, 5)), int(rng.integers(2, 7))
    tall, wide = base / floors, image.shape[1] / bays
    height, width = tall * rng.uniform(0.4, 0.75), wide * rng.uniform(0.3, 0.85)
    frame = vary(rng, (165, 165, 165) if rng.random() < 0.6 else (50, 50, 50))
    surround = vary(rng, (140, 145, 150)) if rng.random() < 0.5 else None
    for floor in range(floors):
        for bay in range(bays):
            x, y = int((bay + 0.5) * wide - width / 2), int((floor + 0.55) * tall - height / 2)
            _window(rng, image[y : y + int(height), x : x + int(width)], frame)
            if surround:
                cv2.rectangle(image, (x - 2, y - 3), (x + int(width) + 2, y + int(height) + 2), surround, 2)


def _window(rng: np.random.Generator, pane: UInt8Array, frame: Colour) -> None:
    if pane.size == 0:
        return
    height, width = pane.shape[:2]
    top, bottom = rng.uniform(20, 110), rng.uniform(15, 60)
    pane[:] = np.linspace(top, bottom, height)[:, None, None] * np.array([1.08, 1.0, 0.95])
    if rng.random() < 0.3:
        cv2.rectangle(pane, (0, 0), (width, int(height * rng.uniform(0.2, 0.7))), vary(rng, (130, 135, 140)), -1)
    cv2.rectangle(pane, (0, 0), (width - 1, height - 1), frame, 1)
    cv2.line(pane, (0, height // 2), (width, height // 2), frame, 1)
    if rng.random() < 0.6:
        cv2.line(pane, (width // 2, 0), (width // 2, height), frame, 1)


def _shop(rng: np.random.Generator, image: UInt8Array) -> None:
    """A shop front: fascia with lettering over dark glass."""
    height, width = image.shape[:2]
    image[:] = vary(rng, (38, 40, 44))
    for x in range(0, width, int(rng.integers(18, 60))):
        goods = vary(rng, (70, 80, 95), 40)
        cv2.rectangle(image, (x + 3, 24), (x + int(rng.integers(6, 22)), height - int(rng.integers(3, 16))), goods, -1)
        cv2.line(image, (x, 14), (x, height), vary(rng, (110, 110, 110)), 2)
    fascia = vary(rng, (70, 70, 70), 45)
    cv2.rectangle(image, (0, 0), (width, int(rng.integers(12, 20))), fascia, -1)
    letters = vary(rng, (165, 165, 165), 10)
    for x in range(int(rng.integers(10, 60)), int(rng.integers(100, 210)), 9):
        cv2.rectangle(image, (x, 5), (x + int(rng.integers(3, 7)), 11), letters, -1)
    cv2.rectangle(image, (0, height - 4), (width, height), vary(rng, (60, 60, 60)), -1)


def _door(rng: np.random.Generator, image: UInt8Array) -> None:
    x = int(rng.integers(10, image.shape[1] - 40))
    cv2.rectangle(image, (x, 168), (x + 24, 223), vary(rng, (60, 55, 60), 40), -1)
    cv2.rectangle(image, (x - 2, 166), (x + 26, 224), vary(rng, (150, 150, 150)), 2)


@lru_cache(maxsize=FENCES)
def fence(variant: int) -> Material:
    """Twelve metres of railings, boards or mesh: a cut-out, all of it FENCE, bars and gaps alike."""
    rng = np.random.default_rng([72, variant])
    height, width = 64, 256
    image = np.full((height, width, 3), vary(rng, (48, 54, 58) if variant % 3 else (70, 88, 104), 14), np.uint8)
    opacity = np.full((height, width), 255, np.uint8)
    if variant % 3:
        opacity[:] = rng.integers(10, 110)
        opacity[:, :: int(rng.integers(3, 6))] = 255
        opacity[2:6] = opacity[-10:-6] = 255
        opacity[:, :: int(rng.integers(25, 50))] = 255
    else:
        image[:, :: int(rng.integers(3, 8))] //= 2
    return make_cutout(speckle(rng, image, fine=9.0), FENCE, opacity, np.ones_like(opacity))


@lru_cache(maxsize=HEDGES)
def hedge(variant: int) -> Material:
    """Twelve metres of hedge or shrubs with a ragged top: a cut-out."""
    rng = np.random.default_rng([73, variant])
    height, width = 96, 256
    image = leaves(rng, height, width, vary(rng, (46, 62, 58), 12))
    tops = cv2.resize(rng.uniform(0, 26, (1, 32)).astype(np.float32), (width, 1), interpolation=cv2.INTER_CUBIC)
    solid = (np.arange(height)[:, None] >= tops + rng.normal(0, 2, (1, width))).astype(np.uint8)
    return make_cutout(image, TREE, 255 * solid, solid)


def leaves(rng: np.random.Generator, height: int, width: int, colour: Colour) -> UInt8Array:
    """Foliage [height, width, 3]: clumps lit from above, leaf by leaf."""
    clumps = cv2.resize(rng.normal(1, 0.3, (height // 10, width // 10)).astype(np.float32), (width, height))
    leaf = cv2.resize(rng.normal(1, 0.28, (height // 2, width // 2)).astype(np.float32), (width, height))
    light = np.clip(clumps * leaf * np.linspace(1.25, 0.7, height, dtype=np.float32)[:, None], 0.1, 2.4)
    return bounded(light[..., None] * np.array(colour, np.float32))


@lru_cache(maxsize=GABLES)
def gable(variant: int) -> Material:
    """A wall about 8 m wide and high with hardly a window, opaque."""
    rng = np.random.default_rng([74, variant])
    image = np.full((160, 160, 3), vary(rng, WALLS[variant % len(WALLS)]), np.uint8)
    _courses(rng, image)
    for _ in range(int(rng.integers(0, 4))):
        x, y = (int(n) for n in rng.integers(10, 130, 2))
        _window(rng, image[y : y + 22, x : x + 14], vary(rng, (140, 140, 140)))
    return make_wall(shade(speckle(rng, image, stains=0.12), 0.75), BUILDING)


@lru_cache(maxsize=2)
def blank_wall(sunny: bool) -> Material:
    """A low garden wall (BUILDING, as in CamVid)."""
    rng = np.random.default_rng(75)
    image = np.full((48, 192, 3), vary(rng, (84, 98, 116)), np.uint8)
    _courses(rng, image)
    image[:4] = 120
    return make_wall(shade(speckle(rng, image), 1.2 if sunny else 0.8), BUILDING)
