"""Vehicles: a side profile extruded across the width, with glass, lights, plates and wheels."""

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_seg.data.drive_camera import NEAR_M, Camera, Points
from edge_seg.data.drive_paint import CAR, FAR_PX, SUBPIXEL_BITS, Canvas, Colour, fill, fixed_point
from edge_seg.data.drive_textures import lit, vary

VEHICLES = 160

PAINTS: tuple[Colour, ...] = (
    (128, 126, 124), (96, 94, 92), (24, 23, 22), (56, 34, 26), (90, 58, 34), (28, 26, 96), (165, 165, 166),
    (40, 42, 44), (150, 150, 152), (46, 60, 38), (56, 56, 110), (110, 98, 78), (112, 112, 110), (30, 30, 30),
    (70, 68, 66), (18, 18, 20),
)  # fmt: skip
GLASS: Colour = (48, 44, 40)
TYRE: Colour = (20, 20, 20)
SLIVER_PX = 1.0
"""Faces of less than half this area in pixels are left out."""
WHEELS_PX = 16
"""A vehicle less high than this on the screen shows no wheels: its shadow hides them."""

Profile = tuple[tuple[float, float], ...]
Corner = tuple[float, float, float]
Indices = NDArray[np.int64]


class Shape(NamedTuple):
    """Metres from the rear bumper and metres up, over the roof to the front bumper; what each stretch is made of."""

    profile: Profile
    glazed: tuple[int, ...]
    belt: float
    half_width: float
    lean: float
    windows: tuple[Profile, ...]


SHAPES: tuple[Shape, ...] = (
    Shape(
        ((0, 0.3), (0.02, 0.9), (0.4, 1.42), (2.2, 1.46), (3.0, 0.98), (3.9, 0.76), (4.05, 0.3)),
        (1, 3), 0.95, 0.86, 0.28,
        (((0.3, 0.95), (0.55, 1.34), (1.3, 1.38), (1.3, 0.95)), ((1.4, 0.95), (1.4, 1.38), (2.12, 1.38), (2.75, 0.97))),
    ),
    Shape(
        ((0, 0.3), (0.02, 0.92), (0.7, 0.98), (1.25, 1.4), (2.6, 1.43), (3.35, 0.98), (4.3, 0.76), (4.5, 0.3)),
        (2, 4), 0.95, 0.88, 0.28,
        (((0.95, 0.98), (1.35, 1.33), (1.9, 1.35), (1.9, 0.96)), ((2.0, 0.96), (2.0, 1.35), (2.55, 1.35), (3.1, 0.97))),
    ),
    Shape(
        ((0, 0.35), (0.02, 1.0), (0.25, 1.62), (2.6, 1.68), (3.2, 1.12), (4.2, 0.95), (4.4, 0.35)),
        (1, 3), 1.05, 0.9, 0.2,
        (((0.2, 1.1), (0.4, 1.52), (1.5, 1.57), (1.5, 1.1)), ((1.6, 1.1), (1.6, 1.57), (2.55, 1.57), (3.0, 1.12))),
    ),
    Shape(
        ((0, 0.4), (0, 1.2), (0.05, 2.05), (3.6, 2.1), (4.4, 1.3), (5, 1.05), (5.1, 0.4)),
        (1, 3), 1.2, 0.98, 0.03,
        (((3.1, 1.25), (3.1, 1.9), (3.6, 1.9), (4.2, 1.3)),),
    ),
    Shape(
        ((0, 0.4), (0, 1.5), (0.05, 3.0), (9.6, 3.0), (9.8, 1.2), (10, 1.0), (10, 0.4)),
        (1, 3), 1.5, 1.22, 0.0,
        (((0.5, 1.3), (0.5, 2.4), (9.2, 2.4), (9.2, 1.3)),),
    ),
)  # fmt: skip
"""Hatchback, saloon, estate, van, bus."""


class Face(NamedTuple):
    """An outline among the model's points, drawn only where it turns to the camera."""

    first: int
    end: int
    colour: Colour


