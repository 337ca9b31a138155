"""The ground of a drive: road, pavements, verges, markings, grain and shadows."""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_seg.data.drive_camera import NEAR_M, Camera, Points
from edge_seg.data.drive_paint import (
    PAVEMENT,
    ROAD,
    SUBPIXEL_BITS,
    TREE,
    Canvas,
    Colour,
    Pixels,
    fill,
    fixed_point,
    grain,
)
from edge_seg.data.drive_textures import lit, vary
from edge_seg.data.drive_world import SIDE_STREET, STRETCH_M, TERRACE, Town, zone
from edge_seg.types import UInt8Array

SIGHT_M = 150.0
STEP_M = 6.0
KERB_M = 0.16
GRAIN_PX = 512
GRAIN_PX_PER_M = 30.0
GRAIN_FAR_M = 12.0

PixelMap = tuple[NDArray[Any], NDArray[Any]]
"""What cv2.convertMaps gives: whole places int16 [H, W, 2] and fractions uint16 [H, W]."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Colours and markings of a seed's ground, and where each pixel below the horizon finds its grain."""

    town: Town
    road: Colour
    pavement: Colour
    kerb: Colour
    grass: Colour
    paint: Colour
    yellow: bool
    dash: tuple[float, float]
    shadow_m: float
    near_row: int
    near_map: PixelMap
    far_map: PixelMap

    def paint_on(self, canvas: Canvas, camera: Camera, shadows: list[Points]) -> None:
        """Paint all that lies below the horizon; shadows are outlines [N, 3] on the ground."""
        top = round(camera.horizon_px)
        below = Canvas(canvas.image[top:], canvas.labels[top:])
        cv2.rectangle(below.image, (0, 0), below.image.shape[1::-1], self.road, -1)
        below.labels[:] = ROAD
        self._surfaces(canvas, camera)
        self._markings(canvas, camera)
        light = self._light(camera)
        view = _lowered(camera, top)
        if self.shadow_m:
            self._street_shadow(light, view)
        for outline in shadows:
            cv2.fillPoly(light, [fixed_point(view.project(outline)[0])], (36, 36, 36), cv2.LINE_8, SUBPIXEL_BITS)
        cv2.multiply(below.image, light, dst=below.image, scale=1 / 128)

    def _lines(self, camera: Camera, reach_m: float, us: tuple[float, ...]) -> list[Points]:
        """Pixels [K, 2] of each line that runs u metres right of the centre line."""
        places = steps(camera.s, camera.s + reach_m)
        points = np.zeros((len(us), len(places), 3))
        points[..., 0] = np.array([self.town.road.x(s) for s in places.tolist()]) + np.array(us)[:, None]
        points[..., 1] = places
        pixels, _ = camera.project(points.reshape(-1, 3))
        return list(pixels.reshape(len(us), -1, 2))

    def _surfaces(self, canvas: Canvas, camera: Camera) -> None:
        """Verges and side streets by stretch, then pavements, kerbs and the road over their whole length."""
        first, last = int(camera.s // STRETCH_M), int((camera.s + SIGHT_M) // STRETCH_M)
        half, outer = self.town.half_road, self.town.half_road + self.town.pavement
        for side in (-1, 1):
            edges = tuple(side * u for u in (half, half + KERB_M, outer, outer + 40))
            inner, kerb, out, verge = self._lines(camera, SIGHT_M, edges)
            fill(canvas, np.vstack([out, verge[::-1]]), self.grass, TREE)
            fill(canvas, np.vstack([inner, out[::-1]]), self.pavement, PAVEMENT)
            fill(canvas, np.vstack([inner, kerb[::-1]]), self.kerb, PAVEMENT)
            for stretch in range(last, first - 1, -1):
                self._beside(canvas, camera, stretch, side)

    def _beside(self, canvas: Canvas, camera: Camera, stretch: int, side: int) -> None:
        """Pave before a terrace, or open a side street through the pavement."""
        kind, s, x = zone(self.town, stretch, side), stretch * STRETCH_M, self.town.road.x
        start, near, far = self.town.half_road + self.town.pavement, s, s + STRETCH_M
        if kind == SIDE_STREET:
            start, near, far = self.town.half_road - 0.3, s + 7.0, s + 17.0
        if kind in (TERRACE, SIDE_STREET):
            ends = ((near, start), (far, start), (far, start + 45), (near, start + 45))
            corners = tuple((x(at) + side * u, at, 0.0) for at, u in ends)
            colour, label = (self.pavement, PAVEMENT) if kind == TERRACE else (self.road, ROAD)
            fill(canvas, camera.polygon(corners), colour, label)

    def _markings(self, canvas: Canvas, camera: Camera) -> None:
        """Dashes along the middle, lines at the kerbs: paint on the road, still ROAD in truth."""
        mark, pitch = self.dash
        starts = np.arange(camera.s // pitch, (camera.s + 70) // pitch) * pitch
        edges = (0.25, 0.5) if self.yellow else (0.3,)
        lines = tuple(side * (self.town.half_road - u) + w for side in (-1, 1) for u in edges for w in (-0.05, 0.05))
        pixels = self._lines(camera, 60.0, lines)
        for left, right in zip(pixels[::2], pixels[1::2], strict=True):
            self._mark(canvas, np.vstack([left, right[::-1]]), (44, 118, 134) if self.yellow else self.paint)
        for s in starts.tolist():
            x0, x1 = self.town.road.x(s), self.town.road.x(s + mark)
            dash = ((x0 - 0.06, s, 0.0), (x1 - 0.06, s + mark, 0.0), (x1 + 0.06, s + mark, 0.0), (x0 + 0.06, s, 0.0))
            self._mark(canvas, camera.polygon(dash), self.paint)
        for stretch in range(int(camera.s // STRETCH_M), int((camera.s + 50) // STRETCH_M)):
            for mark_on in stretch_marks(self.town, stretch):
                corners = tuple((self.town.road.x(s) + u, s, 0.0) for u, s in mark_on.corners)
                self._mark(canvas, camera.polygon(corners), self.paint if mark_on.white else lit(self.road, 0.85))

    def _mark(self, canvas: Canvas, outline: Pixels, colour: Colour) -> None:
        if len(outline) >= 3:
            cv2.fillPoly(canvas.image, [fixed_point(outline)], colour, cv2.LINE_8, SUBPIXEL_BITS)

    def _light(self, camera: Camera) -> UInt8Array:
        """Grain [H, W, 3] below the horizon around 128, moving with the road; beyond a few metres only its stains."""
        shift = int(camera.s * GRAIN_PX_PER_M) % GRAIN_PX
        rows, columns = self.near_map[0].shape[0] + self.far_map[0].shape[0], self.near_map[0].shape[1]
        light = np.empty((rows, columns, 3), np.uint8)
        parts = ((False, self.near_map, light[self.near_row :]), (True, self.far_map, light[: self.near_row]))
        for stains, pixel_map, part in parts:
            source = tile(self.town.seed % 4, stains)[shift : shift + GRAIN_PX]
            cv2.remap(source, *pixel_map, cv2.INTER_NEAREST, dst=part, borderMode=cv2.BORDER_WRAP)
        return light

    def _street_shadow(self, light: UInt8Array, view: Camera) -> None:
        """The houses' shadow, from the sunless side across the road."""
        side = -self.town.sun_side
        reach = side * (self.town.half_road + 40), side * (self.town.half_road - self.shadow_m)
        outer, inner = self._lines(view, SIGHT_M, reach)
        mask = np.zeros_like(light)
        cv2.fillPoly(mask, [fixed_point(np.vstack([outer, inner[::-1]]))], (58, 58, 58), cv2.LINE_8, SUBPIXEL_BITS)
        cv2.subtract(light, mask, dst=light)


class Mark(NamedTuple):
    """A quad of (metres right of the centre line, metres along the road): white paint, or a darker patch."""

    corners: tuple[tuple[float, float], ...]
    white: bool


@lru_cache(maxsize=64)
def stretch_marks(town: Town, stretch: int) -> tuple[Mark, ...]:
    """What is painted or mended on the road of one stretch: patches, stop lines, zebra and zigzag stripes."""
    rng = np.random.default_rng([58, town.seed, stretch % 2**32])
    s, half, marks = stretch * STRETCH_M + float(rng.uniform(2, 14)), town.half_road, []
    for _ in range(rng.poisson(0.7)):
        u, at, long = (float(n) for n in rng.uniform((-half, 0, 1), (half - 1, STRETCH_M, 9)))
        marks.append(Mark(_quad((u, u + 0.9), (stretch * STRETCH_M + at, stretch * STRETCH_M + at + long)), False))
    pick = rng.random()
    if pick < 0.1:
        marks += [Mark(_quad((u, u + 0.5), (s, s + 3)), True) for u in np.arange(-half + 0.3, half - 0.6, 1.0).tolist()]
    elif pick < 0.22:
        marks.append(Mark(_quad((-half + 0.3, 0.0), (s, s + 0.35)), True))
    elif pick < 0.34:
        corners = [(-half + 0.6 + 0.5 * (k % 2), s + 2.0 * k) for k in range(7)]
        marks += [Mark((a, b, (b[0] + 0.12, b[1]), (a[0] + 0.12, a[1])), True) for a, b in pairwise(corners)]
    return tuple(marks)


def _quad(across: tuple[float, float], along: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    return (across[0], along[0]), (across[1], along[0]), (across[1], along[1]), (across[0], along[1])


def steps(start: float, end: float) -> Points:
    """Places along the road [K] in metres, from the near plane and then at whole steps, the same from frame to frame.

    >>> steps(3.0, 17.0).tolist()
    [4.0, 6.0, 12.0, 18.0]
    """
    whole = np.arange((start + NEAR_M) // STEP_M + 1, end // STEP_M + 2) * STEP_M
    return np.append(start + 1.0, whole)


@lru_cache(maxsize=8)
def tile(variant: int, stains: bool) -> UInt8Array:
    """Grain, or its stains only, that repeats downwards twice, so that any window of GRAIN_PX rows wraps round."""
    base = grain(variant, GRAIN_PX)
    if stains:
        around = cv2.GaussianBlur(np.tile(base, (3, 3)), (31, 31), 6).astype(np.uint8, copy=False)
        base = around[GRAIN_PX:-GRAIN_PX, GRAIN_PX:-GRAIN_PX]
    return cv2.merge([np.vstack([base, base])] * 3).astype(np.uint8, copy=False)


def _lowered(camera: Camera, rows: int) -> Camera:
    """The camera for a picture that begins `rows` further down."""
    return replace(camera, horizon_px=camera.horizon_px - rows)


def make_ground(town: Town, camera: Camera, width: int, height: int) -> Ground:
    """The ground of a town under this camera's height and focal length."""
    rng = np.random.default_rng([54, town.seed])
    top = round(camera.horizon_px)
    ahead = camera.focal_px * camera.height / (np.arange(top, height) + 0.5 - camera.horizon_px).clip(0.4)
    near_row = int(np.searchsorted(-ahead, -GRAIN_FAR_M))
    across = (np.arange(width) + 0.5 - camera.centre_px) / camera.focal_px
    columns = (ahead[:, None] * across * GRAIN_PX_PER_M + GRAIN_PX / 3).clip(-8000, 8000).astype(np.float32)
    rows = np.repeat((ahead * GRAIN_PX_PER_M).astype(np.float32)[:, None], width, axis=1)
    maps = [cv2.convertMaps(columns[part], rows[part], cv2.CV_16SC2) for part in (np.s_[near_row:], np.s_[:near_row])]
    grey = float(rng.uniform(50, 96))
    slab, mark = grey * float(rng.uniform(0.75, 1.25)), int(rng.uniform(105, 180))
    return Ground(
        town=town,
        road=vary(rng, (int(grey), int(grey), int(grey)), 3),
        pavement=vary(rng, (int(slab), int(slab * 1.01), int(slab * 1.03)), 4),
        kerb=vary(rng, (int(grey * 1.3), int(grey * 1.3), int(grey * 1.3)), 3),
        grass=vary(rng, (50, 84, 78), 10),
        paint=(mark, mark, mark),
        yellow=bool(rng.random() < 0.4),
        dash=((2.0, 6.0), (4.0, 6.0), (1.0, 3.0), (3.0, 9.0))[int(rng.integers(4))],
        shadow_m=float(rng.uniform(-1, 8)) if town.sun_side else 0.0,
        near_row=near_row,
        near_map=maps[0],
        far_map=maps[1],
    )
