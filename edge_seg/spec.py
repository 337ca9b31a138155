"""ModelSpec: what an artefact says of itself, carried inside the artefact."""

import dataclasses
import json
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_seg.errors import ModelError
from edge_seg.types import SegClass, UInt8Array

METADATA_KEY = "edge_seg.spec"
"""Key of the spec's JSON in ONNX metadata, checkpoints and engine sidecars."""

INPUT_MIDDLE = 128
INPUT_SCALE = 64
"""Our own nets take x = (u8 - 128) / 64, alike for all channels: the camera's uint8 is then itself a quantized tensor
(scale 1/64, zero point 128), and an INT8 graph needs no arithmetic between camera and first convolution."""

OWN_LICENCE = "Apache-2.0"
"""The project's own, which drive frames are under too."""

MAX_CLASSES = 255
"""Labels are uint8, and 255 is void."""

MAX_SIDE_PX = 8192
"""More is no camera's picture: a spec that asks for it is damaged, and would be believed with gigabytes."""

MAX_SCORE = 1e9
"""Beyond any measure; NaN and infinity, for which JSON has no number, are beyond it too."""

_EXPORT_AGAIN = "Export the model again: edge-seg export"


CAMVID_CLASSES = (
    SegClass("Sky", (128, 128, 128)),
    SegClass("Building", (128, 0, 0)),
    SegClass("Pole", (192, 192, 128)),
    SegClass("Road", (128, 64, 128)),
    SegClass("Pavement", (60, 40, 222)),
    SegClass("Tree", (128, 128, 0)),
    SegClass("SignSymbol", (192, 128, 128)),
    SegClass("Fence", (64, 64, 128)),
    SegClass("Car", (64, 0, 128)),
    SegClass("Pedestrian", (64, 64, 0)),
    SegClass("Bicyclist", (0, 128, 192)),
)
"""The 11 classes of CamVid as SegNet groups them, in label order, in SegNet's colours."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's name, classes, input size in pixels, training data, precision, scores and licence.

    `scores` maps what was measured to its value, such as {"CamVid test mIoU": 0.58}: the number that `edge-seg eval`
    prints for this very artefact.
    """

    name: str
    classes: tuple[SegClass, ...]
    width: int
    height: int
    dataset: str
    precision: str = "FP32"
    licence: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names in label order."""
        return tuple(c.name for c in self.classes)

    def palette_bgr(self) -> UInt8Array:
        """Colours by label, uint8 [256, 3] in BGR; labels without a class are black."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self.classes)] = [c.rgb[::-1] for c in self.classes]
        return palette

    def to_json(self) -> str:
        """The spec as JSON text; `parse_spec` reads it back."""
        return json.dumps(dataclasses.asdict(self))


def parse_spec(text: str) -> ModelSpec:
    """Read a spec from `ModelSpec.to_json`'s text; ModelError, with the field, where it is none or holds nonsense.

    >>> spec = ModelSpec("tiny", CAMVID_CLASSES, 480, 360, "CamVid train")
    >>> parse_spec(spec.to_json()) == spec
    True
    """
    try:
        found: dict[str, Any] = json.loads(text)
        classes = tuple(SegClass(c["name"], tuple(c["rgb"])) for c in found["classes"])
        spec = ModelSpec(**{**found, "classes": classes})
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ModelError(f"The model's spec cannot be read ({error}). {_EXPORT_AGAIN}") from None
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise ModelError(f"The model's spec has {len(classes)} classes; 1 to {MAX_CLASSES} fit in uint8 labels.")
    _check_fields(spec)
    return spec


def join_licences(licences: Sequence[str]) -> str:
    """One text for what was made of things under all of `licences`; the project's own asks for nothing beside another.

    >>> join_licences(["Apache-2.0", "Apache-2.0"]), join_licences(["Apache-2.0", "For research", "For research"])
    ('Apache-2.0', 'For research')
    >>> join_licences(["For research", "See ImageNet"]), join_licences(["Apache-2.0", ""])
    ('For research; See ImageNet', '')
    """
    others = list(dict.fromkeys(licence for licence in licences if licence != OWN_LICENCE))
    return "; ".join(filter(None, others)) if others else OWN_LICENCE


def _check_fields(spec: ModelSpec) -> None:
    """ModelError for a field of another type or range: the text comes from a file, and the annotations bind no file."""
    for name in ("name", "dataset", "precision", "licence"):
        value = getattr(spec, name)
        _expect(isinstance(value, str), name, value, "text")
    for name in ("width", "height"):
        value = getattr(spec, name)
        _expect(_is_whole(value, 1, MAX_SIDE_PX), name, value, f"a whole number of pixels, 1 to {MAX_SIDE_PX}")
    for label, kind in enumerate(spec.classes):
        place = f"classes[{label}]"
        _expect(isinstance(kind.name, str), f"{place}.name", kind.name, "text")
        _expect(kind.name not in spec.class_names[:label], f"{place}.name", kind.name, "a name of its own")
        good = len(kind.rgb) == 3 and all(_is_whole(part, 0, 255) for part in kind.rgb)
        _expect(good, f"{place}.rgb", list(kind.rgb), "three whole numbers, 0 to 255")
    _expect(isinstance(spec.scores, dict), "scores", spec.scores, "numbers by name")
    for name, value in spec.scores.items():
        _expect(type(value) in (int, float) and abs(value) <= MAX_SCORE, f"scores[{name!r}]", value, "a number")


def _is_whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most  # isinstance would take True for 1


def _expect(good: bool, field: str, found: object, expected: str) -> None:
    if not good:
        shown = reprlib.repr(found)  # of bounded length
        raise ModelError(f"The model's spec has {field} {shown}; expected {expected}. {_EXPORT_AGAIN}")
