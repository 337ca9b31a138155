"""Plans of views: each field of a recipe's samples is obeyed."""

import numpy as np
import pytest

pytest.importorskip("torch")

from edge_seg.recipe import Samples
from edge_seg.training.augment import BEND_PX, View, plan_view

PLAIN = np.hstack([np.eye(3), np.zeros((3, 1))]).astype(np.float32)
VIEWS = 400


def plans(samples: Samples) -> list[View]:
    """What is planned for a picture of 96x72 with seeds 0, 1 and so on."""
    truth = np.zeros((72, 96), np.uint8)
    return [plan_view(truth, np.random.default_rng(seed), samples) for seed in range(VIEWS)]


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.2, 0.13, 0.27), (0.5, 0.42, 0.58), (1.0, 1, 1)])
def test_so_many_views_are_mirrored_and_so_many_bent(share: float, least: float, most: float) -> None:
    """Each by its own field: the other's share is the rest."""
    by_mirror = plans(Samples(mirror=share, elastic=1 - share))
    by_elastic = plans(Samples(mirror=1 - share, elastic=share))

    assert least <= np.mean([view.mirrored for view in by_mirror]) <= most
    assert least <= np.mean([view.bend is not None for view in by_elastic]) <= most
    assert 1 - most <= np.mean([view.bend is not None for view in by_mirror]) <= 1 - least


def test_bends_have_the_deviation_of_the_paper() -> None:
    bends = [view.bend for view in plans(Samples(elastic=1.0)) if view.bend is not None]

    assert {bend.shape for bend in bends} == {(2, 3, 3)}
    assert np.std(bends) == pytest.approx(BEND_PX, rel=0.05)
    assert np.mean(bends) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("outside", ["void", "mirror"])
def test_the_view_is_told_what_lies_outside(outside: str) -> None:
    assert {view.outside for view in plans(Samples(outside=outside))} == {outside}


def test_colours_change_as_strongly_as_asked_and_not_at_all_without() -> None:
    assert all((view.colours == PLAIN).all() for view in plans(Samples(colour=0.0)))

    changes = [
        np.array([np.abs(view.colours - PLAIN).mean((0, 1)) for view in plans(Samples(colour=strength))])
        for strength in (0.5, 1.0, 2.0)
    ]
    assert all((by_view > 0).all() for by_view in changes)
    assert changes[1].mean() / changes[0].mean() == pytest.approx(2, rel=0.15)
    assert changes[2].mean() / changes[1].mean() == pytest.approx(2, rel=0.35)


def test_brightness_contrast_saturation_and_cast_all_vary() -> None:
    maps = np.array([view.colours for view in plans(Samples(colour=1.0))]).astype(np.float64)
    gains = maps[:, :, :3].sum(2)  # contrast times the cast of each channel
    contrast = np.exp(np.log(gains).mean(1))
    saturation = (maps[:, 0, 0] - maps[:, 0, 1]) / gains[:, 0]
    brightness = maps[:, 0, 3] - 128 * (1 - contrast)

    assert (saturation.min(), saturation.max()) == pytest.approx((0.5, 1.5), abs=0.02)
    assert np.log2(gains / contrast[:, None]).std() > 0.03
    assert 0.35 < np.abs(np.log2(contrast)).max() < 0.5
    assert 20 < np.abs(brightness).max() < 35


@pytest.mark.parametrize("stretch", [0.0, 0.1, 1.0])
def test_a_picture_is_widened_or_narrowed_within_the_stretch(stretch: float) -> None:
    """One side grows by as many octaves as the other shrinks, so the scale of the area stays."""
    boxes = np.array([view.box[2:] for view in plans(Samples(scale_least=2.0, scale_most=2.0, stretch=stretch))])
    taller, wider = np.log2(np.array([72, 96]) / boxes).T - 1

    assert wider + taller == pytest.approx(0)
    assert np.abs(wider).max() <= stretch + 1e-9
    assert (wider.min(), wider.max()) == pytest.approx((-stretch, stretch), abs=0.02)


def test_scales_lie_within_their_bounds() -> None:
    boxes = np.array([view.box[2:] for view in plans(Samples(scale_least=0.5, scale_most=4.0, stretch=0.0))])
    scales = 72 / boxes[:, 0]

    assert (boxes[:, 1] * scales) == pytest.approx(96)
    assert np.log2([scales.min(), scales.max()]) == pytest.approx((-1, 2), abs=0.02)
    assert np.log2(scales).mean() == pytest.approx(0.5, abs=0.15)
