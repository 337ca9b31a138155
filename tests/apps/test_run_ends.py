"""How a run ends that does not end by itself: each in a process of its own, with a film and the JSON report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

ENV = {**os.environ, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
DRIVE = "drive:seed=1,size=96x72,frames=6"

CTRL_C_AT_THE_END = """
import os, signal, sys
from edge_seg.apps.cli import main
from edge_seg.apps.sinks import Mp4Sink
times, plain = int(sys.argv.pop(1)), Mp4Sink.finish
def finish(sink):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
    plain(sink)
Mp4Sink.finish = finish
main(sys.argv[1:])
"""

CAMERA = """
import sys, threading
import cv2, numpy as np
from edge_seg.apps import loop
from edge_seg.apps.cli import main
class Camera:
    isOpened = set = lambda *arguments: True
    get = lambda *arguments: 30.0
    grabbed = 0
    def grab(self):
        self.grabbed += 1
        if HANGS and self.grabbed == 2:
            threading.Event().wait()
        return True
    def retrieve(self):
        image = np.full((72, 96, 3), 10 * self.grabbed, np.uint8)
        return (False, None) if self.grabbed > 20 else (True, image)
    def release(self):
        print("The camera is released.", file=sys.stderr)
HANGS = sys.argv.pop(1) == "hangs"
cv2.VideoCapture = lambda number: Camera()
loop.LEAVE_S = 1.0 if HANGS else loop.LEAVE_S
main(sys.argv[1:])
"""

INFERENCE = """
import sys, threading, time
import numpy as np
from edge_seg.apps import loop
from edge_seg.data import open_dataset
from edge_seg.apps.sources import DatasetSource
from edge_seg.spec import CAMVID_CLASSES, ModelSpec
from edge_seg.types import Result
loop.LEAVE_S = 1.0
hangs = threading.Event()
class Segment:
    spec, runtime = ModelSpec("tiny", CAMVID_CLASSES, 96, 72, "nothing"), "plain"
    def __init__(self, fails):
        self.fails = fails
    def __call__(self, image):
        if self.fails:
            hangs.wait()
            raise RuntimeError("the second one failed")
        hangs.set()
        threading.Event().wait()
source = DatasetSource(open_dataset("drive:seed=1,size=96x72,frames=6"))
loop.run_loop(source, [Segment(False), Segment(True)], lambda frame, result, meters: frame.image, [])
"""


def run(script: str, how: str, model: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`edge-seg run` with a film, inside of a script."""
    arguments = ["run", "--model", str(model), "--headless", "--out", f"{folder}/a.mp4", "--json", *options]
    command = [sys.executable, "-c", script, how, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=ENV)


def pictures(folder: Path) -> int:
    """How many pictures the film has, the folder's only file."""
    assert os.listdir(folder) == ["a.mp4"]
    with av.open(f"{folder}/a.mp4") as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_while_the_film_is_finished_does_not_cut_it_short(tmp_path: Path, tiny_model: Path) -> None:
    done = run(CTRL_C_AT_THE_END, "1", tiny_model, tmp_path, "--source", DRIVE)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == pictures(tmp_path) == 6
    assert "Stopped after 6 frames; what was to be written is complete." in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_second_ctrl_c_while_the_film_is_finished_leaves_nothing(tmp_path: Path, tiny_model: Path) -> None:
    done = run(CTRL_C_AT_THE_END, "2", tiny_model, tmp_path, "--source", DRIVE)

    assert (done.returncode, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_camera_that_fails_midway_leaves_film_and_report(tmp_path: Path, tiny_model: Path) -> None:
    done = run(CAMERA, "fails", tiny_model, tmp_path, "--camera", "0")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] + report["dropped"] == 20
    assert report["frames"] == pictures(tmp_path)
    assert "Camera 0 gives no more pictures after 20." in done.stderr
    assert done.stderr.count("The camera is released.") == 1


def test_a_camera_that_hangs_is_told_and_costs_no_film(tmp_path: Path, tiny_model: Path) -> None:
    done = run(CAMERA, "hangs", tiny_model, tmp_path, "--camera", "0", "--frames", "1")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == pictures(tmp_path) == 1
    assert "The capture thread of camera 0 hangs." in done.stderr


def test_an_inference_that_hangs_hides_no_error_and_keeps_no_program_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", INFERENCE], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("RuntimeError: the second one failed")
    assert "The infer thread of drive seed 1 hangs." in done.stderr
