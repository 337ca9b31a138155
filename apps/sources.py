"""Where frames come from: a camera, a video file, a folder of images or a labelled data set, opened by URI."""

import glob
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge_seg.data import DATASET_SCHEMES, open_dataset
from edge_seg.data.camvid import layout_hint
from edge_seg.data.folders import find_table
from edge_seg.data.images import IMAGE_SUFFIXES, ImageFolder, is_glob, list_images, read_labels
from edge_seg.data.pictures import pictures_of
from edge_seg.data.video import VideoFile
from edge_seg.errors import LabelError, SourceError
from edge_seg.files import check_path
from edge_seg.types import VOID, Dataset, Frame

_log = logging.getLogger(__name__)

DEFAULT_SOURCE = "drive:seed=1"
OTHER_SOURCES = "Type a video file, a folder of images, or the built-in street drive: --source drive:seed=1"


class Source(Protocol):
    """Frames in their order, once."""

    name: str
    live: bool
    """True where frames come at their own pace, so that a late one is dropped."""
    fps: float | None
    length: int | None
    """How many frames to expect, where that is known."""
    class_names: tuple[str, ...] | None
    """The classes of the truth, where the source names them."""

    @property
    def skipped(self) -> int:
        """Frames so far that could not be read."""

    def __iter__(self) -> Iterator[Frame]: ...


class CameraSource:
    """A camera by its number, as OpenCV counts them; SourceError where it gives no picture."""

    live = True
    length: int | None = None
    class_names: tuple[str, ...] | None = None
    skipped = 0

    def __init__(self, number: int) -> None:
        self.name = f"camera {number}"
        self._capture = _open_capture(number)
        self.fps: float | None = self._capture.get(cv2.CAP_PROP_FPS) or None

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while self._capture.grab():
            captured_s = time.perf_counter()
            decoded, image = self._capture.retrieve()
            if not decoded:
                break
            yield Frame(np.asarray(image, np.uint8), index, captured_s, name=f"{index:06d}")
            index += 1
        _log.warning("%s gives no more pictures after %d.", self.name.capitalize(), index)
        # Whoever records would lose the recording by an error, so only a camera that never gave a picture is one.
        if not index:
            raise SourceError(f"{self.name.capitalize()} opens but gives no picture. Close what else uses it.")

    def close(self) -> None:
        """Free the camera for others."""
        self._capture.release()


def _open_capture(number: int) -> cv2.VideoCapture:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        found = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"
        raise SourceError(f"Camera {number} does not open. Cameras found (/dev/video*): {found}. {OTHER_SOURCES}")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue in the driver would only make frames old
    return capture


class VideoSource:
    """The frames of a video file, at their own times."""

    live = False
    class_names: tuple[str, ...] | None = None

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = VideoFile(path)
        self.fps, self.length = self._file.fps, self._file.frames

    @property
    def skipped(self) -> int:
        """Frames lost to damage."""
        return self._file.lost

    def __iter__(self) -> Iterator[Frame]:
        for index, (image, time_s) in enumerate(self._file):
            yield Frame(image, index, time.perf_counter(), name=f"{index:06d}", time_s=time_s)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ImageSource:
    """The images of a folder or glob in natural order, with truth where a folder of labels is given.

    Labels are read by the class table that lies where a data set `folder:` has its own, beside their folder or one
    above. Without a table they are numbers below `classes`.
    """

    live = False
    fps: float | None = None

    def __init__(self, location: str, *, labels: Path | None = None, classes: int = VOID) -> None:
        self.name = location
        paths = list_images(location)
        self._folders = paths[0].parent, labels
        table = None if labels is None else find_table(Path(os.path.abspath(labels)).parent)
        read_truth = partial(read_labels, classes=classes) if table is None else table.read_truth
        self.class_names = None if table is None else tuple(c.name for c in table.classes)
        with _hint_at_camvid(*self._folders):
            self._folder = ImageFolder(paths, labels=labels, read_truth=read_truth)
        self.length: int | None = len(self._folder)

    @property
    def skipped(self) -> int:
        """Images that are damaged."""
        return self._folder.skipped

    def __iter__(self) -> Iterator[Frame]:
        with _hint_at_camvid(*self._folders):
            yield from self._folder


@contextmanager
def _hint_at_camvid(images: Path, labels: Path | None) -> Iterator[None]:
    """Add to an error with labels what to type where the folders are CamVid's, or lie as its do."""
    try:
        yield
    except LabelError as error:
        raise LabelError(f"{error}{layout_hint(images, labels) if labels else ''}") from None


class DatasetSource:
    """A labelled data set, or its pictures alone, without `truth`.

    Its errors are not skipped, since a score over the rest would be another score.
    """

    live = False
    skipped = 0

    def __init__(self, dataset: Dataset, *, truth: bool = True) -> None:
        self._dataset, self._truth = dataset, truth
        self.name = dataset.name
        self.fps: float | None = getattr(dataset, "fps", None)
        self.length: int | None = len(dataset)
        self.class_names: tuple[str, ...] | None = dataset.class_names if truth else None

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._dataset if self._truth else pictures_of(self._dataset):
            yield frame if self.fps is None else replace(frame, time_s=frame.index / self.fps)

    def without_truth(self) -> "DatasetSource":
        """Its pictures alone."""
        return DatasetSource(self._dataset, truth=False)


@contextmanager
def open_source(uri: str, *, labels: Path | None = None, classes: int = VOID) -> Iterator[Source]:
    """Open `camera:0`, `drive:seed=1`, `camvid:PATH/val`, a folder or glob of images, or a video file.

    `labels` is a folder of label pictures for images. Where no class table lies with it, their values are to be below
    `classes`, or VOID. SourceError or DataError where the source gives no frames.
    """
    if "://" in uri:  # not repeated in the message: it may hold a password
        raise SourceError(f"Network addresses cannot be read. {OTHER_SOURCES}")
    camera = re.fullmatch(r"camera:(\d{1,3})", uri)
    if camera:
        with closing(CameraSource(int(camera[1]))) as source:
            yield source
    elif uri.partition(":")[0] in DATASET_SCHEMES:
        yield DatasetSource(open_dataset(uri))
    elif is_images(uri):
        yield ImageSource(uri, labels=labels, classes=classes)
    else:
        with closing(VideoSource(Path(uri))) as video:
            yield video


@contextmanager
def open_pictures(uri: str) -> Iterator[Source]:
    """The frames of `open_source` without truth, for what measures speed; errors as there.

    Label files are not opened, and what the classes are does not matter.
    """
    with open_source(uri) as source:
        yield source.without_truth() if isinstance(source, DatasetSource) else source


def is_images(uri: str) -> bool:
    """True for a folder, a glob or an image file; SourceError for a name that no file can have.

    >>> is_images("shots/*.png"), is_images("drive.mp4")
    (True, False)
    """
    path = check_path(uri, SourceError)
    return path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES or (not path.exists() and is_glob(uri))
