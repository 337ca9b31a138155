"""What moves along a drive: streams of cars, cyclists and people whose places follow from the time alone."""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from edge_seg.data.drive_camera import NEAR_M, Camera
from edge_seg.data.drive_cars import VEHICLES
from edge_seg.data.drive_sprites import CYCLISTS, PEOPLE
from edge_seg.data.drive_world import Cutout, Parked, Thing, Town, variant_of

SIGHT_M = 70.0


class Stream(NamedTuple):
    """Movers of one kind at u metres right of the centre line, one in each `spacing` metres, at `speed` m/s."""

    kind: str
    u: float
    speed: float
    spacing: float


@lru_cache(maxsize=64)
def streams(town: Town) -> tuple[Stream, ...]:
    """The town's traffic; it keeps to the left."""
    rng = np.random.default_rng([55, town.seed])
    kerb = town.half_road - (2.3 if town.parking else 0.7)
    walk = town.half_road + town.pavement
    busy = 0.3 + town.people
    return (
        Stream("car", town.lane_m, -float(rng.uniform(6, 11)), float(rng.uniform(16, 70))),
        Stream("cyclist", -kerb, float(rng.uniform(3, 5)), float(rng.uniform(24, 60)) / busy),
        Stream("cyclist", kerb, -float(rng.uniform(3, 5)), float(rng.uniform(25, 60)) / busy),
        Stream("cyclist_side", 0.0, float(rng.choice([-3.5, 3.5])), float(rng.uniform(60, 150)) / busy),
        Stream("walker", -walk + 0.5, 1.3, float(rng.uniform(8, 30)) / busy),
        Stream("walker", -walk + 1.0, -1.2, float(rng.uniform(8, 30)) / busy),
        Stream("walker", walk - 0.5, 1.2, float(rng.uniform(8, 30)) / busy),
        Stream("walker", walk - 1.0, -1.4, float(rng.uniform(8, 30)) / busy),
    )


class Traits(NamedTuple):
    """What tells one mover of a stream from the next."""

    along: float
    """Its place within its spacing, 0..1."""
    aside_m: float
    height_m: float
    pick: int


@lru_cache(maxsize=512)
def traits(seed: int, number: int, k: int) -> Traits:
    """The traits of mover k of stream `number`."""
    rng = np.random.default_rng([56, seed, number, k % 2**32])
    along, aside_m, height_m = rng.random(), rng.normal(0, 0.2), rng.uniform(1.6, 1.9)
    return Traits(float(along), float(aside_m), float(height_m), int(rng.integers(2**31)))


def movers(town: Town, seconds: float, camera: Camera) -> list[Thing]:
    """All that moves within sight at this time."""
    found: list[Thing] = list(_lead(town, seconds, camera))
    for number, stream in enumerate(streams(town)):
        if stream.kind == "cyclist_side":
            found += _crossing(town, stream, number, (seconds, camera.s))
        else:
            found += _along(town, stream, number, (seconds, camera.s))
    return found


def _along(town: Town, stream: Stream, number: int, now: tuple[float, float]) -> Iterator[Thing]:
    """The movers of a stream along the road, now being (seconds, the camera's s)."""
    seconds, start = now
    gone = stream.speed * seconds
    first, last = (math.floor((s - gone) / stream.spacing) for s in (start + NEAR_M, start + SIGHT_M))
    for k in range(first, last + 1):
        mover = traits(town.seed, number, k)
        s = (k + 0.6 * mover.along) * stream.spacing + gone
        x = town.road.x(s) + stream.u + mover.aside_m
        if stream.kind == "car":
            turn = math.atan(town.road.slope(s)) + (math.pi if stream.speed < 0 else 0.0)
            yield Parked(x, s, turn, variant_of(town.seed, mover.pick, VEHICLES))
        else:
            count = CYCLISTS if stream.kind == "cyclist" else PEOPLE
            yield Cutout(x, s, 0.0, mover.height_m, stream.kind, variant_of(town.seed, mover.pick, count))


def _crossing(town: Town, stream: Stream, number: int, now: tuple[float, float]) -> Iterator[Thing]:
    """Movers that cross the road, each at its own place along it."""
    seconds, start = now
    first, last = (math.floor(s / stream.spacing) for s in (start, start + SIGHT_M))
    for k in range(first, last + 1):
        mover = traits(town.seed, number, k)
        s = (k + mover.along) * stream.spacing
        reach = town.half_road + town.pavement
        u = (mover.pick % 60 + stream.speed * seconds) % (2 * reach) - reach
        variant = 2 * variant_of(town.seed, mover.pick, CYCLISTS // 2) + (stream.speed < 0)
        yield Cutout(town.road.x(s) + u, s, 0.0, 1.75, stream.kind, variant)


def _lead(town: Town, seconds: float, camera: Camera) -> Iterator[Thing]:
    """Perhaps a car ahead in the camera's lane, now nearer and now farther."""
    rng = np.random.default_rng([57, town.seed])
    if rng.random() < 0.7:
        s = camera.s + float(rng.uniform(8, 45)) + float(rng.uniform(0, 3)) * math.sin(0.4 * seconds)
        yield Parked(town.road.x(s) - town.lane_m, s, math.atan(town.road.slope(s)), int(rng.integers(VEHICLES)))
