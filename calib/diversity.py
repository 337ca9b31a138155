"""Which pictures of many differ most: what a picture looks like, scene cuts, and farthest points.

The choice is greedy k-center: the next picture is the one farthest from all that are chosen (Gonzalez, Clustering to
minimize the maximum intercluster distance, 1985; used to choose a core set of pictures by Sener and Savarese, Active
learning for convolutional neural networks, 2018). No candidate is then farther from a chosen one than twice what the
best possible choice would leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_seg.types import UInt8Array

Floats = NDArray[np.float32]

THUMBNAIL = (8, 6)
"""Width and height of the thumbnail: cells of 60x60 pixels at 480x360, over which noise averages out."""

SAME_LEVELS = 3.0
"""Pictures are near copies where no cell of their thumbnails differs by more grey levels than this."""

CUT_LEVELS = 15.0
CUT_RATIO = 3.0
CUT_WINDOW = 5
"""A scene ends where the mean change of the thumbnail is above CUT_LEVELS grey levels and CUT_RATIO times the median
of CUT_WINDOW changes on either side: the test and its two numbers are those of PySceneDetect's AdaptiveDetector, which
takes the mean of two changes on either side. A median is not moved by a second cut near by."""

SHOWN_SHARE = 0.001
"""A picture shows a class that has this share of its pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture in few numbers: thumbnail float32 [6, 8] in grey levels; brightness, contrast, saturation in 0..1."""

    thumbnail: Floats
    brightness: float
    contrast: float
    saturation: float


def describe(image: UInt8Array) -> Look:
    """What a picture uint8 [H, W, 3] BGR looks like: mean and standard deviation of its grey, and mean saturation.

    >>> look = describe(np.full((60, 80, 3), 51, np.uint8))
    >>> look.brightness, look.contrast, look.saturation
    (0.2, 0.0, 0.0)
    """
    small = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    saturation = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)[:, :, 1]
    thumbnail = cv2.resize(grey, THUMBNAIL, interpolation=cv2.INTER_AREA)
    numbers = (float(value) / 255 for value in (grey.mean(), grey.std(), saturation.mean()))
    return Look(np.asarray(thumbnail, np.float32), *(round(number, 4) for number in numbers))


def find_scenes(thumbnails: Floats) -> list[int]:
    """The scene, from 0, of each of a source's pictures in order, by their thumbnails [K, 6, 8] in grey levels.

    >>> dark, light = np.zeros((4, 6, 8), np.float32), np.full((3, 6, 8), 200, np.float32)
    >>> find_scenes(np.concatenate([dark, light]))
    [0, 0, 0, 0, 1, 1, 1]
    """
    changes = np.abs(np.diff(thumbnails, axis=0)).mean(axis=(1, 2))
    scenes = [0]
    for place, change in enumerate(changes):
        start = max(0, place - CUT_WINDOW)
        near = np.delete(changes[start : place + CUT_WINDOW + 1], place - start)
        usual = float(np.median(near)) if near.size else 0.0
        scenes.append(scenes[-1] + int(change > max(CUT_LEVELS, CUT_RATIO * usual)))
    return scenes


def to_points(looks: Sequence[Look], shares: Floats | None = None) -> Floats:
    """A point [K, D] for each picture, so that unlike pictures are far apart.

    It has the thumbnail less its mean (layout), brightness, contrast and saturation (light) and, where `shares` [K, C]
    gives the classes' shares of each picture, their square roots: distances are then Hellinger's, in which a small
    class counts. Each of these groups is scaled to the same total variance.
    """
    thumbnails = np.stack([look.thumbnail for look in looks]).reshape(len(looks), -1)
    light = np.array([(look.brightness, look.contrast, look.saturation) for look in looks])
    spread = light.std(axis=0)
    groups = [thumbnails - thumbnails.mean(axis=1, keepdims=True), light / np.where(spread > 0, spread, 1)]
    if shares is not None:
        groups.append(np.sqrt(shares))
    return np.hstack([_scale(group) for group in groups]).astype(np.float32)


def _scale(group: Floats) -> Floats:
    """A group of columns with the total variance 1, or 0 where all rows are alike."""
    total = float(np.sqrt(group.var(axis=0).sum()))
    return group / total if total > 0 else group


class Choice:
    """Pictures chosen so far, by number, and how far each candidate is from them; near copies of them are closed."""

    def __init__(self, points: Floats, thumbnails: Floats) -> None:
        self.chosen: list[int] = []
        self._points, self._thumbnails = points, thumbnails
        self._distance = np.full(len(points), np.inf)
        self._open = np.ones(len(points), bool)

    def take(self, number: int) -> None:
        """Choose a candidate, unless it is closed."""
        if not self._open[number]:
            return
        self.chosen.append(number)
        away = np.linalg.norm(self._points - self._points[number], axis=1)
        self._distance = np.minimum(self._distance, away)
        unlike = np.abs(self._thumbnails - self._thumbnails[number]).max(axis=(1, 2)) > SAME_LEVELS
        self._open &= unlike

    def take_most(self, amounts: Floats, least: float) -> None:
        """Choose the open candidate with the greatest of `amounts` [K], unless that is below `least`."""
        left = np.where(self._open, amounts, -1)
        if left.max() >= least:
            self.take(int(left.argmax()))

    def take_farthest(self, wanted: int, among: Sequence[int]) -> None:
        """Choose the farthest candidates of `among` until `wanted` are chosen, or all of them are chosen or closed."""
        numbers = np.asarray(among, int)
        while len(self.chosen) < wanted and self._open[numbers].any():
            left = numbers[self._open[numbers]]
            self.take(int(left[self._distance[left].argmax()]))


def choose(
    looks: Sequence[Look], scenes: Sequence[int], wanted: int, *, shares: Floats | None = None, seed: int = 1
) -> list[int]:
    """Numbers, ascending, of up to `wanted` pictures that differ most; fewer where the others are near copies.

    First one of each scene, which `seed` chooses; where the scenes are too many, the farthest of these. Then, for each
    class from the rarest on, the picture with most of it; once half of the pictures are chosen, for a class only that
    none of them shows. Then the farthest of all.
    """
    choice = Choice(to_points(looks, shares), np.stack([look.thumbnail for look in looks]))
    choice.take_farthest(wanted, _one_of_each(scenes, seed))
    if shares is not None:
        for label in shares.sum(axis=0).argsort(kind="stable"):
            missing = not (shares[choice.chosen, label] >= SHOWN_SHARE).any()
            if len(choice.chosen) < (wanted if missing else wanted // 2):
                choice.take_most(shares[:, label], SHOWN_SHARE)
    choice.take_farthest(wanted, range(len(looks)))
    return sorted(choice.chosen)


def _one_of_each(scenes: Sequence[int], seed: int) -> list[int]:
    """A number of each scene, by chance."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(scenes))
    first: dict[int, int] = {}
    for number in order:
        first.setdefault(scenes[number], int(number))
    return list(first.values())
