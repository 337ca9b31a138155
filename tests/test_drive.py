"""The street drive: the same frame for the same index, all classes, and a world that moves as one."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_seg.data.drive import Drive, parse_drive
from edge_seg.data.drive_camera import NEAR_M, Camera
from edge_seg.data.drive_cars import VEHICLES, outline_areas, place, vehicle
from edge_seg.data.drive_light import make_lens
from edge_seg.data.drive_paint import BUILDING, CAR, PEDESTRIAN, POLE, SIGN, TREE, Canvas, Panel, fill, paint_panel
from edge_seg.data.drive_sprites import cyclist, cyclist_side, person, sign, tree
from edge_seg.data.drive_textures import MAX_VALUE, facade, fence, hedge
from edge_seg.data.drive_things import paint_thing
from edge_seg.data.drive_world import Cutout, Parked, Post, Thing, make_town, stretch_things, zone
from edge_seg.errors import DataError
from edge_seg.spec import CAMVID_CLASSES
from edge_seg.types import Frame, UInt8Array

VOID_FREE_LABELS = set(range(len(CAMVID_CLASSES)))


def same(a: Frame, b: Frame) -> bool:
    return np.array_equal(a.image, b.image) and np.array_equal(truth(a), truth(b))


def truth(frame: Frame) -> UInt8Array:
    assert frame.truth is not None
    return frame.truth


def blank(width: int = 160, height: int = 120) -> Canvas:
    return Canvas(np.full((height, width, 3), 250, np.uint8), np.full((height, width), 99, np.uint8))


def camera_at(s: float) -> Camera:
    return Camera(0.0, s, 1.3, 1.0, 0.0, 160.0, 80.0, 60.0)


@pytest.fixture(scope="module")
def shares() -> NDArray[np.float64]:
    """The classes' shares of the pixels of 60 drives."""
    labels = np.stack([truth(Drive(seed, 160, 120)[seed * 5]) for seed in range(60)])
    return np.bincount(labels.ravel(), minlength=256) / labels.size


def test_a_frame_depends_on_seed_size_and_index_only() -> None:
    forward = [Drive(3, 96, 72)[index] for index in (0, 7, 200)]
    drive = Drive(3, 96, 72, frames=1000)
    backward = [drive[index] for index in (200, 7, 0)]
    assert all(same(a, b) for a, b in zip(forward, reversed(backward), strict=True))


def test_threads_share_a_drive() -> None:
    drive, order = Drive(5, 96, 72), [0, 40, 80, 1, 41, 81] * 3
    alone = [drive[index] for index in order]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(drive.__getitem__, order))
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_seeds_differ() -> None:
    labels = [truth(Drive(seed, 96, 72)[0]) for seed in range(6)]
    agreement = [np.mean(a == b) for k, a in enumerate(labels) for b in labels[:k]]
    assert max(agreement) < 0.97


def test_iterating_gives_every_frame_in_order() -> None:
    drive = Drive(2, 64, 48, frames=4)
    frames = list(drive)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert frames[3].name == "drive_2_000003"
    assert same(frames[3], drive[3])
    assert frames[0].captured_s < frames[3].captured_s


@pytest.mark.parametrize("index", [-1, 4])
def test_no_frame_outside(index: int) -> None:
    with pytest.raises(IndexError, match=rf"Frame {index} of drive seed 2, which has 4"):
        Drive(2, 64, 48, frames=4)[index]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**9), width=st.integers(32, 131), height=st.integers(32, 131), index=st.integers(0, 9_999_999)
)
def test_any_size_and_moment(seed: int, width: int, height: int, index: int) -> None:
    frame = Drive(seed, width, height, frames=10_000_000)[index]
    assert frame.image.shape == (height, width, 3)
    assert truth(frame).shape == (height, width)
    assert frame.image.dtype == truth(frame).dtype == np.uint8
    assert set(np.unique(truth(frame)).tolist()) <= VOID_FREE_LABELS


