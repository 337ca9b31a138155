"""The pinhole camera of a drive, and how it moves along the road."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR_M = 1.2
"""Nothing closer than this is drawn: at a camera height of 1.3 m it lies below the picture."""

Points = NDArray[np.float64]
"""Double precision: after an hour of driving the places are tens of kilometres out."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A level camera: place and height in metres, yaw as cosine and sine, focal length and centre in pixels.

    World axes: x to the right of the first metre of road, s along it, y up. A small pitch is a shift of `horizon_px`.
    """

    x: float
    s: float
    height: float
    cos: float
    sin: float
    focal_px: float
    centre_px: float
    horizon_px: float

    def view(self, x: float, s: float) -> tuple[float, float]:
        """(metres to the right, metres ahead) of a place in the world.

        >>> Camera(1.0, 10.0, 1.3, 1.0, 0.0, 500.0, 240.0, 170.0).view(3.0, 30.0)
        (2.0, 20.0)
        """
        dx, ds = x - self.x, s - self.s
        return dx * self.cos - ds * self.sin, dx * self.sin + ds * self.cos

    def pixel(self, right: float, ahead: float, y: float) -> tuple[float, float]:
        """(column, row) of a point at height y, from what `view` gave for it; ahead must be positive."""
        scale = self.focal_px / ahead
        return self.centre_px + right * scale, self.horizon_px + (self.height - y) * scale

    def project(self, points: Points) -> tuple[Points, Points]:
        """Pixels [N, 2] and distances ahead [N] of world points [N, 3] as (x, s, y); distances are at least 0.05 m."""
        dx, ds = points[:, 0] - self.x, points[:, 1] - self.s
        ahead = np.maximum(dx * self.sin + ds * self.cos, 0.05)
        scale = self.focal_px / ahead
        columns = self.centre_px + (dx * self.cos - ds * self.sin) * scale
        rows = self.horizon_px + (self.height - points[:, 2]) * scale
        return np.stack([columns, rows], axis=1), ahead

    def polygon(self, points: tuple[tuple[float, float, float], ...]) -> list[tuple[float, float]]:
        """The polygon (x, s, y) in pixels, cut at the near plane; empty where all of it is closer."""
        corners = [(*self.view(x, s), y) for x, s, y in points]
        pixels: list[tuple[float, float]] = []
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            if a[1] >= NEAR_M:
                pixels.append(self.pixel(*a))
            if (a[1] >= NEAR_M) != (b[1] >= NEAR_M):
                t = (NEAR_M - a[1]) / (b[1] - a[1])
                pixels.append(self.pixel(a[0] + t * (b[0] - a[0]), NEAR_M, a[2] + t * (b[2] - a[2])))
        return pixels


@dataclass(frozen=True, slots=True)
class Road:
    """The centre line: two sine waves, so that it bends gently for ever. Lengths in metres."""

    amplitudes: tuple[float, float]
    lengths: tuple[float, float]
    phases: tuple[float, float]

    def x(self, s: float) -> float:
        """Where the centre line is at s."""
        (a0, a1), (l0, l1), (p0, p1) = self.amplitudes, self.lengths, self.phases
        return a0 * math.sin(s / l0 + p0) + a1 * math.sin(s / l1 + p1)

    def slope(self, s: float) -> float:
        """dx/ds of the centre line at s."""
        (a0, a1), (l0, l1), (p0, p1) = self.amplitudes, self.lengths, self.phases
        return a0 / l0 * math.cos(s / l0 + p0) + a1 / l1 * math.cos(s / l1 + p1)
