"""Painting a drive: every call draws the picture and its truth with the same geometry."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from edge_seg.data.drive_camera import NEAR_M, Camera
from edge_seg.types import VOID, UInt8Array

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)

Colour = tuple[int, int, int]
Pixels = Sequence[tuple[float, float]]

SUBPIXEL_BITS = 4
FAR_PX = 30_000.0
"""Columns and rows are held within this, since OpenCV draws in 32-bit fixed point."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A picture uint8 [H, W, 3] and its truth uint8 [H, W], drawn into from back to front."""

    image: UInt8Array
    labels: UInt8Array


class Texture(NamedTuple):
    """One level of a texture: colour times opacity, what it lets through (both [h, w, 3]), labels [h, w] or None.

    Labels are VOID where the texture covers nothing. An opaque texture has neither `through` nor labels.
    """

    colour: UInt8Array
    through: UInt8Array | None = None
    labels: UInt8Array | None = None


def fixed_point(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Pixels as OpenCV's fixed point, where 0 is the middle of the first pixel.

    >>> fixed_point([(0.5, 1.0)]).tolist()
    [[0, 8]]
    """
    held = np.clip(np.asarray(pixels, np.float32), -FAR_PX, FAR_PX)
    return ((held - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def fill(canvas: Canvas, pixels: Pixels, colour: Colour, label: int) -> None:
    """Fill one polygon of any shape."""
    if len(pixels) >= 3:
        corners = [fixed_point(pixels)]
        cv2.fillPoly(canvas.image, corners, colour, cv2.LINE_8, SUBPIXEL_BITS)
        cv2.fillPoly(canvas.labels, corners, (label,), cv2.LINE_8, SUBPIXEL_BITS)


def pyramid(colour: UInt8Array, opacity: UInt8Array | None = None, labels: UInt8Array | None = None) -> list[Texture]:
    """The texture at full size and at halves of it; opacity [h, w] makes it a cut-out with these labels."""
    if opacity is None:
        levels = [Texture(colour)]
    else:
        alpha = cv2.merge([opacity] * 3)
        levels = [Texture(cv2.multiply(colour, alpha, scale=1 / 255).astype(np.uint8), 255 - alpha, labels)]
    while min(levels[-1].colour.shape[:2]) >= 8:
        levels.append(_halve(levels[-1]))
    return levels


def _halve(texture: Texture) -> Texture:
    height, width = (n // 2 for n in texture.colour.shape[:2])
    size = (width, height)
    if texture.through is None or texture.labels is None:
        return Texture(cv2.resize(texture.colour, size, interpolation=cv2.INTER_AREA).astype(np.uint8))
    return Texture(
        cv2.resize(texture.colour, size, interpolation=cv2.INTER_AREA).astype(np.uint8),
        cv2.resize(texture.through, size, interpolation=cv2.INTER_AREA).astype(np.uint8),
        cv2.resize(texture.labels, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8),
    )


def _level(levels: list[Texture], shrink: float) -> Texture:
    """The smallest level that still has a texel per pixel, `shrink` being texels per pixel at full size."""
    return levels[max(0, min(len(levels) - 1, int(math.log2(max(shrink, 1.0)) + 0.3)))]


class Box(NamedTuple):
    """Whole pixels: left, top, and the ends right and bottom."""

    left: int
    top: int
    right: int
    bottom: int


def clip_box(pixels: Pixels, width: int, height: int) -> Box | None:
    """The part of the polygon's bounding box inside the picture, or None.

    >>> clip_box([(-5.0, 3.2), (7.5, 9.0)], 100, 5)
    Box(left=0, top=3, right=8, bottom=5)
    """
    columns, rows = [p[0] for p in pixels], [p[1] for p in pixels]
    left, top = max(0.0, min(columns)), max(0.0, min(rows))
    right, bottom = min(float(width), max(columns)), min(float(height), max(rows))
    if left >= right or top >= bottom:
        return None
    return Box(int(left), int(top), math.ceil(right), math.ceil(bottom))


def blend(canvas: Canvas, box: Box, patch: Texture) -> None:
    """Lay a cut-out already brought to the box's size over the canvas."""
    assert patch.through is not None and patch.labels is not None
    area = np.s_[box.top : box.bottom, box.left : box.right]
    image, labels = canvas.image[area], canvas.labels[area]
    cv2.add(cv2.multiply(image, patch.through, scale=1 / 255), patch.colour, dst=image)
    np.copyto(labels, patch.labels, where=patch.labels != VOID)


def paint_upright(canvas: Canvas, levels: list[Texture], corners: tuple[float, float, float, float]) -> None:
    """Draw a cut-out that faces the camera; corners are left, top, right, bottom in pixels."""
    left, top, right, bottom = corners
    height, width = canvas.labels.shape
    box = clip_box([(left, top), (right, bottom)], width, height)
    if box is None or right - left < 0.7 or bottom - top < 1.5:
        return
    texture = _level(levels, levels[0].colour.shape[0] / (bottom - top))
    rows, columns = texture.colour.shape[:2]
    kx, ky = columns / (right - left), rows / (bottom - top)
    matrix = np.array([[kx, 0, (box.left + 0.5 - left) * kx - 0.5], [0, ky, (box.top + 0.5 - top) * ky - 0.5]])
    blend(canvas, box, _warp(texture, matrix, (box.right - box.left, box.bottom - box.top)))


def _warp(texture: Texture, matrix: np.ndarray[tuple[int, ...], np.dtype[np.float64]], size: tuple[int, int]) -> Texture:
    """The cut-out sampled at `matrix` (pixel to texel, 2x3 or 3x3)."""
    assert texture.through is not None and texture.labels is not None
    warp = cv2.warpAffine if matrix.shape[0] == 2 else cv2.warpPerspective
    smooth, nearest = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return Texture(
        warp(texture.colour, matrix, size, flags=smooth).astype(np.uint8, copy=False),
        warp(texture.through, matrix, size, flags=smooth, borderValue=(255, 255, 255)).astype(np.uint8, copy=False),
        warp(texture.labels, matrix, size, flags=nearest, borderValue=(VOID,)).astype(np.uint8, copy=False),
    )


class Panel(NamedTuple):
    """An upright textured wall from (x0, s0) to (x1, s1), from `bottom` to `top`, all in metres."""

    x0: float
    s0: float
    x1: float
    s1: float
    bottom: float
    top: float


def paint_panel(canvas: Canvas, camera: Camera, panel: Panel, levels: list[Texture], label: int) -> None:
    """Draw a texture on a wall in perspective; an opaque one gets `label` all over."""
    (r0, a0), (r1, a1) = camera.view(panel.x0, panel.s0), camera.view(panel.x1, panel.s1)
    if max(a0, a1) <= NEAR_M + 0.1:
        return
    t0 = max(0.0, (NEAR_M - a0) / (a1 - a0)) if a0 < NEAR_M else 0.0
    t1 = (NEAR_M - a0) / (a1 - a0) if a1 < NEAR_M else 1.0
    ends = [(r0 + t * (r1 - r0), a0 + t * (a1 - a0)) for t in (t0, t1)]
    corners = [camera.pixel(*ends[i], y) for i, y in ((0, panel.top), (1, panel.top), (1, panel.bottom), (0, panel.bottom))]
    box = clip_box(corners, canvas.labels.shape[1], canvas.labels.shape[0])
    if box is None or abs(corners[0][0] - corners[1][0]) < 0.5:
        return
    texture = _level(levels, _texels_per_pixel(levels[0], corners, t1 - t0))
    matrix = _pixel_to_texel(texture, corners, (t0, t1), box)
    size = (box.right - box.left, box.bottom - box.top)
    if texture.through is not None:
        blend(canvas, box, _warp(texture, matrix, size))
        return
    area = canvas.image[box.top : box.bottom, box.left : box.right]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpPerspective(texture.colour, matrix, size, dst=area, flags=flags, borderMode=cv2.BORDER_TRANSPARENT)
    cv2.fillConvexPoly(canvas.labels, fixed_point(corners), (label,), cv2.LINE_8, SUBPIXEL_BITS)


def _texels_per_pixel(texture: Texture, corners: Pixels, share: float) -> float:
    """How much the wall is shrunk: the geometric mean of across (where narrow) and along."""
    height, width = texture.colour.shape[:2]
    tall = max(abs(corners[0][1] - corners[3][1]), abs(corners[1][1] - corners[2][1]), 1.0)
    wide = max(abs(corners[0][0] - corners[1][0]), 1.0)
    return math.sqrt(height / tall * max(width * share / wide, 1.0))


def _pixel_to_texel(
    texture: Texture, corners: Pixels, ends: tuple[float, float], box: Box
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    height, width = texture.colour.shape[:2]
    left, right, low = ends[0] * (width - 1), ends[1] * (width - 1), height - 1
    texels = np.array([(left, 0), (right, 0), (right, low), (left, low)], np.float32)
    pixels = np.array([(x - 0.5 - box.left, y - 0.5 - box.top) for x, y in corners], np.float32)
    return cv2.getPerspectiveTransform(pixels, texels).astype(np.float64, copy=False)


@lru_cache(maxsize=8)
def grain(seed: int, size: int) -> UInt8Array:
    """A tile [size, size] of surface grain around 128, fine speckle on slow stains, that repeats without a seam."""
    rng = np.random.default_rng([seed, size])
    total = np.full((size, size), 128.0) + rng.normal(0, 9, (size, size))
    for step, strength in ((64, 7), (16, 5), (4, 6)):
        coarse = np.tile(rng.normal(0, strength, (size // step, size // step)), (3, 3)).astype(np.float32)
        total += cv2.resize(coarse, (3 * size, 3 * size), interpolation=cv2.INTER_LINEAR)[size:-size, size:-size]
    return np.clip(total, 60, 200).astype(np.uint8)