def test_every_class_has_a_share_like_camvids(shares: NDArray[np.float64]) -> None:
    # Shares of the CamVid train split, in percent; a drive may halve or double them, and oversamples the rarest.
    camvid = (17.5, 24.1, 1.0, 32.9, 4.7, 10.3, 1.2, 1.2, 6.1, 0.6, 0.3)
    assert shares[len(camvid) :].sum() == 0
    for share, expected, entry in zip(100 * shares, camvid, CAMVID_CLASSES, strict=False):
        assert expected / 2 < share < max(2 * expected, 2.0), entry.name


def test_road_lies_low_and_sky_high(shares: NDArray[np.float64]) -> None:
    labels = np.stack([truth(Drive(seed, 96, 72)[9]) for seed in range(12)])
    sky, road = (np.mean(labels == label, axis=(0, 2)) for label in (0, 3))
    assert sky[:18].mean() > 0.25 > sky[40:].mean() == 0
    assert road[60:].mean() > 0.6 > road[:30].mean() == 0


def test_consecutive_frames_differ_a_little_and_distant_ones_more() -> None:
    drive = Drive(4, 160, 120)
    first, following, later = (truth(drive[index]) for index in (100, 101, 150))
    assert 0 < np.mean(first != following) < 0.15
    assert np.mean(first != following) < np.mean(first != later)
    assert not np.array_equal(drive[100].image, drive[101].image)


@pytest.mark.parametrize(
    ("thing", "label"),
    [
        (Post(1.5, 30.0, 6.0, 0.2, 1.0, (80, 80, 80)), POLE),
        (Cutout(2.0, 30.0, 0.0, 1.8, "walker", 3), PEDESTRIAN),
        (Cutout(2.0, 30.0, 2.0, 0.9, "sign", 4), SIGN),
        (Cutout(2.0, 30.0, 0.0, 7.0, "tree", 0), TREE),
        (Parked(2.0, 30.0, 0.0, 1), CAR),
        (Parked(2.0, 30.0, 3.1416, 1), CAR),
    ],
)
def test_a_standing_thing_grows_and_moves_outwards_as_the_camera_comes(thing: Thing, label: int) -> None:
    areas, columns = [], []
    for s in (0.0, 10.0, 18.0):
        canvas = blank()
        paint_thing(canvas, camera_at(s), thing)
        here = np.argwhere(canvas.labels == label)
        areas.append(len(here))
        columns.append(here[:, 1].mean())
    assert 0 < areas[0] < areas[1] < areas[2]
    assert 80 < columns[0] < columns[1] < columns[2]


@pytest.mark.parametrize("variant", range(0, VEHICLES, 10))
def test_a_vehicle_changes_the_picture_exactly_where_its_truth_is(variant: int) -> None:
    canvas = blank()
    paint_thing(canvas, camera_at(0.0), Parked(2.5, 9.0, 0.3, variant))
    painted = np.any(canvas.image != 250, axis=2)
    assert np.array_equal(painted, canvas.labels == CAR)
    assert painted.sum() > 300


def test_a_wall_changes_the_picture_where_its_truth_is() -> None:
    canvas = blank()
    paint_panel(canvas, camera_at(0.0), Panel(3.0, -4.0, 3.0, 20.0, 0.0, 5.0), facade(0, True))
    painted = np.any(canvas.image != 250, axis=2)
    wall = canvas.labels == BUILDING
    assert wall.sum() > 2000
    assert np.mean(painted[wall]) > 0.98
    assert np.mean(wall[painted]) > 0.98


def test_a_vehicle_beside_the_camera_is_cut_and_not_dropped() -> None:
    canvas, car = blank(), Parked(1.6, -0.5, 0.0, 1)
    points = place(vehicle(1).points, car.x, car.s, car.heading)
    assert points[:, 1].min() < NEAR_M < points[:, 1].max()
    paint_thing(canvas, camera_at(0.0), car)
    columns = np.nonzero(canvas.labels == CAR)[1]
    assert columns.min() > 80
    assert columns.max() == 159


def test_a_vehicle_shows_half_its_faces() -> None:
    model = vehicle(0)
    behind, ahead = (
        outline_areas(camera_at(0.0).project(place(model.points, 0.0, 20.0, heading))[0], model)
        for heading in (0.0, 3.1416)
    )
    assert 0 < sum(area > 0 for area in behind) < len(model.faces)
    assert [area > 0 for area in behind] != [area > 0 for area in ahead]


