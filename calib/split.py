"""A labelled set apart in two: pictures to calibrate on, and pictures of other sequences to judge the result by."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from edge_seg.calib.images import FEWEST_IMAGES, pick_indices
from edge_seg.calib.manifest import Manifest, hash_image
from edge_seg.calib.sequences import halves, named_sequences, sequence_of
from edge_seg.data.images import IMAGE_SUFFIXES
from edge_seg.data.subset import Subset
from edge_seg.errors import DataError
from edge_seg.types import Dataset

MOST_LOOKED_AT = 800
"""Pictures of a set, spread evenly, whose names are read."""


class Sides(NamedTuple):
    """What is calibrated on and what judges; `halved` where the two may share a sequence."""

    calibration: Subset
    gate: Subset
    halved: bool


def split(dataset: Dataset, calibration: int, gate: int) -> Sides:
    """At most `calibration` pictures to calibrate on, and `gate` of other sequences to judge by, each spread evenly.

    DataError where a side has too few.
    """
    looked = pick_indices(len(dataset), MOST_LOOKED_AT)
    first, second, halved = part([dataset[index].name for index in looked])
    if min(len(first), len(second)) < FEWEST_IMAGES:
        raise DataError(
            f"{dataset.name} has {len(looked)} pictures, of which {len(first)} and {len(second)} are of different "
            f"sequences. Calibrating and judging need {FEWEST_IMAGES} each: give a larger set."
        )
    return Sides(
        _subset(dataset, [looked[place] for place in first], calibration, "to calibrate on"),
        _subset(dataset, [looked[place] for place in second], gate, "to judge by"),
        halved,
    )


def split_off(dataset: Dataset, manifest: Manifest, gate: int) -> tuple[Subset, bool]:
    """At most `gate` pictures to judge by, of no sequence that a calibration set has pictures of, spread evenly.

    The last value is False where names do not tell the sequences. DataError where too few pictures are left.
    """
    places = {picture.index for picture in manifest.pictures if picture.index < len(dataset)}
    looked = sorted(places | set(pick_indices(len(dataset), MOST_LOOKED_AT)))
    hashes = {picture.sha256 for picture in manifest.pictures}
    names, seen = [], []
    for index in looked:
        frame = dataset[index]
        names.append(frame.name)
        seen.append(hash_image(frame.image) in hashes)
    left, named = apart(names, seen, [_stem(picture.name) for picture in manifest.pictures])
    if len(left) < FEWEST_IMAGES:
        raise DataError(
            f"{dataset.name} has {len(left)} pictures of other sequences than those of the calibration set. Judging "
            f"needs {FEWEST_IMAGES}: give --data of other drives, or pick from fewer drives: edge-seg calib images"
        )
    return _subset(dataset, [looked[place] for place in left], gate, "to judge by"), named


def _stem(name: str) -> str:
    """The name as data sets have it: of an image file's without the suffix."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name


def apart(names: Sequence[str], seen: Sequence[bool], others: Sequence[str]) -> tuple[list[int], bool]:
    """Places of the pictures that share no sequence with a calibration set, and whether names tell the sequences.

    `seen` are those in the set themselves, `others` the names of the set's pictures. Where `names` tell nothing,
    all are of one drive: one that is in the set leaves none.

    >>> apart(["day_1", "day_2", "rain_1", "rain_2"], [False, False, False, True], ["day_9"])
    ([], True)
    >>> apart(["frame_1", "frame_2"], [False] * 2, ["frame_1"])
    ([0, 1], False)
    """
    if not named_sequences(names):
        return [] if any(seen) else list(range(len(names))), False
    found = [sequence_of(name) for name in names]
    used = {sequence_of(name) for name in others} | {name for name, taken in zip(found, seen, strict=True) if taken}
    return [place for place, name in enumerate(found) if name not in used], True


def part(names: Sequence[str]) -> tuple[list[int], list[int], bool]:
    """Places of the pictures to calibrate on, and of those to judge by: whole sequences, a third of all or more.

    The largest sequences judge. Where one side then has too few pictures, or the names tell no sequences, the set is
    halved with a gap at the middle, and the last value is True: both sides may be of one sequence.

    >>> part(["day_1", "dusk_1", "dusk_2", "dusk_3", "rain_1", "rain_2"])
    ([0, 4, 5], [1, 2, 3], False)
    """
    calibration: list[int] = []
    judged: list[int] = []
    groups = named_sequences(names)
    for group in sorted(groups or halves(len(names)), key=len, reverse=True):
        (judged if 3 * len(judged) < len(names) else calibration).extend(group)
    too_few = min(len(calibration), len(judged)) < FEWEST_IMAGES <= len(names) // 3
    if too_few:
        calibration, judged = halves(len(names))
    return sorted(calibration), sorted(judged), too_few or not groups


def _subset(dataset: Dataset, indices: list[int], wanted: int, purpose: str) -> Subset:
    chosen = [indices[place] for place in pick_indices(len(indices), wanted)]
    return Subset(dataset, chosen, f"{dataset.name}, {len(chosen)} pictures {purpose}")