class Model(NamedTuple):
    """Points [N, 3] as (metres right of the middle, ahead of the rear, up), and faces from back to front."""

    points: Points
    faces: tuple[Face, ...]
    starts: Indices
    """The first point of each face."""
    following: Indices
    """For each point the next one of its face."""
    length: float
    half_width: float


class _Builder:
    """Collects the points and faces of one vehicle."""

    def __init__(self, rng: np.random.Generator, shape: Shape) -> None:
        self.rng, self.shape = rng, shape
        self.paint = vary(rng, PAINTS[int(rng.integers(len(PAINTS)))], 10)
        self.points: list[Corner] = []
        self.faces: list[Face] = []

    def add(self, outline: list[Corner], colour: Colour) -> None:
        """Add a face, its corners clockwise as seen from outside."""
        start = len(self.points)
        self.points += outline
        self.faces.append(Face(start, len(self.points), colour))

    def at(self, side: float, z: float, y: float) -> Corner:
        """A point of the skin: side -1 is the left flank, 1 the right one; above the belt the flanks lean in."""
        return side * (self.shape.half_width - self.shape.lean * max(0.0, y - self.shape.belt)), z, y

    def top(self) -> None:
        """The stretches of the profile, from the rear to the front, each lit by its slope."""
        profile = self.shape.profile
        for i, ((z0, y0), (z1, y1)) in enumerate(pairwise(profile)):
            light = 0.75 + 0.45 * abs(z1 - z0) / math.hypot(z1 - z0, y1 - y0)
            outward = [(-1, z1, y1), (1, z1, y1), (1, z0, y0), (-1, z0, y0)]
            self.add([self.at(*corner) for corner in outward], lit(self.paint, light))
            if i in self.shape.glazed:
                za, ya, zb, yb = (a + t * (b - a) for t in (0.12, 0.86) for a, b in ((z0, z1), (y0, y1)))
                pane = [(-0.88, zb, yb), (0.88, zb, yb), (0.88, za, ya), (-0.88, za, ya)]
                self.add([self.at(*corner) for corner in pane], lit(GLASS, float(self.rng.uniform(0.5, 2.2))))

    def flank(self, side: int) -> None:
        """One side: body, windows, wheels."""
        self._on_flank(side, self.shape.profile, lit(self.paint, 0.85))
        low = self.shape.profile[0][1]
        length = self.shape.profile[-1][0]
        for top, light in ((0.62, 0.68), (low + 0.12, 0.4)):
            self._on_flank(side, ((0.04, low), (0.04, top), (length - 0.1, top), (length, low)), lit(self.paint, light))
        for window in self.shape.windows:
            self._on_flank(side, window, lit(GLASS, float(self.rng.uniform(0.4, 2.0))))
        for z in (0.19 * length, 0.79 * length):
            for radius, colour in ((0.35, TYRE), (0.2, lit((110, 110, 110), 0.8))):
                turn = [2 * math.pi * k / 12 for k in range(12)]
                rim = tuple((z - radius * math.cos(t), 0.33 + radius * math.sin(t)) for t in turn)
                self._on_flank(side, rim, colour)

    def _on_flank(self, side: int, outline: Profile, colour: Colour) -> None:
        corners = [self.at(side, z, y) for z, y in outline]
        self.add(corners[::-1] if side < 0 else corners, colour)

    def ends(self) -> None:
        """Bumpers, lights and number plates of both ends."""
        (rear, low), length = self.shape.profile[0], self.shape.profile[-1][0]
        red, white = vary(self.rng, (26, 22, 130), 16), vary(self.rng, (160, 160, 160), 10)
        yellow: Colour = (40, 140, 165)
        for z, outward, lamp, plate in ((rear - 0.01, -1, red, yellow), (length + 0.01, 1, white, white)):
            self._on_end(z, outward, (-1.0, 1.0, low, low + 0.14), TYRE)
            self._on_end(z, outward, (-0.3, 0.3, low + 0.16, low + 0.29), plate)
            for side in (-1.0, 0.7):
                self._on_end(z, outward, (side, side + 0.3, low + 0.32, low + 0.52), lamp)

    def _on_end(self, z: float, outward: int, bounds: tuple[float, float, float, float], colour: Colour) -> None:
        left, right, bottom, top = bounds
        corners = [self.at(left, z, top), self.at(right, z, top), self.at(right, z, bottom), self.at(left, z, bottom)]
        self.add(corners[::-1] if outward > 0 else corners, colour)


