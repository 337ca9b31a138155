"""Is a calibration set enough, and is it what the model was trained on: plain tests, and what they say.

A run-time gives labels and no confidence, and a model's file holds no picture of its training. So the tests are on what
can be seen: the number of pictures, their light and shape, the classes in the labels, and whether the labels of a
mirrored picture are the mirrored labels. Street nets are trained on pictures and their mirror images alike; where one
guesses, the two guesses differ (test-time augmentation as a measure of doubt: Wang et al., Aleatoric uncertainty
estimation with test-time augmentation, 2019). No test proves that a set fits; each can only find that it does not.
"""

from collections.abc import Sequence

import numpy as np

from edge_seg.calib.diversity import SHOWN_SHARE, Floats
from edge_seg.calib.manifest import Picture
from edge_seg.spec import ModelSpec

FEW_IMAGES = 50
"""Fewer are told: the ends of the ranges then hang on single pictures."""

BLANK_CONTRAST = 0.02
"""A picture of less contrast is a fade, a covered lens or a test card of one colour, and is never picked."""

DARK, BRIGHT = 0.1, 0.9
STRETCH = 1.5
MOST_OF_ONE_CLASS = 0.95

LEAST_MIRROR_AGREEMENT = 0.9
"""Measured as `calib.candidates.mirror_agreement`, mean of 3 to 10 pictures, of edge-seg-s-fp32: 0.97 on CamVid train,
0.95 on CamVid test, 0.96 on drive frames, 0.97 and 0.92 on dash-cam clips of highways; 0.85 on CamVid at an eighth of
its light, 0.84 on negatives, 0.73 upside down, 0.72 on its side. edge-seg-s-drive, trained on rendered frames alone:
0.97 on these, 0.89 on CamVid. Noise (0.95) and swapped channels (0.95) are not seen by it; noise is by its classes."""


def picture_warnings(pictures: Sequence[Picture], wanted: int) -> list[str]:
    """What is to be told of the number and the light of a set's pictures."""
    found = []
    if len(pictures) < wanted:
        found.append(
            f"{len(pictures)} of {wanted} pictures: the sources hold no more that differ. Give more sources: --data URI"
        )
    if len(pictures) < FEW_IMAGES:
        found.append(f"{len(pictures)} pictures are few. Better give 100 or more: --images 120")
    for word, count in (
        ("darker", sum(p.brightness < DARK for p in pictures)),
        ("brighter", sum(p.brightness > BRIGHT for p in pictures)),
    ):
        if 2 * count > len(pictures):
            limit = DARK if word == "darker" else BRIGHT
            found.append(f"{count} of {len(pictures)} pictures are {word} than {limit:.0%} of white in the mean.")
    return found


def class_warnings(shares: Floats, spec: ModelSpec) -> list[str]:
    """What is to be told of the classes in the model's labels of the picked pictures, by their shares [K, C]."""
    unseen = [name for name, seen in zip(spec.class_names, shown_in(shares), strict=True) if not seen]
    whole = shares.mean(axis=0)
    found = []
    if unseen:
        found.append(f"No picture shows {', '.join(unseen)} to {spec.name}: their ranges are not seen.")
    if 2 * len(unseen) > len(spec.classes):
        found.append(_outside(f"{len(unseen)} of {len(spec.classes)} classes never occur", spec))
    if len(spec.classes) > 2 and whole.max() > MOST_OF_ONE_CLASS:
        found.append(_outside(f"{whole.max():.0%} of all pixels are {spec.class_names[int(whole.argmax())]}", spec))
    return found


def fit_warnings(pictures: Sequence[Picture], mirrored: float, spec: ModelSpec) -> list[str]:
    """What is to be told of the pictures' shape beside the model's, and of the labels of mirrored pictures."""
    found = []
    ratios = np.array([picture.width / picture.height for picture in pictures]) * spec.height / spec.width
    stretched = np.flatnonzero(np.maximum(ratios, 1 / ratios) > STRETCH)
    if len(stretched):
        first = pictures[int(stretched[0])]
        found.append(
            f"{len(stretched)} pictures are stretched by more than {STRETCH:g} to {spec.name}'s {spec.width}x"
            f"{spec.height}, the first {first.name} of {first.width}x{first.height}."
        )
    if mirrored < LEAST_MIRROR_AGREEMENT:
        found.append(
            _outside(
                f"mirrored pictures get the mirrored labels at {mirrored:.0%} of the pixels, expected "
                f"{LEAST_MIRROR_AGREEMENT:.0%} or more",
                spec,
            )
        )
    return found


def shown_in(shares: Floats) -> list[int]:
    """In how many pictures each class is shown, by the shares [K, C] of the classes."""
    return [int(count) for count in (shares >= SHOWN_SHARE).sum(axis=0)]


def _outside(finding: str, spec: ModelSpec) -> str:
    trained = f" ({spec.dataset})" if spec.dataset else ""
    return f"Perhaps not what {spec.name} was trained on{trained}, or a weak model: {finding}."