@pytest.mark.parametrize(
    "make",
    [
        lambda: tree(0),
        lambda: person(1, 2),
        lambda: cyclist(1),
        lambda: cyclist_side(2),
        lambda: sign(1),
        lambda: fence(1),
        lambda: hedge(0),
    ],
)
def test_a_cut_out_stays_in_the_streets_range(make: object) -> None:
    assert callable(make)
    for texture in make().levels:
        assert texture.colour.max() <= MAX_VALUE
        assert texture.covers.any()
        assert texture.colour.shape == (*texture.through.shape, 3) == (*texture.covers.shape, 3)
        uncovered = texture.through[texture.covers == 0]
        assert uncovered.size == 0 or uncovered.mean() > 100


def test_a_polygon_behind_the_camera_paints_nothing() -> None:
    canvas = blank()
    fill(canvas, camera_at(0.0).polygon(((-1, -3, 0), (1, -3, 0), (0, -9, 2))), (1, 2, 3), BUILDING)
    assert np.all(canvas.labels == 99)


def test_a_polygon_is_cut_at_the_near_plane() -> None:
    pixels = camera_at(0.0).polygon(((-1, -3, 0), (-1, 9, 0), (1, 9, 0), (1, -3, 0)))
    assert len(pixels) == 4
    assert max(row for _, row in pixels) == pytest.approx(60 + 1.3 * 160 / NEAR_M)


def test_the_world_is_the_same_on_every_visit() -> None:
    town = make_town(8)
    before = stretch_things(town, 4, -1)
    stretch_things.cache_clear()
    assert stretch_things(town, 4, -1) == before
    assert stretch_things(town, 4, 1) != before
    assert len({zone(town, k, 1) for k in range(200)}) > 1


def test_parked_cars_stay_off_the_lanes() -> None:
    for seed in range(40):
        town = make_town(seed)
        assert town.lane_m > 0.86
        assert not town.parking or town.half_road - 1.15 - 0.86 > town.lane_m + 0.5


def test_memory_stays_flat() -> None:
    drive = Drive(6, 48, 36, frames=10_000)
    for index in range(0, 10_000, 250):
        drive[index]
    assert stretch_things.cache_info().currsize <= 1024


def test_the_light_differs_between_seeds_and_keeps_the_sky_brighter() -> None:
    curves = [make_lens(seed, 32, 32).curve[0].astype(int) for seed in range(20)]
    assert len({int(curve[100, 1]) for curve in curves}) > 10
    assert all(curve[230].mean() > curve[60].mean() for curve in curves)


def test_frames_are_the_callers_own() -> None:
    drive = Drive(1, *(64, 48))
    first = drive[5]
    kept = dataclasses.replace(first, image=first.image.copy())
    first.image[:] = 0
    assert same(drive[5], kept)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", (1, 480, 360, 500)),
        ("seed=7", (7, 480, 360, 500)),
        ("size=33x47,seed=2", (2, 33, 47, 500)),
        ("seed=1, size=64x48, frames=10000000", (1, 64, 48, 10_000_000)),
    ],
)
def test_parse_drive(options: str, expected: tuple[int, int, int, int]) -> None:
    drive = parse_drive(options)
    assert (drive.seed, drive.width, drive.height, len(drive)) == expected
    assert drive.name == f"drive seed {expected[0]}"
    assert drive.class_names == tuple(entry.name for entry in CAMVID_CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("speed=3", r"drive:speed=3 has the option 'speed=3'. Type for example: drive:seed=1,size=480x360,frames=300"),
        ("seed=-1", "has the option 'seed=-1'"),
        ("seed", "has the option 'seed'"),
        ("size=480", "has the option 'size=480'"),
        ("size=31x360", "a width of 31; 32 to 4096 are possible"),
        ("size=480x4097", "a height of 4097; 32 to 4096 are possible"),
        ("frames=0", "frames of 0; 1 to 10000000 are possible"),
        ("frames=10000001", "frames of 10000001"),
    ],
)
def test_parse_drive_says_what_it_accepts(options: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_drive(options)


def test_a_drive_is_lazy() -> None:
    assert [frame.index for frame in islice(Drive(1, 32, 32, frames=10_000_000), 2)] == [0, 1]
