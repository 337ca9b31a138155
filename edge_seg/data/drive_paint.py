"""Painting a drive: every call draws the picture and its truth with the same geometry."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from edge_seg.data.drive_camera import NEAR_M, Camera, Points
from edge_seg.types import UInt8Array

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)

Colour = tuple[int, int, int]
Pixels = Sequence[tuple[float, float]] | Points

SUBPIXEL_BITS = 4
FAR_PX = 30_000.0
"""Columns and rows are held within this, since OpenCV draws in 32-bit fixed point."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A picture uint8 [H, W, 3] and its truth uint8 [H, W], drawn into from back to front."""

    image: UInt8Array
    labels: UInt8Array


class Texture(NamedTuple):
    """One level of a texture: colour times opacity [h, w, 3], what it lets through [h, w], 1 where it covers [h, w].

    What it covers is what it hides in the truth, which for a bare tree is more than its twigs.
    """

    colour: UInt8Array
    through: UInt8Array
    covers: UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A texture at full size and at halves of it, its class, whether it covers everything, and its mean colour."""

    levels: tuple[Texture, ...]
    label: int
    opaque: bool
    mean: Colour

    def level(self, shrink: float) -> Texture:
        """The smallest level that still has about a texel per pixel, `shrink` being texels per pixel at full size."""
        return self.levels[max(0, min(len(self.levels) - 1, int(math.log2(max(shrink, 1.0)) + 0.3)))]


def fixed_point(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Pixels as OpenCV's fixed point, where 0 is the middle of the first pixel.

    >>> fixed_point([(0.5, 1.0)]).tolist()
    [[0, 8]]
    """
    held = np.minimum(np.maximum(np.asarray(pixels, np.float32), -FAR_PX), FAR_PX)  # np.clip takes three times as long
    return ((held - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def fill(canvas: Canvas, pixels: Pixels, colour: Colour, label: int) -> None:
    """Fill one polygon of any shape."""
    if len(pixels) >= 3:
        corners = [fixed_point(pixels)]
        cv2.fillPoly(canvas.image, corners, colour, cv2.LINE_8, SUBPIXEL_BITS)
        cv2.fillPoly(canvas.labels, corners, (label,), cv2.LINE_8, SUBPIXEL_BITS)


def make_wall(colour: UInt8Array, label: int) -> Material:
    """An opaque material of a texture [h, w, 3]."""
    solid = np.ones(colour.shape[:2], np.uint8)
    cutout = make_cutout(colour, label, 255 * solid, solid)
    return replace(cutout, levels=tuple(_without_planes(level) for level in cutout.levels), opaque=True)


def _without_planes(level: Texture) -> Texture:
    """The level of an opaque texture: nothing shines through and all is covered, which needs no memory."""
    shape = level.covers.shape
    return Texture(level.colour, np.broadcast_to(np.uint8(0), shape), np.broadcast_to(np.uint8(1), shape))


def make_cutout(colour: UInt8Array, label: int, opacity: UInt8Array, covers: UInt8Array) -> Material:
    """A material of a texture [h, w, 3] with opacity [h, w] that hides, in the truth, what lies where `covers` is 1."""
    alpha = cv2.merge([opacity] * 3)
    levels = [Texture(cv2.multiply(colour, alpha, scale=1 / 255).astype(np.uint8), 255 - opacity, covers)]
    while min(levels[-1].covers.shape) >= 8:
        height, width = levels[-1].covers.shape
        levels.append(resized(levels[-1], (width // 2, height // 2)))
    b, g, r = (round(n) for n in cv2.mean(levels[-1].colour)[:3])
    return Material(tuple(levels), label, False, (b, g, r))


def resized(texture: Texture, size: tuple[int, int]) -> Texture:
    """The texture at (width, height)."""
    how = cv2.INTER_LINEAR  # at exactly half size this is the mean of four
    return Texture(
        cv2.resize(texture.colour, size, interpolation=how).astype(np.uint8, copy=False),
        cv2.resize(texture.through, size, interpolation=how).astype(np.uint8, copy=False),
        cv2.resize(texture.covers, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False),
    )


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


def blend(canvas: Canvas, box: Box, patch: Texture, label: int) -> None:
    """Lay a texture already brought to the box's size over the canvas."""
    area = np.s_[box.top : box.bottom, box.left : box.right]
    image = canvas.image[area]
    cv2.multiply(image, cv2.merge([patch.through] * 3), dst=image, scale=1 / 255)
    cv2.add(image, patch.colour, dst=image)
    np.copyto(canvas.labels[area], label, where=patch.covers.view(np.bool_))


def paint_upright(canvas: Canvas, material: Material, corners: tuple[float, float, float, float]) -> None:
    """Draw a cut-out that faces the camera, to whole pixels; corners are left, top, right, bottom in pixels."""
    left, top = round(corners[0]), round(corners[1])
    wide, tall = max(1, round(corners[2] - corners[0])), round(corners[3] - corners[1])
    height, width = canvas.labels.shape
    box = Box(max(0, left), max(0, top), min(width, left + wide), min(height, top + tall))
    if box.left >= box.right or box.top >= box.bottom or tall < 2:
        return
    if (box.right - box.left, box.bottom - box.top) == (wide, tall):
        patch = at_size(material, wide, tall) if tall <= CACHED_PX else _at_size(material, wide, tall)
    else:
        patch = _part(material, (wide, tall), (box.left - left, box.top - top, box.right - left, box.bottom - top))
    blend(canvas, box, patch, material.label)


def _at_size(material: Material, width: int, height: int) -> Texture:
    return resized(material.level(material.levels[0].covers.shape[0] / height), (width, height))


CACHED_PX = 48
at_size = lru_cache(maxsize=160)(_at_size)
"""Small cut-outs at their size on the screen, a few MB at most; far ones keep it for many frames."""


def _part(material: Material, size: tuple[int, int], seen: tuple[int, int, int, int]) -> Texture:
    """The pixels left, top, right, bottom of a cut-out that would be (width, height) as a whole."""
    texture = material.level(material.levels[0].covers.shape[0] / size[1])
    rows, columns = texture.covers.shape
    kx, ky = columns / size[0], rows / size[1]
    left, top = min(int(seen[0] * kx), columns - 1), min(int(seen[1] * ky), rows - 1)
    right, bottom = max(left + 1, math.ceil(seen[2] * kx)), max(top + 1, math.ceil(seen[3] * ky))
    area = np.s_[top:bottom, left:right]
    part = Texture(texture.colour[area], texture.through[area], texture.covers[area])
    return resized(part, (seen[2] - seen[0], seen[3] - seen[1]))


FLAT_PX = 5.0
"""A wall narrower than this on the screen shows its mean colour only."""


class Panel(NamedTuple):
    """An upright textured wall from (x0, s0) to (x1, s1), from `bottom` to `top`, all in metres."""

    x0: float
    s0: float
    x1: float
    s1: float
    bottom: float
    top: float


def paint_panel(canvas: Canvas, camera: Camera, panel: Panel, material: Material) -> None:
    """Draw a wall in perspective."""
    ends, corners = _wall_corners(camera, panel)
    box = clip_box(corners, canvas.labels.shape[1], canvas.labels.shape[0]) if corners else None
    if box is None or abs(corners[0][0] - corners[1][0]) < 0.5:
        return
    if abs(corners[0][0] - corners[1][0]) < FLAT_PX:
        fill(canvas, corners, material.mean, material.label)
        return
    texture = material.level(_texels_per_pixel(material.levels[0], corners, ends[1] - ends[0]))
    matrix = _pixel_to_texel(texture, corners, ends, box)
    size, flags = (box.right - box.left, box.bottom - box.top), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if material.opaque:
        area = canvas.image[box.top : box.bottom, box.left : box.right]
        cv2.warpPerspective(texture.colour, matrix, size, dst=area, flags=flags, borderMode=cv2.BORDER_TRANSPARENT)
        cv2.fillConvexPoly(canvas.labels, fixed_point(corners), (material.label,), cv2.LINE_8, SUBPIXEL_BITS)
        return
    colour = cv2.warpPerspective(texture.colour, matrix, size, flags=flags)
    through = cv2.warpPerspective(texture.through, matrix, size, flags=flags, borderValue=(255,))
    covers = cv2.warpPerspective(texture.covers, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    patch = Texture(*(part.astype(np.uint8, copy=False) for part in (colour, through, covers)))
    blend(canvas, box, patch, material.label)


def _wall_corners(camera: Camera, panel: Panel) -> tuple[tuple[float, float], list[tuple[float, float]]]:
    """The part of the wall, within 0..1, beyond the near plane, and its pixels clockwise from the top of the start."""
    (r0, a0), (r1, a1) = camera.view(panel.x0, panel.s0), camera.view(panel.x1, panel.s1)
    if max(a0, a1) <= NEAR_M + 0.1:
        return (0.0, 0.0), []
    t0 = (NEAR_M - a0) / (a1 - a0) if a0 < NEAR_M else 0.0
    t1 = (NEAR_M - a0) / (a1 - a0) if a1 < NEAR_M else 1.0
    ends = [(r0 + t * (r1 - r0), a0 + t * (a1 - a0)) for t in (t0, t1)]
    start, end = ([camera.pixel(*place, y) for y in (panel.top, panel.bottom)] for place in ends)
    return (t0, t1), [start[0], end[0], end[1], start[1]]


def _texels_per_pixel(texture: Texture, corners: Pixels, share: float) -> float:
    """How much the wall is shrunk: the geometric mean of across (where narrow) and along."""
    height, width = texture.covers.shape
    tall = max(abs(corners[0][1] - corners[3][1]), abs(corners[1][1] - corners[2][1]), 1.0)
    wide = max(abs(corners[0][0] - corners[1][0]), 1.0)
    return math.sqrt(height / tall * max(width * share / wide, 1.0))


def _pixel_to_texel(
    texture: Texture, corners: Pixels, ends: tuple[float, float], box: Box
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    height, width = texture.covers.shape
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
