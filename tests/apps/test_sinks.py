"""Files that finished pictures go to."""

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from edge_seg.apps.sinks import open_mp4, open_png, open_sinks
from edge_seg.data.images import read_image
from edge_seg.errors import DataError, SinkError
from edge_seg.types import Frame, UInt8Array


def frame(index: int, captured_s: float = 0.0, time_s: float | None = None) -> Frame:
    """A frame with times; its image does not matter here."""
    return Frame(np.zeros((1, 1, 3), np.uint8), index, captured_s, time_s=time_s)


def picture(height: int = 48, width: int = 64, bgr: tuple[int, int, int] = (40, 120, 200)) -> UInt8Array:
    """One colour."""
    return np.full((height, width, 3), bgr, np.uint8)


def read(path: Path) -> tuple[list[UInt8Array], list[float], float]:
    """Pictures, times in seconds and rate of a film."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        rate = float(stream.average_rate or 0)
        return [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in frames], [f.time or 0 for f in frames], rate


def test_a_film_keeps_size_colour_and_count(tmp_path: Path) -> None:
    with open_mp4(tmp_path / "a.mp4", 25.0) as sink:
        for index in range(10):
            sink.write(picture(), frame(index))

    images, times, rate = read(tmp_path / "a.mp4")
    assert (len(images), images[0].shape, rate) == (10, (48, 64, 3), 25.0)
    assert np.abs(images[5].astype(int) - (40, 120, 200)).max() <= 6
    assert times == pytest.approx([n / 25 for n in range(10)])
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("fps", [15.0, 30000 / 1001, 24000 / 1001, 59.94005994, 7.5])
def test_a_film_keeps_its_rate(tmp_path: Path, fps: float) -> None:
    with open_mp4(tmp_path / "a.mp4", fps) as sink:
        for index in range(12):
            sink.write(picture(), frame(index))

    _, times, rate = read(tmp_path / "a.mp4")
    assert rate == pytest.approx(fps, rel=1e-6)
    assert times == pytest.approx([n / fps for n in range(12)], abs=1e-4)


def test_frames_own_times_are_kept(tmp_path: Path) -> None:
    wanted = [0.0, 0.04, 0.2, 0.21, 1.0]
    with open_mp4(tmp_path / "a.mp4", 25.0) as sink:
        for index, time_s in enumerate(wanted):
            sink.write(picture(), frame(index, time_s=time_s))

    assert read(tmp_path / "a.mp4")[1] == pytest.approx(wanted, abs=1e-3)


def test_a_live_film_keeps_the_capture_times(tmp_path: Path) -> None:
    with open_mp4(tmp_path / "a.mp4", None) as sink:
        for index, captured_s in enumerate((70.0, 70.033, 70.033, 70.2)):  # two within a tick must not collide
            sink.write(picture(), frame(index, captured_s))

    assert read(tmp_path / "a.mp4")[1] == pytest.approx([0, 0.033, 0.033, 0.2], abs=1e-3)


@pytest.mark.parametrize(("size", "even"), [((47, 64), (48, 64)), ((48, 63), (48, 64)), ((1, 1), (2, 2))])
def test_odd_sizes_grow_by_a_line(tmp_path: Path, size: tuple[int, int], even: tuple[int, int]) -> None:
    with open_mp4(tmp_path / "a.mp4", 25.0) as sink:
        sink.write(picture(*size), frame(0))

    image = read(tmp_path / "a.mp4")[0][0]
    assert image.shape == (*even, 3)
    assert np.abs(image.astype(int) - (40, 120, 200)).max() <= 6


def test_pictures_of_other_sizes_take_the_first_ones(tmp_path: Path) -> None:
    with open_mp4(tmp_path / "a.mp4", 25.0) as sink:
        sink.write(picture(48, 64), frame(0))
        sink.write(picture(100, 200), frame(1))

    assert [image.shape for image in read(tmp_path / "a.mp4")[0]] == [(48, 64, 3)] * 2


@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_an_error_in_between_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="labels"), open_sinks([tmp_path / name], 25.0) as (sink,):
        sink.write(picture(), frame(0))
        raise DataError("labels")

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_an_error_in_between_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("before")

    with pytest.raises(DataError), open_sinks([tmp_path / name], 25.0) as (sink,):
        sink.write(picture(), frame(0))
        raise DataError

    assert (tmp_path / name).read_text() == "before"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_no_frame_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match=f"{name} is not written: no frame came"), open_sinks([tmp_path / name], 25.0):
        pass

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["nowhere/a.mp4", "nowhere/a.png"])
def test_an_unwritable_place_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match=r"cannot be written: No such file"), open_sinks([tmp_path / name], 25.0):
        pass


def test_a_png_keeps_the_last_picture(tmp_path: Path) -> None:
    with open_png(tmp_path / "a.png") as sink:
        sink.write(picture(bgr=(1, 2, 3)), frame(0))
        sink.write(picture(bgr=(4, 5, 6)), frame(1))

    assert np.array_equal(read_image(tmp_path / "a.png"), picture(bgr=(4, 5, 6)))


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from edge_seg.apps.sinks import open_sinks
from edge_seg.errors import SinkError
from edge_seg.types import Frame
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
rng = np.random.default_rng(0)
try:
    with open_sinks([Path(name) for name in sys.argv[1:]], 25.0) as sinks:
        for index in range(40):
            image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
            for sink in sinks:
                sink.write(image, Frame(image, index, 0.0))
except SinkError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a thing of POSIX")
@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    """A limit on the size of files stands for the disk: the same write fails, with another number."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert f"{name} cannot be written: File too large" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a thing of POSIX")
@pytest.mark.parametrize("names", [("a.mp4", "b.png"), ("b.png", "a.mp4"), ("a.mp4", "c.mp4")])
def test_of_two_files_the_one_that_fails_first_is_named(tmp_path: Path, names: tuple[str, str]) -> None:
    """The film meets the limit while pictures come, the picture would at the end."""
    command = [sys.executable, "-c", FULL_DISK, *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.startswith(f"{tmp_path / 'a.mp4'} cannot be written: File too large")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("names", [["a.mp4"], ["a.png"], ["a.mp4", "b.png"]])
def test_an_error_of_no_file_stays_what_it_is(tmp_path: Path, names: list[str]) -> None:
    unplugged = OSError(19, "No such device")

    with pytest.raises(OSError) as caught, open_sinks([tmp_path / name for name in names], 25.0) as sinks:
        for sink in sinks:
            sink.write(picture(), frame(0))
        raise unplugged

    assert caught.value is unplugged
    assert os.listdir(tmp_path) == []
