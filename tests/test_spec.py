"""The spec as text and back."""

import pytest

from edge_seg.errors import ModelError
from edge_seg.spec import CAMVID_CLASSES, ModelSpec, SegClass, parse_spec

SPEC = ModelSpec("net", CAMVID_CLASSES, 480, 360, "CamVid train", "INT8", "research", {"CamVid test mIoU": 0.5})


def test_a_spec_survives_its_json() -> None:
    assert parse_spec(SPEC.to_json()) == SPEC


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"classes": [{"name": "Sky"}]}', SPEC.to_json()[:-9] + "}"])
def test_a_damaged_spec_says_what_to_type(text: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be read .* edge-seg export"):
        parse_spec(text)


def test_more_classes_than_labels_are_refused() -> None:
    many = tuple(SegClass(f"c{i}", (0, 0, 0)) for i in range(256))

    with pytest.raises(ModelError, match=r"256 classes; 1 to 255"):
        parse_spec(ModelSpec("net", many, 480, 360, "").to_json())


def test_the_palette_is_bgr_and_black_beyond_the_classes() -> None:
    palette = SPEC.palette_bgr()

    assert palette[4].tolist() == [222, 40, 60]  # Pavement, (60, 40, 222) in RGB
    assert palette.shape == (256, 3)
    assert not palette[11:].any()
