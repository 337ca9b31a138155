"""The window and its screenshots."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_seg.apps import window
from edge_seg.apps.cli import main
from edge_seg.apps.controls import Controls
from edge_seg.apps.window import WindowSink, has_display, open_window
from edge_seg.data.images import read_image
from edge_seg.types import Frame, UInt8Array

XVFB = shutil.which("Xvfb")


def frame(index: int) -> Frame:
    """A frame; what is shown is another picture."""
    return Frame(np.zeros((1, 1, 3), np.uint8), index, 0.0)


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Keys to come, of a window that is not there."""
    keys: list[int] = []
    shown: list[UInt8Array] = []
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append(image))
    monkeypatch.setattr(cv2, "resizeWindow", lambda title, width, height: None)
    monkeypatch.setattr(cv2, "pollKey", lambda: keys.pop(0) if keys else -1)
    monkeypatch.setattr(cv2, "waitKey", lambda wait_ms: keys.pop(0))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, name: 1.0)
    yield keys
    assert shown


def test_a_pause_lasts_until_the_next_space(keyboard: list[int]) -> None:
    controls = Controls()
    keyboard += [ord(" "), -1, -1, ord("o"), ord(" "), ord("x")]
    sink = WindowSink(controls)
    sink.write(np.zeros((4, 4, 3), np.uint8), frame(0))

    assert sink.hold()

    assert keyboard == [ord("x")]
    assert (controls.paused, controls.overlay) == (False, False)


def test_q_ends_a_pause(keyboard: list[int]) -> None:
    controls = Controls()
    keyboard += [ord(" "), ord("q")]
    sink = WindowSink(controls)
    sink.write(np.zeros((4, 4, 3), np.uint8), frame(0))

    assert sink.hold()

    assert controls.quit


def test_without_a_pause_nothing_is_held(keyboard: list[int]) -> None:
    sink = WindowSink(Controls())
    sink.write(np.zeros((4, 4, 3), np.uint8), frame(0))
    keyboard.append(ord("q"))

    assert not sink.hold()
    assert keyboard == [ord("q")]


def test_s_writes_what_is_shown(
    keyboard: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    keyboard.append(ord("s"))
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)

    WindowSink(Controls()).write(image, frame(42))

    assert np.array_equal(read_image(tmp_path / "edge-seg-000042.png"), image)
    assert "Wrote edge-seg-000042.png" in capsys.readouterr().err


def test_a_screenshot_replaces_no_other(keyboard: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = [np.full((8, 9, 3), value, np.uint8) for value in (10, 20, 30)]

    for image in images:  # a run each, since each starts at frame 0
        keyboard.append(ord("s"))
        WindowSink(Controls()).write(image, frame(0))

    written = [read_image(tmp_path / f"edge-seg-000000{end}.png") for end in ("", "-2", "-3")]
    assert np.array_equal(written, images)


def test_a_screenshot_that_fails_is_told_and_the_run_goes_on(
    keyboard: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    controls = Controls()
    sink = WindowSink(controls)
    keyboard += [ord("s"), ord("o")]

    sink.write(np.zeros((4, 4, 3), np.uint8), frame(0))
    sink.write(np.zeros((4, 4, 3), np.uint8), frame(1))

    assert not controls.overlay
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("No screenshot: edge-seg-000000.png cannot be written: No such file or directory.")


def test_closing_the_window_quits(keyboard: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, name: 0.0)
    controls = Controls()

    WindowSink(controls).write(np.zeros((4, 4, 3), np.uint8), frame(0))

    assert controls.quit


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X is a thing of Linux")
@pytest.mark.parametrize("display", [None, ":71", "nowhere:0"])
def test_without_a_display_that_answers_there_is_none(monkeypatch: pytest.MonkeyPatch, display: str | None) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)

    assert not has_display()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X is a thing of Linux")
def test_where_the_display_does_not_answer_a_run_goes_on(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server at a display's port that takes the connection and then says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{server.getsockname()[1] - 6000}")  # X counts its ports from there
        monkeypatch.setattr(window, "TRIAL_S", 3.0)
        arguments = ["run", "--model", str(tiny_model), "--source", "drive:seed=1,size=96x72,frames=2", "--json"]
        with pytest.raises(SystemExit) as end:
            main(arguments)
        server.setblocking(False)
        server.accept()[0].close()  # raises where nobody has asked

    assert not end.value.code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["frames"] == 2
    assert "No display found: going on without a window." in captured.err


@pytest.fixture
def x_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A display that nobody sees."""
    if XVFB is None:
        pytest.skip("Xvfb is not installed: apt-get install xvfb")
    reader, writer = os.pipe()
    own = f":{100 + os.getpid() % 50_000}"  # the first free one could be another test run's the moment after
    command = [XVFB, own, "-displayfd", str(writer), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL) as server:
        os.close(writer)
        with os.fdopen(reader) as number:
            display = f":{number.readline().strip()}"  # comes when the server is ready
            monkeypatch.setenv("DISPLAY", display)
            yield display
        server.terminate()


IN_A_WINDOW = """
import sys
import numpy as np
from edge_seg.apps.controls import Controls
from edge_seg.apps.window import has_display, open_window
from edge_seg.data.images import read_image
from edge_seg.types import Frame
controls = Controls()
assert has_display()
with open_window(controls) as sink:
    for index in range(5):
        image = np.full((120, 160, 3), 50 * index, np.uint8)
        sink.write(image, Frame(image, index, 0.0))
assert not controls.quit
print("shown")
"""


def test_a_real_window_shows_pictures(x_server: str) -> None:
    """In a process of its own: Qt keeps its connection to the display."""
    command = [sys.executable, "-c", IN_A_WINDOW]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "shown\n", done.stderr


KEYS_IN_A_WINDOW = """
import resource, sys
import cv2
from edge_seg.apps.cli import main
keys, polls = [*"s x"], []
poll, wait = cv2.pollKey, cv2.waitKey

def pressed():
    return poll() if not keys else [poll(), ord(keys.pop(0))][1]

def held(wait_ms):
    polls.append(wait(wait_ms))
    return ord(" ") if len(polls) == 3 else -1

cv2.pollKey, cv2.waitKey = pressed, held
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    main(sys.argv[1:])
finally:
    assert len(polls) == 3
"""


def test_a_real_window_outlasts_a_full_disk_and_a_pause(x_server: str, tiny_model: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk. Keys are added to those that the window gives."""
    source = ["--source", "drive:seed=1,size=96x72,frames=5", "--fast"]
    command = [sys.executable, "-c", KEYS_IN_A_WINDOW, "run", "--model", str(tiny_model), *source, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 5
    assert "No screenshot: edge-seg-000000.png cannot be written: File too large." in done.stderr
    assert os.listdir(tmp_path) == []


def test_the_windows_end_is_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(cv2, "namedWindow", lambda title, flags: calls.append("open"))
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: calls.append("close"))

    with pytest.raises(KeyError), open_window(Controls()):
        raise KeyError

    assert calls == ["open", "close"]
    assert window.TITLE == "edge-seg"


def test_run_shows_its_pictures_in_a_window(x_server: str, tiny_model: Path) -> None:
    source = "drive:seed=1,size=96x72,frames=3"
    command = [sys.executable, "-m", "edge_seg.apps", "run", "--model", str(tiny_model), "--source", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert "Window: q quit, space pause, o overlay, s screenshot." in done.stderr
    assert "3 frames" in done.stdout
