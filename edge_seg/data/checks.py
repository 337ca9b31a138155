"""What has to be told of data sets before hours are spent on them."""

import os
from collections.abc import Hashable, Iterator
from pathlib import Path

from edge_seg.data.drive import Drive
from edge_seg.data.pairs import PairedImages
from edge_seg.data.union import Union
from edge_seg.errors import DataError
from edge_seg.types import Dataset


def check_files(dataset: Dataset) -> None:
    """Read every picture and its labels once; DataError for the first that cannot be used. Drive frames have no files.

    A training reads the set that it is judged on at its end: what is wrong there must not wait so long.
    """
    for part in _parts_of_files(dataset):
        for _ in part:
            pass


def count_files(dataset: Dataset) -> int:
    """How many pictures `check_files` reads."""
    return sum(len(part) for part in _parts_of_files(dataset))


def _parts_of_files(dataset: Dataset) -> list[PairedImages]:
    if isinstance(dataset, Union):
        return [part for inner in dataset.sets for part in _parts_of_files(inner)]
    return [dataset] if isinstance(dataset, PairedImages) else []


def check_apart(training: Dataset, test: Dataset) -> None:
    """DataError where a picture of the test set is learned from, in whatever union and under whatever name.

    A file is known by any link to it, a drive frame by seed, size and index. Copies of files are not known.
    """
    if isinstance(training, Drive):  # on its own it is never learned from: the samples are of streets picked anew
        return
    learned = {key for _, key in _pictures(training)}
    shared = [name for name, key in _pictures(test) if key in learned]
    if shared:
        raise DataError(
            f"{len(shared)} of the {len(test)} pictures of the test set are training pictures too, the first "
            f"{shared[0]}. What is learned from cannot be measured on: give a --test of other pictures, or a --data "
            "without these."
        )


def _pictures(dataset: Dataset) -> Iterator[tuple[str, Hashable]]:
    """What each picture is called, and what two that are one have in common."""
    if isinstance(dataset, Union):
        for part in dataset.sets:
            yield from _pictures(part)
    elif isinstance(dataset, PairedImages):
        yield from ((str(path), _file_key(path)) for path, _ in dataset.pairs)
    elif isinstance(dataset, Drive):
        drawn = dataset.seed, dataset.width, dataset.height
        yield from ((f"frame {index} of {dataset.name}", (*drawn, index)) for index in range(len(dataset)))


def _file_key(path: Path) -> Hashable:
    """Device and number of the file, which hard links share; its real path where the file system has no numbers."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)
