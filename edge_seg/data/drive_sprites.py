"""Cut-outs that face the camera: trees, people, cyclists, signs. Made once per variant, shared by all drives."""

import math
from functools import lru_cache

import cv2
import numpy as np

from edge_seg.data.drive_paint import BICYCLIST, PEDESTRIAN, SIGN, TREE, Colour, Material, make_cutout
from edge_seg.data.drive_textures import MAX_VALUE, leaves, speckle, vary
from edge_seg.types import UInt8Array

TREES = 36
PEOPLE = 48
CYCLISTS = 24
SIGNS = 36
WALK_PHASES = 4

Layers = tuple[UInt8Array, UInt8Array]
"""A sprite in the making: its image [h, w, 3] and its opacity [h, w]."""

CLOTHES: tuple[Colour, ...] = (
    (16, 15, 15), (24, 22, 21), (36, 25, 20), (60, 40, 28), (22, 24, 60), (42, 52, 38), (80, 80, 82),
    (120, 120, 124), (20, 20, 26), (28, 38, 50), (14, 14, 14), (30, 26, 24),
)  # fmt: skip


def cut_out(image: UInt8Array, opacity: UInt8Array, label: int, *, close_px: int = 0) -> Material:
    """A material that covers wherever it is more than two fifths opaque.

    `close_px` closes holes up to that size in the truth only: CamVid labels a bare crown as a whole, sky and all.
    """
    covers = (opacity > 100).astype(np.uint8)
    if close_px:
        covers = cv2.morphologyEx(covers, cv2.MORPH_CLOSE, np.ones((close_px, close_px), np.uint8)).astype(np.uint8)
    return make_cutout(image, label, opacity, covers)


@lru_cache(maxsize=TREES)
def tree(variant: int) -> Material:
    """A tree [224, 192]: bare in winter, in leaf, or a conifer, by variant."""
    rng = np.random.default_rng([81, variant])
    opacity = np.zeros((224, 192), np.uint8)
    kind = ("bare", "leafy", "bare", "bush", "bare", "conifer")[variant % 6]
    bark = vary(rng, (44, 49, 53))
    if kind == "bare":
        _branch(rng, opacity, (96.0, 223.0, -math.pi / 2), float(rng.uniform(40, 62)), thick=6.0)
        twigs = rng.random(opacity.shape) < rng.uniform(0.2, 0.45)
        crown = cv2.GaussianBlur(opacity, (15, 15), 0)
        opacity = np.maximum(opacity, ((crown > 18) & twigs) * np.uint8(215))
        image = speckle(rng, np.full((224, 192, 3), bark, np.uint8), fine=12.0)
        return cut_out(image, opacity, TREE, close_px=9)
    cv2.line(opacity, (96, 223), (96, 120), 255, 7)
    _crown(rng, opacity, kind)
    image = leaves(rng, 224, 192, vary(rng, (52, 64, 62) if kind != "conifer" else (44, 52, 46), 8))
    return cut_out(image, opacity, TREE)


def _branch(
    rng: np.random.Generator, opacity: UInt8Array, start: tuple[float, float, float], length: float, *, thick: float
) -> None:
    """Draw a branch from (column, row, angle) and, thinner and shorter, those that it splits into."""
    x, y, angle = start
    end = (x + length * math.cos(angle), y + length * math.sin(angle))
    a, b = (round(x * 8), round(y * 8)), (round(end[0] * 8), round(end[1] * 8))
    cv2.line(opacity, a, b, min(255, int(90 + 60 * thick)), max(1, round(thick)), cv2.LINE_AA, 3)
    if length < 7:
        return
    for _ in range(3 if length < 40 else 4):
        turn = float(rng.normal(0, 0.5))
        upward = angle * 0.93 - math.pi / 2 * 0.07
        _branch(rng, opacity, (*end, upward + turn), length * float(rng.uniform(0.5, 0.8)), thick=thick * 0.62)


def _crown(rng: np.random.Generator, opacity: UInt8Array, kind: str) -> None:
    """Blobs of foliage, with ragged rims and holes to the sky."""
    for _ in range(70):
        t = float(rng.uniform(0, 1))
        if kind == "conifer":
            place, radius = (96 + rng.normal(0, 8 + 26 * t), 14 + 180 * t), 6 + 16 * t
        elif kind == "bush":
            place, radius = (96 + rng.normal(0, 38), 224 - 150 * math.sqrt(t)), 24.0
        else:
            turn, out = rng.uniform(0, 2 * math.pi), math.sqrt(t)
            place, radius = (96 + 68 * out * math.cos(turn), 88 + 64 * out * math.sin(turn)), 20.0
        column = min(max(place[0], radius + 10), 182 - radius)
        cv2.circle(opacity, (int(column), int(place[1])), int(radius * rng.uniform(0.5, 1.1)), 255, -1)
    rim = cv2.GaussianBlur(opacity, (13, 13), 0).astype(np.float32) + rng.normal(0, 45, opacity.shape)
    opacity[:] = np.where((opacity > 0) & (rim > 110), 255, np.where(rim > 190, 255, 0))