@lru_cache(maxsize=VEHICLES)
def vehicle(variant: int) -> Model:
    """A vehicle by variant: mostly cars, some vans, a few buses."""
    rng = np.random.default_rng([91, variant])
    shape = SHAPES[int(rng.choice(5, p=[0.43, 0.24, 0.21, 0.1, 0.02]))]
    build = _Builder(rng, shape)
    build.top()
    build.ends()
    build.flank(-1)
    build.flank(1)
    starts = np.array([face.first for face in build.faces])
    following = np.array([k for face in build.faces for k in (*range(face.first + 1, face.end), face.first)])
    points = np.array(build.points, np.float64)
    return Model(points, tuple(build.faces), starts, following, shape.profile[-1][0], shape.half_width)


def place(points: Points, x: float, s: float, heading: float) -> Points:
    """A model's points in the world [N, 3] as (x, s, y); (x, s) is the middle of its rear on the ground."""
    cos, sin = math.cos(heading), math.sin(heading)
    right, ahead, up = points.T
    return np.stack([x + right * cos + ahead * sin, s - right * sin + ahead * cos, up], axis=1)


def footprint(model: Model, x: float, s: float, heading: float) -> Points:
    """The outline [4, 3] on the ground below a placed vehicle, where hardly any light falls."""
    wide, long = model.half_width + 0.1, model.length + 0.15
    corners = np.array([(-wide, -0.15, 0), (-wide, long, 0), (wide, long, 0), (wide, -0.15, 0)], np.float64)
    return place(corners, x, s, heading)


def paint_vehicle(canvas: Canvas, camera: Camera, model: Model, points: Points) -> None:
    """Draw the faces that turn to the camera."""
    pixels, ahead = camera.project(points)
    if ahead.max() < NEAR_M or not _in_sight(pixels, canvas):
        return
    if ahead.min() < NEAR_M:
        _paint_cut(canvas, camera, model, points)
        return
    corners = fixed_point(pixels)
    tiny = float(np.ptp(pixels[:, 1])) < WHEELS_PX
    for face, area in zip(model.faces, outline_areas(pixels, model), strict=True):
        if area <= SLIVER_PX or (tiny and face.end - face.first > 8):
            continue
        outline = [corners[face.first : face.end]]
        cv2.fillPoly(canvas.image, outline, face.colour, cv2.LINE_8, SUBPIXEL_BITS)
        cv2.fillPoly(canvas.labels, outline, (CAR,), cv2.LINE_8, SUBPIXEL_BITS)


def _paint_cut(canvas: Canvas, camera: Camera, model: Model, points: Points) -> None:
    """Draw a vehicle that the near plane cuts, face by face."""
    corners = [(x, s, y) for x, s, y in points.tolist()]
    for face in model.faces:
        outline = camera.polygon(tuple(corners[face.first : face.end]))
        if len(outline) >= 3 and cv2.contourArea(np.array(outline, np.float32), oriented=True) > 0:
            fill(canvas, outline, face.colour, CAR)


def outline_areas(pixels: Points, model: Model) -> list[float]:
    """Twice each face's area; positive where it runs clockwise on the screen, so that it is seen from outside."""
    following = pixels[model.following]
    cross = pixels[:, 0] * following[:, 1] - following[:, 0] * pixels[:, 1]
    areas: list[float] = np.add.reduceat(cross, model.starts).tolist()
    return areas


def _in_sight(pixels: Points, canvas: Canvas) -> bool:
    height, width = canvas.labels.shape
    left, top = pixels.min(axis=0)
    right, bottom = pixels.max(axis=0)
    return bool(right > 0 and left < width and bottom > 0 and top < height and right - left < FAR_PX)
