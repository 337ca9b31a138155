"""The spec as text and back."""

import json

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


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", 5, r"name 5; expected text\. Export the model again: edge-seg export"),
        ("dataset", None, "dataset None; expected text"),
        ("precision", ["INT8"], r"precision \['INT8'\]; expected text"),
        ("licence", {}, r"licence {}; expected text"),
        ("width", "480", "width '480'; expected a whole number of pixels, 1 to 8192"),
        ("width", 480.0, "width 480.0; expected a whole number"),
        ("width", True, "width True; expected a whole number"),
        ("height", 0, "height 0; expected a whole number of pixels"),
        ("height", -360, "height -360; expected"),
        ("height", 10**9, "height 1000000000; expected"),
        ("scores", [0.5], r"scores \[0\.5\]; expected numbers by name"),
        ("scores", {"mIoU": "high"}, r"scores\['mIoU'\] 'high'; expected a number"),
        ("scores", {"mIoU": True}, r"scores\['mIoU'\] True; expected a number"),
        ("scores", {"mIoU": float("nan")}, r"scores\['mIoU'\] nan; expected a number"),
        ("scores", {"mIoU": 10**400}, r"scores\['mIoU'\] 1000.*; expected a number"),
        ("classes", [{"name": 3, "rgb": [0, 0, 0]}], r"classes\[0\]\.name 3; expected text"),
        ("classes", [{"name": ["a"], "rgb": [0, 0, 0]}], r"classes\[0\]\.name \['a'\]; expected text"),
        ("classes", [{"name": "a", "rgb": [0, 0, 256]}], r"classes\[0\]\.rgb \[0, 0, 256\]; expected three whole"),
        ("classes", [{"name": "a", "rgb": [0, 0.5, 0]}], r"classes\[0\]\.rgb \[0, 0\.5, 0\]; expected three whole"),
        ("classes", [{"name": "a", "rgb": [0, 0]}], r"classes\[0\]\.rgb \[0, 0\]; expected three whole numbers"),
        ("classes", [{"name": "a", "rgb": "red"}], r"classes\[0\]\.rgb \['r', 'e', 'd'\]; expected three whole"),
        ("classes", [{"name": "a", "rgb": [0] * 3}] * 2, r"classes\[1\]\.name 'a'; expected a name of its own"),
    ],
)
def test_nonsense_in_a_field_is_told_with_what_was_expected(field: str, value: object, message: str) -> None:
    text = json.dumps({**json.loads(SPEC.to_json()), field: value})

    with pytest.raises(ModelError, match=f"The model's spec has {message}"):
        parse_spec(text)


def test_a_spec_nested_without_end_is_told() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        parse_spec("[" * 100_000)


def test_the_palette_is_bgr_and_black_beyond_the_classes() -> None:
    palette = SPEC.palette_bgr()

    assert palette[4].tolist() == [222, 40, 60]  # Pavement, (60, 40, 222) in RGB
    assert palette.shape == (256, 3)
    assert not palette[11:].any()
