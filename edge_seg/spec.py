"""ModelSpec: what an artefact says of itself, carried inside the artefact."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_seg.errors import ModelError
from edge_seg.types import UInt8Array

METADATA_KEY = "edge_seg.spec"
"""Key of the spec's JSON in ONNX metadata, checkpoints and engine sidecars."""

INPUT_MIDDLE = 128
INPUT_SCALE = 64
"""Our own nets take x = (u8 - 128) / 64, alike for all channels: the camera's uint8 is then itself a quantized tensor
(scale 1/64, zero point 128), and an INT8 graph needs no arithmetic between camera and first convolution."""

MAX_CLASSES = 255
"""Labels are uint8, and 255 is void."""


@dataclass(frozen=True, slots=True)
class SegClass:
    """A class's name and its colour, (red, green, blue) in 0..255."""

    name: str
    rgb: tuple[int, int, int]


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
    """Read a spec from `ModelSpec.to_json`'s text; ModelError where it is none.

    >>> spec = ModelSpec("tiny", CAMVID_CLASSES, 480, 360, "CamVid train")
    >>> parse_spec(spec.to_json()) == spec
    True
    """
    try:
        found: dict[str, Any] = json.loads(text)
        classes = tuple(SegClass(c["name"], (c["rgb"][0], c["rgb"][1], c["rgb"][2])) for c in found["classes"])
        spec = ModelSpec(**{**found, "classes": classes})
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(
            f"The model's spec cannot be read ({error}). Export the model again: edge-seg export"
        ) from None
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise ModelError(f"The model's spec has {len(classes)} classes; 1 to {MAX_CLASSES} fit in uint8 labels.")
    return spec
