"""Where finished pictures go: an mp4 file, a picture file or a window."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Final, Protocol

import av
import cv2
import numpy as np

from edge_seg.errors import SinkError
from edge_seg.files import errors_of, written_whole
from edge_seg.types import Frame, UInt8Array

DEFAULT_FPS = 25.0
SUFFIXES = (".mp4", ".png")

# Measured on 960x540, one thread: ultrafast 3.5 ms, superfast 7.5, veryfast 13 a frame, at 2.4, 1.8 and 1.1 MB per 221
# frames. A second thread makes the caller wait less and costs 20 % more in all, which inference would lose.
ENCODER: Final = "libx264"
ENCODER_OPTIONS = {"preset": "ultrafast", "crf": "23"}
ENCODER_THREADS = 1

WRITE_ERRORS = (OSError, av.error.FFmpegError)


class Sink(Protocol):
    """Takes finished pictures, uint8 [H, W, 3] in BGR, each with the frame that it was made of."""

    def write(self, image: UInt8Array, frame: Frame) -> None: ...


class Mp4Sink:
    """An H.264 film at the frames' own times, or at `fps` where they have none; `fps` None means a live source.

    Pictures take the size of the first. SinkError where the disk does not take it.
    """

    def __init__(self, path: Path, container: av.container.OutputContainer, fps: float | None) -> None:
        self._path, self._container, self._fps = path, container, fps
        self._rate = Fraction(fps or DEFAULT_FPS).limit_denominator(1001)
        # A whole number of ticks for each frame, and ticks short enough for frames that come unevenly.
        self._ticks_per_s = self._rate.numerator * math.ceil(10_000 / self._rate.numerator)
        self._stream: av.VideoStream | None = None
        self._first_s = 0.0
        self._pts = -1

    def write(self, image: UInt8Array, frame: Frame) -> None:
        """Encode one picture."""
        with errors_of(self._path, kinds=WRITE_ERRORS):
            self._encode(image, frame)

    def _encode(self, image: UInt8Array, frame: Frame) -> None:
        if self._stream is None:
            self._stream = self._open_stream(image)
            self._first_s = self._time_s(frame)
        planes = cv2.cvtColor(_fit(image, self._stream.width, self._stream.height), cv2.COLOR_BGR2YUV_I420)
        encoded = av.VideoFrame.from_ndarray(planes, format="yuv420p")  # type: ignore[arg-type]
        self._pts = max(self._pts + 1, round((self._time_s(frame) - self._first_s) * self._ticks_per_s))
        encoded.pts = self._pts
        encoded.time_base = Fraction(1, self._ticks_per_s)
        self._container.mux(self._stream.encode(encoded))

    def finish(self) -> None:
        """Write what the encoder still holds, and the film's end; SinkError where no picture came."""
        if self._stream is None:
            raise SinkError(f"{self._path} is not written: no frame came.")
        with errors_of(self._path, kinds=WRITE_ERRORS):
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def _time_s(self, frame: Frame) -> float:
        if self._fps is None:
            return frame.captured_s
        return frame.time_s if frame.time_s is not None else frame.index / float(self._rate)

    def _open_stream(self, image: UInt8Array) -> av.VideoStream:
        stream = self._container.add_stream(ENCODER, rate=self._rate, options=ENCODER_OPTIONS)
        # H.264 halves the colour planes: odd sizes grow by a line.
        stream.width, stream.height = image.shape[1] + image.shape[1] % 2, image.shape[0] + image.shape[0] % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, self._ticks_per_s)
        context.thread_count = ENCODER_THREADS
        context.color_range, context.colorspace = 1, 6  # what OpenCV's conversion gives: limited range, BT.601
        return stream


def _fit(image: UInt8Array, width: int, height: int) -> UInt8Array:
    """The picture at a size of even sides: as it is, grown by its last line, or resized where it is another's."""
    missing = height - image.shape[0], width - image.shape[1]
    if missing == (0, 0):
        return np.ascontiguousarray(image)
    if all(side in (0, 1) for side in missing):
        return np.asarray(cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE), np.uint8)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


@contextmanager
def open_mp4(path: Path, fps: float | None) -> Iterator[Mp4Sink]:
    """A film at `path` once the block ends well, and nothing there before or otherwise."""
    with written_whole(path) as temporary:
        with errors_of(path, kinds=WRITE_ERRORS):
            container = av.open(str(temporary), "w", format="mp4")
        try:
            sink = Mp4Sink(path, container, fps)
            yield sink
            sink.finish()
        finally:
            with suppress(*WRITE_ERRORS):  # after an error that is on its way already
                container.close()


class PngSink:
    """Keeps the last picture."""

    def __init__(self) -> None:
        self.image: UInt8Array | None = None

    def write(self, image: UInt8Array, frame: Frame) -> None:
        """Keep this picture."""
        self.image = image


@contextmanager
def open_png(path: Path) -> Iterator[PngSink]:
    """The last picture at `path` once the block ends well."""
    with written_whole(path) as temporary:
        sink = PngSink()
        yield sink
        if sink.image is None:
            raise SinkError(f"{path} is not written: no frame came.")
        with errors_of(path):
            temporary.write_bytes(encode_png(sink.image))


def encode_png(image: UInt8Array) -> bytes:
    """The picture as a PNG file's content."""
    return bytes(cv2.imencode(".png", image)[1])


@contextmanager
def open_sinks(paths: list[Path], fps: float | None) -> Iterator[list[Sink]]:
    """The files to write, by their suffix `.mp4` or `.png`; `fps` None where frames have capture times only."""
    with ExitStack() as stack:
        sinks: list[Sink] = []
        for path in paths:
            png = path.suffix.lower() == ".png"
            sinks.append(stack.enter_context(open_png(path)) if png else stack.enter_context(open_mp4(path, fps)))
        yield sinks
