"""Video files, decoded by FFmpeg through PyAV."""

import logging
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from edge_seg.errors import SourceError
from edge_seg.files import check_path
from edge_seg.types import UInt8Array

_log = logging.getLogger(__name__)

# FFmpeg draws a text file as a video, and lets a playlist in a file open whatever it names.
_NOT_VIDEO = ("tty", "bin", "hls", "concat", "dash", "image2")
_OPTIONS = {"protocol_whitelist": "file"}
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class VideoFile:
    """The pictures of a video file, uint8 [H, W, 3] in BGR, each with its presentation time in seconds.

    SourceError for a file that is missing, empty or holds no video. One that is damaged or cut short gives the
    pictures that decode, and then counts what is lost in `lost` and tells it in the log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._container = _open(path)
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        rate = self._stream.average_rate
        self.fps: float | None = float(rate) if rate else None
        self.frames: int | None = self._stream.frames or self._frames_by_duration()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[tuple[UInt8Array, float]]:
        """Each picture with its time in seconds, once."""
        # One reformatter for all pictures, on this thread only: one for each costs twice the time.
        reformatter, count, time_s = VideoReformatter(), 0, 0.0
        step_s = 1 / self.fps if self.fps else 0.04
        for frame in self._decoded():
            time_s = frame.time if frame.time is not None else time_s + (step_s if count else 0)
            image = reformatter.reformat(frame, format="bgr24", threads=1).to_ndarray()
            yield _upright(np.asarray(image, np.uint8), frame.rotation), time_s
            count += 1
        self._tell_loss(count)

    def _frames_by_duration(self) -> int | None:
        """Matroska counts no frames; where nothing but the picture sets its duration, that tells their number."""
        alone = len(self._container.streams) == 1 and self._container.duration is not None
        return int((self._container.duration or 0) / 1e6 * (self.fps or 0)) or None if alone else None

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Every frame that decodes; a damaged packet costs its frames only."""
        packets = 0
        try:
            for packet in self._container.demux(self._stream):
                packets += packet.size > 0
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    self.lost += 1
        except av.error.FFmpegError as error:
            _log.warning("%s cannot be read to its end: %s.", self.path, error.strerror)
            self.lost += 1
        self.lost += max(0, (self.frames or 0) - packets)

    def _tell_loss(self, count: int) -> None:
        if not count:
            raise SourceError(f"{self.path} holds no picture that decodes. Give another file.")
        if self.lost:
            _log.warning("%s is damaged or cut short: %d frames decoded, %d lost.", self.path, count, self.lost)


def _open(path: Path) -> "av.container.InputContainer":
    if not check_path(path, SourceError).is_file():
        raise SourceError(f"{path} does not exist. Give a video file, a folder of images, camera:0 or drive:seed=1.")
    if not path.stat().st_size:
        raise SourceError(f"{path} is empty. Give another file.")
    try:
        container = av.open(str(path), options=_OPTIONS)
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(
            f"{path} is no video that can be read ({error.strerror}). If it is one, it may be cut short."
        ) from None
    if not container.streams.video or any(name in _NOT_VIDEO for name in container.format.name.split(",")):
        container.close()
        raise SourceError(f"{path} holds no video (its format is {container.format.name}). Give another file.")
    return container


def _upright(image: UInt8Array, degrees: float) -> UInt8Array:
    """The picture turned as a phone's rotation mark asks, `degrees` counterclockwise."""
    turn = _TURNS.get(round(degrees) % 360)
    return image if turn is None else np.asarray(cv2.rotate(image, turn), np.uint8)
