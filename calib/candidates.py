"""The pictures among which a calibration set is picked: spread over the sources, each looked at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_seg.calib.diversity import Floats, Look, describe
from edge_seg.calib.manifest import hash_image
from edge_seg.calib.pictures import Pictures, Shot
from edge_seg.resize import resize_image
from edge_seg.segmenter import Segmenter
from edge_seg.types import UInt8Array

MIRRORED = 40
"""How many candidates are segmented a second time, mirrored."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What is kept of a picture: where it is, its size and hash, what it looks like, and what a model makes of it.

    `shares` float32 [C] are its classes' shares, `mirrored` is the share of its pixels that get the same label when the
    picture is mirrored; None without a model, `mirrored` also where it was not tried.
    """

    source: int
    index: int
    name: str
    width: int
    height: int
    sha256: str
    look: Look
    shares: Floats | None = None
    mirrored: float | None = None


def share_out(lengths: Sequence[int], most: int) -> list[int]:
    """How many candidates each source gives: alike, what a short one lacks going to the others, at most `most` in all.

    >>> share_out([50, 90000, 2000], 1200)
    [50, 575, 575]
    """
    shares, left = [0] * len(lengths), most
    for rank, number in enumerate(sorted(range(len(lengths)), key=lambda n: lengths[n])):
        shares[number] = min(lengths[number], left // (len(lengths) - rank))
        left -= shares[number]
    return shares


def spread(length: int, count: int, rng: np.random.Generator) -> list[int]:
    """One place of each of `count` equal stretches of 0..length-1, by chance within it; all where there are no more.

    >>> spread(4, 9, np.random.default_rng(1))
    [0, 1, 2, 3]
    """
    count = min(count, length)
    edges = np.arange(count + 1) * length // max(count, 1)
    return [int(place) for place in rng.integers(edges[:-1], edges[1:])]


def look_at(
    sources: Sequence[Pictures],
    places: Sequence[Sequence[int]],
    *,
    segment: Segmenter | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """Look at the pictures of the sources at the given places, one in memory at a time; damaged ones are left out.

    `on_image` is called after each.
    """
    every = max(1, -(-sum(map(len, places)) // MIRRORED))
    candidates: list[Candidate] = []
    for source, (pictures, wanted) in enumerate(zip(sources, places, strict=True)):
        for shot in pictures.read(wanted):
            candidates.append(_look(source, shot, segment, mirror=len(candidates) % every == 0))
            on_image()
    return candidates


def _look(source: int, shot: Shot, segment: Segmenter | None, *, mirror: bool) -> Candidate:
    height, width = shot.image.shape[:2]
    facts = source, shot.index, shot.name, width, height, hash_image(shot.image), describe(shot.image)
    if segment is None:
        return Candidate(*facts)
    small = resize_image(shot.image, segment.spec.width, segment.spec.height)
    labels = segment(small).labels
    counts = np.bincount(labels.ravel(), minlength=len(segment.spec.classes))
    shares = (counts / labels.size).astype(np.float32)
    return Candidate(*facts, shares, mirror_agreement(small, labels, segment) if mirror else None)


def mirror_agreement(image: UInt8Array, labels: UInt8Array, segment: Segmenter) -> float:
    """Share of an image's pixels whose label [H, W] is the same when the image [H, W, 3] is mirrored left to right."""
    mirrored = segment(np.ascontiguousarray(image[:, ::-1])).labels[:, ::-1]
    return float((mirrored == labels).mean())
