"""What stands along the road: made per stretch of road and side from a hash of the seed, the same on every visit."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from edge_seg.data.drive_camera import Road
from edge_seg.data.drive_cars import VEHICLES
from edge_seg.data.drive_paint import Colour, Panel
from edge_seg.data.drive_sprites import PEOPLE, SIGNS, TREES
from edge_seg.data.drive_textures import FACADES, FENCES, GABLES, HEDGES, vary

STRETCH_M = 24.0
EYE_M = 1.3
FEWEST_LOOKS, MOST_LOOKS = 3, 6
TERRACE, GARDEN, PARK, SIDE_STREET = range(4)


class Wall(NamedTuple):
    """A textured wall: `kind` names its texture."""

    panel: Panel
    kind: str
    variant: int
    sunny: bool


class Slab(NamedTuple):
    """A flat polygon of (x, s, y) of a building: roof, gable, chimney."""

    corners: tuple[tuple[float, float, float], ...]
    colour: Colour


class Cutout(NamedTuple):
    """A figure that faces the camera, standing on `bottom`; its width follows from the sprite."""

    x: float
    s: float
    bottom: float
    height: float
    kind: str
    variant: int


class Post(NamedTuple):
    """A pole, with an arm of `arm` metres at the top (negative: to the left)."""

    x: float
    s: float
    height: float
    width: float
    arm: float
    colour: Colour


class Parked(NamedTuple):
    """A standing vehicle; (x, s) is the middle of its rear."""

    x: float
    s: float
    heading: float
    variant: int


Thing = Wall | Slab | Cutout | Post | Parked


@dataclass(frozen=True, slots=True)
class Town:
    """What one seed decides: the road, its widths in metres, and how often things stand along it (0..1)."""

    seed: int
    road: Road
    half_road: float
    pavement: float
    zones: tuple[float, float, float, float]
    """Shares of terrace, garden, park and side street."""
    parked: float
    trees: float
    poles: float
    people: float
    storeys: float
    sun_side: int

    @property
    def parking(self) -> bool:
        """Whether cars may stand along both kerbs."""
        return self.half_road > 4.2

    @property
    def lane_m(self) -> float:
        """How far the middle of either lane is from the centre line; traffic keeps to the left."""
        return (self.half_road - 2.1 * self.parking) / 2 + 0.25


def make_town(seed: int) -> Town:
    """The town of a seed."""
    rng = np.random.default_rng([61, seed])
    bend = rng.uniform(0, 1) ** 2
    road = Road(
        (float(rng.normal(0, 14 * bend)), float(rng.normal(0, 5 * bend))),
        (float(rng.uniform(70, 130)), float(rng.uniform(35, 60))),
        (float(rng.uniform(0, 6.28)), float(rng.uniform(0, 6.28))),
    )
    zones = rng.dirichlet([3.0, 0.6, 0.8, 0.3])
    return Town(
        seed, road, float(rng.uniform(3.4, 6.0)), float(rng.uniform(2.2, 5.2)), tuple(float(z) for z in zones),  # type: ignore[arg-type]
        parked=float(rng.uniform(0, 0.85)), trees=float(rng.uniform(0, 1)), poles=float(rng.uniform(0.3, 1)),
        people=float(rng.uniform(0.1, 1)), storeys=float(rng.uniform(6.5, 14.0)), sun_side=int(rng.choice([-1, 0, 1])),
    )  # fmt: skip


def variant_of(seed: int, pick: int, count: int) -> int:
    """One of `count` looks, of which a town has few: it has a style, and a long drive keeps few textures.

    >>> [len({variant_of(5, pick, count) for pick in range(200)}) for count in (96, 36, 12)]
    [6, 4, 3]
    """
    looks = min(MOST_LOOKS, max(FEWEST_LOOKS, count // 8))
    return (31 * seed + 7 * (pick % looks)) % count


@lru_cache(maxsize=256)
def zone(town: Town, stretch: int, side: int) -> int:
    """What lies beside a stretch: TERRACE, GARDEN, PARK or SIDE_STREET; side is -1 (left) or 1."""
    pick = np.random.default_rng([62, town.seed, stretch % 2**32, side + 1]).random()
    return min(SIDE_STREET, int(np.searchsorted(np.cumsum(town.zones), pick)))


@lru_cache(maxsize=64)
def stretch_things(town: Town, stretch: int, side: int) -> tuple[Thing, ...]:
    """All that stands on one side of a stretch."""
    rng = np.random.default_rng([63, town.seed, stretch % 2**32, side + 1])
    place = Place(town, rng, stretch * STRETCH_M, side)
    kind = zone(town, stretch, side)
    if kind == TERRACE:
        place.buildings(town.half_road + town.pavement, 1.0)
    elif kind == GARDEN:
        place.buildings(town.half_road + town.pavement + float(rng.uniform(3, 9)), 0.7)
        place.border()
    elif kind == PARK:
        place.park()
    place.street_furniture()
    place.kerbside(kind)
    return tuple(place.things)


class Place:
    """Puts things on one side of one stretch; u is the distance from the centre line, always positive."""

    def __init__(self, town: Town, rng: np.random.Generator, start: float, side: int) -> None:
        self.town, self.rng, self.start, self.side = town, rng, start, side
        self.things: list[Thing] = []

    def x(self, u: float, s: float) -> float:
        return self.town.road.x(s) + self.side * u

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def variant(self, count: int) -> int:
        return variant_of(self.town.seed, int(self.rng.integers(2**31)), count)

    def buildings(self, line: float, scale: float) -> None:
        """Houses along the building line, now and then with a gap."""
        s, end = self.start, self.start + STRETCH_M
        style, neighbour = self.variant(FACADES), 0.0
        while s < end - 3:
            length = min(self.uniform(5, 13), end - s)
            variant = style if self.rng.random() < 0.4 else self.variant(FACADES)
            gap = self.rng.random() < 0.07
            u = line + self.uniform(0, 0.4)
            neighbour = 0.0 if gap else self.house(u, (s, length), variant, scale=scale, neighbour=neighbour)
            s += length

    def house(self, u: float, span: tuple[float, float], variant: int, *, scale: float, neighbour: float) -> float:
        """A house: the gable that shows above its nearer neighbour, roof, facade; returns its height in metres."""
        s, length = span
        top = max(3.2, self.town.storeys * scale * self.uniform(0.65, 1.35))
        near, far = (self.x(u, s), s), (self.x(u, s + length), s + length)
        depth, rise = self.side * self.uniform(5, 9), self.uniform(0, 3.5) if self.rng.random() < 0.75 else 0.0
        x, sunny = near[0], self.town.sun_side == self.side
        ridge = top + rise
        if neighbour < ridge and rise:
            gable = ((x, s, top), (x + depth / 2, s, ridge), (x + depth, s, top))
            self.things.append(Slab(gable, vary(self.rng, (84, 92, 100), 5)))
        if neighbour < top:
            self.things.append(Wall(Panel(x + depth, s, x, s, neighbour, top), "gable", variant % GABLES, sunny))
        if rise * (u + self.side * self.town.lane_m) > (top - EYE_M) * abs(depth) / 2:  # not hidden by its own eaves
            roof = (
                (*near, top),
                (*far, top),
                (far[0] + depth / 2, far[1], ridge),
                (near[0] + depth / 2, near[1], ridge),
            )
            self.things.append(Slab(roof, vary(self.rng, (66, 66, 72) if self.rng.random() < 0.6 else (60, 68, 88), 5)))
        if self.rng.random() < 0.4 and rise:
            self.chimney(near[0] + depth / 2, s + self.uniform(0, length), top + rise)
        self.things.append(Wall(Panel(*near, *far, 0.0, top), "facade", variant, sunny))
        if self.rng.random() < 0.7:
            self.shop_sign(u - 0.6, s + self.uniform(0, length))
        return top

    def shop_sign(self, u: float, s: float) -> None:
        """A board that stands out from a house front; never a traffic light, which every third variant is."""
        variant = self.variant(SIGNS // 3) * 3 + 1
        self.things.append(Cutout(self.x(u, s), s, self.uniform(2.4, 4), self.uniform(0.6, 1.8), "sign", variant))

    def chimney(self, x: float, s: float, y: float) -> None:
        corners = ((x - 0.5, s, y - 1), (x - 0.5, s, y + 1.2), (x + 0.5, s, y + 1.2), (x + 0.5, s, y - 1))
        self.things.append(Slab(corners, vary(self.rng, (70, 80, 104), 6)))

    def along(self, u: float, top: float, kind: str, variant: int) -> None:
        """A wall, fence or hedge along the whole stretch in two straight pieces."""
        half = STRETCH_M / 2
        for s0, s1 in ((self.start + half, self.start + STRETCH_M), (self.start, self.start + half)):
            panel = Panel(self.x(u, s0), s0, self.x(u, s1), s1, 0.0, top)
            self.things.append(Wall(panel, kind, variant, self.town.sun_side == self.side))

    def border(self) -> None:
        """What parts a garden or park from the pavement."""
        u, pick = self.town.half_road + self.town.pavement, self.rng.random()
        if pick < 0.7:
            self.along(u, self.uniform(0.9, 2.0), "fence", self.variant(FENCES))
        if pick > 0.4:
            self.along(u + 0.3, self.uniform(0.8, 2.4), "hedge", self.variant(HEDGES))
        if 0.3 < pick < 0.45:
            self.along(u + 0.1, self.uniform(0.5, 1.2), "wall", 0)
        for _ in range(self.rng.poisson(1.2 * self.town.trees)):
            self.tree(u + self.uniform(1, 3))

    def park(self) -> None:
        """Trees behind a fence or hedge, no houses."""
        self.border()
        line = self.town.half_road + self.town.pavement
        for _ in range(int(self.rng.integers(2, 7))):
            self.tree(line + 1 + self.uniform(0, 1) ** 2 * 16)

    def tree(self, u: float) -> None:
        s = self.start + self.uniform(0, STRETCH_M)
        height = self.uniform(5, 13)
        self.things.append(Cutout(self.x(u, s), s, 0.0, height, "tree", self.variant(TREES)))

    def street_furniture(self) -> None:
        """Lamp posts, signs on poles, bollards, railings, street trees: at the outer edge of the kerb."""
        u = self.town.half_road + 0.4
        grey = vary(self.rng, (84, 88, 88) if self.rng.random() < 0.7 else (30, 30, 30), 8)
        for _ in range(self.rng.poisson(0.9 * self.town.poles)):
            s = self.start + self.uniform(0, STRETCH_M)
            arm = -self.side * self.uniform(0.6, 2.0)
            self.things.append(Post(self.x(u, s), s, self.uniform(5, 9.5), self.uniform(0.1, 0.2), arm, grey))
        for _ in range(self.rng.poisson(1.2 * self.town.poles)):
            self.signpost(u, grey)
        if self.rng.random() < 0.12:
            colour = vary(self.rng, (60, 60, 60), 40)
            for k in range(8):
                s = self.start + 2.5 * k
                self.things.append(Post(self.x(u, s), s, 1.05, 0.2, 0.0, colour))
        if self.rng.random() < 0.16:
            self.along(u - 0.1, 1.1, "fence", self.variant(FENCES))
        if self.rng.random() < 0.7 * self.town.trees:
            self.tree(u + 0.5)

    def signpost(self, u: float, colour: Colour) -> None:
        s, size, variant = self.start + self.uniform(0, STRETCH_M), self.uniform(0.6, 1.1), self.variant(SIGNS)
        top = self.uniform(2.4, 3.6)
        size *= 1.25 if variant % 3 == 0 else 1.0
        self.things.append(Post(self.x(u, s), s + 0.05, top + 0.1, 0.09, 0.0, colour))
        self.things.append(Cutout(self.x(u, s), s, top - size, size, "sign", variant))

    def kerbside(self, kind: int) -> None:
        """Parked cars along the kerb, people standing on the pavement."""
        town = self.town
        if kind != SIDE_STREET and town.parking and self.rng.random() < town.parked:
            for k in range(4):
                if self.rng.random() < 0.75:
                    self.parked_car(self.start + 6 * k + self.uniform(0, 1))
        for _ in range(self.rng.poisson(1.4 * town.people)):
            s = self.start + self.uniform(0, STRETCH_M)
            u = town.half_road + self.uniform(0.4, town.pavement)
            self.things.append(Cutout(self.x(u, s), s, 0.0, self.uniform(1.5, 1.9), "stander", self.variant(PEOPLE)))

    def parked_car(self, s: float) -> None:
        """A car at the kerb; on the right some face the camera."""
        turn, x = math.atan(self.town.road.slope(s)), self.x(self.town.half_road - 1.15, s)
        if self.side > 0 and self.rng.random() < 0.6:
            turn, s = turn + math.pi, s + 4.4
        self.things.append(Parked(x, s, turn, self.variant(VEHICLES)))
