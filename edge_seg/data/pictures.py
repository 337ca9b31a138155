"""The frames of a data set without their truth: what speed is measured on."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from edge_seg.data.images import read_image
from edge_seg.data.pairs import PairedImages
from edge_seg.data.union import Union
from edge_seg.types import Dataset, Frame


def pictures_of(dataset: Dataset) -> Iterator[Frame]:
    """All frames in their order, from the same image files; label files are not opened."""
    if isinstance(dataset, Union):
        frames = chain.from_iterable(map(pictures_of, dataset.sets))
        yield from (replace(frame, index=index) for index, frame in enumerate(frames))
    elif isinstance(dataset, PairedImages):
        for index, (path, _) in enumerate(dataset.pairs):
            yield Frame(read_image(path), index, time.perf_counter(), name=path.stem)
    else:  # its labels come with the picture
        yield from (replace(frame, truth=None) for frame in dataset)
