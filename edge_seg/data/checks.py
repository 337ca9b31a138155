"""What has to be told of data sets before hours are spent on them."""

import os
from pathlib import Path

from edge_seg.data.pairs import PairedImages
from edge_seg.data.union import Union
from edge_seg.errors import DataError
from edge_seg.types import Dataset


def check_files(dataset: Dataset) -> None:
    """Read every picture and its labels once; DataError for the first that cannot be used. Drive frames have no files.

    A training reads the set that it is judged on at its end: what is wrong there must not wait so long.
    """
    if isinstance(dataset, Union):
        for part in dataset.sets:
            check_files(part)
    elif isinstance(dataset, PairedImages):
        for _ in dataset:
            pass


def check_apart(training: Dataset, test: Dataset) -> None:
    """DataError where a picture of the test set is learned from, in whatever union and under whatever name."""
    learned = {os.path.realpath(path) for path in _picture_files(training)}
    files = _picture_files(test)
    shared = [path for path in files if os.path.realpath(path) in learned]
    if shared:
        raise DataError(
            f"{len(shared)} of the {len(files)} pictures of the test set are training pictures too, the first "
            f"{shared[0]}. What is learned from cannot be measured on: give a --test of other pictures, or a --data "
            "without these."
        )


def _picture_files(dataset: Dataset) -> list[Path]:
    """The image files of a data set; drive frames have none."""
    if isinstance(dataset, Union):
        return [path for part in dataset.sets for path in _picture_files(part)]
    return [path for path, _ in dataset.pairs] if isinstance(dataset, PairedImages) else []
