"""Street drives rendered on demand, with CamVid's classes and exact truth: no download, any size, any length."""

import math
import re
import time
from collections.abc import Iterator

import numpy as np

from edge_seg.data.drive_camera import Camera
from edge_seg.data.drive_cars import footprint, vehicle
from edge_seg.data.drive_ground import make_ground
from edge_seg.data.drive_light import backdrop, make_lens
from edge_seg.data.drive_paint import Canvas
from edge_seg.data.drive_things import FAR_M, distance, paint_thing, reach_m
from edge_seg.data.drive_traffic import movers
from edge_seg.data.drive_world import STRETCH_M, Parked, Thing, make_town, stretch_things
from edge_seg.errors import DataError
from edge_seg.spec import CAMVID_CLASSES, OWN_LICENCE
from edge_seg.types import Frame

FPS = 25.0
BEHIND_M = -6.0
MIN_SIDE, MAX_SIDE, MAX_FRAMES = 32, 4096, 10_000_000
OPTION = re.compile(r"seed=(?P<seed>\d{1,9})|size=(?P<width>\d{1,9})x(?P<height>\d{1,9})|frames=(?P<frames>\d{1,9})")
ACCEPTED = "Type for example: drive:seed=1,size=480x360,frames=300"


class Drive:
    """A street drive rendered on demand: frame `index` depends on seed, size and index only, in any order of access.

    Images are uint8 [height, width, 3] in BGR, truth uint8 [height, width] with labels 0..10, void nowhere.
    Threads may share a Drive.
    """

    fps = FPS
    classes = CAMVID_CLASSES
    class_names = tuple(c.name for c in CAMVID_CLASSES)
    licence = OWN_LICENCE

    def __init__(self, seed: int = 1, width: int = 480, height: int = 360, frames: int = 500) -> None:
        self.seed, self.width, self.height, self.frames = seed, width, height, frames
        self.name = f"drive seed {seed}"
        rng = np.random.default_rng([50, seed])
        self._town = make_town(seed)
        self._speed = float(rng.uniform(5, 11))
        self._start = float(rng.uniform(0, 5000))
        self._sway = float(rng.uniform(0, 0.5)), float(rng.uniform(0, 0.14) ** 1.5), float(rng.uniform(0, 6.28))
        self._camera_m = float(rng.uniform(1.15, 1.6))
        self._focal_px = height * 4 / 3 * float(rng.uniform(0.85, 1.3))
        self._horizon_px = float(round(height * rng.uniform(0.44, 0.56)))
        self._backdrop = backdrop(seed, width, int(self._horizon_px))
        self._lens = make_lens(seed, width, height)
        self._ground = make_ground(self._town, self._camera(0), width, height)

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, index: int) -> Frame:
        if not 0 <= index < self.frames:
            raise IndexError(f"Frame {index} of {self.name}, which has {self.frames}.")
        canvas = Canvas(np.empty((self.height, self.width, 3), np.uint8), np.empty((self.height, self.width), np.uint8))
        self._paint(canvas, self._camera(index), index / FPS)
        self._lens.photograph(canvas.image, index)
        return Frame(canvas.image, index, time.perf_counter(), canvas.labels, f"drive_{self.seed}_{index:06d}")

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(self.frames))

    def _camera(self, index: int) -> Camera:
        """Where the camera is at a frame: in its lane, swaying a little, looking along the road."""
        seconds = index / FPS
        s = self._start + self._speed * seconds
        drift, turn, phase = self._sway
        x = self._town.road.x(s) - self._town.lane_m + drift * math.sin(0.3 * seconds + phase)
        yaw = math.atan(self._town.road.slope(s + 8)) + turn * math.sin(0.23 * seconds + 2 * phase)
        place = x, s, self._camera_m, math.cos(yaw), math.sin(yaw)
        return Camera(*place, self._focal_px, self.width / 2, self._horizon_px)

    def _paint(self, canvas: Canvas, camera: Camera, seconds: float) -> None:
        top, span = int(self._horizon_px), self._backdrop.labels.shape[1] - self.width
        left = round(min(1.0, max(0.0, 0.5 + camera.sin * self._focal_px / max(span, 1))) * span)
        canvas.image[:top] = self._backdrop.image[:, left : left + self.width]
        canvas.labels[:top] = self._backdrop.labels[:, left : left + self.width]
        things = self._in_sight(camera, seconds)
        shadows = [footprint(vehicle(t.variant), t.x, t.s, t.heading) for t in things if isinstance(t, Parked)]
        self._ground.paint_on(canvas, camera, shadows)
        for thing in things:
            paint_thing(canvas, camera, thing)

    def _in_sight(self, camera: Camera, seconds: float) -> list[Thing]:
        """All things ahead, from far to near."""
        first, last = int(camera.s // STRETCH_M) - 1, int((camera.s + FAR_M) // STRETCH_M)
        still = [t for k in range(first, last + 1) for side in (-1, 1) for t in stretch_things(self._town, k, side)]
        placed = [(distance(camera, t), t) for t in still + movers(self._town, seconds, camera)]
        seen = [pair for pair in placed if BEHIND_M < pair[0] < reach_m(pair[1])]
        return [thing for _, thing in sorted(seen, key=lambda pair: -pair[0])]


def parse_drive(options: str) -> Drive:
    """The drive of the text after "drive:", such as "seed=1,size=480x360,frames=300"; DataError where it is not one.

    >>> drive = parse_drive("seed=7,size=96x72")
    >>> drive.name, drive.width, drive.height, len(drive)
    ('drive seed 7', 96, 72, 500)
    """
    found = {"seed": 1, "width": 480, "height": 360, "frames": 500}
    for option in filter(None, options.split(",")):
        match = OPTION.fullmatch(option.strip())
        if match is None:
            raise DataError(f"drive:{options} has the option {option!r}. {ACCEPTED}")
        found.update({name: int(value) for name, value in match.groupdict().items() if value is not None})
    for name, low, high in (("width", MIN_SIDE, MAX_SIDE), ("height", MIN_SIDE, MAX_SIDE), ("frames", 1, MAX_FRAMES)):
        if not low <= found[name] <= high:
            raise DataError(f"drive:{options} has a {name} of {found[name]}; {low} to {high} are possible. {ACCEPTED}")
    return Drive(**found)
