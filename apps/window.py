"""A window that shows the finished pictures and takes keys."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import cv2

from edge_seg.apps.controls import Controls
from edge_seg.apps.sinks import encode_png
from edge_seg.errors import SinkError
from edge_seg.files import write_whole
from edge_seg.types import Frame, UInt8Array

TITLE = "edge-seg"
PAUSE_POLL_MS = 30
TRIAL_S = 20.0
"""A display that does not answer for so long is none."""


class WindowSink:
    """Shows each picture and hands the keys to `controls`; only the main thread may call it."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._shown: tuple[UInt8Array, Frame] | None = None

    def write(self, image: UInt8Array, frame: Frame) -> None:
        """Show a picture."""
        if self._shown is None:
            cv2.resizeWindow(TITLE, image.shape[1], image.shape[0])
        self._shown = image, frame
        cv2.imshow(TITLE, image)
        self._take_key(cv2.pollKey())

    def hold(self) -> bool:
        """Take keys until a pause ends; False, at once, where there is none."""
        if not self._controls.paused:
            return False
        while self._controls.paused and not self._controls.quit:
            self._take_key(cv2.waitKey(PAUSE_POLL_MS))
        return True

    def _take_key(self, key: int) -> None:
        if self._controls.press(key) and self._shown is not None:
            _keep(*self._shown)
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:  # closed with the mouse
            self._controls.quit = True


def _keep(image: UInt8Array, frame: Frame) -> None:
    """Write a screenshot and say how that went: the run is worth more than a picture of it."""
    try:
        print(f"Wrote {write_screenshot(image, frame)}", file=sys.stderr)
    except SinkError as error:
        print(f"No screenshot: {error}", file=sys.stderr)


def write_screenshot(image: UInt8Array, frame: Frame) -> Path:
    """Write the picture into the current folder under a name that is free there; SinkError where that fails."""
    stem = f"edge-seg-{frame.index:06d}"
    names = (f"{stem}.png" if number == 1 else f"{stem}-{number}.png" for number in count(1))
    path = next(Path(name) for name in names if not os.path.lexists(name))
    write_whole(path, encode_png(image))
    return path


@contextmanager
def open_window(controls: Controls) -> Iterator[WindowSink]:
    """A window that closes with the block."""
    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    try:
        yield WindowSink(controls)
    finally:
        cv2.destroyAllWindows()


def has_display() -> bool:
    """True where a window can open. Tried in another process, since Qt ends the process where it cannot."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    trial = [sys.executable, "-c", "import cv2; cv2.namedWindow('trial'); cv2.destroyAllWindows()"]
    try:
        return subprocess.run(trial, capture_output=True, timeout=TRIAL_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
