"""Sky, light and lens of a drive: the backdrop at infinity, the tone curve, and the camera's own faults."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from edge_seg.data.drive_paint import BUILDING, SKY, TREE, Canvas, Colour, grain
from edge_seg.data.drive_textures import MAX_VALUE, vary
from edge_seg.types import UInt8Array


def backdrop(seed: int, width: int, horizon: int) -> Canvas:
    """Sky, clouds and the far skyline down to the horizon, twice as wide as the picture so that the camera can turn.

    The sky lies in 195..255, above all that stands in the street, and the tone curve gives it its own light.
    """
    rng = np.random.default_rng([51, seed])
    wide = 2 * width
    image = cv2.merge([_clouds(rng, wide, horizon)] * 3).astype(np.uint8, copy=False)
    labels = np.full((horizon, wide), SKY, np.uint8)
    layers = ((BUILDING, (96, 98, 100)), (TREE, (70, 78, 80)), (TREE, (52, 62, 62)))
    for label, colour in layers:
        _skyline(rng, Canvas(image, labels), label, vary(rng, colour, 16))
    return Canvas(image, labels)


def _clouds(rng: np.random.Generator, width: int, height: int) -> UInt8Array:
    """Brightness [H, W] of the sky: clouds of three sizes, brighter towards the horizon."""
    field = np.linspace(214, 242, 48, dtype=np.float32)[:, None] + np.zeros(144, np.float32)
    for rows, strength in ((3, 7.2), (8, 3.6), (20, 1.8)):
        coarse = rng.normal(0, strength, (rows, 3 * rows)).astype(np.float32)
        field += np.asarray(cv2.resize(coarse, (144, 48), interpolation=cv2.INTER_CUBIC), np.float32)
    small = np.clip(field, 195, 255).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def _skyline(rng: np.random.Generator, canvas: Canvas, label: int, colour: Colour) -> None:
    """A ragged row of far roofs or tree tops standing on the horizon."""
    height, width = canvas.labels.shape
    steps = int(rng.integers(10, 60)) if label == BUILDING else width // 3
    tops = np.maximum(0, rng.normal(0.03, 0.05, 12)) * height * rng.uniform(0.5, 3.0)
    line = cv2.resize(tops[None].astype(np.float32), (steps, 1), interpolation=cv2.INTER_LINEAR)
    line += rng.normal(0, 0.012 * height, steps)
    how = cv2.INTER_NEAREST if label == BUILDING else cv2.INTER_LINEAR
    rows = height - cv2.resize(line, (width, 1), interpolation=how)[0]
    solid = np.arange(height)[:, None] >= rows
    mask = solid.astype(np.uint8)
    rough = np.tile(grain(2, 256), (height // 256 + 1, width // 256 + 1))[:height, :width]
    cv2.copyTo(cv2.merge([cv2.convertScaleAbs(rough, alpha=c / 128) for c in colour]), mask, canvas.image)
    canvas.labels[solid] = label


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """What turns painted values into a photograph: tone curve [1, 256, 3], vignette [H, W, 3], blur, noise."""

    curve: UInt8Array
    vignette: UInt8Array
    blur_px: float
    noise: float
    seed: int

    def photograph(self, image: UInt8Array, index: int) -> None:
        """Turn the painted picture [H, W, 3], in place, into what the sensor would give for frame `index`."""
        cv2.LUT(image, self.curve, dst=image)
        cv2.GaussianBlur(image, (3, 3), self.blur_px, dst=image)
        cv2.multiply(image, self.vignette, dst=image, scale=1 / 255)
        rng = np.random.default_rng([self.seed, index])
        height, width = image.shape[:2]
        tile = sensor_noise(height, width)
        top, left = (int(n) for n in rng.integers(0, 64, 2))
        speck = tile[top : top + height, left : left + width]
        cv2.addWeighted(image, 1.0, speck, self.noise, -128 * self.noise, dst=image)


def make_lens(seed: int, width: int, height: int) -> Lens:
    """The light of the day and the camera of a seed."""
    rng = np.random.default_rng([52, seed])
    dark = rng.random() < 0.35
    gain, gamma = (
        float(np.clip(np.exp(rng.normal(-0.6 if dark else 0.55, 0.28)), 0.3, 2.2)),
        float(rng.uniform(0.85, 1.2)),
    )
    sky_low = float(rng.uniform(115, 215) if dark else rng.uniform(232, 320))
    sky_high = sky_low + float(rng.uniform(10, 90))
    values = np.arange(256, dtype=np.float32)
    street = 190 * (values / 190) ** gamma * gain
    sky = sky_low + (sky_high - sky_low) * (values - 195) / 60
    cast, sky_cast = rng.normal(1, 0.025, 3), 1 + rng.uniform(0, 0.09) * np.array([0.6, 0.0, -1.0])
    curve = np.where(values[:, None] <= MAX_VALUE, street[:, None] * cast, sky[:, None] * sky_cast)
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) ** 2 for n in (height, width))
    fall = 255 * (1 - np.float32(rng.uniform(0, 0.18)) * (rows[:, None] + columns))
    vignette = cv2.merge([fall.astype(np.uint8)] * 3).astype(np.uint8, copy=False)
    blur_px, noise = float(rng.uniform(0.35, 0.9)), float(rng.uniform(0.1, 0.5))
    return Lens(np.clip(curve, 0, 255).astype(np.uint8)[None], vignette, blur_px, noise, seed)


@lru_cache(maxsize=4)
def sensor_noise(height: int, width: int) -> UInt8Array:
    """Noise around 128 with a deviation of 16, [H + 64, W + 64, 3], shared by all drives."""
    rng = np.random.default_rng(53)
    noise = np.empty((height + 64, width + 64, 3), np.uint8)
    for row in noise:
        row[:] = np.clip(rng.normal(128, 16, row.shape), 0, 255)
    return noise
