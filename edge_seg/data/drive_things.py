"""Each kind of thing of the world, drawn."""

import math

import cv2

from edge_seg.data.drive_camera import NEAR_M, Camera
from edge_seg.data.drive_cars import paint_vehicle, place, vehicle
from edge_seg.data.drive_paint import BUILDING, POLE, Canvas, Colour, Material, fill, paint_panel, paint_upright
from edge_seg.data.drive_sprites import WALK_PHASES, cyclist, cyclist_side, person, sign, tree
from edge_seg.data.drive_textures import blank_wall, facade, fence, gable, hedge
from edge_seg.data.drive_world import Cutout, Parked, Post, Slab, Thing, Wall

FAR_M = 100.0
"""Nothing farther ahead is drawn."""


def distance(camera: Camera, thing: Thing) -> float:
    """Metres ahead of the camera, of the far end where the thing reaches along the road: the painter's order."""
    if isinstance(thing, Wall):
        panel = thing.panel
        return max(camera.view(panel.x0, panel.s0)[1], camera.view(panel.x1, panel.s1)[1])
    if isinstance(thing, Slab):
        return max(camera.view(x, s)[1] for x, s, _ in thing.corners)
    if isinstance(thing, Parked):
        half = vehicle(thing.variant).length / 2
        return camera.view(thing.x + half * math.sin(thing.heading), thing.s + half * math.cos(thing.heading))[1]
    return camera.view(thing.x, thing.s)[1]


def reach_m(thing: Thing) -> float:
    """How far a thing can be seen: what is big from afar, the rest closer."""
    big = isinstance(thing, Wall) or (isinstance(thing, Cutout) and thing.kind == "tree")
    return FAR_M if big else 0.75 * FAR_M


def paint_thing(canvas: Canvas, camera: Camera, thing: Thing) -> None:
    """Draw one thing on what lies behind it."""
    if isinstance(thing, Wall):
        paint_panel(canvas, camera, thing.panel, wall_material(thing))
    elif isinstance(thing, Slab):
        fill(canvas, camera.polygon(thing.corners), thing.colour, BUILDING)
    elif isinstance(thing, Cutout):
        paint_cutout(canvas, camera, thing)
    elif isinstance(thing, Post):
        paint_post(canvas, camera, thing)
    else:
        model = vehicle(thing.variant)
        paint_vehicle(canvas, camera, model, place(model.points, thing.x, thing.s, thing.heading))


def wall_material(wall: Wall) -> Material:
    """The material of a wall's kind."""
    if wall.kind == "facade":
        return facade(wall.variant, wall.sunny)
    if wall.kind == "gable":
        return gable(wall.variant)
    if wall.kind == "fence":
        return fence(wall.variant)
    return hedge(wall.variant) if wall.kind == "hedge" else blank_wall(wall.sunny)


def cutout_material(cutout: Cutout) -> Material:
    """The sprite of a cut-out's kind; who walks is at the phase of the step that the place gives."""
    if cutout.kind == "walker":
        return person(cutout.variant, int((cutout.x + cutout.s) / 0.35) % WALK_PHASES)
    if cutout.kind == "stander":
        return person(cutout.variant, 2)
    kinds = {"tree": tree, "sign": sign, "cyclist": cyclist, "cyclist_side": cyclist_side}
    return kinds[cutout.kind](cutout.variant)


def paint_cutout(canvas: Canvas, camera: Camera, cutout: Cutout) -> None:
    """Draw a sprite upright at its place, facing the camera."""
    right, ahead = camera.view(cutout.x, cutout.s)
    if ahead < NEAR_M:
        return
    material = cutout_material(cutout)
    height, width = material.levels[0].covers.shape
    column, low = camera.pixel(right, ahead, cutout.bottom)
    tall = cutout.height * camera.focal_px / ahead
    half = tall * width / height / 2
    paint_upright(canvas, material, (column - half, low - tall, column + half, low))


def paint_post(canvas: Canvas, camera: Camera, post: Post) -> None:
    """Draw a pole, and its arm; never thinner than a pixel, or it would flicker."""
    right, ahead = camera.view(post.x, post.s)
    if ahead < NEAR_M:
        return
    (column, low), (_, high) = camera.pixel(right, ahead, 0.0), camera.pixel(right, ahead, post.height)
    half = max(post.width * camera.focal_px / ahead, 1.0) / 2
    _bar(canvas, (column - half, high, column + half, low), post.colour)
    if post.arm:
        reach = post.arm * camera.focal_px / ahead
        left, end = sorted((column, column + reach))
        _bar(canvas, (left, high - half * 0.5, end, high + half * 0.5), post.colour)


def _bar(canvas: Canvas, bounds: tuple[float, float, float, float], colour: Colour) -> None:
    left, top, right, bottom = (round(min(max(edge, -9), 9999)) for edge in bounds)
    for layer, value in ((canvas.image, colour), (canvas.labels, (POLE,))):
        cv2.rectangle(layer, (left, top), (max(left, right - 1), max(top, bottom - 1)), value, -1)
