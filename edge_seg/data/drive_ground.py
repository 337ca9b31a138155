"""The ground of a drive: road, pavements, verges, markings, grain and shadows."""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from edge_seg.data.drive_camera import NEAR_M, Camera, Points
from edge_seg.data.drive_paint import PAVEMENT, ROAD, SUBPIXEL_BITS, TREE, Canvas, Colour, fill, fixed_point, grain
from edge_seg.data.drive_textures import vary
from edge_seg.data.drive_world import STRETCH_M, Town, zone
from edge_seg.types import UInt8Array

SIGHT_M = 150.0
STEP_M = 6.0
KERB_M = 0.16
GRAIN_PX = 512
GRAIN_PX_PER_M = 30.0
GRAIN_FAR_M = 12.0

PixelMap = tuple[np.ndarray[tuple[int, ...], np.dtype[np.int16]], np.ndarray[tuple[int, ...], np.dtype[np.uint16]]]


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
        below.image[:], below.labels[:] = self.road, ROAD
        self._surfaces(canvas, camera)
        self._markings(canvas, camera)
        light = self._light(camera)
        view = _lowered(camera, top)
        if self.shadow_m:
            self._street_shadow(light, view)
        for outline in shadows:
            cv2.fillPoly(light, [fixed_point(view.project(outline)[0])], (36,), cv2.LINE_8, SUBPIXEL_BITS)  # type: ignore[arg-type]
        cv2.multiply(below.image, cv2.merge([light] * 3), dst=below.image, scale=1 / 128)

    def _edge(self, camera: Camera, places: Points, u: float) -> Points:
        """Pixels [K, 2] of the line at u metres right of the centre line."""
        centre = [self.town.road.x(float(s)) + u for s in places]
        points = np.stack([np.array(centre), places, np.zeros(len(places))], axis=1).astype(np.float32)
        pixels, ahead = camera.project(points)
        return pixels[ahead >= NEAR_M * 0.6]

    def _surfaces(self, canvas: Canvas, camera: Camera) -> None:
        """Verges and side streets by stretch, then pavements, kerbs and the road over their whole length."""
        first, last = int(camera.s // STRETCH_M), int((camera.s + SIGHT_M) // STRETCH_M)
        places = steps(camera.s, camera.s + SIGHT_M)
        edges = (self.town.half_road, self.town.half_road + KERB_M, self.town.half_road + self.town.pavement)
        for side in (-1, 1):
            inner, kerb, outer = (self._edge(camera, places, side * u) for u in edges)
            verge = self._edge(camera, places, side * (edges[2] + 40))
            fill(canvas, [*outer, *verge[::-1]], self.grass, TREE)
            fill(canvas, [*inner, *outer[::-1]], self.pavement, PAVEMENT)
            fill(canvas, [*inner, *kerb[::-1]], self.kerb, PAVEMENT)
            for stretch in range(last, first - 1, -1):
                self._beside(canvas, camera, stretch, side)

    def _beside(self, canvas: Canvas, camera: Camera, stretch: int, side: int) -> None:
        """Pave before a terrace, or open a side street through the pavement."""
        kind, s, x = zone(self.town, stretch, side), stretch * STRETCH_M, self.town.road.x
        start, near, far = self.town.half_road + self.town.pavement, s, s + STRETCH_M
        if kind == 3:
            start, near, far = self.town.half_road - 0.3, s + 7.0, s + 17.0
        if kind in (0, 3):
            ends = ((near, start), (far, start), (far, start + 45), (near, start + 45))
            corners = tuple((x(at) + side * u, at, 0.0) for at, u in ends)
            fill(canvas, camera.polygon(corners), *((self.pavement, PAVEMENT) if kind == 0 else (self.road, ROAD)))

    def _markings(self, canvas: Canvas, camera: Camera) -> None:
        """Dashes along the middle, lines at the kerbs: paint on the road, still ROAD in truth."""
        mark, pitch = self.dash
        starts = np.arange(camera.s // pitch, (camera.s + 70) // pitch) * pitch
        strips = [(float(s), float(s) + mark, 0.0, 0.12) for s in starts]
        places = steps(camera.s, camera.s + 60)
        if self.yellow:
            lines = [(side * (self.town.half_road - d), (30, 120, 140)) for side in (-1, 1) for d in (0.25, 0.5)]
        else:
            lines = [(side * (self.town.half_road - 0.3), self.paint) for side in (-1, 1)]
        for u, colour in lines:
            outline = [*self._edge(camera, places, u - 0.05), *self._edge(camera, places, u + 0.05)[::-1]]
            cv2.fillPoly(canvas.image, [fixed_point(outline)], colour, cv2.LINE_8, SUBPIXEL_BITS)
        for s0, s1, u, width in strips:
            ends = ((s0, u - width / 2), (s1, u - width / 2), (s1, u + width / 2), (s0, u + width / 2))
            pixels = camera.polygon(tuple((self.town.road.x(s) + u, s, 0.0) for s, u in ends))
            if pixels:
                cv2.fillPoly(canvas.image, [fixed_point(pixels)], self.paint, cv2.LINE_8, SUBPIXEL_BITS)

    def _light(self, camera: Camera) -> UInt8Array:
        """Grain [H, W] below the horizon around 128, moving with the road; beyond a few metres only its stains."""
        shift = int(camera.s * GRAIN_PX_PER_M) % GRAIN_PX
        near, far = tile(self.town.seed % 4, 0), tile(self.town.seed % 4, 1)
        window = np.s_[shift : shift + GRAIN_PX]
        rows = self.near_map[0].shape[0] + self.far_map[0].shape[0]
        light = np.empty((rows, self.near_map[0].shape[1]), np.uint8)
        wrap = cv2.BORDER_WRAP
        cv2.remap(far[window], *self.far_map, cv2.INTER_LINEAR, dst=light[: self.near_row], borderMode=wrap)
        cv2.remap(near[window], *self.near_map, cv2.INTER_LINEAR, dst=light[self.near_row :], borderMode=wrap)
        return light

    def _street_shadow(self, light: UInt8Array, view: Camera) -> None:
        """The houses' shadow, from the sunless side across the road."""
        side = -self.town.sun_side
        reach = side * (self.town.half_road + 40), side * (self.town.half_road - self.shadow_m)
        outer, inner = (self._edge(view, steps(view.s, view.s + SIGHT_M), u) for u in reach)
        mask = np.zeros_like(light)
        cv2.fillPoly(mask, [fixed_point([*outer, *inner[::-1]])], (58,), cv2.LINE_8, SUBPIXEL_BITS)
        cv2.subtract(light, mask, dst=light)


def steps(start: float, end: float) -> Points:
    """Places along the road [K] in metres at whole steps, the same from frame to frame.

    >>> steps(3.0, 13.0).tolist()
    [0.0, 3.0, 6.0, 12.0, 18.0]
    """
    whole = np.arange(start // STEP_M, end // STEP_M + 2) * STEP_M
    return np.sort(np.append(whole, start + NEAR_M)).astype(np.float32)


@lru_cache(maxsize=8)
def tile(variant: int, octave: int) -> UInt8Array:
    """Grain that repeats downwards twice, so that any window of GRAIN_PX rows wraps round."""
    base = grain(variant, GRAIN_PX)
    if octave:
        base = cv2.GaussianBlur(base, (31, 31), 6).astype(np.uint8)
    return np.vstack([base, base])


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
    tint = vary(rng, (int(grey), int(grey), int(grey)), 3)
    pave = grey * float(rng.uniform(0.75, 1.25))
    mark = float(rng.uniform(105, 180))
    return Ground(
        town, tint, vary(rng, (int(pave), int(pave * 1.01), int(pave * 1.03)), 4), vary(rng, (int(grey * 1.3),) * 3, 3),
        vary(rng, (50, 84, 78), 10), (int(mark),) * 3, bool(rng.random() < 0.4),
        ((2.0, 6.0), (4.0, 6.0), (1.0, 3.0), (3.0, 9.0))[int(rng.integers(4))],
        float(rng.uniform(-1, 8)) if town.sun_side else 0.0, near_row, maps[0], maps[1],  # type: ignore[arg-type]
    )  # fmt: skip
