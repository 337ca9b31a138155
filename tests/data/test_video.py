"""Video files."""

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edge_seg.data.video import VideoFile
from edge_seg.errors import SourceError
from edge_seg.types import UInt8Array


def read(path: Path) -> list[tuple[UInt8Array, float]]:
    """All pictures and times of a film."""
    file = VideoFile(path)
    frames = list(file)
    file.close()
    return frames


def test_gives_every_picture_at_its_time(clip: Path) -> None:
    frames = read(clip)

    assert [round(time_s * 25, 6) for _, time_s in frames] == list(range(12))
    assert all(image.shape == (72, 96, 3) and image.dtype == np.uint8 for image, _ in frames)
    assert [abs(int(image[30, 40, 1]) - 20 * number) <= 4 for number, (image, _) in enumerate(frames)] == [True] * 12


def test_knows_rate_and_length(clip: Path) -> None:
    file = VideoFile(clip)
    file.close()

    assert (file.fps, file.frames) == (25.0, 12)


def write_uneven(path: Path, times: list[int], last_ms: int = 40) -> Path:
    """A film of noise with its pictures at the given times in milliseconds, the last one shown for `last_ms`."""
    rng, packets = np.random.default_rng(0), []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms in times:
            noise = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, format="bgr24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        packets[-1].duration = last_ms
        container.mux(packets)
    return path


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = [0, 40, 200, 240]

    assert [round(time_s * 1000) for _, time_s in read(write_uneven(tmp_path / "uneven.mp4", times))] == times


SLOWER_AND_SLOWER = [0, 40, 80, 120, 160, 1000, 2000, 3000]


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".flv", ".mp4"])
@pytest.mark.parametrize("last_ms", [40, 5000])
def test_a_whole_film_of_uneven_rate_has_lost_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, last_ms: int
) -> None:
    file = VideoFile(write_uneven(tmp_path / f"uneven{suffix}", SLOWER_AND_SLOWER, last_ms))

    with caplog.at_level(logging.WARNING):
        assert len(list(file)) == 8
    file.close()

    assert (file.lost, caplog.text) == (0, "")


@pytest.mark.parametrize(("suffix", "start_ms"), [(".mkv", 0), (".flv", 0), (".mkv", 20_000)])
def test_a_film_of_uneven_rate_that_is_cut_short_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, start_ms: int
) -> None:
    path = write_uneven(tmp_path / f"cut{suffix}", [start_ms + time_ms for time_ms in SLOWER_AND_SLOWER])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    file = VideoFile(path)

    with caplog.at_level(logging.WARNING):
        assert len(list(file)) in (3, 4)
    file.close()

    assert file.lost >= 1 and "is damaged or cut short" in caplog.text


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(("matrix", "kr", "kb"), [(6, 0.299, 0.114), (1, 0.2126, 0.0722)])
def test_colours_follow_the_files_matrix_and_range(
    tmp_path: Path, full_range: bool, matrix: int, kr: float, kb: float
) -> None:
    path, (red, green, blue) = tmp_path / "c.mp4", (200, 60, 30)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    scale = [1.0, 1.0] if full_range else [219 / 255, 224 / 255]
    planes = [round(luma * scale[0]) + (0 if full_range else 16), *(round(c * scale[1]) + 128 for c in chroma)]
    picture = np.concatenate([np.full(n, v, np.uint8) for n, v in zip((4096, 1024, 1024), planes, strict=True)])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height = 64, 64
        stream.pix_fmt = "yuvj420p" if full_range else "yuv420p"
        stream.codec_context.color_range, stream.codec_context.colorspace = (2 if full_range else 1), matrix
        frame = av.VideoFrame.from_ndarray(picture.reshape(96, 64), format=stream.pix_fmt)
        container.mux([*stream.encode(frame), *stream.encode(None)])

    assert np.abs(read(path)[0][0].astype(int) - (blue, green, red)).max() <= 4


def test_a_phones_film_stands_upright(tmp_path: Path, write_clip: Callable[..., Path]) -> None:
    image = np.zeros((48, 96, 3), np.uint8)
    image[:24, :48] = 255  # bright upper left quarter
    path = write_clip(tmp_path / "phone.mp4", [image])
    one, minus_one = b"\x00\x01\x00\x00", b"\xff\xff\x00\x00"
    content, track = path.read_bytes(), path.read_bytes().index(b"tkhd")
    start = content.index(one + bytes(12) + one, track)
    path.write_bytes(content[:start] + bytes(4) + one + bytes(4) + minus_one + bytes(4) + content[start + 20 :])

    (turned, _), *_ = read(path)

    assert turned.shape == (96, 48, 3)
    assert turned[20, 36].min() > 200 and turned[20, 12].max() < 50  # a quarter clockwise: now upper right


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.mp4", b"", "empty.mp4 is empty"),
        ("text.mp4", b"not a film\n" * 50, "text.mp4 is no video that can be read"),
        ("notes.txt", b"not a film\n" * 50, r"notes.txt holds no video \(its format is tty\)"),
        ("noise.mp4", bytes(range(256)) * 20, "noise.mp4 is no video that can be read"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n", "list.m3u8 "),
    ],
)
def test_other_files_are_errors(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SourceError, match=message):
        VideoFile(tmp_path / name)


def test_a_missing_film_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.mp4 does not exist. Give a video file, a folder of images, camera:0"):
        VideoFile(tmp_path / "a.mp4")


def test_a_film_without_its_index_is_an_error(tmp_path: Path, write_clip: Callable[..., Path]) -> None:
    path = write_clip(tmp_path / "cut.mp4", [np.zeros((48, 64, 3), np.uint8)] * 5)  # the index is at the end
    path.write_bytes(path.read_bytes().partition(b"moov")[0])

    with pytest.raises(SourceError, match=r"cut\.mp4 is no video that can be read .* it may be cut short"):
        VideoFile(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_film_gives_what_decodes_and_says_so(
    tmp_path: Path, write_clip: Callable[..., Path], caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(20)]
    path = write_clip(tmp_path / f"cut{suffix}", images, **({"movflags": "faststart"} if suffix == ".mp4" else {}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    file = VideoFile(path)

    with caplog.at_level(logging.WARNING):
        frames = list(file)
    file.close()

    assert 5 < len(frames) < 15
    assert file.lost >= 1 and len(frames) + file.lost in range(18, 23)
    assert f"is damaged or cut short: {len(frames)} frames decoded" in caplog.text


def test_a_film_of_which_nothing_decodes_is_an_error(tmp_path: Path, clip: Path) -> None:
    content = bytearray(clip.read_bytes())
    start = content.index(b"mdat") + 4
    content[start:] = bytes(len(content) - start)
    (tmp_path / "zeros.mp4").write_bytes(content)

    with pytest.raises(SourceError, match=r"zeros\.mp4 holds no picture that decodes"):
        read(tmp_path / "zeros.mp4")
