"""Pictures without labels by their place in a source: a data set, a folder or glob of images, or a video file."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from edge_seg.data import DATASET_SCHEMES, open_dataset
from edge_seg.data.images import IMAGE_SUFFIXES, is_glob, list_images, read_image
from edge_seg.errors import DataError, SourceError
from edge_seg.files import check_path, near_names
from edge_seg.types import Dataset, UInt8Array

_log = logging.getLogger(__name__)

ACCEPTED = "Type a data set such as camvid:PATH/train, a folder of images, or a video file."


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A picture uint8 [H, W, 3] in BGR, its place in the source, and its name there."""

    index: int
    name: str
    image: UInt8Array


class Pictures(Protocol):
    """A source whose pictures have a place of their own, the same at each reading."""

    def __len__(self) -> int:
        """How many pictures to expect; a damaged source has fewer."""

    def read(self, places: Sequence[int]) -> Iterator[Shot]:
        """The pictures at `places`, which ascend; without those that are damaged or not there."""


class _DatasetPictures:
    """The pictures of a data set; their labels are not used, but a data set without them is none."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, places: Sequence[int]) -> Iterator[Shot]:
        for place in places:
            if place < len(self._dataset):
                frame = self._dataset[place]
                yield Shot(place, frame.name, frame.image)


class _ImageFiles:
    """The images of a folder or glob in natural order; a damaged one is skipped and told in the log."""

    def __init__(self, location: str) -> None:
        self._paths = list_images(location)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, places: Sequence[int]) -> Iterator[Shot]:
        for place in places:
            if place >= len(self._paths):
                return
            try:
                image = read_image(self._paths[place])
            except DataError as error:
                _log.warning("Skipped: %s", error)
                continue
            yield Shot(place, self._paths[place].name, image)


class _VideoPictures:
    """The frames of a video file, decoded from its start at each reading and kept one at a time."""

    def __init__(self, path: Path) -> None:
        from edge_seg.data.video import VideoFile  # of PyAV, which other pictures do without

        self._open = partial(VideoFile, path)
        with closing(self._open()) as file:
            self._length = file.frames or sum(1 for _ in file)

    def __len__(self) -> int:
        return self._length

    def read(self, places: Sequence[int]) -> Iterator[Shot]:
        wanted = iter(places)
        place = next(wanted, None)
        with closing(self._open()) as file:
            for index, (image, _) in enumerate(file):
                if place is None:
                    return
                if index == place:
                    yield Shot(index, f"{index:06d}", image)
                    place = next(wanted, None)


def open_pictures(uri: str) -> Pictures:
    """The pictures of `camvid:PATH/train` and every other data set, a folder or glob of images, or a video file.

    SourceError or DataError where the source is missing, holds no picture, or is a camera, which never shows the same
    picture again.
    """
    if "://" in uri:  # not repeated in the message: it may hold a password
        raise SourceError(f"Network addresses cannot be read. {ACCEPTED}")
    if re.fullmatch(r"camera:\d+", uri):
        raise SourceError(f"{uri} never shows a picture again. Record it: edge-seg run --source {uri} --out FILM.mp4")
    if uri.partition(":")[0] in DATASET_SCHEMES:
        return _DatasetPictures(open_dataset(uri))
    path = check_path(uri, SourceError)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES or (not path.exists() and is_glob(uri)):
        return _ImageFiles(uri)
    if not path.is_file():
        raise SourceError(f"{uri} does not exist. {ACCEPTED}{near_names(path)}")
    return _VideoPictures(path)


def split_uri(uri: str) -> tuple[str, str]:
    """A source's scheme with its colon, and the path behind it; one of the two is empty where there is none.

    >>> split_uri("camvid:CamVid/train"), split_uri("shots/*.png"), split_uri("drive:seed=1")
    (('camvid:', 'CamVid/train'), ('', 'shots/*.png'), ('drive:seed=1', ''))
    """
    scheme, colon, rest = uri.partition(":")
    if scheme == "drive":
        return uri, ""
    return (f"{scheme}:", rest) if colon and scheme in DATASET_SCHEMES else ("", uri)