@lru_cache(maxsize=PEOPLE * WALK_PHASES)
def person(variant: int, phase: int) -> Material:
    """A pedestrian [160, 72], 1.8 m high, at one of four phases of a step."""
    rng = np.random.default_rng([82, variant])
    image = np.full((160, 72, 3), 40, np.uint8)
    opacity = np.zeros((160, 72), np.uint8)
    stride = (0, 11, 2, -11)[phase] * (1 if variant % 3 else 0) + 3
    legs = vary(rng, (24, 20, 18), 14)
    for sign in (-1, 1):
        _limb((image, opacity), ((36, 84), (36 + sign * stride // 2, 118), (36 + sign * stride, 156)), legs, 13)
    _body(rng, (image, opacity), (36.0, 24.0), 1.0)
    return cut_out(speckle(rng, image, fine=5.0), opacity, PEDESTRIAN)


def _limb(layers: Layers, joints: tuple[tuple[int, int], ...], colour: Colour, thick: int) -> None:
    """Draw a bent line of some thickness in the colour, opaque."""
    line = [np.array(joints, np.int32)]
    cv2.polylines(layers[0], line, False, colour, thick)
    cv2.polylines(layers[1], line, False, (255,), thick)


def _body(rng: np.random.Generator, layers: Layers, neck: tuple[float, float], size: float) -> None:
    """Head, coat, arms, and perhaps a bag, hanging from the neck."""
    (image, opacity), x, y = layers, int(neck[0]), int(neck[1])
    coat = vary(rng, CLOTHES[int(rng.integers(len(CLOTHES)))], 14)
    if rng.random() < 0.06:
        coat = vary(rng, (40, 170, 170), 10)
    half, low = int(rng.uniform(13, 17) * size), int(y + rng.uniform(62, 80) * size)
    torso = np.array([(x - half, y + 6), (x + half, y + 6), (x + half, low), (x - half, low)], np.int32)
    skin = vary(rng, (90, 110, 140))
    for target, colours in ((image, (coat, skin, vary(rng, (30, 36, 44)))), (opacity, ((255,),) * 3)):
        cv2.fillConvexPoly(target, torso, colours[0])
        cv2.ellipse(target, (x, y + 8), (half, int(8 * size)), 0, 0, 360, colours[0], -1)
        cv2.circle(target, (x, y - 8), int(10 * size), colours[1], -1)
        cv2.ellipse(target, (x, y - 10), (int(10 * size), int(9 * size)), 0, 150, 390, colours[2], -1)
    sleeve = vary(rng, coat, 4)
    for sign in (-1, 1):
        reach = int(rng.integers(-2, 5))
        hand = x + sign * (half + reach)
        joints = ((x + sign * half, y + 10), (hand + 2 * sign, y + 36), (hand, y + 60))
        _limb((image, opacity), joints, sleeve, int(8 * size))
    if rng.random() < 0.35:
        side = int(rng.choice([-1, 1])) * (half + 4)
        corners = ((x + side - 7, y + 50), (x + side + 7, y + 76))
        cv2.rectangle(image, *corners, vary(rng, (60, 60, 60), 40), -1)
        cv2.rectangle(opacity, *corners, (255,), -1)


@lru_cache(maxsize=CYCLISTS)
def cyclist(variant: int) -> Material:
    """A cyclist with the bicycle [160, 72], seen from behind or in front, 1.8 m high."""
    rng = np.random.default_rng([83, variant])
    image, opacity = np.full((160, 72, 3), 28, np.uint8), np.zeros((160, 72), np.uint8)
    _limb((image, opacity), ((36, 98), (36, 156)), (18, 18, 18), 7)
    _limb((image, opacity), ((14, 80), (58, 80)), (30, 30, 30), 4)
    legs = vary(rng, (26, 23, 22), 16)
    lift = int(rng.integers(0, 14))
    for sign in (-1, 1):
        joints = ((36 + sign * 5, 84), (36 + sign * 12, 108), (36 + sign * 9, 138 + sign * lift))
        _limb((image, opacity), joints, legs, 12)
    cv2.rectangle(image, (24, 134), (48, 138), vary(rng, (60, 60, 60)), -1)
    cv2.rectangle(opacity, (24, 134), (48, 138), (255,), -1)
    _body(rng, (image, opacity), (36.0 + float(rng.normal(0, 2)), 22.0), 0.95)
    return cut_out(speckle(rng, image, fine=5.0), opacity, BICYCLIST)


@lru_cache(maxsize=CYCLISTS)
def cyclist_side(variant: int) -> Material:
    """A cyclist seen from the side [160, 160]; even variants ride to the right."""
    rng = np.random.default_rng([84, variant])
    image, opacity = np.full((160, 160, 3), 30, np.uint8), np.zeros((160, 160), np.uint8)
    frame = vary(rng, (60, 60, 90), 40)
    for x in (40, 122):
        cv2.circle(image, (x, 126), 30, (22, 22, 22), 4)
        cv2.circle(opacity, (x, 126), 30, (90,), -1)
        cv2.circle(opacity, (x, 126), 30, (255,), 4)
    _limb((image, opacity), ((40, 126), (62, 86), (78, 124), (40, 126)), frame, 4)
    _limb((image, opacity), ((62, 88), (112, 84), (122, 126)), frame, 4)
    legs = vary(rng, (26, 23, 22), 16)
    _limb((image, opacity), ((64, 78), (92, 92), (80, 126)), legs, 13)
    _limb((image, opacity), ((64, 78), (84, 104), (70, 136)), legs, 12)
    coat = vary(rng, CLOTHES[variant % len(CLOTHES)], 14)
    _limb((image, opacity), ((64, 76), (86, 36)), coat, 26)
    _limb((image, opacity), ((86, 38), (98, 60), (114, 78)), vary(rng, coat, 4), 9)
    cv2.circle(image, (94, 16), 12, vary(rng, (80, 100, 130)), -1)
    cv2.circle(opacity, (94, 16), 12, (255,), -1)
    image = speckle(rng, image, fine=5.0)
    if variant % 2:
        image, opacity = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(opacity[:, ::-1])
    return cut_out(image, opacity, BICYCLIST, close_px=7)


@lru_cache(maxsize=SIGNS)
def sign(variant: int) -> Material:
    """A plate [64, 64] or traffic light [64, 28] without its pole."""
    rng = np.random.default_rng([85, variant])
    if variant % 3 == 0:
        return _traffic_light(rng)
    image, opacity = np.full((64, 64, 3), 120, np.uint8), np.zeros((64, 64), np.uint8)
    red, white = vary(rng, (36, 30, 165)), vary(rng, (165, 165, 165))
    shape = int(rng.integers(4))
    if shape == 0:
        for radius, colour in ((31, red), (22, white if rng.random() < 0.6 else vary(rng, (140, 80, 30)))):
            cv2.circle(image, (32, 32), radius, colour, -1)
            cv2.circle(opacity, (32, 32), radius, (255,), -1)
    elif shape == 1:
        for corners, colour in (((32, 2), (63, 60), (1, 60)), red), (((32, 18), (50, 52), (14, 52)), white):
            cv2.fillConvexPoly(image, np.array(corners, np.int32), colour)
        cv2.fillConvexPoly(opacity, np.array(((32, 2), (63, 60), (1, 60)), np.int32), (255,))
    else:
        _plate(rng, image, opacity)
    cv2.rectangle(image, (28, 26), (36, 44), vary(rng, (40, 40, 40)), -1)
    return cut_out(speckle(rng, image, fine=4.0), opacity, SIGN)


def _plate(rng: np.random.Generator, image: UInt8Array, opacity: UInt8Array) -> None:
    """A rectangular board with lines of text."""
    board = (vary(rng, (165, 165, 165)), vary(rng, (130, 70, 30)), vary(rng, (40, 150, 170)), vary(rng, (60, 90, 40)))
    top = int(rng.integers(0, 26))
    cv2.rectangle(image, (0, top), (63, 63 - top), board[int(rng.integers(4))], -1)
    cv2.rectangle(opacity, (0, top), (63, 63 - top), (255,), -1)
    ink = vary(rng, (30, 30, 30) if rng.random() < 0.5 else (165, 165, 165))
    for row in range(top + 8, 58 - top, 12):
        cv2.line(image, (8, row), (int(rng.integers(24, 58)), row), ink, 3)


def _traffic_light(rng: np.random.Generator) -> Material:
    image = np.full((64, 28, 3), vary(rng, (22, 22, 22)), np.uint8)
    lit = int(rng.integers(3))
    lamps: tuple[Colour, ...] = ((40, 40, MAX_VALUE), (40, 130, MAX_VALUE), (150, MAX_VALUE, 60))
    for place, lamp in enumerate(lamps):
        cv2.circle(image, (14, 12 + 20 * place), 7, lamp if place == lit else (34, 34, 34), -1)
    if rng.random() < 0.5:
        cv2.rectangle(image, (0, 0), (27, 63), (150, 150, 150), 2)
    return cut_out(speckle(rng, image, fine=3.0), np.full((64, 28), 255, np.uint8), SIGN)
