"""Overlay, panels and head-up display."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edge_seg.apps.controls import Controls
from edge_seg.apps.hud import Hud
from edge_seg.apps.meters import Meters
from edge_seg.apps.overlay import Overlay
from edge_seg.apps.panel import Layer, Panel, fitting_px, lay, text_width
from edge_seg.apps.view import View
from edge_seg.spec import CAMVID_CLASSES, ModelSpec, SegClass
from edge_seg.types import Frame, Result, UInt8Array

SPEC = ModelSpec("edge-seg-s", CAMVID_CLASSES, 480, 360, "CamVid", "INT8", scores={"CamVid test mIoU": 0.583})
SIZES = [(320, 240), (480, 360), (640, 480), (960, 540), (1280, 720), (1920, 1080)]

labels_arrays = npst.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 10))


def noise(height: int, width: int) -> UInt8Array:
    """A picture of noise."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(labels=labels_arrays, alpha=st.floats(0, 1))
def test_the_overlay_blends_each_class_in_its_colour(labels: UInt8Array, alpha: float) -> None:
    image = noise(*labels.shape)
    before = image.copy()

    drawn = Overlay(SPEC, alpha, borders=False).draw(image, labels)

    expected = (1 - alpha) * image.astype(float) + alpha * SPEC.palette_bgr()[labels].astype(float)
    assert np.abs(drawn - expected).max() <= 1
    assert np.array_equal(image, before)


@given(labels=labels_arrays)
def test_borders_are_white_where_the_upper_left_neighbour_differs(labels: UInt8Array) -> None:
    before = labels.copy()

    drawn = Overlay(SPEC, 1.0).draw(noise(*labels.shape), labels)

    expected = SPEC.palette_bgr()[labels]
    for y, x in np.ndindex(labels.shape):
        if y and x and labels[y, x] != labels[y - 1, x - 1]:
            expected[y, x] = 255
    assert np.array_equal(drawn, expected)
    assert np.array_equal(labels, before)


@given(x=st.integers(0, 12), y=st.integers(0, 12))
def test_layers_are_cut_at_the_edge(x: int, y: int) -> None:
    image, ink, keep = noise(10, 10), noise(4, 5), noise(4, 5)[::-1]
    before = image.copy()

    laid = lay(image, [Layer(x, y, ink, np.ascontiguousarray(keep))])

    expected = image.astype(float)
    part = expected[y : y + 4, x : x + 5]
    height, width = part.shape[:2]
    part[:] = np.minimum(255, np.round(part * keep[:height, :width] / 255) + ink[:height, :width])
    assert np.abs(laid - expected).max() <= 1
    assert np.array_equal(image, before)


def test_a_panel_darkens_and_its_text_does_not_depend_on_what_is_below() -> None:
    panel = Panel(60, 20)
    panel.box(5, 5, 10, 10, bgr=(10, 200, 30))

    white, black = (lay(np.full((20, 60, 3), value, np.uint8), [panel.layer(0, 0)]) for value in (255, 0))

    assert white[10, 10].tolist() == black[10, 10].tolist() == [10, 200, 30]
    assert white[10, 40].max() < 120


@given(text=st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=40), width=st.integers(40, 400))
def test_a_long_text_shrinks_to_its_place(text: str, width: int) -> None:
    px = fitting_px(text, 20, width)

    assert px <= 20
    assert px == 1 or text_width(text, px) <= width * 1.15  # glyphs grow in whole pixels


def filled_meters() -> Meters:
    """Meters after three frames."""
    meters = Meters(SPEC, "openvino")
    for second in (0.0, 0.1, 0.2):
        meters.rate.tick(second)
        meters.age.add(12.0)
        meters.add(Result(np.zeros((2, 2), np.uint8), 1.0, 9.0, 0.5), 2.0, 1.5, 3.0)
    return meters


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts that go onto panels."""
    texts: list[str] = []
    plain: Callable[..., None] = Panel.text

    def note(panel: Panel, x: int, y: int, text: str, px: int, **style: object) -> None:
        texts.append(text)
        plain(panel, x, y, text, px, **style)

    monkeypatch.setattr(Panel, "text", note)
    return texts


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_hud_says_all_at_every_size(width: int, height: int, written: list[str]) -> None:
    Hud().layers(width, height, filled_meters())

    said = " ".join(written)
    for part in ("10.0", "FPS", "12.0", "dropped", "infer", "9.0", "edge-seg-s  INT8  openvino", "mIoU (CamVid test)"):
        assert part in said
    assert all(c.name in said for c in CAMVID_CLASSES)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_hud_leaves_most_of_the_picture_free(width: int, height: int) -> None:
    layers = Hud().layers(width, height, filled_meters())

    assert sum(layer.ink.shape[0] * layer.ink.shape[1] for layer in layers) < 0.4 * width * height
    assert all(layer.x + layer.ink.shape[1] <= width and layer.y + layer.ink.shape[0] <= height for layer in layers)


def test_the_hud_names_the_truths_miou(written: list[str]) -> None:
    meters, truth = filled_meters(), np.zeros((2, 2), np.uint8)
    meters.score(Result(truth, 0, 0, 0), Frame(noise(2, 2), 0, 0.0, truth))

    Hud().layers(960, 540, meters)

    assert written[written.index("mIoU (truth)") + 1] == "1.000"
    assert "IoU" not in written and "mIoU" not in written


def test_the_hud_works_before_the_first_frame_and_with_odd_specs(written: list[str]) -> None:
    spec = ModelSpec("a-model-with-a-very-long-name", (SegClass("lane", (0, 0, 0)),), 96, 72, "own", scores={"F1": 0.5})
    hud = Hud()

    for width, height in (*SIZES, (16, 16), (33, 2000), (3000, 20)):
        lay(noise(height, width), hud.layers(width, height, Meters(spec, "onnxruntime-tensorrt")))

    assert "-" in " ".join(written) and "F1" in written


def test_texts_are_made_anew_only_when_due(written: list[str]) -> None:
    hud, meters = Hud(refresh_s=3600), filled_meters()
    first = hud.layers(960, 540, meters)
    texts = len(written)

    assert hud.layers(960, 540, meters) == first
    assert len(written) == texts
    assert hud.layers(480, 360, meters) != first


def test_the_view_leaves_the_overlay_out_when_asked() -> None:
    controls, image, labels = Controls(), noise(360, 480), np.zeros((360, 480), np.uint8)
    view, frame = View(Overlay(SPEC), Hud(refresh_s=3600), controls), Frame(noise(360, 480), 0, 0.0)
    with_overlay = view.draw(frame, Result(labels, 0, 0, 0), filled_meters())
    controls.press(ord("o"))

    without = view.draw(frame, Result(labels, 0, 0, 0), filled_meters())

    middle = slice(120, 240)
    assert np.array_equal(without[middle], image[middle])
    assert not np.array_equal(with_overlay[middle], image[middle])
    assert not np.array_equal(without, image)
    assert np.array_equal(frame.image, image)
