"""Video files, decoded by FFmpeg through PyAV."""

import logging
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from edge_seg.errors import SourceError
from edge_seg.files import check_path, near_names
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
        # Threads that decode side by side cost half as much again as one, which inference would lack: one for each
        # megapixel, the first of which takes one core about 5 ms.
        self._stream.codec_context.thread_count = min(16, 1 + self._stream.width * self._stream.height // 1_000_000)
        rate = self._stream.average_rate
        self.fps: float | None = float(rate) if rate else None
        self.frames: int | None = self._stream.frames or int(self._duration_s() * (self.fps or 0)) or None
        """How many pictures to expect; where the container does not count them, a guess by its duration."""

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

    def _duration_s(self) -> float:
        """The container's duration where nothing but the picture sets it, else 0."""
        return (self._container.duration or 0) / av.time_base if len(self._container.streams) == 1 else 0.0

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Every frame that decodes; a damaged packet costs its frames only."""
        track = _Track()
        try:
            for packet in self._container.demux(self._stream):
                track.add(packet)
                try:
                    yield from packet.decode()
                    self.lost += packet.is_corrupt
                except av.error.InvalidDataError:
                    self.lost += 1
        except av.error.FFmpegError as error:
            _log.warning("%s cannot be read to its end: %s.", self.path, error.strerror)
            self.lost += 1
        if self._stream.frames:
            self.lost += track.lacks(self._stream)
        elif track.ends_early(self._duration_s()):
            self.lost += max(1, round((self._duration_s() - track.end_s) * (self.fps or 0)))

    def _tell_loss(self, count: int) -> None:
        if not count:
            raise SourceError(f"{self.path} holds no picture that decodes. Give another file.")
        if self.lost:
            _log.warning("%s is damaged or cut short: %d frames decoded, %d lost.", self.path, count, self.lost)


class _Track:
    """What came of a stream, so that only what is certainly lost is told: pictures need not come at an even rate."""

    def __init__(self) -> None:
        self.packets = 0
        self.end_s = 0.0
        self._last_tick = 0
        self._last_s: float | None = None
        self._pause_s = 0.0
        self._timed = False

    def add(self, packet: "av.Packet[av.VideoStream]") -> None:
        """Take a packet with a picture; the empty one that ends a stream is none."""
        if not packet.size or packet.time_base is None:
            return
        self.packets += 1
        tick = packet.dts if packet.pts is None else packet.pts
        if tick is None:
            return
        start_s, self._timed = float(tick * packet.time_base), bool(packet.duration)
        if self._last_s is not None:
            self._pause_s = max(self._pause_s, abs(start_s - self._last_s))
        self.end_s = max(self.end_s, start_s + float((packet.duration or 0) * packet.time_base))
        self._last_s, self._last_tick = start_s, max(self._last_tick, tick)

    def lacks(self, stream: av.VideoStream) -> int:
        """How many pictures fewer than the container counts, 0 where its count is of something else."""
        # AVI counts ticks of its clock, and leaves those empty at which the picture stays.
        one_a_tick = stream.average_rate is not None and stream.time_base == 1 / stream.average_rate
        if one_a_tick and self._last_tick + 1 > self.packets:
            return 0
        return max(0, stream.frames - self.packets)

    def ends_early(self, duration_s: float) -> bool:
        """True where the end is missing by more than two of the longest pauses, the last picture's own time counted."""
        return self._timed and duration_s - self.end_s > 2 * self._pause_s


def _open(path: Path) -> "av.container.InputContainer":
    if not check_path(path, SourceError).is_file():
        raise SourceError(
            f"{path} does not exist. Give a video file, a folder of images, camera:0 or drive:seed=1.{near_names(path)}"
        )
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
